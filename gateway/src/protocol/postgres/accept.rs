//! The client's side of a session's beginning.
//!
//! In: an accepted stream. Out: a client that is on TLS or not, as both sides can have it, its StartupMessage, and the
//! server, dialled and asked for TLS before the client was answered. A client is never told that TLS is there and then
//! left without it, and bytes sent before their time are not kept.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsAcceptor;

use crate::conn::BoxConn;
use crate::protocol::postgres::judge::Dial;
use crate::protocol::postgres::reply::{Denial, SqlState};
use crate::protocol::postgres::startup::{self, First, MAX_PACKET, StartupError, StartupMessage};
use crate::protocol::postgres::upstream::{Upstream, UpstreamError};
use crate::protocol::postgres::{LoginMode, Options};

/// What a new connection turned out to be.
pub(super) enum Arrival {
    /// A session.
    Client(Box<Client>),
    /// A request to cancel another session.
    Cancel { process: u32, key: Vec<u8> },
}

/// A client that has said what it wants.
pub(super) struct Client {
    pub(super) conn: BoxConn,
    pub(super) leg: Leg,
    pub(super) message: StartupMessage,
    /// Kept until the client can be told.
    pub(super) upstream: Result<Upstream, UpstreamError>,
}

/// How the client's leg is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leg {
    Plaintext,
    Tls,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The first packet is none.
    #[error(transparent)]
    Startup(#[from] StartupError),
    /// The client closed before it said what it wants.
    #[error("the client left before it asked for anything")]
    Left,
    /// The client closed when it was told that there is no TLS.
    #[error(
        "the client insists on tls, and its own login cannot be passed on when both sides use it: give the gateway \
         the login of this server, or set sslmode=prefer"
    )]
    InsistsOnTls,
    /// The TLS handshake failed.
    #[error("tls handshake with the client failed: does it trust the gateway's authority?")]
    Handshake(#[source] std::io::Error),
    /// TLS without asking, and we have no certificate, or the client did not name the protocol.
    #[error("direct tls is refused: {reason}")]
    DirectTls {
        /// What is missing.
        reason: &'static str,
    },
    /// One request twice.
    #[error("the client asks for encryption twice")]
    AsksTwice,
}

/// Reads first packets until the client asks for a session, or for a cancel.
pub(super) async fn accept(conn: BoxConn, dialer: &dyn Dial, options: &Options) -> Result<Arrival, AcceptError> {
    let mut first = FirstPackets { conn, leg: Leg::Plaintext, bytes: Vec::new() };
    let (mut upstream, mut asked_gss, mut refused_tls) = (None, false, false);
    loop {
        let packet = match first.read().await {
            Err(AcceptError::Left) if refused_tls => return Err(AcceptError::InsistsOnTls),
            other => other?,
        };
        match packet {
            First::Cancel { process, key } => return Ok(Arrival::Cancel { process, key }),
            First::Startup(message) => {
                let upstream = match upstream {
                    Some(upstream) => upstream,
                    None => Upstream::open(dialer, &options.tls).await,
                };
                let FirstPackets { conn, leg, .. } = first;
                return Ok(Arrival::Client(Box::new(Client { conn, leg, message, upstream })));
            }
            First::GssRequest if asked_gss || first.leg == Leg::Tls => return Err(AcceptError::AsksTwice),
            First::GssRequest => {
                asked_gss = true;
                first.answer(b"N").await?;
            }
            First::SslRequest | First::DirectTls if upstream.is_some() => return Err(AcceptError::AsksTwice),
            First::SslRequest => {
                let opened = upstream.insert(Upstream::open(dialer, &options.tls).await);
                match options.client_tls.as_ref().filter(|_| may_encrypt(&options.login, opened)) {
                    Some(config) => {
                        first.answer(b"S").await?;
                        first = first.encrypt(config).await?.into();
                    }
                    None => {
                        refused_tls = true;
                        first.answer(b"N").await?;
                    }
                }
            }
            First::DirectTls => {
                let config = options.client_tls.as_ref();
                let config =
                    config.ok_or(AcceptError::DirectTls { reason: "there is no certificate for this server" })?;
                upstream = Some(Upstream::open(dialer, &options.tls).await);
                first = first.encrypt(config).await?.require_alpn()?;
            }
        }
    }
}

