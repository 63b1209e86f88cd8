//! The line editor of the shell that we offer.
//!
//! In: bytes that a client typed, cut anywhere. Out: what its terminal shows of them, and whole lines. A line has no
//! control characters and a bounded length, whatever is sent; nothing is done here but writing it.

use std::collections::VecDeque;

/// Characters of a line.
const LONGEST: usize = 4_096;
/// Lines that are remembered.
const REMEMBERED: usize = 200;
/// Bytes of an escape sequence that are looked at.
const SEQUENCE: usize = 16;
/// Columns of a terminal that does not say how many it has.
const USUAL: usize = 80;
/// The least that is shown of a line.
const LEAST: usize = 8;
const BELL: u8 = 0x07;

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// A line.
    Line(String),
    /// `^C`: the line is given up.
    Interrupt,
    /// `^D` on an empty line.
    End,
}

/// Where in an escape sequence the input is.
#[derive(Debug, PartialEq, Eq)]
enum Escape {
    No,
    Begun,
    /// Its parameters so far.
    Control(Vec<u8>),
    /// One byte is missing.
    Single,
}

/// Edits one line after the other.
#[derive(Debug)]
pub(super) struct Editor {
    prompt: String,
    columns: usize,
    line: Vec<char>,
    at: usize,
    escape: Escape,
    /// The beginning of a character.
    cut: Vec<u8>,
    /// The last byte ended a line, so that `\r\n` ends one and not two.
    was_return: bool,
    remembered: VecDeque<String>,
    /// The line of the past that is shown, counted from the last, and the one that was written before.
    back: usize,
    draft: Vec<char>,
}

impl Editor {
    /// For a terminal of so many columns.
    pub(super) fn new(columns: u32) -> Self {
        let mut editor = Self {
            prompt: String::new(),
            columns: 0,
            line: Vec::new(),
            at: 0,
            escape: Escape::No,
            cut: Vec::new(),
            was_return: false,
            remembered: VecDeque::new(),
            back: 0,
            draft: Vec::new(),
        };
        editor.resized(columns);
        editor
    }

    /// The terminal has so many columns now.
    pub(super) fn resized(&mut self, columns: u32) {
        // A terminal that does not say has none.
        self.columns = if columns == 0 { USUAL } else { columns as usize };
    }

    /// Begins a line.
    pub(super) fn begin(&mut self, prompt: String, out: &mut Vec<u8>) {
        (self.prompt, self.line, self.at, self.back) = (prompt, Vec::new(), 0, 0);
        self.draw(out);
    }

    /// Lines of the past, the last one last.
    pub(super) fn remembered(&self) -> impl Iterator<Item = &str> {
        self.remembered.iter().map(String::as_str)
    }

    /// Takes a byte.
    pub(super) fn push(&mut self, byte: u8, out: &mut Vec<u8>) -> Option<Typed> {
        let was_return = std::mem::replace(&mut self.was_return, byte == b'\r');
        match std::mem::replace(&mut self.escape, Escape::No) {
            Escape::No => {}
            Escape::Begun => {
                self.escape = match byte {
                    b'[' => Escape::Control(Vec::new()),
                    b'O' => Escape::Single,
                    0x1b => Escape::Begun,
                    _ => Escape::No,
                };
                return None;
            }
            Escape::Control(parameters) => {
                self.control(parameters, byte, out);
                return None;
            }
            Escape::Single => {
                self.moved(byte, &[], out);
                return None;
            }
        }
        if byte < 0x20 || byte == 0x7f {
            self.cut.clear();
        }
        match byte {
            b'\n' if was_return => None,
            b'\r' | b'\n' => Some(self.entered(out)),
            0x03 => {
                out.extend_from_slice(b"^C\r\n");
                Some(Typed::Interrupt)
            }
            0x04 if self.line.is_empty() => {
                out.extend_from_slice(b"\r\n");
                Some(Typed::End)
            }
            0x1b => {
                self.escape = Escape::Begun;
                None
            }
            byte => {
                self.key(byte, out);
                None
            }
        }
    }

