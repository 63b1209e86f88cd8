//! Names of objects, and the words for their kinds.
//!
//! In: nodes that name something. Out: names as the server folds them, and kinds in PostgreSQL's words. Must never
//! guess: a shape that it does not know gives no name, and the caller says so.
// TABLE: one arm for each object type.

use super::facts::{Object, RelationName, RoleName};
use super::functions;
use super::parse::{Node, ObjectType, RoleSpecType, nodes};

/// The parts of a dotted name: a string, a list of strings, a type, or a function with its arguments.
pub(super) fn parts(node: Node<'_>) -> Vec<&str> {
    match node {
        Node::String(s) => s.sval().into_iter().collect(),
        Node::NodeList(list) => list.iter().filter_map(Node::as_str).collect(),
        Node::TypeName(t) => t.names().iter().filter_map(|s| s.sval()).collect(),
        Node::ObjectWithArgs(o) => o.objname().iter().filter_map(Node::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The parts of the name of an object, as DROP, COMMENT and their kin write it for its kind.
pub(super) fn parts_of(object_type: ObjectType::Type, object: Node<'_>) -> Vec<&str> {
    let Node::NodeList(list) = object else { return parts(object) };
    match object_type {
        // The access method comes first.
        ObjectType::OBJECT_OPCLASS | ObjectType::OBJECT_OPFAMILY => {
            list.iter().filter_map(Node::as_str).skip(1).collect()
        }
        // The type comes first, then a name or another type.
        ObjectType::OBJECT_CAST | ObjectType::OBJECT_TRANSFORM | ObjectType::OBJECT_DOMCONSTRAINT => {
            list.iter().next().map(parts).unwrap_or_default()
        }
        _ => parts(object),
    }
}

/// Schema and name of a dotted name.
pub(super) fn schema_and_name(parts: &[&str]) -> Option<(Option<String>, String)> {
    match parts {
        [name] => Some((None, (*name).to_owned())),
        [.., schema, name] => Some((Some((*schema).to_owned()), (*name).to_owned())),
        [] => None,
    }
}

/// A relation from a dotted name.
pub(super) fn relation_of(parts: &[&str]) -> Option<RelationName> {
    let (catalog, schema, name) = match parts {
        [name] => (None, None, *name),
        [schema, name] => (None, Some(*schema), *name),
        [catalog, schema, name] => (Some(*catalog), Some(*schema), *name),
        _ => return None,
    };
    Some(RelationName {
        catalog: catalog.map(str::to_owned),
        schema: schema.map(str::to_owned),
        name: name.to_owned(),
        temporary: schema == Some("pg_temp"),
    })
}

/// A relation as the statement writes it.
pub(super) fn relation(rel: &nodes::RangeVar) -> RelationName {
    RelationName {
        catalog: rel.catalogname().map(str::to_owned),
        schema: rel.schemaname().map(str::to_owned),
        name: rel.relname().unwrap_or_default().to_owned(),
        temporary: rel.relpersistence.cast_unsigned() == b't' || rel.schemaname() == Some("pg_temp"),
    }
}

/// A function by its dotted name.
pub(super) fn function(parts: &[&str]) -> Option<Object> {
    let (schema, name) = schema_and_name(parts)?;
    let class = functions::class(schema.as_deref(), &name);
    Some(Object::Function { schema, name, class })
}

/// A role.
pub(super) fn role(role: Option<&nodes::RoleSpec>) -> RoleName {
    let Some(role) = role else { return RoleName::Unnamed };
    match role.roletype {
        RoleSpecType::ROLESPEC_CSTRING => role.rolename().map_or(RoleName::Unnamed, |n| RoleName::Named(n.to_owned())),
        RoleSpecType::ROLESPEC_CURRENT_ROLE | RoleSpecType::ROLESPEC_CURRENT_USER => RoleName::CurrentUser,
        RoleSpecType::ROLESPEC_SESSION_USER => RoleName::SessionUser,
        RoleSpecType::ROLESPEC_PUBLIC => RoleName::Public,
        _ => RoleName::Unnamed,
    }
}

/// A named object that is neither relation, function, schema, database nor role.
pub(super) fn named(kind: &'static str, parts: &[&str]) -> Object {
    let (schema, name) = schema_and_name(parts).unwrap_or_default();
    Object::Named { kind, schema, name }
}

/// How the names of a kind of object are written, and what they name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A relation.
    Relation,
    /// A function, procedure or aggregate.
    Function,
    Schema,
    Database,
    Role,
    /// `relation.name`: belongs to a relation.
    OfRelation,
    /// `relation.name`: a part of the relation, which has no word of its own.
    Part,
    /// A name of its own.
    Own,
}

/// The words of PostgreSQL for a kind of object, as in the command tag, and the shape of its names.
pub(super) fn kind(object: ObjectType::Type) -> Option<(&'static str, Shape)> {
    Some(match object {
        ObjectType::OBJECT_ACCESS_METHOD => ("access method", Shape::Own),
        ObjectType::OBJECT_AGGREGATE => ("aggregate", Shape::Function),
        ObjectType::OBJECT_AMOP | ObjectType::OBJECT_AMPROC | ObjectType::OBJECT_OPFAMILY => {
            ("operator family", Shape::Own)
        }
        ObjectType::OBJECT_ATTRIBUTE | ObjectType::OBJECT_TYPE => ("type", Shape::Own),
        ObjectType::OBJECT_CAST => ("cast", Shape::Own),
        ObjectType::OBJECT_COLUMN | ObjectType::OBJECT_DEFAULT | ObjectType::OBJECT_TABCONSTRAINT => {
            ("table", Shape::Part)
        }
        ObjectType::OBJECT_COLLATION => ("collation", Shape::Own),
        ObjectType::OBJECT_CONVERSION => ("conversion", Shape::Own),
        ObjectType::OBJECT_DATABASE => ("database", Shape::Database),
        ObjectType::OBJECT_DEFACL => ("default privileges", Shape::Own),
        ObjectType::OBJECT_DOMAIN | ObjectType::OBJECT_DOMCONSTRAINT => ("domain", Shape::Own),
        ObjectType::OBJECT_EVENT_TRIGGER => ("event trigger", Shape::Own),
        ObjectType::OBJECT_EXTENSION => ("extension", Shape::Own),
        ObjectType::OBJECT_FDW => ("foreign data wrapper", Shape::Own),
        ObjectType::OBJECT_FOREIGN_SERVER => ("server", Shape::Own),
        ObjectType::OBJECT_FOREIGN_TABLE => ("foreign table", Shape::Relation),
        ObjectType::OBJECT_FUNCTION => ("function", Shape::Function),
        ObjectType::OBJECT_INDEX => ("index", Shape::Relation),
        ObjectType::OBJECT_LANGUAGE => ("language", Shape::Own),
        ObjectType::OBJECT_LARGEOBJECT => ("large object", Shape::Own),
        ObjectType::OBJECT_MATVIEW => ("materialized view", Shape::Relation),
        ObjectType::OBJECT_OPCLASS => ("operator class", Shape::Own),
        ObjectType::OBJECT_OPERATOR => ("operator", Shape::Own),
        ObjectType::OBJECT_PARAMETER_ACL => ("parameter", Shape::Own),
        ObjectType::OBJECT_POLICY => ("policy", Shape::OfRelation),
        ObjectType::OBJECT_PROCEDURE => ("procedure", Shape::Function),
        ObjectType::OBJECT_PUBLICATION
        | ObjectType::OBJECT_PUBLICATION_NAMESPACE
        | ObjectType::OBJECT_PUBLICATION_REL => ("publication", Shape::Own),
        ObjectType::OBJECT_ROLE => ("role", Shape::Role),
        ObjectType::OBJECT_ROUTINE => ("routine", Shape::Function),
        ObjectType::OBJECT_RULE => ("rule", Shape::OfRelation),
        ObjectType::OBJECT_SCHEMA => ("schema", Shape::Schema),
        ObjectType::OBJECT_SEQUENCE => ("sequence", Shape::Relation),
        ObjectType::OBJECT_SUBSCRIPTION => ("subscription", Shape::Own),
        ObjectType::OBJECT_STATISTIC_EXT => ("statistics", Shape::Own),
        ObjectType::OBJECT_TABLE => ("table", Shape::Relation),
        ObjectType::OBJECT_TABLESPACE => ("tablespace", Shape::Own),
        ObjectType::OBJECT_TRANSFORM => ("transform", Shape::Own),
        ObjectType::OBJECT_TRIGGER => ("trigger", Shape::OfRelation),
        ObjectType::OBJECT_TSCONFIGURATION => ("text search configuration", Shape::Own),
        ObjectType::OBJECT_TSDICTIONARY => ("text search dictionary", Shape::Own),
        ObjectType::OBJECT_TSPARSER => ("text search parser", Shape::Own),
        ObjectType::OBJECT_TSTEMPLATE => ("text search template", Shape::Own),
        ObjectType::OBJECT_USER_MAPPING => ("user mapping", Shape::Own),
        ObjectType::OBJECT_VIEW => ("view", Shape::Relation),
        _ => return None,
    })
}
