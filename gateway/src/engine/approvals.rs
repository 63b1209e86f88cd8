//! Held requests as operators see and decide them.
//!
//! In: questions and votes that the warden passes on. Out: lists and results as JSON; every vote and every end of a
//! ticket in the journal.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Engine;
use crate::approval::{Approves, Cast, State, Ticket};
use crate::audit::Kept;
use crate::audit::event::{ApprovalDecided, ApprovalEnded, Event, Verdict};
use crate::bridge::Decide;

/// How often tickets are looked at whose time may be over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest reason that is kept, in characters.
const REASON: usize = 500;

impl Engine {
    /// What waits, and what was approved and not used yet.
    pub(super) fn approvals(&self) -> Value {
        let one = |(ticket, state): (Ticket, State)| {
            let state = match state {
                State::Waiting => "waiting",
                State::Approved => "approved",
                State::Denied { .. } => "denied",
            };
            json!({ "ticket": ticket, "state": state })
        };
        self.desk.list().into_iter().map(one).collect()
    }

    /// Takes a vote, which counts once it is recorded.
    pub(super) fn decide(&self, decide: Decide) -> Value {
        let plain = |text: String| text.chars().filter(|c| !c.is_control()).take(REASON).collect::<String>();
        let reason = decide.reason.map(plain);
        let (approves, verdict) =
            if decide.approve { (Approves::Yes, Verdict::Allow) } else { (Approves::No, Verdict::Deny) };
        let known = self.desk.list().into_iter().find(|(ticket, _)| ticket.id == decide.ticket);
        if let Some((ticket, _)) = known {
            let event = Event::ApprovalDecided(ApprovalDecided {
                ticket: decide.ticket,
                verdict,
                person: decide.person.clone(),
                channel: "cli".to_owned(),
                // A person's own words about a request, not the request.
                reason: reason.clone().map(Kept::after_redaction),
            });
            if let Err(error) = self.journal.append_unsynced(Some(ticket.session), &event) {
                return json!({ "error": format!("the vote could not be recorded: {error}") });
            }
        }
        let cast = Cast { person: decide.person, groups: decide.groups, approves, reason };
        match self.desk.vote(decide.ticket, cast) {
            Ok((_, State::Approved)) => json!({ "state": "approved" }),
            Ok((_, State::Denied { .. })) => json!({ "state": "denied" }),
            Ok((_, State::Waiting)) => json!({ "state": "waiting for more approvals" }),
            Err(error) => json!({ "error": error.to_string() }),
        }
    }

    /// Ends tickets whose time is over, for ever.
    pub(super) async fn expire_approvals(self: Arc<Self>) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tick.tick().await;
            for ticket in self.desk.expire() {
                let event = Event::ApprovalExpired(ApprovalEnded { ticket: ticket.id, reason: "timeout".to_owned() });
                if let Err(error) = self.journal.append_unsynced(Some(ticket.session), &event) {
                    tracing::error!(%error, "the end of a request could not be recorded");
                }
            }
        }
    }
}
