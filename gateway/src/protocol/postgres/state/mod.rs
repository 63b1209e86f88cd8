//! The query phase of one session: what was sent, what is awaited, and what the names mean. No I/O.
//!
//! In: the client's messages, the judge's rulings, the server's messages. Out: for each of them whether it goes on, and
//! what we say in its place. Every reply of the server is matched to the message that it answers; one that answers
//! nothing ends the session, since from then on results could be taken for those of another statement.

mod front;
mod back;
mod limit;
mod names;
mod question;
mod run;
mod spoken;

use std::collections::VecDeque;

use crate::protocol::postgres::encoding::Speech;
use crate::protocol::postgres::judge::{Judge, Rows};
use crate::protocol::postgres::reply::{Denial, SqlState};
use names::{Defined, Meaning, Names};
use question::Answer;
use run::Run;

pub use back::Fault;
pub(super) use front::{Ask, Step, Taken, Unread};
pub(super) use limit::Capped;
pub use limit::Limit;

/// Replies awaited at a time; beyond it the client waits until the server has caught up.
const MAX_AWAITED: usize = 4_096;

/// A message, sent or ours, whose reply is awaited.
struct Item<J: Judge> {
    pipeline: u64,
    kind: Awaited<J>,
}

enum Awaited<J: Judge> {
    Parse(Box<str>, Defined<J::Prepared>),
    Bind(Box<str>, Defined<J::Bound>),
    CloseStatement(Box<str>, Option<Meaning<J::Prepared>>),
    ClosePortal(Box<str>, Option<Meaning<J::Bound>>),
    /// The portal, where it is one.
    Describe(Option<Box<str>>),
    /// The client's, of the portal that the next item runs: its rewriter reads the answer too.
    SharedDescribe,
    /// Sent by us: the next item's rewriter reads the answer, the client does not.
    OurDescribe,
    Query(Run<J>),
    Execute(Run<J>),
    Sync,
    /// Sent by us to fail a pipeline, of which a part was denied, as a whole.
    OurFailure,
    /// A query of ours, with what came of it so far; the client reads nothing of the answer.
    OurQuestion(Answer),
    /// Ours to say, once all before it is answered.
    Denied(Box<Denial>, Aftermath),
    /// The ReadyForQuery that ends a denied simple query.
    OurReady,
}

/// What a denial did to the transaction around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aftermath {
    Untouched,
    RolledBack,
}

/// What was sent to the server since the last Sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Open {
    Nothing,
    Prepared,
    /// Something ran: an implicit transaction is open, if no explicit one is.
    Executed,
}

/// How the client's messages are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Ready,
    /// An error was told: the rest of the pipeline is dropped, as the server does.
    SkipToSync,
    /// The server reads COPY data.
    CopyIn,
}

/// Whether the client's next message may be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// Not before all that is awaited has come.
    Settling,
    /// Not before the server has asked for COPY data, or ended the statement that should.
    AwaitCopy,
}

/// The transaction status of a ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transaction {
    /// None is open.
    Idle,
    /// One is.
    Open,
    /// One is, and takes nothing but its end.
    Failed,
}

impl Transaction {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            b'I' => Self::Idle,
            b'T' => Self::Open,
            b'E' => Self::Failed,
            _ => return None,
        })
    }

    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Open => b'T',
            Self::Failed => b'E',
        }
    }
}

/// The state of one session's query phase.
pub(super) struct State<J: Judge> {
    awaited: VecDeque<Item<J>>,
    statements: Names<J::Prepared>,
    portals: Names<J::Bound>,
    /// Counts pipelines: from one Sync to the next, or one simple query.
    pipeline: u64,
    open: Open,
    mode: Mode,
    gate: Gate,
    transaction: Transaction,
    speech: Speech,
    /// What came of a run with a cap, until it is taken.
    capped: Option<Capped>,
    /// It is over, ReadyForQuery included where one belongs to it.
    is_capped_done: bool,
    /// That run, until it is settled what becomes of it.
    counted: Option<Run<J>>,
    /// The whole answer to a question of ours, until it is taken.
    answer: Option<Result<Rows, SqlState>>,
    pub(super) statements_sent: u64,
    pub(super) rows: u64,
    pub(super) denied: u64,
}

