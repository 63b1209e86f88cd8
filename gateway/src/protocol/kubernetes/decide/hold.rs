//! Requests that policy wants a person to see.
//!
//! In: a hold, with the request that it is for. Out: the permit once enough people said yes, or what the client reads.
//! By default the client comes back with exactly the same request: kubectl shows nothing while it waits.

use std::sync::atomic::Ordering;

use super::{Judge, Judged, Questions, record};
use crate::approval::{About, AskError, Binding, Found, Outcome, Ticket};
use crate::audit::Seq;
use crate::audit::event::{ApprovalEnded, Event};
use crate::config::OnHold;
use crate::id::TicketId;
use crate::masking::masked::Masked;
use crate::policy::vocabulary::command;
use crate::policy::{Hold, RequestPermit};
use crate::protocol::kubernetes::reply::Refusal;

/// A ticket whose client is there. Dropped while nobody has decided, the request is withdrawn: the client left.
struct Attended<'a> {
    judge: &'a Judge,
    ticket: TicketId,
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        if self.judge.shared.desk.withdraw(self.ticket) {
            self.judge.end_of_ticket(self.ticket, "the client left or gave up");
        }
    }
}

impl Judge {
    /// Asks the people that a hold names; `None`: policies have changed since.
    pub(super) async fn ask_people(
        &self,
        judged: &Judged<'_>,
        questions: &Questions,
        hold: Hold,
        request: Seq,
    ) -> Result<Option<RequestPermit>, Refusal> {
        self.guard().counts().held.fetch_add(1, Ordering::Relaxed);
        let binding = self.bind(judged, questions);
        let ticket = match self.shared.desk.find(&binding, hold.held()) {
            Some(Found::Approved(ticket)) => return self.use_up(ticket, &binding, hold).await,
            Some(Found::Waiting(ticket)) => ticket,
            Some(Found::Denied { ticket, person, reason }) => return Err(self.said_no(ticket, &person, reason)),
            None => {
                let changes = judged.preview.lines(request).await;
                let about = About { changes, ..self.about(judged, questions, &hold) };
                self.put_on_desk(about, &binding, &hold, request).await?
            }
        };
        if self.comes_back() {
            return Err(self.come_back(&hold, ticket, request));
        }
        let _attended = Attended { judge: self, ticket };
        match self.shared.desk.wait(ticket, None).await {
            Outcome::Approved => self.use_up(ticket, &binding, hold).await,
            Outcome::Denied { person, reason } => Err(self.said_no(ticket, &person, reason)),
            Outcome::Expired => Err(self.refusal(&format!("request {ticket} was held, and nobody decided in time"))),
        }
    }

    fn comes_back(&self) -> bool {
        self.about.approval.on_hold.unwrap_or(OnHold::Return) == OnHold::Return
    }

    /// The exact request, to that target, by that workload: what it names cannot mean something else later, but for
    /// what others make of the object meanwhile, against which `resourceVersion` in its body helps.
    fn bind(&self, judged: &Judged<'_>, questions: &Questions) -> Binding {
        let principal = self.about.principal.facts().to_string();
        let patch = judged.parsed.patch.map_or("", |patch| patch.name());
        self.shared.desk.bind([
            judged.head.line.as_bytes(),
            judged.body,
            patch.as_bytes(),
            questions.asked.object.id().as_bytes(),
            self.about.target.id().as_bytes(),
            principal.as_bytes(),
        ])
    }

    fn about(&self, judged: &Judged<'_>, questions: &Questions, hold: &Hold) -> About {
        let of = judged.head.info.resource.as_ref();
        let masking = self.masking();
        let about = About {
            workload: self.about.principal.entity().id().to_owned(),
            destination: format!("{}/{}", self.about.target_name, of.map_or("", |of| of.namespace.as_str())),
            summary: record::summary(judged, &masking),
            opaque: command::opaque(&questions.all),
            ..About::default()
        };
        about.with_asks(hold.held(), |text| Masked::new(text, &masking.detectors).to_string())
    }

    async fn put_on_desk(
        &self,
        about: About,
        binding: &Binding,
        hold: &Hold,
        request: Seq,
    ) -> Result<TicketId, Refusal> {
        let time = self.about.approval.timeout;
        let ticket = Ticket::new(self.guard(), request, about, hold.held(), time);
        let ticket = Ticket { attended: !self.comes_back(), ..ticket };
        self.shared.desk.ask(self.guard(), ticket, binding.clone()).await.map_err(|error| match error {
            AskError::Unrecorded(error) => self.unrecorded(&error),
            AskError::Desk(error) => self.refusal(&error.to_string()),
        })
    }

    /// Takes the permit, once, and writes that it was taken.
    async fn use_up(&self, ticket: TicketId, binding: &Binding, hold: Hold) -> Result<Option<RequestPermit>, Refusal> {
        if hold.epoch() != self.shared.policies.borrow().epoch() {
            return Ok(None);
        }
        let consumed = self.shared.desk.consume(ticket, binding, hold).await;
        let Some(permit) = consumed.map_err(|error| self.refusal(&error.to_string()))? else {
            return Err(self.refusal(&format!("the approval of request {ticket} was used already")));
        };
        let event = Event::ApprovalConsumed(ApprovalEnded { ticket, reason: "sent".to_owned() });
        self.guard().record(&event).await.map_err(|error| self.unrecorded(&error))?;
        Ok(Some(permit))
    }

    fn said_no(&self, ticket: TicketId, person: &str, reason: Option<String>) -> Refusal {
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        self.refusal(&format!("{person} denied request {ticket}{reason}; ask what would be acceptable"))
    }

    fn come_back(&self, hold: &Hold, ticket: TicketId, request: Seq) -> Refusal {
        Refusal::forbidden(format!(
            "gateway: {}. Request {ticket} waits for approval by {} for {} (gateway approve \
             {ticket}); nothing of it was done. Send exactly the same request again after that: it then goes through once. \
             (session {}, event {request})",
            hold.held().reasons(),
            hold.held().approvers(),
            hold.held().patience(self.about.approval.timeout),
            self.guard().session()
        ))
    }

    fn end_of_ticket(&self, ticket: TicketId, reason: &str) {
        let event = Event::ApprovalExpired(ApprovalEnded { ticket, reason: reason.to_owned() });
        if let Err(error) = self.guard().note(&event) {
            tracing::error!(session = %self.guard().session(), %error, "the end of a request could not be recorded");
        }
    }
}
