//! Values that hold values, in binary: rows, arrays, composites.
//!
//! In: bytes in which a length stands before each value. Out: the values one by one, or whether any of them holds what
//! the detectors find. It never takes a length for a part of the text behind it: the low byte of one may be a digit.

use super::{Format, Kind, Searched, search};
use crate::masking::detect::{DetectorSet, Detectors};

/// The first value of a row or array, none for NULL, and the rest.
pub(in crate::protocol::postgres) fn split_value(values: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = values.split_first_chunk::<4>()?;
    match i32::from_be_bytes(*length) {
        -1 => Some((None, rest)),
        length => {
            let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some((Some(value), rest))
        }
    }
}

/// Appends a value with its length. False where it is longer than a value can be.
#[must_use]
pub(in crate::protocol::postgres) fn put_value(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    let Ok(length) = value.map_or(Ok(-1), |value| i32::try_from(value.len())) else { return false };
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value.unwrap_or_default());
    true
}

/// Searches the elements of an array of texts (array_send). What is no array is searched as any other bytes.
pub(super) fn search_array(value: &[u8], detectors: &Detectors, except: DetectorSet) -> Searched {
    match elements(value, detectors, except) {
        Some((out, true)) => Searched::Replaced(out),
        Some((_, false)) => Searched::Clean,
        None if holds_any(value, detectors, except) => Searched::Null,
        None => Searched::Clean,
    }
}

/// The array with its elements masked, and whether any of them is.
fn elements(value: &[u8], detectors: &Detectors, except: DetectorSet) -> Option<(Vec<u8>, bool)> {
    // Dimensions, whether there are NULLs, the type of the elements; then each dimension's size and lower bound.
    let (dimensions, _) = value.split_first_chunk::<4>()?;
    let dimensions = usize::try_from(u32::from_be_bytes(*dimensions)).ok().filter(|count| *count <= 6)?;
    let (header, mut rest) = value.split_at_checked(12 + 8 * dimensions)?;
    let mut out = header.to_vec();
    let mut is_masked = false;
    while !rest.is_empty() {
        let (element, after) = split_value(rest)?;
        rest = after;
        let searched = element.map(|text| search(text, Kind::Text, Format::Binary, detectors, except));
        let shown = match &searched {
            Some(Searched::Clean) | None => element,
            Some(Searched::Replaced(masked)) => Some(masked.as_slice()),
            Some(Searched::Null) => None,
        };
        is_masked |= !matches!(searched, Some(Searched::Clean) | None);
        if !put_value(shown, &mut out) {
            return None;
        }
    }
    Some((out, is_masked))
}

/// Whether anything is found in bytes that may have lengths before their texts. No text of Postgres holds a NUL, and
/// nearly every length begins with two or three: what follows them up to the fourth byte is left out. With two, three
/// may be meant whose first belongs to what stands before: both readings are searched.
pub(in crate::protocol::postgres) fn holds_any(value: &[u8], detectors: &Detectors, except: DetectorSet) -> bool {
    [1, 2].into_iter().any(|left_out| !detectors.find(&without_lengths(value, left_out), except).is_empty())
}

fn without_lengths(value: &[u8], left_out: usize) -> Vec<u8> {
    let mut out = value.to_vec();
    let (mut nulls, mut rest) = (0, 0);
    for byte in &mut out {
        if *byte == 0 {
            nulls += 1;
            rest = left_out;
        } else {
            if nulls >= 2 && rest > 0 {
                *byte = 0;
                rest -= 1;
            } else {
                nulls = 0;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masking::Masking;

    #[test]
    fn a_length_that_is_a_digit_hides_nothing() {
        let detectors = Masking::default().detectors;
        for size in (11..70).chain([0x3031, 0x3132]) {
            let text = format!("123-45-6789{}", "x".repeat(size - 11));
            for before in [&[0, 0, 0, 1, 0, 0, 0, 25][..], &[7, 0], &[7], &[0]] {
                let mut value = before.to_vec();
                assert!(put_value(Some(text.as_bytes()), &mut value));
                assert!(holds_any(&value, &detectors, DetectorSet::default()), "{size} {before:?}");
            }
        }
        assert!(!holds_any(&[0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 2, b'a', b'b'], &detectors, DetectorSet::default()));
    }
}
