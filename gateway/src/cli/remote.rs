//! The console of another host, as commands ask it for who logged in there.
//!
//! In: what a person wants. Out: what the console's API answers. It speaks to nobody whose certificate does not name the
//! console, and sends what is kept of a login to that console alone.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;

use super::kept::{Folder, Login};
use super::terminal::visible;
use crate::config::Place;
use crate::http::{self, Asked, Limits};
use crate::upstream::tls::{TlsMode, UpstreamTls};

/// What says which console, where no argument does.
const VARIABLE: &str = "GATEWAY_CONSOLE";
/// A console reads journals, and asks the issuer.
const LIMITS: Limits = Limits { patience: Duration::from_secs(60), most: 64 * 1024 * 1024 };
/// For a connection to it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where systems keep their authorities.
const SYSTEM_CAS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// Whom to ask.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct At {
    /// Ask the console there, as whom `gateway login` knows [default: $GATEWAY_CONSOLE; where that is empty: the gateway of this host]
    #[arg(long, value_name = "URL", global = true)]
    console: Option<String>,
}

impl At {
    /// The console that is meant, if one is.
    pub(super) fn url(&self) -> anyhow::Result<Option<String>> {
        let named = self.console.clone().or_else(|| std::env::var(VARIABLE).ok());
        named.filter(|url| !url.is_empty()).map(|url| Ok(place_of(&url)?.1)).transpose()
    }

    /// It was named for this command.
    pub(super) fn is_named(&self) -> bool {
        self.console.is_some()
    }

    /// The login at it.
    pub(super) fn remote(&self) -> anyhow::Result<Option<Remote>> {
        self.url()?.map(|url| Remote::logged_in(&url)).transpose()
    }
}

/// Nobody is logged in, or not lately enough.
#[derive(Debug, thiserror::Error)]
#[error("{words}: run `gateway login --console {url}`")]
pub(super) struct LogInAgain {
    words: String,
    url: String,
}

/// Where a console is, and how it is written.
fn place_of(url: &str) -> anyhow::Result<(Place, String)> {
    let place = Place::parse(url).ok().filter(|place| place.path.trim_matches('/').is_empty());
    let place = place
        .with_context(|| format!("`{}` is no console: write `https://HOST` or `https://HOST:PORT`", visible(url)))?;
    let written = format!("https://{}", place.authority().to_lowercase());
    Ok((place, written))
}

/// A console.
pub(super) struct Remote {
    place: Place,
    url: String,
    tls: UpstreamTls,
    login: Option<Login>,
}

impl Remote {
    /// One at which nobody is logged in yet.
    pub(super) fn new(url: &str, ca: Option<&str>) -> anyhow::Result<Self> {
        let (place, url) = place_of(url)?;
        let ca = match ca {
            Some(pem) => Some(pem.as_bytes().to_vec()),
            None => SYSTEM_CAS.iter().find_map(|path| std::fs::read(path).ok()),
        };
        let ca = ca.context("this system has no file of authorities: name one with `gateway login --ca FILE`")?;
        let tls = UpstreamTls::new(TlsMode::VerifyFull, Some(&place.host), Some(&ca), None)?;
        Ok(Self { place, url, tls, login: None })
    }

    /// One at which somebody is logged in.
    fn logged_in(url: &str) -> anyhow::Result<Self> {
        let login = Folder::own()?.read(url)?;
        login.map_or_else(|| Err(again(format!("you are not logged in at {url}"), url)), Self::of)
    }

    /// The same, with what was kept of it.
    pub(super) fn of(login: Login) -> anyhow::Result<Self> {
        let url = login.console.clone();
        if login.ends <= now() {
            return Err(again(format!("your login at {url} is over"), &url));
        }
        Ok(Self { login: Some(login.clone()), ..Self::new(&url, login.ca.as_deref())? })
    }

    /// As it is written.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Asks for something.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.ask(Asked { path: path.to_owned(), ..Asked::default() }).await
    }

    /// Has something done.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, sent: &impl Serialize) -> anyhow::Result<T> {
        let json = Some(serde_json::to_string(sent)?);
        let token = self.login.as_ref().map(|login| login.token.clone());
        self.ask(Asked { path: path.to_owned(), json, token, ..Asked::default() }).await
    }

    async fn ask<T: DeserializeOwned>(&self, mut asked: Asked) -> anyhow::Result<T> {
        asked.cookie = self.login.as_ref().map(|login| format!("__Host-gateway={}", login.session));
        let connect = TcpStream::connect((self.place.host.as_str(), self.place.port));
        let cannot = || format!("cannot connect to the console at {}", self.url);
        let stream = tokio::time::timeout(PATIENCE, connect).await.with_context(cannot)?.with_context(cannot)?;
        let handshake = tokio::time::timeout(PATIENCE, self.tls.handshake(Box::new(stream))).await;
        let shaken = handshake.with_context(cannot)?.map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            anyhow::anyhow!(
                "{} did not prove to be that console ({source}): if it has a certificate of its gateway's own, have `gateway trust --ca` print the authority there, and name that file with `gateway login --ca FILE`",
                self.url
            )
        })?;
        let answered = http::answer(shaken.0, &self.place, asked, LIMITS).await;
        let (status, body) = answered.map_err(|reason| anyhow::anyhow!("the console did not answer: {reason}"))?;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .context("the console's answer was not understood: it is of another version");
        }
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let words = said.get("error").and_then(Value::as_str).map_or_else(|| status.to_string(), visible);
        if status.as_u16() == 401 {
            return Err(again(words, &self.url));
        }
        bail!("{words}")
    }
}

fn again(words: String, url: &str) -> anyhow::Error {
    LogInAgain { words, url: url.to_owned() }.into()
}

/// A file of authorities, read.
pub(super) fn authorities(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

/// Seconds from 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_is_a_host_over_tls_written_in_one_way() {
        for url in ["https://Gateway.example.com", "https://gateway.example.com:443", "https://gateway.example.com/"] {
            assert_eq!(place_of(url).unwrap().1, "https://gateway.example.com", "{url}");
        }
        assert_eq!(place_of("https://[::1]:7443").unwrap().1, "https://[::1]:7443");
        for url in ["http://gateway.example.com", "gateway.example.com", "https://a/../b", "https://a/b", "https://a b"]
        {
            assert!(place_of(url).is_err(), "{url}");
        }
    }
}
