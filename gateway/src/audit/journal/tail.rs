//! Following one journal: what its writer added since the last look.
//!
//! In: the journal's segments, as another process appends to them. Out: a running hash, index records, and a breach as
//! soon as the file is not what was read of it before. It holds no descriptor between two looks, writes nothing but
//! the index, and says nothing about lines that it did not read.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use serde::Serialize;

use super::index::IndexWriter;
use super::line::{Hash, LineFault, ZERO_HASH, hash_of, parse};
use super::seal::Mark;
use super::segment::{Found, LineReader, line_before, open_regular};
use super::{Layout, Seq};
use crate::audit::hex;
use crate::id::JournalId;

/// A journal that is not what was read or sealed of it before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("journal {journal}, segment {segment}, after line {last_good}: {kind}")]
pub struct Breach {
    /// The journal.
    pub journal: JournalId,
    /// The segment.
    pub segment: u32,
    /// The last line that is known good; zero: none.
    pub last_good: Seq,
    /// What was found.
    pub kind: BreachKind,
}

/// What is wrong with a followed journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum BreachKind {
    /// Shorter than it was.
    #[error("the file was cut: it has {found} bytes, {expected} were read or sealed before")]
    Cut {
        /// Read or sealed before.
        expected: u64,
        /// Its size.
        found: u64,
    },
    /// Not there any more.
    #[error("the file is gone")]
    Missing,
    /// Another file has its name.
    #[error("the file was replaced by another one")]
    Replaced,
    /// The last line that was read or sealed is another one now.
    #[error("its last known line was changed: expected the hash {expected}")]
    Changed {
        /// Of the line as it was.
        expected: String,
    },
    /// A new line is no line.
    #[error("the next line is no journal line: {fault}")]
    Line {
        /// What is wrong with it.
        fault: LineFault,
    },
    /// A new line does not follow the one before.
    #[error("the next line does not follow: expected {expected}, found {found}")]
    Follow {
        /// What it should say.
        expected: String,
        /// What it says.
        found: String,
    },
    /// It cannot be read now; the next look tries again.
    #[error("it cannot be read: {cause}")]
    Unreadable {
        /// What the system says.
        cause: String,
    },
}

impl From<io::Error> for BreachKind {
    fn from(error: io::Error) -> Self {
        Self::Unreadable { cause: error.to_string() }
    }
}

impl BreachKind {
    pub(super) fn is_lasting(&self) -> bool {
        !matches!(self, Self::Unreadable { .. })
    }
}

/// A file as it was when last read: if none of these changed, nothing did that a follower could see.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
}

impl Seen {
    fn of(state: &Metadata) -> Self {
        Self { inode: (state.dev(), state.ino()), size: state.len(), modified: (state.mtime(), state.mtime_nsec()) }
    }
}

/// How far a journal was read.
#[derive(Debug)]
pub(super) struct Tail {
    journal: JournalId,
    /// Of the last line read.
    at: Mark,
    /// Where that line begins.
    last_start: u64,
    /// End of the segment before, for as long as no line of this one was read.
    complete: Option<Mark>,
    pub(super) sealed: Option<Mark>,
    index: Option<IndexWriter>,
    seen: Option<Seen>,
    pub(super) broken: bool,
}

impl Tail {
    /// Starts behind the last seal, or at the beginning of the segment where there is none or the index is not good.
    pub(super) fn open(layout: &Layout, journal: JournalId, sealed: Option<Mark>) -> Result<Self, BreachKind> {
        let segment = sealed.map_or(1, |mark| mark.segment);
        let path = layout.segment(journal, segment);
        let at = Mark { segment, seq: Seq(0), bytes: 0, head: ZERO_HASH };
        let mut tail = Self::new(journal, at, sealed);
        let first = match open_regular(&path) {
            // Named in a seal, it must be there; else its writer is about to be given it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && sealed.is_none() => return Ok(tail),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BreachKind::Missing),
            other => tail.first_of(other?)?,
        };
        if let Some((seq, prev)) = first.filter(|_| segment > 1) {
            (tail.at.seq, tail.at.head) = (Seq(seq.0.saturating_sub(1)), prev);
        }
        let Some(mark) = sealed else { return Ok(tail) };
        let file = open_regular(&path)?;
        let size = file.metadata()?.len();
        if size < mark.bytes {
            return Err(BreachKind::Cut { expected: mark.bytes, found: size });
        }
        // Its hash is checked by the first look, as by any other.
        let last = line_before(&file, mark.bytes)?;
        let last = last.ok_or_else(|| BreachKind::Changed { expected: hex::encode(&mark.head) })?;
        let lines = mark.seq.0.saturating_sub(tail.at.seq.0);
        tail.index = IndexWriter::resume(&layout.index(journal, segment), journal, lines);
        if tail.index.is_some() {
            tail.last_start = mark.bytes - last.len() as u64 - 1;
            tail.at = mark;
        }
        Ok(tail)
    }

    /// A journal that did not match its seal when it was opened; it is not followed any further.
    pub(super) fn broken(journal: JournalId, sealed: Option<Mark>) -> Self {
        let at = sealed.unwrap_or(Mark { segment: 1, seq: Seq(0), bytes: 0, head: ZERO_HASH });
        Self { broken: true, ..Self::new(journal, at, sealed) }
    }

