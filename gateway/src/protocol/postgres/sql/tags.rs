//! Command tags, as the server names statements in CommandComplete and event triggers.
//!
//! In: the node of a statement. Out: its tag. Must never be used to decide: it is a name for policy texts and people.
// TABLE: one arm for each statement that has a tag of its own (CreateCommandTag in utility.c).

use std::borrow::Cow;

use super::names;
use super::parse::{
    DiscardMode, Node, ObjectType, TransactionStmtKind, VariableSetKind, is_create_foreign_table, nodes,
};

/// The tag, or `UNKNOWN` for what is no statement.
#[expect(clippy::too_many_lines, reason = "a table with an arm per statement")]
pub(super) fn tag(node: Node<'_>) -> Cow<'static, str> {
    let tag = match node {
        Node::SelectStmt(s) if s.into_clause().is_some() => "SELECT INTO",
        Node::SelectStmt(_) => "SELECT",
        Node::InsertStmt(_) => "INSERT",
        Node::UpdateStmt(_) => "UPDATE",
        Node::DeleteStmt(_) => "DELETE",
        Node::MergeStmt(_) => "MERGE",
        Node::TransactionStmt(s) => transaction(s),
        Node::DeclareCursorStmt(_) => "DECLARE CURSOR",
        Node::ClosePortalStmt(s) => either(s.portalname().is_some(), "CLOSE CURSOR", "CLOSE CURSOR ALL"),
        Node::FetchStmt(s) => either(s.ismove, "MOVE", "FETCH"),
        Node::CreateDomainStmt(_) => "CREATE DOMAIN",
        Node::CreateSchemaStmt(_) => "CREATE SCHEMA",
        Node::CreateStmt(_) => "CREATE TABLE",
        Node::CreateTableSpaceStmt(_) => "CREATE TABLESPACE",
        Node::DropTableSpaceStmt(_) => "DROP TABLESPACE",
        Node::AlterTableSpaceOptionsStmt(_) => "ALTER TABLESPACE",
        Node::CreateExtensionStmt(_) => "CREATE EXTENSION",
        Node::AlterExtensionStmt(_) | Node::AlterExtensionContentsStmt(_) => "ALTER EXTENSION",
        Node::CreateFdwStmt(_) => "CREATE FOREIGN DATA WRAPPER",
        Node::AlterFdwStmt(_) => "ALTER FOREIGN DATA WRAPPER",
        Node::CreateForeignServerStmt(_) => "CREATE SERVER",
        Node::AlterForeignServerStmt(_) => "ALTER SERVER",
        Node::CreateUserMappingStmt(_) => "CREATE USER MAPPING",
        Node::AlterUserMappingStmt(_) => "ALTER USER MAPPING",
        Node::DropUserMappingStmt(_) => "DROP USER MAPPING",
        Node::ImportForeignSchemaStmt(_) => "IMPORT FOREIGN SCHEMA",
        Node::DropStmt(s) => return of_object("DROP", s.remove_type),
        Node::TruncateStmt(_) => "TRUNCATE TABLE",
        Node::CommentStmt(_) => "COMMENT",
        Node::SecLabelStmt(_) => "SECURITY LABEL",
        Node::CopyStmt(_) => "COPY",
        Node::RenameStmt(s) if s.rename_type == ObjectType::OBJECT_COLUMN => {
            return of_object("ALTER", s.relation_type);
        }
        Node::RenameStmt(s) => return of_object("ALTER", s.rename_type),
        Node::AlterObjectDependsStmt(s) => return of_object("ALTER", s.object_type),
        Node::AlterObjectSchemaStmt(s) => return of_object("ALTER", s.object_type),
        Node::AlterOwnerStmt(s) => return of_object("ALTER", s.object_type),
        Node::AlterTableMoveAllStmt(s) => return of_object("ALTER", s.objtype),
        Node::AlterTableStmt(s) => return of_object("ALTER", s.objtype),
        Node::AlterDomainStmt(_) => "ALTER DOMAIN",
        Node::AlterFunctionStmt(s) => return of_object("ALTER", s.objtype),
        Node::GrantStmt(s) => either(s.is_grant, "GRANT", "REVOKE"),
        Node::GrantRoleStmt(s) => either(s.is_grant, "GRANT ROLE", "REVOKE ROLE"),
        Node::AlterDefaultPrivilegesStmt(_) => "ALTER DEFAULT PRIVILEGES",
        Node::DefineStmt(s) => return of_object("CREATE", s.kind),
        Node::CompositeTypeStmt(_) | Node::CreateEnumStmt(_) | Node::CreateRangeStmt(_) => "CREATE TYPE",
        Node::AlterEnumStmt(_) | Node::AlterTypeStmt(_) => "ALTER TYPE",
        Node::ViewStmt(_) => "CREATE VIEW",
        Node::CreateFunctionStmt(s) => either(s.is_procedure, "CREATE PROCEDURE", "CREATE FUNCTION"),
        Node::IndexStmt(_) => "CREATE INDEX",
        Node::RuleStmt(_) => "CREATE RULE",
        Node::CreateSeqStmt(_) => "CREATE SEQUENCE",
        Node::AlterSeqStmt(_) => "ALTER SEQUENCE",
        Node::DoStmt(_) => "DO",
        Node::CreatedbStmt(_) => "CREATE DATABASE",
        Node::AlterDatabaseStmt(_) | Node::AlterDatabaseSetStmt(_) | Node::AlterDatabaseRefreshCollStmt(_) => {
            "ALTER DATABASE"
        }
        Node::DropdbStmt(_) => "DROP DATABASE",
        Node::NotifyStmt(_) => "NOTIFY",
        Node::ListenStmt(_) => "LISTEN",
        Node::UnlistenStmt(_) => "UNLISTEN",
        Node::LoadStmt(_) => "LOAD",
        Node::CallStmt(_) => "CALL",
        Node::ClusterStmt(_) => "CLUSTER",
        Node::VacuumStmt(s) => either(s.is_vacuumcmd, "VACUUM", "ANALYZE"),
        Node::ExplainStmt(_) => "EXPLAIN",
        Node::CreateTableAsStmt(s) if s.objtype == ObjectType::OBJECT_MATVIEW => "CREATE MATERIALIZED VIEW",
        Node::CreateTableAsStmt(s) => either(s.is_select_into, "SELECT INTO", "CREATE TABLE AS"),
        Node::RefreshMatViewStmt(_) => "REFRESH MATERIALIZED VIEW",
        Node::AlterSystemStmt(_) => "ALTER SYSTEM",
        Node::VariableSetStmt(s) => {
            either(matches!(s.kind, VariableSetKind::VAR_RESET | VariableSetKind::VAR_RESET_ALL), "RESET", "SET")
        }
        Node::VariableShowStmt(_) => "SHOW",
        Node::DiscardStmt(s) => discard(s),
        Node::CreateTransformStmt(_) => "CREATE TRANSFORM",
        Node::CreateTrigStmt(_) => "CREATE TRIGGER",
        Node::CreateEventTrigStmt(_) => "CREATE EVENT TRIGGER",
        Node::AlterEventTrigStmt(_) => "ALTER EVENT TRIGGER",
        Node::CreatePLangStmt(_) => "CREATE LANGUAGE",
        Node::CreateRoleStmt(_) => "CREATE ROLE",
        Node::AlterRoleStmt(_) | Node::AlterRoleSetStmt(_) => "ALTER ROLE",
        Node::DropRoleStmt(_) => "DROP ROLE",
        Node::DropOwnedStmt(_) => "DROP OWNED",
        Node::ReassignOwnedStmt(_) => "REASSIGN OWNED",
        Node::LockStmt(_) => "LOCK TABLE",
        Node::ConstraintsSetStmt(_) => "SET CONSTRAINTS",
        Node::CheckPointStmt(_) => "CHECKPOINT",
        Node::ReindexStmt(_) => "REINDEX",
        Node::CreateConversionStmt(_) => "CREATE CONVERSION",
        Node::CreateCastStmt(_) => "CREATE CAST",
        Node::CreateOpClassStmt(_) => "CREATE OPERATOR CLASS",
        Node::CreateOpFamilyStmt(_) => "CREATE OPERATOR FAMILY",
        Node::AlterOpFamilyStmt(_) => "ALTER OPERATOR FAMILY",
        Node::AlterOperatorStmt(_) => "ALTER OPERATOR",
        Node::AlterTSDictionaryStmt(_) => "ALTER TEXT SEARCH DICTIONARY",
        Node::AlterTSConfigurationStmt(_) => "ALTER TEXT SEARCH CONFIGURATION",
        Node::CreatePolicyStmt(_) => "CREATE POLICY",
        Node::AlterPolicyStmt(_) => "ALTER POLICY",
        Node::CreateAmStmt(_) => "CREATE ACCESS METHOD",
        Node::CreatePublicationStmt(_) => "CREATE PUBLICATION",
        Node::AlterPublicationStmt(_) => "ALTER PUBLICATION",
        Node::CreateSubscriptionStmt(_) => "CREATE SUBSCRIPTION",
        Node::AlterSubscriptionStmt(_) => "ALTER SUBSCRIPTION",
        Node::DropSubscriptionStmt(_) => "DROP SUBSCRIPTION",
        Node::AlterCollationStmt(_) => "ALTER COLLATION",
        Node::PrepareStmt(_) => "PREPARE",
        Node::ExecuteStmt(_) => "EXECUTE",
        Node::CreateStatsStmt(_) => "CREATE STATISTICS",
        Node::AlterStatsStmt(_) => "ALTER STATISTICS",
        Node::DeallocateStmt(s) => either(s.name().is_some(), "DEALLOCATE", "DEALLOCATE ALL"),
        node if is_create_foreign_table(node) => "CREATE FOREIGN TABLE",
        _ => "UNKNOWN",
    };
    Cow::Borrowed(tag)
}

const fn either(condition: bool, then: &'static str, otherwise: &'static str) -> &'static str {
    if condition { then } else { otherwise }
}

