//! Many connections over one: bytes of a wire in and out, and a pipe for each connection on it.
//!
//! In: a connection after its upgrade, and how connections are told apart on it. Out: streams of plain bytes. A connection
//! that is slow holds up the others of its client: these protocols have no windows that anybody heeds.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, oneshot};

use super::pairs::Pairs;
use super::{Event, Pair, Wire};
use crate::conn::BoxConn;
use crate::protocol::forward::pipe;

/// How long the server may take to open a connection: what Go's clients wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pieces that wait for who reads them.
const WAITING: usize = 4;
/// The longest error that is passed on.
const LONGEST_ERROR: usize = 8 * 1024;
/// Bytes of one piece.
const PIECE: usize = 32 * 1024;

type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Where what comes for one connection goes.
struct Pipe {
    /// Gone when the other side has said all.
    bytes: Option<mpsc::Sender<Vec<u8>>>,
    ready: Option<oneshot::Sender<()>>,
    error: Option<oneshot::Sender<Vec<u8>>>,
    /// Dropped with the connection.
    _alive: oneshot::Sender<()>,
}

/// A connection that the other side opened.
pub(super) struct Opened {
    pub(super) pair: Pair,
    pub(super) port: u16,
    pub(super) bytes: mpsc::Receiver<Vec<u8>>,
    /// Resolves when it is closed altogether.
    pub(super) gone: oneshot::Receiver<()>,
}

struct State<W> {
    wire: W,
    pipes: HashMap<Pair, Pipe>,
}

/// One connection with many on it.
pub(super) struct Mux<W> {
    state: Mutex<State<W>>,
    writer: tokio::sync::Mutex<Writer>,
    sent: AtomicU64,
}

impl<W: Wire> Mux<W> {
    pub(super) fn new(writer: impl AsyncWrite + Send + Unpin + 'static, wire: W) -> Arc<Self> {
        let state = Mutex::new(State { wire, pipes: HashMap::new() });
        Arc::new(Self { state, writer: tokio::sync::Mutex::new(Box::new(writer)), sent: AtomicU64::new(0) })
    }

    /// Bytes that went to the other side.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Reads the other side to its end.
    pub(super) async fn read(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut opened: impl FnMut(Opened),
    ) -> Result<(), String> {
        let (mut piece, mut count) = (vec![0; PIECE], 0);
        loop {
            let (mut events, mut out) = (Vec::new(), Vec::new());
            let taken = self.state.lock().wire.take(piece.get(..count).unwrap_or_default(), &mut events, &mut out);
            taken.map_err(|fault| fault.to_string())?;
            // Reading goes on while the other side takes nothing: it may wait for us likewise.
            if !out.is_empty() && self.write(&mut *self.writer.lock().await, &out).await.is_err() {
                return Ok(());
            }
            for event in events {
                if let Event::Closed = event {
                    return Ok(());
                }
                self.hear(event, &mut opened).await;
            }
            count = match from.read(&mut piece).await {
                // A side may close without a word.
                Ok(0) | Err(_) => return Ok(()),
                Ok(count) => count,
            };
        }
    }

    async fn hear(&self, event: Event, opened: &mut impl FnMut(Opened)) {
        match event {
            Event::Open(pair, port) => {
                let (pipe, bytes, gone) = new_pipe();
                self.state.lock().pipes.insert(pair, pipe);
                opened(Opened { pair, port, bytes, gone });
            }
            Event::Data(pair, bytes) => {
                let to = self.state.lock().pipes.get(&pair).and_then(|pipe| pipe.bytes.clone());
                if let Some(to) = to {
                    // Whoever hears no more may still have something to say.
                    let _ = to.send(bytes).await;
                }
            }
            Event::End(pair) => drop(self.state.lock().pipes.get_mut(&pair).and_then(|pipe| pipe.bytes.take())),
            Event::Ready(pair) => {
                let waits = self.state.lock().pipes.get_mut(&pair).and_then(|pipe| pipe.ready.take());
                let _ = waits.map(|waits| waits.send(()));
            }
            Event::Error(pair, mut text) => {
                text.truncate(LONGEST_ERROR);
                let waits = self.state.lock().pipes.get_mut(&pair).and_then(|pipe| pipe.error.take());
                drop(waits.map(|waits| waits.send(text)));
            }
            Event::Gone(pair) => drop(self.state.lock().pipes.remove(&pair)),
            Event::Closed => {}
        }
    }

