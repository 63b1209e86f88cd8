//! Function calls by name, and what built-in functions do besides computing.
//!
//! In: a call. Out: its class, the effects of that class, a setting that it changes. Must never let a call pass
//! unclassed, and must never say that one is readable whose argument is run.

use super::SqlError;
use super::facts::{
    Effect, FunctionClass, Object, Opaque, RoleName, SettingChange, SettingClass, SettingReach, SettingValue,
};
use super::functions;
use super::names;
use super::parse::{A_Expr_Kind, ConstValue, Node, nodes};
use super::walk::{Place, Walk};

/// Functions of extensions that take a key or a password.
const SECRET: &[&str] = &["crypt", "hmac", "encrypt", "decrypt", "encrypt_iv", "decrypt_iv"];

/// Built-in functions that give a set (pg_proc.dat, `proretset`), of those that take values of columns: in a list of
/// outputs each makes as many rows as its argument says.
const ROWS_BY_ARGUMENT: &[&str] = &[
    "_pg_expandarray",
    "aclexplode",
    "generate_series",
    "generate_subscripts",
    "json_array_elements",
    "json_array_elements_text",
    "json_each",
    "json_each_text",
    "json_object_keys",
    "json_populate_recordset",
    "json_to_recordset",
    "pg_extension_update_paths",
    "pg_get_multixact_members",
    "pg_get_publication_tables",
    "pg_mcv_list_items",
    "pg_options_to_table",
    "pg_partition_ancestors",
    "pg_partition_tree",
    "pg_snapshot_xip",
    "pg_stat_get_activity",
    "pg_stat_get_backend_io",
    "pg_stat_get_progress_info",
    "pg_stat_get_subscription",
    "pg_tablespace_databases",
    "pg_wal_summary_contents",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_each",
    "jsonb_each_text",
    "jsonb_object_keys",
    "jsonb_path_query",
    "jsonb_path_query_tz",
    "jsonb_populate_recordset",
    "jsonb_to_recordset",
    "regexp_matches",
    "regexp_split_to_table",
    "string_to_table",
    "ts_debug",
    "ts_parse",
    "ts_token_type",
    "txid_snapshot_xip",
    "unnest",
];

/// Whether the arguments of a call say how many rows there are, or which.
pub(super) fn chooses_rows(call: &nodes::FuncCall, name: &str) -> bool {
    call.agg_distinct || ROWS_BY_ARGUMENT.contains(&name)
}

/// A call anywhere in a statement.
pub(super) fn function<'a>(walk: &mut Walk<'a>, call: &'a nodes::FuncCall, place: Place) -> Result<(), SqlError> {
    let parts = names::parts(Node::NodeList(call.funcname()));
    let chooses =
        !matches!(call.agg_filter(), Node::None) || chooses_rows(call, parts.last().copied().unwrap_or_default());
    walk.push_children(Node::FuncCall(call), if chooses { place.comparing() } else { place })?;
    named(walk, &parts, Some(call))
}

/// A function by its name: of a call, or of a trigger, cast, operator or aggregate that will call it.
pub(super) fn named(walk: &mut Walk<'_>, parts: &[&str], call: Option<&nodes::FuncCall>) -> Result<(), SqlError> {
    let Some((schema, name)) = names::schema_and_name(parts) else { return Ok(()) };
    let class = functions::class(schema.as_deref(), &name);
    walk.out.secret |= SECRET.contains(&name.as_str()) || name.starts_with("pgp_") || name.starts_with("dblink");
    let arguments = call.map_or(0, |c| c.args().len());
    if let Some(call) = call.filter(|_| class == FunctionClass::Opaque && name == "set_config") {
        walk.call(schema, name, class, arguments);
        return set_config(walk, call);
    }
    effects(walk, &name, class)?;
    if class != FunctionClass::Pure {
        walk.ask(Effect::Execute, Object::Function { schema: schema.clone(), name: name.clone(), class })?;
    }
    walk.call(schema, name, class, arguments);
    Ok(())
}

/// What a class means beyond the right to execute.
fn effects(walk: &mut Walk<'_>, name: &str, class: FunctionClass) -> Result<(), SqlError> {
    match class {
        FunctionClass::Pure | FunctionClass::Reader | FunctionClass::Server => Ok(()),
        FunctionClass::Session if name == "pg_notify" => walk.ask_database(Effect::Notify),
        FunctionClass::Session | FunctionClass::Volatile => Ok(()),
        FunctionClass::LargeObject => {
            if matches!(name, "lo_import" | "lo_export") {
                walk.ask_database(Effect::ServerFile)?;
            }
            walk.ask_database(Effect::LargeObject)
        }
        FunctionClass::ServerFile => walk.ask_database(Effect::ServerFile),
        FunctionClass::Replication => walk.ask_database(Effect::Replicate),
        FunctionClass::Untrusted => walk.ask_database(Effect::RunCode),
        FunctionClass::Opaque => {
            walk.opaque(Opaque::QueryInString(name.to_owned()));
            Ok(())
        }
        FunctionClass::User => {
            walk.opaque(Opaque::UserFunction(name.to_owned()));
            Ok(())
        }
    }
}

