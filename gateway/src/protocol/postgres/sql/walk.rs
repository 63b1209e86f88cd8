//! The walk over one statement: a stack of our own, never the call stack.
//!
//! In: the tree of a statement. Out: its facts. Must never recurse over the tree, and must never leave a node out: what
//! no handler takes apart is taken apart by `children.rs`, and a relation that is met there is read.

use std::collections::{BTreeMap, BTreeSet};

use super::SqlError;
use super::children::children;
use super::classify;
use super::facts::{Call, ColumnUse, Columns, Effect, Filter, FunctionClass, Object, Opaque, Statement, Verb};
use super::functions;
use super::levels::{Levels, Purpose, Seen, Settled};
use super::names;
use super::parse::{Node, nodes};
use super::scan::Caps;

/// Questions of one statement; each costs policy about a microsecond.
const QUESTIONS: usize = 10_000;
/// Names of CTEs that may be compared in one statement.
const CTE_STEPS: usize = 2_000_000;

/// Where in the statement a node stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    /// Levels above it in the tree.
    pub(super) depth: u32,
    /// The query level, an index into `Levels`.
    pub(super) level: usize,
    /// The innermost visible CTE, an index into the bindings plus one; 0 is none.
    pub(super) ctes: usize,
    /// In the WHERE of the level.
    pub(super) in_where: bool,
    /// In the FROM of the level.
    pub(super) in_from: bool,
    /// The statement itself, or the one that it prepares, explains or opens.
    pub(super) top: bool,
    /// How relations that are read here are filtered.
    pub(super) filter: Filter,
    /// Relations that are read here are locked by FOR UPDATE or its kin.
    pub(super) locks: bool,
    /// What values of columns here are for.
    pub(super) purpose: Purpose,
    /// In a subquery of FROM, or a CTE.
    pub(super) nested: bool,
    /// The query's result is sorted, or its rows are told apart, further out.
    pub(super) compares_outputs: bool,
}

impl Place {
    /// The same place, not at the top.
    pub(super) const fn below(self) -> Self {
        Self { top: false, ..self }
    }

    /// The same place, where values choose, join, sort or group rows. What stands in it compares too.
    pub(super) const fn comparing(self) -> Self {
        Self { top: false, purpose: Purpose::Comparison, ..self }
    }
}

/// The state of the walk.
pub(super) struct Walk<'a> {
    /// The text of the statement, comments as spaces.
    pub(super) text: &'a str,
    pub(super) out: Statement,
    pub(super) levels: Levels<'a>,
    pub(super) limit: Option<u64>,
    stack: Vec<(Node<'a>, Place)>,
    scratch: Vec<Node<'a>>,
    bindings: Vec<(&'a str, usize)>,
    asked: BTreeMap<(Effect, Object), (Filter, Columns)>,
    /// What the statement does with columns otherwise than by a query.
    changed: Vec<ColumnUse>,
    cte_steps: usize,
    depth: u32,
}

/// The facts of one statement, and the depth of its tree.
pub(super) fn statement<'a>(node: Node<'a>, text: &'a str, caps: &Caps) -> Result<(Statement, u32), SqlError> {
    let mut walk = Walk {
        text,
        out: Statement { command: super::tags::tag(node), ..Statement::default() },
        levels: Levels::default(),
        limit: None,
        // Small enough that freeing it is cheap: glibc tidies its heap when a large block is freed.
        stack: Vec::with_capacity(16),
        scratch: Vec::new(),
        bindings: Vec::new(),
        asked: BTreeMap::new(),
        changed: Vec::new(),
        cte_steps: CTE_STEPS,
        depth: 0,
    };
    let level = walk.levels.open();
    walk.push(node, Place { level, top: true, ..Place::default() });
    while let Some((node, place)) = walk.stack.pop() {
        walk.depth = walk.depth.max(place.depth);
        if place.depth > caps.tree_depth {
            return Err(SqlError::TreeDepth { cap: caps.tree_depth });
        }
        classify::node(&mut walk, node, place)?;
    }
    walk.finish()
}

