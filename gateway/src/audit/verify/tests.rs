//! What `verify` finds: every way of changing a journal that we could think of, and nothing on an honest one.

use std::fs::{self, OpenOptions};
use std::path::Path;

use super::*;
use crate::audit::journal::testing::{Site, fill};
use crate::audit::journal::{Durability, Filter, Item, Journal, LINE_LIMIT, Reader, Sealer, Seq};

type Change = fn(&mut Vec<Vec<u8>>);

/// Three seals at lines 10, 20 and 30, and five lines behind them.
fn sealed_site() -> (Site, std::sync::Arc<Journal>) {
    let site = Site::new();
    let journal = site.filled(10);
    let mut sealer = site.sealer();
    for last in [20, 30, 35] {
        assert_eq!(sealer.follow().unwrap(), []);
        sealer.seal().unwrap();
        fill(&journal, last - if last == 35 { 4 } else { 9 }..=last);
    }
    (site, journal)
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let text = fs::read(path).unwrap();
    let mut lines: Vec<Vec<u8>> = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    change(&mut lines);
    fs::write(path, lines.concat()).unwrap();
}

fn check(site: &Site) -> Report {
    verify(&site.layout, None).unwrap()
}

/// The only breach: its line and problem.
fn only(report: &Report) -> (Option<u64>, &Problem) {
    assert_eq!(report.breaches.len(), 1, "{report}");
    (report.breaches[0].line, &report.breaches[0].problem)
}

fn replace(line: &mut Vec<u8>, from: &str, to: &str) {
    let text = String::from_utf8(line.clone()).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    *line = text.replacen(from, to, 1).into_bytes();
}

#[test]
fn an_untouched_journal_is_sound_and_its_unsealed_tail_is_named() {
    let (site, _journal) = sealed_site();
    let report = check(&site);
    assert!(report.is_sound(), "{report}");
    assert_eq!((report.seals, report.journals[0].lines, report.journals[0].sealed), (3, 35, 30));
    assert_eq!(report.journals[0].unsealed.unwrap().lines, 5);
    assert!(report.to_string().contains("5 lines are not sealed, the oldest for 0 s"), "{report}");
    assert!(serde_json::to_string(&report).is_ok());
}

#[test]
fn a_changed_byte_in_any_field_is_found_at_its_line() {
    // Line 15 stands between two seals, line 33 behind the last, line 30 is itself sealed.
    for (at, field) in [(15, "body"), (33, "body"), (30, "body"), (15, "time"), (15, "session"), (30, "kind")] {
        let (site, journal) = sealed_site();
        edit(&site.segment(&journal), |lines| match field {
            "body" => replace(&mut lines[at - 1], "xxx", "xyx"),
            "time" => replace(&mut lines[at - 1], "\"time\":\"2", "\"time\":\"3"),
            "session" => replace(&mut lines[at - 1], "\"session\":\"0", "\"session\":\"1"),
            _ => replace(&mut lines[at - 1], "\"kind\":\"gap\"", "\"kind\":\"gab\""),
        });
        let report = check(&site);
        let (line, problem) = only(&report);
        assert_eq!(line, Some(at as u64), "{field}: {report}");
        assert!(matches!(problem, Problem::Changed { .. } | Problem::Sealed { .. }), "{report}");
    }
    for (at, from, to) in [
        (15, "\"v\":1", "\"v\":2"),
        (15, "\"journal\":\"", "\"journal\":\"f"),
        (15, "\"seq\":15", "\"seq\":16"),
        (15, "\"body\":{", "\"body\":["),
        (15, "\"kind\"", "\"kinb\""),
        (1, "journal.opened", "journal.opaned"),
        (1, "\"role\":\"engine\"", "\"role\":\"enginx\""),
    ] {
        let (site, journal) = sealed_site();
        edit(&site.segment(&journal), |lines| replace(&mut lines[at - 1], from, to));
        assert_eq!(only(&check(&site)).0, Some(at as u64), "{from}");
    }
}

#[test]
fn a_changed_prev_is_found_at_its_own_line() {
    for at in [1, 15, 25, 33] {
        let (site, journal) = sealed_site();
        edit(&site.segment(&journal), |lines| {
            let digit = lines[at - 1].len() - 10;
            lines[at - 1][digit] = if lines[at - 1][digit] == b'0' { b'1' } else { b'0' };
        });
        let report = check(&site);
        let (line, problem) = only(&report);
        assert_eq!(line, Some(at as u64), "{report}");
        assert!(matches!(problem, Problem::Prev { .. }), "{report}");
    }
}

