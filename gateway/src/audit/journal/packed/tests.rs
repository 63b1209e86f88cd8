//! Journals of several segments, compressed and not: written, followed, read, verified, changed.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::super::testing::{Site, fill, gap};
use super::super::{Durability, Filter, Found, Item, Journal, LineReader, Reader};
use super::*;
use crate::audit::event::{Event, Gap};
use crate::audit::verify::{Problem, verify};
use crate::id::SessionId;

fn next(site: &Site, journal: &Journal) {
    let last = *site.layout.files(journal.id()).unwrap().segments.last().unwrap();
    journal.go_on_in(site.layout.create_segment(journal.id(), last + 1).unwrap()).unwrap();
}

/// Lines 1 to 10, 11 to 20 and 21 to 30 in three segments, sealed, the first two compressed.
fn packed_site() -> (Site, Arc<Journal>) {
    let site = Site::new();
    let journal = site.filled(10);
    for first in [11, 21] {
        next(&site, &journal);
        fill(&journal, first..=first + 9);
    }
    let mut sealer = site.sealer();
    assert_eq!(sealer.follow().unwrap(), []);
    assert_eq!(sealer.whole().unwrap(), [], "nothing is sealed");
    sealer.seal().unwrap();
    assert_eq!(sealer.whole().unwrap(), [(journal.id(), 1), (journal.id(), 2)]);
    for (journal, segment) in sealer.whole().unwrap() {
        pack(&site.layout, journal, segment).unwrap();
    }
    assert_eq!(sealer.whole().unwrap(), []);
    (site, journal)
}

fn lines(site: &Site, filter: Filter) -> Vec<u64> {
    let mut records = Reader::new(site.layout.clone()).records(filter).unwrap();
    let mut seqs = Vec::new();
    while let Some(item) = records.next_item().unwrap() {
        match item {
            Item::Record(record) => seqs.push(record.seq.0),
            Item::Broken(place) => panic!("{place}"),
        }
    }
    seqs
}

#[test]
fn writers_that_never_stop_lose_no_line_where_a_segment_ends() {
    for durability in [Durability::Process, Durability::Disk] {
        let site = Site::new();
        let journal = site.journal(None, durability);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        journal.append(None, &gap("x")).unwrap();
                    }
                });
            }
            for _ in 0..10 {
                next(&site, &journal);
                std::thread::yield_now();
            }
        });
        let report = verify(&site.layout, None).unwrap();
        let lines = report.journals.first().map(|journal| journal.lines);
        // The key is made by a sealer, of which there is none here.
        assert_eq!((report.breaches.len(), lines), (1, Some(801)), "{report}");
        assert_eq!(site.layout.files(journal.id()).unwrap().segments, (1..=11).collect::<Vec<_>>());
    }
}

#[test]
fn a_journal_goes_on_in_a_fresh_file_alone() {
    let (site, journal) = packed_site();
    let used = OpenOptions::new().append(true).open(site.layout.segment(journal.id(), 3)).unwrap();
    assert!(journal.go_on_in(used).is_err());
    let to_write = File::create(site.folder.path().join("x")).unwrap();
    assert!(journal.go_on_in(to_write).is_err());
    fill(&journal, 31..=31);
    assert_eq!(lines(&site, Filter::default()), (1..=31).collect::<Vec<_>>());
}

#[test]
fn what_is_compressed_is_read_verified_and_followed_like_what_is_not() {
    let (site, journal) = packed_site();
    for segment in [1, 2] {
        let packed = site.layout.packed(journal.id(), segment);
        assert!(packed.exists() && !site.layout.segment(journal.id(), segment).exists());
        assert_eq!(fs::metadata(packed).unwrap().permissions().mode() & 0o777, 0o640);
    }
    let report = verify(&site.layout, None).unwrap();
    assert!(report.is_sound() && report.notes.is_empty(), "{report}");
    assert_eq!((report.journals[0].lines, report.journals[0].sealed), (30, 30));
    assert_eq!(lines(&site, Filter::default()), (1..=30).collect::<Vec<_>>());
    let mut sealer = site.sealer();
    assert_eq!(sealer.follow().unwrap(), []);
    fill(&journal, 31..=33);
    assert_eq!(sealer.follow().unwrap(), []);
    assert_eq!(sealer.seal().unwrap()[0].seq.0, 33);
    assert!(verify(&site.layout, None).unwrap().is_sound());
}