    /// Ends all that is open.
    pub(super) fn clear(&self) {
        self.state.lock().pipes.clear();
    }

    /// Changes what the wire knows and sends what comes of it, in that order for everybody.
    async fn send(&self, make: impl FnOnce(&mut W, &mut Vec<u8>)) -> io::Result<()> {
        let mut writer = self.writer.lock().await;
        let mut out = Vec::new();
        make(&mut self.state.lock().wire, &mut out);
        self.write(&mut writer, &out).await
    }

    async fn write(&self, writer: &mut Writer, out: &[u8]) -> io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        writer.write_all(out).await?;
        writer.flush().await?;
        self.sent.fetch_add(out.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Tells the other side of an error.
    pub(super) async fn fail(&self, pair: Pair, text: &[u8]) {
        let _ = self.send(|wire, out| wire.fail(pair, text, out)).await;
    }

    /// Closes a connection.
    pub(super) async fn close(&self, pair: Pair) {
        self.state.lock().pipes.remove(&pair);
        let _ = self.send(|wire, out| wire.close(pair, out)).await;
    }

    /// Passes bytes on between a connection and the far end of its stream, until it is closed or the stream was dropped.
    pub(super) async fn carry(
        &self,
        pair: Pair,
        mut bytes: mpsc::Receiver<Vec<u8>>,
        (far, dropped): (DuplexStream, oneshot::Receiver<()>),
    ) {
        let (mut from, mut to) = tokio::io::split(far);
        let in_ = async {
            while let Some(piece) = bytes.recv().await {
                // Whoever hears no more may still have something to say.
                let _ = to.write_all(&piece).await;
            }
            let _ = to.shutdown().await;
        };
        let out = async {
            let mut piece = vec![0; PIECE];
            loop {
                let count = from.read(&mut piece).await.unwrap_or(0);
                let bytes = piece.get(..count).unwrap_or_default();
                if count == 0 || self.send(|wire, out| wire.data(pair, bytes, out)).await.is_err() {
                    break;
                }
            }
            let _ = self.send(|wire, out| wire.end(pair, out)).await;
        };
        let both = async { tokio::join!(in_, out) };
        tokio::pin!(both);
        tokio::select! {
            _ = &mut both => {}
            // All that it said before is in the pipe still.
            _ = dropped => drop(tokio::time::timeout(PATIENCE, self.rest(pair, both)).await),
        }
        self.close(pair).await;
    }

    /// What a dropped stream had said: nobody hears what comes in any more.
    async fn rest(&self, pair: Pair, both: impl Future<Output = ((), ())>) {
        drop(self.state.lock().pipes.get_mut(&pair).and_then(|pipe| pipe.bytes.take()));
        both.await;
    }
}

impl Mux<Pairs> {
    /// Opens a connection to a port; what the server says of errors comes by the second.
    pub(super) async fn open(self: &Arc<Self>, port: u16) -> io::Result<(BoxConn, oneshot::Receiver<Vec<u8>>)> {
        let (mut pipe_in, bytes, _) = new_pipe();
        let (ready, is_ready) = oneshot::channel();
        let (error, errors) = oneshot::channel();
        (pipe_in.ready, pipe_in.error) = (Some(ready), Some(error));
        let mut opened = None;
        {
            let mut writer = self.writer.lock().await;
            let mut out = Vec::new();
            {
                let state = &mut *self.state.lock();
                let pair = state.wire.open(port, &mut out).map_err(io::Error::other)?;
                state.pipes.insert(pair, pipe_in);
                opened.replace(pair);
            }
            self.write(&mut writer, &out).await?;
        }
        let pair = opened.unwrap_or_default();
        let answered = tokio::time::timeout(PATIENCE, is_ready).await;
        if !matches!(answered, Ok(Ok(()))) {
            self.close(pair).await;
            return Err(io::Error::other("the API server opened no connection to the pod"));
        }
        let (near, dropped, far) = pipe();
        let mux = Arc::clone(self);
        tokio::spawn(async move { mux.carry(pair, bytes, (far, dropped)).await });
        Ok((near, errors))
    }
}

fn new_pipe() -> (Pipe, mpsc::Receiver<Vec<u8>>, oneshot::Receiver<()>) {
    let (bytes, received) = mpsc::channel(WAITING);
    let (alive, gone) = oneshot::channel();
    (Pipe { bytes: Some(bytes), ready: None, error: None, _alive: alive }, received, gone)
}
