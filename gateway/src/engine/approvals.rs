//! Held requests as operators see and decide them.
//!
//! In: questions and votes that the warden passes on. Out: lists and results as JSON; every vote and every end of a
//! ticket in the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Engine;
use crate::approval::{Approves, Cast, Open, State, Ticket};
use crate::audit::event::{ApprovalDecided, ApprovalEnded, Event, Verdict};
use crate::audit::{JournalError, Kept};
use crate::bridge::Decide;

/// How often tickets are looked at whose time may be over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest reason that is kept, in characters.
const REASON: usize = 500;

impl Engine {
    /// What waits, and what was approved and not used yet; of these groups, where some are given.
    pub(super) fn approvals(&self, of_groups: Option<&[String]>) -> Value {
        let concerns = |open: &Open| {
            of_groups.is_none_or(|groups| open.ticket.needed.iter().any(|(group, _)| groups.contains(group)))
        };
        self.desk.list().iter().filter(|open| concerns(open)).map(described).collect()
    }

    /// Takes a vote, which counts once it is recorded.
    pub(super) fn decide(&self, decide: Decide) -> Value {
        let plain = |text: String| text.chars().filter(|c| !c.is_control()).take(REASON).collect::<String>();
        let Decide { ticket, approve, person, uid, groups, channel, known_by, reason } = decide;
        let approves = if approve { Approves::Yes } else { Approves::No };
        let cast = Cast { person, uid, groups, approves, reason: reason.map(plain) };
        let record = |ticket: &Ticket, cast: &Cast| self.record_vote(ticket, cast, (channel, known_by));
        match self.desk.vote(ticket, cast, record) {
            Ok(State::Approved) => json!({ "state": "approved" }),
            Ok(State::Denied { .. }) => json!({ "state": "denied" }),
            Ok(State::Waiting) => json!({ "state": "waiting for more approvals" }),
            Err(error) => json!({ "error": error.to_string() }),
        }
    }

    fn record_vote(
        &self,
        ticket: &Ticket,
        cast: &Cast,
        (channel, known_by): (String, String),
    ) -> Result<(), JournalError> {
        let event = Event::ApprovalDecided(ApprovalDecided {
            ticket: ticket.id,
            verdict: match cast.approves {
                Approves::Yes => Verdict::Allow,
                Approves::No => Verdict::Deny,
            },
            person: cast.person.clone(),
            uid: cast.uid,
            groups: cast.counts_for(ticket),
            channel,
            known_by,
            // A person's own words about a request, not the request.
            reason: cast.reason.clone().map(Kept::after_redaction),
        });
        self.journal.append_unsynced(Some(ticket.session), &event).map(drop)
    }

    /// Ends tickets that were approved by somebody who is no approver of theirs any more (G6).
    pub(super) fn end_approvals_of_others(&self, approvers: &BTreeMap<u32, BTreeSet<String>>) {
        let votes = |uid, group: &String| approvers.get(&uid).is_some_and(|groups| groups.contains(group));
        for ticket in self.desk.revoke(votes) {
            self.record_end(&ticket, "who approved it may no longer");
        }
    }

    /// Ends tickets whose time is over, for ever.
    pub(super) async fn expire_approvals(self: Arc<Self>) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tick.tick().await;
            for ticket in self.desk.expire() {
                self.record_end(&ticket, "timeout");
            }
        }
    }

    fn record_end(&self, ticket: &Ticket, reason: &str) {
        let event = Event::ApprovalExpired(ApprovalEnded { ticket: ticket.id, reason: reason.to_owned() });
        if let Err(error) = self.journal.append_unsynced(Some(ticket.session), &event) {
            tracing::error!(%error, "the end of a request could not be recorded");
        }
    }
}

fn described(open: &Open) -> Value {
    let state = match open.state {
        State::Waiting => "waiting",
        State::Approved => "approved",
        State::Denied { .. } => "denied",
    };
    let vote = |cast: &Cast| {
        let vote = if cast.approves == Approves::Yes { "approved" } else { "denied" };
        json!({ "person": cast.person, "vote": vote, "groups": cast.counts_for(&open.ticket), "reason": cast.reason })
    };
    json!({ "ticket": open.ticket, "state": state, "votes": open.votes.iter().map(vote).collect::<Value>() })
}