    fn key(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            0x01 => self.at = 0,
            0x02 => self.at = self.at.saturating_sub(1),
            0x04 => self.remove(self.at),
            0x05 => self.at = self.line.len(),
            0x06 => self.at = (self.at + 1).min(self.line.len()),
            0x08 | 0x7f if self.at > 0 => self.remove(self.at - 1),
            0x0b => self.line.truncate(self.at),
            0x0c => out.extend_from_slice(b"\x1b[H\x1b[2J"),
            0x0e => return self.leaf(-1, out),
            0x10 => return self.leaf(1, out),
            0x15 => {
                self.line.drain(..self.at);
                self.at = 0;
            }
            0x17 => self.remove_word(),
            byte if byte < 0x20 || byte == 0x7f => return out.push(BELL),
            byte => return self.written(byte, out),
        }
        self.draw(out);
    }

    /// One byte of a character.
    fn written(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.cut.push(byte);
        let next = match std::str::from_utf8(&self.cut) {
            Ok(text) => text.chars().next(),
            Err(error) if error.error_len().is_none() && self.cut.len() < 4 => return,
            Err(_) => None,
        };
        self.cut.clear();
        match next.filter(|next| is_plain(*next) && self.line.len() < LONGEST) {
            Some(next) => {
                self.line.insert(self.at.min(self.line.len()), next);
                self.at += 1;
                self.draw(out);
            }
            None => out.push(BELL),
        }
    }

    fn control(&mut self, mut parameters: Vec<u8>, byte: u8, out: &mut Vec<u8>) {
        match byte {
            0x20..=0x3f if parameters.len() < SEQUENCE => {
                parameters.push(byte);
                self.escape = Escape::Control(parameters);
            }
            0x20..=0x3f => self.escape = Escape::Control(parameters),
            0x1b => self.escape = Escape::Begun,
            byte => self.moved(byte, &parameters, out),
        }
    }

    /// A key that sends a sequence (xterm's, and those of the Linux console).
    fn moved(&mut self, last: u8, parameters: &[u8], out: &mut Vec<u8>) {
        match (last, parameters) {
            (b'A', _) => return self.leaf(1, out),
            (b'B', _) => return self.leaf(-1, out),
            (b'C', _) => self.at = (self.at + 1).min(self.line.len()),
            (b'D', _) => self.at = self.at.saturating_sub(1),
            (b'H', _) | (b'~', b"1" | b"7") => self.at = 0,
            (b'F', _) | (b'~', b"4" | b"8") => self.at = self.line.len(),
            (b'~', b"3") => self.remove(self.at),
            _ => return,
        }
        self.draw(out);
    }

    fn remove(&mut self, at: usize) {
        if at < self.line.len() {
            self.line.remove(at);
            self.at = at;
        }
    }

    fn remove_word(&mut self) {
        let before = self.line.get(..self.at).unwrap_or_default();
        let blanks = before.iter().rev().take_while(|next| **next == ' ').count();
        let word = before.iter().rev().skip(blanks).take_while(|next| **next != ' ').count();
        let from = self.at - blanks - word;
        self.line.drain(from..self.at);
        self.at = from;
    }

    /// Shows a line of the past.
    fn leaf(&mut self, step: isize, out: &mut Vec<u8>) {
        let back = self.back.saturating_add_signed(step).min(self.remembered.len());
        if back == self.back {
            return out.push(BELL);
        }
        if self.back == 0 {
            self.draft = std::mem::take(&mut self.line);
        }
        self.back = back;
        self.line = match self.remembered.len().checked_sub(back).and_then(|at| self.remembered.get(at)) {
            Some(line) => line.chars().collect(),
            None => std::mem::take(&mut self.draft),
        };
        self.at = self.line.len();
        self.draw(out);
    }

    fn entered(&mut self, out: &mut Vec<u8>) -> Typed {
        out.extend_from_slice(b"\r\n");
        let line: String = self.line.drain(..).collect();
        (self.at, self.back) = (0, 0);
        if !line.trim().is_empty() && self.remembered.back() != Some(&line) {
            self.remembered.push_back(line.clone());
            if self.remembered.len() > REMEMBERED {
                self.remembered.pop_front();
            }
        }
        Typed::Line(line)
    }

    /// Draws the line anew, or of a long one what is around the cursor.
    fn draw(&self, out: &mut Vec<u8>) {
        let prompt: usize = self.prompt.chars().map(width).sum();
        let room = self.columns.saturating_sub(prompt + 1).max(LEAST);
        let before = self.line.get(..self.at).unwrap_or_default();
        let (mut from, mut cursor) = (self.at, 0);
        for next in before.iter().rev() {
            if cursor + width(*next) > room {
                break;
            }
            cursor += width(*next);
            from -= 1;
        }
        let mut left = room;
        let shown = self.line.iter().skip(from).take_while(|next| {
            let fits = width(**next) <= left;
            left = left.saturating_sub(width(**next));
            fits
        });
        let shown: String = shown.collect();
        out.extend_from_slice(format!("\r{}{shown}\x1b[K\r\x1b[{}C", self.prompt, prompt + cursor).as_bytes());
    }
}

