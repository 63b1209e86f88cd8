//! Recordings of terminals, as the journal has them.
//!
//! In: the steps of a session. Out: what a terminal showed and when: as files of asciinema, byte for byte, or as what a reader's
//! terminal or browser may be given, which draws and does nothing else. It has what was kept: masked output, and of input the
//! sizes alone.

mod filter;

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::json;

use crate::audit::event::{FrameStream, SshFrame, SshFrames};
use crate::audit::hex;
use crate::audit::journal::{Step, Timeline};
use filter::decoded;

pub use filter::Filter;

/// The size of a terminal that nobody told.
const SIZE: (u32, u32) = (80, 24);

/// A format of asciinema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cast {
    /// Times since the start
    V2,
    /// Times since the event before
    V3,
}

/// There is nothing to play.
#[derive(Debug, thiserror::Error)]
#[error("the session has no such recording of a terminal: `gateway replay` shows its requests")]
pub struct NoRecording;

/// What one terminal showed.
#[derive(Debug)]
pub struct Recording {
    /// When, in seconds from 1970.
    pub started: u64,
    /// In order.
    pub frames: Vec<SshFrame>,
}

impl Recording {
    /// The recording of a request, by its line; of none: the first of the session.
    ///
    /// # Errors
    /// Where the session has none.
    pub fn of(timeline: &Timeline, request: Option<u64>) -> Result<Self, NoRecording> {
        // Frames of exec and attach have the same form.
        let all = timeline
            .steps
            .iter()
            .filter(|step| ["ssh.frames", "kubernetes.frames"].contains(&step.record.kind.as_str()));
        let read = |step: &Step| Some((step.record.time, SshFrames::deserialize(&step.record.body).ok()?));
        let mut all = all.filter_map(read);
        let wanted = |frames: &SshFrames| request.is_none_or(|request| frames.request.0 == request);
        let (started, first) = all.by_ref().find(|(_, frames)| wanted(frames)).ok_or(NoRecording)?;
        let request = first.request;
        let more = all.filter(|(_, frames)| frames.request == request).flat_map(|(_, frames)| frames.frames);
        let frames = first.frames.into_iter().chain(more).collect();
        Ok(Self { started: started.as_micros() / 1_000_000, frames })
    }

    /// The same recording with what draws alone: nothing in it asks, links or changes anything where it is played.
    #[must_use]
    pub fn drawn(self) -> Self {
        let mut filter = Filter::default();
        let draw = |frame: SshFrame| match frame.stream {
            FrameStream::Out | FrameStream::Err => {
                let drawn = filter.pass(&bytes(&frame));
                SshFrame { text: None, hex: Some(hex::encode(&drawn)), ..frame }
            }
            FrameStream::In | FrameStream::Size => frame,
        };
        Self { frames: self.frames.into_iter().map(draw).collect(), ..self }
    }

    /// As a file of asciinema.
    #[must_use]
    pub fn cast(&self, version: Cast) -> String {
        let size = self.frames.iter().find_map(|frame| frame.size).unwrap_or(SIZE);
        let head = match version {
            Cast::V2 => json!({ "version": 2, "width": size.0, "height": size.1, "timestamp": self.started }),
            Cast::V3 => json!({
                "version": 3, "term": { "cols": size.0, "rows": size.1 }, "timestamp": self.started,
            }),
        };
        let mut text = format!("{head}\n");
        let (mut before, mut is_first, mut cut) = (0, true, Vec::new());
        for frame in &self.frames {
            let (code, data) = match (frame.stream, frame.size) {
                (FrameStream::Size, Some(_)) if std::mem::take(&mut is_first) => continue,
                (FrameStream::Size, Some((columns, rows))) => ("r", format!("{columns}x{rows}")),
                (FrameStream::Out | FrameStream::Err, _) => {
                    // A character may be cut by the border of frames.
                    cut.extend(bytes(frame));
                    let (whole, rest) = decoded(&cut);
                    cut = rest;
                    ("o", whole)
                }
                // Of what was typed only the size is known.
                (FrameStream::In | FrameStream::Size, _) => continue,
            };
            if data.is_empty() {
                continue;
            }
            let micros = match version {
                Cast::V2 => frame.at_us,
                Cast::V3 => frame.at_us.saturating_sub(std::mem::replace(&mut before, frame.at_us)),
            };
            let seconds = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            text += &format!("[{seconds}, \"{code}\", {}]\n", json!(data));
        }
        text
    }
}

/// The bytes of a frame, as they were.
#[must_use]
pub fn bytes(frame: &SshFrame) -> Vec<u8> {
    match (&frame.text, &frame.hex) {
        (Some(text), _) => text.as_str().as_bytes().to_vec(),
        (None, Some(digits)) => {
            let (pairs, _) = digits.as_bytes().as_chunks::<2>();
            pairs.iter().filter_map(|pair| hex::decode::<1>(pair)).flatten().collect()
        }
        (None, None) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_an_asciicast_of_either_version() {
        let size = |at_us, size| SshFrame { at_us, stream: FrameStream::Size, size: Some(size), ..SshFrame::default() };
        let raw = |at_us, hex: &str| SshFrame { at_us, hex: Some(hex.to_owned()), ..SshFrame::default() };
        let (cut, raw) = (raw(400_000, "c3"), [raw(500_000, "a9221b5b316d"), raw(1_500_000, "ff0a")]);
        let frames = [vec![size(0, (100, 30)), cut], raw.to_vec(), vec![size(2_000_000, (80, 25))]].concat();
        let recording = Recording { started: 7, frames };
        let lines = |version| recording.cast(version).lines().map(str::to_owned).collect::<Vec<_>>();
        let v2: Vec<serde_json::Value> =
            lines(Cast::V2).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(v2[0], json!({ "version": 2, "width": 100, "height": 30, "timestamp": 7 }));
        assert_eq!(v2[1], json!([0.5, "o", "é\"\u{1b}[1m"]));
        assert_eq!(v2[2], json!([1.5, "o", "\u{fffd}\n"]));
        assert_eq!(v2[3], json!([2.0, "r", "80x25"]));
        let v3: Vec<serde_json::Value> =
            lines(Cast::V3).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(v3[0]["term"], json!({ "cols": 100, "rows": 30 }));
        assert_eq!((&v3[2][0], &v3[3][0]), (&json!(1.0), &json!(0.5)));
    }

    #[test]
    fn what_is_drawn_links_and_asks_nothing() {
        let out = |text: &[u8]| SshFrame { hex: Some(hex::encode(text)), ..SshFrame::default() };
        let frames = vec![out(b"\x1b]8;;https://evil\x07here\x1b]8;;\x07 \x1b[1mb"), out(b"\x1b[c\x1b]52;c;eA==\x07!")];
        let drawn = Recording { started: 7, frames }.drawn().cast(Cast::V2);
        assert!(!drawn.contains("evil") && !drawn.contains("52;") && !drawn.contains("[c"), "{drawn}");
        assert!(drawn.contains("here") && drawn.contains("[1mb") && drawn.contains('!'), "{drawn}");
    }
}
