//! The client's messages.
//!
//! In: one message, and then the ruling on it. Out: whether it goes on, is dropped, waits, or is refused, and what is
//! sent to the server in its stead. A message goes on only from here, and those that the judge rules on only with its
//! permit.

use crate::protocol::postgres::frame::{body, split_string};
use crate::protocol::postgres::judge::{BindRequest, CopyIn, Forgets, Forward, Judge, ParseRequest};
use crate::protocol::postgres::message::{Frontend, ours};
use crate::protocol::postgres::reply::{Denial, SqlState};
use crate::protocol::postgres::state::names::Lookup;
use crate::protocol::postgres::state::run::Run;
use crate::protocol::postgres::state::{
    Aftermath, Awaited, Gate, MAX_AWAITED, Mode, Open, State, Transaction, unknown_name,
};

/// What is done with a message whose body nobody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Unread {
    /// It goes on as it is.
    Pass,
    /// It is dropped.
    Drop,
    /// Its body has to be read: see [`State::offer`].
    Read,
}

/// What is done with a message.
pub(in super::super) enum Step<'a, J: Judge> {
    /// It goes on as it is.
    Forward,
    /// It goes on, and the server is asked to answer at once: the client's next message waits for that.
    ForwardAndFlush,
    /// It is dropped.
    Drop,
    /// It waits until the server has answered all that was sent.
    Settle,
    /// The judge has to rule on it.
    Ask(Ask<'a, J>),
    /// It is refused, and the session goes on.
    Refuse(Box<Denial>),
    /// The client says goodbye.
    Leave,
    /// No client that speaks the protocol sends this here.
    Fatal(Box<Denial>),
}

/// Whether a permitted message still goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Taken {
    Sent,
    /// While the ruling was awaited, the server failed the pipeline: it would skip the message.
    Skipped,
}

