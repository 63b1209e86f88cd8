//! PostgreSQL's own grammar: the only file that names the parser crate.
//!
//! In: a text that passed `scan.rs`. Out: its raw tree, and the node types for the files that read it. Must never call
//! the crate's `walk` (it panics on utility statements and recurses), its Debug output (recurses) or its deparser
//! (recurses): trees come as deep as `Caps::tree_depth`. Parsing itself keeps its stack on the heap, and dropping a
//! tree frees an arena, so neither depends on depth.

use super::SqlError;

pub(super) use pg_raw_parse::list::{CastNodeList, NodeList};
pub(super) use pg_raw_parse::raw::{
    A_Expr_Kind, AlterTableType, CmdType, DiscardMode, DropBehavior, GrantTargetType, JoinType, LimitOption,
    MergeMatchKind, ObjectType, OnConflictAction, ReindexObjectType, RoleSpecType, SetOperation, SubLinkType,
    TransactionStmtKind, VariableSetKind,
};
pub(super) use pg_raw_parse::{ConstValue, Node, nodes};

/// The tree of a message.
pub(super) struct Tree(pg_raw_parse::ParseResult);

impl Tree {
    /// Statements with their place in the text.
    pub(super) fn statements(&self) -> impl Iterator<Item = &nodes::RawStmt> {
        self.0.iter()
    }
}

/// Parses a text that `scan` let through.
pub(super) fn parse(text: &str) -> Result<Tree, SqlError> {
    match pg_raw_parse::parse(text) {
        Ok(tree) => Ok(Tree(tree)),
        Err(pg_raw_parse::Error::StatementContainedNul(e)) => Err(SqlError::Nul { at: e.nul_position() }),
        Err(e @ pg_raw_parse::Error::Parse(_)) => Err(SqlError::Syntax { reason: reason(&e.to_string()) }),
        Err(pg_raw_parse::Error::PgError(_)) => Err(SqlError::Syntax { reason: "syntax error".into() }),
    }
}

/// The grammar's message without what it quotes of the statement.
fn reason(message: &str) -> String {
    let message = message.trim_start_matches("Invalid statement: ");
    let end = message.contains("at end of input");
    let message = message.split(" at or near").next().unwrap_or_default();
    match message {
        _ if end => "syntax error at end of input".into(),
        m if m.is_empty() || m.contains(['"', '\'']) => "syntax error".into(),
        m => m.into(),
    }
}

/// Whether a node that the crate has no type for is `CREATE FOREIGN TABLE`.
pub(super) fn is_create_foreign_table(node: Node<'_>) -> bool {
    matches!(node, Node::Invalid(n) if n.type_ == pg_raw_parse::raw::NodeTag::T_CreateForeignTableStmt)
}
