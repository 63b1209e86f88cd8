//! Masks values in what a terminal shows, also where escape sequences stand inside them.
//!
//! In: chunks, cut anywhere. Out: the same number of bytes in the same order; sequences go out as they came in, and the
//! bytes of values that a terminal would show are replaced by `*`. A value may be written around any number of colours,
//! cursor moves or invisible characters; what a terminal shows in a title, it shows too. What is put together on the
//! screen alone, by going back and writing over, is not found.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::masking::detect::Detectors;
use crate::masking::stream::StreamMasker;

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;
/// A control sequence longer than this is none: terminals give up on far shorter ones.
const LONGEST: usize = 256;

/// The most that waits, sequences among it.
const MOST: usize = 64 * 1024;

/// Masks one direction of a terminal.
#[derive(Debug)]
pub struct TerminalMasker {
    /// What is shown on the screen.
    screen: Lane,
    /// What strings inside sequences say: titles, links, the clipboard.
    strings: Lane,
    state: State,
    /// How the bytes that wait lie behind each other.
    layout: VecDeque<Piece>,
    held: usize,
}

/// One text, and what of it may go out.
#[derive(Debug)]
struct Lane {
    masker: StreamMasker,
    ready: VecDeque<u8>,
}

/// Bytes that go out together.
#[derive(Debug)]
enum Piece {
    Screen(usize),
    String(usize),
    Sequence(Vec<u8>),
}

/// Where in a sequence the stream is (ECMA-48; DEC's parser, as terminals implement it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    Escape,
    /// Between the introducer and the final byte of a control sequence.
    Control(usize),
    /// In the text of an operating system command and kin.
    String,
    /// Behind an escape in that text: its end, or another sequence.
    StringEscape,
}

/// What a byte is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Screen,
    String,
    Sequence,
}

impl TerminalMasker {
    /// A masker that holds at most `window` bytes back of what is shown, and as many of a string.
    #[must_use]
    pub fn new(detectors: Arc<Detectors>, window: usize) -> Self {
        Self::of(StreamMasker::new(Arc::clone(&detectors), window), StreamMasker::new(detectors, window))
    }

    /// One that masks the screen and the strings of sequences with these.
    #[must_use]
    pub fn of(screen: StreamMasker, strings: StreamMasker) -> Self {
        let lane = |masker| Lane { masker, ready: VecDeque::new() };
        Self { screen: lane(screen), strings: lane(strings), state: State::Text, layout: VecDeque::new(), held: 0 }
    }

    /// The two, for what they found.
    #[must_use]
    pub fn maskers(&self) -> [&StreamMasker; 2] {
        [&self.screen.masker, &self.strings.masker]
    }

