//! The judge of a Postgres session: reads, asks policy, journals, and only then lets go on.
//!
//! In: texts and names as the engine sees them. Out: permits and denials. A permit is given when the journal has the
//! statement and its decision (G3). It keeps what names mean in this session, so that EXECUTE and FETCH are judged by
//! what they run.

mod analysis;
mod caps;
mod change;
mod hold;
mod labels;
mod latest;
mod masks;
mod names;
mod origins;
mod parameters;
mod questions;
mod raw;
mod record;
mod source;
mod spoken;
mod templates;
mod understand;
mod view;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

pub use analysis::Analyses;
use analysis::{Analysis, Scope, Shape, Unreadable};
use hold::{Answer, Matter};
use latest::Latest;
use names::Names;
use questions::Scene;
pub use raw::questions_of;
use view::View;

use super::LoginMode;
use super::encoding::Speech;
use super::judge::{
    BindRequest, CopyIn, Forward, Judge, Outcome, OutcomeEnd, ParseRequest, Pass, RewriteError, Rows, Ruling, Say,
};
use super::message::Backend;
use super::reply::{Denial, Severity, SqlState};
use super::rows::{Recorder, ResultRewriter};
use super::settings::Startup;
use super::sql::facts::Verb;
use super::state::Transaction;
use super::texts::{self, Told};
use crate::approval::Desk;
use crate::audit::event::{Phase, Verdict};
use crate::audit::{Kept, Seq, SessionGuard};
use crate::config::ApprovalSection;
use crate::masking::class::contains_mask;
use crate::masking::masked::Masked;
use crate::masking::plan::Texts;
use crate::masking::rules::Rules;
use crate::policy::request::Entity;
use crate::policy::vocabulary::names::Action;
use crate::policy::vocabulary::postgres as vocabulary;
use crate::policy::{
    self, CommitPermit, Decision, Mode, Moment, PolicySnapshot, Principal, Question, Request, RequestPermit,
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
    /// The server's address: one name stands for all that no target declares.
    pub address: SocketAddr,
    /// The target's name.
    pub target_name: String,
    /// Its labelled columns are masked by the server itself.
    pub masks_at_source: bool,
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
    /// What is masked.
    pub rules: watch::Receiver<Arc<Rules>>,
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
    speech: Mutex<Speech>,
    view: Mutex<Option<View>>,
    policies: Mutex<Latest<PolicySnapshot>>,
    rules: Mutex<Latest<Rules>>,
    /// A statement named relations that have labels: errors may quote their rows, even that of a COMMIT.
    scrubs: AtomicBool,
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
    permit: RequestPermit,
    request: Seq,
    since: Instant,
    /// Cursors that the run declares.
    declares: Vec<String>,
    /// What people are asked where it changes more rows than go without them.
    matter: Option<Box<Matter>>,
    /// Why its rows are not kept, where policy has them kept.
    not_recorded: Option<Box<str>>,
}

impl Permit {
    fn new(permit: RequestPermit, request: Seq) -> Self {
        Self { permit, request, since: Instant::now(), declares: Vec::new(), matter: None, not_recorded: None }
    }
}

