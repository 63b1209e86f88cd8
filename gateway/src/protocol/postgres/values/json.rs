//! Masks values inside a JSON text so that it stays JSON.
//!
//! In: a text and the places of hits in it. Out: the text with masks: inside a string a part of it, for a number a
//! string. It never recurses, and gives up where a hit is not within one string or number.

use crate::masking::class::Class;
use crate::masking::detect::{Detectors, Hit};

/// Appends the text with its hits masked; false where that cannot be done, and what was appended is of no use.
#[must_use]
pub(super) fn replace(text: &[u8], hits: &[Hit], detectors: &Detectors, out: &mut Vec<u8>) -> bool {
    let mut reader = Reader { text, at: 0, string: None, escape: (0, 0) };
    let mut copied = 0;
    for hit in hits {
        let Some(detector) = detectors.detector(hit.detector) else { return false };
        reader.advance(hit.range.start);
        let (start, end) = if reader.string.is_some() {
            let start = reader.border(hit.range.start);
            let opened = reader.string;
            reader.advance(hit.range.end);
            // A value that ends with its string is inside it: its closing quote was not read yet.
            if reader.string != opened {
                return false;
            }
            (start, reader.border(hit.range.end))
        } else {
            let Some((start, end)) = number(text, hit) else { return false };
            reader.advance(end);
            (start, end)
        };
        if start < copied || end <= start {
            return false;
        }
        out.extend_from_slice(text.get(copied..start).unwrap_or_default());
        let quote: &[u8] = if reader.string.is_some() { b"" } else { b"\"" };
        out.extend_from_slice(quote);
        write(text.get(start..end).unwrap_or_default(), &detector.class, out);
        out.extend_from_slice(quote);
        copied = end;
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
    true
}

/// A mask as a part of a string. Where value or mask have something to escape, nothing of the value is shown.
fn write(value: &[u8], class: &Class, out: &mut Vec<u8>) {
    let from = out.len();
    let needs_escape = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    class.write_text(value, out);
    if value.iter().any(needs_escape) || out.get(from..).unwrap_or_default().iter().any(needs_escape) {
        out.truncate(from);
        class.write_redacted(out);
    }
}

/// The number that a hit is part of.
fn number(text: &[u8], hit: &Hit) -> Option<(usize, usize)> {
    let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    let value = text.get(hit.range.clone())?;
    if !value.iter().all(is_part) {
        return None;
    }
    let before = text.get(..hit.range.start)?.iter().rev().take_while(|byte| is_part(byte)).count();
    let after = text.get(hit.range.end..)?.iter().take_while(|byte| is_part(byte)).count();
    Some((hit.range.start - before, hit.range.end + after))
}

/// Knows at each byte whether it is in a string, and in an escape.
struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    /// Where the string began that `at` is in.
    string: Option<usize>,
    /// The last escape: where it begins, and where it ends.
    escape: (usize, usize),
}

impl Reader<'_> {
    /// Reads up to `until`, and no byte of it.
    fn advance(&mut self, until: usize) {
        while self.at < until {
            let Some(byte) = self.text.get(self.at) else { return };
            match (byte, self.string) {
                (b'\\', Some(_)) => {
                    let length = if self.text.get(self.at + 1) == Some(&b'u') { 6 } else { 2 };
                    self.escape = (self.at, self.at + length);
                    self.at += length;
                    continue;
                }
                (b'"', Some(_)) => self.string = None,
                (b'"', None) => self.string = Some(self.at),
                _ => {}
            }
            self.at += 1;
        }
    }

    /// A place that is not inside of an escape: this one, or the escape's end.
    fn border(&self, at: usize) -> usize {
        let (start, end) = self.escape;
        if start < at && at < end { end } else { at }
    }
}
