//! Writer, reader and sealer together, on real files.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::testing::{Site, fill, gap, start};
use super::*;
use crate::audit::event::{EndCause, EngineDied, Event, Role};
use crate::audit::guard::SessionGuard;
use crate::audit::verify::verify;
use crate::id::SessionId;
use crate::instructions::at_most;

fn items(records: &mut Records) -> Vec<Item> {
    std::iter::from_fn(|| records.next_item().unwrap()).collect()
}

fn seqs(records: &mut Records) -> Vec<u64> {
    items(records).into_iter().map(|item| if let Item::Record(one) = item { one.seq.0 } else { 0 }).collect()
}

#[test]
fn a_line_takes_so_many_instructions() {
    let site = Site::new();
    let (journal, session) = (site.journal(None, Durability::Process), Some(SessionId::generate()));
    let event = Event::SessionStart(Box::new(start()));
    at_most(module_path!(), "a_line_takes_so_many_instructions", 190_000, || {
        journal.append(session, &event).unwrap();
    });
}

#[test]
fn eight_threads_make_one_chain() {
    let site = Site::new();
    for durability in [Durability::Process, Durability::Disk] {
        let journal = site.journal(None, durability);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let session = Some(SessionId::generate());
                    for _ in 0..100 {
                        journal.append(session, &gap("thread")).unwrap();
                    }
                });
            }
        });
        let mut sealer = site.sealer();
        assert_eq!(sealer.follow().unwrap(), []);
        assert_eq!(sealer.progress(journal.id()), Some((Seq(801), Seq(0))));
    }
    let report = verify(&site.layout, None).unwrap();
    assert_eq!(report.journals.iter().map(|journal| journal.lines).sum::<u64>(), 1602);
    assert!(report.is_sound(), "{report}");
}

#[test]
fn async_writers_share_syncs_and_never_block_their_worker() {
    let site = Site::new();
    let journal = site.journal(None, Durability::Disk);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let journal = Arc::clone(&journal);
                tokio::spawn(async move { journal.append_durable(None, &gap("task")).await.unwrap() })
            })
            .collect();
        let mut seqs = Vec::new();
        for task in tasks {
            seqs.push(task.await.unwrap().0);
        }
        assert_eq!(seqs, (2..=51).collect::<Vec<_>>());
    });
}

#[tokio::test(start_paused = true)]
async fn outcomes_wait_for_the_next_line_or_a_millisecond_and_never_change_places() {
    let site = Site::new();
    drop(site.sealer());
    let journal = site.filled(1);
    let size = || fs::metadata(site.segment(&journal)).unwrap().len();
    let before = size();
    assert_eq!(journal.append_soon(None, &gap("outcome")).unwrap(), Seq(2));
    assert_eq!(size(), before);
    assert_eq!(journal.append(None, &gap("statement")).unwrap(), Seq(3));
    let both = size();
    assert!(both > before);
    journal.append_soon(None, &gap("last")).unwrap();
    assert_eq!(size(), both);
    let ten = std::time::Duration::from_millis(10);
    assert!(tokio::time::timeout(ten, journal.write_waiting()).await.is_err());
    assert!(size() > both);
    journal.append_soon(None, &gap("behind the last")).unwrap();
    drop(journal);
    let report = verify(&site.layout, None).unwrap();
    assert_eq!(report.journals[0].lines, 5);
    assert!(report.is_sound(), "{report}");
}

#[test]
fn tasks_that_are_ready_together_share_a_write_before_any_of_them_goes_on() {
    let site = Site::new();
    drop(site.sealer());
    let journal = site.filled(1);
    let size = || fs::metadata(site.segment(&journal)).unwrap().len();
    let before = size();
    let mut context = Context::from_waker(Waker::noop());
    let mut lines: Vec<_> = (0..3).map(|_| Box::pin(journal.append_durable(None, &gap("task")))).collect();
    assert!(lines.iter_mut().all(|line| line.as_mut().poll(&mut context).is_pending()));
    assert_eq!(size(), before);
    // Whoever comes next writes for all.
    assert!(matches!(lines[0].as_mut().poll(&mut context), Poll::Ready(Ok(Seq(2)))));
    let all = size();
    assert!(all > before);
    for line in &mut lines[1..] {
        assert!(line.as_mut().poll(&mut context).is_ready());
    }
    assert_eq!(size(), all);
    drop(journal.append_durable(None, &gap("given up")));
    assert!(size() > all, "what was added and given up is written");
    let waiting: Vec<_> = (0..40).map(|_| journal.append_durable(None, &gap(&"x".repeat(1_000)))).collect();
    assert!(size() > all + 30_000, "what waits is bounded");
    drop(waiting);
    assert!(verify(&site.layout, None).unwrap().is_sound());
}

