//! Events of requests to a Kubernetes API server.
//!
//! In: facts of a request, texts only as `Kept`. Out: bodies of lines. What an object holds stands here, masked, where
//! policy has bodies kept, and nowhere else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::request::Status;
use super::session::Decision;
use crate::audit::journal::Seq;
use crate::audit::kept::Kept;

/// A request and its decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KubernetesRequest {
    /// As the API server names it; empty where the request line could not be read.
    pub verb: String,
    /// Actions that policy was asked about.
    pub actions: Vec<String>,
    /// `pods`, `deployments.apps`; empty for a path that is no resource.
    #[serde(default)]
    pub resource: String,
    /// Such as `log`.
    #[serde(default)]
    pub subresource: String,
    /// Empty: none, or all of them.
    #[serde(default)]
    pub namespace: String,
    /// Empty: none, or all of them.
    #[serde(default)]
    pub name: String,
    /// Method and target, redacted.
    pub text: Kept,
    /// What the client did that was undone before the request went on, such as naming another user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stripped: Vec<String>,
    /// Classes of data that it touches.
    #[serde(default)]
    pub data_classes: Vec<String>,
    /// The decision.
    pub decision: Decision,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubernetesOutcome {
    /// The line of the request, in this journal.
    pub request: Seq,
    /// How it ended.
    pub status: Status,
    /// The HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Bytes that the client got.
    #[serde(default)]
    pub bytes: u64,
    /// From the request to its answer's end.
    pub duration_us: u64,
    /// Values hidden, by class.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub masked: BTreeMap<String, u64>,
    /// Exit status of a command, where the server told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<u32>,
    /// Why it ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The beginning of what the client sent, masked, where policy has it kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_body: Option<Kept>,
    /// The beginning of what the client got, as it got it, where policy has it kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_body: Option<String>,
    /// Why one of them is not, where policy has them kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bodies_left_out: Option<String>,
}

/// A change that is held is tried at the server, for the people who decide: its object is read, and the change sent with
/// `dryRun=All`, which stores nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubernetesPreview {
    /// The line of the request, in this journal.
    pub request: Seq,
    /// Method and target, redacted.
    pub text: Kept,
}

/// What went over an exec or attach, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubernetesFrames {
    /// The line of the request that opened it, in this journal.
    pub request: Seq,
    /// The frames.
    pub frames: Vec<KubernetesFrame>,
}

/// One piece of it. Output is masked; of input the size alone is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubernetesFrame {
    /// Since the request.
    pub at_us: u64,
    /// `out`, `err`, `in`, or `size` for another size of the terminal.
    pub stream: String,
    /// What was written, where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Kept>,
    /// What was written, in hexadecimal, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    /// How many bytes were typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Columns and rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<(u32, u32)>,
}
