//! One journal, line by line, against its own chain and its seals.
//!
//! In: a journal's segments and the marks of good seals. Out: how far it holds, and the first record that does not. It
//! stops there: what comes behind a broken record proves nothing.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;

use super::SealedLines;
use super::report::{JournalReport, Problem, Report, Unsealed};
use crate::audit::event::JournalOpened;
use crate::audit::hex;
use crate::audit::journal::{
    Found, Hash, Head, Layout, LayoutError, LineFault, LineReader, Mark, Seq, ZERO_HASH, hash_of, parse,
};
use crate::audit::time::Timestamp;
use crate::id::JournalId;

/// A file and a line in it.
type Place = (PathBuf, u64);

/// A problem and the line that has it.
type Fault = (Place, Problem);

struct Walk<'a> {
    journal: JournalId,
    /// The end of what is not there any more.
    removed: Mark,
    seq: Seq,
    head: Hash,
    /// Of the last line.
    place: Place,
    /// Seals that are not reached yet.
    marks: &'a [(u64, Mark)],
    sealed: Seq,
    last_sealed: Seq,
    unsealed_since: Option<Timestamp>,
    opened: Option<JournalOpened>,
    torn: Option<(Place, usize)>,
}

pub(super) fn walk_journal(
    layout: &Layout,
    journal: JournalId,
    sealed: &SealedLines,
    report: &mut Report,
) -> Result<(), LayoutError> {
    let files = layout.files(journal)?;
    for path in &files.strangers {
        report.note(path, None, Problem::Stranger);
    }
    let removed = sealed.removed.map_or(0, |removed| removed.segment);
    let (gone, left): (Vec<u32>, Vec<u32>) = files.segments.into_iter().partition(|segment| *segment <= removed);
    for segment in &gone {
        report.note(&layout.segment(journal, *segment), None, Problem::Leftover);
    }
    if left.is_empty() && sealed.is_all_removed() {
        return Ok(());
    }
    if left.is_empty() && sealed.marks.is_empty() {
        // Its maker was stopped before the first segment was there.
        report.note(&layout.journal(journal), None, Problem::Empty);
        return Ok(());
    }
    let mut walk = Walk::new(layout, journal, sealed);
    let result = walk.all_segments(layout, &left);
    if let Err(((path, line), problem)) = result {
        report.breach(&path, (line > 0).then_some(line), problem);
    }
    walk.tell(report);
    Ok(())
}

impl<'a> Walk<'a> {
    fn new(layout: &Layout, journal: JournalId, sealed: &'a SealedLines) -> Self {
        let none = Mark { segment: 0, seq: Seq(0), bytes: 0, head: ZERO_HASH };
        let removed = sealed.removed.unwrap_or(none);
        Self {
            journal,
            removed,
            seq: removed.seq,
            head: removed.head,
            place: (layout.segment(journal, removed.segment + 1), 0),
            marks: &sealed.marks,
            sealed: removed.seq,
            last_sealed: sealed.last(),
            unsealed_since: None,
            opened: None,
            torn: None,
        }
    }

    fn all_segments(&mut self, layout: &Layout, present: &[u32]) -> Result<(), Fault> {
        self.check_marks_rise()?;
        let gone = self.marks.partition_point(|(_, mark)| mark.seq <= self.removed.seq);
        self.marks = self.marks.get(gone..).unwrap_or_default();
        let first = self.removed.segment + 1;
        for number in first..=present.last().copied().unwrap_or(first) {
            if !present.contains(&number) {
                return Err(((layout.segment(self.journal, number), 0), Problem::SegmentMissing));
            }
            self.segment(layout, number)?;
        }
        self.check_all_seals_reached()
    }

    fn tell(self, report: &mut Report) {
        if let Some(((path, line), bytes)) = self.torn {
            report.note(&path, Some(line), Problem::Torn { bytes });
        }
        let lines = self.seq.0 - self.sealed.0;
        let unsealed = self.unsealed_since.filter(|_| lines > 0).map(|since| Unsealed::new(lines, since));
        if let Some(Unsealed { lines, seconds, .. }) = unsealed {
            report.note(&self.place.0, Some(self.place.1), Problem::Unsealed { lines, seconds });
        }
        report.journals.push(JournalReport {
            journal: self.journal,
            role: self.opened.as_ref().map(|opened| opened.role),
            previous: self.opened.as_ref().and_then(|opened| opened.previous),
            lines: self.seq.0 - self.removed.seq.0,
            sealed: self.sealed.0 - self.removed.seq.0,
            unsealed,
        });
    }

    fn check_marks_rise(&self) -> Result<(), Fault> {
        let back = self.marks.iter().zip(self.marks.iter().skip(1)).find(|((_, one), (_, two))| one.seq >= two.seq);
        match back {
            Some((_, (seal, _))) => {
                Err(((self.place.0.clone(), 0), Problem::SealBack { seal: *seal, journal: self.journal }))
            }
            None => Ok(()),
        }
    }

