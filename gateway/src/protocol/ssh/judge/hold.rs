//! Requests that policy wants a person to see.
//!
//! In: a hold, with the request that it is for. Out: the permit once enough people said yes, or what the client reads.
//! The client is told at once; with a terminal it waits, without one it comes back with exactly the same request.

use std::sync::atomic::Ordering;

use super::{Asked, Judge, Refused};
use crate::approval::{Binding, Found, Outcome, Ticket, needed};
use crate::audit::event::{ApprovalEnded, ApprovalRequested, Event};
use crate::audit::{Seq, Timestamp};
use crate::config::OnHold;
use crate::id::TicketId;
use crate::policy::{Hold, RequestPermit};
use crate::protocol::ssh::words::Speaker;

/// What people said.
pub(super) enum Answer {
    /// Yes, once.
    Approved(RequestPermit),
    /// Policies have changed since.
    JudgeAgain,
}

/// A ticket whose client is there. Dropped while nobody has decided, the request is withdrawn: the client left.
struct Attended<'a> {
    judge: &'a Judge,
    ticket: TicketId,
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        if self.judge.shared.desk.withdraw(self.ticket) {
            let event = Event::ApprovalExpired(ApprovalEnded {
                ticket: self.ticket,
                reason: "the client left or gave up".to_owned(),
            });
            self.judge.note(&event);
        }
    }
}

impl Judge {
    /// Asks the people that a hold names.
    pub(super) async fn ask_people(
        &self,
        asked: &Asked,
        (hold, request): (Hold, Seq),
        speaker: Option<&Speaker>,
    ) -> Result<Answer, Refused> {
        self.guard.counts().held.fetch_add(1, Ordering::Relaxed);
        let binding = self.bind(asked);
        let ticket = match self.shared.desk.find(&binding) {
            Some(Found::Approved(ticket)) => return self.use_up(ticket, &binding, hold).await,
            Some(Found::Waiting(ticket)) => ticket,
            Some(Found::Denied { ticket, person, reason }) => return Err(self.said_no(ticket, &person, reason)),
            None => self.put_on_desk(asked, &binding, &hold, request).await?,
        };
        let waits = self.about.approval.on_hold.map_or(asked.pty, |on_hold| on_hold == OnHold::Wait);
        let Some(speaker) = speaker.filter(|_| waits) else {
            return Err(self.refusal(&format!(
                "{}; request {ticket} waits for approval by {} for {} minutes, nothing was run: send exactly the same \
                 again after the approval, and it runs once",
                reasons(&hold),
                groups(&hold),
                self.about.approval.timeout.as_secs().div_ceil(60),
            )));
        };
        let _attended = Attended { judge: self, ticket };
        let line = format!(
            "gateway: {}; it waits as request {ticket} for approval by {}: gateway approve {ticket}",
            reasons(&hold),
            groups(&hold)
        );
        speaker.say(&line).await;
        match self.shared.desk.wait(ticket, None).await {
            Outcome::Approved => self.use_up(ticket, &binding, hold).await,
            Outcome::Denied { person, reason } => Err(self.said_no(ticket, &person, reason)),
            Outcome::Expired => Err(self.refusal(&format!("request {ticket} was held, and nobody decided in time"))),
        }
    }

    /// The exact words and what they mean: who asks, where, as whom, with which facts.
    fn bind(&self, asked: &Asked) -> Binding {
        let principal = self.about.principal.facts().to_string();
        let mut parts = vec![
            "ssh".to_owned(),
            asked.text.clone(),
            self.about.host.id().to_owned(),
            self.user().to_owned(),
            if asked.pty { "terminal" } else { "" }.to_owned(),
            principal,
        ];
        parts.extend(asked.questions.iter().map(|question| question.facts().to_string()));
        self.shared.desk.bind(parts.iter().map(String::as_bytes))
    }

    async fn put_on_desk(
        &self,
        asked: &Asked,
        binding: &Binding,
        hold: &Hold,
        request: Seq,
    ) -> Result<TicketId, Refused> {
        let time = self.about.approval.timeout;
        let now = Timestamp::now();
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let held = hold.held();
        let ticket = Ticket {
            id: TicketId::generate(),
            session: self.guard.session(),
            workload: self.about.principal.entity().id().to_owned(),
            destination: format!("{}@{}", self.user(), self.about.target_name),
            summary: self.kept(&asked.text),
            opaque: super::record::opaque(&asked.questions),
            policies: held.policies().iter().map(ToString::to_string).collect(),
            needed: needed(held.votes()),
            asked: now,
            expires: Timestamp::from_micros(now.as_micros().saturating_add(micros)),
        };
        let event = Event::ApprovalRequested(Box::new(ApprovalRequested {
            ticket: ticket.id,
            request,
            summary: ticket.summary.clone(),
            binding: binding.to_hex(),
            policies: ticket.policies.clone(),
            groups: ticket.needed.iter().map(|(group, _)| group.clone()).collect(),
            needed: ticket.needed.iter().map(|(_, count)| u32::from(*count)).sum(),
            expires: ticket.expires,
        }));
        self.guard.record(&event).await.map_err(|error| self.unrecorded(&error))?;
        let id = ticket.id;
        let opened = self.shared.desk.open(ticket, binding.clone(), time);
        opened.map_err(|error| self.refusal(&error.to_string()))?;
        Ok(id)
    }

    /// Takes the permit, once, and writes that it was taken.
    async fn use_up(&self, ticket: TicketId, binding: &Binding, hold: Hold) -> Result<Answer, Refused> {
        if hold.epoch() != self.shared.policies.borrow().epoch() {
            return Ok(Answer::JudgeAgain);
        }
        let Some(permit) = self.shared.desk.consume(ticket, binding, hold) else {
            return Err(self.refusal(&format!("the approval of request {ticket} was used already")));
        };
        let event = Event::ApprovalConsumed(ApprovalEnded { ticket, reason: "sent".to_owned() });
        self.guard.record(&event).await.map_err(|error| self.unrecorded(&error))?;
        Ok(Answer::Approved(permit))
    }

    fn said_no(&self, ticket: TicketId, person: &str, reason: Option<String>) -> Refused {
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        self.refusal(&format!("{person} denied request {ticket}{reason}"))
    }
}

fn reasons(hold: &Hold) -> String {
    let held = hold.held();
    let policies: Vec<_> = held.policies().iter().map(AsRef::as_ref).collect();
    let why: Vec<_> = held.messages().iter().map(AsRef::as_ref).collect();
    format!("held by policy {}: {}", policies.join(", "), why.join("; "))
}

fn groups(hold: &Hold) -> String {
    let votes: Vec<_> = hold.held().votes().iter().map(ToString::to_string).collect();
    votes.join(" and ")
}
