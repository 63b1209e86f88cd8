//! Which names are in reach, and what they mean.
//!
//! In: the items of FROM of one level, and the levels around it. Out: what a column reference derives from, by the rules
//! of parse_relation.c: the innermost level that has the name. Where nobody knows whether a level has it, all that it may
//! mean counts.

use std::rc::Rc;

use super::shape::{Col, Derived, Expected, How, Shape};
use super::{Lost, Resolver};
use crate::protocol::postgres::sql::functions::is_built_in;
use crate::protocol::postgres::sql::parse::{Node, nodes};

/// Columns that every table has beside its own (heap.c, `SysAtt`), and none of which holds a value of others.
const SYSTEM: [&str; 7] = ["ctid", "xmin", "cmin", "xmax", "cmax", "tableoid", "oid"];

/// Something in FROM.
#[derive(Clone)]
pub(super) struct Item<'a> {
    /// By which its columns are qualified.
    pub(super) label: Option<&'a str>,
    /// The schema as written, of a relation without an alias.
    pub(super) schema: Option<&'a str>,
    /// Its label is an alias, before which no schema can stand.
    pub(super) is_aliased: bool,
    /// Its columns.
    pub(super) shape: Rc<Shape>,
    /// Whether its columns are in reach without a qualifier, and in `*`.
    pub(super) is_bare: bool,
}

/// One query level.
pub(super) struct Level<'s, 'a> {
    pub(super) items: &'s [Item<'a>],
    pub(super) outer: Option<&'s Level<'s, 'a>>,
}

/// A query of WITH.
pub(super) struct Cte<'a> {
    pub(super) name: &'a str,
    /// None: it is being read, or comes later in WITH RECURSIVE.
    pub(super) shape: Option<Rc<Shape>>,
    pub(super) outer: Option<Rc<Cte<'a>>>,
}

/// All that is in reach.
#[derive(Clone)]
pub(super) struct Env<'s, 'a> {
    pub(super) level: Option<&'s Level<'s, 'a>>,
    pub(super) ctes: Option<Rc<Cte<'a>>>,
}

impl<'s, 'a> Env<'s, 'a> {
    /// With another innermost level.
    pub(super) fn with(&self, level: &'s Level<'s, 'a>) -> Env<'s, 'a> {
        Env { level: Some(level), ctes: self.ctes.clone() }
    }

    fn levels(&self) -> impl Iterator<Item = &'s Level<'s, 'a>> {
        std::iter::successors(self.level, |level| level.outer)
    }

    /// What stands in FROM under a name, at the innermost level that has one.
    pub(super) fn item(&self, label: &str) -> Option<&'s Item<'a>> {
        self.levels().find_map(|level| level.items.iter().find(|item| item.label == Some(label)))
    }

    /// A query of WITH: its columns, or that they are not known yet.
    pub(super) fn cte(&self, name: &str) -> Option<Result<Rc<Shape>, Lost>> {
        let mut ctes = std::iter::successors(self.ctes.as_ref(), |cte| cte.outer.as_ref());
        let found = ctes.find(|cte| cte.name == name)?;
        Some(found.shape.clone().ok_or(Lost))
    }
}

/// What may be meant, and whether it is all.
#[derive(Default)]
struct Gathered {
    found: Option<Col>,
}

impl Gathered {
    fn add(&mut self, derived: &Derived, expected: Expected) {
        match &mut self.found {
            Some(known) => {
                known.derived.or(derived);
                known.expected = Expected::Any;
            }
            None => self.found = Some(Col { name: None, derived: derived.clone(), expected }),
        }
    }
}

impl<'a> Resolver<'_> {
    /// A column reference that is no `*`.
    pub(super) fn column(&mut self, reference: &'a nodes::ColumnRef, env: &Env<'_, 'a>) -> Result<Col, Lost> {
        let names: Option<Vec<&str>> = reference.fields().iter().map(Node::as_str).collect();
        let col = match names.as_deref() {
            Some([name]) => self.bare(name, env)?,
            Some([label, name]) => self.qualified((None, label), name, env)?,
            Some([.., schema, label, name]) => self.qualified((Some(schema), label), name, env)?,
            Some([]) => return Err(Lost),
            // `relation.*` within an expression is its row.
            None => Col { derived: self.star(reference, env)?.row(), ..Col::default() },
        };
        self.read.extend(col.derived.from.iter().copied());
        Ok(col)
    }

