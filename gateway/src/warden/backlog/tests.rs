//! What is handed out, noted and said to be behind.

use std::fs::OpenOptions;
use std::io::Write;

use super::*;
use crate::audit::journal::testing::{Site, fill};

fn backlog(site: &Site) -> Backlog {
    Backlog::open(site.folder.path().join("shipped.json"), "store".into())
}

#[test]
fn who_is_told_from_now_on_hears_of_nothing_before_and_of_all_that_follows_whatever_restarts() {
    let site = Site::new();
    let journal = site.filled(3);
    let path = site.folder.path().join("feed.json");
    let open = || Backlog::open_from_now(path.clone(), "hook".into(), &site.layout).unwrap();
    assert_eq!(open().next(&site.layout), None);
    fill(&journal, 4..=4);
    let other = site.filled(2);
    let mut backlog = open();
    let works = [backlog.next(&site.layout).unwrap(), backlog.next(&site.layout).unwrap()];
    assert_eq!(works.map(|work| (work.journal, work.from.seq)), [(journal.id(), Seq(3)), (other.id(), Seq(0))]);
}

fn ended(site: &Site, work: Work, seq: u64) -> (Place, u64) {
    let size = size_of(&site.layout, work.journal, work.from.segment).unwrap();
    (Place { bytes: size, seq: Seq(seq), ..work.from }, size)
}

#[test]
fn journals_take_turns_and_what_is_copied_is_not_handed_out_again() {
    let site = Site::new();
    let (one, other) = (site.filled(3), site.filled(5));
    let mut backlog = backlog(&site);
    let first = backlog.next(&site.layout).unwrap();
    assert_eq!((first.journal, first.from.segment), (one.id(), 1));
    let second = backlog.next(&site.layout).unwrap();
    assert_eq!(second.journal, other.id());
    assert_eq!(backlog.status(&site.layout).lag_events, 8);
    let (place, size) = ended(&site, first, 3);
    assert!(first.fits(&site.layout, place));
    backlog.done(&first, place, Some(size), None).unwrap();
    assert_eq!(backlog.status(&site.layout).lag_events, 5);
    for _ in 0..2 {
        assert_eq!(backlog.next(&site.layout).unwrap().journal, other.id());
    }
    fill(&one, 4..=4);
    assert_eq!(backlog.next(&site.layout).unwrap().from, place);
}

#[test]
fn after_a_crash_the_last_acknowledged_place_counts() {
    let site = Site::new();
    site.filled(3);
    let handed = backlog(&site).next(&site.layout).unwrap();
    assert_eq!(backlog(&site).next(&site.layout), Some(handed), "handed out and not acknowledged");
    let (place, size) = ended(&site, handed, 3);
    backlog(&site).done(&handed, place, Some(size), None).unwrap();
    assert_eq!(backlog(&site).next(&site.layout), None);
}

#[test]
fn a_torn_line_is_looked_at_again_only_when_it_has_grown() {
    let site = Site::new();
    let journal = site.filled(3);
    let mut file = OpenOptions::new().append(true).open(site.segment(&journal)).unwrap();
    let whole = size_of(&site.layout, journal.id(), 1).unwrap();
    file.write_all(b"{\"v\":1").unwrap();
    let mut backlog = backlog(&site);
    let work = backlog.next(&site.layout).unwrap();
    let place = Place { bytes: whole, seq: Seq(3), ..work.from };
    assert_eq!(backlog.status(&site.layout).lag_events, 3);
    backlog.done(&work, place, Some(whole + 6), None).unwrap();
    assert_eq!((backlog.next(&site.layout), backlog.status(&site.layout).lag_events), (None, 0));
    file.write_all(b",").unwrap();
    assert_eq!(backlog.next(&site.layout).unwrap().from, place);
}

#[test]
fn a_line_that_came_while_a_batch_was_under_way_is_handed_out() {
    let site = Site::new();
    let journal = site.filled(3);
    let mut backlog = backlog(&site);
    let work = backlog.next(&site.layout).unwrap();
    let (place, size) = ended(&site, work, 3);
    fill(&journal, 4..=4);
    backlog.done(&work, place, Some(size), None).unwrap();
    assert_eq!(backlog.next(&site.layout).unwrap().from, place);
}

#[test]
fn a_journal_that_goes_on_nowhere_is_named_and_holds_no_other_up() {
    let site = Site::new();
    let (one, other) = (site.filled(3), site.filled(3));
    let mut backlog = backlog(&site);
    let work = backlog.next(&site.layout).unwrap();
    assert_eq!(work.journal, one.id());
    backlog.done(&work, work.from, None, Some("no line ends".into())).unwrap();
    for _ in 0..2 {
        assert_eq!(backlog.next(&site.layout).unwrap().journal, other.id());
    }
    assert_eq!(backlog.status(&site.layout).error.as_deref(), Some("no line ends"));
}

#[test]
fn a_place_that_does_not_fit_the_segment_is_not_believed() {
    let site = Site::new();
    site.filled(3);
    let work = backlog(&site).next(&site.layout).unwrap();
    let (end, size) = ended(&site, work, 3);
    let work = Work { from: end, ..work };
    let wrong = [
        Place { bytes: size + 1, ..end },
        Place { segment: 2, ..end },
        Place { bytes: 0, ..end },
        Place { seq: Seq(1), ..end },
    ];
    for place in wrong {
        assert!(!work.fits(&site.layout, place), "{place:?}");
    }
}

#[test]
fn a_later_segment_follows_the_one_before() {
    let site = Site::new();
    let journal = site.filled(3);
    std::fs::write(site.layout.segment(journal.id(), 2), b"x\n").unwrap();
    let mut backlog = backlog(&site);
    let work = backlog.next(&site.layout).unwrap();
    let (place, size) = ended(&site, work, 3);
    backlog.done(&work, place, Some(size), None).unwrap();
    assert_eq!(backlog.next(&site.layout).unwrap().from, Place { segment: 2, bytes: 0, seq: Seq(3) });
}

#[test]
fn a_segment_that_was_copied_and_removed_holds_nothing_up() {
    let site = Site::new();
    let journal = site.filled(3);
    let mut backlog = backlog(&site);
    let work = backlog.next(&site.layout).unwrap();
    let (place, size) = ended(&site, work, 3);
    backlog.done(&work, place, Some(size), None).unwrap();
    let first = site.segment(&journal);
    fill(&journal, 4..=6);
    let all = std::fs::read(&first).unwrap();
    std::fs::write(site.layout.segment(journal.id(), 2), &all[usize::try_from(size).unwrap()..]).unwrap();
    std::fs::remove_file(first).unwrap();
    let next = Place { segment: 2, bytes: 0, seq: Seq(3) };
    assert_eq!(backlog.status(&site.layout).lag_events, 3);
    assert_eq!(backlog.next(&site.layout).unwrap().from, next);
    assert_eq!(self::backlog(&site).next(&site.layout).unwrap().from, next, "nor after a restart");
}
