//! Stories with a real PostgreSQL, run as root.
//!
//! In: server programs of two versions, stock clients and drivers, a kernel. Out: claims about what the server got, what
//! the client read and what the journal kept. A test that cannot run fails; none leaves anything behind.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test code: a failure is a panic with what was seen"
)]

/// Makes of each story a test on every version of the server.
macro_rules! on_every_version {
    ($($(#[$note:meta])* async fn $name:ident($version:ident: Version) $body:block)*) => {$(
        mod $name {
            use super::*;

            $(#[$note])*
            async fn story($version: Version) $body

            #[tokio::test(flavor = "multi_thread")]
            async fn on_15() {
                story(Version::V15).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_18() {
                story(Version::V18).await;
            }
        }
    )*};
}

#[path = "../it/agent.rs"]
mod agent;
#[path = "../it/chaos.rs"]
mod chaos;
#[path = "../it/console.rs"]
mod console;
#[path = "../it/gateway.rs"]
#[expect(dead_code, reason = "the tests in `it` use the rest")]
mod gateway;
#[path = "../it/inside.rs"]
mod inside;
#[path = "../it/podman.rs"]
#[expect(dead_code, reason = "the tests in `it` use the rest")]
mod podman;
#[path = "../it/server.rs"]
#[expect(dead_code, reason = "the tests in `it` use the rest")]
mod server;
#[path = "../it/wait.rs"]
mod wait;
#[path = "../it/world.rs"]
#[expect(dead_code, reason = "the tests in `it` use the rest")]
mod world;

mod canary;
mod clickhouse;
mod cluster;
mod corpus;
mod regression;
mod shop;
mod talk;
mod tap;

mod drivers;
mod chaos_kills;
mod lineage_oracle;
mod record_cluster;
mod record_copy;
mod record_questions;
mod record_store;
mod record_under_way;
mod encoding_oracle;
mod sql_oracle;
mod story_approvals;
mod story_changes;
mod story_command_line;
mod story_console;
mod story_containers;
mod story_copies;
mod story_credentials;
mod story_decided_again;
mod story_default;
mod story_dump;
mod story_encodings;
mod story_ends;
mod story_evasions;
mod story_feeds;
mod story_generator;
mod story_holds;
mod story_hostile;
mod story_leaks;
mod story_limits;
mod story_logins;
mod story_masking;
mod story_metrics;
mod story_orms;
mod story_paths;
mod story_people;
mod story_policies;
mod story_reads;
mod story_record;
mod story_regression;
mod story_repairs;
mod story_replay;
mod story_results;
mod story_slack;
mod story_source;
mod story_syslog;
mod story_table;
mod story_targets;
mod story_tickets;
mod story_tokens;
mod story_transparency;
mod story_trial;
mod story_types;
mod story_values;
mod story_why;
mod story_windows;
mod story_writes;
mod wire_cancel;
mod wire_copy;
mod wire_extended;
mod wire_hostile;
mod wire_login;
mod wire_statements;
mod wire_support;