/// A question for the judge.
pub(in super::super) enum Ask<'a, J: Judge> {
    Query(&'a str),
    Parse(ParseRequest<'a>),
    Bind(J::Prepared, BindRequest<'a>),
    Execute { portal: &'a str, bound: J::Bound, rows: u32 },
}

fn violation<'a, J: Judge>(what: &str) -> Step<'a, J> {
    let hint = "The session ends: what follows cannot be told apart with certainty.";
    Step::Fatal(Box::new(Denial::fatal(SqlState::PROTOCOL_VIOLATION, what).with_hint(hint)))
}

impl<J: Judge> State<J> {
    /// Whether a message of this type has to be read at all.
    pub(in super::super) fn unread(&self, kind: Frontend) -> Unread {
        match (self.mode, kind) {
            (_, Frontend::Sync | Frontend::Terminate) => Unread::Read,
            (Mode::CopyIn, Frontend::CopyData) => Unread::Pass,
            // The server drops them too: left over from a COPY that failed (postgres.c, PostgresMain).
            (_, Frontend::CopyData) | (Mode::SkipToSync, _) => Unread::Drop,
            _ => Unread::Read,
        }
    }

    /// Takes a whole message of the client.
    pub(in super::super) fn offer<'a>(&mut self, kind: Frontend, message: &'a [u8]) -> Step<'a, J> {
        if self.mode == Mode::CopyIn {
            return self.offer_copy(kind, body(message));
        }
        if self.mode == Mode::SkipToSync && !matches!(kind, Frontend::Sync | Frontend::Terminate) {
            return Step::Drop;
        }
        if self.awaited.len() >= MAX_AWAITED {
            return Step::Settle;
        }
        if self.speech.waits()
            && let Some(before) = self.before_speech(kind, message)
        {
            return before;
        }
        match kind {
            Frontend::Query => self.offer_query(body(message)),
            Frontend::Parse => self.offer_parse(body(message)),
            Frontend::Bind => self.offer_bind(body(message)),
            Frontend::Execute => self.offer_execute(body(message)),
            Frontend::Describe => self.offer_describe(body(message)),
            Frontend::Close => self.offer_close(body(message)),
            Frontend::Sync if body(message).is_empty() => {
                self.push(Awaited::Sync);
                self.end_pipeline();
                Step::Forward
            }
            Frontend::Flush if body(message).is_empty() => Step::Forward,
            Frontend::Sync | Frontend::Flush => violation("Sync or Flush with a body"),
            Frontend::CopyData | Frontend::CopyDone | Frontend::CopyFail => Step::Drop,
            Frontend::FunctionCall if self.must_settle() => Step::Settle,
            Frontend::FunctionCall => Step::Refuse(Box::new(
                Denial::error(SqlState::NOT_SUPPORTED, "function call messages are refused: they name no statement")
                    .with_hint(
                        "Call the function with SELECT. pg_dump sends them for large objects: leave those out with -B.",
                    ),
            )),
            Frontend::Password => violation("a password message, and no login is going on"),
            Frontend::Terminate => Step::Leave,
        }
    }

    fn offer_copy<'a>(&mut self, kind: Frontend, body: &[u8]) -> Step<'a, J> {
        match kind {
            Frontend::CopyData => Step::Forward,
            Frontend::CopyDone if !body.is_empty() => violation("a CopyDone with a body"),
            Frontend::CopyDone | Frontend::CopyFail => {
                self.mode = Mode::Ready;
                self.gate = Gate::AwaitCopy;
                Step::ForwardAndFlush
            }
            // The server ignores both while it reads COPY data (protocol-flow, "COPY Operations").
            Frontend::Sync | Frontend::Flush => Step::Drop,
            Frontend::Terminate => Step::Leave,
            _ => violation("a message that is no COPY data, and the server reads COPY data"),
        }
    }

    /// Whether extended messages of the current pipeline are unanswered: if one fails, the server skips what follows.
    fn must_settle(&self) -> bool {
        self.open != Open::Nothing && self.awaits()
    }

    fn offer_query<'a>(&mut self, body: &'a [u8]) -> Step<'a, J> {
        if self.must_settle() {
            return Step::Settle;
        }
        match body.strip_suffix(b"\0") {
            Some(text) => readable(text, Ask::Query),
            None => violation("a Query without its end"),
        }
    }

    fn offer_parse<'a>(&mut self, body: &'a [u8]) -> Step<'a, J> {
        let Some((name, rest)) = split_string(body) else { return violation("a Parse without a name") };
        let Some((text, types)) = split_string(rest) else { return violation("a Parse without a text") };
        let (Ok(name), false) = (std::str::from_utf8(name), name.starts_with(ours::RESERVED)) else {
            return violation("a statement name that is not UTF-8, or reserved");
        };
        if !self.statements.is_free(name, self.pipeline) {
            return Step::Settle;
        }
        if self.statements.is_full() && !name.is_empty() {
            return Step::Refuse(too_many("prepared statements"));
        }
        readable(text, |text| Ask::Parse(ParseRequest { name, text, types }))
    }

    fn offer_bind<'a>(&mut self, body: &'a [u8]) -> Step<'a, J> {
        let Some((portal, rest)) = split_string(body) else { return violation("a Bind without a portal") };
        let Some((name, parameters)) = split_string(rest) else { return violation("a Bind without a statement") };
        let (Ok(portal), Ok(name)) = (std::str::from_utf8(portal), std::str::from_utf8(name)) else {
            return violation("a portal or statement name that is not UTF-8");
        };
        if !self.portals.is_free(portal, self.pipeline) {
            return Step::Settle;
        }
        if self.portals.is_full() && !portal.is_empty() {
            return Step::Refuse(too_many("portals"));
        }
        match self.statements.look_up(name, self.pipeline) {
            Lookup::Unsettled => Step::Settle,
            Lookup::Unknown => Step::Refuse(unknown_name(SqlState::NO_STATEMENT, "prepared statement", name)),
            Lookup::Known(prepared) => {
                Step::Ask(Ask::Bind(prepared.clone(), BindRequest { portal, parameters, encoding: self.encoding() }))
            }
        }
    }

    fn offer_execute<'a>(&mut self, body: &'a [u8]) -> Step<'a, J> {
        let Some((portal, rows)) = split_string(body) else { return violation("an Execute without a portal") };
        let (Ok(portal), Ok(rows)) = (std::str::from_utf8(portal), <[u8; 4]>::try_from(rows)) else {
            return violation("an Execute whose portal is not UTF-8, or without a row limit");
        };
        match self.portals.look_up(portal, self.pipeline) {
            Lookup::Unsettled => Step::Settle,
            Lookup::Unknown => Step::Refuse(unknown_name(SqlState::NO_PORTAL, "portal", portal)),
            Lookup::Known(bound) => {
                Step::Ask(Ask::Execute { portal, bound: bound.clone(), rows: u32::from_be_bytes(rows) })
            }
        }
    }

    fn offer_describe<'a>(&mut self, body: &'a [u8]) -> Step<'a, J> {
        let portal = match split_string(body) {
            Some(([b'S', ..], [])) => None,
            // A name that is not UTF-8 is none of ours: the server says so.
            Some(([b'P', name @ ..], [])) => std::str::from_utf8(name).ok().map(Into::into),
            _ => return violation("a Describe of neither a statement nor a portal"),
        };
        self.push(Awaited::Describe(portal));
        self.open = self.open.max(Open::Prepared);
        Step::Forward
    }

    fn offer_close<'a>(&mut self, body: &'a [u8]) -> Step<'a, J> {
        let Some(([kind @ (b'S' | b'P'), name @ ..], [])) = split_string(body) else {
            return violation("a Close of neither a statement nor a portal");
        };
        let Ok(name) = std::str::from_utf8(name) else { return violation("a name that is not UTF-8") };
        let is_free = match kind {
            b'S' => !matches!(self.statements.look_up(name, self.pipeline), Lookup::Unsettled),
            _ => !matches!(self.portals.look_up(name, self.pipeline), Lookup::Unsettled),
        };
        if !is_free {
            return Step::Settle;
        }
        let closed = match kind {
            b'S' => Awaited::CloseStatement(name.into(), self.statements.remove(name)),
            _ => Awaited::ClosePortal(name.into(), self.portals.remove(name)),
        };
        self.push(closed);
        self.open = self.open.max(Open::Prepared);
        Step::Forward
    }

    fn end_pipeline(&mut self) {
        self.open = Open::Nothing;
        self.mode = Mode::Ready;
        self.pipeline += 1;
    }

    /// The client's next message waits until all is answered; returns what makes the server answer.
    pub(in super::super) fn settle(&mut self) -> &'static [u8] {
        self.gate = Gate::Settling;
        if self.open == Open::Nothing { b"" } else { ours::FLUSH }
    }

    /// The awaited has come.
    pub(in super::super) fn settled(&mut self) {
        if self.gate == Gate::Settling && self.awaited.is_empty() {
            self.gate = Gate::Open;
        }
    }

    /// A denial of what was asked, unless the server failed the pipeline meanwhile and skips all of it.
    pub(in super::super) fn still(&self, denial: Box<Denial>) -> Option<Box<Denial>> {
        (self.mode != Mode::SkipToSync).then_some(denial)
    }

    /// A simple query goes on.
    pub(in super::super) fn send_query(&mut self, mut forward: Forward<J::Permit>, judge: &J) -> Taken {
        if self.mode == Mode::SkipToSync {
            Run::<J>::new(forward).skip(judge);
            return Taken::Skipped;
        }
        // A simple query drops the unnamed statement and portal (exec_simple_query, postgres.c).
        self.statements.remove("");
        self.portals.remove("");
        self.begin(&mut forward, judge);
        self.push(Awaited::Query(Run::new(forward)));
        self.end_pipeline();
        Taken::Sent
    }

    /// A Parse goes on.
    pub(in super::super) fn send_parse(&mut self, name: &str, prepared: J::Prepared) -> Taken {
        if self.mode == Mode::SkipToSync {
            return Taken::Skipped;
        }
        let defined = self.statements.define(name, prepared, self.pipeline);
        self.push(Awaited::Parse(name.into(), defined));
        self.open = self.open.max(Open::Prepared);
        Taken::Sent
    }

    /// A Bind goes on.
    pub(in super::super) fn send_bind(&mut self, portal: &str, bound: J::Bound) -> Taken {
        if self.mode == Mode::SkipToSync {
            return Taken::Skipped;
        }
        let defined = self.portals.define(portal, bound, self.pipeline);
        self.push(Awaited::Bind(portal.into(), defined));
        self.open = self.open.max(Open::Prepared);
        Taken::Sent
    }

    /// An Execute goes on; `out` gets what has to be sent before it.
    pub(in super::super) fn send_execute(
        &mut self,
        portal: &str,
        mut forward: Forward<J::Permit>,
        judge: &J,
        out: &mut Vec<u8>,
    ) -> Taken {
        if self.mode == Mode::SkipToSync {
            Run::<J>::new(forward).skip(judge);
            return Taken::Skipped;
        }
        self.begin(&mut forward, judge);
        if forward.rewrite.is_some() {
            match self.awaited.back_mut().map(|item| &mut item.kind) {
                Some(kind) if describes(kind, portal) => *kind = Awaited::SharedDescribe,
                _ => {
                    ours::describe_portal(&self.encoding().encode_ours(portal), out);
                    self.push(Awaited::OurDescribe);
                }
            }
        }
        self.push(Awaited::Execute(Run::new(forward)));
        self.open = Open::Executed;
        Taken::Sent
    }

    fn begin(&mut self, forward: &mut Forward<J::Permit>, judge: &J) {
        self.statements_sent += 1;
        if !self.speech.is_plain() || forward.sets_encoding {
            self.speak_on(forward.sets_encoding, judge);
            forward.rewrite.iter_mut().for_each(|rewrite| rewrite.speaks(self.speech.now()));
        }
        if forward.copy == CopyIn::Expected {
            self.gate = Gate::AwaitCopy;
        }
        for forgets in &forward.forgets {
            match forgets {
                Forgets::Statement(name) => drop(self.statements.remove(name)),
                Forgets::Statements => self.statements.clear(),
                Forgets::Portal(name) => drop(self.portals.remove(name)),
                Forgets::Portals => self.portals.clear(),
                Forgets::Everything => {
                    self.statements.clear();
                    self.portals.clear();
                }
            }
        }
    }

    /// A message is refused. `out` gets what the server must be sent for the rest to stay as it should.
    pub(in super::super) fn refuse(&mut self, kind: Frontend, denial: Box<Denial>, out: &mut Vec<u8>) {
        self.denied += 1;
        // What the pipeline did so far must not be committed by its Sync, as it would not after a server's error; and
        // a client that reads an error of the server's kind takes its transaction for failed.
        let fails_transaction = self.transaction == Transaction::Open && denial.is_the_servers_too;
        let fails = self.open == Open::Executed || fails_transaction;
        let aftermath = if fails { Aftermath::RolledBack } else { Aftermath::Untouched };
        self.push(Awaited::Denied(denial, aftermath));
        if fails {
            out.extend_from_slice(ours::FAIL);
            self.push(Awaited::OurFailure);
        }
        if matches!(kind, Frontend::Query | Frontend::FunctionCall) {
            if self.open == Open::Nothing && !fails {
                self.push(Awaited::OurReady);
            } else {
                out.extend_from_slice(ours::SYNC);
                self.push(Awaited::Sync);
            }
            self.end_pipeline();
        } else {
            if self.open == Open::Prepared && !fails {
                out.extend_from_slice(ours::FLUSH);
            }
            self.mode = Mode::SkipToSync;
        }
    }
}

fn describes<J: Judge>(kind: &Awaited<J>, portal: &str) -> bool {
    matches!(kind, Awaited::Describe(Some(known)) if **known == *portal)
}

fn readable<'a, J: Judge>(text: &'a [u8], ask: impl FnOnce(&'a str) -> Ask<'a, J>) -> Step<'a, J> {
    match std::str::from_utf8(text) {
        Ok(text) if !text.contains('\0') => Step::Ask(ask(text)),
        _ => Step::Refuse(Box::new(
            Denial::error(SqlState::NOT_UTF8, "the statement is not UTF-8, or holds NUL: it cannot be judged")
                .with_hint("Set client_encoding to UTF8 and send the text in it.")
                .failing_at_the_server(),
        )),
    }
}

fn too_many(what: &str) -> Box<Denial> {
    let hint = "Close those that are no longer used.";
    Box::new(Denial::error(SqlState::TOO_LARGE, format!("too many {what} in one session")).with_hint(hint))
}
