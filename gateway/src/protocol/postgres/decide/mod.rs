//! The judge of a Postgres session: reads, asks policy, journals, and only then lets go on.
//!
//! In: texts and names as the engine sees them. Out: permits and denials. A permit is given when the journal has the
//! statement and its decision (G3). It keeps what names mean in this session, so that EXECUTE and FETCH are judged by
//! what they run.

mod analysis;
mod hold;
mod names;
mod questions;
mod raw;
mod record;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

pub use analysis::Analyses;
use analysis::{Analysis, Scope, Shape};
use hold::Answer;
use names::Names;
use questions::Scene;
pub use raw::questions_of;

use super::LoginMode;
use super::judge::{BindRequest, CopyIn, Forgets, Forward, Judge, Outcome, ParseRequest, Ruling, Say};
use super::reply::{Denial, Severity, SqlState};
use super::settings::Startup;
use super::sql::facts::{Discard, Verb};
use crate::approval::Desk;
use crate::audit::event::Phase;
use crate::audit::{Kept, Seq, SessionGuard};
use crate::config::ApprovalSection;
use crate::policy::request::Entity;
use crate::policy::vocabulary::names::Action;
use crate::policy::vocabulary::postgres as vocabulary;
use crate::policy::{self, Decision, Mode, Moment, PolicySnapshot, Principal, Question, Request, RequestPermit};

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
    /// How requests wait for people.
    pub approval: ApprovalSection,
}

/// What all sessions of a process share.
#[derive(Clone)]
pub struct Shared {
    /// The policies in force.
    pub policies: watch::Receiver<Arc<PolicySnapshot>>,
    /// What statements mean.
    pub analyses: Arc<Analyses>,
    /// Where held requests wait.
    pub desk: Arc<Desk>,
}

/// Judges one session.
pub struct PolicyJudge {
    about: About,
    shared: Shared,
    guard: Arc<SessionGuard>,
    /// Why the session has to end, once it has to.
    ending: watch::Receiver<Option<String>>,
    login: OnceLock<Login>,
    scopes: Mutex<Option<Scopes>>,
    names: Mutex<Names>,
}

/// The scope of a session outside and inside a transaction block.
#[derive(Clone)]
struct Scopes {
    outside: Scope,
    inside: Scope,
}

struct Login {
    session: policy::Session,
    startup: Startup,
    /// For events.
    database: Arc<str>,
    user: Arc<str>,
}

/// A text with all that it runs by name.
#[derive(Debug)]
pub struct Understood {
    /// In which it means what it means.
    scope: Scope,
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

/// A prepared statement with parameters.
#[derive(Debug)]
pub struct Bound {
    understood: Arc<Understood>,
    /// Given by people for one run.
    approved: Mutex<Option<Permit>>,
}

/// What came of asking policy.
enum Decided {
    Permitted(Permit),
    Held(policy::Hold, Seq),
    Refused(Box<Denial>),
}

impl PolicyJudge {
    /// A judge for a session that has not logged in yet.
    #[must_use]
    pub fn new(
        about: About,
        shared: Shared,
        guard: Arc<SessionGuard>,
        ending: watch::Receiver<Option<String>>,
    ) -> Self {
        Self { about, shared, guard, ending, login: OnceLock::new(), scopes: Mutex::default(), names: Mutex::default() }
    }

    /// Reads a text, following what it does to the search path.
    async fn understand(&self, text: &str, in_transaction: bool) -> Result<Arc<Understood>, Denial> {
        let mut scope = self.scope(in_transaction)?;
        let mut own = self.shared.analyses.of(&scope, text).await.map_err(|error| self.unreadable(text, &error))?;
        let added =
            names::schemas_added(&own.facts, &self.user()).map_err(|reason| self.refusal(SqlState::DENIED, &reason))?;
        if !added.is_empty() {
            // Every schema that was ever on the path stays a candidate: which one it is now depends on transactions.
            let mut path = scope.scene().path.clone();
            path.extend(added.into_iter().filter(|schema| !scope.scene().path.contains(schema)));
            self.set_path(path);
            scope = self.scope(in_transaction)?;
            own = self.shared.analyses.of(&scope, text).await.map_err(|error| self.unreadable(text, &error))?;
        }
        let named = self.names.lock().run_by(own.verbs()).map_err(|name| {
            let reason = format!("`{name}` was not made in this session, so that nobody knows what it runs");
            self.refusal(SqlState::NO_STATEMENT, &reason)
        })?;
        Ok(Arc::new(Understood { scope, own, named }))
    }

