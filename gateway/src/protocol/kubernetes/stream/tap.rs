//! Carries an exec or attach between client and server, masked and recorded.
//!
//! In: both connections after their upgrade, and the framing that was agreed on. Out: the same streams; bytes of what
//! cannot be read end both sides.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::channel::{Channels, Fault};
use super::recording::Recorder;
use super::spdy::Spdy;
use super::websocket::WebSocket;
use crate::masking::detect::Detectors;

/// The longest that a byte of output waits for the end of a value.
const DELAY: Duration = Duration::from_millis(20);
/// The longest that what was shown waits for the journal.
const RECORD: Duration = Duration::from_millis(250);

/// How streams are told apart.
pub(super) enum Framing {
    WebSocket(WebSocket),
    Spdy(Spdy),
}

/// Why a stream ended before its sides ended it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// It cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// One side is gone.
    #[error("a side was lost")]
    Lost(#[from] std::io::Error),
    /// What cannot be recorded does not go on.
    #[error("its recording could not be written, or is too large")]
    Unrecorded,
}

struct State {
    framing: Framing,
    channels: Channels,
    recorder: Recorder,
}

/// A stream with its two directions.
pub(super) struct Tap(Mutex<State>);

impl Tap {
    pub(super) fn new(framing: Framing, detectors: &Arc<Detectors>, recorder: Recorder) -> Self {
        Self(Mutex::new(State { framing, channels: Channels::new(detectors), recorder }))
    }

    /// Carries bytes both ways, each to its end; returns how many the client got.
    pub(super) async fn carry(
        &self,
        client: impl AsyncRead + AsyncWrite,
        server: impl AsyncRead + AsyncWrite,
    ) -> Result<u64, Broken> {
        let (mut from_client, mut to_client) = tokio::io::split(client);
        let (mut from_server, mut to_server) = tokio::io::split(server);
        let up = async {
            let mut buffer = vec![0; 16 * 1024];
            loop {
                let count = from_client.read(&mut buffer).await?;
                if count == 0 {
                    to_server.shutdown().await?;
                    return Ok::<_, Broken>(());
                }
                let out = self.up(buffer.get(..count).unwrap_or_default())?;
                to_server.write_all(&out).await?;
            }
        };
        let down = async {
            let mut buffer = vec![0; 16 * 1024];
            let mut got = 0;
            loop {
                let patience = if self.0.lock().channels.waits() { DELAY } else { RECORD };
                let (out, ended) = match tokio::time::timeout(patience, from_server.read(&mut buffer)).await {
                    Ok(count) => {
                        let count = count?;
                        (self.down(buffer.get(..count).unwrap_or_default())?, count == 0)
                    }
                    Err(_) => (self.idle()?, false),
                };
                got += out.len() as u64;
                if !out.is_empty() {
                    to_client.write_all(&out).await?;
                }
                if ended {
                    to_client.shutdown().await?;
                    return Ok(got);
                }
            }
        };
        // A server that is done has nothing more to hear.
        tokio::pin!(up);
        tokio::pin!(down);
        tokio::select! {
            got = &mut down => got,
            result = &mut up => match result {
                // What the server still says is for whoever still listens: a client may close its side without a word.
                Ok(()) | Err(Broken::Lost(_)) => down.await,
                Err(broken) => Err(broken),
            },
        }
    }

    /// The exit status that the server told.
    pub(super) fn exit_status(&self) -> Option<u32> {
        self.0.lock().channels.exit_status()
    }

    /// Writes the end of the recording.
    pub(super) fn finish(&self) {
        let state = &mut *self.0.lock();
        let heard = state.channels.take();
        let _ = state.recorder.take(heard) && state.recorder.flush();
    }

    fn up(&self, bytes: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut out = Vec::with_capacity(bytes.len());
        let state = &mut *self.0.lock();
        match &mut state.framing {
            Framing::WebSocket(frames) => frames.take_client(bytes, &mut state.channels, &mut out)?,
            Framing::Spdy(frames) => frames.take_client(bytes, &mut state.channels, &mut out)?,
        }
        state.heard().map(|()| out)
    }

    fn down(&self, bytes: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut out = Vec::with_capacity(bytes.len());
        let state = &mut *self.0.lock();
        match &mut state.framing {
            Framing::WebSocket(frames) => frames.take_server(bytes, &mut state.channels, &mut out)?,
            Framing::Spdy(frames) => frames.take_server(bytes, &mut state.channels, &mut out)?,
        }
        if bytes.is_empty() {
            state.flush(&mut out);
        }
        state.heard().map(|()| out)
    }

    /// Nothing came for a while.
    fn idle(&self) -> Result<Vec<u8>, Broken> {
        let mut out = Vec::new();
        let state = &mut *self.0.lock();
        state.flush(&mut out);
        state.heard()?;
        if state.recorder.flush() { Ok(out) } else { Err(Broken::Unrecorded) }
    }
}

impl State {
    fn flush(&mut self, out: &mut Vec<u8>) {
        match &mut self.framing {
            Framing::WebSocket(_) => WebSocket::flush(&mut self.channels, out),
            Framing::Spdy(frames) => frames.flush(&mut self.channels, out),
        }
    }

    /// What is shown is recorded first.
    fn heard(&mut self) -> Result<(), Broken> {
        let heard = self.channels.take();
        if self.recorder.take(heard) { Ok(()) } else { Err(Broken::Unrecorded) }
    }
}
