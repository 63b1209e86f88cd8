//! One session told in order: each request with what came of it, and with what people said about it.
//!
//! In: the records of all journals. Out: steps by time. An outcome belongs to the request whose line it names, a vote
//! to the requests that opened or used its ticket, wherever it was written. It never drops a record of the session: what
//! belongs to nothing, or is of a kind that this version does not know, is a step of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reader::{Broken, Filter, Item, ReadError, Reader, Record};
use super::sessions::{SessionState, SessionSummary};
use crate::audit::event::SessionStart;
use crate::id::{SessionId, TicketId};

/// Records that are read for the beginning of a session, and how many of its last steps are left to the whole: what came of
/// them may stand behind.
const BEGINNING: usize = 500;
const UNSETTLED: usize = 100;

/// There is no timeline.
#[derive(Debug, thiserror::Error)]
pub enum TimelineError {
    /// The journals cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Nothing begins so.
    #[error("no session's id begins with `{text}`: `gateway sessions` lists them")]
    NoSuchSession {
        /// What was asked for.
        text: String,
    },
    /// More than one begins so.
    #[error("{count} sessions have an id that begins with `{text}`, from {first} to {last}: give more of it")]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// How many.
        count: usize,
        /// The oldest.
        first: SessionId,
        /// The newest.
        last: SessionId,
    },
}

/// A session with all its steps.
#[derive(Clone, Debug, Serialize)]
pub struct Timeline {
    /// Who, where to, and how it stands.
    #[serde(flatten)]
    pub summary: SessionSummary,
    /// What happened, by time.
    pub steps: Vec<Step>,
    /// Places that could not be read: a step may be missing.
    pub broken: Vec<Broken>,
}

/// One thing that happened, with what belongs to it.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Since the session's start.
    pub offset_us: u64,
    /// What happened. The decision's input is left out: `gateway events` has it.
    #[serde(flatten)]
    pub record: Record,
    /// What came of it.
    pub outcome: Option<Record>,
    /// Its ticket: asked for, voted on, used or expired, by time, some of it perhaps in other sessions.
    pub approval: Vec<Record>,
    /// Whether this very request used the ticket up.
    pub used_approval: bool,
}

/// The steps that asked for a ticket, or used it.
type Tickets = BTreeMap<TicketId, Vec<usize>>;

impl Reader {
    /// The session whose id is this text, or begins with it. Errs where there is none or more than one, and as
    /// `records` does.
    pub fn timeline(&self, text: &str) -> Result<Timeline, TimelineError> {
        // This look met every broken place already.
        let (sessions, broken) = self.sessions()?;
        let summary = self.find(text, sessions)?;
        let mut timeline = Timeline { summary, steps: Vec::new(), broken };
        let mut tickets = Tickets::new();
        let session = Some(timeline.summary.session);
        self.each(Filter { session, ..Filter::default() }, |item| timeline.add(item, &mut tickets))?;
        if !tickets.is_empty() {
            let kinds = vec!["approval.".to_owned()];
            self.each(Filter { kinds, ..Filter::default() }, |item| timeline.add_approval(item, &tickets))?;
        }
        Ok(timeline)
    }

    /// The first steps of a session, as far as what is written later changes nothing about them: by index, so that they are
    /// there at once, however long the session and the journals are. None of a short one, and where its first request is not
    /// settled or its beginning cannot be read. Errs as `records` does.
    pub fn beginning(&self, session: SessionId) -> Result<Option<Timeline>, ReadError> {
        let mut records = self.records(Filter { session: Some(session), ..Filter::default() })?;
        let Some(Item::Record(first)) = records.next_item()?.filter(is_start) else { return Ok(None) };
        let (journal, started) = (first.journal, first.time);
        let start = SessionStart::deserialize(&first.body).ok();
        let summary = SessionSummary { session, journal, started, start, state: SessionState::Open };
        let mut timeline = Timeline { summary, steps: Vec::new(), broken: Vec::new() };
        let mut tickets = Tickets::new();
        timeline.add(Item::Record(first), &mut tickets);
        for _ in 1..BEGINNING {
            match records.next_item()? {
                Some(Item::Broken(_)) | None => break,
                Some(record) => timeline.add(record, &mut tickets),
            }
        }
        let settled = timeline.steps.iter().take_while(|step| step.is_settled()).count();
        let asked = tickets.into_values().flatten().min().unwrap_or(usize::MAX);
        timeline.steps.truncate(settled.min(asked).min(timeline.steps.len().saturating_sub(UNSETTLED)));
        let has_request = timeline.steps.iter().any(|step| step.outcome.is_some());
        Ok(has_request.then_some(timeline))
    }

    /// The session whose id is this text, or begins with it. A whole id is not looked for.
    ///
    /// # Errors
    /// Where no session has it, or more than one.
    pub fn session(&self, text: &str) -> Result<SessionId, TimelineError> {
        match text.parse() {
            Ok(id) => Ok(id),
            Err(_) => Ok(self.find(text, self.sessions()?.0)?.session),
        }
    }

