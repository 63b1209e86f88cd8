//! A text as this session understands it: facts, questions, and what the journal keeps of it.
//!
//! In: the text of a Query or Parse. Out: an analysis, shared by all sessions of the same scope. Texts that differ in
//! constants alone share what does not depend on them. A text that cannot be read is an error that names why without
//! quoting it.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use serde_json::json;

use super::labels::{LabelUse, Message};
use super::questions::{self, NoWord, Scene};
use super::source::{Hidden, Instead};
use super::templates::Templates;
use super::view::Catalogs;
use crate::audit::event::{Phase, StatementFrame};
use crate::audit::{Kept, KeptInput};
use crate::masking::Masking;
use crate::masking::class::contains_mask;
use crate::masking::masked::Masked;
use crate::policy::{Question, record};
use crate::protocol::postgres::sql::facts::{Effect, Facts, Object, SettingClass, Statement, Verb};
use crate::protocol::postgres::sql::source::SourceError;
use crate::protocol::postgres::sql::{self, SqlError};

/// Memory for analyses of an attachment's sessions together, in bytes, and as much again each for shapes and templates.
pub(super) const CACHE_BYTES: u64 = 32 << 20;
/// Analyses that the cache is laid out for.
pub(super) const CACHE_ENTRIES: usize = 16_384;
/// Frames that a shape keeps: one for each phase.
const FRAMES: usize = 4;
/// Hexadecimal digits of a fingerprint.
const FINGERPRINT: usize = 32;

/// A text, understood.
#[derive(Debug)]
pub struct Analysis {
    /// The text.
    pub text: Arc<str>,
    /// What it would do.
    pub facts: Arc<Facts>,
    /// What the server gets in its place, where columns are masked at the source.
    pub sent: Option<Arc<str>>,
    /// For the journal: the text, redacted.
    pub kept: Kept,
    /// What it has in common with texts that differ in constants.
    pub shape: Arc<Shape>,
}

/// What texts that differ in constants have in common.
#[derive(Debug)]
pub struct Shape {
    /// The facts, of one of them.
    facts: Arc<Facts>,
    /// What it does with labelled columns.
    pub labels: LabelUse,
    /// For the journal: the data classes that it meets.
    pub data_classes: Vec<String>,
    /// What policy is asked. The questions carry the text of one of them, which only a policy that reads texts sees.
    pub questions: Vec<Arc<Question>>,
    /// For approvers: the text without its constants.
    pub plain: Kept,
    /// For the journal: the whole decision input.
    pub input: KeptInput,
    /// For the journal: a hash of the text without its constants.
    pub fingerprint: Arc<str>,
    /// For the journal: command tags, the most dangerous first.
    pub command: Arc<str>,
    /// For the journal: actions that policy is asked about.
    pub actions: Arc<[String]>,
    /// For the journal: relations as the statement names them.
    pub relations_read: Arc<[String]>,
    /// The same.
    pub relations_written: Arc<[String]>,
    /// For the journal: what its events have in common.
    frames: Mutex<Vec<(FrameKey, Arc<StatementFrame>)>>,
}

/// What events of one shape have in common depends on this too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FrameKey {
    pub(super) phase: Phase,
    pub(super) epoch: u64,
    pub(super) policies: Vec<Arc<str>>,
    /// Windows that are open for the session.
    pub(super) grants: Arc<BTreeSet<Arc<str>>>,
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
    /// What its names mean cannot be known.
    #[error("{reason}")]
    Catalog {
        /// Why.
        reason: String,
    },
    /// It would write masks where values were.
    #[error(
        "it holds a mask (\u{2022}\u{2022}\u{2022}), and what was shown masked is not written back: leave out what was not changed"
    )]
    Mask,
    /// It reads what is masked at the source, and cannot be rewritten.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It changes how statements are read.
    #[error("{name} is pinned, since it changes how statements are read: leave it as it is")]
    Pinned {
        /// The setting, or what it could be.
        name: String,
    },
}

/// In which scope a text means what it means.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Everything besides the text that an analysis depends on.
    key: Arc<str>,
    scene: Arc<Scene>,
    masking: Arc<Masking>,
    rules: u64,
    /// What is masked at the source.
    hidden: Option<Arc<Hidden>>,
    /// Who asks, for the decision input.
    principal: Arc<serde_json::Value>,
}

