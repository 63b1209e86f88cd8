//! What went over a file that was open: how much, and which bytes.
//!
//! In: reads and writes with their offsets. Out: a [`Transfer`] for each direction. A digest says what was transferred
//! only where every byte went over once and in order; else there is none, never a wrong one.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

/// Which way a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the server to the client.
    Read,
    /// From the client to the server.
    Write,
}

/// A file that was transferred, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer<R> {
    /// What the caller gave along when it let the request pass that opened it.
    pub request: R,
    /// Its path, as the client named it.
    pub path: Arc<str>,
    /// Which way.
    pub direction: Direction,
    /// How many bytes went over.
    pub bytes: u64,
    /// SHA-256 of them, where they went over once, in order and from the beginning.
    pub sha256: Option<[u8; 32]>,
    /// It was closed, and nothing failed.
    pub is_complete: bool,
}

/// One direction of a file.
#[derive(Clone)]
pub(crate) struct Progress {
    bytes: u64,
    context: Option<Context>,
    is_failed: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { bytes: 0, context: Some(Context::new(&SHA256)), is_failed: false }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("bytes", &self.bytes).field("in_order", &self.context.is_some()).finish()
    }
}

impl Progress {
    pub(crate) fn add(&mut self, offset: u64, data: &[u8]) {
        if offset == self.bytes {
            if let Some(context) = &mut self.context {
                context.update(data);
            }
        } else {
            self.context = None;
        }
        self.bytes = self.bytes.saturating_add(data.len() as u64);
    }

    /// The place of these bytes is not known, as in a file that is appended to.
    pub(crate) fn disorder(&mut self) {
        self.context = None;
    }

    pub(crate) fn fail(&mut self) {
        self.is_failed = true;
    }

    pub(crate) fn end<R>(self, request: R, path: &Arc<str>, direction: Direction, is_closed: bool) -> Transfer<R> {
        let sha256 = self.context.and_then(|context| context.finish().as_ref().try_into().ok());
        let is_complete = is_closed && !self.is_failed;
        Transfer { request, path: Arc::clone(path), direction, bytes: self.bytes, sha256, is_complete }
    }
}
