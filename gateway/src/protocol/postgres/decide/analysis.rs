//! A text as this session understands it: facts, questions, and what the journal keeps of it. Made once per text.
//!
//! In: the text of a Query or Parse. Out: an analysis, shared by all sessions of the same scope. A text that cannot be
//! read is an error that names why without quoting it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use serde_json::json;

use super::questions::{self, NoWord, Scene};
use crate::audit::{Kept, KeptInput};
use crate::policy::Question;
use crate::protocol::postgres::sql::facts::{Effect, Facts, Object, SettingClass, Verb};
use crate::protocol::postgres::sql::{self, SqlError};

/// Memory for analyses of all sessions together, in bytes.
const CACHE_BYTES: u64 = 64 << 20;
/// Analyses that the cache is laid out for.
const CACHE_ENTRIES: usize = 16_384;
/// Hexadecimal digits of a fingerprint.
const FINGERPRINT: usize = 32;

/// A text, understood.
#[derive(Debug)]
pub struct Analysis {
    /// The text.
    pub text: Arc<str>,
    /// What it would do.
    pub facts: Arc<Facts>,
    /// What policy is asked.
    pub questions: Vec<Arc<Question>>,
    /// For the journal: the text, redacted.
    pub kept: Kept,
    /// For approvers: the text without its constants.
    pub shape: Kept,
    /// For the journal: the whole decision input.
    pub input: KeptInput,
    /// For the journal: the same for statements that differ in constants alone.
    pub fingerprint: String,
    /// For the journal: command tags, the most dangerous first.
    pub command: String,
}

/// Why a text is not judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It cannot be read.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// It cannot be put into questions.
    #[error(transparent)]
    NoWord(#[from] NoWord),
    /// It changes how statements are read.
    #[error("`{name}` is pinned, since it changes how statements are read: leave it as it is")]
    Pinned {
        /// The setting.
        name: String,
    },
}

/// In which scope a text means what it means.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Everything besides the text that an analysis depends on.
    key: Arc<str>,
    scene: Arc<Scene>,
    /// Who asks, for the decision input.
    principal: Arc<serde_json::Value>,
}

impl Scope {
    /// The scope of a session; `path` is part of its scene.
    #[must_use]
    pub fn new(scene: Scene, principal: serde_json::Value, login: &str) -> Self {
        let key = json!([principal, scene.database.id(), login, scene.path, scene.in_transaction]).to_string().into();
        Self { key, scene: Arc::new(scene), principal: Arc::new(principal) }
    }

    /// The scene.
    #[must_use]
    pub fn scene(&self) -> &Scene {
        &self.scene
    }
}

/// Analyses of all sessions.
pub struct Analyses {
    reader: sql::Reader,
    cache: Cache<Key, Arc<Analysis>, Weight>,
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    scope: Arc<str>,
    text: Arc<str>,
}

/// A key that owns nothing, for looking up.
struct Look<'a> {
    scope: &'a Arc<str>,
    text: &'a str,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Look { scope: &self.scope, text: &self.text }.hash(state);
    }
}

impl Hash for Look<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Equivalent<Key> for Look<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        (Arc::ptr_eq(self.scope, &key.scope) || **self.scope == *key.scope) && *self.text == *key.text
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Arc<Analysis>> for Weight {
    fn weight(&self, key: &Key, analysis: &Arc<Analysis>) -> u64 {
        let questions: usize = analysis.questions.iter().map(|question| question.weight()).sum();
        // The text stands in the key, in the analysis and in what is kept of it.
        (256 + 4 * key.text.len() + questions) as u64
    }
}

impl Analyses {
    /// With a reader of its own.
    ///
    /// # Errors
    /// Where its threads cannot be started.
    pub fn start(reader: sql::Reader) -> Self {
        Self { reader, cache: Cache::with_weighter(CACHE_ENTRIES, CACHE_BYTES, Weight) }
    }

    /// What a text means in a scope.
    ///
    /// # Errors
    /// Where it cannot be judged.
    pub async fn of(&self, scope: &Scope, text: &str) -> Result<Arc<Analysis>, Unreadable> {
        if let Some(known) = self.cache.get(&Look { scope: &scope.key, text }) {
            return Ok(known);
        }
        let facts = self.reader.read(text.as_bytes()).await?;
        let analysis = Arc::new(analyse(scope, text, facts)?);
        let key = Key { scope: Arc::clone(&scope.key), text: Arc::clone(&analysis.text) };
        self.cache.insert(key, Arc::clone(&analysis));
        Ok(analysis)
    }
}

fn analyse(scope: &Scope, text: &str, facts: Arc<Facts>) -> Result<Analysis, Unreadable> {
    let mut settings = facts.statements.iter().flat_map(|statement| &statement.settings);
    if let Some(pinned) = settings.find(|change| change.class == SettingClass::PinnedChanged) {
        return Err(Unreadable::Pinned { name: pinned.name.clone().unwrap_or_else(|| "a computed setting".into()) });
    }
    let text: Arc<str> = text.into();
    let questions = questions::ask(&facts, scope.scene(), &text)?;
    // Constants in places for secrets are left out; labelled columns come with masking.
    let kept = Kept::after_redaction(sql::redact(text.as_bytes(), &facts, |_| false));
    let plain = sql::redact(text.as_bytes(), &facts, |_| true);
    let fingerprint = hex(digest(&SHA256, plain.as_bytes()).as_ref());
    // Names of objects and settings alone, which the facts hold without constants.
    let asked: Vec<_> = questions.iter().map(|question| question.facts()).collect();
    let input = KeptInput::after_redaction(json!({ "principal": *scope.principal, "questions": asked }));
    let command = command(&facts);
    let shape = Kept::after_redaction(plain);
    Ok(Analysis { text, facts, questions, kept, shape, input, fingerprint, command })
}

impl Analysis {
    /// `schema.name` of relations that it reads or writes, as the statement names them.
    #[must_use]
    pub fn relations(&self, wanted: impl Fn(Effect) -> bool) -> Vec<String> {
        let asked = self.facts.statements.iter().flat_map(|statement| &statement.questions);
        let mut names: Vec<String> = asked
            .filter(|question| wanted(question.effect))
            .filter_map(|question| match &question.object {
                Object::Relation(name) => Some(match &name.schema {
                    Some(schema) => format!("{schema}.{}", name.name),
                    None => name.name.clone(),
                }),
                _ => None,
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// What it does to the session, of all its statements.
    pub fn verbs(&self) -> impl Iterator<Item = &Verb> {
        self.facts.statements.iter().flat_map(|statement| &statement.verbs)
    }
}

/// Whether an effect only reads.
#[must_use]
pub fn reads(effect: Effect) -> bool {
    matches!(effect, Effect::Select | Effect::Lock)
}

/// The tags of a message, the one that does most first, so that a harmless first statement hides none.
fn command(facts: &Facts) -> String {
    let mut statements: Vec<_> = facts.statements.iter().collect();
    statements
        .sort_by_key(|statement| std::cmp::Reverse(statement.questions.iter().map(|question| question.effect).max()));
    let mut tags: Vec<&str> = Vec::new();
    for statement in statements {
        if !tags.contains(&statement.command.as_ref()) {
            tags.push(&statement.command);
        }
    }
    tags.join("; ")
}

fn hex(bytes: &[u8]) -> String {
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(FINGERPRINT);
    text
}
