//! What a message does with labelled columns.
//!
//! In: the facts of its statements and the catalog. Out: which classes it reads, compares and moves, and in which
//! relations; the questions about them. An opaque statement is taken to do everything with every label. It decides
//! nothing: a refused `Data::unmask` masks, the others refuse.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::names::made_temporary;
use super::questions::Scene;
use crate::masking::class::{Class, Show};
use crate::masking::plan::Origin;
use crate::policy::Question;
use crate::policy::request::Entity;
use crate::policy::vocabulary::data::{self, Use};
use crate::policy::vocabulary::names::RelationKind;
use crate::policy::vocabulary::postgres::{self as vocabulary, RelationFacts};
use crate::protocol::postgres::catalog::{Catalog, Column, Found, Relation, Seen};
use crate::protocol::postgres::sql::facts::{ColumnUse, Effect, Facts, Object, RelationName, Statement, Verb};
use crate::protocol::postgres::sql::functions::is_built_in;
use crate::protocol::postgres::sql::lineage::{self, Following, Lineage, Queries, Shape};
use crate::protocol::postgres::values::Kind;

/// What a message does with labels.
#[derive(Debug, Default, Clone)]
pub struct LabelUse {
    /// By what is done, the class, and the relation's object id; zero where any may be meant.
    uses: BTreeMap<(Usage, Arc<str>, u32), Arc<Class>>,
    /// Labelled columns that it changes in rows that are there, of which a mask could not be told from a value.
    pub overwrites: Vec<(Arc<Class>, String)>,
    /// It names a relation of the closure, labelled columns or not: errors may quote its rows.
    pub touches_relation: bool,
    /// It reads or writes a labelled column: its constants may be values of it.
    pub touches_label: bool,
    /// For each statement the columns of its result, with what they derive from. None where that was not followed; an empty
    /// list where no statement had to be.
    pub outputs: Vec<Option<Arc<Shape>>>,
}

/// A message whose use of labels is looked for.
#[derive(Clone, Copy)]
pub struct Message<'m> {
    /// Its text.
    pub text: &'m str,
    /// What it would do.
    pub facts: &'m Facts,
    /// Whether a column is NULL is shown of masked ones.
    pub shows_nulls: bool,
    /// Of a text that is sent in place of another: its masking subqueries.
    pub queries: Option<&'m Queries>,
}

/// Texts longer than this are judged by what they name: following them takes milliseconds.
const LONG: usize = 64 * 1024;

/// What is done with a labelled column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Usage {
    Read,
    Compared,
    Moved,
}

impl LabelUse {
    /// That of a message.
    #[must_use]
    pub fn of(message: Message<'_>, scene: &Scene) -> Self {
        let mut found = Self::default();
        let (facts, Some(catalog)) = (message.facts, scene.catalog.as_deref()) else { return found };
        let is_opaque = facts.is_opaque() || changes_and_reads(facts) || has_hidden_calls(facts, catalog);
        let each: Vec<_> = facts.statements.iter().map(|statement| Self::named(statement, scene, catalog)).collect();
        if is_opaque || each.iter().any(|named| named.uses.keys().any(|(_, _, relation)| *relation == 0)) {
            found.everything(catalog);
        }
        let follows =
            found.uses.is_empty() && message.text.len() <= LONG && each.iter().any(|one| !one.uses.is_empty());
        let lineages = if follows { followed(message, scene, catalog) } else { Vec::new() };
        for (index, mut named) in each.into_iter().enumerate() {
            if let Some(Some(lineage)) = lineages.get(index) {
                named.uses = uses_of(lineage, catalog);
            }
            found.with(&named);
        }
        found.outputs = lineages.into_iter().map(|lineage| lineage.map(|lineage| Arc::new(lineage.outputs))).collect();
        if stores_what_it_runs(facts) { found.stored() } else { found }
    }

    /// That of a statement by the names that it has in it.
    fn named(statement: &Statement, scene: &Scene, catalog: &Catalog) -> Self {
        let mut found = Self::default();
        found.statement(statement, scene, catalog);
        found
    }

