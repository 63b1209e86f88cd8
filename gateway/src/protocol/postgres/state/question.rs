//! A query of our own on the client's session, between its statements.
//!
//! In: the server's messages while it is awaited. Out: its rows, whole, or the error. The client sees nothing of it, and
//! it is asked only where nothing else is awaited, so that it cannot fall into a pipeline of the client's.

use crate::protocol::postgres::frame::body;
use crate::protocol::postgres::judge::{Judge, Pass, Rows};
use crate::protocol::postgres::message::Backend;
use crate::protocol::postgres::reply::{SqlState, sql_state};
use crate::protocol::postgres::state::back::Fault;
use crate::protocol::postgres::state::{Awaited, Item, Mode, Open, State, Transaction};
use crate::protocol::postgres::upstream::from_hex;
use crate::protocol::postgres::values::split_value;

/// The most that is kept of an answer.
const MAX_BYTES: usize = 32 << 20;

/// What came so far.
#[derive(Debug, Default)]
pub(super) struct Answer {
    rows: Rows,
    bytes: usize,
    /// Its texts are in hexadecimal.
    is_hex: bool,
    error: Option<SqlState>,
}

impl Answer {
    fn row(&mut self, message: &[u8]) -> Option<()> {
        self.bytes += message.len();
        if self.bytes > MAX_BYTES {
            self.rows = Rows::new();
            self.error = Some(SqlState::TOO_LARGE);
            return Some(());
        }
        let (count, mut rest) = body(message).split_first_chunk::<2>()?;
        // A column takes four bytes at least.
        let count = usize::from(u16::from_be_bytes(*count)).min(rest.len() / 4);
        let mut row = Vec::with_capacity(count);
        for _ in 0..count {
            let (value, after) = split_value(rest)?;
            rest = after;
            let text = |value: &[u8]| match self.is_hex {
                true => from_hex(value).map(Into::into),
                false => std::str::from_utf8(value).ok().map(Into::into),
            };
            row.push(match value {
                Some(value) => Some(text(value)?),
                None => None,
            });
        }
        self.rows.push(row);
        rest.is_empty().then_some(())
    }
}

impl<J: Judge> State<J> {
    /// Whether a query of ours can be asked now.
    pub(in super::super) fn is_at_rest(&self) -> bool {
        self.is_between_pipelines() && !self.awaits()
    }

    /// Whether one could be asked once all is answered that was sent.
    pub(in super::super) fn is_between_pipelines(&self) -> bool {
        self.open == Open::Nothing && self.mode == Mode::Ready
    }

    /// A query of ours was sent.
    pub(in super::super) fn send_question(&mut self) {
        self.push(Awaited::OurQuestion(Answer { is_hex: !self.encoding().is_utf8(), ..Answer::default() }));
    }

    /// The answer to it, once.
    pub(in super::super) fn take_answer(&mut self) -> Option<Result<Rows, SqlState>> {
        self.answer.take()
    }

    /// Takes a message of the answer; none: it is not one.
    pub(super) fn take_reply(&mut self, kind: Backend, message: &[u8]) -> Option<Result<Pass, Fault>> {
        let Some(Item { kind: Awaited::OurQuestion(answer), .. }) = self.awaited.front_mut() else { return None };
        match kind {
            Backend::ParameterStatus | Backend::NotificationResponse => return None,
            Backend::ParseComplete | Backend::BindComplete | Backend::CloseComplete => {}
            Backend::RowDescription | Backend::CommandComplete | Backend::NoticeResponse => {}
            Backend::DataRow => {
                if answer.row(message).is_none() {
                    return Some(Err(Fault::Malformed { kind }));
                }
            }
            Backend::ErrorResponse => answer.error = Some(sql_state(body(message))),
            Backend::ReadyForQuery => {
                let &[status] = body(message) else { return Some(Err(Fault::Malformed { kind })) };
                let Some(transaction) = Transaction::from_byte(status) else {
                    return Some(Err(Fault::Malformed { kind }));
                };
                self.transaction = transaction;
                if let Some(Item { kind: Awaited::OurQuestion(answer), .. }) = self.awaited.pop_front() {
                    self.answer = Some(answer.error.map_or(Ok(answer.rows), Err));
                }
            }
            _ => return Some(Err(Fault::Unexpected { kind })),
        }
        Some(Ok(Pass::Replaced))
    }
}
