//! Requests that policy wants a person to see.
//!
//! In: a hold, with the request that it is for. Out: the permit once enough people said yes, or what the client reads.
//! The client is told at once; it waits, or comes back with exactly the same request.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{PolicyJudge, Understood};
use crate::approval::{About, Binding, Found, Outcome, Ticket};
use crate::audit::Seq;
use crate::audit::event::{ApprovalEnded, Event};
use crate::config::OnHold;
use crate::id::TicketId;
use crate::policy::{Hold, RequestPermit};
use crate::protocol::postgres::judge::Say;
use crate::protocol::postgres::reply::{Denial, SqlState};

/// Inside a transaction a hold keeps locks: it is short.
const IN_TRANSACTION: Duration = Duration::from_secs(30);

/// What people said.
pub(super) enum Answer {
    /// Yes, once.
    Approved(RequestPermit),
    /// Policies have changed since.
    JudgeAgain,
}

/// A ticket whose client is there. Dropped while nobody has decided, the request is withdrawn: the client left.
struct Attended<'a> {
    judge: &'a PolicyJudge,
    ticket: TicketId,
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        if self.judge.shared.desk.withdraw(self.ticket) {
            self.judge.end_of_ticket(self.ticket, "the client left or gave up");
        }
    }
}

impl PolicyJudge {
    /// Asks the people that a hold names.
    pub(super) async fn ask_people(
        &self,
        understood: &Understood,
        parameters: &[u8],
        (hold, request): (Hold, Seq),
        say: &Say,
    ) -> Result<Answer, Box<Denial>> {
        self.guard.counts().held.fetch_add(1, Ordering::Relaxed);
        let binding = self.bind_request(understood, parameters);
        let ticket = match self.shared.desk.find(&binding) {
            Some(Found::Approved(ticket)) => return self.use_up(ticket, &binding, hold).await,
            Some(Found::Waiting(ticket)) => ticket,
            Some(Found::Denied { ticket, person, reason }) => {
                return Err(Box::new(self.said_no(ticket, &person, reason)));
            }
            None => self.put_on_desk(understood, &binding, &hold, request).await?,
        };
        if self.on_hold() == OnHold::Return {
            return Err(Box::new(self.come_back(&hold, ticket, request)));
        }
        let _attended = Attended { judge: self, ticket };
        say.notice(
            Denial::notice(format!("{}; it waits as request {ticket}", hold.held().reasons()))
                .with_hint(format!("It needs approval by {}: gateway approve {ticket}", hold.held().approvers())),
        );
        let limit = say.in_transaction().then_some(IN_TRANSACTION);
        match self.shared.desk.wait(ticket, limit).await {
            Outcome::Approved => self.use_up(ticket, &binding, hold).await,
            Outcome::Denied { person, reason } => Err(Box::new(self.said_no(ticket, &person, reason))),
            Outcome::Expired => {
                let why = if limit.is_some() {
                    "nobody decided within 30 seconds, and a transaction is not kept open for longer"
                } else {
                    "nobody decided in time"
                };
                let denial = self.refusal(SqlState::DENIED, &format!("request {ticket} was held, and {why}"));
                Err(Box::new(denial.with_hint("Send it again outside of a transaction, when somebody can approve it.")))
            }
        }
    }

    /// The exact bytes and what they mean.
    fn bind_request(&self, understood: &Understood, parameters: &[u8]) -> Binding {
        let login = self.login.get();
        let path = self.scope(false).map(|scope| scope.scene().path.join("\0")).unwrap_or_default();
        let temporaries = self.names.lock().temporaries().collect::<Vec<_>>().join("\0");
        let user = login.map(|login| login.startup.user.as_str()).unwrap_or_default();
        let database = login.map(|login| login.startup.database.as_str()).unwrap_or_default();
        let principal = self.about.principal.facts().to_string();
        let catalog = &understood.scope.scene().catalog;
        let mut parts: Vec<&[u8]> = vec![
            understood.own.text.as_bytes(),
            parameters,
            self.about.target.id().as_bytes(),
            database.as_bytes(),
            user.as_bytes(),
            path.as_bytes(),
            temporaries.as_bytes(),
            principal.as_bytes(),
            // Which columns carry labels, and what the relations around them are.
            catalog.as_ref().map_or(&[][..], |catalog| catalog.digest()),
        ];
        parts.extend(understood.named.iter().map(|analysis| analysis.text.as_bytes()));
        self.shared.desk.bind(parts)
    }