/// `set_config(name, value, is_local)` is SET when its name is a constant.
fn set_config(walk: &mut Walk<'_>, call: &nodes::FuncCall) -> Result<(), SqlError> {
    let plain = call.args().iter().all(|a| !matches!(a, Node::NamedArgExpr(_)));
    let text = |i: usize| call.args().get(i).filter(|_| plain).and_then(constant);
    let name = text(0);
    let value = text(1).map_or(SettingValue::Unknown, SettingValue::Constant);
    if name.is_none() {
        walk.opaque(Opaque::ComputedSetting);
    }
    change(walk, name.as_deref(), value, SettingReach::Session)
}

/// `SELECT set_config(name, 'view', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'` is how
/// pg_dump sets what some servers do not have (set_restrict_relation_kind, pg_dump.c): SET, though its name comes from a
/// row. This setting and its two words alone: a relation, an operator or a collation of somebody's could have `name`
/// mean another setting, of which these words are no value.
pub(super) fn setting_of_row(s: &nodes::SelectStmt, place: Place) -> Option<SettingChange> {
    const SETTING: &str = "restrict_nonsystem_relation_kind";
    let is_name = |node: Node<'_>| match node {
        Node::ColumnRef(c) => c.fields().len() == 1 && c.fields().get(0).and_then(Node::as_str) == Some("name"),
        _ => false,
    };
    let (mut from, mut outputs) = (s.from_clause().iter(), s.target_list().iter());
    let (Some(Node::RangeVar(rel)), None) = (from.next(), from.next()) else { return None };
    let (Some(Node::FuncCall(call)), None) = (outputs.next().map(nodes::ResTarget::val), outputs.next()) else {
        return None;
    };
    let Node::A_Expr(filter) = s.where_clause() else { return None };
    let value = call.args().get(1).and_then(constant)?;
    let is_it = place.top
        && s.with_clause().is_none()
        && s.into_clause().is_none()
        && rel.relname() == Some("pg_settings")
        && rel.schemaname().is_none_or(|schema| schema == "pg_catalog")
        && filter.kind == A_Expr_Kind::AEXPR_OP
        && names::parts(Node::NodeList(filter.name())) == ["="]
        && is_name(filter.lexpr())
        && constant(filter.rexpr()).as_deref() == Some(SETTING)
        && names::parts(Node::NodeList(call.funcname())) == ["set_config"]
        && call.args().len() == 3
        && call.args().get(0).is_some_and(is_name)
        && value.split(", ").all(|word| matches!(word, "view" | "foreign-table"));
    is_it.then(|| SettingChange::new(Some(SETTING), SettingValue::Constant(value), SettingReach::Session))
}

/// A change of a setting by whatever statement.
pub(super) fn change(
    walk: &mut Walk<'_>,
    name: Option<&str>,
    value: SettingValue,
    reach: SettingReach,
) -> Result<(), SqlError> {
    record(walk, SettingChange::new(name, value, reach))
}

/// A change of a setting, with the question that it asks.
pub(super) fn record(walk: &mut Walk<'_>, change: SettingChange) -> Result<(), SqlError> {
    // Settings of applications, whose names have a dot, hold tokens at times.
    walk.out.secret |= change.name.as_deref().is_none_or(|n| n.contains('.') || n.contains("conninfo"));
    let stored = matches!(change.reach, SettingReach::Role | SettingReach::Database | SettingReach::System);
    let asked = match change.name.as_deref() {
        Some("role" | "session_authorization") => {
            let role = match &change.value {
                SettingValue::Constant(role) if role != "none" => RoleName::Named(role.clone()),
                _ => RoleName::Unnamed,
            };
            walk.ask(Effect::SetRole, Object::Role(role))
        }
        _ if stored || change.class == SettingClass::PinnedKept => Ok(()),
        _ => walk.ask_database(Effect::Set),
    };
    walk.out.settings.push(change);
    asked
}

/// The text of a constant. A cast constant is none: `'roleX'::varchar(4)` is another text.
pub(super) fn constant(node: Node<'_>) -> Option<String> {
    let Node::A_Const(c) = node else { return None };
    match c.val()? {
        ConstValue::Integer(i) => Some(i.to_string()),
        ConstValue::Boolean(b) => Some(if b { "true".into() } else { "false".into() }),
        ConstValue::Float(s) | ConstValue::String(s) => Some(s.to_owned()),
        _ => None,
    }
}

/// The text of a constant, or of a word of the grammar.
pub(super) fn constant_or_string(node: Node<'_>) -> Option<String> {
    match node {
        Node::String(s) => s.sval().map(str::to_owned),
        other => constant(other),
    }
}
