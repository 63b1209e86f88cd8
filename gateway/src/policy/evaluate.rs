//! From a request to a decision.
//!
//! In: a request and the set of policies in force. Out: a [`Decision`]. Each question is looked up in the cache, else
//! evaluated with Cedar over its slice. Cedar skips a policy that errors, so a `forbid` whose condition overflows would
//! fail open: any error denies. It must never answer for what the schema does not know.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use cedar_policy::{Authorizer, Decision as CedarDecision, Effect, PolicyId};

use super::cache::Cache;
use super::decision::{
    Answer, Caps, ConnectDecision, Decision, Held, Mode, Recording, Verdict, Vote, decide, denial, distinct_ids, most,
};
use super::permit::{ConnectPermit, Epoch, WouldBe};
use super::request::{Question, Request, Subject};
use super::schema::Schema;
use super::slice::{PolicyEntry, Slice, Slices};
use super::translate::{Translated, translate};
use super::vocabulary::names::{Action, EntityType, Handling};

/// A set of policies in force, immutable.
#[derive(Debug)]
pub struct PolicySnapshot {
    pub(super) schema: &'static Schema,
    pub(super) epoch: Epoch,
    pub(super) name: OnceLock<Arc<str>>,
    pub(super) entries: Vec<Arc<PolicyEntry>>,
    pub(super) slices: Slices,
    pub(super) cache: Cache,
}

impl PolicySnapshot {
    /// Which set this is.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The epoch as events name it.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        Arc::clone(self.name.get_or_init(|| self.epoch.to_string().into()))
    }

    /// Whether a policy of it reads the text of requests, so that two texts with the same facts may differ.
    #[must_use]
    pub fn reads_text(&self) -> bool {
        self.slices.read_text()
    }

    /// Whether any policy could show a data class: where none could, nobody need ask for each.
    #[must_use]
    pub fn unmasks(&self) -> bool {
        self.slices.find(Action::DataUnmask, EntityType::DataClass).is_some_and(|slice| !slice.permits.is_empty())
    }

    /// Ids of its policies, sorted.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| entry.id.as_ref()).collect()
    }

    /// Judges a request: all its questions, the strictest answer wins. A refused `Data::unmask` masks.
    pub fn judge(&self, request: &Request<'_>, mode: Mode) -> Decision {
        let answers = request.questions.iter().map(|question| self.answer(request, question)).collect();
        decide(self.epoch, answers, mode)
    }

    /// Judges whether an upstream may be dialled, by the `Network::connect` questions of `request`.
    ///
    /// An endpoint that an engine inspects needs no permit: every request on the connection needs one of its own. A forbid
    /// stops it all the same, and so does an error. Any other endpoint is relayed unread and needs a permit. A hold is
    /// a refusal here.
    pub fn judge_connect(&self, request: &Request<'_>, mode: Mode) -> ConnectDecision {
        let answers: Vec<_> = request.questions.iter().map(|question| self.answer_connect(request, question)).collect();
        let refusal = match answers.iter().map(|answer| answer.verdict).max() {
            None => Some(super::decision::no_question(self.epoch)),
            Some(Verdict::Allow) => None,
            Some(Verdict::Mask | Verdict::Hold | Verdict::Deny) => Some(denial(self.epoch, answers.iter())),
        };
        let permit = |would_be: Option<Box<WouldBe>>| ConnectPermit {
            epoch: self.epoch,
            policies: distinct_ids(answers.iter().flat_map(|answer| answer.policies.iter())),
            would_be,
        };
        match (refusal, mode) {
            (None, _) => ConnectDecision::Allow(permit(None)),
            (Some(denial), Mode::Observe) => ConnectDecision::Allow(permit(Some(Box::new(WouldBe::Denied(denial))))),
            (Some(denial), Mode::Enforce) => ConnectDecision::Deny(denial),
        }
    }

    fn answer_connect(&self, request: &Request<'_>, question: &Arc<Question>) -> Arc<Answer> {
        let answer = self.answer(request, question);
        let inspected = question.resource().attributes().iter().any(|(_, value)| *value == Handling::Inspected.into());
        if question.action() != Action::NetworkConnect {
            let reason = "only `Network::connect` is asked before there is a connection".to_owned();
            return Arc::new(refused(question.subject(), vec![reason]));
        }
        match verdict_of_connect(&answer, inspected) {
            same if same == answer.verdict => answer,
            verdict => Arc::new(Answer { verdict, ..Answer::clone(&answer) }),
        }
    }

    /// The answer by the rule of its action, which is another one for connections.
    pub(super) fn answer_as_asked(&self, request: &Request<'_>, question: &Arc<Question>) -> Arc<Answer> {
        match question.action() {
            Action::NetworkConnect => self.answer_connect(request, question),
            _ => self.answer(request, question),
        }
    }

    /// The answer to one question: what masking asks for each data class.
    #[must_use]
    pub fn answer(&self, request: &Request<'_>, question: &Arc<Question>) -> Arc<Answer> {
        let Some(slice) = self.slices.find(question.action(), question.resource().kind()) else {
            let reason = format!("the schema does not know it on a {}", question.resource().kind());
            return Arc::new(refused(question.subject(), vec![reason]));
        };
        let Some(key) = self.cache.key(slice.reads, request, question) else {
            return Arc::new(self.evaluate(slice, request, question));
        };
        if let Some(answer) = self.cache.find(&key) {
            return answer;
        }
        let answer = Arc::new(self.evaluate(slice, request, question));
        self.cache.keep(key, answer.clone());
        answer
    }

    fn evaluate(&self, slice: &Slice, request: &Request<'_>, question: &Question) -> Answer {
        match translate(self.schema, request, question) {
            Ok(asked) => authorize(slice, &asked, question.subject()),
            Err(error) => refused(question.subject(), vec![error.to_string()]),
        }
    }
}