    fn check_all_seals_reached(&self) -> Result<(), Fault> {
        match self.marks.last() {
            Some((seal, mark)) => {
                let problem = Problem::Cut { seal: *seal, expected: mark.seq, found: self.seq };
                Err(((self.place.0.clone(), self.place.1 + 1), problem))
            }
            None => Ok(()),
        }
    }

    fn segment(&mut self, layout: &Layout, number: u32) -> Result<(), Fault> {
        let unreadable = |path: &Path, line, error: io::Error| ((path.to_owned(), line), Problem::from(error));
        let name = layout.segment(self.journal, number);
        let opened = layout.open_segment(self.journal, number);
        let (path, file) = opened.map_err(|error| unreadable(&name, 0, error))?;
        let mut lines = LineReader::new(file, 0).map_err(|error| unreadable(&path, 0, error))?;
        for line in 1.. {
            let place = (path.clone(), line);
            let found = lines.next().map_err(|error| unreadable(&path, line, error))?;
            if found != Found::End
                && let Some((place, bytes)) = self.torn.take()
            {
                // Nobody writes behind a torn line: only a journal's last line may be one.
                return Err((place, Problem::Torn { bytes }));
            }
            match found {
                Found::End => break,
                Found::Torn(bytes) => {
                    self.torn = Some((place, bytes));
                    break;
                }
                Found::TooLong => return Err((place, Problem::Line { fault: LineFault::TooLong })),
                Found::Line(_) => self.line(number, place, &mut lines)?,
            }
        }
        Ok(())
    }

    fn line(&mut self, segment: u32, place: Place, lines: &mut LineReader) -> Result<(), Fault> {
        let hash = hash_of(lines.line());
        let head = match self.check_line(lines.line()) {
            Ok(head) => head,
            Err(problem) => return Err((place, problem)),
        };
        if head.prev != self.head {
            let found = head.prev;
            return Err(self.blame(place, (found, hash), lines));
        }
        let (time, seq) = (head.time, head.seq);
        if seq == Seq(1) {
            self.opened = serde_json::from_slice(head.body).ok();
            if head.kind != "journal.opened" || self.opened.is_none() {
                let found = head.kind.to_owned();
                return Err((place, Problem::Opening { found }));
            }
        }
        let at = Mark { segment, seq, bytes: lines.offset(), head: hash };
        if let Some(((seal, mark), rest)) = self.marks.split_first().filter(|((_, mark), _)| mark.seq == seq) {
            if *mark != at {
                let (expected, found) = (hex::encode(&mark.head), hex::encode(&hash));
                return Err((place, Problem::Sealed { seal: *seal, expected, found }));
            }
            (self.marks, self.sealed) = (rest, seq);
        } else if seq > self.last_sealed && self.unsealed_since.is_none() {
            self.unsealed_since = Some(time);
        }
        (self.seq, self.head, self.place) = (seq, hash, place);
        Ok(())
    }

    fn check_line<'l>(&self, line: &'l [u8]) -> Result<Head<'l>, Problem> {
        let head = parse(line).map_err(|fault| Problem::Line { fault })?;
        if head.journal != self.journal {
            return Err(Problem::Journal { expected: self.journal, found: head.journal });
        }
        if head.seq != self.seq.next() {
            return Err(Problem::Number { expected: self.seq.next(), found: head.seq });
        }
        let json = std::str::from_utf8(head.body)
            .is_ok_and(|body| body.starts_with('{') && serde_json::from_str::<IgnoredAny>(body).is_ok());
        if json { Ok(head) } else { Err(Problem::Body) }
    }

    /// Which of two lines was changed, when the second does not name the first: the second is itself if the line after
    /// it, or a seal, still has its hash.
    fn blame(&self, place: Place, (named, hash): (Hash, Hash), lines: &mut LineReader) -> Fault {
        let expected = hex::encode(&self.head);
        let first_is_good = self.seq == Seq(0) || self.sealed == self.seq;
        let sealed = self.marks.first().is_some_and(|(_, mark)| mark.seq == self.seq.next() && mark.head == hash);
        let named_next = matches!(lines.next(), Ok(Found::Line(_)))
            && parse(lines.line()).is_ok_and(|next| next.seq == self.seq.next().next() && next.prev == hash);
        // Nothing behind the second line and no seal: both are possible, and the older one is named.
        let at_end = lines.line().is_empty();
        if !first_is_good && (sealed || named_next || at_end) {
            return (self.place.clone(), Problem::Changed { expected: hex::encode(&named), found: expected });
        }
        (place, Problem::Prev { expected, found: hex::encode(&named) })
    }
}
