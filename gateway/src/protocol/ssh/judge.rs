//! The judge of an SSH session: asks policy, journals, and only then lets go on.
//!
//! In: what a client asks for, as questions and in words. Out: a permit with the line of the journal that holds it (G3),
//! or what the client reads. Words are masked before they are kept (G4). It relays nothing.

mod hold;
mod record;

pub(super) use record::status;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::words::{Speaker, visible};
use crate::approval::Desk;
use crate::audit::event::SshPhase;
use crate::audit::{Seq, SessionGuard};
use crate::config::ApprovalSection;
use crate::masking::Masking;
use crate::masking::class::Class;
use crate::masking::detect::DetectorSet;
use crate::masking::rules::Rules;
use crate::policy::request::Entity;
use crate::policy::vocabulary::data::{self, Use};
use crate::policy::vocabulary::ssh as vocabulary;
use crate::policy::{
    self, Decision, Mode, Moment, PolicySnapshot, Principal, Question, Request, RequestPermit, Verdict,
};
use hold::Answer;

/// How often policies may change while one request waits.
const ROUNDS: usize = 8;

/// What is known of a session before its login.
#[derive(Debug, Clone)]
pub struct About {
    /// Who asks.
    pub principal: Principal,
    /// The target, as policies see it.
    pub target: Arc<Entity>,
    /// Its server, likewise.
    pub host: Arc<Entity>,
    /// The name of its target.
    pub target_name: String,
    /// Whether decisions block.
    pub mode: Mode,
    /// The session as policies see it, before a login is named.
    pub session: policy::Session,
    /// How requests wait for people.
    pub approval: ApprovalSection,
}

/// What all sessions of a process share.
#[derive(Clone)]
pub struct Shared {
    /// The policies in force.
    pub policies: watch::Receiver<Arc<PolicySnapshot>>,
    /// Where held requests wait.
    pub desk: Arc<Desk>,
    /// What is masked.
    pub rules: watch::Receiver<Arc<Rules>>,
}

/// What a client asks for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// What it is judged for.
    pub(super) phase: SshPhase,
    /// The channel that it came on.
    pub(super) channel: Option<u32>,
    /// In its own words.
    pub(super) text: String,
    /// Whether a terminal goes with it.
    pub(super) pty: bool,
    /// What policy is asked.
    pub(super) questions: Vec<Arc<Question>>,
}

/// Proof that one request was decided and recorded.
#[derive(Debug)]
pub(super) struct Granted {
    /// Given by policy; ends with the request.
    _permit: RequestPermit,
    /// Its line in the journal.
    pub(super) request: Seq,
    /// When it came.
    pub(super) since: Instant,
    /// How long it waited for people.
    pub(super) held: Duration,
}

/// What the client reads in its place.
#[derive(Debug, Clone)]
pub(super) struct Refused(pub(super) String);

/// Judges one session.
pub struct Judge {
    about: About,
    shared: Shared,
    guard: Arc<SessionGuard>,
    ending: watch::Receiver<Option<String>>,
    login: OnceLock<Login>,
}

struct Login {
    user: String,
    account: Arc<Entity>,
    session: policy::Session,
}

impl Judge {
    /// A judge for a session that has not logged in yet.
    #[must_use]
    pub fn new(
        about: About,
        shared: Shared,
        guard: Arc<SessionGuard>,
        ending: watch::Receiver<Option<String>>,
    ) -> Self {
        Self { about, shared, guard, ending, login: OnceLock::new() }
    }

    /// Whether the client may log in as `user`. Once.
    pub(super) async fn log_in(&self, user: &str) -> Result<Granted, Refused> {
        let account = vocabulary::account(&self.about.host, user);
        let session = policy::Session { login: user.into(), ..self.about.session.clone() };
        let _ = self.login.set(Login { user: user.to_owned(), account: Arc::clone(&account), session });
        let asked = Asked {
            phase: SshPhase::Login,
            channel: None,
            text: user.to_owned(),
            pty: false,
            questions: vec![vocabulary::login(account)],
        };
        self.decide(&asked, None).await
    }

    /// The account that the session is in; none before its login.
    pub(super) fn account(&self) -> Option<Arc<Entity>> {
        self.login.get().map(|login| Arc::clone(&login.account))
    }