#[test]
fn lines_that_wait_are_bounded() {
    let site = Site::new();
    let journal = site.filled(1);
    for _ in 0..100 {
        journal.append_soon(None, &gap(&"x".repeat(1_000))).unwrap();
    }
    assert!(fs::metadata(site.segment(&journal)).unwrap().len() > 60_000);
}

#[test]
fn a_file_that_cannot_be_synced_is_no_durable_journal() {
    let site = Site::new();
    // A character device takes writes, and fdatasync gives EINVAL.
    let null = || fs::OpenOptions::new().append(true).open("/dev/null").unwrap();
    let error = Journal::open(null(), site.opening(None), Durability::Disk).unwrap_err();
    assert!(matches!(error, JournalError::Sync(_)), "{error}");
    assert!(Journal::open(null(), site.opening(None), Durability::Process).is_ok());
}

#[test]
fn only_an_empty_append_only_file_is_opened() {
    let site = Site::new();
    let journal = site.filled(2);
    let used = fs::OpenOptions::new().append(true).open(site.segment(&journal)).unwrap();
    let error = Journal::open(used, site.opening(None), Durability::Process).unwrap_err();
    assert!(matches!(error, JournalError::Unfit { .. }));
    let error = Journal::open(tempfile::tempfile().unwrap(), site.opening(None), Durability::Process).unwrap_err();
    assert!(matches!(error, JournalError::Unfit { .. }));
}

#[test]
fn an_event_beyond_the_limit_is_refused_and_the_journal_goes_on() {
    let site = Site::new();
    let journal = site.filled(1);
    let error = journal.append(None, &gap(&"x".repeat(LINE_LIMIT))).unwrap_err();
    assert!(matches!(error, JournalError::TooLong { kind: "gap", .. }));
    fill(&journal, 2..=3);
    assert!(verify(&site.layout, None).unwrap().journals[0].lines == 3);
}

#[test]
fn a_full_disk_poisons_the_journal_and_leaves_a_named_torn_line() {
    let disk = TinyDisk::mount();
    let layout = Layout::new(disk.0.path());
    let site = Site { folder: tempfile::tempdir().unwrap(), layout, host: crate::id::HostId::generate() };
    drop(site.sealer());
    let journal = site.journal(None, Durability::Process);
    let mut written = 1;
    let error = loop {
        match journal.append(None, &gap(&"x".repeat(3000))) {
            Ok(seq) => written = seq.0,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, JournalError::Torn { .. } | JournalError::Write(_)), "{error}");
    // Room again does not help: nobody knows what became of the line.
    fs::remove_file(disk.0.path().join("ballast")).unwrap();
    assert!(matches!(journal.append(None, &gap("later")), Err(JournalError::Poisoned)));
    let report = verify(&site.layout, None).unwrap();
    assert_eq!(report.journals[0].lines, written);
    assert!(report.is_sound(), "{report}");
    if matches!(error, JournalError::Torn { .. }) {
        assert!(report.to_string().contains("torn: "), "{report}");
    }
    let mut records = Reader::new(site.layout.clone()).records(Filter::default()).unwrap();
    assert_eq!(items(&mut records).len() as u64, written);
}

/// A file system of 256 KiB, 64 of them taken.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let size = c"size=256k";
        rustix::mount::mount("tmpfs", folder.path(), "tmpfs", rustix::mount::MountFlags::empty(), Some(size)).unwrap();
        fs::write(folder.path().join("ballast"), vec![0; 64 * 1024]).unwrap();
        Self(folder)
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[tokio::test]
async fn a_session_has_one_end_with_its_cause() {
    let site = Site::new();
    let journal = site.journal(None, Durability::Process);
    let [closed, dropped, lost] = [(); 3].map(|()| SessionId::generate());
    let guard = SessionGuard::open(Arc::clone(&journal), closed, start()).unwrap();
    guard.counts().requests.fetch_add(3, std::sync::atomic::Ordering::Relaxed);
    guard.record(&gap("inside")).await.unwrap();
    assert!(guard.end(EndCause::Client).unwrap().is_some());
    assert_eq!(guard.end(EndCause::Policy).unwrap(), None);
    drop(guard);
    drop(SessionGuard::open(Arc::clone(&journal), dropped, start()).unwrap());
    let guard = SessionGuard::open(Arc::clone(&journal), lost, start()).unwrap();
    guard.flush().unwrap();
    std::mem::forget(guard);
    let reader = Reader::new(site.layout.clone());
    let (sessions, broken) = reader.sessions().unwrap();
    assert!(broken.is_empty());
    assert_eq!(sessions.iter().map(|one| one.session).collect::<Vec<_>>(), [closed, dropped, lost]);
    let causes = sessions.iter().map(|one| match one.state {
        SessionState::Ended { end: Some(end), .. } => Some((end.cause, end.counters.requests)),
        _ => None,
    });
    assert_eq!(causes.collect::<Vec<_>>(), [Some((EndCause::Client, 3)), Some((EndCause::Dropped, 0)), None]);
    assert_eq!(sessions[0].start, Some(start()));
    let died = EngineDied { journal: journal.id(), status: "signal 9".into() };
    site.journal(None, Durability::Process).append(None, &Event::EngineDied(died)).unwrap();
    assert_eq!(reader.sessions().unwrap().0[2].state, SessionState::Lost);
}

