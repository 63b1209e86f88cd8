//! What `gateway target check` is asked and answers, in the words of the wire.
//!
//! In: names. Out: plain data for people and programs. No secret, and no content of a file, stands in any of it.

use serde::{Deserialize, Serialize};

/// What is to be looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckWanted {
    /// Names of targets; none: all.
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
        self.targets.iter().any(|target| !target.findings.is_empty() || target.error.is_some())
    }
}
