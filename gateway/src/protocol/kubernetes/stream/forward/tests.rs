//! Wires of port-forward, end against end: what one says the other hears, cut anywhere, and what is none ends it.

use super::numbered::{Numbered, Tunnel};
use super::pairs::Pairs;
use super::{Event, Wire};
use crate::protocol::kubernetes::stream::channel::Fault;
use crate::protocol::kubernetes::stream::spdy::frame::{Fold, write};
use crate::protocol::kubernetes::stream::websocket::message;

/// What a wire hears of bytes in pieces, and what it sends.
fn hear(wire: &mut impl Wire, bytes: &[u8], size: usize) -> (Vec<Event>, Vec<u8>) {
    let (mut events, mut out) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(size) {
        wire.take(piece, &mut events, &mut out).unwrap();
    }
    (events, out)
}

fn refused(wire: &mut impl Wire, bytes: &[u8]) -> bool {
    matches!(wire.take(bytes, &mut Vec::new(), &mut Vec::new()), Err(Fault::Framing(_) | Fault::TooLarge))
}

#[test]
fn both_ends_of_a_pair_agree_wherever_it_is_cut() {
    for size in [1, 3, 64, 4_096] {
        let (mut near, mut far, mut said) = (Pairs::default(), Pairs::default(), Vec::new());
        let first = near.open(5432, &mut said).unwrap();
        let second = near.open(22, &mut said).unwrap();
        let (events, answers) = hear(&mut far, &said, size);
        assert_eq!(events, [Event::Open(first, 5432), Event::Open(second, 22)]);
        assert_eq!(hear(&mut near, &answers, size).0, [Event::Ready(first), Event::Ready(second)]);
        let mut said = Vec::new();
        near.data(first, &[7; 40_000], &mut said);
        near.end(first, &mut said);
        let (events, _) = hear(&mut far, &said, size);
        let bytes: usize =
            events.iter().map(|event| if let Event::Data(_, bytes) = event { bytes.len() } else { 0 }).sum();
        assert_eq!((bytes, events.last()), (40_000, Some(&Event::End(first))));
        let mut said = Vec::new();
        far.fail(second, b"nobody listens", &mut said);
        far.close(second, &mut said);
        let (events, _) = hear(&mut near, &said, size);
        assert_eq!(events, [Event::Error(second, b"nobody listens".to_vec()), Event::End(second)]);
        let mut late = Vec::new();
        far.data(second, b"more", &mut late);
        assert!(late.is_empty(), "nothing is said on what was closed");
    }
}

#[test]
fn a_reset_closes_a_pair_and_a_ping_is_answered() {
    let (mut near, mut far, mut said) = (Pairs::default(), Pairs::default(), Vec::new());
    let pair = near.open(80, &mut said).unwrap();
    hear(&mut far, &said, 1_000);
    let reset = [&[0x80, 3, 0, 3, 0, 0, 0, 8][..], &pair.to_be_bytes(), &[0, 0, 0, 5]].concat();
    let ping = [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1];
    let (events, out) = hear(&mut far, &[&reset[..], &ping].concat(), 1_000);
    assert_eq!((events, out.as_slice()), (vec![Event::Gone(pair)], &ping[..]));
}

#[test]
fn streams_that_are_no_pair_end_it() {
    let opened = |headers: &[(&str, &str)], stream: u32, fold: &mut Fold| {
        let mut out = Vec::new();
        fold.open(stream, headers, &mut out).unwrap();
        out
    };
    let of = |kind, port| [("streamtype", kind), ("port", port), ("requestid", "0")];
    for headers in [of("data", "0"), of("data", "70000"), of("data", "x"), of("stdin", "80")] {
        assert!(refused(&mut Pairs::default(), &opened(&headers, 1, &mut Fold::default())), "{headers:?}");
    }
    assert!(refused(&mut Pairs::default(), &opened(&of("data", "80")[..2], 1, &mut Fold::default())), "no request");
    assert!(refused(&mut Pairs::default(), &opened(&of("data", "80"), 2, &mut Fold::default())), "a server's number");
    let mut fold = Fold::default();
    let two = [opened(&of("error", "80"), 1, &mut fold), opened(&of("data", "81"), 3, &mut fold)].concat();
    assert!(refused(&mut Pairs::default(), &two), "two ports");
    let mut early = opened(&of("data", "80"), 1, &mut Fold::default());
    write(1, 0, b"x", &mut early);
    assert!(refused(&mut Pairs::default(), &early), "data before the pair is whole");
    let mut of_nobody = Vec::new();
    write(9, 0, b"x", &mut of_nobody);
    assert!(refused(&mut Pairs::default(), &of_nobody));
}

