//! The server of the issuer of tokens: asked for its keys.
//!
//! In: the configured place. Out: the issuer's keys. It says where they are itself (OpenID Connect Discovery 1.0, section 4),
//! unless the configuration does; only its own host is asked. Answers are bounded in size and time, and redirects not
//! followed.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::Engine;
use crate::chain::chain;
use crate::config::{Oidc, Place};
use crate::identity::Keys;
use crate::upstream::tls::{TlsMode, UpstreamTls};

/// For all of one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Sets of keys take a few kilobytes.
const MAX_ANSWER: usize = 256 * 1024;

impl Engine {
    /// The keys that the issuer signs with now.
    ///
    /// # Errors
    /// Where they cannot be had, with the reason, for operators.
    pub(super) async fn keys_of(&self, oidc: &Oidc, ca: Option<&[u8]>) -> Result<Keys, String> {
        let tls = UpstreamTls::new(TlsMode::VerifyFull, Some(&oidc.place.host), ca, None).map_err(|e| chain(&e))?;
        let fetch = |path| async { tokio::time::timeout(PATIENCE, self.fetch(&tls, &oidc.place, path)).await };
        let late = |_| format!("{} did not answer within {} seconds", oidc.place.host, PATIENCE.as_secs());
        let path = if oidc.keys_are_known {
            oidc.place.path.clone()
        } else {
            let path = format!("{}/.well-known/openid-configuration", oidc.place.path.trim_end_matches('/'));
            where_keys_are(oidc, &fetch(path).await.map_err(late)??)?
        };
        let keys = fetch(path).await.map_err(late)??;
        Keys::parse(&keys).map_err(|error| error.to_string())
    }

    async fn fetch(&self, tls: &UpstreamTls, place: &Place, path: String) -> Result<Bytes, String> {
        let of = |fault: &dyn std::fmt::Display| format!("https://{}:{}{path}: {fault}", place.host, place.port);
        let stream = self.dialler().to_issuer().await.map_err(|error| of(&error))?;
        let (stream, _) = tls.handshake(Box::new(stream)).await.map_err(|error| of(&chain(&error)))?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| of(&error))?;
        let driven = tokio::spawn(connection);
        let host = if place.port == 443 { place.host.clone() } else { format!("{}:{}", place.host, place.port) };
        let request = Request::get(if path.is_empty() { "/" } else { &path }).header(HOST, host);
        let request = request.header(ACCEPT, "application/json").body(Empty::<Bytes>::new());
        let answer = sender.send_request(request.map_err(|error| of(&error))?).await.map_err(|error| of(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(of(&answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        driven.abort();
        Ok(body.map_err(|error| of(&error))?.to_bytes())
    }
}

/// The path of `jwks_uri`, of an issuer that is the configured one, at its own host.
fn where_keys_are(oidc: &Oidc, answer: &[u8]) -> Result<String, String> {
    let known: serde_json::Value =
        serde_json::from_slice(answer).map_err(|_| "the issuer's configuration is no json".to_owned())?;
    let text = |key| known.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
    if text("issuer") != oidc.issuer {
        return Err(format!("the server at `{}` says that it is another issuer", oidc.issuer));
    }
    let place = Place::parse(text("jwks_uri")).map_err(|reason| format!("the issuer's `jwks_uri`: {reason}"))?;
    if (&place.host, place.port) != (&oidc.place.host, oidc.place.port) {
        return Err(format!(
            "the issuer keeps its keys at another host: write `jwks_uri = \"https://{}:{}{}\"`, if that is meant",
            place.host, place.port, place.path
        ));
    }
    Ok(place.path)
}
