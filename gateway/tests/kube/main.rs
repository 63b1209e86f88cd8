//! Stories with a real Kubernetes node, run as root.
//!
//! In: etcd, kube-apiserver, kubelet and containerd, kubectl of both ages, a kernel. Out: claims about what the server got,
//! what the client read and what the journal kept. A test that cannot run fails; none leaves anything behind.
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
#[path = "../it/gateway.rs"]
#[expect(dead_code, reason = "the tests in `it` use the rest")]
mod gateway;
#[path = "../ssh/host.rs"]
#[expect(dead_code, reason = "the tests in `ssh` use the rest")]
mod host;
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

mod node;
mod site;

mod chaos_kills;
mod story_clients;
mod story_behind_ssh;
mod story_bodies;
mod story_credentials;
mod story_exec;
mod story_fields;
mod story_forward;
mod story_hostile;
mod story_kubectl;
mod story_policies;
mod story_preview;
mod story_secrets;
mod story_targets;
mod story_trial;
mod uri_oracle;
