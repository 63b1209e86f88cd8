//! From a line of the journal to rows.
//!
//! In: whole lines, whatever they hold. Out: the bytes of two inserts in the format JSONEachRow. Every line becomes a row
//! of `events`, with the line itself in it; one that cannot be read does too, as what it is. Nothing of a body is left
//! out: what has no column stands in `facts`.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::fields::{Field, Shape, of_event, of_session};
use crate::audit::journal::{Head, Seq, parse};
use crate::audit::time::Timestamp;
use crate::id::{HostId, JournalId};

/// The kind of rows whose line is none.
const UNREADABLE: &str = "unreadable";

/// Who sends, beside what the lines say.
#[derive(Clone, Debug)]
pub struct Origin {
    /// This installation.
    pub host: HostId,
    /// Its name, for people.
    pub host_name: String,
}

/// Rows to be sent together.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) events: Vec<u8>,
    pub(super) sessions: Vec<u8>,
    lines: usize,
    bytes: usize,
}

impl Batch {
    /// Takes a line that should have number `seq`.
    pub fn push(&mut self, origin: &Origin, journal: JournalId, seq: Seq, line: &[u8]) {
        self.lines += 1;
        self.bytes += line.len();
        let head = parse(line).ok().filter(|head| head.journal == journal && head.seq == seq);
        let body = head.as_ref().and_then(|head| serde_json::from_slice::<Value>(head.body).ok());
        let (Some(head), Some(body)) = (head, body) else {
            add(&mut self.events, unreadable(origin, journal, seq, line));
            return;
        };
        let mut session = common(origin, &head, line);
        for fields in of_session(head.kind) {
            drop(move_fields(body.clone(), fields, &mut session));
        }
        if !of_session(head.kind).is_empty() {
            add(&mut self.sessions, session);
        }
        let mut event = common(origin, &head, line);
        let rest = of_event(head.kind).iter().fold(body, |body, fields| move_fields(body, fields, &mut event));
        if !is_empty(&rest) {
            // The column takes objects alone; all bodies of ours are.
            event.insert("facts".into(), if rest.is_object() { rest } else { json!({ "body": rest }) });
        }
        add(&mut self.events, event);
    }

    /// How many lines are in it.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// How long these lines are together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn add(rows: &mut Vec<u8>, row: Map<String, Value>) {
    // Writing to a Vec does not fail, and keys are strings.
    drop(serde_json::to_writer(&mut *rows, &Value::Object(row)));
    rows.push(b'\n');
}

fn common(origin: &Origin, head: &Head<'_>, line: &[u8]) -> Map<String, Value> {
    let mut row = start(origin, head.journal, head.seq, head.kind);
    row.insert("time".into(), time(head.time).into());
    row.insert("line".into(), String::from_utf8_lossy(line).into());
    if let Some(session) = head.session {
        row.insert("session_id".into(), session.to_string().into());
    }
    row
}

/// A row for bytes that stand where a line should: in the journal's place, at no time.
fn unreadable(origin: &Origin, journal: JournalId, seq: Seq, line: &[u8]) -> Map<String, Value> {
    let mut row = start(origin, journal, seq, UNREADABLE);
    row.insert("time".into(), time(Timestamp::from_micros(0)).into());
    row.insert("line".into(), String::from_utf8_lossy(line).into());
    row
}

fn start(origin: &Origin, journal: JournalId, seq: Seq, kind: &str) -> Map<String, Value> {
    let fields = json!({
        "host_id": origin.host, "host_name": origin.host_name, "journal_id": journal, "seq": seq, "event": kind,
    });
    match fields {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

/// Moves the fields that fit their columns; what does not fit stays in the body.
fn move_fields(mut body: Value, fields: &[Field], row: &mut Map<String, Value>) -> Value {
    for (path, column, shape) in fields {
        let Some(found) = take(&mut body, path, *shape) else { continue };
        row.insert((*column).to_owned(), found);
    }
    body
}

fn take(body: &mut Value, path: &str, shape: Shape) -> Option<Value> {
    let object = body.as_object_mut()?;
    let Some((name, below)) = path.split_once('.') else {
        let fitted = fit(object.get(path)?, shape)?;
        object.remove(path);
        return Some(fitted);
    };
    let inner = object.get_mut(name)?;
    let taken = take(inner, below, shape);
    if inner.as_object().is_some_and(Map::is_empty) {
        object.remove(name);
    }
    taken
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

fn fit(value: &Value, shape: Shape) -> Option<Value> {
    let fits = match shape {
        Shape::Text => value.is_string(),
        Shape::Texts => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        Shape::Number => value.is_u64(),
        Shape::Counts => value.as_object().is_some_and(|counts| counts.values().all(Value::is_u64)),
        Shape::Id => value.as_str().is_some_and(|text| text.parse::<JournalId>().is_ok()),
        Shape::Time => return Timestamp::parse(value.as_str()?.as_bytes()).ok().map(|at| time(at).into()),
        Shape::Address => {
            let address = match value.as_str()?.parse().ok()? {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            return Some(address.to_string().into());
        }
    };
    fits.then(|| value.clone())
}

/// As ClickHouse reads a DateTime64 in UTC: `2026-11-22 00:00:00.000000`.
fn time(at: Timestamp) -> String {
    let text = at.to_text();
    String::from_utf8_lossy(text.strip_suffix(b"Z").unwrap_or(&text)).replace('T', " ")
}

#[cfg(test)]
mod tests;