    /// A name alone: a column, or a row where no level has such a column.
    fn bare(&mut self, name: &str, env: &Env<'_, 'a>) -> Result<Col, Lost> {
        let mut gathered = Gathered::default();
        for level in env.levels() {
            self.spend(level.items.iter().map(|item| 1 + item.shape.weight()).sum())?;
            let (mut sure, mut maybe) = (Gathered::default(), Gathered::default());
            for item in level.items.iter().filter(|item| item.is_bare) {
                let hit = item.shape.find(name);
                hit.sure.iter().for_each(|col| sure.add(&col.derived, col.expected));
                hit.maybe.iter().for_each(|derived| maybe.add(derived, Expected::Any));
            }
            if let Some(col) = sure.found {
                gathered.add(&col.derived, col.expected);
                return gathered.found.ok_or(Lost);
            }
            maybe.found.iter().for_each(|col| gathered.add(&col.derived, Expected::Any));
        }
        for level in env.levels() {
            for item in level.items.iter().filter(|item| item.label == Some(name)) {
                gathered.add(&item.shape.row(), Expected::Any);
            }
        }
        gathered.found.ok_or(Lost)
    }

    /// A name after that of a relation.
    pub(super) fn qualified(
        &mut self,
        (schema, label): (Option<&str>, &str),
        name: &str,
        env: &Env<'_, 'a>,
    ) -> Result<Col, Lost> {
        let mut gathered = Gathered::default();
        for level in env.levels() {
            self.spend(level.items.len())?;
            let mut ends = false;
            let is_meant = |item: &&Item<'_>| {
                let may_be =
                    schema.is_none_or(|schema| !item.is_aliased && item.schema.is_none_or(|own| own == schema));
                item.label == Some(label) && may_be
            };
            for item in level.items.iter().filter(is_meant) {
                self.spend(item.shape.weight())?;
                let found = of_item(item, name);
                gathered.add(&found.derived, found.expected);
                ends |= schema.is_none() || item.schema == schema;
            }
            if ends {
                break;
            }
        }
        gathered.found.ok_or(Lost)
    }

    /// The columns of `*` or `relation.*`.
    pub(super) fn star(&mut self, reference: &'a nodes::ColumnRef, env: &Env<'_, 'a>) -> Result<Shape, Lost> {
        let names: Vec<&str> = reference.fields().iter().filter_map(Node::as_str).collect();
        let shape = match names.as_slice() {
            [] => {
                let items = env.level.map(|level| level.items).unwrap_or_default();
                let bare = items.iter().filter(|item| item.is_bare);
                Shape(bare.flat_map(|item| item.shape.0.iter().cloned()).collect())
            }
            [label] => Shape::clone(&env.item(label).ok_or(Lost)?.shape),
            [.., schema, label] => {
                let item = env.item(label).ok_or(Lost)?;
                // One of another schema may be meant.
                if item.schema != Some(schema) {
                    return Err(Lost);
                }
                Shape::clone(&item.shape)
            }
        };
        self.spend(shape.weight())?;
        self.read.extend(shape.all().from);
        Ok(shape)
    }
}

/// A column of an item, or what calls a function on its row (ParseFuncOrColumn, parse_func.c).
fn of_item(item: &Item<'_>, name: &str) -> Col {
    let hit = item.shape.find(name);
    match (hit.sure, hit.maybe) {
        (Some(col), _) => col,
        (None, Some(mut derived)) => {
            if is_built_in(name) && !item.shape.names().any(|known| **known == *name) {
                derived.or(&item.shape.row());
            }
            Col { name: None, derived, expected: Expected::Any }
        }
        (None, None) if SYSTEM.contains(&name) => {
            Col { name: None, derived: Derived::constant(), expected: Expected::Any }
        }
        (None, None) => {
            let derived = Derived { how: How::Computed, ..item.shape.all() };
            Col { name: None, derived, expected: Expected::Any }
        }
    }
}