impl<'a> Walk<'a> {
    /// Puts a node on the stack.
    pub(super) fn push(&mut self, node: impl Into<Node<'a>>, place: Place) {
        let node = node.into();
        if !matches!(node, Node::None) {
            self.stack.push((node, Place { depth: place.depth + 1, ..place }));
        }
    }

    /// Puts nodes on the stack, the first on top.
    pub(super) fn push_all<T: Into<Node<'a>>>(&mut self, nodes: impl IntoIterator<Item = T>, place: Place) {
        let start = self.stack.len();
        for node in nodes {
            self.push(node, place);
        }
        if let Some(pushed) = self.stack.get_mut(start..) {
            pushed.reverse();
        }
    }

    /// Puts all children of a node on the stack.
    pub(super) fn push_children(&mut self, node: Node<'a>, place: Place) -> Result<(), SqlError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let known = children(node, &mut scratch);
        self.push_all(scratch.drain(..), place.below());
        self.scratch = scratch;
        known.map_err(|_| SqlError::UnknownNode)
    }

    /// Asks for an effect on an object that has no rows.
    pub(super) fn ask(&mut self, effect: Effect, object: Object) -> Result<(), SqlError> {
        self.ask_rows(effect, object, Filter::None, Columns::default())
    }

    /// Asks for an effect on the database of the session.
    pub(super) fn ask_database(&mut self, effect: Effect) -> Result<(), SqlError> {
        self.ask(effect, Object::session_database())
    }

    /// Asks for an effect on a relation as a whole.
    pub(super) fn ask_relation(&mut self, effect: Effect, rel: Option<&nodes::RangeVar>) -> Result<(), SqlError> {
        rel.map_or(Ok(()), |rel| self.ask(effect, Object::Relation(names::relation(rel))))
    }

    /// The same effect on the same object is one question, with the weaker filter and all columns.
    fn ask_rows(&mut self, effect: Effect, object: Object, filter: Filter, columns: Columns) -> Result<(), SqlError> {
        match self.asked.entry((effect, object)) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert((filter, columns));
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let (known, all) = entry.get_mut();
                *known = filter.min(*known);
                all.all |= columns.all;
                all.names.extend(columns.names);
            }
        }
        if self.asked.len() > QUESTIONS { Err(SqlError::TooComplex) } else { Ok(()) }
    }

    pub(super) fn opaque(&mut self, reason: Opaque) {
        self.out.opaque.insert(reason);
    }

    pub(super) fn verb(&mut self, verb: Verb) {
        self.out.verbs.push(verb);
    }

    /// Notes an operator, or a name after a dot.
    pub(super) fn attribute(&mut self, name: &str) {
        if !self.out.attributes.contains(name) {
            self.out.attributes.insert(name.to_owned());
        }
    }

    /// Notes a call, and says whether it is the first of its kind.
    pub(super) fn call(
        &mut self,
        schema: Option<String>,
        name: String,
        class: FunctionClass,
        arguments: usize,
    ) -> bool {
        self.out.calls.insert(Call { schema, name, class, arguments })
    }

    /// Makes a CTE visible; gives the new innermost binding.
    pub(super) fn bind_cte(&mut self, name: &'a str, outer: usize) -> usize {
        self.bindings.push((name, outer));
        self.bindings.len()
    }

    /// A relation that is read, unless a CTE has its name: CTEs hide relations that have no schema written.
    pub(super) fn read(&mut self, rel: &'a nodes::RangeVar, place: Place) -> Result<(), SqlError> {
        let name = rel.relname().unwrap_or_default();
        if rel.schemaname().is_none() && self.is_cte(name, place.ctes)? {
            let label = rel.alias().and_then(|a| a.aliasname()).unwrap_or(name);
            self.levels.bind_other(place.level, Some(label));
        } else {
            let mut effects = vec![(Effect::Select, place.filter)];
            if place.locks {
                effects.push((Effect::Lock, place.filter));
            }
            self.levels.add(place.level, Seen::new(rel, effects));
        }
        Ok(())
    }

    fn is_cte(&mut self, name: &str, innermost: usize) -> Result<bool, SqlError> {
        let mut at = innermost;
        while let Some((bound, outer)) = at.checked_sub(1).and_then(|i| self.bindings.get(i)) {
            self.cte_steps = self.cte_steps.checked_sub(1).ok_or(SqlError::TooComplex)?;
            if *bound == name {
                return Ok(true);
            }
            at = *outer;
        }
        Ok(false)
    }

    fn finish(mut self) -> Result<(Statement, u32), SqlError> {
        let Settled { uses, columns, returned } = std::mem::take(&mut self.levels).settle()?;
        for used in uses {
            self.ask_rows(used.effect, Object::Relation(used.relation), used.filter, used.columns)?;
        }
        self.out.uses = self.uses(columns, &returned);
        self.relations_behind_calls()?;
        self.out.uses.append(&mut self.changed);
        let limit = self.limit;
        self.out.questions = self.asked.into_iter().map(|(key, rows)| question(key, rows, limit)).collect();
        Ok((self.out, self.depth))
    }
}

