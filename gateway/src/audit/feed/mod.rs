//! Events for others, in the words that they read.
//!
//! In: lines of the journal. Out: those that are wanted, as JSON of the gateway's own, of OCSF, of OpenTelemetry, as messages of
//! syslog, or as a text.
//! They have what the journal has, masked like it, but for the input of decisions, which `gateway events` has. It decides
//! nothing, and leaves out no event that is wanted.

mod ocsf;
mod otlp;
pub mod syslog;
mod text;

pub use text::{APPROVE, DENY, REASON};

use serde_json::{Value, json};

use super::clickhouse::Origin;
use super::journal::{Seq, is_of, parse};
use super::time::Timestamp;
use crate::config::FeedFormat;
use crate::id::{JournalId, SessionId};

/// What is told.
#[derive(Debug, Default)]
pub struct Feeds {
    kinds: Vec<String>,
    verdicts: Vec<String>,
}

/// An event as it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    journal: JournalId,
    session: Option<SessionId>,
    time: Timestamp,
    seq: Seq,
    kind: String,
    body: Value,
}

/// In which words.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// As they are.
    Json,
    /// OCSF 1.3.
    Ocsf,
    /// OTLP/HTTP.
    Otlp,
    /// A text.
    Slack {
        /// Where people decide.
        console: Option<&'a str>,
        /// They decide there, too.
        buttons: bool,
    },
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// What was done.
    Informational,
    /// Somebody was refused, or waits.
    Warning,
    /// A guarantee may not hold.
    Error,
}

impl Feeds {
    /// Events of these kinds (one that ends with `.` stands for all that begin so; none: all), and of those with a decision
    /// the ones that were decided so.
    #[must_use]
    pub fn new(kinds: Vec<String>, verdicts: Vec<String>) -> Self {
        Self { kinds, verdicts }
    }

    /// A line as it is told; none where it is not wanted, or no line: `audit verify` names those.
    #[must_use]
    pub fn event(&self, line: &[u8]) -> Option<Event> {
        let head = parse(line).ok()?;
        if !self.kinds.is_empty() && !self.kinds.iter().any(|wanted| is_of(wanted, head.kind)) {
            return None;
        }
        let mut body: Value = serde_json::from_slice(head.body).ok()?;
        if let Some(decision) = body.get_mut("decision").and_then(Value::as_object_mut) {
            decision.remove("input");
        }
        let (journal, session, time, seq) = (head.journal, head.session, head.time, head.seq);
        let event = Event { journal, session, time, seq, kind: head.kind.to_owned(), body };
        let is_wanted = |verdict: &str| self.verdicts.is_empty() || self.verdicts.iter().any(|one| one == verdict);
        event.verdict().is_none_or(is_wanted).then_some(event)
    }
}

impl Event {
    fn verdict(&self) -> Option<&str> {
        self.body.pointer("/decision/verdict").or_else(|| self.body.get("verdict")).and_then(Value::as_str)
    }

    /// Whether it tells of a request that waits.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.kind == "approval.requested"
    }

    /// What kind it is of.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// A text of its body, by its JSON pointer.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.body.pointer(path).and_then(Value::as_str)
    }

    /// A number of its body.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<u64> {
        self.body.pointer(path).and_then(Value::as_u64)
    }

    /// The texts of a list of its body.
    #[must_use]
    pub fn texts(&self, path: &str) -> Vec<&str> {
        self.body.pointer(path).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn severity(&self) -> Severity {
        let grave = ["gap", "engine.died", "network.bypass", "policy.rejected", "token.refused", "gateway.stopped"];
        match self.verdict() {
            _ if grave.contains(&self.kind.as_str()) => Severity::Error,
            Some("deny" | "hold" | "would_deny" | "would_hold") => Severity::Warning,
            _ if self.kind.ends_with(".refused") || self.kind == "console.login_failed" => Severity::Warning,
            _ => Severity::Informational,
        }
    }

    /// As a message of syslog that has `most` bytes at most, without its length.
    #[must_use]
    pub fn message(&self, origin: &Origin, format: FeedFormat, most: usize) -> String {
        let json = match format {
            FeedFormat::Ocsf => ocsf::event(origin, self),
            FeedFormat::Json => {
                let mut json = self.json();
                let host = json!({ "id": origin.host, "name": origin.host_name });
                json.as_object_mut().map(|json| json.insert("host".to_owned(), host));
                json
            }
        };
        let head =
            syslog::Head { severity: self.severity(), time: self.time, host: &origin.host_name, kind: &self.kind };
        syslog::fitting(&head, json, most)
    }

    fn json(&self) -> Value {
        json!({
            "journal": self.journal, "seq": self.seq, "session": self.session, "time": self.time, "kind": self.kind,
            "body": self.body,
        })
    }
}

impl Form<'_> {
    /// One request for these events.
    #[must_use]
    pub fn write(self, origin: &Origin, events: &[Event]) -> Value {
        match self {
            Form::Json => json!({
                "version": 1,
                "host": { "id": origin.host, "name": origin.host_name },
                "events": events.iter().map(Event::json).collect::<Value>(),
            }),
            Form::Ocsf => events.iter().map(|event| ocsf::event(origin, event)).collect(),
            Form::Otlp => otlp::request(origin, events),
            Form::Slack { console, buttons } => {
                let lines: Vec<_> = events.iter().map(|event| text::line(origin, event, console)).collect();
                let text = lines.join("\n");
                match events.last().filter(|_| buttons).and_then(|event| text::blocks(&lines, event)) {
                    Some(blocks) => json!({ "text": text, "blocks": blocks }),
                    None => json!({ "text": text }),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
