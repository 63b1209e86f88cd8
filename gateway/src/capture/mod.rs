//! The kernel side as seen from user space.
//!
//! In: an attachment's cgroup and what its configuration protects. Out: connections with the record of who made them
//! and where to, taken from kernel maps and never from the client's word. Links and maps are pinned and outlive the
//! process. Never reads a byte of a connection.

pub mod backstop;
mod btf;
pub mod canary;
pub mod cookies;
pub mod events;
pub mod existing;
pub mod foreign;
pub mod gaps;
pub mod gate;
pub mod health;
pub mod links;
pub mod lsm;
mod maps;
pub mod names;
mod netlink;
pub mod pins;
pub mod probe;
pub mod tables;
mod trial;

pub use gate::{CaptureError, Gate};
pub use lsm::Lsm;
pub use tables::Tables;
