//! Port-forward over SPDY/3.1: each connection is a pair of streams, one of bytes and one of errors.
//!
//! In: bytes of the other side, cut anywhere. Out: what they say of which pair, and bytes to send. It does no I/O and keeps
//! no data. It serves both ends: towards the client it takes pairs, towards the server it opens them.

use std::collections::HashMap;

use super::{Event, Pair, Wire};
use crate::protocol::kubernetes::stream::channel::Fault;
use crate::protocol::kubernetes::stream::spdy::frame::{
    FIN, Fold, Frame, Frames, GOAWAY, PING, RST_STREAM, SYN_REPLY, SYN_STREAM, Unfold, control, reset, value, write,
};

/// Pairs of one connection at once: kubectl opens one for each local connection.
const MOST_PAIRS: usize = 256;
/// The longest name of a pair.
const LONGEST_ID: usize = 64;
/// Statuses of RST_STREAM.
const REFUSED: u32 = 3;
const CANCEL: u32 = 5;

/// A stream, and which of its pair it is.
#[derive(Clone, Copy)]
enum Stream {
    Data(Pair),
    Error(Pair),
}

/// The two streams of a pair, by the time that it is whole; a pair is called by its stream of bytes.
#[derive(Default)]
struct Half {
    data: Option<u32>,
    error: Option<u32>,
    port: u16,
}

/// A whole pair.
struct Whole {
    error: u32,
    /// Answers to SYN_STREAM that are awaited.
    awaited: u8,
    has_ended: bool,
    has_said_error: bool,
}

/// One end of such a connection.
#[derive(Default)]
pub(super) struct Pairs {
    frames: Frames,
    unfold: Unfold,
    fold: Fold,
    halves: HashMap<Vec<u8>, Half>,
    streams: HashMap<u32, Stream>,
    pairs: HashMap<Pair, Whole>,
    /// The highest that was opened, by whoever opens here.
    last: u32,
}

impl Pairs {
    /// Opens a pair; it takes data once [`Event::Ready`] says so.
    pub(super) fn open(&mut self, port: u16, out: &mut Vec<u8>) -> Result<Pair, Fault> {
        if self.pairs.len() >= MOST_PAIRS {
            return Err(Fault::Framing("more connections at once than are opened"));
        }
        let error = if self.last == 0 { 1 } else { self.last + 2 };
        let data = error + 2;
        self.last = data;
        let (port, id) = (port.to_string(), (data / 4).to_string());
        for (stream, kind) in [(error, "error"), (data, "data")] {
            self.fold.open(stream, &[("streamtype", kind), ("port", &port), ("requestid", &id)], out)?;
        }
        // Nothing is said on the stream of errors from this side.
        write(error, FIN, &[], out);
        self.begin(data, error, 2);
        Ok(data)
    }

    fn begin(&mut self, data: Pair, error: u32, awaited: u8) {
        self.streams.insert(data, Stream::Data(data));
        self.streams.insert(error, Stream::Error(data));
        self.pairs.insert(data, Whole { error, awaited, has_ended: false, has_said_error: false });
    }

    fn opened(&mut self, frame: &Frame, events: &mut Vec<Event>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let stream = frame.stream;
        if stream.is_multiple_of(2) || stream <= self.last {
            return Err(Fault::Framing("a stream that was opened before, or is not the client's"));
        }
        self.last = stream;
        let headers = self.unfold.unfold(frame.payload.get(10..).unwrap_or_default())?;
        let text = |name: &[u8]| value(&headers, name).ok_or(Fault::Framing("a stream without type, port or request"));
        let port = std::str::from_utf8(text(b"port")?).ok().and_then(|port| port.parse().ok());
        let port: u16 = port.filter(|port| *port != 0).ok_or(Fault::Framing("a port that is none"))?;
        let id = text(b"requestid")?.to_vec();
        let is_full = !self.halves.contains_key(&id) && self.halves.len() + self.pairs.len() >= MOST_PAIRS;
        if id.len() > LONGEST_ID || is_full {
            reset(stream, REFUSED, out);
            return Ok(());
        }
        let half = self.halves.entry(id.clone()).or_insert_with(|| Half { port, ..Half::default() });
        let place = match text(b"streamtype")? {
            b"data" => &mut half.data,
            b"error" => &mut half.error,
            _ => return Err(Fault::Framing("a stream of a type that port-forward does not have")),
        };
        if half.port != port || place.replace(stream).is_some() {
            return Err(Fault::Framing("two streams of one type, or to two ports"));
        }
        self.fold.reply(stream, out)?;
        if let Some(Half { data: Some(data), error: Some(error), port }) = self.halves.get(&id) {
            let (data, error, port) = (*data, *error, *port);
            self.halves.remove(&id);
            self.begin(data, error, 0);
            events.push(Event::Open(data, port));
        }
        Ok(())
    }

