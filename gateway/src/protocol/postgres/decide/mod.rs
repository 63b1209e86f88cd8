//! The judge of a Postgres session: reads, asks policy, journals, and only then lets go on.
//!
//! In: texts and names as the engine sees them. Out: permits and denials. A permit is given when the journal has the
//! statement and its decision (G3). It keeps what names mean in this session, so that EXECUTE and FETCH are judged by
//! what they run.

mod analysis;
mod names;
mod questions;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

pub use analysis::Analyses;
use analysis::{Analysis, Scope, Unreadable, reads};
use names::Names;
use questions::Scene;

use super::LoginMode;
use super::judge::{BindRequest, CopyIn, Forgets, Forward, Judge, Outcome, OutcomeEnd, ParseRequest, Ruling, Say};
use super::reply::{Denial, SqlState};
use super::settings::Startup;
use super::sql::facts::{Discard, Verb};
use super::sql::{SqlError, unreadable};
use crate::audit::event::{
    CredentialUsed, Decision as Recorded, Event, PostgresOutcome, PostgresStatement, Status, Verdict,
};
use crate::audit::{Kept, KeptInput, Seq, SessionGuard};
use crate::policy::permit::Epoch;
use crate::policy::request::Entity;
use crate::policy::vocabulary::names::Action;
use crate::policy::vocabulary::postgres as vocabulary;
use crate::policy::{
    self, Decision, Mode, Moment, PolicySnapshot, Principal, Question, Request, RequestPermit, WouldBe,
};

/// What is known of a session before its login.
#[derive(Debug, Clone)]
pub struct About {
    /// Who asks.
    pub principal: Principal,
    /// The target as policies see it.
    pub target: Arc<Entity>,
    /// Whether decisions block.
    pub mode: Mode,
    /// The session as policies see it, before a login is named.
    pub session: policy::Session,
    /// The target's name.
    pub target_name: String,
    /// How clients log in.
    pub login: LoginMode,
    /// How the server is known.
    pub server: String,
}

/// Judges one session.
pub struct PolicyJudge {
    about: About,
    policies: watch::Receiver<Arc<PolicySnapshot>>,
    analyses: Arc<Analyses>,
    guard: Arc<SessionGuard>,
    /// Why the session has to end, once it has to.
    ending: watch::Receiver<Option<String>>,
    login: OnceLock<Login>,
    scope: Mutex<Option<Scope>>,
    names: Mutex<Names>,
}

struct Login {
    session: policy::Session,
    startup: Startup,
}

/// A text with all that it runs by name.
#[derive(Debug)]
pub struct Understood {
    own: Arc<Analysis>,
    /// Of EXECUTE and FETCH: what the names stand for.
    named: Vec<Arc<Analysis>>,
}

/// Proof that one run was decided and recorded.
#[derive(Debug)]
pub struct Permit {
    /// Given by policy; ends with the run.
    _permit: RequestPermit,
    request: Seq,
    since: Instant,
}

/// When a text is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Query,
    Parse,
    Execute,
}

impl PolicyJudge {
    /// A judge for a session that has not logged in yet.
    #[must_use]
    pub fn new(
        about: About,
        policies: watch::Receiver<Arc<PolicySnapshot>>,
        analyses: Arc<Analyses>,
        guard: Arc<SessionGuard>,
        ending: watch::Receiver<Option<String>>,
    ) -> Self {
        Self {
            about,
            policies,
            analyses,
            guard,
            ending,
            login: OnceLock::new(),
            scope: Mutex::default(),
            names: Mutex::default(),
        }
    }

