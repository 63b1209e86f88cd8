//! Questions for names, and what servers answer (RFC 1035).
//!
//! In: bytes of a client and of a server, both hostile. Out: one question with our own query for it; of an answer, the
//! addresses that it gives to exactly that question. No I/O. Never takes an address that is not reached from the name
//! that was asked for, inside the answer section.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::config::is_host_name;

/// The largest question over TCP; one with all that belongs into it has 300 bytes.
pub const MAX_QUESTION: usize = 4_096;
/// What we take and give over UDP without fragments on any path (DNS Flag Day 2020).
pub const MAX_DATAGRAM: u16 = 1_232;
/// Names that an answer may lead through from the one that was asked for.
const MAX_ALIASES: usize = 16;
/// Option code of Extended DNS Errors, and their `Blocked` (RFC 8914).
const EXTENDED_ERROR: u16 = 15;
const BLOCKED: u16 = 15;
const HEADER: usize = 12;

/// A question that a client asks.
#[derive(Debug, Clone)]
pub struct Question {
    message: Message,
    query: Query,
    name: String,
}

/// What is answered instead of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// There is no such name here: resolvers go on with their search list, and ask nobody else.
    NoName,
    /// The name has no records of this kind.
    NoRecords,
    /// No server answered.
    Failure,
}

/// What a server gave for a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The addresses of the name; empty for other kinds of records.
    pub addresses: Vec<IpAddr>,
    /// How long they hold.
    pub ttl: Duration,
    /// The bytes, as the client awaits them.
    pub bytes: Vec<u8>,
}

/// Bytes that are not what was awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// Not one question.
    #[error("malformed")]
    Question,
    /// Not an answer to this question.
    #[error("wrong_answer")]
    Answer,
}

impl Question {
    /// Reads what a client sent.
    ///
    /// # Errors
    /// Where it is not one question of class IN.
    pub fn read(bytes: &[u8]) -> Result<Self, Unread> {
        let message = Message::from_vec(bytes).map_err(|_| Unread::Question)?;
        let asks = message.metadata.message_type == MessageType::Query && message.metadata.op_code == OpCode::Query;
        match message.queries.as_slice() {
            [query] if asks && query.query_class == DNSClass::IN => {
                Ok(Self { query: query.clone(), name: text(&query.name), message })
            }
            _ => Err(Unread::Question),
        }
    }

    /// Our own questions for the addresses of a name, of IPv4 first; none where it is no name.
    #[must_use]
    pub fn of_addresses(name: &str) -> Vec<Self> {
        let Ok(name) = Name::from_ascii(format!("{}.", name.trim_end_matches('.'))) else { return Vec::new() };
        let ask = |kind| {
            let mut message = Message::query();
            message.metadata.recursion_desired = true;
            message.add_query(Query::query(name.clone(), kind));
            message.to_vec().ok().and_then(|bytes| Self::read(&bytes).ok())
        };
        [RecordType::A, RecordType::AAAA].into_iter().filter_map(ask).collect()
    }

    /// The name in lower case, without a dot at its end; odd bytes escaped.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name, where rules can be asked about it.
    #[must_use]
    pub fn host_name(&self) -> Option<&str> {
        Some(self.name.as_str()).filter(|name| is_host_name(name))
    }

    /// The kind of record, as in `AAAA`.
    #[must_use]
    pub fn record_type(&self) -> String {
        self.query.query_type.to_string()
    }

    /// Whether its answer would bring addresses that nobody looks at, or a zone as a whole.
    #[must_use]
    pub fn wants_hidden_addresses(&self) -> bool {
        use RecordType as T;
        matches!(self.query.query_type, T::HTTPS | T::SVCB | T::ANY | T::AXFR | T::IXFR)
    }

