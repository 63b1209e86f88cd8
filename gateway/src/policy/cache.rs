//! Decisions that were made already, under the set of policies in force.
//!
//! In: a question, who asks, and what the policies of its slice read beside it. Out: the answer that was found for exactly
//! the same. Each set of policies has a cache of its own, so a new set starts empty. It must never give an answer that
//! rested on a text, a time or a session other than this one.

use std::collections::BTreeSet;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache as Bounded;

use super::decision::Answer;
use super::principal::Principal;
use super::reads::{Reads, Volatile};
use super::request::{Question, Request};
use super::vocabulary::names::Weekday;

/// Questions and answers that are kept take about this much memory at most.
const MEMORY: u64 = 32 << 20;

/// A question heavier than this is evaluated each time: one client must not push out what all others use.
const HEAVIEST: usize = 32 << 10;

/// Beside the question: the entry itself and its answer.
const OVERHEAD: u64 = 512;

/// What an answer depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    question: Arc<Question>,
    principal: Principal,
    login: Arc<str>,
    read: Option<Box<ReadFacts>>,
}

/// The facts that some policy reads; one that none reads is left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ReadFacts {
    weekday: Option<Weekday>,
    hour: Option<u8>,
    grants: Option<Arc<BTreeSet<Arc<str>>>>,
    application: Option<Option<Arc<str>>>,
}

#[derive(Clone, Debug)]
struct ByMemory;

impl Weighter<Key, Arc<Answer>> for ByMemory {
    fn weight(&self, key: &Key, _: &Arc<Answer>) -> u64 {
        key.question.weight() as u64 + OVERHEAD
    }
}

#[derive(Debug)]
pub(super) struct Cache(Bounded<Key, Arc<Answer>, ByMemory>);

impl Cache {
    pub(super) fn new() -> Self {
        Self(Bounded::with_weighter(16_384, MEMORY, ByMemory))
    }

    /// The key of this question, or `None` where the answer is good for this request only.
    pub(super) fn key(&self, reads: Reads, request: &Request<'_>, question: &Arc<Question>) -> Option<Key> {
        if reads.forbid_caching() || question.weight() > HEAVIEST {
            return None;
        }
        let session = request.session;
        let read = (reads != Reads::default()).then(|| {
            Box::new(ReadFacts {
                weekday: reads.has(Volatile::Weekday).then_some(request.at.weekday),
                hour: reads.has(Volatile::Hour).then_some(request.at.hour),
                grants: reads.has(Volatile::Grants).then(|| session.grants.clone()),
                application: reads.has(Volatile::Application).then(|| session.application.clone()),
            })
        });
        let (question, principal) = (question.clone(), request.principal.clone());
        Some(Key { question, principal, login: session.login.clone(), read })
    }

    pub(super) fn find(&self, key: &Key) -> Option<Arc<Answer>> {
        self.0.get(key)
    }

    pub(super) fn keep(&self, key: Key, answer: Arc<Answer>) {
        self.0.insert(key, answer);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