#[test]
fn dropped_swapped_and_repeated_lines_are_found_where_they_begin() {
    let changes: [(Change, u64, u64); 3] = [
        (|lines| drop(lines.remove(14)), 15, 16),
        (|lines| lines.swap(14, 15), 15, 16),
        (|lines| lines.insert(14, lines[13].clone()), 15, 14),
    ];
    for (change, line, found) in changes {
        let (site, journal) = sealed_site();
        edit(&site.segment(&journal), change);
        let report = check(&site);
        let expected = Problem::Number { expected: Seq(line), found: Seq(found) };
        assert_eq!(only(&report), (Some(line), &expected));
    }
}

#[test]
fn a_cut_is_found_before_the_last_seal_and_not_behind_it() {
    for (keep, sound) in [(33, true), (30, true), (29, false), (5, false), (0, false)] {
        let (site, journal) = sealed_site();
        edit(&site.segment(&journal), |lines| lines.truncate(keep));
        let report = check(&site);
        assert_eq!(report.is_sound(), sound, "{report}");
        if !sound {
            let cut = Problem::Cut { seal: 3, expected: Seq(30), found: Seq(keep as u64) };
            assert_eq!(only(&report).1, &cut);
        }
    }
}

#[test]
fn a_rewritten_chain_is_found_by_its_seal() {
    let (site, journal) = sealed_site();
    edit(&site.segment(&journal), |lines| {
        replace(&mut lines[14], "xxx", "xyx");
        for at in 15..lines.len() {
            let prev = hex::encode(&crate::audit::journal::hash_of(lines[at - 1].strip_suffix(b"\n").unwrap()));
            let end = lines[at].len() - 3;
            lines[at][end - 64..end].copy_from_slice(prev.as_bytes());
        }
    });
    let report = check(&site);
    assert!(matches!(only(&report), (Some(20), Problem::Sealed { seal: 2, .. })), "{report}");
}

#[test]
fn a_body_that_is_no_object_is_found_though_the_chain_holds() {
    for body in ["{\"name\":}", "[]", "{},\"more\":{}", "{\"name\":\"\u{1}\"}"] {
        let (site, journal) = sealed_site();
        edit(&site.segment(&journal), |lines| {
            let last = String::from_utf8(lines[34].clone()).unwrap();
            let prev = hex::encode(&crate::audit::journal::hash_of(last.trim_end().as_bytes()));
            let (head, _) = last.split_once("\"body\":").unwrap();
            let head = head.replace("\"seq\":35", "\"seq\":36");
            lines.push(format!("{head}\"body\":{body},\"prev\":\"{prev}\"}}\n").into_bytes());
        });
        assert_eq!(only(&check(&site)), (Some(36), &Problem::Body), "{body}");
    }
}

#[test]
fn a_seal_that_goes_back_is_found_though_its_signature_holds() {
    let (site, journal) = sealed_site();
    let mark = |seq| Mark { segment: 1, seq: Seq(seq), bytes: 0, head: [0; 32] };
    let mut report = Report::default();
    let marks = vec![(1, mark(20)), (2, mark(10))];
    walk_journal(&site.layout, journal.id(), &SealedLines { marks, removed: None }, &mut report).unwrap();
    assert_eq!(only(&report).1, &Problem::SealBack { seal: 2, journal: journal.id() });
}

#[test]
fn cut_changed_replayed_and_swapped_seals_are_found() {
    let changes: [(Change, u64); 6] = [
        (|seals| replace(&mut seals[1], "\"seq\":20", "\"seq\":19"), 2),
        (|seals| drop(seals.remove(1)), 2),
        (|seals| seals.swap(0, 1), 1),
        (|seals| seals.push(seals[0].clone()), 4),
        (|seals| seals.push(seals[2].clone()), 4),
        (|seals| replace(&mut seals[0], "\"n\":1", "\"n\": 1"), 1),
    ];
    for (change, line) in changes {
        let (site, _journal) = sealed_site();
        edit(&site.layout.seals(), change);
        let report = check(&site);
        assert!(matches!(only(&report), (Some(at), Problem::Seal { .. }) if at == line), "{report}");
        assert_eq!(report.seals, line - 1);
    }
    for keep in [2, 0] {
        let (site, _journal) = sealed_site();
        edit(&site.layout.seals(), |seals| seals.truncate(keep));
        let report = check(&site);
        assert!(matches!(only(&report).1, Problem::Key { .. }), "{report}");
    }
    let (site, _journal) = sealed_site();
    fs::remove_file(site.layout.seals()).unwrap();
    assert!(matches!(only(&check(&site)).1, Problem::Unreadable { .. }));
}

