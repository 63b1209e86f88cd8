//! What a change of tables does with the values that are in them.
//!
//! In: ALTER, RENAME, CREATE INDEX, CREATE POLICY and their kin. Out: the columns that they move, since labels go by names
//! and by what inherits from what, and those of which they tell, since they fail, or choose rows, by a value. An
//! over-approximation: a name is a column wherever it stands.

use super::children::children;
use super::facts::{Columns, Opaque};
use super::names;
use super::parse::{AlterTableType, ConstrType, Node, ObjectType, nodes};
use super::walk::Walk;

/// ALTER TABLE: what a new value is computed from, and what a constraint is on.
pub(super) fn of_command(walk: &mut Walk<'_>, relation: &nodes::RangeVar, command: &nodes::AlterTableCmd) {
    let all = Columns { all: true, ..Columns::default() };
    match (command.subtype, command.def()) {
        (AlterTableType::AT_AddInherit | AlterTableType::AT_DropInherit, _) => walk.moves(Some(relation), all),
        (_, Node::PartitionCmd(partition)) => walk.moves(partition.name(), all),
        (subtype, def) => {
            let named = columns_in(def, relation);
            if subtype != AlterTableType::AT_AddConstraint {
                walk.moves(Some(relation), named.clone());
            }
            walk.tells(Some(relation), named);
        }
    }
}

/// CREATE DATABASE: one that is copied from another holds whatever that one does, under a name without labels.
pub(super) fn of_copied_database(walk: &mut Walk<'_>, s: &nodes::CreatedbStmt) {
    const EMPTY: [&str; 2] = ["template0", "template1"];
    let template = s.options().iter().find(|option| option.defname() == Some("template"));
    let is_empty = |option: &nodes::DefElem| matches!(option.arg(), Node::String(name) if name.sval().is_some_and(|name| EMPTY.contains(&name)));
    if template.is_some_and(|option| !is_empty(option)) {
        walk.opaque(Opaque::Names("CREATE DATABASE with a TEMPLATE"));
    }
}

/// RENAME, of the relation or a column of it.
pub(super) fn of_rename(walk: &mut Walk<'_>, s: &nodes::RenameStmt) {
    match s.rename_type {
        // Labels name databases too, and this is not the one that the session is in.
        ObjectType::OBJECT_DATABASE => walk.opaque(Opaque::Names("ALTER DATABASE with RENAME")),
        ObjectType::OBJECT_COLUMN | ObjectType::OBJECT_ATTRIBUTE => {
            let names = s.subname().map(str::to_owned).into_iter().collect();
            walk.moves(s.relation(), Columns { all: false, names });
        }
        // Parts of it with names of their own.
        ObjectType::OBJECT_TABCONSTRAINT
        | ObjectType::OBJECT_TRIGGER
        | ObjectType::OBJECT_RULE
        | ObjectType::OBJECT_POLICY => {}
        _ => walk.moves(s.relation(), Columns { all: true, ..Columns::default() }),
    }
}

/// CREATE INDEX: one that is unique, partial or on an expression fails by the values that are there.
pub(super) fn of_index(walk: &mut Walk<'_>, s: &nodes::IndexStmt) {
    let Some(relation) = s.relation() else { return };
    let has_expression = s.index_params().iter().any(|element| !matches!(element.expr(), Node::None));
    if !s.unique && !has_expression && matches!(s.where_clause(), Node::None) {
        return;
    }
    let mut named = columns_in(s.where_clause(), relation);
    for element in s.index_params() {
        with(&mut named, columns_in(Node::IndexElem(element), relation));
    }
    walk.tells(Some(relation), named);
}

/// A foreign key, also of a table that is being made: whoever adds a row learns whether the other table has its value.
/// Without columns its primary key is meant, which is not known here.
pub(super) fn of_constraint(walk: &mut Walk<'_>, s: &nodes::Constraint) {
    if s.contype == ConstrType::CONSTR_FOREIGN {
        let names: Vec<_> = names::parts(Node::NodeList(s.pk_attrs())).into_iter().map(str::to_owned).collect();
        walk.tells(s.pktable(), Columns { all: names.is_empty(), names: names.into_iter().collect() });
    }
}

/// CREATE and ALTER POLICY: rows are chosen by its conditions.
pub(super) fn of_policy(walk: &mut Walk<'_>, relation: Option<&nodes::RangeVar>, conditions: [Node<'_>; 2]) {
    let Some(relation) = relation else { return };
    for condition in conditions {
        walk.tells(Some(relation), columns_in(condition, relation));
    }
}

/// The columns that are named anywhere in a node.
fn columns_in(node: Node<'_>, relation: &nodes::RangeVar) -> Columns {
    let (mut found, mut nodes) = (Columns::default(), vec![node]);
    while let Some(node) = nodes.pop() {
        let named = match node {
            Node::ColumnRef(column) => {
                let last = column.fields().iter().next_back();
                let name = last.and_then(Node::as_str);
                // `*`, or the whole row.
                found.all |= name.is_none() || name == relation.relname();
                name.into_iter().collect()
            }
            Node::Constraint(constraint) => {
                let lists = [constraint.keys(), constraint.fk_attrs()];
                lists.into_iter().flat_map(|list| names::parts(Node::NodeList(list))).collect()
            }
            Node::IndexElem(element) => element.name().into_iter().collect(),
            _ => Vec::new(),
        };
        found.names.extend(named.into_iter().map(str::to_owned));
        // What raw parsing never makes may be anything.
        found.all |= children(node, &mut nodes).is_err();
    }
    found
}

fn with(columns: &mut Columns, others: Columns) {
    columns.all |= others.all;
    columns.names.extend(others.names);
}
