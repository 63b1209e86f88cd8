//! Stories with a real SSH server and stock clients, run as root.
//!
//! In: OpenSSH and its kin, a kernel. Out: claims about what the server ran, what the client read and what the journal
//! kept. A test that cannot run fails; none leaves anything behind.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code: a failure is a panic with what was seen"
)]

#[path = "../it/agent.rs"]
mod agent;
#[path = "../it/chaos.rs"]
mod chaos;
#[path = "../pg/clickhouse.rs"]
#[expect(dead_code, reason = "the tests in `pg` use the rest")]
mod clickhouse;
#[path = "../pg/cluster.rs"]
#[expect(dead_code, reason = "the tests in `pg` use the rest")]
mod cluster;
#[path = "../it/console.rs"]
#[expect(dead_code, reason = "the tests in `pg` use the rest")]
mod console;
#[path = "../it/gateway.rs"]
#[expect(dead_code, reason = "the tests in `it` use the rest")]
mod gateway;
#[path = "../it/inside.rs"]
mod inside;
#[path = "../it/server.rs"]
#[expect(dead_code, reason = "the tests in `it` use the rest")]
mod server;
#[path = "../it/wait.rs"]
mod wait;
#[path = "../it/world.rs"]
#[expect(dead_code, reason = "the tests in `it` use the rest")]
mod world;

mod behind;
mod host;

mod chaos_kills;
mod clients;
mod decide;
mod exec;
mod files;
mod forwards;
mod hostile;
mod lines;
mod login;
mod shell;
mod targets;
mod trial;
mod trust;
