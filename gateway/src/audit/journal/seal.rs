//! A seal, and the chain that seals form.
//!
//! In: lines of `seals.jsonl`, which may be hostile; or what is to be sealed. Out: checked seals; or a line. A seal has
//! one spelling: whatever this version would not write itself is refused.

use std::io;

use serde::{Deserialize, Serialize};

use super::Seq;
use super::key::{PublicKey, SIGNATURE_LEN, SealKey, signed_by};
use super::line::{Hash, ZERO_HASH, hash_of};
use crate::audit::hex;
use crate::audit::time::Timestamp;
use crate::id::{HostId, JournalId};

const VERSION: u32 = 1;
/// Of a seal that says what was removed.
const VERSION_OF_REMOVAL: u32 = 2;
/// Keeps a seal's signature from being taken for anything else.
const SIGNED_PREFIX: &[u8] = b"gateway journal seal 1\n";
const BEFORE_SIGNATURE: &[u8] = b",\"signature\":\"";

/// How far a journal is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The segment that holds the last sealed line.
    pub segment: u32,
    /// The last sealed line.
    pub seq: Seq,
    /// Where that line ends in its segment, newline included.
    pub bytes: u64,
    /// Its SHA-256.
    pub head: [u8; 32],
}

/// What a seal says of the lines up to its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// They are these.
    Written,
    /// They were these, and were removed since they were old enough.
    Removed,
}

/// Why a line of `seals.jsonl` is not the next seal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum SealFault {
    /// No seal of this version.
    #[error("expected a seal of version 1 or 2")]
    Malformed,
    /// A seal is missing, repeated or out of its place.
    #[error("expected seal {expected}, found seal {found}")]
    Number {
        /// The next in order.
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// The seal before it was changed.
    #[error("expected the hash {expected} of the seal before it, found {found}")]
    Prev {
        /// Of the seal before, as it is.
        expected: String,
        /// Of the seal before, as it was.
        found: String,
    },
    /// Signed with a key that the seal before does not name.
    #[error("expected a seal by key {expected}, found one by key {found}")]
    Key {
        /// Named by the seal before, or the first key.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// Of another installation.
    #[error("expected a seal of host {expected}, found one of host {found}")]
    Host {
        /// As in the first seal.
        expected: HostId,
        /// What stands there.
        found: HostId,
    },
    /// The signature does not belong to the line.
    #[error("the signature is not by key {key}: the seal was changed")]
    Signature {
        /// The key that should have signed.
        key: String,
    },
}

/// A seal as written, without its signature; the order of fields is the format.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u32,
    n: u64,
    time: Timestamp,
    host: HostId,
    journal: JournalId,
    segment: u32,
    seq: Seq,
    bytes: u64,
    head: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
    prev: String,
    key: String,
    next: String,
}

/// A seal whose place in the chain is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) n: u64,
    pub(crate) time: Timestamp,
    pub(crate) journal: JournalId,
    pub(crate) mark: Mark,
    pub(crate) says: Says,
}

/// Where the chain of seals stands.
#[derive(Clone, Debug)]
pub(crate) struct SealChain {
    pub(crate) sealed: u64,
    prev: Hash,
    /// Who must sign next.
    pub(crate) key: PublicKey,
    host: Option<HostId>,
}

impl SealChain {
    /// The installation whose seals these are; `None`: there is none yet.
    pub(super) fn host(&self) -> Option<HostId> {
        self.host
    }

    pub(crate) fn new(first_key: PublicKey) -> Self {
        Self { sealed: 0, prev: ZERO_HASH, key: first_key, host: None }
    }

    /// Takes the next seal, its signature checked.
    pub(crate) fn accept(&mut self, line: &[u8]) -> Result<Seal, SealFault> {
        let (front, signature) = split(line).ok_or(SealFault::Malformed)?;
        let message = [SIGNED_PREFIX, front].concat();
        let mut after = self.clone();
        let seal = after.accept_unsigned(line)?;
        if !signed_by(&self.key, &message, &signature) {
            return Err(SealFault::Signature { key: hex::encode(&self.key) });
        }
        *self = after;
        Ok(seal)
    }

    /// Takes the next seal by its links alone: for files that only we write, where checking a year of signatures would
    /// delay a start by minutes.
    pub(crate) fn accept_unsigned(&mut self, line: &[u8]) -> Result<Seal, SealFault> {
        let (front, _) = split(line).ok_or(SealFault::Malformed)?;
        let written: Written = serde_json::from_slice(&[front, b"}"].concat()).map_err(|_| SealFault::Malformed)?;
        // One spelling: no spaces, no other order, no escapes.
        let respelled = serde_json::to_vec(&written).map_err(|_| SealFault::Malformed)?;
        let says = match (written.v, written.removed) {
            (VERSION, false) => Says::Written,
            (VERSION_OF_REMOVAL, true) => Says::Removed,
            _ => return Err(SealFault::Malformed),
        };
        if respelled.strip_suffix(b"}") != Some(front) {
            return Err(SealFault::Malformed);
        }
        let decode = |text: &str| hex::decode::<32>(text.as_bytes()).ok_or(SealFault::Malformed);
        let (head, next) = (decode(&written.head)?, decode(&written.next)?);
        let expected = self.sealed + 1;
        if written.n != expected {
            return Err(SealFault::Number { expected, found: written.n });
        }
        if decode(&written.prev)? != self.prev {
            return Err(SealFault::Prev { expected: hex::encode(&self.prev), found: written.prev });
        }
        if decode(&written.key)? != self.key {
            return Err(SealFault::Key { expected: hex::encode(&self.key), found: written.key });
        }
        let host = self.host.unwrap_or(written.host);
        if host != written.host {
            return Err(SealFault::Host { expected: host, found: written.host });
        }
        *self = Self { sealed: expected, prev: hash_of(line), key: next, host: Some(host) };
        let mark = Mark { segment: written.segment, seq: written.seq, bytes: written.bytes, head };
        Ok(Seal { n: written.n, time: written.time, journal: written.journal, mark, says })
    }

