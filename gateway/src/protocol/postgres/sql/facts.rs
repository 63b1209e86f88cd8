//! What a message of SQL would do: the answer of this folder.
//!
//! In: nothing, these are plain types. Out: for each statement its questions (effect and object), calls, settings, and
//! why it cannot be read. Must never hold a constant of the statement, save names of objects, settings and channels.
//!
//! Raw parsing knows no catalog. So a relation is a name as written, an operator or cast may hide a function that is
//! not listed, and a column that is not qualified counts for each relation that could have it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

pub use super::functions::FunctionClass;
pub use super::settings::{SettingChange, SettingClass, SettingReach, SettingValue};

/// The facts of one message: of the string of a Query, or of the text of a Parse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// In the order of the message; an empty query has none.
    pub statements: Vec<Statement>,
    /// Levels of the deepest tree, for whoever walks it by recursion.
    pub depth: u32,
}

/// The facts of one statement, with all that it carries: of `PREPARE`, `EXPLAIN`, a cursor, the inner statement counts in full.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statement {
    /// Command tag as PostgreSQL names it: `SELECT`, `DROP TABLE`.
    pub command: Cow<'static, str>,
    /// Where it stands in the message, in bytes, without the semicolon.
    pub span: Range<usize>,
    /// One question to policy each; the strictest answer wins.
    pub questions: Vec<Question>,
    /// How it uses the columns of the relations that it names.
    pub uses: Vec<ColumnUse>,
    /// Every function that is called by name, pure ones too.
    pub calls: BTreeSet<Call>,
    /// What calls a function though it is no call: operators, and names after a dot, of relations, rows or other values
    /// (where there is no such column, `row.f` calls `f(row)`).
    pub attributes: BTreeSet<String>,
    /// Types that it names: a cast to one, or a domain, can call a function.
    pub types: BTreeSet<String>,
    /// Session and stored settings that it changes.
    pub settings: Vec<SettingChange>,
    /// Why it does more than can be read; empty where all can be read.
    pub opaque: BTreeSet<Opaque>,
    /// What it does to the protocol state of the session.
    pub verbs: Vec<Verb>,
    /// How it writes rows, where it is COPY.
    pub copy: Option<CopyRows>,
    /// Constants by which ORDER BY, GROUP BY and DISTINCT name outputs, in order.
    pub places: Vec<i32>,
    /// A part of it writes rows that its command tag does not count.
    pub nests_writes: bool,
    /// It has a place for passwords, keys or connection strings: its constants are kept nowhere.
    pub secret: bool,
}

/// May this effect be had on this object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is done.
    pub effect: Effect,
    /// To what.
    pub object: Object,
    /// How the rows are chosen, for effects on rows.
    pub filter: Filter,
    /// Columns of the relation that the statement names, at most.
    pub columns: Columns,
    /// Rows that can come out at most, where a constant LIMIT of the whole statement says so.
    pub limit: Option<u64>,
}

/// What is done; the names of the actions of policy.
#[expect(missing_docs, reason = "the names are those of the policy schema, which documents them")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    Select,
    Insert,
    Update,
    Delete,
    Truncate,
    Lock,
    Maintain,
    Create,
    Alter,
    Drop,
    Execute,
    Grant,
    Revoke,
    ManageRole,
    SetRole,
    Set,
    Listen,
    Notify,
    AlterSystem,
    CopyProgram,
    ServerFile,
    RunCode,
    LargeObject,
    Replicate,
    FunctionCall,
}

/// What it is done to, by the name that the statement uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// Table, view, sequence, index: the catalog knows which.
    Relation(RelationName),
    /// A function, procedure or aggregate.
    Function {
        /// As written.
        schema: Option<String>,
        /// As written.
        name: String,
        /// What the name tells; `User` where a catalog must say.
        class: FunctionClass,
    },
    /// A schema.
    Schema(String),
    /// A database; `None` is the one of the session.
    Database(Option<String>),
    /// A role.
    Role(RoleName),
    /// Anything else with a name.
    Named {
        /// In the words of PostgreSQL, lower case: `extension`, `policy`.
        kind: &'static str,
        /// As written.
        schema: Option<String>,
        /// As written; of something that belongs to a relation, its own name.
        name: String,
    },
}

/// A relation as the statement names it, folded and cut as the server does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelationName {
    /// Written only as `database.schema.name`; the server accepts just its own.
    pub catalog: Option<String>,
    /// `None`: by search path.
    pub schema: Option<String>,
    /// The name.
    pub name: String,
    /// The statement itself makes it a temporary one.
    pub temporary: bool,
}

/// A role as the statement names it.
#[expect(missing_docs, reason = "the words of the grammar")]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoleName {
    Named(String),
    CurrentUser,
    SessionUser,
    Public,
    /// `ALL` of `ALTER ROLE ALL`, `RESET SESSION AUTHORIZATION`, `SET ROLE NONE`, or a name that is not a constant.
    Unnamed,
}

/// How the rows of an effect are chosen, the least chosen first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Filter {
    /// Not at all.
    #[default]
    None,
    /// By a condition that names no column of the relation, as `WHERE true`.
    Constant,
    /// By a condition that names a column which may be one of the relation.
    Columns,
}

/// Columns that a statement names, an over-approximation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    /// `*`, a whole row, a natural join, or columns renamed by an alias.
    pub all: bool,
    /// Qualified by the relation, or not qualified within its reach.
    pub names: BTreeSet<String>,
}

