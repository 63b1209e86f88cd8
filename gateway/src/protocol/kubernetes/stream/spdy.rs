//! SPDY/3.1 frames of exec and attach, as clients before WebSocket send them.
//!
//! In: bytes of either side, cut anywhere. Out: what goes on: of the client all of it, of the server the same streams,
//! masked. Headers are read where the client opens a stream, since they say which stream it is; they are never rewritten.
//! It must never pass a frame on that it did not understand.

use std::collections::HashMap;
use std::sync::LazyLock;

use flate2::{Decompress, FlushDecompress, Status};

use super::channel::{Channel, Channels, Fault};

/// The largest frame.
const LARGEST: usize = 1 << 20;
/// The most bytes that headers of one stream unfold to.
const LARGEST_HEADERS: usize = 64 * 1024;
/// An exec has five.
const MOST_STREAMS: usize = 64;
/// A frame of ours.
const PIECE: usize = 32 * 1024;

const SYN_STREAM: u16 = 1;
const RST_STREAM: u16 = 3;
const GOAWAY: u16 = 7;
/// A data frame, and a SYN_STREAM, that is the last of its stream.
const FIN: u8 = 1;

/// What both sides begin to compress headers with (draft-mbelshe-httpbis-spdy-00, section 2.6.10.1): words with their
/// lengths, then a text.
// TABLE:
const WORDS: &[&str] = &[
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-\
Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not \
Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov \
Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,\
application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,\
utf-,*,enq=0.";

pub(super) static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut all = Vec::with_capacity(1_423);
    for word in WORDS {
        all.extend_from_slice(&u32::try_from(word.len()).unwrap_or_default().to_be_bytes());
        all.extend_from_slice(word.as_bytes());
    }
    all.extend_from_slice(TAIL.as_bytes());
    all
});

/// A frame, whole.
struct Frame {
    /// Type of a control frame; none: data.
    kind: Option<u16>,
    stream: u32,
    flags: u8,
    payload: Vec<u8>,
    /// As it came.
    raw: Vec<u8>,
}

#[derive(Default)]
struct Frames(Vec<u8>);

impl Frames {
    fn next(&mut self) -> Result<Option<Frame>, Fault> {
        let Some(&[a, b, c, d, flags, e, f, g]) = self.0.first_chunk::<8>() else { return Ok(None) };
        let length = usize::from(e) << 16 | usize::from(f) << 8 | usize::from(g);
        if length > LARGEST {
            return Err(Fault::TooLarge);
        }
        if self.0.len() < 8 + length {
            return Ok(None);
        }
        let raw: Vec<u8> = self.0.drain(..8 + length).collect();
        let payload = raw.get(8..).unwrap_or_default().to_vec();
        let word = u32::from_be_bytes([a, b, c, d]);
        if a & 0x80 == 0 {
            return Ok(Some(Frame { kind: None, stream: word, flags, payload, raw }));
        }
        if word >> 16 & 0x7fff != 3 {
            return Err(Fault::Framing("a version that is not 3"));
        }
        let stream = payload.first_chunk::<4>().map_or(0, |id| u32::from_be_bytes(*id) & 0x7fff_ffff);
        Ok(Some(Frame { kind: u16::try_from(word & 0xffff).ok(), stream, flags, payload, raw }))
    }
}

/// Both directions.
pub(super) struct Spdy {
    client: Frames,
    server: Frames,
    headers: Decompress,
    streams: HashMap<u32, Channel>,
}

impl Default for Spdy {
    fn default() -> Self {
        Self {
            client: Frames::default(),
            server: Frames::default(),
            headers: Decompress::new(true),
            streams: HashMap::new(),
        }
    }
}

impl Spdy {
    /// Takes bytes of the client, and appends those for the server.
    pub(super) fn take_client(
        &mut self,
        bytes: &[u8],
        channels: &mut Channels,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.client.0.extend_from_slice(bytes);
        while let Some(frame) = self.client.next()? {
            match frame.kind {
                Some(SYN_STREAM) => self.open(&frame)?,
                // Names and values that come later say nothing of an exec, but belong to what is compressed.
                Some(2 | 8) => {
                    self.unfold(frame.payload.get(4..).unwrap_or_default())?;
                }
                Some(_) => {}
                None => {
                    if let Some(channel) = self.streams.get(&frame.stream) {
                        channels.typed(*channel, &frame.payload);
                    }
                }
            }
            out.extend_from_slice(&frame.raw);
        }
        Ok(())
    }

