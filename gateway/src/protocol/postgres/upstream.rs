//! The server's side of a session's beginning.
//!
//! In: the way to the server, the target's TLS settings, a StartupMessage of our own and a login. Out: a connection
//! whose server has let us in, what it reported, and its key. The server's key and the course of the login stay here;
//! bytes that arrive before their time (CVE-2021-23222) end the attempt.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::conn::BoxConn;
use crate::protocol::postgres::auth::{Answer, AuthError, Challenge, Login};
use crate::protocol::postgres::encoding::{Encoding, Speech, Wanted};
use crate::protocol::postgres::frame::{Header, Inbox, body, split_string};
use crate::protocol::postgres::judge::Dial;
use crate::protocol::postgres::message::{Backend, ours};
use crate::protocol::postgres::reply::{Denial, SqlState, fields, sql_state};
use crate::protocol::postgres::settings::{ENCODING, REPORTED, Report, watch};
use crate::protocol::postgres::startup::OLDEST;
use crate::protocol::postgres::state::Transaction;
use crate::upstream::tls::{Peer, TlsError, UpstreamTls};

/// The largest message before the first ReadyForQuery.
const MAX_MESSAGE: usize = 64 * 1024;
/// As many messages as a server may send before it is ready.
const MAX_MESSAGES: usize = 1_000;
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Why the server cannot be used. The fault of the server or of the target's settings.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection.
    #[error("the server cannot be reached")]
    Dial(#[source] std::io::Error),
    /// The connection broke.
    #[error("the connection to the server broke")]
    Lost(#[source] std::io::Error),
    /// It does not have TLS, and the target's settings insist.
    #[error("the server has no tls: set `ssl = on` there, or `tls.mode` of the target")]
    NoTls,
    /// It answered the request for TLS with something else than yes or no.
    #[error("the server answered the request for tls out of protocol: is it PostgreSQL?")]
    TlsAnswer,
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The login failed on our side.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The server said no.
    #[error("the server refused the session: {message}")]
    Refused {
        /// Its error code.
        code: SqlState,
        /// Its words.
        message: String,
        /// The whole ErrorResponse.
        response: Vec<u8>,
    },
    /// It broke the protocol.
    #[error("the server broke the protocol at login: {what}")]
    Protocol {
        /// How.
        what: &'static str,
    },
    /// It does not keep the pinned settings.
    #[error("the server does not report the pinned settings: a pooler, or no PostgreSQL")]
    NotPinned,
    /// The database converts this encoding by tables that nobody here knows, or not at all.
    #[error(
        "client_encoding {encoding} is refused: the database is in another than UTF8 and that; set PGCLIENTENCODING=UTF8"
    )]
    Encoding {
        /// Which.
        encoding: &'static str,
    },
}

impl UpstreamError {
    /// What the client reads.
    pub(super) fn to_denial(&self) -> Denial {
        let code = match self {
            Self::Refused { code, .. } => *code,
            Self::Auth(_) => SqlState::LOGIN,
            Self::Encoding { .. } => SqlState::BAD_SETTING,
            Self::Dial(_) | Self::NoTls | Self::TlsAnswer | Self::Tls(_) => SqlState::NO_SERVER,
            Self::Lost(_) | Self::Protocol { .. } | Self::NotPinned => SqlState::CONNECTION_LOST,
        };
        Denial::fatal(code, format!("gateway: {self}"))
    }
}

/// A connection to the server, TLS agreed, nothing sent yet.
pub(super) struct Upstream {
    pub(super) conn: BoxConn,
    pub(super) peer: Peer,
}

impl Upstream {
    /// Dials, and agrees on TLS as the target's settings say.
    pub(super) async fn open(dialer: &dyn Dial, tls: &UpstreamTls) -> Result<Self, UpstreamError> {
        let mut conn = dialer.dial().await.map_err(UpstreamError::Dial)?;
        if !tls.mode().asks() {
            return Ok(Self { conn, peer: Peer::plaintext() });
        }
        conn.write_all(&SSL_REQUEST).await.map_err(UpstreamError::Lost)?;
        conn.flush().await.map_err(UpstreamError::Lost)?;
        // Room for more than the answer: what is glued to it was written by somebody without the server's key.
        let mut answer = [0; 64];
        let count = conn.read(&mut answer).await.map_err(UpstreamError::Lost)?;
        match answer.get(..count) {
            Some(b"S") => {
                let (conn, peer) = tls.handshake(conn).await?;
                Ok(Self { conn, peer })
            }
            Some(b"N") if tls.mode().insists() => Err(UpstreamError::NoTls),
            Some(b"N") => Ok(Self { conn, peer: Peer::plaintext() }),
            _ => Err(UpstreamError::TlsAnswer),
        }
    }
}

