//! WebSocket frames of exec and attach (RFC 6455; `v4.channel.k8s.io`, `v5.channel.k8s.io`): the first byte of a message
//! says which stream it is of.
//!
//! In: bytes of either side, cut anywhere. Out: what goes on: of the client all of it, of the server the same streams,
//! masked, in frames of ours. It must never pass a frame on that it did not understand.

use super::channel::{Channel, Channels, Fault};

/// The largest frame: clients and servers copy in pieces of 32 KiB.
const LARGEST: usize = 1 << 20;
/// A frame of ours: smaller than what any client refuses.
const PIECE: usize = 32 * 1024;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// One direction.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    /// The stream of the message that is not whole yet.
    open: Option<u8>,
}

/// A frame, whole.
struct Frame {
    last: bool,
    code: u8,
    payload: Vec<u8>,
    /// As it came.
    raw: Vec<u8>,
}

impl Frames {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, where it is whole.
    fn next(&mut self) -> Result<Option<Frame>, Fault> {
        let Some(&[first, second]) = self.bytes.first_chunk::<2>() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Fault::Framing("reserved bits, which no extension was agreed on for"));
        }
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let masks = if second & 0x80 != 0 { 4 } else { 0 };
        let head = 2 + extended + masks;
        let Some(header) = self.bytes.get(..head) else { return Ok(None) };
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let length = match extended {
            0 => u64::from(second & 0x7f),
            size => number(header.get(2..2 + size).unwrap_or_default()),
        };
        let length = usize::try_from(length).ok().filter(|length| *length <= LARGEST).ok_or(Fault::TooLarge)?;
        let key: Option<[u8; 4]> = header.get(head - masks..).and_then(|key| key.try_into().ok());
        if self.bytes.len() < head + length {
            return Ok(None);
        }
        let raw: Vec<u8> = self.bytes.drain(..head + length).collect();
        let mut payload = raw.get(head..).unwrap_or_default().to_vec();
        if let Some(key) = key {
            payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        }
        Ok(Some(Frame { last: first & 0x80 != 0, code: first & 0x0f, payload, raw }))
    }

    /// The stream that a frame of data is of, and its part of it; none for control frames.
    fn data<'f>(&mut self, frame: &'f Frame) -> Result<Option<(u8, &'f [u8])>, Fault> {
        let found = match (frame.code, self.open) {
            (BINARY, None) => match frame.payload.split_first() {
                Some((number, rest)) => Some((*number, rest)),
                // The server answers a WebSocket with an empty message on each stream that it has.
                None => return Ok(None),
            },
            (CONTINUATION, Some(number)) => Some((number, frame.payload.as_slice())),
            (TEXT, _) => return Err(Fault::Framing("text, where binary messages were agreed on")),
            (8.., _) => None,
            _ => return Err(Fault::Framing("a message inside a message")),
        };
        if let Some((number, _)) = found {
            self.open = (!frame.last).then_some(number);
        }
        Ok(found)
    }
}

/// A message of a client, whole.
pub(super) enum Message {
    /// Bytes.
    Data(Vec<u8>),
    /// To be answered with the same bytes.
    Ping(Vec<u8>),
    /// The answer to a ping.
    Pong,
    /// It ends here.
    Close,
}

/// What a client says, message by message.
#[derive(Default)]
pub(super) struct Messages {
    frames: Frames,
    /// The beginning of one that is not whole yet.
    begun: Option<Vec<u8>>,
}

impl Messages {
    /// Takes bytes, cut anywhere.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.frames.push(bytes);
    }

    /// The next message, where it is whole.
    pub(super) fn next(&mut self) -> Result<Option<Message>, Fault> {
        while let Some(frame) = self.frames.next()? {
            let message = match frame.code {
                CONTINUATION | BINARY => {
                    if (frame.code == BINARY) == self.begun.is_some() {
                        return Err(Fault::Framing("a message inside a message, or the rest of none"));
                    }
                    let mut whole = self.begun.take().unwrap_or_default();
                    whole.extend(frame.payload);
                    if whole.len() > LARGEST {
                        return Err(Fault::TooLarge);
                    }
                    if !frame.last {
                        self.begun = Some(whole);
                        continue;
                    }
                    Message::Data(whole)
                }
                8 => Message::Close,
                9 => Message::Ping(frame.payload),
                10 => Message::Pong,
                _ => return Err(Fault::Framing("text, or a frame of no kind")),
            };
            return Ok(Some(message));
        }
        Ok(None)
    }
}

/// Both directions.
#[derive(Default)]
pub(super) struct WebSocket {
    client: Frames,
    server: Frames,
}

impl WebSocket {
    /// Takes bytes of the client, and appends those for the server.
    pub(super) fn take_client(
        &mut self,
        bytes: &[u8],
        channels: &mut Channels,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.client.push(bytes);
        while let Some(frame) = self.client.next()? {
            if let Some((number, data)) = self.client.data(&frame)?
                && let Some(channel) = Channel::of_number(number)
            {
                channels.typed(channel, data);
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
        self.server.push(bytes);
        while let Some(frame) = self.server.next()? {
            match self.server.data(&frame)? {
                Some((number, data)) => match Channel::of_number(number) {
                    Some(channel) => {
                        // How it ended comes when its output is through.
                        if channel == Channel::Error {
                            Self::flush(channels, out);
                        }
                        write(number, &channels.show(channel, data), out);
                        if data.is_empty() {
                            frame_of(number, &[], out);
                        }
                    }
                    // v5: the end of a stream.
                    None if number == 255 => frame_of(number, data, out),
                    None => return Err(Fault::Framing("a stream that none was agreed on for")),
                },
                None => {
                    Self::flush(channels, out);
                    out.extend_from_slice(&frame.raw);
                }
            }
        }
        Ok(())
    }

    /// Appends what waits of the server's output.
    pub(super) fn flush(channels: &mut Channels, out: &mut Vec<u8>) {
        for (number, channel) in [(1, Channel::Stdout), (2, Channel::Stderr)] {
            write(number, &channels.flush(channel), out);
        }
    }
}

fn write(number: u8, data: &[u8], out: &mut Vec<u8>) {
    data.chunks(PIECE).for_each(|piece| frame_of(number, piece, out));
}

fn frame_of(number: u8, data: &[u8], out: &mut Vec<u8>) {
    head(0x80 | BINARY, data.len() + 1, out);
    out.push(number);
    out.extend_from_slice(data);
}

/// A whole message of ours, by its first byte.
pub(super) fn message(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    head(first, payload.len(), out);
    out.extend_from_slice(payload);
}

/// How a frame of a server begins, which masks nothing (RFC 6455, section 5.1).
fn head(first: u8, length: usize, out: &mut Vec<u8>) {
    out.push(first);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length), _) if length < 126 => out.push(length),
        (_, Ok(length)) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}