    async fn put_on_desk(
        &self,
        understood: &Understood,
        binding: &Binding,
        hold: &Hold,
        request: Seq,
    ) -> Result<TicketId, Box<Denial>> {
        let time = self.about.approval.timeout;
        let statements = &understood.own.facts.statements;
        let opaque = statements.iter().flat_map(|statement| &statement.opaque).map(ToString::to_string).collect();
        let database = self.login.get().map(|login| login.startup.database.clone()).unwrap_or_default();
        let about = About {
            workload: self.about.principal.entity().id().to_owned(),
            destination: format!("{}/{database}", self.about.target_name),
            summary: understood.own.shape.plain.clone(),
            opaque,
        };
        let ticket = Ticket::new(self.guard.session(), about, hold.held(), time);
        let requested = ticket.requested(request, binding);
        self.guard.record(&requested).await.map_err(|error| Box::new(self.unrecorded(&error)))?;
        let id = ticket.id;
        let opened = self.shared.desk.open(ticket, binding.clone(), time);
        opened.map_err(|error| Box::new(self.refusal(SqlState::DENIED, &error.to_string())))?;
        Ok(id)
    }

    /// Takes the permit, once, and writes that it was taken.
    async fn use_up(&self, ticket: TicketId, binding: &Binding, hold: Hold) -> Result<Answer, Box<Denial>> {
        if hold.epoch() != self.policies.lock().get().epoch() {
            return Ok(Answer::JudgeAgain);
        }
        let Some(permit) = self.shared.desk.consume(ticket, binding, hold) else {
            let reason = format!("the approval of request {ticket} was used already");
            return Err(Box::new(self.refusal(SqlState::DENIED, &reason)));
        };
        let event = Event::ApprovalConsumed(ApprovalEnded { ticket, reason: "sent".to_owned() });
        self.guard.record(&event).await.map_err(|error| Box::new(self.unrecorded(&error)))?;
        Ok(Answer::Approved(permit))
    }

    fn said_no(&self, ticket: TicketId, person: &str, reason: Option<String>) -> Denial {
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        self.refusal(SqlState::DENIED, &format!("{person} denied request {ticket}{reason}"))
            .with_hint("Do not send it again; ask what would be acceptable.")
    }

    fn come_back(&self, hold: &Hold, ticket: TicketId, request: Seq) -> Denial {
        let detail = format!(
            "Request {ticket} waits for approval by {}, for {} minutes; nothing was sent. Session {}, event {request}.",
            hold.held().approvers(),
            self.about.approval.timeout.as_secs().div_ceil(60),
            self.guard.session()
        );
        let hint = "Send exactly the same statement again after the approval: it then runs once. Do not rephrase it.";
        Denial::error(SqlState::DENIED, hold.held().reasons()).with_detail(detail).with_hint(hint)
    }

    /// An interactive psql waits; drivers and agents drop a call after a minute or two, and are told to come back.
    fn on_hold(&self) -> OnHold {
        let is_psql = self.login.get().is_some_and(|login| login.startup.application_name.as_deref() == Some("psql"));
        self.about.approval.on_hold.unwrap_or(if is_psql { OnHold::Wait } else { OnHold::Return })
    }

    fn end_of_ticket(&self, ticket: TicketId, reason: &str) {
        let event = Event::ApprovalExpired(ApprovalEnded { ticket, reason: reason.to_owned() });
        if let Err(error) = self.guard.note(&event) {
            tracing::error!(session = %self.guard.session(), %error, "the end of a request could not be recorded");
        }
    }
}
