//! The old protocol of scp (`scp -t`, `scp -f`), between a client and a server.
//!
//! In: how the server's scp was called, the bytes of both directions, cut anywhere, and the caller's answers. Out:
//! operations that need a decision, bytes that may go on, refusals for both sides, and what was transferred. No I/O. The
//! two sides take turns: whatever a side says before its turn waits, so that data is never taken for a record. A name that
//! leads out of its folder ends the session, whichever side sends it.

mod record;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::sftp::{Direction, Progress, Transfer};
use super::shell::{Certainty, Command};
use record::Record;

/// The longest line of a record or message. OpenSSH reads 2,048 bytes.
const LONGEST: usize = 8 * 1024;
/// Folders inside folders.
const DEEPEST: usize = 256;

/// Why a session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No record of the protocol.
    #[error("an scp record that is malformed")]
    Malformed,
    /// A line without an end.
    #[error("an scp record longer than {LONGEST} bytes")]
    TooLong,
    /// A name that is empty, `.`, `..`, or holds a slash.
    #[error("an scp record names `{0}`, which leads out of its folder")]
    Name(String),
    /// The receiving side spoke when nothing was asked of it.
    #[error("scp's receiving side answers what nobody asked")]
    Unasked,
}

/// A side of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The one that was intercepted.
    Client,
    /// The one that runs `scp -t` or `scp -f`.
    Server,
}

/// What a record would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read a file of the server's.
    Read {
        /// Its path.
        path: String,
        /// Its length.
        size: u64,
    },
    /// Write a file of the server's.
    Write {
        /// Its path; two, where it depends on whether the first one is a folder.
        paths: Vec<String>,
        /// Its length.
        size: u64,
        /// Its mode.
        mode: u32,
    },
    /// Make a folder of the server's, or enter it.
    MakeDirectory {
        /// Its path, likewise.
        paths: Vec<String>,
        /// Its mode.
        mode: u32,
    },
    /// List a folder of the server's.
    List {
        /// Its path.
        path: String,
    },
}

/// What the session needs next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// These bytes go on.
    Pass {
        /// To this side.
        to: Peer,
        /// The bytes.
        bytes: Bytes,
        /// The part of a file that they are.
        content: Option<Content>,
    },
    /// A decision: [`Scp::allow`] or [`Scp::deny`]. Until then nothing goes on.
    Ask(Operation),
}

/// A part of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    /// The file.
    pub path: Arc<str>,
    /// Where in the file.
    pub offset: u64,
    /// Where in the bytes.
    pub at: Range<usize>,
}

/// One session. `R` is what the caller wants back with the transfers of a record that it let pass.
#[derive(Debug)]
pub struct Scp<R> {
    /// Who sends files.
    source: Peer,
    operands: Vec<String>,
    /// The target is a folder, as the client says.
    is_folder: bool,
    folders: Vec<String>,
    sent: BytesMut,
    answered: BytesMut,
    turn: Turn,
    asked: Option<Asked>,
    file: Option<File<R>>,
    ready: VecDeque<Step>,
    done: Vec<Transfer<R>>,
}

/// Whose turn it is, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The receiving side has to answer: to nothing, at the beginning.
    Answer(After),
    Record,
    Data {
        left: u64,
    },
    /// Behind the data: whether it could all be read.
    Status,
}

/// What an answer is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Plain,
    File { size: u64 },
    Folder,
    Data,
}

#[derive(Debug)]
struct Asked {
    bytes: Bytes,
    record: Record,
    path: String,
}

#[derive(Debug)]
struct File<R> {
    request: R,
    path: Arc<str>,
    progress: Progress,
    offset: u64,
}

impl<R: Clone> Scp<R> {
    /// The session of a server's scp that was called so. None: it is not called so, or with options that are not known.
    #[must_use]
    pub fn of(command: &Command) -> Option<Self> {
        if command.name.as_deref() != Some("scp") {
            return None;
        }
        let (mut source, mut is_folder) = (None, false);
        let mut rest = command.arguments.iter().peekable();
        while let Some(letters) = rest.peek().and_then(|argument| argument.known()?.strip_prefix('-')) {
            rest.next();
            if letters == "-" {
                break;
            }
            for letter in letters.chars() {
                match letter {
                    't' if source.is_none() => source = Some(Peer::Client),
                    'f' if source.is_none() => source = Some(Peer::Server),
                    'd' => is_folder = true,
                    'v' | 'r' | 'p' | 'q' => {}
                    _ => return None,
                }
            }
        }
        let source = source?;
        let operands: Vec<_> = rest.collect();
        let is_read = |certainty| match source {
            Peer::Client => certainty == Certainty::Known,
            Peer::Server => certainty != Certainty::Unknown,
        };
        let is_counted = if source == Peer::Client { operands.len() == 1 } else { !operands.is_empty() };
        if !is_counted || !operands.iter().all(|operand| is_read(operand.certainty)) {
            return None;
        }
        Some(Self {
            source,
            operands: operands.iter().map(|operand| operand.text.clone()).collect(),
            is_folder,
            folders: Vec::new(),
            sent: BytesMut::new(),
            answered: BytesMut::new(),
            turn: Turn::Answer(After::Plain),
            asked: None,
            file: None,
            ready: VecDeque::new(),
            done: Vec::new(),
        })
    }

