//! Analyses of texts that differ in whole numbers alone, without reading each.
//!
//! In: a text of one plain statement, and the analysis of another with the same template. Out: its own analysis. Clients of
//! the simple protocol send such texts. It must never stand for a text whose numbers are facts: a template is learned where
//! reading it with others gave the same.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::analysis::{Analysis, CACHE_BYTES, CACHE_ENTRIES, Key, Look, Scope, Seen, Weight};
use crate::protocol::postgres::sql::facts::{Facts, Statement};
use crate::protocol::postgres::sql::{self, SAMPLES, filled};

/// Statements that hold most templates there are; of others little would be gained.
const COMMANDS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

/// Templates of an attachment's sessions, each with the analysis of one text.
pub(super) struct Templates {
    seen: Seen,
    known: Cache<Key, Arc<Analysis>, Weight>,
}

impl Templates {
    pub(super) fn new() -> Self {
        Self { seen: Seen::new(), known: Cache::with_weighter(CACHE_ENTRIES, CACHE_BYTES, Weight) }
    }

    /// The analysis of a text with this template, where that is known.
    pub(super) fn find(&self, scope: &Scope, template: &str, text: &str) -> Option<Arc<Analysis>> {
        let known = self.known.get(&Look { scope: scope.key(), text: template })?;
        Some(Arc::new(like(&known, scope, text)))
    }

    /// Keeps an analysis for other texts with this template, where it holds for them and they come.
    pub(super) async fn learn(&self, reader: &sql::Reader, scope: &Scope, template: &str, analysis: &Arc<Analysis>) {
        let [statement] = analysis.facts.statements.as_slice() else { return };
        if !self.seen.again(template)
            || !is_plain(statement)
            // Its numbers stand in what is sent.
            || analysis.sent.is_some()
            || like(analysis, scope, &analysis.text).kept != analysis.kept
        {
            return;
        }
        for sample in SAMPLES {
            let same = |other: Facts| other.same_but_for_places(&analysis.facts);
            if !reader.read(filled(template, sample).as_bytes()).await.is_ok_and(same) {
                return;
            }
        }
        let key = Key { scope: Arc::clone(scope.key()), text: template.into() };
        self.known.insert(key, Arc::clone(analysis));
    }
}

/// What another text of the same template means. Its facts stand elsewhere in it, which only who cuts it would see.
fn like(known: &Analysis, scope: &Scope, text: &str) -> Analysis {
    Analysis {
        text: text.into(),
        facts: Arc::clone(&known.facts),
        sent: None,
        // With labelled columns no constant is kept, so that what is kept is the same for all.
        kept: if known.shape.labels.touches_label { known.kept.clone() } else { scope.kept(text.trim_end()) },
        shape: Arc::clone(&known.shape),
    }
}

/// Whether it does nothing but read or write rows, all of which can be read.
fn is_plain(statement: &Statement) -> bool {
    COMMANDS.contains(&statement.command.as_ref())
        && !statement.secret
        && statement.verbs.is_empty()
        && statement.settings.is_empty()
        && statement.opaque.is_empty()
}
