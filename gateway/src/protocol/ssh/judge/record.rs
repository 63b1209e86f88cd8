//! What the journal gets of a session: requests with their decisions, outcomes, the credential's use.
//!
//! In: requests and decisions. Out: events, written before what they tell of goes on. Every word of a client goes
//! through the detectors first.

use std::sync::Arc;

use super::{Asked, Judge, Refused};
use crate::audit::event::{CredentialUsed, Decision as Recorded, Event, SshOutcome, SshPhase, SshRequest, Status};
use crate::audit::{JournalError, Kept, KeptInput, Seq};
use crate::masking::masked::{Masked, mask_texts};
use crate::policy::{Decision, PolicySnapshot, Question, record};
use crate::trust::ssh::ServerIdentity;

impl Judge {
    /// Writes a request with its decision; only then may it go on.
    pub(super) async fn record(
        &self,
        asked: &Asked,
        decision: &Decision,
        policies: &PolicySnapshot,
    ) -> Result<Seq, Refused> {
        let mut decision = policies.recorded(decision, self.input(&asked.questions), &self.about.session);
        decision.message = decision.message.map(|message| self.masked(&message));
        let event = Event::SshRequest(Box::new(self.event(asked, decision)));
        self.guard.record(&event).await.map_err(|error| self.unrecorded(&error))
    }

    /// Writes that something was refused without policy.
    pub(in crate::protocol::ssh) fn note_refusal(&self, channel: Option<u32>, text: &str, message: &str) {
        let policies = Arc::clone(&self.shared.policies.borrow());
        let asked =
            Asked { phase: SshPhase::Unreadable, channel, text: text.to_owned(), pty: false, questions: Vec::new() };
        let decision =
            Recorded { message: Some(message.to_owned()), ..policies.recorded_refusal(KeptInput::default()) };
        self.guard.counts().denied.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.note(&Event::SshRequest(Box::new(self.event(&asked, decision))));
    }

    fn event(&self, asked: &Asked, decision: Recorded) -> SshRequest {
        SshRequest {
            login: self.kept(self.user()),
            phase: asked.phase,
            channel: asked.channel,
            actions: asked.questions.iter().map(|question| question.action().name().to_owned()).collect(),
            text: self.kept(&asked.text),
            pty: asked.pty,
            decision,
        }
    }

    /// A credential of ours is recorded before it is used.
    pub(in crate::protocol::ssh) async fn record_credential(
        &self,
        login: &str,
        server: &ServerIdentity,
    ) -> Result<(), Refused> {
        let event = Event::CredentialUsed(CredentialUsed {
            credential: format!("{}/{login}", self.about.target_name),
            target: self.about.target_name.clone(),
            login: login.to_owned(),
            server_identity: server.to_string(),
        });
        self.guard.record(&event).await.map(drop).map_err(|error| self.unrecorded(&error))
    }

    /// What came of a request.
    pub(in crate::protocol::ssh) fn record_outcome(&self, outcome: SshOutcome) {
        if let Err(error) = self.guard.note_outcome(&Event::SshOutcome(Box::new(outcome))) {
            tracing::error!(session = %self.guard.session(), %error, "an outcome could not be recorded");
        }
    }

    /// Writes something on which nothing rests.
    pub(in crate::protocol::ssh) fn note(&self, event: &Event) {
        if let Err(error) = self.guard.note(event) {
            tracing::error!(session = %self.guard.session(), %error, "something could not be recorded");
        }
    }

    /// What cannot be recorded is not done.
    pub(super) fn unrecorded(&self, error: &JournalError) -> Refused {
        tracing::error!(session = %self.guard.session(), %error, "something could not be recorded: refused");
        self.refusal("it could not be recorded, and what is not recorded is not done: ask the operator")
    }

    /// Words of a client as they may be kept.
    pub(in crate::protocol::ssh) fn kept(&self, text: &str) -> Kept {
        Kept::after_redaction(self.masked(text))
    }

    fn masked(&self, text: &str) -> String {
        Masked::new(text, &self.masking().detectors).as_str().to_owned()
    }

    fn input(&self, questions: &[Arc<Question>]) -> KeptInput {
        let masking = self.masking();
        let mut input = record::input(&self.about.principal.facts(), questions);
        mask_texts(&mut input, &masking.detectors);
        KeptInput::after_redaction(input)
    }
}

/// How the end of a command is told.
pub(in crate::protocol::ssh) fn status(exit_status: Option<u32>, signal: Option<&str>) -> Status {
    match (exit_status, signal) {
        (Some(0), None) => Status::Ok,
        (Some(_), _) | (None, Some(_)) => Status::Error,
        (None, None) => Status::Lost,
    }
}