impl Scope {
    /// The scope of a session. `rules` tells the masking rules from others.
    #[must_use]
    pub fn new(scene: Scene, (masking, rules): (Arc<Masking>, u64), principal: serde_json::Value, login: &str) -> Self {
        let catalog = scene.calls.as_ref().map(|catalog| catalog.digest());
        let key = json!([
            principal,
            scene.database.id(),
            login,
            scene.path,
            scene.shadowed,
            scene.in_transaction,
            rules,
            catalog
        ]);
        Self {
            key: key.to_string().into(),
            scene: Arc::new(scene),
            masking,
            rules,
            hidden: None,
            principal: Arc::new(principal),
        }
    }

    /// The same with classes that are masked at the source.
    #[must_use]
    pub(super) fn at_source(&self, hidden: Hidden) -> Self {
        let key = json!([*self.key, hidden]).to_string();
        Self { key: key.into(), hidden: Some(Arc::new(hidden)), ..self.clone() }
    }

    /// Whether it hides by the same rules.
    #[must_use]
    pub fn masks_as(&self, other: &Self) -> bool {
        self.rules == other.rules
    }

    /// Tells its masking rules from others.
    #[must_use]
    pub fn rules(&self) -> u64 {
        self.rules
    }

    /// What masks values.
    #[must_use]
    pub fn masking(&self) -> &Arc<Masking> {
        &self.masking
    }

    /// Everything besides the text that an analysis depends on.
    pub(super) fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// A redacted text as the journal keeps it: values that a detector knows are masked.
    pub(super) fn kept(&self, redacted: &str) -> Kept {
        Kept::after_redaction(Masked::new(redacted, &self.masking.detectors).to_string())
    }

    /// The scene.
    #[must_use]
    pub fn scene(&self) -> &Scene {
        &self.scene
    }
}

/// Analyses of an attachment's sessions.
pub struct Analyses {
    reader: sql::Reader,
    /// What is known of the databases that have labels.
    pub(super) catalogs: Catalogs,
    seen: Seen,
    templates: Templates,
    texts: Cache<Key, Arc<Analysis>, Weight>,
    shapes: Cache<Key, Arc<Shape>, Weight>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) scope: Arc<str>,
    pub(super) text: Arc<str>,
}

/// A key that owns nothing, for looking up.
pub(super) struct Look<'a> {
    pub(super) scope: &'a Arc<str>,
    pub(super) text: &'a str,
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
        *self.text == *key.text && (Arc::ptr_eq(self.scope, &key.scope) || **self.scope == *key.scope)
    }
}

/// Which texts came before, roughly: one that comes once, as those of clients that write constants into them, is not
/// worth a place in the cache, nor what it would push out.
pub(super) struct Seen {
    keys: RandomState,
    slots: Box<[AtomicU64]>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self { keys: RandomState::new(), slots: (0..CACHE_ENTRIES).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Whether a text came before. Wrong answers cost a little time, nothing else.
    pub(super) fn again(&self, text: &str) -> bool {
        let hash = self.keys.hash_one(text);
        let slot = usize::try_from(hash % CACHE_ENTRIES as u64).unwrap_or(0);
        self.slots.get(slot).is_some_and(|slot| slot.swap(hash, Ordering::Relaxed) == hash)
    }
}

#[derive(Clone)]
pub(super) struct Weight;

impl Weighter<Key, Arc<Analysis>> for Weight {
    fn weight(&self, key: &Key, analysis: &Arc<Analysis>) -> u64 {
        // The text stands in key and analysis, in what is kept of it, and, in pieces, in its facts.
        (512 + 4 * key.text.len() + 256 * analysis.facts.statements.len()) as u64
    }
}

impl Weighter<Key, Arc<Shape>> for Weight {
    fn weight(&self, key: &Key, shape: &Arc<Shape>) -> u64 {
        let questions: usize = shape.questions.iter().map(|question| question.weight()).sum();
        (2_048 + 4 * key.text.len() + 3 * shape.input.as_json().len() + questions) as u64
    }
}

impl Analyses {
    /// With a reader of its own.
    #[must_use]
    pub fn new(reader: sql::Reader) -> Self {
        Self {
            reader,
            catalogs: Catalogs::default(),
            seen: Seen::new(),
            templates: Templates::new(),
            texts: Cache::with_weighter(CACHE_ENTRIES, CACHE_BYTES, Weight),
            shapes: Cache::with_weighter(CACHE_ENTRIES, CACHE_BYTES, Weight),
        }
    }

