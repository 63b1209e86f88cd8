//! SFTP, version 3, between a client and a server.
//!
//! In: the bytes of both directions, cut anywhere, and the caller's answers. Out: operations that need a decision, packets
//! that may go on, refusals for the client, and what was transferred. No I/O. Nothing of the client's goes on that was not
//! understood: what follows on an open file was decided when it was opened, a handle that no server gave us is refused,
//! an extension that we do not read is never offered. Memory is bounded by one packet for each direction, and by caps on
//! open files and requests.

mod operation;
mod packet;
mod request;
mod transfer;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use operation::MOST;
pub use operation::{Fault, Operation};
pub use packet::Attributes;
use packet::{Field, Fields, Stream};
use request::Request;
pub(crate) use transfer::Progress;
pub use transfer::{Direction, Transfer};

/// The longest handle (draft-ietf-secsh-filexfer-02, section 6.2).
const LONGEST_HANDLE: usize = 256;
/// The longest text of a refusal.
const LONGEST_TEXT: usize = 1_024;

/// What the client's next packet needs.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on to the server.
    Forward(Passed),
    /// A decision: [`Sftp::allow`] or [`Sftp::deny`]. Until then nothing more of the client's is read.
    Ask(Operation),
    /// Nothing of it goes on, and the client is told so.
    Refuse {
        /// The reply for the client.
        reply: Bytes,
        /// Why.
        reason: String,
    },
}

/// A packet that goes on.
#[derive(Debug, PartialEq, Eq)]
pub struct Passed {
    /// The packet.
    pub bytes: Bytes,
    /// The part of a file that it carries.
    pub content: Option<Content>,
}

/// A part of a file in a packet.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    /// The file.
    pub path: Arc<str>,
    /// Which way it goes.
    pub direction: Direction,
    /// Where in the file.
    pub offset: u64,
    /// Where in the packet.
    pub at: Range<usize>,
}

/// One SFTP session. `R` is what the caller wants back with the transfers of a request that it let pass.
#[derive(Debug)]
pub struct Sftp<R> {
    client: Stream,
    server: Stream,
    awaits: Awaits,
    asked: Option<Asked>,
    pending: HashMap<u32, Pending<R>>,
    open: HashMap<Vec<u8>, File<R>>,
    opened: u64,
    done: Vec<Transfer<R>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    ClientVersion,
    ServerVersion,
    Requests,
}

/// A request that waits for a decision.
#[derive(Debug)]
struct Asked {
    id: u32,
    kind: u8,
    packet: BytesMut,
    operation: Operation,
}

