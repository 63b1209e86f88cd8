//! Queries: SELECT, INSERT, UPDATE, DELETE, MERGE, and what stands in their FROM.
//!
//! In: nodes of queries. Out: relations with their effects, and column references. Must never take the target of a
//! write for a CTE (the server does not either), and must never count a condition for a filter that is not one of the
//! statement's own WHERE, or of the join of a MERGE.

use std::collections::BTreeSet;

use super::SqlError;
use super::call;
use super::facts::{Columns, Effect, Filter, Opaque, SettingReach, SettingValue};
use super::levels::{Purpose, Reference, Seen};
use super::parse::{
    CmdType, ConstValue, LimitOption, MergeMatchKind, Node, NodeList, OnConflictAction, SetOperation, nodes,
};
use super::walk::{Place, Walk};

/// SELECT, VALUES, TABLE, SELECT INTO, and set operations.
pub(super) fn select<'a>(walk: &mut Walk<'a>, s: &'a nodes::SelectStmt, place: Place) -> Result<(), SqlError> {
    let here = open(walk, s.with_clause(), place);
    if place.top {
        walk.limit = limit(s);
    }
    if let Some(into) = s.into_clause() {
        walk.ask_relation(Effect::Create, into.rel())?;
    }
    // The rows of a set operation are told apart unless it says ALL, and sorted by whatever column its own ORDER BY names.
    let compares =
        place.compares_outputs || !s.sort_clause().is_empty() || (s.op != SetOperation::SETOP_NONE && !s.all);
    let arm = Place { compares_outputs: compares, ..here };
    walk.push(s.larg(), arm);
    walk.push(s.rarg(), arm);
    let here = Place { compares_outputs: false, ..here };
    // FOR UPDATE OF names some relations; all of them are asked for, since a name can be a subquery or a join.
    let locks = place.locks || !s.locking_clause().is_empty();
    walk.push_all(s.from_clause(), Place { filter: filter_of(s.where_clause()), locks, in_from: true, ..here });
    walk.push(s.where_clause(), Place { in_where: true, ..here }.comparing());
    let named = Named::of(s);
    walk.out.places.extend(named.constants.iter());
    let setting = call::setting_of_row(s, place);
    let outputs = s.target_list().iter().filter(|_| setting.is_none());
    for (index, target) in outputs.enumerate() {
        let compared = place.compares_outputs || named.is_meant(index, target);
        walk.push(target, if compared { here.comparing() } else { here });
    }
    let values = if place.compares_outputs { here.comparing() } else { here };
    walk.push_all(s.values_lists(), values);
    for list in [s.distinct_clause(), s.group_clause(), s.window_clause()] {
        walk.push_all(list, here.comparing());
    }
    walk.push_all(s.sort_clause(), here.comparing());
    for node in [s.having_clause(), s.limit_offset(), s.limit_count()] {
        walk.push(node, here.comparing());
    }
    setting.map_or(Ok(()), |change| call::record(walk, change))
}

/// Columns of a result that its ORDER BY, GROUP BY or DISTINCT means by their places or their own names
/// (`findTargetlistEntrySQL92`, parse_clause.c).
#[derive(Default)]
struct Named<'a> {
    all: bool,
    places: BTreeSet<usize>,
    names: BTreeSet<&'a str>,
    constants: Vec<i32>,
    has_star: bool,
}

impl<'a> Named<'a> {
    fn of(s: &'a nodes::SelectStmt) -> Self {
        let mut named = Self { has_star: s.target_list().iter().any(is_star), ..Self::default() };
        // DISTINCT alone is a list of one node that is none.
        named.all =
            !s.distinct_clause().is_empty() && s.distinct_clause().iter().all(|node| matches!(node, Node::None));
        let sorted = s.sort_clause().iter().map(nodes::SortBy::node);
        for node in sorted.chain(s.group_clause().iter()).chain(s.distinct_clause().iter()) {
            named.add(node);
        }
        named
    }

