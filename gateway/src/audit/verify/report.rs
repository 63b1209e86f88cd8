//! What `verify` says.
//!
//! In: findings. Out: text for people and JSON for machines. Nothing here is judged: a finding is a breach or a note by
//! where it was put.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::audit::event::Role;
use crate::audit::journal::{LineFault, SealFault, Seq};
use crate::audit::time::Timestamp;
use crate::id::JournalId;

/// What is wrong, or worth knowing, at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "problem")]
pub enum Problem {
    /// The bytes are no line.
    #[error("not a journal line: {fault}")]
    Line {
        /// What is wrong.
        fault: LineFault,
    },
    /// The body is no JSON object.
    #[error("the body is not a json object")]
    Body,
    /// The journal does not begin as one.
    #[error("expected `journal.opened` with its fields, found `{found}`")]
    Opening {
        /// The kind that stands there.
        found: String,
    },
    /// A line of another journal.
    #[error("expected a line of journal {expected}, found one of {found}")]
    Journal {
        /// The folder's.
        expected: JournalId,
        /// The line's.
        found: JournalId,
    },
    /// Lines are missing, repeated or swapped.
    #[error("expected line {expected}, found line {found}")]
    Number {
        /// Next in order.
        expected: Seq,
        /// What stands there.
        found: Seq,
    },
    /// A line that hashes to something else than the next one says.
    #[error("this line was changed: the line after it expects the hash {expected}, it has {found}")]
    Changed {
        /// By the line after it.
        expected: String,
        /// Of the line as it is.
        found: String,
    },
    /// A line that names another line before it.
    #[error("`prev` was changed: expected {expected}, found {found}")]
    Prev {
        /// Hash of the line before.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A line that is not what was sealed.
    #[error(
        "this line, or one before it since the last good seal, was changed: seal {seal} covers the hash {expected}, it has {found}"
    )]
    Sealed {
        /// Number of the seal.
        seal: u64,
        /// In the seal.
        expected: String,
        /// Of the line as it is.
        found: String,
    },
    /// Sealed lines are not there any more.
    #[error("the journal was cut: seal {seal} covers {expected} lines, {found} are there")]
    Cut {
        /// Number of the last seal.
        seal: u64,
        /// What it covers.
        expected: Seq,
        /// What is there.
        found: Seq,
    },
    /// A segment is missing.
    #[error("this segment is missing")]
    SegmentMissing,
    /// A sealed journal is missing.
    #[error("this journal is missing: {lines} lines of it were sealed")]
    JournalMissing {
        /// What was sealed of it.
        lines: u64,
    },
    /// A journal that another one names is missing.
    #[error("this journal is missing: journal {named_by} names it as the one before")]
    PreviousMissing {
        /// The journal that names it.
        named_by: JournalId,
    },
    /// The line is not the next seal.
    #[error("not the next seal: {fault}")]
    Seal {
        /// What is wrong.
        fault: SealFault,
    },
    /// A seal that covers less than the one before.
    #[error("seal {seal} covers less of journal {journal} than the one before it")]
    SealBack {
        /// Number of the seal.
        seal: u64,
        /// The journal.
        journal: JournalId,
    },
    /// The private key is not the one that the last seal names.
    #[error("the last seal names the key {expected}, and this is not it: seals were cut, or the key was swapped")]
    Key {
        /// In the last seal.
        expected: String,
    },
    /// The private key cannot be read, so cut seals would not be seen.
    #[error("not checked ({cause}): whether seals were cut at the end; run as root to check it")]
    KeyUnread {
        /// What the system says.
        cause: String,
    },
    /// The first key is not the one that was noted.
    #[error("the first key was replaced: noted was {expected}, found {found}")]
    Anchor {
        /// As noted.
        expected: String,
        /// As stored.
        found: String,
    },
    /// Another seal was noted elsewhere.
    #[error("seal {seal} was noted elsewhere and is another one here: the seals here were made anew")]
    NotedOtherwise {
        /// Its number.
        seal: u64,
    },
    /// A seal that was noted elsewhere is not here.
    #[error("seal {seal} was noted elsewhere and is not here: the seals here were cut or made anew")]
    NotedAndGone {
        /// Its number.
        seal: u64,
    },
    /// It cannot be read, so nothing is known of it.
    #[error("cannot be read: {cause}")]
    Unreadable {
        /// What the system says.
        cause: String,
    },
    /// A torn line: never acknowledged to anyone.
    #[error("torn: {bytes} bytes without an end; its writer died or is writing it now")]
    Torn {
        /// How many bytes.
        bytes: usize,
    },
    /// Lines that no seal covers yet.
    #[error(
        "{lines} lines are not sealed, the oldest for {seconds} s: what was cut or changed at their end is not seen"
    )]
    Unsealed {
        /// How many.
        lines: u64,
        /// Age of the oldest.
        seconds: u64,
    },
    /// A journal without any line, and without a seal.
    #[error("an empty journal: its maker was stopped before the first line")]
    Empty,
    /// A segment that a seal says is removed.
    #[error(
        "a seal says that this is removed: the gateway was stopped before it was, and removes it at its next start"
    )]
    Leftover,
    /// A file that is none of ours.
    #[error("not a file of the journal")]
    Stranger,
}

