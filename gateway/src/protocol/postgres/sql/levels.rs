//! Query levels: which relation a column reference can mean, without a catalog.
//!
//! In: relations, aliases and column references as the walk finds them. Out: for each relation its effects with columns
//! and filter. Must never lose a column: a name without a qualifier counts for every relation in reach. Must never call
//! an effect filtered by a column that may belong to another relation's alias or to a subquery.

use std::collections::HashSet;

use super::SqlError;
use super::facts::{ColumnUse, Columns, Effect, Filter, RelationName};
use super::names;
use super::parse::nodes;
use super::walk::Place;

/// Attributions of a column to a relation that one statement may take; a wide report query takes a few thousand.
const STEPS: usize = 250_000;

/// The levels of one statement; each SELECT and each data-modifying statement opens one.
#[derive(Default)]
pub(super) struct Levels<'a> {
    levels: Vec<Level<'a>>,
    /// A condition names what may be a column of a subquery, CTE or function: whatever those hold is compared.
    compares_derived: bool,
}

#[derive(Default)]
struct Level<'a> {
    parent: Option<usize>,
    in_parents_where: bool,
    in_parents_from: bool,
    relations: Vec<Seen<'a>>,
    /// Aliases of joins: they stand for the columns of the level's relations.
    joins: Vec<&'a str>,
    /// Aliases of subqueries, functions and CTEs: no relation's columns.
    others: Vec<&'a str>,
    /// Names of whole rows that RETURNING shows, `old` and `new` or what it calls them.
    rows: Vec<&'a str>,
    /// There are such as in `others`, with or without an alias.
    has_others: bool,
    /// A join renames columns.
    renames: bool,
    references: HashSet<Reference<'a>>,
}

/// A relation of a level.
pub(super) struct Seen<'a> {
    name: RelationName,
    label: &'a str,
    effects: Vec<(Effect, Filter)>,
    written: Columns,
    updated: Columns,
    /// Columns have other names here than in the catalog.
    is_renamed: bool,
    read: Columns,
    compared: Columns,
    returned: Columns,
    /// What is neither.
    valued: Columns,
    /// Of `valued`, what a subquery in FROM or a CTE hands on.
    nested: Columns,
    filtered: bool,
}

/// A column as written: `name`, `relation.name`, `relation.*` or `*`.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Reference<'a> {
    /// Alias or name before the last dot.
    pub(super) relation: Option<&'a str>,
    /// `None` is `*`.
    pub(super) column: Option<&'a str>,
    /// It stands in the WHERE of its level.
    pub(super) in_where: bool,
    /// It stands in the FROM of its level, where not all that stands beside it is in reach.
    pub(super) in_from: bool,
    /// It names the schema too, so that a relation further out can be meant though a nearer one has the name.
    pub(super) schema: bool,
    /// What its value is for.
    pub(super) purpose: Purpose,
    /// It stands in a subquery of FROM or a CTE, whose columns others name.
    pub(super) nested: bool,
}

impl<'a> Reference<'a> {
    /// A name without a relation, or `*`.
    pub(super) fn bare(column: Option<&'a str>, place: Place) -> Self {
        Self {
            relation: None,
            column,
            in_where: false,
            in_from: place.in_from,
            schema: false,
            purpose: place.purpose,
            nested: place.nested,
        }
    }
}

/// What a column's value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Purpose {
    /// To be shown, or written.
    #[default]
    Value,
    /// To choose, join, sort or group rows.
    Comparison,
    /// To be shown by the RETURNING of a statement that has no other way to hand it on.
    Returning,
}

/// What a statement does with relations and their columns.
pub(super) struct Settled {
    pub(super) uses: Vec<Use>,
    pub(super) columns: Vec<ColumnUse>,
    /// Columns that RETURNING shows, by their place in `columns`.
    pub(super) returned: Vec<Columns>,
}

/// What a relation is used for, when all references are known.
pub(super) struct Use {
    pub(super) effect: Effect,
    pub(super) relation: RelationName,
    pub(super) filter: Filter,
    pub(super) columns: Columns,
}

impl<'a> Seen<'a> {
    pub(super) fn new(rel: &'a nodes::RangeVar, effects: Vec<(Effect, Filter)>) -> Self {
        let alias = rel.alias();
        let label = alias.and_then(|a| a.aliasname()).or_else(|| rel.relname()).unwrap_or_default();
        // Columns that an alias renames have names that no catalog knows.
        let renamed = alias.is_some_and(|a| !a.colnames().is_empty());
        let all = Columns { all: renamed, ..Columns::default() };
        Self {
            name: names::relation(rel),
            label,
            effects,
            written: Columns::default(),
            updated: Columns::default(),
            is_renamed: renamed,
            read: all.clone(),
            compared: Columns::default(),
            returned: Columns::default(),
            valued: all.clone(),
            nested: all,
            filtered: false,
        }
    }

