//! Killing the gateway at random moments while clients work, and cutting the power of its host.
//!
//! In: how often. Out: for each protocol what the server received, what the journal has and what its copy has; an error where
//! something was received that has no event. Kills are those of tests, which also run without it, fewer of them.

mod power;

use std::process::Command;

use anyhow::{Result, ensure};

use crate::ebpf;
use crate::run::{checkout, run};
use crate::setup;

/// The test programs, each with one protocol.
const PROGRAMS: [&str; 3] = ["pg", "ssh", "kube"];

/// Kills so often in all, and cuts the power so often.
pub(crate) fn perform(kills: u64, cuts: u64) -> Result<()> {
    ensure!(ebpf::is_root(), "tests need root: run it with sudo");
    setup::install()?;
    if cuts > 0 {
        power::cut(cuts)?;
    }
    for program in PROGRAMS.into_iter().filter(|_| kills > 0) {
        let mut tests = Command::new("cargo");
        tests.args([
            "test",
            "--package",
            "gateway",
            "--test",
            program,
            "--locked",
            "--",
            "chaos_kills::",
            "--nocapture",
        ]);
        tests.current_dir(checkout()?).env("GATEWAY_CACHE", ebpf::cache_dir()?);
        run(tests.env("GATEWAY_CHAOS", kills.div_ceil(PROGRAMS.len() as u64).to_string()))?;
    }
    Ok(())
}
