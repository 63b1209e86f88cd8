//! The Kubernetes API, between a client and its API server.
//!
//! In: a connection of a workload. Out: each request read as the server would read it, judged, journaled, and only then
//! sent on with the target's credential; its answer masked on the way back. What is read in two ways by two readers,
//! and what cannot be masked, is refused. It never shows the client's word for who asks to the server.
//!
//! Start reading in `engine.rs`: `uri` reads request lines, `body` bodies, `questions`, `fields` and `decide` ask policy,
//! `preview` finds out what a held change would do, `upstream` talks to the server, `answer` and `object` mask what comes
//! back, `stream` carries exec and port-forward, `powers` asks a server what our login may do.

mod answer;
mod body;
mod decide;
mod engine;
mod fields;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod head;
mod object;
mod powers;
mod preview;
mod questions;
mod reply;
mod stream;
mod upstream;
pub mod uri;

pub use decide::{About, Judge, Shared};
pub use engine::{Cause, Options, serve};
pub use powers::{AskError, Asking, Held, powers};
pub use upstream::{Cluster, Way, Workload};
