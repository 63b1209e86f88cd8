//! `[egress]`: what leaves besides protected connections, by network and by name.
//!
//! In: entries such as `10.0.0.0/8:443` and `*.example.com:443`. Out: networks with ports, patterns of names with ports.
//! Resolves nothing.

use std::str::FromStr;

use gateway_common::{DNS_PORT, PROTECTED_PORTS, Verdict};

use super::table::Section;
use super::{Config, Target};
use crate::host::network::Network;
use crate::host::unix_name::UnixName;

/// A name and its labels (RFC 1035, section 2.3.4), without the length bytes.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// `[egress]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// What becomes of destinations that nothing names. Allowed by default: `attach` must not cut a runtime off.
    pub allow_by_default: bool,
    /// Networks and ports that pass.
    pub allow: Vec<AllowedNetwork>,
    /// Names whose addresses pass.
    pub names: Vec<AllowedName>,
    /// Addresses and protected ports that are reached unread: a gap.
    pub passthrough: Vec<AllowedNetwork>,
    /// Unix sockets of programs outside that may be connected to, beside those that every program needs.
    pub unix: Vec<UnixName>,
}

/// `10.0.0.0/8:443`, `10.0.0.5:*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedNetwork {
    /// An address or network.
    pub network: Network,
    /// `None`: all ports but the protected ones.
    pub port: Option<u16>,
}

/// `api.example.com:443`, `*.example.com:*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedName {
    /// Which names.
    pub name: NamePattern,
    /// `None`: all ports but the protected ones.
    pub port: Option<u16>,
}

/// A name, or with `*.` before it all names below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    /// In lower case, without a dot at the end.
    name: String,
    below: bool,
}

impl NamePattern {
    /// Whether it stands for itself alone.
    #[must_use]
    pub fn is_one(&self) -> bool {
        !self.below
    }

    /// Whether it is meant by a name that `is_host_name` and is in lower case.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match name.strip_suffix(self.name.as_str()) {
            Some(rest) if self.below => rest.len() > 1 && rest.ends_with('.'),
            rest => !self.below && rest == Some(""),
        }
    }
}

impl std::fmt::Display for NamePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.name)
    }
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let (name, below) = lower.strip_prefix("*.").map_or((lower.as_str(), false), |name| (name, true));
        // The last label of a name holds a letter, that of a mistyped address does not.
        let last = name.rsplit('.').next().unwrap_or_default();
        if !is_host_name(name) || !last.contains(|c: char| c.is_ascii_alphabetic()) {
            return Err(format!("`{text}` is no address, network or name"));
        }
        if below && !name.contains('.') {
            return Err(format!("`{text}` stands for a whole top-level domain: name what is meant below it"));
        }
        Ok(Self { name: name.to_owned(), below })
    }
}

/// Whether a name is made of labels of letters, digits, `-` and `_`. Others are legal in DNS; but a dot inside a label
/// would read like one between two.
#[must_use]
pub fn is_host_name(name: &str) -> bool {
    let is_fine = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    name.len() <= MAX_NAME
        && name.split('.').all(|label| (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(is_fine))
}

impl Config {
    /// Whether the names that runtimes ask for are looked at: where not everything passes, or addresses come from names.
    #[must_use]
    pub fn asks_names_here(&self) -> bool {
        let by_name = !self.egress.names.is_empty() || self.targets.iter().any(|target| !target.names.is_empty());
        !self.egress.allow_by_default || by_name
    }

    /// What a name says of ports at its addresses; `None` stands for all other ports. Nothing: nobody named it.
    #[must_use]
    pub fn of_name(&self, name: &str, attachment: &str) -> Vec<(Option<u16>, Verdict)> {
        let allowed = self.egress.names.iter().filter(|allowed| allowed.name.matches(name));
        let allowed = allowed.map(|allowed| (allowed.port, Verdict::Allow));
        // What protects stands last, and counts where both name a port.
        allowed.chain(self.targets_named(name, attachment).flat_map(Target::of_name)).collect()
    }

    /// The target that has a name and a port.
    #[must_use]
    pub fn target_named(&self, name: &str, port: u16, attachment: &str) -> Option<&Target> {
        self.targets_named(name, attachment).find(|target| target.ports.contains(&port))
    }

    fn targets_named<'c>(&'c self, name: &str, attachment: &str) -> impl Iterator<Item = &'c Target> {
        let of = |target: &&Target| target.serves(attachment) && target.names.iter().any(|own| own.matches(name));
        self.targets.iter().filter(of)
    }
}

