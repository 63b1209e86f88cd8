//! What a command line must be before anybody parses it.
//!
//! In: bytes as the client sent them. Out: text of bounded length and nesting, or the reason why not. Linear, without
//! recursion: parsers behind it may recurse once for each level.

use super::reason::Reason;

/// The longest command line that is read. Longer ones are opaque.
pub(super) const LONGEST: usize = 64 * 1024;
/// How deep brackets of all kinds may nest.
pub(super) const DEEPEST: usize = 64;

/// The text, where it can be read at all.
pub(super) fn readable(bytes: &[u8]) -> Result<&str, Reason> {
    if bytes.len() > LONGEST {
        return Err(Reason::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Reason::Encoding)?;
    if bytes.iter().any(|byte| (*byte < b' ' && !matches!(byte, b'\t' | b'\n')) || *byte == 0x7f) {
        return Err(Reason::Control);
    }
    if text.chars().any(|next| matches!(next, '\u{80}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')) {
        return Err(Reason::Control);
    }
    // In GBK, Big5 and Shift-JIS these are the second half of a character whose first half is such a byte.
    let swallowed =
        |pair: &[u8]| matches!(pair, [0x80..=0xff, b'\\' | b'`' | b'|' | b'{' | b'}' | b'[' | b']' | b'^' | b'~']);
    if bytes.windows(2).any(swallowed) {
        return Err(Reason::Encoding);
    }
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    for byte in bytes {
        match byte {
            b'(' | b'{' => depth += 1,
            b')' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > DEEPEST { Err(Reason::TooDeep) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_no_parser_should_see() {
        assert_eq!(readable(b"ls -l\n"), Ok("ls -l\n"));
        assert_eq!(readable(b"ls\0-l"), Err(Reason::Control));
        assert_eq!(readable(b"ls\r"), Err(Reason::Control));
        assert_eq!(readable("ls \u{202e}x".as_bytes()), Err(Reason::Control));
        assert_eq!(readable(b"ls \xff"), Err(Reason::Encoding));
        assert_eq!(readable("echo 'é\\'".as_bytes()), Err(Reason::Encoding));
        assert_eq!(readable(&vec![b'a'; LONGEST + 1]), Err(Reason::TooLong));
        assert_eq!(readable("(".repeat(DEEPEST + 1).as_bytes()), Err(Reason::TooDeep));
    }
}