    fn find(&self, text: &str, mut sessions: Vec<SessionSummary>) -> Result<SessionSummary, TimelineError> {
        // A whole id is the same in whatever form it is written.
        let wanted = text.parse().map_or_else(|_| text.to_ascii_lowercase(), |id: SessionId| id.to_string());
        sessions.retain(|summary| !wanted.is_empty() && summary.session.to_string().starts_with(&wanted));
        if let [first, .., last] = sessions.as_slice() {
            let (count, first, last) = (sessions.len(), first.session, last.session);
            return Err(TimelineError::Ambiguous { text: text.to_owned(), count, first, last });
        }
        if let Some(only) = sessions.pop() {
            return Ok(only);
        }
        // Neither start nor end can be read, but what lies between may.
        let mut first = None;
        if let Ok(session) = wanted.parse() {
            self.each(Filter { session: Some(session), ..Filter::default() }, |item| {
                if let (None, Item::Record(record)) = (&first, item) {
                    let (journal, started) = (record.journal, record.time);
                    first = Some(SessionSummary { session, journal, started, start: None, state: SessionState::Open });
                }
            })?;
        }
        first.ok_or_else(|| TimelineError::NoSuchSession { text: text.to_owned() })
    }

    fn each(&self, filter: Filter, mut take: impl FnMut(Item)) -> Result<(), ReadError> {
        let mut records = self.records(filter)?;
        while let Some(item) = records.next_item()? {
            take(item);
        }
        Ok(())
    }
}

impl Timeline {
    /// Puts a record of the session where it belongs.
    fn add(&mut self, item: Item, tickets: &mut Tickets) {
        let Item::Record(mut record) = item else { return };
        if record.kind.starts_with("approval.") {
            if let (Some(ticket), Some(at)) = (ticket(&record), self.step_of_approval(&record, tickets)) {
                let steps = tickets.entry(ticket).or_default();
                if !steps.contains(&at) {
                    steps.push(at);
                }
                return;
            }
        } else if record.kind.ends_with(".outcome")
            && let Some(step) = self.requested_by(&record).and_then(|at| self.steps.get_mut(at))
            && step.outcome.is_none()
        {
            step.outcome = Some(record);
            return;
        }
        if let Some(decision) = record.body.get_mut("decision").and_then(Value::as_object_mut) {
            decision.insert("input".to_owned(), Value::Null);
        }
        let offset_us = record.time.as_micros().saturating_sub(self.summary.started.as_micros());
        let step = Step { offset_us, record, outcome: None, approval: Vec::new(), used_approval: false };
        self.steps.push(step);
    }

    /// Which step a record about a ticket tells of.
    fn step_of_approval(&mut self, record: &Record, tickets: &Tickets) -> Option<usize> {
        if record.kind == "approval.consumed" {
            // It names no line, since a request that is sent again after its approval may come in another session: it
            // stands right behind the one that is sent on.
            let at = self.steps.iter().rposition(Step::is_held)?;
            self.steps.get_mut(at)?.used_approval = true;
            return Some(at);
        }
        let asked = tickets.get(&ticket(record)?).and_then(|steps| steps.first()).copied();
        asked.or_else(|| self.requested_by(record))
    }

    /// The step whose line a record names.
    fn requested_by(&self, record: &Record) -> Option<usize> {
        let seq = record.body.get("request").and_then(Value::as_u64)?;
        let at = self.steps.binary_search_by_key(&seq, |step| step.record.seq.0).ok()?;
        self.steps.get(at).filter(|step| step.record.journal == record.journal).map(|_| at)
    }

    fn add_approval(&mut self, item: Item, tickets: &Tickets) {
        let Item::Record(record) = item else { return };
        for at in ticket(&record).and_then(|ticket| tickets.get(&ticket)).into_iter().flatten() {
            if let Some(step) = self.steps.get_mut(*at) {
                step.approval.push(record.clone());
            }
        }
    }
}

impl Step {
    fn is_held(&self) -> bool {
        self.verdict() == Some("hold")
    }

    /// Whether nothing more will be known of it.
    fn is_settled(&self) -> bool {
        let told = ["session.start", "credential.used", "network.decision", "ssh.frames", "kubernetes.frames"];
        self.outcome.is_some() || self.verdict() == Some("deny") || told.contains(&self.record.kind.as_str())
    }

    fn verdict(&self) -> Option<&str> {
        self.record.body.pointer("/decision/verdict").and_then(Value::as_str)
    }
}

fn is_start(item: &Item) -> bool {
    matches!(item, Item::Record(record) if record.kind == "session.start")
}

fn ticket(record: &Record) -> Option<TicketId> {
    record.body.get("ticket").and_then(Value::as_str)?.parse().ok()
}
