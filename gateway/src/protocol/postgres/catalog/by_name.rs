//! Labels by names alone, for explanations and tables of tests.
//!
//! In: the facts of a text and the labels. Out: a catalog of the relations that it names, as far as a name tells: labels
//! that come by a view, a partition or a computed column are the server's to tell. No session may be judged by it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Catalog, Column, Relation};
use crate::masking::detect::DetectorSet;
use crate::masking::file::ColumnName;
use crate::masking::rules::Labels;
use crate::protocol::postgres::sql::facts::{Facts, Object, RelationName};

impl Catalog {
    /// The relations that a text names and that have labels. A name without a schema may be in any of `path`.
    #[must_use]
    pub fn by_name(facts: &Facts, labels: &Labels, (target, database): (&str, &str), path: &[String]) -> Self {
        let mut catalog = Self { is_partial: true, ..Self::default() };
        for (schema, name) in named(facts, path) {
            let place = ColumnName { target, database, schema: &schema, relation: &name, column: "" };
            let columns = columns(facts, labels, &place);
            if columns.is_empty() {
                continue;
            }
            let index = catalog.relations.len();
            let oid = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
            catalog.by_name.entry(name.as_str().into()).or_default().push(index);
            catalog.by_oid.insert(oid, index);
            let relation = Relation { oid, schema: schema.into(), name: name.into(), has_rules: false, columns };
            catalog.relations.push(Arc::new(relation));
        }
        catalog
    }
}

/// Schema and name of all relations of a text, each once.
fn named(facts: &Facts, path: &[String]) -> BTreeSet<(String, String)> {
    let statements = || facts.statements.iter();
    let used = statements().flat_map(|statement| &statement.uses).map(|used| &used.relation);
    let asked = statements().flat_map(|statement| &statement.questions).filter_map(|question| match &question.object {
        Object::Relation(name) => Some(name),
        _ => None,
    });
    let placed = |name: &RelationName| {
        let schemas = name.schema.as_ref().map_or(path, std::slice::from_ref);
        schemas.iter().map(|schema| (schema.clone(), name.name.clone())).collect::<Vec<_>>()
    };
    used.chain(asked).filter(|name| !name.temporary).flat_map(placed).collect()
}

/// Labelled columns of one relation: those that the text names, and those that `*` would show.
fn columns(facts: &Facts, labels: &Labels, place: &ColumnName<'_>) -> Vec<Column> {
    let used = facts.statements.iter().flat_map(|statement| &statement.uses);
    let written = used.flat_map(|used| [&used.read, &used.updated]).flat_map(|columns| columns.names.iter().cloned());
    // A pattern without its stars is a name that it fits.
    let listed = labels.columns.iter().map(|(pattern, _)| {
        let [_, _, column] = pattern.names();
        column.parts().concat()
    });
    let names: BTreeSet<String> = written.chain(listed).collect();
    let labelled = names.into_iter().filter_map(|name| {
        let class = labels.class_of(&ColumnName { column: &name, ..*place })?;
        Some((name, Arc::clone(class)))
    });
    let column = |(number, (name, class)): (i16, (String, _))| Column {
        attribute: number,
        name: name.into(),
        type_oid: 0,
        is_generated: false,
        class: Some(class),
        except: DetectorSet::default(),
    };
    (1..).zip(labelled).map(column).collect()
}
