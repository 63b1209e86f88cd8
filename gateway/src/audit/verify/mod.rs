//! Is the record what was written? Checked offline, from the files alone.
//!
//! In: a state directory that somebody may have tampered with, and, where the operator noted it, the first public key.
//! Out: a report that names the first broken record of each journal and of the seals. It needs no root where the files
//! can be read, changes nothing, trusts no index, and never calls sound what it could not read.

mod report;
mod walk;
mod copy;
mod noted;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use copy::{CopiedJournal, CopyError, CopyFinding, CopyProblem, CopyReport, Here, verify_copy};
pub use noted::check_noted;
pub use report::{Finding, JournalReport, Problem, Report, Unsealed};

use self::walk::walk_journal;
use super::hex;
use super::journal::{
    FirstKey, Found, Layout, LayoutError, LineReader, Mark, Says, SealChain, SealFault, Seq, open_regular, public_half,
};
use super::time::Timestamp;
use crate::id::JournalId;

/// What the seals say of each journal. About a tenth of the seals' file in memory.
type Marks = BTreeMap<JournalId, SealedLines>;

/// What the seals say of one journal.
#[derive(Debug, Default)]
struct SealedLines {
    /// In their order, each with its number.
    marks: Vec<(u64, Mark)>,
    /// What is before this was removed since it was old enough.
    removed: Option<Mark>,
}

impl SealedLines {
    fn last(&self) -> Seq {
        self.marks.last().map_or(Seq(0), |(_, mark)| mark.seq)
    }

    fn is_all_removed(&self) -> bool {
        self.removed.is_some_and(|removed| removed.seq >= self.last())
    }
}

/// A seal replaces the key in two steps of microseconds; four looks are not all between them.
const KEY_ATTEMPTS: usize = 4;

/// Checks every journal and every seal. `noted` is the first public key as it was noted at install; without it, a whole
/// directory that was made anew is not told from the real one. Errs only if the folder cannot be listed.
pub fn verify(layout: &Layout, noted: Option<FirstKey>) -> Result<Report, LayoutError> {
    let mut report = Report::default();
    let marks = check_seals(layout, noted, &mut report);
    let (journals, strangers) = layout.journals()?;
    report.notes.extend(strangers.into_iter().map(|path| Finding::new(&path, None, Problem::Stranger)));
    for journal in &journals {
        let none = SealedLines::default();
        walk_journal(layout, *journal, marks.get(journal).unwrap_or(&none), &mut report)?;
    }
    report.removed = marks.values().filter_map(|one| one.removed).map(|removed| removed.seq.0).sum();
    check_none_missing(layout, &journals, &marks, &mut report);
    Ok(report)
}

/// Walks the seals and returns those that hold.
fn check_seals(layout: &Layout, noted: Option<FirstKey>, report: &mut Report) -> Marks {
    let (path, anchor) = (layout.seals(), layout.first_key());
    let stored = FirstKey::load(&anchor);
    if let (Some(noted), Ok(stored)) = (noted, &stored)
        && noted != *stored
    {
        let problem = Problem::Anchor { expected: noted.to_string(), found: stored.to_string() };
        report.breach(&anchor, None, problem);
    }
    let first = match (noted, stored) {
        (Some(noted), _) => noted,
        (None, Ok(stored)) => stored,
        (None, Err(error)) => {
            report.breach(&anchor, None, Problem::Unreadable { cause: error.to_string() });
            return Marks::new();
        }
    };
    report.first_key = Some(first.to_string());
    let mut chain = SealChain::new(first.0);
    let mut marks = Marks::new();
    if let Err(problem) = check_chain(layout, &mut chain, &mut marks, report) {
        report.breach(&path, Some(chain.sealed + 1), problem);
    }
    report.seals = chain.sealed;
    marks
}

/// Reads the seals, and whether the private key on disk is the one that the last of them names: else seals were cut
/// behind it. Asked again a few times, since the warden may be sealing.
fn check_chain(layout: &Layout, chain: &mut SealChain, marks: &mut Marks, report: &mut Report) -> Result<(), Problem> {
    let mut lines = LineReader::new(open_regular(&layout.seals())?, 0)?;
    for _ in 0..KEY_ATTEMPTS {
        let torn = read_seals(&mut lines, chain, marks, report)?;
        let unread = match named_key_is_there(layout, chain) {
            Ok(false) => continue,
            Ok(true) => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(bytes) = torn {
            report.note(&layout.seals(), Some(chain.sealed + 1), Problem::Torn { bytes });
        }
        if let Some(cause) = unread {
            report.note(&layout.key(), None, Problem::KeyUnread { cause });
        }
        return Ok(());
    }
    report.breach(&layout.key(), None, Problem::Key { expected: hex::encode(&chain.key) });
    Ok(())
}

/// Reads on to the end; returns the size of a torn last seal.
fn read_seals(
    lines: &mut LineReader,
    chain: &mut SealChain,
    marks: &mut Marks,
    report: &mut Report,
) -> Result<Option<usize>, Problem> {
    loop {
        match lines.next()? {
            Found::Line(_) => {
                let seal = chain.accept(lines.line()).map_err(|fault| Problem::Seal { fault })?;
                report.last_seal = Some(seal.time);
                let of_journal = marks.entry(seal.journal).or_default();
                match seal.says {
                    Says::Written => of_journal.marks.push((seal.n, seal.mark)),
                    Says::Removed => of_journal.removed = Some(seal.mark),
                }
            }
            Found::Torn(bytes) => return Ok(Some(bytes)),
            Found::TooLong => return Err(Problem::Seal { fault: SealFault::Malformed }),
            Found::End => return Ok(None),
        }
    }
}

/// While a seal is being written, the key that it names still has the other name.
fn named_key_is_there(layout: &Layout, chain: &SealChain) -> std::io::Result<bool> {
    Ok(public_half(&layout.key())? == Some(chain.key) || public_half(&layout.next_key())? == Some(chain.key))
}

/// A journal that a seal or another journal names must be there.
fn check_none_missing(layout: &Layout, journals: &[JournalId], marks: &Marks, report: &mut Report) {
    let present: BTreeSet<JournalId> = journals.iter().copied().collect();
    let missing = marks.iter().filter(|(journal, sealed)| !present.contains(journal) && !sealed.is_all_removed());
    for (journal, sealed) in missing {
        let lines = sealed.last().0;
        report.breach(&layout.journal(*journal), None, Problem::JournalMissing { lines });
    }
    let named: Vec<_> = report.journals.iter().filter_map(|one| Some((one.journal, one.previous?))).collect();
    for (journal, previous) in named {
        if !present.contains(&previous) && !marks.contains_key(&previous) {
            report.breach(&layout.journal(previous), None, Problem::PreviousMissing { named_by: journal });
        }
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::Unreadable { cause: error.to_string() }
    }
}

impl Report {
    fn breach(&mut self, path: &Path, line: Option<u64>, problem: Problem) {
        self.breaches.push(Finding::new(path, line, problem));
    }

    fn note(&mut self, path: &Path, line: Option<u64>, problem: Problem) {
        self.notes.push(Finding::new(path, line, problem));
    }
}

impl Unsealed {
    fn new(lines: u64, oldest: Timestamp) -> Self {
        Self { lines, oldest, seconds: Timestamp::now().seconds_since(oldest) }
    }
}
