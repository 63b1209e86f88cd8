//! What one session knows of labels: the rules, and the server's catalog as it was last read.
//!
//! In: the rules in force, answers about the catalog, and what the session's statements do to names. Out: the question
//! that has to be put before the next message, and the catalog that holds now. Where it is not known, nothing that names
//! a relation goes on.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::PolicyJudge;
use super::names::made_temporary;
use crate::masking::Masking;
use crate::masking::rules::{Labels, Rules};
use crate::protocol::postgres::catalog::{self, Catalog, CatalogError, Known, Rows, Said};
use crate::protocol::postgres::reply::SqlState;
use crate::protocol::postgres::sql::facts::{Effect, Facts, Object, Question, Verb};
use crate::protocol::postgres::state::Transaction;

/// What others change in the catalog is seen after this time; in a transaction once a statement on relations has run.
const FRESH: Duration = Duration::from_secs(1);

/// The same where nothing is labelled, and the catalog tells of calls alone that no text shows.
const FRESH_CALLS: Duration = Duration::from_secs(10);

/// Catalogs of all sessions: as long as nothing changes there is one for each database.
#[derive(Debug, Default)]
pub struct Catalogs(Mutex<HashMap<Place, Arc<Catalog>>>);

/// Whose catalog it is. Servers that no target declares have one name, and nothing else in common: what one of them says
/// of its relations must not count for another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    rules: u64,
    address: SocketAddr,
    target: String,
    database: String,
}

/// What one session knows.
pub(super) struct View {
    pub(super) rules: Arc<Rules>,
    pub(super) masking: Arc<Masking>,
    labels: Labels,
    place: Place,
    catalog: Result<Option<Arc<Catalog>>, CatalogError>,
    read: Option<Instant>,
    /// When the question was put that is not answered yet, if that was between transactions.
    asked: Option<Instant>,
    /// This session did what may have changed the catalog.
    is_stale: bool,
    /// It did since the last end of a transaction: nobody knows whether a COMMIT is one, until the server has answered.
    has_changed: bool,
    /// A statement on relations went on in the transaction that is open.
    has_snapshot: bool,
}

impl View {
    pub(super) fn new(rules: Arc<Rules>, address: SocketAddr, target: &str, database: &str) -> Self {
        let place = Place { rules: rules.id(), address, target: target.to_owned(), database: database.to_owned() };
        let (masking, labels) = (rules.masking(target), rules.labels(target, database));
        Self {
            rules,
            masking,
            labels,
            place,
            catalog: Ok(None),
            read: None,
            asked: None,
            is_stale: true,
            has_changed: false,
            has_snapshot: false,
        }
    }

    /// What has to be asked of the server before the next message is judged; `reads`: it takes a snapshot by itself.
    pub(super) fn question(&mut self, transaction: Transaction, reads: bool, catalogs: &Catalogs) -> Option<String> {
        let is_old = self.is_stale || !self.is_fresh();
        let is_due = match transaction {
            Transaction::Idle => {
                self.has_snapshot = false;
                is_old
            }
            // A query of ours must not be the first of a transaction: it would fix what SET TRANSACTION may still set.
            Transaction::Open => self.is_stale || (is_old && (self.has_snapshot || reads)),
            Transaction::Failed => false,
        };
        if !is_due {
            return None;
        }
        self.asked = (transaction == Transaction::Idle).then(Instant::now);
        if self.labels.is_empty() {
            return Some(catalog::question_of_calls());
        }
        let mut known: Vec<u32> = catalogs.known(&self.place).keys().map(|origin| origin.relation).collect();
        known.sort_unstable();
        known.dedup();
        Some(catalog::question(&self.labels, &known))
    }

    /// Whether what others changed would have been seen: by this session, or by one that found the very same catalog since.
    fn is_fresh(&self) -> bool {
        let fresh = self.fresh();
        match (&self.catalog, self.read) {
            (Ok(_), Some(read)) if read.elapsed() < fresh => true,
            (Ok(Some(catalog)), Some(_)) => catalog.is_confirmed_within(fresh),
            _ => false,
        }
    }

