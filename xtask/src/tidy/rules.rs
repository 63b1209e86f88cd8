//! Rules for every file. In: a file. Out: its breaches. It must never know one module from another: that is `layers`.

use super::Fault;
use super::source::{Line, Source, has_word};

const FILE_LINES: usize = 600;
const INLINE_TEST_LINES: usize = 150;

/// Code that never lands, and what to write instead.
const BANNED: [(&str, &str); 4] = [
    ("todo!", "`todo!` is unfinished code"),
    ("unimplemented!", "`unimplemented!` is unfinished code"),
    ("dbg!", "`dbg!` is for the desk"),
    ("#[ignore", "a skipped test is a failed test"),
];

/// Where user and kernel space may hold unsafe code.
const UNSAFE_HOMES: [&str; 2] = ["gateway-common/src/", "gateway-ebpf/src/"];

/// The roots of crates that must forbid it.
const SAFE_ROOTS: [&str; 3] = ["gateway/src/lib.rs", "gateway/src/main.rs", "xtask/src/main.rs"];

/// The one place of the tests that may sleep, between two looks at what it waits for.
const WAITING: &str = "gateway/tests/it/wait.rs";

pub(super) fn check(source: &Source) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut note = |line: usize, text: String| faults.push(Fault { path: source.path.clone(), line: line + 1, text });
    if !source.lines.first().is_some_and(|line| line.comment.starts_with("//!")) {
        note(
            0,
            "the file does not start with `//!`: say what comes in, what goes out, what it must never do".to_owned(),
        );
    }
    if let Some(text) = size(source) {
        note(0, text);
    }
    if let Some((line, text)) = tests_place(source) {
        note(line, text);
    }
    if SAFE_ROOTS.contains(&source.path.as_str())
        && !source.lines.iter().any(|line| line.code.contains("#![forbid(unsafe_code)]"))
    {
        note(0, "the crate does not say `#![forbid(unsafe_code)]`".to_owned());
    }
    for (number, line) in source.lines.iter().enumerate() {
        for text in line_faults(source, number, line) {
            note(number, text);
        }
    }
    faults
}

fn size(source: &Source) -> Option<String> {
    let table = source.lines.iter().any(|line| line.comment.starts_with("// TABLE:"));
    if table || source.is_test_file() {
        return None;
    }
    let count = (0..source.lines.len()).filter(|&number| !source.is_test(number)).count();
    (count > FILE_LINES).then(|| format!("{count} lines without tests, at most {FILE_LINES}: split it by what it does"))
}

fn tests_place(source: &Source) -> Option<(usize, String)> {
    let (first, last) = source.inline_tests?;
    let count = last - first;
    if !source.is_test_file() && count > INLINE_TEST_LINES {
        return Some((
            first,
            format!("{count} lines of tests, at most {INLINE_TEST_LINES} here: move them to `tests.rs` beside it"),
        ));
    }
    let after = source.lines.iter().enumerate().skip(last + 1).find(|(_, line)| !line.code.trim().is_empty());
    after.map(|(number, _)| (number, "code after the tests: they stand at the bottom".to_owned()))
}

fn line_faults(source: &Source, number: usize, line: &Line) -> Vec<String> {
    let mut faults: Vec<String> =
        BANNED.iter().filter(|(word, _)| line.code.contains(word)).map(|(_, reason)| (*reason).to_owned()).collect();
    if has_word(&line.code, "unsafe") && !UNSAFE_HOMES.iter().any(|home| source.path.starts_with(home)) {
        faults.push("`unsafe` outside gateway-common and gateway-ebpf: calls that no crate covers live in gateway-common/src/sys.rs".to_owned());
    }
    if source.is_test(number) && sleeps(source, &line.code) {
        faults.push(format!("a test sleeps: wait for the fact ({WAITING}) or pause time"));
    }
    if has_word(&line.comment, "FIXME") || (has_word(&line.comment, "TODO") && !line.comment.contains("TODO(#")) {
        faults.push("write `TODO(#issue)`, or do it".to_owned());
    }
    faults
}

fn sleeps(source: &Source, code: &str) -> bool {
    let paused =
        || source.lines.iter().any(|line| line.code.contains("start_paused") || line.code.contains("time::pause("));
    source.path != WAITING && (code.contains("thread::sleep") || (code.contains("time::sleep") && !paused()))
}
