//! What the columns of a view are, from its definition as the server prints it (`pg_get_viewdef`).
//!
//! In: the text of a query. Out: for each output a plain column, a constant, or something computed; nothing where the
//! query is not a plain SELECT from relations and joins. It never says that an output is a plain column where it could
//! be anything else.

use super::parse::{self, Node, SetOperation, nodes};
use super::scan::{self, Caps};

/// Items of FROM that are looked at.
const ITEMS: usize = 1_000;

/// One column of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A column of a relation as it is.
    Column {
        /// As written: left out where the server finds the relation without it.
        schema: Option<String>,
        /// The relation's own name.
        relation: String,
        /// The column's.
        column: String,
    },
    /// A constant.
    Constant,
    /// Anything else.
    Computed,
}

/// The outputs of a definition, in order.
#[must_use]
pub fn outputs(definition: &str) -> Option<Vec<Output>> {
    let text = scan::scan(definition.as_bytes(), &Caps::default()).ok()?;
    let tree = parse::parse(text.as_ref()).ok()?;
    let mut statements = tree.statements();
    let (Node::SelectStmt(select), None) = (statements.next()?.stmt(), statements.next()) else { return None };
    if select.op != SetOperation::SETOP_NONE || select.with_clause().is_some() || !select.values_lists().is_empty() {
        return None;
    }
    let from = From::of(select)?;
    Some(select.target_list().iter().map(|target| from.output(target.val())).collect())
}

/// Relations of a FROM by their labels. Subqueries and functions are there without a relation.
struct From<'a>(Vec<(&'a str, Option<&'a nodes::RangeVar>)>);

impl<'a> From<'a> {
    fn of(select: &'a nodes::SelectStmt) -> Option<Self> {
        let mut from = Self(Vec::new());
        let mut open: Vec<Node<'a>> = select.from_clause().iter().collect();
        while let Some(item) = open.pop() {
            if from.0.len() + open.len() > ITEMS {
                return None;
            }
            match item {
                // Under an alias of its own a join hides the labels in it.
                Node::JoinExpr(join) if join.alias().is_none() && join.join_using_alias().is_none() => {
                    open.extend([join.larg(), join.rarg()]);
                }
                Node::RangeVar(relation) => {
                    let alias = relation.alias();
                    let renames = alias.is_some_and(|alias| !alias.colnames().is_empty());
                    let label = alias.and_then(|alias| alias.aliasname()).or_else(|| relation.relname())?;
                    from.0.push((label, (!renames).then_some(relation)));
                }
                Node::RangeSubselect(item) => from.0.push((item.alias()?.aliasname()?, None)),
                Node::RangeFunction(item) => from.0.push((item.alias()?.aliasname()?, None)),
                _ => return None,
            }
        }
        Some(from)
    }

    fn output(&self, value: Node<'_>) -> Output {
        let reference = match value {
            Node::A_Const(_) => return Output::Constant,
            Node::ColumnRef(reference) => reference,
            _ => return Output::Computed,
        };
        let names: Option<Vec<&str>> = reference.fields().iter().map(Node::as_str).collect();
        let found = match names.as_deref() {
            Some([column]) => match self.0.as_slice() {
                [(_, Some(relation))] => Some((*relation, *column)),
                _ => None,
            },
            Some([label, column]) => {
                let mut labelled = self.0.iter().filter(|(known, _)| known == label);
                match (labelled.next(), labelled.next()) {
                    (Some((_, Some(relation))), None) => Some((*relation, *column)),
                    _ => None,
                }
            }
            _ => None,
        };
        let Some((relation, column)) = found else { return Output::Computed };
        Output::Column {
            schema: relation.schemaname().map(str::to_owned),
            relation: relation.relname().unwrap_or_default().to_owned(),
            column: column.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(schema: Option<&str>, relation: &str, column: &str) -> Output {
        Output::Column { schema: schema.map(str::to_owned), relation: relation.into(), column: column.into() }
    }

    #[test]
    fn plain_columns_are_told_from_what_is_computed() {
        let found = outputs(
            " SELECT c.id,\n    o.total,\n    lower(c.email) AS email,\n    1 AS one,\n    c.*::text AS whole\n   \
             FROM customers c\n     JOIN app.orders o ON o.customer = c.id;",
        );
        let wanted = vec![
            column(None, "customers", "id"),
            column(Some("app"), "orders", "total"),
            Output::Computed,
            Output::Constant,
            Output::Computed,
        ];
        assert_eq!(found.unwrap(), wanted);
        assert_eq!(outputs("SELECT email FROM customers").unwrap(), [column(None, "customers", "email")]);
    }

    #[test]
    fn a_name_that_could_be_anothers_is_no_plain_column() {
        for text in [
            "SELECT email FROM customers, orders",
            "SELECT c.a FROM customers c(a, b)",
            "SELECT s.email FROM (SELECT email FROM customers) s",
            "SELECT f.email FROM f(1) f(email)",
        ] {
            assert_eq!(outputs(text).unwrap(), [Output::Computed], "{text}");
        }
        for text in [
            "SELECT email FROM customers UNION SELECT email FROM others",
            "WITH c AS (SELECT 1 AS email) SELECT email FROM c",
            "SELECT j.email FROM (customers JOIN orders ON true) j",
            "VALUES (1)",
            "SELECT 1; SELECT 2",
            "no sql",
        ] {
            assert!(outputs(text).is_none(), "{text}");
        }
    }
}