    /// The line of the next seal, newline included, signed with `key`; the chain itself does not move.
    pub(super) fn write(
        &self,
        host: HostId,
        (journal, mark, says): (JournalId, Mark, Says),
        key: &SealKey,
        next: &PublicKey,
    ) -> io::Result<Vec<u8>> {
        let removed = says == Says::Removed;
        let written = Written {
            v: if removed { VERSION_OF_REMOVAL } else { VERSION },
            n: self.sealed + 1,
            time: Timestamp::now(),
            host,
            journal,
            segment: mark.segment,
            seq: mark.seq,
            bytes: mark.bytes,
            head: hex::encode(&mark.head),
            removed,
            prev: hex::encode(&self.prev),
            key: hex::encode(&self.key),
            next: hex::encode(next),
        };
        let mut line = serde_json::to_vec(&written)?;
        line.pop();
        let signature = key.sign(&[SIGNED_PREFIX, &line].concat())?;
        line.extend_from_slice(BEFORE_SIGNATURE);
        hex::push(&mut line, &signature);
        line.extend_from_slice(b"\"}\n");
        Ok(line)
    }
}

/// The installation that a seal is of. Nothing else of it is checked.
pub(super) fn host_of(line: &[u8]) -> Option<HostId> {
    Some(unchecked(line)?.host)
}

/// The number of a seal of this host. Nothing else of it is checked.
pub(crate) fn named_seal(line: &[u8], of: HostId) -> Option<u64> {
    let written = unchecked(line)?;
    (written.host == of).then_some(written.n)
}

fn unchecked(line: &[u8]) -> Option<Written> {
    let (front, _) = split(line)?;
    serde_json::from_slice(&[front, b"}"].concat()).ok()
}

/// What is signed, and the signature.
fn split(line: &[u8]) -> Option<(&[u8], [u8; SIGNATURE_LEN])> {
    let end = line.strip_suffix(b"\"}")?;
    let (front, digits) = end.split_at_checked(end.len().checked_sub(2 * SIGNATURE_LEN)?)?;
    Some((front.strip_suffix(BEFORE_SIGNATURE)?, hex::decode(digits)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(front: &str, key: &SealKey) -> Vec<u8> {
        let signature = key.sign(&[SIGNED_PREFIX, front.as_bytes()].concat()).unwrap();
        [front.as_bytes(), BEFORE_SIGNATURE, hex::encode(&signature).as_bytes(), b"\"}"].concat()
    }

    /// Whoever took a key before it was erased can sign what he likes; links and spelling still hold.
    #[test]
    fn a_good_signature_does_not_excuse_wrong_links_or_another_spelling() {
        let key = SealKey::generate().unwrap();
        let chain = SealChain::new(key.public().unwrap());
        let mark = Mark { segment: 1, seq: Seq(3), bytes: 900, head: [7; 32] };
        let line =
            chain.write(HostId::generate(), (JournalId::generate(), mark, Says::Written), &key, &[5; 32]).unwrap();
        let line = line.strip_suffix(b"\n").unwrap();
        let seal = chain.clone().accept(line).unwrap();
        assert_eq!((seal.n, seal.mark), (1, mark));
        let (front, _) = split(line).unwrap();
        let front = std::str::from_utf8(front).unwrap();
        assert!(chain.clone().accept(&signed(front, &key)).is_ok());
        type Case = (&'static str, &'static str, fn(&SealFault) -> bool);
        let changes: [Case; 6] = [
            ("\"prev\":\"0", "\"prev\":\"1", |fault| matches!(fault, SealFault::Prev { .. })),
            ("\"n\":1", "\"n\":2", |fault| matches!(fault, SealFault::Number { expected: 1, found: 2 })),
            ("\"n\":1", "\"n\": 1", |fault| *fault == SealFault::Malformed),
            ("\"v\":1", "\"v\":2", |fault| *fault == SealFault::Malformed),
            ("\"next\":\"0", "\"next\":\"\\u0030", |fault| *fault == SealFault::Malformed),
            ("\"bytes\":900", "\"bytes\":900,\"more\":1", |fault| *fault == SealFault::Malformed),
        ];
        for (from, to, expected) in changes {
            assert!(front.contains(from));
            let fault = chain.clone().accept(&signed(&front.replacen(from, to, 1), &key)).unwrap_err();
            assert!(expected(&fault), "{to}: {fault}");
        }
    }

    #[test]
    fn a_chain_keeps_to_one_host() {
        let (one, two) = (SealKey::generate().unwrap(), SealKey::generate().unwrap());
        let mut chain = SealChain::new(one.public().unwrap());
        let mark = Mark { segment: 1, seq: Seq(3), bytes: 900, head: [7; 32] };
        let (journal, next) = (JournalId::generate(), two.public().unwrap());
        let line = chain.write(HostId::generate(), (journal, mark, Says::Written), &one, &next).unwrap();
        chain.accept(line.strip_suffix(b"\n").unwrap()).unwrap();
        let line = chain.write(HostId::generate(), (journal, mark, Says::Written), &two, &[5; 32]).unwrap();
        let fault = chain.accept(line.strip_suffix(b"\n").unwrap()).unwrap_err();
        assert!(matches!(fault, SealFault::Host { .. }), "{fault}");
    }
}
