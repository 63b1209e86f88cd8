//! How labels spread: to partitions, children and parents, to columns computed from others, to views, to toast tables.
//!
//! In: labelled relations and how they hang together. Out: the same with every label that follows. A column of a view
//! that is a plain column has that one's class; of any other, nobody here says what it derives from, so it gets the
//! class of all labels that the view reads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Relation;
use crate::masking::class::{Class, Classes};
use crate::masking::plan::Origin;
use crate::protocol::postgres::sql::view::{Output, outputs};

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
    let views: Vec<_> = edges.views.iter().map(|(oid, text)| (*oid, outputs(text))).collect();
    let mut reads: HashMap<u32, Vec<Origin>> = HashMap::new();
    edges.reads.iter().for_each(|(view, origin)| reads.entry(*view).or_default().push(*origin));
    let calling: HashSet<u32> = edges.calls.iter().copied().collect();
    let mut spread = Spread { relations, by_oid, strictest: classes.find("secret").cloned(), changed: true };
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

    fn view(&mut self, view: u32, outputs: Option<&[Output]>, (read, calls): (&[Origin], bool)) {
        let called = calls.then(|| self.strictest.clone()).flatten();
        let all = read.iter().fold(called, |all, origin| self.join(all, self.class_of_read(*origin)));
        if all.is_none() {
            return;
        }
        let Some(relation) = self.relation(view) else { return };
        let columns: Vec<i16> = relation.columns.iter().map(|column| column.attribute).collect();
        let outputs = outputs.filter(|outputs| outputs.len() == columns.len());
        for (index, attribute) in columns.into_iter().enumerate() {
            let output = outputs.and_then(|outputs| outputs.get(index)).unwrap_or(&Output::Computed);
            let class = match output {
                Output::Constant => None,
                Output::Computed => all.clone(),
                Output::Column { schema, relation, column } => match self.source(read, schema.as_deref(), relation) {
                    Source::Unlabelled => None,
                    Source::Relation(oid) => self.class_by_name(oid, column),
                    Source::Several => all.clone(),
                },
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

    fn class_by_name(&self, oid: u32, column: &str) -> Option<Arc<Class>> {
        self.relation(oid)?.columns.iter().find(|one| *one.name == *column)?.class.clone()
    }

    /// The relation that a definition names, among those that the view reads. A definition leaves out schemas that are on
    /// the search path: a name of which there are two is nobody's.
    fn source(&self, read: &[Origin], schema: Option<&str>, name: &str) -> Source {
        let mut found: Vec<u32> = read
            .iter()
            .filter_map(|origin| self.relation(origin.relation))
            .filter(|relation| *relation.name == *name && schema.is_none_or(|schema| *relation.schema == *schema))
            .map(|relation| relation.oid)
            .collect();
        found.sort_unstable();
        found.dedup();
        match found.as_slice() {
            [] => Source::Unlabelled,
            [only] => Source::Relation(*only),
            _ => Source::Several,
        }
    }
}

/// Where a plain column of a view comes from.
enum Source {
    /// From a relation outside of the closure.
    Unlabelled,
    Relation(u32),
    Several,
}
