//! `[[target]]`: what is declared, how its server is verified, and with which credential we log in.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::PathBuf;

use gateway_common::Verdict;

use super::attach::is_name;
use super::egress::NamePattern;
use super::ssh::{self, SshServer};
use super::table::Section;
use crate::host::network::{Network, is_local};

/// A declared destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// In events, policies and messages.
    pub name: String,
    /// What is spoken there.
    pub protocol: Verdict,
    /// Where it is.
    pub addresses: Vec<Network>,
    /// Names whose addresses it has besides; none stands for names below it.
    pub names: Vec<NamePattern>,
    /// Never empty.
    pub ports: Vec<u16>,
    /// A parent in policies: production, staging, scratch.
    pub environment: Option<String>,
    /// The attachments that it is declared for; empty: all.
    pub within: Vec<String>,
    /// How the server is verified.
    pub tls: Tls,
    /// The same of an SSH server.
    pub ssh: SshServer,
    /// Who masks its labelled columns.
    pub masking: MaskedBy,
    /// With which we log in; `None`: the client's own login.
    pub credential: Option<CredentialSource>,
}

/// `masking`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MaskedBy {
    /// We do, in results.
    #[default]
    Rows,
    /// The server does: relations in queries are replaced by subqueries that mask.
    Server,
}

/// `[target.tls]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// libpq's sslmode, without the modes that fall back.
    pub mode: TlsMode,
    /// PEM file of the authorities; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The name to verify; `None`: the address.
    pub name: Option<String>,
    /// PEM files of our client certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// `mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS, the server unverified.
    Require,
    /// The chain is verified, the name is not.
    VerifyCa,
    /// Chain and name.
    VerifyFull,
}

/// `[target.credential]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialSource {
    /// The role that we log in as.
    pub user: String,
    /// The names that clients may ask for; by default `user` alone.
    pub for_users: Vec<String>,
    /// The password, or the bearer token of a Kubernetes API, whose file is read again when it changes; `None` where
    /// something else proves who we are.
    pub password: Option<SecretSource>,
    /// Of SSH: a private key.
    pub key: Option<SecretSource>,
    /// Of SSH: each login gets a certificate for minutes, signed by the authority of this host.
    pub certificate: bool,
    /// A Kubernetes API is told the workload's own name and groups.
    pub impersonate: bool,
    /// Send it to a server that is not verified: a gap.
    pub allow_unverified: bool,
    /// It is supplied only while this window is open for the workload; `None`: always.
    pub window: Option<String>,
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file; a newline at its end is not part of it.
    File(PathBuf),
    /// A variable of the gateway's environment.
    Env(String),
    /// A systemd credential.
    Credential(String),
}

impl std::fmt::Display for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "variable {name}"),
            Self::Credential(name) => write!(f, "credential {name}"),
        }
    }
}

impl Target {
    /// Whether it is declared for an attachment.
    #[must_use]
    pub fn serves(&self, attachment: &str) -> bool {
        self.within.is_empty() || self.within.iter().any(|name| name == attachment)
    }

    /// What clients call it, as far as that can be said before: its names, and its addresses that are no networks.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        let addresses = self.addresses.iter().filter_map(Network::host_address).map(|address| address.to_string());
        addresses.chain(self.names.iter().map(ToString::to_string)).collect()
    }

    /// What its name says of ports at its addresses, as `Config::of_name`: a second way in would be a way around.
    pub(super) fn of_name(&self) -> impl Iterator<Item = (Option<u16>, Verdict)> + '_ {
        let declared = self.ports.iter().map(|port| (Some(*port), self.protocol));
        declared.chain([(None, Verdict::Refuse)])
    }

    /// The length of the longest of its networks that an address is in. What we log in to has no loopback or link-local
    /// address: whoever owns a namespace is the server there.
    #[must_use]
    pub fn longest_match(&self, address: IpAddr) -> Option<u32> {
        if self.logs_in() && is_local(address) {
            return None;
        }
        let networks = self.addresses.iter().filter(|network| network.contains(address));
        networks.map(|network| network.key().0).max()
    }

    fn logs_in(&self) -> bool {
        self.credential.is_some() || self.tls.client.is_some()
    }
}