    /// Reads a text, following what it does to the search path.
    async fn understand(&self, text: &str) -> Result<Arc<Understood>, Denial> {
        let scope = self
            .scope
            .lock()
            .clone()
            .ok_or_else(|| self.refusal(SqlState::PROTOCOL_VIOLATION, "no login came first"))?;
        let mut own = self.analyses.of(&scope, text).await.map_err(|error| self.unreadable(text, &error))?;
        let added =
            names::schemas_added(&own.facts, &self.user()).map_err(|reason| self.refusal(SqlState::DENIED, &reason))?;
        if !added.is_empty() {
            // Every schema that was ever on the path stays a candidate: which one it is now depends on transactions.
            let mut scene = scope.scene().clone();
            scene.path.extend(added.into_iter().filter(|schema| !scope.scene().path.contains(schema)));
            let wider = self.scope_of(scene);
            own = self.analyses.of(&wider, text).await.map_err(|error| self.unreadable(text, &error))?;
            *self.scope.lock() = Some(wider);
        }
        let named = self.names.lock().run_by(own.verbs()).map_err(|name| {
            let reason = format!("`{name}` was not made in this session, so that nobody knows what it runs");
            self.refusal(SqlState::NO_STATEMENT, &reason)
        })?;
        Ok(Arc::new(Understood { own, named }))
    }

    fn user(&self) -> String {
        self.login.get().map(|login| login.startup.user.clone()).unwrap_or_default()
    }

    fn scope_of(&self, scene: Scene) -> Scope {
        Scope::new(scene, self.about.principal.facts(), &self.user())
    }

    /// Asks policy and journals the answer.
    async fn decide(&self, understood: &Understood, phase: Phase) -> Ruling<Permit> {
        let Some(login) = self.login.get() else {
            return Ruling::Refuse(Box::new(self.refusal(SqlState::PROTOCOL_VIOLATION, "no login came first")));
        };
        let policies = Arc::clone(&self.policies.borrow());
        let all: Vec<Arc<Question>>;
        let questions = if understood.named.is_empty() {
            &understood.own.questions
        } else {
            let named = understood.named.iter().flat_map(|analysis| analysis.questions.iter().cloned());
            all = understood.own.questions.iter().cloned().chain(named).collect();
            &all
        };
        let request =
            Request { principal: &self.about.principal, session: &login.session, at: Moment::now(), questions };
        let decision = policies.judge(&request, self.about.mode);
        let recorded = recorded(&decision, policies.epoch(), understood.own.input.clone());
        let event = self.statement(&understood.own, phase, recorded, &login.startup);
        let request = match self.guard.record(&Event::PostgresStatement(Box::new(event))).await {
            Ok(seq) => seq,
            Err(error) => {
                tracing::error!(session = %self.guard.session(), %error, "a statement could not be recorded: refused");
                let reason = "it could not be recorded, and what is not recorded is not done";
                return Ruling::Refuse(Box::new(
                    self.refusal(SqlState::DENIED, reason)
                        .with_hint("Ask the operator to look at the gateway's journal."),
                ));
            }
        };
        match decision {
            Decision::Allow(permit) => Ruling::Forward(Permit { _permit: permit, request, since: Instant::now() }),
            Decision::Hold(hold) => Ruling::Refuse(Box::new(self.held(&hold, request))),
            Decision::Deny(denial) => {
                for error in denial.errors() {
                    tracing::error!(session = %self.guard.session(), error, "a policy could not be evaluated");
                }
                Ruling::Refuse(Box::new(self.denied(&denial, request)))
            }
        }
    }

    /// A credential of ours is recorded before it is used.
    async fn record_credential(&self, user: &str) -> Ruling<()> {
        let LoginMode::Credentials(credentials) = &self.about.login else { return Ruling::Forward(()) };
        let Some(credential) = credentials.iter().find(|credential| credential.serves(user)) else {
            return Ruling::Forward(());
        };
        let event = Event::CredentialUsed(CredentialUsed {
            credential: format!("{}/{}", self.about.target_name, credential.user),
            target: self.about.target_name.clone(),
            login: credential.user.clone(),
            server_identity: self.about.server.clone(),
        });
        match self.guard.record(&event).await {
            Ok(_) => Ruling::Forward(()),
            Err(error) => {
                tracing::error!(session = %self.guard.session(), %error, "a credential's use could not be recorded: refused");
                let denial =
                    self.refusal(SqlState::DENIED, "it could not be recorded, and what is not recorded is not done");
                Ruling::Refuse(Box::new(Denial { severity: super::reply::Severity::Fatal, ..denial }))
            }
        }
    }

