//! The columns of relations, for lineage.
//!
//! In: a name as a statement or a view writes it. Out: the columns that it has, as far as they are of interest: of what
//! is outside of the closure none is. Where more than one relation may have the name, or a temporary one may stand before
//! it, the columns of all that may be meant count, by their names.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Catalog, Column, Relation};
use crate::masking::plan::Origin;
use crate::protocol::postgres::sql::facts::RelationName;
use crate::protocol::postgres::sql::lineage::{Col, Derived, Expected, How, Queries, Relations, Rest, Shape, Slot};

/// The closure as a session sees it.
#[derive(Clone, Copy)]
pub struct Seen<'c> {
    /// The closure.
    pub catalog: &'c Catalog,
    /// Schemas in which a name without one is looked for.
    pub path: &'c [String],
    /// Names that temporary relations have too.
    pub shadowed: &'c BTreeSet<String>,
    /// Subqueries that mask, with what they show.
    pub queries: Option<&'c Queries>,
}

impl Relations for Seen<'_> {
    fn shape(&self, name: &RelationName) -> Shape {
        let found: Vec<_> = self.catalog.named(name, self.path).collect();
        match found.as_slice() {
            [] => Shape::outside(),
            [relation] if self.is_sure(name, relation) => closed(relation),
            several => any_of(several.iter().map(|relation| &***relation)),
        }
    }

    fn queries(&self) -> Option<&Queries> {
        self.queries
    }
}

impl Seen<'_> {
    /// Whether a name can mean nothing else.
    #[must_use]
    pub fn is_sure(&self, name: &RelationName, relation: &Relation) -> bool {
        let by_path = || {
            // What the server brought comes first, whatever the path is.
            let may_be_the_servers = name.name.starts_with("pg_");
            self.path.len() == 1 && !may_be_the_servers && !self.shadowed.contains(&name.name)
        };
        !self.catalog.is_partial && !relation.is_temporary() && (name.schema.is_some() || by_path())
    }
}

/// A relation whose columns are known.
pub(super) fn closed(relation: &Relation) -> Shape {
    let slot = |(name, derived, origin): (Arc<str>, Derived, Origin)| {
        Slot::One(Col { name: Some(name), derived, expected: Expected::Origin(origin) })
    };
    Shape(columns(relation).map(slot).collect())
}

/// A subquery of all columns of a relation, of which some are shown and the others masked.
#[must_use]
pub fn masked(relation: &Relation, shows: impl Fn(&Column) -> bool) -> Shape {
    let slot = |(column, (name, derived, origin)): (&Column, (Arc<str>, Derived, Origin))| {
        let (derived, expected) = match shows(column) {
            true => (derived, Expected::Origin(origin)),
            false => (Derived { how: How::Computed, ..Derived::default() }, Expected::Nothing),
        };
        Slot::One(Col { name: Some(name), derived, expected })
    };
    Shape(relation.columns.iter().zip(columns(relation)).map(slot).collect())
}

/// One of these, or another that is not known here.
pub(super) fn any_of<'r>(relations: impl IntoIterator<Item = &'r Relation>) -> Shape {
    let mut named: Vec<(Arc<str>, Derived)> = Vec::new();
    for (name, derived, _) in relations.into_iter().flat_map(columns) {
        match named.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => {
                known.from.extend(derived.from);
                known.how = How::Computed;
            }
            None => named.push((name, derived)),
        }
    }
    Shape(vec![Slot::Rest(Rest { named, others: Derived::default() })])
}

fn columns(relation: &Relation) -> impl Iterator<Item = (Arc<str>, Derived, Origin)> {
    relation.columns.iter().map(|column| {
        let origin = Origin { relation: relation.oid, attribute: column.attribute };
        let derived = Derived { from: [origin].into(), ..Derived::default() };
        ((*column.name).into(), derived, origin)
    })
}