    /// Which way files go.
    #[must_use]
    pub fn direction(&self) -> Direction {
        if self.source == Peer::Client { Direction::Write } else { Direction::Read }
    }

    /// Takes bytes of a side.
    pub fn push(&mut self, from: Peer, chunk: &[u8]) {
        if from == self.source { self.sent.extend_from_slice(chunk) } else { self.answered.extend_from_slice(chunk) }
    }

    /// How much of a side was not read yet: its caller stops taking more.
    #[must_use]
    pub fn held(&self, from: Peer) -> usize {
        if from == self.source { self.sent.len() } else { self.answered.len() }
    }

    /// What is next; none while bytes are missing, or a decision is awaited.
    ///
    /// # Errors
    /// Where a side breaks the protocol.
    pub fn step(&mut self) -> Result<Option<Step>, Fault> {
        if self.asked.is_some() {
            return Ok(None);
        }
        if let Some(step) = self.ready.pop_front() {
            return Ok(Some(step));
        }
        if !matches!(self.turn, Turn::Answer(_)) && !self.answered.is_empty() {
            return Err(Fault::Unasked);
        }
        match self.turn {
            Turn::Answer(after) => self.answer(after),
            Turn::Record => self.record(),
            Turn::Data { left } => Ok(self.data(left)),
            Turn::Status => self.status(),
        }
    }

    fn receiver(&self) -> Peer {
        if self.source == Peer::Client { Peer::Server } else { Peer::Client }
    }

    fn pass(&self, to: Peer, bytes: impl Into<Bytes>) -> Step {
        Step::Pass { to, bytes: bytes.into(), content: None }
    }

    /// The receiving side's word: a zero, or why not, in a line.
    fn answer(&mut self, after: After) -> Result<Option<Step>, Fault> {
        let Some(bytes) = message(&mut self.answered)? else { return Ok(None) };
        let is_good = bytes.first() == Some(&0);
        self.turn = match after {
            After::File { size } if is_good => Turn::Data { left: size },
            _ => Turn::Record,
        };
        if matches!(after, After::Folder) && !is_good {
            self.folders.pop();
        }
        if !is_good && let Some(file) = &mut self.file {
            file.progress.fail();
        }
        if matches!(after, After::Data) || (matches!(after, After::File { .. }) && !is_good) {
            self.finish(true);
        }
        // No data follows an empty file's length, but its status.
        if self.turn == (Turn::Data { left: 0 }) {
            self.turn = Turn::Status;
        }
        Ok(Some(self.pass(self.source, bytes)))
    }

    fn record(&mut self) -> Result<Option<Step>, Fault> {
        if matches!(self.sent.first(), Some(1 | 2)) {
            let Some(bytes) = message(&mut self.sent)? else { return Ok(None) };
            return Ok(Some(self.pass(self.receiver(), bytes)));
        }
        let Some(bytes) = line(&mut self.sent)? else { return Ok(None) };
        let record = Record::read(&bytes)?;
        let (path, operation) = match &record {
            Record::Times => (String::new(), None),
            Record::Leave => {
                self.folders.pop().ok_or(Fault::Malformed)?;
                (String::new(), None)
            }
            Record::File { mode, size, name } => {
                let paths = self.paths(name);
                let path = paths.last().cloned().unwrap_or_default();
                let operation = match self.source {
                    Peer::Client => Operation::Write { paths, size: *size, mode: *mode },
                    Peer::Server => Operation::Read { path: path.clone(), size: *size },
                };
                (path, Some(operation))
            }
            Record::Folder { mode, name } => {
                let paths = self.paths(name);
                let path = paths.last().cloned().unwrap_or_default();
                let operation = match self.source {
                    Peer::Client => Operation::MakeDirectory { paths, mode: *mode },
                    Peer::Server => Operation::List { path: path.clone() },
                };
                (path, Some(operation))
            }
        };
        let Some(operation) = operation else {
            self.turn = Turn::Answer(After::Plain);
            return Ok(Some(self.pass(self.receiver(), bytes)));
        };
        self.asked = Some(Asked { bytes, record, path });
        Ok(Some(Step::Ask(operation)))
    }

