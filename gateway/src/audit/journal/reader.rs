//! Reading what was recorded, while it is being written.
//!
//! In: the files of all journals, which may be hostile, torn or growing. Out: records by time, filtered; and where a
//! line is none, its place. It proves nothing (that is `verify`, which trusts no index), skips nothing that it read, and
//! holds no more than one line of each journal.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::index::look_up;
use super::line::{Head, LineFault, parse};
use super::segment::{Found, LineReader};
use super::{Layout, LayoutError, Seq};
use crate::audit::event::{JournalOpened, Role};
use crate::audit::time::Timestamp;
use crate::id::{JournalId, SessionId};

/// The journals cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The folder cannot be listed.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A segment cannot be read.
    #[error("cannot read `{path}`: run as root or as a member of its group")]
    Segment {
        /// The segment.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// One line of a journal; kinds and fields that this version does not know pass through.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// Its journal.
    pub journal: JournalId,
    /// Its session, if it belongs to one.
    pub session: Option<SessionId>,
    /// When it was written.
    pub time: Timestamp,
    /// Its number.
    pub seq: Seq,
    /// Its kind.
    pub kind: String,
    /// Its fields.
    pub body: Value,
}

/// A place where a record should be and is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("`{path}` at byte {offset}: {fault}")]
pub struct Broken {
    /// The segment.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What is wrong.
    pub fault: LineFault,
}

/// What a listing yields.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A line.
    Record(Record),
    /// A line that cannot be read; the listing goes on behind it, unless no line's end is found.
    Broken(Broken),
}

/// Which records; empty: all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this journal alone.
    pub journal: Option<JournalId>,
    /// Of this session alone; found by index.
    pub session: Option<SessionId>,
    /// Of one of these kinds; a kind that ends with `.` stands for all that begin so.
    pub kinds: Vec<String>,
    /// From this line on, in each journal.
    pub from: Seq,
    /// Not older.
    pub since: Option<Timestamp>,
}

impl Filter {
    fn accepts(&self, head: &Head<'_>) -> bool {
        self.session.is_none_or(|session| head.session == Some(session))
            && head.seq >= self.from
            && self.since.is_none_or(|since| head.time >= since)
            && self.accepts_kind(head.kind)
    }

    /// Whether it wants a kind.
    #[must_use]
    pub fn accepts_kind(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|wanted| is_of(wanted, kind))
    }
}

/// Whether a name stands for a kind: its own, or, where it ends with `.`, all that begin so.
#[must_use]
pub fn is_of(wanted: &str, kind: &str) -> bool {
    wanted == kind || (wanted.ends_with('.') && kind.starts_with(wanted))
}

/// Reads the journals of a state directory.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) layout: Layout,
}

impl Reader {
    /// A reader; opens nothing yet.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self { layout }
    }

    /// The records that a filter accepts, by time. Errs if the folder cannot be listed.
    pub fn records(&self, filter: Filter) -> Result<Records, ReadError> {
        let mut records = Records { layout: self.layout.clone(), filter, known: BTreeSet::new(), streams: Vec::new() };
        records.refresh()?;
        Ok(records)
    }

    /// The journal that a process of this role opened last, which the next one names as the one before it. Errs as
    /// `records` does.
    pub fn latest(&self, role: Role) -> Result<Option<JournalId>, ReadError> {
        let (journals, _) = self.layout.journals()?;
        for journal in journals.into_iter().rev() {
            let mut records = self.records(Filter { journal: Some(journal), ..Filter::default() })?;
            let Some(Item::Record(first)) = records.next_item()? else { continue };
            if JournalOpened::deserialize(&first.body).is_ok_and(|opened| opened.role == role) {
                return Ok(Some(journal));
            }
        }
        Ok(None)
    }
}

/// A listing. After `None` it may be asked again, and yields what was written since.
#[derive(Debug)]
pub struct Records {
    layout: Layout,
    filter: Filter,
    known: BTreeSet<JournalId>,
    streams: Vec<Stream>,
}

impl Records {
    /// Looks for journals that were opened since. Errs if the folder cannot be listed.
    pub fn refresh(&mut self) -> Result<(), ReadError> {
        let (journals, _) = self.layout.journals()?;
        for journal in journals {
            if self.filter.journal.is_none_or(|only| only == journal) && self.known.insert(journal) {
                self.streams.push(Stream::new(&self.layout, journal, self.filter.session));
            }
        }
        Ok(())
    }

    /// The next item; none when there is nothing more for now. Errs if a segment cannot be read.
    pub fn next_item(&mut self) -> Result<Option<Item>, ReadError> {
        // Streams at their end are asked again only when all are, or each item would cost a read of each.
        if self.streams.iter().all(|stream| stream.ahead.is_none()) {
            self.streams.iter_mut().filter(|stream| stream.end == End::Ended).for_each(|stream| stream.end = End::Open);
        }
        for stream in &mut self.streams {
            stream.fill(&self.layout, &self.filter)?;
        }
        let oldest = self.streams.iter_mut().filter(|stream| stream.ahead.is_some()).min_by_key(|stream| stream.time);
        Ok(oldest.and_then(|stream| stream.ahead.take()))
    }
}

