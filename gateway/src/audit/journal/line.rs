//! The head and the end of a line, at fixed positions.
//!
//! In: the parts of a line, or a line's bytes from any file. Out: bytes, or the parts. The body is neither built nor
//! read here, and nothing is looked for: what does not stand where it belongs is a fault.

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

use super::{FORMAT, Seq};
use crate::audit::hex;
use crate::audit::time::{TIMESTAMP_LEN, Timestamp};
use crate::id::{JournalId, SessionId};

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// `prev` of a first line.
pub(crate) const ZERO_HASH: Hash = [0; 32];

const UUID_LEN: usize = 36;
const NIL_SESSION: &[u8; UUID_LEN] = b"00000000-0000-0000-0000-000000000000";
const KIND_LIMIT: usize = 64;
const HASH_DIGITS: usize = 64;

/// The parts of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) journal: JournalId,
    pub(crate) session: Option<SessionId>,
    pub(crate) time: Timestamp,
    pub(crate) seq: Seq,
    pub(crate) kind: &'a str,
    /// Unread JSON.
    pub(crate) body: &'a [u8],
    pub(crate) prev: Hash,
}

/// Why bytes are no line of this format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum LineFault {
    /// Another version of the format.
    #[error("format version `{found}` is not known here: read it with the product version that wrote it")]
    Version {
        /// What stands there.
        found: String,
    },
    /// A part is not where it belongs.
    #[error("expected {expected}")]
    Malformed {
        /// What should stand there.
        expected: &'static str,
    },
    /// Longer than any writer makes.
    #[error("longer than {} bytes", super::LINE_LIMIT)]
    TooLong,
}

/// SHA-256 of a line without its newline.
pub(crate) fn hash_of(line: &[u8]) -> Hash {
    let mut hash = ZERO_HASH;
    // SHA-256 gives 32 bytes; `copy_from_slice` would need a proof of that.
    for (to, from) in hash.iter_mut().zip(digest(&SHA256, line).as_ref()) {
        *to = *from;
    }
    hash
}

/// Writes a line up to the start of its body. `journal` is the id's text.
pub(crate) fn push_head(
    out: &mut Vec<u8>,
    (journal, session): (&str, Option<SessionId>),
    time: Timestamp,
    seq: Seq,
    kind: &str,
) {
    out.extend_from_slice(b"{\"v\":1,\"journal\":\"");
    out.extend_from_slice(journal.as_bytes());
    out.extend_from_slice(b"\",\"session\":\"");
    out.extend_from_slice(&session.map_or(*NIL_SESSION, |session| session.to_text()));
    out.extend_from_slice(b"\",\"time\":\"");
    out.extend_from_slice(&time.to_text());
    out.extend_from_slice(b"\",\"seq\":");
    // Writing a number to a Vec does not fail.
    drop(serde_json::to_writer(&mut *out, &seq));
    out.extend_from_slice(b",\"kind\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"body\":");
}

/// Writes what follows the body, newline included.
pub(crate) fn push_end(out: &mut Vec<u8>, prev: &Hash) {
    out.extend_from_slice(b",\"prev\":\"");
    hex::push(out, prev);
    out.extend_from_slice(b"\"}\n");
}

/// What is left of a line while it is taken apart from the front.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn literal(&mut self, text: &'static str) -> Result<(), LineFault> {
        self.0 = self.0.strip_prefix(text.as_bytes()).ok_or(LineFault::Malformed { expected: text })?;
        Ok(())
    }

    fn take(&mut self, count: usize, expected: &'static str) -> Result<&'a [u8], LineFault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(LineFault::Malformed { expected })?;
        self.0 = rest;
        Ok(taken)
    }

    /// Bytes up to the first that is not `accepted`, at least one and at most `limit`.
    fn take_while(
        &mut self,
        accepted: fn(&u8) -> bool,
        limit: usize,
        expected: &'static str,
    ) -> Result<&'a str, LineFault> {
        let count = self.0.iter().take(limit + 1).take_while(|byte| accepted(byte)).count();
        if count == 0 || count > limit {
            return Err(LineFault::Malformed { expected });
        }
        std::str::from_utf8(self.take(count, expected)?).map_err(|_| LineFault::Malformed { expected })
    }

    fn id(&mut self) -> Result<&'a str, LineFault> {
        let fault = LineFault::Malformed { expected: "an id of 36 characters" };
        let text = self.take(UUID_LEN, "an id of 36 characters")?;
        if text.iter().any(u8::is_ascii_uppercase) {
            return Err(fault);
        }
        std::str::from_utf8(text).map_err(|_| fault)
    }
}