/// A prepared statement with parameters.
#[derive(Debug)]
pub struct Bound {
    understood: Arc<Understood>,
    /// For the journal.
    parameters: Vec<Kept>,
    /// As they came, where people may be asked about them once it ran.
    raw: Option<Box<[u8]>>,
    /// Given by people for one run.
    approved: Mutex<Option<Permit>>,
    /// Rows that its portal has shown.
    shown: Arc<AtomicU64>,
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
        Self {
            about,
            policies: Mutex::new(Latest::new(shared.policies.clone())),
            rules: Mutex::new(Latest::new(shared.rules.clone())),
            shared,
            guard,
            ending,
            login: OnceLock::new(),
            scopes: Mutex::default(),
            names: Mutex::default(),
            speech: Mutex::default(),
            view: Mutex::default(),
            scrubs: AtomicBool::new(false),
        }
    }

    fn scope(&self, in_transaction: bool) -> Result<Scope, Denial> {
        match self.scopes.lock().as_ref() {
            Some(scopes) if in_transaction => Ok(scopes.inside.clone()),
            Some(scopes) => Ok(scopes.outside.clone()),
            None => Err(self.refusal(SqlState::PROTOCOL_VIOLATION, "no login came first")),
        }
    }

    fn set_path(&self, path: Vec<String>) {
        self.renew_scopes(|scene| Scene { path, ..scene });
    }

    /// Builds the scopes anew: the path, labels or the catalog have changed.
    fn renew_scopes(&self, change: impl FnOnce(Scene) -> Scene) {
        let scene = self.scopes.lock().as_ref().map(|scopes| scopes.outside.scene().clone());
        if let Some(scene) = scene {
            let renewed = self.scopes_of(change(scene));
            *self.scopes.lock() = Some(renewed);
        }
    }

    fn user(&self) -> String {
        self.login.get().map(|login| login.startup.user.clone()).unwrap_or_default()
    }

    fn scopes_of(&self, scene: Scene) -> Scopes {
        let view = self.view.lock();
        let (catalog, calls) = view.as_ref().map(|view| (view.last(), view.calls())).unwrap_or_default();
        let masking = view.as_ref().map(|view| (Arc::clone(&view.masking), view.rules.id())).unwrap_or_default();
        let scope = |in_transaction| {
            let scene = Scene { in_transaction, catalog: catalog.clone(), calls: calls.clone(), ..scene.clone() };
            Scope::new(scene, masking.clone(), self.about.principal.facts(), &self.user())
        };
        Scopes { outside: scope(false), inside: scope(true) }
    }

    /// Asks policy.
    fn judge(&self, understood: &Understood, login: &Login) -> (Decision, Arc<PolicySnapshot>) {
        let policies = Arc::clone(self.policies.lock().get());
        let all: Vec<Arc<Question>>;
        let questions = if policies.reads_text() || !understood.named.is_empty() {
            all = understood.questions(policies.reads_text());
            &all
        } else {
            &understood.own.shape.questions
        };
        let request =
            Request { principal: &self.about.principal, session: &login.session, at: Moment::now(), questions };
        (policies.judge(&request, self.about.mode), policies)
    }

    /// Asks policy and journals the answer.
    async fn decide(&self, understood: &Understood, phase: Phase, parameters: &[Kept]) -> Decided {
        let Some(login) = self.login.get() else {
            return Decided::Refused(Box::new(self.refusal(SqlState::PROTOCOL_VIOLATION, "no login came first")));
        };
        if understood.own.shape.labels.touches_relation {
            self.scrubs.store(true, Ordering::Relaxed);
        }
        let (decision, policies) = self.judge(understood, login);
        let refusal = match &decision {
            Decision::Allow(permit) => self.refused_all_the_same(understood, permit),
            Decision::Hold(_) | Decision::Deny(_) => None,
        };
        let of = (phase, parameters);
        let recorded = match &decision {
            Decision::Allow(permit) if refusal.is_none() && permit.would_be().is_none() => {
                self.record_allowed(&understood.own, of, (permit, &policies)).await
            }
            _ => {
                let mut recorded =
                    policies.recorded(&decision, understood.own.shape.input.clone(), &self.about.session);
                if let Some(reason) = &refusal {
                    (recorded.verdict, recorded.message) = (Verdict::Deny, Some(reason.clone()));
                }
                self.record_statement(&understood.own, of, recorded).await
            }
        };
        let request = match recorded {
            Ok(request) => request,
            Err(denial) => return Decided::Refused(Box::new(denial)),
        };
        match decision {
            Decision::Allow(_) if refusal.is_some() => {
                Decided::Refused(Box::new(self.refusal(SqlState::DENIED, &refusal.unwrap_or_default())))
            }
            Decision::Allow(permit) => Decided::Permitted(Permit::new(permit, request)),
            Decision::Hold(hold) => Decided::Held(hold, request),
            Decision::Deny(denial) => {
                for error in denial.errors() {
                    tracing::error!(session = %self.guard.session(), error, "a policy could not be evaluated");
                }
                Decided::Refused(Box::new(self.denied(&denial, &understood.own.shape.labels, request)))
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
        let kept = self.kept_parameters(understood, parameters);
        loop {
            let (hold, request) = match self.decide(understood, phase, &kept).await {
                Decided::Permitted(permit) => return Ok(permit),
                Decided::Refused(denial) => return Err(denial),
                Decided::Held(hold, request) => (hold, request),
            };
            match self.ask_people(&self.matter(understood, parameters, request), hold, say).await? {
                Answer::Approved(permit) => match self.refused_all_the_same(understood, &permit) {
                    None => return Ok(Permit::new(permit, request)),
                    Some(reason) => {
                        self.note_refusal(understood.own.kept.clone(), reason.clone());
                        return Err(Box::new(self.refusal(SqlState::DENIED, &reason)));
                    }
                },
                // Other policies came into force meanwhile: what they say counts.
                Answer::JudgeAgain => {}
            }
        }
    }

    fn forward(
        &self,
        (understood, parameters): (&Understood, Option<&[u8]>),
        mut permit: Permit,
        shown: &Arc<AtomicU64>,
    ) -> Forward<Permit> {
        let fetched = self.names.lock().fetched(understood.own.verbs());
        let shown = fetched.as_ref().unwrap_or(shown);
        permit.declares = names::declared_by(understood.own.verbs());
        permit.matter = self.matter_of_change(understood, parameters, &permit);
        let masking = understood.scope.masking();
        let recorded = permit.permit.recorded().rows;
        let (rewriter, clear) = self.with_masks(understood, &permit.permit, self.allowed(masking), |masks| {
            let rewriter = ResultRewriter::new(Arc::clone(masking), masks.plans(&understood.own.facts));
            let clear = (recorded > 0).then(|| masks.shows_in_the_clear()).flatten();
            (rewriter.in_other_words(understood.own.sent.is_some()), clear)
        });
        let limit = caps::limit(understood, &permit.permit, shown);
        permit.not_recorded = clear.map(Into::into);
        let mut forward = Forward::plain(permit);
        forward.sets_encoding = self.sets_encoding(understood);
        forward.limit = limit;
        let kept = if forward.permit.not_recorded.is_none() { recorded } else { 0 };
        forward.rewrite = Some(Recorder::over(rewriter, kept));
        if let Some(view) = self.view.lock().as_mut() {
            view.follow(&understood.own.facts);
            understood.named.iter().for_each(|named| view.follow(&named.facts));
        }
        for verb in understood.own.verbs() {
            forward.forgets.extend(names::forgets(verb));
            if *verb == Verb::CopyIn {
                forward.copy = CopyIn::Expected;
            }
        }
        self.names.lock().follow(&understood.own);
        self.follow_shadows(&understood.own.facts);
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
            shadowed: Arc::default(),
            in_transaction: false,
            catalog: None,
            calls: None,
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
        self.look_at_rules();
        let scopes = self.scopes_of(scene);
        let scope = scopes.outside.clone();
        *self.scopes.lock() = Some(scopes);
        let facts = Arc::default();
        let shape = Shape::of_questions(vec![question], &facts, &self.about.principal.facts(), "");
        let analysis = Analysis { text: "".into(), facts, sent: None, kept: Kept::default(), shape: Arc::new(shape) };
        let denial = match self
            .decide(&Understood { scope, own: Arc::new(analysis), named: Vec::new() }, Phase::Login, &[])
            .await
        {
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

    fn speaks(&self, speech: Speech) {
        *self.speech.lock() = speech;
    }

    fn refused(&self, denial: &Denial) {
        // It can quote a name that the client chose.
        let masking = self.view.lock().as_ref().map(|view| Arc::clone(&view.masking)).unwrap_or_default();
        self.note_refusal(Kept::default(), Masked::new(&denial.message, &masking.detectors).to_string());
    }

    fn question(&self, transaction: Transaction, reads: bool) -> Option<String> {
        self.look_at_rules();
        if self.view.lock().as_mut().is_some_and(|view| view.adopt(&self.shared.analyses.catalogs)) {
            self.renew_scopes(|scene| scene);
        }
        self.view.lock().as_mut().and_then(|view| view.question(transaction, reads, &self.shared.analyses.catalogs))
    }

    fn answered(&self, answer: Result<&Rows, SqlState>) {
        let changed = self.view.lock().as_mut().is_some_and(|view| view.answer(answer, &self.shared.analyses.catalogs));
        if changed {
            self.renew_scopes(|scene| scene);
        }
    }

    fn aside(&self, kind: Backend, message: &[u8], out: &mut Vec<u8>) -> Result<Pass, RewriteError> {
        let (last, masking) =
            self.view.lock().as_ref().map(|view| (view.last(), Arc::clone(&view.masking))).unwrap_or_default();
        let bystander = || Texts::of_bystander(last.is_some_and(|catalog| catalog.has_labels()));
        let texts = if self.scrubs.load(Ordering::Relaxed) { Texts::Scrub } else { bystander() };
        // Which statement it is about is not told.
        let is_of_other_words = self.about.masks_at_source && texts == Texts::Scrub;
        texts::rewrite(kind, message, Told { texts, is_of_other_words, detectors: &masking.detectors }, out)
    }

    async fn query(&self, text: &str, say: &Say) -> Ruling<Forward<Permit>> {
        let understood = match self.understand(text, say.in_transaction()).await {
            Ok(understood) => understood,
            Err(denial) => return Ruling::Refuse(Box::new(denial)),
        };
        if let Err(denial) = self.check_speech(&understood) {
            return Ruling::Refuse(denial);
        }
        let as_temporary = match self.as_temporary(&understood, say).await {
            Ok(found) => found,
            Err(denial) => return Ruling::Refuse(Box::new(denial)),
        };
        let drops = as_temporary.as_ref().map(|instead| instead.own.text.to_string());
        let understood = as_temporary.unwrap_or(understood);
        let text = drops.or_else(|| understood.own.sent.as_deref().map(str::to_owned));
        match self.settle(&understood, &[], Phase::Query, say).await {
            Ok(permit) => {
                Ruling::Forward(Forward { text, ..self.forward((&understood, Some(&[])), permit, &Arc::default()) })
            }
            Err(denial) => Ruling::Refuse(denial),
        }
    }

    async fn parse(&self, statement: ParseRequest<'_>, say: &Say) -> Ruling<Arc<Understood>> {
        let understood = match self.understand(statement.text, say.in_transaction()).await {
            Ok(understood) => understood,
            Err(denial) => return Ruling::Refuse(Box::new(denial)),
        };
        match self.decide(&understood, Phase::Parse, &[]).await {
            // What has to wait for a person waits with its parameters, at Bind.
            Decided::Permitted(_) | Decided::Held(..) => {
                self.names.lock().prepare(statement.name, &understood.own);
                Ruling::Forward(understood)
            }
            Decided::Refused(denial) => Ruling::Refuse(denial),
        }
    }

    fn sent<'p>(&self, prepared: &'p Arc<Understood>) -> Option<&'p str> {
        prepared.own.sent.as_deref()
    }

    async fn bind(&self, prepared: &Arc<Understood>, bind: BindRequest<'_>, say: &Say) -> Ruling<Arc<Bound>> {
        let understood = match self.now(prepared).await {
            Ok(understood) => understood,
            Err(denial) => return Ruling::Refuse(Box::new(denial)),
        };
        let holds_mask = || contains_mask(bind.parameters) || bind.encoding.holds_mark(bind.parameters);
        if analysis::writes(&understood.own.facts) && holds_mask() {
            return Ruling::Refuse(Box::new(self.unreadable(&understood.own.text, &Unreadable::Mask)));
        }
        let (approved, may_wait) = match self.login.get().map(|login| self.judge(&understood, login).0) {
            Some(Decision::Allow(permit)) => (None, change::may_wait(&permit)),
            _ => match self.settle(&understood, bind.parameters, Phase::Bind, say).await {
                Ok(permit) => {
                    let may_wait = change::may_wait(&permit.permit);
                    (Some(permit), may_wait)
                }
                Err(denial) => return Ruling::Refuse(denial),
            },
        };
        self.names.lock().open(bind.portal, &understood.own);
        let parameters = self.kept_parameters(&understood, bind.parameters);
        Ruling::Forward(Arc::new(Bound {
            understood,
            parameters,
            raw: may_wait.then(|| bind.parameters.into()),
            approved: Mutex::new(approved),
            shown: Arc::default(),
        }))
    }

    async fn execute(&self, bound: &Arc<Bound>, _: u32, _: &Say) -> Ruling<Forward<Permit>> {
        let now = match self.now(&bound.understood).await {
            Ok(now) => now,
            Err(denial) => return Ruling::Refuse(Box::new(denial)),
        };
        if let Err(denial) = self.check_speech(&now) {
            return Ruling::Refuse(denial);
        }
        let approved = bound.approved.lock().take();
        if let Some(permit) = approved {
            return Ruling::Forward(self.forward((&now, bound.raw.as_deref()), permit, &bound.shown));
        }
        match self.decide(&now, Phase::Execute, &bound.parameters).await {
            Decided::Permitted(permit) => {
                Ruling::Forward(self.forward((&now, bound.raw.as_deref()), permit, &bound.shown))
            }
            Decided::Refused(denial) => Ruling::Refuse(denial),
            Decided::Held(..) => {
                let reason = "it needs an approval for each run: bind the statement anew";
                Ruling::Refuse(Box::new(self.refusal(SqlState::DENIED, reason)))
            }
        }
    }

    async fn change(&self, permit: &Permit, rows: u64, say: &Say) -> Ruling<()> {
        match self.permit_commit(permit, rows, say).await {
            Ok(CommitPermit { .. }) => Ruling::Forward(()),
            Err(denial) => Ruling::Refuse(denial),
        }
    }

    fn outcome(&self, permit: Permit, outcome: &Outcome<'_>) {
        if matches!(outcome.end, OutcomeEnd::Completed { .. }) && !permit.declares.is_empty() {
            self.names.lock().declared(&permit.declares);
        }
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
