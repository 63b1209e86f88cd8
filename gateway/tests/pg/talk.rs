//! A client that keeps every byte that it gets.
//!
//! In: a side of a shop's host, parameters of the startup packet, frames. Out: the messages of the server, or of the
//! gateway in its name. The process on that side is socat, so what the gateway intercepts is a connect of its cgroup.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::shop::{Shop, Side};
use crate::wait;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One message of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type byte.
    pub kind: u8,
    /// What stands behind type and length.
    pub body: Vec<u8>,
}

/// A field of a message that consists of letters and texts.
fn field(body: &[u8], letter: u8) -> Option<String> {
    let texts = body.split(|byte| *byte == 0).filter(|text| text.first() == Some(&letter));
    texts.map(|text| String::from_utf8_lossy(&text[1..]).into_owned()).next()
}

impl Message {
    /// The error of the gateway itself: a server's names the routine that raised it.
    pub fn refusal(&self) -> Option<String> {
        (self.kind == b'E' && field(&self.body, b'R').is_none()).then(|| field(&self.body, b'M').unwrap_or_default())
    }

    /// The values of a row; none of another message.
    pub fn cells(&self) -> Vec<Option<&[u8]>> {
        let mut cells = Vec::new();
        if self.kind != b'D' {
            return cells;
        }
        let mut rest = &self.body[2..];
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = i32::from_be_bytes(*length);
            let length = usize::try_from(length).ok();
            cells.push(length.map(|length| &after[..length]));
            rest = &after[length.unwrap_or(0)..];
        }
        cells
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let cell = |cell: &Option<&[u8]>| cell.map_or("NULL".to_owned(), |cell| cell.escape_ascii().to_string());
        match self.kind {
            b'D' => format!("D {}", self.cells().iter().map(cell).collect::<Vec<_>>().join(" | ")),
            kind => format!("{} {}", char::from(kind), self.body.escape_ascii()),
        }
    }
}

/// How a statement is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In one Query message.
    Simple,
    /// Parse, Bind, Describe, Execute, Sync; results in text.
    Extended,
    /// The same with results in binary.
    Binary,
}

/// A frame of a client.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

/// Without the Sync that ends a pipeline.
pub fn unsynced(way: Way, statement: &str) -> Vec<u8> {
    let text = statement.as_bytes();
    if way == Way::Simple {
        return frame(b'Q', &[text, b"\0"].concat());
    }
    let format: &[u8] = if way == Way::Binary { b"\0\0\0\0\0\0\0\x01\0\x01" } else { b"\0\0\0\0\0\0\0\0" };
    [
        frame(b'P', &[b"\0", text, b"\0\0\0"].concat()),
        frame(b'B', format),
        frame(b'D', b"P\0"),
        frame(b'E', b"\0\0\0\0\0"),
    ]
    .concat()
}

/// A statement as frames.
pub fn frames(way: Way, statement: &str) -> Vec<u8> {
    let mut frames = unsynced(way, statement);
    if way != Way::Simple {
        frames.extend(frame(b'S', b""));
    }
    frames
}

/// A process on a side that opens connections to the server on request.
pub struct Door {
    socat: Child,
    path: PathBuf,
    database: String,
}

impl Door {
    /// Starts it.
    pub fn new(shop: &Shop, side: Side) -> Self {
        Self::to(shop, side, &shop.database)
    }

    /// The same to another database of the server.
    pub fn to(shop: &Shop, side: Side, database: &str) -> Self {
        let folder = shop.world.directory().join(format!("door-{side:?}"));
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let path = folder.join("socket");
        let (listen, to) = (
            format!("UNIX-LISTEN:{},fork,backlog=64,mode=666", path.display()),
            format!("TCP:{}:5432,nodelay", shop.address),
        );
        let mut socat = shop.command(side, &[], &["socat", "-b65536", "-t0.1", &listen, &to]);
        let socat = socat.stderr(Stdio::null()).spawn().unwrap();
        wait::until("a door", || UnixStream::connect(&path).is_ok());
        Self { socat, path, database: database.to_owned() }
    }

    /// Its socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A connection without a startup packet.
    pub fn silent(&self) -> Talk {
        Talk::to(&self.path)
    }

    /// A session with these parameters beside user and database; and what it was greeted with.
    pub fn with(&self, parameters: &[(&str, &str)]) -> (Talk, Vec<Message>) {
        let mut talk = self.silent();
        let usual = [("user", "agent"), ("database", self.database.as_str())];
        let usual = usual.into_iter().filter(|(name, _)| parameters.iter().all(|(other, _)| other != name));
        let all = usual.chain(parameters.iter().copied());
        let words = all.flat_map(|(name, value)| [name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
        let body: Vec<u8> = b"\0\x03\0\0".iter().copied().chain(words).chain([0]).collect();
        let length = u32::try_from(body.len() + 4).unwrap();
        talk.send(&[&length.to_be_bytes()[..], &body].concat());
        let greeting = talk.answer(1);
        (talk, greeting)
    }

    /// A session of this user as an agent, which comes back for approvals.
    pub fn session(&self, user: &str) -> Talk {
        wait::for_some("a session", || {
            let (talk, greeting) = self.with(&[("user", user), ("application_name", "agent")]);
            greeting.last().is_some_and(|message| message.kind == b'Z').then_some(talk)
        })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = self.socat.kill();
        let _ = self.socat.wait();
        // Another may come in its place.
        let _ = fs::remove_file(&self.path);
    }
}

/// One connection.
pub struct Talk {
    stream: UnixStream,
    unread: Vec<u8>,
}

impl Talk {
    /// A connection without a startup packet.
    pub fn to(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Sends bytes as they are; `false` where the session is over.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next message; none at the end of the session.
    pub fn next(&mut self) -> Option<Message> {
        let mut buffer = vec![0; 65_536];
        loop {
            if let Some((kind, rest)) = self.unread.split_first()
                && let Some((length, rest)) = rest.split_first_chunk::<4>()
                && let Some(body) = rest.get(..u32::from_be_bytes(*length) as usize - 4)
            {
                let message = Message { kind: *kind, body: body.to_vec() };
                self.unread.drain(..5 + message.body.len());
                return Some(message);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.unread.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no answer: {error}; so far {}", self.unread.escape_ascii()),
            }
        }
    }

    /// Messages up to this many ReadyForQuery, or to the end. Whoever asks for rows to copy gets none.
    pub fn answer(&mut self, readies: usize) -> Vec<Message> {
        let (mut messages, mut seen) = (Vec::new(), 0);
        while seen < readies
            && let Some(message) = self.next()
        {
            seen += usize::from(message.kind == b'Z');
            if message.kind == b'G' {
                self.send(&frame(b'c', b""));
            }
            messages.push(message);
        }
        messages
    }

    /// What comes of one statement.
    pub fn ask(&mut self, way: Way, statement: &str) -> Vec<Message> {
        self.send(&frames(way, statement));
        self.answer(1)
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let terminate = frame(b'X', b"");
        self.send(&terminate);
    }
}
