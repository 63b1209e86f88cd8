//! Port-forward over WebSocket: messages of SPDY bytes (`SPDY/3.1+portforward.k8s.io`), or two numbered streams for each
//! port that the request names (`v4.channel.k8s.io`).
//!
//! In: frames of the client, cut anywhere. Out: what they say of which connection, and frames to send. It must never take a
//! number for a port that the request did not name.

use std::collections::BTreeSet;

use super::pairs::Pairs;
use super::{Event, Pair, Wire};
use crate::protocol::kubernetes::stream::channel::Fault;
use crate::protocol::kubernetes::stream::websocket::{Message, Messages, message};

/// A frame that ends it (RFC 6455, section 5.5.1), without a reason.
const CLOSE: [u8; 2] = [0x88, 0];

/// SPDY inside messages.
#[derive(Default)]
pub(super) struct Tunnel {
    messages: Messages,
    pairs: Pairs,
}

/// Answers what is no data.
fn answer(of_control: Message, events: &mut Vec<Event>, out: &mut Vec<u8>) {
    match of_control {
        Message::Ping(payload) => message(0x8a, &payload, out),
        Message::Close => {
            out.extend_from_slice(&CLOSE);
            events.push(Event::Closed);
        }
        Message::Data(_) | Message::Pong => {}
    }
}

impl Tunnel {
    fn wrapped(out: &mut Vec<u8>, make: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        make(&mut bytes);
        if !bytes.is_empty() {
            message(0x82, &bytes, out);
        }
    }
}

impl Wire for Tunnel {
    fn take(&mut self, bytes: &[u8], events: &mut Vec<Event>, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.messages.push(bytes);
        while let Some(message) = self.messages.next()? {
            let Message::Data(payload) = message else {
                answer(message, events, out);
                continue;
            };
            let mut said = Vec::new();
            self.pairs.take(&payload, events, &mut said)?;
            Self::wrapped(out, |out| *out = said);
        }
        Ok(())
    }

    fn data(&mut self, pair: Pair, bytes: &[u8], out: &mut Vec<u8>) {
        Self::wrapped(out, |out| self.pairs.data(pair, bytes, out));
    }

    fn end(&mut self, pair: Pair, out: &mut Vec<u8>) {
        Self::wrapped(out, |out| self.pairs.end(pair, out));
    }

    fn fail(&mut self, pair: Pair, text: &[u8], out: &mut Vec<u8>) {
        Self::wrapped(out, |out| self.pairs.fail(pair, text, out));
    }

    fn close(&mut self, pair: Pair, out: &mut Vec<u8>) {
        Self::wrapped(out, |out| self.pairs.close(pair, out));
    }
}

/// Two streams for each port: bytes and errors; the server begins each with the port's number.
pub(super) struct Numbered {
    messages: Messages,
    ports: Vec<u16>,
    is_announced: bool,
    /// Those on which the server has said all.
    over: BTreeSet<Pair>,
}

impl Numbered {
    /// For the ports that the request names.
    pub(super) fn of(ports: Vec<u16>) -> Self {
        Self { messages: Messages::default(), ports, is_announced: false, over: BTreeSet::new() }
    }

    /// What comes first: a message on each stream that says its port, and all connections are open.
    fn announce(&mut self, events: &mut Vec<Event>, out: &mut Vec<u8>) {
        for (number, port) in (0_u8..).zip(&self.ports) {
            let [low, high] = port.to_le_bytes();
            for stream in [number * 2, number * 2 + 1] {
                message(0x82, &[stream, low, high], out);
            }
            events.push(Event::Open(number.into(), *port));
        }
    }

    fn send(stream: Pair, bytes: &[u8], out: &mut Vec<u8>) {
        if let Ok(number) = u8::try_from(stream) {
            bytes.chunks(32 * 1024).for_each(|piece| message(0x82, &[&[number], piece].concat(), out));
        }
    }
}

impl Wire for Numbered {
    fn take(&mut self, bytes: &[u8], events: &mut Vec<Event>, out: &mut Vec<u8>) -> Result<(), Fault> {
        if !std::mem::replace(&mut self.is_announced, true) {
            self.announce(events, out);
        }
        self.messages.push(bytes);
        while let Some(message) = self.messages.next()? {
            let Message::Data(mut payload) = message else {
                answer(message, events, out);
                continue;
            };
            if payload.is_empty() {
                continue;
            }
            let number = payload.remove(0);
            if usize::from(number / 2) >= self.ports.len() {
                return Err(Fault::Framing("a stream of a port that the request does not name"));
            }
            // Errors are the server's to say.
            if number.is_multiple_of(2) && !payload.is_empty() {
                events.push(Event::Data(Pair::from(number / 2), payload));
            }
        }
        Ok(())
    }

    fn data(&mut self, pair: Pair, bytes: &[u8], out: &mut Vec<u8>) {
        Self::send(pair * 2, bytes, out);
    }

    /// There is no word for the end of one stream: as servers do, all is closed once each port has said all. Clients wait
    /// for it.
    fn end(&mut self, pair: Pair, out: &mut Vec<u8>) {
        self.close(pair, out);
    }

    fn fail(&mut self, pair: Pair, text: &[u8], out: &mut Vec<u8>) {
        Self::send(pair * 2 + 1, text, out);
    }

    fn close(&mut self, pair: Pair, out: &mut Vec<u8>) {
        if self.over.insert(pair) && self.over.len() == self.ports.len() {
            out.extend_from_slice(&CLOSE);
        }
    }
}
