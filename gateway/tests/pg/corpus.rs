//! Files of statements, each with what has to come of it: `corpus/README.md` tells how they read.
//!
//! In: a folder below `corpus`. Out: its cases in order. A file that does not keep to the form is a failure.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cluster::Version;
use crate::talk::Message;

/// The line of a file whose cases share no session.
const APART: &str = "--# Each case has a session of its own.";

/// What comes of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The same as without a gateway.
    Passes,
    /// The server's error without the words that quote a value.
    Scrubbed,
    /// Runs, and shows something else than without a gateway.
    Masked,
    /// Waits for a person.
    Held,
    /// Did not happen.
    Denied,
}

impl Outcome {
    const ALL: [Self; 5] = [Self::Passes, Self::Scrubbed, Self::Masked, Self::Held, Self::Denied];

    /// Its name in a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passes => "passes",
            Self::Scrubbed => "scrubbed",
            Self::Masked => "masked",
            Self::Held => "held",
            Self::Denied => "denied",
        }
    }

    /// What the answers of the gateway amount to, beside those of the server alone.
    pub fn of(ours: &[Message], theirs: &[Message]) -> Self {
        let refusals: Vec<String> = ours.iter().filter_map(Message::refusal).collect();
        if refusals.iter().any(|refusal| refusal.starts_with("held by policy")) {
            return Self::Held;
        }
        if !refusals.is_empty() {
            return Self::Denied;
        }
        let tells = |message: &&Message| !matches!(message.kind, b'S' | b'K' | b'Z');
        let different = || ours.iter().filter(tells).zip(theirs.iter().filter(tells)).find(|(our, their)| our != their);
        let as_many = ours.iter().filter(tells).count() == theirs.iter().filter(tells).count();
        match different() {
            None if as_many => Self::Passes,
            Some((our, their)) if our.kind == their.kind && matches!(our.kind, b'E' | b'N') => Self::Scrubbed,
            _ => Self::Masked,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Statements in one session, one message each.
#[derive(Debug, Clone)]
pub struct Case {
    /// What has to come of it.
    pub outcome: Outcome,
    /// The oldest server that understands it.
    pub from: u32,
    /// Cases of the same one may share a session.
    pub session: String,
    /// One message each.
    pub statements: Vec<String>,
    /// Its file and line.
    pub place: String,
}

impl Case {
    /// Whether it begins or ends a transaction, or is about what is left of a session.
    pub fn has_transactions(&self) -> bool {
        let words = ["BEGIN", "START", "DISCARD", "RESET", "SET TRANSACTION", "PREPARE TRANSACTION"];
        self.statements.iter().any(|statement| words.iter().any(|word| statement.starts_with(word)))
    }
}

/// All cases of a folder that a server understands.
pub fn cases(folder: &str, version: Version) -> Vec<Case> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let all = files.iter().flat_map(|file| read(file));
    all.filter(|case| case.from <= version.number()).collect()
}

/// Where the files are.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pg/corpus")
}

fn read(file: &Path) -> Vec<Case> {
    let text = fs::read_to_string(file).unwrap();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let mut cases: Vec<Case> = Vec::new();
    let mut open = String::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", number + 1);
        if line.is_empty() || line.starts_with("--#") {
            assert!(open.is_empty(), "{place}: the statement above does not end with `;`");
        } else if let Some(head) = line.strip_prefix("-- ").filter(|_| open.is_empty()) {
            cases.push(headed(head, place));
        } else {
            open += line;
            let Some(whole) = open.strip_suffix(';') else {
                open.push('\n');
                continue;
            };
            let case = cases.last_mut().unwrap_or_else(|| panic!("{place}: no outcome above"));
            case.statements.push(whole.to_owned());
            open.clear();
        }
    }
    let apart = text.lines().any(|line| line == APART);
    for case in &mut cases {
        case.session = if apart { case.place.clone() } else { name.clone() };
        assert!(!case.statements.is_empty(), "{}: no statement", case.place);
    }
    cases
}

/// `OUTCOME[ from VERSION][: NOTE]`
fn headed(head: &str, place: String) -> Case {
    let what = head.split_once(": ").map_or(head, |(what, _)| what);
    let (word, from) = what.split_once(" from ").unwrap_or((what, "0"));
    let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.name() == word);
    let outcome = outcome.unwrap_or_else(|| panic!("{place}: `{word}` is no outcome"));
    Case { outcome, from: from.parse().unwrap(), session: String::new(), statements: Vec::new(), place }
}