#[test]
fn a_session_is_found_with_an_index_without_one_and_with_a_wrong_one() {
    let site = Site::new();
    let journal = site.journal(None, Durability::Process);
    let (ours, other) = (SessionId::generate(), SessionId::generate());
    for line in 0..500 {
        journal.append(Some(if line % 10 == 3 { ours } else { other }), &gap("one")).unwrap();
    }
    let reader = Reader::new(site.layout.clone());
    let find = || {
        let filter = Filter { session: Some(ours), ..Filter::default() };
        seqs(&mut reader.records(filter).unwrap())
    };
    let expected: Vec<u64> = (0..50).map(|n| n * 10 + 5).collect();
    assert_eq!(find(), expected, "without an index");
    site.sealer().follow().unwrap();
    assert_eq!(find(), expected, "with one");
    let index = site.layout.index(journal.id(), 1);
    let good = fs::read(&index).unwrap();
    assert_eq!(good.len(), 32 + 24 * 501);
    fs::write(&index, &good[..32 + 24 * 100 + 7]).unwrap();
    assert_eq!(find(), expected, "with a short one");
    let mut wrong = good.clone();
    // A record of the other session claims ours, and one of ours claims the other.
    wrong[32 + 24 * 30 + 8..32 + 24 * 31].copy_from_slice(ours.as_bytes());
    wrong[32 + 24 * 34 + 8..32 + 24 * 35].copy_from_slice(other.as_bytes());
    fs::write(&index, &wrong).unwrap();
    assert_eq!(find(), expected, "with a wrong one");
    let mut beside = good.clone();
    let last = beside.len() - 24;
    beside[last] ^= 3;
    fs::write(&index, &beside).unwrap();
    assert_eq!(find(), expected, "with one that ends beside a line");
    for beyond in [[0xff; 24], [0x0f; 24]] {
        fs::write(&index, [&good[..], &beyond].concat()).unwrap();
        assert_eq!(find(), expected, "with one that ends beyond the file");
    }
    site.sealer().follow().unwrap();
    assert_eq!(fs::read(&index).unwrap(), good, "made anew");
}

#[test]
fn a_listing_goes_on_with_what_is_written_later() {
    let site = Site::new();
    let first = site.filled(3);
    let mut records = Reader::new(site.layout.clone()).records(Filter::default()).unwrap();
    assert_eq!(seqs(&mut records), [1, 2, 3]);
    fill(&first, 4..=5);
    assert_eq!(seqs(&mut records), [4, 5]);
    let second = site.filled(2);
    assert!(seqs(&mut records).is_empty());
    records.refresh().unwrap();
    assert_eq!(seqs(&mut records), [1, 2]);
    fill(&first, 6..=6);
    fill(&second, 3..=3);
    fill(&first, 7..=7);
    assert_eq!(seqs(&mut records), [6, 3, 7], "by time");
    let kinds = vec!["journal.".to_owned()];
    let only = Filter { journal: Some(second.id()), kinds, ..Filter::default() };
    assert_eq!(seqs(&mut Reader::new(site.layout.clone()).records(only).unwrap()), [1]);
}

#[test]
fn the_latest_journal_of_a_role_is_found() {
    let site = Site::new();
    site.filled(2);
    let last = site.filled(1);
    let reader = Reader::new(site.layout.clone());
    assert_eq!(reader.latest(Role::Engine).unwrap(), Some(last.id()));
    assert_eq!(reader.latest(Role::Warden).unwrap(), None);
}

