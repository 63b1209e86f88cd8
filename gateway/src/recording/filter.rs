//! What a recorded terminal showed, made fit for the reader's own.
//!
//! In: bytes of a recording, cut anywhere. Out: text, colours, and movements of the cursor. A sequence that is not known
//! to draw and nothing more is left out: others set titles and clipboards, switch reports on, or are answered as if the
//! reader had typed.

/// Characters of a sequence that are looked at.
const LONGEST: usize = 64;
/// Final characters of control sequences that only draw or move (ECMA-48, section 8.3; DECSTBM, SCOSC and SCORC of xterm).
const DRAWS: &str = "@ABCDEFGHIJKLMPSTXZ`abdefgmrsu";
/// Modes that only draw: origin, autowrap, blinking and visible cursor, the other screen with and without its cursor.
const DRAWING_MODES: [&str; 8] = ["6", "7", "12", "25", "47", "1047", "1048", "1049"];
/// What follows ESC and draws or moves: save and restore, line feeds, tabulators (ECMA-48, section 8.3; DECSC, DECRC).
const MOVES: &str = "78DEHM";
/// Choices of a character set, with one character behind (ISO 2022): lines and boxes are drawn so.
const SETS: &str = "()";

/// Leaves out what does more than draw.
#[derive(Debug, Default)]
pub struct Filter {
    state: Sequence,
    /// The sequence so far.
    held: String,
    /// The beginning of a character.
    cut: Vec<u8>,
}

/// Where in a sequence (ECMA-48, section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sequence {
    #[default]
    None,
    /// Behind ESC.
    Escape,
    /// In a control sequence.
    Control,
    /// In a string that ends with BEL or ST, and whether ESC was just seen.
    Text(bool),
}

impl Filter {
    /// What of this may be shown.
    #[must_use]
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.cut.extend_from_slice(bytes);
        let (text, rest) = decoded(&self.cut);
        self.cut = rest;
        let mut out = String::with_capacity(text.len());
        for next in text.chars() {
            self.take(next, &mut out);
        }
        out.into_bytes()
    }

    fn take(&mut self, next: char, out: &mut String) {
        if let Sequence::Text(escaped) = self.state {
            self.state = match next {
                '\u{7}' | '\u{18}' | '\u{1a}' | '\u{9c}' => Sequence::None,
                '\\' if escaped => Sequence::None,
                next => Sequence::Text(next == '\u{1b}'),
            };
            return;
        }
        match next {
            // A terminal gives up what it was in.
            '\u{1b}' => self.begin(Sequence::Escape, "\u{1b}"),
            '\u{18}' | '\u{1a}' => self.begin(Sequence::None, ""),
            // One character stands for ESC and another (ECMA-48, section 5.3).
            '\u{9b}' => self.begin(Sequence::Control, "\u{1b}["),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => self.begin(Sequence::Text(false), ""),
            '\u{80}'..='\u{9f}' => self.begin(Sequence::None, ""),
            // Answered with whatever the reader set as an answer.
            '\u{5}' => {}
            // Done at once, also within a sequence.
            control if control.is_control() => out.push(control),
            next => self.printable(next, out),
        }
    }

    fn begin(&mut self, state: Sequence, held: &str) {
        (self.state, self.held) = (state, held.to_owned());
    }

    fn printable(&mut self, next: char, out: &mut String) {
        match self.state {
            Sequence::None | Sequence::Text(_) => out.push(next),
            Sequence::Escape => match next {
                '[' if self.held.len() == 1 => self.begin(Sequence::Control, "\u{1b}["),
                ']' | 'P' | 'X' | '^' | '_' if self.held.len() == 1 => self.begin(Sequence::Text(false), ""),
                ' '..='/' => self.hold(next),
                last => self.finish(last, escape_draws, out),
            },
            Sequence::Control if matches!(next, ' '..='?') => self.hold(next),
            Sequence::Control => self.finish(next, control_draws, out),
        }
    }

    fn hold(&mut self, next: char) {
        // What is longer is none of those that are passed.
        if self.held.len() <= LONGEST {
            self.held.push(next);
        }
    }

    fn finish(&mut self, last: char, draws: fn(&str, char) -> bool, out: &mut String) {
        let held = std::mem::take(&mut self.held);
        self.state = Sequence::None;
        let inner = held.get(1..).unwrap_or_default();
        if held.len() <= LONGEST && draws(inner, last) {
            out.push_str(&held);
            out.push(last);
        }
    }
}

