//! Held requests as operators see and decide them.
//!
//! In: questions and votes that the warden passes on. Out: lists and results as JSON; every vote and every end of a
//! ticket in the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::Engine;
use crate::approval::{Approves, Cast, Desk, Filed, Open, State, Store, Ticket, Windows};
use crate::audit::event::{ApprovalDecided, ApprovalEnded, ApprovalFiled, Event, Verdict};
use crate::audit::{JournalError, Kept};
use crate::bridge::{Decide, FiledAs, Person};
use crate::state::{self, Change};

/// How often tickets are looked at whose time may be over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest reason that is kept, in characters.
const REASON: usize = 500;

/// Who votes for which groups, by uid.
type Approvers = BTreeMap<u32, BTreeSet<String>>;

/// Requests that ended while no engine ran, and why.
pub(super) type Ended = Vec<(Ticket, &'static str)>;

/// Desk and windows as they were kept, and the requests that have ended since.
pub(super) fn restore(kept: state::Kept, store: Arc<dyn Store>) -> anyhow::Result<(Desk, Windows, Ended)> {
    let windows = kept.windows.iter().map(|text| serde_json::from_str(text)).collect::<Result<Vec<_>, _>>();
    let windows = windows
        .context("what was kept of windows is of another version: move `state.sqlite` out of the state directory")?;
    let (desk, ended) =
        Desk::restore((&kept.key, kept.tickets), store).context("what was kept of requests is of another version: move `state.sqlite` out of the state directory, and it is asked anew")?;
    Ok((desk, Windows::of(windows), ended))
}

impl Engine {
    /// What waits, and what was approved and not used yet; of these groups, where some are given.
    pub(super) fn approvals(&self, of_groups: Option<&[String]>) -> Value {
        let concerns = |open: &Open| {
            let needed = |group: &String| open.ticket.needed.iter().any(|needed| needed.group == *group);
            of_groups.is_none_or(|groups| groups.iter().any(needed))
        };
        self.desk.list().iter().filter(|open| concerns(open)).map(described).collect()
    }

    /// Takes a vote, which counts once it is recorded. Enough of them open a window.
    pub(super) async fn decide(&self, decide: Decide) -> Value {
        let Decide { ticket, approve, person, reason } = decide;
        let approves = if approve { Approves::Yes } else { Approves::No };
        let Person { name, uid, subject, groups, channel, known_by } = person;
        let cast = Cast { person: name, uid, subject, groups, approves, reason: reason.as_deref().map(plain) };
        let record = |ticket: &Ticket, cast: &Cast| self.record_vote(ticket, cast, (channel, known_by));
        match self.desk.vote(ticket, cast, record).await {
            Ok(State::Approved) => match self.desk.take_window(ticket) {
                Some((ticket, votes)) => self.open_window(ticket, votes).await,
                None => json!({ "state": "approved" }),
            },
            Ok(State::Denied { .. }) => json!({ "state": "denied" }),
            Ok(State::Waiting) => json!({ "state": "waiting for more approvals" }),
            Err(error) => json!({ "error": error.to_string() }),
        }
    }

    /// Notes what a request is called in another system.
    pub(super) async fn filed(&self, filed: FiledAs) -> Value {
        let FiledAs { ticket, system, key, url } = filed;
        let record = |ticket: &Ticket, filed: &Filed| {
            let Filed { system, key, url } = filed.clone();
            let event = Event::ApprovalFiled(ApprovalFiled { ticket: ticket.id, system, key, url });
            self.journal.append_unsynced(ticket.session, &event).map(drop)
        };
        match self.desk.file(ticket, Filed { system, key, url }, record).await {
            Ok(()) => Value::Null,
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
            groups: cast.groups.clone(),
            channel,
            known_by,
            // A person's own words about a request, not the request.
            reason: cast.reason.clone().map(Kept::after_redaction),
        });
        self.journal.append_unsynced(ticket.session, &event).map(drop)
    }

    /// Ends tickets and windows that were approved by somebody who is no approver of theirs any more (G6).
    pub(super) fn end_approvals_of_others(&self, approvers: &Approvers) {
        const WHY: &str = "who approved it may no longer";
        let votes = |uid, group: &String| approvers.get(&uid).is_some_and(|groups| groups.contains(group));
        for ticket in self.desk.revoke(votes) {
            self.record_end(&ticket, WHY);
        }
        for window in self.windows.revoke(votes) {
            drop(self.end_window(&window, WHY, None));
        }
    }

    /// Tells of what ended while no engine ran, and ends what does not count any more.
    pub(super) fn record_restored(&self, ended: &[(Ticket, &'static str)], approvers: &Approvers) {
        for (ticket, reason) in ended {
            self.record_end(ticket, reason);
            self.keeper.note(Change::Gone { ticket: ticket.id });
        }
        self.end_approvals_of_others(approvers);
    }

    /// Ends tickets and windows whose time is over, for ever.
    pub(super) async fn expire_approvals(self: Arc<Self>) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tick.tick().await;
            for ticket in self.desk.expire() {
                self.record_end(&ticket, "timeout");
            }
            for window in self.windows.expire() {
                drop(self.end_window(&window, "its time is over", None));
            }
        }
    }

    pub(super) fn record_end(&self, ticket: &Ticket, reason: &str) {
        let event = Event::ApprovalExpired(ApprovalEnded { ticket: ticket.id, reason: reason.to_owned() });
        if let Err(error) = self.journal.append_unsynced(ticket.session, &event) {
            tracing::error!(%error, "the end of a request could not be recorded");
        }
    }
}

/// A person's words as they are kept: on one line, and not for ever.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(REASON).collect()
}

fn described(open: &Open) -> Value {
    let state = match open.state {
        State::Waiting => "waiting",
        State::Approved => "approved",
        State::Denied { .. } => "denied",
    };
    let vote = |cast: &Cast| {
        let vote = if cast.approves == Approves::Yes { "approved" } else { "denied" };
        json!({ "person": cast.person, "vote": vote, "groups": cast.groups, "reason": cast.reason })
    };
    json!({ "ticket": open.ticket, "state": state, "votes": open.votes.iter().map(vote).collect::<Value>() })
}