    fn new(journal: JournalId, at: Mark, sealed: Option<Mark>) -> Self {
        Self { journal, at, last_start: 0, complete: None, sealed, index: None, seen: None, broken: false }
    }

    /// Number and `prev` of a segment's first line.
    fn first_of(&self, file: File) -> Result<Option<(Seq, Hash)>, BreachKind> {
        let mut lines = LineReader::new(file, 0)?;
        match lines.next()? {
            Found::Line(_) => {
                let head = parse(lines.line()).map_err(|fault| BreachKind::Line { fault })?;
                Ok(Some((head.seq, head.prev)))
            }
            Found::End | Found::Torn(_) => Ok(None),
            Found::TooLong => Err(BreachKind::Line { fault: LineFault::TooLong }),
        }
    }

    /// What was read so far, if any line was.
    pub(super) fn mark(&self) -> Option<Mark> {
        if self.at.bytes > 0 { Some(self.at) } else { self.complete }
    }

    /// Names a breach at this place.
    pub(super) fn breach(&self, kind: BreachKind) -> Breach {
        Breach { journal: self.journal, segment: self.at.segment, last_good: self.at.seq, kind }
    }

    /// Reads what was added, through later segments too. Returns how many lines.
    pub(super) fn follow(&mut self, layout: &Layout) -> Result<u64, BreachKind> {
        let before = self.at.seq.0;
        loop {
            // Looked for first: once the next segment has a line, this one is complete.
            let moves_on = layout.length(self.journal, self.at.segment + 1).is_some_and(|length| length > 0);
            self.read_segment(layout)?;
            if !moves_on {
                return Ok(self.at.seq.0 - before);
            }
            self.complete = self.mark();
            self.at = Mark { segment: self.at.segment + 1, bytes: 0, ..self.at };
            (self.last_start, self.index, self.seen) = (0, None, None);
        }
    }

    fn read_segment(&mut self, layout: &Layout) -> Result<(), BreachKind> {
        let path = layout.segment(self.journal, self.at.segment);
        let state = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.at.seq == Seq(0) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BreachKind::Missing),
            other => Seen::of(&other?),
        };
        if self.seen.as_ref() == Some(&state) {
            return Ok(());
        }
        if self.seen.as_ref().is_some_and(|seen| seen.inode != state.inode) {
            return Err(BreachKind::Replaced);
        }
        let file = open_regular(&path)?;
        self.check_last_line(&file)?;
        if self.index.is_none() {
            // Without an index a session is found by reading; that is no reason not to follow.
            self.index = (self.at.bytes == 0)
                .then(|| IndexWriter::create(&layout.index(self.journal, self.at.segment), self.journal).ok())
                .flatten();
        }
        let mut lines = LineReader::new(file, self.at.bytes)?;
        // Not beyond the size seen at first: a writer that never stops must not hold the sealer.
        while lines.offset() < state.size {
            match lines.next()? {
                Found::Line(start) => self.take_line(&lines, start)?,
                Found::End | Found::Torn(_) => break,
                Found::TooLong => return Err(BreachKind::Line { fault: LineFault::TooLong }),
            }
        }
        if self.index.as_mut().is_some_and(|index| index.flush().is_err()) {
            self.index = None;
        }
        self.seen = Some(state);
        Ok(())
    }

    fn check_last_line(&self, file: &File) -> Result<(), BreachKind> {
        let found = file.metadata()?.len();
        if found < self.at.bytes {
            return Err(BreachKind::Cut { expected: self.at.bytes, found });
        }
        if self.at.bytes == 0 {
            return Ok(());
        }
        let length = usize::try_from(self.at.bytes - self.last_start).unwrap_or_default();
        let mut line = vec![0; length];
        file.read_exact_at(&mut line, self.last_start)?;
        match line.pop() {
            Some(b'\n') if hash_of(&line) == self.at.head => Ok(()),
            _ => Err(BreachKind::Changed { expected: hex::encode(&self.at.head) }),
        }
    }

    fn take_line(&mut self, lines: &LineReader, start: u64) -> Result<(), BreachKind> {
        let head = parse(lines.line()).map_err(|fault| BreachKind::Line { fault })?;
        let differs = |expected: String, found: String| Err(BreachKind::Follow { expected, found });
        if head.journal != self.journal {
            return differs(format!("journal {}", self.journal), format!("journal {}", head.journal));
        }
        let seq = self.at.seq.next();
        if head.seq != seq {
            return differs(format!("line {seq}"), format!("line {}", head.seq));
        }
        if head.prev != self.at.head {
            return differs(hex::encode(&self.at.head), hex::encode(&head.prev));
        }
        let at = Mark { segment: self.at.segment, seq, bytes: lines.offset(), head: hash_of(lines.line()) };
        if self.sealed.is_some_and(|mark| mark.seq == seq && mark != at) {
            return Err(BreachKind::Changed { expected: hex::encode(&self.sealed.unwrap_or(at).head) });
        }
        let session = head.session;
        (self.at, self.last_start) = (at, start);
        if self.index.as_mut().is_some_and(|index| index.push(start, session).is_err()) {
            self.index = None;
        }
        Ok(())
    }
}
