//! Runs of which policy says how many rows they may show or change.
//!
//! In: a permitted Query or Execute with a cap. Out: its result, or an error in its place. Such a run is alone: the client's
//! next message waits until it is known what came of it, and a lone one that changes rows is wrapped into a transaction,
//! so that nothing is committed before it was counted.

use std::future::poll_fn;
use std::task::Poll;

use super::{Asked, Cause};
use crate::protocol::postgres::judge::{Forward, Judge, Rows};
use crate::protocol::postgres::link::ClientSide;
use crate::protocol::postgres::message::ours;
use crate::protocol::postgres::reply::{self, Denial, SqlState};
use crate::protocol::postgres::state::{Capped, State, Taken, Transaction};

/// Fails, and so takes the transaction with it; no client has a savepoint of this name.
const FAIL: &str = "ROLLBACK TO SAVEPOINT \"/gateway/refused\"";

impl<J: Judge> Asked<'_, J> {
    /// A Query with a cap.
    pub(super) async fn query_capped(
        &mut self,
        message: &[u8],
        mut forward: Forward<J::Permit>,
    ) -> Result<Option<Box<Denial>>, Cause> {
        let instead = forward.text.take().map(|text| ours::query(&text));
        let message = instead.as_deref().unwrap_or(message);
        self.until(|state| (!state.awaits()).then_some(())).await?;
        if !self.link.state.is_at_rest() {
            let denial = Denial::error(SqlState::DENIED, "refused by the gateway: rows of this statement are counted");
            return Ok(Some(Box::new(denial.with_hint("Send Sync before it."))));
        }
        let changes = forward.limit.as_ref().is_some_and(|limit| limit.affected.is_some());
        let wraps = changes && self.link.state.transaction() == Transaction::Idle;
        if wraps && let Err(code) = self.inquire("BEGIN").await? {
            return Ok(Some(Box::new(could_not("begin", code))));
        }
        let judge = self.judge;
        self.send(message, |state, _| state.send_query(forward, judge));
        let (capped, told) = match self.until(State::take_capped).await? {
            Capped::Within(done) => (true, done),
            Capped::Over(denial) => {
                let mut told = Vec::new();
                denial.write(if changes { "What it did is rolled back." } else { "" }, &mut told);
                (false, told)
            }
            // The client has read why.
            Capped::Failed => (false, Vec::new()),
        };
        let ended = match self.link.state.transaction() {
            _ if wraps => Some(self.inquire(if capped { "COMMIT" } else { "ROLLBACK" }).await?),
            Transaction::Open if changes && !capped => Some(self.inquire(FAIL).await?),
            _ => None,
        };
        match ended {
            Some(Err(code)) if capped => {
                let mut told = Vec::new();
                could_not("commit", code).write("", &mut told);
                self.link.tell(&told);
            }
            _ => self.link.tell(&told),
        }
        let mut ready = Vec::new();
        reply::ready(self.link.state.transaction().byte(), &mut ready);
        self.link.tell(&ready);
        Ok(None)
    }

    /// An Execute with a cap; the denial is for what came of it.
    pub(super) async fn execute_capped(
        &mut self,
        (portal, message): (&str, &[u8]),
        forward: Forward<J::Permit>,
    ) -> Result<Option<Box<Denial>>, Cause> {
        let judge = self.judge;
        let mut taken = Taken::Skipped;
        self.send(message, |state, out| {
            taken = state.send_execute(portal, forward, judge, out);
            taken
        });
        if taken == Taken::Skipped {
            return Ok(None);
        }
        self.link.to_server.bytes.extend_from_slice(ours::FLUSH);
        match self.until(State::take_capped).await? {
            Capped::Within(done) => {
                self.link.tell(&done);
                Ok(None)
            }
            Capped::Over(denial) => Ok(Some(denial)),
            Capped::Failed => Ok(None),
        }
    }

    /// Waits until the state has something; the server's messages reach the client meanwhile.
    async fn until<T>(&mut self, mut found: impl FnMut(&mut State<J>) -> Option<T>) -> Result<T, Cause> {
        let Self { link, behind, .. } = self;
        poll_fn(|cx| {
            loop {
                if let Some(found) = found(&mut link.state) {
                    return Poll::Ready(Ok(found));
                }
                std::task::ready!(link.poll_turn(cx, behind, 0))?;
                if link.side != ClientSide::Present {
                    return Poll::Ready(Err(Cause::ClientLost));
                }
            }
        })
        .await
    }

    /// Puts a statement of ours to the server.
    async fn inquire(&mut self, text: &str) -> Result<Result<Rows, SqlState>, Cause> {
        self.link.to_server.bytes.extend_from_slice(&ours::query(text));
        self.link.state.send_question();
        self.until(State::take_answer).await
    }
}

fn could_not(what: &str, code: SqlState) -> Denial {
    let message = format!("the transaction around the statement could not {what}: nothing of it is done");
    Denial::error(code, message).with_detail("Its rows are counted before it is committed.")
}
