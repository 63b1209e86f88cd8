//! What the server's catalog says of labelled columns, and of all that hands their values on.
//!
//! In: the answer to [`question`], put by us over the client's session, and the labels of the masking rules. Out: for a
//! relation by its name, or by the number of a result's column, what it holds. Kept is the closure alone: labelled
//! relations, their partitions, children and parents, the views above them, and the toast tables of all. A relation that
//! is not in it carries no label.

mod by_name;
mod question;
mod read;
mod shapes;
mod spread;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub(super) use question::WIDTH;
pub use question::{question, question_of_calls};
pub use read::{CatalogError, Known, Said, digest};
pub use shapes::{Seen, masked};

use crate::masking::class::Class;
use crate::masking::detect::DetectorSet;
use crate::masking::plan::Origin;
use crate::protocol::postgres::sql::facts::RelationName;

/// Rows of the answer, each of as many texts as the question asks for.
pub type Rows = Vec<Vec<Option<Box<str>>>>;

/// The closure of one database.
#[derive(Debug, Default)]
pub struct Catalog {
    relations: Vec<Arc<Relation>>,
    by_name: HashMap<Box<str>, Vec<usize>>,
    by_oid: HashMap<u32, usize>,
    /// The highest object id that a relation had: what came later is not known here.
    newest: AtomicU32,
    /// When a session last asked between its transactions, and found the same.
    confirmed: Mutex<Option<Instant>>,
    known: Known,
    /// Functions that are not the server's, and can be called on a row as if they were a column of it; operators of such
    /// functions.
    hidden_calls: HashSet<Box<str>>,
    digest: [u8; 32],
    /// Relations have columns that are not in it.
    is_partial: bool,
    is_utf8: bool,
}

/// A relation of the closure.
#[derive(Debug, PartialEq, Eq)]
pub struct Relation {
    /// Its object id.
    pub oid: u32,
    /// Its schema.
    pub schema: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// In the order of their numbers.
    pub columns: Vec<Column>,
    /// Who writes to it runs a rule, which may read whatever the closure holds.
    pub has_rules: bool,
}

/// A column of it.
#[derive(Debug)]
pub struct Column {
    /// Its number.
    pub attribute: i16,
    /// Its name.
    pub name: Box<str>,
    /// The object id of its type.
    pub type_oid: u32,
    /// Computed from others; COPY leaves it out.
    pub is_generated: bool,
    /// Its class, if it carries a label or hands one on.
    pub class: Option<Arc<Class>>,
    /// Detectors that leave it alone.
    pub except: DetectorSet,
}

impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        let class = |column: &Self| column.class.as_ref().map(|class| Arc::clone(&class.name));
        self.attribute == other.attribute && self.name == other.name && class(self) == class(other)
    }
}

impl Eq for Column {}

impl Relation {
    fn is_temporary(&self) -> bool {
        self.schema.starts_with("pg_temp_")
    }

    /// Its labelled columns with their classes.
    pub fn labelled(&self) -> impl Iterator<Item = (&Column, &Arc<Class>)> {
        self.columns.iter().filter_map(|column| Some((column, column.class.as_ref()?)))
    }
}

impl Catalog {
    /// The relations that a name may mean. Without a schema they are looked for in all of `path`, among temporary ones,
    /// and among those of the server.
    pub fn named<'c>(&'c self, name: &RelationName, path: &'c [String]) -> impl Iterator<Item = &'c Arc<Relation>> {
        let schema = name.schema.clone();
        let found = self.by_name.get(name.name.as_str()).map(Vec::as_slice).unwrap_or_default();
        found.iter().filter_map(|index| self.relations.get(*index)).filter(move |relation| match &schema {
            // `pg_temp` stands for the session's own, whatever its number.
            Some(schema) => **schema == *relation.schema || (schema == "pg_temp" && relation.is_temporary()),
            None => {
                path.iter().any(|schema| **schema == *relation.schema)
                    || relation.is_temporary()
                    || question::is_revealing(&relation.name)
            }
        })
    }

    /// A relation by its object id.
    #[must_use]
    pub fn relation(&self, oid: u32) -> Option<&Arc<Relation>> {
        self.relations.get(*self.by_oid.get(&oid)?)
    }

    /// The relation of this very schema and name.
    #[must_use]
    pub fn relation_in(&self, schema: &str, name: &str) -> Option<&Arc<Relation>> {
        let found = self.by_name.get(name)?.iter().filter_map(|index| self.relations.get(*index));
        found.into_iter().find(|relation| *relation.schema == *schema)
    }

    /// Whether a relation of the closure has this name.
    #[must_use]
    pub fn has_name(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Whether any column carries one.
    #[must_use]
    pub fn has_labels(&self) -> bool {
        self.relations.iter().any(|relation| relation.labelled().next().is_some())
    }

    /// Whether the database is in UTF8, so that every mask can be written in a statement.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        self.is_utf8
    }

    /// Every relation of the closure.
    pub fn relations(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations.iter()
    }

    /// Columns that carry a label themselves: they keep it, whatever they are called next.
    #[must_use]
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// Whether an operator, `row.name`, or a type that is named may call a function that somebody made.
    #[must_use]
    pub fn is_hidden_call(&self, name: &str) -> bool {
        self.hidden_calls.contains(name)
    }

    /// The same closure was read again, by whichever session: what has come meanwhile carries no label. `asked` is when, if
    /// that was between two transactions: within one it may be the state of an earlier time.
    pub fn seen_again(&self, rows: &Rows, asked: Option<Instant>) {
        if let Some(newest) = read::newest(rows) {
            self.newest.fetch_max(newest, Ordering::Relaxed);
        }
        if let Some(asked) = asked {
            let mut confirmed = self.confirmed.lock();
            *confirmed = confirmed.max(Some(asked));
        }
    }

    /// Whether it was the state of the server within this time.
    #[must_use]
    pub fn is_confirmed_within(&self, time: Duration) -> bool {
        self.confirmed.lock().is_some_and(|confirmed| confirmed.elapsed() < time)
    }

    /// What it was made from, for telling one answer from another.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Where a column of a result comes from.
    #[must_use]
    pub fn origin(&self, origin: Origin) -> Found<'_> {
        let Some(relation) = self.relation(origin.relation) else {
            return if origin.relation == 0 || origin.relation > self.newest.load(Ordering::Relaxed) {
                Found::Unknown
            } else {
                Found::Elsewhere
            };
        };
        let column = relation.columns.iter().find(|column| column.attribute == origin.attribute);
        column.map_or(Found::Unknown, Found::Column)
    }
}

/// Where a column of a result comes from.
#[derive(Debug, Clone, Copy)]
pub enum Found<'c> {
    /// A column of the closure.
    Column(&'c Column),
    /// A relation that carries no label.
    Elsewhere,
    /// An expression, a whole row, or a relation that came after the catalog was read.
    Unknown,
}
