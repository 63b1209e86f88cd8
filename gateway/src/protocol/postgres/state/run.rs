//! One permitted run of a Query or Execute, from sent to told.
//!
//! In: the replies that belong to it. Out: its outcome, once, to the judge that permitted it.

use crate::protocol::postgres::judge::{Forward, Judge, Limit, Outcome, OutcomeEnd, Rewrite};
use crate::protocol::postgres::message::ours;
use crate::protocol::postgres::reply::SqlState;
use crate::protocol::postgres::state::limit::Capped;

/// As the server has it (`COMPLETION_TAG_BUFSIZE`, src/include/tcop/cmdtag.h), its NUL left out.
const TAG: usize = 63;

/// The tag of a CommandComplete, kept in place.
#[derive(Clone, Copy)]
struct Tag {
    bytes: [u8; TAG],
    length: usize,
}

impl Tag {
    fn empty() -> Self {
        Self { bytes: [0; TAG], length: 0 }
    }

    fn read(body: &[u8]) -> Self {
        let mut tag = Self::empty();
        let text = body.strip_suffix(b"\0").unwrap_or(body);
        for (to, from) in tag.bytes.iter_mut().zip(text) {
            *to = *from;
            tag.length += 1;
        }
        tag
    }

    fn text(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

/// A run that the server has been sent.
pub(in super::super) struct Run<J: Judge> {
    permit: J::Permit,
    pub(super) rewrite: Option<Box<dyn Rewrite>>,
    pub(super) limit: Option<Limit>,
    /// A row was left out: so is what follows.
    pub(super) is_cut: bool,
    rows: u64,
    bytes: u64,
    statements: u32,
    tag: Tag,
    failed: Option<SqlState>,
}

impl<J: Judge> Run<J> {
    pub(super) fn new(forward: Forward<J::Permit>) -> Self {
        Self {
            permit: forward.permit,
            rewrite: forward.rewrite,
            limit: forward.limit,
            is_cut: false,
            rows: 0,
            bytes: 0,
            statements: 0,
            tag: Tag::empty(),
            failed: None,
        }
    }

    /// A row or a piece of COPY data went to the client.
    pub(super) fn row(&mut self, size: usize) {
        self.rows += 1;
        self.bytes += size as u64;
    }

    /// Whether a row or a piece of COPY data goes beyond the cap, or beyond what was asked for.
    pub(super) fn cuts(&mut self) -> bool {
        if self.is_beyond_first() {
            return true;
        }
        self.is_cut |= self.limit.as_ref().is_some_and(|limit| !limit.shows());
        self.is_cut
    }

    fn is_beyond_first(&self) -> bool {
        self.limit.as_ref().and_then(|limit| limit.first).is_some_and(|first| self.rows >= first)
    }

    /// What a run with a cap comes to at its end, which the client reads as `message`.
    pub(super) fn capped(&self, message: &[u8]) -> Option<Capped> {
        let end = if self.is_beyond_first() { ours::SUSPENDED } else { message };
        Some(self.limit.as_ref()?.comes_to(self.tag.text(), end.to_vec()))
    }

    pub(in super::super) fn permit(&self) -> &J::Permit {
        &self.permit
    }

    /// A statement of this run is done.
    pub(super) fn complete(&mut self, body: &[u8]) {
        self.statements += 1;
        self.tag = Tag::read(body);
    }

    /// The server reported an error.
    pub(super) fn fail(&mut self, code: SqlState) {
        self.failed = Some(code);
    }

    /// The run is over.
    pub(super) fn finish(self, judge: &J) {
        let tag = self.tag;
        let end = match self.failed {
            Some(code) => OutcomeEnd::Failed(code),
            None => OutcomeEnd::Completed { tag: tag.text(), statements: self.statements },
        };
        self.end(judge, end);
    }

    pub(super) fn suspend(self, judge: &J) {
        self.end(judge, OutcomeEnd::Suspended);
    }

    pub(super) fn skip(self, judge: &J) {
        self.end(judge, OutcomeEnd::Skipped);
    }

    pub(super) fn unknown(self, judge: &J) {
        self.end(judge, OutcomeEnd::Unknown);
    }

    fn end(mut self, judge: &J, end: OutcomeEnd<'_>) {
        let (masked, shown) =
            self.rewrite.as_mut().map(|rewrite| (rewrite.masked(), rewrite.shown())).unwrap_or_default();
        judge.outcome(self.permit, &Outcome { end, rows: self.rows, bytes: self.bytes, masked, shown });
    }
}
