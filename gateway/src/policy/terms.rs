//! On what terms a yes counts: with a reason, within hours of the week, and for how long a request may wait.
//!
//! In: the texts of the annotations `@reason`, `@expires` and `@hours`. Out: [`Terms`], which only get stricter where
//! policies meet. It must never take a text that it does not understand for no term.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::audit::Timestamp;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MICROS_OF_MINUTE: u64 = 60_000_000;
const MINUTES_OF_DAY: u64 = 1_440;

/// The terms of a yes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Terms {
    /// It has to say why.
    #[serde(default)]
    pub reason: bool,
    /// The request ends by itself so long after it was made; `None`: as the configuration says.
    #[serde(default)]
    pub expires: Option<Duration>,
    /// It counts, and is used, only while all of these are open.
    #[serde(default)]
    pub hours: Vec<Hours>,
}

impl Terms {
    /// What both ask for.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut hours = [self.hours.as_slice(), &other.hours].concat();
        hours.sort();
        hours.dedup();
        let expires = self.expires.into_iter().chain(other.expires).min();
        Self { reason: self.reason || other.reason, expires, hours }
    }

    /// Its hours, in words.
    #[must_use]
    pub fn hours(&self) -> String {
        self.hours.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
    }

    /// When the first of its hours closes; `None`: one is closed now. Without hours: never.
    #[must_use]
    pub fn closes(&self, now: Timestamp) -> Option<Timestamp> {
        let mut first = Timestamp::from_micros(u64::MAX);
        for hours in &self.hours {
            first = first.min(hours.closes(now)?);
        }
        Some(first)
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason {
            f.write_str(" with a reason")?;
        }
        if self.hours.is_empty() { Ok(()) } else { write!(f, " within {}", self.hours()) }
    }
}

/// Hours of some days of the week, in UTC: `Mon-Fri 08:00-18:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hours {
    /// First and last day, from Monday; a week goes on after Sunday.
    days: (u8, u8),
    /// Minutes of the day: from, and up to.
    minutes: (u16, u16),
}

/// It is no text of hours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` are no hours: write `Mon-Fri 08:00-18:00`, in UTC")]
pub struct NoHours(String);

impl Hours {
    /// When it closes; `None`: it is not open.
    fn closes(self, now: Timestamp) -> Option<Timestamp> {
        let minutes = now.as_micros() / MICROS_OF_MINUTE;
        let (day, minute) = (minutes / MINUTES_OF_DAY, minutes % MINUTES_OF_DAY);
        // 1970-01-01 was a Thursday.
        let weekday = (day + 3) % 7;
        let (first, last) = (u64::from(self.days.0), u64::from(self.days.1));
        let is_day = (weekday + 7 - first) % 7 <= (last + 7 - first) % 7;
        let (from, to) = (u64::from(self.minutes.0), u64::from(self.minutes.1));
        let closes = (day * MINUTES_OF_DAY + to) * MICROS_OF_MINUTE;
        (is_day && (from..to).contains(&minute)).then(|| Timestamp::from_micros(closes))
    }
}

impl FromStr for Hours {
    type Err = NoHours;

    fn from_str(text: &str) -> Result<Self, NoHours> {
        let day = |name: &str| DAYS.iter().position(|day| *day == name).and_then(|at| u8::try_from(at).ok());
        let minute = |time: &str| {
            let (hours, minutes) = time.split_once(':').filter(|(h, m)| h.len() == 2 && m.len() == 2)?;
            let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            let (hours, minutes) = Some((hours, minutes)).filter(|(h, m)| is_number(h) && is_number(m))?;
            let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
            (minutes < 60 && hours * 60 + minutes <= 1_440).then_some(hours * 60 + minutes)
        };
        let read = || {
            let (days, times) = text.split_once(' ')?;
            let (first, last) = days.split_once('-').unwrap_or((days, days));
            let (from, to) = times.split_once('-')?;
            let (days, minutes) = ((day(first)?, day(last)?), (minute(from)?, minute(to)?));
            (minutes.0 < minutes.1).then_some(Self { days, minutes })
        };
        read().ok_or_else(|| NoHours(text.to_owned()))
    }
}

impl TryFrom<String> for Hours {
    type Error = NoHours;

    fn try_from(text: String) -> Result<Self, NoHours> {
        text.parse()
    }
}

impl From<Hours> for String {
    fn from(hours: Hours) -> Self {
        hours.to_string()
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = |at: u8| DAYS.get(usize::from(at)).copied().unwrap_or_default();
        let (first, last) = self.days;
        f.write_str(day(first))?;
        if first != last {
            write!(f, "-{}", day(last))?;
        }
        let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        write!(f, " {}-{}", time(self.minutes.0), time(self.minutes.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(format!("{text}:00.000000Z").as_bytes()).unwrap()
    }

    #[test]
    fn hours_are_open_on_their_days_and_close_at_their_end() {
        // The 23rd of November 2026 is a Monday.
        for (hours, now, closes) in [
            ("Mon-Fri 08:00-18:00", "2026-11-23T08:00", Some("2026-11-23T18:00")),
            ("Mon-Fri 08:00-18:00", "2026-11-27T17:59", Some("2026-11-27T18:00")),
            ("Mon-Fri 08:00-18:00", "2026-11-23T07:59", None),
            ("Mon-Fri 08:00-18:00", "2026-11-23T18:00", None),
            ("Mon-Fri 08:00-18:00", "2026-11-28T12:00", None),
            ("Sat-Mon 00:00-24:00", "2026-11-29T23:59", Some("2026-11-30T00:00")),
            ("Sat-Mon 00:00-24:00", "2026-11-24T00:00", None),
            ("Tue 10:00-10:30", "2026-11-24T10:29", Some("2026-11-24T10:30")),
        ] {
            let terms = Terms { hours: vec![hours.parse().unwrap()], ..Terms::default() };
            assert_eq!(terms.closes(at(now)), closes.map(at), "{hours} at {now}");
            assert_eq!(terms.hours[0].to_string(), hours);
        }
    }

    #[test]
    fn what_is_no_hours_is_refused() {
        for text in [
            "",
            "Mon",
            "08:00-18:00",
            "mon 08:00-18:00",
            "Mon 8:00-18:00",
            "Mon 18:00-08:00",
            "Mon 08:00-08:00",
            "Mon 08:00-24:01",
            "Mon 08:60-09:00",
            "Mon-Foo 08:00-09:00",
            "Mon  08:00-09:00",
            "Mon +8:00-09:00",
            "Mon 08:00-18:00 ",
        ] {
            assert!(text.parse::<Hours>().is_err(), "{text}");
        }
    }

    #[test]
    fn two_terms_together_are_as_strict_as_each() {
        let minutes = |minutes: u64| Some(Duration::from_secs(minutes * 60));
        let one = Terms { reason: true, expires: minutes(5), hours: vec!["Mon-Wed 08:00-18:00".parse().unwrap()] };
        let other = Terms { reason: false, expires: minutes(3), hours: vec!["Wed-Fri 12:00-20:00".parse().unwrap()] };
        let both = one.and(&other);
        assert_eq!(both, other.and(&one));
        assert!(both.reason && both.expires == minutes(3));
        assert_eq!(both.closes(at("2026-11-25T13:00")), Some(at("2026-11-25T18:00")));
        assert_eq!(both.closes(at("2026-11-25T11:00")), None);
        assert_eq!(both.closes(at("2026-11-26T13:00")), None);
        assert_eq!(both.to_string(), " with a reason within Mon-Wed 08:00-18:00 and Wed-Fri 12:00-20:00");
    }
}
