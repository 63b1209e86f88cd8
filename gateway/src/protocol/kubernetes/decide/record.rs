//! What the journal gets of a session: requests with their decisions, refusals, outcomes, credentials used.
//!
//! In: requests and decisions. Out: events, written before what they tell of goes on. Texts are redacted here.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Judge, Judged, Permit, Questions};
use crate::audit::event::{
    CredentialUsed, Decision as Recorded, Event, KubernetesOutcome, KubernetesPreview, KubernetesRequest, Status,
};
use crate::audit::{Kept, KeptInput, Seq};
use crate::masking::Masking;
use crate::masking::masked::{Masked, mask_texts};
use crate::policy::{Principal, Question, record};
use crate::protocol::kubernetes::head;
use crate::protocol::kubernetes::reply::Refusal;

/// What became of a request that went on.
#[derive(Debug)]
pub(in crate::protocol::kubernetes) struct Ended {
    pub(in crate::protocol::kubernetes) status: Status,
    pub(in crate::protocol::kubernetes) code: Option<u16>,
    pub(in crate::protocol::kubernetes) bytes: u64,
    pub(in crate::protocol::kubernetes) masked: BTreeMap<Arc<str>, u64>,
    pub(in crate::protocol::kubernetes) exit_status: Option<u32>,
    pub(in crate::protocol::kubernetes) reason: Option<String>,
    /// What is kept of the answer.
    pub(in crate::protocol::kubernetes) answer: Vec<u8>,
}

impl Ended {
    /// Nothing came of it yet.
    pub(in crate::protocol::kubernetes) fn of(status: Status, code: Option<u16>) -> Self {
        Self { status, code, bytes: 0, masked: BTreeMap::new(), exit_status: None, reason: None, answer: Vec::new() }
    }
}

impl Judge {
    /// Writes a request with its decision; only then may it go on.
    pub(super) async fn record(
        &self,
        judged: &Judged<'_>,
        questions: &Questions,
        decision: Recorded,
    ) -> Result<Seq, Refusal> {
        let of = judged.head.info.resource.clone().unwrap_or_default();
        let event = KubernetesRequest {
            verb: judged.head.info.verb.name().to_owned(),
            actions: questions.all.iter().map(|question| question.action().to_string()).collect(),
            resource: of.type_name(),
            subresource: of.subresource,
            namespace: of.namespace,
            name: of.name,
            text: head::kept(&judged.head.line, &self.masking()),
            stripped: judged.stripped.to_vec(),
            data_classes: questions.classes().map(|class| class.name.to_string()).collect(),
            decision,
        };
        let written = self.guard().record(&Event::KubernetesRequest(Box::new(event)));
        written.await.map_err(|error| self.unrecorded(&error))
    }

    /// Writes that a change which is held is tried at the server: its object is read, and `line` sent, which stores nothing.
    pub(in crate::protocol::kubernetes) async fn record_preview(
        &self,
        request: Seq,
        line: &str,
    ) -> Result<(), Refusal> {
        let event = Event::KubernetesPreview(KubernetesPreview { request, text: head::kept(line, &self.masking()) });
        self.guard().record(&event).await.map(drop).map_err(|error| self.unrecorded(&error))
    }

    /// What cannot be recorded is not done.
    pub(super) fn unrecorded(&self, error: &crate::audit::JournalError) -> Refusal {
        tracing::error!(session = %self.guard().session(), %error, "something could not be recorded: refused");
        Refusal::unavailable("gateway: it could not be recorded, and what is not recorded is not done")
    }

    /// Writes that a request was refused without policy: as much as is known of it, and why.
    pub(in crate::protocol::kubernetes) fn note_refusal(&self, line: &str, refusal: &Refusal) {
        let policies = Arc::clone(&self.policies().borrow());
        let masking = self.masking();
        let message = Masked::new(&refusal.message, &masking.detectors).to_string();
        let event = KubernetesRequest {
            verb: String::new(),
            actions: Vec::new(),
            resource: String::new(),
            subresource: String::new(),
            namespace: String::new(),
            name: String::new(),
            text: head::kept(line, &masking),
            stripped: Vec::new(),
            data_classes: Vec::new(),
            decision: Recorded { message: Some(message), ..policies.recorded_refusal(KeptInput::default()) },
        };
        if let Err(error) = self.guard().note(&Event::KubernetesRequest(Box::new(event))) {
            tracing::error!(session = %self.guard().session(), %error, "a refusal could not be recorded");
        }
    }

    /// Writes what became of a request. Called once for each permit.
    pub(in crate::protocol::kubernetes) fn outcome(&self, permit: &Permit, ended: Ended) {
        let bodies = permit.bodies.as_deref();
        let event = KubernetesOutcome {
            request: permit.request,
            status: ended.status,
            code: ended.code,
            bytes: ended.bytes,
            duration_us: u64::try_from(permit.since.elapsed().as_micros()).unwrap_or(u64::MAX),
            masked: ended.masked.iter().map(|(class, count)| (class.to_string(), *count)).collect(),
            exit_status: ended.exit_status,
            reason: ended.reason,
            request_body: bodies.and_then(|bodies| bodies.request.clone()),
            answer_body: (!ended.answer.is_empty()).then(|| String::from_utf8_lossy(&ended.answer).into_owned()),
            bodies_left_out: bodies.and_then(|bodies| bodies.left_out.clone()),
        };
        if let Err(error) = self.guard().note_outcome(&Event::KubernetesOutcome(event)) {
            tracing::error!(session = %self.guard().session(), %error, "an outcome could not be recorded");
        }
    }

    /// Writes that nobody knows what became of a request.
    pub(in crate::protocol::kubernetes) fn lost(&self, permit: &Permit, refusal: &Refusal) {
        let reason = Some(refusal.message.clone());
        self.outcome(permit, Ended { reason, ..Ended::of(Status::Lost, None) });
    }

    /// A credential of ours is recorded before it is used.
    pub(in crate::protocol::kubernetes) async fn record_credential(
        &self,
        login: &str,
        server: &str,
    ) -> Result<(), Refusal> {
        let event = Event::CredentialUsed(CredentialUsed {
            credential: format!("{}/{login}", self.about.target_name),
            target: self.about.target_name.clone(),
            login: login.to_owned(),
            server_identity: server.to_owned(),
        });
        self.guard().record(&event).await.map(drop).map_err(|error| self.unrecorded(&error))
    }
}

/// The whole decision input, in which no detector finds anything any more.
pub(super) fn input(principal: &Principal, questions: &[Arc<Question>], masking: &Masking) -> KeptInput {
    let mut input = record::input(&principal.facts(), questions);
    mask_texts(&mut input, &masking.detectors);
    KeptInput::after_redaction(input)
}

/// What an approver reads.
pub(super) fn summary(judged: &Judged<'_>, masking: &Masking) -> Kept {
    let mut text = Masked::new(&judged.head.line, &masking.detectors).to_string();
    if let Some(body) = &judged.parsed.facts {
        let list = |items: &[Arc<str>]| items.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", ");
        for (name, items) in
            [("images", &body.images), ("service accounts", &body.service_accounts), ("sets", &body.fields)]
        {
            if !items.is_empty() {
                text += &format!("\n{name}: {}", Masked::new(&list(items), &masking.detectors));
            }
        }
        if let Some(count) = body.replicas {
            text += &format!("\nreplicas: {count}");
        }
    }
    Kept::after_redaction(text)
}