    /// With what another message does, which this one runs by name.
    pub fn with(&mut self, other: &Self) {
        self.uses.extend(other.uses.iter().map(|(key, class)| (key.clone(), Arc::clone(class))));
        self.overwrites.extend(other.overwrites.iter().cloned());
        self.touches_relation |= other.touches_relation;
        self.touches_label |= other.touches_label;
    }

    /// The same where its rows are kept: what it reads moves.
    #[must_use]
    pub fn stored(mut self) -> Self {
        let read = self.uses.iter().filter(|((usage, ..), _)| *usage == Usage::Read);
        let moved: Vec<_> =
            read.map(|((_, name, oid), class)| ((Usage::Moved, Arc::clone(name), *oid), Arc::clone(class))).collect();
        self.uses.extend(moved);
        self
    }

    /// The relations of which it uses labels; none where any may be meant.
    pub fn relations(&self) -> impl Iterator<Item = u32> {
        let mut all: Vec<u32> = self.uses.keys().map(|(_, _, relation)| *relation).collect();
        all.sort_unstable();
        all.dedup();
        let may_be_any = all.first() == Some(&0);
        all.into_iter().filter(move |_| !may_be_any)
    }

    /// With a class that it reads of a relation.
    pub fn read_of(&mut self, relation: u32, class: &Arc<Class>) {
        self.uses.insert((Usage::Read, Arc::clone(&class.name), relation), Arc::clone(class));
    }

    /// The classes that it reads, each once.
    pub fn read(&self) -> impl Iterator<Item = &Arc<Class>> {
        let mut last: Option<&Arc<str>> = None;
        let read = self.uses.iter().filter(|((usage, ..), _)| *usage == Usage::Read);
        read.filter(move |((_, name, _), _)| last.replace(name) != Some(name)).map(|(_, class)| class)
    }

    /// The names of all classes that it meets, sorted.
    #[must_use]
    pub fn class_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.uses.keys().map(|(_, name, _)| name.to_string()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The questions about them.
    #[must_use]
    pub fn questions(&self, scene: &Scene) -> Vec<Arc<Question>> {
        let ask = |((usage, _, oid), class): (&(Usage, Arc<str>, u32), &Arc<Class>)| {
            let usage = match usage {
                Usage::Read => Use::Unmask,
                Usage::Compared => Use::Compare,
                Usage::Moved => Use::Export,
            };
            let relation = scene.catalog.as_deref().and_then(|catalog| catalog.relation(*oid));
            let relation = relation.map(|relation| relation_entity(relation, scene));
            data::ask(usage, class_entity(class), Arc::clone(&scene.target), relation)
        };
        let overwritten = self
            .overwrites
            .iter()
            .map(|(class, _)| data::ask(Use::Unmask, class_entity(class), Arc::clone(&scene.target), None));
        self.uses.iter().map(ask).chain(overwritten).collect()
    }

    /// What a client can do about a denial, where it is about labels.
    pub fn advice(&self, asked: &str) -> Option<&'static str> {
        let is_opaque = self.uses.keys().any(|(_, _, relation)| *relation == 0);
        let is_about_labels = asked.starts_with("Data::");
        Some(match asked {
            _ if is_about_labels && is_opaque => {
                "Some columns of this database are masked, and what this statement runs (a function that is not built in, DO, \
                 CALL, dynamic SQL, a rule of the relation) could use any of them: write what it does as plain SQL."
            }
            _ if asked.starts_with("Data::compare") => {
                "Columns of this class are masked, and which rows come, or in which order, would tell their values: select \
                 them if you need to (they come masked), but name them, or what holds them (`*`, a whole row, an output of a \
                 subquery), nowhere in WHERE, JOIN, GROUP BY, HAVING, ORDER BY, DISTINCT, UNION, LIMIT, a window, a function \
                 in FROM, a check, a policy, or an index that is unique, partial or on an expression; a foreign key names \
                 another column that it refers to."
            }
            _ if asked.starts_with("Data::export") => {
                "Columns of this class are masked, and their values are not written anywhere: leave them out of what this \
                 statement stores, sets or sends. Masks go by names and by inheritance, so that what holds such columns is \
                 not renamed, moved, attached or detached."
            }
            _ => return None,
        })
    }

