//! Facts by text, so that a statement that comes again is not read again.
//!
//! In: a text and, once, its facts. Out: the facts of the very same text. Must never answer by a hash alone: a
//! collision would judge one statement by the facts of another.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache as Shards;

use super::facts::Facts;

/// Texts beyond this are not kept: they are rarely sent again, and one would push out many.
const LONGEST: usize = 16 * 1024;

/// A bounded cache of facts.
pub(super) struct Cache {
    shards: Shards<Box<[u8]>, Arc<Facts>, Bytes>,
}

/// Weighs an entry by the bytes that it takes, roughly.
#[derive(Clone)]
struct Bytes;

impl Weighter<Box<[u8]>, Arc<Facts>> for Bytes {
    fn weight(&self, text: &Box<[u8]>, facts: &Arc<Facts>) -> u64 {
        let questions: usize = facts.statements.iter().map(|s| s.questions.len() + s.calls.len()).sum();
        (text.len() * 3 + 512 + questions * 256) as u64
    }
}

impl Cache {
    /// A cache that takes about `bytes`.
    pub(super) fn new(bytes: u64) -> Self {
        let entries = usize::try_from(bytes / 2048).unwrap_or(usize::MAX).max(16);
        Self { shards: Shards::with_weighter(entries, bytes, Bytes) }
    }

    pub(super) fn find(&self, text: &[u8]) -> Option<Arc<Facts>> {
        self.shards.get(text)
    }

    pub(super) fn keep(&self, text: &[u8], facts: &Arc<Facts>) {
        if text.len() <= LONGEST {
            self.shards.insert(text.into(), Arc::clone(facts));
        }
    }
}
