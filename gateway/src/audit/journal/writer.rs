//! Adding lines to a journal.
//!
//! In: events, from any thread or task, and a descriptor that can only append. Out: a line's number, once the line is
//! written (`process`) or on the disk (`disk`). After a write that failed or fell short it never says "written" again:
//! the journal is poisoned, and everything that must be recorded first is refused. Outcomes, on which nothing rests,
//! share the write of the next line, which comes within milliseconds.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::{OFlags, fcntl_getfl};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::commit::{Committed, Committer};
use super::line::{Hash, ZERO_HASH, hash_of, push_end, push_head};
use super::room::{Account, Disk, Marks, Room};
use super::{FORMAT, LINE_LIMIT, Seq};
use crate::audit::event::{Body, Event, JournalOpened, Role, Verdict};
use crate::audit::time::Timestamp;
use crate::id::{HostId, JournalId, SessionId};

/// A buffer that grew beyond this for one large line is given back.
const BUFFER_KEPT: usize = 64 * 1024;
/// Bytes of lines that wait for the write of another.
const WAITING_LIMIT: usize = 32 * 1024;
/// The same where requests wait with them: a server that could work already should not wait for a long write.
const SHARED_LIMIT: usize = 16 * 1024;
/// How long they wait.
const WAIT: Duration = Duration::from_millis(1);
/// Looks without a new line until the next one wakes whoever looks.
const QUIET_LOOKS: u32 = 16;

/// What a line must have reached before its request goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The file: survives our death, not power loss.
    #[default]
    Process,
    /// The disk, by group commit: survives power loss.
    Disk,
}

/// Who opens a journal.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The id that the file's folder carries.
    pub journal: JournalId,
    /// The installation.
    pub host: HostId,
    /// Its name, for people.
    pub host_name: String,
    /// The writing process.
    pub role: Role,
    /// Product version.
    pub product: String,
    /// The journal of the same role before this one, where known.
    pub previous: Option<JournalId>,
}

/// Why an event is not recorded. Whatever must be recorded first does not happen.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The descriptor is no fresh append-only file.
    #[error("cannot open a journal here: the file must be {expected}")]
    Unfit {
        /// What it must be.
        expected: &'static str,
    },
    /// The file's state could not be read, or its syncing thread not started.
    #[error("cannot open a journal")]
    Open(#[source] io::Error),
    /// A write failed; the journal takes no more.
    #[error("cannot write to the journal: free disk space, then restart the gateway")]
    Write(#[source] io::Error),
    /// A write fell short; the journal ends with a torn line and takes no more.
    #[error(
        "only {written} of {length} bytes of journal lines were written: free disk space, then restart the gateway"
    )]
    Torn {
        /// Bytes that are in the file.
        written: usize,
        /// Bytes that they have.
        length: usize,
    },
    /// A sync failed; the journal takes no more.
    #[error("cannot bring the journal to the disk: check the disk, then restart the gateway")]
    Sync(#[source] io::Error),
    /// An earlier write failed.
    #[error("the journal takes no more lines since a write failed: see the first error, then restart the gateway")]
    Poisoned,
    /// The event is larger than a line may be; nothing was written.
    #[error("event `{kind}` would take {length} bytes, more than a journal line may have: ask for less in one request")]
    TooLong {
        /// Its kind.
        kind: &'static str,
        /// Bytes that it would take.
        length: usize,
    },
    /// The attachment wrote more lately than the disk has left; nothing was written.
    #[error(
        "the attachment `{attachment}` wrote {written} bytes to the journal lately, and the disk has {left} left: free disk space, or let it ask for less"
    )]
    NoShare {
        /// Its name.
        attachment: String,
        /// Bytes that count.
        written: u64,
        /// Bytes that are left for it.
        left: u64,
    },
    /// The disk is below its low mark; nothing was written.
    #[error("the disk of the journal has {left} bytes left, less than [audit.journal] low_bytes: free disk space")]
    Low {
        /// Bytes that are left.
        left: u64,
    },
    /// The event cannot be written as JSON; nothing was written.
    #[error("event `{kind}` cannot be written as json: this is a fault of the gateway")]
    Encode {
        /// Its kind.
        kind: &'static str,
        /// What the serializer says.
        #[source]
        source: serde_json::Error,
    },
}

