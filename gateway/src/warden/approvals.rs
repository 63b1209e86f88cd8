//! What people of this host ask of held requests and windows.
//!
//! In: a uid that the control socket has from the kernel, and what it asks. Out: the engine's answer, and what the journal
//! has of the session so far. Who runs inside of an attachment has no say.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::{Warden, people};
use crate::audit::Reader;
use crate::audit::journal::{Filter, Item, ReadError, Record};
use crate::bridge::{Decide, Person, Question, Revoke, WindowRequest};
use crate::capture::gaps;
use crate::control::service::{Decision, Ending, OperatorError, WindowWanted};
use crate::id::{SessionId, TicketId};

/// Events of a session that an approver reads: its last ones.
const SO_FAR: usize = 40;
/// Lines that are looked at for them.
const MAX_LINES: usize = 200_000;

impl Warden {
    pub(super) async fn waiting(&self, uid: u32) -> Result<Value, OperatorError> {
        let of_groups = (uid != 0).then(|| self.groups_of(uid));
        self.engine.ask(Question::Approvals { of_groups }).await.map_err(OperatorError::Refused)
    }

    /// One request, with the session so far.
    pub(super) async fn approval(&self, uid: u32, ticket: TicketId) -> Result<Value, OperatorError> {
        let all = self.waiting(uid).await?;
        self.whole(&all, ticket).await
    }

    /// One of these requests, with the session so far.
    pub(super) async fn whole(&self, all: &Value, ticket: TicketId) -> Result<Value, OperatorError> {
        let is_it = |one: &&Value| one.pointer("/ticket/id") == Some(&json!(ticket));
        let found = all.as_array().into_iter().flatten().find(is_it).cloned();
        let Some(mut found) = found else {
            let reason = format!("no request waits under `{ticket}`: `gateway approvals` lists what waits");
            return Err(OperatorError::Refused(reason));
        };
        let session = found.pointer("/ticket/session").and_then(Value::as_str).and_then(|id| id.parse().ok());
        if let (Some(session), Some(object)) = (session, found.as_object_mut()) {
            let reader = Reader::new(self.engine.layout().clone());
            let read = tokio::task::spawn_blocking(move || so_far(&reader, session)).await;
            let events = match read {
                Ok(Ok(records)) => json!(records),
                Ok(Err(error)) => json!({ "error": crate::chain::chain(&error) }),
                Err(error) => json!({ "error": error.to_string() }),
            };
            object.insert("so_far".to_owned(), events);
        }
        Ok(found)
    }

    pub(super) async fn vote(&self, uid: u32, decision: Decision) -> Result<Value, OperatorError> {
        let person = self.voter(uid)?;
        let Decision { ticket, approve, reason } = decision;
        let decide = Decide { ticket, approve, person, reason };
        self.engine.ask(Question::Decide(decide)).await.map_err(OperatorError::Refused)
    }

    pub(super) async fn window(&self, uid: u32, wanted: WindowWanted) -> Result<Value, OperatorError> {
        let person = if wanted.break_glass { self.voter(uid)? } else { self.person(uid) };
        let WindowWanted { name, workload, target, time, reason, break_glass } = wanted;
        let request = WindowRequest { name, workload, target, time, reason, break_glass, person };
        self.engine.ask(Question::Window(request)).await.map_err(OperatorError::Refused)
    }

    pub(super) async fn revoke(&self, uid: u32, ending: Ending) -> Result<Value, OperatorError> {
        let revoke = Revoke { window: ending.window, person: self.person(uid), reason: ending.reason };
        self.engine.ask(Question::Revoke(revoke)).await.map_err(OperatorError::Refused)
    }

    fn groups_of(&self, uid: u32) -> Vec<String> {
        let approver = people::approvers(&self.config.lock()).remove(&uid);
        approver.unwrap_or_default().groups.into_iter().collect()
    }

    pub(super) fn person(&self, uid: u32) -> Person {
        Person {
            name: people::name(uid),
            uid: Some(uid),
            subject: None,
            groups: self.groups_of(uid),
            channel: "cli".to_owned(),
            known_by: "peer credentials of the control socket".to_owned(),
        }
    }

    /// A person whose word counts: of a group, and nobody inside can speak for them.
    fn voter(&self, uid: u32) -> Result<Person, OperatorError> {
        let refused = |reason: String| Err(OperatorError::Refused(reason));
        let Some(approver) = people::approvers(&self.config.lock()).remove(&uid) else {
            return refused(format!(
                "uid {uid} votes for no group: `[approval] host` in the configuration says who does"
            ));
        };
        if let Some(name) = self.runs_inside(uid) {
            return refused(format!(
                "processes in `{name}` run as {} too, so this could be their own word: run them as a user of its own, or list `{}` under accept_gaps",
                approver.name,
                gaps::APPROVER_UID
            ));
        }
        Ok(Person { name: approver.name, ..self.person(uid) })
    }
}

/// An event without the input of its decision, and of a statement what it does in place of its text: constants of others are
/// no approver's to read.
fn for_approvers(kind: &str, mut body: Value) -> Value {
    if let Some(decision) = body.get_mut("decision").and_then(Value::as_object_mut) {
        decision.remove("input");
    }
    if kind == "postgres.statement"
        && let Some(statement) = body.as_object_mut()
    {
        let words = |value: Option<&Value>| {
            let words = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            words.collect::<Vec<_>>().join(", ")
        };
        let of = [statement.get("relations_read"), statement.get("relations_written")].map(words);
        let command = statement.get("command").and_then(Value::as_str).unwrap_or_default();
        let [read, written] = of;
        let text = format!("{command} reads [{read}] writes [{written}]");
        statement.remove("parameters");
        statement.insert("text".to_owned(), text.into());
    }
    body
}

/// The last events of a session.
fn so_far(reader: &Reader, session: SessionId) -> Result<Vec<Record>, ReadError> {
    let mut records = reader.records(Filter { session: Some(session), ..Filter::default() })?;
    let mut last = VecDeque::new();
    for _ in 0..MAX_LINES {
        match records.next_item()? {
            Some(Item::Record(mut record)) => {
                record.body = for_approvers(&record.kind, record.body);
                last.push_back(record);
                if last.len() > SO_FAR {
                    last.pop_front();
                }
            }
            Some(Item::Broken(_)) => {}
            None => break,
        }
    }
    Ok(last.into())
}
