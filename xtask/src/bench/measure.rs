//! One measurement at a time. In: a way to the server, and what is asked of it. Out: samples, one for each round. It
//! must never keep a number of a run in which a statement failed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::report::median;
use super::servers::{Lab, PROGRAMS, Way};
use super::world::HOME;
use crate::run::quiet;

/// Query modes of pgbench.
pub(super) const MODES: [&str; 2] = ["simple", "prepared"];
/// Clients at a time.
pub(super) const CLIENTS: [u32; 3] = [1, 8, 50];
/// Sessions that are held to see what one weighs.
pub(super) const IDLE_SESSIONS: u64 = 200;
/// A quiet session gives its buffers back within two looks, two seconds each.
pub(super) const QUIET: Duration = Duration::from_secs(5);
/// `sysconf(_SC_CLK_TCK)`: fixed for user space since Linux 2.6 (time(7)).
const TICKS: f64 = 100.0;

/// What was measured: by metric and way, a number for each round.
pub(super) struct Samples<W = Way>(pub(super) BTreeMap<(String, W), Vec<f64>>);

impl<W> Default for Samples<W> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<W: Ord> Samples<W> {
    /// One more number.
    pub(super) fn add(&mut self, metric: impl Into<String>, way: W, value: f64) {
        self.0.entry((metric.into(), way)).or_default().push(value);
    }

    /// The numbers of one metric, in the order of rounds.
    pub(super) fn of(&self, metric: &str, way: W) -> &[f64] {
        self.0.get(&(metric.to_owned(), way)).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Transactions per second; at one client also the median of their latencies; and what the proxy computed for each.
pub(super) fn pgbench(
    lab: &Lab,
    way: Way,
    (mode, clients): (&str, u32),
    cell: Duration,
    samples: &mut Samples,
) -> Result<()> {
    let (address, log) = (way.address(), lab.clients_folder().join("latency"));
    let mut pgbench = lab.client(way, &format!("{PROGRAMS}/pgbench"));
    pgbench.args(["-n", "-S", "-U", "agent", "-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
    pgbench.args(["-M", mode, "-c", &clients.to_string(), "-j", &clients.min(2).to_string()]);
    pgbench.args(["-T", &cell.as_secs().to_string()]);
    if clients == 1 {
        pgbench.arg("--log").arg("--log-prefix").arg(&log);
    }
    let before = computed(lab, way)?;
    let said = quiet(pgbench.arg("shop"))?;
    let after = computed(lab, way)?;
    let number = |before: &str| after_text(&said, before).with_context(|| format!("no `{before}` in: {said}"));
    ensure!(number("number of failed transactions: ")? == 0.0, "transactions failed: {said}");
    samples.add(format!("{mode} {clients} tps"), way, number("tps = ")?);
    if let (Some(before), Some(after)) = (before, after) {
        let count = number("number of transactions actually processed: ")?;
        samples.add(format!("{mode} {clients} proxy_cpu_us"), way, (after - before) * 1e6 / count);
    }
    if clients == 1 {
        samples.add(format!("{mode} {clients} latency_us"), way, median_latency(lab)?);
    }
    Ok(())
}

/// A long read: microseconds to the first row, and to the end.
pub(super) fn read(lab: &Lab, way: Way, samples: &mut Samples) -> Result<()> {
    let mut read = lab.client(way, &format!("{HOME}/xtask"));
    let said = quiet(read.args(["bench", "read", &way.address().to_string(), "11"]))?;
    let (mut first, mut whole) = (Vec::new(), Vec::new());
    for line in said.lines() {
        let (one, all) = line.split_once(' ').context("the reader printed no two numbers")?;
        first.push(one.parse()?);
        whole.push(all.parse()?);
    }
    samples.add("read first_row_us", way, median(&first));
    samples.add("read whole_us", way, median(&whole));
    Ok(())
}

/// What an idle session weighs in the engine: the difference of many, divided.
pub(super) fn idle(lab: &Lab, samples: &mut Samples) -> Result<()> {
    let engine = lab.proxy(Way::Gateway).context("no engine")?;
    // The first sessions pay for what all share: threads' arenas, the analysis of the statement.
    hold(lab, 20, || Ok(()))?;
    sleep(QUIET);
    let before = proportional_set(engine)?;
    let after = hold(lab, IDLE_SESSIONS, || {
        sleep(QUIET);
        proportional_set(engine)
    })?;
    samples.add("idle bytes_per_session", Way::Gateway, after.saturating_sub(before) as f64 / IDLE_SESSIONS as f64);
    Ok(())
}

fn hold<T>(lab: &Lab, sessions: u64, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut hold = lab.client(Way::Gateway, &format!("{HOME}/xtask"));
    hold.args(["bench", "hold", &Way::Gateway.address().to_string(), &sessions.to_string()]);
    let mut holder = hold.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut ready = String::new();
    BufReader::new(holder.stdout.take().context("no output of the holder")?).read_line(&mut ready)?;
    let result = if ready.is_empty() { None } else { Some(work()) };
    // Its input ends, and it goes.
    drop(holder.stdin.take());
    let status = holder.wait()?;
    match result {
        Some(result) if status.success() => result,
        _ => bail!("{sessions} sessions could not be held ({status})"),
    }
}

/// Memory that a process has for itself, and its part of what it shares (proc_pid_smaps(5)).
pub(super) fn proportional_set(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss in smaps_rollup")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

fn computed(lab: &Lab, way: Way) -> Result<Option<f64>> {
    lab.proxy(way).map(processor_time).transpose()
}

/// Seconds of processor time that a process used so far (proc_pid_stat(5), utime and stime).
pub(super) fn processor_time(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold spaces; behind its parenthesis the state is the first field.
    let (_, fields) = text.rsplit_once(") ").context("no name in stat")?;
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().unwrap_or(0.0)).sum::<f64>();
    Ok(ticks / TICKS)
}

/// Of what pgbench logged (third column: microseconds); the file is removed.
fn median_latency(lab: &Lab) -> Result<f64> {
    let mut latencies = Vec::new();
    for entry in fs::read_dir(lab.clients_folder())? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        latencies.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok()));
        fs::remove_file(&path)?;
    }
    ensure!(!latencies.is_empty(), "pgbench logged no transaction");
    Ok(median(&latencies))
}

/// The number behind a text.
fn after_text(said: &str, before: &str) -> Option<f64> {
    let (_, rest) = said.split_once(before)?;
    let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_numbers_in_what_pgbench_says() {
        let said = "number of failed transactions: 0 (0.000%)\ntps = 1234.567 (without initial connection time)\n";
        assert_eq!(after_text(said, "tps = "), Some(1234.567));
        assert_eq!(after_text(said, "number of failed transactions: "), Some(0.0));
        assert_eq!(after_text(said, "latency average = "), None);
    }
}