    /// Takes a chunk, and appends what may go out.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        self.held += chunk.len();
        // Each lane is searched once for a chunk, however many sequences part it.
        let (mut screen, mut string) = (Vec::new(), Vec::new());
        for &byte in chunk {
            let (part, ends_string) = self.step(byte);
            match part {
                Part::Screen => screen.push(byte),
                Part::String => string.push(byte),
                Part::Sequence => {}
            }
            self.lay(part, byte);
            if ends_string {
                self.strings.push(&string);
                self.strings.flush();
                string.clear();
            }
        }
        self.screen.push(&screen);
        self.strings.push(&string);
        self.emit(out);
        // Sequences wait for the text before them.
        if self.held > MOST {
            self.flush(out);
        }
    }

    /// How many bytes wait.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Appends what waits: it waited long enough, or nothing more comes.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        self.screen.flush();
        self.strings.flush();
        self.emit(out);
    }

    /// What the next byte is part of, and whether it ends a string.
    fn step(&mut self, byte: u8) -> (Part, bool) {
        let (state, part, ends_string) = match (self.state, byte) {
            (State::String, ESCAPE) => (State::StringEscape, Part::Sequence, false),
            (State::String, BELL | 0x18 | 0x1a) => (State::Text, Part::Sequence, true),
            (State::String, _) => (State::String, Part::String, false),
            // A backslash ends the string; anything else is another sequence.
            (State::StringEscape, b'\\') => (State::Text, Part::Sequence, true),
            (State::StringEscape, _) => (escaped(byte), Part::Sequence, true),
            (_, ESCAPE) => (State::Escape, Part::Sequence, false),
            (State::Escape, _) => (escaped(byte), Part::Sequence, false),
            (State::Control(length), 0x20..=0x3f) if length < LONGEST => {
                (State::Control(length + 1), Part::Sequence, false)
            }
            (State::Control(_), 0x40..=0x7e) => (State::Text, Part::Sequence, false),
            // Done in the middle of a sequence, as if it stood before.
            (State::Control(length), 0x00..=0x17 | 0x19 | 0x1c..=0x1f | 0x7f) => {
                (State::Control(length), Part::Sequence, false)
            }
            (State::Text | State::Control(_), _) => {
                (State::Text, if is_shown(byte) { Part::Screen } else { Part::Sequence }, false)
            }
        };
        self.state = state;
        (part, ends_string)
    }

    fn lay(&mut self, part: Part, byte: u8) {
        match (part, self.layout.back_mut()) {
            (Part::Screen, Some(Piece::Screen(length))) | (Part::String, Some(Piece::String(length))) => *length += 1,
            (Part::Sequence, Some(Piece::Sequence(bytes))) => bytes.push(byte),
            (Part::Screen, _) => self.layout.push_back(Piece::Screen(1)),
            (Part::String, _) => self.layout.push_back(Piece::String(1)),
            (Part::Sequence, _) => self.layout.push_back(Piece::Sequence(vec![byte])),
        }
    }

    /// Everything up to the first byte that waits.
    fn emit(&mut self, out: &mut Vec<u8>) {
        let before = out.len();
        while let Some(piece) = self.layout.front_mut() {
            let is_done = match piece {
                Piece::Screen(length) => self.screen.take(length, out),
                Piece::String(length) => self.strings.take(length, out),
                Piece::Sequence(bytes) => {
                    out.append(bytes);
                    true
                }
            };
            if !is_done {
                break;
            }
            self.layout.pop_front();
        }
        self.held -= out.len() - before;
    }
}

impl Lane {
    fn push(&mut self, run: &[u8]) {
        if run.is_empty() {
            return;
        }
        let mut out = Vec::new();
        self.masker.push(run, &mut out);
        self.ready.extend(out);
    }

    fn flush(&mut self) {
        let mut out = Vec::new();
        self.masker.flush(&mut out);
        self.ready.extend(out);
    }

    /// Moves up to `length` bytes, and takes them off it. True when that was all.
    fn take(&mut self, length: &mut usize, out: &mut Vec<u8>) -> bool {
        let count = self.ready.len().min(*length);
        out.extend(self.ready.drain(..count));
        *length -= count;
        *length == 0
    }
}

/// Behind an escape.
fn escaped(byte: u8) -> State {
    match byte {
        b'[' => State::Control(0),
        b']' | b'P' | b'X' | b'^' | b'_' => State::String,
        ESCAPE | 0x20..=0x2f => State::Escape,
        _ => State::Text,
    }
}

