//! Points in time as the journal writes them.
//!
//! In: the system clock. Out: microseconds since 1970 in UTC, written in exactly 27 bytes
//! (`2026-11-22T00:00:00.000000Z`, RFC 3339), so that a line's head has fixed positions. It must never write another
//! width: what lies before 1970 or after 9999 is held at that bound.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a written timestamp.
pub const TIMESTAMP_LEN: usize = 27;

const MICROS_PER_SECOND: u64 = 1_000_000;
const SECONDS_PER_DAY: u64 = 86_400;
/// 9999-12-31T23:59:59.999999Z.
const LAST_MICRO: u64 = 253_402_300_800 * MICROS_PER_SECOND - 1;
/// Days of 400 years, after which the Gregorian calendar repeats.
const DAYS_PER_ERA: u64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01: years are counted from March, so that the leap day is a year's last.
const MARCH_ZERO_TO_EPOCH: u64 = 719_468;

/// Microseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(u64);

/// The text is no timestamp of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a time of the form 2026-11-22T00:00:00.000000Z")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// What the system clock says; it may step back, and the journal then says so too.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// From microseconds since 1970, held at the end of the year 9999.
    #[must_use]
    pub fn from_micros(micros: u64) -> Self {
        Self(micros.min(LAST_MICRO))
    }

    /// Microseconds since 1970.
    #[must_use]
    pub fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds from `earlier` to this; zero if it is not earlier.
    #[must_use]
    pub fn seconds_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / MICROS_PER_SECOND
    }

    /// The text, in ASCII.
    #[must_use]
    pub fn to_text(self) -> [u8; TIMESTAMP_LEN] {
        let seconds = self.0 / MICROS_PER_SECOND;
        let (year, month, day) = date_of(seconds / SECONDS_PER_DAY);
        let of_day = seconds % SECONDS_PER_DAY;
        let fields = [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, of_day / 3600),
            (14, 2, of_day / 60 % 60),
            (17, 2, of_day % 60),
            (20, 6, self.0 % MICROS_PER_SECOND),
        ];
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        for (start, width, mut value) in fields {
            for digit in text.iter_mut().skip(start).take(width).rev() {
                *digit = b'0' + u8::try_from(value % 10).unwrap_or_default();
                value /= 10;
            }
        }
        text
    }

    /// Reads the text back; errs on anything that `to_text` would not have written.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidTimestamp> {
        let number = |start: usize, width: usize| -> Result<u64, InvalidTimestamp> {
            let digits = text.get(start..start + width).ok_or(InvalidTimestamp)?;
            digits.iter().try_fold(0, |sum, digit| {
                if digit.is_ascii_digit() { Ok(sum * 10 + u64::from(digit - b'0')) } else { Err(InvalidTimestamp) }
            })
        };
        let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
        if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(InvalidTimestamp);
        }
        let of_day = number(11, 2)? * 3600 + number(14, 2)? * 60 + number(17, 2)?;
        let time = Self((days_of(year, month, day) * SECONDS_PER_DAY + of_day) * MICROS_PER_SECOND + number(20, 6)?);
        // Out-of-range days, hours or separators come out different.
        if time.0 <= LAST_MICRO && time.to_text() == text { Ok(time) } else { Err(InvalidTimestamp) }
    }
}

/// Year, month and day of a count of days since 1970.
fn date_of(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + MARCH_ZERO_TO_EPOCH;
    let era = days / DAYS_PER_ERA;
    let in_era = days % DAYS_PER_ERA;
    // A leap day is taken out for each 4 years, put back for each 100, and taken out for the 400.
    let year_in_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_in_era + year_in_era / 4 - year_in_era / 100);
    // From March on, five months have 153 days, over and over.
    let month_from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_in_era + u64::from(month <= 2), month, day)
}

/// The inverse of `date_of`, for years from 1970.
fn days_of(year: u64, month: u64, day: u64) -> u64 {
    let year_from_march = year - u64::from(month <= 2);
    let month_from_march = (month + 9) % 12;
    let (era, year_in_era) = (year_from_march / 400, year_from_march % 400);
    let in_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days = era * DAYS_PER_ERA + year_in_era * 365 + year_in_era / 4 - year_in_era / 100 + in_year;
    days.saturating_sub(MARCH_ZERO_TO_EPOCH)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_text().iter().try_for_each(|byte| fmt::Write::write_char(f, char::from(*byte)))
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        Self::parse(text.as_bytes())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_known_dates() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000Z"),
            (1_795_305_600, "2026-11-22T00:00:00.000000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(Timestamp::from_micros(seconds * MICROS_PER_SECOND).to_string(), text);
        }
        assert_eq!(Timestamp::from_micros(u64::MAX).to_string(), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn reads_back_every_day_until_2400() {
        for day in 0..157_000 {
            let time =
                Timestamp::from_micros((day * SECONDS_PER_DAY + day % SECONDS_PER_DAY) * MICROS_PER_SECOND + day);
            assert_eq!(Timestamp::parse(&time.to_text()), Ok(time));
        }
    }

    #[test]
    fn refuses_what_it_would_not_write() {
        for text in [
            "2026-02-29T00:00:00.000000Z",
            "2026-11-22T24:00:00.000000Z",
            "2026-11-22 00:00:00.000000Z",
            "2026-11-22T00:00:00.00000Z",
            "2026-11-22T00:00:00.000000+",
            "1969-12-31T23:59:59.000000Z",
            "",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text}");
        }
    }
}
