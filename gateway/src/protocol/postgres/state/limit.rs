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
    /// Rows that may be changed without asking what becomes of it.
    pub changed: Option<u64>,
    /// Rows that the client asked for, where the server is asked for all: what changes rows is counted at its end.
    pub first: Option<u64>,
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
    /// It changed so many rows, more than go without asking; this is how it ended.
    Changed(u64, Vec<u8>),
    /// It did not stay within.
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

    /// What a run comes to that ends with this tag, which the client reads as `end`.
    pub(super) fn comes_to(&self, tag: &str, end: Vec<u8>) -> Capped {
        let shown = self.shown.load(Ordering::Relaxed);
        if let Some(cap) = self.rows.filter(|cap| shown > *cap) {
            let message = format!("cut by policy {}: a result of more than {cap} rows", self.policies);
            let denial = Denial::error(SqlState::TOO_LARGE, message);
            return Capped::Over(Box::new(denial.with_hint("Choose fewer rows: WHERE, LIMIT, or aggregates.")));
        }
        // A tag without a number is of a statement that changes no rows.
        let count = tag.rsplit(' ').next().filter(|_| tag.contains(' '));
        match (self.changed, count.map(|count| count.parse().unwrap_or(u64::MAX))) {
            (Some(cap), Some(rows)) if rows > cap => Capped::Changed(rows, end),
            _ => Capped::Within(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_beyond_the_cap_are_not_shown_and_the_end_says_so() {
        let limit = Limit { rows: Some(2), ..Limit::default() };
        assert!(limit.shows() && limit.shows());
        assert!(matches!(limit.comes_to("SELECT 2", Vec::new()), Capped::Within(_)));
        assert!(!limit.shows());
        let Capped::Over(denial) = limit.comes_to("SELECT 3", Vec::new()) else { panic!() };
        assert!(denial.message.contains("more than 2 rows"));
    }

    #[test]
    fn the_tag_tells_how_many_rows_were_changed() {
        let limit = Limit { changed: Some(2), ..Limit::default() };
        for (tag, over) in [
            ("UPDATE 2", None),
            ("UPDATE 3", Some(3)),
            ("INSERT 0 3", Some(3)),
            ("DELETE 0", None),
            ("MERGE 99999999999999999999", Some(u64::MAX)),
            ("BEGIN", None),
        ] {
            let came = match limit.comes_to(tag, Vec::new()) {
                Capped::Changed(rows, _) => Some(rows),
                _ => None,
            };
            assert_eq!(came, over, "{tag}");
        }
    }
}