    pub(super) fn writes(mut self, columns: Columns) -> Self {
        self.written = columns;
        self
    }

    /// Columns that are changed in rows that are there.
    pub(super) fn updates(mut self, columns: Columns) -> Self {
        self.updated = columns;
        self
    }

    /// Columns that are read without a reference, as by COPY.
    pub(super) fn reads(mut self, columns: Columns) -> Self {
        self.valued = columns.clone();
        self.read = columns;
        self
    }
}

impl<'a> Levels<'a> {
    /// Opens a level of its own.
    pub(super) fn open(&mut self) -> usize {
        self.levels.push(Level::default());
        self.levels.len() - 1
    }

    /// Opens a level below that of `place`.
    pub(super) fn open_below(&mut self, place: Place) -> usize {
        let (in_parents_where, in_parents_from) = (place.in_where, place.in_from);
        self.levels.push(Level { parent: Some(place.level), in_parents_where, in_parents_from, ..Level::default() });
        self.levels.len() - 1
    }

    pub(super) fn add(&mut self, level: usize, seen: Seen<'a>) {
        if let Some(level) = self.levels.get_mut(level) {
            level.relations.push(seen);
        }
    }

    pub(super) fn bind_join(&mut self, level: usize, alias: &'a str) {
        if let Some(level) = self.levels.get_mut(level) {
            level.joins.push(alias);
        }
    }

    /// A subquery, function or CTE in FROM, which need not have an alias.
    pub(super) fn bind_other(&mut self, level: usize, alias: Option<&'a str>) {
        if let Some(level) = self.levels.get_mut(level) {
            level.others.extend(alias);
            level.has_others = true;
        }
    }

    /// A name that stands for a whole row of the relation that the level's statement writes.
    pub(super) fn bind_row(&mut self, level: usize, name: &'a str) {
        if let Some(level) = self.levels.get_mut(level) {
            level.rows.push(name);
        }
    }

    /// What subqueries and CTEs hold is compared, by no condition that names it.
    pub(super) fn compare_derived(&mut self) {
        self.compares_derived = true;
    }

    /// A join of the level gives columns other names.
    pub(super) fn rename(&mut self, level: usize) {
        if let Some(level) = self.levels.get_mut(level) {
            level.renames = true;
        }
    }

    pub(super) fn refer(&mut self, level: usize, reference: Reference<'a>) {
        if let Some(level) = self.levels.get_mut(level) {
            level.references.insert(reference);
        }
    }

    /// Settles every reference and gives the uses; an error where that takes too many steps.
    pub(super) fn settle(mut self) -> Result<Settled, SqlError> {
        let mut steps = STEPS;
        for from in 0..self.levels.len() {
            let references = self.levels.get_mut(from).map(|l| std::mem::take(&mut l.references)).unwrap_or_default();
            for reference in &references {
                self.attribute(from, reference, &mut steps)?;
            }
        }
        let mut settled = Settled { uses: Vec::new(), columns: Vec::new(), returned: Vec::new() };
        for seen in self.levels.into_iter().flat_map(|level| level.relations) {
            seen.settle(self.compares_derived, &mut settled);
        }
        Ok(settled)
    }

    /// Walks outward from the level of the reference, as the server does. In FROM the walk goes on beyond a relation of
    /// that name: one that comes later, or in another join, is not the one that is meant.
    fn attribute(&mut self, from: usize, reference: &Reference<'a>, steps: &mut usize) -> Result<(), SqlError> {
        let (mut at, mut in_where, mut in_from, mut inside) = (Some(from), reference.in_where, reference.in_from, true);
        let mut found = false;
        while let Some(level) = at.and_then(|at| self.levels.get_mut(at)) {
            *steps = steps.checked_sub(level.cost()).ok_or(SqlError::TooComplex)?;
            self.compares_derived |= reference.purpose == Purpose::Comparison && level.may_derive(reference);
            let taken = level.take(reference, in_where && !found, inside);
            found |= taken != Taken::Nowhere;
            if taken == Taken::Here && !(in_from && reference.relation.is_some()) {
                return Ok(());
            }
            (in_where, in_from) = (level.in_parents_where, level.in_parents_from);
            inside = false;
            at = level.parent;
        }
        if found { Ok(()) } else { self.attribute_to_all(from, reference, steps) }
    }

    /// A qualifier that nothing has, as those that RETURNING makes: whatever is in reach may be meant.
    fn attribute_to_all(&mut self, from: usize, reference: &Reference<'a>, steps: &mut usize) -> Result<(), SqlError> {
        let mut at = Some(from);
        while let Some(level) = at.and_then(|at| self.levels.get_mut(at)) {
            *steps = steps.checked_sub(level.cost()).ok_or(SqlError::TooComplex)?;
            for seen in &mut level.relations {
                seen.read_column(reference.column, reference, level.renames);
            }
            at = level.parent;
        }
        Ok(())
    }
}

