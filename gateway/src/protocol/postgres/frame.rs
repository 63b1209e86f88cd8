//! The frame layer: where messages begin and end, and the buffer that they are read into.
//!
//! In: bytes of either leg, cut anywhere. Out: headers, and bodies as slices of the buffer. A body is never allocated
//! by the length that its sender declares: the buffer grows with what has arrived, up to the reader's cap, and a
//! message that need not be read whole passes through piece by piece. Nothing here is re-encoded.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// What a busy direction reads into at once.
pub(super) const BATCH: usize = 64 * 1024;
/// What a direction starts with, and comes back to when it is idle.
const SMALL: usize = 4 * 1024;
/// Tag and length.
pub(super) const HEADER: usize = 5;

/// A length field that cannot be right: it counts itself, so that four is the least.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("message type 0x{tag:02x} declares the length {length}, less than its own length field")]
pub(super) struct BadLength {
    tag: u8,
    length: u32,
}

/// Type and size of a message, read from its first five bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) tag: u8,
    /// The whole message, its tag included.
    pub(super) size: usize,
}

impl Header {
    /// The header at the start of `bytes`, once it is all there.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, BadLength> {
        let Some(&[tag, a, b, c, d]) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]);
        if length < 4 {
            return Err(BadLength { tag, length });
        }
        // On a 64 bit machine this cannot overflow; elsewhere the size is beyond every cap.
        let size = usize::try_from(length).map_or(usize::MAX, |length| length.saturating_add(1));
        Ok(Some(Self { tag, size }))
    }
}

/// The body of a whole message.
pub(super) fn body(message: &[u8]) -> &[u8] {
    message.get(HEADER..).unwrap_or_default()
}

/// Splits the text before the next NUL off, as messages carry strings.
pub(super) fn split_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (text, rest) = bytes.split_at(end);
    Some((text, rest.get(1..)?))
}

/// What was read of one direction and not yet dealt with.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    /// What is there, oldest first.
    pub(super) fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Takes the first bytes out.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.bytes.len() > BATCH {
                self.bytes = Vec::new();
            }
        }
    }

    /// Adds bytes that were read elsewhere.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        if let Some(room) = self.bytes.get_mut(self.end..self.end + bytes.len()) {
            room.copy_from_slice(bytes);
            self.end += bytes.len();
        }
    }

    /// Gives the memory back if nothing is in it.
    pub(super) fn shrink(&mut self) {
        if self.filled().is_empty() {
            *self = Self::default();
        }
    }

    /// Reads once, as much as there is room for. Up to [`BATCH`] bytes wait here; beyond that only what completes a
    /// message of `whole` bytes is read. `Ok(0)` is the end of the stream.
    pub(super) fn poll_read<C>(
        &mut self,
        cx: &mut Context<'_>,
        conn: &mut C,
        whole: usize,
    ) -> Poll<std::io::Result<usize>>
    where
        C: AsyncRead + Unpin,
    {
        self.prepare(whole);
        let mut room = ReadBuf::new(self.bytes.get_mut(self.end..).unwrap_or_default());
        ready!(Pin::new(conn).poll_read(cx, &mut room))?;
        let count = room.filled().len();
        self.end += count;
        Poll::Ready(Ok(count))
    }

    /// Whether another read has room: see [`Inbox::poll_read`].
    pub(super) fn has_room(&self, whole: usize) -> bool {
        self.end - self.start < BATCH.max(whole)
    }

    /// Makes some room: by moving to the front, then by doubling, so that the memory follows what arrived.
    fn prepare(&mut self, whole: usize) {
        // Less than half a buffer of room makes for small reads; moving the rest of a message is cheaper.
        if self.end < self.bytes.len() - self.bytes.len() / 2 {
            return;
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.bytes.len() {
            let size = (self.bytes.len() * 4).clamp(SMALL, BATCH).max((self.bytes.len() * 2).min(whole));
            self.bytes.resize(size, 0);
        }
    }

    fn make_room(&mut self, count: usize) {
        if self.bytes.len() - self.end < count {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.bytes.len() - self.end < count {
                self.bytes.resize(self.end + count, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_needs_five_bytes_and_a_sane_length() {
        assert_eq!(Header::read(b"Q\0\0\0"), Ok(None));
        assert_eq!(Header::read(b"Q\0\0\0\x05\0"), Ok(Some(Header { tag: b'Q', size: 6 })));
        assert_eq!(Header::read(b"Q\0\0\0\x03"), Err(BadLength { tag: b'Q', length: 3 }));
        assert!(Header::read(b"Q\xff\xff\xff\xff").unwrap().unwrap().size > u32::MAX as usize);
    }

    #[tokio::test]
    async fn memory_follows_what_arrived_and_not_what_was_declared() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        tokio::io::AsyncWriteExt::write_all(&mut far, &[7; 100]).await.unwrap();
        let mut inbox = Inbox::default();
        let read = std::future::poll_fn(|cx| inbox.poll_read(cx, &mut near, 1 << 30)).await.unwrap();
        assert_eq!((read, inbox.filled().len()), (100, 100));
        assert!(inbox.bytes.capacity() <= SMALL);
    }

    #[tokio::test]
    async fn grows_to_hold_a_whole_message_and_gives_the_memory_back() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        tokio::io::AsyncWriteExt::write_all(&mut far, &[7; 300_000]).await.unwrap();
        let mut inbox = Inbox::default();
        while inbox.filled().len() < 300_000 {
            assert!(inbox.has_room(300_000));
            std::future::poll_fn(|cx| inbox.poll_read(cx, &mut near, 300_000)).await.unwrap();
        }
        inbox.consume(300_000);
        assert_eq!(inbox.bytes.capacity(), 0);
    }

    #[test]
    fn keeps_the_order_of_what_is_appended() {
        let mut inbox = Inbox::default();
        inbox.append(b"abc");
        inbox.consume(1);
        inbox.append(b"def");
        assert_eq!(inbox.filled(), b"bcdef");
    }
}
