//! The server's messages.
//!
//! In: one message. Out: whether the client gets it, and the outcome of the run that it ends, to the judge. A message
//! that answers nothing awaited is a [`Fault`]: the session ends before the client sees it.

use crate::protocol::postgres::frame::body;
use crate::protocol::postgres::judge::{Judge, Pass, RewriteError};
use crate::protocol::postgres::message::Backend;
use crate::protocol::postgres::reply::{SqlState, sql_state};
use crate::protocol::postgres::state::run::Run;
use crate::protocol::postgres::state::{Awaited, Capped, Gate, Item, Mode, State, Transaction};

/// Why the session ends: what the server sent is not what it can send here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A message that answers nothing.
    #[error("the server sent {kind:?}, which answers nothing that was asked")]
    Unexpected {
        /// Which.
        kind: Backend,
    },
    /// A message that no server has.
    #[error("the server sent a message of unknown type 0x{tag:02x}")]
    UnknownMessage {
        /// Its tag.
        tag: u8,
    },
    /// A length that cannot be.
    #[error("the server sent a message shorter than its own length field")]
    BadLength,
    /// A message that has to be read whole, and is too large for it.
    #[error("the server sent {kind:?} of {size} bytes, more than is read whole")]
    TooLarge {
        /// Which.
        kind: Backend,
        /// Its size.
        size: usize,
    },
    /// A message whose content cannot be.
    #[error("the server sent a malformed {kind:?}")]
    Malformed {
        /// Which.
        kind: Backend,
    },
    /// COPY data is asked for while other messages are already on their way.
    #[error("the server asks for COPY data, and what was sent behind the statement would be taken for it")]
    CopyOutOfTurn,
    /// A pinned setting has changed.
    #[error("the server reports `{name}` at another value than the pinned one")]
    PinnedSetting {
        /// Which.
        name: String,
    },
    /// A result that cannot be masked.
    #[error("a result could not be masked")]
    Mask(#[source] RewriteError),
}

impl<J: Judge> State<J> {
    /// Whether the next message has to be read whole because something rewrites it.
    pub(in super::super) fn rewrites(&self) -> bool {
        let is_ours = matches!(
            self.awaited.front().map(|item| &item.kind),
            Some(Awaited::OurDescribe | Awaited::SharedDescribe | Awaited::OurQuestion(_))
        );
        is_ours || self.rewrites_rows()
    }

    /// Whether the rows that come are those of a run that is rewritten.
    pub(in super::super) fn rewrites_rows(&self) -> bool {
        match self.awaited.front().map(|item| &item.kind) {
            Some(Awaited::Query(run) | Awaited::Execute(run)) => run.rewrite.is_some(),
            _ => false,
        }
    }

    /// Takes a message that is passed on without being read: only its type and size are known.
    pub(in super::super) fn pass(&mut self, kind: Backend, size: usize) -> Result<(), Fault> {
        match (kind, self.awaited.front_mut().map(|item| &mut item.kind)) {
            (Backend::DataRow | Backend::CopyData, Some(Awaited::Query(run) | Awaited::Execute(run))) => {
                run.row(size);
                self.rows += 1;
                Ok(())
            }
            (Backend::RowDescription, Some(Awaited::Query(_))) => Ok(()),
            (Backend::ParameterDescription, Some(Awaited::Describe(_))) => Ok(()),
            (Backend::RowDescription, Some(Awaited::Describe(_) | Awaited::SharedDescribe)) => {
                self.awaited.pop_front();
                Ok(())
            }
            _ => Err(Fault::Unexpected { kind }),
        }
    }

