//! A connection of our own to an API server: a few questions, nobody else's.
//!
//! In: the way to the server and our credential. Out: answers, bounded in size. A token goes to a server that was verified and
//! to no other; no name of another user goes to any.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::upstream::{Way, bearer, drive};
use crate::conn::BoxConn;
use crate::upstream::tls::TlsError;

/// Bytes of one answer.
const MOST: usize = 2 << 20;
/// As the server's audit has it.
const AGENT: &str = "gateway-target-check";

/// How to ask, and as whom.
pub struct Asking<'a> {
    /// How it is verified, and our token.
    pub way: &'a Way,
    /// `host` of requests.
    pub authority: &'a str,
    /// Our login, as the configuration calls it.
    pub login: &'a str,
}

/// Why a server told nothing.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It did not prove who it is.
    #[error("the API server could not be verified")]
    Tls(#[from] TlsError),
    /// It was not asked to.
    #[error("the API server was not verified, and no token goes there: set [target.tls] mode to `verify-full`")]
    Unverified,
    /// The connection broke.
    #[error("the API server speaks no HTTP/1.1, or closed the connection")]
    Http(#[source] hyper::Error),
    /// What we hold cannot be sent.
    #[error("the target's token or name cannot stand in a header of HTTP")]
    Header,
    /// It does not take our credential.
    #[error("the API server does not take the target's credential: it answers 401")]
    Login,
    /// It says no.
    #[error("the API server answers {status} to `{path}`: bind the role `system:basic-user` to the login")]
    Refused {
        /// What it said.
        status: StatusCode,
        /// To what.
        path: String,
    },
    /// Too much, or not what was asked for.
    #[error("the API server's answer to `{path}` is too large or not understood")]
    Answer {
        /// To what.
        path: String,
    },
}

/// A connection that we are alone on.
#[derive(Debug)]
pub(super) struct Own {
    sender: http1::SendRequest<Full<Bytes>>,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
}

impl Own {
    /// Connects, and verifies the server.
    pub(super) async fn open(conn: BoxConn, asking: &Asking<'_>) -> Result<Self, AskError> {
        let (stream, peer) = asking.way.tls.speaking(&["http/1.1"]).handshake(conn).await?;
        if asking.way.token.is_some() && !peer.is_verified() {
            return Err(AskError::Unverified);
        }
        let authorization = asking.way.token.as_ref().map(bearer).transpose().map_err(|_| AskError::Header)?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(64 * 1024);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(AskError::Http)?;
        drive(connection);
        let host = HeaderValue::from_str(asking.authority).map_err(|_| AskError::Header)?;
        Ok(Self { sender, host, authorization })
    }

    /// Looks at a path.
    pub(super) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, AskError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Asks for a review.
    pub(super) async fn post<T: DeserializeOwned>(&mut self, path: &str, body: &Value) -> Result<T, AskError> {
        self.ask(Method::POST, path, body.to_string().into()).await
    }

    async fn ask<T: DeserializeOwned>(&mut self, method: Method, path: &str, body: Bytes) -> Result<T, AskError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.host.clone())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .body(Full::new(body))
            .map_err(|_| AskError::Header)?;
        if let Some(value) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        self.sender.ready().await.map_err(AskError::Http)?;
        let answer = self.sender.send_request(request).await.map_err(AskError::Http)?;
        let status = answer.status();
        let unread = || AskError::Answer { path: path.to_owned() };
        // Read to its end also where it says no: the next question goes over the same connection.
        let body = Limited::new(answer.into_body(), MOST).collect().await.map_err(|_| unread())?.to_bytes();
        match status {
            StatusCode::UNAUTHORIZED => Err(AskError::Login),
            status if status.is_success() => serde_json::from_slice(&body).map_err(|_| unread()),
            status => Err(AskError::Refused { status, path: path.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::secret::Secret;
    use crate::trust::ca::Authority;
    use crate::upstream::tls::{TlsMode, UpstreamTls};

    #[tokio::test]
    async fn a_token_goes_to_no_server_that_was_not_verified() {
        let state = tempfile::tempdir().unwrap();
        let leaf = Authority::open(state.path()).unwrap().leaf(&["api.test".to_owned()], &[]).unwrap();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let server = tokio_rustls::TlsAcceptor::from(leaf.server_config("http/1.1").unwrap()).accept(far);
        let server = tokio::spawn(async move {
            let mut read = [0; 1024];
            // Who goes at once leaves a server that still greets it.
            match server.await {
                Ok(mut stream) => stream.read(&mut read).await.unwrap_or(0),
                Err(_) => 0,
            }
        });
        let tls = UpstreamTls::new(TlsMode::Require, Some("api.test"), None, None).unwrap();
        let way = Way { tls, token: Some(Secret::new(b"t0ken".to_vec())), login: None, impersonates: false };
        let asking = Asking { way: &way, authority: "api.test", login: "gateway" };
        let asked = async { Own::open(Box::new(near), &asking).await?.get::<Value>("/api").await };
        let asked = asked.await;
        assert!(matches!(asked, Err(AskError::Unverified)), "{asked:?}");
        assert_eq!(server.await.unwrap(), 0);
    }
}
