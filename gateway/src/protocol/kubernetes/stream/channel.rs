//! What goes over an exec or attach, whatever frames carry it.
//!
//! In: pieces of the streams, as the framings find them. Out: output with values masked, and what the recording keeps of
//! it. How long anything is never changes, so that terminals and archives stay whole.

use std::sync::Arc;

use crate::masking::detect::Detectors;
use crate::masking::stream::StreamMasker;

/// The longest value that is found across two frames.
const WINDOW: usize = 4_096;
/// The longest status that is read: the server's are some hundred bytes.
const LONGEST_STATUS: usize = 64 * 1024;

/// A stream of an exec or attach (`remotecommand`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Channel {
    /// What is typed.
    Stdin,
    /// Standard output, which a terminal's is all.
    Stdout,
    /// Standard error.
    Stderr,
    /// How it ended, as a `Status`.
    Error,
    /// Sizes of the terminal.
    Resize,
}

impl Channel {
    /// By its number in WebSocket frames.
    pub(super) fn of_number(number: u8) -> Option<Self> {
        [Self::Stdin, Self::Stdout, Self::Stderr, Self::Error, Self::Resize].get(usize::from(number)).copied()
    }

    /// By the `streamtype` of a SPDY stream.
    pub(super) fn of_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"stdin" => Self::Stdin,
            b"stdout" => Self::Stdout,
            b"stderr" => Self::Stderr,
            b"error" => Self::Error,
            b"resize" => Self::Resize,
            _ => return None,
        })
    }
}

/// What the recording is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Output, masked.
    Shown(Channel, Vec<u8>),
    /// So many bytes were typed.
    Typed(u64),
    /// Columns and rows.
    Resized(u32, u32),
}

/// Why frames cannot be carried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// It is none of the framing that was agreed on.
    #[error("frames that cannot be read: {0}")]
    Framing(&'static str),
    /// A frame is larger than any client or server sends.
    #[error("a frame is larger than is read")]
    TooLarge,
}

/// The streams of one exec or attach.
pub(super) struct Channels {
    out: StreamMasker,
    err: StreamMasker,
    status: Vec<u8>,
    heard: Vec<Heard>,
}

impl Channels {
    pub(super) fn new(detectors: &Arc<Detectors>) -> Self {
        let masker = || StreamMasker::new(Arc::clone(detectors), WINDOW);
        Self { out: masker(), err: masker(), status: Vec::new(), heard: Vec::new() }
    }

    /// Something for the client: what of it may go on now.
    pub(super) fn show(&mut self, channel: Channel, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(bytes.len());
        match channel {
            Channel::Stdout => self.out.push(bytes, &mut shown),
            Channel::Stderr => self.err.push(bytes, &mut shown),
            Channel::Error => {
                let room = LONGEST_STATUS.saturating_sub(self.status.len());
                self.status.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
                shown.extend_from_slice(bytes);
            }
            Channel::Stdin | Channel::Resize => shown.extend_from_slice(bytes),
        }
        self.hear(channel, &shown);
        shown
    }

    /// What waits of a channel: it waited long enough, or nothing more comes.
    pub(super) fn flush(&mut self, channel: Channel) -> Vec<u8> {
        let mut shown = Vec::new();
        match channel {
            Channel::Stdout => self.out.flush(&mut shown),
            Channel::Stderr => self.err.flush(&mut shown),
            Channel::Stdin | Channel::Error | Channel::Resize => {}
        }
        self.hear(channel, &shown);
        shown
    }

    /// Whether anything waits.
    pub(super) fn waits(&self) -> bool {
        self.out.held() + self.err.held() > 0
    }

    fn hear(&mut self, channel: Channel, shown: &[u8]) {
        if matches!(channel, Channel::Stdout | Channel::Stderr) && !shown.is_empty() {
            self.heard.push(Heard::Shown(channel, shown.to_vec()));
        }
    }

    /// Something of the client's, which goes on as it is.
    pub(super) fn typed(&mut self, channel: Channel, bytes: &[u8]) {
        match channel {
            Channel::Stdin if !bytes.is_empty() => self.heard.push(Heard::Typed(bytes.len() as u64)),
            Channel::Resize => {
                let number = |value: &serde_json::Value, name: &str| u32::try_from(value.get(name)?.as_u64()?).ok();
                let size = serde_json::from_slice::<serde_json::Value>(bytes).ok();
                let size = size.and_then(|size| Some((number(&size, "Width")?, number(&size, "Height")?)));
                self.heard.extend(size.map(|(columns, rows)| Heard::Resized(columns, rows)));
            }
            _ => {}
        }
    }

    /// What was heard since the last call.
    pub(super) fn take(&mut self) -> Vec<Heard> {
        std::mem::take(&mut self.heard)
    }

    /// The exit status that the server told.
    pub(super) fn exit_status(&self) -> Option<u32> {
        let status: serde_json::Value = serde_json::from_slice(&self.status).ok()?;
        if status.get("status")? == "Success" {
            return Some(0);
        }
        let causes = status.get("details")?.get("causes")?.as_array()?;
        let cause = causes.iter().find(|cause| cause.get("reason").is_some_and(|reason| reason == "ExitCode"))?;
        cause.get("message")?.as_str()?.parse().ok()
    }
}