/// Whether a level has what a reference means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Nowhere,
    /// So may one further out.
    Perhaps,
    Here,
}

impl Level<'_> {
    fn cost(&self) -> usize {
        1 + self.relations.len() + self.joins.len() + self.others.len()
    }

    /// Whether a reference may be a column of something else than a relation.
    fn may_derive(&self, reference: &Reference<'_>) -> bool {
        match reference.relation.filter(|qualifier| !self.joins.contains(qualifier)) {
            Some(qualifier) => self.others.contains(&qualifier),
            None => self.has_others,
        }
    }

    /// Gives the reference to the relations that it can mean.
    fn take(&mut self, reference: &Reference<'_>, in_where: bool, inside: bool) -> Taken {
        let Some(qualifier) = reference.relation.filter(|q| !self.joins.contains(q)) else {
            return self.take_bare(reference, in_where, inside);
        };
        let mut found = self.others.contains(&qualifier);
        for seen in self.relations.iter_mut().filter(|seen| seen.label == qualifier) {
            seen.read_column(reference.column, reference, self.renames);
            seen.filtered |= in_where && reference.column.is_some();
            found = true;
        }
        match found {
            true if reference.schema => Taken::Perhaps,
            true => Taken::Here,
            false => Taken::Nowhere,
        }
    }

    /// No qualifier: every relation may have the column, here and further out. It filters those of its own level only,
    /// since in a subquery it is more likely a column of the subquery.
    fn take_bare(&mut self, reference: &Reference<'_>, in_where: bool, inside: bool) -> Taken {
        for seen in &mut self.relations {
            // The alias of a join is a row of all that it joins.
            let row = reference.column.is_some_and(|column| column == seen.label || self.joins.contains(&column));
            let is_row = row || reference.column.is_some_and(|column| self.rows.contains(&column));
            seen.read_column(reference.column.filter(|_| !is_row), reference, self.renames);
            seen.filtered |= in_where && inside && !row && reference.column.is_some();
        }
        if reference.column.is_none() || reference.relation.is_some() { Taken::Here } else { Taken::Perhaps }
    }
}

impl Seen<'_> {
    fn read_column(&mut self, column: Option<&str>, reference: &Reference<'_>, renames: bool) {
        add(&mut self.read, column);
        // Under another name any of them may be meant.
        let column = column.filter(|_| !self.is_renamed && !renames);
        match reference.purpose {
            Purpose::Comparison => add(&mut self.compared, column),
            Purpose::Returning => add(&mut self.returned, column),
            Purpose::Value => {
                add(&mut self.valued, column);
                if reference.nested {
                    add(&mut self.nested, column);
                }
            }
        }
    }

    fn settle(mut self, compares_derived: bool, settled: &mut Settled) {
        if compares_derived {
            self.compared.extend(&self.nested);
        }
        settled.columns.push(ColumnUse {
            relation: self.name.clone(),
            read: self.read.clone(),
            compared: std::mem::take(&mut self.compared),
            moved: std::mem::take(&mut self.valued),
            updated: std::mem::take(&mut self.updated),
        });
        settled.returned.push(std::mem::take(&mut self.returned));
        settled.uses.extend(self.uses());
    }

    /// A written relation of which a column is read asks for SELECT too, as the server does.
    fn uses(self) -> Vec<Use> {
        let reads = self.read.all || !self.read.names.is_empty();
        let selected = self.effects.iter().any(|(effect, _)| *effect == Effect::Select);
        let mut uses = Vec::with_capacity(self.effects.len() + 1);
        let least = self.effects.iter().map(|(_, filter)| *filter).min().unwrap_or_default();
        let implied = (reads && !selected).then_some((Effect::Select, least));
        for (effect, base) in self.effects.into_iter().chain(implied) {
            let filter = if self.filtered { Filter::Columns } else { base };
            let mut columns = self.read.clone();
            if effect != Effect::Select {
                columns.all |= self.written.all;
                columns.names.extend(self.written.names.iter().cloned());
            }
            if effect == Effect::Insert {
                columns = self.written.clone();
            }
            uses.push(Use { effect, relation: self.name.clone(), filter, columns });
        }
        uses
    }
}

/// Adds a column, or all.
fn add(columns: &mut Columns, column: Option<&str>) {
    match column {
        None => columns.all = true,
        Some(column) if !columns.names.contains(column) => {
            columns.names.insert(column.to_owned());
        }
        Some(_) => {}
    }
}