pub(super) fn read(root: &Section<'_, '_>) -> Vec<Target> {
    let mut names = HashSet::new();
    let mut targets = Vec::new();
    for section in root.sections("target") {
        let target = read_one(&section);
        if let Some(target) = &target {
            if !is_name(&target.name) || target.name == "undeclared" {
                section.fault("name", "a name is made of letters, digits, `-`, `_` and `.`, and is not `undeclared`");
            }
            if !names.insert(target.name.clone()) {
                section.fault("name", format!("`{}` is there twice", target.name));
            }
            for network in target.addresses.iter().filter(|network| target.logs_in() && network.is_local()) {
                let why = "is another machine in each network namespace, and no credential is sent there";
                section.fault(
                    "addresses",
                    format!("`{network}` {why}: write the address that the server has on the network"),
                );
            }
        }
        section.finish();
        targets.extend(target);
    }
    targets
}

fn read_one(section: &Section<'_, '_>) -> Option<Target> {
    let name = section.required("name");
    let protocols = [("postgres", Verdict::Postgres), ("ssh", Verdict::Ssh), ("kubernetes", Verdict::Kubernetes)];
    if section.string("protocol").is_none() {
        section.fault("protocol", "is missing: `postgres`, `ssh` or `kubernetes`");
    }
    let protocol = section.one_of("protocol", &protocols);
    let (mut addresses, mut names) = (Vec::new(), Vec::new());
    let places = section.strings("addresses");
    if places.is_empty() {
        section.fault("addresses", "is missing: at least one address, network or name");
    }
    for place in places {
        match (place.parse(), place.parse::<NamePattern>()) {
            (Ok(network), _) => addresses.push(network),
            (_, Ok(name)) if name.is_one() => names.push(name),
            (_, Ok(_)) => section.fault("addresses", format!("`{place}` is many names: a target is one server")),
            (_, Err(error)) => section.fault("addresses", error),
        }
    }
    let mut ports = section.ports("ports");
    if ports.is_empty() {
        ports.push(match protocol {
            Some(Verdict::Ssh) => 22,
            Some(Verdict::Kubernetes) => 6443,
            _ => 5432,
        });
    }
    let environment = section.string("environment");
    let within = section.strings("within");
    let masking = section.one_of("masking", &[("rows", MaskedBy::Rows), ("source", MaskedBy::Server)]);
    if masking.is_some() && protocol.is_some_and(|protocol| protocol != Verdict::Postgres) {
        section.fault("masking", "is for `protocol = \"postgres\"`: nothing else is rewritten");
    }
    let is_ssh = protocol == Some(Verdict::Ssh);
    for (key, fits) in [("tls", !is_ssh), ("ssh", is_ssh)] {
        if section.has_table(key) && !fits {
            section.fault(key, "is not for this protocol: SSH servers have [target.ssh], all others [target.tls]");
        }
    }
    let tls = read_tls(&section.section("tls"), section);
    let ssh = ssh::read(&section.section("ssh"));
    let credential = section.section("credential");
    let credential = match protocol {
        Some(Verdict::Kubernetes) => read_token(&credential, &tls),
        _ => read_credential(&credential, &tls, is_ssh.then_some(&ssh)),
    };
    Some(Target {
        name: name?,
        protocol: protocol?,
        addresses,
        names,
        ports,
        environment,
        within,
        tls,
        ssh,
        masking: masking.unwrap_or_default(),
        credential,
    })
}

fn read_tls(tls: &Section<'_, '_>, target: &Section<'_, '_>) -> Tls {
    let modes = [
        ("disable", TlsMode::Disable),
        ("require", TlsMode::Require),
        ("verify-ca", TlsMode::VerifyCa),
        ("verify-full", TlsMode::VerifyFull),
    ];
    let certificate = tls.string("certificate").map(PathBuf::from);
    let key = tls.string("key").map(PathBuf::from);
    if certificate.is_some() != key.is_some() {
        target.fault("tls", "a client certificate needs both `certificate` and `key`");
    }
    let read = Tls {
        // Strict by default: the upstream of a declared target is verified.
        mode: tls.one_of("mode", &modes).unwrap_or(TlsMode::VerifyFull),
        ca: tls.string("ca").map(PathBuf::from),
        name: tls.string("name"),
        client: certificate.zip(key),
    };
    tls.finish();
    read
}

