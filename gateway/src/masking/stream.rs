//! Masks values in a stream, also where one is split over chunks.
//!
//! In: chunks, cut anywhere. Out: the same number of bytes in the same order, those of values replaced by `*`. What may
//! be the beginning of a value is held back: up to a window of bytes, and until its caller says that it waited long
//! enough. What was shown before its value was complete is not taken back; the rest of it is still hidden.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::masking::detect::{DetectorSet, Detectors, Hit, PEM_LONGEST, is_pem_body, is_token_body, pem_end};

#[cfg(test)]
mod tests;

/// Stands for one byte.
const STAR: u8 = b'*';
/// What was shown is looked at again, so that the end of a value whose start is gone is known: longer than the names
/// in front of a secret, and than an END line.
const SHOWN: usize = 256;

/// Masks one direction of a stream.
#[derive(Debug)]
pub struct StreamMasker {
    detectors: Arc<Detectors>,
    /// Those whose finds are shown.
    except: DetectorSet,
    window: usize,
    found: BTreeMap<Arc<str>, u64>,
    /// The last bytes that went out, as they came in, then those held back.
    bytes: Vec<u8>,
    /// How many of `bytes` went out.
    shown: usize,
    inside: Option<Inside>,
}

/// A secret whose start was seen, and whose end was not.
#[derive(Clone, Copy, Debug)]
enum Inside {
    /// A private key, and how many of its bytes went by.
    Key(usize),
    /// A token.
    Token,
}

impl StreamMasker {
    /// A masker that holds at most `window` bytes back.
    #[must_use]
    pub fn new(detectors: Arc<Detectors>, window: usize) -> Self {
        let (except, found) = (DetectorSet::default(), BTreeMap::new());
        Self { detectors, except, window, found, bytes: Vec::new(), shown: 0, inside: None }
    }

    /// The same, but for what these detectors find.
    #[must_use]
    pub fn except(self, except: DetectorSet) -> Self {
        Self { except, ..self }
    }

    /// How many values were hidden so far, by class.
    #[must_use]
    pub fn found(&self) -> &BTreeMap<Arc<str>, u64> {
        &self.found
    }

    /// Takes a chunk, and appends what may go out.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        // In pieces: a chunk of any size is searched a bounded number of times.
        for piece in chunk.chunks(self.window.max(64 * 1024)) {
            self.bytes.extend_from_slice(piece);
            self.emit(false, out);
        }
    }

    /// How many bytes wait.
    #[must_use]
    pub fn held(&self) -> usize {
        self.bytes.len() - self.shown
    }

    /// Appends what waits: it waited long enough, or nothing more comes.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        self.emit(true, out);
    }

    fn emit(&mut self, everything: bool, out: &mut Vec<u8>) {
        while let Some(inside) = self.inside {
            if !self.emit_inside(inside, out) {
                return;
            }
        }
        let mut until = self.bytes.len();
        if !everything {
            let held = open_from(&self.bytes, self.shown, !self.detectors.is_closed());
            until = held.max(until.saturating_sub(self.window));
        }
        let start = out.len();
        let hits = self.detectors.find(&self.bytes, self.except);
        // A value that reaches into what is held back is not split: all of it waits, or goes out hidden.
        for hit in &hits {
            if hit.range.start < until && until < hit.range.end {
                until = hit.range.end;
            }
        }
        out.extend_from_slice(self.bytes.get(self.shown..until).unwrap_or_default());
        for hit in hits.iter().filter(|hit| hit.range.start < until) {
            let from = hit.range.start.max(self.shown) - self.shown;
            let to = hit.range.end.min(until).saturating_sub(self.shown);
            if let Some(value) = out.get_mut(start + from..start + to.max(from)) {
                value.fill(STAR);
            }
        }
        self.count(&hits, until);
        let open = hits.last().filter(|hit| hit.is_open && hit.range.end == until && until == self.bytes.len());
        self.inside = open.map(|hit| match self.detectors.is_private_key(hit.detector) {
            true => Inside::Key(hit.range.len()),
            false => Inside::Token,
        });
        self.show(until);
    }

    /// Counts what goes out for the first time, where it ends there.
    fn count(&mut self, hits: &[Hit], until: usize) {
        for hit in hits.iter().filter(|hit| hit.range.end > self.shown && hit.range.end <= until) {
            if let Some(detector) = self.detectors.detector(hit.detector) {
                *self.found.entry(Arc::clone(&detector.class.name)).or_default() += 1;
            }
        }
    }

    /// Hides what is there of a secret that began before. True when it is over.
    fn emit_inside(&mut self, inside: Inside, out: &mut Vec<u8>) -> bool {
        let fresh = self.bytes.get(self.shown..).unwrap_or_default();
        let (length, is_over) = match inside {
            Inside::Token => {
                let length = fresh.iter().take_while(|byte| is_token_body(**byte)).count();
                (length, length < fresh.len())
            }
            Inside::Key(passed) => {
                let body = fresh.iter().take_while(|byte| is_pem_body(**byte)).count();
                // From before the border: the END line may be split too.
                let from = self.shown.saturating_sub(64);
                let end = pem_end(self.bytes.get(from..).unwrap_or_default()).map(|end| from + end);
                let end = end.filter(|end| *end > self.shown).map(|end| end - self.shown);
                let length = end.unwrap_or(body).min(body).min(PEM_LONGEST.saturating_sub(passed));
                self.inside = Some(Inside::Key(passed + length));
                (length, length < fresh.len() || end == Some(length) || passed + length >= PEM_LONGEST)
            }
        };
        out.resize(out.len() + length, STAR);
        if is_over {
            self.inside = None;
        }
        self.show(self.shown + length);
        is_over
    }

    /// Bytes up to `until` went out.
    fn show(&mut self, until: usize) {
        self.shown = until;
        if self.shown > SHOWN * 4 {
            self.bytes.drain(..self.shown - SHOWN);
            self.shown = SHOWN;
        }
        if self.bytes.capacity() > 4 * (self.window + SHOWN) {
            self.bytes.shrink_to(self.bytes.len());
        }
    }
}

/// Where a value may begin whose end is still to come. With patterns of the owner's nothing is known of their words.
fn open_from(bytes: &[u8], shown: usize, has_patterns: bool) -> usize {
    let held = bytes.get(shown..).unwrap_or_default();
    if has_patterns {
        return shown;
    }
    let count = |test: fn(u8) -> bool| held.iter().rev().take_while(|byte| test(**byte)).count();
    let word = count(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | 0));
    let number = count(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase() || matches!(byte, b' ' | b'-'));
    let last = word.max(number);
    bytes.len() - last
}
