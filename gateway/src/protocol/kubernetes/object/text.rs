//! Strings of JSON: with escapes, and without.
//!
//! In: what stands between two quotes. Out: its bytes, or the other way round. Bytes that are not UTF-8 pass as they are:
//! whoever reads them decides.

use std::io::Write;

/// Appends what a string means; nothing where an escape is none.
pub(super) fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (before, escape) = rest.split_at(at);
        out.extend_from_slice(before);
        let (kind, after) = escape.get(1..)?.split_first()?;
        rest = after;
        let plain = match kind {
            b'"' | b'\\' | b'/' => *kind,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (first, after) = unit(rest)?;
                rest = after;
                let low = rest.strip_prefix(b"\\u").and_then(unit).filter(|(low, _)| (0xDC00..0xE000).contains(low));
                let character = match (first, low) {
                    (0xD800..0xDC00, Some((low, after))) => {
                        rest = after;
                        char::from_u32(0x10000 + ((first - 0xD800) << 10) + (low - 0xDC00))
                    }
                    _ => char::from_u32(first),
                };
                // Half a pair: as every reader has it.
                let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        };
        out.push(plain);
    }
    out.extend_from_slice(rest);
    Some(())
}

fn unit(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(4)?;
    let value = digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))?;
    Some((value, rest))
}

/// Appends bytes as they stand between quotes.
pub(super) fn escape(plain: &[u8], out: &mut Vec<u8>) {
    for byte in plain {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                // Writing to memory does not fail.
                let _ = write!(out, "\\u{byte:04x}");
            }
            other => out.push(*other),
        }
    }
}