    /// Takes bytes of the server, and appends those for the client.
    pub(super) fn take_server(
        &mut self,
        bytes: &[u8],
        channels: &mut Channels,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.server.0.extend_from_slice(bytes);
        while let Some(frame) = self.server.next()? {
            if frame.kind == Some(SYN_STREAM) {
                return Err(Fault::Framing("a stream that the server opens"));
            }
            let Some(channel) = self.streams.get(&frame.stream).copied().filter(|_| frame.kind.is_none()) else {
                if frame.kind.is_none() {
                    return Err(Fault::Framing("data of a stream that the client did not open"));
                }
                // What a client gets of a stream after these it throws away.
                if matches!(frame.kind, Some(RST_STREAM | GOAWAY)) {
                    self.flush(channels, out);
                }
                out.extend_from_slice(&frame.raw);
                continue;
            };
            if channel == Channel::Error {
                self.flush(channels, out);
            }
            let mut shown = channels.show(channel, &frame.payload);
            if frame.flags & FIN != 0 {
                shown.extend(channels.flush(channel));
            }
            write(frame.stream, frame.flags & FIN, &shown, out);
        }
        Ok(())
    }

    /// Appends what waits of the server's output.
    pub(super) fn flush(&self, channels: &mut Channels, out: &mut Vec<u8>) {
        for (stream, channel) in &self.streams {
            let waiting = channels.flush(*channel);
            if !waiting.is_empty() {
                write(*stream, 0, &waiting, out);
            }
        }
    }

    fn open(&mut self, frame: &Frame) -> Result<(), Fault> {
        if self.streams.len() >= MOST_STREAMS {
            return Err(Fault::Framing("more streams than an exec has"));
        }
        // The stream, the one that it belongs to, priority and slot.
        let headers = self.unfold(frame.payload.get(10..).unwrap_or_default())?;
        let kind = value(&headers, b"streamtype").ok_or(Fault::Framing("a stream of no type"))?;
        let channel = Channel::of_name(kind).ok_or(Fault::Framing("a stream of a type that exec does not have"))?;
        if self.streams.values().any(|known| *known == channel) || self.streams.insert(frame.stream, channel).is_some()
        {
            return Err(Fault::Framing("two streams of one type"));
        }
        Ok(())
    }

    /// A block of headers: all of them share one state of the compressor.
    fn unfold(&mut self, mut block: &[u8]) -> Result<Vec<u8>, Fault> {
        let broken = Fault::Framing("headers that do not unfold");
        let mut out = Vec::with_capacity(4_096);
        loop {
            if out.len() == out.capacity() {
                if out.len() >= LARGEST_HEADERS {
                    return Err(Fault::TooLarge);
                }
                out.reserve(4_096);
            }
            let before = (self.headers.total_in(), out.len());
            let status = match self.headers.decompress_vec(block, &mut out, FlushDecompress::Sync) {
                Ok(status) => status,
                Err(error) if error.needs_dictionary().is_some() => {
                    self.headers.set_dictionary(&DICTIONARY).map_err(|_| broken)?;
                    Status::Ok
                }
                Err(_) => return Err(broken),
            };
            let taken = usize::try_from(self.headers.total_in() - before.0).map_err(|_| broken)?;
            block = block.get(taken..).unwrap_or_default();
            let is_stuck = taken == 0 && out.len() == before.1 && status != Status::Ok;
            if status == Status::StreamEnd || is_stuck || (block.is_empty() && out.len() < out.capacity()) {
                return if block.is_empty() { Ok(out) } else { Err(broken) };
            }
        }
    }
}

/// The value of a header: a count, then lengths and bytes of names and values.
fn value<'h>(headers: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    let mut rest = headers;
    let number = |rest: &mut &'h [u8]| {
        let (bytes, after) = rest.split_first_chunk::<4>()?;
        *rest = after;
        usize::try_from(u32::from_be_bytes(*bytes)).ok()
    };
    let count = number(&mut rest)?;
    for _ in 0..count.min(LARGEST_HEADERS) {
        let mut text = || {
            let length = number(&mut rest)?;
            let (text, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(text)
        };
        let (key, value) = (text()?, text()?);
        if key.eq_ignore_ascii_case(name) {
            return Some(value);
        }
    }
    None
}

/// Data frames of a stream; without data, one that says nothing but its end.
fn write(stream: u32, end: u8, data: &[u8], out: &mut Vec<u8>) {
    let mut frame = |piece: &[u8], flags: u8| {
        out.extend_from_slice(&stream.to_be_bytes());
        out.push(flags);
        // Pieces are far smaller than three bytes say.
        out.extend_from_slice(
            u32::try_from(piece.len()).unwrap_or_default().to_be_bytes().get(1..).unwrap_or_default(),
        );
        out.extend_from_slice(piece);
    };
    let mut pieces = data.chunks(PIECE).peekable();
    if pieces.peek().is_none() && end != 0 {
        frame(&[], end);
    }
    while let Some(piece) = pieces.next() {
        frame(piece, if pieces.peek().is_none() { end } else { 0 });
    }
}