#[test]
fn lines_of_a_session_are_found_by_index_in_what_is_compressed() {
    let site = Site::new();
    let journal = site.filled(1);
    let session = SessionId::generate();
    let event = Event::Gap(Gap { name: "of a session".into(), detail: "x".repeat(900), attachment: None });
    for line in 2..400_u64 {
        let by = (line % 50 == 0).then_some(session);
        journal.append(by, &event).unwrap();
    }
    next(&site, &journal);
    fill(&journal, 400..=400);
    let mut sealer = site.sealer();
    sealer.follow().unwrap();
    sealer.seal().unwrap();
    pack(&site.layout, journal.id(), 1).unwrap();
    let of_session = Filter { session: Some(session), ..Filter::default() };
    assert_eq!(lines(&site, of_session), (1..8).map(|n| n * 50).collect::<Vec<_>>());
}

#[test]
fn places_in_what_is_compressed_are_those_of_its_lines() {
    let (site, journal) = packed_site();
    let path = site.layout.packed(journal.id(), 1);
    let whole = zstd::decode_all(File::open(&path).unwrap()).unwrap();
    assert_eq!(length(&File::open(&path).unwrap()).unwrap(), Some(whole.len() as u64));
    let mut reader = LineReader::new(File::open(&path).unwrap(), 0).unwrap();
    let mut starts = Vec::new();
    while let Found::Line(start) = reader.next().unwrap() {
        starts.push(start);
    }
    assert_eq!((starts.len(), reader.offset()), (10, whole.len() as u64));
    for start in starts.iter().rev().chain(&starts) {
        reader.move_to(*start).unwrap();
        assert_eq!(reader.next().unwrap(), Found::Line(*start));
        let at = usize::try_from(*start).unwrap();
        assert!(whole[at..].starts_with(reader.line()) && whole[at + reader.line().len()] == b'\n');
    }
}

/// Whatever is done to a compressed segment, `verify` names it and the line, and nothing is taken for sound.
#[test]
fn a_change_of_what_is_compressed_is_named() {
    let (site, journal) = packed_site();
    let (first, second) = (site.layout.packed(journal.id(), 1), site.layout.packed(journal.id(), 2));
    let good = [&first, &second].map(|path| fs::read(path).unwrap());
    let plain = zstd::decode_all(&good[1][..]).unwrap();
    let repacked = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut lines: Vec<Vec<u8>> = plain.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        change(&mut lines);
        zstd::bulk::compress(&lines.concat(), 3).unwrap()
    };
    let check = |what: &str, line: Option<u64>, is: &dyn Fn(&Problem) -> bool| {
        let report = verify(&site.layout, None).unwrap();
        assert_eq!(report.breaches.len(), 1, "{what}: {report}");
        let breach = &report.breaches[0];
        assert!(is(&breach.problem) && breach.line == line, "{what}: {report}");
        assert!(breach.path.to_string_lossy().contains("/000002.jsonl"), "{what}: {report}");
        fs::write(&first, &good[0]).unwrap();
        fs::write(&second, &good[1]).unwrap();
        assert!(verify(&site.layout, None).unwrap().is_sound());
    };
    let put = |bytes: Vec<u8>| fs::write(&second, bytes).unwrap();
    let changed = |p: &Problem| matches!(p, Problem::Changed { .. });
    put(repacked(&|lines| {
        let at = lines[4].iter().rposition(|byte| *byte == b'x').unwrap();
        lines[4][at] = b'y';
    }));
    check("a changed byte", Some(5), &changed);
    let number = |p: &Problem| matches!(p, Problem::Number { .. });
    put(repacked(&|lines| drop(lines.remove(4))));
    check("a removed record", Some(5), &number);
    put(repacked(&|lines| lines.swap(4, 5)));
    check("records in another order", Some(5), &number);
    put(good[0].clone());
    check("another segment in its place", Some(1), &number);
    put(plain[..plain.len() / 2 + 9].to_vec());
    check("lines that are not compressed", Some(6), &|p| matches!(p, Problem::Torn { .. }));
    put(good[1][..good[1].len() / 2].to_vec());
    let report = verify(&site.layout, None).unwrap();
    assert!(!report.is_sound() && report.breaches[0].line.is_some(), "cut: {report}");
    put(good[1].clone());
    fs::remove_file(&second).unwrap();
    check("a removed segment", None, &|p| *p == Problem::SegmentMissing);
}

