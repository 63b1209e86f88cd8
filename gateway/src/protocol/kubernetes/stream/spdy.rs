//! SPDY/3.1 frames of exec and attach, as clients before WebSocket send them.
//!
//! In: bytes of either side, cut anywhere. Out: what goes on: of the client all of it, of the server the same streams,
//! masked. Headers are read where the client opens a stream, since they say which stream it is; they are never rewritten.
//! It must never pass a frame on that it did not understand.

pub(super) mod frame;

use std::collections::HashMap;

use super::channel::{Channel, Channels, Fault};
use frame::{FIN, Frame, Frames, GOAWAY, RST_STREAM, SYN_STREAM, Unfold, value, write};

/// An exec has five.
const MOST_STREAMS: usize = 64;

/// Both directions.
#[derive(Default)]
pub(super) struct Spdy {
    client: Frames,
    server: Frames,
    headers: Unfold,
    streams: HashMap<u32, Channel>,
}

impl Spdy {
    /// Takes bytes of the client, and appends those for the server.
    pub(super) fn take_client(
        &mut self,
        bytes: &[u8],
        channels: &mut Channels,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.client.push(bytes);
        while let Some(frame) = self.client.next()? {
            match frame.kind {
                Some(SYN_STREAM) => self.open(&frame)?,
                // Names and values that come later say nothing of an exec, but belong to what is compressed.
                Some(2 | 8) => {
                    self.headers.unfold(frame.payload.get(4..).unwrap_or_default())?;
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
        self.server.push(bytes);
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
        let headers = self.headers.unfold(frame.payload.get(10..).unwrap_or_default())?;
        let kind = value(&headers, b"streamtype").ok_or(Fault::Framing("a stream of no type"))?;
        let channel = Channel::of_name(kind).ok_or(Fault::Framing("a stream of a type that exec does not have"))?;
        if self.streams.values().any(|known| *known == channel) || self.streams.insert(frame.stream, channel).is_some()
        {
            return Err(Fault::Framing("two streams of one type"));
        }
        Ok(())
    }
}