    fn fresh(&self) -> Duration {
        if self.labels.is_empty() { FRESH_CALLS } else { FRESH }
    }

    /// Takes what another session has found lately, where it is the same for all: nothing is labelled, and this session has
    /// done nothing yet. True where it did.
    pub(super) fn adopt(&mut self, catalogs: &Catalogs) -> bool {
        if !self.labels.is_empty() || self.read.is_some() {
            return false;
        }
        let found = catalogs.0.lock().get(&self.place).map(Arc::clone);
        let Some(found) = found.filter(|found| found.is_confirmed_within(FRESH_CALLS)) else { return false };
        (self.catalog, self.read, self.is_stale) = (Ok(Some(found)), Some(Instant::now()), false);
        true
    }

    /// Takes the server's answer. True where another catalog holds than before.
    pub(super) fn answer(&mut self, answer: Result<&Rows, SqlState>, catalogs: &Catalogs) -> bool {
        let rows = match answer {
            Ok(rows) => rows,
            Err(code) => {
                self.catalog = Err(CatalogError::Refused { code: code.as_str().to_owned() });
                return true;
            }
        };
        self.read = Some(Instant::now());
        self.is_stale = false;
        let asked = self.asked.take();
        let digest = catalog::digest(rows);
        if let Ok(Some(catalog)) = &self.catalog
            && *catalog.digest() == digest
        {
            catalog.seen_again(rows, asked);
            return false;
        }
        let said = Said {
            labels: &self.labels,
            classes: &self.masking.classes,
            target: &self.place.target,
            database: &self.place.database,
            known: &catalogs.known(&self.place),
        };
        let catalog = catalogs.get_or_read(&self.place, digest, || Catalog::read(rows, said));
        self.catalog = catalog.map(|catalog| {
            catalog.seen_again(rows, asked);
            Some(catalog)
        });
        true
    }

    /// Follows what a message does.
    pub(super) fn follow(&mut self, facts: &Facts) {
        let undoes = |verb: &Verb| {
            matches!(verb, Verb::Rollback | Verb::RollbackTo(_) | Verb::RollbackPrepared | Verb::PrepareTransaction)
        };
        let ends = |verb: &Verb| undoes(verb) || matches!(verb, Verb::Discard(_) | Verb::CommitPrepared);
        let verbs = || facts.statements.iter().flat_map(|statement| &statement.verbs);
        let asked = facts.statements.iter().flat_map(|statement| &statement.questions);
        let changes = |effect| matches!(effect, Effect::Create | Effect::Alter | Effect::Drop | Effect::RunCode);
        let is_relation = |question: &Question| matches!(question.object, Object::Relation(_));
        self.has_snapshot |= asked.clone().any(is_relation);
        let has_changed = if self.labels.is_empty() {
            // What was let run, and cannot be read, may make a function too: that is seen like what others make.
            asked.into_iter().any(|question| changes(question.effect) && !is_relation(question))
        } else {
            facts.is_opaque() || asked.into_iter().any(|question| changes(question.effect))
        };
        let had_changed = self.has_changed;
        self.has_changed |= has_changed;
        let commits = verbs().any(|verb| *verb == Verb::Commit) && std::mem::take(&mut self.has_changed);
        let ends = verbs().any(ends) && (had_changed || !self.labels.is_empty());
        self.is_stale |= has_changed || commits || ends;
    }

    /// Whether it is known what the names of a message mean.
    ///
    /// # Errors
    /// With what the client reads.
    pub(super) fn check(&self, facts: &Facts) -> Result<(), String> {
        let names = facts.statements.iter().any(|statement| {
            let relations = statement.questions.iter().any(|question| matches!(question.object, Object::Relation(_)));
            relations || !statement.opaque.is_empty()
        });
        let calls = facts.statements.iter().any(|statement| !statement.attributes.is_empty());
        match &self.catalog {
            Err(error) if self.labels.is_empty() && calls => Err(error.to_string()),
            _ if self.labels.is_empty() || !names => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok(_) if self.is_stale => Err(
                "what an earlier statement of the same pipeline or failed transaction did to the tables is not known \
                 yet, and columns of this database are masked: end it first (Sync, ROLLBACK), then send this again"
                    .to_owned(),
            ),
            Ok(_) => Ok(()),
        }
    }