    /// The same with what its names stand for now, which may have changed since it was prepared.
    fn named_now(&self, understood: &Arc<Understood>) -> Result<Arc<Understood>, Denial> {
        let named = self.names.lock().run_by(understood.own.verbs()).map_err(|name| {
            self.refusal(
                SqlState::NO_STATEMENT,
                &format!("`{name}` is not known any more, so that nobody knows what it runs"),
            )
        })?;
        Ok(if named.is_empty() && understood.named.is_empty() {
            Arc::clone(understood)
        } else {
            Arc::new(Understood { scope: understood.scope.clone(), own: Arc::clone(&understood.own), named })
        })
    }

    fn scope(&self, in_transaction: bool) -> Result<Scope, Denial> {
        match self.scopes.lock().as_ref() {
            Some(scopes) if in_transaction => Ok(scopes.inside.clone()),
            Some(scopes) => Ok(scopes.outside.clone()),
            None => Err(self.refusal(SqlState::PROTOCOL_VIOLATION, "no login came first")),
        }
    }

    fn set_path(&self, path: Vec<String>) {
        let mut scopes = self.scopes.lock();
        if let Some(known) = scopes.as_ref() {
            let scene = Scene { path, ..known.outside.scene().clone() };
            *scopes = Some(self.scopes_of(scene));
        }
    }

    fn user(&self) -> String {
        self.login.get().map(|login| login.startup.user.clone()).unwrap_or_default()
    }

    fn scopes_of(&self, scene: Scene) -> Scopes {
        let scope = |in_transaction| {
            let scene = Scene { in_transaction, ..scene.clone() };
            Scope::new(scene, self.about.principal.facts(), &self.user())
        };
        Scopes { outside: scope(false), inside: scope(true) }
    }

    /// Asks policy.
    fn judge(&self, understood: &Understood, login: &Login) -> (Decision, Arc<PolicySnapshot>) {
        let policies = Arc::clone(&self.shared.policies.borrow());
        let all: Vec<Arc<Question>>;
        let questions = if policies.reads_text() || !understood.named.is_empty() {
            all = self.all_questions(understood, policies.reads_text());
            &all
        } else {
            &understood.own.shape.questions
        };
        let request =
            Request { principal: &self.about.principal, session: &login.session, at: Moment::now(), questions };
        (policies.judge(&request, self.about.mode), policies)
    }

    /// The questions of a text and of all that it runs by name.
    fn all_questions(&self, understood: &Understood, with_texts: bool) -> Vec<Arc<Question>> {
        let analyses = std::iter::once(&understood.own).chain(&understood.named);
        let mut all = Vec::new();
        for analysis in analyses {
            if with_texts {
                all.extend(analysis.questions_with_text(&understood.scope));
            } else {
                all.extend(analysis.shape.questions.iter().cloned());
            }
        }
        all
    }

    /// Asks policy and journals the answer.
    async fn decide(&self, understood: &Understood, phase: Phase) -> Decided {
        let Some(login) = self.login.get() else {
            return Decided::Refused(Box::new(self.refusal(SqlState::PROTOCOL_VIOLATION, "no login came first")));
        };
        let (decision, policies) = self.judge(understood, login);
        let recorded = record::decision(&decision, &policies, understood.own.shape.input.clone());
        let request = match self.record_statement(&understood.own, phase, recorded).await {
            Ok(request) => request,
            Err(denial) => return Decided::Refused(Box::new(denial)),
        };
        match decision {
            Decision::Allow(permit) => Decided::Permitted(Permit { _permit: permit, request, since: Instant::now() }),
            Decision::Hold(hold) => Decided::Held(hold, request),
            Decision::Deny(denial) => {
                for error in denial.errors() {
                    tracing::error!(session = %self.guard.session(), error, "a policy could not be evaluated");
                }
                Decided::Refused(Box::new(self.denied(&denial, request)))
            }
        }
    }

