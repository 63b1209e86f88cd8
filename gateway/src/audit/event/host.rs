//! Events of the host: journals, processes, attachments, gaps, policy sets.
//!
//! In: facts from the warden and from policy loading. Out: bodies of lines outside any session. They never hold what a
//! client sent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::audit::journal::Seq;
use crate::audit::time::Timestamp;
use crate::id::{HostId, JournalId};

/// Which process writes a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Root; capture, sealing, control.
    Warden,
    /// Unprivileged; protocols and policy.
    Engine,
}

/// Who writes, where, and after whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalOpened {
    /// Version of the line format.
    pub format: u32,
    /// The installation.
    pub host: HostId,
    /// Its name, for people.
    pub host_name: String,
    /// The writing process.
    pub role: Role,
    /// Product version.
    pub product: String,
    /// The journal of the same role before this one, where known.
    pub previous: Option<JournalId>,
}

/// A seal that was written, named so that whoever has this elsewhere knows it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalSealed {
    /// The installation.
    pub host: HostId,
    /// What was sealed.
    pub journal: JournalId,
    /// Up to and with this line.
    pub seq: Seq,
    /// Number of the seal.
    pub seal: u64,
    /// SHA-256 of its line in `seals.jsonl`, without the newline, in hex.
    pub hash: String,
}

/// A journal that no longer is what was read of it before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalBroken {
    /// The journal.
    pub journal: JournalId,
    /// The last line that is known good.
    pub last_good: Seq,
    /// What was found.
    pub problem: String,
}

/// The gateway's own state at start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayStarted {
    /// Kernel release.
    pub kernel: String,
    /// `process` or `disk`.
    pub durability: String,
    /// Gaps that the configuration accepts.
    pub accepted_gaps: Vec<String>,
}

/// Why something was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// In words.
    pub reason: String,
}

/// A new engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStarted {
    /// Its process.
    pub pid: u32,
    /// Its journal.
    pub journal: JournalId,
}

/// An engine's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineDied {
    /// Its journal.
    pub journal: JournalId,
    /// Exit status or signal.
    pub status: String,
}

/// Enforce, or only observe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Denials block.
    #[default]
    Enforce,
    /// Denials are written as `would_deny`.
    Observe,
}

/// The state of an attachment after a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attachment {
    /// Its name.
    pub attachment: String,
    /// Path of the cgroup.
    pub cgroup: String,
    /// Id of the cgroup.
    pub cgroup_id: u64,
    /// Whether protected destinations are reached through us or not at all.
    pub enforcing: bool,
    /// Whether it blocks, or only says what it would.
    pub mode: Mode,
    /// Processes in it.
    pub processes: u32,
    /// What is not enforced, by name.
    pub gaps: Vec<String>,
    /// Hash of the policy set.
    pub policy_set: String,
    /// Who did it, where a person did.
    pub person: Option<String>,
    /// In words.
    pub reason: String,
}

/// Something that is not enforced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gap {
    /// Its name, as `accept_gaps` lists it.
    pub name: String,
    /// What it means here.
    pub detail: String,
    /// The attachment, unless it is the host's.
    pub attachment: Option<String>,
}

/// What the kernel stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkBypass {
    /// The attachment.
    pub attachment: String,
    /// Dropped packets by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Refused calls by reason.
    pub refused: BTreeMap<String, u64>,
    /// What some of the calls were about: names of unix sockets, address families.
    pub about: BTreeMap<String, u64>,
    /// Start of the time counted.
    pub since: Option<Timestamp>,
}

/// Addresses that may be reached, since an allowed name stands for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsAdmitted {
    /// The attachment.
    pub attachment: String,
    /// The name that was asked for: one that the configuration allows.
    pub name: String,
    /// What it stands for now.
    pub addresses: Vec<IpAddr>,
    /// For how long new connections are let there.
    pub seconds: u64,
}

/// A policy set in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyLoaded {
    /// Hash of the set.
    pub policy_set: String,
    /// Counts the sets of this process.
    pub epoch: u64,
    /// Where it was read from.
    pub source: String,
    /// How many policies.
    pub policies: u32,
    /// Packs and rules that the configuration disabled.
    pub disabled: Vec<String>,
}

/// A policy set that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRejected {
    /// Where it was read from.
    pub source: String,
    /// All faults, with file, line and column.
    pub faults: Vec<String>,
    /// The set that stays in force; none at start.
    pub in_force: Option<String>,
}
