//! Removing what is old enough, so that it is no breach.
//!
//! In: the journals as they were followed and sealed, and which are being written. Out: segments that may go, the oldest first; and
//! for each that goes a seal that says so, before it is gone. It decides nothing: how old is old enough is the warden's business.

use std::fs;

use super::super::packed::remove;
use super::super::seal::Says;
use super::*;

/// A segment that may be removed, once all before it are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removable {
    /// The journal.
    pub journal: JournalId,
    /// The segment.
    pub segment: u32,
    /// Its end, which its last seal or a later one covers.
    pub(crate) end: Mark,
    /// Nothing of the journal is left then.
    is_last: bool,
}

impl Sealer {
    /// What may be removed: segments that are sealed to their end, of journals in the order in which they were opened. `written`
    /// are those that somebody still writes. Errs if a folder cannot be listed.
    pub fn removable(&self, written: &[JournalId]) -> Result<Vec<Removable>, SealError> {
        let mut removable = Vec::new();
        for (journal, tail) in self.tails.iter().filter(|(_, tail)| !tail.broken) {
            let (journal, Some(sealed)) = (*journal, tail.sealed) else { continue };
            for segment in self.layout.files(journal)?.segments {
                let is_last = segment == sealed.segment;
                let end = if is_last && tail.due().is_none() && !written.contains(&journal) {
                    Some(sealed)
                } else if segment < sealed.segment {
                    self.end_of(journal, segment)
                } else {
                    None
                };
                let Some(end) = end else { break };
                removable.push(Removable { journal, segment, end, is_last });
            }
        }
        Ok(removable)
    }

    /// The end of a segment, by what the first line of the next one says of it.
    fn end_of(&self, journal: JournalId, segment: u32) -> Option<Mark> {
        let bytes = self.layout.length(journal, segment)?;
        let (_, next) = self.layout.open_segment(journal, segment + 1).ok()?;
        let mut lines = LineReader::new(next, 0).ok()?;
        let Ok(Found::Line(_)) = lines.next() else { return None };
        let head = parse(lines.line()).ok()?;
        Some(Mark { segment, seq: Seq(head.seq.0.checked_sub(1)?), bytes, head: head.prev })
    }

    /// Seals that a segment and all before it were removed, and removes them. After an error, drop the sealer and open it again.
    pub fn remove(&mut self, what: &Removable) -> Result<Sealed, SealError> {
        let sealed = self.seal_lines(what.journal, what.end, Says::Removed)?;
        self.take_away(what.journal, what.end)?;
        if what.is_last {
            self.tails.remove(&what.journal);
            self.marks.remove(&what.journal);
        }
        Ok(sealed)
    }

