//! Text of others on a reader's terminal.
//!
//! In: names and statements, which runtimes choose. Out: the same, safe to print: what would move the cursor, colour,
//! hide, or turn the direction of writing is spelled out. Nothing that a runtime wrote may reach a terminal past it.

/// The narrowest terminal that is served, and the widest line that is still read with ease.
const WIDTHS: (usize, usize) = (80, 120);
/// For what is no terminal.
const FILE_WIDTH: usize = 100;

/// The text with each such character as `\u{…}`.
pub(super) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if plays(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Control characters; those that turn the direction of writing, break lines or show nothing at all (Unicode Technical
/// Report 36, section 2; the tags of plane 14 are invisible ASCII).
pub(crate) fn plays(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// The lines of a text, each at most `width` characters, broken between words where that is possible.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let line = visible(&line.trim_end().replace('\t', "    "));
        let mut rest = line.as_str();
        while let Some((at, _)) = rest.char_indices().nth(width) {
            let fits = rest.get(..at).unwrap_or_default();
            let ends_here = rest.get(at..).is_some_and(|next| next.starts_with(' ')).then_some(at);
            // Not at the indent, or the same rest would come again.
            let is_in_text = |space: &usize| !fits.get(..*space).unwrap_or_default().trim().is_empty();
            let space = ends_here.or_else(|| fits.rfind(' ')).filter(is_in_text);
            let (line, next) = rest.split_at(space.unwrap_or(at));
            lines.push(line.to_owned());
            rest = next.trim_start();
        }
        lines.push(rest.to_owned());
    }
    lines
}

/// How many characters a line of the output may have.
pub(super) fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stdout()).map(|size| usize::from(size.ws_col));
    columns.ok().filter(|columns| *columns > 0).unwrap_or(FILE_WIDTH).clamp(WIDTHS.0, WIDTHS.1)
}

/// Microseconds as people say them.
pub(super) fn duration(micros: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", micros / unit, micros % unit * 10 / unit);
    let seconds = micros / 1_000_000;
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", tenths(1_000)),
        1_000_000..60_000_000 => format!("{} s", tenths(1_000_000)),
        60_000_000..3_600_000_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_out_what_would_play_with_the_terminal() {
        assert_eq!(
            visible("a\u{1b}[2Jb\u{202e}c\u{9b}d\u{200b}\u{e0041}é"),
            r"a\u{1b}[2Jb\u{202e}c\u{9b}d\u{200b}\u{e0041}é"
        );
        assert_eq!(visible("one\ntwo\r"), r"one\u{a}two\u{d}", "nobody begins a line of ours");
    }

    #[test]
    fn wraps_between_words_and_cuts_what_has_none() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrapped("one\n  two\u{7}", 20), ["one", r"  two\u{7}"]);
        assert_eq!(wrapped("    abcdefgh", 6), ["    ab", "cdefgh"]);
        for width in 1..12 {
            assert!(wrapped("    é wörd and a longerone", width).iter().all(|line| line.chars().count() <= width));
        }
    }

    #[test]
    fn says_times_in_their_unit() {
        let said = [7, 1_250, 61_900_000, 59_990_000, 7_265_000_000].map(duration);
        assert_eq!(said, ["7 µs", "1.2 ms", "1 min 1 s", "59.9 s", "2 h 1 min"]);
    }
}
