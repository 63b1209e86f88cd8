//! What is in force, as one session sees it.
//!
//! In: what all sessions watch. Out: its newest value. As long as that stays the same nothing that sessions share is
//! written to, so that they do not wait for each other's caches. It never answers with what is no longer in force.

use std::sync::Arc;

use tokio::sync::watch;

/// The newest value of a watch.
pub(super) struct Latest<T> {
    receiver: watch::Receiver<Arc<T>>,
    seen: Arc<T>,
}

impl<T> Latest<T> {
    pub(super) fn new(mut receiver: watch::Receiver<Arc<T>>) -> Self {
        let seen = Arc::clone(&receiver.borrow_and_update());
        Self { receiver, seen }
    }

    pub(super) fn get(&mut self) -> &Arc<T> {
        // Where the sender is gone the gateway ends: what was in force is the last.
        if self.receiver.has_changed().unwrap_or(false) {
            self.seen = Arc::clone(&self.receiver.borrow_and_update());
        }
        &self.seen
    }
}
