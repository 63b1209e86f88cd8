//! What people read at the console of the record: sessions that they look for, and one of them whole.
//!
//! In: the journals, and a search of somebody who may look. Out: JSON, bounded in sessions, steps and lines that are read for
//! it; where that was not all, the answer says so.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::audit::Reader;
use crate::audit::journal::{Filter, Item, Record, SessionSummary};
use crate::chain::chain;
use crate::console::Search;
use crate::id::SessionId;
use crate::recording::{Cast, Recording};

/// Sessions that are listed: the newest.
const MAX_SESSIONS: usize = 500;
/// Steps of a session that are shown: the last.
const MAX_STEPS: usize = 2_000;
/// Lines that are looked at for a decision or a text.
const MAX_LINES: usize = 500_000;
/// The longest recording, in bytes.
const MAX_RECORDING: usize = 32 * 1024 * 1024;
/// The kinds that have a decision, and words of a runtime.
const REQUESTS: [&str; 4] = ["network.decision", "postgres.statement", "ssh.", "kubernetes."];
/// Where those words are.
const WORDS: [&str; 6] = ["/text", "/command", "/path", "/uri", "/object", "/reason"];

/// Sessions, the newest first.
///
/// # Errors
/// Where the journals cannot be read.
pub(super) fn sessions(reader: &Reader, search: &Search) -> Result<Value, String> {
    let (mut sessions, _) = reader.sessions().map_err(|error| chain(&error))?;
    sessions.retain(|session| is_wanted(session, search));
    let mut is_whole = true;
    if !search.decision.is_empty() || !search.text.is_empty() {
        let (with, whole) = with_requests(reader, search)?;
        sessions.retain(|session| with.contains(&session.session));
        is_whole = whole;
    }
    sessions.reverse();
    is_whole &= sessions.len() <= MAX_SESSIONS;
    sessions.truncate(MAX_SESSIONS);
    Ok(json!({ "sessions": sessions, "complete": is_whole }))
}

fn is_wanted(session: &SessionSummary, search: &Search) -> bool {
    let began = session.started.to_string();
    // A beginning of the same form sorts as the time does.
    if !search.since.is_empty() && began.as_str() < search.since.as_str() {
        return false;
    }
    let Some(start) = &session.start else {
        return search.workload.is_empty() && search.target.is_empty() && search.protocol.is_empty();
    };
    let (who, to) = (&start.who, &start.destination);
    let address = format!("{}:{}", to.address, to.port);
    has(&who.workload, &search.workload)
        && (has(&address, &search.target) || to.target.as_ref().is_some_and(|name| has(name, &search.target)))
        && (search.protocol.is_empty() || to.protocol == search.protocol)
}

fn has(text: &str, wanted: &str) -> bool {
    wanted.is_empty() || text.to_lowercase().contains(&wanted.to_lowercase())
}

/// The sessions one of whose requests was decided so and has the text, and whether all lines were looked at.
fn with_requests(reader: &Reader, search: &Search) -> Result<(BTreeSet<SessionId>, bool), String> {
    let kinds = REQUESTS.map(str::to_owned).to_vec();
    let mut records = reader.records(Filter { kinds, ..Filter::default() }).map_err(|error| chain(&error))?;
    let mut found = BTreeSet::new();
    for _ in 0..MAX_LINES {
        match records.next_item().map_err(|error| chain(&error))? {
            Some(Item::Record(record)) => {
                if let Some(session) = record.session.filter(|_| request_has(&record, search)) {
                    found.insert(session);
                }
            }
            Some(Item::Broken(_)) => {}
            None => return Ok((found, true)),
        }
    }
    Ok((found, false))
}

fn request_has(record: &Record, search: &Search) -> bool {
    let text = |path: &str| record.body.pointer(path).and_then(Value::as_str);
    let decided = search.decision.is_empty() || text("/decision/verdict") == Some(&search.decision);
    decided
        && (search.text.is_empty() || WORDS.iter().any(|path| text(path).is_some_and(|text| has(text, &search.text))))
}

/// One session, with its last steps.
///
/// # Errors
/// Where there is none, or the journals cannot be read.
pub(super) fn session(reader: &Reader, id: &str) -> Result<Value, String> {
    let mut timeline = reader.timeline(id).map_err(|error| chain(&error))?;
    let surplus = timeline.steps.len().saturating_sub(MAX_STEPS);
    timeline.steps.drain(..surplus);
    Ok(json!(timeline))
}

/// What the terminal of a request showed, as asciicast, with what draws alone.
///
/// # Errors
/// Where there is none, or it is too long for a browser.
pub(super) fn recording(reader: &Reader, id: &str, request: Option<u64>) -> Result<Value, String> {
    let timeline = reader.timeline(id).map_err(|error| chain(&error))?;
    let recording = Recording::of(&timeline, request).map_err(|error| error.to_string())?;
    let cast = recording.drawn().cast(Cast::V2);
    if cast.len() > MAX_RECORDING {
        return Err(format!("the recording is longer than a browser plays: `gateway replay {id} --play` does"));
    }
    Ok(cast.into())
}