/// What only shows when all is read.
pub(super) fn check(section: &Section<'_, '_>, config: &Config) {
    for (key, list) in [("allow", &config.egress.allow), ("passthrough", &config.egress.passthrough)] {
        if config.asks_names_here() && list.iter().any(|allowed| allowed.port == Some(DNS_PORT)) {
            let why =
                "port 53: names are asked through the gateway, of the servers in /etc/resolv.conf, and nowhere else";
            section.fault(key, why);
        }
    }
}

/// One entry of `allow`.
enum Allowed {
    Network(AllowedNetwork),
    Name(AllowedName),
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (place, port) = text
            .rsplit_once(':')
            .ok_or_else(|| format!("`{text}` has no port: write `10.0.0.0/8:443`, or `10.0.0.0/8:*` for all"))?;
        let port = match port {
            "*" => None,
            port => Some(
                port.parse()
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or_else(|| format!("`{port}` is no port: write a number from 1 to 65535, or `*`"))?,
            ),
        };
        match place.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(network) => Ok(Self::Network(AllowedNetwork { network, port })),
            Err(_) => Ok(Self::Name(AllowedName { name: place.parse()?, port })),
        }
    }
}

pub(super) fn read(section: &Section<'_, '_>) -> Egress {
    let mut egress = Egress {
        allow_by_default: section.one_of("default", &[("allow", true), ("deny", false)]).unwrap_or(true),
        allow: Vec::new(),
        names: Vec::new(),
        passthrough: Vec::new(),
        unix: section.all_parsed("unix"),
    };
    for allowed in section.all_parsed("allow") {
        match allowed {
            Allowed::Network(network) => egress.allow.push(network),
            Allowed::Name(name) => egress.names.push(name),
        }
    }
    for allowed in section.all_parsed("passthrough") {
        match allowed {
            Allowed::Network(network) if network.port.is_some() => egress.passthrough.push(network),
            _ => section
                .fault("passthrough", "what goes past the gateway unread has an address and a port: `10.0.0.9:22`"),
        }
    }
    let is_protected = |port: &u16| *port == DNS_PORT || PROTECTED_PORTS.iter().any(|(protected, _)| protected == port);
    for allowed in &egress.names {
        if let Some(port) = allowed.port.filter(is_protected) {
            let why = "is protected at every address, and a name does not open it";
            section.fault("allow", format!("`{}:{port}`: port {port} {why}", allowed.name));
        }
    }
    egress
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_its_name_or_all_below_it_and_nothing_that_looks_like_it() {
        let exact: NamePattern = "API.example.com".parse().unwrap();
        assert!(exact.matches("api.example.com"));
        assert!(
            !exact.matches("x.api.example.com") && !exact.matches("example.com") && !exact.matches("xapi.example.com")
        );
        let below: NamePattern = "*.example.com".parse().unwrap();
        assert!(below.matches("a.example.com") && below.matches("a.b.example.com"));
        for other in ["example.com", ".example.com", "aexample.com", "a.example.com.evil.net", "a.example.co"] {
            assert!(!below.matches(other), "{other}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["10.0.0.300", "*.com", "*", "a..b", "a b.c", "-.", "example.com.", "*.*.example.com", "é.example"]
        {
            assert!(text.parse::<NamePattern>().is_err(), "{text}");
        }
        assert!(!is_host_name(r"a\.example.com") && !is_host_name(&"a.".repeat(127)) && !is_host_name(""));
    }
}
