//! What policy says: allow, hold or deny, and by which policies.
//!
//! In: the answers to the questions of a request. Out: a [`Decision`]. A request is as its strictest question: allow,
//! then mask, then hold, then deny. It must never soften one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::permit::{ConnectPermit, Epoch, RequestPermit, WouldBe};
use super::terms::Terms;

/// The answer to one question, from the mildest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It may be done.
    Allow,
    /// The data class is shown masked.
    Mask,
    /// It waits for a person.
    Hold,
    /// It may not be done.
    Deny,
}

impl Verdict {
    /// The word that tables of tests and explanations use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Mask => "mask",
            Self::Hold => "hold",
            Self::Deny => "deny",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The members of a group who have to approve, and how many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vote {
    /// The group.
    pub group: Arc<str>,
    /// How many different members of it.
    pub count: u8,
    /// On what terms their yes counts.
    pub terms: Terms,
}

impl fmt::Display for Vote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => f.write_str(&self.group)?,
            count => write!(f, "{count} of {}", self.group)?,
        }
        self.terms.fmt(f)
    }
}

/// How much a permitted request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Caps {
    /// Rows that it may show.
    pub rows: Option<u64>,
    /// Rows that it may change.
    pub affected: Option<u64>,
    /// Rows that it may change without approval.
    pub alone: Option<u64>,
}

impl Caps {
    /// What both let through.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let least = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        Self {
            rows: least(self.rows, other.rows),
            affected: least(self.affected, other.affected),
            alone: least(self.alone, other.alone),
        }
    }

    /// What either lets through: where one has no cap, there is none.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let most = |one: Option<u64>, other: Option<u64>| one.zip(other).map(|(one, other)| one.max(other));
        Self {
            rows: most(self.rows, other.rows),
            affected: most(self.affected, other.affected),
            alone: most(self.alone, other.alone),
        }
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_some(self) -> bool {
        self != Self::default()
    }
}

/// How much of what a permitted request shows is kept for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Recording {
    /// Rows of results.
    pub rows: u64,
    /// Bytes of a request's body, and of its answer's.
    pub bytes: u64,
}

impl Recording {
    /// What either wants kept.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { rows: self.rows.max(other.rows), bytes: self.bytes.max(other.bytes) }
    }
}

/// What was found for one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it comes to.
    pub verdict: Verdict,
    /// Ids of the policies that decided, sorted; none where nobody permits it.
    pub policies: Box<[Arc<str>]>,
    /// What the client reads, one text for each policy that has one.
    pub messages: Box<[Arc<str>]>,
    /// Whose approval it needs.
    pub votes: Box<[Vote]>,
    /// How much may be done: `@max_rows` and `@max_affected` of the policies that let it.
    pub caps: Caps,
    /// What of its results is kept for the record: the most that `@record_rows` and `@record_bytes` of policies that decided say.
    pub recorded: Recording,
    /// What a change of more rows than it may make without approval waits for.
    pub beyond: Option<Box<Held>>,
    /// Why it could not be evaluated; then it is denied.
    pub errors: Box<[String]>,
    /// `Postgres::drop on Postgres::Relation "shop/app/public.orders"`
    pub asked: Arc<str>,
    /// The data class that it was about, for a question of `Data`.
    pub class: Option<Arc<str>>,
}

/// What may happen with a request.
#[derive(Debug)]
#[must_use]
pub enum Decision {
    /// It may go on.
    Allow(RequestPermit),
    /// It waits.
    Hold(Hold),
    /// It is refused.
    Deny(Denial),
}

/// What may happen with a connection before any request on it.
#[derive(Debug)]
#[must_use]
pub enum ConnectDecision {
    /// The upstream may be dialled.
    Allow(ConnectPermit),
    /// It is refused. A connection never waits for a person: a client would give up long before.
    Deny(Denial),
}

/// A refusal, in the client's voice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub(super) epoch: Epoch,
    pub(super) policies: Vec<Arc<str>>,
    pub(super) messages: Vec<Arc<str>>,
    pub(super) errors: Vec<String>,
    pub(super) asked: Arc<str>,
}