    /// Asks policy, and people where policy wants them, until there is an answer.
    async fn settle(
        &self,
        understood: &Understood,
        parameters: &[u8],
        phase: Phase,
        say: &Say,
    ) -> Result<Permit, Box<Denial>> {
        loop {
            let (hold, request) = match self.decide(understood, phase).await {
                Decided::Permitted(permit) => return Ok(permit),
                Decided::Refused(denial) => return Err(denial),
                Decided::Held(hold, request) => (hold, request),
            };
            match self.ask_people(understood, parameters, (hold, request), say).await? {
                Answer::Approved(permit) => return Ok(Permit { _permit: permit, request, since: Instant::now() }),
                // Other policies came into force meanwhile: what they say counts.
                Answer::JudgeAgain => {}
            }
        }
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
        names.follow(&understood.own);
        forward
    }
}

impl Judge for PolicyJudge {
    type Prepared = Arc<Understood>;
    type Bound = Arc<Bound>;
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
            path: vec!["public".to_owned()],
            in_transaction: false,
        };
        let login = Login {
            session,
            startup: startup.clone(),
            database: startup.database.as_str().into(),
            user: startup.user.as_str().into(),
        };
        if self.login.set(login).is_err() {
            return Ruling::Refuse(Box::new(self.refusal(SqlState::PROTOCOL_VIOLATION, "a second login")));
        }
        let scopes = self.scopes_of(scene);
        let scope = scopes.outside.clone();
        *self.scopes.lock() = Some(scopes);
        let facts = Arc::default();
        let shape = Shape::of_questions(vec![question], &facts, &self.about.principal.facts(), "");
        let analysis = Analysis { text: "".into(), facts, kept: Kept::default(), shape: Arc::new(shape) };
        let denial =
            match self.decide(&Understood { scope, own: Arc::new(analysis), named: Vec::new() }, Phase::Login).await {
                Decided::Permitted(_) => match self.record_credential(&startup.user).await {
                    Ok(()) => return Ruling::Forward(()),
                    Err(denial) => denial,
                },
                Decided::Held(..) => self.refusal(SqlState::DENIED, "a login cannot wait for approval"),
                Decided::Refused(denial) => *denial,
            };
        Ruling::Refuse(Box::new(Denial { severity: Severity::Fatal, ..denial }))
    }

    fn logged_in(&self, schemas: Vec<String>) {
        self.set_path(schemas);
    }

    async fn query(&self, text: &str, say: &Say) -> Ruling<Forward<Permit>> {
        let understood = match self.understand(text, say.in_transaction()).await {
            Ok(understood) => understood,
            Err(denial) => return Ruling::Refuse(Box::new(denial)),
        };
        match self.settle(&understood, &[], Phase::Query, say).await {
            Ok(permit) => Ruling::Forward(self.forward(&understood, permit)),
            Err(denial) => Ruling::Refuse(denial),
        }
    }

    async fn parse(&self, statement: ParseRequest<'_>, say: &Say) -> Ruling<Arc<Understood>> {
        let understood = match self.understand(statement.text, say.in_transaction()).await {
            Ok(understood) => understood,
            Err(denial) => return Ruling::Refuse(Box::new(denial)),
        };
        match self.decide(&understood, Phase::Parse).await {
            // What has to wait for a person waits with its parameters, at Bind.
            Decided::Permitted(_) | Decided::Held(..) => {
                self.names.lock().prepare(statement.name, &understood.own);
                Ruling::Forward(understood)
            }
            Decided::Refused(denial) => Ruling::Refuse(denial),
        }
    }

    async fn bind(&self, prepared: &Arc<Understood>, bind: BindRequest<'_>, say: &Say) -> Ruling<Arc<Bound>> {
        let understood = match self.named_now(prepared) {
            Ok(understood) => understood,
            Err(denial) => return Ruling::Refuse(Box::new(denial)),
        };
        let asks = self.login.get().is_none_or(|login| !matches!(self.judge(&understood, login).0, Decision::Allow(_)));
        let approved = if asks {
            match self.settle(&understood, bind.parameters, Phase::Bind, say).await {
                Ok(permit) => Some(permit),
                Err(denial) => return Ruling::Refuse(denial),
            }
        } else {
            None
        };
        self.names.lock().open(bind.portal, &understood.own);
        Ruling::Forward(Arc::new(Bound { understood, approved: Mutex::new(approved) }))
    }

    async fn execute(&self, bound: &Arc<Bound>, _: u32, _: &Say) -> Ruling<Forward<Permit>> {
        let approved = bound.approved.lock().take();
        if let Some(permit) = approved {
            return Ruling::Forward(self.forward(&bound.understood, permit));
        }
        let now = match self.named_now(&bound.understood) {
            Ok(now) => now,
            Err(denial) => return Ruling::Refuse(Box::new(denial)),
        };
        match self.decide(&now, Phase::Execute).await {
            Decided::Permitted(permit) => Ruling::Forward(self.forward(&now, permit)),
            Decided::Refused(denial) => Ruling::Refuse(denial),
            Decided::Held(..) => {
                let reason = "it needs an approval for each run: bind the statement anew";
                Ruling::Refuse(Box::new(self.refusal(SqlState::DENIED, reason)))
            }
        }
    }

    fn outcome(&self, permit: Permit, outcome: &Outcome<'_>) {
        self.record_outcome(&permit, outcome);
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

fn joined(names: &[Arc<str>]) -> String {
    names.join(", ")
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
