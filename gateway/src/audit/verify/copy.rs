//! Is the copy what was written here, and is here what was copied?
//!
//! In: the copy of an installation's journals, and, for this host, the files they were copied from. Out: a report that
//! names, for each journal, the first line that is not the same in both, or that its own chain or a seal disowns. Lines
//! that are not copied yet are counted and no breach.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use serde::Serialize;

use super::report::Report;
use super::{Marks, SealedLines, check_seals};
use crate::audit::clickhouse::{Checkpoint, Copied, Store, StoreError};
use crate::audit::hex;
use crate::audit::journal::{
    FirstKey, Found, Hash, Layout, LayoutError, LineFault, LineReader, Mark, Seq, ZERO_HASH, hash_of, parse,
};
use crate::id::{HostId, JournalId};

/// The copy cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The server is not reached, or says no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journals here cannot be listed.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A segment cannot be read.
    #[error("cannot read the journal {journal}: run as root")]
    Journal {
        /// Which one.
        journal: JournalId,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// What is wrong with a line of the copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "problem")]
pub enum CopyProblem {
    /// No line of the format.
    #[error("the copy has no journal line: {fault}")]
    Line {
        /// What is wrong.
        fault: LineFault,
    },
    /// A line that stands in another one's place.
    #[error("the copy has a line of another number, journal or kind than its row says")]
    Row,
    /// Two lines with one number.
    #[error("the copy has two lines with this number: the journal or the copy was changed")]
    Two,
    /// Lines are missing.
    #[error("the copy lacks lines {from} to {to}")]
    Missing {
        /// First of them.
        from: Seq,
        /// Last of them.
        to: Seq,
    },
    /// The chain is broken.
    #[error(
        "in the copy this line, or the one before it, was changed: `prev` is {found}, the line before it has {expected}"
    )]
    Prev {
        /// Hash of the line before.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// Not what was sealed.
    #[error("in the copy this line is not the one that seal {seal} covers")]
    Sealed {
        /// Number of the seal.
        seal: u64,
    },
    /// Not what stands here.
    #[error("this line is another one here than in the copy: one of both was changed")]
    Differs,
    /// The copy has it and this host does not.
    #[error("the copy has this line and this host does not: the journal here was cut or removed")]
    NotHere,
}

/// A problem and its line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopyFinding {
    /// The journal.
    pub journal: JournalId,
    /// The line.
    pub seq: Seq,
    /// What is wrong.
    #[serde(flatten)]
    pub problem: CopyProblem,
}

/// What the copy has of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CopiedJournal {
    /// The journal.
    pub journal: JournalId,
    /// Lines that hold; fewer than there are if one is broken.
    pub lines: u64,
    /// Lines here that are not in the copy yet.
    pub not_copied: u64,
}

/// The verdict on the copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopyReport {
    /// The installation.
    pub host: HostId,
    /// Each journal, of the copy or of this host.
    pub journals: Vec<CopiedJournal>,
    /// What proves tampering or loss.
    pub breaches: Vec<CopyFinding>,
}

impl CopyReport {
    /// Whether nothing is broken.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.breaches.is_empty()
    }
}

impl fmt::Display for CopyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |count: fn(&CopiedJournal) -> u64| self.journals.iter().map(count).sum::<u64>();
        let verdict = if self.is_sound() { "sound" } else { "BROKEN" };
        let (journals, lines) = (self.journals.len(), sum(|journal| journal.lines));
        writeln!(
            f,
            "copy {verdict}: {journals} journals, {lines} lines, {} not copied yet",
            sum(|one| one.not_copied)
        )?;
        self.breaches.iter().try_for_each(|finding| {
            writeln!(f, "breach: journal {} line {}: {}", finding.journal, finding.seq, finding.problem)
        })
    }
}

/// What the copy is held against.
#[derive(Debug)]
pub struct Here<'a> {
    /// The files.
    pub layout: &'a Layout,
    /// The first public key, where it was noted.
    pub noted: Option<FirstKey>,
    /// What the copy has acknowledged.
    pub acknowledged: Checkpoint,
}

/// Checks the copy of an installation's journals; with `here`, line by line against its files and seals.
///
/// # Errors
/// Where the copy or the files cannot be read.
pub async fn verify_copy(store: &Store, host: HostId, here: Option<Here<'_>>) -> Result<CopyReport, CopyError> {
    let mut report = CopyReport { host, journals: Vec::new(), breaches: Vec::new() };
    let mut journals: BTreeSet<JournalId> = store.copied_journals(host).await?.into_iter().collect();
    let mut marks = Marks::new();
    if let Some(here) = &here {
        journals.extend(here.layout.journals()?.0);
        // What is wrong with the seals themselves, `verify` says.
        marks = check_seals(here.layout, here.noted, &mut Report::default());
    }
    for journal in journals {
        let conflict = store.first_conflict(host, journal).await?;
        let mut walk = Walk { journal, seq: Seq(0), head: ZERO_HASH, conflict };
        let mut side = Side::new(journal, here.as_ref().map(|here| here.layout), marks.remove(&journal));
        let mut lines = store.copied_lines(host, journal)?;
        let unread = |source| CopyError::Journal { journal, source };
        let mut breach = None;
        while let (Some(copied), None) = (lines.next().await?, &breach) {
            breach = walk.line(&copied, &mut side).map_err(unread)?.map(|problem| (Seq(copied.seq), problem));
        }
        let acknowledged = here.as_ref().map_or(Seq(0), |here| here.acknowledged.place(journal).seq);
        if breach.is_none() && acknowledged > walk.seq {
            breach = Some((acknowledged, CopyProblem::Missing { from: walk.seq.next(), to: acknowledged }));
        }
        let not_copied = side.rest().map_err(unread)?;
        report.breaches.extend(breach.map(|(seq, problem)| CopyFinding { journal, seq, problem }));
        report.journals.push(CopiedJournal { journal, lines: walk.seq.0, not_copied });
    }
    Ok(report)
}

