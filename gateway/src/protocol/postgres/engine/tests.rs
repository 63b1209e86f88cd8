//! The query phase on streams in memory: what waits, what goes on, and what a lost side ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::conn::BoxConn;
use crate::protocol::postgres::encoding::Speech;
use crate::protocol::postgres::fake::{Fake, message};
use crate::protocol::postgres::interrupt::Interrupt;
use crate::protocol::postgres::judge::Dial;
use crate::protocol::postgres::state::Transaction;
use crate::upstream::tls::{TlsMode, UpstreamTls};

/// A way to a server that is not there.
struct Nowhere;

impl Dial for Nowhere {
    fn dial(&self) -> std::pin::Pin<Box<dyn Future<Output = Result<BoxConn, std::io::Error>> + Send + '_>> {
        Box::pin(std::future::ready(Err(std::io::ErrorKind::ConnectionRefused.into())))
    }
}

/// A session between two pipes: the client's end, the server's end, and how it ends.
fn session() -> (DuplexStream, DuplexStream, tokio::task::JoinHandle<End>, Arc<Fake>) {
    session_with(1 << 20)
}

/// The same, with pipes that hold this much.
fn session_with(pipe: usize) -> (DuplexStream, DuplexStream, tokio::task::JoinHandle<End>, Arc<Fake>) {
    let (client, near) = duplex(pipe);
    let (far, server) = duplex(pipe);
    let tls = UpstreamTls::new(TlsMode::Disable, None, None, None).unwrap();
    let session = Session {
        client: Box::new(near),
        from_client: Inbox::default(),
        server: Box::new(far),
        from_server: Inbox::default(),
        transaction: Transaction::Idle,
        speech: Speech::default(),
        interrupt: Arc::new(Interrupt::new(Arc::new(Nowhere), tls, 1, vec![0; 4])),
        key: None,
    };
    let judge = Arc::new(Fake::default());
    let limits =
        Limits { end: Duration::from_millis(50), max_statement: 10_000, max_parameters: 10_000, ..Limits::default() };
    let end = tokio::spawn(run(session, Arc::clone(&judge), limits));
    (client, server, end, judge)
}

/// What a client sends, what of it reaches the server, what the server answers, and what of that reaches the client.
fn conversation() -> [Vec<u8>; 4] {
    let parse = message(b'P', b"s\0SELECT 7 masked\0\0\0");
    let bind = message(b'B', b"\0s\0\0\0\0\0\0\0");
    let execute = message(b'E', &[0; 5]);
    let query = message(b'Q', b"SELECT 2\0");
    let sync = message(b'S', b"");
    let client = [&parse, &bind, &execute, &sync, &message(b'Q', b"forbidden\0"), &query].map(Vec::as_slice).concat();
    let mut describe = Vec::new();
    ours::describe_portal(b"", &mut describe);
    let to_server = [&parse, &bind, &describe, &execute, &sync, &query].map(Vec::as_slice).concat();
    let start = [message(b'1', b""), message(b'2', b"")].concat();
    let ready = message(b'Z', b"I");
    let tail = [message(b'C', b"SELECT 1\0"), ready.clone()].concat();
    let second =
        [message(b'N', b"Mhello\0\0"), message(b'T', b"\0\0"), message(b'D', &[7; 300]), tail.clone()].concat();
    let server = [&start, &message(b'T', b"\0\0"), &message(b'D', b"\0\x01\0\0\0\x017"), &tail, &second]
        .map(Vec::as_slice)
        .concat();
    let denied = [Denial::error(SqlState::DENIED, "no").to_bytes(), ready].concat();
    let to_client = [&start, &message(b'D', b"\0\x01\0\0\0\x01*"), &tail, &denied, &second].map(Vec::as_slice).concat();
    [client, to_server, server, to_client]
}

async fn write_cut(stream: &mut DuplexStream, bytes: &[u8], cut: usize) {
    let (first, second) = bytes.split_at(cut.min(bytes.len()));
    stream.write_all(first).await.unwrap();
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    stream.write_all(second).await.unwrap();
}

async fn read_exactly(stream: &mut DuplexStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut bytes)).await.expect("all of it").unwrap();
    bytes
}

#[tokio::test]
async fn a_conversation_cut_at_any_byte_is_the_same_conversation() {
    let [client_says, server_hears, server_says, client_hears] = conversation();
    for cut in 0..=client_says.len().max(server_says.len()) {
        let (mut client, mut server, end, judge) = session();
        write_cut(&mut client, &client_says, cut).await;
        assert_eq!(read_exactly(&mut server, server_hears.len()).await, server_hears, "cut at {cut}");
        write_cut(&mut server, &server_says, cut).await;
        assert_eq!(read_exactly(&mut client, client_hears.len()).await, client_hears, "cut at {cut}");
        client.write_all(ours::TERMINATE).await.unwrap();
        assert_eq!(read_exactly(&mut server, 5).await, ours::TERMINATE);
        drop(server);
        let end = end.await.unwrap();
        assert!(matches!(end.cause, Cause::ClientClosed));
        assert_eq!((end.counters.statements, end.counters.denied, end.counters.rows), (2, 1, 2));
        assert_eq!(*judge.outcomes.lock(), ["SELECT 7 masked: SELECT 1", "SELECT 2: SELECT 1"]);
    }
}

