//! Conditions that name a column and leave no row out all the same: `true OR id = 1`, `id = id`, a CASE of constants.
//!
//! In: boolean nodes and comparisons. Out: their parts, with or without the word that their columns choose rows. Must
//! never let a column count beside a branch that is the same for every row. What functions and comparisons make of a column
//! is not looked into: `id > 0` names one, whatever the rows are.

use super::SqlError;
use super::children::children;
use super::operators;
use super::parse::{BoolExprType, Node, nodes};
use super::walk::{Place, Walk};

/// Nodes of a branch that are looked at; one that names no column among so many counts as one that names none.
const LOOKS: usize = 1_000;

/// AND, OR, NOT.
pub(super) fn boolean<'a>(
    walk: &mut Walk<'a>,
    node: Node<'a>,
    s: &'a nodes::BoolExpr,
    place: Place,
) -> Result<(), SqlError> {
    let is_vacuous = match s.boolop {
        BoolExprType::OR_EXPR => has_constant(s),
        // NOT (a AND b) is NOT a OR NOT b.
        BoolExprType::NOT_EXPR => {
            let of_and =
                |arg| matches!(arg, Node::BoolExpr(s) if s.boolop == BoolExprType::AND_EXPR && has_constant(s));
            s.args().iter().any(of_and)
        }
        _ => false,
    };
    walk.push_children(node, Place { in_where: place.in_where && !is_vacuous, ..place })
}

/// An operator between two expressions.
pub(super) fn operator<'a>(
    walk: &mut Walk<'a>,
    node: Node<'a>,
    s: &'a nodes::A_Expr,
    place: Place,
) -> Result<(), SqlError> {
    operators::used(walk, s.name())?;
    let is_vacuous = match (s.lexpr(), s.rexpr()) {
        (Node::ColumnRef(left), Node::ColumnRef(right)) => {
            left.fields().iter().map(Node::as_str).eq(right.fields().iter().map(Node::as_str))
        }
        _ => false,
    };
    walk.push_children(node, Place { in_where: place.in_where && !is_vacuous, ..place })
}

/// CASE: which of its branches is taken, nobody sees here. `CASE WHEN true THEN true ELSE id = 1 END` names a column.
pub(super) fn case<'a>(walk: &mut Walk<'a>, node: Node<'a>, place: Place) -> Result<(), SqlError> {
    walk.push_children(node, Place { in_where: false, ..place })
}

/// COALESCE: what comes behind a constant is never looked at.
pub(super) fn coalesce<'a>(
    walk: &mut Walk<'a>,
    node: Node<'a>,
    s: &'a nodes::CoalesceExpr,
    place: Place,
) -> Result<(), SqlError> {
    let is_vacuous = s.args().iter().next().is_some_and(|first| !names_column(first));
    walk.push_children(node, Place { in_where: place.in_where && !is_vacuous, ..place })
}

fn has_constant(s: &nodes::BoolExpr) -> bool {
    !s.args().iter().all(names_column)
}

fn names_column(node: Node<'_>) -> bool {
    let (mut waiting, mut below) = (vec![node], Vec::new());
    for _ in 0..LOOKS {
        match waiting.pop() {
            Some(Node::ColumnRef(_)) => return true,
            // The walk says so of a node that it does not know.
            Some(node) => drop(children(node, &mut below)),
            None => return false,
        }
        // The leftmost comes first.
        waiting.extend(below.drain(..).rev());
    }
    false
}
