//! One measurement at a time. In: a way to the API server, and what is asked of it. Out: samples, one for each round. It
//! must never keep a number of a run in which something failed or less than all came over.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::measure::{QUIET, Samples, processor_time, proportional_set};
use super::super::report::median;
use super::super::turned;
use super::lab::Lab;
use super::{WAYS, Way};
use crate::run::until;

/// Connections at once.
pub(super) const CONNECTIONS: [u32; 3] = [1, 16, 64];
/// Of the long list.
pub(super) const PODS: usize = 5_000;
/// Watches that nothing happens in, each on a connection of its own.
pub(super) const WATCHES: u32 = 1_000;
const AT_ONCE: u32 = 100;
/// Lists of a round, and lines that go to a pod and back.
const LISTS: u32 = 3;
const LINES: usize = 200;
/// The mask in each pod is longer than what it hides.
const LONGER: u64 = ("[secret•••]".len() - "/srv".len()) as u64;
/// What the status of the one pod that runs may differ by.
const SLACK: u64 = 4_096;
/// A person is slower; a processor that sleeps in between wakes up each time.
const PAUSE: Duration = Duration::from_millis(3);
const SMALL: &str = "/api/v1/namespaces/default/configmaps/small";
const LIST: &str = "/api/v1/namespaces/default/pods";
const WATCH: &str = "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=0&timeoutSeconds=3000";

/// Requests a second for a small object, and what the proxy computed for each.
pub(super) fn gets(lab: &Lab, way: Way, connections: u32, requests: u32, samples: &mut Samples<Way>) -> Result<()> {
    let (clients, count) = (connections.to_string(), requests.to_string());
    let proxy = lab.proxy(way);
    let before = proxy.map(processor_time).transpose()?;
    let load = lab.load(way, SMALL, &["-c", &clients, "-n", &count])?;
    let after = proxy.map(processor_time).transpose()?;
    ensure!(load.done == requests as usize, "of {requests} requests failed some: {}", load.said);
    samples.add(format!("get {connections} /s"), way, load.a_second);
    if let (Some(before), Some(after)) = (before, after) {
        samples.add(format!("get {connections} cpu us"), way, (after - before) * 1e6 / load.done as f64);
    }
    Ok(())
}

/// Milliseconds of a long list, and what the engine grew by meanwhile; one of each way, one after the other.
pub(super) fn lists(lab: &Lab, round: u32, samples: &mut Samples<Way>) -> Result<()> {
    let mut times = Samples::default();
    let whole = lab.fetch(Way::Direct, LIST, &[])?.bytes;
    let engine = lab.proxy(Way::Gateway).context("no engine")?;
    for number in 0..LISTS {
        for way in turned(WAYS, round + number) {
            let before = resident_now(engine)?;
            let list = lab.fetch(way, LIST, &[])?;
            let grown = resident_at_most(engine)?.saturating_sub(before);
            let wanted = if way == Way::Gateway { whole + PODS as u64 * LONGER } else { whole };
            ensure!(list.code == 200 && list.bytes.abs_diff(wanted) < SLACK, "{} bytes of {wanted}", list.bytes);
            times.add("list", way, list.seconds * 1e3);
            if way == Way::Gateway {
                times.add("grown", way, grown as f64);
            }
        }
    }
    samples.add("list bytes", Way::Gateway, median(times.of("grown", Way::Gateway)));
    for way in WAYS {
        samples.add("list ms", way, median(times.of("list", way)));
    }
    Ok(())
}

/// What of a process is in memory; from here on its peak is counted anew (proc_pid_clear_refs(5)).
fn resident_now(pid: u32) -> Result<u64> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    kib_of(pid, "VmRSS:")
}

/// That peak.
fn resident_at_most(pid: u32) -> Result<u64> {
    kib_of(pid, "VmHWM:")
}

fn kib_of(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// What an idle watch weighs in the engine.
pub(super) fn watches(lab: &Lab, samples: &mut Samples<Way>) -> Result<()> {
    let engine = lab.proxy(Way::Gateway).context("no engine")?;
    // The first ones pay for what all share.
    drop(Watching::start(lab, engine, 20)?);
    sleep(QUIET);
    let before = proportional_set(engine)?;
    let held: Result<Vec<_>> = (0..WATCHES / AT_ONCE).map(|_| Watching::start(lab, engine, AT_ONCE)).collect();
    let held = held?;
    sleep(QUIET);
    let after = proportional_set(engine)?;
    samples.add("watch bytes", Way::Gateway, after.saturating_sub(before) as f64 / f64::from(WATCHES));
    drop(held);
    Ok(())
}

/// Watches that are open; dropped, they end.
struct Watching(Child);

impl Watching {
    fn start(lab: &Lab, engine: u32, count: u32) -> Result<Self> {
        let number = count.to_string();
        let open = || Ok::<_, anyhow::Error>(fs::read_dir(format!("/proc/{engine}/fd"))?.count());
        // One socket towards the client, one towards the server.
        let wanted = open()? + 2 * count as usize;
        let mut command = lab.loader(Way::Gateway, WATCH, &["-n", &number, "-c", &number]);
        let held = Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        until("open watches", || Ok(open()? >= wanted))?;
        Ok(held)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Microseconds until a line that goes to a pod is back.
pub(super) fn lines(lab: &Lab, way: Way, samples: &mut Samples<Way>) -> Result<()> {
    let mut child = lab.echo(way)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("no input")?;
    let mut output = BufReader::new(child.stdout.take().context("no output")?);
    let (mut times, mut said) = (Vec::new(), String::new());
    for number in 0..=LINES {
        let start = Instant::now();
        input.write_all(b"a line\n")?;
        said.clear();
        output.read_line(&mut said)?;
        ensure!(said == "a line\n", "the pod says something else: `{said}`");
        // The first one waits for the command.
        if number > 0 {
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        sleep(PAUSE);
    }
    drop(input);
    ensure!(child.wait()?.success(), "the command failed");
    samples.add("exec us", way, median(&times));
    Ok(())
}
