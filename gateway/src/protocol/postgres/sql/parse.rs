//! PostgreSQL's own grammar: the only file that names the parser crate.
//!
//! In: a text that passed `scan.rs`. Out: its raw tree, and the node types for the files that read it. Must never call
//! the crate's `walk` (it panics on utility statements and recurses). Its copies, its Debug output and its deparser
//! recurse: they are for trees that `source.rs` has measured, since trees come as deep as `Caps::tree_depth`. Parsing
//! itself keeps its stack on the heap, and dropping a tree frees an arena, so neither depends on depth.

use pg_raw_parse::make::{self, MemoryToken, Unique};
use pg_raw_parse::transform::{Transform, TransformClosure};

use super::SqlError;

pub(super) use pg_raw_parse::list::{CastNodeList, NodeList};
pub(super) use pg_raw_parse::raw::{
    A_Expr_Kind, AlterTableType, BoolExprType, CmdType, ConstrType, DiscardMode, DropBehavior, GrantTargetType,
    JoinType, LimitOption, MergeMatchKind, ObjectType, OnConflictAction, ReindexObjectType, RoleSpecType, SetOperation,
    SubLinkType, TransactionStmtKind, VariableSetKind,
};
pub(super) use pg_raw_parse::{ConstValue, Node, NodeMut, nodes};

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

/// A statement as the grammar's own deparser writes it.
pub(super) fn deparse(node: Node<'_>) -> Option<String> {
    Some(pg_raw_parse::deparse(node).ok()?.as_str().to_owned())
}

/// What is put in the place of a node.
pub(super) enum Replaced<'s> {
    /// It stays.
    Nothing,
    /// Of a relation in FROM: this query, under the relation's alias or name.
    ByQuery(&'s str),
    /// Of a column: itself, named by relation and column alone.
    WithoutSchema,
}

/// A statement of which nodes were replaced.
pub(super) struct Rewritten(pg_raw_parse::Owned<nodes::RawStmt>);

/// Replaces nodes of a statement; none where a replacement cannot be made.
pub(super) fn replace<'s>(
    raw: &nodes::RawStmt,
    mut replaced: impl FnMut(&NodeMut<'_, '_>) -> Replaced<'s>,
) -> Option<Rewritten> {
    let mut is_whole = true;
    let new = make::owned(|mem| {
        let mut copy = mem.make_unique(raw);
        TransformClosure::new(|node| {
            let new = match (replaced(&node), &*node) {
                (Replaced::Nothing, _) => return Some(node),
                (Replaced::ByQuery(query), NodeMut::RangeVar(relation)) => subquery(mem, query, relation),
                (Replaced::WithoutSchema, NodeMut::ColumnRef(column)) => without_schema(mem, column),
                _ => None,
            };
            match new {
                Some(new) => node.replace(new),
                None => is_whole = false,
            }
            None
        })
        .transform_raw_stmt(copy.as_mut());
        copy
    });
    is_whole.then_some(Rewritten(new))
}

fn subquery<'mem>(mem: MemoryToken<'mem>, query: &str, relation: &nodes::RangeVar) -> Option<Unique<'mem, Node<'mem>>> {
    let tree = parse(query).ok()?;
    let mut new = mem.make_node::<nodes::RangeSubselect>();
    new.as_mut().set_subquery(mem.make_unique(tree.statements().next()?.stmt()));
    let alias = match relation.alias() {
        Some(alias) => mem.make_unique(alias),
        None => mem.make_alias(Some(relation.relname()?), mem.empty()),
    };
    new.as_mut().set_alias(alias.as_option());
    Some(new.uncast())
}

fn without_schema<'mem>(mem: MemoryToken<'mem>, column: &nodes::ColumnRef) -> Option<Unique<'mem, Node<'mem>>> {
    let fields: Vec<_> = column.fields().iter().collect();
    let fields: Vec<_> = fields.last_chunk::<2>()?.iter().map(|field| mem.make_unique(*field)).collect();
    Some(mem.make_column_ref(mem.make_list(&fields)).uncast())
}

impl Rewritten {
    /// Its text, if the grammar reads it as this very tree.
    pub(super) fn text(&self) -> Option<String> {
        let text = deparse(self.0.stmt())?;
        let again = parse(&text).ok()?;
        let mut statements = again.statements();
        let (Some(read), None) = (statements.next(), statements.next()) else { return None };
        (shape(read.stmt()) == shape(self.0.stmt())).then_some(text)
    }
}

/// All that a tree says, but for the places where it says it.
pub(super) fn shape(node: Node<'_>) -> String {
    let all = format!("{node:?}");
    let mut out = String::with_capacity(all.len());
    let (mut in_text, mut is_escaped, mut skips) = (false, false, false);
    for character in all.chars() {
        if skips && (character == '-' || character.is_ascii_digit()) {
            continue;
        }
        skips = false;
        out.push(character);
        match character {
            '"' if !is_escaped => in_text = !in_text,
            // Fields of the type ParseLoc (nodes.h).
            ' ' if !in_text => skips = PLACES.iter().any(|place| out.ends_with(place)),
            _ => {}
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    out
}

/// The ends of their names.
const PLACES: [&str; 4] = ["location: ", "list_start: ", "list_end: ", "stmt_len: "];
