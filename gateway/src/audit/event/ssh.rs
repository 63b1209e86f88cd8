//! Events of SSH: what was asked for on a connection, what came of it, and which files went over it.
//!
//! In: facts from the engine, texts only as `Kept`. Out: bodies of lines. Data of a channel never stands here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::request::Status;
use super::session::Decision;
use crate::audit::journal::Seq;
use crate::audit::kept::Kept;

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SshPhase {
    /// To log in.
    Login,
    /// To run a command line.
    Exec,
    /// To get an interactive shell.
    Shell,
    /// To start a subsystem.
    Subsystem,
    /// To do something to a file, by SFTP or scp.
    File,
    /// Anything that needs no policy to be refused.
    Unreadable,
}

/// A request and its decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SshRequest {
    /// The user that the client asked for.
    pub login: Kept,
    /// What it was judged for.
    pub phase: SshPhase,
    /// Number of the channel in this session; none: it is about all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u32>,
    /// Actions that policy was asked about.
    pub actions: Vec<String>,
    /// The redacted command line, path, or whatever else was asked for.
    pub text: Kept,
    /// Whether a terminal goes with it.
    #[serde(default)]
    pub pty: bool,
    /// The decision.
    pub decision: Decision,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshOutcome {
    /// The line of the request, in this journal.
    pub request: Seq,
    /// How it ended.
    pub status: Status,
    /// Exit status of the command, where the server told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<u32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Bytes to the server.
    pub bytes_sent: u64,
    /// Bytes from the server.
    pub bytes_received: u64,
    /// From the request to its end.
    pub duration_us: u64,
    /// Of that, waiting for a person.
    #[serde(default)]
    pub held_us: u64,
    /// Values hidden, by class.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub masked: BTreeMap<String, u64>,
}

/// Which way a file went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the server to the client.
    Read,
    /// From the client to the server.
    Write,
}

/// A file that was transferred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshTransfer {
    /// The line of the request that opened it, in this journal.
    pub request: Seq,
    /// Which way.
    pub direction: Direction,
    /// Its redacted path.
    pub path: Kept,
    /// Bytes that went over.
    pub bytes: u64,
    /// SHA-256 of those bytes, where they went over once and in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Whether it was closed in good order.
    pub complete: bool,
}

/// What went over a terminal, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshFrames {
    /// The line of the request that opened it, in this journal.
    pub request: Seq,
    /// The frames.
    pub frames: Vec<SshFrame>,
}

/// One piece of what went over a terminal. Output is masked; of input the size alone is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshFrame {
    /// Since the request.
    pub at_us: u64,
    /// `out`, `err`, `in`, or `size` for another size of the terminal.
    pub stream: FrameStream,
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

/// What a frame is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameStream {
    /// Standard output, which a terminal's is all.
    #[default]
    Out,
    /// Standard error.
    Err,
    /// What was typed.
    In,
    /// The size of the terminal.
    Size,
}
