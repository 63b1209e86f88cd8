//! The judge of a session: asks policy, journals, and only then lets a request go on.
//!
//! In: a request whose line and body were read. Out: a permit, or what the client reads. A permit is given when the
//! journal has the request and its decision (G3); people are asked where policy wants them.

mod hold;
mod record;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::watch;

pub(super) use record::Ended;

use super::body::{self, Parsed};
use super::fields;
use super::head::Head;
use super::object::{Place, Rule};
use super::preview::Preview;
use super::questions::{self, Asked};
use super::reply::Refusal;
use crate::approval::Desk;
use crate::audit::event::Decision as Recorded;
use crate::audit::{Kept, Seq, SessionGuard};
use crate::config::ApprovalSection;
use crate::masking::Masking;
use crate::masking::class::Class;
use crate::masking::detect::DetectorSet;
use crate::masking::masked::Masked;
use crate::masking::rules::Rules;
use crate::policy::decision::Verdict;
use crate::policy::request::Entity;
use crate::policy::vocabulary::data::{self, Use};
use crate::policy::vocabulary::names::EntityType;
use crate::policy::{self, Decision, Mode, Moment, PolicySnapshot, Principal, Question, Request, RequestPermit};

/// What is known of a session before its first request.
#[derive(Clone, Debug)]
pub struct About {
    /// Who asks.
    pub principal: Principal,
    /// The target as policies see it.
    pub target: Arc<Entity>,
    /// The target's name.
    pub target_name: String,
    /// Whether decisions block.
    pub mode: Mode,
    /// The session as policies see it.
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

/// Judges one session.
pub struct Judge {
    about: About,
    shared: Shared,
    guard: Arc<SessionGuard>,
}

/// A request as it is judged.
pub(super) struct Judged<'a> {
    pub(super) head: &'a Head,
    pub(super) parsed: &'a Parsed,
    /// What an approval is bound to.
    pub(super) body: &'a [u8],
    /// What the client said of who it is, which does not go on.
    pub(super) stripped: &'a [String],
    /// For the people who are asked.
    pub(super) preview: &'a dyn Preview,
}

/// Proof that a request was decided and recorded, and what its answer may show.
#[derive(Debug)]
pub(super) struct Permit {
    /// Given by policy; ends with the answer.
    permit: RequestPermit,
    pub(super) request: Seq,
    pub(super) since: Instant,
    pub(super) rule: Rule,
    /// What was asked, to be asked again when policies change.
    questions: Arc<[Arc<Question>]>,
    /// What of its bodies is kept.
    pub(super) bodies: Option<Box<Bodies>>,
}

/// What of the bodies of a request is kept for the record.
#[derive(Debug)]
pub(super) struct Bodies {
    /// Bytes of the answer; none of one that shows something in the clear.
    pub(super) answer: usize,
    request: Option<Kept>,
    left_out: Option<String>,
}

/// What came of asking policy.
enum Decided {
    Permitted(Permit),
    Held(policy::Hold, Seq),
    Refused(Refusal),
}

/// All that is asked for one request.
struct Questions {
    asked: Asked,
    all: Arc<[Arc<Question>]>,
    /// Of a class that the answer holds: hidden unless policy shows it.
    shows: Option<Arc<Class>>,
    /// That is a token, which the answer issues.
    issues_token: bool,
    /// Labelled fields that the answer may hold.
    places: Vec<Place>,
    input: crate::audit::KeptInput,
}

impl Questions {
    /// What the answer may hold: each class once.
    fn classes(&self) -> impl Iterator<Item = Arc<Class>> {
        classes(self.shows.as_ref(), &self.places)
    }
}

fn classes(shows: Option<&Arc<Class>>, places: &[Place]) -> impl Iterator<Item = Arc<Class>> {
    let first = shows.map(Arc::clone);
    let others: Vec<_> = fields::classes(places)
        .into_iter()
        .filter(|class| first.as_ref().is_none_or(|first| first.name != class.name))
        .collect();
    first.into_iter().chain(others)
}

impl Judge {
    /// A judge for a session.
    #[must_use]
    pub fn new(about: About, shared: Shared, guard: Arc<SessionGuard>) -> Self {
        Self { about, shared, guard }
    }

    /// The session in the journal.
    pub(super) fn guard(&self) -> &Arc<SessionGuard> {
        &self.guard
    }

    /// What masks the answers of this target.
    pub(super) fn masking(&self) -> Arc<Masking> {
        self.shared.rules.borrow().masking(&self.about.target_name)
    }

    /// Changes when other policies come into force.
    pub(super) fn policies(&self) -> watch::Receiver<Arc<PolicySnapshot>> {
        self.shared.policies.clone()
    }

