//! SQL, read with PostgreSQL's own grammar.
//!
//! In: the text of a Query or Parse message. Out: the facts of each of its statements, or an error that names what is
//! wrong without quoting it. Must never let a text through that it could not read in full, must never recurse over a
//! tree, and must never look at text to decide what a statement does.
//!
//! The text is right only under the pins of the session: `standard_conforming_strings = on`, and with the text as the
//! server has it after it was converted from `client_encoding`. Names are folded and cut as a server does whose database is UTF8; in a database of a single-byte encoding the server
//! also folds letters beyond ASCII.

pub mod facts;
pub mod scan;
mod tokens;
mod parse;
mod change;
mod children;
mod classify;
mod condition;
mod walk;
mod levels;
mod query;
mod call;
mod define;
mod alter;
mod grants;
mod utility;
pub mod settings;
pub mod lineage;
pub mod functions;
mod names;
mod operators;
mod tags;
mod reader;
mod redact;
mod template;
mod temporary;
pub mod source;

pub use facts::{Facts, Statement};
pub use reader::Reader;
pub use redact::{redact, unreadable};
pub use scan::Caps;
pub use scan::may_be_other_names;
pub use template::{SAMPLES, filled, template};
pub use temporary::drop_as_temporary;

/// Why a text cannot be read. No variant quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// Longer than `max_statement`.
    #[error("the message has {bytes} bytes of SQL, {cap} are allowed: send it in parts, or load rows with COPY")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The cap.
        cap: usize,
    },
    /// Not UTF-8.
    #[error("the SQL is not valid UTF-8 from byte {at} on: set client_encoding to UTF8")]
    NotUtf8 {
        /// Where.
        at: usize,
    },
    /// A NUL byte.
    #[error("the SQL holds a NUL byte at {at}: remove it")]
    Nul {
        /// Where.
        at: usize,
    },
    /// Comments too deep.
    #[error("a comment at byte {at} is nested deeper than {cap} levels: flatten it")]
    CommentDepth {
        /// Where the outermost starts.
        at: usize,
        /// The cap.
        cap: u32,
    },
    /// Parentheses too deep.
    #[error("parentheses are nested deeper than {cap} levels at byte {at}: flatten the expression")]
    ParenDepth {
        /// Where.
        at: usize,
        /// The cap.
        cap: u32,
    },
    /// Too many tokens.
    #[error("the message has more than {cap} words and signs: send it in parts, or load rows with COPY")]
    TooManyTokens {
        /// The cap.
        cap: u32,
    },
    /// Too many statements.
    #[error("the message has more than {cap} statements: send it in parts")]
    TooManyStatements {
        /// The cap.
        cap: u32,
    },
    /// Runs of operator characters, which take the scanner the square of their length.
    #[error("too many operator characters without a space at byte {at}: separate them")]
    OperatorRun {
        /// Where the cap was reached.
        at: usize,
    },
    /// A string follows another after a block comment and a newline: one to some, two to others.
    #[error("a string follows another after a comment at byte {at}: write it in one piece, or join the pieces with ||")]
    SplitString {
        /// Where it goes on.
        at: usize,
    },
    /// Too many GLOBAL TEMP tables.
    #[error("too many words GLOBAL: leave the word out, it means nothing to PostgreSQL")]
    GlobalTemp,
    /// PostgreSQL's grammar refuses it.
    #[error("not SQL of PostgreSQL: {reason}; send it to the server in a test database to see where")]
    Syntax {
        /// The grammar's words, without what they quote.
        reason: String,
    },
    /// Expressions or queries chained too deep.
    #[error("the statement is nested deeper than {cap} levels: shorten its chain of operators, joins or UNIONs")]
    TreeDepth {
        /// The cap.
        cap: u32,
    },
    /// More relations, columns or questions than can be judged.
    #[error("the statement names too many relations and columns to judge: split it")]
    TooComplex,
    /// A part of the tree that has no class.
    #[error("the statement has a part that the gateway does not know: write it another way")]
    UnknownNode,
    /// The threads that read long statements are gone.
    #[error("the gateway cannot read long statements now: try again, and tell its operator")]
    Stopped,
}

/// Reads a message where it stands. Quick for short texts; 4 MiB can take a quarter of a second.
///
/// # Errors
/// A cap that the text breaks, or that it is not SQL.
pub fn read(text: &[u8], caps: &Caps) -> Result<Facts, SqlError> {
    let text = scan::scan(text, caps)?;
    let text = text.as_ref();
    let tree = parse::parse(text)?;
    let mut facts = Facts::default();
    for raw in tree.statements() {
        let span = span(raw, text);
        let body = text.get(span.clone()).ok_or(SqlError::UnknownNode)?;
        let (mut statement, depth) = walk::statement(raw.stmt(), body, caps)?;
        statement.span = span;
        facts.depth = facts.depth.max(depth);
        facts.statements.push(statement);
    }
    Ok(facts)
}

/// A length of 0 is the rest of the text (parsenodes.h, `RawStmt`).
fn span(raw: &parse::nodes::RawStmt, text: &str) -> std::ops::Range<usize> {
    let start = usize::try_from(raw.stmt_location).unwrap_or(0);
    let end = match usize::try_from(raw.stmt_len) {
        Ok(0) | Err(_) => text.len(),
        Ok(len) => start + len,
    };
    start..end
}

#[cfg(test)]
mod tests;
