//! The client's stream: its first line looked at, and cut when the session ends.
//!
//! In: a stream. Out: the same for the library, which takes it over, and a handle that ends it whatever the library is
//! waiting for. Nothing that was read is lost.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use crate::conn::BoxConn;

/// The longest identification string (RFC 4253, section 4.2).
const LONGEST: usize = 255;
/// Clients speak at once; one that waits for us gets the algorithms that fit all.
const WAIT: Duration = Duration::from_millis(300);

/// Waits for what ends a stream.
type Cutting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A stream whose first bytes were read already.
pub(super) struct Line {
    stream: Arc<Mutex<BoxConn>>,
    first: Vec<u8>,
    cutting: Cutting,
    was_cut: bool,
}

/// What ends the stream.
pub(super) struct Scissors {
    stream: Arc<Mutex<BoxConn>>,
    cut: watch::Sender<bool>,
}

/// Takes a stream over, and reads the client's identification.
pub(super) async fn begin(mut stream: BoxConn) -> io::Result<(Line, Scissors, Option<String>)> {
    let mut first = Vec::new();
    // Cut short, bytes that came stay in `first`.
    let _ = tokio::time::timeout(WAIT, read_line(&mut stream, &mut first)).await;
    let id = first.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let id = id.map(|line| String::from_utf8_lossy(line).into_owned());
    let stream = Arc::new(Mutex::new(stream));
    let (cut, mut is_cut) = watch::channel(false);
    let cutting = Box::pin(async move {
        // A handle that is dropped cuts too.
        let _ = is_cut.wait_for(|cut| *cut).await;
    });
    Ok((Line { stream: Arc::clone(&stream), first, cutting, was_cut: false }, Scissors { stream, cut }, id))
}

async fn read_line(stream: &mut BoxConn, first: &mut Vec<u8>) -> io::Result<()> {
    while first.len() < LONGEST && first.last() != Some(&b'\n') {
        first.push(stream.read_u8().await?);
    }
    Ok(())
}

impl Scissors {
    /// Ends the stream for whoever reads or writes it.
    pub(super) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Sends last bytes in clear, once the library has let go of a connection that has no keys yet.
    pub(super) async fn say_last(&self, bytes: &[u8]) {
        self.cut();
        let sent = std::future::poll_fn(|cx| Pin::new(&mut **self.stream.lock()).poll_write(cx, bytes));
        // Who is gone cannot be told.
        let _ = tokio::time::timeout(WAIT, sent).await;
        let shut = std::future::poll_fn(|cx| Pin::new(&mut **self.stream.lock()).poll_shutdown(cx));
        let _ = tokio::time::timeout(WAIT, shut).await;
    }
}

impl Line {
    fn is_cut(&mut self, cx: &mut Context<'_>) -> bool {
        self.was_cut = self.was_cut || self.cutting.as_mut().poll(cx).is_ready();
        self.was_cut
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let length = self.first.len().min(buf.remaining());
            let rest = self.first.split_off(length);
            buf.put_slice(&self.first);
            self.first = rest;
            return Poll::Ready(Ok(()));
        }
        // First what is there: who is cut may still have said goodbye.
        let read = Pin::new(&mut **self.stream.lock()).poll_read(cx, buf);
        if read.is_pending() && self.is_cut(cx) { Poll::Ready(Ok(())) } else { read }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut **this.stream.lock()).poll_write(cx, buf);
        if written.is_pending() && this.is_cut(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut **self.stream.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The handle does it, so that a last word can follow.
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn the_first_line_is_seen_and_nothing_is_lost() {
        let (mut client, server) = tokio::io::duplex(1_024);
        client.write_all(b"SSH-2.0-OpenSSH_9.2\r\nmore").await.unwrap();
        let (mut line, scissors, id) = begin(Box::new(server)).await.unwrap();
        assert_eq!(id.as_deref(), Some("SSH-2.0-OpenSSH_9.2"));
        let mut seen = vec![0; 25];
        line.read_exact(&mut seen).await.unwrap();
        assert_eq!(seen, b"SSH-2.0-OpenSSH_9.2\r\nmore");
        scissors.cut();
        assert_eq!(line.read(&mut seen).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_waits_is_not_waited_for() {
        let (_client, server) = tokio::io::duplex(1_024);
        let (_, _, id) = begin(Box::new(server)).await.unwrap();
        assert_eq!(id, None);
    }

    #[tokio::test]
    async fn a_last_word_reaches_the_client() {
        let (mut client, server) = tokio::io::duplex(1_024);
        client.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        let (line, scissors, _) = begin(Box::new(server)).await.unwrap();
        drop(line);
        scissors.say_last(b"why").await;
        let mut seen = Vec::new();
        client.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, b"why");
    }
}