/// One journal of the copy, line by line.
struct Walk {
    journal: JournalId,
    seq: Seq,
    head: Hash,
    conflict: Option<Seq>,
}

impl Walk {
    /// What is wrong with the next line, if anything is.
    fn line(&mut self, copied: &Copied, side: &mut Side<'_>) -> io::Result<Option<CopyProblem>> {
        let (seq, hash) = (Seq(copied.seq), hash_of(copied.line.as_bytes()));
        if seq == self.seq && hash == self.head {
            // Sent twice.
            return Ok(None);
        }
        if let Err(problem) = self.check(copied, (seq, hash), side.marks.get(&seq)) {
            return Ok(Some(problem));
        }
        match side.next_from(seq)? {
            Next::Line(here) if here != hash => return Ok(Some(CopyProblem::Differs)),
            Next::None => return Ok(Some(CopyProblem::NotHere)),
            Next::Line(_) | Next::NotAsked => {}
        }
        (self.seq, self.head) = (seq, hash);
        Ok(None)
    }

    fn check(&self, copied: &Copied, (seq, hash): (Seq, Hash), mark: Option<&(u64, Mark)>) -> Result<(), CopyProblem> {
        let next = self.seq.next();
        if self.conflict == Some(seq) {
            return Err(CopyProblem::Two);
        }
        if seq > next {
            return Err(CopyProblem::Missing { from: next, to: Seq(seq.0.saturating_sub(1)) });
        }
        let head = parse(copied.line.as_bytes()).map_err(|fault| CopyProblem::Line { fault })?;
        if head.journal != self.journal || head.seq != seq || seq != next || head.kind != copied.event {
            return Err(CopyProblem::Row);
        }
        if head.prev != self.head {
            let (expected, found) = (hex::encode(&self.head), hex::encode(&head.prev));
            return Err(CopyProblem::Prev { expected, found });
        }
        match mark {
            Some((seal, mark)) if mark.head != hash => Err(CopyProblem::Sealed { seal: *seal }),
            _ => Ok(()),
        }
    }
}

/// What this host has of a journal.
struct Side<'a> {
    journal: JournalId,
    layout: Option<&'a Layout>,
    marks: BTreeMap<Seq, (u64, Mark)>,
    removed: Seq,
    segment: u32,
    lines: Option<LineReader>,
}

enum Next {
    /// Its hash.
    Line(Hash),
    /// There is no further one.
    None,
    /// It is the copy of another host.
    NotAsked,
}

impl<'a> Side<'a> {
    fn new(journal: JournalId, layout: Option<&'a Layout>, sealed: Option<SealedLines>) -> Self {
        let SealedLines { marks, removed } = sealed.unwrap_or_default();
        let marks = marks.into_iter().map(|(seal, mark)| (mark.seq, (seal, mark))).collect();
        let (removed, segment) = removed.map_or((Seq(0), 1), |removed| (removed.seq, removed.segment + 1));
        Self { journal, layout, marks, removed, segment, lines: None }
    }

    /// The line here that has this number; what was removed here since it was old enough is in the copy alone.
    fn next_from(&mut self, seq: Seq) -> io::Result<Next> {
        if seq <= self.removed { Ok(Next::NotAsked) } else { self.next() }
    }

    /// The next line here. A line that is in the copy was here before: what is at its end now was not cut meanwhile.
    fn next(&mut self) -> io::Result<Next> {
        let Some(layout) = self.layout else { return Ok(Next::NotAsked) };
        loop {
            let lines = match &mut self.lines {
                Some(lines) => lines,
                none => match layout.open_segment(self.journal, self.segment) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Next::None),
                    found => none.insert(LineReader::new(found?.1, 0)?),
                },
            };
            match lines.next()? {
                Found::Line(_) => return Ok(Next::Line(hash_of(lines.line()))),
                Found::Torn(_) | Found::TooLong => return Ok(Next::None),
                Found::End => {
                    if layout.length(self.journal, self.segment + 1).is_none() {
                        return Ok(Next::None);
                    }
                    (self.segment, self.lines) = (self.segment + 1, None);
                }
            }
        }
    }

    /// How many lines are left.
    fn rest(&mut self) -> io::Result<u64> {
        let mut count = 0;
        while let Next::Line(_) = self.next()? {
            count += 1;
        }
        Ok(count)
    }
}
