//! Carries an exec or attach between client and server, masked and recorded.
//!
//! In: both connections after their upgrade, and the framing that was agreed on. Out: the same streams; bytes of what
//! cannot be read end both sides.

use std::pin::pin;
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
/// The longest that a client may take to read the end and close.
const LINGER: Duration = Duration::from_secs(10);

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
        let got = {
            let up = pin!(self.carry_up(&mut from_client, &mut to_server));
            let mut down = pin!(self.carry_down(&mut from_server, &mut to_client));
            // A server that is done has nothing more to hear.
            tokio::select! {
                got = &mut down => got,
                // What the server still says is for whoever still listens.
                result = up => match result {
                    Ok(()) => down.await,
                    Err(broken) => Err(broken),
                },
            }
        };
        if matches!(got, Ok(_) | Err(Broken::Lost(_))) {
            // Closed with bytes unread, a connection is reset, and what is still on its way to the client is lost (RFC
            // 2525, section 2.17). The client closes when it has all.
            let _ = tokio::time::timeout(LINGER, tokio::io::copy(&mut from_client, &mut tokio::io::sink())).await;
        }
        got
    }

    async fn carry_up(
        &self,
        from_client: &mut (impl AsyncRead + Unpin),
        to_server: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Broken> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            // A client may close its side without a word.
            let count = from_client.read(&mut buffer).await.unwrap_or(0);
            let sent = if count == 0 {
                to_server.shutdown().await
            } else {
                let out = self.up(buffer.get(..count).unwrap_or_default())?;
                send(to_server, &out).await
            };
            // A server that takes no more may still have something to say.
            if count == 0 || sent.is_err() {
                return Ok(());
            }
        }
    }

    async fn carry_down(
        &self,
        from_server: &mut (impl AsyncRead + Unpin),
        to_client: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, Broken> {
        let mut buffer = vec![0; 16 * 1024];
        let mut got = 0;
        // When it knows how it ended, a client closes as it likes.
        let mut told = false;
        loop {
            let patience = if self.0.lock().channels.waits() { DELAY } else { RECORD };
            let (out, end) = match tokio::time::timeout(patience, from_server.read(&mut buffer)).await {
                Ok(Ok(count)) => (self.down(buffer.get(..count).unwrap_or_default())?, (count == 0).then_some(Ok(()))),
                // What it said before it was lost is the client's.
                Ok(Err(error)) => (self.down(&[])?, Some(Err(error))),
                Err(_) => (self.idle()?, None),
            };
            let sent = send(to_client, &out).await;
            if sent.is_ok() {
                got += out.len() as u64;
                told |= self.exit_status().is_some();
            }
            let end = match (sent, end) {
                (Ok(()), None) => continue,
                (Ok(()), Some(end)) => to_client.shutdown().await.and(end),
                (lost, _) => lost,
            };
            return if told { Ok(got) } else { end.map(|()| got).map_err(Broken::Lost) };
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

/// Writes bytes and sees them off: TLS says that it took what it may still keep, until somebody writes again.
async fn send(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    to.write_all(bytes).await?;
    to.flush().await
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

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{BufStream, ReadBuf, duplex, join};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;
    use crate::audit::journal::testing::{Site, start};
    use crate::audit::{Durability, Seq, SessionGuard};
    use crate::id::SessionId;
    use crate::masking::Masking;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn tap(site: &Site) -> Tap {
        let journal = site.journal(None, Durability::Process);
        let guard = SessionGuard::open(journal, SessionId::generate(), start()).unwrap();
        let recorder = Recorder::new(Arc::new(guard), Seq(1));
        Tap::new(Framing::WebSocket(WebSocket::default()), &Masking::default().detectors, recorder)
    }

    /// A server's frame of standard output.
    fn output(text: &[u8]) -> Vec<u8> {
        let length = u16::try_from(text.len() + 1).unwrap().to_be_bytes();
        [&[0x82, 126, length[0], length[1], 1], text].concat()
    }

    /// A client's, which masks with nothing.
    fn input(text: &[u8]) -> Vec<u8> {
        let mut frame = output(text);
        frame[1] |= 0x80;
        frame[4] = 0;
        frame.splice(4..4, [0; 4]);
        frame
    }

    /// A connection that was reset.
    struct Reset;

    impl AsyncRead for Reset {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
            Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()))
        }
    }

    #[tokio::test]
    async fn nothing_stays_in_a_layer_that_keeps_what_it_took() {
        let site = Site::new();
        let tap = tap(&site).await;
        let ((mut client, near), (far, mut server)) = (duplex(1024), duplex(1024));
        let carried = tokio::spawn(async move { tap.carry(BufStream::new(near), BufStream::new(far)).await });
        let (typed, shown) = (input(b"typed"), output(&[b'\n'; 200]));
        let mut got = vec![0; typed.len()];
        client.write_all(&typed).await.unwrap();
        timeout(PATIENCE, server.read_exact(&mut got)).await.expect("what the client said").unwrap();
        assert_eq!(got, typed);
        let mut got = vec![0; shown.len()];
        server.write_all(&shown).await.unwrap();
        timeout(PATIENCE, client.read_exact(&mut got)).await.expect("what the server said").unwrap();
        assert_eq!(got, shown);
        carried.abort();
    }

    #[tokio::test]
    async fn what_a_lost_server_said_reaches_the_client() {
        let site = Site::new();
        let tap = tap(&site).await;
        let (mut client, near) = duplex(4096);
        // The end may be that of a card: it is held back.
        let said = output(&[&[b'x'; 200][..], b" 4111-11"].concat());
        let carried = tokio::spawn(async move {
            let server = join(said.as_slice().chain(Reset), tokio::io::sink());
            tap.carry(near, server).await
        });
        let mut got = Vec::new();
        timeout(PATIENCE, client.read_to_end(&mut got)).await.expect("an end").unwrap();
        assert!(got.ends_with(b" 4111-11"), "{}", String::from_utf8_lossy(&got));
        drop(client);
        assert!(matches!(carried.await.unwrap(), Err(Broken::Lost(_))));
    }

    #[tokio::test]
    async fn a_client_that_still_speaks_reads_all_that_a_server_said_before_it_closed() {
        let site = Site::new();
        let tap = tap(&site).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let near = listener.accept().await.unwrap().0;
        // Nobody reads it all: the server is gone.
        client.write_all(&input(&[b'i'; 40_000])).await.unwrap();
        let said = output(&[b'\n'; 30_000]).repeat(30);
        let (all, far) = (said.len(), duplex(1).0);
        let mut carried = tokio::spawn(async move {
            let (_, gone) = tokio::io::split(far);
            tap.carry(near, join(said.as_slice(), gone)).await
        });
        let early = timeout(Duration::from_secs(1), &mut carried).await;
        let mut got = Vec::new();
        let read = timeout(PATIENCE, client.read_to_end(&mut got)).await.expect("an end");
        assert_eq!((read.ok(), got.len()), (Some(all), all), "closed first: {early:?}");
        drop(client);
        assert_eq!(carried.await.unwrap().unwrap(), all as u64);
    }
}