/// Whose event it is.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// The session that it belongs to.
    pub session: Option<SessionId>,
    /// Who pays for it.
    pub account: Option<&'a Account>,
}

impl From<Option<SessionId>> for By<'_> {
    fn from(session: Option<SessionId>) -> Self {
        Self { session, account: None }
    }
}

#[derive(Debug)]
struct Chain {
    /// The segment that is being written.
    file: Arc<File>,
    next: Seq,
    prev: Hash,
    /// All lines up to this one are in the file.
    written: Seq,
    /// Lines that are not in the file yet.
    lines: Vec<u8>,
    /// `write_waiting` looks after them.
    watched: bool,
    poisoned: bool,
    /// The lines of each kind, those that come often at the front.
    counts: Vec<(&'static str, Count)>,
}

/// How many lines of a kind there are, and of decisions how many of each verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// All lines.
    pub lines: u64,
    /// In the order of `Verdict::ALL`.
    pub verdicts: [u64; Verdict::ALL.len()],
}

/// An open journal. Share it by `Arc`.
#[derive(Debug)]
pub struct Journal {
    id: JournalId,
    id_text: String,
    room: Room,
    chain: Mutex<Chain>,
    /// Lines began to wait.
    waits: Notify,
    /// Only with durability `disk`.
    committer: Option<Committer>,
}

impl Journal {
    /// Takes over an empty file opened with O_APPEND and writes the first line. Errs on any other file, and if that
    /// line cannot be written as durably as asked for.
    pub fn open(file: File, opening: Opening, durability: Durability) -> Result<Self, JournalError> {
        let file = fit(file)?;
        let committer = match durability {
            Durability::Process => None,
            Durability::Disk => Some(Committer::start(Arc::clone(&file)).map_err(JournalError::Open)?),
        };
        let lines = Vec::with_capacity(BUFFER_KEPT);
        let (next, written) = (Seq(1), Seq(0));
        let chain =
            Chain { file, next, prev: ZERO_HASH, written, lines, watched: false, poisoned: false, counts: Vec::new() };
        let id_text = opening.journal.to_string();
        let journal = Self {
            id: opening.journal,
            id_text,
            room: Room::new(),
            chain: Mutex::new(chain),
            waits: Notify::new(),
            committer,
        };
        let Opening { host, host_name, role, product, previous, .. } = opening;
        let first = JournalOpened { format: FORMAT, host, host_name, role, product, previous };
        journal.append(None, &Event::JournalOpened(first))?;
        Ok(journal)
    }

    /// The journal's id.
    #[must_use]
    pub fn id(&self) -> JournalId {
        self.id
    }

    /// What an attachment wrote lately.
    #[must_use]
    pub fn account(&self, attachment: &str) -> Arc<Account> {
        self.room.account(attachment)
    }

    /// Whether an attachment may begin something that has to be recorded. Errs where it wrote more lately than the disk has
    /// left.
    pub fn admits(&self, account: &Account) -> Result<(), JournalError> {
        self.room.admits(|| Arc::clone(&self.chain.lock().file), account)
    }

    /// Takes other marks of the disk.
    pub fn set_marks(&self, marks: Marks) {
        self.room.set(marks);
    }

    /// Where the disk stands, and how many bytes it has left.
    pub fn disk(&self) -> (Disk, u64) {
        self.room.disk(|| Arc::clone(&self.chain.lock().file))
    }

    /// Whether an attachment may begin a session: as for all else, and the disk has to be above its low mark.
    pub fn admits_session(&self, account: &Account) -> Result<(), JournalError> {
        match self.disk() {
            (Disk::Enough, _) => self.admits(account),
            (Disk::Low | Disk::Critical, left) => Err(JournalError::Low { left }),
        }
    }

