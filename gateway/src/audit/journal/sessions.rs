//! Sessions as a list: each start with its end.
//!
//! In: the records of all journals. Out: one summary per session. A session without an end is open only as long as its
//! writer lives: where the warden wrote that the engine died, the session is lost, and said so.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::reader::{Broken, Filter, Item, ReadError, Reader, Record};
use crate::audit::event::{EngineDied, SessionEnd, SessionStart};
use crate::audit::time::Timestamp;
use crate::id::{JournalId, SessionId};

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum SessionState {
    /// It runs, as far as the journal knows.
    Open,
    /// It ended in good order.
    Ended {
        /// When.
        at: Timestamp,
        /// How; none where the record is of a form that this version cannot read.
        end: Option<SessionEnd>,
    },
    /// Its engine died first.
    Lost,
}

/// A session's start and end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSummary {
    /// The session.
    pub session: SessionId,
    /// The journal that holds it.
    pub journal: JournalId,
    /// When it began, or was first heard of.
    pub started: Timestamp,
    /// How it began; none where the record is missing or of a form that this version cannot read.
    pub start: Option<SessionStart>,
    /// Where it stands.
    #[serde(flatten)]
    pub state: SessionState,
}

impl Reader {
    /// All sessions in the order of their start, and the places that could not be read. Errs as `records` does.
    pub fn sessions(&self) -> Result<(Vec<SessionSummary>, Vec<Broken>), ReadError> {
        let kinds = ["session.start", "session.end", "engine.died"].map(str::to_owned).to_vec();
        let mut records = self.records(Filter { kinds, ..Filter::default() })?;
        let (mut sessions, mut dead, mut broken) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        while let Some(item) = records.next_item()? {
            match item {
                Item::Broken(place) => broken.push(place),
                Item::Record(record) if record.kind == "engine.died" => {
                    dead.extend(body::<EngineDied>(&record).map(|died| died.journal));
                }
                Item::Record(record) => note(&mut sessions, &record),
            }
        }
        let mut list: Vec<SessionSummary> = sessions.into_values().collect();
        for summary in &mut list {
            if summary.state == SessionState::Open && dead.contains(&summary.journal) {
                summary.state = SessionState::Lost;
            }
        }
        list.sort_by_key(|summary| (summary.started, summary.session));
        Ok((list, broken))
    }
}

fn body<T: DeserializeOwned>(record: &Record) -> Option<T> {
    T::deserialize(&record.body).ok()
}

fn note(sessions: &mut BTreeMap<SessionId, SessionSummary>, record: &Record) {
    let Some(session) = record.session else { return };
    let summary = sessions.entry(session).or_insert_with(|| SessionSummary {
        session,
        journal: record.journal,
        started: record.time,
        start: None,
        state: SessionState::Open,
    });
    if record.kind == "session.end" {
        summary.state = SessionState::Ended { at: record.time, end: body(record) };
    } else {
        summary.start = body(record);
    }
}
