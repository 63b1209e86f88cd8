//! Statements of the session and of upkeep: SET, PREPARE, cursors, transactions, COPY, LOCK, VACUUM, EXPLAIN.
//!
//! In: utility statements that make no object. Out: what they do to the session and to relations. Must never lose the
//! statement inside another: EXPLAIN, PREPARE, DECLARE and COPY count all that theirs does.

use super::SqlError;
use super::call;
use super::facts::{CopyRows, Discard, Effect, Filter, Object, Opaque, SettingReach, SettingValue, Verb};
use super::levels::Seen;
use super::names;
use super::parse::{DiscardMode, Node, ReindexObjectType, TransactionStmtKind, VariableSetKind, nodes};
use super::walk::{Place, Walk};

/// SET, RESET, and the SET clauses of ALTER and CREATE FUNCTION.
pub(super) fn set(walk: &mut Walk<'_>, s: &nodes::VariableSetStmt, reach: SettingReach) -> Result<(), SqlError> {
    let name = s.name();
    let value = match s.kind {
        VariableSetKind::VAR_SET_VALUE => {
            let values: Option<Vec<String>> = s.args().iter().map(call::constant).collect();
            // Joined, an element that holds a comma or begins with a space would pass for others: nobody knows it then.
            let is_plain = |value: &String| !value.contains([',', '"']) && value.trim() == value;
            match values {
                Some(one) if one.len() == 1 && name != Some("search_path") => SettingValue::Constant(one.concat()),
                Some(list) if list.iter().all(is_plain) => SettingValue::Constant(list.join(", ")),
                _ => SettingValue::Unknown,
            }
        }
        VariableSetKind::VAR_SET_DEFAULT | VariableSetKind::VAR_RESET => SettingValue::Reset,
        VariableSetKind::VAR_SET_CURRENT => SettingValue::Current,
        // SET TRANSACTION and SET SESSION CHARACTERISTICS.
        VariableSetKind::VAR_SET_MULTI => {
            walk.verb(Verb::SetTransaction);
            return Ok(());
        }
        // RESET ALL: back to the values of the startup packet, pinned ones included.
        VariableSetKind::VAR_RESET_ALL => return call::change(walk, Some("all"), SettingValue::Reset, reach),
        _ => return Err(SqlError::UnknownNode),
    };
    let local = s.is_local && reach == SettingReach::Session;
    call::change(walk, name, value, if local { SettingReach::Transaction } else { reach })
}

/// A SET clause of ALTER ROLE, ALTER DATABASE or ALTER SYSTEM.
pub(super) fn stored_set(
    walk: &mut Walk<'_>,
    s: Option<&nodes::VariableSetStmt>,
    reach: SettingReach,
) -> Result<(), SqlError> {
    s.map_or(Ok(()), |s| set(walk, s, reach))
}

/// BEGIN, COMMIT, ROLLBACK, savepoints, two-phase commit.
pub(super) fn transaction(walk: &mut Walk<'_>, s: &nodes::TransactionStmt) -> Result<(), SqlError> {
    let name = || s.savepoint_name().unwrap_or_default().to_owned();
    walk.verb(match s.kind {
        TransactionStmtKind::TRANS_STMT_BEGIN | TransactionStmtKind::TRANS_STMT_START => Verb::Begin,
        TransactionStmtKind::TRANS_STMT_COMMIT => Verb::Commit,
        TransactionStmtKind::TRANS_STMT_ROLLBACK => Verb::Rollback,
        TransactionStmtKind::TRANS_STMT_SAVEPOINT => Verb::Savepoint(name()),
        TransactionStmtKind::TRANS_STMT_RELEASE => Verb::Release(name()),
        TransactionStmtKind::TRANS_STMT_ROLLBACK_TO => Verb::RollbackTo(name()),
        TransactionStmtKind::TRANS_STMT_PREPARE => Verb::PrepareTransaction,
        TransactionStmtKind::TRANS_STMT_COMMIT_PREPARED => Verb::CommitPrepared,
        TransactionStmtKind::TRANS_STMT_ROLLBACK_PREPARED => Verb::RollbackPrepared,
        _ => return Err(SqlError::UnknownNode),
    });
    Ok(())
}

/// COPY of a relation or a query, to and from the client, a file or a program.
pub(super) fn copy<'a>(walk: &mut Walk<'a>, s: &'a nodes::CopyStmt, place: Place) -> Result<(), SqlError> {
    match (s.is_program, s.filename(), s.is_from) {
        (true, _, _) => walk.ask_database(Effect::CopyProgram)?,
        (false, Some(_), _) => walk.ask_database(Effect::ServerFile)?,
        (false, None, true) => walk.verb(Verb::CopyIn),
        (false, None, false) => walk.verb(Verb::CopyOut),
    }
    walk.out.copy = Some(copy_rows(s));
    if let Some(rel) = s.relation() {
        let mut columns = super::query::columns_of(s.attlist());
        columns.all |= s.attlist().is_empty();
        let level = walk.levels.open_below(Place { in_where: false, ..place });
        walk.levels.add(
            level,
            if s.is_from {
                Seen::new(rel, vec![(Effect::Insert, Filter::None)]).writes(columns)
            } else {
                Seen::new(rel, vec![(Effect::Select, Filter::None)]).reads(columns)
            },
        );
        walk.push(s.where_clause(), Place { level, in_where: true, ..place.comparing() });
    }
    walk.push(s.query(), place);
    Ok(())
}