impl Denial {
    /// The set of policies that refused.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Ids of the policies that refused; none where nobody permits it.
    #[must_use]
    pub fn policies(&self) -> &[Arc<str>] {
        &self.policies
    }

    /// What the refusing policies say to the client; [`Denial`]'s own text holds it too.
    #[must_use]
    pub fn messages(&self) -> &[Arc<str>] {
        &self.messages
    }

    /// Why it could not be evaluated, for the log, never for the client.
    #[must_use]
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    /// The first question that was refused.
    #[must_use]
    pub fn asked(&self) -> &str {
        &self.asked
    }
}

/// What the client reads.
impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.errors.is_empty() {
            return write!(f, "a policy could not be evaluated for {}, so it is refused", self.asked);
        }
        match (self.messages.as_slice(), self.policies.as_slice()) {
            ([], []) => write!(f, "no policy permits {}", self.asked),
            ([], policies) => write!(f, "{} refuses {}", policies.join(", "), self.asked),
            (messages, _) => f.write_str(&messages.join("; ")),
        }
    }
}

/// What a request waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub(super) policies: Vec<Arc<str>>,
    pub(super) messages: Vec<Arc<str>>,
    pub(super) votes: Vec<Vote>,
    pub(super) asked: Vec<Arc<str>>,
}

impl Held {
    /// Ids of the policies that hold it.
    #[must_use]
    pub fn policies(&self) -> &[Arc<str>] {
        &self.policies
    }

    /// What the client reads.
    #[must_use]
    pub fn messages(&self) -> &[Arc<str>] {
        &self.messages
    }

    /// Who has to approve: all of them, in one ticket; sorted by group.
    #[must_use]
    pub fn votes(&self) -> &[Vote] {
        &self.votes
    }

    /// All that it would do: the questions that policy was asked.
    #[must_use]
    pub fn asked(&self) -> &[Arc<str>] {
        &self.asked
    }

    /// For how long it may wait, where its policies say so.
    #[must_use]
    pub fn expires(&self) -> Option<Duration> {
        self.votes.iter().filter_map(|vote| vote.terms.expires).min()
    }

    /// For how long it waits where nothing is said of it in policies, in words.
    #[must_use]
    pub fn patience(&self, usual: Duration) -> String {
        let seconds = self.expires().unwrap_or(usual).as_secs();
        if seconds < 60 { format!("{seconds} seconds") } else { format!("{} minutes", seconds.div_ceil(60)) }
    }

    /// Which policies hold it, and why, in words.
    #[must_use]
    pub fn reasons(&self) -> String {
        format!("held by policy {}: {}", self.policies.join(", "), self.messages.join("; "))
    }

    /// Who has to approve, in words.
    #[must_use]
    pub fn approvers(&self) -> String {
        let votes: Vec<_> = self.votes.iter().map(ToString::to_string).collect();
        votes.join(" and ")
    }
}

/// What waits for approval: a request, or the commit of one that changed many rows.
#[derive(Debug)]
pub struct Hold<P = RequestPermit> {
    pub(super) held: Held,
    pub(super) epoch: Epoch,
    pub(super) permit: P,
}

impl<P> Hold<P> {
    /// What it waits for.
    #[must_use]
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// The set of policies that held it. Where another is in force when approval comes, the request is judged again.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The permit, now that all whose approval it needs have given it. Only `approval` may call this: the call is the
    /// approval.
    #[must_use]
    pub fn approve(self) -> P {
        self.permit
    }
}

/// Whether decisions bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They do.
    Enforce,
    /// They are recorded as what would have been, and nothing is blocked, except by what `Data` questions say.
    Observe,
}

