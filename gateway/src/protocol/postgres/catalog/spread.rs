//! How labels spread: to partitions, children and parents, to columns computed from others, to views, to toast tables.
//!
//! In: labelled relations and how they hang together. Out: the same with every label that follows. A column of a view
//! has the class of what it derives from; where nobody here says what that is, of all labels that the view reads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Relation;
use super::shapes::{any_of, closed};
use crate::masking::class::{Class, Classes};
use crate::masking::plan::Origin;
use crate::protocol::postgres::sql::facts::RelationName;
use crate::protocol::postgres::sql::lineage::{Col, Derived, Following, Relations, Shape, follow};

/// The column of a toast table that holds values, in pieces.
const CHUNK_DATA: i16 = 3;

/// How relations hang together.
#[derive(Debug, Default)]
pub(super) struct Edges {
    /// Child and parent.
    pub(super) inherits: Vec<(u32, u32)>,
    /// A view, and a column that it reads; number 0 is a whole row.
    pub(super) reads: Vec<(u32, Origin)>,
    /// A relation, a column of it that is computed, and a column from which.
    pub(super) computes: Vec<(u32, i16, i16)>,
    /// A relation, a column of it that holds rows, and the relation whose rows.
    pub(super) holds: Vec<(u32, i16, u32)>,
    /// A toast table, and the relation whose long values it stores.
    pub(super) stores: Vec<(u32, u32)>,
    /// A view that calls functions, of which nobody here knows what they read.
    pub(super) calls: Vec<u32>,
    /// A view and its definition.
    pub(super) views: Vec<(u32, String)>,
}

/// The state of the spreading.
struct Spread<'a> {
    relations: &'a mut [Relation],
    by_oid: HashMap<u32, usize>,
    /// What stands for two classes at once.
    strictest: Option<Arc<Class>>,
    changed: bool,
}

/// Spreads labels until nothing changes. Each column changes twice at most: from none to one, from one to the strictest.
pub(super) fn spread(relations: &mut [Relation], edges: &Edges, classes: &Classes) {
    let by_oid = relations.iter().enumerate().map(|(index, relation)| (relation.oid, index)).collect();
    let mut reads: HashMap<u32, Vec<Origin>> = HashMap::new();
    edges.reads.iter().for_each(|(view, origin)| reads.entry(*view).or_default().push(*origin));
    let calling: HashSet<u32> = edges.calls.iter().copied().collect();
    let mut spread = Spread { relations, by_oid, strictest: classes.find("secret").cloned(), changed: true };
    let outputs = |(view, text): &(u32, String)| {
        let read = reads.get(view).map(Vec::as_slice).unwrap_or_default();
        (*view, spread.outputs(*view, text, read))
    };
    let views: Vec<_> = edges.views.iter().map(outputs).collect();
    while std::mem::take(&mut spread.changed) {
        for (relation, column, from) in &edges.computes {
            spread.give(*relation, *column, spread.class(*relation, *from));
        }
        for (child, parent) in &edges.inherits {
            spread.same_names(*child, *parent);
            spread.same_names(*parent, *child);
        }
        for (relation, column, of) in &edges.holds {
            spread.give(*relation, *column, spread.class_of_read(Origin { relation: *of, attribute: 0 }));
        }
        for (toast, of) in &edges.stores {
            spread.give(*toast, CHUNK_DATA, spread.class_of_read(Origin { relation: *of, attribute: 0 }));
        }
        for (view, outputs) in &views {
            let read = reads.get(view).map(Vec::as_slice).unwrap_or_default();
            spread.view(*view, outputs.as_deref(), (read, calling.contains(view)));
        }
    }
}