    /// What a text means in a scope.
    ///
    /// # Errors
    /// Where it cannot be judged.
    pub async fn of(&self, scope: &Scope, text: &str) -> Result<Arc<Analysis>, Unreadable> {
        if let Some(known) = self.texts.get(&Look { scope: &scope.key, text }) {
            return Ok(known);
        }
        let template = sql::template(text);
        let like = template.as_ref().and_then(|template| self.templates.find(scope, template, text));
        let analysis = match like {
            Some(like) => like,
            None => {
                let read = Arc::new(self.read(scope, text).await?);
                if let Some(template) = template {
                    self.templates.learn(&self.reader, scope, &template, &read).await;
                }
                read
            }
        };
        if self.seen.again(&analysis.text) {
            let key = Key { scope: Arc::clone(&scope.key), text: Arc::clone(&analysis.text) };
            self.texts.insert(key, Arc::clone(&analysis));
        }
        Ok(analysis)
    }

    async fn read(&self, scope: &Scope, text: &str) -> Result<Analysis, Unreadable> {
        let facts = Arc::new(self.reader.read(text.as_bytes()).await?);
        let mut settings = facts.statements.iter().flat_map(|statement| &statement.settings);
        if let Some(pinned) = settings.find(|change| change.class == SettingClass::PinnedChanged) {
            return Err(Unreadable::Pinned {
                name: match &pinned.name {
                    Some(name) => format!("`{name}`"),
                    None => "a setting whose name is computed could be one that".into(),
                },
            });
        }
        if writes(&facts) && contains_mask(text.as_bytes()) {
            return Err(Unreadable::Mask);
        }
        let text: Arc<str> = text.into();
        let instead = match &scope.hidden {
            Some(hidden) => Instead::of(&text, &facts, scope.scene(), (hidden, &scope.masking))?,
            None => None,
        };
        let sent = match &instead {
            Some(instead) => Some((instead, Arc::new(self.reader.read(instead.text.as_bytes()).await?))),
            None => None,
        };
        let shape = self.shape_of(scope, (&text, &facts), sent.as_ref().map(|(instead, facts)| (*instead, facts)))?;
        // Constants in places for secrets are left out, those that may be values of labelled columns too, and values
        // that a detector knows are masked. What EXECUTE hands on is for whatever statement has that name.
        let has_labels = scope.scene.catalog.is_some();
        let hands_on = |statement: &Statement| statement.verbs.iter().any(|verb| matches!(verb, Verb::Execute(_)));
        let redacted = sql::redact(text.as_bytes(), &facts, |statement| {
            shape.labels.touches_label || (has_labels && hands_on(statement))
        });
        let sent = instead.map(|instead| instead.text);
        Ok(Analysis { text, facts, sent, kept: scope.kept(&redacted), shape })
    }

    fn shape_of(
        &self,
        scope: &Scope,
        (text, facts): (&Arc<str>, &Arc<Facts>),
        sent: Option<(&Instead, &Arc<Facts>)>,
    ) -> Result<Arc<Shape>, NoWord> {
        let plain = sql::redact(text.as_bytes(), facts, |_| true);
        let known = self.shapes.get(&Look { scope: &scope.key, text: &plain });
        // A constant can be a fact: a LIMIT, the value of a setting.
        if let Some(known) = known.filter(|known| known.facts.same_but_for_places(facts)) {
            return Ok(known);
        }
        let shape = Arc::new(Shape::new(scope, (text, facts), sent, &plain)?);
        let key = Key { scope: Arc::clone(&scope.key), text: plain.into() };
        self.shapes.insert(key, Arc::clone(&shape));
        Ok(shape)
    }
}

impl Shape {
    fn new(
        scope: &Scope,
        (text, facts): (&Arc<str>, &Arc<Facts>),
        sent: Option<(&Instead, &Arc<Facts>)>,
        plain: &str,
    ) -> Result<Self, NoWord> {
        let shows_nulls = scope.masking.keep_null;
        let message = match sent {
            // What is done with labels is what the server is told to do; all else is asked of what the client said.
            Some((instead, facts)) => {
                Message { text: &instead.text, facts, shows_nulls, queries: Some(&instead.queries) }
            }
            None => Message { text, facts, shows_nulls, queries: None },
        };
        let mut labels = LabelUse::of(message, scope.scene());
        if let Some((instead, _)) = sent {
            instead.note(&mut labels);
        }
        let mut questions = questions::ask(facts, scope.scene(), text)?;
        questions.extend(labels.questions(scope.scene()));
        let data_classes = labels.class_names();
        Ok(Self { labels, data_classes, ..Self::of_questions(questions, facts, &scope.principal, plain) })
    }