/// Whether a terminal shows something for it, or moves: a backspace parts what it stands between.
fn is_shown(byte: u8) -> bool {
    !matches!(byte, 0x00..=0x07 | 0x0e..=0x1f | 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::masking::class::Classes;
    use crate::masking::detect::tests::samples;

    const CARD: &str = "4242 4242 4242 4242";

    fn masker() -> TerminalMasker {
        TerminalMasker::new(Arc::new(Detectors::shipped(&Classes::default())), 4096)
    }

    /// Pushes the text in chunks of `size`.
    fn masked(text: &[u8], size: usize) -> Vec<u8> {
        let (mut masker, mut out, mut pushed) = (masker(), Vec::new(), 0);
        for chunk in text.chunks(size.max(1)) {
            masker.push(chunk, &mut out);
            pushed += chunk.len();
            assert_eq!(out.len() + masker.held(), pushed);
        }
        masker.flush(&mut out);
        assert_eq!((out.len(), masker.held()), (text.len(), 0));
        out
    }

    #[test]
    fn a_value_is_hidden_around_sequences_which_stay_as_they_are() {
        for sequence in [
            "\u{1b}[31m",
            "\u{1b}[0;1;38;5;9m",
            "\u{1b}(B",
            "\u{1b}7",
            "\0",
            "\u{7}",
            "\u{e}",
            "\u{1b}]0;title\u{7}",
            "\u{1b}]8;;\u{1b}\\",
        ] {
            let text = format!("card {sequence}4242{sequence} 4242 42{sequence}42 424{sequence}2{sequence} end");
            let hidden =
                format!("card {sequence}****{sequence}*****{0}{sequence}***{0}*{sequence}*{sequence} end", "**");
            for size in 1..text.len() {
                let out = String::from_utf8(masked(text.as_bytes(), size)).unwrap();
                assert_eq!(out.replace(sequence, "").matches('*').count(), CARD.len(), "{out:?}");
                assert_eq!(out.matches(sequence).count(), 5, "{out:?} {hidden:?}");
            }
        }
    }

    #[test]
    fn what_a_title_or_a_link_says_is_hidden_too() {
        for (open, close) in [
            ("\u{1b}]0;", "\u{7}"),
            ("\u{1b}]8;;http://x/?n=", "\u{1b}\\"),
            ("\u{1b}P1$r", "\u{1b}\\"),
            ("\u{1b}]0;", "\u{1b}[0m"),
        ] {
            let text = format!("a{open}{CARD}{close}b");
            for size in 1..text.len() {
                let out = String::from_utf8(masked(text.as_bytes(), size)).unwrap();
                assert!(!out.contains("4242") && out.starts_with(&format!("a{open}")) && out.ends_with('b'), "{out:?}");
            }
        }
    }

    #[test]
    fn a_coloured_prompt_does_not_wait() {
        let (mut masker, mut out) = (masker(), Vec::new());
        let prompt = b"\x1b[32muser@host\x1b[0m:\x1b[34m~\x1b[0m$ ";
        masker.push(prompt, &mut out);
        masker.flush(&mut out);
        assert_eq!(out, prompt);
        // A sequence whose end is still to come is not held either.
        out.clear();
        masker.push(b"\x1b[3", &mut out);
        assert_eq!(out, b"\x1b[3");
    }

    #[test]
    fn endless_sequences_and_strings_wait_no_longer_than_the_window() {
        for (start, most) in [
            (&b"\x1b["[..], 2 * 4096),
            (b"\x1b]0;", 2 * 4096),
            (b"\x1bP", 2 * 4096),
            (b"4242 ", 2 * 4096),
            (b"4242 \x1b[", MOST),
        ] {
            let (mut masker, mut out) = (masker(), Vec::new());
            masker.push(start, &mut out);
            let chunk = if most == MOST { b"\x1b[m".repeat(300) } else { vec![b'1'; 1_000] };
            for _ in 0..100 {
                masker.push(&chunk, &mut out);
                assert!(masker.held() <= most, "{} bytes wait", masker.held());
            }
        }
    }

    proptest! {
        #[test]
        fn no_secret_survives_sequences_and_splits(
            which in 0_usize..13,
            at in proptest::collection::vec((any::<usize>(), 0_usize..5), 0..6),
            size in 1_usize..40,
        ) {
            let (_, secret) = &samples()[which];
            let sequences = ["\u{1b}[1m", "\u{1b}[K", "\0", "\u{1b}]2;t\u{7}", "\u{1b}(0"];
            let mut shown = secret.clone();
            for (place, sequence) in at {
                let places: Vec<usize> = shown.char_indices().map(|(place, _)| place).collect();
                let place = places[place % places.len()];
                // Not into a sequence that stands there.
                if !shown[..place].contains('\u{1b}') {
                    shown.insert_str(place, sequences[sequence]);
                }
            }
            let text = format!("x\n{shown}\ny");
            let out = String::from_utf8(masked(text.as_bytes(), size)).unwrap();
            let plain = sequences.iter().fold(out, |out, sequence| out.replace(sequence, ""));
            prop_assert!(!plain.contains(secret.as_str()), "{:?}", plain);
        }
    }
}
