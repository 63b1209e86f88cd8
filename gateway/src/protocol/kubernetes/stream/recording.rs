//! The recording of an exec or attach: what was shown when, and how much was typed.
//!
//! In: masked output, sizes of input and of the terminal. Out: frames in the journal, some at a time. What was typed is
//! never kept: passwords are typed. A recording that cannot be written, or grows beyond all use, ends its stream.

use std::sync::Arc;
use std::time::Instant;

use super::channel::{Channel, Heard};
use crate::audit::event::{Event, KubernetesFrame, KubernetesFrames};
use crate::audit::{Kept, Seq, SessionGuard, hex};

/// Frames are written when so many bytes wait.
const BYTES: usize = 16 * 1024;
/// The most of one recording.
const MOST: u64 = 256 << 20;

/// One recording.
pub(super) struct Recorder {
    guard: Arc<SessionGuard>,
    request: Seq,
    since: Instant,
    frames: Vec<KubernetesFrame>,
    waiting: usize,
    total: u64,
}

impl Recorder {
    /// Of the request that this line tells of.
    pub(super) fn new(guard: Arc<SessionGuard>, request: Seq) -> Self {
        Self { guard, request, since: Instant::now(), frames: Vec::new(), waiting: 0, total: 0 }
    }

    /// Takes what was heard; false where it cannot be kept.
    #[must_use]
    pub(super) fn take(&mut self, heard: Vec<Heard>) -> bool {
        let at_us = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        for one in heard {
            let frame =
                |stream: &str| KubernetesFrame { at_us, stream: stream.to_owned(), ..KubernetesFrame::default() };
            let frame = match one {
                Heard::Shown(channel, bytes) => {
                    self.waiting += bytes.len();
                    self.total += bytes.len() as u64;
                    let stream = if channel == Channel::Stderr { "err" } else { "out" };
                    match String::from_utf8(bytes) {
                        // Masked where it was shown.
                        Ok(text) => KubernetesFrame { text: Some(Kept::after_redaction(text)), ..frame(stream) },
                        Err(error) => KubernetesFrame { hex: Some(hex::encode(error.as_bytes())), ..frame(stream) },
                    }
                }
                Heard::Typed(bytes) => KubernetesFrame { bytes: Some(bytes), ..frame("in") },
                Heard::Resized(columns, rows) => KubernetesFrame { size: Some((columns, rows)), ..frame("size") },
            };
            self.frames.push(frame);
            self.waiting += 64;
        }
        self.total <= MOST && (self.waiting < BYTES || self.flush())
    }

    /// Writes what waits; false where the journal takes no more.
    #[must_use]
    pub(super) fn flush(&mut self) -> bool {
        if self.frames.is_empty() {
            return true;
        }
        self.waiting = 0;
        let frames = std::mem::take(&mut self.frames);
        let event = Event::KubernetesFrames(KubernetesFrames { request: self.request, frames });
        self.guard.note_outcome(&event).is_ok()
    }
}