/// A problem and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file or folder.
    pub path: PathBuf,
    /// The line in that file, from 1.
    pub line: Option<u64>,
    /// What is there.
    #[serde(flatten)]
    pub problem: Problem,
}

impl Finding {
    pub(super) fn new(path: &Path, line: Option<u64>, problem: Problem) -> Self {
        Self { path: path.to_owned(), line, problem }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name may hold anything but a slash, control characters too.
        write!(f, "{}", self.path.display().to_string().escape_debug())?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Lines behind the last seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Unsealed {
    /// How many.
    pub lines: u64,
    /// When the oldest was written, as it says itself.
    pub oldest: Timestamp,
    /// How long ago that is.
    pub seconds: u64,
}

/// What one journal holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JournalReport {
    /// The journal.
    pub journal: JournalId,
    /// Who wrote it; none where its first line is broken.
    pub role: Option<Role>,
    /// The journal before it, as it says itself.
    pub previous: Option<JournalId>,
    /// Lines that were checked; fewer than there are if one is broken.
    pub lines: u64,
    /// Of these, covered by a seal.
    pub sealed: u64,
    /// The rest.
    pub unsealed: Option<Unsealed>,
}

/// The verdict on a state directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Each journal.
    pub journals: Vec<JournalReport>,
    /// Seals that hold.
    pub seals: u64,
    /// Time of the last one.
    pub last_seal: Option<Timestamp>,
    /// The key that the chain of seals starts from.
    pub first_key: Option<String>,
    /// Lines that were removed since they were old enough, as seals say.
    pub removed: u64,
    /// Seals that were noted elsewhere, where they were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noted: Option<u64>,
    /// What proves tampering or loss, or could not be checked.
    pub breaches: Vec<Finding>,
    /// What is no breach, and should be known.
    pub notes: Vec<Finding>,
}

impl Report {
    /// Whether nothing is broken.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.breaches.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: u64 = self.journals.iter().map(|journal| journal.lines).sum();
        let sealed: u64 = self.journals.iter().map(|journal| journal.sealed).sum();
        let verdict = if self.is_sound() { "sound" } else { "BROKEN" };
        let journals = self.journals.len();
        writeln!(f, "{verdict}: {journals} journals, {lines} lines checked, {sealed} sealed by {} seals", self.seals)?;
        if let Some(key) = &self.first_key {
            writeln!(f, "first key: {key}")?;
        }
        if self.removed > 0 {
            writeln!(f, "{} lines were removed since they were old enough", self.removed)?;
        }
        if let Some(noted) = self.noted {
            writeln!(f, "noted elsewhere: {noted} seals")?;
        }
        self.breaches.iter().try_for_each(|finding| writeln!(f, "breach: {finding}"))?;
        self.notes.iter().try_for_each(|finding| writeln!(f, "note: {finding}"))
    }
}
