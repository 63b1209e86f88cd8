//! What the journal gets of a session: statements with their decisions, outcomes, credentials used.
//!
//! In: analyses and decisions. Out: events, written before what they tell of goes on. Texts are redacted already.

use std::sync::Arc;

use super::analysis::{Analysis, FrameKey, Unreadable};
use super::labels::LabelUse;
use super::{Permit, PolicyJudge};
use crate::audit::event::{
    CredentialUsed, Decision as Recorded, Event, Phase, PostgresOutcome, PostgresStatement, StatementFrame, Status,
    Verdict,
};
use crate::audit::{JournalError, Kept, KeptInput, Seq};
use crate::policy::{self, PolicySnapshot, RequestPermit};
use crate::protocol::postgres::LoginMode;
use crate::protocol::postgres::judge::{Outcome, OutcomeEnd};
use crate::protocol::postgres::reply::{Denial, SqlState};
use crate::protocol::postgres::sql::{SqlError, unreadable};

/// What a client can do about most denials.
const HINT: &str = "Change the statement so that the policy permits it, or ask a person to run it.";

impl PolicyJudge {
    /// Writes a statement with its decision; only then may it go on.
    pub(super) async fn record_statement(
        &self,
        analysis: &Analysis,
        (phase, parameters): (Phase, &[Kept]),
        decision: Recorded,
    ) -> Result<Seq, Denial> {
        let event = Event::PostgresStatement(Box::new(self.event(analysis, (phase, parameters), decision)));
        self.guard.record(&event).await.map_err(|error| self.unrecorded(&error))
    }

    /// The same of one that is simply allowed, as most are: what its event has in common with the last is not written anew.
    pub(super) async fn record_allowed(
        &self,
        analysis: &Analysis,
        (phase, parameters): (Phase, &[Kept]),
        (permit, policies): (&RequestPermit, &PolicySnapshot),
    ) -> Result<Seq, Denial> {
        let grants = Arc::clone(&self.about.session.grants);
        let key = FrameKey { phase, epoch: policies.epoch().counter(), policies: permit.policies(), grants };
        let frame = analysis.shape.frame(key, |key| {
            let decision = Recorded {
                verdict: Verdict::Allow,
                policies: key.policies.clone(),
                grants: key.grants.iter().map(ToString::to_string).collect(),
                ..policies.recorded_refusal(analysis.shape.input.clone())
            };
            StatementFrame::of(&self.event(analysis, (phase, &[]), decision))
        });
        let frame =
            frame.map_err(|source| self.unrecorded(&JournalError::Encode { kind: "postgres.statement", source }))?;
        self.guard.record(&frame.with(&analysis.kept, parameters)).await.map_err(|error| self.unrecorded(&error))
    }

    fn event(
        &self,
        analysis: &Analysis,
        (phase, parameters): (Phase, &[Kept]),
        decision: Recorded,
    ) -> PostgresStatement {
        let (database, login) = self.names_of_login();
        let shape = &analysis.shape;
        PostgresStatement {
            database,
            login,
            phase,
            command: Arc::clone(&shape.command),
            actions: Arc::clone(&shape.actions),
            relations_read: Arc::clone(&shape.relations_read),
            relations_written: Arc::clone(&shape.relations_written),
            data_classes: shape.data_classes.clone(),
            text: analysis.kept.clone(),
            parameters: parameters.to_vec(),
            fingerprint: Arc::clone(&shape.fingerprint),
            decision,
        }
    }

    /// What the client reads of a denial by policy.
    pub(super) fn denied(&self, denial: &policy::Denial, labels: &LabelUse, request: Seq) -> Denial {
        let policies = denial.policies().join(", ");
        let by = if policies.is_empty() { "denied".to_owned() } else { format!("denied by policy {policies}") };
        Denial::error(SqlState::DENIED, format!("{by}: {denial}"))
            .with_detail(format!(
                "{}; nothing was sent. Session {}, event {request}.",
                denial.asked(),
                self.guard.session()
            ))
            .with_hint(labels.advice(denial.asked()).unwrap_or(HINT))
    }

    /// What the client reads where no policy was asked.
    pub(super) fn refusal(&self, code: SqlState, reason: &str) -> Denial {
        Denial::error(code, format!("refused by the gateway: {reason}"))
            .with_detail(format!("Nothing was sent. Session {}.", self.guard.session()))
    }

    /// What cannot be recorded is not done.
    pub(super) fn unrecorded(&self, error: &JournalError) -> Denial {
        tracing::error!(session = %self.guard.session(), %error, "something could not be recorded: refused");
        self.refusal(SqlState::DENIED, "it could not be recorded, and what is not recorded is not done")
            .with_hint("Ask the operator to look at the gateway's journal.")
    }