/// One journal in a listing.
#[derive(Debug)]
struct Stream {
    journal: JournalId,
    segment: u32,
    path: PathBuf,
    lines: Option<LineReader>,
    /// Lines that the index names, to be read first; then everything from `offset` on.
    hits: VecDeque<u64>,
    offset: u64,
    /// Whether `offset` is only the index's word.
    unproven: bool,
    ahead: Option<Item>,
    /// Of the last record: what is broken sorts with it.
    time: Timestamp,
    /// Of the last record that was yielded.
    last: Seq,
    /// Lines up to this one were yielded already, by an index that then proved wrong.
    yielded: Seq,
    end: End,
}

/// Whether a stream has more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It may.
    Open,
    /// Not in this segment, and the next one has begun: one more look, since a line may have come between the two.
    LastLook,
    /// Not for now.
    Ended,
    /// Behind this place no line's end is found.
    Stuck,
}

impl Stream {
    fn new(layout: &Layout, journal: JournalId, session: Option<SessionId>) -> Self {
        let first = layout.files(journal).ok().and_then(|files| files.segments.first().copied());
        let mut stream = Self {
            journal,
            segment: 0,
            path: PathBuf::new(),
            lines: None,
            hits: VecDeque::new(),
            offset: 0,
            unproven: false,
            ahead: None,
            time: Timestamp::from_micros(0),
            last: Seq(0),
            yielded: Seq(0),
            end: End::Open,
        };
        stream.begin(layout, first.unwrap_or(1), session);
        stream
    }

    /// Goes to a segment, and takes the index's word for where the session's lines are; each is checked when read.
    fn begin(&mut self, layout: &Layout, segment: u32, session: Option<SessionId>) {
        (self.segment, self.path, self.lines) = (segment, layout.segment(self.journal, segment), None);
        let index = layout.index(self.journal, segment);
        let size = layout.length(self.journal, segment).unwrap_or(0);
        let offsets = session.map(|session| look_up(&index, self.journal, session));
        let offsets = offsets.filter(|offsets| offsets.last < size).unwrap_or_default();
        self.hits = offsets.hits.into_iter().filter(|hit| *hit < offsets.last).collect();
        (self.offset, self.unproven, self.end) = (offsets.last, offsets.last > 0, End::Open);
    }

    /// Reads on until there is an item ahead, or nothing more.
    fn fill(&mut self, layout: &Layout, filter: &Filter) -> Result<(), ReadError> {
        while self.ahead.is_none() && matches!(self.end, End::Open | End::LastLook) {
            let looked = self.end;
            self.step(layout, filter).map_err(|source| ReadError::Segment { path: self.path.clone(), source })?;
            if self.end == End::Ended {
                let begun = layout.length(self.journal, self.segment + 1).is_some_and(|length| length > 0);
                match looked {
                    End::LastLook => self.begin(layout, self.segment + 1, filter.session),
                    _ if begun => self.end = End::LastLook,
                    // No descriptor is held for a journal that ended long ago.
                    _ => self.lines = None,
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, layout: &Layout, filter: &Filter) -> io::Result<()> {
        let hit = self.hits.pop_front();
        let at = hit.unwrap_or(self.offset);
        let by_index = hit.is_some() || self.unproven;
        let lines = match &mut self.lines {
            Some(lines) => lines,
            none => match layout.open_segment(self.journal, self.segment) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.end = End::Ended;
                    return Ok(());
                }
                other => {
                    let (path, file) = other?;
                    self.path = path;
                    none.insert(LineReader::new(file, at)?)
                }
            },
        };
        lines.move_to(at)?;
        let fault = match lines.next()? {
            Found::Line(_) => match parse(lines.line()) {
                Ok(head) if hit.is_none() || head.session == filter.session => {
                    self.time = head.time;
                    if head.seq > self.yielded && filter.accepts(&head) {
                        self.ahead = Some(record(&head, (&self.path, at)));
                        self.last = head.seq;
                    }
                    None
                }
                Err(fault) if !by_index => Some(fault),
                _ => return self.distrust_index(),
            },
            _ if by_index => return self.distrust_index(),
            // A torn tail is being written, or was never acknowledged: `verify` names it.
            Found::End | Found::Torn(_) => {
                self.end = End::Ended;
                return Ok(());
            }
            Found::TooLong => {
                self.end = End::Stuck;
                Some(LineFault::TooLong)
            }
        };
        if hit.is_none() {
            (self.offset, self.unproven) = (lines.offset(), false);
        }
        if let Some(fault) = fault {
            self.ahead = Some(broken((&self.path, at), fault));
        }
        Ok(())
    }

    /// The index is not of this file: all of it is read instead.
    fn distrust_index(&mut self) -> io::Result<()> {
        self.hits.clear();
        (self.offset, self.unproven, self.yielded) = (0, false, self.last);
        Ok(())
    }
}

fn broken((path, offset): (&Path, u64), fault: LineFault) -> Item {
    Item::Broken(Broken { path: path.to_owned(), offset, fault })
}

fn record(head: &Head<'_>, place: (&Path, u64)) -> Item {
    // `serde_json` bounds the nesting that it follows to 128.
    let Ok(body) = serde_json::from_slice(head.body) else {
        return broken(place, LineFault::Malformed { expected: "a body of json" });
    };
    Item::Record(Record {
        journal: head.journal,
        session: head.session,
        time: head.time,
        seq: head.seq,
        kind: head.kind.to_owned(),
        body,
    })
}
