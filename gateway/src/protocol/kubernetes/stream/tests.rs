//! Frames in, frames out, cut anywhere: the streams are the same but for masks, and what is no frame ends them.

use flate2::{Compress, Compression, FlushCompress};

use super::channel::{Channel, Channels, Fault, Heard};
use super::spdy::Spdy;
use super::websocket::WebSocket;
use crate::masking::Masking;

fn channels() -> Channels {
    Channels::new(&Masking::default().detectors)
}

/// Frames of one side, each a stream and its bytes.
type Pieces<'a> = &'a [(u8, &'a [u8])];

fn frames(pieces: Pieces<'_>, masks: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, data) in pieces {
        let mut payload = vec![*number];
        payload.extend_from_slice(data);
        out.push(0x82);
        let flag = if masks { 0x80 } else { 0 };
        if payload.len() < 126 {
            out.push(flag | u8::try_from(payload.len()).unwrap());
        } else {
            out.push(flag | 126);
            out.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
        if masks {
            out.extend_from_slice(&[1, 2, 3, 4]);
            payload.iter_mut().zip([1, 2, 3, 4].into_iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        }
        out.extend(payload);
    }
    out
}

/// What each stream of a server's frames says, together.
fn unframed(mut bytes: &[u8]) -> [Vec<u8>; 4] {
    let mut streams = <[Vec<u8>; 4]>::default();
    while !bytes.is_empty() {
        let (length, head) = if bytes[1] < 126 {
            (usize::from(bytes[1]), 2)
        } else {
            (usize::from(bytes[2]) << 8 | usize::from(bytes[3]), 4)
        };
        let payload = &bytes[head..head + length];
        if bytes[0] == 0x82 && length > 0 {
            streams[usize::from(payload[0])].extend_from_slice(&payload[1..]);
        }
        bytes = &bytes[head + length..];
    }
    streams
}

#[test]
fn websocket_output_is_masked_wherever_it_is_cut() {
    let long = "x".repeat(300);
    let bytes = frames(
        &[
            (1, b"card 4111-11"),
            (1, b"11-1111-1111 done\n"),
            (2, b"also 4111111111111111"),
            (1, long.as_bytes()),
            (3, br#"{"status":"Success"}"#),
        ],
        false,
    );
    for size in [1, 2, 3, 7, 1000] {
        let (mut socket, mut channels, mut out) = (WebSocket::default(), channels(), Vec::new());
        for chunk in bytes.chunks(size) {
            socket.take_server(chunk, &mut channels, &mut out).unwrap();
        }
        WebSocket::flush(&mut channels, &mut out);
        let [_, stdout, stderr, error] = unframed(&out);
        assert_eq!(String::from_utf8(stdout).unwrap(), format!("card ******************* done\n{long}"), "{size}");
        assert_eq!(stderr, b"also ****************");
        assert_eq!((error.as_slice(), channels.exit_status()), (&br#"{"status":"Success"}"#[..], Some(0)));
    }
}

#[test]
fn websocket_input_goes_on_as_it_is_and_its_size_is_heard() {
    let mut bytes = frames(&[(0, b"secret\n"), (4, br#"{"Width":80,"Height":24}"#)], true);
    bytes.extend([0x89, 0x80, 0, 0, 0, 0]);
    for size in [1, 5, 100] {
        let (mut socket, mut channels, mut out) = (WebSocket::default(), channels(), Vec::new());
        for chunk in bytes.chunks(size) {
            socket.take_client(chunk, &mut channels, &mut out).unwrap();
        }
        assert_eq!(out, bytes);
        assert_eq!(channels.take(), [Heard::Typed(7), Heard::Resized(80, 24)]);
    }
}

#[test]
fn websocket_messages_in_fragments_keep_their_stream() {
    let (mut socket, mut channels, mut out) = (WebSocket::default(), channels(), Vec::new());
    socket.take_server(&[0x02, 3, 1, b'a', b'b', 0x80, 2, b'c', b'd'], &mut channels, &mut out).unwrap();
    WebSocket::flush(&mut channels, &mut out);
    assert_eq!(unframed(&out)[1], b"abcd");
}

#[test]
fn what_is_no_websocket_frame_ends_the_stream() {
    let take = |bytes: &[u8]| WebSocket::default().take_server(bytes, &mut channels(), &mut Vec::new());
    assert!(matches!(take(&[0x81, 1, b'a']), Err(Fault::Framing(_))), "text");
    assert!(matches!(take(&[0xc2, 1, 1]), Err(Fault::Framing(_))), "compressed");
    assert!(matches!(take(&[0x82, 1, 9]), Err(Fault::Framing(_))), "a stream that nobody has");
    assert!(matches!(take(&[0x80, 1, 9]), Err(Fault::Framing(_))), "the rest of nothing");
    assert_eq!(take(&[0x82, 127, 1, 0, 0, 0, 0, 0, 0, 0]), Err(Fault::TooLarge));
}

/// A client that opens streams as spdystream does, with one compressor for all headers.
struct Client(Compress);

impl Client {
    fn new() -> Self {
        let mut compress = Compress::new(Compression::default(), true);
        compress.set_dictionary(&super::spdy::frame::DICTIONARY).unwrap();
        Self(compress)
    }

    fn open(&mut self, stream: u32, kind: &str) -> Vec<u8> {
        let mut headers = 1_u32.to_be_bytes().to_vec();
        for text in ["streamtype", kind] {
            headers.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            headers.extend(text.as_bytes());
        }
        let mut block = Vec::with_capacity(1_024);
        self.0.compress_vec(&headers, &mut block, FlushCompress::Sync).unwrap();
        let mut payload = stream.to_be_bytes().to_vec();
        payload.extend([0; 6]);
        payload.extend(block);
        let mut frame = vec![0x80, 3, 0, 1, 0, 0];
        frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend(payload);
        frame
    }
}

fn data(stream: u32, flags: u8, bytes: &[u8]) -> Vec<u8> {
    let mut frame = stream.to_be_bytes().to_vec();
    frame.extend([flags, 0, 0, u8::try_from(bytes.len()).unwrap()]);
    frame.extend(bytes);
    frame
}

/// What a stream of a server's frames says, together.
fn of_stream(mut bytes: &[u8], stream: u32) -> Vec<u8> {
    let mut all = Vec::new();
    while let [a, b, c, d, _, _, e, f, rest @ ..] = bytes {
        let (payload, after) = rest.split_at(usize::from(*e) << 8 | usize::from(*f));
        if u32::from_be_bytes([*a, *b, *c, *d]) == stream {
            all.extend_from_slice(payload);
        }
        bytes = after;
    }
    all
}

#[test]
fn spdy_output_is_masked_wherever_it_is_cut() {
    let mut client = Client::new();
    let opened = [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")]
        .map(|(stream, kind)| client.open(stream, kind))
        .concat();
    let ping = [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1];
    let server = [
        data(5, 0, b"card 4111-11"),
        ping.to_vec(),
        data(5, 1, b"11-1111-1111"),
        data(1, 1, br#"{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#),
    ]
    .concat();
    for size in [1, 3, 64, 1000] {
        let (mut spdy, mut channels, mut out, mut back) = (Spdy::default(), channels(), Vec::new(), Vec::new());
        let typed = [opened.clone(), data(3, 1, b"secret")].concat();
        for chunk in typed.chunks(size) {
            spdy.take_client(chunk, &mut channels, &mut out).unwrap();
        }
        assert_eq!(out, typed);
        for chunk in server.chunks(size) {
            spdy.take_server(chunk, &mut channels, &mut back).unwrap();
        }
        assert_eq!(String::from_utf8(of_stream(&back, 5)).unwrap(), "card *******************");
        assert!(back.windows(ping.len()).any(|part| part == ping));
        assert_eq!(channels.exit_status(), Some(7));
        assert_eq!(channels.take()[0], Heard::Typed(6));
    }
}

#[test]
fn spdy_output_that_waits_comes_before_what_ends_its_stream() {
    for end in
        [[0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 5], [0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]]
    {
        let (mut spdy, mut channels, mut out) = (Spdy::default(), channels(), Vec::new());
        spdy.take_client(&Client::new().open(5, "stdout"), &mut channels, &mut Vec::new()).unwrap();
        let waits = data(5, 0, b"4111-11");
        spdy.take_server(&waits, &mut channels, &mut out).unwrap();
        assert_eq!(of_stream(&out, 5), b"", "it waits");
        out.clear();
        spdy.take_server(&end, &mut channels, &mut out).unwrap();
        assert_eq!(out, [&waits[..], &end].concat());
    }
}

#[test]
fn what_is_no_spdy_frame_ends_the_stream() {
    let mut client = Client::new();
    let stdout = client.open(1, "stdout");
    let again = client.open(3, "stdout");
    let take_client = |bytes: &[u8]| Spdy::default().take_client(bytes, &mut channels(), &mut Vec::new());
    assert!(take_client(&stdout).is_ok());
    assert!(matches!(take_client(&[stdout.clone(), again].concat()), Err(Fault::Framing(_))), "two of a type");
    assert!(matches!(take_client(&Client::new().open(1, "port")), Err(Fault::Framing(_))), "another type");
    assert!(matches!(take_client(&[0x80, 2, 0, 1, 0, 0, 0, 0]), Err(Fault::Framing(_))), "SPDY/2");
    assert_eq!(take_client(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff]), Err(Fault::TooLarge));
    assert!(
        matches!(
            take_client(&[0x80, 3, 0, 1, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9, 9]),
            Err(Fault::Framing(_))
        ),
        "headers"
    );
    let take_server = |bytes: &[u8]| Spdy::default().take_server(bytes, &mut channels(), &mut Vec::new());
    assert!(matches!(take_server(&data(5, 0, b"x")), Err(Fault::Framing(_))), "a stream that nobody opened");
    assert!(
        matches!(take_server(&Client::new().open(2, "stdout")), Err(Fault::Framing(_))),
        "a stream of the server's"
    );
}

#[test]
fn streams_have_numbers_and_names() {
    assert_eq!(Channel::of_number(1), Channel::of_name(b"stdout"));
    assert_eq!((Channel::of_number(5), Channel::of_name(b"data")), (None, None));
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let (mut channels, mut out) = (channels(), Vec::new());
        let (mut socket, mut spdy) = (WebSocket::default(), Spdy::default());
        let _ = socket.take_client(&bytes, &mut channels, &mut out);
        let _ = socket.take_server(&bytes, &mut channels, &mut out);
        let _ = spdy.take_client(&bytes, &mut channels, &mut out);
        let _ = spdy.take_server(&bytes, &mut channels, &mut out);
    }
}