#[tokio::test]
async fn a_held_message_stops_neither_the_server_nor_the_end_of_the_client() {
    let (mut client, mut server, end, _) = session();
    client
        .write_all(&[message(b'Q', b"SELECT 1\0"), message(b'Q', b"held\0"), message(b'Q', b"SELECT 3\0")].concat())
        .await
        .unwrap();
    assert_eq!(read_exactly(&mut server, 14).await, message(b'Q', b"SELECT 1\0"));
    let answer = [message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
    server.write_all(&answer).await.unwrap();
    assert_eq!(read_exactly(&mut client, answer.len()).await, answer);
    drop(client);
    assert_eq!(read_exactly(&mut server, 5).await, ours::TERMINATE);
    drop(server);
    assert!(matches!(end.await.unwrap().cause, Cause::ClientLost));
}

#[tokio::test]
async fn a_slow_side_stops_the_other_and_lets_it_go_on() {
    for pipe in [1_000, 50_000, 70_000, 100_000, 200_000] {
        let (mut client, mut server, end, _) = session_with(pipe);
        client.write_all(&message(b'Q', b"COPY t FROM STDIN\0")).await.unwrap();
        read_exactly(&mut server, 23).await;
        server.write_all(&message(b'G', b"")).await.unwrap();
        read_exactly(&mut client, 5).await;
        // The server reads by fits and starts, and says nothing.
        let piece = message(b'd', &[7; 30_000]);
        let total = piece.len() * 40;
        let writer = tokio::spawn(async move {
            for _ in 0..40 {
                client.write_all(&piece).await.unwrap();
            }
            client
        });
        let mut read = 0;
        while read < total {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            read += read_exactly(&mut server, (total - read).min(90_000)).await.len();
        }
        let mut client = writer.await.unwrap();
        client.write_all(&message(b'c', b"")).await.unwrap();
        read_exactly(&mut server, 10).await;
        // And the client by fits and starts.
        let rows = message(b'D', &[7; 30_000]);
        let total = rows.len() * 40;
        let writer = tokio::spawn(async move {
            for _ in 0..40 {
                server.write_all(&rows).await.unwrap();
            }
            server
        });
        let mut read = 0;
        while read < total {
            tokio::task::yield_now().await;
            read += read_exactly(&mut client, (total - read).min(90_000)).await.len();
        }
        drop((client, writer.await.unwrap()));
        end.await.unwrap();
    }
}

/// A small generator of its own (xorshift, Marsaglia 2003), so that a failure can be run again from its seed.
struct Noise(u64);

impl Noise {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 8).unwrap() % below
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.next(4) {
            let at = self.next(bytes.len());
            match self.next(4) {
                0 => bytes[at] = u8::try_from(self.next(256)).unwrap(),
                1 => bytes.truncate(at + 1),
                2 => drop(bytes.remove(at)),
                _ => {
                    let piece = bytes[at..(at + self.next(40)).min(bytes.len())].to_vec();
                    let to = self.next(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
            if bytes.is_empty() {
                bytes.push(b'Q');
            }
        }
    }
}

#[tokio::test]
async fn mutated_conversations_end_without_a_panic_and_in_bounded_memory() {
    let [client_says, _, server_says, _] = conversation();
    let start = std::time::Instant::now();
    let mut seed = 1;
    while start.elapsed() < Duration::from_secs(2) {
        seed += 1;
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let (mut from_client, mut from_server) = (client_says.clone(), server_says.clone());
        noise.mutate(&mut from_client);
        noise.mutate(&mut from_server);
        let (mut client, mut server, end, _) = session();
        client.write_all(&from_client).await.unwrap();
        for _ in 0..noise.next(6) {
            tokio::task::yield_now().await;
        }
        let _ = server.write_all(&from_server).await;
        tokio::task::yield_now().await;
        drop((client, server));
        let end = tokio::time::timeout(Duration::from_secs(10), end).await;
        assert!(matches!(end, Ok(Ok(_))), "seed {seed}");
    }
    assert!(seed > 100);
}

#[test]
fn mutated_first_packets_are_read_or_refused() {
    let mut packet = vec![0, 0, 0, 41, 0, 3, 0, 0];
    packet.extend(b"user\0al\0options\0-c a=b\\ c\0x\0y\0\0");
    for seed in 1..20_000 {
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut bytes = packet.clone();
        noise.mutate(&mut bytes);
        use crate::protocol::postgres::startup::{First, read};
        if let Ok(Some((First::Startup(message), _))) = read(&bytes)
            && let Ok(startup) = crate::protocol::postgres::settings::Startup::read(&message)
        {
            assert!(startup.to_message("x", 0x0003_0000).len() < 2 * bytes.len() + 200);
        }
    }
}
