//! ALTER, DROP, RENAME, COMMENT, GRANT: changes of what exists.
//!
//! In: statements that change or remove objects. Out: what they change. Must never let a change of something that
//! belongs to a relation (column, trigger, policy, rule) pass without asking for the relation too.

use super::SqlError;
use super::change;
use super::facts::{Columns, Effect, Object, Opaque, RoleName};
use super::names::{self, Shape};
use super::parse::{AlterTableType, CastNodeList, GrantTargetType, Node, ObjectType, nodes};
use super::walk::{Place, Walk};

/// ALTER TABLE, INDEX, SEQUENCE, VIEW, MATERIALIZED VIEW, FOREIGN TABLE, and TYPE for a composite.
pub(super) fn table<'a>(walk: &mut Walk<'a>, s: &'a nodes::AlterTableStmt, place: Place) -> Result<(), SqlError> {
    let Some(rel) = s.relation() else { return Ok(()) };
    let relation = if s.objtype == ObjectType::OBJECT_TYPE {
        names::named("type", &[rel.schemaname(), rel.relname()].into_iter().flatten().collect::<Vec<_>>())
    } else {
        Object::Relation(names::relation(rel))
    };
    walk.ask(Effect::Alter, relation.clone())?;
    for command in s.cmds() {
        let Node::AlterTableCmd(command) = command else { continue };
        if matches!(relation, Object::Relation(_)) {
            change::of_command(walk, rel, command);
        }
        match command.subtype {
            AlterTableType::AT_DropColumn | AlterTableType::AT_DropConstraint | AlterTableType::AT_DropExpression => {
                walk.ask(Effect::Drop, relation.clone())?;
            }
            AlterTableType::AT_DetachPartition | AlterTableType::AT_DetachPartitionFinalize => {
                walk.ask(Effect::Drop, relation.clone())?;
            }
            // Their defaults can hold the options of a foreign server.
            AlterTableType::AT_GenericOptions | AlterTableType::AT_AlterColumnGenericOptions => walk.out.secret = true,
            _ => {}
        }
        match command.def() {
            // A parent, or a partition: it changes too.
            Node::RangeVar(other) => walk.ask_relation(Effect::Alter, Some(other))?,
            Node::PartitionCmd(partition) => {
                walk.ask_relation(Effect::Alter, partition.name())?;
                walk.push(partition.bound(), place.below());
            }
            def => walk.push(def, place.below()),
        }
    }
    Ok(())
}

/// DROP of anything but roles, databases and the few with statements of their own.
pub(super) fn drop(walk: &mut Walk<'_>, s: &nodes::DropStmt) -> Result<(), SqlError> {
    for object in s.objects() {
        object_of(walk, Effect::Drop, s.remove_type, object)?;
    }
    Ok(())
}

/// An effect on an object as DROP, COMMENT, RENAME and their kin name it.
pub(super) fn object_of(
    walk: &mut Walk<'_>,
    effect: Effect,
    object_type: ObjectType::Type,
    object: Node<'_>,
) -> Result<(), SqlError> {
    let Some((kind, shape)) = names::kind(object_type) else { return Err(SqlError::UnknownNode) };
    if object_type == ObjectType::OBJECT_LARGEOBJECT {
        return walk.ask_database(Effect::LargeObject);
    }
    let parts = names::parts_of(object_type, object);
    let last = || parts.last().copied().unwrap_or_default().to_owned();
    match shape {
        Shape::Relation => match names::relation_of(&parts) {
            Some(relation) => walk.ask(effect, Object::Relation(relation)),
            None => Err(SqlError::UnknownNode),
        },
        Shape::Function => match names::function(&parts) {
            Some(function) => walk.ask(effect, function),
            None => Err(SqlError::UnknownNode),
        },
        Shape::Schema => walk.ask(effect, Object::Schema(last())),
        Shape::Database => walk.ask(effect, Object::Database(Some(last()))),
        Shape::Role => walk.ask(Effect::ManageRole, Object::Role(RoleName::Named(last()))),
        Shape::OfRelation => {
            let (name, relation) =
                parts.split_last().map_or(("", None), |(name, rest)| (*name, names::relation_of(rest)));
            let schema = relation.as_ref().and_then(|r| r.schema.clone());
            walk.ask(effect, Object::Named { kind, schema, name: name.to_owned() })?;
            relation.map_or(Ok(()), |relation| walk.ask(Effect::Alter, Object::Relation(relation)))
        }
        Shape::Part => match parts.split_last().and_then(|(_, rest)| names::relation_of(rest)) {
            Some(relation) => walk.ask(effect, Object::Relation(relation)),
            None => Err(SqlError::UnknownNode),
        },
        Shape::Own => walk.ask(effect, names::named(kind, &parts)),
    }
}

/// RENAME, OWNER TO, SET SCHEMA, DEPENDS ON: on a relation, or on an object.
pub(super) fn changed(
    walk: &mut Walk<'_>,
    object_type: ObjectType::Type,
    rel: Option<&nodes::RangeVar>,
    object: Node<'_>,
) -> Result<(), SqlError> {
    walk.ask_relation(Effect::Alter, rel)?;
    if matches!(object, Node::None) { Ok(()) } else { object_of(walk, Effect::Alter, object_type, object) }
}

/// SET SCHEMA.
pub(super) fn schema(walk: &mut Walk<'_>, s: &nodes::AlterObjectSchemaStmt) -> Result<(), SqlError> {
    walk.moves(s.relation(), Columns { all: true, ..Columns::default() });
    changed(walk, s.object_type, s.relation(), s.object())
}