    fn gone(&mut self, pair: Pair, events: &mut Vec<Event>) {
        if let Some(whole) = self.pairs.remove(&pair) {
            self.streams.remove(&pair);
            self.streams.remove(&whole.error);
            events.push(Event::Gone(pair));
        }
    }

    fn replied(&mut self, pair: Pair, events: &mut Vec<Event>) {
        if let Some(whole) = self.pairs.get_mut(&pair).filter(|whole| whole.awaited > 0) {
            whole.awaited -= 1;
            if whole.awaited == 0 {
                events.push(Event::Ready(pair));
            }
        }
    }

    fn data_of(&mut self, frame: Frame, events: &mut Vec<Event>) -> Result<(), Fault> {
        let is_last = frame.flags & FIN != 0;
        match self.streams.get(&frame.stream).copied() {
            Some(Stream::Data(pair)) => {
                if !frame.payload.is_empty() {
                    events.push(Event::Data(pair, frame.payload));
                }
                if is_last {
                    events.push(Event::End(pair));
                }
            }
            Some(Stream::Error(pair)) => {
                if !frame.payload.is_empty() {
                    events.push(Event::Error(pair, frame.payload));
                }
            }
            // Its pair is not whole yet, where only the end of what nobody says may come, or not there any more.
            None if frame.stream > self.last => return Err(Fault::Framing("data of a stream that nobody opened")),
            None => {
                let waits = |half: &Half| half.data == Some(frame.stream);
                if self.halves.values().any(waits) {
                    return Err(Fault::Framing("data of a connection that is not whole"));
                }
            }
        }
        Ok(())
    }
}

impl Wire for Pairs {
    fn take(&mut self, bytes: &[u8], events: &mut Vec<Event>, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.frames.push(bytes);
        while let Some(frame) = self.frames.next()? {
            let of = self.streams.get(&frame.stream).copied();
            match (frame.kind, of) {
                (None, _) => self.data_of(frame, events)?,
                (Some(SYN_STREAM), _) => self.opened(&frame, events, out)?,
                (Some(SYN_REPLY), Some(Stream::Data(pair) | Stream::Error(pair))) => self.replied(pair, events),
                (Some(RST_STREAM), Some(Stream::Data(pair))) => self.gone(pair, events),
                (Some(GOAWAY), _) => events.push(Event::Closed),
                // Ours have even numbers where theirs have odd ones; we send none.
                (Some(PING), _) => control(PING, &frame.payload, out),
                // Settings, windows, which nobody who speaks this heeds, and headers that come later.
                (Some(_), _) => {}
            }
        }
        Ok(())
    }

    fn data(&mut self, pair: Pair, bytes: &[u8], out: &mut Vec<u8>) {
        if self.pairs.get(&pair).is_some_and(|whole| !whole.has_ended) {
            write(pair, 0, bytes, out);
        }
    }

    fn end(&mut self, pair: Pair, out: &mut Vec<u8>) {
        let Some(whole) = self.pairs.get_mut(&pair).filter(|whole| !whole.has_ended) else { return };
        whole.has_ended = true;
        write(pair, FIN, &[], out);
    }

    fn fail(&mut self, pair: Pair, text: &[u8], out: &mut Vec<u8>) {
        let Some(whole) = self.pairs.get_mut(&pair).filter(|whole| !whole.has_said_error) else { return };
        whole.has_said_error = true;
        write(whole.error, FIN, text, out);
    }

    fn close(&mut self, pair: Pair, out: &mut Vec<u8>) {
        let Some(whole) = self.pairs.remove(&pair) else { return };
        self.streams.remove(&pair);
        self.streams.remove(&whole.error);
        if !whole.has_said_error {
            write(whole.error, FIN, &[], out);
        }
        if whole.has_ended { reset(pair, CANCEL, out) } else { write(pair, FIN, &[], out) }
    }
}
