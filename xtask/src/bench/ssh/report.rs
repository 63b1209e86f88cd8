//! What the samples say of SSH. In: samples. Out: a table, goals met or missed. It must never compare medians of
//! different rounds where it can compare the rounds themselves.

use super::super::measure::Samples;
use super::super::report::{Goal, Sense, median, paired, rows};
use super::measure::{COPIES, SESSIONS};
use super::{WAYS, Way};

/// Of the bare russh relay's speed.
const COPY: f64 = 0.9;
/// Milliseconds over a direct login.
const LOGIN: f64 = 40.0;
/// Microseconds over a direct echo.
const ECHO: f64 = 1_000.0;
/// Bytes of the engine's memory.
const IDLE: f64 = 256.0 * 1024.0;

/// For people.
pub(super) fn table(samples: &Samples<Way>) -> String {
    let mut metrics: Vec<String> = COPIES.iter().map(|what| format!("{what} MiB/s")).collect();
    metrics.extend(COPIES.iter().map(|what| format!("{what} cpu s/GiB")));
    metrics.extend(["true ms", "echo us", "sessions at once", "sessions s", "idle bytes"].map(str::to_owned));
    rows(samples, &metrics, (&WAYS, &[Way::Direct, Way::Russh]))
}

/// What has to be reached.
pub(super) fn goals(samples: &Samples<Way>) -> Vec<Goal> {
    let mut goals: Vec<Goal> = COPIES
        .iter()
        .map(|what| {
            let is = median(&paired(samples, &format!("{what} MiB/s"), Way::Russh, |ours, theirs| ours / theirs));
            Goal { what: format!("{what}, over the russh relay's speed"), is, bound: COPY, sense: Sense::AtLeast }
        })
        .collect();
    let added = |metric: &str| median(&paired(samples, metric, Way::Direct, |ours, theirs| ours - theirs));
    let mut most = |what: &str, is: f64, bound: f64| {
        goals.push(Goal { what: what.to_owned(), is, bound, sense: Sense::AtMost });
    };
    most("a command, milliseconds over a direct one", added("true ms"), LOGIN);
    most("a keystroke's echo, microseconds over a direct one", added("echo us"), ECHO);
    most("idle session, bytes of the engine", median(samples.of("idle bytes", Way::Gateway)), IDLE);
    let at_once = median(samples.of("sessions at once", Way::Gateway));
    let what = "sessions at once".to_owned();
    goals.push(Goal { what, is: at_once, bound: SESSIONS as f64, sense: Sense::AtLeast });
    goals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_no_goal_met() {
        assert!(goals(&Samples::default()).iter().all(|goal| !goal.is_met()));
    }

    #[test]
    fn copies_are_compared_with_the_bare_relay_and_commands_with_no_relay_at_all() {
        let mut samples = Samples::default();
        for what in COPIES {
            samples.add(format!("{what} MiB/s"), Way::Russh, 1_000.0);
            samples.add(format!("{what} MiB/s"), Way::Gateway, 910.0);
        }
        for (metric, direct, ours) in [("true ms", 100.0, 139.0), ("echo us", 200.0, 1_100.0)] {
            samples.add(metric, Way::Direct, direct);
            samples.add(metric, Way::Gateway, ours);
        }
        samples.add("idle bytes", Way::Gateway, 100_000.0);
        samples.add("sessions at once", Way::Gateway, 200.0);
        assert!(goals(&samples).iter().all(Goal::is_met));
        samples.add("sessions at once", Way::Gateway, 198.0);
        assert_eq!(goals(&samples).iter().filter(|goal| !goal.is_met()).count(), 1);
    }
}