/// A request that waits for its reply.
#[derive(Debug)]
enum Pending<R> {
    Opens {
        request: R,
        path: Arc<str>,
        reads: bool,
        writes: bool,
        appends: bool,
    },
    OpensFolder {
        request: R,
        path: Arc<str>,
    },
    Closes {
        handle: Vec<u8>,
        number: u64,
    },
    Reads {
        handle: Vec<u8>,
        number: u64,
        offset: u64,
        length: usize,
    },
    Writes {
        handle: Vec<u8>,
        number: u64,
    },
    /// Anything whose reply says no more than these types do.
    Expects(&'static [u8]),
}

/// A file or folder that is open.
#[derive(Debug)]
struct File<R> {
    number: u64,
    request: R,
    path: Arc<str>,
    read: Option<Progress>,
    written: Option<Progress>,
    is_closing: bool,
}

impl<R: Clone> Sftp<R> {
    /// A session of which nothing was said yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            client: Stream::default(),
            server: Stream::default(),
            awaits: Awaits::ClientVersion,
            asked: None,
            pending: HashMap::new(),
            open: HashMap::new(),
            opened: 0,
            done: Vec::new(),
        }
    }

    /// Takes bytes of the client's.
    pub fn push_client(&mut self, chunk: &[u8]) {
        self.client.push(chunk);
    }

    /// Takes bytes of the server's.
    pub fn push_server(&mut self, chunk: &[u8]) {
        self.server.push(chunk);
    }

    /// How much of the client's was not read yet: its caller stops taking more.
    #[must_use]
    pub fn held(&self) -> usize {
        self.client.held()
    }

    /// What the client's next packet needs; none while a packet is not whole, or a decision is awaited.
    ///
    /// # Errors
    /// Where the client breaks the protocol.
    pub fn next_client(&mut self) -> Result<Option<Step>, Fault> {
        if self.asked.is_some() {
            return Ok(None);
        }
        let Some(packet) = self.client.next()? else { return Ok(None) };
        if self.awaits == Awaits::ClientVersion {
            let (kind, _) = Fields::of(&packet)?;
            if kind != packet::INIT {
                return Err(Fault::Version);
            }
            self.awaits = Awaits::ServerVersion;
            let ours = packet::packet(packet::INIT, &[Field::Number(3)]);
            return Ok(Some(Step::Forward(Passed { bytes: ours.into(), content: None })));
        }
        self.request(packet).map(Some)
    }

    fn request(&mut self, packet: BytesMut) -> Result<Step, Fault> {
        let (id, kind, request) = request::read(&packet)?;
        if self.pending.contains_key(&id) {
            return Err(Fault::IdInUse(id));
        }
        if self.pending.len() >= MOST {
            return Err(Fault::TooMany);
        }
        let mut content = None;
        let pending = match request {
            Request::Asks(operation) => {
                self.asked = Some(Asked { id, kind, packet, operation: operation.clone() });
                return Ok(Step::Ask(operation));
            }
            Request::AsksOf(handle, attributes) => {
                let Some(file) = self.open.get(handle) else { return Ok(no_such_handle(id)) };
                let operation = Operation::Attributes { path: file.path.to_string(), attributes };
                self.asked = Some(Asked { id, kind, packet, operation: operation.clone() });
                return Ok(Step::Ask(operation));
            }
            Request::Unknown(name) => {
                return Ok(Step::Refuse {
                    reply: status(id, packet::OP_UNSUPPORTED, "this extension is not passed on"),
                    reason: format!("the sftp extension `{name}` is not read"),
                });
            }
            Request::Plain => Pending::Expects(&[packet::STATUS, packet::EXTENDED_REPLY]),
            Request::Copies { from, to } => {
                if !self.open.contains_key(from) {
                    return Ok(no_such_handle(id));
                }
                // What is copied over there does not pass by here.
                let Some(file) = self.open.get_mut(to) else { return Ok(no_such_handle(id)) };
                file.written.iter_mut().for_each(Progress::disorder);
                Pending::Expects(&[packet::STATUS])
            }
            Request::Of(handle) => {
                if !self.open.contains_key(handle) {
                    return Ok(no_such_handle(id));
                }
                Pending::Expects(&[packet::STATUS, packet::ATTRS, packet::NAME, packet::EXTENDED_REPLY])
            }
            Request::Close(handle) => {
                let Some(file) = self.open.get_mut(handle) else { return Ok(no_such_handle(id)) };
                file.is_closing = true;
                Pending::Closes { handle: handle.to_vec(), number: file.number }
            }
            Request::Read { handle, offset, length } => {
                let Some(file) = self.open.get(handle) else { return Ok(no_such_handle(id)) };
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                Pending::Reads { handle: handle.to_vec(), number: file.number, offset, length }
            }
            Request::Write { handle, offset, data } => {
                let Some(file) = self.open.get_mut(handle) else { return Ok(no_such_handle(id)) };
                if let Some(progress) = &mut file.written {
                    progress.add(offset, data);
                }
                let at = packet.len() - data.len()..packet.len();
                content = Some(Content { path: Arc::clone(&file.path), direction: Direction::Write, offset, at });
                Pending::Writes { handle: handle.to_vec(), number: file.number }
            }
        };
        self.pending.insert(id, pending);
        Ok(Step::Forward(Passed { bytes: packet.freeze(), content }))
    }

    /// The request that was asked about goes on; `request` comes back with what it transfers. None: nothing was asked.
    pub fn allow(&mut self, request: R) -> Option<Passed> {
        let Asked { id, kind, packet, operation } = self.asked.take()?;
        let pending = match operation {
            Operation::Open { path, reads, writes, appends, .. } => {
                Pending::Opens { request, path: path.into(), reads, writes, appends }
            }
            Operation::List { path } => Pending::OpensFolder { request, path: path.into() },
            Operation::Look { .. } => Pending::Expects(match kind {
                packet::LSTAT | packet::STAT => &[packet::STATUS, packet::ATTRS],
                packet::EXTENDED => &[packet::STATUS, packet::NAME, packet::EXTENDED_REPLY],
                _ => &[packet::STATUS, packet::NAME],
            }),
            _ => Pending::Expects(&[packet::STATUS]),
        };
        self.pending.insert(id, pending);
        Some(Passed { bytes: packet.freeze(), content: None })
    }

    /// The request that was asked about does not go on: the reply for the client, with the reason. None: nothing was
    /// asked.
    pub fn deny(&mut self, reason: &str) -> Option<Bytes> {
        let asked = self.asked.take()?;
        Some(status(asked.id, packet::PERMISSION_DENIED, reason))
    }

    /// The server's next packet, for the client; none while it is not whole.
    ///
    /// # Errors
    /// Where the server breaks the protocol.
    pub fn next_server(&mut self) -> Result<Option<Passed>, Fault> {
        let Some(packet) = self.server.next()? else { return Ok(None) };
        match self.awaits {
            Awaits::ClientVersion => Err(Fault::Version),
            Awaits::ServerVersion => {
                let version = version(&packet)?;
                self.awaits = Awaits::Requests;
                Ok(Some(Passed { bytes: version.into(), content: None }))
            }
            Awaits::Requests => self.reply(packet).map(Some),
        }
    }

    fn reply(&mut self, packet: BytesMut) -> Result<Passed, Fault> {
        let (kind, mut fields) = Fields::of(&packet)?;
        let id = fields.number()?;
        let pending = self.pending.remove(&id).ok_or(Fault::Reply(id))?;
        let code = if kind == packet::STATUS { Some(fields.number()?) } else { None };
        let mut content = None;
        match (pending, kind) {
            (Pending::Expects(kinds), kind) if kinds.contains(&kind) => {}
            (Pending::Opens { .. } | Pending::OpensFolder { .. }, packet::STATUS) => {}
            (Pending::Opens { request, path, reads, writes, appends }, packet::HANDLE) => {
                let progress = |is_wanted: bool| is_wanted.then(Progress::default);
                let mut written = progress(writes);
                if appends {
                    written.iter_mut().for_each(Progress::disorder);
                }
                let file = File { number: 0, request, path, read: progress(reads), written, is_closing: false };
                self.opened(&mut fields, id, file)?;
            }
            (Pending::OpensFolder { request, path }, packet::HANDLE) => {
                let file = File { number: 0, request, path, read: None, written: None, is_closing: false };
                self.opened(&mut fields, id, file)?;
            }
            (Pending::Closes { handle, number }, packet::STATUS) => {
                if self.open.get(&handle).is_some_and(|file| file.number == number)
                    && let Some(file) = self.open.remove(&handle)
                {
                    self.finish(file, code == Some(0));
                }
            }
            // The end of the file is told by a status.
            (Pending::Reads { .. }, packet::STATUS) => {}
            (Pending::Reads { handle, number, offset, length }, packet::DATA) => {
                let data = fields.bytes()?;
                fields.end()?;
                if data.len() > length {
                    return Err(Fault::Reply(id));
                }
                if let Some(file) = self.open.get_mut(&handle).filter(|file| file.number == number) {
                    if let Some(progress) = &mut file.read {
                        progress.add(offset, data);
                    }
                    let at = packet.len() - data.len()..packet.len();
                    content = Some(Content { path: Arc::clone(&file.path), direction: Direction::Read, offset, at });
                }
            }
            (Pending::Writes { handle, number }, packet::STATUS) => {
                let file = self.open.get_mut(&handle).filter(|file| file.number == number && code != Some(0));
                file.and_then(|file| file.written.as_mut()).into_iter().for_each(Progress::fail);
            }
            _ => return Err(Fault::Reply(id)),
        }
        Ok(Passed { bytes: packet.freeze(), content })
    }

    /// A server may use a handle again as soon as it has closed it.
    fn opened(&mut self, fields: &mut Fields<'_>, id: u32, mut file: File<R>) -> Result<(), Fault> {
        let handle = fields.bytes()?.to_vec();
        fields.end()?;
        if handle.len() > LONGEST_HANDLE || self.open.get(&handle).is_some_and(|open| !open.is_closing) {
            return Err(Fault::Reply(id));
        }
        if self.open.len() >= MOST {
            return Err(Fault::TooMany);
        }
        self.opened += 1;
        file.number = self.opened;
        if let Some(before) = self.open.insert(handle, file) {
            self.finish(before, true);
        }
        Ok(())
    }

    fn finish(&mut self, file: File<R>, is_closed: bool) {
        let File { request, path, read, written, .. } = file;
        let read = read.map(|progress| progress.end(request.clone(), &path, Direction::Read, is_closed));
        let written = written.map(|progress| progress.end(request, &path, Direction::Write, is_closed));
        // A file that was opened for both, as editors do, was read only if something was.
        let read = read.filter(|transfer| written.is_none() || transfer.bytes > 0);
        self.done.extend(read.into_iter().chain(written));
    }

    /// Files that were closed since this was asked.
    pub fn transfers(&mut self) -> Vec<Transfer<R>> {
        std::mem::take(&mut self.done)
    }

    /// All others, when nothing more comes: they are not complete.
    pub fn end(mut self) -> Vec<Transfer<R>> {
        let open: Vec<_> = self.open.drain().map(|(_, file)| file).collect();
        for file in open {
            self.finish(file, false);
        }
        self.done
    }
}

