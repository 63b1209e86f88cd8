//! How many instructions the hottest paths take, counted by callgrind: the same in every run, whatever else the machine
//! does.
//!
//! In: a piece of work, and the most that doing it once may take. Out: nothing, or a panic that says what it took. It counts
//! a debug build: that is no measure of speed, but it grows with every copy, allocation and comparison that is added.

use std::process::Command;

/// The work is done so often for a count.
const TIMES: u64 = 200;
/// Set for the process that is counted.
const COUNTED: &str = "GATEWAY_COUNTED";

/// Holds `work` to a bound. `module` is the test's `module_path!()`, `test` its name: this program runs that test alone once
/// more, under callgrind.
pub(crate) fn at_most(module: &str, test: &str, bound: u64, mut work: impl FnMut()) {
    // What is done but once is no part of it.
    work();
    if std::env::var_os(COUNTED).is_some() {
        return repeat_counted(&mut work);
    }
    let (_, path) = module.split_once("::").unwrap();
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*repeat_counted*"]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", &format!("{path}::{test}"), "--test-threads=1"]);
    let output = command.env(COUNTED, "1").output().expect("valgrind runs: `cargo xtask setup`");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let all: u64 = collected.and_then(|(_, count)| count.trim().parse().ok()).unwrap_or_else(|| panic!("{said}"));
    let each = all / TIMES;
    println!("{path}::{test}: {each} instructions, of {bound}");
    // One that is far below its bound would notice nothing.
    assert!((bound / 2..=bound).contains(&each), "{each} instructions, and the bound is {bound}");
}

/// Callgrind knows it by its name.
#[inline(never)]
fn repeat_counted(work: &mut dyn FnMut()) {
    for _ in 0..TIMES {
        work();
    }
}
