//! What of the journals is not copied yet.
//!
//! In: the journals' files, the checkpoint. Out: the next batch to copy, the journals taking turns, and how far behind the
//! copy is. A place is noted only when the store has acknowledged what stands before it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::audit::Layout;
use crate::audit::clickhouse::{Checkpoint, CheckpointError, Place};
use crate::audit::journal::{Found, LineReader, Seq, line_before, parse};
use crate::audit::time::Timestamp;
use crate::control::service::{ShippedJournal, Shipping};
use crate::id::JournalId;

/// Journals that `status` shows although all of them is copied: the warden's and the engine's.
const SHOWN: usize = 2;

/// What is not copied yet.
#[derive(Debug)]
pub(super) struct Backlog {
    store: String,
    checkpoint: Checkpoint,
    /// Segments that were read to their end, and how long they were then: what is left there is no line.
    ends: BTreeMap<JournalId, (u32, u64)>,
    /// Journals of which no more can be copied, and why.
    stuck: BTreeMap<JournalId, String>,
    last: Option<JournalId>,
}

/// A batch to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) journal: JournalId,
    pub(super) from: Place,
}

impl Work {
    /// Whether a place can be the end of this batch.
    pub(super) fn fits(&self, layout: &Layout, place: Place) -> bool {
        let behind = place.segment == self.from.segment && place.bytes >= self.from.bytes && place.seq >= self.from.seq;
        behind && size_of(layout, self.journal, place.segment).is_some_and(|size| place.bytes <= size)
    }
}

impl Backlog {
    /// With the checkpoint of a store, whose place is its name.
    pub(super) fn open(checkpoint: PathBuf, store: String) -> Self {
        Self {
            checkpoint: Checkpoint::open(checkpoint, &store),
            store,
            ends: BTreeMap::new(),
            stuck: BTreeMap::new(),
            last: None,
        }
    }

    /// The same for a server that is told what happens from now on: what was written before a first checkpoint is not for it.
    pub(super) fn open_from_now(checkpoint: PathBuf, store: String, layout: &Layout) -> Result<Self, CheckpointError> {
        let is_new = !checkpoint.exists();
        let mut backlog = Self::open(checkpoint, store);
        for journal in
            layout.journals().map(|(journals, _)| journals).unwrap_or_default().into_iter().filter(|_| is_new)
        {
            if let Some(end) = end_of(layout, journal) {
                backlog.checkpoint.advance(journal, end)?;
            }
        }
        Ok(backlog)
    }

    /// The next batch; none for now where all is copied.
    pub(super) fn next(&mut self, layout: &Layout) -> Option<Work> {
        // What cannot be listed now is looked for again a second later.
        let (journals, _) = layout.journals().ok()?;
        let split = self.last.map_or(0, |last| journals.partition_point(|journal| *journal <= last));
        let (before, after) = journals.split_at_checked(split)?;
        let work = after.iter().chain(before).find_map(|journal| self.work(layout, *journal))?;
        self.last = Some(work.journal);
        Some(work)
    }

    fn work(&self, layout: &Layout, journal: JournalId) -> Option<Work> {
        if self.stuck.contains_key(&journal) {
            return None;
        }
        let mut from = self.place(layout, journal);
        loop {
            let size = size_of(layout, journal, from.segment)?;
            if size > from.bytes && self.ends.get(&journal) != Some(&(from.segment, size)) {
                return Some(Work { journal, from });
            }
            // The next one is begun when this one is complete.
            size_of(layout, journal, from.segment + 1).filter(|size| *size > 0)?;
            from = Place { segment: from.segment + 1, bytes: 0, seq: from.seq };
        }
    }

    fn place(&self, layout: &Layout, journal: JournalId) -> Place {
        let place = self.checkpoint.place(journal);
        let segments = layout.files(journal).map(|files| files.segments).unwrap_or_default();
        // One that was copied may be removed before the next has a line that is.
        let there = segments.into_iter().find(|segment| *segment >= place.segment.max(1));
        match there {
            Some(segment) if segment > place.segment => Place { segment, bytes: 0, seq: place.seq },
            _ => Place { segment: place.segment.max(1), ..place },
        }
    }

