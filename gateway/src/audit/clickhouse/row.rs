//! From a line of the journal to rows.
//!
//! In: whole lines, whatever they hold. Out: the blocks of two inserts. Every line becomes a row of `events`, with the
//! line itself in it; one that cannot be read does too, as what it is. Nothing of a body is left out: what has no column
//! stands in `facts`, but for what a decision was made from. That stands in the line alone, since ClickHouse took as
//! long to take it in once more as for all the rest.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use super::block::Block;
use super::fields::{Field, of_event, of_session};
use crate::audit::journal::{Head, Seq, parse};
use crate::audit::time::Timestamp;
use crate::id::{HostId, JournalId};

/// The kind of rows whose line is none.
const UNREADABLE: &str = "unreadable";
/// What a decision was made from: a field of this object.
const INPUT: (&str, &str) = ("decision", "input");

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
    pub(super) events: Block,
    pub(super) sessions: Block,
    lines: usize,
    bytes: usize,
}

impl Batch {
    /// Takes a line that should have number `seq`.
    pub fn push(&mut self, origin: &Origin, journal: JournalId, seq: Seq, line: &[u8]) {
        self.lines += 1;
        self.bytes += line.len();
        let head = parse(line).ok().filter(|head| head.journal == journal && head.seq == seq);
        let body = head.as_ref().and_then(|head| read(head.body));
        let (Some(head), Some(mut body)) = (head, body) else {
            // Bytes that stand where a line should: in the journal's place, at no time.
            start(&mut self.events, origin, (journal, seq), UNREADABLE, line);
            self.events.time("time", Timestamp::from_micros(0));
            self.events.end_row();
            return;
        };
        let of_sessions = of_session(head.kind);
        if !of_sessions.is_empty() {
            common(&mut self.sessions, origin, &head, line);
            for (path, column, shape) in of_sessions.iter().copied().flatten() {
                if let Some(value) = find(&body, path) {
                    self.sessions.put(column, *shape, value);
                }
            }
            self.sessions.end_row();
        }
        common(&mut self.events, origin, &head, line);
        for field in of_event(head.kind).iter().copied().flatten() {
            move_field(&mut self.events, &mut body, field, field.0);
        }
        if !is_empty(&body) {
            // The column takes objects alone; all bodies of ours are.
            let facts = if body.is_object() { body } else { json!({ "body": body }) };
            self.events.facts("facts", &facts);
        }
        self.events.end_row();
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

/// A body, without what a decision was made from.
fn read(body: &[u8]) -> Option<Value> {
    serde_json::from_slice::<Body>(body).map(|body| body.0.into()).or_else(|_| serde_json::from_slice(body)).ok()
}

fn common(rows: &mut Block, origin: &Origin, head: &Head<'_>, line: &[u8]) {
    start(rows, origin, (head.journal, head.seq), head.kind, line);
    rows.time("time", head.time);
    if let Some(session) = head.session {
        rows.id("session_id", session.as_bytes());
    }
}

fn start(rows: &mut Block, origin: &Origin, (journal, seq): (JournalId, Seq), kind: &str, line: &[u8]) {
    rows.id("host_id", origin.host.as_bytes());
    rows.text("host_name", &origin.host_name);
    rows.id("journal_id", journal.as_bytes());
    rows.number("seq", seq.0);
    rows.text("event", kind);
    rows.text("line", &String::from_utf8_lossy(line));
}

fn find<'v>(body: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(body, |value, name| value.get(name))
}

/// Moves a field that fits its column; what does not fit stays in the body.
fn move_field(rows: &mut Block, body: &mut Value, field: &Field, path: &str) -> Option<()> {
    let (_, column, shape) = field;
    let object = body.as_object_mut()?;
    let Some((name, below)) = path.split_once('.') else {
        if rows.put(column, *shape, object.get(path)?) {
            object.remove(path);
        }
        return Some(());
    };
    let inner = object.get_mut(name)?;
    let moved = move_field(rows, inner, field, below);
    if is_empty(inner) {
        object.remove(name);
    }
    moved
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

/// An object, and of one of its fields what is not left out.
struct Body(Map<String, Value>);

/// That field.
struct Within(Value);

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reading { is_within: false }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Within {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reading { is_within: true }).map(|map| Self(Value::Object(map)))
    }
}

struct Reading {
    is_within: bool,
}

impl<'de> Visitor<'de> for Reading {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if self.is_within && name == INPUT.1 {
                access.next_value::<IgnoredAny>()?;
            } else if !self.is_within && name == INPUT.0 {
                map.insert(name, access.next_value::<Within>()?.0);
            } else {
                map.insert(name, access.next_value()?);
            }
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests;
