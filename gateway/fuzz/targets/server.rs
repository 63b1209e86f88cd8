//! A server that keeps to the protocol, as far as its own answers go (protocol-flow, postgres.c). In: what it is sent,
//! and a byte that says when it fails. Out: its answers, in order.

use std::collections::{BTreeMap, VecDeque};

/// The server's side of a session.
#[derive(Default)]
pub struct Server {
    statements: BTreeMap<Vec<u8>, Text>,
    portals: BTreeMap<Vec<u8>, Text>,
    /// After an error of the extended protocol: nothing until Sync.
    skips: bool,
    copies: Option<Copy>,
    runs: u32,
}

type Text = Vec<u8>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Copy {
    Simple,
    Extended,
}

impl Server {
    /// Answers whole messages. `judged` holds, for each Execute in them, the text that it was judged by.
    pub fn answer(&mut self, mut bytes: &[u8], judged: &mut VecDeque<String>, fate: u8) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while let Some(&[tag, a, b, c, d]) = bytes.first_chunk::<5>() {
            let size = u32::from_be_bytes([a, b, c, d]) as usize + 1;
            let (message, rest) = bytes.split_at(size);
            bytes = rest;
            self.runs = self.runs.wrapping_mul(5).wrapping_add(u32::from(fate));
            let runs = (tag == b'E').then(|| judged.pop_front().expect("no Execute is sent that was not judged"));
            if let (Some(judged), Some(text)) = (runs, self.would_run(&message[5..])) {
                assert_eq!(judged.as_bytes(), text, "it runs what was judged");
            }
            self.take(tag, &message[5..], &mut out);
        }
        out
    }

    /// The text of the portal that an Execute names, if it is going to run.
    fn would_run(&self, body: &[u8]) -> Option<&[u8]> {
        let (portal, _) = string(body)?;
        let reads = !self.skips && self.copies.is_none();
        self.portals.get(portal).filter(|_| reads).map(Vec::as_slice)
    }

    fn take(&mut self, tag: u8, body: &[u8], out: &mut Vec<Vec<u8>>) {
        if let Some(copy) = self.copies {
            return self.take_copy(copy, tag, out);
        }
        match tag {
            b'S' => {
                self.skips = false;
                // The implicit transaction ends, and its portals with it.
                self.portals.clear();
                out.push(framed(b'Z', b"I"));
            }
            b'X' | b'H' | b'd' | b'c' | b'f' => {}
            _ if self.skips => {}
            b'Q' => self.query(body, out),
            _ => self.extended(tag, body, out),
        }
    }

    fn take_copy(&mut self, copy: Copy, tag: u8, out: &mut Vec<Vec<u8>>) {
        match tag {
            b'd' | b'H' | b'S' => return,
            b'c' if !self.fails() => out.push(framed(b'C', b"COPY 1\0")),
            // CopyFail, and every other message, fails the statement.
            _ => {
                out.push(error());
                self.skips = copy == Copy::Extended;
            }
        }
        self.copies = None;
        if copy == Copy::Simple {
            out.push(framed(b'Z', b"I"));
        }
    }

    fn query(&mut self, body: &[u8], out: &mut Vec<Vec<u8>>) {
        self.statements.remove(&b""[..]);
        self.portals.remove(&b""[..]);
        let text = body.strip_suffix(b"\0").unwrap_or(body);
        if !self.run(text, Copy::Simple, out) {
            return;
        }
        // The implicit transaction of a simple query ends, and its portals with it.
        self.portals.clear();
        out.push(framed(b'Z', b"I"));
    }

    /// Runs a text; false when the client's COPY data comes first.
    fn run(&mut self, text: &[u8], copy: Copy, out: &mut Vec<Vec<u8>>) -> bool {
        if self.fails() {
            out.push(error());
            self.skips = copy == Copy::Extended;
        } else if text.is_empty() {
            out.push(framed(b'I', b""));
        } else if text.ends_with(b"from stdin") {
            out.push(framed(b'G', b"\0\0\0"));
            self.copies = Some(copy);
            return false;
        } else {
            if text.starts_with(b"select") {
                if copy == Copy::Simple {
                    out.push(framed(b'T', b"\0\0"));
                }
                out.push(framed(b'D', b"\0\0"));
            }
            if text.starts_with(b"discard") {
                self.statements.clear();
                self.portals.clear();
            }
            out.push(framed(b'C', b"SELECT 1\0"));
        }
        true
    }

    fn extended(&mut self, tag: u8, body: &[u8], out: &mut Vec<Vec<u8>>) {
        match self.try_extended(tag, body, out) {
            Some(()) => {}
            None => {
                out.push(error());
                self.skips = true;
            }
        }
    }

    fn try_extended(&mut self, tag: u8, body: &[u8], out: &mut Vec<Vec<u8>>) -> Option<()> {
        let (first, rest) = string(body)?;
        match tag {
            b'P' => {
                let (text, _) = string(rest)?;
                if first.is_empty() {
                    self.statements.remove(first);
                }
                let free = !self.statements.contains_key(first);
                (free && !self.fails()).then(|| self.statements.insert(first.to_vec(), text.to_vec()))?;
                out.push(framed(b'1', b""));
            }
            b'B' => {
                let (statement, _) = string(rest)?;
                let text = self.statements.get(statement)?.clone();
                if first.is_empty() {
                    self.portals.remove(first);
                }
                let free = !self.portals.contains_key(first);
                (free && !self.fails()).then(|| self.portals.insert(first.to_vec(), text))?;
                out.push(framed(b'2', b""));
            }
            b'D' => {
                let (kind, name) = first.split_first()?;
                let of = if *kind == b'S' { &self.statements } else { &self.portals };
                let text = of.get(name)?;
                if *kind == b'S' {
                    out.push(framed(b't', b"\0\0"));
                }
                let rows = text.starts_with(b"select");
                out.push(if rows { framed(b'T', b"\0\0") } else { framed(b'n', b"") });
            }
            b'C' => {
                let (kind, name) = first.split_first()?;
                if *kind == b'S' {
                    self.statements.remove(name)
                } else {
                    self.portals.remove(name)
                };
                out.push(framed(b'3', b""));
            }
            b'E' => {
                let text = self.portals.get(first)?.clone();
                self.run(&text, Copy::Extended, out);
            }
            _ => return None,
        }
        Some(())
    }

    /// Now and then.
    fn fails(&self) -> bool {
        self.runs % 7 == 3
    }
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn error() -> Vec<u8> {
    framed(b'E', b"SERROR\0C22012\0Mno\0\0")
}

/// A message of this tag.
pub fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![tag];
    message.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend(body);
    message
}