/// How a COPY writes rows, from its options.
fn copy_rows(s: &nodes::CopyStmt) -> CopyRows {
    let columns = s.attlist().iter().filter_map(Node::as_str).map(str::to_owned).collect();
    let mut rows = CopyRows { relation: s.relation().map(names::relation), columns, ..CopyRows::default() };
    for option in s.options() {
        let name = option.defname().unwrap_or_default();
        let text = call::constant_or_string(option.arg());
        let place = match name {
            "format" => &mut rows.format,
            "delimiter" => &mut rows.delimiter,
            "null" => &mut rows.null,
            "quote" => &mut rows.quote,
            "escape" => &mut rows.escape,
            "header" => {
                rows.header = !is_off(option.arg());
                continue;
            }
            // They change nothing of what a reader of the rows has to know.
            "force_quote" | "freeze" => continue,
            _ => {
                rows.unknown.push(name.to_owned());
                continue;
            }
        };
        match text {
            Some(text) => *place = Some(text),
            None => rows.unknown.push(name.to_owned()),
        }
    }
    rows
}

/// EXPLAIN: the inner statement counts whether it runs or not, since the plan shows what it would do.
pub(super) fn explain<'a>(walk: &mut Walk<'a>, s: &'a nodes::ExplainStmt, place: Place) {
    let analyze = s.options().iter().any(|o| o.defname() == Some("analyze") && !is_off(o.arg()));
    walk.verb(Verb::Explain { analyze });
    walk.push(s.query(), place);
}

/// `off`, `false` or 0, as `defGetBoolean` reads it.
fn is_off(value: Node<'_>) -> bool {
    match value {
        Node::Boolean(b) => !b.boolval,
        Node::Integer(i) => i.ival == 0,
        Node::String(s) => s.sval().is_some_and(|s| s.eq_ignore_ascii_case("off") || s.eq_ignore_ascii_case("false")),
        _ => false,
    }
}

/// DECLARE CURSOR. `CURSOR_OPT_HOLD` is 0x20 (parsenodes.h).
pub(super) fn declare<'a>(walk: &mut Walk<'a>, s: &'a nodes::DeclareCursorStmt, place: Place) {
    walk.verb(Verb::Declare { name: s.portalname().unwrap_or_default().to_owned(), hold: s.options & 0x20 != 0 });
    walk.push(s.query(), place);
}

/// CALL: what the procedure does is not in the statement.
pub(super) fn call_procedure<'a>(walk: &mut Walk<'a>, s: &'a nodes::CallStmt, place: Place) -> Result<(), SqlError> {
    let Some(funccall) = s.funccall() else { return Err(SqlError::UnknownNode) };
    let name = names::parts(Node::NodeList(funccall.funcname())).join(".");
    walk.opaque(Opaque::Procedure(name));
    walk.push(funccall, place.below());
    Ok(())
}

/// DISCARD.
pub(super) fn discard(walk: &mut Walk<'_>, s: &nodes::DiscardStmt) -> Result<(), SqlError> {
    walk.verb(Verb::Discard(match s.target {
        DiscardMode::DISCARD_ALL => Discard::All,
        DiscardMode::DISCARD_PLANS => Discard::Plans,
        DiscardMode::DISCARD_SEQUENCES => Discard::Sequences,
        DiscardMode::DISCARD_TEMP => Discard::Temporary,
        _ => return Err(SqlError::UnknownNode),
    }));
    walk.ask_database(Effect::Set)
}

/// VACUUM and ANALYZE, of some relations or of all.
pub(super) fn vacuum(walk: &mut Walk<'_>, s: &nodes::VacuumStmt) -> Result<(), SqlError> {
    if s.rels().is_empty() {
        return walk.ask_database(Effect::Maintain);
    }
    s.rels().iter().try_for_each(|rel| walk.ask_relation(Effect::Maintain, rel.relation()))
}

/// CLUSTER and REFRESH: of a relation, or of all.
pub(super) fn maintain(walk: &mut Walk<'_>, rel: Option<&nodes::RangeVar>) -> Result<(), SqlError> {
    match rel {
        Some(rel) => walk.ask_relation(Effect::Maintain, Some(rel)),
        None => walk.ask_database(Effect::Maintain),
    }
}

/// REINDEX.
pub(super) fn reindex(walk: &mut Walk<'_>, s: &nodes::ReindexStmt) -> Result<(), SqlError> {
    let name = s.name().map(str::to_owned);
    match (s.kind, name) {
        (ReindexObjectType::REINDEX_OBJECT_SCHEMA, Some(name)) => walk.ask(Effect::Maintain, Object::Schema(name)),
        (ReindexObjectType::REINDEX_OBJECT_INDEX | ReindexObjectType::REINDEX_OBJECT_TABLE, _) => {
            walk.ask_relation(Effect::Maintain, s.relation())
        }
        (_, name) => walk.ask(Effect::Maintain, Object::Database(name)),
    }
}

/// EXECUTE: the prepared statement's questions are the caller's to ask; here are those of its arguments.
pub(super) fn execute<'a>(walk: &mut Walk<'a>, s: &'a nodes::ExecuteStmt, place: Place) {
    walk.verb(Verb::Execute(s.name().unwrap_or_default().to_owned()));
    walk.push_all(s.params(), place.below());
}

/// FETCH and MOVE.
pub(super) fn fetch(walk: &mut Walk<'_>, s: &nodes::FetchStmt) {
    let name = s.portalname().unwrap_or_default().to_owned();
    walk.verb(if s.ismove { Verb::Move(name) } else { Verb::Fetch(name) });
}
