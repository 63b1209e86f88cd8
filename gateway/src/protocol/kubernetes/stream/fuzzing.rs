//! What the fuzz target of frames reaches. In: bytes. Out: what went on, by framing. It must never hold logic of its own.

use super::channel::Channels;
use super::spdy::Spdy;
use super::websocket::WebSocket;
use crate::masking::Masking;

/// The bytes as a client's, in pieces, by each framing; none where they are no frames.
pub(in crate::protocol::kubernetes) fn carry(bytes: &[u8], size: usize) -> [Option<Vec<u8>>; 2] {
    let detectors = Masking::default().detectors;
    let (mut socket, mut spdy) = (WebSocket::default(), Spdy::default());
    let (mut channels, mut streams) = (Channels::new(&detectors), Channels::new(&detectors));
    let (mut out, mut other) = (Some(Vec::new()), Some(Vec::new()));
    for piece in bytes.chunks(size) {
        out = out.take().and_then(|mut out| socket.take_client(piece, &mut channels, &mut out).is_ok().then_some(out));
        other = other.take().and_then(|mut out| spdy.take_client(piece, &mut streams, &mut out).is_ok().then_some(out));
        super::forward::fuzz(piece);
        let _ = WebSocket::default().take_server(piece, &mut channels, &mut Vec::new());
        let _ = spdy.take_server(piece, &mut streams, &mut Vec::new());
    }
    [out, other]
}
