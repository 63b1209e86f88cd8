//! What the samples say of the record. In: samples. Out: a table, goals met or missed. It must never call a goal met that was not
//! measured at the size that it is set for.

use super::super::measure::Samples;
use super::super::report::{Goal, Sense, median, paired, rows};
use super::Way;

/// Events a second into one journal.
const RATE: f64 = 250_000.0;
/// Microseconds that the disk may cost.
const DISK: f64 = 2_000.0;
/// Events a second into ClickHouse.
const SHIPPED: f64 = 50_000.0;
/// Seconds that the copy may be behind when the last of them is written: the journals are looked at once a second.
const BEHIND: f64 = 3.0;
/// Milliseconds to the first screen of a long session.
const SCREEN: f64 = 1_000.0;
/// Seconds to decide a million requests again.
const REPLAY: f64 = 30.0;
/// The size that the last two are set for.
const EVENTS: u64 = 1_000_000;

const METRICS: [&str; 10] = [
    "events /s",
    "process us",
    "disk us",
    "fdatasync us",
    "shipped /s",
    "paced /s",
    "behind s",
    "first screen ms",
    "policy replay s",
    "policy replay, all distinct s",
];

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Of one session, and of requests that are decided again.
    pub(super) events: u64,
    /// Of each measurement of writes.
    pub(super) seconds: u64,
    /// Of 50,000 events each, that go to ClickHouse.
    pub(super) shipped: u64,
}

impl Sizes {
    pub(super) fn of(is_quick: bool) -> Self {
        if is_quick {
            Self { events: EVENTS / 100, seconds: 1, shipped: 2 }
        } else {
            Self { events: EVENTS, seconds: 3, shipped: 20 }
        }
    }
}

/// For people.
pub(super) fn table(samples: &Samples<Way>) -> String {
    rows(samples, &METRICS.map(str::to_owned), (&[Way::Gateway], &[]))
}

/// What has to be reached.
pub(super) fn goals(samples: &Samples<Way>, sizes: Sizes) -> Vec<Goal> {
    let is = |metric: &str| median(samples.of(metric, Way::Gateway));
    // A short session says nothing of a long one.
    let at_size = |metric: &str| if sizes.events == EVENTS { is(metric) } else { f64::NAN };
    let costs: Vec<f64> = paired(samples, "disk us", Way::Gateway, |ours, _| ours)
        .into_iter()
        .zip(samples.of("process us", Way::Gateway))
        .map(|(disk, process)| disk - process)
        .collect();
    let least = |what: &str, is, bound| Goal { what: what.to_owned(), is, bound, sense: Sense::AtLeast };
    let most = |what: &str, is, bound| Goal { what: what.to_owned(), is, bound, sense: Sense::AtMost };
    vec![
        least("events a second into a journal, durability process", is("events /s"), RATE),
        most("durability disk, microseconds more, 50 sessions", median(&costs), DISK),
        least("events a second into ClickHouse", is("shipped /s"), SHIPPED),
        most("the copy of 50,000 a second, seconds behind", is("behind s"), BEHIND),
        most("first screen of a session of 1,000,000 events, milliseconds", at_size("first screen ms"), SCREEN),
        most("1,000,000 requests decided again, seconds", at_size("policy replay s"), REPLAY),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_no_goal_met() {
        assert!(goals(&Samples::default(), Sizes::of(false)).iter().all(|goal| !goal.is_met()));
    }

    #[test]
    fn the_disk_is_compared_round_by_round_and_long_sessions_with_long_ones_alone() {
        let mut samples = Samples::default();
        let rounds = [("process us", [10.0, 3_000.0]), ("disk us", [1_900.0, 4_900.0]), ("events /s", [3e5, 3e5])];
        for (metric, numbers) in rounds {
            numbers.into_iter().for_each(|number| samples.add(metric, Way::Gateway, number));
        }
        for (metric, number) in
            [("shipped /s", 6e4), ("behind s", 1.0), ("first screen ms", 9.0), ("policy replay s", 29.0)]
        {
            samples.add(metric, Way::Gateway, number);
        }
        assert!(goals(&samples, Sizes::of(false)).iter().all(Goal::is_met));
        assert_eq!(goals(&samples, Sizes::of(true)).iter().filter(|goal| !goal.is_met()).count(), 2);
    }
}