    /// Decides one request, and waits for people where policy says so.
    pub(super) async fn decide(&self, asked: &Asked, speaker: Option<&Speaker>) -> Result<Granted, Refused> {
        let since = Instant::now();
        let counts = self.guard.counts();
        counts.requests.fetch_add(1, Ordering::Relaxed);
        for _ in 0..ROUNDS {
            let policies = Arc::clone(&self.shared.policies.borrow());
            let decision = self.judge(&asked.questions, &policies);
            let request = self.record(asked, &decision, &policies).await?;
            match decision {
                Decision::Allow(permit) => {
                    return Ok(Granted { _permit: permit, request, since, held: Duration::ZERO });
                }
                Decision::Deny(denial) => {
                    counts.denied.fetch_add(1, Ordering::Relaxed);
                    return Err(self.refusal(&why(&denial)));
                }
                Decision::Hold(hold) => match self.ask_people(asked, (hold, request), speaker).await? {
                    Answer::Approved(permit) => {
                        return Ok(Granted { _permit: permit, request, since, held: since.elapsed() });
                    }
                    Answer::JudgeAgain => {}
                },
            }
        }
        Err(self.refusal("policies change faster than this can be decided"))
    }

    fn judge(&self, questions: &[Arc<Question>], policies: &PolicySnapshot) -> Decision {
        let session = self.login.get().map_or(&self.about.session, |login| &login.session);
        let request = Request { principal: &self.about.principal, session, at: Moment::now(), questions };
        policies.judge(&request, self.about.mode)
    }

    /// Resolves when policies no longer let these go on; a hold was approved already, and stands.
    pub(super) async fn withdrawn(&self, questions: &[Arc<Question>]) -> String {
        let mut policies = self.shared.policies.clone();
        loop {
            if policies.changed().await.is_err() {
                // The gateway ends, and says so itself.
                return std::future::pending().await;
            }
            let now = Arc::clone(&policies.borrow_and_update());
            if let Decision::Deny(denial) = self.judge(questions, &now) {
                return format!("policies have changed: {}", why(&denial));
            }
        }
    }

    /// Resolves when the whole session has to end, with the reason.
    pub(super) async fn ended(&self) -> String {
        let mut ending = self.ending.clone();
        let reason = ending.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| "the gateway stops".to_owned())
    }

    /// What masks values of this target.
    pub(super) fn masking(&self) -> Arc<Masking> {
        self.shared.rules.borrow().masking(&self.about.target_name)
    }

    /// Detectors whose finds this workload may use so.
    pub(super) fn allowed(&self, masking: &Masking, usage: Use) -> DetectorSet {
        let may = |class: &Class| self.permits(data::ask(usage, class_entity(class), self.target(), None));
        let allowed = masking.detectors.iter().filter(|detector| may(&detector.class));
        masking.detectors.set(allowed.map(|detector| &*detector.name))
    }

    fn permits(&self, question: Arc<Question>) -> bool {
        let policies = Arc::clone(&self.shared.policies.borrow());
        let session = self.login.get().map_or(&self.about.session, |login| &login.session);
        let questions = [question];
        let request = Request { principal: &self.about.principal, session, at: Moment::now(), questions: &questions };
        questions.iter().all(|question| policies.answer(&request, question).verdict == Verdict::Allow)
    }

    fn target(&self) -> Arc<Entity> {
        Arc::clone(&self.about.target)
    }

    /// Whom and where the client is, as a prompt names it.
    pub(super) fn place(&self) -> String {
        format!("{}@{}", self.user(), self.about.target_name)
    }

    /// The guard of the session's journal.
    pub(super) fn guard(&self) -> &Arc<SessionGuard> {
        &self.guard
    }

    fn user(&self) -> &str {
        self.login.get().map_or("", |login| &login.user)
    }

    /// A refusal in the client's voice.
    pub(super) fn refusal(&self, reason: &str) -> Refused {
        Refused(format!("gateway: {} (session {})", visible(reason), self.guard.session()))
    }
}

/// A class with those that it is part of.
fn class_entity(class: &Class) -> Arc<Entity> {
    let parent = class.parent.as_deref().map(class_entity);
    data::class(&class.name, parent.as_slice())
}

/// Which policy, and why.
fn why(denial: &policy::Denial) -> String {
    let policies: Vec<_> = denial.policies().iter().map(AsRef::as_ref).collect();
    if policies.is_empty() { denial.to_string() } else { format!("denied by policy {}: {denial}", policies.join(", ")) }
}