#[test]
fn there_are_so_many_connections_and_no_more() {
    let (mut far, mut fold) = (Pairs::default(), Fold::default());
    let (mut events, mut out) = (Vec::new(), Vec::new());
    for number in 0..300_u32 {
        let id = number.to_string();
        for (stream, kind) in [(number * 4 + 1, "error"), (number * 4 + 3, "data")] {
            let mut said = Vec::new();
            fold.open(stream, &[("streamtype", kind), ("port", "80"), ("requestid", &id)], &mut said).unwrap();
            far.take(&said, &mut events, &mut out).unwrap();
        }
    }
    assert_eq!(events.len(), 256);
    assert!(out.windows(4).any(|bytes| bytes == [0x80, 3, 0, 3]), "the rest is reset");
}

#[test]
fn a_tunnel_is_the_same_in_messages() {
    let (mut near, mut said) = (Pairs::default(), Vec::new());
    let pair = near.open(5432, &mut said).unwrap();
    let (begin, rest) = said.split_at(20);
    let mut framed = Vec::new();
    // One message in two frames, and a ping between them.
    message(0x02, begin, &mut framed);
    message(0x89, b"hi", &mut framed);
    message(0x80, rest, &mut framed);
    let mut far = Tunnel::default();
    let (events, out) = hear(&mut far, &framed, 5);
    assert_eq!(events, [Event::Open(pair, 5432)]);
    assert_eq!(out[..4], [0x8a, 2, b'h', b'i']);
    let mut closing = Vec::new();
    message(0x88, &[], &mut closing);
    assert_eq!(hear(&mut far, &closing, 1), (vec![Event::Closed], vec![0x88, 0]));
    let text = [0x81, 1, b'x'];
    assert!(refused(&mut Tunnel::default(), &text), "text");
    assert!(refused(&mut Tunnel::default(), &[0x80, 1, b'x']), "the rest of no message");
}

#[test]
fn numbered_streams_are_those_of_the_ports_that_were_named() {
    let mut wire = Numbered::of(vec![5432, 80]);
    let (mut events, mut out) = (Vec::new(), Vec::new());
    wire.take(&[], &mut events, &mut out).unwrap();
    assert_eq!(events, [Event::Open(0, 5432), Event::Open(1, 80)]);
    let [low, high] = 5432_u16.to_le_bytes();
    assert_eq!(out[..10], [0x82, 3, 0, low, high, 0x82, 3, 1, low, high]);
    let mut said = Vec::new();
    message(0x82, &[2, b'x'], &mut said);
    assert_eq!(hear(&mut wire, &said, 1).0, [Event::Data(1, b"x".to_vec())]);
    let mut other = Vec::new();
    message(0x82, &[4, b'x'], &mut other);
    assert!(refused(&mut wire, &other));
    let mut out = Vec::new();
    wire.end(0, &mut out);
    wire.close(0, &mut out);
    assert!(out.is_empty(), "the other port goes on");
    wire.end(1, &mut out);
    assert_eq!(out, [0x88, 0], "a client that waits for the end of what it reads closes nothing");
    wire.close(1, &mut out);
    assert_eq!(out, [0x88, 0]);
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let (mut events, mut out) = (Vec::new(), Vec::new());
        let _ = Pairs::default().take(&bytes, &mut events, &mut out);
        let _ = Tunnel::default().take(&bytes, &mut events, &mut out);
        let _ = Numbered::of(vec![80]).take(&bytes, &mut events, &mut out);
    }
}
