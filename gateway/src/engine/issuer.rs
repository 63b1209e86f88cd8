//! The server of the issuer of tokens: asked for its keys.
//!
//! In: the configured place. Out: the issuer's keys. It says where they are itself (OpenID Connect Discovery 1.0, section 4),
//! unless the configuration does; only its own host is asked. Answers are bounded in size and time, and redirects not
//! followed.

use std::time::Duration;

use bytes::Bytes;

use super::Engine;
use super::tokens::Terms;
use crate::chain::chain;
use crate::config::{Oidc, Place};
use crate::http::{self, Asked};
use crate::identity::{Discovery, Keys};
use crate::upstream::tls::{TlsMode, UpstreamTls};

/// For all of one answer.
const PATIENCE: Duration = Duration::from_secs(10);

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
            where_keys_are(oidc, &fetch(Discovery::path(&oidc.place)).await.map_err(late)??)?
        };
        let keys = fetch(path).await.map_err(late)??;
        Keys::parse(&keys).map_err(|error| error.to_string())
    }

    async fn fetch(&self, tls: &UpstreamTls, place: &Place, path: String) -> Result<Bytes, String> {
        let of = |fault: &dyn std::fmt::Display| format!("https://{}:{}{path}: {fault}", place.host, place.port);
        let stream = self.dialler().to_issuer().await.map_err(|error| of(&error))?;
        let (stream, _) = tls.handshake(Box::new(stream)).await.map_err(|error| of(&chain(&error)))?;
        http::ask(stream, place, Asked { path, ..Asked::default() }).await
    }
}

impl Engine {
    /// What the issuer's server answers, and whether that is a success. It quotes nothing that was sent.
    pub(super) async fn ask_issuer(&self, terms: &Terms, place: &Place, asked: Asked) -> Result<(bool, Bytes), String> {
        let host = &terms.oidc.place.host;
        let tls =
            UpstreamTls::new(TlsMode::VerifyFull, Some(host), terms.ca.as_deref(), None).map_err(|e| chain(&e))?;
        let stream = self.dialler().to_issuer().await?;
        let shaken = tokio::time::timeout(PATIENCE, tls.handshake(Box::new(stream))).await;
        let shaken = shaken.map_err(|_| format!("{host} did not answer within {} seconds", PATIENCE.as_secs()))?;
        let (stream, _) = shaken.map_err(|error| chain(&error))?;
        let (status, body) = http::answer(stream, place, asked, http::OF_ISSUERS).await?;
        Ok((status.is_success(), body))
    }
}

/// The path of `jwks_uri`, of an issuer that is the configured one, at its own host.
fn where_keys_are(oidc: &Oidc, answer: &[u8]) -> Result<String, String> {
    let place = Discovery::read(&oidc.issuer, answer)?.place("jwks_uri")?;
    if (&place.host, place.port) != (&oidc.place.host, oidc.place.port) {
        return Err(format!(
            "the issuer keeps its keys at another host: write `jwks_uri = \"https://{}:{}{}\"`, if that is meant",
            place.host, place.port, place.path
        ));
    }
    Ok(place.path)
}
