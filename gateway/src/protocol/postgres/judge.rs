//! What this engine asks of the rest of the gateway, and in which words.
//!
//! In: the statements of one session, as their bytes are. Out: a permit for each that may be sent on, or a denial. No
//! Query, Parse, Bind or Execute goes to the server without the answer in hand; an answer is given only when the
//! journal has it. The engine reads no SQL: what a statement means for the protocol comes with its permit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::audit::event::ResultShown;
use crate::conn::BoxConn;
use crate::protocol::postgres::encoding::{Encoding, Speech};
use crate::protocol::postgres::message::Backend;
use crate::protocol::postgres::reply::{Denial, SqlState};
use crate::protocol::postgres::settings::Startup;
use crate::protocol::postgres::state::Transaction;

/// The answer to one question.
#[derive(Debug)]
pub enum Ruling<T> {
    /// It may go on, with this in hand.
    Forward(T),
    /// It may not, and this is what the client reads.
    Refuse(Box<Denial>),
}

/// Decides what one session may do. One for each session; a call may wait for a person, and is dropped when the client
/// leaves, cancels, or loses the server.
pub trait Judge: Send + Sync + 'static {
    /// What is known of a prepared statement; a permit to prepare it.
    type Prepared: Clone + Send + Sync;
    /// What is known of a portal; a permit to make it.
    type Bound: Clone + Send + Sync;
    /// The proof that one run of a Query or Execute was decided and recorded.
    type Permit: Send;

    /// Whether this login may happen at all.
    fn startup(&self, startup: &Startup) -> impl Future<Output = Ruling<()>> + Send;
    /// The session is logged in; these are the schemas of its search path, in order, as the server names them.
    fn logged_in(&self, schemas: Vec<String>) {
        drop(schemas);
    }
    /// How the session speaks, as of now.
    fn speaks(&self, _speech: Speech) {}
    /// Whether the text of a simple query may run; all its statements, or none.
    fn query(&self, text: &str, say: &Say) -> impl Future<Output = Ruling<Forward<Self::Permit>>> + Send;
    /// Whether a text may be prepared.
    fn parse(&self, statement: ParseRequest<'_>, say: &Say) -> impl Future<Output = Ruling<Self::Prepared>> + Send;
    /// What is sent in place of the text of a statement that may be prepared; none: its own.
    fn sent<'p>(&self, _prepared: &'p Self::Prepared) -> Option<&'p str> {
        None
    }
    /// Whether a prepared statement may be bound to these parameters. A hold waits here.
    fn bind(
        &self,
        prepared: &Self::Prepared,
        parameters: BindRequest<'_>,
        say: &Say,
    ) -> impl Future<Output = Ruling<Self::Bound>> + Send;
    /// Whether a portal may run, or run on. `rows` is the limit, zero for none.
    fn execute(
        &self,
        bound: &Self::Bound,
        rows: u32,
        say: &Say,
    ) -> impl Future<Output = Ruling<Forward<Self::Permit>>> + Send;
    /// Whether what ran, and changed more rows than go without asking, may be committed. A hold waits here.
    fn change(&self, permit: &Self::Permit, rows: u64, say: &Say) -> impl Future<Output = Ruling<()>> + Send;
    /// What became of what was permitted. Called once for each permit.
    fn outcome(&self, permit: Self::Permit, outcome: &Outcome<'_>);
    /// The engine itself refused a message that no judge can read: too long, not UTF-8, a name that is not there, a
    /// function call. The session goes on; this is for the record.
    fn refused(&self, _denial: &Denial) {}
    /// What has to be asked of the server, by us, before the next message is ruled on: one SELECT. `_reads`: the
    /// message reads, or writes, rows as the first thing that it does.
    fn question(&self, _transaction: Transaction, _reads: bool) -> Option<String> {
        None
    }
    /// The server's answer to it.
    fn answered(&self, _answer: Result<&Rows, SqlState>) {}
    /// Given a message that belongs to no run (an error, a notice, a notification, a reported setting), writes what the
    /// client may see of it.
    ///
    /// # Errors
    /// When it cannot be rewritten with certainty: the session then ends.
    fn aside(&self, _kind: Backend, _message: &[u8], _out: &mut Vec<u8>) -> Result<Pass, RewriteError> {
        Ok(Pass::Forward)
    }
    /// Resolves when the session has to end, with what the client reads.
    fn ended(&self) -> impl Future<Output = Box<Denial>> + Send;
}

/// A Parse.
#[derive(Clone, Copy, Debug)]
pub struct ParseRequest<'a> {
    /// The statement's name; empty is the unnamed one.
    pub name: &'a str,
    /// What it does.
    pub text: &'a str,
    /// How many types are declared, and their object ids, as on the wire.
    pub types: &'a [u8],
}

/// A Bind.
#[derive(Clone, Copy, Debug)]
pub struct BindRequest<'a> {
    /// The portal's name; empty is the unnamed one.
    pub portal: &'a str,
    /// Formats, values and result formats, as on the wire: all that follows the two names. Texts are in UTF-8.
    pub parameters: &'a [u8],
    /// In which they were.
    pub encoding: &'static Encoding,
}

