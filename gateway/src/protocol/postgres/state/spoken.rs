//! Messages of a session that does not speak UTF8, or of which nobody knows for a while how it speaks.
//!
//! In: the client's next message, or a text of the server's. Out: whether the message has to wait, what the client may see
//! of the text. Bytes that are not hidden go on as they came.

use crate::protocol::postgres::encoding::{Encoding, UNKNOWN, in_encoding, text_in_utf8};
use crate::protocol::postgres::frame::{body, split_string};
use crate::protocol::postgres::judge::{Forward, Judge, Pass};
use crate::protocol::postgres::message::{Backend, Frontend};
use crate::protocol::postgres::reply::{Denial, SqlState};
use crate::protocol::postgres::settings::{ENCODING, Report, watch};
use crate::protocol::postgres::state::back::Fault;
use crate::protocol::postgres::state::front::Step;
use crate::protocol::postgres::state::run::Run;
use crate::protocol::postgres::state::{Open, State, Transaction};

impl<J: Judge> State<J> {
    /// In which encoding the client reads what is said next.
    pub(in super::super) fn encoding(&self) -> &'static Encoding {
        self.speech.now()
    }

    /// What has to come before a message that nobody can read, or whose answer nobody can, until it is known how the session
    /// speaks. What is ASCII is the same in every encoding.
    pub(super) fn before_speech<'a>(&self, kind: Frontend, message: &[u8]) -> Option<Step<'a, J>> {
        let depends = match kind {
            Frontend::Query | Frontend::Execute | Frontend::FunctionCall => true,
            Frontend::Parse | Frontend::Bind | Frontend::Describe | Frontend::Close => !body(message).is_ascii(),
            _ => false,
        };
        if !depends {
            None
        } else if self.awaits() {
            Some(Step::Settle)
        } else if self.speech.is_moving() && self.open != Open::Nothing {
            let what = "refused by the gateway: client_encoding may have changed in this pipeline";
            Some(Step::Refuse(Box::new(Denial::error(SqlState::DENIED, what).with_hint("Send Sync before it."))))
        } else {
            None
        }
    }

    /// A permitted run is not sent after all.
    pub(in super::super) fn drop_run(&self, forward: Forward<J::Permit>, judge: &J) {
        Run::<J>::new(forward).skip(judge);
    }

    /// A run goes on.
    pub(super) fn speak_on(&mut self, sets: bool, judge: &J) {
        self.speech.sent(sets);
        judge.speaks(self.speech);
    }

    /// The server is ready.
    pub(super) fn spoken(&mut self, transaction: Transaction, judge: &J) {
        self.speech.ready(transaction == Transaction::Idle);
        judge.speaks(self.speech);
    }

    /// A text of the server's beside its rows.
    pub(super) fn rewrite_spoken(
        &mut self,
        kind: Backend,
        message: &[u8],
        judge: &J,
        out: &mut Vec<u8>,
    ) -> Result<Pass, Fault> {
        // What comes beside or behind a change may be in either.
        let encoding = if self.speech.waits() { &UNKNOWN } else { self.speech.now() };
        let message = text_in_utf8(kind, message, encoding);
        let mut shown = Vec::new();
        let pass = self.rewrite(kind, &message, judge, &mut shown)?;
        if pass == Pass::Forward || shown == message {
            return Ok(Pass::Forward);
        }
        if !shown.is_empty() {
            out.extend_from_slice(&in_encoding(kind, &shown, encoding));
        }
        Ok(Pass::Replaced)
    }

    /// A reported setting.
    pub(super) fn watched(&mut self, message: &[u8], judge: &J) -> Result<(), Fault> {
        let malformed = Fault::Malformed { kind: Backend::ParameterStatus };
        let (name, rest) = split_string(body(message)).ok_or_else(|| malformed.clone())?;
        let (value, rest) = split_string(rest).ok_or_else(|| malformed.clone())?;
        if !rest.is_empty() {
            return Err(malformed);
        }
        let holds = if name == ENCODING.as_bytes() {
            let holds = self.speech.reported(value);
            judge.speaks(self.speech);
            holds
        } else {
            watch(name, value) != Report::Broken
        };
        if holds { Ok(()) } else { Err(Fault::PinnedSetting { name: String::from_utf8_lossy(name).into_owned() }) }
    }
}
