//! The control socket: how operators on this host ask the gateway.
//!
//! In: HTTP with JSON on a unix socket. Out: what `service` offers. It looks at who asks before it reads a byte, and
//! refuses peers from attached cgroups: a runtime never approves, detaches or lists anything.

pub mod access;
pub mod check;
pub mod client;
pub mod setup;
pub mod service;
pub mod socket;

/// Where it is, below the run directory.
pub const SOCKET: &str = "/run/gateway/control.sock";