#[test]
fn a_broken_line_is_yielded_in_its_place() {
    let site = Site::new();
    let journal = site.filled(3);
    let path = site.segment(&journal);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"v\":2}\n").unwrap();
    file.write_all(&vec![b'x'; LINE_LIMIT + 5]).unwrap();
    let mut records = Reader::new(site.layout.clone()).records(Filter::default()).unwrap();
    let faults: Vec<_> = items(&mut records)
        .into_iter()
        .filter_map(|item| if let Item::Broken(place) = item { Some(place.fault) } else { None })
        .collect();
    assert_eq!(faults, [LineFault::Version { found: "2".into() }, LineFault::TooLong]);
    assert_eq!(records.next_item().unwrap(), None);
}

#[test]
fn later_segments_go_on_with_the_chain() {
    let site = Site::new();
    let journal = site.filled(20);
    let mut sealer = site.sealer();
    assert_eq!(sealer.follow().unwrap(), []);
    sealer.seal().unwrap();
    journal.go_on_in(site.layout.create_segment(journal.id(), 2).unwrap()).unwrap();
    fill(&journal, 21..=30);
    assert_eq!(sealer.follow().unwrap(), []);
    assert_eq!(sealer.progress(journal.id()), Some((Seq(30), Seq(20))));
    sealer.seal().unwrap();
    drop(sealer);
    let mut again = site.sealer();
    assert_eq!(again.follow().unwrap(), []);
    assert_eq!(again.progress(journal.id()), Some((Seq(30), Seq(30))));
    let report = verify(&site.layout, None).unwrap();
    assert!(report.is_sound() && report.journals[0].sealed == 30, "{report}");
    let mut records = Reader::new(site.layout.clone()).records(Filter::default()).unwrap();
    assert_eq!(seqs(&mut records), (1..=30).collect::<Vec<_>>());
    fs::remove_file(site.layout.segment(journal.id(), 2)).unwrap();
    assert!(!verify(&site.layout, None).unwrap().is_sound());
}

#[test]
fn a_new_line_that_does_not_follow_is_told_and_never_sealed() {
    let changes: [fn(&str) -> String; 4] = [
        |last| last.replace("\"seq\":9", "\"seq\":10"),
        |last| last.to_owned(),
        |last| last.replace("\"seq\":9", "\"seq\":10").replace("\"journal\":\"0", "\"journal\":\"1"),
        |_| "garbage\n".to_owned(),
    ];
    for change in changes {
        let site = Site::new();
        let journal = site.filled(9);
        let path = site.segment(&journal);
        let mut sealer = site.sealer();
        assert_eq!(sealer.follow().unwrap(), []);
        let text = fs::read_to_string(&path).unwrap();
        let bad = change(text.split_inclusive('\n').next_back().unwrap());
        fs::write(&path, text + &bad).unwrap();
        let breaches = sealer.follow().unwrap();
        assert!(matches!(breaches[0].kind, BreachKind::Follow { .. } | BreachKind::Line { .. }), "{breaches:?}");
        assert_eq!((breaches.len(), breaches[0].last_good), (1, Seq(9)));
        assert_eq!(sealer.seal().unwrap()[0].seq, Seq(9));
        assert_eq!(verify(&site.layout, None).unwrap().breaches[0].line, Some(10));
    }
}

#[test]
fn a_segment_that_begins_with_a_torn_line_leaves_the_one_before_sealed() {
    let site = Site::new();
    let journal = site.filled(20);
    fs::write(site.layout.segment(journal.id(), 2), "{\"v\":1,").unwrap();
    for _ in 0..2 {
        let mut sealer = site.sealer();
        assert_eq!(sealer.follow().unwrap(), []);
        sealer.seal().unwrap();
        let report = verify(&site.layout, None).unwrap();
        assert!(report.is_sound() && report.seals == 1 && report.journals[0].sealed == 20, "{report}");
    }
}

#[test]
fn a_used_key_is_erased_and_key_files_are_for_root_alone() {
    let site = Site::new();
    site.filled(2);
    let mut sealer = site.sealer();
    sealer.follow().unwrap();
    let before = fs::read(site.layout.key()).unwrap();
    // A second name shows what becomes of the used key's bytes on the disk.
    let used = site.folder.path().join("used");
    fs::hard_link(site.layout.key(), &used).unwrap();
    sealer.seal().unwrap();
    assert_ne!(fs::read(site.layout.key()).unwrap(), before);
    assert_eq!(fs::read(used).unwrap(), [0; 32]);
    assert_eq!(fs::metadata(site.layout.key()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!site.layout.next_key().exists());
    assert!(site.folder.path().join("journal/seal.pub").exists());
}
