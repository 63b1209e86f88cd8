//! Requests that policy wants a person to see.
//!
//! In: a hold, with the request that it is for. Out: the permit once enough people said yes, or what the client reads.
//! The client is told at once; with a terminal it waits, without one it comes back with exactly the same request.

use std::sync::atomic::Ordering;

use super::{Asked, Judge, Refused};
use crate::approval::{About, AskError, Binding, Found, Outcome, Ticket};
use crate::audit::Seq;
use crate::audit::event::{ApprovalEnded, Event};
use crate::config::OnHold;
use crate::id::TicketId;
use crate::policy::vocabulary::command;
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
        let ticket = match self.shared.desk.find(&binding, hold.held()) {
            Some(Found::Approved(ticket)) => return self.use_up(ticket, &binding, hold).await,
            Some(Found::Waiting(ticket)) => ticket,
            Some(Found::Denied { ticket, person, reason }) => return Err(self.said_no(ticket, &person, reason)),
            None => {
                let attended = speaker.is_some() && self.waits(asked);
                self.put_on_desk(asked, &binding, (&hold, attended), request).await?
            }
        };
        let Some(speaker) = speaker.filter(|_| self.waits(asked)) else {
            return Err(self.refusal(&format!(
                "{}; request {ticket} waits for approval by {} for {}, nothing was run: send exactly the same \
                 again after the approval, and it runs once",
                hold.held().reasons(),
                hold.held().approvers(),
                hold.held().patience(self.about.approval.timeout),
            )));
        };
        let _attended = Attended { judge: self, ticket };
        let line = format!(
            "gateway: {}; it waits as request {ticket} for approval by {}: gateway approve {ticket}",
            hold.held().reasons(),
            hold.held().approvers()
        );
        speaker.say(&line).await;
        match self.shared.desk.wait(ticket, None).await {
            Outcome::Approved => self.use_up(ticket, &binding, hold).await,
            Outcome::Denied { person, reason } => Err(self.said_no(ticket, &person, reason)),
            Outcome::Expired => Err(self.refusal(&format!("request {ticket} was held, and nobody decided in time"))),
        }
    }

    fn waits(&self, asked: &Asked) -> bool {
        self.about.approval.on_hold.map_or(asked.pty, |on_hold| on_hold == OnHold::Wait)
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
        (hold, attended): (&Hold, bool),
        request: Seq,
    ) -> Result<TicketId, Refused> {
        let time = self.about.approval.timeout;
        let about = About {
            workload: self.about.principal.entity().id().to_owned(),
            destination: format!("{}@{}", self.user(), self.about.target_name),
            summary: self.kept(&asked.text),
            opaque: command::opaque(&asked.questions),
            ..About::default()
        };
        let about = about.with_asks(hold.held(), |text| self.kept(text).to_string());
        let ticket = Ticket { attended, ..Ticket::new(&self.guard, request, about, hold.held(), time) };
        self.shared.desk.ask(&self.guard, ticket, binding.clone()).await.map_err(|error| match error {
            AskError::Unrecorded(error) => self.unrecorded(&error),
            AskError::Desk(error) => self.refusal(&error.to_string()),
        })
    }

    /// Takes the permit, once, and writes that it was taken.
    async fn use_up(&self, ticket: TicketId, binding: &Binding, hold: Hold) -> Result<Answer, Refused> {
        if hold.epoch() != self.shared.policies.borrow().epoch() {
            return Ok(Answer::JudgeAgain);
        }
        let consumed = self.shared.desk.consume(ticket, binding, hold).await;
        let Some(permit) = consumed.map_err(|error| self.refusal(&error.to_string()))? else {
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
