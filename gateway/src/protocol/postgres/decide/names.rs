//! What names mean in a session: prepared statements, cursors, schemas of the search path.
//!
//! In: what statements do to names. Out: what EXECUTE and FETCH would run. A name keeps every meaning that it had, since
//! which one is in force depends on transactions and errors at the server: all of them are judged.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::analysis::Analysis;
use super::{Login, PolicyJudge, Understood};
use crate::policy::Decision;
use crate::protocol::postgres::judge::{Forgets, Say};
use crate::protocol::postgres::reply::Denial;
use crate::protocol::postgres::sql;
use crate::protocol::postgres::sql::facts::{
    Discard, Effect, Facts, Object, Question, SettingClass, SettingValue, Verb,
};

/// Names of one kind that a session may have at once.
const MAX_NAMES: usize = 10_000;
/// Meanings of one name.
const MAX_MEANINGS: usize = 16;

/// The names of a session.
#[derive(Debug, Default)]
pub struct Names {
    statements: Meanings,
    cursors: Meanings,
    temporaries: BTreeSet<String>,
    /// Of these, those that this session has not dropped.
    droppable: BTreeSet<String>,
    /// Rows that were shown of each cursor that was declared, by whichever FETCH.
    fetched: HashMap<String, Arc<AtomicU64>>,
    /// Names of portals that a Bind made: what Execute shows of one is counted apart.
    bound: BTreeSet<String>,
}

/// Names of one kind with all that each has meant.
#[derive(Debug, Default)]
struct Meanings {
    known: HashMap<String, Vec<Arc<Analysis>>>,
    /// There were more than are kept: from then on nobody knows what a name means, and its use in SQL is refused.
    /// Drivers that make many names use them by the protocol, which does not ask here.
    overflowed: bool,
}

impl Meanings {
    fn of(&self, name: &str) -> Result<&[Arc<Analysis>], String> {
        self.known.get(name).filter(|_| !self.overflowed).map(Vec::as_slice).ok_or_else(|| name.to_owned())
    }

    fn add(&mut self, name: &str, analysis: &Arc<Analysis>) {
        if self.overflowed {
            return;
        }
        let meanings = self.known.entry(name.to_owned()).or_default();
        if !meanings.iter().any(|known| Arc::ptr_eq(known, analysis)) {
            meanings.push(Arc::clone(analysis));
        }
        if meanings.len() > MAX_MEANINGS || self.known.len() > MAX_NAMES {
            *self = Self { known: HashMap::new(), overflowed: true };
        }
    }
}

