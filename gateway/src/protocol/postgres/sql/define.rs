//! CREATE in all its forms.
//!
//! In: statements that make objects. Out: what they make, what they read to make it, and what will run later because of
//! them. Must never treat a stored body, hook or connection as harmless because nothing runs yet.

use super::SqlError;
use super::call;
use super::change;
use super::facts::{Effect, Object, Opaque, RoleName, SettingReach};
use super::names::{self, Shape};
use super::parse::{Node, nodes};
use super::utility;
use super::walk::{Place, Walk};

/// CREATE TABLE, also PARTITION OF, INHERITS and LIKE.
pub(super) fn table<'a>(walk: &mut Walk<'a>, s: &'a nodes::CreateStmt, place: Place) -> Result<(), SqlError> {
    walk.ask_relation(Effect::Create, s.relation())?;
    for parent in s.inh_relations() {
        if let Node::RangeVar(parent) = parent {
            walk.ask_relation(Effect::Alter, Some(parent))?;
        }
    }
    let place = place.below();
    walk.push_all(s.table_elts(), place);
    walk.push(s.partbound(), place);
    walk.push(s.partspec(), place);
    Ok(())
}

/// CREATE TABLE AS and CREATE MATERIALIZED VIEW.
pub(super) fn table_as<'a>(walk: &mut Walk<'a>, s: &'a nodes::CreateTableAsStmt, place: Place) -> Result<(), SqlError> {
    walk.ask_relation(Effect::Create, s.into().and_then(|into| into.rel()))?;
    walk.push(s.query(), place.below());
    Ok(())
}

/// CREATE VIEW.
pub(super) fn view<'a>(walk: &mut Walk<'a>, s: &'a nodes::ViewStmt, place: Place) -> Result<(), SqlError> {
    walk.ask_relation(Effect::Create, s.view())?;
    walk.push(s.query(), place.below());
    Ok(())
}

/// CREATE INDEX: makes the index and changes the table.
pub(super) fn index<'a>(walk: &mut Walk<'a>, s: &'a nodes::IndexStmt, place: Place) -> Result<(), SqlError> {
    let schema = s.relation().and_then(|r| r.schemaname()).map(str::to_owned);
    let name = s.idxname().unwrap_or_default().to_owned();
    walk.ask(Effect::Create, Object::Named { kind: "index", schema, name })?;
    walk.ask_relation(Effect::Alter, s.relation())?;
    change::of_index(walk, s);
    walk.push_all(s.index_params(), place.below());
    walk.push(s.where_clause(), place.below());
    Ok(())
}

/// CREATE SCHEMA; objects inside are in that schema, which their names do not say.
pub(super) fn schema<'a>(walk: &mut Walk<'a>, s: &'a nodes::CreateSchemaStmt, place: Place) -> Result<(), SqlError> {
    let name = s.schemaname().or_else(|| s.authrole().and_then(|r| r.rolename())).unwrap_or_default();
    walk.ask(Effect::Create, Object::Schema(name.to_owned()))?;
    if !s.schema_elts().is_empty() {
        walk.opaque(Opaque::Names("CREATE SCHEMA with elements"));
        walk.push_all(s.schema_elts(), place.below());
    }
    Ok(())
}

/// CREATE FUNCTION and PROCEDURE: the body runs later, the settings with it.
pub(super) fn function<'a>(
    walk: &mut Walk<'a>,
    s: &'a nodes::CreateFunctionStmt,
    place: Place,
) -> Result<(), SqlError> {
    ask_function(walk, Effect::Create, &names::parts(Node::NodeList(s.funcname())))?;
    walk.opaque(Opaque::StoredBody);
    function_options(walk, s.options())?;
    walk.push_all(s.parameters(), place.below());
    walk.push(s.sql_body(), place.below());
    Ok(())
}

/// The SET clauses of CREATE and ALTER FUNCTION.
pub(super) fn function_options<'a>(
    walk: &mut Walk<'a>,
    options: impl IntoIterator<Item = &'a nodes::DefElem>,
) -> Result<(), SqlError> {
    for option in options {
        if let Node::VariableSetStmt(set) = option.arg() {
            utility::set(walk, set, SettingReach::Function)?;
        }
    }
    Ok(())
}

/// Asks for an effect on a function by its dotted name.
pub(super) fn ask_function(walk: &mut Walk<'_>, effect: Effect, parts: &[&str]) -> Result<(), SqlError> {
    match names::function(parts) {
        Some(function) => walk.ask(effect, function),
        None => Ok(()),
    }
}

/// CREATE TRIGGER, RULE, POLICY: something of a relation that later statements run.
pub(super) fn hook(
    walk: &mut Walk<'_>,
    kind: &'static str,
    rel: Option<&nodes::RangeVar>,
    name: Option<&str>,
) -> Result<(), SqlError> {
    let schema = rel.and_then(|r| r.schemaname()).map(str::to_owned);
    walk.ask(Effect::Create, Object::Named { kind, schema, name: name.unwrap_or_default().to_owned() })?;
    walk.ask_relation(Effect::Alter, rel)?;
    walk.opaque(Opaque::StoredHook(kind));
    Ok(())
}