    /// Asks policy, and people where policy wants them, until there is an answer.
    pub(super) async fn judge(&self, judged: &Judged<'_>) -> Result<Permit, Refusal> {
        self.guard.counts().requests.fetch_add(1, Ordering::Relaxed);
        let result = self.settle(judged).await;
        if result.is_err() {
            self.guard.counts().denied.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    async fn settle(&self, judged: &Judged<'_>) -> Result<Permit, Refusal> {
        loop {
            let questions = self.questions(judged)?;
            match self.decide(judged, &questions).await {
                Decided::Permitted(permit) => return Ok(permit),
                Decided::Refused(refusal) => return Err(refusal),
                Decided::Held(hold, request) => {
                    if let Some(permit) = self.ask_people(judged, &questions, hold, request).await? {
                        return Ok(self.permit(judged, permit, request, &questions));
                    }
                    // Other policies came into force meanwhile: what they say counts.
                }
            }
        }
    }

    /// Whether a permit still stands under the policies in force now; where not, what rests on it ends (G6).
    pub(super) fn still_permits(&self, permit: &Permit) -> bool {
        let policies = Arc::clone(&self.shared.policies.borrow());
        if permit.permit.epoch() == policies.epoch() {
            return true;
        }
        let decision = policies.judge(&self.request(&permit.questions), self.about.mode);
        // What people approved ends when policies change: nobody knows what they would say now.
        let Decision::Allow(now) = decision else { return false };
        let hidden = |permit: &RequestPermit| permit.masked().map(Arc::clone).collect::<Vec<_>>();
        hidden(&now) == hidden(&permit.permit)
    }

    fn request<'a>(&'a self, questions: &'a [Arc<Question>]) -> Request<'a> {
        Request { principal: &self.about.principal, session: &self.about.session, at: Moment::now(), questions }
    }

    fn questions(&self, judged: &Judged<'_>) -> Result<Questions, Refusal> {
        let Head { info, line, .. } = judged.head;
        let asked = questions::of(info, line, &self.about.target, judged.parsed)
            .map_err(|error| Refusal::bad_request(error.to_string()))?;
        let masking = self.masking();
        let secret = || masking.classes.find("secret").map(Arc::clone);
        let shows = if questions::shows_secrets(info) || questions::issues_token(info) { secret() } else { None };
        let places = fields::places(info, &masking);
        let mut all = asked.questions.clone();
        all.extend(classes(shows.as_ref(), &places).map(|class| self.unmask(&class, &asked.object)));
        let input = record::input(&self.about.principal, &all, &masking);
        Ok(Questions { asked, all: all.into(), shows, issues_token: questions::issues_token(info), places, input })
    }

    fn unmask(&self, class: &Class, object: &Arc<Entity>) -> Arc<Question> {
        // A path that is no resource holds no object.
        let place = (object.kind() == EntityType::KubernetesObject).then(|| Arc::clone(object));
        data::ask(Use::Unmask, class_entity(class), Arc::clone(&self.about.target), place)
    }

    fn shows(&self, policies: &PolicySnapshot, class: &Class, object: &Arc<Entity>) -> bool {
        let questions = [self.unmask(class, object)];
        let request = self.request(&questions);
        questions.iter().all(|question| policies.answer(&request, question).verdict == Verdict::Allow)
    }

    /// Asks policy and journals the answer.
    async fn decide(&self, judged: &Judged<'_>, questions: &Questions) -> Decided {
        let policies = Arc::clone(&self.shared.policies.borrow());
        let decision = policies.judge(&self.request(&questions.all), self.about.mode);
        let refusal = match &decision {
            Decision::Deny(_) => None,
            Decision::Allow(_) | Decision::Hold(_) => self.refused_by_masks(judged, questions, &policies),
        };
        let input = questions.input.clone();
        let recorded = match &refusal {
            // A refusal of ours stands above what policy says.
            Some(_) => Recorded { message: refusal.clone(), ..policies.recorded_refusal(input) },
            None => policies.recorded(&decision, input, &self.about.session),
        };
        let request = match self.record(judged, questions, recorded).await {
            Ok(request) => request,
            Err(refusal) => return Decided::Refused(refusal),
        };
        match (decision, refusal) {
            (_, Some(reason)) => Decided::Refused(self.refusal(&reason)),
            (Decision::Allow(permit), None) => Decided::Permitted(self.permit(judged, permit, request, questions)),
            (Decision::Hold(hold), None) => Decided::Held(hold, request),
            (Decision::Deny(denial), None) => {
                for error in denial.errors() {
                    tracing::error!(session = %self.guard.session(), error, "a policy could not be evaluated");
                }
                Decided::Refused(self.denied(&denial, request))
            }
        }
    }

    /// Why a request that policy permits is refused all the same: it would show around a mask.
    fn refused_by_masks(
        &self,
        judged: &Judged<'_>,
        questions: &Questions,
        policies: &PolicySnapshot,
    ) -> Option<String> {
        let object = &questions.asked.object;
        if judged.parsed.compares && questions.classes().any(|class| !self.shows(policies, &class, object)) {
            return Some(
                "`test` in a JSON patch would tell whether a hidden value is the one that it names".to_owned(),
            );
        }
        let masking = self.masking();
        let class = masking.classes.find("secret")?;
        let text = |object: &Entity, name| object.text(name).map_or(String::new(), |text| text.to_string());
        let hides = |map: &&Arc<Entity>| {
            let places = fields::of_config_map(&text(map, "namespace"), &text(map, "name"), &masking);
            fields::classes(&places).iter().any(|class| !self.shows(policies, class, map))
        };
        let asked = &questions.asked;
        let secret = asked.handed_on.iter().find(|secret| !self.shows(policies, class, secret));
        let (kind, hidden) = match secret {
            Some(secret) => ("Secret", secret),
            None => ("ConfigMap", asked.config_maps.iter().find(hides)?),
        };
        Some(format!(
            "it would hand the {kind} `{}` to code that can read it, which takes a permit for Data::Action::\"unmask\" of it",
            text(hidden, "name")
        ))
    }

    fn permit(&self, judged: &Judged<'_>, permit: RequestPermit, request: Seq, questions: &Questions) -> Permit {
        let masking = self.masking();
        let hidden = |class: &&Arc<Class>| permit.masked().any(|masked| *masked == class.name);
        let class = questions.shows.as_ref().filter(hidden).map(Arc::clone);
        let places: Vec<_> = questions.places.iter().filter(|place| hidden(&&place.label.class)).cloned().collect();
        let policies = Arc::clone(&self.shared.policies.borrow());
        let allowed = if policies.unmasks() {
            let object = &questions.asked.object;
            let shown = masking.detectors.iter().filter(|detector| self.shows(&policies, &detector.class, object));
            masking.detectors.set(shown.map(|detector| &*detector.name))
        } else {
            DetectorSet::default()
        };
        let rule = Rule {
            secret: class.clone().filter(|_| !questions.issues_token),
            token: class.filter(|_| questions.issues_token),
            quotes: fields::quotes(&places, &judged.head.info),
            places: places.into(),
            asked: fields::asked(&judged.head.info),
            detectors: Arc::clone(&masking.detectors),
            allowed,
        };
        let bodies = bodies(judged, &permit, questions, &masking, allowed);
        Permit { permit, request, since: Instant::now(), rule, questions: Arc::clone(&questions.all), bodies }
    }

    fn denied(&self, denial: &policy::Denial, request: Seq) -> Refusal {
        let policies: Vec<_> = denial.policies().iter().map(AsRef::as_ref).collect();
        let by =
            if policies.is_empty() { "denied".to_owned() } else { format!("denied by policy {}", policies.join(", ")) };
        Refusal::forbidden(format!("gateway: {by}: {denial} (session {}, event {request})", self.guard.session()))
    }

    fn refusal(&self, reason: &str) -> Refusal {
        Refusal::forbidden(format!("gateway: refused: {reason} (session {})", self.guard.session()))
    }
}

/// What is kept of its bodies: nothing of a class in the clear, whoever may see it (G4).
fn bodies(
    judged: &Judged<'_>,
    permit: &RequestPermit,
    questions: &Questions,
    masking: &Masking,
    allowed: DetectorSet,
) -> Option<Box<Bodies>> {
    let most = usize::try_from(permit.recorded().bytes).ok().filter(|most| *most > 0)?;
    let names = |all: Vec<Arc<Class>>| all.iter().map(|class| class.name.to_string()).collect::<Vec<_>>().join(", ");
    let all: Vec<_> = questions.classes().collect();
    let is_hidden = |class: &Arc<Class>| permit.masked().any(|masked| *masked == class.name);
    let clear: Vec<_> = all.iter().filter(|class| !is_hidden(class)).cloned().collect();
    let shows = !clear.is_empty() || allowed != DetectorSet::default();
    let left_out = match (shows, all.is_empty() || judged.body.is_empty()) {
        (true, _) if clear.is_empty() => Some("its answer may show what detectors find in the clear".to_owned()),
        (true, _) => Some(format!("its answer may show {} in the clear", names(clear))),
        (false, false) => Some(format!("the request's body may hold {}", names(all.clone()))),
        (false, true) => None,
    };
    let request = (all.is_empty() && !judged.body.is_empty()).then(|| {
        let masked = Masked::new(&body::readable(judged.body), &masking.detectors).to_string();
        Kept::after_redaction(masked.chars().take(most).collect::<String>())
    });
    Some(Box::new(Bodies { answer: if shows { 0 } else { most }, request, left_out }))
}

/// The class, and those that it is part of.
fn class_entity(class: &Class) -> Arc<Entity> {
    let names: Vec<_> = class.lineage().collect();
    let above = names
        .iter()
        .skip(1)
        .rev()
        .fold(None, |above: Option<Arc<Entity>>, name| Some(data::class(name, above.as_slice())));
    data::class(&class.name, above.as_slice())
}