    fn add(&mut self, node: Node<'a>) {
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            match node {
                Node::A_Const(c) => {
                    let place = match c.val() {
                        Some(ConstValue::Integer(place)) => Some(place),
                        _ => None,
                    };
                    self.constants.extend(place);
                    let index = |place| usize::try_from(place).ok().and_then(|place: usize| place.checked_sub(1));
                    match place.filter(|_| !self.has_star) {
                        Some(place) => self.places.extend(index(place)),
                        None => self.all = true,
                    }
                }
                Node::ColumnRef(c) if c.fields().len() == 1 => {
                    self.names.extend(c.fields().iter().filter_map(Node::as_str));
                }
                // Both hold places again.
                Node::GroupingSet(set) => {
                    self.all = true;
                    open.extend(set.content());
                }
                Node::RowExpr(row) => {
                    self.all = true;
                    open.extend(row.args());
                }
                _ => {}
            }
        }
    }

    fn is_meant(&self, index: usize, target: &nodes::ResTarget) -> bool {
        self.all || self.places.contains(&index) || target.name().is_some_and(|name| self.names.contains(name))
    }
}

/// `*` or `relation.*`, after which places are not those of the list.
fn is_star(target: &nodes::ResTarget) -> bool {
    match target.val() {
        Node::ColumnRef(c) => c.fields().iter().any(|field| matches!(field, Node::A_Star(_))),
        Node::A_Indirection(_) => true,
        _ => false,
    }
}

/// INSERT with VALUES, a query or DEFAULT VALUES, and its ON CONFLICT.
pub(super) fn insert<'a>(walk: &mut Walk<'a>, s: &'a nodes::InsertStmt, place: Place) {
    walk.out.nests_writes |= !place.top;
    let here = open(walk, s.with_clause(), place);
    // The rows are made outside of the target's level: no column in them can be one of the target.
    walk.push(s.select_stmt(), Place { ctes: here.ctes, ..place.below() });
    let mut effects = vec![(Effect::Insert, Filter::None)];
    let (mut written, mut updated) = (columns_of(s.cols()), Columns::default());
    written.all |= s.cols().is_empty();
    if let Some(conflict) = s.on_conflict_clause() {
        walk.levels.bind_other(here.level, Some("excluded"));
        if conflict.action == OnConflictAction::ONCONFLICT_UPDATE {
            // It changes rows that the given ones collide with, so those are its filter.
            effects.push((Effect::Update, Filter::Columns));
            updated.names.extend(targets(conflict.target_list()));
            written.extend(&updated);
        }
        walk.push(conflict.infer(), here.comparing());
        walk.push_all(conflict.target_list(), here);
        walk.push(conflict.where_clause(), here.comparing());
    }
    returning(walk, s.returning_clause(), here, place.top && s.with_clause().is_none());
    target(walk, s.relation(), effects, (written, updated), here);
}

/// UPDATE.
pub(super) fn update<'a>(walk: &mut Walk<'a>, s: &'a nodes::UpdateStmt, place: Place) -> Result<(), SqlError> {
    walk.out.nests_writes |= !place.top;
    // A rule on this view calls set_config for each row (system_views.sql, `pg_settings_u`).
    if s.relation().and_then(|r| r.relname()) == Some("pg_settings") {
        walk.opaque(Opaque::ComputedSetting);
        call::change(walk, None, SettingValue::Unknown, SettingReach::Session)?;
    }
    let here = open(walk, s.with_clause(), place);
    let filter = filter_of(s.where_clause());
    let written = Columns { all: false, names: targets(s.target_list()).collect() };
    target(walk, s.relation(), vec![(Effect::Update, filter)], (written.clone(), written), here);
    walk.push_all(s.from_clause(), Place { filter, in_from: true, ..here });
    walk.push(s.where_clause(), Place { in_where: true, ..here }.comparing());
    walk.push_all(s.target_list(), here);
    returning(walk, s.returning_clause(), here, place.top && s.with_clause().is_none());
    Ok(())
}

/// DELETE.
pub(super) fn delete<'a>(walk: &mut Walk<'a>, s: &'a nodes::DeleteStmt, place: Place) {
    walk.out.nests_writes |= !place.top;
    let here = open(walk, s.with_clause(), place);
    let filter = filter_of(s.where_clause());
    target(walk, s.relation(), vec![(Effect::Delete, filter)], Default::default(), here);
    walk.push_all(s.using_clause(), Place { filter, in_from: true, ..here });
    walk.push(s.where_clause(), Place { in_where: true, ..here }.comparing());
    returning(walk, s.returning_clause(), here, place.top && s.with_clause().is_none());
}

