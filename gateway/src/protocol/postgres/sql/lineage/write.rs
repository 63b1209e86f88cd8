//! INSERT, UPDATE and DELETE: what they move into a relation, and what RETURNING shows.
//!
//! In: a statement that writes. Out: the columns of its RETURNING. What it assigns is moved; RETURNING may show again
//! what was moved, whatever the server says of its origin.

use std::rc::Rc;

use super::scope::{Env, Item, Level};
use super::shape::{Derived, Shape, Slot, Sources};
use super::{Lost, Resolver};
use crate::protocol::postgres::sql::parse::{Node, nodes};

impl<'a> Resolver<'_> {
    pub(super) fn insert(&mut self, s: &'a nodes::InsertStmt, env: &Env<'_, 'a>) -> Result<Shape, Lost> {
        let env = &self.with(s.with_clause(), env)?;
        let mut given = Derived::constant();
        if !matches!(s.select_stmt(), Node::None) {
            given = self.query(s.select_stmt(), env)?.all().then_computed();
        }
        let mut written = vec![Written { column: None, from: given.from.clone() }];
        let target = self.relation(s.relation().ok_or(Lost)?, None)?;
        if let Some(conflict) = s.on_conflict_clause() {
            let excluded = excluded(given);
            let items = [target.clone(), excluded];
            let level = Level { items: &items, outer: env.level };
            let env = &env.with(&level);
            if let Some(infer) = conflict.infer() {
                self.compare(Node::InferClause(infer), env)?;
            }
            self.compare(conflict.where_clause(), env)?;
            for set in conflict.target_list() {
                written.push(self.assigned(set, env)?);
            }
        }
        self.returning(s.returning_clause(), (vec![target], written), env)
    }

    pub(super) fn update(&mut self, s: &'a nodes::UpdateStmt, env: &Env<'_, 'a>) -> Result<Shape, Lost> {
        let env = &self.with(s.with_clause(), env)?;
        let mut items = vec![self.relation(s.relation().ok_or(Lost)?, None)?];
        items.extend(self.from(s.from_clause(), env)?);
        let level = Level { items: &items, outer: env.level };
        let inner = env.with(&level);
        self.compare(s.where_clause(), &inner)?;
        let mut written = Vec::with_capacity(s.target_list().len());
        for set in s.target_list() {
            written.push(self.assigned(set, &inner)?);
        }
        self.returning(s.returning_clause(), (items, written), env)
    }

    pub(super) fn delete(&mut self, s: &'a nodes::DeleteStmt, env: &Env<'_, 'a>) -> Result<Shape, Lost> {
        let env = &self.with(s.with_clause(), env)?;
        let mut items = vec![self.relation(s.relation().ok_or(Lost)?, None)?];
        items.extend(self.from(s.using_clause(), env)?);
        let level = Level { items: &items, outer: env.level };
        self.compare(s.where_clause(), &env.with(&level))?;
        self.returning(s.returning_clause(), (items, Vec::new()), env)
    }

    /// What is assigned to a column.
    fn assigned(&mut self, set: &'a nodes::ResTarget, env: &Env<'_, 'a>) -> Result<Written<'a>, Lost> {
        let mut from = self.derive(set.val(), env)?.from;
        for index in set.indirection() {
            from.extend(self.derive(index, env)?.from);
        }
        Ok(Written { column: set.name(), from })
    }

    /// The rows of RETURNING. `items` begin with the relation that is written, which goes by `old` and `new` too.
    fn returning(
        &mut self,
        clause: Option<&'a nodes::ReturningClause>,
        (mut items, written): (Vec<Item<'a>>, Vec<Written<'a>>),
        env: &Env<'_, 'a>,
    ) -> Result<Shape, Lost> {
        written.iter().for_each(|written| self.moved.extend(written.from.iter().copied()));
        let Some(clause) = clause else { return Ok(Shape::default()) };
        let target = items.first_mut().ok_or(Lost)?;
        let before = target.clone();
        target.shape = Rc::new(after(&before.shape, &written));
        let target = target.clone();
        let named = |label, target: Item<'a>| Item { label: Some(label), is_aliased: true, is_bare: false, ..target };
        items.extend([named("old", before), named("new", target.clone())]);
        for name in clause.options().iter().filter_map(|option| option.value()) {
            items.push(named(name, target.clone()));
        }
        let level = Level { items: &items, outer: env.level };
        let targets = clause.exprs().iter().map(|target| match target {
            Node::ResTarget(target) => Ok(target),
            _ => Err(Lost),
        });
        let targets: Vec<_> = targets.collect::<Result<_, _>>()?;
        self.targets(targets, &env.with(&level))
    }
}

/// What is written to a column; to any where none is named.
struct Written<'a> {
    column: Option<&'a str>,
    from: Sources,
}

/// A relation after it was written.
fn after(shape: &Shape, written: &[Written<'_>]) -> Shape {
    let mut shape = shape.clone();
    for written in written.iter().filter(|written| !written.from.is_empty()) {
        let value = Derived { is_written: true, ..Derived::computed(written.from.clone()) };
        for slot in &mut shape.0 {
            match slot {
                Slot::One(col) if written.column.is_none() || col.name.as_deref() == written.column => {
                    col.derived.or(&value);
                }
                Slot::One(_) => {}
                Slot::Rest(rest) => {
                    rest.others.or(&value);
                    rest.named.iter_mut().for_each(|(_, derived)| derived.or(&value));
                }
            }
        }
    }
    shape
}

/// The row that was to be inserted.
fn excluded<'a>(given: Derived) -> Item<'a> {
    Item { label: Some("excluded"), schema: None, is_aliased: true, shape: Rc::new(Shape::of(given)), is_bare: true }
}