    /// Our own query for it, with a number of its own. Nothing but the question and its flags is the client's.
    ///
    /// # Errors
    /// Where the name cannot be written again.
    pub fn ask(&self) -> Result<Asked, Unread> {
        let mut message = Message::query();
        let asked = &self.message.metadata;
        message.metadata.recursion_desired = asked.recursion_desired;
        message.metadata.authentic_data = asked.authentic_data;
        message.metadata.checking_disabled = asked.checking_disabled;
        message.add_query(self.query.clone());
        // With it only where the client has it, or the answer would hold what the client does not know.
        if let Some(edns) = &self.message.edns {
            let mut own = Edns::new();
            own.set_max_payload(edns.max_payload().clamp(512, MAX_DATAGRAM));
            own.set_dnssec_ok(edns.flags().dnssec_ok);
            message.set_edns(own);
        }
        let bytes = message.to_vec().map_err(|_| Unread::Question)?;
        Ok(Asked { id: message.metadata.id, bytes })
    }

    /// What the client reads instead of records.
    #[must_use]
    pub fn instead(&self, instead: Instead) -> Vec<u8> {
        let mut message = Message::response(self.message.metadata.id, OpCode::Query);
        message.metadata.recursion_desired = self.message.metadata.recursion_desired;
        message.metadata.recursion_available = true;
        message.metadata.response_code = match instead {
            Instead::NoName => ResponseCode::NXDomain,
            Instead::NoRecords => ResponseCode::NoError,
            Instead::Failure => ResponseCode::ServFail,
        };
        message.add_query(self.query.clone());
        if self.message.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(MAX_DATAGRAM);
            if instead == Instead::NoName {
                let text = b"gateway: this name is not on the list";
                let option = [&BLOCKED.to_be_bytes(), text.as_slice()].concat();
                edns.options_mut().insert(EdnsOption::Unknown(EXTENDED_ERROR, option));
            }
            message.set_edns(edns);
        }
        message.to_vec().unwrap_or_default()
    }

    /// Reads what a server sent for `asked`.
    ///
    /// # Errors
    /// Where it is no answer to this very question.
    pub fn answer(&self, asked: &Asked, bytes: &[u8]) -> Result<Answer, Unread> {
        let message = Message::from_vec(bytes).map_err(|_| Unread::Answer)?;
        let is_ours = message.metadata.id == asked.id && message.metadata.message_type == MessageType::Response;
        let same = |query: &Query| {
            (&query.name, query.query_type, query.query_class)
                == (&self.query.name, self.query.query_type, self.query.query_class)
        };
        match message.queries.as_slice() {
            [query] if is_ours && same(query) => {}
            _ => return Err(Unread::Answer),
        }
        let mut bytes = bytes.to_vec();
        for (byte, id) in bytes.iter_mut().zip(self.message.metadata.id.to_be_bytes()) {
            *byte = id;
        }
        let (addresses, ttl) = self.addresses(&message.answers)?;
        Ok(Answer { addresses, ttl, bytes })
    }

    /// The addresses that the name has, by itself or by the names that it is an alias of.
    fn addresses(&self, records: &[Record]) -> Result<(Vec<IpAddr>, Duration), Unread> {
        let mut addresses = Vec::new();
        let mut ttl = u32::MAX;
        let mut name = &self.query.name;
        for _ in 0..MAX_ALIASES {
            let mut alias = None;
            for record in records.iter().filter(|record| record.name == *name && record.dns_class == DNSClass::IN) {
                match &record.data {
                    RData::A(address) if self.query.query_type == RecordType::A => addresses.push(address.0.into()),
                    RData::AAAA(address) if self.query.query_type == RecordType::AAAA => {
                        addresses.push(address.0.into());
                    }
                    RData::CNAME(other) => alias = Some(&other.0),
                    _ => continue,
                }
                ttl = ttl.min(record.ttl);
            }
            match alias {
                Some(alias) if addresses.is_empty() => name = alias,
                _ => return Ok((addresses, Duration::from_secs(ttl.into()))),
            }
        }
        Err(Unread::Answer)
    }
}

/// A query that was sent to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    id: u16,
    /// As it is sent.
    pub bytes: Vec<u8>,
}

/// What a client reads whose question could not be read; none, where not even its number could.
#[must_use]
pub fn not_understood(bytes: &[u8]) -> Option<Vec<u8>> {
    let [high, low, flags, ..] = bytes.get(..HEADER)? else { return None };
    // An answer is no question: two that answer each other would never end.
    (flags & 0x80 == 0).then(|| [&[*high, *low, 0x80, 1][..], &[0; 8]].concat())
}

fn text(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests;