    fn everything(&mut self, catalog: &Catalog) {
        self.touches_relation = true;
        self.touches_label = true;
        let classes = catalog.relations().flat_map(|relation| relation.labelled().map(|(_, class)| class));
        for class in classes {
            for usage in [Usage::Read, Usage::Compared, Usage::Moved] {
                self.uses.insert((usage, Arc::clone(&class.name), 0), Arc::clone(class));
            }
        }
    }

    fn statement(&mut self, statement: &Statement, scene: &Scene, catalog: &Catalog) {
        for question in &statement.questions {
            match (question.effect, &question.object) {
                (Effect::Alter, Object::Schema(schema)) => self.schema(schema, catalog),
                // A check that is added to a domain looks at every column of it.
                (Effect::Alter, Object::Named { kind: "domain", .. }) => self.everything(catalog),
                _ => {}
            }
            let Object::Relation(name) = &question.object else { continue };
            for relation in catalog.named(name, &scene.path) {
                self.touches_relation = true;
                if relation.has_rules && !matches!(question.effect, Effect::Select | Effect::Lock) {
                    self.everything(catalog);
                }
                self.touches_label |= relation.labelled().any(|(column, _)| question.columns.has(&column.name));
            }
        }
        for used in &statement.uses {
            for relation in catalog.named(&used.relation, &scene.path) {
                self.relation(&with_whole_rows(used, statement, relation), relation);
            }
        }
    }

    /// Labels go by the names of schemas too.
    fn schema(&mut self, schema: &str, catalog: &Catalog) {
        for relation in catalog.relations().filter(|relation| *relation.schema == *schema) {
            let moved = |class: &Arc<Class>| ((Usage::Moved, Arc::clone(&class.name), relation.oid), Arc::clone(class));
            self.uses.extend(relation.labelled().map(|(_, class)| moved(class)));
        }
    }

    fn relation(&mut self, used: &ColumnUse, relation: &Relation) {
        for (column, class) in relation.labelled() {
            let uses = [(Usage::Read, &used.read), (Usage::Compared, &used.compared), (Usage::Moved, &used.moved)];
            for (usage, columns) in uses {
                if columns.has(&column.name) {
                    self.uses.insert((usage, Arc::clone(&class.name), relation.oid), Arc::clone(class));
                }
            }
            if used.updated.has(&column.name) && !is_recognised(column, class) {
                self.overwrites.push((Arc::clone(class), column.name.to_string()));
            }
        }
    }
}

/// The lineage of each statement, where there is one of all of them.
fn followed(message: Message<'_>, scene: &Scene, catalog: &Catalog) -> Vec<Option<Lineage>> {
    let mut shadowed = BTreeSet::clone(&scene.shadowed);
    shadowed.extend(made_temporary(message.facts).map(str::to_owned));
    let seen = Seen { catalog, path: &scene.path, shadowed: &shadowed, queries: message.queries };
    let following = Following { relations: &seen, shows_nulls: message.shows_nulls };
    let lineages = lineage::follow(message.text, following);
    if lineages.len() == message.facts.statements.len() { lineages } else { Vec::new() }
}

fn uses_of(lineage: &Lineage, catalog: &Catalog) -> BTreeMap<(Usage, Arc<str>, u32), Arc<Class>> {
    let shown = lineage.outputs.all().from;
    let sources = [(Usage::Read, &shown), (Usage::Compared, &lineage.compared), (Usage::Moved, &lineage.moved)];
    let classed = |(usage, origin): (Usage, &Origin)| {
        let Found::Column(Column { class: Some(class), .. }) = catalog.origin(*origin) else { return None };
        Some(((usage, Arc::clone(&class.name), origin.relation), Arc::clone(class)))
    };
    let each = sources.iter().flat_map(|(usage, sources)| sources.iter().map(|origin| (*usage, origin)));
    each.filter_map(classed).collect()
}