    /// The catalog that was read last, where anything is labelled.
    pub(super) fn last(&self) -> Option<Arc<Catalog>> {
        self.calls().filter(|_| !self.labels.is_empty())
    }

    /// The same for what it says of calls.
    pub(super) fn calls(&self) -> Option<Arc<Catalog>> {
        self.catalog.as_ref().ok().and_then(Clone::clone)
    }
}

impl PolicyJudge {
    /// Takes up rules that came into force meanwhile.
    pub(super) fn look_at_rules(&self) {
        let mut latest = self.rules.lock();
        let rules = latest.get();
        let is_new = self.view.lock().as_ref().is_none_or(|view| view.rules.id() != rules.id());
        let Some(login) = self.login.get().filter(|_| is_new) else { return };
        let rules = Arc::clone(rules);
        *self.view.lock() =
            Some(View::new(rules, self.about.address, &self.about.target_name, &login.startup.database));
        self.renew_scopes(|scene| scene);
    }
}

impl PolicyJudge {
    /// Follows temporary relations that have the name of one with labels: the name may mean either from now on.
    pub(super) fn follow_shadows(&self, facts: &Facts) {
        let Some(catalog) = self.view.lock().as_ref().and_then(View::last) else { return };
        let made: Vec<_> = made_temporary(facts).filter(|name| catalog.has_name(name)).map(str::to_owned).collect();
        if !made.is_empty() {
            self.renew_scopes(|mut scene| {
                Arc::make_mut(&mut scene.shadowed).extend(made);
                scene
            });
        }
    }
}

impl Catalogs {
    fn known(&self, place: &Place) -> Known {
        self.0.lock().get(place).map(|catalog| catalog.known().clone()).unwrap_or_default()
    }