/// What stands between ESC and the last character.
fn escape_draws(between: &str, last: char) -> bool {
    let is_set = between.chars().count() == 1 && SETS.contains(between) && last.is_ascii_alphanumeric();
    is_set || (between.is_empty() && MOVES.contains(last))
}

/// What stands between ESC and the last character, the bracket among it.
fn control_draws(between: &str, last: char) -> bool {
    let parameters = between.get(1..).unwrap_or_default();
    if let Some(modes) = parameters.strip_prefix('?') {
        return matches!(last, 'h' | 'l') && modes.split(';').all(|mode| DRAWING_MODES.contains(&mode));
    }
    DRAWS.contains(last) && parameters.chars().all(|next| matches!(next, '0'..='9' | ';' | ':'))
}

/// Whole characters, and the beginning of one; what is none is shown as what stands for that.
pub(super) fn decoded(bytes: &[u8]) -> (String, Vec<u8>) {
    let (mut text, mut rest) = (String::with_capacity(bytes.len()), bytes);
    loop {
        let error = match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                return (text, Vec::new());
            }
            Err(error) => error,
        };
        let (valid, behind) = rest.split_at(error.valid_up_to());
        text.push_str(std::str::from_utf8(valid).unwrap_or_default());
        let Some(length) = error.error_len() else { return (text, behind.to_vec()) };
        text.push(char::REPLACEMENT_CHARACTER);
        rest = behind.get(length..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(bytes: &[u8]) -> String {
        String::from_utf8(Filter::default().pass(bytes)).unwrap()
    }

    #[test]
    fn what_draws_is_shown() {
        for shown in [
            "a\u{1b}[31mred\u{1b}[0m\r\n\u{1b}(B",
            "\u{1b}[2J\u{1b}[H\u{1b}[1;24r\u{1b}[38;2;1;2;3mx\u{1b}[4:3my",
            "\u{1b}[?1049h\u{1b}[?25l\u{1b}7\u{1b}8\u{1b}[?7;25h",
            "grün \u{2500}\u{7}\u{8}",
        ] {
            assert_eq!(passed(shown.as_bytes()), shown);
        }
        assert_eq!(passed(b"a\xffb\xe2\x94"), "a\u{fffd}b");
    }

    #[test]
    fn the_readers_terminal_is_neither_asked_nor_told_what_to_do() {
        for hidden in [
            "\u{1b}]0;title\u{7}",
            "\u{1b}]52;c;eA==\u{1b}\\",
            "\u{1b}]8;;http://x\u{1b}\\",
            "\u{1b}P$q\"p\u{1b}\\",
            "\u{1b}[6n",
            "\u{1b}[>c",
            "\u{1b}[21t",
            "\u{1b}[?2026$p",
            "\u{1b}[?u",
            "\u{1b}[?1000h",
            "\u{1b}[?25;1004h",
            "\u{1b}[>4;2m",
            "\u{1b}[>q",
            "\u{1b}[?1;1;0S",
            "\u{1b}Z",
            "\u{1b}c",
            "\u{1b}=",
            "\u{1b}%@",
            "\u{5}",
            // The one-character forms.
            "\u{9b}6n",
            "\u{9d}0;title\u{9c}",
            "\u{9a}",
            "\u{90}+q544e\u{1b}\\",
        ] {
            assert_eq!(passed(hidden.as_bytes()), "", "{hidden:?}");
        }
    }

    #[test]
    fn a_sequence_within_another_is_none_that_passes() {
        for (bytes, expected) in [
            ("\u{1b}\u{1b}[6n", ""),
            ("\u{1b}[\u{1b}[6n", ""),
            ("\u{1b}[1\u{9b}6n", ""),
            ("\u{1b}[3\u{5}1mx", "\u{1b}[31mx"),
            ("\u{1b}[3\n1mx", "\n\u{1b}[31mx"),
            ("\u{1b}[6\u{18}n", "n"),
            ("\u{1b}(\u{1b}[c", ""),
            ("\u{1b}([6n", "6n"),
        ] {
            assert_eq!(passed(bytes.as_bytes()), expected, "{bytes:?}");
        }
    }
}