/// A byte of the compressed file is not a byte of a line: some change nothing, none passes for another line.
#[test]
fn no_changed_byte_of_a_compressed_file_gives_another_record() {
    let (site, journal) = packed_site();
    let path = site.layout.packed(journal.id(), 2);
    let good = fs::read(&path).unwrap();
    let whole = zstd::decode_all(&good[..]).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).unwrap();
        let report = verify(&site.layout, None).unwrap();
        let same = zstd::decode_all(&bad[..]).is_ok_and(|lines| lines == whole);
        assert!(!report.is_sound() || same, "byte {at}: {report}");
        let mut reader = LineReader::new(File::open(&path).unwrap(), 0);
        while let Ok(Ok(Found::Line(_))) = reader.as_mut().map(LineReader::next) {}
    }
}

#[test]
fn a_file_that_would_never_end_is_not_read() {
    let (site, journal) = packed_site();
    let path = site.layout.packed(journal.id(), 2);
    // A stream of which nobody says how long it is.
    fs::write(&path, zstd::encode_all(&b"\n".repeat(1 << 20)[..], 3).unwrap()).unwrap();
    assert_eq!(length(&File::open(&path).unwrap()).unwrap(), None);
    assert!(LineReader::new(File::open(&path).unwrap(), 0).is_err());
    let report = verify(&site.layout, None).unwrap();
    assert!(matches!(report.breaches[0].problem, Problem::Unreadable { .. }), "{report}");
    // What stands behind the frame is no part of it.
    let two = [&zstd::bulk::compress(b"one\n", 3).unwrap()[..], &zstd::bulk::compress(b"two\n", 3).unwrap()].concat();
    fs::write(&path, two).unwrap();
    let mut reader = LineReader::new(File::open(&path).unwrap(), 0).unwrap();
    assert_eq!((reader.next().unwrap(), reader.next().unwrap()), (Found::Line(0), Found::End));
}

#[test]
fn a_stop_at_any_step_leaves_every_line_there() {
    let site = Site::new();
    let journal = site.filled(10);
    next(&site, &journal);
    fill(&journal, 11..=20);
    let mut sealer = site.sealer();
    sealer.follow().unwrap();
    sealer.seal().unwrap();
    let (plain, packed) = (site.layout.segment(journal.id(), 1), site.layout.packed(journal.id(), 1));
    let text = fs::read(&plain).unwrap();
    let is_whole = || {
        let report = verify(&site.layout, None).unwrap();
        assert!(report.is_sound() && report.notes.is_empty(), "{report}");
        assert_eq!(lines(&site, Filter::default()), (1..=20).collect::<Vec<_>>());
    };
    fs::write(half_done(&packed), b"half").unwrap();
    is_whole();
    pack(&site.layout, journal.id(), 1).unwrap();
    is_whole();
    // Both are there: stopped before the first was removed.
    fs::write(&plain, &text).unwrap();
    is_whole();
    assert_eq!(site.sealer().whole().unwrap(), [(journal.id(), 1)]);
    pack(&site.layout, journal.id(), 1).unwrap();
    is_whole();
    assert!(!plain.exists() && !half_done(&packed).exists());
}

#[test]
fn a_writer_that_died_before_it_went_on_is_no_breach_and_one_that_went_on_is() {
    let (site, journal) = packed_site();
    let third = site.layout.segment(journal.id(), 3);
    let mut torn = OpenOptions::new().append(true).open(&third).unwrap();
    std::io::Write::write_all(&mut torn, b"{\"v\":1,").unwrap();
    let fourth = site.layout.segment(journal.id(), 4);
    fs::write(&fourth, b"").unwrap();
    let report = verify(&site.layout, None).unwrap();
    assert!(report.is_sound() && matches!(report.notes[0].problem, Problem::Torn { .. }), "{report}");
    fs::write(&fourth, b"{\"v\":1,").unwrap();
    assert!(!verify(&site.layout, None).unwrap().is_sound());
}
