//! SSH in `gateway replay`: requests in words, and recordings of terminals, played or as asciicast.
//!
//! In: the steps of a session. Out: sentences; or what its terminal showed, in time, without what would make the reader's
//! terminal act or answer; or a file for asciinema, which has its own. It shows what was kept: masked output, and of
//! input the sizes alone.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::filter::{Filter, decoded};
use super::read;
use crate::audit::event::{FrameStream, SshFrame, SshFrames, SshOutcome, SshPhase, SshRequest, SshTransfer, Status};
use crate::audit::hex;
use crate::audit::journal::Timeline;
use crate::cli::terminal::duration;

/// The size of a terminal that nobody told.
const SIZE: (u32, u32) = (80, 24);

/// A format of asciinema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Cast {
    /// Times since the start
    V2,
    /// Times since the event before
    V3,
}

/// Which recording, and what to do with it.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Play the recording of its terminal
    #[arg(long, conflicts_with = "cast")]
    play: bool,
    /// Print the recording as asciicast
    #[arg(long, value_enum)]
    cast: Option<Cast>,
    /// The request whose terminal is meant, by its line [default: the first]
    #[arg(long)]
    request: Option<u64>,
    /// How much faster than it was
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// The longest pause that is kept, in seconds
    #[arg(long)]
    idle: Option<f64>,
}

impl Which {
    /// Whether the recording is meant, not the timeline.
    pub(super) fn is_wanted(&self) -> bool {
        self.play || self.cast.is_some()
    }

    pub(super) fn run(&self, timeline: &Timeline) -> anyhow::Result<()> {
        let recording = Recording::of(timeline, self.request)?;
        let mut out = std::io::stdout().lock();
        match self.cast {
            Some(cast) => Ok(out.write_all(recording.cast(cast).as_bytes())?),
            None => self.play(&recording, &mut out),
        }
    }

    fn play(&self, recording: &Recording, out: &mut impl Write) -> anyhow::Result<()> {
        if !self.speed.is_finite() || self.speed <= 0.0 {
            bail!("`--speed` is a number above 0");
        }
        let longest = match self.idle {
            Some(seconds) => Duration::try_from_secs_f64(seconds).context("`--idle` is a number of seconds")?,
            None => Duration::MAX,
        };
        let (mut before, mut filter) = (0, Filter::default());
        for frame in &recording.frames {
            let pause = Duration::from_micros(frame.at_us.saturating_sub(before)).min(longest);
            std::thread::sleep(pause.div_f64(self.speed));
            before = frame.at_us;
            if matches!(frame.stream, FrameStream::Out | FrameStream::Err) {
                out.write_all(&filter.pass(&bytes(frame)))?;
                out.flush()?;
            }
        }
        // Whatever characters, colours and modes were left.
        Ok(out.write_all(b"\x0f\x1b(B\x1b[0m\x1b[?25h\r\n")?)
    }
}

/// What one terminal showed.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) started: u64,
    pub(super) frames: Vec<SshFrame>,
}

impl Recording {
    fn of(timeline: &Timeline, request: Option<u64>) -> anyhow::Result<Self> {
        // Frames of exec and attach have the same form.
        let all = timeline
            .steps
            .iter()
            .filter(|step| ["ssh.frames", "kubernetes.frames"].contains(&step.record.kind.as_str()));
        let mut all = all.filter_map(|step| read::<SshFrames>(&step.record).map(|frames| (step.record.time, frames)));
        let wanted = |frames: &SshFrames| request.is_none_or(|request| frames.request.0 == request);
        let Some((started, first)) = all.by_ref().find(|(_, frames)| wanted(frames)) else {
            bail!(
                "this session has no recording of a terminal{}",
                if request.is_some() { " for that request" } else { "" }
            );
        };
        let request = first.request;
        let more = all.filter(|(_, frames)| frames.request == request).flat_map(|(_, frames)| frames.frames);
        let frames = first.frames.into_iter().chain(more).collect();
        Ok(Self { started: started.as_micros() / 1_000_000, frames })
    }

    pub(super) fn cast(&self, version: Cast) -> String {
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
pub(super) fn bytes(frame: &SshFrame) -> Vec<u8> {
    match (&frame.text, &frame.hex) {
        (Some(text), _) => text.as_str().as_bytes().to_vec(),
        (None, Some(digits)) => {
            let (pairs, _) = digits.as_bytes().as_chunks::<2>();
            pairs.iter().filter_map(|pair| hex::decode::<1>(pair)).flatten().collect()
        }
        (None, None) => Vec::new(),
    }
}

pub(super) fn asked(request: &SshRequest) -> String {
    let text = request.text.as_str();
    match request.phase {
        SshPhase::Login => format!("log in as {text}"),
        SshPhase::Exec if request.pty => format!("run on a terminal: {text}"),
        SshPhase::Exec => format!("run: {text}"),
        SshPhase::Shell => "an interactive shell".to_owned(),
        SshPhase::Subsystem => format!("subsystem {text}"),
        SshPhase::File => text.to_owned(),
        SshPhase::Unreadable => text.to_owned(),
    }
}

pub(super) fn came_of_it(outcome: &SshOutcome) -> String {
    let took = duration(outcome.duration_us);
    let end = match (outcome.status, outcome.exit_status, &outcome.signal) {
        (Status::Ok, ..) => "done".to_owned(),
        (_, Some(status), _) => format!("exit status {status}"),
        (_, None, Some(signal)) => format!("ended by signal {signal}"),
        (_, None, None) => "its end is not known".to_owned(),
    };
    let mut text = format!("{end} after {took}; {} bytes in, {} out", outcome.bytes_sent, outcome.bytes_received);
    if !outcome.masked.is_empty() {
        let list: Vec<_> = outcome.masked.iter().map(|(class, values)| format!("{class} {values}")).collect();
        text += &format!("; masked: {}", list.join(", "));
    }
    text
}

pub(super) fn transferred(transfer: &SshTransfer) -> String {
    let way = match transfer.direction {
        crate::audit::event::Direction::Read => "read",
        crate::audit::event::Direction::Write => "wrote",
    };
    let hash = transfer.sha256.as_ref().map(|hash| format!(", sha256 {hash}")).unwrap_or_default();
    let whole = if transfer.complete { "" } else { ", not to its end" };
    format!("{way} {}: {} bytes{hash}{whole}", transfer.path, transfer.bytes)
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
}
