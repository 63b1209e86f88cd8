//! The checks, in order, with the seconds of each. In: the checkout. Out: success, or the first stage that failed.
//! It must never pass a run in which no test ran or one was skipped.

use std::io::{BufRead, BufReader};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::run::{checkout, line, on_path, run, timed};
use crate::{demo, dist, ebpf, setup, tidy, vm};

/// One check; the order here is the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// Install what is missing.
    Setup,
    /// Formatting.
    Fmt,
    /// The rules of the tree that no other tool knows.
    Tidy,
    /// Licences, bans and sources of dependencies; advisories where their database is in reach.
    Deny,
    /// Lints, warnings being errors; builds the eBPF object.
    Clippy,
    /// Documentation builds without a warning.
    Doc,
    /// Every test, as root.
    Test,
    /// What anyone runs first shows what it should.
    Demo,
    /// The package installs on a clean Debian, holds what it promises over boots and upgrades, and goes again.
    Dist,
    /// The tests of capture and a Postgres session on another kernel, in emulated machines.
    Vm,
}

/// Runs one stage, or all of them up to the first that fails.
pub(crate) fn test(only: Option<Stage>) -> Result<()> {
    let stages = only.map_or_else(|| Stage::value_variants().to_vec(), |stage| vec![stage]);
    if [Stage::Test, Stage::Demo, Stage::Dist, Stage::Vm].iter().any(|stage| stages.contains(stage)) {
        announce_sudo()?;
    }
    let (mut seconds, mut totals) = (Vec::new(), Totals::default());
    for stage in stages {
        let name = format!("{stage:?}").to_lowercase();
        println!("== {name}");
        let (result, took) = timed(|| perform(stage));
        println!("== {name}: {}, {} s", if result.is_ok() { "ok" } else { "FAILED" }, took.as_secs());
        seconds.push(format!("{name} {}", took.as_secs()));
        let counted =
            result.with_context(|| format!("stage {name} failed (alone: `cargo xtask test --only {name}`)"))?;
        totals.join(&counted);
    }
    println!("seconds: {}", seconds.join(", "));
    if totals != Totals::default() {
        println!("{totals}");
    }
    Ok(())
}

/// Does the work of a stage; the tests come with their totals.
fn perform(stage: Stage) -> Result<Totals> {
    let root = checkout()?;
    match stage {
        Stage::Setup => setup::install()?,
        Stage::Fmt => fmt(root)?,
        Stage::Tidy => tidy::check(root)?,
        Stage::Deny => deny(root)?,
        Stage::Clippy => {
            run(cargo(root).args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?
        }
        Stage::Doc => {
            let mut doc = cargo(root);
            run(doc.args(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))?;
        }
        Stage::Test => return tests(root),
        Stage::Demo => demo::check()?,
        Stage::Dist => dist::check()?,
        Stage::Vm => return vm::usual(),
    }
    Ok(Totals::default())
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root);
    command
}

fn fmt(root: &Path) -> Result<()> {
    run(cargo(root).args(["fmt", "--all", "--check"]))?;
    run(cargo(root).args(["fmt", "--manifest-path", "gateway-ebpf/Cargo.toml", "--check"]))
}

fn deny(root: &Path) -> Result<()> {
    let program = setup::cargo_deny(&ebpf::cache_dir()?);
    let mut checks = vec!["bans", "licenses", "sources"];
    if advisories_in_reach() {
        checks.push("advisories");
    } else {
        println!("deny: the advisory database (github.com) is out of reach: advisories are not checked");
    }
    for manifest in ["Cargo.toml", "gateway-ebpf/Cargo.toml"] {
        let mut command = Command::new(&program);
        command.current_dir(root).args([
            "--manifest-path",
            manifest,
            "--config",
            "deny.toml",
            "--log-level",
            "error",
            "--locked",
        ]);
        // The workspace's list of licences is longer than what the kernel side needs.
        command.args(["check", "--hide-inclusion-graph", "--allow", "license-not-encountered"]).args(&checks);
        run(&mut command)?;
    }
    Ok(())
}

fn advisories_in_reach() -> bool {
    let addresses = ("github.com", 443).to_socket_addrs();
    addresses.is_ok_and(|mut found| {
        found.any(|address| TcpStream::connect_timeout(&address, Duration::from_secs(3)).is_ok())
    })
}

fn announce_sudo() -> Result<()> {
    if ebpf::is_root() {
        return Ok(());
    }
    ensure!(on_path("sudo"), "the tests load eBPF programs: run as root, or install sudo");
    println!(
        "uses sudo for: installing missing packages, each test program and the demo (they load eBPF programs and make namespaces), and the machines with other kernels (they see this machine's files)"
    );
    Ok(())
}

