//! What `gateway target check` is asked and answers, in the words of the wire.
//!
//! In: names. Out: plain data for people and programs. No secret, and no content of a file, stands in any of it.

use serde::{Deserialize, Serialize};

use crate::host::readable::Readable;

/// What is to be looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckWanted {
    /// Names of targets; none: all, and what runtimes can read besides.
    pub targets: Vec<String>,
}

/// What was found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Checked {
    /// Names that are none of a declared target: nothing was asked then.
    #[serde(default)]
    pub unknown: Vec<String>,
    /// In the order of the configuration.
    pub targets: Vec<CheckedTarget>,
    /// What runtimes can read by themselves, where all was asked for.
    #[serde(default)]
    pub runtimes: Vec<Seen>,
}

/// What of credentials is open to those who run in an attachment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seen {
    /// Its name.
    pub attachment: String,
    /// By user and root.
    pub eyes: Vec<Eyes>,
    /// What was not looked at, and why.
    pub notes: Vec<String>,
}

/// Processes that see the same files with the same rights.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Eyes {
    /// Their user.
    pub uid: u32,
    /// Which they are.
    pub pids: Vec<i32>,
    /// What is open to them.
    pub open: Vec<Readable>,
    /// Why nobody could look.
    pub error: Option<String>,
}

/// A target, and what its credential may do there.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CheckedTarget {
    /// Its name.
    pub name: String,
    /// What is spoken there.
    pub protocol: String,
    /// Where it was asked.
    pub address: Option<String>,
    /// As whom.
    pub login: Option<String>,
    /// How the server was known.
    pub server_identity: Option<String>,
    /// Beyond what policies permit, or not comparable with them.
    pub findings: Vec<Finding>,
    /// What policies permit to somebody.
    pub permitted: Vec<Finding>,
    /// What was not looked at, and why.
    pub notes: Vec<String>,
    /// Why nothing is known of it.
    pub error: Option<String>,
}

/// One thing that a credential may do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    /// For programs: `superuser`.
    pub name: String,
    /// In words.
    pub what: String,
    /// What a hole in policy would cost.
    pub cost: String,
    /// What policies say of it.
    pub policy: String,
    /// What takes it away.
    pub narrow: String,
}

impl Checked {
    /// Whether there is something to be done.
    #[must_use]
    pub fn has_findings(&self) -> bool {
        let is_open = |eyes: &Eyes| !eyes.open.is_empty() || eyes.error.is_some();
        self.targets.iter().any(|target| !target.findings.is_empty() || target.error.is_some())
            || self.runtimes.iter().flat_map(|seen| &seen.eyes).any(is_open)
    }
}
