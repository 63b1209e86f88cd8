//! Requests that policy wants a person to see.
//!
//! In: a hold, with the request that it is for. Out: the permit once enough people said yes, or what the client reads.
//! The client is told at once; it waits, or comes back with exactly the same request.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{PolicyJudge, Understood};
use crate::approval::{About, AskError, Binding, Found, Outcome, Ticket};
use crate::audit::event::{ApprovalEnded, Event};
use crate::audit::{Kept, Seq};
use crate::config::OnHold;
use crate::id::TicketId;
use crate::masking::masked::Masked;
use crate::policy::Hold;
use crate::protocol::postgres::judge::Say;
use crate::protocol::postgres::reply::{Denial, SqlState};

/// Inside a transaction a hold keeps locks: it is short.
const IN_TRANSACTION: Duration = Duration::from_secs(30);

/// What people said.
pub(super) enum Answer<P> {
    /// Yes, once.
    Approved(P),
    /// Policies have changed since.
    JudgeAgain,
}

/// What people are asked about.
#[derive(Debug)]
pub(super) struct Matter {
    /// To which a yes is bound.
    pub(super) binding: Binding,
    pub(super) summary: Kept,
    /// Why not all of it can be read.
    pub(super) opaque: Vec<String>,
    /// The line of the request.
    pub(super) request: Seq,
    /// It ran, and waits to be committed: so many rows.
    pub(super) changed: Option<u64>,
}

impl Matter {
    /// What becomes of it without a yes.
    fn fate(&self) -> &'static str {
        if self.changed.is_some() { "nothing of it is committed" } else { "nothing was sent" }
    }

    fn reasons<P>(&self, hold: &Hold<P>) -> String {
        let reasons = hold.held().reasons();
        let changed = self.changed.map(|rows| format!(" (rows that it would change: {rows})"));
        reasons + &changed.unwrap_or_default()
    }
}

/// A ticket whose client is there. Dropped while nobody has decided, the request is withdrawn: the client left.
struct Attended<'a> {
    judge: &'a PolicyJudge,
    /// None where it may be decided without the client.
    ticket: Option<TicketId>,
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.filter(|ticket| self.judge.shared.desk.withdraw(*ticket)) {
            self.judge.end_of_ticket(ticket, "the client left or gave up");
        }
    }
}

impl PolicyJudge {
    /// Asks the people that a hold names.
    pub(super) async fn ask_people<P>(
        &self,
        matter: &Matter,
        hold: Hold<P>,
        say: &Say,
    ) -> Result<Answer<P>, Box<Denial>> {
        self.guard.counts().held.fetch_add(1, Ordering::Relaxed);
        let ticket = match self.shared.desk.find(&matter.binding, hold.held()) {
            Some(Found::Approved(ticket)) => return self.use_up(ticket, matter, hold).await,
            Some(Found::Waiting(ticket)) => ticket,
            Some(Found::Denied { ticket, person, reason }) => {
                return Err(Box::new(self.said_no(matter, ticket, &person, reason)));
            }
            None => self.put_on_desk(matter, &hold).await?,
        };
        if self.on_hold() == OnHold::Return {
            return Err(Box::new(self.come_back(matter, &hold, ticket)));
        }
        let mut attended = Attended { judge: self, ticket: Some(ticket) };
        say.notice(
            Denial::notice(format!("{}; it waits as request {ticket}", matter.reasons(&hold)))
                .with_hint(format!("It needs approval by {}: gateway approve {ticket}", hold.held().approvers())),
        );
        let limit = (matter.changed.is_some() || say.in_transaction()).then_some(IN_TRANSACTION);
        match self.shared.desk.wait(ticket, limit).await {
            Outcome::Approved => self.use_up(ticket, matter, hold).await,
            Outcome::Denied { person, reason } => Err(Box::new(self.said_no(matter, ticket, &person, reason))),
            Outcome::Expired
                if matter.changed.is_some() && self.shared.desk.find(&matter.binding, hold.held()).is_some() =>
            {
                // Its locks are given up; people may still decide.
                attended.ticket = None;
                Err(Box::new(self.come_back(matter, &hold, ticket)))
            }
            Outcome::Expired => {
                let why = if limit.is_some_and(|limit| limit < self.about.approval.timeout) {
                    "nobody decided within 30 seconds, and a transaction is not kept open for longer"
                } else {
                    "nobody decided in time"
                };
                let denial = self.turned_down(matter, &format!("request {ticket} was held, and {why}"));
                let hint = if say.in_transaction() {
                    "Send it again outside of a transaction, when somebody can approve it."
                } else {
                    "Send it again when somebody can approve it."
                };
                Err(Box::new(denial.with_hint(hint)))
            }
        }
    }