    fn statement(&self, analysis: &Analysis, phase: Phase, decision: Recorded, startup: &Startup) -> PostgresStatement {
        PostgresStatement {
            database: startup.database.clone(),
            login: startup.user.clone(),
            phase: match phase {
                Phase::Query => "query",
                Phase::Parse => "parse",
                Phase::Execute => "execute",
            }
            .to_owned(),
            command: analysis.command.clone(),
            actions: distinct(analysis.questions.iter().map(|question| question.action().name())),
            relations_read: analysis.relations(reads),
            relations_written: analysis.relations(|effect| !reads(effect)),
            data_classes: Vec::new(),
            text: analysis.kept.clone(),
            parameters: Vec::new(),
            fingerprint: analysis.fingerprint.clone(),
            decision,
        }
    }

    /// What cannot be read is refused, and recorded by its length alone.
    fn unreadable(&self, text: &str, error: &Unreadable) -> Denial {
        let code = match error {
            Unreadable::Sql(SqlError::Syntax { .. }) => SqlState(*b"42601"),
            Unreadable::Sql(SqlError::NotUtf8 { .. } | SqlError::Nul { .. }) => SqlState::NOT_UTF8,
            Unreadable::Sql(_) => SqlState::TOO_LARGE,
            Unreadable::NoWord(_) | Unreadable::Pinned { .. } => SqlState::DENIED,
        };
        let epoch = self.policies.borrow().epoch();
        let empty =
            Startup { user: String::new(), database: String::new(), application_name: None, settings: Vec::new() };
        let startup = self.login.get().map_or(&empty, |login| &login.startup);
        let event = PostgresStatement {
            database: startup.database.clone(),
            login: startup.user.clone(),
            phase: "query".to_owned(),
            command: String::new(),
            actions: Vec::new(),
            relations_read: Vec::new(),
            relations_written: Vec::new(),
            data_classes: Vec::new(),
            text: Kept::after_redaction(unreadable(text.len())),
            parameters: Vec::new(),
            fingerprint: String::new(),
            decision: Recorded {
                verdict: Verdict::Deny,
                policies: Vec::new(),
                policy_set: epoch.to_string(),
                epoch: epoch.counter(),
                message: Some(error.to_string()),
                ticket: None,
                grants: Vec::new(),
                input: KeptInput::after_redaction(serde_json::Value::Null),
            },
        };
        if let Err(error) = self.guard.note(&Event::PostgresStatement(Box::new(event))) {
            tracing::error!(session = %self.guard.session(), %error, "a refusal could not be recorded");
        }
        self.refusal(code, &error.to_string())
    }

    fn denied(&self, denial: &policy::Denial, request: Seq) -> Denial {
        let policies = joined(denial.policies());
        let by = if policies.is_empty() { "denied".to_owned() } else { format!("denied by policy {policies}") };
        Denial::error(SqlState::DENIED, format!("{by}: {denial}"))
            .with_detail(format!(
                "{}; nothing was sent. Session {}, event {request}.",
                denial.asked(),
                self.guard.session()
            ))
            .with_hint("Change the statement so that the policy permits it, or ask a person to run it.")
    }

    fn held(&self, hold: &policy::Hold, request: Seq) -> Denial {
        let held = hold.held();
        let votes: Vec<_> = held.votes().iter().map(ToString::to_string).collect();
        let why: Vec<_> = held.messages().iter().map(AsRef::as_ref).collect();
        Denial::error(SqlState::DENIED, format!("held by policy {}: {}", joined(held.policies()), why.join("; ")))
            .with_detail(format!(
                "It needs the approval of {}; nothing was sent. Session {}, event {request}.",
                votes.join(" and "),
                self.guard.session()
            ))
            .with_hint("This gateway cannot ask for approvals yet: ask a person to run it.")
    }