    /// A shape of questions that are asked without a text, such as that of a login.
    pub(super) fn of_questions(
        questions: Vec<Arc<Question>>,
        facts: &Arc<Facts>,
        principal: &serde_json::Value,
        plain: &str,
    ) -> Self {
        // Names of objects and settings alone, which the facts hold without constants.
        let mut actions: Vec<String> = Vec::new();
        for question in &questions {
            let name = question.action().name();
            if !actions.iter().any(|known| known == name) {
                actions.push(name.to_owned());
            }
        }
        Self {
            input: KeptInput::after_redaction(record::input(principal, &questions)),
            plain: Kept::after_redaction(plain.to_owned()),
            fingerprint: fingerprint(plain).into(),
            command: command(facts).into(),
            actions: actions.into(),
            relations_read: relations(facts, reads).into(),
            relations_written: relations(facts, |effect| !reads(effect)).into(),
            facts: Arc::clone(facts),
            labels: LabelUse::default(),
            data_classes: Vec::new(),
            questions,
            frames: Mutex::default(),
        }
    }

    /// What the events of those that are allowed by these policies have in common.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(super) fn frame(
        &self,
        key: FrameKey,
        make: impl FnOnce(&FrameKey) -> serde_json::Result<StatementFrame>,
    ) -> serde_json::Result<Arc<StatementFrame>> {
        let mut frames = self.frames.lock();
        if let Some((_, known)) = frames.iter().find(|(known, _)| *known == key) {
            return Ok(Arc::clone(known));
        }
        let frame = Arc::new(make(&key)?);
        if frames.len() == FRAMES {
            frames.clear();
        }
        frames.push((key, Arc::clone(&frame)));
        Ok(frame)
    }
}

impl Analysis {
    /// What it does to the session, of all its statements.
    pub fn verbs(&self) -> impl Iterator<Item = &Verb> {
        self.facts.statements.iter().flat_map(|statement| &statement.verbs)
    }

    /// The questions with this very text, for policies that read it.
    #[must_use]
    pub fn questions_with_text(&self, scope: &Scope) -> Vec<Arc<Question>> {
        // A text that could be asked once can be asked again.
        let mut questions = questions::ask(&self.facts, scope.scene(), &self.text).unwrap_or_default();
        questions.extend(self.shape.labels.questions(scope.scene()));
        questions
    }
}

/// Whether a message puts values of its own into relations.
pub(super) fn writes(facts: &Facts) -> bool {
    let asked = facts.statements.iter().flat_map(|statement| &statement.questions);
    facts.is_opaque() || asked.into_iter().any(|question| WRITES.contains(&question.effect))
}

/// What puts values of the client's into relations or objects of the server.
const WRITES: [Effect; 7] = [
    Effect::Insert,
    Effect::Update,
    Effect::Create,
    Effect::Alter,
    Effect::RunCode,
    Effect::LargeObject,
    Effect::ServerFile,
];