    fn names_of_login(&self) -> (Arc<str>, Arc<str>) {
        let login = self.login.get();
        login.map_or_else(|| ("".into(), "".into()), |login| (Arc::clone(&login.database), Arc::clone(&login.user)))
    }

    /// What cannot be read is refused, and recorded by its length alone.
    pub(super) fn unreadable(&self, text: &str, error: &Unreadable) -> Denial {
        let code = match error {
            Unreadable::Sql(SqlError::Syntax { .. }) => SqlState(*b"42601"),
            Unreadable::Sql(SqlError::NotUtf8 { .. } | SqlError::Nul { .. }) => SqlState::NOT_UTF8,
            Unreadable::Sql(_) => SqlState::TOO_LARGE,
            Unreadable::NoWord(_)
            | Unreadable::Pinned { .. }
            | Unreadable::Mask
            | Unreadable::Source(_)
            | Unreadable::Catalog { .. } => SqlState::DENIED,
        };
        self.note_refusal(Kept::after_redaction(unreadable(text.len())), error.to_string());
        let refusal = self.refusal(code, &error.to_string());
        match error {
            Unreadable::Sql(SqlError::Syntax { .. } | SqlError::NotUtf8 { .. } | SqlError::Nul { .. }) => {
                refusal.failing_at_the_server()
            }
            _ => refusal,
        }
    }

    /// Writes that a statement was refused without policy: what is known of it, and why.
    pub(super) fn note_refusal(&self, text: Kept, message: String) {
        let policies = Arc::clone(self.policies.lock().get());
        let (database, login) = self.names_of_login();
        let event = PostgresStatement {
            database,
            login,
            phase: Phase::Query,
            command: "".into(),
            actions: Arc::default(),
            relations_read: Arc::default(),
            relations_written: Arc::default(),
            data_classes: Vec::new(),
            text,
            parameters: Vec::new(),
            fingerprint: "".into(),
            decision: Recorded { message: Some(message), ..policies.recorded_refusal(KeptInput::default()) },
        };
        if let Err(error) = self.guard.note(&Event::PostgresStatement(Box::new(event))) {
            tracing::error!(session = %self.guard.session(), %error, "a refusal could not be recorded");
        }
    }

    /// What came of a run.
    pub(super) fn record_outcome(&self, permit: &Permit, outcome: &Outcome<'_>) {
        let (status, sqlstate, rows_affected) = match outcome.end {
            OutcomeEnd::Completed { tag, .. } => (Status::Ok, None, affected(tag)),
            OutcomeEnd::Suspended => (Status::Ok, None, 0),
            OutcomeEnd::Failed(code) => (Status::Error, Some(code.as_str().to_owned()), 0),
            OutcomeEnd::Skipped => (Status::Cancelled, None, 0),
            OutcomeEnd::Unknown => (Status::Lost, None, 0),
        };
        let event = PostgresOutcome {
            request: permit.request,
            status,
            sqlstate,
            rows_returned: outcome.rows,
            rows_affected,
            duration_us: u64::try_from(permit.since.elapsed().as_micros()).unwrap_or(u64::MAX),
            held_us: 0,
            masked: outcome.masked.iter().map(|(class, count)| (class.to_string(), *count)).collect(),
            shown: Default::default(),
            results: outcome.shown.results.clone(),
            results_left_out: permit
                .not_recorded
                .as_deref()
                .map(str::to_owned)
                .or_else(|| outcome.shown.left_out.clone()),
        };
        if let Err(error) = self.guard.note_outcome(&Event::PostgresOutcome(event)) {
            tracing::error!(session = %self.guard.session(), %error, "an outcome could not be recorded");
        }
    }

    /// A credential of ours is recorded before it is used.
    pub(super) async fn record_credential(&self, user: &str) -> Result<(), Denial> {
        let LoginMode::Credentials(credentials) = &self.about.login else { return Ok(()) };
        let Some(credential) = credentials.iter().find(|credential| credential.serves(user)) else {
            return Ok(());
        };
        let event = Event::CredentialUsed(CredentialUsed {
            credential: format!("{}/{}", self.about.target_name, credential.user),
            target: self.about.target_name.clone(),
            login: credential.user.clone(),
            server_identity: self.about.server.clone(),
        });
        self.guard.record(&event).await.map(drop).map_err(|error| self.unrecorded(&error))
    }
}

/// Rows that a statement changed, from its tag (CommandComplete): `UPDATE 3`, `INSERT 0 3`.
fn affected(tag: &str) -> u64 {
    let changes = ["INSERT", "UPDATE", "DELETE", "MERGE", "COPY"].iter().any(|command| tag.starts_with(command));
    if !changes {
        return 0;
    }
    tag.rsplit(' ').next().and_then(|rows| rows.parse().ok()).unwrap_or(0)
}
