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
    FirstKey, Found, Layout, LayoutError, LineReader, Mark, SealChain, SealFault, open_regular, public_half,
};
use super::time::Timestamp;
use crate::id::JournalId;

/// Seals of one journal in their order, each with its number. About a tenth of the seals' file in memory.
type Marks = BTreeMap<JournalId, Vec<(u64, Mark)>>;

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
        let marks = marks.get(journal).map_or(&[][..], Vec::as_slice);
        walk_journal(layout, *journal, marks, &mut report)?;
    }
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
                marks.entry(seal.journal).or_default().push((seal.n, seal.mark));
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
    for (journal, sealed) in marks.iter().filter(|(journal, _)| !present.contains(journal)) {
        let lines = sealed.last().map_or(0, |(_, mark)| mark.seq.0);
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
