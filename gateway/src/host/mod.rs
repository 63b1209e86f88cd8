//! What the host offers: network namespaces, cgroups, processes, users.
//!
//! In: paths, ids and descriptors. Out: the kernel's answers as types. Never decides what may happen with them.

pub mod cgroup;
pub mod cgroup_watch;
pub mod durable;
pub mod netns;
pub mod network;
pub mod priority;
pub mod process;
pub mod readable;
pub mod terminal;
pub mod unix_name;
pub mod user;
