//! How many rows a message may show or change, by the policies that permit it.
//!
//! In: a permit and the facts of the message. Out: the cap that its run goes under, or why it cannot be counted: what is
//! not known to be counted is refused.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::Understood;
use crate::policy::RequestPermit;
use crate::policy::decision::Caps;
use crate::protocol::postgres::judge::Limit;
use crate::protocol::postgres::sql::facts::{Effect, Facts, Verb};

/// Tags that say how many rows a statement has changed (`PortalRun`, pquery.c). EXECUTE ends with that of what it runs.
const COUNTED: [&str; 5] = ["INSERT", "UPDATE", "DELETE", "MERGE", "EXECUTE"];

/// What applies to a message: a cap on changes is for what changes rows.
fn caps(understood: &Understood, permit: &RequestPermit) -> Caps {
    let caps = permit.caps();
    if !caps.is_some() {
        return caps;
    }
    let named = understood.named.iter().any(|named| changes(&named.facts));
    if named || changes(&understood.own.facts) { caps } else { Caps { affected: None, alone: None, ..caps } }
}

/// Why a message that policy permits cannot be counted.
pub(super) fn refusal(
    understood: &Understood,
    permit: &RequestPermit,
    fetches_bound: impl FnOnce() -> bool,
) -> Option<String> {
    let caps = caps(understood, permit);
    let facts = &understood.own.facts;
    if !caps.is_some() {
        return None;
    }
    let by = permit.policies().join(", ");
    if facts.statements.len() > 1 {
        return Some(format!("policy ({by}) counts the rows of each statement: send one at a time"));
    }
    if caps.rows.is_some() && fetches_bound() {
        return Some(format!(
            "policy ({by}) counts the rows of each portal: run one that Bind made by Execute, not by FETCH"
        ));
    }
    caps.alone?;
    let named = understood.named.iter().flat_map(|named| &named.facts.statements);
    let is_counted = |tag: &str| COUNTED.contains(&tag) || tag == "PREPARE" || tag == "DECLARE CURSOR";
    let mut statements = facts.statements.iter();
    let nests = statements.clone().chain(named).any(|statement| statement.nests_writes);
    let what = match statements.next() {
        _ if nests => "a statement within another",
        Some(statement) if statement.verbs.contains(&Verb::CopyIn) => "COPY",
        Some(statement) if !is_counted(&statement.command) => "this statement",
        _ => return None,
    };
    Some(format!(
        "policy ({by}) counts the rows that are changed, and the server does not say how many of them {what} changes"
    ))
}

/// The cap on the run of a message; `shown` counts the rows of its portal.
pub(super) fn limit(understood: &Understood, permit: &RequestPermit, shown: &Arc<AtomicU64>) -> Option<Limit> {
    let caps = caps(understood, permit);
    let policies = permit.policies().join(", ");
    let shown = Arc::clone(shown);
    caps.is_some().then_some(Limit { rows: caps.rows, changed: caps.alone, first: None, shown, policies })
}

fn changes(facts: &Facts) -> bool {
    let mut asked = facts.statements.iter().flat_map(|statement| &statement.questions);
    asked.any(|question| matches!(question.effect, Effect::Insert | Effect::Update | Effect::Delete))
}