impl<J: Judge> State<J> {
    /// The status of the last ReadyForQuery.
    pub(super) fn transaction(&self) -> Transaction {
        self.transaction
    }

    /// The state after the server's first ReadyForQuery.
    pub(super) fn new(transaction: Transaction, speech: Speech) -> Self {
        Self {
            awaited: VecDeque::new(),
            statements: Names::new(),
            portals: Names::new(),
            pipeline: 0,
            open: Open::Nothing,
            mode: Mode::Ready,
            gate: Gate::Open,
            transaction,
            speech,
            capped: None,
            is_capped_done: false,
            counted: None,
            answer: None,
            statements_sent: 0,
            rows: 0,
            denied: 0,
        }
    }

    /// Whether the client's next message has to wait.
    pub(super) fn is_stalled(&self) -> bool {
        match self.gate {
            Gate::Open => false,
            Gate::Settling => !self.awaited.is_empty(),
            Gate::AwaitCopy => true,
        }
    }

    /// What came of a run with a cap, once it is over.
    pub(super) fn take_capped(&mut self) -> Option<Capped> {
        if std::mem::take(&mut self.is_capped_done) { self.capped.take() } else { None }
    }

    /// That run, for as long as it is asked what becomes of it.
    pub(super) fn take_counted(&mut self) -> Option<Run<J>> {
        self.counted.take()
    }

    pub(super) fn put_counted(&mut self, run: Run<J>) {
        self.counted = Some(run);
    }

    /// It is settled what becomes of that run.
    pub(super) fn end_counted(&mut self, failed: Option<SqlState>, judge: &J) {
        if let Some(mut run) = self.counted.take() {
            failed.into_iter().for_each(|code| run.fail(code));
            run.finish(judge);
        }
    }

    /// Whether the server owes anything.
    pub(super) fn awaits(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Whether the server takes whatever it is sent for COPY data.
    pub(super) fn reads_copy(&self) -> bool {
        self.mode == Mode::CopyIn
    }

    fn push(&mut self, kind: Awaited<J>) {
        self.awaited.push_back(Item { pipeline: self.pipeline, kind });
    }

    /// Whether something of ours is the next to be said.
    pub(super) fn has_say(&self) -> bool {
        matches!(self.awaited.front(), Some(Item { kind: Awaited::Denied(..) | Awaited::OurReady, .. }))
    }

    /// Says what is ours to say now. The client's stream must be between two messages.
    pub(super) fn say(&mut self, out: &mut Vec<u8>) {
        while self.has_say() {
            match self.awaited.pop_front().map(|item| item.kind) {
                Some(Awaited::Denied(denial, aftermath)) => denial.write(self.note(aftermath), self.encoding(), out),
                _ => crate::protocol::postgres::reply::ready(self.transaction.byte(), out),
            }
        }
    }

    fn note(&self, aftermath: Aftermath) -> &'static str {
        match (aftermath, self.transaction) {
            (Aftermath::Untouched, Transaction::Open) => "Your transaction is open and unchanged.",
            (Aftermath::Untouched, Transaction::Idle | Transaction::Failed) => "",
            (Aftermath::RolledBack, Transaction::Open) => "Your transaction has failed: roll it back.",
            (Aftermath::RolledBack, Transaction::Idle | Transaction::Failed) => {
                "What the same pipeline did before it is rolled back."
            }
        }
    }

    /// The session is over: nothing that was permitted stays without an outcome.
    pub(super) fn abandon(&mut self, judge: &J) {
        if let Some(run) = self.counted.take() {
            run.unknown(judge);
        }
        for item in self.awaited.drain(..) {
            if let Awaited::Query(run) | Awaited::Execute(run) = item.kind {
                run.unknown(judge);
            }
        }
    }
}

fn unknown_name(code: SqlState, what: &str, name: &str) -> Box<Denial> {
    let shown: String = name.chars().take(64).collect();
    let denial = Denial::error(code, format!("{what} \"{shown}\" does not exist"));
    Box::new(
        denial
            .with_hint("Names made by SQL (PREPARE, DECLARE) are used by SQL alone: EXECUTE, FETCH.")
            .failing_at_the_server(),
    )
}

#[cfg(test)]
mod tests;
