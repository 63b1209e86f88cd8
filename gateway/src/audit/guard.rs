//! One end for each session.
//!
//! In: the start of a session, counts while it lives, a cause when it ends. Out: `session.start`, then exactly one
//! `session.end`, also when the session's task is dropped. It only sends: what an event holds is built by others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::event::{Body, Counters, EndCause, Event, SessionEnd, SessionStart, Who};
use super::journal::{Account, By, Committed, Journal, JournalError, Seq};
use crate::id::SessionId;

/// What went through a session so far; counted from any of its tasks.
#[derive(Debug, Default)]
pub struct Counts {
    /// To the server.
    pub bytes_sent: AtomicU64,
    /// From the server.
    pub bytes_received: AtomicU64,
    /// Statements, commands or requests.
    pub requests: AtomicU64,
    /// Of these, denied.
    pub denied: AtomicU64,
    /// Of these, held.
    pub held: AtomicU64,
    /// Rows that the client got.
    pub rows_returned: AtomicU64,
}

impl Counts {
    fn read(&self) -> Counters {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            bytes_sent: value(&self.bytes_sent),
            bytes_received: value(&self.bytes_received),
            requests: value(&self.requests),
            denied: value(&self.denied),
            held: value(&self.held),
            rows_returned: value(&self.rows_returned),
        }
    }
}

/// An open session in the journal. Dropping it ends the session with the cause `dropped`.
#[derive(Debug)]
pub struct SessionGuard {
    journal: Arc<Journal>,
    account: Arc<Account>,
    session: SessionId,
    who: Who,
    opened: Instant,
    counts: Counts,
    ended: AtomicBool,
}

impl SessionGuard {
    /// Adds `session.start`, which is written with what is recorded next: whether it may connect, or its end. Errs if it
    /// cannot be recorded: then there is no session, and no end is written.
    pub fn open(journal: Arc<Journal>, session: SessionId, start: SessionStart) -> Result<Self, JournalError> {
        let account = journal.account(&start.who.attachment);
        journal.admits_session(&account)?;
        let who = start.who.clone();
        let by = By { session: Some(session), account: Some(&account) };
        journal.append_with_next(by, &Event::SessionStart(Box::new(start)))?;
        let (opened, counts, ended) = (Instant::now(), Counts::default(), AtomicBool::new(false));
        Ok(Self { journal, account, session, who, opened, counts, ended })
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Who connected, for attribution.
    #[must_use]
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// The counters that its end will tell.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    fn by(&self) -> By<'_> {
        By { session: Some(self.session), account: Some(&self.account) }
    }

    /// Writes an event of this session; only when the future is ready may the request go on.
    pub fn record(&self, event: &impl Body) -> Committed<'_> {
        match self.journal.admits(&self.account) {
            Ok(()) => self.journal.append_durable(self.by(), event),
            Err(error) => Committed::refused(error),
        }
    }

    /// Sees to it that its start is in the journal's file, where nothing was recorded since.
    pub fn flush(&self) -> Result<(), JournalError> {
        self.journal.flush()
    }

    /// Adds an outcome of this session, which is written with the next line or within milliseconds.
    pub fn note_outcome(&self, event: &Event) -> Result<Seq, JournalError> {
        self.journal.append_soon(self.by(), event)
    }

    /// Writes an event of this session on which nothing rests, such as a refusal.
    pub fn note(&self, event: &Event) -> Result<Seq, JournalError> {
        self.journal.append_unsynced(self.by(), event)
    }

    /// Ends the session. Once: whoever comes second writes nothing and is told `None`.
    pub fn end(&self, cause: EndCause) -> Result<Option<Seq>, JournalError> {
        if self.ended.swap(true, Ordering::AcqRel) {
            return Ok(None);
        }
        let duration_us = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.note(&Event::SessionEnd(SessionEnd { cause, duration_us, counters: self.counts.read() })).map(Some)
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        // A journal that takes no end is poisoned, and its next append says so to someone who can act.
        drop(self.end(EndCause::Dropped));
    }
}