/// Whether the client may have TLS. A login that is relayed cannot pass when both legs have it: SCRAM notices, by its
/// channel binding or, with that struck out, by the downgrade.
fn may_encrypt(login: &LoginMode, upstream: &Result<Upstream, UpstreamError>) -> bool {
    match (login, upstream) {
        (LoginMode::Relay, Ok(upstream)) => !upstream.peer.is_encrypted(),
        (LoginMode::Relay | LoginMode::Credentials(_) | LoginMode::Ask | LoginMode::Refuse(_), _) => true,
    }
}

struct FirstPackets {
    conn: BoxConn,
    leg: Leg,
    bytes: Vec<u8>,
}

impl FirstPackets {
    async fn read(&mut self) -> Result<First, AcceptError> {
        loop {
            match self.look().await? {
                Some((First::DirectTls, _)) if self.leg == Leg::Tls => return Err(AcceptError::AsksTwice),
                Some((First::DirectTls, _)) => return Ok(First::DirectTls),
                Some((first, _)) => {
                    self.bytes.clear();
                    return Ok(first);
                }
                None => {}
            }
            let mut chunk = [0; 1024];
            let count = self.conn.read(&mut chunk).await.map_err(|_| AcceptError::Left)?;
            if count == 0 || self.bytes.len() > MAX_PACKET {
                return Err(AcceptError::Left);
            }
            self.bytes.extend(chunk.iter().take(count));
        }
    }

    /// What is there so far; a packet that is refused is told so.
    async fn look(&mut self) -> Result<Option<(First, usize)>, AcceptError> {
        let found = startup::read(&self.bytes).and_then(|found| match found {
            // Nobody can know what to send behind a StartupMessage before it is answered.
            Some((First::Startup(_), taken)) if self.bytes.len() > taken => {
                Err(StartupError::Glued { count: self.bytes.len() - taken })
            }
            other => Ok(other),
        });
        if let Err(error) = &found {
            let denial = Denial::fatal(SqlState::PROTOCOL_VIOLATION, error.to_string());
            self.answer(&denial.to_bytes()).await?;
        }
        Ok(found?)
    }

    async fn answer(&mut self, answer: &[u8]) -> Result<(), AcceptError> {
        self.conn.write_all(answer).await.map_err(|_| AcceptError::Left)?;
        self.conn.flush().await.map_err(|_| AcceptError::Left)
    }

    async fn encrypt(self, config: &Arc<ServerConfig>) -> Result<Encrypted, AcceptError> {
        let conn = Prefixed { prefix: self.bytes, conn: self.conn };
        let stream = TlsAcceptor::from(Arc::clone(config)).accept(conn).await.map_err(AcceptError::Handshake)?;
        let names_protocol = stream.get_ref().1.alpn_protocol() == Some(b"postgresql");
        Ok(Encrypted { conn: Box::new(stream), names_protocol })
    }
}

/// A client after the handshake.
struct Encrypted {
    conn: BoxConn,
    names_protocol: bool,
}

impl Encrypted {
    /// Without ALPN another protocol's client could be made to talk to us (the server demands it too, since 17).
    fn require_alpn(self) -> Result<FirstPackets, AcceptError> {
        if self.names_protocol {
            return Ok(self.into());
        }
        Err(AcceptError::DirectTls { reason: "the client does not name the protocol `postgresql` by ALPN" })
    }
}

impl From<Encrypted> for FirstPackets {
    fn from(encrypted: Encrypted) -> Self {
        Self { conn: encrypted.conn, leg: Leg::Tls, bytes: Vec::new() }
    }
}

/// A stream of which the first bytes were read already.
struct Prefixed {
    prefix: Vec<u8>,
    conn: BoxConn,
}

impl AsyncRead for Prefixed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.conn).poll_read(cx, buf);
        }
        let count = self.prefix.len().min(buf.remaining());
        let rest = self.prefix.split_off(count);
        buf.put_slice(&self.prefix);
        self.prefix = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.conn).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.conn).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.conn).poll_shutdown(cx)
    }
}