#[test]
fn a_swapped_or_lost_key_is_found() {
    let (site, _journal) = sealed_site();
    fs::write(site.layout.key(), [9; 32]).unwrap();
    assert!(matches!(only(&check(&site)).1, Problem::Key { .. }));
    fs::remove_file(site.layout.key()).unwrap();
    assert!(matches!(only(&check(&site)).1, Problem::Key { .. }));
}

#[test]
fn seals_made_anew_with_another_key_are_found_by_the_anchor() {
    let (site, journal) = sealed_site();
    let noted: FirstKey = fs::read_to_string(site.layout.first_key()).unwrap().trim_end().parse().unwrap();
    assert!(verify(&site.layout, Some(noted)).unwrap().is_sound());
    let anchor = fs::read(site.layout.first_key()).unwrap();
    for path in [site.layout.seals(), site.layout.key(), site.layout.first_key()] {
        fs::remove_file(path).unwrap();
    }
    edit(&site.segment(&journal), |lines| lines.truncate(12));
    let mut forger = Sealer::open(site.layout.clone(), site.host).unwrap();
    forger.follow().unwrap();
    forger.seal().unwrap();
    // All of it is new, so only the key that was noted elsewhere tells.
    assert!(check(&site).is_sound());
    let report = verify(&site.layout, Some(noted)).unwrap();
    assert!(matches!(report.breaches[0].problem, Problem::Anchor { .. }), "{report}");
    assert!(matches!(report.breaches[1].problem, Problem::Seal { fault: SealFault::Key { .. } }), "{report}");
    // With the old anchor put back, the first seal is not by its key.
    fs::write(site.layout.first_key(), anchor).unwrap();
    assert!(matches!(only(&check(&site)).1, Problem::Seal { fault: SealFault::Key { .. } }));
}

#[test]
fn a_missing_or_replaced_journal_is_found() {
    let (site, journal) = sealed_site();
    let next = site.journal(Some(journal.id()), Durability::Process);
    let opened = fs::read(site.segment(&next)).unwrap();
    fs::write(site.segment(&journal), opened).unwrap();
    assert!(matches!(only(&check(&site)), (Some(1), Problem::Journal { .. })));
    fs::remove_dir_all(site.layout.journal(journal.id())).unwrap();
    assert!(matches!(only(&check(&site)).1, Problem::JournalMissing { lines: 30 }));
    // Never sealed, but named by the journal after it.
    fs::remove_dir_all(site.layout.journal(next.id())).unwrap();
    let unsealed = Site::new();
    drop(unsealed.sealer());
    let first = unsealed.filled(3);
    let _second = unsealed.journal(Some(first.id()), Durability::Process);
    assert!(check(&unsealed).is_sound());
    fs::remove_dir_all(unsealed.layout.journal(first.id())).unwrap();
    assert!(matches!(only(&check(&unsealed)).1, Problem::PreviousMissing { .. }));
}

#[test]
fn missing_and_extra_segments_are_found() {
    let (site, journal) = sealed_site();
    let (first, second) = (site.segment(&journal), site.layout.segment(journal.id(), 2));
    fs::write(&second, fs::read(&first).unwrap()).unwrap();
    assert!(matches!(only(&check(&site)), (Some(1), Problem::Number { .. })));
    fs::remove_file(&first).unwrap();
    assert_eq!(only(&check(&site)).1, &Problem::SegmentMissing);
    fs::remove_file(&second).unwrap();
    assert!(!check(&site).is_sound());
    std::os::unix::fs::symlink("/etc/passwd", &first).unwrap();
    assert!(matches!(only(&check(&site)).1, Problem::Unreadable { .. }));
}

#[test]
fn a_torn_line_is_named_and_no_breach() {
    let (site, journal) = sealed_site();
    let path = site.segment(&journal);
    let size = fs::metadata(&path).unwrap().len();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(size - 20).unwrap();
    let report = check(&site);
    assert!(report.is_sound() && report.journals[0].lines == 34, "{report}");
    assert!(matches!(report.notes[0].problem, Problem::Torn { .. }), "{report}");
    assert_eq!(report.notes[0].line, Some(35));
}

