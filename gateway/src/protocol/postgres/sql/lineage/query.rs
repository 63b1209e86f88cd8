//! The columns of a query: SELECT, VALUES, UNION and its kin, WITH.
//!
//! In: a query and the names in reach around it. Out: its columns, with what each derives from. What its WHERE, ORDER BY,
//! GROUP BY, DISTINCT and LIMIT say is compared.

use std::rc::Rc;

use super::scope::{Cte, Env, Item, Level};
use super::shape::{Col, Derived, Expected, Shape, Slot, Sources};
use super::{Lost, Resolver};
use crate::protocol::postgres::sql::parse::{ConstValue, Node, NodeList, SetOperation, nodes};

/// How often the recursive part of a query is read until it adds nothing: columns can hand a source on from one to the
/// next, one step each.
const ROUNDS: usize = 32;

impl<'a> Resolver<'_> {
    /// The columns of a query.
    pub(super) fn query(&mut self, node: Node<'a>, env: &Env<'_, 'a>) -> Result<Shape, Lost> {
        match node {
            Node::SelectStmt(s) => self.select(s, env),
            Node::InsertStmt(s) => self.below(|this| this.insert(s, env)),
            Node::UpdateStmt(s) => self.below(|this| this.update(s, env)),
            Node::DeleteStmt(s) => self.below(|this| this.delete(s, env)),
            _ => Err(Lost),
        }
    }

    fn select(&mut self, s: &'a nodes::SelectStmt, env: &Env<'_, 'a>) -> Result<Shape, Lost> {
        self.below(|this| this.one_select(s, env))
    }

    fn one_select(&mut self, s: &'a nodes::SelectStmt, env: &Env<'_, 'a>) -> Result<Shape, Lost> {
        self.spend(1)?;
        let env = &self.with(s.with_clause(), env)?;
        let shape = if s.op != SetOperation::SETOP_NONE {
            let shape = self.set_operation(s, env)?;
            self.sort_rows(s, &shape, env)?;
            shape
        } else if !s.values_lists().is_empty() {
            let shape = self.values(s.values_lists(), env)?;
            self.sort_rows(s, &shape, env)?;
            shape
        } else {
            self.plain(s, env)?
        };
        for node in [s.limit_count(), s.limit_offset()] {
            self.compare(node, env)?;
        }
        if s.into_clause().is_some() {
            self.moved.extend(shape.all().from);
        }
        Ok(shape)
    }

    fn plain(&mut self, s: &'a nodes::SelectStmt, env: &Env<'_, 'a>) -> Result<Shape, Lost> {
        let items = self.from(s.from_clause(), env)?;
        let level = Level { items: &items, outer: env.level };
        let env = &env.with(&level);
        self.compare(s.where_clause(), env)?;
        let shape = self.targets(s.target_list(), env)?;
        self.compare(s.having_clause(), env)?;
        for window in s.window_clause() {
            self.derive(window, env)?;
        }
        for node in s.group_clause() {
            self.group(node, &shape, env)?;
        }
        // DISTINCT alone is a list of one node that is none.
        for node in s.distinct_clause() {
            if matches!(node, Node::None) {
                self.compared.extend(shape.all().from);
            } else {
                self.sort(node, &shape, env)?;
            }
        }
        for by in s.sort_clause() {
            self.sort(by.node(), &shape, env)?;
        }
        Ok(shape)
    }

    /// ORDER BY of what has no FROM: its own columns are in reach.
    fn sort_rows(&mut self, s: &'a nodes::SelectStmt, shape: &Shape, env: &Env<'_, 'a>) -> Result<(), Lost> {
        let shape_item =
            Item { label: None, schema: None, is_aliased: true, shape: Rc::new(shape.clone()), is_bare: true };
        let items = [shape_item];
        let level = Level { items: &items, outer: env.level };
        for by in s.sort_clause() {
            self.sort(by.node(), shape, &env.with(&level))?;
        }
        Ok(())
    }