/// What Cedar says to one question, and the policies that made it.
pub(super) fn authorize(slice: &Slice, asked: &Translated, subject: Subject<'_>) -> Answer {
    let authorizer = Authorizer::new();
    let response = authorizer.is_authorized(&asked.request, &slice.all, &asked.entities);
    let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
    if !errors.is_empty() {
        return refused(subject, errors);
    }
    let reasons: BTreeSet<&PolicyId> = response.diagnostics().reason().collect();
    let decided: Vec<&PolicyEntry> = reasons.iter().filter_map(|id| slice.entry(id)).map(Arc::as_ref).collect();
    if decided.len() != reasons.len() {
        return refused(subject, vec!["a policy decided that is not in the set".to_owned()]);
    }
    if response.decision() == CedarDecision::Allow {
        let caps = widest(&decided);
        let recorded = recorded(&decided);
        return Answer {
            caps,
            recorded,
            beyond: beyond(subject, &decided),
            ..answered(Verdict::Allow, subject, &decided)
        };
    }
    let can_wait = !decided.is_empty() && decided.iter().all(|entry| entry.vote.is_some());
    if can_wait {
        let lifted = authorizer.is_authorized(&asked.request, &slice.permits, &asked.entities);
        if lifted.decision() == CedarDecision::Allow {
            let permits = lifted.diagnostics().reason().filter_map(|id| slice.entry(id));
            let permits: Vec<_> = permits.map(Arc::as_ref).collect();
            let caps = decided.iter().fold(widest(&permits), |caps, entry| caps.and(entry.caps));
            let recorded = recorded(&decided).or(recorded(&permits));
            let beyond = beyond(subject, &permits);
            return Answer { caps, recorded, beyond, ..answered(Verdict::Hold, subject, &decided) };
        }
    }
    let verdict = if subject.action == Action::DataUnmask { Verdict::Mask } else { Verdict::Deny };
    answered(verdict, subject, &decided)
}

/// What is inspected needs no permit to be dialled, and no connection waits for a person.
pub(super) fn verdict_of_connect(answer: &Answer, inspected: bool) -> Verdict {
    match answer.verdict {
        Verdict::Deny if inspected && answer.policies.is_empty() && answer.errors.is_empty() => Verdict::Allow,
        Verdict::Hold => Verdict::Deny,
        verdict => verdict,
    }
}

/// What policies have kept.
fn recorded(decided: &[&PolicyEntry]) -> Recording {
    decided.iter().map(|entry| entry.recorded).reduce(Recording::or).unwrap_or_default()
}

/// What permits let through together.
fn widest(permits: &[&PolicyEntry]) -> Caps {
    permits.iter().map(|entry| entry.caps).reduce(Caps::or).unwrap_or_default()
}

/// What a change of more rows waits for than permits let through alone, where one of them lets people raise its cap.
fn beyond(subject: Subject<'_>, permits: &[&PolicyEntry]) -> Option<Box<Held>> {
    let raised = || permits.iter().filter(|entry| entry.vote.is_some());
    raised().next()?;
    Some(Box::new(Held {
        policies: raised().map(|entry| entry.id.clone()).collect(),
        messages: raised().filter_map(|entry| entry.message.clone()).collect(),
        votes: most(raised().filter_map(|entry| entry.vote.as_ref())),
        asked: vec![asked(subject)],
    }))
}

fn answered(verdict: Verdict, subject: Subject<'_>, decided: &[&PolicyEntry]) -> Answer {
    let votes: Vec<&Vote> = match verdict {
        Verdict::Hold => decided.iter().filter_map(|entry| entry.vote.as_ref()).collect(),
        Verdict::Allow | Verdict::Mask | Verdict::Deny => Vec::new(),
    };
    Answer {
        verdict,
        policies: decided.iter().map(|entry| entry.id.clone()).collect(),
        messages: messages(verdict, subject, decided),
        votes: most(votes.into_iter()).into(),
        caps: Caps::default(),
        recorded: Recording::default(),
        beyond: None,
        errors: Box::default(),
        asked: asked(subject),
        class: class(subject),
    }
}

/// What the forbids say. One that waits for a person says nothing in a refusal: nobody could lift it.
fn messages(verdict: Verdict, subject: Subject<'_>, decided: &[&PolicyEntry]) -> Box<[Arc<str>]> {
    let speaks = |entry: &&&PolicyEntry| {
        entry.policy.effect() == Effect::Forbid && (verdict == Verdict::Hold || entry.vote.is_none())
    };
    if verdict == Verdict::Deny && !decided.is_empty() && !decided.iter().any(|entry| speaks(&entry)) {
        return Box::new([format!("no policy permits {}, approved or not", asked(subject)).into()]);
    }
    decided.iter().filter(speaks).filter_map(|entry| entry.message.clone()).collect()
}

/// What cannot be evaluated is refused, and a value that cannot be judged is not shown.
fn refused(subject: Subject<'_>, errors: Vec<String>) -> Answer {
    Answer {
        verdict: Verdict::Deny,
        policies: Box::default(),
        messages: Box::default(),
        votes: Box::default(),
        caps: Caps::default(),
        recorded: Recording::default(),
        beyond: None,
        errors: errors.into(),
        asked: asked(subject),
        class: class(subject),
    }
}

fn asked(subject: Subject<'_>) -> Arc<str> {
    format!("{} on {} \"{}\"", subject.action, subject.kind, subject.id).into()
}

fn class(subject: Subject<'_>) -> Option<Arc<str>> {
    match subject.action {
        Action::DataUnmask | Action::DataCompare | Action::DataExport => Some(subject.id.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