/// One message at a time, for the phase in which each is waited for.
pub(super) struct Server<'a> {
    pub(super) conn: &'a mut BoxConn,
    pub(super) inbox: &'a mut Inbox,
}

impl Server<'_> {
    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), UpstreamError> {
        self.conn.write_all(message).await.map_err(UpstreamError::Lost)?;
        self.conn.flush().await.map_err(UpstreamError::Lost)
    }

    /// The next message, whole. An ErrorResponse is an error.
    pub(super) async fn next(&mut self) -> Result<(Backend, Vec<u8>), UpstreamError> {
        let message = read_message(self.conn, self.inbox, MAX_MESSAGE).await?;
        let kind = message.first().copied().and_then(Backend::from_tag);
        match kind.ok_or(UpstreamError::Protocol { what: "an unknown message" })? {
            Backend::ErrorResponse => Err(refusal(message)),
            kind => Ok((kind, message)),
        }
    }

    /// Answers the server's challenges until it lets us in.
    pub(super) async fn log_in(&mut self, mut login: Login<'_>) -> Result<(), UpstreamError> {
        for _ in 0..MAX_MESSAGES {
            let (kind, message) = self.next().await?;
            match kind {
                Backend::NoticeResponse => continue,
                Backend::Authentication => {}
                _ => return Err(UpstreamError::Protocol { what: "a message out of turn" }),
            }
            let challenge =
                Challenge::read(body(&message)).ok_or(UpstreamError::Protocol { what: "a malformed challenge" })?;
            match login.answer(&challenge)? {
                Answer::Send(answer) => self.send(&answer).await?,
                Answer::Wait => {}
                Answer::Done => return Ok(()),
            }
        }
        Err(UpstreamError::Protocol { what: "no end of messages" })
    }

    /// The protocol that is spoken, of which `asked` was the newest. A server that does not speak that says so first of
    /// all (before PostgreSQL 18 it has 3.0 alone), and without being asked for more than 3.0 it says nothing.
    pub(super) async fn negotiated(&mut self, asked: u32) -> Result<u32, UpstreamError> {
        if asked == OLDEST {
            return Ok(asked);
        }
        while self.inbox.filled().is_empty() {
            let count = std::future::poll_fn(|cx| self.inbox.poll_read(cx, self.conn, 0)).await;
            if count.map_err(UpstreamError::Lost)? == 0 {
                return Err(UpstreamError::Lost(std::io::ErrorKind::UnexpectedEof.into()));
            }
        }
        let first = self.inbox.filled().first().copied().and_then(Backend::from_tag);
        if first != Some(Backend::NegotiateProtocolVersion) {
            return Ok(asked);
        }
        let (_, message) = self.next().await?;
        let version = body(&message).first_chunk().map(|version| u32::from_be_bytes(*version));
        let version = version.filter(|version| (OLDEST..asked).contains(version));
        version.ok_or(UpstreamError::Protocol { what: "a version that was not asked for" })
    }

    /// Asks for the schemas of the search path. What the server reports meanwhile is added to `reported`.
    pub(super) async fn schemas(&mut self, greeting: &mut Greeting) -> Result<Vec<String>, UpstreamError> {
        self.send(&ours::query(SCHEMAS)).await?;
        let (encoding, reported) = (greeting.speech.now(), &mut greeting.reported);
        let mut schemas = Vec::new();
        for _ in 0..MAX_MESSAGES {
            let (kind, message) = self.next().await?;
            match kind {
                Backend::DataRow => {
                    // One column: count, length, text in hexadecimal.
                    let name = body(&message).get(6..).and_then(from_hex);
                    schemas.push(name.ok_or(UpstreamError::Protocol { what: "a malformed row" })?);
                }
                // A reload of the server's settings may come at any time; pinned ones are watched from here on.
                Backend::ParameterStatus => {
                    holds(&message, encoding)?;
                    reported.extend_from_slice(&message);
                }
                Backend::NoticeResponse => reported.extend_from_slice(&message),
                Backend::RowDescription | Backend::CommandComplete => {}
                Backend::ReadyForQuery => return Ok(schemas),
                _ => return Err(UpstreamError::Protocol { what: "a message out of turn" }),
            }
        }
        Err(UpstreamError::Protocol { what: "no end of messages" })
    }

    /// Reads what the server reports until it is ready.
    pub(super) async fn greet(&mut self, encoding: &'static Encoding) -> Result<Greeting, UpstreamError> {
        let mut greeting = Greeting {
            reported: Vec::new(),
            process: 0,
            key: Vec::new(),
            transaction: Transaction::Idle,
            speech: Speech::default(),
        };
        let mut pinned = 0;
        for _ in 0..MAX_MESSAGES {
            let (kind, message) = self.next().await?;
            match kind {
                Backend::ParameterStatus => {
                    pinned += holds(&message, encoding)?;
                    if let Some((b"server_encoding", server)) = setting(&message) {
                        greeting.speech = Speech::new(encoding, &String::from_utf8_lossy(server));
                    }
                    greeting.reported.extend_from_slice(&message);
                }
                Backend::NoticeResponse => greeting.reported.extend_from_slice(&message),
                Backend::BackendKeyData => (greeting.process, greeting.key) = key(&message)?,
                // With the encoding.
                Backend::ReadyForQuery if pinned <= REPORTED || greeting.speech.now() != encoding => {
                    return Err(UpstreamError::NotPinned);
                }
                Backend::ReadyForQuery if !greeting.speech.serves(Wanted::Encoding(encoding)) => {
                    return Err(UpstreamError::Encoding { encoding: encoding.name() });
                }
                Backend::ReadyForQuery => {
                    let status = body(&message).first().copied().and_then(Transaction::from_byte);
                    greeting.transaction = status.ok_or(UpstreamError::Protocol { what: "no transaction status" })?;
                    return Ok(greeting);
                }
                _ => return Err(UpstreamError::Protocol { what: "a message out of turn" }),
            }
        }
        Err(UpstreamError::Protocol { what: "no end of messages" })
    }
}