    /// What ORDER BY or DISTINCT ON names: an output by its place or name, else an expression
    /// (`findTargetlistEntrySQL92`, parse_clause.c).
    fn sort(&mut self, node: Node<'a>, shape: &Shape, env: &Env<'_, 'a>) -> Result<(), Lost> {
        if let Some(sources) = place(node, shape)? {
            self.compared.extend(sources);
            return Ok(());
        }
        let hit = name(node).map(|name| shape.find(name)).unwrap_or_default();
        if let Some(col) = hit.sure {
            self.compared.extend(col.derived.from);
            return Ok(());
        }
        // It may be a name that only the server knows of.
        self.compared.extend(hit.maybe.into_iter().flat_map(|maybe| maybe.from));
        self.compare(node, env)
    }

    /// What GROUP BY names: the same, but columns of FROM before outputs.
    fn group(&mut self, node: Node<'a>, shape: &Shape, env: &Env<'_, 'a>) -> Result<(), Lost> {
        match node {
            Node::GroupingSet(set) => set.content().iter().try_for_each(|node| self.group(node, shape, env)),
            Node::RowExpr(row) => row.args().iter().try_for_each(|node| self.group(node, shape, env)),
            Node::NodeList(list) => list.iter().try_for_each(|node| self.group(node, shape, env)),
            _ => {
                if let Some(sources) = place(node, shape)? {
                    self.compared.extend(sources);
                    return Ok(());
                }
                let hit = name(node).map(|name| shape.find(name)).unwrap_or_default();
                let named = hit.sure.map(|col| col.derived).into_iter().chain(hit.maybe);
                let is_output = named.map(|derived| self.compared.extend(derived.from)).count() > 0;
                match self.compare(node, env) {
                    Err(Lost) if is_output => Ok(()),
                    done => done,
                }
            }
        }
    }

    fn set_operation(&mut self, s: &'a nodes::SelectStmt, env: &Env<'_, 'a>) -> Result<Shape, Lost> {
        let left = self.select(s.larg().ok_or(Lost)?, env)?;
        let right = self.select(s.rarg().ok_or(Lost)?, env)?;
        self.union(s, &left, &right)
    }

    fn union(&mut self, s: &nodes::SelectStmt, left: &Shape, right: &Shape) -> Result<Shape, Lost> {
        let shape = left.union(right).ok_or(Lost)?;
        // Which rows come depends on which are equal.
        if !s.all || s.op != SetOperation::SETOP_UNION {
            self.compared.extend(shape.all().from);
        }
        Ok(shape)
    }

    fn values(&mut self, lists: &'a NodeList, env: &Env<'_, 'a>) -> Result<Shape, Lost> {
        let mut shape: Option<Shape> = None;
        for row in lists {
            let Node::NodeList(row) = row else { return Err(Lost) };
            let mut slots = Vec::with_capacity(row.len());
            for (index, value) in row.iter().enumerate() {
                let derived = self.derive(value, env)?;
                let name = format!("column{}", index + 1);
                slots.push(Slot::One(Col::new(Some(&name), derived, Expected::Nothing)));
            }
            let row = Shape(slots);
            shape = Some(match shape {
                Some(above) => above.union(&row).ok_or(Lost)?,
                None => row,
            });
        }
        shape.ok_or(Lost)
    }