impl Walk<'_> {
    /// These columns go elsewhere, as if they were copied.
    pub(super) fn moves(&mut self, relation: Option<&nodes::RangeVar>, moved: Columns) {
        self.changes(relation, |use_of| use_of.moved = moved);
    }

    /// What comes of it tells of these columns' values.
    pub(super) fn tells(&mut self, relation: Option<&nodes::RangeVar>, compared: Columns) {
        self.changes(relation, |use_of| use_of.compared = compared);
    }

    fn changes(&mut self, relation: Option<&nodes::RangeVar>, how: impl FnOnce(&mut ColumnUse)) {
        let Some(relation) = relation.map(names::relation) else { return };
        let none = Columns::default;
        let mut change = ColumnUse { relation, read: none(), compared: none(), moved: none(), updated: none() };
        how(&mut change);
        self.changed.push(change);
    }

    /// A function that gives the rows of a relation reads it, whatever is done with them then.
    fn relations_behind_calls(&mut self) -> Result<(), SqlError> {
        let found: BTreeSet<_> =
            self.out.calls.iter().filter_map(|call| functions::relation_behind(&call.name)).collect();
        for name in found {
            let relation = names::relation_of(&["pg_catalog", name]).ok_or(SqlError::UnknownNode)?;
            let all = Columns { all: true, ..Columns::default() };
            self.ask_rows(Effect::Select, Object::Relation(relation.clone()), Filter::None, all.clone())?;
            let (read, compared, moved) = (all.clone(), all.clone(), all);
            self.out.uses.push(ColumnUse { relation, read, compared, moved, updated: Columns::default() });
        }
        Ok(())
    }

    /// In a statement that writes nothing, no value ends anywhere but in its result.
    fn uses(&self, mut columns: Vec<ColumnUse>, returned: &[Columns]) -> Vec<ColumnUse> {
        let reads = |effect| matches!(effect, Effect::Select | Effect::Lock | Effect::Execute);
        let calls_out = self.out.calls.iter().any(|call| {
            !matches!(call.class, FunctionClass::Pure | FunctionClass::Reader) // nextval() changes something, and pg_notify() tells others
        });
        let writes = calls_out || self.asked.keys().any(|(effect, _)| !reads(*effect));
        for (used, returned) in columns.iter_mut().zip(returned) {
            if !writes {
                used.moved = Columns::default();
            } else if calls_out {
                used.moved.extend(returned);
            }
        }
        columns.retain(|used| !used.read.is_empty() || !used.updated.is_empty());
        columns
    }
}

fn question(
    (effect, object): (Effect, Object),
    (filter, columns): (Filter, Columns),
    limit: Option<u64>,
) -> super::facts::Question {
    let limit = limit.filter(|_| effect == Effect::Select);
    super::facts::Question { effect, object, filter, columns, limit }
}
