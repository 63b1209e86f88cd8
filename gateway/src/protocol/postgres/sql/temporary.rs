//! DROP of temporary relations by their bare names, made certain.
//!
//! In: a text. Out: the same DROP with `pg_temp` before each name, which nothing but a temporary relation can be. Must
//! never drop anything else than the text would.

use super::names;
use super::parse::{self, DropBehavior, Node, ObjectType};
use super::scan::{self, Caps};

/// The DROP of one or more tables, views or sequences, each as a temporary one; none where the text is no such DROP.
#[must_use]
pub fn drop_as_temporary(text: &str) -> Option<String> {
    let text = scan::scan(text.as_bytes(), &Caps::default()).ok()?;
    let tree = parse::parse(text.as_ref()).ok()?;
    let mut statements = tree.statements();
    let (Node::DropStmt(drop), None) = (statements.next()?.stmt(), statements.next()) else { return None };
    let kind = match drop.remove_type {
        ObjectType::OBJECT_TABLE => "TABLE",
        ObjectType::OBJECT_VIEW => "VIEW",
        ObjectType::OBJECT_SEQUENCE => "SEQUENCE",
        _ => return None,
    };
    let name = |object| match names::parts(object).as_slice() {
        [name] => Some(format!("pg_temp.\"{}\"", name.replace('"', "\"\""))),
        _ => None,
    };
    let objects: Option<Vec<String>> = drop.objects().iter().map(name).collect();
    let if_exists = if drop.missing_ok { "IF EXISTS " } else { "" };
    let cascade = if drop.behavior == DropBehavior::DROP_CASCADE { " CASCADE" } else { "" };
    Some(format!("DROP {kind} {if_exists}{}{cascade}", objects?.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_text_names_is_dropped_and_only_where_it_is_temporary() {
        for (text, wanted) in [
            ("drop table T", Some("DROP TABLE pg_temp.\"t\"")),
            (
                "DROP TABLE IF EXISTS a, \"B\"\"c\" CASCADE;",
                Some("DROP TABLE IF EXISTS pg_temp.\"a\", pg_temp.\"B\"\"c\" CASCADE"),
            ),
            ("DROP VIEW v RESTRICT", Some("DROP VIEW pg_temp.\"v\"")),
            ("DROP TABLE a, public.b", None),
            ("DROP TABLE a; DROP TABLE b", None),
            ("DROP SCHEMA s", None),
            ("SELECT 1", None),
            ("no sql", None),
        ] {
            assert_eq!(drop_as_temporary(text).as_deref(), wanted, "{text}");
        }
    }
}
