//! The objects of a GRANT or REVOKE that are not relations.
//!
//! In: the text of the statement and its node. Out: the objects. The parser crate types the list of objects as
//! relations and panics on others, so the words between ON and TO or FROM are read again, by the same grammar, as the
//! list of a DROP. Must never execute or keep that text.

use super::facts::Object;
use super::names::{self, Shape};
use super::parse::{self, GrantTargetType, Node, ObjectType, nodes};
use super::scan::Caps;
use super::tokens::{TokenKind, Tokens};

/// The objects, or `None` where they cannot be read.
pub(super) fn objects(text: &str, grant: &nodes::GrantStmt) -> Option<Vec<Object>> {
    let list = between(text)?;
    let (_, shape) = names::kind(grant.objtype)?;
    if grant.targtype == GrantTargetType::ACL_TARGET_ALL_IN_SCHEMA {
        // ALL TABLES IN SCHEMA a, b
        let (_, schemas) = split_after(list, "SCHEMA")?;
        return read("SCHEMA", schemas, |parts| parts.last().map(|name| Object::Schema((*name).to_owned())));
    }
    let kind = names::kind(grant.objtype)?.0;
    match (grant.objtype, shape) {
        (ObjectType::OBJECT_FUNCTION | ObjectType::OBJECT_PROCEDURE | ObjectType::OBJECT_ROUTINE, _) => {
            read("ROUTINE", split_after(list, kind)?.1, names::function)
        }
        (_, Shape::Schema) => {
            read("SCHEMA", split_after(list, kind)?.1, |p| p.last().map(|name| Object::Schema((*name).to_owned())))
        }
        (_, Shape::Database) => read("SCHEMA", split_after(list, kind)?.1, |p| {
            p.last().map(|name| Object::Database(Some((*name).to_owned())))
        }),
        (ObjectType::OBJECT_TYPE | ObjectType::OBJECT_DOMAIN, _) => {
            read("TABLE", split_after(list, kind)?.1, |p| Some(names::named(kind, p)))
        }
        (ObjectType::OBJECT_LANGUAGE | ObjectType::OBJECT_TABLESPACE | ObjectType::OBJECT_PARAMETER_ACL, _) => {
            read("TABLE", split_after(list, kind)?.1, |p| Some(names::named(kind, p)))
        }
        (ObjectType::OBJECT_FOREIGN_SERVER, _) => {
            read("TABLE", split_after(list, "SERVER")?.1, |p| Some(names::named(kind, p)))
        }
        (ObjectType::OBJECT_FDW, _) => read("TABLE", split_after(list, "WRAPPER")?.1, |p| Some(names::named(kind, p))),
        _ => None,
    }
}

/// What stands between ON and TO or FROM, outside of parentheses: all three words are reserved.
fn between(text: &str) -> Option<&str> {
    let (mut depth, mut start) = (0_u32, None);
    let mut tokens = Tokens::new(text);
    while let Ok(Some(token)) = tokens.advance(&Caps::default()) {
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close => depth = depth.saturating_sub(1),
            TokenKind::Word if depth == 0 => {
                let word = text.get(token.start..token.end)?;
                if start.is_none() && word.eq_ignore_ascii_case("on") {
                    start = Some(token.end);
                } else if word.eq_ignore_ascii_case("to") || word.eq_ignore_ascii_case("from") {
                    return start.and_then(|start| text.get(start..token.start));
                }
            }
            _ => {}
        }
    }
    None
}

/// The text after a keyword that stands among the first words.
fn split_after<'a>(list: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let mut tokens = Tokens::new(list);
    for _ in 0..5_u8 {
        let token = tokens.advance(&Caps::default()).ok()??;
        if list.get(token.start..token.end)?.eq_ignore_ascii_case(keyword) {
            return Some((list.get(..token.start)?, list.get(token.end..)?));
        }
    }
    None
}

/// Reads a list of names as that of a DROP.
fn read(drop: &str, list: &str, object: impl Fn(&[&str]) -> Option<Object>) -> Option<Vec<Object>> {
    let tree = parse::parse(&format!("DROP {drop} {list}")).ok()?;
    let Some(Node::DropStmt(statement)) = tree.statements().next().map(nodes::RawStmt::stmt) else { return None };
    statement.objects().iter().map(|node| object(&names::parts(node))).collect()
}