    /// Goes on in another segment, as fresh as the first one was: what was added stands in the one before, on the disk with
    /// either durability, since a power cut may take the end of a journal and nothing before it. Errs, and stays where it is,
    /// on any other file; a write or sync that fails poisons it.
    pub fn go_on_in(&self, file: File) -> Result<(), JournalError> {
        let file = fit(file)?;
        let mut chain = self.chain.lock();
        chain.write()?;
        let synced = match &self.committer {
            Some(committer) => committer.go_on_in(&chain.file, Arc::clone(&file)),
            None => chain.file.sync_data().map_err(JournalError::Sync),
        };
        if let Err(error) = synced {
            chain.poisoned = true;
            return Err(error);
        }
        chain.file = file;
        Ok(())
    }

    /// Writes an event and waits on this thread until it is as durable as the journal promises: microseconds with
    /// `process`, milliseconds with `disk`. For threads; in async code with `disk`, use `append_durable`.
    pub fn append<'a>(&self, by: impl Into<By<'a>>, event: &impl Body) -> Result<Seq, JournalError> {
        let seq = self.append_unsynced(by, event)?;
        self.committer.as_ref().map_or(Ok(seq), |committer| committer.wait(seq))
    }

    /// The same for async code. The write is shared with the lines of all tasks that are ready now, and is done when
    /// they had their turn: no line waits for one that is not there yet. A worker of the runtime is held for
    /// microseconds.
    pub fn append_durable<'a>(&self, by: impl Into<By<'a>>, event: &impl Body) -> Committed<'_> {
        if let Some(committer) = &self.committer {
            return self
                .append_unsynced(by, event)
                .map_or_else(|error| Committed::done(Err(error)), |seq| committer.committed(seq));
        }
        let added = self.add(by.into(), event, |chain| {
            if chain.lines.len() > SHARED_LIMIT { chain.write().map(|()| true) } else { Ok(false) }
        });
        match added {
            Ok((seq, false)) => Committed::shares(self, seq),
            Ok((seq, true)) => Committed::done(Ok(seq)),
            Err(error) => Committed::done(Err(error)),
        }
    }

    /// The lines of each kind that were added.
    pub fn counts(&self) -> Vec<(&'static str, Count)> {
        self.chain.lock().counts.clone()
    }

    /// Whether a line is in the file.
    pub(super) fn has_written(&self, seq: Seq) -> bool {
        self.chain.lock().written >= seq
    }

    /// Sees to it that a line that was added is in the file.
    pub(super) fn written(&self, seq: Seq) -> Result<Seq, JournalError> {
        let mut chain = self.chain.lock();
        if chain.written < seq {
            chain.write()?;
        }
        Ok(seq)
    }

    /// Writes an event and does not wait for the disk: for ends and refusals, on which nothing rests.
    pub fn append_unsynced<'a>(&self, by: impl Into<By<'a>>, event: &impl Body) -> Result<Seq, JournalError> {
        self.add(by.into(), event, |chain| chain.write()).map(|(seq, ())| seq)
    }

    /// Adds an event that is written with the next one. For who adds another at once, before which nothing happens.
    pub fn append_with_next<'a>(&self, by: impl Into<By<'a>>, event: &impl Body) -> Result<Seq, JournalError> {
        self.add(by.into(), event, |_| Ok(())).map(|(seq, ())| seq)
    }

    /// Adds an event that is written with the next one, or by `write_waiting`: for outcomes, on which nothing rests.
    /// Errs if it cannot be added; a write that fails later poisons the journal.
    pub fn append_soon<'a>(&self, by: impl Into<By<'a>>, event: &impl Body) -> Result<Seq, JournalError> {
        self.add(by.into(), event, |chain| {
            let is_first = !std::mem::replace(&mut chain.watched, true);
            if is_first {
                self.waits.notify_one();
            }
            if chain.lines.len() > WAITING_LIMIT { chain.write() } else { Ok(()) }
        })
        .map(|(seq, ())| seq)
    }

    /// Sees to it that all that was added is in the file.
    pub fn flush(&self) -> Result<(), JournalError> {
        self.chain.lock().write()
    }

    /// Writes what waits, a millisecond or two after it began to. Runs beside the writers, and ends when the journal is
    /// poisoned. It looks again and again while lines come: to be woken for each would cost its session more than the line.
    pub async fn write_waiting(&self) -> JournalError {
        loop {
            self.waits.notified().await;
            let (mut quiet, mut seen) = (0, Seq(0));
            while quiet < QUIET_LOOKS {
                tokio::time::sleep(WAIT).await;
                let mut chain = self.chain.lock();
                if let Err(error) = chain.write() {
                    return error;
                }
                quiet = if chain.next == seen { quiet + 1 } else { 0 };
                seen = chain.next;
                chain.watched = quiet < QUIET_LOOKS;
            }
        }
    }

    fn add<T>(
        &self,
        by: By<'_>,
        event: &impl Body,
        and: impl FnOnce(&mut Chain) -> Result<T, JournalError>,
    ) -> Result<(Seq, T), JournalError> {
        if let Some(committer) = &self.committer {
            committer.check()?;
        }
        let kind = event.kind();
        BODY.with_borrow_mut(|body| {
            body.clear();
            body.shrink_to(BUFFER_KEPT);
            // Before the lock: other threads need it for the head, the hash and the write alone.
            event.write(body).map_err(|source| JournalError::Encode { kind, source })?;
            let mut chain = self.chain.lock();
            let (seq, length) = chain.add((&self.id_text, by.session), kind, body)?;
            chain.count(kind, event.verdict());
            if let Some(account) = by.account {
                account.add(length);
            }
            let done = and(&mut chain)?;
            Ok((seq, done))
        })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Nobody is left who could be told; the file ends with what was written.
        drop(self.chain.get_mut().write());
    }
}

