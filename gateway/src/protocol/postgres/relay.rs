//! The client's own login, relayed.
//!
//! In: the server's challenges and the client's answers. Out: a server that has let the client in. Messages pass as
//! they are, but for SCRAM's channel binding: it is struck from the offer, since it would bind to a TLS that is not the
//! client's. What cannot be relayed is refused with the way out; nothing is answered in the client's place.

use tokio::io::AsyncWriteExt;

use crate::conn::BoxConn;
use crate::protocol::postgres::auth::Challenge;
use crate::protocol::postgres::frame::{Inbox, body};
use crate::protocol::postgres::message::{Backend, Frontend, put_length};
use crate::protocol::postgres::reply::{Denial, SqlState};
use crate::protocol::postgres::upstream::{Server, UpstreamError, read_message};

/// A password message: SCRAM's are below 1 KiB, a token in place of a password may be some KiB.
const MAX_PASSWORD: usize = 64 * 1024;
const MAX_STEPS: usize = 32;

/// Why a relayed login ends.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The server.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The client is gone.
    #[error("the client left during its login")]
    ClientLost,
    /// The client sent something else than an answer.
    #[error("the client sent something else than an answer to the server's challenge")]
    ClientProtocol,
    /// The server wants what cannot be relayed.
    #[error("the server asks for a login that cannot be passed on: {method}")]
    CannotRelay {
        /// What it asks for.
        method: String,
    },
}

impl RelayError {
    /// What the client reads.
    pub(super) fn to_denial(&self) -> Denial {
        match self {
            Self::Upstream(error) => error.to_denial(),
            Self::ClientLost | Self::ClientProtocol => Denial::fatal(SqlState::PROTOCOL_VIOLATION, self.to_string()),
            Self::CannotRelay { .. } => Denial::fatal(SqlState::LOGIN, self.to_string())
                .with_hint("Give the gateway a login for this server, which it uses in your place."),
        }
    }
}

/// The client's side of a login.
pub(super) struct Client<'a> {
    pub(super) conn: &'a mut BoxConn,
    pub(super) inbox: &'a mut Inbox,
}

impl Client<'_> {
    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), RelayError> {
        self.conn.write_all(message).await.map_err(|_| RelayError::ClientLost)?;
        self.conn.flush().await.map_err(|_| RelayError::ClientLost)
    }

    /// The answer to a challenge, whole.
    pub(super) async fn answer(&mut self) -> Result<Vec<u8>, RelayError> {
        let message = read_message(self.conn, self.inbox, MAX_PASSWORD).await.map_err(|error| match error {
            UpstreamError::Lost(_) => RelayError::ClientLost,
            _ => RelayError::ClientProtocol,
        })?;
        match message.first().copied().and_then(Frontend::from_tag) {
            Some(Frontend::Password) => Ok(message),
            Some(Frontend::Terminate) => Err(RelayError::ClientLost),
            _ => Err(RelayError::ClientProtocol),
        }
    }
}

/// Passes challenges and answers on until the server lets the client in. AuthenticationOk is left to the caller.
pub(super) async fn log_in(server: &mut Server<'_>, client: &mut Client<'_>) -> Result<(), RelayError> {
    for _ in 0..MAX_STEPS {
        let (kind, message) = server.next().await?;
        match kind {
            Backend::Authentication => {}
            Backend::NoticeResponse => {
                client.send(&message).await?;
                continue;
            }
            _ => return Err(UpstreamError::Protocol { what: "a message out of turn" }.into()),
        }
        let challenge = Challenge::read(body(&message));
        match challenge.ok_or(UpstreamError::Protocol { what: "a malformed challenge" })? {
            Challenge::Accepted => return Ok(()),
            Challenge::SaslFinal(_) => {
                client.send(&message).await?;
                continue;
            }
            Challenge::Cleartext | Challenge::Md5(_) | Challenge::SaslContinue(_) => client.send(&message).await?,
            Challenge::Sasl(offered) => client.send(&without_binding(&offered)?).await?,
            Challenge::Unknown(method) => return Err(RelayError::CannotRelay { method: method.to_string() }),
        }
        server.send(&client.answer().await?).await?;
    }
    Err(UpstreamError::Protocol { what: "no end of challenges" }.into())
}

/// The offer of SASL mechanisms with SCRAM-SHA-256 alone.
fn without_binding(offered: &[&[u8]]) -> Result<Vec<u8>, RelayError> {
    let scram: &[u8] = b"SCRAM-SHA-256";
    if !offered.contains(&scram) {
        let names: Vec<_> = offered.iter().map(|name| String::from_utf8_lossy(name)).collect();
        return Err(RelayError::CannotRelay { method: names.join(", ").chars().take(100).collect() });
    }
    let body = [&10_u32.to_be_bytes(), scram, b"\0\0"].concat();
    let mut message = vec![b'R'];
    put_length(&mut message, body.len());
    message.extend_from_slice(&body);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strikes_channel_binding_from_the_offer() {
        let message = without_binding(&[b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256"]).unwrap();
        assert_eq!(Challenge::read(body(&message)), Some(Challenge::Sasl(vec![b"SCRAM-SHA-256"])));
    }

    #[test]
    fn relays_no_mechanism_that_it_does_not_know() {
        assert!(matches!(without_binding(&[b"OAUTHBEARER"]), Err(RelayError::CannotRelay { .. })));
    }
}
