//! What an attachment may take of what all attachments share.
//!
//! In: who wants one more of something. Out: a share, given back when it is dropped, or nothing. One rule for all of it:
//! nobody holds more than is left for the others. So whoever floods runs dry alone, at half of the room, and the next one
//! who does at half of the rest. It never takes from somebody what they hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Whether one who holds `own` of all `taken` may have more, where there is `room` for so much.
#[must_use]
pub const fn may_take(own: u64, taken: u64, room: u64) -> bool {
    own < room.saturating_sub(taken)
}

/// Something of which there is only so much.
#[derive(Debug)]
pub struct Budget {
    room: usize,
    each: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by: BTreeMap<Arc<str>, usize>,
}

/// One of it. Back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    of: Arc<str>,
}

impl Budget {
    /// Room for so many, of which nobody has more than `each`, however much is left.
    #[must_use]
    pub fn new(room: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { room, each, held: Mutex::default() })
    }

    /// Whether somebody may have one more.
    #[must_use]
    pub fn has_room(&self, who: &str) -> bool {
        self.admits(&self.held.lock(), who)
    }

    fn admits(&self, held: &Held, who: &str) -> bool {
        let own = held.by.get(who).copied().unwrap_or(0);
        own < self.each && may_take(own as u64, held.all as u64, self.room as u64)
    }

    /// One more for somebody, unless they hold as much as is left.
    #[must_use]
    pub fn take(self: &Arc<Self>, who: &str) -> Option<Share> {
        let mut held = self.held.lock();
        if !self.admits(&held, who) {
            return None;
        }
        let of = held.by.get_key_value(who).map_or_else(|| who.into(), |(name, _)| Arc::clone(name));
        held.all += 1;
        *held.by.entry(Arc::clone(&of)).or_default() += 1;
        Some(Share { budget: Arc::clone(self), of })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.budget.held.lock();
        held.all = held.all.saturating_sub(1);
        let left = held.by.get(&self.of).copied().unwrap_or(0).saturating_sub(1);
        // Who holds nothing needs no entry: attachments come and go.
        if left == 0 {
            held.by.remove(&self.of);
        } else {
            held.by.insert(Arc::clone(&self.of), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(budget: &Arc<Budget>, who: &str) -> Vec<Share> {
        std::iter::from_fn(|| budget.take(who)).collect()
    }

    #[test]
    fn who_takes_all_they_can_leaves_as_much_to_the_others() {
        let budget = Budget::new(1_000, 1_000);
        let first = takes(&budget, "a");
        let second = takes(&budget, "b");
        assert_eq!((first.len(), second.len()), (500, 250));
        assert!(budget.take("c").is_some() && budget.take("a").is_none());
        drop(first);
        assert_eq!(takes(&budget, "b").len(), 250, "they hold half of the room then");
    }

    #[test]
    fn nobody_has_more_than_their_own_bound_and_what_is_given_back_is_there() {
        let budget = Budget::new(1_000, 3);
        let mut held = takes(&budget, "a");
        assert_eq!(held.len(), 3);
        held.pop();
        assert_eq!(takes(&budget, "a").len(), 1);
        drop(held);
        assert_eq!(budget.held.lock().all, 0);
        assert!(budget.held.lock().by.is_empty());
    }
}
