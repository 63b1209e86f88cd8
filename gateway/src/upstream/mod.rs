//! The server's side of a connection: how it is secured and what we log in with.
//!
//! In: a dialled byte stream and the target's settings. Out: a stream whose peer was verified as far as the settings
//! ask. A credential is never sent from here: a protocol engine sends it, and only to a peer that
//! [`credential::Credential::may_go_to`] accepts.

pub mod tls;
pub mod credential;
pub mod power;

mod end_point;