fn of_object(verb: &str, object: ObjectType::Type) -> Cow<'static, str> {
    let kind = names::kind(object).map_or("object", |(kind, _)| kind);
    Cow::Owned(format!("{verb} {}", kind.to_ascii_uppercase()))
}

fn transaction(s: &nodes::TransactionStmt) -> &'static str {
    match s.kind {
        TransactionStmtKind::TRANS_STMT_BEGIN => "BEGIN",
        TransactionStmtKind::TRANS_STMT_START => "START TRANSACTION",
        TransactionStmtKind::TRANS_STMT_COMMIT => "COMMIT",
        TransactionStmtKind::TRANS_STMT_ROLLBACK | TransactionStmtKind::TRANS_STMT_ROLLBACK_TO => "ROLLBACK",
        TransactionStmtKind::TRANS_STMT_SAVEPOINT => "SAVEPOINT",
        TransactionStmtKind::TRANS_STMT_RELEASE => "RELEASE",
        TransactionStmtKind::TRANS_STMT_PREPARE => "PREPARE TRANSACTION",
        TransactionStmtKind::TRANS_STMT_COMMIT_PREPARED => "COMMIT PREPARED",
        TransactionStmtKind::TRANS_STMT_ROLLBACK_PREPARED => "ROLLBACK PREPARED",
        _ => "UNKNOWN",
    }
}

fn discard(s: &nodes::DiscardStmt) -> &'static str {
    match s.target {
        DiscardMode::DISCARD_ALL => "DISCARD ALL",
        DiscardMode::DISCARD_PLANS => "DISCARD PLANS",
        DiscardMode::DISCARD_SEQUENCES => "DISCARD SEQUENCES",
        DiscardMode::DISCARD_TEMP => "DISCARD TEMP",
        _ => "UNKNOWN",
    }
}
