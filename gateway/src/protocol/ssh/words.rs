//! What a client reads of us on its standard error.
//!
//! In: sentences. Out: lines on a channel, with the line ends that its terminal needs. Control characters, which a client
//! may have sent itself, never reach a terminal.

use std::sync::Arc;

use bytes::Bytes;
use russh::ChannelWriteHalf;
use russh::server::Msg;

/// `SSH_EXTENDED_DATA_STDERR` (RFC 4254, section 5.2).
pub(super) const STDERR: u32 = 1;
/// What shells return for a command that was found and could not be run.
pub(super) const NOT_RUN: u32 = 126;

/// Speaks on one channel.
#[derive(Clone)]
pub(super) struct Speaker {
    channel: Arc<ChannelWriteHalf<Msg>>,
    has_terminal: bool,
    is_shell: bool,
}

impl Speaker {
    /// On a channel; with a terminal, lines end as it wants them.
    pub(super) fn new(channel: Arc<ChannelWriteHalf<Msg>>, has_terminal: bool) -> Self {
        Self { channel, has_terminal, is_shell: false }
    }

    /// In a shell of ours: what is said on a terminal stands between outputs, and on their stream it stays there.
    pub(super) fn of_shell(self) -> Self {
        Self { is_shell: true, ..self }
    }

    /// Says a line. Who does not listen any more is not told.
    pub(super) async fn say(&self, line: &str) {
        let end = if self.has_terminal { "\r\n" } else { "\n" };
        let bytes = Bytes::from(format!("{}{end}", visible(line)));
        let _ = match self.is_shell && self.has_terminal {
            true => self.channel.data_bytes(bytes).await,
            false => self.channel.extended_data_bytes(STDERR, bytes).await,
        };
    }

    /// Says why something was not run, and ends the channel.
    pub(super) async fn refuse(&self, line: &str) {
        self.say(line).await;
        let _ = self.channel.exit_status(NOT_RUN).await;
        let _ = self.channel.eof().await;
        let _ = self.channel.close().await;
    }
}

/// Text without what a terminal would act upon.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_upon_is_said() {
        assert_eq!(visible("a\u{1b}[2Jb\r\nc"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
    }
}
