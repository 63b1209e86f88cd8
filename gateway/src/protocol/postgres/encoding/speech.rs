//! In which encoding a session speaks, and when that is known.
//!
//! In: what the server reports, and which statements may change it. Out: the encoding of the next message, or that it is not
//! known yet: a change, and the end of a transaction that made one, are certain when the server is ready again.

use super::{Encoding, UTF8};

/// What a statement makes of `client_encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This one.
    Encoding(&'static Encoding),
    /// That of the startup.
    Startup,
}

/// How a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speech {
    now: &'static Encoding,
    startup: &'static Encoding,
    /// That of the database, where it is served.
    server: Option<&'static Encoding>,
    /// A statement is on its way that may change it.
    is_moving: bool,
    /// It was changed in a transaction that is open: its end, or a failure, may take that back.
    is_tentative: bool,
}

impl Default for Speech {
    fn default() -> Self {
        Self { now: &UTF8, startup: &UTF8, server: Some(&UTF8), is_moving: false, is_tentative: false }
    }
}

impl Speech {
    /// At the beginning of a session whose database has the encoding of this name.
    #[must_use]
    pub fn new(startup: &'static Encoding, server: &str) -> Self {
        Self { now: startup, startup, server: Encoding::find(server), ..Self::default() }
    }

    /// In which the client's next message is, where nothing moves.
    #[must_use]
    pub fn now(&self) -> &'static Encoding {
        self.now
    }

    /// Nothing has to be converted, and nothing moves.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.now.is_utf8() && !self.waits()
    }

    /// Whether what is sent next is certain only once all is answered that was sent.
    pub(in super::super) fn waits(&self) -> bool {
        self.is_moving || self.is_tentative
    }

    /// Whether a statement is on its way that may change it.
    pub(in super::super) fn is_moving(&self) -> bool {
        self.is_moving
    }

    /// Whether a statement may change it.
    #[must_use]
    pub fn is_moved_by(&self, wanted: Wanted) -> bool {
        self.waits() || self.now != self.of(wanted)
    }

    /// Whether this database and we read that encoding alike. Between two that are not UTF8 a server converts by tables of
    /// their own, and with SQL_ASCII not at all.
    #[must_use]
    pub fn serves(&self, wanted: Wanted) -> bool {
        let encoding = self.of(wanted);
        encoding.is_utf8() || self.server.is_some_and(|server| server.is_utf8() || server == encoding)
    }

    fn of(&self, wanted: Wanted) -> &'static Encoding {
        match wanted {
            Wanted::Encoding(encoding) => encoding,
            Wanted::Startup => self.startup,
        }
    }

    /// A run was sent; whether it is one that changes the encoding.
    pub(in super::super) fn sent(&mut self, sets: bool) {
        self.is_moving |= sets || self.is_tentative;
    }

    /// The server reports the encoding. False where that is none that is served, or nothing has changed it.
    #[must_use]
    pub(in super::super) fn reported(&mut self, name: &[u8]) -> bool {
        let found = std::str::from_utf8(name).ok().and_then(Encoding::find);
        let is_certain = |one: &&Encoding| one.name().as_bytes() == name && (self.waits() || *one == self.now);
        let found = found.filter(|one| is_certain(one));
        found.is_some_and(|one| {
            self.now = one;
            true
        })
    }

    /// The server is ready, in a transaction or not.
    pub(in super::super) fn ready(&mut self, is_idle: bool) {
        self.is_tentative = self.waits() && !is_idle;
        self.is_moving = false;
    }
}
