//! The server of the issuer of tokens: asked for its keys.
//!
//! In: the configured place. Out: the issuer's keys. It says where they are itself (OpenID Connect Discovery 1.0, section 4),
//! unless the configuration does; only its own host is asked, and those that the configuration names. Answers are bounded in size and time, and redirects not
//! followed.

use std::time::Duration;

use bytes::Bytes;

use super::Engine;
use super::tokens::Terms;
use crate::chain::chain;
use crate::config::Place;
use crate::conn::BoxConn;
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
    pub(super) async fn keys_of(&self, terms: &Terms) -> Result<Keys, String> {
        let oidc = &terms.oidc;
        let keys = if oidc.keys_are_known {
            oidc.place.clone()
        } else {
            let said = self.fetch(terms, &oidc.home, Discovery::path(&oidc.home)).await?;
            Discovery::read(&oidc.issuer, &said)?.asked("jwks_uri", oidc)?
        };
        let found = self.fetch(terms, &keys, keys.path.clone()).await?;
        Keys::parse(&found).map_err(|error| error.to_string())
    }

    async fn fetch(&self, terms: &Terms, place: &Place, path: String) -> Result<Bytes, String> {
        let of = |fault: String| format!("https://{}{path}: {fault}", place.server());
        let fetched = async {
            let stream = self.stream_to(terms, place).await.map_err(of)?;
            http::ask(stream, place, Asked { path: path.clone(), ..Asked::default() }).await
        };
        let late = |_| format!("{} did not answer within {} seconds", place.host, PATIENCE.as_secs());
        tokio::time::timeout(PATIENCE, fetched).await.map_err(late)?
    }

    /// What a server of the issuer answers, and whether that is a success. It quotes nothing that was sent.
    pub(super) async fn ask_issuer(&self, terms: &Terms, place: &Place, asked: Asked) -> Result<(bool, Bytes), String> {
        let stream = tokio::time::timeout(PATIENCE, self.stream_to(terms, place)).await;
        let late = |_| format!("{} did not answer within {} seconds", place.host, PATIENCE.as_secs());
        let (status, body) = http::answer(stream.map_err(late)??, place, asked, http::OF_ISSUERS).await?;
        Ok((status.is_success(), body))
    }

    /// A stream to one of the issuer's servers, which proved its name.
    async fn stream_to(&self, terms: &Terms, place: &Place) -> Result<BoxConn, String> {
        let tls = UpstreamTls::new(TlsMode::VerifyFull, Some(&place.host), terms.ca.as_deref(), None);
        let tls = tls.map_err(|error| chain(&error))?;
        let server = terms.oidc.server_of(place).ok_or("the configuration names no such server of the issuer")?;
        let stream = self.dialler().to_issuer(server).await?;
        let (stream, _) = tls.handshake(Box::new(stream)).await.map_err(|error| chain(&error))?;
        Ok(stream)
    }
}