impl Names {
    /// What a text runs by name.
    ///
    /// # Errors
    /// With the first name that is not known.
    pub fn run_by<'v>(&self, verbs: impl Iterator<Item = &'v Verb>) -> Result<Vec<Arc<Analysis>>, String> {
        let mut run = Vec::new();
        // What the text itself prepares or declares is asked about already, with its other questions.
        let (mut prepared, mut declared) = (BTreeSet::new(), BTreeSet::new());
        for verb in verbs {
            let (found, is_own) = match verb {
                Verb::Prepare(name) => {
                    prepared.insert(name);
                    continue;
                }
                Verb::Declare { name, .. } => {
                    declared.insert(name);
                    continue;
                }
                Verb::Execute(name) => (self.statements.of(name), prepared.contains(name)),
                Verb::Fetch(name) | Verb::Move(name) => (self.cursors.of(name), declared.contains(name)),
                _ => continue,
            };
            match found {
                Ok(found) => run.extend(found.iter().cloned()),
                Err(_) if is_own => {}
                Err(name) => return Err(name),
            }
        }
        Ok(run)
    }

    /// Where rows are counted that a message fetches from a cursor: over the cursor's life, in however many pieces it is
    /// fetched. Where a message fetches from several, rows that are counted are not.
    pub fn fetched<'v>(&mut self, verbs: impl Iterator<Item = &'v Verb>) -> Option<Arc<AtomicU64>> {
        let mut names = verbs.filter_map(|verb| if let Verb::Fetch(name) = verb { Some(name) } else { None });
        let name = names.next()?;
        if self.fetched.len() >= MAX_NAMES && !self.fetched.contains_key(name) {
            // Too many to be told apart: they share the strictest count.
            return Some(Arc::new(AtomicU64::new(u64::MAX / 2)));
        }
        Some(Arc::clone(self.fetched.entry(name.clone()).or_default()))
    }

    /// The server made cursors of these names: what was shown of others of that name does not count any more.
    pub fn declared(&mut self, names: &[String]) {
        names.iter().for_each(|name| drop(self.fetched.remove(name)));
    }

    /// Whether a message fetches from a portal that a Bind made, or, where those were too many to be told apart, may.
    pub fn fetches_bound<'v>(&self, mut verbs: impl Iterator<Item = &'v Verb>) -> bool {
        verbs
            .any(|verb| matches!(verb, Verb::Fetch(name) if self.bound.len() >= MAX_NAMES || self.bound.contains(name)))
    }

    /// Follows what a message does to names.
    pub fn follow(&mut self, analysis: &Arc<Analysis>) {
        for verb in analysis.verbs() {
            match verb {
                // The questions of what is prepared or declared are among those of the statement itself.
                Verb::Prepare(name) => self.statements.add(name, analysis),
                Verb::Declare { name, .. } => self.cursors.add(name, analysis),
                _ => {}
            }
        }
        let made = made_temporary(&analysis.facts).take(MAX_NAMES.saturating_sub(self.temporaries.len()));
        let made: Vec<String> = made.map(str::to_owned).collect();
        self.forget_dropped(&analysis.facts);
        self.droppable.extend(made.iter().cloned());
        self.temporaries.extend(made);
    }

    /// Whether a message drops temporary relations of this session by their bare names, and nothing else.
    pub fn drops_own(&self, facts: &Facts) -> bool {
        let ([statement], false) = (facts.statements.as_slice(), self.droppable.is_empty()) else { return false };
        let is_own = |question: &Question| match &question.object {
            Object::Relation(relation) => {
                question.effect == Effect::Drop && relation.schema.is_none() && self.droppable.contains(&relation.name)
            }
            _ => false,
        };
        !statement.questions.is_empty() && statement.questions.iter().all(is_own)
    }

    /// What is dropped can be another relation the next time.
    fn forget_dropped(&mut self, facts: &Facts) {
        if self.droppable.is_empty() {
            return;
        }
        for question in facts.statements.iter().flat_map(|statement| &statement.questions) {
            if let (Effect::Drop, Object::Relation(relation)) = (question.effect, &question.object) {
                self.droppable.remove(&relation.name);
            }
        }
    }

    /// Temporary relations that this session has made: each may stand before another of its name.
    pub fn temporaries(&self) -> impl Iterator<Item = &str> {
        self.temporaries.iter().map(String::as_str)
    }

    /// A Parse made a statement. The unnamed one cannot be named in SQL.
    pub fn prepare(&mut self, name: &str, analysis: &Arc<Analysis>) {
        if !name.is_empty() {
            self.statements.add(name, analysis);
        }
    }

    /// A Bind made a portal, which FETCH can name too.
    pub fn open(&mut self, name: &str, analysis: &Arc<Analysis>) {
        if !name.is_empty() {
            self.cursors.add(name, analysis);
            if self.bound.len() < MAX_NAMES {
                self.bound.insert(name.to_owned());
            }
        }
    }
}