/// Runs every test, passing on what they print.
fn tests(root: &Path) -> Result<Totals> {
    let mut command = cargo(root);
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]).stdout(Stdio::piped());
    command.env("GATEWAY_CACHE", ebpf::cache_dir()?);
    if !ebpf::is_root() {
        let arch = std::env::consts::ARCH.to_uppercase();
        command.env(format!("CARGO_TARGET_{arch}_UNKNOWN_LINUX_GNU_RUNNER"), "sudo -E");
    }
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", line(&command)))?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let (mut total, mut failures) = (Totals::default(), Failures::default());
    for text in BufReader::new(output).lines() {
        let text = text.context("cannot read what cargo test prints")?;
        total.add(&text);
        failures.add(&text);
        println!("{text}");
    }
    let status = child.wait().context("cargo test cannot be waited for")?;
    if !status.success() {
        bail!("{total}{failures}");
    }
    ensure!(total.passed > 0, "no test ran");
    ensure!(total.ignored == 0, "{total}: a skip is a failure");
    Ok(total)
}

/// The sums over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) ignored: u32,
}

impl Totals {
    /// Adds a line like `test result: ok. 3 passed; 0 failed; 0 ignored; …`; other lines add nothing.
    pub(crate) fn add(&mut self, text: &str) {
        let Some(result) = text.strip_prefix("test result: ") else { return };
        for part in result.split([';', '.']) {
            let Some((count, what)) = part.trim().split_once(' ') else { continue };
            let sum = match what {
                "passed" => &mut self.passed,
                "failed" => &mut self.failed,
                "ignored" => &mut self.ignored,
                _ => continue,
            };
            *sum += count.parse::<u32>().unwrap_or_default();
        }
    }

    /// Adds other sums.
    pub(crate) fn join(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} ignored", self.passed, self.failed, self.ignored)
    }
}

/// What failing tests said last, to be read at the end of what a run of thousands printed.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    said: Vec<String>,
    /// Lines of the failing test that is told of.
    left: usize,
}

impl Failures {
    const LINES: usize = 12;
    const CHARACTERS: usize = 600;

    /// Takes a line of what a test program prints: of the part of a failing test, what begins with its panic.
    pub(crate) fn add(&mut self, text: &str) {
        if let Some(test) = text.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.said.push(format!("\n{test}"));
            self.left = 0;
        } else if text.starts_with("thread '") && text.contains(" panicked at ") {
            self.left = Self::LINES;
        } else if text.starts_with("test ") || text == "failures:" {
            self.left = 0;
        }
        // Before the first failing test, a panic is one that a test wanted.
        if self.left > 0 && !self.said.is_empty() {
            self.left -= 1;
            self.said.push(text.chars().take(Self::CHARACTERS).collect());
        }
    }
}

impl std::fmt::Display for Failures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.said.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_at_the_end_what_failed_and_why() {
        let mut failures = Failures::default();
        let long = "x".repeat(5_000);
        for text in [
            "test a::well ... ok",
            "failures:",
            "",
            "---- a::first stdout ----",
            "much that it printed",
            "",
            "thread 'a::first' (7) panicked at gateway/tests/it/a.rs:7:5:",
            "assertion failed: because",
            "---- a::second stdout ----",
            "thread 'a::second' (8) panicked at gateway/tests/it/a.rs:9:5:",
            &long,
            "failures:",
            "    a::first",
        ] {
            failures.add(text);
        }
        let said = failures.to_string();
        assert!(
            said.contains("a::first\nthread 'a::first' (7) panicked at gateway/tests/it/a.rs:7:5:\nassertion failed")
        );
        assert!(!said.contains("much that") && !said.contains("    a::first"), "{said}");
        assert!(said.contains("a::second\nthread") && said.len() < 2_000, "{said}");
    }

    #[test]
    fn sums_the_results_of_all_test_programs() {
        let mut total = Totals::default();
        total.add("running 3 tests");
        total.add("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        total.add("test result: FAILED. 1 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        assert_eq!(total, Totals { passed: 4, failed: 2, ignored: 1 });
        assert_eq!(total.to_string(), "4 passed, 2 failed, 1 ignored");
    }

    #[test]
    fn runs_setup_before_what_needs_it_and_the_demo_with_what_the_tests_built() {
        assert_eq!(Stage::value_variants().first(), Some(&Stage::Setup));
        assert!(Stage::value_variants().ends_with(&[Stage::Test, Stage::Demo, Stage::Dist, Stage::Vm]));
    }
}
