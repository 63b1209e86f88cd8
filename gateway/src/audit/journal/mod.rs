//! The journal on local disk. This text is the format's specification, version 1.
//!
//! In: events, from several processes, each into a journal of its own. Out: files that can be followed, searched and
//! verified with nothing but this page. Lines are added and never changed.
//!
//! # Files, below the state directory
//!
//! ```text
//! journal/<journal id>/000001.jsonl   a segment: lines, append-only (O_APPEND, and the file system's append flag)
//! journal/<journal id>/000001.jsonl.zst   the same, compressed (zstd, RFC 8878), once it is whole and all of it sealed
//! journal/<journal id>/000001.idx     its index, made by the sealer; never evidence, rebuilt when missing
//! journal/seals.jsonl                 the seals of all journals of this host, written by root alone, no append flag
//! journal/seal.pub                    the first public key, 64 hex digits: the anchor, to be copied elsewhere
//! journal/seal.key                    the current private key, 32 bytes, mode 0600
//! journal/seal.key.next               the key after it, only while a seal is being written
//! ```
//!
//! # A line
//!
//! UTF-8 JSON without a raw newline, ended by one newline, at most `LINE_LIMIT` bytes without it:
//!
//! ```text
//! {"v":1,"journal":"<uuid>","session":"<uuid>","time":"2026-11-22T00:00:00.000000Z","seq":N,"kind":"session.start","body":{…},"prev":"<64 hex>"}
//! ```
//!
//! No space, this order, lower case. Journal, session and time stand at fixed positions (18, 67, 113), `prev` takes the
//! last 75 bytes, so a follower finds all of them without a JSON parser. `session` is the nil UUID outside sessions.
//! `seq` counts from 1 and by 1 through all segments of a journal. `kind` is `[a-z0-9_.]`, up to 64 bytes; readers pass
//! on kinds and body fields that they do not know. A change of anything else in this text is another `v`, and a reader
//! refuses a `v` that it does not know.
//!
//! `prev` is the SHA-256 of the line before, its newline left out; 64 zeros in the first line. The first line is
//! `journal.opened` with host, role, product version and, where known, the journal of the same role before. The first
//! line of a later segment goes on with the `seq` and `prev` of the segment before, and is written only when that one
//! is complete. All that is said here of a segment's bytes means its lines, compressed or not.
//!
//! Bytes behind the last newline are a torn line: its writer died or its disk was full, and nobody was told that it
//! was written. It is no line of the journal, and readers name it.
//!
//! # A seal
//!
//! A line of `seals.jsonl`; it says that a journal's lines up to `seq`, which end at `bytes` of `segment`, hash to
//! `head` (SHA-256 of line `seq`):
//!
//! ```text
//! {"v":1,"n":N,"time":"…","host":"<uuid>","journal":"<uuid>","segment":S,"seq":N,"bytes":B,"head":"<64 hex>","prev":"<64 hex>","key":"<64 hex>","next":"<64 hex>","signature":"<128 hex>"}
//! ```
//!
//! `n` counts from 1; `prev` is the SHA-256 of the seal's line before, zeros in the first. `signature` is Ed25519 by
//! `key` over `gateway journal seal 1`, a newline, and the line's bytes before `,"signature"`. `key` is the `next` of the
//! seal before, and `seal.pub` in the first. When a seal is written its private key is erased and the next one takes
//! its place, so whoever takes the host over later cannot make an earlier seal again. Cut seals are noticed too: the
//! private key on disk no longer is the one that the last seal names.
//!
//! A line with `"v":2` and `"removed":true` behind `head` says that the lines up to `seq`, with all of `segment` and the segments
//! before it, were removed since they were old enough: what is left goes on behind it.
//!
//! What it cannot show by itself: lines cut behind the last seal, a journal removed before its first seal and before
//! another one named it, and a whole directory replaced with its anchor. For the first two, seal often; for the last,
//! keep `seal.pub` elsewhere and give it to `verify`.
//!
//! # The index
//!
//! A header of 32 bytes (`GWJIDX`, version as u16, record width as u16, six zeros, journal id: 16 bytes), then for each
//! line the offset as u64 and the session id, 24 bytes; integers little-endian.

mod line;
mod layout;
mod segment;
mod packed;
mod index;
mod commit;
mod writer;
mod key;
mod seal;
mod tail;
mod sealer;
mod reader;
mod room;
mod sessions;
mod timeline;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use commit::Committed;
pub use key::{FirstKey, InvalidKey};
pub use layout::{JournalFiles, Layout, LayoutError};
pub use line::LineFault;
pub(crate) use packed::pack;
pub use reader::{Broken, Filter, Item, ReadError, Reader, Record, Records, is_of};
pub use room::{Account, Disk, Marks};
pub use seal::{Mark, SealFault};
pub use sealer::{Removable, SealError, Sealed, Sealer, sealed_host};
pub use sessions::{SessionState, SessionSummary};
pub use tail::{Breach, BreachKind};
pub use timeline::{Step, Timeline, TimelineError};
pub use writer::{By, Count, Durability, Journal, JournalError, Opening};

pub(crate) use key::public_half;
pub(crate) use line::{Hash, Head, ZERO_HASH, hash_of, parse};
pub(crate) use seal::{Says, SealChain, named_seal};
pub(crate) use segment::{Found, LineReader, line_before, open_regular};

/// Version of the line format.
pub const FORMAT: u32 = 1;

/// Longest line in bytes, newline left out. A longer one is refused by the writer and is broken for a reader.
pub const LINE_LIMIT: usize = 1024 * 1024;

/// Number of a line in its journal, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The line after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