#[test]
fn a_journal_of_format_1_is_sound_for_good() {
    const FIRST_KEY: &str = "fd7dda4af47d7d93ecf6797175e9fbb6d6963c1ae530e86e76e07004cdc0d714";
    const NEXT_KEY: &[u8] = b"ccc0cc3efbbd86a10c0edc2efc1751d825b01f13ba287ac2d5bab03ec28e2af9";
    let site = Site { host: "01a200aa-4d0e-741c-8072-816c0c6b94f5".parse().unwrap(), ..Site::new() };
    let journal = "01a200aa-4d4f-75d4-ba3d-8d2659881de0".parse().unwrap();
    drop(site.layout.create_journal(journal).unwrap());
    fs::write(site.layout.segment(journal, 1), include_str!("golden/v1.jsonl")).unwrap();
    fs::write(site.layout.seals(), include_str!("golden/v1.seals.jsonl")).unwrap();
    fs::write(site.layout.first_key(), format!("{FIRST_KEY}\n")).unwrap();
    fs::write(site.layout.key(), hex::decode::<32>(NEXT_KEY).unwrap()).unwrap();
    let report = verify(&site.layout, Some(FIRST_KEY.parse().unwrap())).unwrap();
    assert!(report.is_sound() && report.notes.is_empty(), "{report}");
    assert_eq!((report.seals, report.journals[0].sealed), (2, 3));
    let (sessions, broken) = Reader::new(site.layout.clone()).sessions().unwrap();
    assert_eq!((sessions.len(), broken.len()), (1, 0));
    assert_eq!(site.sealer().follow().unwrap(), []);
}

#[test]
fn a_journal_whose_making_was_stopped_is_no_breach() {
    let site = Site::new();
    drop(site.sealer());
    for journal in [crate::id::JournalId::generate(), crate::id::JournalId::generate()] {
        drop(site.layout.create_journal(journal).unwrap());
        assert!(check(&site).is_sound());
        fs::remove_file(site.layout.segment(journal, 1)).unwrap();
    }
    let report = check(&site);
    assert!(report.is_sound() && report.notes.iter().all(|note| note.problem == Problem::Empty), "{report}");
    assert_eq!(site.sealer().follow().unwrap(), []);
}

/// A small generator, so that a failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at),
            2 => bytes.insert(at.min(bytes.len()), b'\n'),
            3 => bytes.extend_from_within(..at.min(bytes.len())),
            4 => drop(bytes.splice(at.min(bytes.len()).., b"[".repeat(random.below(3000))).count()),
            _ => bytes.extend([0xff, 0, b'"', b'{'].repeat(random.below(50))),
        }
    }
}

#[test]
fn no_hostile_file_makes_a_reader_panic_and_no_sealed_change_passes() {
    let (site, journal) = sealed_site();
    site.sealer().follow().unwrap();
    let paths = [
        site.segment(&journal),
        site.layout.seals(),
        site.layout.index(journal.id(), 1),
        site.layout.first_key(),
        site.layout.key(),
    ];
    let good: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let sealed: usize = good[0].split_inclusive(|byte| *byte == b'\n').take(30).map(<[u8]>::len).sum();
    let session = Some(crate::id::SessionId::generate());
    for seed in 0..300 {
        let mut random = Random(seed);
        let which = random.below(paths.len());
        let mut bytes = good[which].clone();
        mutate(&mut bytes, &mut random);
        fs::write(&paths[which], &bytes).unwrap();
        let report = check(&site);
        if which == 0 && !bytes.starts_with(&good[0][..sealed]) {
            assert!(!report.is_sound(), "seed {seed}: {report}");
        }
        for filter in [Filter::default(), Filter { session, ..Filter::default() }] {
            let mut records = Reader::new(site.layout.clone()).records(filter).unwrap();
            let mut items = 0;
            while let Ok(Some(Item::Record(_) | Item::Broken(_))) = records.next_item() {
                items += 1;
                assert!(items < 10_000, "seed {seed}");
            }
        }
        if let Ok(mut sealer) = Sealer::open(site.layout.clone(), site.host) {
            sealer.follow().unwrap();
        }
        for (path, bytes) in paths.iter().zip(&good) {
            fs::write(path, bytes).unwrap();
        }
        let _ = fs::remove_file(site.layout.next_key());
    }
    assert!(LINE_LIMIT > sealed && check(&site).is_sound());
}