/// A permit, and what the engine must know of the statement that it is for.
pub struct Forward<P> {
    /// Handed back with the outcome.
    pub permit: P,
    /// Which names at the server no longer mean what they did, once this has run.
    pub forgets: Vec<Forgets>,
    /// Whether the client is going to be asked for COPY data.
    pub copy: CopyIn,
    /// What rewrites the results on their way to the client.
    pub rewrite: Option<Box<dyn Rewrite>>,
    /// How many rows it may show or change.
    pub limit: Option<Limit>,
    /// What is sent in place of a Query.
    pub text: Option<String>,
    /// Whether it may change `client_encoding`: what follows is not read before it is known.
    pub sets_encoding: bool,
}

impl<P> Forward<P> {
    /// A permit for a statement that needs nothing special.
    pub fn plain(permit: P) -> Self {
        Self {
            permit,
            forgets: Vec::new(),
            copy: CopyIn::Unexpected,
            rewrite: None,
            limit: None,
            text: None,
            sets_encoding: false,
        }
    }
}

/// Names that a statement takes away or gives another meaning. Early or in vain does no harm: what the engine does not
/// know, it refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forgets {
    /// DEALLOCATE name.
    Statement(String),
    /// DEALLOCATE ALL.
    Statements,
    /// DECLARE name, CLOSE name.
    Portal(String),
    /// CLOSE ALL, and the end of a transaction or savepoint.
    Portals,
    /// DISCARD ALL.
    Everything,
}

/// Whether a statement reads COPY data from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyIn {
    /// COPY … FROM STDIN: what the client sends behind it waits until the server asks for data.
    Expected,
    /// Anything else.
    Unexpected,
}

/// How many rows a run may show or change.
pub use crate::protocol::postgres::state::Limit;

/// Rows of an answer to a question of ours, in text.
pub use crate::protocol::postgres::catalog::Rows;

/// Rewrites the replies to one statement.
pub trait Rewrite: Send {
    /// How many values were hidden so far, by class.
    fn masked(&self) -> BTreeMap<Arc<str>, u64> {
        BTreeMap::new()
    }

    /// What of the results is kept for the record; asked once, at the end.
    fn shown(&mut self) -> ResultsShown {
        ResultsShown::default()
    }

    /// The rows come in this encoding, where that is not UTF8. Other messages are given in UTF-8.
    fn speaks(&mut self, _encoding: &'static Encoding) {}

    /// Given one whole message of the server, writes what the client may see in its place, where it is not the same.
    ///
    /// # Errors
    /// When it cannot be rewritten with certainty: the session then ends, and nothing more is shown.
    fn rewrite(&mut self, kind: Backend, message: &[u8], out: &mut Vec<u8>) -> Result<Pass, RewriteError>;
}

/// What of the results of a run is kept for the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultsShown {
    /// The first rows of each.
    pub results: Vec<ResultShown>,
    /// Why something of them is not.
    pub left_out: Option<String>,
}

/// What is done with a message of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The client gets it as it is.
    Forward,
    /// The client gets what was written in its place, which may be nothing.
    Replaced,
}

/// A reply that could not be rewritten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reply could not be masked with certainty: {reason}")]
pub struct RewriteError {
    /// What was in the way.
    pub reason: String,
}

/// What became of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// How it ended.
    pub end: OutcomeEnd<'a>,
    /// Rows, or COPY messages, that the server sent.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Values that were hidden in them, by class.
    pub masked: BTreeMap<Arc<str>, u64>,
    /// What of them is kept.
    pub shown: ResultsShown,
}

/// How one run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeEnd<'a> {
    /// It is done; the tag is that of its last statement, empty for an empty text.
    Completed {
        /// Such as `UPDATE 3`.
        tag: &'a str,
        /// How many statements it held.
        statements: u32,
    },
    /// The row limit was reached; the portal can run on.
    Suspended,
    /// The server refused or aborted it.
    Failed(SqlState),
    /// An earlier statement of the same pipeline failed, so that the server never ran it.
    Skipped,
    /// The session ended first: what it did is not known.
    Unknown,
}

/// Lets a judge that waits talk to the client.
#[derive(Default)]
pub struct Say {
    notices: Mutex<Vec<Denial>>,
    in_transaction: AtomicBool,
}

impl Say {
    /// Shows a notice as soon as the client's stream is between two messages. At most 16 wait.
    pub fn notice(&self, notice: Denial) {
        let mut notices = self.notices.lock();
        if notices.len() < 16 {
            notices.push(notice);
        }
    }

    /// Whether a transaction block was open when the server was last ready.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.in_transaction.load(Ordering::Relaxed)
    }

    pub(super) fn set_in_transaction(&self, transaction: Transaction) {
        self.in_transaction.store(transaction != Transaction::Idle, Ordering::Relaxed);
    }

    /// Moves what was said into `out`.
    pub(super) fn take(&self, encoding: &Encoding, out: &mut Vec<u8>) {
        for notice in self.notices.lock().drain(..) {
            notice.write("", encoding, out);
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.notices.lock().is_empty()
    }
}

/// The way to a session's server, also for cancelling what it runs.
pub trait Dial: Send + Sync + 'static {
    /// Opens a new connection to the server.
    ///
    /// # Errors
    /// When it cannot be reached.
    fn dial(&self) -> std::pin::Pin<Box<dyn Future<Output = Result<BoxConn, std::io::Error>> + Send + '_>>;
}

/// A shared way to a server.
pub type Dialer = Arc<dyn Dial>;