/// MERGE: the join condition chooses the rows; the conditions of its WHEN clauses only narrow one action each.
pub(super) fn merge<'a>(walk: &mut Walk<'a>, s: &'a nodes::MergeStmt, place: Place) -> Result<(), SqlError> {
    walk.out.nests_writes |= !place.top;
    let here = open(walk, s.with_clause(), place);
    let mut effects = Vec::new();
    let (mut written, mut updated) = (Columns::default(), Columns::default());
    for clause in s.merge_when_clauses() {
        let effect = match clause.command_type {
            CmdType::CMD_UPDATE => Effect::Update,
            CmdType::CMD_DELETE => Effect::Delete,
            CmdType::CMD_INSERT => Effect::Insert,
            // DO NOTHING.
            _ => continue,
        };
        if clause.match_kind == MergeMatchKind::MERGE_WHEN_NOT_MATCHED_BY_SOURCE {
            // Rows that the join condition does not meet: that is all of them where the source is empty.
            walk.ask_relation(effect, s.relation())?;
        }
        written.all |= effect == Effect::Insert && clause.target_list().is_empty();
        written.names.extend(columns_of(clause.target_list()).names);
        if effect == Effect::Update {
            updated.names.extend(columns_of(clause.target_list()).names);
        }
        if !effects.iter().any(|(known, _)| *known == effect) {
            effects.push((effect, Filter::Constant));
        }
    }
    target(walk, s.relation(), effects, (written, updated), here);
    walk.push(s.source_relation(), Place { filter: Filter::Constant, in_from: true, ..here });
    walk.push(s.join_condition(), Place { in_where: true, ..here }.comparing());
    for clause in s.merge_when_clauses() {
        walk.push(clause.condition(), here.comparing());
        walk.push_all(clause.target_list(), here);
        walk.push_all(clause.values(), here);
    }
    returning(walk, s.returning_clause(), here, place.top && s.with_clause().is_none());
    Ok(())
}

/// RETURNING shows; but what a CTE returns can be written by the statement around it. It names the rows from before and
/// after.
fn returning<'a>(walk: &mut Walk<'a>, clause: Option<&'a nodes::ReturningClause>, here: Place, is_alone: bool) {
    let Some(clause) = clause else { return };
    for name in ["old", "new"].into_iter().chain(clause.options().iter().filter_map(|option| option.value())) {
        walk.levels.bind_row(here.level, name);
    }
    let shows = is_alone && here.purpose == Purpose::Value;
    walk.push(clause, if shows { Place { purpose: Purpose::Returning, ..here } } else { here });
}

/// A column reference, or the name of a row.
pub(super) fn column<'a>(walk: &mut Walk<'a>, c: &'a nodes::ColumnRef, place: Place) {
    let len = c.fields().len();
    let column = match c.fields().get(len.saturating_sub(1)) {
        Some(Node::String(s)) => s.sval(),
        _ => None,
    };
    let relation = len.checked_sub(2).and_then(|i| c.fields().get(i)).and_then(Node::as_str);
    if let Some(column) = column.filter(|_| relation.is_some()) {
        walk.attribute(column);
    }
    let reference = Reference { relation, column, schema: len > 2, ..Reference::bare(None, place) };
    walk.levels.refer(place.level, Reference { in_where: place.in_where, ..reference });
}

/// Fields of a value.
pub(super) fn fields<'a>(walk: &mut Walk<'a>, value: &'a nodes::A_Indirection, place: Place) -> Result<(), SqlError> {
    value.indirection().iter().filter_map(Node::as_str).for_each(|field| walk.attribute(field));
    walk.push_children(Node::A_Indirection(value), place)
}

