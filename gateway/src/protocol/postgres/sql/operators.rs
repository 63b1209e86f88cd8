//! Which operators are the server's.
//!
//! In: an operator as the statement writes it. Out: that it is one of PostgreSQL or of an extension that is known, or a
//! question about the function behind it, which is somebody's. Must never take an operator for harmless for its schema.
//!
//! Operators are chosen by the types of their arguments, which only the catalog tells: `+` on a type of somebody's is not
//! seen here: the catalog is asked for the operators that somebody made (`catalog/question.rs`).
// TABLE: operators of PostgreSQL 13 to 18 and of extensions that are widely used.

use super::SqlError;
use super::facts::{Effect, FunctionClass, Object, Opaque};
use super::parse::{Node, NodeList};
use super::walk::Walk;

/// Notes the use of an operator; names of constructs such as BETWEEN stand in the same place.
pub(super) fn used<'a>(walk: &mut Walk<'a>, name: &'a NodeList) -> Result<(), SqlError> {
    let (mut schema, mut symbol) = (None, None);
    for part in name.iter().filter_map(Node::as_str) {
        walk.attribute(part);
        (schema, symbol) = (symbol, Some(part));
    }
    let Some(symbol) = symbol else { return Ok(()) };
    if symbol.starts_with(|first: char| first.is_ascii_alphabetic()) || is_known(schema, symbol) {
        return Ok(());
    }
    walk.opaque(Opaque::UserOperator(symbol.to_owned()));
    let (schema, name) = (schema.map(str::to_owned), symbol.to_owned());
    walk.ask(Effect::Execute, Object::Function { schema, name, class: FunctionClass::User })
}

fn is_known(schema: Option<&str>, symbol: &str) -> bool {
    schema.is_none_or(|schema| schema == "pg_catalog") && (is_built_in(symbol) || is_of_extension(symbol))
}

/// `pg_operator` of PostgreSQL 13 to 18.
fn is_built_in(symbol: &str) -> bool {
    matches!(
        symbol,
        "!" | "!!"
            | "!~"
            | "!~*"
            | "!~~"
            | "!~~*"
            | "#"
            | "##"
            | "#-"
            | "#>"
            | "#>>"
            | "%"
            | "&"
            | "&&"
            | "&<"
            | "&<|"
            | "&>"
            | "*"
            | "*<"
            | "*<="
            | "*<>"
            | "*="
            | "*>"
            | "*>="
            | "+"
            | "-"
            | "->"
            | "->>"
            | "-|-"
            | "/"
            | "<"
            | "<->"
            | "<<"
            | "<<="
            | "<<|"
            | "<="
            | "<>"
            | "!="
            | "<@"
            | "<^"
            | "="
            | ">"
            | ">="
            | ">>"
            | ">>="
            | ">^"
            | "?"
            | "?#"
            | "?&"
            | "?-"
            | "?-|"
            | "?|"
            | "?||"
            | "@"
            | "@-@"
            | "@>"
            | "@?"
            | "@@"
            | "@@@"
            | "^"
            | "^@"
            | "|"
            | "|&>"
            | "|/"
            | "|>>"
            | "||"
            | "||/"
            | "~"
            | "~*"
            | "~<=~"
            | "~<~"
            | "~="
            | "~>=~"
            | "~>~"
            | "~~"
            | "~~*"
    )
}

/// Those of contrib (cube, hstore, intarray, isn, ltree, pg_trgm, citext), of pgvector and of PostGIS. All compute.
fn is_of_extension(symbol: &str) -> bool {
    matches!(
        symbol,
        "#<#"
            | "#<=#"
            | "#="
            | "#>#"
            | "#>=#"
            | "%#"
            | "%%"
            | "%>"
            | "%>>"
            | "<#>"
            | "<%"
            | "<->>"
            | "<->>>"
            | "<<%"
            | "<<->"
            | "<<<->"
            | "<=>"
            | "<@>"
            | "?<@"
            | "?@"
            | "?@>"
            | "?~"
            | "^<@"
            | "^?"
            | "^@>"
            | "^~"
            | "~>"
            | "<+>"
            | "<~>"
            | "<%>"
            | "&&&"
            | "&/&"
            | "<<#>>"
            | "<<->>"
            | "|=|"
            | "@>>"
            | "<<@"
            | "~~="
            | "~=="
    )
}

#[cfg(test)]
mod tests {
    use super::is_known;

    #[test]
    fn knows_operators_of_the_server_by_symbol_and_schema() {
        assert!(is_known(None, "@>") && is_known(Some("pg_catalog"), "=") && is_known(None, "<=>"));
        assert!(!is_known(None, "!!!") && !is_known(Some("public"), "="));
    }
}
