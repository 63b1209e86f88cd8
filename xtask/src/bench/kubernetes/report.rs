//! What the samples say of Kubernetes. In: samples. Out: a table, goals met or missed. It must never compare medians of
//! different rounds where it can compare the rounds themselves.

use super::super::measure::Samples;
use super::super::report::{Goal, Sense, median, paired, rows};
use super::measure::CONNECTIONS;
use super::{WAYS, Way};

/// Of HAProxy's requests a second.
const GET: f64 = 0.7;
/// Times a direct list.
const LIST: f64 = 1.3;
/// Bytes of the engine's memory.
const WATCH: f64 = 64.0 * 1024.0;
/// Bytes that the engine grows by while a list of four times as many streams through it.
const STREAMED: f64 = 2.0 * 1024.0 * 1024.0;
/// Microseconds over a direct round trip.
const EXEC: f64 = 2_000.0;

/// For people.
pub(super) fn table(samples: &Samples<Way>) -> String {
    let mut metrics: Vec<String> = CONNECTIONS.iter().map(|count| format!("get {count} /s")).collect();
    metrics.extend(CONNECTIONS.iter().map(|count| format!("get {count} cpu us")));
    metrics.extend(["list ms", "list bytes", "exec us", "watch bytes"].map(str::to_owned));
    rows(samples, &metrics, (&WAYS, &[Way::Direct, Way::HaProxy]))
}

/// What has to be reached.
pub(super) fn goals(samples: &Samples<Way>) -> Vec<Goal> {
    let ratio = |metric: &str, other| median(&paired(samples, metric, other, |ours, theirs| ours / theirs));
    let gets = CONNECTIONS.iter().map(|count| {
        let what = format!("gets by {count} at once, over HAProxy's");
        Goal { what, is: ratio(&format!("get {count} /s"), Way::HaProxy), bound: GET, sense: Sense::AtLeast }
    });
    let most = |what: &str, is, bound| Goal { what: what.to_owned(), is, bound, sense: Sense::AtMost };
    let added = median(&paired(samples, "exec us", Way::Direct, |ours, theirs| ours - theirs));
    gets.chain([
        most("a list of 5,000 pods, over a direct one", ratio("list ms", Way::Direct), LIST),
        most("that list, bytes that the engine grows by", median(samples.of("list bytes", Way::Gateway)), STREAMED),
        most("a line to a pod and back, microseconds over a direct one", added, EXEC),
        most("idle watch, bytes of the engine", median(samples.of("watch bytes", Way::Gateway)), WATCH),
    ])
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_no_goal_met() {
        assert!(goals(&Samples::default()).iter().all(|goal| !goal.is_met()));
    }

    #[test]
    fn gets_are_compared_with_haproxy_and_all_else_with_no_proxy_at_all() {
        let mut samples = Samples::default();
        for count in CONNECTIONS {
            samples.add(format!("get {count} /s"), Way::HaProxy, 1_000.0);
            samples.add(format!("get {count} /s"), Way::Gateway, 710.0);
        }
        for (metric, direct, ours) in [("list ms", 100.0, 129.0), ("exec us", 900.0, 2_800.0)] {
            samples.add(metric, Way::Direct, direct);
            samples.add(metric, Way::Gateway, ours);
        }
        samples.add("watch bytes", Way::Gateway, 60_000.0);
        samples.add("list bytes", Way::Gateway, 1e6);
        assert!(goals(&samples).iter().all(Goal::is_met));
        samples.add("watch bytes", Way::Gateway, 80_000.0);
        assert_eq!(goals(&samples).iter().filter(|goal| !goal.is_met()).count(), 1);
    }
}