/// CREATE TRIGGER.
pub(super) fn trigger<'a>(walk: &mut Walk<'a>, s: &'a nodes::CreateTrigStmt, place: Place) -> Result<(), SqlError> {
    hook(walk, "trigger", s.relation(), s.trigname())?;
    walk.ask_relation(Effect::Select, s.constrrel())?;
    walk.push(s.when_clause(), place.below());
    call::named(walk, &names::parts(Node::NodeList(s.funcname())), None)
}

/// CREATE RULE; its actions count as if they ran now.
pub(super) fn rule<'a>(walk: &mut Walk<'a>, s: &'a nodes::RuleStmt, place: Place) -> Result<(), SqlError> {
    hook(walk, "rule", s.relation(), s.rulename())?;
    walk.push(s.where_clause(), place.below());
    walk.push_all(s.actions(), place.below());
    Ok(())
}

/// CREATE POLICY.
pub(super) fn policy<'a>(walk: &mut Walk<'a>, s: &'a nodes::CreatePolicyStmt, place: Place) -> Result<(), SqlError> {
    hook(walk, "policy", s.table(), s.policy_name())?;
    change::of_policy(walk, s.table(), [s.qual(), s.with_check()]);
    walk.push(s.qual(), place.below());
    walk.push(s.with_check(), place.below());
    Ok(())
}

/// CREATE EVENT TRIGGER.
pub(super) fn event_trigger(walk: &mut Walk<'_>, s: &nodes::CreateEventTrigStmt) -> Result<(), SqlError> {
    hook(walk, "event trigger", None, s.trigname())?;
    call::named(walk, &names::parts(Node::NodeList(s.funcname())), None)
}

/// CREATE of an object with a name of its own.
pub(super) fn own(walk: &mut Walk<'_>, kind: &'static str, parts: &[&str]) -> Result<(), SqlError> {
    walk.ask(Effect::Create, names::named(kind, parts))
}

/// CREATE of an object that calls functions later: operator, cast, language, access method.
pub(super) fn calling(walk: &mut Walk<'_>, kind: &'static str, parts: &[&str]) -> Result<(), SqlError> {
    walk.opaque(Opaque::StoredHook(kind));
    own(walk, kind, parts)
}

/// CREATE AGGREGATE, OPERATOR, TYPE, COLLATION, TEXT SEARCH …
pub(super) fn define<'a>(walk: &mut Walk<'a>, s: &'a nodes::DefineStmt, place: Place) -> Result<(), SqlError> {
    let parts: Vec<&str> = s.defnames().iter().filter_map(|n| n.sval()).collect();
    match names::kind(s.kind) {
        Some((_, Shape::Function)) => {
            walk.opaque(Opaque::StoredHook("aggregate"));
            ask_function(walk, Effect::Create, &parts)?;
        }
        Some((kind @ ("operator" | "type"), _)) => calling(walk, kind, &parts)?,
        Some((kind, _)) => own(walk, kind, &parts)?,
        None => return Err(SqlError::UnknownNode),
    }
    walk.push_all(s.definition(), place.below());
    Ok(())
}

/// CREATE EXTENSION, and ALTER EXTENSION UPDATE: a script of the server runs.
pub(super) fn extension(walk: &mut Walk<'_>, effect: Effect, name: Option<&str>) -> Result<(), SqlError> {
    let name = name.unwrap_or_default();
    walk.opaque(Opaque::Extension(name.to_owned()));
    walk.ask(effect, names::named("extension", &[name]))
}

/// CREATE of a way to another server: FOREIGN DATA WRAPPER, SERVER, USER MAPPING, SUBSCRIPTION.
pub(super) fn connection(
    walk: &mut Walk<'_>,
    effect: Effect,
    kind: &'static str,
    name: Option<&str>,
) -> Result<(), SqlError> {
    walk.out.secret = true;
    if kind == "subscription" {
        walk.ask_database(Effect::Replicate)?;
    }
    walk.ask(effect, names::named(kind, &[name.unwrap_or_default()]))
}

/// CREATE and ALTER PUBLICATION: what it names leaves by replication.
pub(super) fn publication<'a>(
    walk: &mut Walk<'a>,
    effect: Effect,
    node: Node<'a>,
    name: Option<&str>,
    place: Place,
) -> Result<(), SqlError> {
    walk.ask_database(Effect::Replicate)?;
    walk.ask(effect, names::named("publication", &[name.unwrap_or_default()]))?;
    walk.push_children(node, place)
}

/// CREATE ROLE, USER, GROUP.
pub(super) fn role(walk: &mut Walk<'_>, name: Option<&str>) -> Result<(), SqlError> {
    walk.out.secret = true;
    let role = name.map_or(RoleName::Unnamed, |n| RoleName::Named(n.to_owned()));
    walk.ask(Effect::ManageRole, Object::Role(role))
}

/// CREATE TABLESPACE: a directory of the server.
pub(super) fn tablespace(walk: &mut Walk<'_>, s: &nodes::CreateTableSpaceStmt) -> Result<(), SqlError> {
    walk.ask_database(Effect::ServerFile)?;
    own(walk, "tablespace", &[s.tablespacename().unwrap_or_default()])
}

/// CREATE FOREIGN TABLE: the parser crate has no type for it, so its names stay unread.
pub(super) fn foreign_table(walk: &mut Walk<'_>) -> Result<(), SqlError> {
    walk.out.secret = true;
    walk.opaque(Opaque::Names("CREATE FOREIGN TABLE"));
    own(walk, "foreign table", &[])
}