/// The decision on a request from the answers to all its questions. What labelled data may be used for binds in either
/// mode: a value that was shown cannot be taken back.
pub(super) fn decide(epoch: Epoch, answers: Vec<Arc<Answer>>, mode: Mode) -> Decision {
    if answers.is_empty() {
        return Decision::Deny(no_question(epoch));
    }
    let binds = |answer: &Answer| mode == Mode::Enforce || answer.class.is_some();
    let strictest =
        |binding: bool| answers.iter().filter(|answer| binds(answer) == binding).map(|answer| answer.verdict).max();
    if strictest(true) == Some(Verdict::Deny) {
        return Decision::Deny(denial(epoch, answers.iter().filter(|answer| binds(answer))));
    }
    let spared = || answers.iter().filter(|answer| !binds(answer));
    let would_be = match strictest(false) {
        None | Some(Verdict::Allow | Verdict::Mask) => None,
        Some(Verdict::Hold) => Some(Box::new(WouldBe::Held(held(spared())))),
        Some(Verdict::Deny) => Some(Box::new(WouldBe::Denied(denial(epoch, spared())))),
    };
    let waiting = (strictest(true) == Some(Verdict::Hold)).then(|| held(answers.iter().filter(|answer| binds(answer))));
    let permit = RequestPermit { epoch, answers, would_be, is_observed: mode == Mode::Observe };
    match waiting {
        Some(held) => Decision::Hold(Hold { held, epoch, permit }),
        None => Decision::Allow(permit),
    }
}

/// A request that asks nothing is not understood.
pub(super) fn no_question(epoch: Epoch) -> Denial {
    let errors = vec!["the request asked no question; its engine did not understand it".to_owned()];
    Denial { epoch, policies: Vec::new(), messages: Vec::new(), errors, asked: "nothing".into() }
}

pub(super) fn denial<'a>(epoch: Epoch, answers: impl Iterator<Item = &'a Arc<Answer>> + Clone) -> Denial {
    let denied = || answers.clone().filter(|answer| answer.verdict == Verdict::Deny);
    Denial {
        epoch,
        policies: distinct_ids(denied().flat_map(|answer| &answer.policies)),
        messages: distinct_ids(denied().flat_map(|answer| &answer.messages)),
        errors: denied().flat_map(|answer| answer.errors.iter().cloned()).collect(),
        asked: denied().map(|answer| answer.asked.clone()).next().unwrap_or_default(),
    }
}

pub(super) fn held<'a>(answers: impl Iterator<Item = &'a Arc<Answer>> + Clone) -> Held {
    let waiting = || answers.clone().filter(|answer| answer.verdict == Verdict::Hold);
    Held {
        policies: distinct_ids(waiting().flat_map(|answer| &answer.policies)),
        messages: distinct_ids(waiting().flat_map(|answer| &answer.messages)),
        votes: most(waiting().flat_map(|answer| &answer.votes)),
        asked: distinct_ids(answers.map(|answer| &answer.asked)),
    }
}

/// One vote for each group: the highest count of any, on the terms of all.
pub(super) fn most<'a>(votes: impl Iterator<Item = &'a Vote>) -> Vec<Vote> {
    let mut all: BTreeMap<&Arc<str>, (u8, Terms)> = BTreeMap::new();
    for vote in votes {
        let (count, terms) = all.entry(&vote.group).or_default();
        (*count, *terms) = (vote.count.max(*count), terms.and(&vote.terms));
    }
    all.into_iter().map(|(group, (count, terms))| Vote { group: group.clone(), count, terms }).collect()
}

pub(super) fn distinct_ids<'a>(items: impl Iterator<Item = &'a Arc<str>>) -> Vec<Arc<str>> {
    let mut all: Vec<Arc<str>> = Vec::new();
    for item in items {
        if !all.contains(item) {
            all.push(item.clone());
        }
    }
    all
}

#[cfg(test)]
impl Held {
    /// What a hold of such votes waits for.
    pub(crate) fn for_tests(votes: Vec<Vote>) -> Self {
        Self { policies: Vec::new(), messages: Vec::new(), votes, asked: Vec::new() }
    }
}

#[cfg(test)]
impl<P> Hold<P> {
    /// A hold of the first set of policies.
    pub(crate) fn for_tests(held: Held, permit: P) -> Self {
        Self { held, epoch: Epoch { counter: 1, digest: [0; 32] }, permit }
    }
}
