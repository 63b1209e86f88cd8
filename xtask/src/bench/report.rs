//! What the samples say. In: samples. Out: a table, goals met or missed, a JSON file. It must never compare medians of
//! different rounds where it can compare the rounds themselves.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::machine::Facts;
use super::measure::{CLIENTS, MODES, Samples};
use super::servers::{WAYS, Way};

/// Of PgBouncer's transactions per second.
const THROUGHPUT: f64 = 0.8;
/// Microseconds over the byte relay, at one client.
const ADDED_LATENCY: f64 = 25.0;
/// Times the byte relay's, for the long read.
const LONG_READ: f64 = 1.3;
/// Microseconds over the byte relay until the first row: a buffer that waits to be full takes longer.
const FIRST_ROW: f64 = 500.0;
/// Bytes of the engine's memory.
const IDLE: f64 = 64.0 * 1024.0;

/// The middle of some numbers; of an even count the mean of the two.
pub(super) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.wrapping_sub(1)), at(half)) }
}

/// How clients reach a server.
pub(super) trait Ways: Copy + Ord {
    /// The one that is compared with the others.
    const GATEWAY: Self;

    /// Its name in tables and files.
    fn name(self) -> &'static str;
}

/// Round by round, the one of the gateway and the other's.
pub(super) fn paired<W: Ways>(samples: &Samples<W>, metric: &str, other: W, join: fn(f64, f64) -> f64) -> Vec<f64> {
    let pairs = samples.of(metric, W::GATEWAY).iter().zip(samples.of(metric, other));
    pairs.map(|(ours, theirs)| join(*ours, *theirs)).collect()
}

/// The table and the goals, for people.
pub(super) fn print(samples: &Samples, rounds: u32) {
    announce(rounds, &table(samples), &goals(samples));
}

/// A table, and which goals are met.
pub(super) fn announce(rounds: u32, table: &str, goals: &[Goal]) {
    println!("\nmedians of {rounds} rounds, and how far they lie apart\n{table}");
    for goal in goals {
        println!("{}", goal.line());
    }
}

fn table(samples: &Samples) -> String {
    let mut metrics: Vec<String> = Vec::new();
    for what in ["tps", "proxy_cpu_us", "latency_us"] {
        let cells = MODES.iter().flat_map(|mode| CLIENTS.map(|clients| format!("{mode} {clients} {what}")));
        metrics.extend(cells.filter(|metric| !samples.of(metric, Way::Gateway).is_empty()));
    }
    metrics.extend(["read whole_us".to_owned(), "read first_row_us".to_owned()]);
    rows(samples, &metrics, (&WAYS, &[Way::Relay, Way::PgBouncer]))
}

/// A row for each metric: how each way did, and the gateway over some of the others.
pub(super) fn rows<W: Ways>(samples: &Samples<W>, metrics: &[String], (ways, others): (&[W], &[W])) -> String {
    let mut text = format!("{:24}", "");
    for way in ways {
        let _ = write!(text, "{:>18}", way.name());
    }
    for other in others {
        let _ = write!(text, "{:>16}", format!("/ {}", other.name()));
    }
    text.push('\n');
    for metric in metrics {
        let _ = write!(text, "{metric:24}");
        for way in ways {
            let _ = write!(text, "{:>18}", shown(samples.of(metric, *way)));
        }
        for other in others {
            let _ = write!(text, "{:>16.2}", median(&paired(samples, metric, *other, |ours, theirs| ours / theirs)));
        }
        text.push('\n');
    }
    text
}

/// A median with half the distance of the extremes, in per cent of it.
fn shown(numbers: &[f64]) -> String {
    if numbers.is_empty() {
        return "-".to_owned();
    }
    let (middle, least) = (median(numbers), numbers.iter().copied().fold(f64::INFINITY, f64::min));
    let most = numbers.iter().copied().fold(0.0, f64::max);
    let digits = if middle < 1_000.0 { 1 } else { 0 };
    format!("{middle:.digits$} ±{:.0}%", (most - least) / 2.0 / middle * 100.0)
}

/// A number to reach.
pub(super) struct Goal {
    pub(super) what: String,
    pub(super) is: f64,
    pub(super) bound: f64,
    /// What the bound is: the least, or the most.
    pub(super) sense: Sense,
}

/// Which numbers meet a goal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sense {
    AtLeast,
    AtMost,
}