/// How a statement uses the columns of one relation, each an over-approximation: what masking needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnUse {
    /// The relation.
    pub relation: RelationName,
    /// Read in any way.
    pub read: Columns,
    /// Of these, what rows are chosen, joined, sorted or grouped by: whoever sees the result learns of the values.
    pub compared: Columns,
    /// Of these, what may end where the statement writes: in a relation, a file, a setting, a notification.
    pub moved: Columns,
    /// Written in rows that are there already.
    pub updated: Columns,
}

/// How COPY writes and reads rows (documentation of COPY, its options).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyRows {
    /// The relation, where it is no query.
    pub relation: Option<RelationName>,
    /// Its columns as listed; none: all that are not generated.
    pub columns: Vec<String>,
    /// `text`, `csv` or `binary`; `text` where nothing is said.
    pub format: Option<String>,
    /// Rows begin with the names of the columns.
    pub header: bool,
    /// Where it differs from the format's own.
    pub delimiter: Option<String>,
    /// The same.
    pub null: Option<String>,
    /// The same.
    pub quote: Option<String>,
    /// The same.
    pub escape: Option<String>,
    /// Options that nobody here knows, or whose value cannot be read; `encoding` is one.
    pub unknown: Vec<String>,
}

/// A function that is called by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// As written.
    pub schema: Option<String>,
    /// As written.
    pub name: String,
    /// What the name tells.
    pub class: FunctionClass,
    /// Number of arguments as written: one of an unknown function may be a column, as in `ssn(c)`.
    pub arguments: usize,
}

/// Why a statement does more than can be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Opaque {
    /// `DO`.
    #[error("DO runs a code block")]
    CodeBlock,
    /// A function or procedure that is not built in.
    #[error("`{0}` is not a built-in function, what it does is not in the statement")]
    UserFunction(String),
    /// An operator that is not built in.
    #[error("`{0}` is not a built-in operator, what the function behind it does is not in the statement")]
    UserOperator(String),
    /// A built-in function that runs its argument.
    #[error("`{0}` runs what its arguments say")]
    QueryInString(String),
    /// `CALL`.
    #[error("CALL runs procedure `{0}`")]
    Procedure(String),
    /// The body of a function is stored, and runs later.
    #[error("the body of a function is stored, to run later")]
    StoredBody,
    /// A trigger, rule, policy, default or the like: runs with statements to come.
    #[error("a {0} is stored, to run with later statements")]
    StoredHook(&'static str),
    /// An extension's script.
    #[error("the script of extension `{0}` runs on the server")]
    Extension(String),
    /// A name that the grammar gives no access to.
    #[error("the objects of this {0} cannot be read")]
    Names(&'static str),
    /// A setting whose name or value is computed.
    #[error("a setting is changed whose name is computed")]
    ComputedSetting,
}

/// What a statement does to the state of the session.
#[expect(missing_docs, reason = "the words of the grammar")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    Begin,
    Commit,
    Rollback,
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    PrepareTransaction,
    CommitPrepared,
    RollbackPrepared,
    SetTransaction,
    /// The questions of the statement are those of the prepared one.
    Prepare(String),
    /// The questions of the prepared statement must be asked too.
    Execute(String),
    /// `None`: all.
    Deallocate(Option<String>),
    /// `hold`: it outlives the transaction.
    Declare {
        name: String,
        hold: bool,
    },
    /// The rows are those of the cursor's query.
    Fetch(String),
    Move(String),
    /// `None`: all.
    Close(Option<String>),
    Listen(String),
    /// `None`: all.
    Unlisten(Option<String>),
    Discard(Discard),
    /// `analyze`: the inner statement runs.
    Explain {
        analyze: bool,
    },
    /// COPY … FROM STDIN.
    CopyIn,
    /// COPY … TO STDOUT.
    CopyOut,
}

/// What DISCARD throws away.
#[expect(missing_docs, reason = "the words of the grammar")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    All,
    Plans,
    Sequences,
    Temporary,
}

impl Facts {
    /// Whether two texts would do the same, wherever their statements stand in them.
    #[must_use]
    pub fn same_but_for_places(&self, other: &Self) -> bool {
        let same = |(a, b): (&Statement, &Statement)| {
            let Statement {
                command,
                span: _,
                questions,
                uses,
                calls,
                attributes,
                types,
                settings,
                opaque,
                verbs,
                copy,
                places,
                nests_writes,
                secret,
            } = a;
            *command == b.command
                && *questions == b.questions
                && *uses == b.uses
                && *copy == b.copy
                && *places == b.places
                && *nests_writes == b.nests_writes
                && *calls == b.calls
                && *attributes == b.attributes
                && *types == b.types
                && *settings == b.settings
                && *opaque == b.opaque
                && *verbs == b.verbs
                && *secret == b.secret
        };
        self.statements.len() == other.statements.len() && self.statements.iter().zip(&other.statements).all(same)
    }

    /// Whether anything in the message cannot be read.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.statements.iter().any(|statement| !statement.opaque.is_empty())
    }
}

impl Columns {
    /// Adds what another names.
    pub fn extend(&mut self, other: &Self) {
        self.all |= other.all;
        self.names.extend(other.names.iter().cloned());
    }

    /// Whether a column is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.all || self.names.contains(name)
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.names.is_empty()
    }
}

impl Object {
    /// The database of the session.
    #[must_use]
    pub const fn session_database() -> Self {
        Self::Database(None)
    }
}
