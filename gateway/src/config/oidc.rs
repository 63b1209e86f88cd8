//! `[identity.oidc]`: who vouches for runtimes.
//!
//! In: the section. Out: what a token must be to count. Nothing is asked of anybody here.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::egress::is_host_name;
use super::table::Section;

/// Clocks of issuer and host may differ by so much.
const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);
const MAX_LEEWAY: Duration = Duration::from_secs(300);
/// What a workload's groups are called in most tokens.
const DEFAULT_GROUPS: &str = "groups";
/// Signatures that only the issuer can make (RFC 7518, section 3.1; RFC 8037): what both sides can make proves nothing.
pub const ALGORITHMS: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
/// Those that issuers use today.
const DEFAULT_ALGORITHMS: [&str; 4] = ["RS256", "PS256", "ES256", "EdDSA"];
const HTTPS_PORT: u16 = 443;
/// Hosts in `also`.
const MAX_SERVERS: usize = 100;

/// An issuer, and what its tokens must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oidc {
    /// Exactly as `iss` says it.
    pub issuer: String,
    /// Where it says where its keys are, or, as `keys_are_known`, the keys themselves.
    pub place: Place,
    /// Where the issuer is.
    pub home: Place,
    /// Servers of other hosts that it may name for what is asked of it.
    pub also: Vec<Place>,
    /// `jwks_uri` is configured: the issuer is not asked for it.
    pub keys_are_known: bool,
    /// What stands before its groups, for policies: `PREFIX:NAME`.
    pub prefix: String,
    /// One of `aud` must be this.
    pub audience: String,
    /// The claim that lists groups.
    pub groups_claim: String,
    /// Claims that policies see, besides.
    pub claims: Vec<String>,
    /// Claims that must have one of these values.
    pub require: Vec<(String, Vec<String>)>,
    /// How tokens may be signed.
    pub algorithms: Vec<String>,
    /// A token counts for so long after it was verified, however long it says.
    pub max_age: Option<Duration>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// PEM file of the authorities of its server; `None`: those of the system.
    pub ca: Option<PathBuf>,
}

impl Oidc {
    /// All servers that are asked for the issuer.
    fn servers(&self) -> impl Iterator<Item = &Place> {
        [&self.home, &self.place].into_iter().chain(&self.also)
    }

    /// The number of the one that a place is at, if the configuration names it.
    #[must_use]
    pub fn server_of(&self, place: &Place) -> Option<u16> {
        let number = self.servers().position(|one| (&one.host, one.port) == (&place.host, place.port))?;
        u16::try_from(number).ok()
    }

    /// The one with a number.
    #[must_use]
    pub fn server(&self, number: u16) -> Option<&Place> {
        self.servers().nth(usize::from(number))
    }
}

/// What `https://HOST:PORT/PATH` stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// A name or an address.
    pub host: String,
    /// 443 where none is written.
    pub port: u16,
    /// Begins with `/`, or is empty.
    pub path: String,
}

impl Place {
    /// # Errors
    /// Where it is no `https` URL of a host and a path alone.
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest =
            url.strip_prefix("https://").ok_or("write `https://HOST/PATH`: keys that come in clear prove nothing")?;
        if rest.contains(['?', '#', '@']) || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("a host and a path, and no more".to_owned());
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => (address, rest.strip_prefix(':')),
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        if host.parse::<std::net::IpAddr>().is_err() && !is_host_name(host) {
            return Err(format!("`{host}` is no name of a host"));
        }
        let port = port.map_or(Ok(HTTPS_PORT), str::parse).map_err(|_| format!("`{authority}` has no such port"))?;
        Ok(Self { host: host.to_owned(), port, path: path.to_owned() })
    }

    /// Host and port, as addresses to connect to are written.
    #[must_use]
    pub fn server(&self) -> String {
        format!("{}:{}", self.written_host(), self.port)
    }

    /// The same as urls and `Host` have it, without the port that goes without saying (RFC 9110, section 4.2.3).
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == HTTPS_PORT { self.written_host() } else { self.server() }
    }

    fn written_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