    fn refusal(&self, code: SqlState, reason: &str) -> Denial {
        Denial::error(code, format!("refused by the gateway: {reason}"))
            .with_detail(format!("Nothing was sent. Session {}.", self.guard.session()))
    }

    fn forward(&self, understood: &Understood, permit: Permit) -> Forward<Permit> {
        let mut forward = Forward::plain(permit);
        for verb in understood.own.verbs() {
            forward.forgets.extend(forgets(verb));
            if *verb == Verb::CopyIn {
                forward.copy = CopyIn::Expected;
            }
        }
        let mut names = self.names.lock();
        for verb in understood.own.verbs() {
            names.follow(verb, &understood.own);
        }
        forward
    }
}

impl Judge for PolicyJudge {
    type Prepared = Arc<Understood>;
    type Bound = Arc<Understood>;
    type Permit = Permit;

    async fn startup(&self, startup: &Startup) -> Ruling<()> {
        let database = vocabulary::database(&self.about.target, &startup.database);
        let session = policy::Session {
            login: startup.user.as_str().into(),
            application: startup.application_name.as_deref().map(Into::into),
            ..self.about.session.clone()
        };
        let about = vocabulary::Statement::new(Arc::clone(&database), "CONNECT", "".into());
        let question = vocabulary::ask(Action::PostgresConnect, Arc::clone(&database), about);
        let scene = Scene {
            target: Arc::clone(&self.about.target),
            database,
            database_name: startup.database.clone(),
            path: vec!["public".to_owned()],
        };
        if self.login.set(Login { session, startup: startup.clone() }).is_err() {
            return Ruling::Refuse(Box::new(self.refusal(SqlState::PROTOCOL_VIOLATION, "a second login")));
        }
        let scope = self.scope_of(scene);
        *self.scope.lock() = Some(scope);
        let input = KeptInput::after_redaction(serde_json::json!({
            "principal": self.about.principal.facts(), "questions": [question.facts()],
        }));
        let analysis = Analysis {
            text: "".into(),
            facts: Arc::default(),
            questions: vec![question],
            kept: Kept::default(),
            input,
            fingerprint: String::new(),
            command: "CONNECT".into(),
        };
        match self.decide(&Understood { own: Arc::new(analysis), named: Vec::new() }, Phase::Query).await {
            Ruling::Forward(_) => self.record_credential(&startup.user).await,
            Ruling::Refuse(denial) => {
                Ruling::Refuse(Box::new(Denial { severity: super::reply::Severity::Fatal, ..*denial }))
            }
        }
    }

    fn logged_in(&self, schemas: Vec<String>) {
        let mut scope = self.scope.lock();
        if let Some(known) = scope.as_ref() {
            let scene = Scene { path: schemas, ..known.scene().clone() };
            *scope = Some(self.scope_of(scene));
        }
    }

    async fn query(&self, text: &str, _: &Say) -> Ruling<Forward<Permit>> {
        let understood = match self.understand(text).await {
            Ok(understood) => understood,
            Err(denial) => return Ruling::Refuse(Box::new(denial)),
        };
        match self.decide(&understood, Phase::Query).await {
            Ruling::Forward(permit) => Ruling::Forward(self.forward(&understood, permit)),
            Ruling::Refuse(denial) => Ruling::Refuse(denial),
        }
    }

    async fn parse(&self, statement: ParseRequest<'_>, _: &Say) -> Ruling<Arc<Understood>> {
        let understood = match self.understand(statement.text).await {
            Ok(understood) => understood,
            Err(denial) => return Ruling::Refuse(Box::new(denial)),
        };
        match self.decide(&understood, Phase::Parse).await {
            Ruling::Forward(_) => {
                self.names.lock().prepare(statement.name, &understood.own);
                Ruling::Forward(understood)
            }
            Ruling::Refuse(denial) => Ruling::Refuse(denial),
        }
    }

