//! What stands in FROM: relations, joins, subqueries, functions.
//!
//! In: a FROM, and the names in reach around it. Out: its items, with their columns. A subquery sees what stands beside
//! it only with LATERAL; a function always does (parse_clause.c).

use std::rc::Rc;
use std::sync::Arc;

use super::scope::{Env, Item, Level};
use super::shape::{Col, Derived, Expected, Rest, Shape, Slot};
use super::{Lost, Resolver};
use crate::protocol::postgres::sql::names;
use crate::protocol::postgres::sql::parse::{self, JoinType, Node, NodeList, nodes};

impl<'a> Resolver<'_> {
    /// The items of a FROM.
    pub(super) fn from(&mut self, list: &'a NodeList, env: &Env<'_, 'a>) -> Result<Vec<Item<'a>>, Lost> {
        let mut items = Vec::new();
        for node in list {
            let more = self.item_of(node, &items, env)?;
            items.extend(more);
        }
        Ok(items)
    }

    /// One of them; `left` is what stands before it.
    pub(super) fn item_of(
        &mut self,
        node: Node<'a>,
        left: &[Item<'a>],
        env: &Env<'_, 'a>,
    ) -> Result<Vec<Item<'a>>, Lost> {
        self.spend(1 + left.len())?;
        let beside = Level { items: left, outer: env.level };
        let (alias, shape) = match node {
            Node::RangeVar(relation) => return Ok(vec![self.relation(relation, Some(env))?]),
            Node::JoinExpr(join) => return self.below(|this| this.join(join, left, env)),
            Node::RangeTableSample(sample) => {
                for part in sample.args().iter().chain([sample.repeatable()]) {
                    self.compare(part, &env.with(&beside))?;
                }
                return self.item_of(sample.relation(), left, env);
            }
            Node::RangeSubselect(query) => {
                let shape = if let Some(known) = self.known(query.subquery()) {
                    known
                } else if query.lateral {
                    self.query(query.subquery(), &env.with(&beside))?
                } else {
                    self.query(query.subquery(), env)?
                };
                (query.alias(), shape)
            }
            Node::RangeFunction(function) => (function.alias(), Shape::of(self.compare_all(node, &beside, env)?)),
            Node::RangeTableFunc(table) => (table.alias(), Shape::of(self.compare_all(node, &beside, env)?)),
            Node::JsonTable(table) => (table.alias(), Shape::of(self.compare_all(node, &beside, env)?)),
            _ => return Err(Lost),
        };
        Ok(vec![aliased(alias, Rc::new(shape))])
    }

    /// The columns of a subquery that is known as a whole: one that only names the columns of a relation, or masks them.
    fn known(&self, subquery: Node<'a>) -> Option<Shape> {
        let (queries, Node::SelectStmt(select)) = (self.relations.queries()?, subquery) else { return None };
        let mut from = select.from_clause().iter();
        let (Some(Node::RangeVar(_)), None) = (from.next(), from.next()) else { return None };
        queries.get(&parse::deparse(subquery)?).cloned()
    }

    /// A relation, or a query of WITH of that name where `env` may have one.
    pub(super) fn relation(&mut self, rel: &'a nodes::RangeVar, env: Option<&Env<'_, 'a>>) -> Result<Item<'a>, Lost> {
        let name = rel.relname().ok_or(Lost)?;
        let cte = env.filter(|_| rel.schemaname().is_none()).and_then(|env| env.cte(name));
        let shape = match cte {
            Some(shape) => shape?,
            None => Rc::new(self.relations.shape(&names::relation(rel))),
        };
        self.spend(shape.weight())?;
        Ok(match rel.alias() {
            Some(alias) => aliased(Some(alias), shape),
            None => Item { label: Some(name), schema: rel.schemaname(), is_aliased: false, shape, is_bare: true },
        })
    }

    fn join(&mut self, join: &'a nodes::JoinExpr, left: &[Item<'a>], env: &Env<'_, 'a>) -> Result<Vec<Item<'a>>, Lost> {
        let mut items = self.item_of(join.larg(), left, env)?;
        let beside: Vec<_> = left.iter().chain(&items).cloned().collect();
        let split = items.len();
        items.extend(self.item_of(join.rarg(), &beside, env)?);
        self.compare(join.quals(), &env.with(&Level { items: &items, outer: env.level }))?;
        let (of_left, of_right) = items.split_at_checked(split).ok_or(Lost)?;
        let (of_left, of_right) = (columns(of_left), columns(of_right));
        let names = if join.is_natural { of_left.weight() + of_right.weight() } else { join.using_clause().len() };
        self.spend(names * (of_left.weight() + of_right.weight()))?;
        let using: Option<Vec<Arc<str>>> = if join.is_natural {
            common(&of_left, &of_right)
        } else {
            Some(join.using_clause().iter().filter_map(|name| name.sval().map(Into::into)).collect())
        };
        let (merged, shape) = match &using {
            Some(using) => merge(&of_left, &of_right, using, join.jointype == JoinType::JOIN_FULL),
            // Which columns both have, nobody knows: any may be compared, and may stand anywhere.
            None => (
                Shape(vec![Slot::Rest(mixed(&of_left, &of_right))]),
                Shape(vec![Slot::Rest(mixed(&of_left, &of_right))]),
            ),
        };
        self.compared.extend(merged.all().from);
        self.read.extend(merged.all().from);
        if let Some(alias) = join.alias() {
            return Ok(vec![aliased(Some(alias), Rc::new(shape))]);
        }
        if using.is_none_or(|using| !using.is_empty()) {
            items.iter_mut().for_each(|item| item.is_bare = false);
            items.push(Item { label: None, schema: None, is_aliased: true, shape: Rc::new(shape), is_bare: true });
        }
        if let Some(alias) = join.join_using_alias() {
            items.push(Item { is_bare: false, ..aliased(Some(alias), Rc::new(merged)) });
        }
        Ok(items)
    }
}

