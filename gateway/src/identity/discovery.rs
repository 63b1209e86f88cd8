//! What an issuer says of itself (OpenID Connect Discovery 1.0, sections 3 and 4).
//!
//! In: its answer. Out: where its endpoints are, once it has said that it is the issuer that was asked. Nothing is asked here.

use serde_json::Value;

use crate::config::Place;

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

    /// Where it is, at the issuer's own host.
    ///
    /// # Errors
    /// Where it is no place, or another's.
    pub fn own(&self, key: &str, issuer: &Place) -> Result<Place, String> {
        let found = self.place(key)?;
        let is_own = (&found.host, found.port) == (&issuer.host, issuer.port);
        if is_own { Ok(found) } else { Err(format!("the issuer's `{key}` is at another host")) }
    }

    /// Where it is.
    ///
    /// # Errors
    /// Where it is no place.
    pub fn place(&self, key: &str) -> Result<Place, String> {
        Place::parse(self.text(key)).map_err(|reason| format!("the issuer's `{key}`: {reason}"))
    }
}
