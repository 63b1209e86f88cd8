//! Points in time: 1970 in place of a value, or the first day of its year.
//!
//! In: a date, time or timestamp in text or binary. Out: one of the same type and format. A text that is not in the ISO
//! style, and what is infinite or before our era, keeps nothing of itself.

use super::Format;

/// Which type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol::postgres) enum Clock {
    Date,
    Time,
    Timestamp,
    Timestamptz,
}

/// Days from 1970-01-01 to 2000-01-01, which binary values count from.
const EPOCH_2000: i64 = 10_957;
const MICROS_PER_DAY: i64 = 86_400_000_000;

impl Clock {
    /// Appends what stands for a value.
    pub(super) fn write(self, value: &[u8], format: Format, keep_year: bool, out: &mut Vec<u8>) {
        match format {
            Format::Text => {
                let year = if keep_year && self != Self::Time { year_of_text(value) } else { None };
                let date = [year.unwrap_or(b"1970"), b"-01-01"].concat();
                match self {
                    Self::Date => out.extend_from_slice(&date),
                    Self::Time => out.extend_from_slice(b"00:00:00"),
                    Self::Timestamp => out.extend_from_slice(&[&date[..], b" 00:00:00"].concat()),
                    Self::Timestamptz => out.extend_from_slice(&[&date[..], b" 00:00:00+00"].concat()),
                }
            }
            Format::Binary => {
                let year = if keep_year { self.first_day(value) } else { None };
                let day = year.unwrap_or(-EPOCH_2000);
                match self {
                    Self::Date => out.extend_from_slice(&i32::try_from(day).unwrap_or_default().to_be_bytes()),
                    Self::Time => out.extend_from_slice(&[0; 8]),
                    Self::Timestamp | Self::Timestamptz => {
                        out.extend_from_slice(&day.saturating_mul(MICROS_PER_DAY).to_be_bytes());
                    }
                }
            }
        }
    }

    /// The first day of a binary value's year, from 2000.
    fn first_day(self, value: &[u8]) -> Option<i64> {
        let day = match self {
            Self::Date => {
                let day = i32::from_be_bytes(value.try_into().ok()?);
                (day != i32::MAX && day != i32::MIN).then_some(i64::from(day))?
            }
            Self::Timestamp | Self::Timestamptz => {
                let micros = i64::from_be_bytes(value.try_into().ok()?);
                (micros != i64::MAX && micros != i64::MIN).then_some(micros.div_euclid(MICROS_PER_DAY))?
            }
            Self::Time => return None,
        };
        // From the mean length of a year to the year: off by one at most.
        let guess = 2000 + (day * 400).div_euclid(146_097);
        let year = (guess - 1..=guess + 1).rev().find(|year| january_first(*year) <= day)?;
        (year > 0).then(|| january_first(year))
    }
}

/// Days from 2000-01-01 to the first day of a year of the Gregorian calendar.
fn january_first(year: i64) -> i64 {
    let before = year - 1;
    let days = before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    // Days from 0001-01-01 to 2000-01-01.
    days - 730_119
}

/// The digits of the year, in the ISO style.
fn year_of_text(value: &[u8]) -> Option<&[u8]> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_iso = digits >= 4 && value.get(digits) == Some(&b'-') && value.get(digits + 3) == Some(&b'-');
    if !is_iso || value.ends_with(b"BC") { None } else { value.get(..digits) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_first_day_of_each_year() {
        assert_eq!([2000, 2001, 1999, 1970].map(january_first), [0, 366, -365, -EPOCH_2000]);
        for year in 1..4000_i64 {
            for day in [january_first(year), january_first(year + 1) - 1] {
                let value = i32::try_from(day).unwrap().to_be_bytes();
                assert_eq!(Clock::Date.first_day(&value), Some(january_first(year)), "{year}");
            }
        }
        for odd in [i32::MAX, i32::MIN, -900_000] {
            assert_eq!(Clock::Date.first_day(&odd.to_be_bytes()), None);
        }
    }

    #[test]
    fn a_text_keeps_its_year_in_the_iso_style_alone() {
        let shown = |clock: Clock, text: &str| {
            let mut out = Vec::new();
            clock.write(text.as_bytes(), Format::Text, true, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(Clock::Date, "1984-05-03"), "1984-01-01");
        assert_eq!(shown(Clock::Timestamptz, "1984-05-03 10:11:12.5+02"), "1984-01-01 00:00:00+00");
        for odd in ["05/03/1984", "infinity", "0044-03-15 BC", "", "1984"] {
            assert_eq!(shown(Clock::Timestamp, odd), "1970-01-01 00:00:00", "{odd}");
        }
    }
}