    /// Removes the files up to a mark, and the folder where nothing is left in it.
    pub(super) fn take_away(&self, journal: JournalId, to: Mark) -> Result<(), SealError> {
        let folder = self.layout.journal(journal);
        if !folder.exists() {
            return Ok(());
        }
        for segment in self.layout.files(journal)?.segments.into_iter().filter(|segment| *segment <= to.segment) {
            let files = [
                self.layout.segment(journal, segment),
                self.layout.packed(journal, segment),
                self.layout.index(journal, segment),
            ];
            for path in files {
                remove(&path).map_err(|source| file_error("remove", &path, source))?;
            }
        }
        let left = self.layout.files(journal)?;
        if left.segments.is_empty() && left.strangers.is_empty() {
            fs::remove_dir_all(&folder).map_err(|source| file_error("remove", &folder, source))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Site, fill};
    use super::super::super::{Filter, Item, Reader, pack};
    use super::*;
    use crate::audit::verify::{Problem, verify};

    /// A journal of three segments that is being written, and one that ended.
    fn site() -> (Site, Vec<std::sync::Arc<super::super::super::Journal>>) {
        let site = Site::new();
        let ended = site.filled(5);
        let written = site.journal(Some(ended.id()), crate::audit::Durability::Process);
        fill(&written, 2..=10);
        for segment in [2, 3] {
            written.go_on_in(site.layout.create_segment(written.id(), segment).unwrap()).unwrap();
            fill(&written, u64::from(segment) * 10 - 9..=u64::from(segment) * 10);
        }
        (site, vec![ended, written])
    }

    fn sealed(site: &Site) -> Sealer {
        let mut sealer = site.sealer();
        assert_eq!(sealer.follow().unwrap(), []);
        sealer.seal().unwrap();
        sealer
    }

    fn is_sound(site: &Site, lines: u64, removed: u64) {
        let report = verify(&site.layout, None).unwrap();
        assert!(report.is_sound() && report.notes.is_empty(), "{report}");
        assert_eq!(
            (report.journals.iter().map(|one| one.lines).sum::<u64>(), report.removed),
            (lines, removed),
            "{report}"
        );
        let mut records = Reader::new(site.layout.clone()).records(Filter::default()).unwrap();
        let mut count = 0;
        while let Some(Item::Record(_)) = records.next_item().unwrap() {
            count += 1;
        }
        assert_eq!(count, lines);
    }

    #[test]
    fn what_is_removed_by_rule_is_no_breach_and_is_counted() {
        let (site, journals) = site();
        let mut sealer = site.sealer();
        sealer.follow().unwrap();
        assert_eq!(sealer.removable(&[journals[1].id()]).unwrap(), [], "nothing is sealed");
        sealer.seal().unwrap();
        pack(&site.layout, journals[1].id(), 1).unwrap();
        let removable = sealer.removable(&[journals[1].id()]).unwrap();
        let names: Vec<_> = removable.iter().map(|one| (one.journal, one.segment)).collect();
        assert_eq!(names, [(journals[0].id(), 1), (journals[1].id(), 1), (journals[1].id(), 2)]);
        for (one, (lines, removed)) in removable.iter().zip([(30, 5), (20, 15), (10, 25)]) {
            sealer.remove(one).unwrap();
            is_sound(&site, lines, removed);
        }
        assert!(!site.layout.journal(journals[0].id()).exists());
        fill(&journals[1], 31..=33);
        assert_eq!(sealer.follow().unwrap(), []);
        sealer.seal().unwrap();
        is_sound(&site, 13, 25);
        let mut again = sealed(&site);
        assert_eq!(again.follow().unwrap(), []);
        assert_eq!(again.removable(&[journals[1].id()]).unwrap(), []);
        let rest = again.removable(&[]).unwrap();
        again.remove(&rest[0]).unwrap();
        is_sound(&site, 0, 38);
        drop(sealed(&site));
    }

    #[test]
    fn what_was_removed_without_a_seal_or_beyond_it_is_a_breach() {
        let (site, journals) = site();
        let mut sealer = sealed(&site);
        let removable = sealer.removable(&[journals[1].id()]).unwrap();
        sealer.remove(&removable[1]).unwrap();
        is_sound(&site, 25, 10);
        fs::remove_file(site.layout.segment(journals[1].id(), 2)).unwrap();
        let report = verify(&site.layout, None).unwrap();
        assert!(matches!(report.breaches[..], [ref one] if one.problem == Problem::SegmentMissing), "{report}");
        fs::remove_dir_all(site.layout.journal(journals[0].id())).unwrap();
        assert_eq!(verify(&site.layout, None).unwrap().breaches.len(), 2);
    }

    #[test]
    fn what_is_left_must_follow_what_was_removed() {
        let (site, journals) = site();
        let mut sealer = sealed(&site);
        let removable = sealer.removable(&[]).unwrap();
        sealer.remove(&removable[1]).unwrap();
        let second = site.layout.segment(journals[1].id(), 2);
        let text = fs::read_to_string(&second).unwrap();
        let without_first: String = text.split_inclusive('\n').skip(1).collect();
        fs::write(&second, without_first).unwrap();
        let report = verify(&site.layout, None).unwrap();
        assert!(matches!(report.breaches[0].problem, Problem::Number { .. }), "{report}");
        assert_eq!(report.breaches[0].line, Some(1));
    }

    #[test]
    fn a_stop_before_the_files_are_gone_is_repaired() {
        let (site, journals) = site();
        let mut sealer = sealed(&site);
        for one in sealer.removable(&[journals[1].id()]).unwrap() {
            sealer.seal_lines(one.journal, one.end, Says::Removed).unwrap();
        }
        drop(sealer);
        let report = verify(&site.layout, None).unwrap();
        assert!(report.is_sound() && report.notes.iter().all(|note| note.problem == Problem::Leftover), "{report}");
        drop(site.sealer());
        is_sound(&site, 10, 25);
    }
}
