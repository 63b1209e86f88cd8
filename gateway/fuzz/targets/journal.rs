//! A journal that somebody tampered with. In: the bytes of its segment. It must be read to its end, and never be called
//! sound: no seal covers it.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use gateway::audit::journal::Filter;
use gateway::audit::verify::verify;
use gateway::audit::{Layout, Reader};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// How a compressed segment begins; it has more lines than bytes.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const JOURNAL: &str = "01a200df-0aa2-7565-a1cb-a254a442ecd9";
/// In memory where there is such a place.
static STATE: LazyLock<TempDir> =
    LazyLock::new(|| tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap());

fuzz_target!(|segment: &[u8]| {
    let layout = Layout::new(STATE.path());
    let journal = JOURNAL.parse().unwrap();
    fs::create_dir_all(layout.journal(journal)).unwrap();
    fs::write(layout.segment(journal, 1), segment).unwrap();
    let report = verify(&layout, None).unwrap();
    assert!(!report.is_sound(), "no seal covers it");
    let Ok(mut records) = Reader::new(layout).records(Filter::default()) else { return };
    // Each line is a record or a broken one.
    for _ in 0..=segment.len() {
        if !matches!(records.next_item(), Ok(Some(_))) {
            return;
        }
    }
    assert!(segment.starts_with(&ZSTD), "more items than bytes");
});
