//! Proofs that policy was asked and said yes.
//!
//! In: nothing from outside; only this folder makes them. Out: a [`ConnectPermit`] to dial an upstream, a
//! [`RequestPermit`] for each request that is sent on. There must never be another way to get one: no `Clone`, no
//! `Default`, no public constructor.

use std::fmt;
use std::sync::Arc;

use super::decision::{Answer, Caps, Denial, Held, Hold, Recording, Verdict, distinct_ids, most};

/// Which set of policies decided: a counter that grows with each change, and the digest of the set's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch {
    pub(super) counter: u64,
    pub(super) digest: [u8; 32],
}

impl Epoch {
    /// Grows by one with each set that comes into force.
    #[must_use]
    pub fn counter(&self) -> u64 {
        self.counter
    }

    /// SHA-256 over the names and texts of the files, the schema and the ids that are disabled.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.counter)?;
        self.digest.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What an attachment in `observe` mode was spared.
#[derive(Debug)]
pub enum WouldBe {
    /// It would have been denied: `would_deny`.
    Denied(Denial),
    /// It would have waited for a person: `would_hold`.
    Held(Held),
}

/// Leave to send one request on.
#[derive(Debug)]
pub struct RequestPermit {
    pub(super) epoch: Epoch,
    pub(super) answers: Vec<Arc<Answer>>,
    pub(super) would_be: Option<Box<WouldBe>>,
    pub(super) is_observed: bool,
}

impl RequestPermit {
    /// The set of policies that gave it.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Ids of the policies that decided, each once.
    #[must_use]
    pub fn policies(&self) -> Vec<Arc<str>> {
        distinct_ids(self.answers.iter().flat_map(|answer| answer.policies.iter()))
    }

    /// Data classes that the request asked to see and may not: they are masked.
    pub fn masked(&self) -> impl Iterator<Item = &Arc<str>> {
        self.answers.iter().filter(|answer| answer.verdict == Verdict::Mask).filter_map(|answer| answer.class.as_ref())
    }

    /// How much may be done: what all answers let through. Where the attachment is only observed, whatever it likes.
    #[must_use]
    pub fn caps(&self) -> Caps {
        if self.is_observed {
            return Caps::default();
        }
        self.answers.iter().fold(Caps::default(), |caps, answer| caps.and(answer.caps))
    }

    /// What of its results is kept for the record: the most that an answer says.
    #[must_use]
    pub fn recorded(&self) -> Recording {
        self.answers.iter().map(|answer| answer.recorded).reduce(Recording::or).unwrap_or_default()
    }

    /// What becomes of what it let run, now that it changed so many rows and nothing of it is committed.
    #[must_use]
    pub fn change(&self, rows: u64) -> Change {
        let exceeds = |cap: Option<u64>| !self.is_observed && cap.is_some_and(|cap| rows > cap);
        let over: Vec<_> = self.answers.iter().filter(|answer| exceeds(answer.caps.alone)).collect();
        let permit = CommitPermit(());
        if over.is_empty() {
            return Change::Within(permit);
        }
        let waits: Vec<_> = over.iter().filter_map(|answer| answer.beyond.as_deref()).collect();
        if waits.len() < over.len() || self.answers.iter().any(|answer| exceeds(answer.caps.affected)) {
            return Change::Over;
        }
        let held = Held {
            policies: distinct_ids(waits.iter().flat_map(|held| &held.policies)),
            messages: distinct_ids(waits.iter().flat_map(|held| &held.messages)),
            votes: most(waits.iter().flat_map(|held| &held.votes)),
            asked: distinct_ids(self.answers.iter().map(|answer| &answer.asked)),
        };
        Change::Waits(Hold { held, epoch: self.epoch, permit })
    }

    /// What would have been, where the attachment is only observed.
    #[must_use]
    pub fn would_be(&self) -> Option<&WouldBe> {
        self.would_be.as_deref()
    }
}

/// What becomes of a change whose rows were counted.
#[derive(Debug)]
pub enum Change {
    /// It is committed.
    Within(CommitPermit),
    /// It waits for people.
    Waits(Hold<CommitPermit>),
    /// It is rolled back.
    Over,
}

/// Leave to commit a change whose rows were counted.
#[derive(Debug)]
pub struct CommitPermit(());

/// Leave to dial one upstream.
#[derive(Debug)]
pub struct ConnectPermit {
    pub(super) epoch: Epoch,
    pub(super) policies: Vec<Arc<str>>,
    pub(super) would_be: Option<Box<WouldBe>>,
}

impl ConnectPermit {
    /// The set of policies that gave it.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Ids of the policies that decided; none where an engine will ask for each request.
    #[must_use]
    pub fn policies(&self) -> &[Arc<str>] {
        &self.policies
    }

    /// What would have been, where the attachment is only observed.
    #[must_use]
    pub fn would_be(&self) -> Option<&WouldBe> {
        self.would_be.as_deref()
    }
}