    /// The catalog of an answer: that of another session where it got the same.
    fn get_or_read(
        &self,
        place: &Place,
        digest: [u8; 32],
        read: impl FnOnce() -> Result<Catalog, CatalogError>,
    ) -> Result<Arc<Catalog>, CatalogError> {
        let known = self.0.lock().get(place).map(Arc::clone);
        if let Some(known) = known.filter(|known| *known.digest() == digest) {
            return Ok(known);
        }
        let catalog = Arc::new(read()?);
        let mut catalogs = self.0.lock();
        // Those of rules that are no longer in force are of no use to anybody.
        catalogs.retain(|known, _| known.rules >= place.rules);
        catalogs.insert(place.clone(), Arc::clone(&catalog));
        Ok(catalog)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masking::file::MaskingFile;

    fn rows(oid: &str, column: &str) -> Rows {
        let row = |cells: [&str; 9]| cells.iter().map(|cell| Some((*cell).into())).collect();
        vec![
            row(["column", oid, "public", "customers", "1", column, "25", "", "r"]),
            row(["newest", "99", "", "", "", "", "", "", ""]),
        ]
    }

    #[test]
    fn a_catalog_that_another_session_found_unchanged_is_not_asked_for_again() {
        let text = "version = 1\n[[column]]\nat = [\"undeclared/shop/public.customers.ssn\"]\nclass = \"ssn\"\n";
        let file = MaskingFile::parse("m", text, &|_| Err(String::new())).unwrap();
        let (rules, catalogs) = (Arc::new(Rules::new(Some(file))), Catalogs::default());
        let address = "10.0.0.5:5432".parse().unwrap();
        let view = || View::new(Arc::clone(&rules), address, "undeclared", "shop");
        let (mut one, mut other) = (view(), view());
        let read = |view: &mut View, transaction, column: &str| {
            assert!(view.question(transaction, false, &catalogs).is_some());
            view.answer(Ok(&rows("41", column)), &catalogs);
        };
        read(&mut one, Transaction::Idle, "ssn");
        read(&mut other, Transaction::Idle, "ssn");
        let long_ago = Instant::now().checked_sub(FRESH).unwrap();
        let asks = |view: &mut View| view.question(Transaction::Idle, false, &catalogs).is_some();
        one.read = Some(long_ago);
        assert!(!asks(&mut one));
        // What this session did itself, only it sees.
        one.is_stale = true;
        assert!(asks(&mut one));
        // A transaction may look at the past, and a catalog that differs says nothing of this one.
        let (mut third, mut fourth) = (view(), view());
        read(&mut third, Transaction::Idle, "number");
        third.read = Some(long_ago);
        third.last().unwrap().seen_again(&rows("41", "number"), Some(long_ago));
        assert!(third.question(Transaction::Idle, false, &catalogs).is_none(), "a later word than ours counts");
        read(&mut fourth, Transaction::Open, "another");
        fourth.read = Some(long_ago);
        assert!(asks(&mut fourth));
    }

    #[test]
    fn where_nothing_is_labelled_calls_alone_are_asked_for_and_shared() {
        let (rules, catalogs) = (Arc::new(Rules::new(None)), Catalogs::default());
        let view = || View::new(Arc::clone(&rules), "10.0.0.5:5432".parse().unwrap(), "undeclared", "shop");
        let (mut one, mut other) = (view(), view());
        assert!(!one.adopt(&catalogs), "nobody knows yet");
        assert_eq!(one.question(Transaction::Idle, false, &catalogs), Some(catalog::question_of_calls()));
        let row = |cells: [&str; 9]| cells.iter().map(|cell| Some((*cell).into())).collect();
        let calls = vec![
            row(["function", "wiped", "", "", "", "", "", "", ""]),
            row(["newest", "0", "UTF8", "", "", "", "", "", ""]),
        ];
        assert!(one.answer(Ok(&calls), &catalogs));
        assert!(one.last().is_none() && one.calls().unwrap().is_hidden_call("wiped"));
        assert!(one.question(Transaction::Idle, false, &catalogs).is_none());
        assert!(other.adopt(&catalogs) && other.calls().unwrap().is_hidden_call("wiped"));
        assert!(other.question(Transaction::Idle, false, &catalogs).is_none());
        one.read = Instant::now().checked_sub(FRESH_CALLS);
        one.calls().unwrap().seen_again(&calls, one.read);
        other.is_stale = true;
        assert!(other.question(Transaction::Idle, false, &catalogs).is_some(), "what it made itself it sees at once");
    }

    #[test]
    fn what_one_server_says_of_its_relations_counts_for_no_other() {
        let text = "version = 1\n[[column]]\nat = [\"undeclared/shop/public.customers.ssn\"]\nclass = \"ssn\"\n";
        let file = MaskingFile::parse("m", text, &|_| Err(String::new())).unwrap();
        let (rules, catalogs) = (Arc::new(Rules::new(Some(file))), Catalogs::default());
        let view = |address: &str| View::new(Arc::clone(&rules), address.parse().unwrap(), "undeclared", "shop");
        let (mut one, mut other) = (view("10.0.0.5:5432"), view("10.0.0.6:5432"));
        assert!(one.answer(Ok(&rows("41", "ssn")), &catalogs));
        assert!(other.answer(Ok(&rows("42", "ssn")), &catalogs));
        let asked = |view: &mut View| view.question(Transaction::Open, false, &catalogs);
        (one.is_stale, other.is_stale) = (true, true);
        assert!(asked(&mut one).unwrap().contains("'{41}'"));
        assert!(asked(&mut other).unwrap().contains("'{42}'"));
        // Renamed, it still carries its label, whatever the other server said since.
        assert!(one.answer(Ok(&rows("41", "number")), &catalogs));
        assert!(one.last().unwrap().relations().any(|relation| relation.labelled().next().is_some()));
    }
}
