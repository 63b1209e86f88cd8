//! SQL as people write it into tables of tests and on command lines, turned into the questions of a session.
//!
//! In: a text and a scene without a server. Out: the questions that the engine would ask, unqualified names being looked
//! for in `public` unless the scene says otherwise.

use std::sync::Arc;

use super::questions::{self, Scene};
use crate::policy::Question;
use crate::policy::request::Entity;
use crate::policy::vocabulary::postgres as vocabulary;
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
) -> Result<Vec<Arc<Question>>, String> {
    let facts = read(text.as_bytes(), &Caps::default()).map_err(|error| error.to_string())?;
    let scene = Scene {
        target: Arc::clone(target),
        database: vocabulary::database(target, database),
        path,
        in_transaction: false,
        catalog: None,
    };
    questions::ask(&facts, &scene, &text.into()).map_err(|error| error.to_string())
}