impl PolicyJudge {
    /// A DROP of this session's own temporary relations in words that can mean nothing else, where policy does not permit
    /// all that the bare names could mean.
    pub(super) async fn as_temporary(
        &self,
        understood: &Arc<Understood>,
        say: &Say,
    ) -> Result<Option<Arc<Understood>>, Denial> {
        if !self.names.lock().drops_own(&understood.own.facts) {
            return Ok(None);
        }
        let is_permitted = |login: &Login| matches!(self.judge(understood, login).0, Decision::Allow(_));
        if self.login.get().is_some_and(is_permitted) {
            return Ok(None);
        }
        match sql::drop_as_temporary(&understood.own.text) {
            Some(text) => self.understand(&text, say.in_transaction()).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Temporary relations that a message makes.
pub fn made_temporary(facts: &Facts) -> impl Iterator<Item = &str> {
    let asked = facts.statements.iter().flat_map(|statement| &statement.questions);
    asked.filter(|question| question.effect == Effect::Create).filter_map(|question| match &question.object {
        Object::Relation(relation) if relation.temporary => Some(relation.name.as_str()),
        _ => None,
    })
}

/// Cursors that a message declares.
pub fn declared_by<'v>(verbs: impl Iterator<Item = &'v Verb>) -> Vec<String> {
    let declared = |verb: &Verb| if let Verb::Declare { name, .. } = verb { Some(name.clone()) } else { None };
    verbs.filter_map(declared).collect()
}

/// Which of the names at the server a statement takes away.
pub fn forgets(verb: &Verb) -> Vec<Forgets> {
    match verb {
        Verb::Deallocate(Some(name)) | Verb::Prepare(name) => vec![Forgets::Statement(name.clone())],
        Verb::Deallocate(None) => vec![Forgets::Statements],
        Verb::Declare { name, .. } | Verb::Close(Some(name)) => vec![Forgets::Portal(name.clone())],
        Verb::Close(None)
        | Verb::Commit
        | Verb::Rollback
        | Verb::RollbackTo(_)
        | Verb::Release(_)
        | Verb::PrepareTransaction => vec![Forgets::Portals],
        Verb::Discard(Discard::All) => vec![Forgets::Everything],
        _ => Vec::new(),
    }
}

/// Schemas that a message puts on the search path.
///
/// # Errors
/// Where they are computed, so that nobody knows what names mean afterwards.
pub fn schemas_added(facts: &Facts, user: &str) -> Result<Vec<String>, String> {
    let mut added = Vec::new();
    for change in facts.statements.iter().flat_map(|statement| &statement.settings) {
        if change.class != SettingClass::Tracked {
            continue;
        }
        let name = change.name.as_deref().unwrap_or_default();
        match (&change.value, name) {
            (SettingValue::Constant(value), "search_path") => {
                added.extend(schemas(value, user));
            }
            // `$user` on the path now means this one.
            (SettingValue::Constant(value), _) => added.push(value.clone()),
            // What the session began with is a candidate already.
            (SettingValue::Reset | SettingValue::Current, _) => {}
            (SettingValue::Unknown, _) => {
                return Err(format!(
                    "the new value of `{name}` is computed, and names could mean anything: write it out"
                ));
            }
        }
    }
    Ok(added)
}

/// Every schema that a value may mean. SET quotes each element, so that it is taken as it stands; what set_config() is
/// given is split at commas, unquoted, folded and cut by the server (SplitIdentifierString, varlena.c). Which of the two
/// it was is not told here.
fn schemas(value: &str, user: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for part in value.split(',').map(str::trim) {
        let quoted = part.strip_prefix('"').and_then(|part| part.strip_suffix('"'));
        let as_it_stands = quoted.map_or_else(|| part.to_owned(), |part| part.replace("\"\"", "\""));
        let folded = quoted.is_none().then(|| part.to_ascii_lowercase());
        for name in std::iter::once(as_it_stands).chain(folded) {
            let name = if name == "$user" { user.to_owned() } else { cut(&name).to_owned() };
            if !name.is_empty() && !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found
}

/// A name as the server keeps it: at most 63 bytes (NAMEDATALEN), in whole characters.
fn cut(name: &str) -> &str {
    let mut end = name.len().min(63);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::postgres::sql::{Caps, read};

    fn added(text: &str) -> Result<Vec<String>, String> {
        schemas_added(&read(text.as_bytes(), &Caps::default()).unwrap(), "alice")
    }

    #[test]
    fn follows_what_is_put_on_the_search_path() {
        let holds = |text: &str, wanted: &[&str]| {
            let added = added(text).unwrap();
            assert!(wanted.iter().all(|schema| added.iter().any(|one| one == schema)), "{text}: {added:?}");
        };
        holds("SET search_path = app, \"$user\", public", &["app", "alice", "public"]);
        holds("SELECT set_config('search_path', 'a, b', false)", &["a", "b"]);
        holds("SELECT set_config('search_path', ' APP,\"B\"', false)", &["app", "B"]);
        assert_eq!(added("SET search_path = app, public").unwrap(), ["app", "public"]);
        assert!(added("RESET search_path").unwrap().is_empty());
        assert!(added("SELECT 1").unwrap().is_empty());
    }

    #[test]
    fn a_schema_that_would_pass_for_two_is_refused() {
        assert!(added("SET search_path = \"a,b\"").is_err());
        assert!(added("SET search_path = public, \" a\"").is_err());
    }

    #[test]
    fn where_portals_are_too_many_to_be_told_apart_each_may_be_one_that_bind_made() {
        let fetch = [Verb::Fetch("c".to_owned())];
        let bound = |count: usize| Names { bound: (0..count).map(|n| format!("p{n}")).collect(), ..Names::default() };
        assert!(!bound(MAX_NAMES - 1).fetches_bound(fetch.iter()));
        assert!(bound(MAX_NAMES).fetches_bound(fetch.iter()));
    }

    #[test]
    fn a_computed_search_path_is_refused() {
        assert!(added("SELECT set_config('search_path', x, false) FROM t").is_err());
    }
}
