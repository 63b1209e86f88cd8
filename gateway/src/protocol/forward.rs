//! A stream that is forwarded inside a session, and is a session of its own there.
//!
//! In: where a client wants to be connected to, in its own words, and channels to there. Out: what takes the client's
//! end of the stream, or why nobody does. It never says where a name leads: only the server at the far end knows.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::oneshot;

use crate::conn::BoxConn;

/// Bytes between a channel and who reads it.
const PIPE: usize = 64 * 1024;

/// Something that takes its time.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Where a client wants to be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onward {
    /// A name or an address.
    pub host: String,
    /// A port, if it is one.
    pub port: u32,
}

/// Streams through the server of a session.
pub trait Channels: Send + Sync {
    /// One more, to there.
    fn open(&self, host: &str, port: u16) -> Pending<io::Result<BoxConn>>;
}

/// Serves the client's end of a stream. The second argument resolves when the client has closed it altogether, which the
/// stream alone does not tell from the end of what it has to say.
pub type Inside = Box<dyn FnOnce(BoxConn, Pending<()>) -> Pending<()> + Send>;

/// What becomes of streams inside one session.
pub trait Forwards: Send + Sync {
    /// Finds out where it leads and whether it may.
    ///
    /// # Errors
    /// With the reason, for the journal.
    fn enter(&self, wanted: Onward, channels: std::sync::Arc<dyn Channels>) -> Pending<Result<Inside, String>>;
}

/// A stream for who reads and writes plain bytes, what tells that it was dropped, and its far end.
pub(super) fn pipe() -> (BoxConn, oneshot::Receiver<()>, DuplexStream) {
    let (near, far) = tokio::io::duplex(PIPE);
    let (alive, dropped) = oneshot::channel();
    (Box::new(Near { stream: near, _alive: alive }), dropped, far)
}

/// A stream that tells when it is dropped.
struct Near {
    stream: DuplexStream,
    _alive: oneshot::Sender<()>,
}

impl AsyncRead for Near {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Near {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