thread_local! {
    /// The body of the event that a thread is writing.
    static BODY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Chain {
    /// A line behind the others; it is in the file after the next `write`.
    fn add(
        &mut self,
        (journal, session): (&str, Option<SessionId>),
        kind: &'static str,
        body: &[u8],
    ) -> Result<(Seq, usize), JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        let seq = self.next;
        let start = self.lines.len();
        push_head(&mut self.lines, (journal, session), Timestamp::now(), seq, kind);
        self.lines.extend_from_slice(body);
        push_end(&mut self.lines, &self.prev);
        let line = self.lines.get(start..).and_then(|line| line.strip_suffix(b"\n")).unwrap_or_default();
        let length = line.len();
        if length > LINE_LIMIT {
            self.lines.truncate(start);
            return Err(JournalError::TooLong { kind, length });
        }
        self.prev = hash_of(line);
        self.next = seq.next();
        Ok((seq, length))
    }

    fn count(&mut self, kind: &'static str, verdict: Option<Verdict>) {
        let at = self.counts.iter().position(|(known, _)| *known == kind).unwrap_or_else(|| {
            self.counts.push((kind, Count::default()));
            self.counts.len() - 1
        });
        let Some((_, count)) = self.counts.get_mut(at) else { return };
        count.lines += 1;
        if let Some(of) = verdict.and_then(|verdict| count.verdicts.get_mut(verdict as usize)) {
            *of += 1;
        }
    }

    /// Brings all lines into the file.
    fn write(&mut self) -> Result<(), JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        if !self.lines.is_empty() {
            write_once(&self.file, &self.lines).inspect_err(|_| self.poisoned = true)?;
        }
        self.written = Seq(self.next.0.saturating_sub(1));
        self.lines.clear();
        self.lines.shrink_to(BUFFER_KEPT);
        Ok(())
    }
}

/// A segment that nobody wrote to.
fn fit(file: File) -> Result<Arc<File>, JournalError> {
    let flags = fcntl_getfl(&file).map_err(|error| JournalError::Open(error.into()))?;
    if !flags.contains(OFlags::APPEND) {
        return Err(JournalError::Unfit { expected: "opened with O_APPEND" });
    }
    if file.metadata().map_err(JournalError::Open)?.len() > 0 {
        return Err(JournalError::Unfit { expected: "empty: each writer has a journal of its own" });
    }
    Ok(Arc::new(file))
}

/// One write(2): the lines are in the file as a whole, or the journal ends.
fn write_once(mut file: &File, lines: &[u8]) -> Result<(), JournalError> {
    loop {
        return match file.write(lines) {
            Ok(written) if written == lines.len() => Ok(()),
            Ok(written) => Err(JournalError::Torn { written, length: lines.len() }),
            // Interrupted before the first byte: nothing is in the file.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(JournalError::Write(error)),
        };
    }
}