impl Spread<'_> {
    fn relation(&self, oid: u32) -> Option<&Relation> {
        self.relations.get(*self.by_oid.get(&oid)?)
    }

    fn class(&self, oid: u32, attribute: i16) -> Option<Arc<Class>> {
        let columns = &self.relation(oid)?.columns;
        columns.iter().find(|column| column.attribute == attribute)?.class.clone()
    }

    /// Of two classes, the one that both are under: the strictest, unless they are the same.
    fn join(&self, one: Option<Arc<Class>>, other: Option<Arc<Class>>) -> Option<Arc<Class>> {
        match (one, other) {
            (Some(one), Some(other)) if one.name != other.name => self.strictest.clone(),
            (one, other) => one.or(other),
        }
    }

    fn give(&mut self, oid: u32, attribute: i16, class: Option<Arc<Class>>) {
        let Some(class) = class else { return };
        let joined = self.join(self.class(oid, attribute), Some(class));
        let relation = self.by_oid.get(&oid).and_then(|index| self.relations.get_mut(*index));
        let column =
            relation.and_then(|relation| relation.columns.iter_mut().find(|column| column.attribute == attribute));
        let Some(column) = column else { return };
        let name = |class: &Option<Arc<Class>>| class.as_ref().map(|class| Arc::clone(&class.name));
        if name(&column.class) != name(&joined) {
            column.class = joined;
            self.changed = true;
        }
    }

    /// Children have the columns of their parents, by name; a query of the parent shows those of the children too.
    fn same_names(&mut self, from: u32, to: u32) {
        let Some(from) = self.relation(from) else { return };
        let labelled: Vec<_> =
            from.labelled().map(|(column, class)| (column.name.clone(), Arc::clone(class))).collect();
        let Some(to) = self.relation(to) else { return };
        let oid = to.oid;
        let given: Vec<_> = labelled
            .into_iter()
            .filter_map(|(name, class)| {
                let column = to.columns.iter().find(|column| column.name == name)?;
                Some((column.attribute, class))
            })
            .collect();
        for (attribute, class) in given {
            self.give(oid, attribute, Some(class));
        }
    }

    /// The columns of a view by its definition, where it is followed.
    fn outputs(&self, view: u32, definition: &str, read: &[Origin]) -> Option<Vec<Col>> {
        let mut oids: Vec<u32> = read.iter().map(|origin| origin.relation).collect();
        oids.sort_unstable();
        oids.dedup();
        let read = Read(oids.into_iter().filter_map(|oid| self.relation(oid)).collect());
        let lineages = follow(definition, Following { relations: &read, shows_nulls: true });
        let [Some(lineage)] = lineages.as_slice() else { return None };
        lineage.outputs.expand(self.relation(view)?.columns.len())
    }

    fn view(&mut self, view: u32, outputs: Option<&[Col]>, (read, calls): (&[Origin], bool)) {
        let called = calls.then(|| self.strictest.clone()).flatten();
        let all = read.iter().fold(called, |all, origin| self.join(all, self.class_of_read(*origin)));
        if all.is_none() {
            return;
        }
        let Some(relation) = self.relation(view) else { return };
        let columns: Vec<i16> = relation.columns.iter().map(|column| column.attribute).collect();
        for (index, attribute) in columns.into_iter().enumerate() {
            let class = match outputs.and_then(|outputs| outputs.get(index)) {
                Some(Col { derived: Derived { from, is_unknown: false, .. }, .. }) => {
                    from.iter().fold(None, |all, origin| self.join(all, self.class_of_read(*origin)))
                }
                _ => all.clone(),
            };
            self.give(view, attribute, class);
        }
    }

    fn class_of_read(&self, origin: Origin) -> Option<Arc<Class>> {
        match origin.attribute {
            0 => {
                let labelled = self.relation(origin.relation)?.labelled();
                labelled.fold(None, |all, (_, class)| self.join(all, Some(Arc::clone(class))))
            }
            attribute => self.class(origin.relation, attribute),
        }
    }
}

/// The relations that a view reads, of those that are known here. Its definition leaves out schemas that are on the
/// search path.
struct Read<'a>(Vec<&'a Relation>);

impl Relations for Read<'_> {
    fn shape(&self, name: &RelationName) -> Shape {
        let is_meant = |relation: &&&Relation| {
            *relation.name == *name.name && name.schema.as_ref().is_none_or(|schema| *relation.schema == **schema)
        };
        match self.0.iter().filter(is_meant).collect::<Vec<_>>().as_slice() {
            [] => Shape::outside(),
            [only] => closed(only),
            several => any_of(several.iter().map(|relation| **relation)),
        }
    }
}