    /// Takes a whole row of a run that is rewritten; `out` gets what replaces it.
    pub(in super::super) fn row(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<Pass, Fault> {
        let kind = Backend::DataRow;
        let run = self.running().ok_or(Fault::Unexpected { kind })?;
        if run.cuts() {
            return Ok(Pass::Replaced);
        }
        let rewrite = run.rewrite.as_mut().ok_or(Fault::Unexpected { kind })?;
        let pass = rewrite.rewrite(kind, message, out).map_err(Fault::Mask)?;
        run.row(message.len());
        self.rows += 1;
        Ok(pass)
    }

    /// Takes a whole message; `out` gets what replaces it.
    pub(in super::super) fn reply(
        &mut self,
        kind: Backend,
        message: &[u8],
        judge: &J,
        out: &mut Vec<u8>,
    ) -> Result<Pass, Fault> {
        if let Some(taken) = self.take_reply(kind, message) {
            return taken;
        }
        if self.is_cut(kind) {
            return Ok(Pass::Replaced);
        }
        let pass = match kind {
            Backend::ErrorResponse
            | Backend::NoticeResponse
            | Backend::NotificationResponse
            | Backend::ParameterStatus
                if !self.speech.is_plain() =>
            {
                self.rewrite_spoken(kind, message, judge, out)?
            }
            _ => self.rewrite(kind, message, judge, out)?,
        };
        if kind.streams() && !matches!(self.awaited.front(), Some(Item { kind: Awaited::OurDescribe, .. })) {
            self.pass(kind, message.len())?;
            return Ok(pass);
        }
        match kind {
            Backend::NoticeResponse | Backend::NotificationResponse => Ok(pass),
            Backend::ParameterStatus => self.watched(message, judge).map(|()| pass),
            Backend::ErrorResponse => Ok(self.error(sql_state(body(message)), judge, pass)),
            Backend::ReadyForQuery => self.ready(message, judge).map(|shown| shown.unwrap_or(pass)),
            Backend::CopyInResponse => self.copy_in().map(|()| pass),
            Backend::CopyOutResponse | Backend::CopyDone => match self.running() {
                Some(_) => Ok(pass),
                None => Err(Fault::Unexpected { kind }),
            },
            Backend::CommandComplete | Backend::EmptyQueryResponse | Backend::PortalSuspended => {
                let is_held = self.complete(kind, message, judge)?;
                Ok(if is_held { Pass::Replaced } else { pass })
            }
            Backend::ParseComplete
            | Backend::BindComplete
            | Backend::CloseComplete
            | Backend::NoData
            | Backend::RowDescription => self.confirm(kind).map(|()| pass),
            Backend::Authentication
            | Backend::BackendKeyData
            | Backend::NegotiateProtocolVersion
            | Backend::ParameterDescription
            | Backend::DataRow
            | Backend::CopyData
            | Backend::CopyBothResponse
            | Backend::FunctionCallResponse => Err(Fault::Unexpected { kind }),
        }
    }

    pub(super) fn rewrite(
        &mut self,
        kind: Backend,
        message: &[u8],
        judge: &J,
        out: &mut Vec<u8>,
    ) -> Result<Pass, Fault> {
        let is_aside = matches!(kind, Backend::NotificationResponse | Backend::ParameterStatus);
        let is_text = matches!(kind, Backend::ErrorResponse | Backend::NoticeResponse);
        let is_result = matches!(
            kind,
            Backend::RowDescription
                | Backend::NoData
                | Backend::DataRow
                | Backend::CopyOutResponse
                | Backend::CopyData
                | Backend::CopyDone
                | Backend::CommandComplete
        );
        if kind == Backend::ErrorResponse
            && matches!(self.awaited.front(), Some(Item { kind: Awaited::OurFailure, .. }))
        {
            return Ok(Pass::Replaced);
        }
        let describes = matches!(self.awaited.front(), Some(Item { kind: Awaited::OurDescribe, .. }));
        let shares = matches!(self.awaited.front(), Some(Item { kind: Awaited::SharedDescribe, .. }));
        let run = if is_aside { None } else { self.running_at(usize::from(describes || shares)) };
        let pass = match run.and_then(|run| run.rewrite.as_mut()) {
            // The client did not ask: it gets nothing of the answer.
            Some(rewrite) if describes && matches!(kind, Backend::RowDescription | Backend::NoData) => {
                rewrite.rewrite(kind, message, &mut Vec::new()).map(|_| Pass::Replaced)
            }
            Some(rewrite) if is_result || is_text => rewrite.rewrite(kind, message, out),
            None if is_aside || is_text => judge.aside(kind, message, out),
            Some(_) | None => Ok(Pass::Forward),
        };
        pass.map_err(Fault::Mask)
    }

    fn running(&mut self) -> Option<&mut Run<J>> {
        self.running_at(0)
    }

    fn running_at(&mut self, index: usize) -> Option<&mut Run<J>> {
        match self.awaited.get_mut(index).map(|item| &mut item.kind) {
            Some(Awaited::Query(run) | Awaited::Execute(run)) => Some(run),
            _ => None,
        }
    }

    fn confirm(&mut self, kind: Backend) -> Result<(), Fault> {
        let Some(Item { kind: awaited, .. }) = self.awaited.front() else {
            return Err(Fault::Unexpected { kind });
        };
        match (kind, awaited) {
            (Backend::ParseComplete, Awaited::Parse(name, defined)) => self.statements.settle(name, defined),
            (Backend::BindComplete, Awaited::Bind(name, defined)) => self.portals.settle(name, defined),
            (Backend::CloseComplete, Awaited::CloseStatement(..) | Awaited::ClosePortal(..))
            | (Backend::NoData | Backend::RowDescription, Awaited::Describe(_) | Awaited::OurDescribe)
            | (Backend::NoData, Awaited::SharedDescribe) => {}
            _ => return Err(Fault::Unexpected { kind }),
        }
        self.awaited.pop_front();
        Ok(())
    }

    /// Whether what came is a part of what is beyond a cap.
    fn is_cut(&mut self, kind: Backend) -> bool {
        match (kind, self.running()) {
            (Backend::CopyData, Some(run)) => run.cuts(),
            (Backend::CopyDone, Some(run)) => run.is_cut,
            _ => false,
        }
    }

    /// A statement is done; true where the client does not read of it yet.
    fn complete(&mut self, kind: Backend, message: &[u8], judge: &J) -> Result<bool, Fault> {
        let tag = body(message);
        let is_held = match self.awaited.front_mut().map(|item| &mut item.kind) {
            Some(Awaited::Query(run)) if kind != Backend::PortalSuspended => {
                run.complete(tag);
                self.capped = run.capped(message);
                return Ok(self.capped.is_some());
            }
            Some(Awaited::Execute(run)) => {
                run.complete(if kind == Backend::PortalSuspended { b"" } else { tag });
                self.capped = run.capped(message);
                self.is_capped_done = self.capped.is_some();
                self.is_capped_done
            }
            _ => return Err(Fault::Unexpected { kind }),
        };
        match self.awaited.pop_front().map(|item| item.kind) {
            Some(Awaited::Execute(run)) if is_held => self.counted = Some(run),
            Some(Awaited::Execute(run)) if kind == Backend::PortalSuspended => run.suspend(judge),
            Some(Awaited::Execute(run)) => run.finish(judge),
            _ => {}
        }
        self.end_copy();
        Ok(is_held)
    }

    fn copy_in(&mut self) -> Result<(), Fault> {
        if self.running().is_none() {
            return Err(Fault::Unexpected { kind: Backend::CopyInResponse });
        }
        // Whatever was sent behind the statement is now read as COPY data, and never answered.
        if self.awaited.len() > 1 {
            return Err(Fault::CopyOutOfTurn);
        }
        self.mode = Mode::CopyIn;
        self.gate = Gate::Open;
        Ok(())
    }

    /// A statement is over. Nothing was sent behind one that reads COPY data: while something is awaited, that one is
    /// still to come.
    fn end_copy(&mut self) {
        if !self.awaited.is_empty() {
            return;
        }
        if self.mode == Mode::CopyIn {
            self.mode = Mode::Ready;
        }
        if self.gate == Gate::AwaitCopy {
            self.gate = Gate::Open;
        }
    }

    fn error(&mut self, code: SqlState, judge: &J, pass: Pass) -> Pass {
        let mut pass = pass;
        match self.awaited.front_mut().map(|item| &mut item.kind) {
            // Nothing is asked, or the commit that a Sync stands for failed: no pipeline to skip.
            None | Some(Awaited::Sync) => return pass,
            Some(Awaited::Query(run)) => {
                run.fail(code);
                if self.mode == Mode::CopyIn {
                    self.mode = Mode::Ready;
                }
                return pass;
            }
            Some(Awaited::Execute(run)) => {
                run.fail(code);
                if run.limit.is_some() {
                    (self.capped, self.is_capped_done) = (Some(Capped::Failed), true);
                }
            }
            Some(Awaited::OurFailure) => pass = Pass::Replaced,
            Some(_) => {}
        }
        self.skip(judge);
        self.end_copy();
        pass
    }

    /// The server drops what it was sent up to the next Sync, and so do we.
    fn skip(&mut self, judge: &J) {
        let sync = self.awaited.iter().position(|item| matches!(item.kind, Awaited::Sync));
        if sync.is_none() {
            // What was sent since has no Sync yet either: the rest of the client's pipeline is skipped here.
            self.mode = Mode::SkipToSync;
        }
        let skipped = sync.unwrap_or(self.awaited.len());
        for (index, item) in self.awaited.drain(..skipped).enumerate().collect::<Vec<_>>().into_iter().rev() {
            let Item { pipeline, kind } = item;
            match kind {
                Awaited::Parse(name, defined) if index == 0 => self.statements.fail(&name, pipeline, defined),
                Awaited::Bind(name, defined) if index == 0 => self.portals.fail(&name, pipeline, defined),
                Awaited::Parse(name, defined) => self.statements.skip(&name, pipeline, defined),
                Awaited::Bind(name, defined) => self.portals.skip(&name, pipeline, defined),
                Awaited::CloseStatement(name, before) => self.statements.undo(&name, pipeline, before),
                Awaited::ClosePortal(name, before) => self.portals.undo(&name, pipeline, before),
                Awaited::Execute(run) if index == 0 => run.finish(judge),
                Awaited::Query(run) | Awaited::Execute(run) => run.skip(judge),
                Awaited::Describe(_)
                | Awaited::SharedDescribe
                | Awaited::OurDescribe
                | Awaited::Sync
                | Awaited::OurFailure
                | Awaited::OurQuestion(_)
                | Awaited::Denied(..)
                | Awaited::OurReady => {}
            }
        }
    }

    /// The server is ready; whether the client does not read of it yet, where that is known.
    fn ready(&mut self, message: &[u8], judge: &J) -> Result<Option<Pass>, Fault> {
        let kind = Backend::ReadyForQuery;
        let &[status] = body(message) else { return Err(Fault::Malformed { kind }) };
        let transaction = Transaction::from_byte(status).ok_or(Fault::Malformed { kind })?;
        if !matches!(self.awaited.front(), Some(Item { kind: Awaited::Query(_) | Awaited::Sync, .. })) {
            return Err(Fault::Unexpected { kind });
        }
        let Some(Item { pipeline, kind: awaited }) = self.awaited.pop_front() else {
            return Err(Fault::Unexpected { kind });
        };
        let mut shown = None;
        if let Awaited::Query(run) = awaited {
            if run.limit.is_some() {
                // Somebody waits for it, and says then how the transaction stands.
                shown = Some(Pass::Replaced);
                self.is_capped_done = true;
                self.capped.get_or_insert(Capped::Failed);
                self.counted = Some(run);
            } else {
                run.finish(judge);
            }
            self.end_copy();
        }
        self.transaction = transaction;
        if self.speech.waits() {
            self.spoken(transaction, judge);
        }
        // A portal lives no longer than its transaction, and cannot run in a failed one.
        if transaction != Transaction::Open {
            self.portals.forget_until(pipeline);
        }
        Ok(shown)
    }
}