    /// Where a name stands for on the server. At the top it depends on what is there.
    fn paths(&self, name: &str) -> Vec<String> {
        if let Some(folder) = self.folders.last() {
            return vec![format!("{folder}/{name}")];
        }
        let joined = |folder: &str| format!("{}/{name}", folder.trim_end_matches('/'));
        match (self.source, self.operands.first()) {
            (Peer::Client, Some(target)) if self.is_folder || target.ends_with('/') => vec![joined(target)],
            (Peer::Client, Some(target)) => vec![target.clone(), joined(target)],
            // The name is the last part of one of the paths that were asked for, or of what a pattern stands for.
            _ => {
                let last = |operand: &String| operand.trim_end_matches('/').rsplit('/').next() == Some(name);
                let exact = self.operands.iter().find(|operand| last(operand)).cloned();
                let folder = |operand: &String| match operand.rsplit_once('/') {
                    Some((folder, _)) => format!("{folder}/{name}"),
                    None => name.to_owned(),
                };
                vec![exact.or_else(|| self.operands.first().map(folder)).unwrap_or_else(|| name.to_owned())]
            }
        }
    }

    fn data(&mut self, left: u64) -> Option<Step> {
        if self.sent.is_empty() {
            return None;
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let bytes = self.sent.split_to(self.sent.len().min(most)).freeze();
        let left = left.saturating_sub(bytes.len() as u64);
        self.turn = if left == 0 { Turn::Status } else { Turn::Data { left } };
        let content = self.file.as_mut().map(|file| {
            let offset = file.offset;
            file.progress.add(offset, &bytes);
            file.offset += bytes.len() as u64;
            Content { path: Arc::clone(&file.path), offset, at: 0..bytes.len() }
        });
        Some(Step::Pass { to: self.receiver(), bytes, content })
    }

    fn status(&mut self) -> Result<Option<Step>, Fault> {
        let Some(bytes) = message(&mut self.sent)? else { return Ok(None) };
        if bytes.first() != Some(&0)
            && let Some(file) = &mut self.file
        {
            file.progress.fail();
        }
        self.turn = Turn::Answer(After::Data);
        Ok(Some(self.pass(self.receiver(), bytes)))
    }

    /// The record that was asked about goes on; `request` comes back with the transfer. None: nothing was asked.
    ///
    /// # Errors
    /// Where folders nest too deep.
    pub fn allow(&mut self, request: R) -> Result<Option<Step>, Fault> {
        let Some(Asked { bytes, record, path }) = self.asked.take() else { return Ok(None) };
        let after = match record {
            Record::File { size, .. } => {
                self.file = Some(File { request, path: path.into(), progress: Progress::default(), offset: 0 });
                After::File { size }
            }
            _ => {
                if self.folders.len() >= DEEPEST {
                    return Err(Fault::Malformed);
                }
                self.folders.push(path);
                After::Folder
            }
        };
        self.turn = Turn::Answer(after);
        Ok(Some(self.pass(self.receiver(), bytes)))
    }

    /// The record that was asked about does not go on: the sending side hears of an error in place of an answer, skips
    /// the file or folder, and goes on with the next. A client that receives hears of it too. What to pass comes from
    /// [`Scp::step`].
    pub fn deny(&mut self, reason: &str) {
        let Some(asked) = self.asked.take() else { return };
        let plain =
            |text: &str| text.chars().map(|next| if next.is_control() { ' ' } else { next }).collect::<String>();
        let line = format!("\u{1}scp: {}: {}\n", plain(&asked.path), plain(reason));
        self.ready.push_back(self.pass(self.source, line.clone()));
        if self.source == Peer::Server {
            self.ready.push_back(self.pass(Peer::Client, line));
        }
        self.turn = Turn::Record;
    }

    fn finish(&mut self, is_closed: bool) {
        if let Some(file) = self.file.take() {
            self.done.push(file.progress.end(file.request, &file.path, self.direction(), is_closed));
        }
    }

    /// Files that were transferred since this was asked.
    pub fn transfers(&mut self) -> Vec<Transfer<R>> {
        std::mem::take(&mut self.done)
    }

    /// The file that was under way when the session ended: it is not complete.
    pub fn end(mut self) -> Vec<Transfer<R>> {
        self.finish(false);
        self.done
    }
}

/// A zero, or a message: 1 or 2, and a line.
fn message(bytes: &mut BytesMut) -> Result<Option<Bytes>, Fault> {
    match bytes.first() {
        None => Ok(None),
        Some(0) => Ok(Some(bytes.split_to(1).freeze())),
        Some(1 | 2) => line(bytes),
        Some(_) => Err(Fault::Malformed),
    }
}

/// A line with its end.
fn line(bytes: &mut BytesMut) -> Result<Option<Bytes>, Fault> {
    match bytes.iter().take(LONGEST).position(|byte| *byte == b'\n') {
        Some(end) => Ok(Some(bytes.split_to(end + 1).freeze())),
        None if bytes.len() >= LONGEST => Err(Fault::TooLong),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests;