impl<R: Clone> Default for Sftp<R> {
    fn default() -> Self {
        Self::new()
    }
}

/// The server's version, with those of its extensions that we read.
fn version(packet: &[u8]) -> Result<Vec<u8>, Fault> {
    let (kind, mut fields) = Fields::of(packet)?;
    if kind != packet::VERSION {
        return Err(Fault::Version);
    }
    let version = fields.number()?;
    if version != 3 {
        return Err(Fault::OtherVersion(version));
    }
    let mut kept = vec![Field::Number(3)];
    while fields.left() > 0 {
        let (name, data) = (fields.bytes()?, fields.bytes()?);
        if request::EXTENSIONS.iter().any(|known| known.as_bytes() == name) {
            kept.extend([Field::Bytes(name), Field::Bytes(data)]);
        }
    }
    Ok(packet::packet(packet::VERSION, &kept))
}

fn no_such_handle(id: u32) -> Step {
    let reason = "no open file has this handle";
    Step::Refuse { reply: status(id, packet::PERMISSION_DENIED, reason), reason: reason.to_owned() }
}

/// `SSH_FXP_STATUS`, its text in one line and without control characters.
fn status(id: u32, code: u32, text: &str) -> Bytes {
    let text: String = text.chars().map(|next| if next.is_control() { ' ' } else { next }).collect();
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    packet::packet(
        packet::STATUS,
        &[Field::Number(id), Field::Number(code), Field::Bytes(text.as_bytes()), Field::Bytes(b"en")],
    )
    .into()
}

#[cfg(test)]
mod tests;
