//! What passes between a client and a server, kept byte by byte.
//!
//! In: a door, and clients of any kind that connect to a unix socket. Out: every exchange, a request with its answers, in
//! order. It changes nothing and adds nothing.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::talk::{Door, Message, Talk};

/// What a client sent up to the point where it waits, and what it got.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    /// Messages of the client.
    pub asked: Vec<Message>,
    /// Messages of the server, up to ReadyForQuery or a wish for rows to copy.
    pub answers: Vec<Message>,
}

impl Exchange {
    /// The text that was asked for, if it was a Query.
    pub fn text(&self) -> String {
        let query = self.asked.iter().find(|message| message.kind == b'Q' || message.kind == b'P');
        query
            .map(|message| String::from_utf8_lossy(&message.body).trim_end_matches('\0').to_owned())
            .unwrap_or_default()
    }
}

/// What passed over one connection, cut into messages as it passed.
struct Connection {
    asked: Vec<u8>,
    answered: Vec<u8>,
    /// Whether the next message is a startup packet, which has no type.
    begins: bool,
    open: Exchange,
    whole: Vec<Exchange>,
}

impl Connection {
    fn new() -> Self {
        Self { asked: vec![], answered: vec![], begins: true, open: Exchange::default(), whole: vec![] }
    }

    fn pass(&mut self, is_client: bool, bytes: &[u8]) {
        if is_client {
            self.asked.extend_from_slice(bytes);
            self.open.asked.extend(cut(&mut self.asked, &mut self.begins));
            return;
        }
        self.answered.extend_from_slice(bytes);
        for message in cut(&mut self.answered, &mut false) {
            let is_end = matches!(message.kind, b'Z' | b'G');
            self.open.answers.push(message);
            if is_end {
                self.whole.push(std::mem::take(&mut self.open));
            }
        }
    }
}

/// Where libpq looks in a folder.
const SOCKET: &str = ".s.PGSQL.5432";
/// Object ids below are the same on all servers of a version (FirstNormalObjectId, transam.h).
const FIRST_OF_USERS: u32 = 16_384;

/// Which object id of one side is which of the other: what they are depends on what else a server has done.
#[derive(Default)]
pub struct Ids {
    same: HashMap<u32, u32>,
}

impl Ids {
    /// What two servers said to the same, without what differs between any two sessions: settings and key of the greeting,
    /// process ids of notifications, object ids of descriptions, which are those of `theirs` where they are as before.
    pub fn plain(&mut self, ours: &Exchange, theirs: &Exchange) -> [Vec<Message>; 2] {
        let [mut our, mut their] = [ours, theirs].map(|exchange| {
            let greets = exchange.answers.iter().any(|message| message.kind == b'K');
            let told = exchange.answers.iter().filter(|message| !greets || !matches!(message.kind, b'S' | b'K'));
            told.cloned().collect::<Vec<_>>()
        });
        for (our, their) in our.iter_mut().zip(&mut their) {
            self.align(our, their);
        }
        [our, their]
    }

    fn align(&mut self, our: &mut Message, their: &mut Message) {
        if (our.kind, our.body.len()) != (their.kind, their.body.len()) {
            return;
        }
        match our.kind {
            b'A' => [our, their].into_iter().for_each(|message| message.body[..4].fill(0)),
            b't' => (2..our.body.len()).step_by(4).for_each(|at| self.rename(our, their, at)),
            b'T' => {
                let mut at = 2;
                // Name, table, number, type, size, modifier, format.
                while let Some(end) = our.body[at..].iter().position(|byte| *byte == 0) {
                    at += end + 1;
                    self.rename(our, their, at);
                    self.rename(our, their, at + 6);
                    at += 18;
                }
            }
            _ => {}
        }
    }

    fn rename(&mut self, our: &mut Message, their: &Message, at: usize) {
        let number = |message: &Message| u32::from_be_bytes(message.body[at..at + 4].try_into().unwrap());
        let (ours, theirs) = (number(our), number(their));
        if ours >= FIRST_OF_USERS && theirs >= FIRST_OF_USERS {
            let same = *self.same.entry(ours).or_insert(theirs);
            our.body[at..at + 4].copy_from_slice(&same.to_be_bytes());
        }
    }
}

/// A listener that keeps what it relays.
pub struct Tap {
    folder: PathBuf,
    connections: Arc<Mutex<Vec<Arc<Mutex<Connection>>>>>,
}

impl Tap {
    /// Listens in `folder`, where libpq looks for the socket of port 5432.
    pub fn new(door: &Door, folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let path = folder.join(SOCKET);
        let listener = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let connections: Arc<Mutex<Vec<Arc<Mutex<Connection>>>>> = Arc::default();
        let (kept, to) = (Arc::clone(&connections), door.path().to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = UnixStream::connect(&to) else { return };
                let connection = Arc::new(Mutex::new(Connection::new()));
                kept.lock().push(Arc::clone(&connection));
                let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let other = Arc::clone(&connection);
                std::thread::spawn(move || relay(client, server, true, &connection));
                std::thread::spawn(move || relay(server_too, client_too, false, &other));
            }
        });
        Self { folder: folder.to_owned(), connections }
    }

    /// Where it listens.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A connection of ours to it.
    pub fn silent(&self) -> Talk {
        Talk::to(&self.folder.join(SOCKET))
    }

    /// All exchanges since the last look, those that were not finished too, of connections that are looked at no more.
    pub fn taken(&self) -> Vec<Exchange> {
        let connections = std::mem::take(&mut *self.connections.lock());
        let all = |connection: &Arc<Mutex<Connection>>| {
            let mut connection = connection.lock();
            let open = Some(std::mem::take(&mut connection.open)).filter(|open| !open.answers.is_empty());
            std::mem::take(&mut connection.whole).into_iter().chain(open)
        };
        connections.iter().flat_map(all).collect()
    }

    /// The finished exchanges since the last look.
    pub fn finished(&self) -> Vec<Exchange> {
        let connections = self.connections.lock();
        connections.iter().flat_map(|connection| std::mem::take(&mut connection.lock().whole)).collect()
    }
}

fn relay(mut from: UnixStream, mut to: UnixStream, is_client: bool, connection: &Mutex<Connection>) {
    let mut buffer = vec![0; 65_536];
    loop {
        match from.read(&mut buffer) {
            Ok(count @ 1..) => {
                let bytes = &buffer[..count];
                connection.lock().pass(is_client, bytes);
                if to.write_all(bytes).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// The messages of one direction, from the front of its bytes.
fn cut(bytes: &mut Vec<u8>, is_first: &mut bool) -> Vec<Message> {
    let mut messages = Vec::new();
    loop {
        let head = usize::from(!*is_first);
        let Some(length) = bytes.get(head..head + 4) else { return messages };
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let Some(body) = bytes.get(head + 4..head + length) else { return messages };
        let kind = if *is_first { 0 } else { bytes[0] };
        messages.push(Message { kind, body: body.to_vec() });
        *is_first = false;
        bytes.drain(..head + length);
    }
}
