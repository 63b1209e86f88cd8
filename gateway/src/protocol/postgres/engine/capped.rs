//! Runs of which policy says how many rows they may show or change.
//!
//! In: a permitted Query or Execute with a cap. Out: its result, or an error in its place. Such a run is alone: the client's
//! next message, Sync too, waits until it is known what came of it, and a lone one that changes rows is wrapped into a
//! transaction, so that nothing is committed before it was counted, and approved where it has to be.

use std::future::poll_fn;
use std::task::Poll;

use super::{Asked, Cause};
use crate::protocol::postgres::judge::{Forgets, Forward, Judge, Rows, Ruling};
use crate::protocol::postgres::link::ClientSide;
use crate::protocol::postgres::message::ours;
use crate::protocol::postgres::reply::{self, Denial, SqlState};
use crate::protocol::postgres::state::{Capped, State, Taken, Transaction};

/// How a run with a cap ends.
enum Came {
    /// It may stay; the client reads this.
    Within(Vec<u8>),
    /// Nothing of it may.
    Over(Box<Denial>),
    /// It failed by itself.
    Failed,
}

impl Came {
    fn failed(&self) -> Option<SqlState> {
        match self {
            Self::Over(denial) => Some(denial.code),
            Self::Within(_) | Self::Failed => None,
        }
    }
}

/// Fails, and so takes the transaction with it; no client has a savepoint of this name.
const FAIL: &str = "ROLLBACK TO SAVEPOINT \"/gateway/refused\"";

impl<J: Judge> Asked<'_, J> {
    /// A Query with a cap.
    pub(super) async fn query_capped(
        &mut self,
        message: &[u8],
        forward: Forward<J::Permit>,
    ) -> Result<Option<Box<Denial>>, Cause> {
        self.until(|state| (!state.awaits()).then_some(())).await?;
        if !self.link.state.is_at_rest() {
            let denial = Denial::error(SqlState::DENIED, "refused by the gateway: rows of this statement are counted");
            return Ok(Some(Box::new(denial.with_hint("Send Sync before it."))));
        }
        let changes = forward.limit.as_ref().is_some_and(|limit| limit.changed.is_some());
        let wraps = changes && self.link.state.transaction() == Transaction::Idle;
        if wraps && let Err(code) = self.inquire("BEGIN").await? {
            return Ok(Some(Box::new(could_not("begin", code))));
        }
        let judge = self.judge;
        self.send(message, |state, _| state.send_query(forward, judge));
        let (kept, mut told) = match self.came().await? {
            Came::Within(done) => (Ok(()), done),
            Came::Over(denial) => {
                let mut told = Vec::new();
                let note = if changes { "What it did is rolled back." } else { "" };
                denial.write(note, self.link.state.encoding(), &mut told);
                (Err(Some(denial.code)), told)
            }
            // The client has read why.
            Came::Failed => (Err(None), Vec::new()),
        };
        let ended = match self.link.state.transaction() {
            _ if wraps => Some(self.inquire(if kept.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?),
            Transaction::Open if changes && kept.is_err() => Some(self.inquire(FAIL).await?),
            _ => None,
        };
        let mut failed = kept.err().flatten();
        if let (Some(Err(code)), Ok(())) = (ended, kept) {
            (failed, told) = (Some(code), could_not("commit", code).to_bytes());
        }
        self.link.state.end_counted(failed, judge);
        self.link.tell(&told);
        let mut ready = Vec::new();
        reply::ready(self.link.state.transaction().byte(), &mut ready);
        self.link.tell(&ready);
        Ok(None)
    }

    /// An Execute with a cap; the denial is for what came of it.
    pub(super) async fn execute_capped(
        &mut self,
        (portal, rows, message): (&str, u32, &[u8]),
        mut forward: Forward<J::Permit>,
    ) -> Result<Option<Box<Denial>>, Cause> {
        let judge = self.judge;
        let mut whole = None;
        if let Some(limit) = forward.limit.as_mut().filter(|limit| rows > 0 && limit.changed.is_some()) {
            // In pieces its changes could be committed before the last was counted. Nobody has the rest of the rows.
            limit.first = Some(u64::from(rows));
            forward.forgets.push(Forgets::Portal(portal.to_owned()));
            whole = Some(ours::execute(self.link.state.encoding().encode_ours(portal)));
        }
        let mut taken = Taken::Skipped;
        self.send(whole.as_deref().unwrap_or(message), |state, out| {
            taken = state.send_execute(portal, forward, judge, out);
            taken
        });
        if taken == Taken::Skipped {
            return Ok(None);
        }
        self.link.to_server.bytes.extend_from_slice(ours::FLUSH);
        let came = self.came().await?;
        self.link.state.end_counted(came.failed(), judge);
        match came {
            Came::Within(done) => {
                self.link.tell(&done);
                Ok(None)
            }
            Came::Over(denial) => Ok(Some(denial)),
            Came::Failed => Ok(None),
        }
    }

    /// What came of the run, once it is known what becomes of its changes: nothing of them is committed meanwhile.
    async fn came(&mut self) -> Result<Came, Cause> {
        let (rows, done) = match self.until(State::take_capped).await? {
            Capped::Within(done) => return Ok(Came::Within(done)),
            Capped::Over(denial) => return Ok(Came::Over(denial)),
            Capped::Failed => return Ok(Came::Failed),
            Capped::Changed(rows, done) => (rows, done),
        };
        let (judge, say) = (self.judge, self.say);
        let Some(counted) = self.link.state.take_counted() else { return Ok(Came::Failed) };
        let ruling = self.wait(judge.change(counted.permit(), rows, say)).await;
        self.link.state.put_counted(counted);
        Ok(match ruling? {
            Ruling::Forward(()) => Came::Within(done),
            Ruling::Refuse(denial) => Came::Over(denial),
        })
    }

    /// Waits until the state has something; the server's messages reach the client meanwhile.
    pub(super) async fn until<T>(&mut self, mut found: impl FnMut(&mut State<J>) -> Option<T>) -> Result<T, Cause> {
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