/// Takes a line, without its newline, apart; errs at the first part that is not where it belongs. That the body is
/// JSON is for the caller to check.
pub(crate) fn parse(line: &[u8]) -> Result<Head<'_>, LineFault> {
    let mut rest = Rest(line);
    rest.literal("{\"v\":")?;
    let version = rest.take_while(u8::is_ascii_digit, 10, "a format version")?;
    if version != FORMAT.to_string() {
        return Err(LineFault::Version { found: version.to_owned() });
    }
    rest.literal(",\"journal\":\"")?;
    let journal = rest.id()?.parse().map_err(|_| LineFault::Malformed { expected: "a journal id" })?;
    rest.literal("\",\"session\":\"")?;
    let session = match rest.id()? {
        nil if nil.as_bytes() == NIL_SESSION => None,
        text => Some(text.parse().map_err(|_| LineFault::Malformed { expected: "a session id" })?),
    };
    rest.literal("\",\"time\":\"")?;
    let time = Timestamp::parse(rest.take(TIMESTAMP_LEN, "a time")?)
        .map_err(|_| LineFault::Malformed { expected: "a time of the form 2026-11-22T00:00:00.000000Z" })?;
    rest.literal("\",\"seq\":")?;
    let digits = rest.take_while(u8::is_ascii_digit, 20, "a line number")?;
    let seq = digits.parse().map_err(|_| LineFault::Malformed { expected: "a line number" })?;
    if digits.starts_with('0') {
        return Err(LineFault::Malformed { expected: "a line number from 1, without leading zeros" });
    }
    rest.literal(",\"kind\":\"")?;
    let of_kind = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.');
    let kind = rest.take_while(of_kind, KIND_LIMIT, "a kind of a-z, 0-9, `_` and `.`")?;
    rest.literal("\",\"body\":")?;
    let (body, prev) = split_end(rest.0)?;
    Ok(Head { journal, session, time, seq: Seq(seq), kind, body, prev })
}

/// Splits body and `prev`, from the end.
fn split_end(rest: &[u8]) -> Result<(&[u8], Hash), LineFault> {
    let fault = LineFault::Malformed { expected: "`,\"prev\":\"<64 hex digits>\"}` at the end" };
    let end = rest.strip_suffix(b"\"}").ok_or(fault.clone())?;
    let at = end.len().checked_sub(HASH_DIGITS).ok_or(fault.clone())?;
    let (front, digits) = end.split_at_checked(at).ok_or(fault.clone())?;
    let body = front.strip_suffix(b",\"prev\":\"").ok_or(fault.clone())?;
    Ok((body, hex::decode(digits).ok_or(fault)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(session: Option<SessionId>) -> (Vec<u8>, JournalId) {
        let journal = JournalId::generate();
        let mut line = Vec::new();
        push_head(&mut line, (&journal.to_string(), session), Timestamp::from_micros(7), Seq(12), "gap");
        line.extend_from_slice(br#"{"name":"x\n"}"#);
        push_end(&mut line, &[0xab; 32]);
        (line, journal)
    }

    #[test]
    fn reads_back_what_it_writes_at_the_positions_of_the_specification() {
        let session = SessionId::generate();
        let (line, journal) = sample(Some(session));
        let line = line.strip_suffix(b"\n").unwrap();
        assert_eq!(&line[18..54], journal.to_string().as_bytes());
        assert_eq!(&line[67..103], session.to_string().as_bytes());
        assert_eq!(&line[113..140], b"1970-01-01T00:00:00.000007Z");
        assert!(line[line.len() - 75..].starts_with(b",\"prev\":\""));
        let head = parse(line).unwrap();
        assert_eq!((head.journal, head.session, head.seq), (journal, Some(session), Seq(12)));
        assert_eq!((head.kind, head.prev), ("gap", [0xab; 32]));
        assert_eq!(head.body, br#"{"name":"x\n"}"#);
        assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok());
    }

    #[test]
    fn a_line_cut_anywhere_is_a_fault() {
        let (line, _) = sample(None);
        let line = line.strip_suffix(b"\n").unwrap();
        assert_eq!(parse(line).unwrap().session, None);
        for end in 0..line.len() {
            assert!(parse(&line[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn another_version_is_named() {
        assert_eq!(parse(b"{\"v\":2,\"journal\":"), Err(LineFault::Version { found: "2".into() }));
    }
}
