//! How many rows a run may show or change.
//!
//! In: a cap, the rows that go by, the tag at the end. Out: which rows are left out, and whether the run stays within the
//! cap. Its end is held back until somebody has decided what becomes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::protocol::postgres::reply::{Denial, SqlState};

/// A cap on one run.
#[derive(Clone, Debug, Default)]
pub struct Limit {
    /// Rows that may be shown.
    pub rows: Option<u64>,
    /// Rows that may be changed.
    pub affected: Option<u64>,
    /// Rows that were shown of the same portal.
    pub shown: Arc<AtomicU64>,
    /// The policies that say so.
    pub policies: String,
}

/// What came of a run with a cap.
#[derive(Debug)]
pub(in super::super) enum Capped {
    /// It stayed within; this is how it ended.
    Within(Vec<u8>),
    /// It did not.
    Over(Box<Denial>),
    /// It failed, as the client has read.
    Failed,
}

impl Limit {
    /// Whether one more row may be shown, which is then counted.
    pub(super) fn shows(&self) -> bool {
        let before = self.shown.fetch_add(1, Ordering::Relaxed);
        self.rows.is_none_or(|cap| before < cap)
    }

    /// What is wrong with a run that ends with this tag.
    pub(super) fn exceeded(&self, tag: &str) -> Option<Denial> {
        let shown = self.shown.load(Ordering::Relaxed);
        let denial = |message: String, hint: &str| {
            Denial::error(SqlState::TOO_LARGE, format!("cut by policy {}: {message}", self.policies)).with_hint(hint)
        };
        if let Some(cap) = self.rows.filter(|cap| shown > *cap) {
            let hint = "Choose fewer rows: WHERE, LIMIT, or aggregates.";
            return Some(denial(format!("a result of more than {cap} rows"), hint));
        }
        let cap = self.affected?;
        // A tag without a number is of a statement that changes no rows.
        let count = tag.rsplit(' ').next().filter(|_| tag.contains(' '))?;
        let affected = count.parse::<u64>().ok();
        if affected.is_some_and(|affected| affected <= cap) {
            return None;
        }
        let hint = "Change fewer rows at a time, or ask a person to do it.";
        Some(denial(format!("it would change {count} rows, {cap} are allowed"), hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_beyond_the_cap_are_not_shown_and_the_end_says_so() {
        let limit = Limit { rows: Some(2), ..Limit::default() };
        assert!(limit.shows() && limit.shows() && limit.exceeded("SELECT 2").is_none());
        assert!(!limit.shows());
        assert!(limit.exceeded("SELECT 3").unwrap().message.contains("more than 2 rows"));
    }

    #[test]
    fn the_tag_tells_how_many_rows_were_changed() {
        let limit = Limit { affected: Some(2), ..Limit::default() };
        for (tag, is_over) in [
            ("UPDATE 2", false),
            ("UPDATE 3", true),
            ("INSERT 0 3", true),
            ("DELETE 0", false),
            ("MERGE 99999999999999999999", true),
            ("BEGIN", false),
        ] {
            assert_eq!(limit.exceeded(tag).is_some(), is_over, "{tag}");
        }
    }
}
