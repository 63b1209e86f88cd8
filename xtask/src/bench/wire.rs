//! A client that measures what psql cannot: when the first row is here. In: a server that trusts us. Out: lines with
//! microseconds. It must never parse rows while the clock runs: its own cost would be part of every number.

use std::io::{Read, Write, stdin};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

/// Rows of a long read.
pub(super) const ROWS: u32 = 100_000;
const QUERY: &str = "select id, email, card, note from customers";
/// What ends every answer: ReadyForQuery, idle (protocol-message-formats).
const READY: &[u8] = b"Z\0\0\0\x05I";

struct Client {
    stream: TcpStream,
    /// The end of what was read, as much as tells whether an answer is whole.
    tail: Vec<u8>,
}

/// Reads all rows, several times on one connection; prints microseconds to the first row and to the end.
pub(super) fn read(server: SocketAddr, times: u32) -> Result<()> {
    let mut client = Client::connect(server)?;
    for _ in 0..times {
        let start = Instant::now();
        client.query(QUERY)?;
        let first = client.first_row(start)?;
        client.finish()?;
        println!("{first} {}", start.elapsed().as_micros());
        let tag = format!("SELECT {ROWS}\0");
        ensure!(client.tail.windows(tag.len()).any(|part| part == tag.as_bytes()), "the read ended without its rows");
    }
    Ok(())
}

/// Opens sessions, prints a line, and keeps them until its input ends.
pub(super) fn hold(server: SocketAddr, sessions: usize) -> Result<()> {
    let held = (0..sessions)
        .map(|_| {
            let mut client = Client::connect(server)?;
            client.query("select 1")?;
            client.finish()?;
            Ok(client)
        })
        .collect::<Result<Vec<_>>>()?;
    println!("holds {}", held.len());
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

impl Client {
    fn connect(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server).with_context(|| format!("cannot reach {server}"))?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, tail: Vec::new() };
        let body = b"\0\x03\0\0user\0agent\0database\0shop\0\0";
        client.send(&[&length(body.len())?, body.as_slice()].concat())?;
        client.finish()?;
        Ok(client)
    }

    fn query(&mut self, text: &str) -> Result<()> {
        self.send(&[b"Q", length(text.len() + 1)?.as_slice(), text.as_bytes(), b"\0"].concat())
    }

    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.tail.clear();
        self.stream.write_all(message).context("the server is gone")
    }

    /// Microseconds until the first DataRow: the message behind the RowDescription.
    fn first_row(&mut self, start: Instant) -> Result<u128> {
        loop {
            self.receive()?;
            let behind = self.tail.get(1..5).and_then(|size| size.first_chunk()).map(|size| u32::from_be_bytes(*size));
            let Some(size) = behind else { continue };
            if let Some(tag) = self.tail.get(size as usize + 1) {
                let first = start.elapsed().as_micros();
                ensure!(*tag == b'D', "no row came first: {}", String::from_utf8_lossy(&self.tail));
                return Ok(first);
            }
        }
    }

    fn finish(&mut self) -> Result<()> {
        while !self.tail.ends_with(READY) {
            self.receive()?;
            let surplus = self.tail.len().saturating_sub(256);
            self.tail.drain(..surplus);
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        let mut buffer = [0; 64 * 1024];
        let count = self.stream.read(&mut buffer)?;
        if count == 0 {
            bail!("the server closed the connection: {}", String::from_utf8_lossy(&self.tail));
        }
        self.tail.extend_from_slice(buffer.get(..count).unwrap_or_default());
        Ok(())
    }
}

fn length(body: usize) -> Result<[u8; 4]> {
    Ok(u32::try_from(body + 4)?.to_be_bytes())
}
