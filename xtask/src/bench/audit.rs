//! What the record costs. In: release builds of the gateway and of `journal-load`, which writes journals by the gateway's own
//! library, and a ClickHouse. Out: a table, the goals that are met or missed, a file with every sample. It must never count an
//! event of which nobody said that it is written, or copied.

mod report;
mod store;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::machine;
use super::measure::Samples;
use super::report::{Ways, announce, write};
use crate::ebpf::cache_dir;
use crate::run::{line, quiet, timed};
use report::Sizes;
use store::Store;

/// Rows of a terminal.
const SCREEN: usize = 40;
/// Sessions that write at once where the disk is waited for.
const SESSIONS: &str = "50";
/// Of so many recorded requests one differs from all before it in what policies read.
const ALIKE: u64 = 100;
/// Policies that may be in force tomorrow: most stays, one of the tables is closed.
const POLICIES: &str = r#"
@id("work") permit (principal, action in [Action::"read", Action::"write", Action::"session"], resource);
@id("closed") @message("this table is closed") forbid (principal, action in [Action::"read"], resource is Postgres::Relation)
  when { resource.name == "table_7" };
"#;

/// There is one way to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Gateway,
}

impl Ways for Way {
    const GATEWAY: Self = Self::Gateway;

    fn name(self) -> &'static str {
        "gateway"
    }
}

/// The two programs.
struct Programs {
    gateway: PathBuf,
    load: PathBuf,
}

/// A folder on the disk of `$TMPDIR`, removed with its handle.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("gateway-bench-{name}-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make `{}`", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Measures, prints, and keeps the samples.
pub(super) fn measure(gateway: PathBuf, load: PathBuf, rounds: u32, is_quick: bool) -> Result<()> {
    let sizes = Sizes::of(is_quick);
    let (result, took) = timed(|| measure_all(&Programs { gateway, load }, rounds, sizes));
    let (samples, machine) = result?;
    let goals = report::goals(&samples, sizes);
    announce(rounds, &report::table(&samples), &goals);
    let file = cache_dir()?.join("bench").join(format!("audit-{}.json", machine::unix_time()));
    write(&file, &machine, &goals, &samples)?;
    println!("every sample, with the machine's facts: {} ({} s)", file.display(), took.as_secs());
    Ok(())
}

fn measure_all(programs: &Programs, rounds: u32, sizes: Sizes) -> Result<(Samples<Way>, machine::Facts)> {
    let mut machine = machine::Facts::read(&programs.gateway)?;
    let mut samples = Samples::default();
    for round in 0..rounds {
        println!("bench: lines into a journal, round {} of {rounds}", round + 1);
        writes(programs, sizes, &mut samples)?;
    }
    println!("bench: a world of its own, ClickHouse, gateway");
    let store = Store::start(programs)?;
    for _ in 0..rounds {
        store.backlog(sizes, &mut samples)?;
        store.pace(sizes, &mut samples)?;
    }
    drop(store);
    println!("bench: a session of {} events", sizes.events);
    let (session, count) = (Folder::new("session")?, sizes.events.to_string());
    let id = programs.load(&["session", text(&session.0)?, &count])?;
    for _ in 0..rounds {
        samples.add("first screen ms", Way::Gateway, first_screen(programs, &session.0, id.trim())?);
    }
    drop(session);
    for (metric, distinct) in
        [("policy replay s", sizes.events / ALIKE), ("policy replay, all distinct s", sizes.events)]
    {
        println!("bench: {} recorded requests, {distinct} of them distinct", sizes.events);
        let requests = Folder::new("requests")?;
        programs.load(&["requests", text(&requests.0)?, &count, &distinct.to_string()])?;
        for _ in 0..rounds {
            samples.add(metric, Way::Gateway, policy_replay(programs, &requests.0, sizes.events)?);
        }
    }
    machine.load_after = machine::load();
    Ok((samples, machine))
}

impl Programs {
    /// Runs `journal-load` to its end; returns what it printed.
    fn load(&self, words: &[&str]) -> Result<String> {
        quiet(Command::new(&self.load).args(words))
    }
}

/// Lines a second, and the wait for one of them with either durability and on the bare disk.
fn writes(programs: &Programs, sizes: Sizes, samples: &mut Samples<Way>) -> Result<()> {
    let seconds = sizes.seconds.to_string();
    let words: [(&str, &[&str]); 4] = [
        ("events /s", &["rate", "", &seconds]),
        ("process us", &["latency", "", "process", SESSIONS, &seconds]),
        ("disk us", &["latency", "", "disk", SESSIONS, &seconds]),
        ("fdatasync us", &["sync", ""]),
    ];
    for (metric, words) in words {
        // What one leaves behind would be on its way to the disk while the next one is measured.
        let folder = Folder::new("writes")?;
        let folder = text(&folder.0)?;
        let words: Vec<&str> = words.iter().map(|word| if word.is_empty() { folder } else { word }).collect();
        let said = programs.load(&words)?;
        samples.add(metric, Way::Gateway, said.trim().parse().with_context(|| format!("no number: {said}"))?);
    }
    Ok(())
}

/// Milliseconds from the start of `gateway replay` until so many lines of it are here.
fn first_screen(programs: &Programs, state: &Path, session: &str) -> Result<f64> {
    let mut command = Command::new(&programs.gateway);
    command.args(["replay", session, "--state-dir"]).arg(state);
    let start = Instant::now();
    let mut replay = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let output = replay.stdout.take().context("no output of the replay")?;
    let lines = BufReader::new(output).lines().take(SCREEN).collect::<std::io::Result<Vec<_>>>();
    let took = start.elapsed().as_secs_f64() * 1e3;
    // The rest of it is for nobody.
    let _ = replay.kill();
    let _ = replay.wait();
    ensure!(lines?.len() == SCREEN, "`{}` printed less than a screen", line(&command));
    Ok(took)
}

/// Seconds that `gateway policy replay` takes for all of them.
fn policy_replay(programs: &Programs, state: &Path, count: u64) -> Result<f64> {
    let policies = Folder::new("policies")?;
    fs::write(policies.0.join("tomorrow.cedar"), POLICIES).context("cannot write the policies")?;
    let mut command = Command::new(&programs.gateway);
    command.args(["policy", "replay", "--state-dir"]).arg(state).arg("--policies").arg(&policies.0);
    let (output, took) = timed(|| command.output());
    let output = output.with_context(|| format!("cannot start `{}`", line(&command)))?;
    let said = String::from_utf8_lossy(&output.stdout);
    // It fails where something would be otherwise, which is the case.
    let all = format!("{count} requests decided again");
    ensure!(said.starts_with(&all), "not all were decided: {said}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(said.contains("allow -> deny"), "the closed table is not noticed: {said}");
    Ok(took.as_secs_f64())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("$TMPDIR is no text")
}