    /// Notes a batch that the store acknowledged; `end` is how long the segment was when it was read whole. It may have
    /// grown since, so its size now says nothing.
    pub(super) fn done(
        &mut self,
        work: &Work,
        place: Place,
        end: Option<u64>,
        stuck: Option<String>,
    ) -> Result<(), CheckpointError> {
        if let Some(size) = end {
            self.ends.insert(work.journal, (place.segment, size));
        }
        if let Some(why) = stuck {
            self.stuck.insert(work.journal, why);
        }
        if place == work.from { Ok(()) } else { self.checkpoint.advance(work.journal, place) }
    }

    /// Whether the store acknowledged all of a segment.
    pub(super) fn has_copied(&self, layout: &Layout, journal: JournalId, segment: u32) -> bool {
        let place = self.checkpoint.place(journal);
        let whole = || layout.length(journal, segment).is_some_and(|length| place.bytes >= length);
        place.segment > segment || (place.segment == segment && whole())
    }

    /// How far the copy is.
    pub(super) fn status(&self, layout: &Layout) -> Shipping {
        let journals = layout.journals().map(|(journals, _)| journals).unwrap_or_default();
        let mut shipping =
            Shipping { store: self.store.clone(), error: self.stuck.values().next().cloned(), ..Shipping::default() };
        let now = Timestamp::now();
        for (number, journal) in (1..).zip(&journals) {
            let shipped = self.place(layout, *journal);
            let written = written(layout, *journal, shipped);
            let behind = written.0.saturating_sub(shipped.seq.0);
            if behind > 0 {
                shipping.lag_events += behind;
                let oldest = oldest(layout, *journal, shipped);
                shipping.lag_secs = shipping.lag_secs.max(oldest.map_or(0, |time| now.seconds_since(time)));
            }
            if behind > 0 || number + SHOWN > journals.len() {
                shipping.journals.push(ShippedJournal { journal: *journal, shipped: shipped.seq, written });
            }
        }
        shipping
    }
}

fn size_of(layout: &Layout, journal: JournalId, segment: u32) -> Option<u64> {
    layout.length(journal, segment)
}

/// The number of a journal's last whole line, or of the last that was copied.
fn written(layout: &Layout, journal: JournalId, shipped: Place) -> Seq {
    let mut segments =
        (shipped.segment..).take_while(|segment| size_of(layout, journal, *segment).is_some_and(|s| s > 0));
    let Some(last) = segments.next().map(|first| segments.last().unwrap_or(first)) else { return shipped.seq };
    let size = size_of(layout, journal, last).unwrap_or(0);
    if last == shipped.segment && size <= shipped.bytes {
        return shipped.seq;
    }
    let read = || -> Option<Seq> {
        let file = layout.open_segment(journal, last).ok()?.1;
        // The last bytes may be a line that is being written: the one before is good enough for a number to show.
        let line = line_before(&file, size).ok()?.or_else(|| last_whole(&file, size))?;
        Some(parse(&line).ok()?.seq)
    };
    read().unwrap_or(shipped.seq).max(shipped.seq)
}

/// Behind the last whole line of a journal.
fn end_of(layout: &Layout, journal: JournalId) -> Option<Place> {
    let segment = *layout.files(journal).ok()?.segments.last()?;
    let mut lines = LineReader::new(layout.open_segment(journal, segment).ok()?.1, 0).ok()?;
    let mut place = Place { segment, ..Place::default() };
    while let Ok(Found::Line(_)) = lines.next() {
        place.seq = parse(lines.line()).map_or(place.seq.next(), |head| head.seq);
        place.bytes = lines.offset();
    }
    Some(place)
}

/// The last line with a newline behind it, in front of bytes without one.
fn last_whole(file: &std::fs::File, size: u64) -> Option<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let window = size.min(64 * 1024);
    let mut tail = vec![0; usize::try_from(window).ok()?];
    file.read_exact_at(&mut tail, size - window).ok()?;
    let newline = tail.iter().rposition(|byte| *byte == b'\n')?;
    line_before(file, size - window + u64::try_from(newline).ok()? + 1).ok()?
}

/// When the first line that is not copied was written.
fn oldest(layout: &Layout, journal: JournalId, shipped: Place) -> Option<Timestamp> {
    let (mut segment, mut bytes) = (shipped.segment, shipped.bytes);
    if size_of(layout, journal, segment)? <= bytes {
        (segment, bytes) = (segment + 1, 0);
    }
    let mut lines = LineReader::new(layout.open_segment(journal, segment).ok()?.1, bytes).ok()?;
    match lines.next().ok()? {
        Found::Line(_) => parse(lines.line()).ok().map(|head| head.time),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