/// RENAME: some objects are named by a bare string.
pub(super) fn rename(walk: &mut Walk<'_>, s: &nodes::RenameStmt) -> Result<(), SqlError> {
    let name = s.subname().unwrap_or_default();
    change::of_rename(walk, s);
    match s.rename_type {
        ObjectType::OBJECT_SCHEMA => walk.ask(Effect::Alter, Object::Schema(name.to_owned())),
        ObjectType::OBJECT_DATABASE => walk.ask(Effect::Alter, Object::Database(Some(name.to_owned()))),
        ObjectType::OBJECT_ROLE => walk.ask(Effect::ManageRole, Object::Role(RoleName::Named(name.to_owned()))),
        ObjectType::OBJECT_TABLESPACE => walk.ask(Effect::Alter, names::named("tablespace", &[name])),
        rename_type => changed(walk, rename_type, s.relation(), s.object()),
    }
}

/// ALTER of an object with a name of its own.
pub(super) fn own(walk: &mut Walk<'_>, kind: &'static str, parts: &[&str]) -> Result<(), SqlError> {
    walk.ask(Effect::Alter, names::named(kind, parts))
}

/// GRANT and REVOKE of privileges on objects.
pub(super) fn grant(walk: &mut Walk<'_>, s: &nodes::GrantStmt) -> Result<(), SqlError> {
    let effect = if s.is_grant { Effect::Grant } else { Effect::Revoke };
    let relations = matches!(s.objtype, ObjectType::OBJECT_TABLE | ObjectType::OBJECT_SEQUENCE);
    if relations && s.targtype == GrantTargetType::ACL_TARGET_OBJECT {
        // The crate types this list as relations, and panics on any other: it is not touched for another kind.
        return relations_of(walk, effect, s.objects());
    }
    if s.objtype == ObjectType::OBJECT_LARGEOBJECT {
        walk.ask_database(Effect::LargeObject)?;
        return walk.ask_database(effect);
    }
    match super::grants::objects(walk.text, s) {
        Some(objects) => objects.into_iter().try_for_each(|object| walk.ask(effect, object)),
        None => {
            walk.opaque(Opaque::Names("GRANT or REVOKE"));
            walk.ask_database(effect)
        }
    }
}

fn relations_of(
    walk: &mut Walk<'_>,
    effect: Effect,
    relations: &CastNodeList<nodes::RangeVar>,
) -> Result<(), SqlError> {
    relations.iter().try_for_each(|rel| walk.ask_relation(effect, Some(rel)))
}

/// GRANT and REVOKE of roles.
pub(super) fn grant_role(walk: &mut Walk<'_>, s: &nodes::GrantRoleStmt) -> Result<(), SqlError> {
    let effect = if s.is_grant { Effect::Grant } else { Effect::Revoke };
    for role in s.granted_roles() {
        if let Node::AccessPriv(role) = role {
            let name = role.priv_name().map_or(RoleName::Unnamed, |n| RoleName::Named(n.to_owned()));
            walk.ask(effect, Object::Role(name))?;
        }
    }
    Ok(())
}

/// ALTER DEFAULT PRIVILEGES: what will be made later.
pub(super) fn default_privileges(walk: &mut Walk<'_>, s: &nodes::AlterDefaultPrivilegesStmt) -> Result<(), SqlError> {
    let effect = if s.action().is_some_and(|a| a.is_grant) { Effect::Grant } else { Effect::Revoke };
    let mut schemas = Vec::new();
    for option in s.options().iter().filter(|o| o.defname() == Some("schemas")) {
        schemas.extend(names::parts(option.arg()));
    }
    if schemas.is_empty() {
        return walk.ask_database(effect);
    }
    schemas.into_iter().try_for_each(|schema| walk.ask(effect, Object::Schema(schema.to_owned())))
}

/// ALTER ROLE and its kin.
pub(super) fn role(walk: &mut Walk<'_>, role: Option<&nodes::RoleSpec>) -> Result<(), SqlError> {
    walk.ask(Effect::ManageRole, Object::Role(names::role(role)))
}

/// DROP ROLE, USER, GROUP.
pub(super) fn drop_roles(walk: &mut Walk<'_>, s: &nodes::DropRoleStmt) -> Result<(), SqlError> {
    for node in s.roles() {
        if let Node::RoleSpec(spec) = node {
            role(walk, Some(spec))?;
        }
    }
    Ok(())
}

/// DROP OWNED and REASSIGN OWNED: objects of a role, not named.
pub(super) fn owned<'a>(
    walk: &mut Walk<'_>,
    effect: Effect,
    roles: impl IntoIterator<Item = Node<'a>>,
) -> Result<(), SqlError> {
    walk.opaque(Opaque::Names("DROP or REASSIGN OWNED"));
    walk.ask_database(effect)?;
    for node in roles {
        if let Node::RoleSpec(spec) = node {
            role(walk, Some(spec))?;
        }
    }
    Ok(())
}

/// CREATE and ALTER STATISTICS, and what they are on: the crate types the FROM list as relations, though it can hold
/// other things, so it stays unread.
pub(super) fn statistics(walk: &mut Walk<'_>, effect: Effect, parts: &[&str]) -> Result<(), SqlError> {
    if effect == Effect::Create {
        walk.opaque(Opaque::Names("CREATE STATISTICS"));
    }
    walk.ask(effect, names::named("statistics", parts))
}

/// TRUNCATE and LOCK TABLE.
pub(super) fn relations<'a>(
    walk: &mut Walk<'_>,
    effect: Effect,
    list: impl IntoIterator<Item = Node<'a>>,
) -> Result<(), SqlError> {
    for node in list {
        match node {
            Node::RangeVar(rel) => walk.ask_relation(effect, Some(rel))?,
            _ => return Err(SqlError::UnknownNode),
        }
    }
    Ok(())
}