/// A join: its aliases stand for its columns, and NATURAL compares columns that it does not name.
pub(super) fn join<'a>(walk: &mut Walk<'a>, j: &'a nodes::JoinExpr, place: Place) -> Result<(), SqlError> {
    for alias in [j.alias(), j.join_using_alias()].into_iter().flatten() {
        walk.levels.bind_join(place.level, alias.aliasname().unwrap_or_default());
    }
    let compared = place.comparing();
    if j.is_natural {
        walk.levels.refer(place.level, Reference::bare(None, compared));
    }
    if j.alias().is_some_and(|a| !a.colnames().is_empty()) {
        walk.levels.refer(place.level, Reference::bare(None, place));
        walk.levels.rename(place.level);
    }
    for name in j.using_clause() {
        walk.levels.refer(place.level, Reference::bare(name.sval(), compared));
    }
    walk.push(j.larg(), place.below());
    walk.push(j.rarg(), place.below());
    walk.push(j.quals(), compared);
    Ok(())
}

/// The alias of a subquery, function or table function: no relation has its columns.
pub(super) fn bind<'a>(walk: &mut Walk<'a>, alias: Option<&'a nodes::Alias>, place: Place) {
    walk.levels.bind_other(place.level, alias.and_then(|a| a.aliasname()));
}

/// Opens the level of a statement and makes its CTEs visible there.
fn open<'a>(walk: &mut Walk<'a>, with: Option<&'a nodes::WithClause>, place: Place) -> Place {
    let level = walk.levels.open_below(place);
    let mut here =
        Place { level, in_where: false, in_from: false, filter: Filter::None, locks: false, ..place.below() };
    let Some(with) = with else { return here };
    let mut queries = Vec::with_capacity(with.ctes().len());
    for cte in with.ctes() {
        queries.push((cte, here.ctes));
        here.ctes = walk.bind_cte(cte.ctename().unwrap_or_default(), here.ctes);
    }
    for (cte, before) in queries {
        // WITH RECURSIVE shows all names to all of its queries, WITH the earlier ones. None sees the FROM beside it.
        let ctes = if with.recursive { here.ctes } else { before };
        let outside = Place { ctes, level: place.level, in_where: place.in_where, in_from: place.in_from, ..here };
        walk.push(cte.ctequery(), Place { nested: true, ..outside });
        if let Some(cycle) = cte.cycle_clause() {
            // Rows that were there before end the recursion.
            walk.levels.compare_derived();
            walk.push(cycle.cycle_mark_value(), here);
            walk.push(cycle.cycle_mark_default(), here);
        }
    }
    here
}

/// The relation that a statement writes, with all columns that it writes and those that it changes in rows that are
/// there. CTEs do not hide it.
fn target<'a>(
    walk: &mut Walk<'a>,
    rel: Option<&'a nodes::RangeVar>,
    effects: Vec<(Effect, Filter)>,
    (written, updated): (Columns, Columns),
    place: Place,
) {
    if let Some(rel) = rel {
        walk.levels.add(place.level, Seen::new(rel, effects).writes(written).updates(updated));
    }
}

/// The filter of a WHERE before its columns are known. WHERE CURRENT OF is one row.
fn filter_of(condition: Node<'_>) -> Filter {
    match condition {
        Node::None => Filter::None,
        Node::CurrentOfExpr(_) => Filter::Columns,
        _ => Filter::Constant,
    }
}

/// Names in a list of columns that are written.
pub(super) fn columns_of(list: &NodeList) -> Columns {
    let names: BTreeSet<String> = list
        .iter()
        .filter_map(|node| match node {
            Node::ResTarget(t) => t.name().map(str::to_owned),
            Node::String(s) => s.sval().map(str::to_owned),
            _ => None,
        })
        .collect();
    Columns { all: false, names }
}

fn targets<'a>(list: impl IntoIterator<Item = &'a nodes::ResTarget>) -> impl Iterator<Item = String> {
    list.into_iter().filter_map(|t| t.name().map(str::to_owned))
}

/// Rows that a constant LIMIT or FETCH FIRST lets through.
fn limit(s: &nodes::SelectStmt) -> Option<u64> {
    match s.limit_count() {
        Node::A_Const(c) if s.limit_option == LimitOption::LIMIT_OPTION_COUNT => match c.val() {
            Some(ConstValue::Integer(rows)) => u64::try_from(rows).ok(),
            _ => None,
        },
        _ => None,
    }
}