fn read_credential(section: &Section<'_, '_>, tls: &Tls, ssh: Option<&SshServer>) -> Option<CredentialSource> {
    let user = if section.is_there() { section.required("user") } else { None };
    let for_users = section.strings("for_users");
    let password = read_secret(section, "password");
    let key = read_secret(section, "key");
    let certificate = section.flag("certificate").unwrap_or(false);
    let allow_unverified = section.flag("allow_unverified").unwrap_or(false);
    let window = section.string("window");
    let proofs = [section.has_table("password"), section.has_table("key"), certificate];
    let count = proofs.iter().filter(|is_there| **is_there).count();
    if section.is_there() && ssh.is_some() && count != 1 {
        section.fault("password", "write one of `password`, `key`, and `certificate = true`");
    }
    if section.is_there() && ssh.is_none() && (key.is_some() || certificate) {
        section.fault("key", "keys and certificates of logins are SSH's: [target.tls] has the client certificate");
    }
    if section.is_there() && ssh.is_none() && count == 0 && tls.client.is_none() {
        section.fault("password", "is missing, and [target.tls] has no client certificate either");
    }
    let is_unverified = match ssh {
        Some(ssh) => ssh.is_unknown(),
        None => matches!(tls.mode, TlsMode::Disable | TlsMode::Require),
    };
    if section.is_there() && is_unverified && !allow_unverified {
        section.fault(
            "allow_unverified",
            match ssh {
                Some(_) => "a credential goes only to a server that was verified: give [target.ssh] `host_keys`, `authorities` or `known_hosts`, or accept the gap with `allow_unverified = true`",
                None => "a credential goes only to a server that was verified: set [target.tls] mode to `verify-full`, or accept the gap with `allow_unverified = true`",
            },
        );
    }
    section.finish();
    let user = user?;
    let for_users = if for_users.is_empty() { vec![user.clone()] } else { for_users };
    let impersonate = false;
    Some(CredentialSource { user, for_users, password, key, certificate, impersonate, allow_unverified, window })
}

/// The credential of a Kubernetes API: a bearer token, or the client certificate of `[target.tls]`.
fn read_token(section: &Section<'_, '_>, tls: &Tls) -> Option<CredentialSource> {
    if !section.is_there() {
        section.finish();
        return None;
    }
    let source = read_secret(section, "token");
    if source.is_none() && tls.client.is_none() && !section.has_table("token") {
        section.fault("token", "is missing, and [target.tls] has no client certificate either");
    }
    if matches!(tls.mode, TlsMode::Disable | TlsMode::Require) {
        section.fault("token", "goes only to a server that was verified: set [target.tls] mode to `verify-full`");
    }
    let user = section.string("user").unwrap_or_else(|| "gateway".to_owned());
    let impersonate = section.flag("impersonate").unwrap_or(false);
    let window = section.string("window");
    section.finish();
    Some(CredentialSource {
        user,
        for_users: Vec::new(),
        password: source,
        key: None,
        certificate: false,
        impersonate,
        allow_unverified: false,
        window,
    })
}

/// A secret of a section, by its key.
pub(super) fn read_secret(section: &Section<'_, '_>, key: &'static str) -> Option<SecretSource> {
    let secret = section.secret(key);
    let sources = [
        secret.string("file").map(|path| SecretSource::File(path.into())),
        secret.string("env").map(SecretSource::Env),
        secret.string("credential").map(SecretSource::Credential),
    ];
    if secret.is_there() && sources.iter().flatten().count() != 1 {
        section.fault(key, "write one of `{ file = \"…\" }`, `{ env = \"…\" }`, `{ credential = \"…\" }`");
    }
    secret.finish();
    sources.into_iter().flatten().next()
}