/// What a line may hold: nothing that a terminal acts upon or that makes it look like another line.
pub(super) fn is_plain(next: char) -> bool {
    let is_odd =
        matches!(next, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !next.is_control() && !is_odd
}

/// Columns of a character, about: East Asian ones and pictures have two.
fn width(next: char) -> usize {
    match next {
        '\u{300}'..='\u{36f}' => 0,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' => 2,
        '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn typed(editor: &mut Editor, bytes: &[u8]) -> Vec<Typed> {
        let mut out = Vec::new();
        bytes.iter().filter_map(|byte| editor.push(*byte, &mut out)).collect()
    }

    fn line(bytes: &[u8]) -> String {
        match typed(&mut Editor::new(80), bytes).pop() {
            Some(Typed::Line(line)) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_edit_the_line() {
        for (bytes, expected) in [
            (&b"ls -l\r"[..], "ls -l"),
            (b"lx\x7fs\r", "ls"),
            (b"s\x1b[Dl\r", "ls"),
            (b"s\x01l\x05 -l\r", "ls -l"),
            (b"echo one two\x17three\r", "echo one three"),
            (b"rm x\x15ls\r", "ls"),
            (b"ls -l\x1b[H\x1b[3~\x1b[3~\r", " -l"),
            (b"ab\x02\x0b\r", "a"),
            ("schön\x7f\x7fö\r".as_bytes(), "schö"),
            (b"a\xff\xfeb\r", "ab"),
            (b"a\x1b[200~b\x1b[201~\r", "ab"),
            (b"a\x1bOHb\r", "ba"),
            (b"a\tb\x00c\r", "abc"),
        ] {
            assert_eq!(line(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn the_past_comes_back_and_the_draft_too() {
        let mut editor = Editor::new(80);
        typed(&mut editor, b"one\rtwo\r");
        let lines = typed(&mut editor, b"dra\x1b[A\x1b[A\x1b[A\x1b[B\x1b[Bft\r\x10\r");
        assert_eq!(lines, [Typed::Line("draft".into()), Typed::Line("draft".into())]);
        assert_eq!(editor.remembered().collect::<Vec<_>>(), ["one", "two", "draft"]);
    }

    #[test]
    fn interrupt_and_end() {
        let mut editor = Editor::new(80);
        assert_eq!(typed(&mut editor, b"half\x03"), [Typed::Interrupt]);
        editor.begin("$ ".into(), &mut Vec::new());
        assert_eq!(typed(&mut editor, b"\x04"), [Typed::End]);
        assert_eq!(typed(&mut editor, b"x\x04\r\n"), [Typed::Line("x".into())]);
    }

    #[test]
    fn a_long_line_is_shown_around_the_cursor() {
        let mut editor = Editor::new(20);
        let mut out = Vec::new();
        editor.begin("$ ".into(), &mut out);
        for byte in b"0123456789012345678901234567890123456789" {
            out.clear();
            editor.push(*byte, &mut out);
        }
        assert_eq!(String::from_utf8_lossy(&out), "\r$ 34567890123456789\x1b[K\r\x1b[19C");
    }

    proptest! {
        #[test]
        fn whatever_is_typed_lines_are_plain_and_bounded(bytes in prop::collection::vec(any::<u8>(), 0..6_000), columns in 0u32..5_000) {
            let mut editor = Editor::new(columns);
            let mut out = Vec::new();
            editor.begin("$ ".into(), &mut out);
            for byte in bytes {
                out.clear();
                if let Some(Typed::Line(line)) = editor.push(byte, &mut out) {
                    prop_assert!(line.chars().all(is_plain) && line.chars().count() <= LONGEST);
                }
                prop_assert!(out.len() <= 4 * (LONGEST + columns as usize + 64));
                prop_assert!(editor.at <= editor.line.len() && editor.remembered.len() <= REMEMBERED);
            }
        }
    }
}
