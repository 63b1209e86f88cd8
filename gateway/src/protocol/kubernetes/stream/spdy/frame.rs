//! Frames of SPDY/3.1, and the headers in them.
//!
//! In: bytes of one side, cut anywhere. Out: whole frames, headers unfolded; and frames of ours as bytes. It must never
//! give out a part of a frame, nor unfold more than any headers are.

use std::sync::LazyLock;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::protocol::kubernetes::stream::channel::Fault;

/// The largest frame.
const LARGEST: usize = 1 << 20;
/// The most bytes that headers of one stream unfold to.
const LARGEST_HEADERS: usize = 64 * 1024;
/// A frame of ours.
const PIECE: usize = 32 * 1024;

/// Kinds of control frames.
pub(in super::super) const SYN_STREAM: u16 = 1;
pub(in super::super) const SYN_REPLY: u16 = 2;
pub(in super::super) const RST_STREAM: u16 = 3;
pub(in super::super) const PING: u16 = 6;
pub(in super::super) const GOAWAY: u16 = 7;
/// A data frame, and a SYN_STREAM, that is the last of its stream.
pub(in super::super) const FIN: u8 = 1;

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

pub(in super::super) static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut all = Vec::with_capacity(1_423);
    for word in WORDS {
        all.extend_from_slice(&u32::try_from(word.len()).unwrap_or_default().to_be_bytes());
        all.extend_from_slice(word.as_bytes());
    }
    all.extend_from_slice(TAIL.as_bytes());
    all
});

/// A frame, whole.
pub(in super::super) struct Frame {
    /// Type of a control frame; none: data.
    pub(in super::super) kind: Option<u16>,
    pub(in super::super) stream: u32,
    pub(in super::super) flags: u8,
    pub(in super::super) payload: Vec<u8>,
    /// As it came.
    pub(in super::super) raw: Vec<u8>,
}

/// One side's bytes.
#[derive(Default)]
pub(in super::super) struct Frames(Vec<u8>);

impl Frames {
    pub(in super::super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next frame, where it is whole.
    pub(in super::super) fn next(&mut self) -> Result<Option<Frame>, Fault> {
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

/// Headers of one side: all of them share one state of the compressor.
pub(in super::super) struct Unfold(Decompress);

impl Default for Unfold {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Unfold {
    /// A block of headers.
    pub(in super::super) fn unfold(&mut self, mut block: &[u8]) -> Result<Vec<u8>, Fault> {
        let broken = Fault::Framing("headers that do not unfold");
        let mut out = Vec::with_capacity(4_096);
        loop {
            if out.len() == out.capacity() {
                if out.len() >= LARGEST_HEADERS {
                    return Err(Fault::TooLarge);
                }
                out.reserve(4_096);
            }
            let before = (self.0.total_in(), out.len());
            let status = match self.0.decompress_vec(block, &mut out, FlushDecompress::Sync) {
                Ok(status) => status,
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(|_| broken)?;
                    Status::Ok
                }
                Err(_) => return Err(broken),
            };
            let taken = usize::try_from(self.0.total_in() - before.0).map_err(|_| broken)?;
            block = block.get(taken..).unwrap_or_default();
            let is_stuck = taken == 0 && out.len() == before.1 && status != Status::Ok;
            if status == Status::StreamEnd || is_stuck || (block.is_empty() && out.len() < out.capacity()) {
                return if block.is_empty() { Ok(out) } else { Err(broken) };
            }
        }
    }
}

/// The value of a header: a count, then lengths and bytes of names and values.
pub(in super::super) fn value<'h>(headers: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
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
pub(in super::super) fn write(stream: u32, end: u8, data: &[u8], out: &mut Vec<u8>) {
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

/// Headers of ours.
pub(in super::super) struct Fold(Option<Compress>);

impl Default for Fold {
    fn default() -> Self {
        let mut compress = Compress::new(Compression::fast(), true);
        let is_ready = compress.set_dictionary(&DICTIONARY).is_ok();
        Self(is_ready.then_some(compress))
    }
}

impl Fold {
    fn fold(&mut self, headers: &[(&str, &str)]) -> Result<Vec<u8>, Fault> {
        let broken = Fault::Framing("headers that cannot be compressed");
        let length = |number: usize| u32::try_from(number).unwrap_or_default().to_be_bytes();
        let mut plain = length(headers.len()).to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.extend(length(text.len()));
            plain.extend_from_slice(text.as_bytes());
        }
        let mut block = Vec::with_capacity(plain.len() + 256);
        let compress = self.0.as_mut().ok_or(broken)?;
        compress.compress_vec(&plain, &mut block, FlushCompress::Sync).map_err(|_| broken)?;
        Ok(block)
    }

    /// A SYN_STREAM.
    pub(in super::super) fn open(
        &mut self,
        stream: u32,
        headers: &[(&str, &str)],
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        // The stream that it belongs to, priority and slot: none.
        let payload = [&stream.to_be_bytes()[..], &[0; 6], &self.fold(headers)?].concat();
        control(SYN_STREAM, &payload, out);
        Ok(())
    }

    /// A SYN_REPLY without headers.
    pub(in super::super) fn reply(&mut self, stream: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
        let payload = [&stream.to_be_bytes()[..], &self.fold(&[])?].concat();
        control(SYN_REPLY, &payload, out);
        Ok(())
    }
}

/// A control frame without flags.
pub(in super::super) fn control(kind: u16, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x80, 3]);
    out.extend_from_slice(&kind.to_be_bytes());
    // Ours have no more than a few hundred bytes.
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(payload);
}

/// Ends a stream at once: `CANCEL`, or what `status` says else.
pub(in super::super) fn reset(stream: u32, status: u32, out: &mut Vec<u8>) {
    control(RST_STREAM, &[stream.to_be_bytes(), status.to_be_bytes()].concat(), out);
}
