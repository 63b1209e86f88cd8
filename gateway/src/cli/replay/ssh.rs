//! SSH in `gateway replay`: requests in words, and recordings of terminals, played or as asciicast.
//!
//! In: the steps of a session. Out: sentences; or what its terminal showed, in time, without what would make the reader's
//! terminal act or answer; or a file for asciinema, which has its own. It shows what was kept: masked output, and of
//! input the sizes alone.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use crate::audit::event::{FrameStream, SshOutcome, SshPhase, SshRequest, SshTransfer, Status};
use crate::audit::journal::Timeline;
use crate::cli::terminal::duration;
use crate::recording::{Cast, Filter, Recording, bytes};

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
