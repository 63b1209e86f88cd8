//! What an issuer says of itself (OpenID Connect Discovery 1.0, sections 3 and 4).
//!
//! In: its answer. Out: where its endpoints are, once it has said that it is the issuer that was asked. Nothing is asked here.

use serde_json::Value;

use crate::config::{Oidc, Place};

/// The answer of the issuer that is configured.
pub struct Discovery(Value);

impl Discovery {
    /// The path that an issuer at this place answers under.
    #[must_use]
    pub fn path(issuer: &Place) -> String {
        format!("{}/.well-known/openid-configuration", issuer.path.trim_end_matches('/'))
    }

    /// Reads it.
    ///
    /// # Errors
    /// Where it is no JSON, or another issuer's.
    pub fn read(issuer: &str, answer: &[u8]) -> Result<Self, String> {
        let said = serde_json::from_slice(answer).map_err(|_| "the issuer's configuration is no json".to_owned())?;
        let found = Self(said);
        if found.text("issuer") != issuer {
            return Err(format!("the server at `{issuer}` says that it is another issuer"));
        }
        Ok(found)
    }

    /// An endpoint, as it is written; empty where there is none.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// Where it is, if that is a server of the issuer that is configured.
    ///
    /// # Errors
    /// Where it is no place, or at a host that nobody named.
    pub fn asked(&self, key: &str, oidc: &Oidc) -> Result<Place, String> {
        let found = self.place(key)?;
        match oidc.server_of(&found) {
            Some(_) => Ok(found),
            None => Err(format!(
                "the issuer's `{key}` is at another host: write `also = [\"{}\"]` under [identity.oidc], if that is meant",
                found.authority()
            )),
        }
    }

    /// Where it is.
    fn place(&self, key: &str) -> Result<Place, String> {
        Place::parse(self.text(key)).map_err(|reason| format!("the issuer's `{key}`: {reason}"))
    }
}
