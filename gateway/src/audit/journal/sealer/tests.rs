//! Stops between the steps of a seal, keys and seals that do not belong together, and whose seals they are.

use super::super::BreachKind;
use super::super::testing::{Site, fill};
use super::*;
use crate::audit::verify::verify;

/// Does the first `steps` steps of a seal and stops.
fn stop_after(site: &Site, steps: usize) {
    let mut sealer = site.sealer();
    assert_eq!(sealer.follow().unwrap(), []);
    let (journal, mark) = sealer.tails.iter().find_map(|(id, tail)| Some((*id, tail.due()?))).unwrap();
    if steps == 0 {
        return;
    }
    let next = sealer.store_next_key().unwrap();
    if steps >= 2 {
        sealer.append_seal((journal, mark, Says::Written), &next).unwrap();
    }
    if steps >= 3 {
        sealer.erase_used_key().unwrap();
    }
    if steps >= 4 {
        sealer.adopt_next_key(next).unwrap();
    }
}

#[test]
fn a_stop_between_any_two_steps_is_sound_and_repaired() {
    for steps in 0..=4 {
        let site = Site::new();
        let journal = site.filled(5);
        site.sealer().follow().unwrap();
        for round in 0..3 {
            fill(&journal, 6 + round..=6 + round);
            stop_after(&site, steps);
            let report = verify(&site.layout, None).unwrap();
            assert!(report.is_sound(), "stopped after {steps}: {report}");
        }
        let mut sealer = site.sealer();
        assert_eq!(sealer.follow().unwrap(), []);
        sealer.seal().unwrap();
        let report = verify(&site.layout, None).unwrap();
        assert!(report.is_sound() && report.notes.is_empty(), "{report}");
        assert_eq!(report.seals, if steps < 2 { 1 } else { 3 });
        assert!(!site.layout.next_key().exists());
    }
}

#[test]
fn another_hosts_seals_are_left_alone() {
    let site = Site::new();
    let journal = site.filled(3);
    let mut sealer = site.sealer();
    sealer.follow().unwrap();
    sealer.seal().unwrap();
    drop(sealer);
    assert_eq!(sealed_host(&site.layout), Some(site.host));
    let before = fs::read(site.layout.seals()).unwrap();
    fill(&journal, 4..=5);
    let error = Sealer::open(site.layout.clone(), HostId::generate()).unwrap_err();
    assert!(matches!(&error, SealError::Host { expected, .. } if *expected == site.host), "{error}");
    assert_eq!(fs::read(site.layout.seals()).unwrap(), before);
    site.sealer().follow().unwrap();
}

#[test]
fn a_torn_seal_is_cut_and_written_again() {
    let site = Site::new();
    site.filled(5);
    stop_after(&site, 2);
    let whole = fs::read(site.layout.seals()).unwrap();
    for end in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(site.layout.seals(), &whole[..end]).unwrap();
        let report = verify(&site.layout, None).unwrap();
        assert!(report.is_sound(), "{report}");
    }
    let mut sealer = site.sealer();
    sealer.follow().unwrap();
    assert_eq!(sealer.seal().unwrap().len(), 1);
    assert!(verify(&site.layout, None).unwrap().is_sound());
}

#[test]
fn a_stop_while_the_first_key_is_made_is_repaired() {
    let site = Site::new();
    site.filled(2);
    drop(site.sealer());
    fs::remove_file(site.layout.first_key()).unwrap();
    for content in [&b""[..], b"short", &[7; 32]] {
        fs::write(site.layout.key(), content).unwrap();
        drop(site.sealer());
        assert!(verify(&site.layout, None).unwrap().is_sound());
        fs::remove_file(site.layout.first_key()).unwrap();
    }
}

#[test]
fn a_foreign_key_or_a_lost_anchor_stops_sealing() {
    let site = Site::new();
    site.filled(2);
    let mut sealer = site.sealer();
    sealer.follow().unwrap();
    sealer.seal().unwrap();
    fs::write(site.layout.key(), [7; 32]).unwrap();
    let error = Sealer::open(site.layout.clone(), site.host).unwrap_err();
    assert!(matches!(error, SealError::Key { .. }), "{error}");
    fs::remove_file(site.layout.first_key()).unwrap();
    let error = Sealer::open(site.layout.clone(), site.host).unwrap_err();
    assert!(matches!(error, SealError::FirstKey { .. }), "{error}");
}

#[test]
fn what_changes_under_its_eyes_is_told_once() {
    type Case = (fn(&Path), fn(&BreachKind) -> bool);
    let changes: [Case; 4] = [
        (|path| cut(path, 700), |kind| matches!(kind, BreachKind::Cut { .. })),
        (|path| fs::remove_file(path).unwrap(), |kind| *kind == BreachKind::Missing),
        (replace, |kind| *kind == BreachKind::Replaced),
        (change_last, |kind| matches!(kind, BreachKind::Changed { .. })),
    ];
    for (change, expected) in changes {
        for reopen in [false, true] {
            let site = Site::new();
            let journal = site.filled(9);
            let mut sealer = site.sealer();
            sealer.follow().unwrap();
            sealer.seal().unwrap();
            change(&site.segment(&journal));
            if reopen {
                sealer = site.sealer();
            }
            let breaches = sealer.follow().unwrap();
            assert_eq!(sealer.follow().unwrap(), []);
            // A copy with the same content is the same record to a sealer that never saw the first file.
            let told = breaches.iter().any(|breach| expected(&breach.kind));
            assert!(told || (reopen && expected(&BreachKind::Replaced)), "{breaches:?}");
        }
    }
}

fn cut(path: &Path, size: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(size).unwrap();
}

fn replace(path: &Path) {
    let other = path.with_extension("new");
    fs::copy(path, &other).unwrap();
    fs::rename(other, path).unwrap();
}

fn change_last(path: &Path) {
    let mut text = fs::read(path).unwrap();
    let at = text.len() - 100;
    text[at] ^= 1;
    fs::write(path, text).unwrap();
}
