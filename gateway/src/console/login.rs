//! Login of people by the issuer: authorization code with PKCE (RFC 6749, 4.1; RFC 7636; OpenID Connect Core 1.0, 3.1).
//!
//! In: the configured issuer and client, a code that a browser brings back. Out: the token that the issuer gives for it, unread:
//! whom it names, the engine says. It asks the issuer's own host
//! alone, and those that the configuration names.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use tokio::sync::Mutex;

use super::link::Link;
use super::visits::{Attempt, Way};
use crate::chain::chain;
use crate::config::{Oidc, Place};
use crate::conn::BoxConn;
use crate::http::{self, Asked, escaped, form};
use crate::identity::Discovery;
use crate::secret::Secret;
use crate::upstream::tls::{TlsMode, UpstreamTls};

/// The issuer's own words are asked for again after so long.
const KNOWN_FOR: Duration = Duration::from_secs(300);
/// A person whom the issuer asked longer ago is asked again: half of what counts for a say.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Where `gateway login` is come back to, on its own host.
pub(crate) const CALLBACK: &str = "/callback";
/// There is no login by the command line.
pub(super) const NO_CLIENT: &str = "this console has no login by the command line: its configuration names no client for it (`[console] cli_client_id`)";

/// Where a client logs in.
pub(super) struct Issuer {
    pub(super) oidc: Oidc,
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    /// The client of the command line, which has none.
    pub(super) cli_client_id: Option<String>,
    pub(super) ca: Option<Vec<u8>>,
    /// Where browsers come back to.
    pub(super) redirect: String,
    pub(super) known: Mutex<Option<Known>>,
}

/// What the issuer says of itself.
#[derive(Clone)]
pub(super) struct Known {
    at: Instant,
    authorize: String,
    token: Place,
}

impl Issuer {
    /// Where a browser is sent.
    pub(super) async fn address(&self, link: &Link, attempt: &Attempt) -> Result<String, String> {
        let known = self.known(link).await?;
        let (client, redirect) = (self.client(attempt)?, self.redirect(attempt));
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, attempt.verifier.as_bytes()));
        let max_age = MAX_AGE.as_secs().to_string();
        let query = form(&[
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", &redirect),
            ("scope", "openid"),
            ("state", &attempt.state),
            ("nonce", &attempt.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("max_age", &max_age),
        ]);
        let mark = if known.authorize.contains('?') { '&' } else { '?' };
        Ok(format!("{}{mark}{query}", known.authorize))
    }

    /// What the issuer signed of whom a code stands for. The engine reads it.
    pub(super) async fn token(&self, link: &Link, attempt: &Attempt, code: &str) -> Result<String, String> {
        let known = self.known(link).await?;
        let (client, redirect) = (self.client(attempt)?, self.redirect(attempt));
        let mut sent = form(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &redirect),
            ("code_verifier", &attempt.verifier),
        ]);
        let authorization = match attempt.way {
            Way::Browser(_) => {
                // RFC 6749, section 2.3.1: both are encoded like a form first.
                let secret = String::from_utf8_lossy(self.client_secret.expose()).into_owned();
                Some(format!("Basic {}", STANDARD.encode(format!("{}:{}", escaped(client), escaped(&secret)))))
            }
            // Section 4.1.3: who has no secret says who it is.
            Way::CommandLine(_) => {
                sent = format!("{sent}&{}", form(&[("client_id", client)]));
                None
            }
        };
        let asked = Asked { path: known.token.path.clone(), form: Some(sent), authorization, ..Asked::default() };
        let answer = http::ask(self.stream(link, &known.token).await?, &known.token, asked).await?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|_| "the issuer's answer is no json".to_owned())?;
        let token = answer.get("id_token").and_then(Value::as_str);
        token.map(str::to_owned).ok_or_else(|| "the issuer sent no `id_token`".to_owned())
    }

    /// The client that an attempt goes through.
    fn client(&self, attempt: &Attempt) -> Result<&str, String> {
        match attempt.way {
            Way::Browser(_) => Ok(&self.client_id),
            Way::CommandLine(_) => self.cli_client_id.as_deref().ok_or_else(|| NO_CLIENT.to_owned()),
        }
    }

    /// Where it comes back to.
    fn redirect(&self, attempt: &Attempt) -> String {
        match attempt.way {
            Way::Browser(_) => self.redirect.clone(),
            // RFC 8252, section 7.3: the address, since what `localhost` is may be somebody else's to say.
            Way::CommandLine(port) => format!("http://127.0.0.1:{port}{CALLBACK}"),
        }
    }

    async fn known(&self, link: &Link) -> Result<Known, String> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.at.elapsed() < KNOWN_FOR) {
            return Ok(known.clone());
        }
        let home = &self.oidc.home;
        let asked = Asked { path: Discovery::path(home), ..Asked::default() };
        let said = http::ask(self.stream(link, home).await?, home, asked).await?;
        let said = Discovery::read(&self.oidc.issuer, &said)?;
        let token = said.asked("token_endpoint", &self.oidc)?;
        // Nothing is asked there of us: a browser is sent to it, and what it brings back goes to the token endpoint.
        let authorize = said.text("authorization_endpoint").to_owned();
        if !authorize.starts_with("https://")
            || !authorize.chars().all(|c| c.is_ascii_graphic())
            || authorize.contains('#')
        {
            return Err("the issuer's `authorization_endpoint` is no page (https)".to_owned());
        }
        let fresh = Known { at: Instant::now(), authorize, token };
        *known = Some(fresh.clone());
        Ok(fresh)
    }

    async fn stream(&self, link: &Link, place: &Place) -> Result<BoxConn, String> {
        let server = self.oidc.server_of(place).ok_or("the configuration names no such server of the issuer")?;
        encrypted(link.dial(server).await?, &place.host, self.ca.as_deref()).await
    }
}

/// A connection that the warden dialled, to a server that proved to be of this name.
pub(super) async fn encrypted(stream: TcpStream, host: &str, ca: Option<&[u8]>) -> Result<BoxConn, String> {
    let tls = UpstreamTls::new(TlsMode::VerifyFull, Some(host), ca, None).map_err(|error| chain(&error))?;
    stream.set_nonblocking(true).map_err(|error| error.to_string())?;
    let stream = tokio::net::TcpStream::from_std(stream).map_err(|error| error.to_string())?;
    let (stream, _) = tls.handshake(Box::new(stream)).await.map_err(|error| chain(&error))?;
    Ok(stream)
}

/// The fields of a form or query; the last of a name counts for nothing: two of one name are refused by giving none.
pub(crate) fn field(form: &str, wanted: &str) -> Option<String> {
    let mut found = form.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == wanted).then_some(value)
    });
    let (first, second) = (found.next()?, found.next());
    if second.is_some() { None } else { decoded(first) }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_they_are_written() {
        for text in ["", "a", "a b&c=d+%", "ä\u{202e}\0", "100%41"] {
            assert_eq!(field(&form(&[("x", "1"), ("y", text)]), "y").as_deref(), Some(text));
        }
        assert_eq!(field("y=a+b%2Bc", "y").as_deref(), Some("a b+c"));
        assert_eq!(field("y=%", "y"), None);
        assert_eq!(field("y=%e4", "y"), None, "no UTF-8");
        assert_eq!(field("y=1&y=2", "y"), None, "which of them would be meant?");
        assert_eq!(field("", "y"), None);
    }
}
