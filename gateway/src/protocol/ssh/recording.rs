//! The recording of a terminal: what was shown when, and how much was typed.
//!
//! In: masked output, the sizes of input, sizes of the terminal. Out: frames in the journal, some at a time. What was
//! typed is never kept: passwords are typed. A recording that cannot be written, or grows beyond all use, ends its
//! session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::audit::event::{Event, FrameStream, SshFrame, SshFrames};
use crate::audit::{Kept, Seq, SessionGuard, hex};

/// Frames are written when so many bytes wait, or the first of them for so long.
const BYTES: usize = 16 * 1024;
pub(super) const WAIT: Duration = Duration::from_millis(250);
/// A character that is cut waits for its rest no longer than for so many bytes (RFC 3629).
const LONGEST_CHARACTER: usize = 4;
/// The most of one recording.
const MOST: u64 = 256 << 20;

/// Why there is no recording any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// The journal takes no more.
    Unwritten,
    /// It is as large as one may be.
    TooLarge,
}

/// One recording.
pub(super) struct Recorder {
    guard: Arc<SessionGuard>,
    request: Seq,
    since: Instant,
    frames: Vec<SshFrame>,
    /// Of what waits, and of all.
    waiting: usize,
    total: u64,
    oldest: Option<Instant>,
    /// The beginning of a character of each stream.
    cut: [Vec<u8>; 2],
}

impl Recorder {
    /// Of the request that this line tells of.
    pub(super) fn new(guard: Arc<SessionGuard>, request: Seq) -> Self {
        let (since, cut) = (Instant::now(), [Vec::new(), Vec::new()]);
        Self { guard, request, since, frames: Vec::new(), waiting: 0, total: 0, oldest: None, cut }
    }

    /// Something was shown.
    pub(super) fn shown(&mut self, stream: FrameStream, bytes: &[u8]) -> Result<(), Lost> {
        bytes.chunks(BYTES).try_for_each(|piece| self.shown_piece(stream, piece))
    }

    fn shown_piece(&mut self, stream: FrameStream, bytes: &[u8]) -> Result<(), Lost> {
        let cut = match (stream, &mut self.cut) {
            (FrameStream::Err, [_, cut]) => cut,
            (_, [cut, _]) => cut,
        };
        cut.extend_from_slice(bytes);
        let whole = whole_characters(cut);
        let piece: Vec<u8> = cut.drain(..whole).collect();
        if piece.is_empty() {
            return Ok(());
        }
        self.total += piece.len() as u64;
        if self.total > MOST {
            return Err(Lost::TooLarge);
        }
        let size = piece.len();
        let (text, hex) = match String::from_utf8(piece) {
            // Masked where it was shown.
            Ok(text) => (Some(Kept::after_redaction(text)), None),
            Err(error) => (None, Some(hex::encode(error.as_bytes()))),
        };
        self.add(SshFrame { stream, text, hex, ..SshFrame::default() }, size)
    }

    /// Something was typed.
    pub(super) fn typed(&mut self, bytes: usize) -> Result<(), Lost> {
        let bytes = Some(bytes as u64);
        self.add(SshFrame { stream: FrameStream::In, bytes, ..SshFrame::default() }, 0)
    }

    /// The terminal has this size.
    pub(super) fn resized(&mut self, columns: u32, rows: u32) -> Result<(), Lost> {
        let size = Some((columns, rows));
        self.add(SshFrame { stream: FrameStream::Size, size, ..SshFrame::default() }, 0)
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) -> Result<(), Lost> {
        if self.frames.is_empty() {
            return Ok(());
        }
        let frames = std::mem::take(&mut self.frames);
        (self.waiting, self.oldest) = (0, None);
        let event = Event::SshFrames(SshFrames { request: self.request, frames });
        self.guard.note_outcome(&event).map(drop).map_err(|_| Lost::Unwritten)
    }

    /// Whether something waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.frames.is_empty()
    }

    fn add(&mut self, frame: SshFrame, bytes: usize) -> Result<(), Lost> {
        let at_us = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.frames.push(SshFrame { at_us, ..frame });
        self.waiting += bytes + 64;
        let oldest = *self.oldest.get_or_insert_with(Instant::now);
        if self.waiting >= BYTES || oldest.elapsed() >= WAIT { self.flush() } else { Ok(()) }
    }
}

/// How much of `bytes` ends between two characters; all of it, where it is no UTF-8.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && bytes.len() - error.valid_up_to() < LONGEST_CHARACTER => {
            error.valid_up_to()
        }
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_cut() {
        let text = "aé€😀".as_bytes();
        for end in 0..=text.len() {
            let whole = whole_characters(&text[..end]);
            assert!(std::str::from_utf8(&text[..whole]).is_ok() && end - whole < LONGEST_CHARACTER, "{end}");
        }
        assert_eq!(whole_characters(b"\xff\xfe"), 2);
    }
}
