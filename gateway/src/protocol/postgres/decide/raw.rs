//! SQL as people write it into tables of tests and on command lines, turned into the questions of a session.
//!
//! In: a text, and where it goes to, without a server. Out: the questions that the engine would ask, as far as names tell
//! which columns carry labels.

use std::sync::Arc;

use super::labels::{LabelUse, Message};
use super::questions::{self, Scene};
use crate::masking::rules::Labels;
use crate::policy::Question;
use crate::policy::request::Entity;
use crate::policy::vocabulary::postgres as vocabulary;
use crate::protocol::postgres::catalog::Catalog;
use crate::protocol::postgres::sql::{Caps, read};

/// The questions of a text.
///
/// # Errors
/// With the reason why it would be refused unasked.
pub fn questions_of(
    text: &str,
    target: &Arc<Entity>,
    database: &str,
    path: Vec<String>,
    labels: &Labels,
) -> Result<Vec<Arc<Question>>, String> {
    let facts = read(text.as_bytes(), &Caps::default()).map_err(|error| error.to_string())?;
    let catalog =
        (!labels.is_empty()).then(|| Arc::new(Catalog::by_name(&facts, labels, (target.id(), database), &path)));
    let scene = Scene {
        target: Arc::clone(target),
        database: vocabulary::database(target, database),
        path,
        shadowed: Arc::default(),
        in_transaction: false,
        catalog,
        calls: None,
    };
    let mut questions = questions::ask(&facts, &scene, &text.into()).map_err(|error| error.to_string())?;
    let message = Message { text, facts: &facts, shows_nulls: true, queries: None };
    questions.extend(LabelUse::of(message, &scene).questions(&scene));
    Ok(questions)
}