impl Goal {
    pub(super) fn is_met(&self) -> bool {
        match self.sense {
            Sense::AtLeast => self.is >= self.bound,
            Sense::AtMost => self.is <= self.bound,
        }
    }

    fn line(&self) -> String {
        let word = if self.is_met() { "PASS" } else { "MISS" };
        let sense = if self.sense == Sense::AtLeast { "at least" } else { "at most" };
        format!("{word}  {}: {:.2} ({sense} {})", self.what, self.is, self.bound)
    }
}

pub(super) fn goals(samples: &Samples) -> Vec<Goal> {
    let ratio = |metric: &str, other| median(&paired(samples, metric, other, |ours, theirs| ours / theirs));
    let added = |metric: &str| median(&paired(samples, metric, Way::Relay, |ours, theirs| ours - theirs));
    let mut goals = Vec::new();
    let mut add = |what: String, is: f64, sense: Sense, bound: f64| goals.push(Goal { what, is, bound, sense });
    for mode in MODES {
        for clients in CLIENTS {
            let is = ratio(&format!("{mode} {clients} tps"), Way::PgBouncer);
            add(format!("throughput over PgBouncer's, {mode}, {clients} clients"), is, Sense::AtLeast, THROUGHPUT);
        }
    }
    for mode in MODES {
        let is = added(&format!("{mode} 1 latency_us"));
        add(format!("microseconds over the relay, {mode}, 1 client"), is, Sense::AtMost, ADDED_LATENCY);
    }
    add("long read over the relay's".to_owned(), ratio("read whole_us", Way::Relay), Sense::AtMost, LONG_READ);
    let first = added("read first_row_us");
    add("first row, microseconds over the relay's".to_owned(), first, Sense::AtMost, FIRST_ROW);
    let idle = median(samples.of("idle bytes_per_session", Way::Gateway));
    add("idle session, bytes of the engine".to_owned(), idle, Sense::AtMost, IDLE);
    goals
}

/// Writes every sample, with the machine that they are of.
pub(super) fn write<W: Ways>(file: &Path, machine: &Facts, goals: &[Goal], samples: &Samples<W>) -> Result<()> {
    let mut text = format!("{{\n\"machine\": {},\n\"goals\": [", machine.json());
    for (index, goal) in goals.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let (is, met) = (json_number(goal.is), goal.is_met());
        let what = quoted(&goal.what);
        let _ =
            write!(text, "{comma}\n  {{\"what\": {what}, \"is\": {is}, \"bound\": {}, \"met\": {met}}}", goal.bound);
    }
    text.push_str("\n],\n\"samples\": [");
    for (index, ((metric, way), numbers)) in samples.0.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let numbers: Vec<String> = numbers.iter().map(|number| json_number(*number)).collect();
        let (metric, way, numbers) = (quoted(metric), quoted(way.name()), numbers.join(", "));
        let _ = write!(text, "{comma}\n  {{\"metric\": {metric}, \"way\": {way}, \"rounds\": [{numbers}]}}");
    }
    text.push_str("\n]\n}\n");
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    }
    fs::write(file, text).with_context(|| format!("cannot write `{}`", file.display()))
}

/// JSON has no word for what is no number.
fn json_number(number: f64) -> String {
    if number.is_finite() { format!("{number:.3}") } else { "null".to_owned() }
}

/// A JSON string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => drop(write!(out, "\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_middle_of_odd_and_even_counts() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn compares_round_by_round() {
        let mut samples = Samples::default();
        // The machine got twice as slow between the rounds: the ratio stays.
        samples.0.insert(("x".into(), Way::Gateway), vec![90.0, 45.0]);
        samples.0.insert(("x".into(), Way::PgBouncer), vec![100.0, 50.0]);
        assert_eq!(paired(&samples, "x", Way::PgBouncer, |ours, theirs| ours / theirs), [0.9, 0.9]);
    }

    #[test]
    fn what_was_not_measured_is_no_goal_met() {
        assert!(goals(&Samples::default()).iter().all(|goal| !goal.is_met()));
        assert_eq!(json_number(f64::NAN), "null");
    }

    #[test]
    fn quotes_what_json_would_misread() {
        assert_eq!(quoted("a \"b\"\\\n"), "\"a \\\"b\\\"\\\\\\u000a\"");
    }
}