/// Under an alias, which can name the columns too.
fn aliased<'a>(alias: Option<&'a nodes::Alias>, shape: Rc<Shape>) -> Item<'a> {
    let names = alias.into_iter().flat_map(|alias| alias.colnames().iter().filter_map(Node::as_str));
    let shape =
        if alias.is_some_and(|alias| !alias.colnames().is_empty()) { Rc::new(shape.renamed(names)) } else { shape };
    Item { label: alias.and_then(|alias| alias.aliasname()), schema: None, is_aliased: true, shape, is_bare: true }
}

/// What `*` would show of some items.
fn columns(items: &[Item<'_>]) -> Shape {
    Shape(items.iter().filter(|item| item.is_bare).flat_map(|item| item.shape.0.iter().cloned()).collect())
}

/// The names that both sides of a NATURAL JOIN have, where that is known.
fn common(left: &Shape, right: &Shape) -> Option<Vec<Arc<str>>> {
    let is_named = |slot: &Slot| matches!(slot, Slot::One(col) if col.name.is_some());
    let is_known = left.0.iter().chain(&right.0).all(is_named);
    is_known.then(|| left.names().filter(|name| right.find(name).sure.is_some()).cloned().collect())
}

/// The columns that USING merges, and all of the join: those first, then what is left of each side.
fn merge(left: &Shape, right: &Shape, using: &[Arc<str>], is_full: bool) -> (Shape, Shape) {
    let mut merged = Shape::default();
    for name in using {
        let (one, other) = (left.find(name), right.find(name));
        let mut derived = Derived::default();
        let hits = [&one, &other];
        let found = hits.iter().flat_map(|hit| hit.sure.iter().map(|col| &col.derived).chain(&hit.maybe));
        found.enumerate().for_each(|(index, one)| if index == 0 { derived = one.clone() } else { derived.or(one) });
        let expected = if is_full { Expected::Nothing } else { Expected::Any };
        merged.0.push(Slot::One(Col { name: Some(Arc::clone(name)), derived, expected }));
    }
    let is_left = |slot: &&Slot| match slot {
        Slot::One(Col { name: Some(name), .. }) => !using.contains(name),
        Slot::One(_) | Slot::Rest(_) => true,
    };
    let rest = left.0.iter().filter(is_left).chain(right.0.iter().filter(is_left));
    let all = Shape(merged.0.iter().chain(rest).cloned().collect());
    (merged, all)
}

/// Columns of two sides in any order.
fn mixed(left: &Shape, right: &Shape) -> Rest {
    let mut named: Vec<(Arc<str>, Derived)> = Vec::new();
    for name in left.names().chain(right.names()) {
        if named.iter().any(|(known, _)| known == name) {
            continue;
        }
        let (one, other) = (left.find(name), right.find(name));
        let mut derived = Derived { how: super::How::Null, ..Derived::default() };
        for hit in [one, other] {
            hit.sure.iter().for_each(|col| derived.or(&col.derived));
            hit.maybe.iter().for_each(|maybe| derived.or(maybe));
        }
        named.push((Arc::clone(name), derived));
    }
    let mut others = Derived { how: super::How::Null, ..Derived::default() };
    for slot in left.0.iter().chain(&right.0) {
        match slot {
            Slot::One(col) if col.name.is_none() => others.or(&col.derived),
            Slot::One(_) => {}
            Slot::Rest(rest) => others.or(&rest.others),
        }
    }
    Rest { named, others }
}