/// `schema.name` of relations, as the statements name them.
fn relations(facts: &Facts, wanted: impl Fn(Effect) -> bool) -> Vec<String> {
    let asked = facts.statements.iter().flat_map(|statement| &statement.questions);
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

fn reads(effect: Effect) -> bool {
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

fn fingerprint(plain: &str) -> String {
    let hash = digest(&SHA256, plain.as_bytes());
    let mut text: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(FINGERPRINT);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::vocabulary::names::ProtocolName;
    use crate::policy::vocabulary::{TargetFacts, postgres, target};

    fn scope() -> Scope {
        let target = target(TargetFacts {
            name: "shop",
            protocol: ProtocolName::Postgres,
            address: "10.0.0.5".parse().unwrap(),
            port: 5432,
            environment: None,
        });
        let database = postgres::database(&target, "shop");
        let scene = Scene {
            target,
            database,
            path: vec!["public".to_owned()],
            shadowed: Arc::default(),
            in_transaction: false,
            catalog: None,
            calls: None,
        };
        Scope::new(scene, Default::default(), json!("agent"), "agent")
    }

    fn analyses() -> Analyses {
        Analyses::new(sql::Reader::start(sql::Caps::default(), std::num::NonZeroUsize::MIN).unwrap())
    }

    #[tokio::test]
    async fn texts_that_differ_in_constants_share_a_shape() {
        let (analyses, scope) = (analyses(), scope());
        let one = analyses.of(&scope, "SELECT a FROM t WHERE id = 1").await.unwrap();
        let two = analyses.of(&scope, "SELECT a FROM t WHERE id = 23").await.unwrap();
        assert!(Arc::ptr_eq(&one.shape, &two.shape));
        assert_eq!(two.kept.as_str(), "SELECT a FROM t WHERE id = 23");
        // Kept from the second time on.
        let second = analyses.of(&scope, "SELECT a FROM t WHERE id = 1").await.unwrap();
        let third = analyses.of(&scope, "SELECT a FROM t WHERE id = 1").await.unwrap();
        assert!(Arc::ptr_eq(&second, &third));
    }

    #[tokio::test]
    async fn what_differs_in_numbers_alone_is_read_once() {
        let (analyses, scope) = (analyses(), scope());
        let text = |id: u32| format!("SELECT a FROM t WHERE id = {id}; ");
        let [_, second, third] = [7, 8, 4_711].map(text);
        for text in [&text(7), &second] {
            analyses.of(&scope, text).await.unwrap();
        }
        let like = analyses.of(&scope, &third).await.unwrap();
        let read = analyses.read(&scope, &third).await.unwrap();
        assert!(like.facts.same_but_for_places(&read.facts) && !Arc::ptr_eq(&like.facts, &read.facts));
        assert_eq!((&like.text, &like.kept), (&read.text, &read.kept));
        assert!(Arc::ptr_eq(&like.shape, &read.shape));
        assert!(Arc::ptr_eq(&like.facts, &analyses.of(&scope, &text(99)).await.unwrap().facts));
    }

    #[tokio::test]
    async fn a_number_that_is_a_fact_is_read_each_time() {
        let (analyses, scope) = (analyses(), scope());
        for text in
            ["SELECT a FROM t LIMIT #", "SELECT a, b FROM t ORDER BY #", "DELETE FROM t WHERE id = # RETURNING 1"]
        {
            for number in [1, 2, 3, 4] {
                let text = text.replace('#', &number.to_string());
                let fresh = analyses.read(&scope, &text).await.unwrap();
                assert!(analyses.of(&scope, &text).await.unwrap().facts.same_but_for_places(&fresh.facts), "{text}");
            }
        }
    }

    #[tokio::test]
    async fn a_constant_that_is_a_fact_makes_another_shape() {
        let (analyses, scope) = (analyses(), scope());
        let one = analyses.of(&scope, "SELECT a FROM t LIMIT 1").await.unwrap();
        let all = analyses.of(&scope, "SELECT a FROM t LIMIT 1000").await.unwrap();
        assert_eq!(one.shape.plain, all.shape.plain);
        assert!(!Arc::ptr_eq(&one.shape, &all.shape));
        assert_ne!(one.shape.input, all.shape.input);
    }

    #[tokio::test]
    async fn another_search_path_is_another_scope() {
        let (analyses, scope) = (analyses(), scope());
        let scene = Scene { path: vec!["app".to_owned()], ..scope.scene().clone() };
        let other = Scope::new(scene, Default::default(), json!("agent"), "agent");
        let here = analyses.of(&scope, "SELECT a FROM t").await.unwrap();
        let there = analyses.of(&other, "SELECT a FROM t").await.unwrap();
        assert_ne!(here.shape.input, there.shape.input);
    }

    #[tokio::test]
    async fn neither_passwords_nor_known_values_are_kept() {
        let (analyses, scope) = (analyses(), scope());
        let role = analyses.of(&scope, "CREATE ROLE r PASSWORD 'hunter2'").await.unwrap();
        assert!(!role.kept.as_str().contains("hunter2"), "{}", role.kept);
        let card = analyses.of(&scope, "SELECT a FROM t WHERE card = '4111 1111 1111 1111'").await.unwrap();
        assert!(!card.kept.as_str().contains("4111 1111 1111"), "{}", card.kept);
        assert!(matches!(
            analyses.of(&scope, "SET standard_conforming_strings = off").await,
            Err(Unreadable::Pinned { .. })
        ));
    }
}