    /// Reads the queries of WITH, and makes them visible.
    pub(super) fn with<'s>(
        &mut self,
        with: Option<&'a nodes::WithClause>,
        env: &Env<'s, 'a>,
    ) -> Result<Env<'s, 'a>, Lost> {
        let mut env = env.clone();
        let Some(with) = with else { return Ok(env) };
        if with.recursive {
            // Every query sees the names of all; those that come later are not followed.
            for cte in with.ctes() {
                env.ctes = bound(cte, None, &env);
            }
        }
        for cte in with.ctes() {
            let shape = if with.recursive { self.recursive(cte, &env)? } else { self.cte(cte, &env)? };
            env.ctes = bound(cte, Some(Rc::new(shape)), &env);
        }
        Ok(env)
    }

    fn cte(&mut self, cte: &'a nodes::CommonTableExpr, env: &Env<'_, 'a>) -> Result<Shape, Lost> {
        let shape = self.query(cte.ctequery(), env)?;
        Ok(named(&shape, cte))
    }

    /// A query that may read itself: until what its rows derive from grows no more.
    fn recursive(&mut self, cte: &'a nodes::CommonTableExpr, env: &Env<'_, 'a>) -> Result<Shape, Lost> {
        let Node::SelectStmt(s) = cte.ctequery() else { return self.cte(cte, env) };
        if s.op != SetOperation::SETOP_UNION || s.with_clause().is_some() || !s.sort_clause().is_empty() {
            return self.cte(cte, env);
        }
        for limit in [s.limit_count(), s.limit_offset()] {
            self.compare(limit, env)?;
        }
        let first = self.select(s.larg().ok_or(Lost)?, env)?;
        let mut shape = self.with_added(cte, &named(&first, cte))?;
        for _ in 0..ROUNDS {
            let inner = Env { level: env.level, ctes: bound(cte, Some(Rc::new(shape.clone())), env) };
            let again = self.select(s.rarg().ok_or(Lost)?, &inner)?;
            let rows = self.union(s, &first, &again)?;
            let next = self.with_added(cte, &named(&rows, cte))?;
            if next == shape {
                return Ok(shape);
            }
            let grown = grown(&shape, &next);
            shape = grown;
        }
        Err(Lost)
    }

    /// The columns of SEARCH and CYCLE behind the others. What CYCLE tells apart ends the recursion.
    fn with_added(&mut self, cte: &'a nodes::CommonTableExpr, shape: &Shape) -> Result<Shape, Lost> {
        let mut shape = shape.clone();
        let of = |shape: &Shape, list: &NodeList| {
            let mut all = Derived::constant();
            for name in list {
                let hit = shape.find(name.as_str().ok_or(Lost)?);
                hit.sure.iter().for_each(|col| all.or(&col.derived));
                hit.maybe.iter().for_each(|maybe| all.or(maybe));
            }
            Ok(all.then_computed())
        };
        if let Some(search) = cte.search_clause() {
            let by = of(&shape, search.search_col_list())?;
            shape.0.push(Slot::One(Col::new(search.search_seq_column(), by, Expected::Nothing)));
        }
        if let Some(cycle) = cte.cycle_clause() {
            let by = of(&shape, cycle.cycle_col_list())?;
            self.compared.extend(by.from.iter().copied());
            let mark = Derived::constant();
            shape.0.push(Slot::One(Col::new(cycle.cycle_mark_column(), mark, Expected::Nothing)));
            shape.0.push(Slot::One(Col::new(cycle.cycle_path_column(), by, Expected::Nothing)));
        }
        Ok(shape)
    }
}

/// A query of WITH by its name, before those around it.
fn bound<'a>(cte: &'a nodes::CommonTableExpr, shape: Option<Rc<Shape>>, env: &Env<'_, 'a>) -> Option<Rc<Cte<'a>>> {
    Some(Rc::new(Cte { name: cte.ctename().unwrap_or_default(), shape, outer: env.ctes.clone() }))
}

fn named(shape: &Shape, cte: &nodes::CommonTableExpr) -> Shape {
    shape.renamed(cte.aliascolnames().iter().filter_map(Node::as_str))
}

/// Both at once: what a round found stays found.
fn grown(before: &Shape, after: &Shape) -> Shape {
    let slots = before.0.iter().zip(&after.0).map(|(before, after)| match (before, after) {
        (Slot::One(before), Slot::One(after)) => {
            let mut both = after.clone();
            both.derived.from.extend(before.derived.from.iter().copied());
            both.derived.is_unknown |= before.derived.is_unknown;
            Slot::One(both)
        }
        (_, after) => after.clone(),
    });
    if before.0.len() == after.0.len() { Shape(slots.collect()) } else { after.clone() }
}

/// What an output that is named by its place derives from.
fn place(node: Node<'_>, shape: &Shape) -> Result<Option<Sources>, Lost> {
    let Node::A_Const(constant) = node else { return Ok(None) };
    let Some(ConstValue::Integer(place)) = constant.val() else { return Ok(Some(shape.all().from)) };
    let Some(index) = usize::try_from(place).ok().and_then(|place| place.checked_sub(1)) else { return Err(Lost) };
    let is_known = shape.0.iter().take(index + 1).all(|slot| matches!(slot, Slot::One(_)));
    Ok(Some(match shape.0.get(index) {
        Some(Slot::One(col)) if is_known => col.derived.from.clone(),
        _ => shape.all().from,
    }))
}

/// A name that can be that of an output.
fn name(node: Node<'_>) -> Option<&str> {
    let Node::ColumnRef(reference) = node else { return None };
    reference.fields().get(0).and_then(Node::as_str).filter(|_| reference.fields().len() == 1)
}
