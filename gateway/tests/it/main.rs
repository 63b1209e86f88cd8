//! Stories that need a real kernel, run as root.
//!
//! In: the built `gateway`, a cgroup2 mount, namespaces. Out: claims about what a process inside an attached cgroup can
//! and cannot reach, seen at the server and in the journal. A test that cannot run fails; none leaves anything behind.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code: a failure is a panic with what was seen"
)]

mod agent;
mod dns_server;
mod gateway;
mod inside;
mod podman;
mod server;
mod tricks;
mod wait;
mod world;

mod attach_rules;
mod attach_which;
mod budgets;
mod bypass;
mod bypass_cgroups;
mod bypass_floods;
mod bypass_links;
mod bypass_namespaces;
mod configuration;
mod containers;
mod control_socket;
mod egress;
mod engine_process;
mod exec;
mod existing;
mod fail_closed;
mod journal;
mod lifecycle;
mod lsm;
mod names;
mod namespaces;
mod own_exec;
mod policies;
mod readable;
mod redirect;
mod refusals;
mod sockets;