    /// What people are asked about a request before it is sent.
    pub(super) fn matter(&self, understood: &Understood, parameters: &[u8], request: Seq) -> Matter {
        let statements = &understood.own.facts.statements;
        Matter {
            binding: self.bind_request(understood, parameters),
            summary: understood.own.shape.plain.clone(),
            opaque: statements.iter().flat_map(|statement| &statement.opaque).map(ToString::to_string).collect(),
            request,
            changed: None,
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
        let catalog = &understood.scope.scene().calls;
        let mut parts: Vec<&[u8]> = vec![
            understood.own.text.as_bytes(),
            parameters,
            self.about.target.id().as_bytes(),
            database.as_bytes(),
            user.as_bytes(),
            path.as_bytes(),
            temporaries.as_bytes(),
            principal.as_bytes(),
            // Which columns carry labels, what the relations around them are, and which calls no text shows.
            catalog.as_ref().map_or(&[][..], |catalog| catalog.digest()),
        ];
        parts.extend(understood.named.iter().map(|analysis| analysis.text.as_bytes()));
        self.shared.desk.bind(parts)
    }

    async fn put_on_desk<P>(&self, matter: &Matter, hold: &Hold<P>) -> Result<TicketId, Box<Denial>> {
        let database = self.login.get().map(|login| login.startup.database.clone()).unwrap_or_default();
        let about = About {
            workload: self.about.principal.entity().id().to_owned(),
            destination: format!("{}/{database}", self.about.target_name),
            summary: matter.summary.clone(),
            opaque: matter.opaque.clone(),
            changed: matter.changed,
            asks: Vec::new(),
            changes: Vec::new(),
        };
        let masking = self.view.lock().as_ref().map(|view| Arc::clone(&view.masking)).unwrap_or_default();
        let about = about.with_asks(hold.held(), |text| Masked::new(text, &masking.detectors).to_string());
        let time = self.about.approval.timeout;
        let ticket = Ticket::new(&self.guard, matter.request, about, hold.held(), time);
        // Locks of a change are given up after a while, and it may come again.
        let attended = self.on_hold() == OnHold::Wait && matter.changed.is_none();
        let ticket = Ticket { attended, ..ticket };
        self.shared.desk.ask(&self.guard, ticket, matter.binding.clone()).await.map_err(|error| {
            Box::new(match error {
                AskError::Unrecorded(error) => self.of_fate(matter, self.unrecorded(&error)),
                AskError::Desk(error) => self.turned_down(matter, &error.to_string()),
            })
        })
    }

    /// Takes the permit, once, and writes that it was taken.
    async fn use_up<P>(&self, ticket: TicketId, matter: &Matter, hold: Hold<P>) -> Result<Answer<P>, Box<Denial>> {
        if hold.epoch() != self.policies.lock().get().epoch() {
            return Ok(Answer::JudgeAgain);
        }
        let consumed = self.shared.desk.consume(ticket, &matter.binding, hold).await;
        let Some(permit) = consumed.map_err(|error| Box::new(self.turned_down(matter, &error.to_string())))? else {
            let reason = format!("the approval of request {ticket} was used already");
            return Err(Box::new(self.turned_down(matter, &reason)));
        };
        let reason = if matter.changed.is_some() { "committed" } else { "sent" };
        let event = Event::ApprovalConsumed(ApprovalEnded { ticket, reason: reason.to_owned() });
        let unrecorded = |error| Box::new(self.of_fate(matter, self.unrecorded(&error)));
        self.guard.record(&event).await.map_err(unrecorded)?;
        Ok(Answer::Approved(permit))
    }

    fn turned_down(&self, matter: &Matter, reason: &str) -> Denial {
        self.of_fate(matter, self.refusal(SqlState::DENIED, reason))
    }

    /// A refusal that says what became of it.
    fn of_fate(&self, matter: &Matter, denial: Denial) -> Denial {
        if matter.changed.is_none() {
            return denial;
        }
        denial.with_detail(format!("Nothing of it is committed. Session {}.", self.guard.session()))
    }

    fn said_no(&self, matter: &Matter, ticket: TicketId, person: &str, reason: Option<String>) -> Denial {
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        self.turned_down(matter, &format!("{person} denied request {ticket}{reason}"))
            .with_hint("Do not send it again; ask what would be acceptable.")
    }

    fn come_back<P>(&self, matter: &Matter, hold: &Hold<P>, ticket: TicketId) -> Denial {
        let detail = format!(
            "Request {ticket} waits for approval by {}, for {}; {}. Session {}, event {}.",
            hold.held().approvers(),
            hold.held().patience(self.about.approval.timeout),
            matter.fate(),
            self.guard.session(),
            matter.request,
        );
        let hint = "Send exactly the same statement again after the approval: it then runs once. Do not rephrase it.";
        Denial::error(SqlState::DENIED, matter.reasons(hold)).with_detail(detail).with_hint(hint)
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