pub(super) fn read(identity: &Section<'_, '_>) -> Option<Oidc> {
    let section = identity.section("oidc");
    if !section.is_there() {
        return None;
    }
    let place = |key, url: &str| Place::parse(url).map_err(|reason| section.fault(key, reason)).ok();
    let issuer = section.required("issuer");
    let of_issuer = issuer.as_deref().and_then(|url| place("issuer", url));
    let jwks = section.string("jwks_uri");
    let of_keys = jwks.as_deref().and_then(|url| place("jwks_uri", url));
    let also = section.strings("also").into_iter().filter_map(|text| {
        let place = place("also", &format!("https://{text}"))?;
        if !place.path.is_empty() {
            section.fault("also", format!("`{text}`: a host, or a host and a port"));
        }
        Some(place)
    });
    let also: Vec<Place> = also.take(MAX_SERVERS).collect();
    let prefix = section.string("prefix").or_else(|| of_issuer.as_ref().map(|place| place.host.clone()));
    if prefix.as_deref().is_some_and(|prefix| prefix == "local" || prefix.is_empty() || prefix.contains(':')) {
        section.fault("prefix", "groups of this host are called `local:NAME`: choose another word, without `:`");
    }
    let audience = section.required("audience");
    let groups_claim = section.string("groups_claim").unwrap_or_else(|| DEFAULT_GROUPS.to_owned());
    let claims = section.strings("claims");
    let require = section.lists("require");
    let mut algorithms = section.strings("algorithms");
    if let Some(unknown) = algorithms.iter().find(|name| !ALGORITHMS.contains(&name.as_str())) {
        section.fault("algorithms", format!("`{unknown}` is none of {}", ALGORITHMS.join(", ")));
    }
    if algorithms.is_empty() {
        algorithms = DEFAULT_ALGORITHMS.map(str::to_owned).into();
    }
    let max_age = section.duration("max_age");
    let leeway = section.duration("leeway").unwrap_or(DEFAULT_LEEWAY);
    if leeway > MAX_LEEWAY {
        section.fault("leeway", format!("at most {} seconds: a token must be able to end", MAX_LEEWAY.as_secs()));
    }
    let ca = section.string("ca").map(PathBuf::from);
    section.finish();
    Some(Oidc {
        issuer: issuer?,
        keys_are_known: jwks.is_some(),
        place: if jwks.is_some() { of_keys? } else { of_issuer.clone()? },
        home: of_issuer?,
        also,
        prefix: prefix?,
        audience: audience?,
        groups_claim,
        claims,
        require,
        algorithms,
        max_age,
        leeway,
        ca,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_of_an_issuer_are_those_that_are_configured() {
        let text = |more: &str| {
            format!(
                "version = 1\n[identity.oidc]\nissuer = \"https://id.example.com/a\"\naudience = \"gateway\"\n{more}"
            )
        };
        let of = |more: &str| crate::config::Config::parse("gateway.toml", &text(more));
        let oidc = of("also = [\"keys.example.com\", \"[2001:db8::1]:8443\"]\n").unwrap().oidc.unwrap();
        for (url, number) in [
            ("https://id.example.com/token", Some(0)),
            ("https://keys.example.com/b", Some(2)),
            ("https://[2001:db8::1]:8443", Some(3)),
            ("https://keys.example.com:444/b", None),
            ("https://evil.keys.example.com", None),
        ] {
            let place = Place::parse(url).unwrap();
            assert_eq!(oidc.server_of(&place), number, "{url}");
            let found = number.and_then(|number| oidc.server(number));
            assert_eq!(found.map(|found| &found.host), number.map(|_| &place.host), "{url}");
        }
        assert_eq!(oidc.server(4), None);
        for wrong in ["\"keys.example.com/jwks\"", "\"https://keys.example.com\"", "\"*\"", "\"\""] {
            assert!(of(&format!("also = [{wrong}]\n")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_place_is_a_host_and_a_path_over_tls() {
        let place = Place::parse("https://id.example.com/realms/a").unwrap();
        assert_eq!((place.host.as_str(), place.port, place.path.as_str()), ("id.example.com", 443, "/realms/a"));
        let place = Place::parse("https://[2001:db8::1]:8443").unwrap();
        assert_eq!((place.host.as_str(), place.port, place.path.as_str()), ("2001:db8::1", 8443, ""));
        assert_eq!(place.authority(), "[2001:db8::1]:8443");
        let place = Place::parse("https://[2001:db8::1]/").unwrap();
        assert_eq!((place.authority().as_str(), place.server().as_str()), ("[2001:db8::1]", "[2001:db8::1]:443"));
        for wrong in [
            "http://id.example.com",
            "https://",
            "https://user@id.example.com/",
            "https://id.example.com/?a=b",
            "https://id.example.com:port/",
            "https://id.example.com/a b",
            "https://id.example.com/a\r\nx:y",
        ] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}
