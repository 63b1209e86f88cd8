//! The event of a statement in pieces, for statements that come again and again.
//!
//! In: one event. Out: the same event for other texts and parameters, without building it anew: what a shape of statement
//! and a decision have in common is JSON already. It must never write another line than the event itself would.

use serde::Serialize;

use super::PostgresStatement;
use super::session::{Decision, Verdict};
use crate::audit::kept::Kept;

/// What stands before and behind text and parameters, as JSON.
#[derive(Debug)]
pub struct StatementFrame {
    before: Box<[u8]>,
    behind: Box<[u8]>,
    verdict: Verdict,
}

/// A frame with its text and parameters.
#[derive(Clone, Copy, Debug)]
pub struct FramedStatement<'a> {
    frame: &'a StatementFrame,
    text: &'a Kept,
    parameters: &'a [Kept],
}

/// The fields before the text, in order.
#[derive(Serialize)]
struct Before<'a> {
    database: &'a str,
    login: &'a str,
    phase: super::Phase,
    command: &'a str,
    actions: &'a [String],
    relations_read: &'a [String],
    relations_written: &'a [String],
    data_classes: &'a [String],
}

/// The fields behind the parameters.
#[derive(Serialize)]
struct Behind<'a> {
    fingerprint: &'a str,
    decision: &'a Decision,
}

impl StatementFrame {
    /// The frame of an event.
    ///
    /// # Errors
    /// Where it cannot be written as JSON.
    pub fn of(event: &PostgresStatement) -> serde_json::Result<Self> {
        let PostgresStatement { database, login, phase, command, actions, relations_read, relations_written, .. } =
            event;
        let before = serde_json::to_vec(&Before {
            database,
            login,
            phase: *phase,
            command,
            actions,
            relations_read,
            relations_written,
            data_classes: &event.data_classes,
        })?;
        let behind = serde_json::to_vec(&Behind { fingerprint: &event.fingerprint, decision: &event.decision })?;
        Ok(Self {
            before: before.strip_suffix(b"}").unwrap_or_default().into(),
            behind: behind.strip_prefix(b"{").unwrap_or_default().into(),
            verdict: event.decision.verdict,
        })
    }

    /// The event with that text and those parameters.
    #[must_use]
    pub fn with<'a>(&'a self, text: &'a Kept, parameters: &'a [Kept]) -> FramedStatement<'a> {
        FramedStatement { frame: self, text, parameters }
    }
}

impl super::Body for FramedStatement<'_> {
    fn kind(&self) -> &'static str {
        "postgres.statement"
    }

    fn verdict(&self) -> Option<Verdict> {
        Some(self.frame.verdict)
    }

    fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        out.extend_from_slice(&self.frame.before);
        out.extend_from_slice(b",\"text\":");
        serde_json::to_writer(&mut *out, self.text)?;
        out.extend_from_slice(b",\"parameters\":");
        serde_json::to_writer(&mut *out, self.parameters)?;
        out.push(b',');
        out.extend_from_slice(&self.frame.behind);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Event, Phase};
    use super::*;
    use crate::audit::KeptInput;

    #[test]
    fn a_framed_statement_is_written_as_the_event_itself() {
        let kept = |text: &str| Kept::after_redaction(text.to_owned());
        let event = |text: &str, parameters: &[&str]| PostgresStatement {
            database: "sh\"op".into(),
            login: "agent".into(),
            phase: Phase::Execute,
            command: "SELECT".into(),
            actions: vec!["Postgres::select".to_owned()].into(),
            relations_read: vec!["a".to_owned(), "b".to_owned()].into(),
            relations_written: Vec::new().into(),
            data_classes: vec!["card".to_owned()],
            text: kept(text),
            parameters: parameters.iter().map(|text| kept(text)).collect(),
            fingerprint: "f".into(),
            decision: Decision {
                verdict: Verdict::Allow,
                policies: vec!["open".into()],
                policy_set: "1-a".into(),
                epoch: 1,
                message: None,
                ticket: None,
                grants: Vec::new(),
                input: KeptInput::default(),
            },
        };
        let frame = StatementFrame::of(&event("", &[])).unwrap();
        for (text, parameters) in [("", &[][..]), ("select \"\u{1}é\\", &["1", "\""][..])] {
            let (mut framed, mut whole) = (Vec::new(), Vec::new());
            let kept: Vec<Kept> = parameters.iter().map(|text| kept(text)).collect();
            let one = event(text, parameters);
            frame.with(&one.text, &kept).write(&mut framed).unwrap();
            let event = Event::PostgresStatement(Box::new(one.clone()));
            event.write(&mut whole).unwrap();
            assert_eq!(String::from_utf8(framed).unwrap(), String::from_utf8(whole).unwrap());
            let framed = frame.with(&one.text, &kept);
            assert_eq!((framed.kind(), framed.verdict()), (Body::kind(&event), event.verdict()));
        }
    }
}