    async fn bind(&self, prepared: &Arc<Understood>, bind: BindRequest<'_>, _: &Say) -> Ruling<Arc<Understood>> {
        self.names.lock().open(bind.portal, &prepared.own);
        Ruling::Forward(Arc::clone(prepared))
    }

    async fn execute(&self, bound: &Arc<Understood>, _: u32, _: &Say) -> Ruling<Forward<Permit>> {
        // What a name in it stands for may have changed since it was prepared.
        let named = self.names.lock().run_by(bound.own.verbs());
        let Ok(named) = named else {
            return Ruling::Refuse(Box::new(
                self.refusal(SqlState::NO_STATEMENT, "it runs a name that is not known any more"),
            ));
        };
        let now = Understood { own: Arc::clone(&bound.own), named };
        match self.decide(&now, Phase::Execute).await {
            Ruling::Forward(permit) => Ruling::Forward(self.forward(&now, permit)),
            Ruling::Refuse(denial) => Ruling::Refuse(denial),
        }
    }

    fn outcome(&self, permit: Permit, outcome: &Outcome<'_>) {
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
            masked: Default::default(),
            shown: Default::default(),
        };
        if let Err(error) = self.guard.note(&Event::PostgresOutcome(event)) {
            tracing::error!(session = %self.guard.session(), %error, "an outcome could not be recorded");
        }
    }

    async fn ended(&self) -> Box<Denial> {
        let mut ending = self.ending.clone();
        let reason = match ending.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the gateway stops".to_owned(),
        };
        let denial = Denial::fatal(SqlState::ENDED, format!("the gateway ended this session: {reason}"));
        Box::new(denial.with_detail(format!("Session {}.", self.guard.session())))
    }
}

/// A decision as the journal has it.
fn recorded(decision: &Decision, epoch: Epoch, input: KeptInput) -> Recorded {
    let (verdict, policies, message) = match decision {
        Decision::Allow(permit) => match permit.would_be() {
            None => (Verdict::Allow, permit.policies(), None),
            Some(WouldBe::Denied(denial)) => (Verdict::WouldDeny, denial.policies().to_vec(), Some(denial.to_string())),
            Some(WouldBe::Held(held)) => (Verdict::WouldHold, held.policies().to_vec(), None),
        },
        Decision::Hold(hold) => (Verdict::Hold, hold.held().policies().to_vec(), None),
        Decision::Deny(denial) => (Verdict::Deny, denial.policies().to_vec(), Some(denial.to_string())),
    };
    Recorded {
        verdict,
        policies: policies.iter().map(ToString::to_string).collect(),
        policy_set: epoch.to_string(),
        epoch: epoch.counter(),
        message,
        ticket: None,
        grants: Vec::new(),
        input,
    }
}

fn joined(names: &[Arc<str>]) -> String {
    names.join(", ")
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in names {
        if !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
    }
    found
}

/// Rows that a statement changed, from its tag (CommandComplete): `UPDATE 3`, `INSERT 0 3`.
fn affected(tag: &str) -> u64 {
    let changes = ["INSERT", "UPDATE", "DELETE", "MERGE", "COPY"].iter().any(|command| tag.starts_with(command));
    if !changes {
        return 0;
    }
    tag.rsplit(' ').next().and_then(|rows| rows.parse().ok()).unwrap_or(0)
}

/// Which of the names at the server a statement takes away.
fn forgets(verb: &Verb) -> Vec<Forgets> {
    match verb {
        Verb::Deallocate(Some(name)) | Verb::Prepare(name) => vec![Forgets::Statement(name.clone())],
        Verb::Deallocate(None) => vec![Forgets::Statements],
        Verb::Declare { name, .. } | Verb::Close(Some(name)) => vec![Forgets::Portal(name.clone())],
        Verb::Close(None)
        | Verb::Commit
        | Verb::Rollback
        | Verb::RollbackTo(_)
        | Verb::Release(_)
        | Verb::PrepareTransaction => vec![Forgets::Portals],
        Verb::Discard(Discard::All) => vec![Forgets::Everything],
        _ => Vec::new(),
    }
}