/// The schemas of the search path that there are: what a name without a schema can mean. Asked by us, once, before the
/// client is told that the server is ready.
const SCHEMAS: &str = "SELECT pg_catalog.encode(pg_catalog.convert_to(
    pg_catalog.unnest(pg_catalog.current_schemas(false))::pg_catalog.text, 'UTF8'), 'hex')";

/// What a server says once it has let us in.
pub(super) struct Greeting {
    /// Its reports and notices, as the client gets them.
    pub(super) reported: Vec<u8>,
    pub(super) process: u32,
    pub(super) key: Vec<u8>,
    pub(super) transaction: Transaction,
    pub(super) speech: Speech,
}

/// Reads one whole message with a tag, of at most `cap` bytes.
pub(super) async fn read_message(conn: &mut BoxConn, inbox: &mut Inbox, cap: usize) -> Result<Vec<u8>, UpstreamError> {
    loop {
        let header = Header::read(inbox.filled()).map_err(|_| UpstreamError::Protocol { what: "a bad length" })?;
        let size = header.map_or(0, |header| header.size);
        if size > cap {
            return Err(UpstreamError::Protocol { what: "a message too large for a login" });
        }
        if let Some(message) = inbox.filled().get(..size).filter(|message| !message.is_empty()) {
            let message = message.to_vec();
            inbox.consume(size);
            return Ok(message);
        }
        let count = std::future::poll_fn(|cx| inbox.poll_read(cx, conn, size)).await.map_err(UpstreamError::Lost)?;
        if count == 0 {
            return Err(UpstreamError::Lost(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

fn refusal(response: Vec<u8>) -> UpstreamError {
    let code = sql_state(body(&response));
    let text = fields(body(&response)).find(|(field, _)| *field == b'M').map(|(_, text)| text).unwrap_or_default();
    let message = String::from_utf8_lossy(text).chars().take(500).collect();
    UpstreamError::Refused { code, message, response }
}

/// A text that the server has written in hexadecimal, so that it is the same in every encoding.
pub(super) fn from_hex(digits: &[u8]) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    String::from_utf8(digits.chunks(2).map(byte).collect::<Option<_>>()?).ok()
}

/// Name and value of a ParameterStatus.
fn setting(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = split_string(body(message))?;
    let (value, rest) = split_string(rest)?;
    rest.is_empty().then_some((name, value))
}

/// Counts a pinned setting, or the encoding, that holds.
fn holds(message: &[u8], encoding: &Encoding) -> Result<usize, UpstreamError> {
    let (name, value) = setting(message).ok_or(UpstreamError::Protocol { what: "a malformed report" })?;
    if name == ENCODING.as_bytes() {
        return if value == encoding.name().as_bytes() { Ok(1) } else { Err(UpstreamError::NotPinned) };
    }
    match watch(name, value) {
        Report::Free => Ok(0),
        Report::Holds => Ok(1),
        Report::Broken => Err(UpstreamError::NotPinned),
    }
}

fn key(message: &[u8]) -> Result<(u32, Vec<u8>), UpstreamError> {
    match body(message).split_first_chunk() {
        // Four bytes in protocol 3.0, up to 256 since 3.2.
        Some((process, key)) if (4..=256).contains(&key.len()) => Ok((u32::from_be_bytes(*process), key.to_vec())),
        _ => Err(UpstreamError::Protocol { what: "a malformed key" }),
    }
}
