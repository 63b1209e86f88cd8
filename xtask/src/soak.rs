//! What takes hours. In: everything that setup can get. Out: a line for each stage with its seconds, and an error where
//! one failed. It must never stop at the first failure, nor leave out a stage without saying so.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::bench::{self, Subject};
use crate::run::{run, timed};
use crate::{chaos, ebpf, fuzz, mutate, setup, vm};

/// What is tried on versions of PostgreSQL that the ordinary tests leave out: corpora, encodings, types, generator, wire, masks of
/// the server itself, and changes that wait.
const OF_SERVERS: [&str; 9] = [
    "story_leaks",
    "story_evasions",
    "story_encodings",
    "encoding_oracle",
    "story_types",
    "story_generator",
    "story_transparency",
    "story_source",
    "story_changes",
];

/// How long, and what.
#[derive(Args)]
pub(crate) struct Extent {
    /// Seconds for each fuzz target
    #[arg(long, default_value_t = 300)]
    fuzz_seconds: u64,
    /// Stages whose name begins so [default: all]
    #[arg(long)]
    only: Option<String>,
}

/// Runs all stages; errs with the names of those that failed.
pub(crate) fn perform(extent: &Extent) -> Result<()> {
    ensure!(ebpf::is_root(), "tests, mutations and benchmarks need root: run it with sudo");
    setup::install()?;
    let mut soak = Soak { only: extent.only.clone(), lines: Vec::new(), failed: Vec::new() };
    // Every test on this kernel, the ones of `pg` with both versions of PostgreSQL, and some for longer.
    let this = std::env::current_exe().context("no path to this program")?;
    soak.stage("tests", || run(Command::new(&this).args(["test", "--only", "test"]).env("GATEWAY_SOAK", "1")));
    soak.stage("postgres", || {
        setup::other_servers()?;
        let mut tests = Command::new("cargo");
        tests.args(["test", "--package", "gateway", "--test", "pg", "--locked", "--"]).args(OF_SERVERS);
        tests.current_dir(crate::run::checkout()?).env("GATEWAY_CACHE", ebpf::cache_dir()?);
        run(tests.env("GATEWAY_POSTGRES", "13,17").env("GATEWAY_SOAK", "1"))
    });
    for kernel in vm::ALL {
        let name = format!("kernel {}", kernel.series);
        soak.stage(&name, || setup::kernel(kernel).and_then(|()| vm::whole(kernel)).map(|totals| println!("{totals}")));
    }
    soak.stage("chaos", || chaos::perform(510, 5));
    soak.stage("mutations", || mutate::check(&[]));
    soak.stage("fuzz", || fuzz::all(Duration::from_secs(extent.fuzz_seconds)));
    soak.stage("benchmarks", || bench::perform(Subject::Postgres(bench::Extent::default())));
    println!("\n{}", soak.lines.join("\n"));
    ensure!(!soak.lines.is_empty(), "no stage has that name");
    if !soak.failed.is_empty() {
        bail!("failed: {}", soak.failed.join(", "));
    }
    Ok(())
}

struct Soak {
    only: Option<String>,
    lines: Vec<String>,
    failed: Vec<String>,
}

impl Soak {
    fn stage(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        if self.only.as_ref().is_some_and(|only| !name.starts_with(only.as_str())) {
            return;
        }
        println!("== {name}");
        let (result, took) = timed(work);
        let outcome = match result {
            Ok(()) => "ok".to_owned(),
            Err(error) => {
                self.failed.push(name.to_owned());
                format!("FAILED: {error:#}")
            }
        };
        let line = format!("{name:<14} {:>6} s  {outcome}", took.as_secs());
        println!("== {line}");
        self.lines.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_after_a_failure_and_names_it() {
        let mut soak = Soak { only: None, lines: Vec::new(), failed: Vec::new() };
        soak.stage("first", || bail!("it broke"));
        soak.stage("second", || Ok(()));
        assert_eq!(soak.failed, ["first"]);
        assert!(soak.lines[0].ends_with("FAILED: it broke") && soak.lines[1].ends_with("ok"), "{:?}", soak.lines);
    }

    #[test]
    fn leaves_out_what_was_not_asked_for() {
        let mut soak = Soak { only: Some("kernel 5".into()), lines: Vec::new(), failed: Vec::new() };
        soak.stage("kernel 6.1", || bail!("it ran"));
        soak.stage("kernel 5.10", || Ok(()));
        assert_eq!((soak.lines.len(), soak.failed.len()), (1, 0));
    }
}