/// Whether what stands for a value of this column is known again when somebody writes it back.
fn is_recognised(column: &Column, class: &Class) -> bool {
    Kind::of(column.type_oid).keeps_marks() && !matches!(class.show, Show::Null | Show::Year)
}

/// `row.f` calls `f(row)` where the row has no column of that name (ParseFuncOrColumn, parse_func.c): then the whole row
/// is used.
fn with_whole_rows<'u>(used: &'u ColumnUse, statement: &Statement, relation: &Relation) -> Cow<'u, ColumnUse> {
    let is_call = |name: &&String| {
        is_built_in(name)
            && statement.attributes.contains(*name)
            && !relation.columns.iter().any(|column| *column.name == ***name)
    };
    if !used.read.names.iter().any(|name| is_call(&name)) {
        return Cow::Borrowed(used);
    }
    let mut used = used.clone();
    for columns in [&mut used.read, &mut used.compared, &mut used.moved] {
        columns.all |= columns.names.iter().any(|name| is_call(&name));
    }
    Cow::Owned(used)
}

/// The same of functions that somebody made, of operators, casts and domains: what they do is not in the statement.
fn has_hidden_calls(facts: &Facts, catalog: &Catalog) -> bool {
    facts.statements.iter().any(|statement| hidden_calls(statement, catalog).next().is_some())
}

/// The names of such calls in a statement: of fields, operators and casts, and of functions of the server that somebody
/// has one of, too.
pub(super) fn hidden_calls<'s>(statement: &'s Statement, catalog: &'s Catalog) -> impl Iterator<Item = &'s String> {
    let unqualified = statement.calls.iter().filter(|call| call.schema.is_none()).map(|call| &call.name);
    let names = statement.attributes.iter().chain(&statement.types).chain(unqualified);
    names.filter(|name| catalog.is_hidden_call(name))
}

/// Whether a message keeps the rows of a prepared statement, its own or an earlier one's: CREATE TABLE … AS EXECUTE.
#[must_use]
pub fn stores_what_it_runs(facts: &Facts) -> bool {
    let creates = |statement: &Statement| statement.questions.iter().any(|question| question.effect == Effect::Create);
    let executes = |statement: &Statement| statement.verbs.iter().any(|verb| matches!(verb, Verb::Execute(_)));
    facts.statements.iter().any(|statement| executes(statement) && creates(statement))
}

/// Whether a message changes what names mean and goes on to use names: the catalog is that of before.
fn changes_and_reads(facts: &Facts) -> bool {
    let changes = |statement: &Statement| {
        statement.questions.iter().any(|question| {
            let lasts = !matches!(&question.object, Object::Relation(RelationName { temporary: true, .. }));
            lasts && matches!(question.effect, Effect::Create | Effect::Alter | Effect::Drop)
        })
    };
    facts.statements.len() > 1 && facts.statements.iter().any(changes)
}

/// A data class as policies see it.
#[must_use]
pub fn class_entity(class: &Class) -> Arc<Entity> {
    let parent = class.parent.as_deref().map(class_entity);
    data::class(&class.name, parent.as_slice())
}

pub(super) fn relation_entity(relation: &Relation, scene: &Scene) -> Arc<Entity> {
    let schema = vocabulary::schema(&scene.database, &relation.schema);
    let classes = classes_of(relation);
    let facts = RelationFacts { name: &relation.name, kind: RelationKind::Table, classes, rows_estimate: None };
    vocabulary::relation(&schema, facts)
}

/// The classes of a relation's columns, each once.
#[must_use]
pub fn classes_of(relation: &Relation) -> Vec<Arc<Entity>> {
    let by_name: BTreeMap<&Arc<str>, &Arc<Class>> =
        relation.labelled().map(|(_, class)| (&class.name, class)).collect();
    by_name.into_values().map(|class| class_entity(class)).collect()
}
