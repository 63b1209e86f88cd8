//! `[audit]`: the journal on this host, and where it is copied to.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attach::is_name;
use super::table::Section;
use super::target::read_secret;
use super::{Durability, JournalSection, Place, SecretSource};

/// What ClickHouse takes well at once, and what is sent again after a failure at most.
const DEFAULT_BATCH: u64 = 10_000;
/// Where ClickHouse's own documentation puts tables; it is told apart by database and table below it.
const DEFAULT_KEEPER_PATH: &str = "/clickhouse/tables/{shard}";
/// ClickHouse's own ports.
const HTTP_PORT: u16 = 8_123;
const HTTPS_PORT: u16 = 8_443;
/// Of syslog over TLS (RFC 5425, section 4.1), and over TCP by custom.
const SYSLOG_TLS_PORT: u16 = 6_514;
const SYSLOG_PORT: u16 = 514;
/// What receivers should take (RFC 5425, section 4.3.1).
const MAX_MESSAGE: usize = 8_192;

/// Where the journal is copied to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClickHouse {
    /// Where it listens; names are not resolved.
    pub address: SocketAddr,
    /// `None`: no TLS, on loopback alone.
    pub tls: Option<ClickHouseTls>,
    /// The database.
    pub database: String,
    /// The login that adds rows.
    pub user: String,
    /// Its password.
    pub password: Option<SecretSource>,
    /// Lines of the journal in one insert, at most.
    pub batch: usize,
    /// `None`: one server keeps all of it.
    pub cluster: Option<ClickHouseCluster>,
}

/// Several servers that keep it together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClickHouseCluster {
    /// Its name in the servers' `remote_servers`.
    pub name: String,
    /// Where in ZooKeeper or ClickHouse Keeper its tables are, with the servers' macros; without a last `/`.
    pub keeper_path: String,
}

/// How it proves to be itself: always by chain and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClickHouseTls {
    /// PEM file of the authorities; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The name in its certificate; `None`: the address.
    pub name: Option<String>,
}

impl ClickHouse {
    /// Where it is, for people and for the checkpoint: `https://10.0.0.9:8443/gateway`.
    #[must_use]
    pub fn place(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/{}", self.address, self.database)
    }

    /// Turns to another server of the cluster; `name` is the one in its certificate.
    ///
    /// # Errors
    /// Where `url` is none, says in clear what must be encrypted, or encrypts where there is no certificate to name.
    pub fn turn_to(&mut self, url: &str, name: Option<String>) -> Result<(), String> {
        let (address, encrypted) = endpoint(url)?;
        if name.is_some() && !encrypted {
            return Err("a server without TLS has no certificate: leave the name out".to_owned());
        }
        let ca = self.tls.take().and_then(|tls| tls.ca);
        (self.address, self.tls) = (address, encrypted.then_some(ClickHouseTls { ca, name }));
        Ok(())
    }
}

/// Who is told of events as they happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// For people, and for its checkpoint.
    pub name: String,
    /// Where requests go.
    pub url: Place,
    /// In which words.
    pub format: WebhookFormat,
    /// Kinds of events; one that ends with `.` stands for all that begin so. None: all.
    pub kinds: Vec<String>,
    /// Of events with a decision those alone that were decided so. None: all.
    pub verdicts: Vec<String>,
    /// What requests are signed with.
    pub secret: Option<SecretSource>,
    /// The value of their `Authorization`.
    pub authorization: Option<SecretSource>,
    /// PEM file of the authorities of its server; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// In a chat: what waits is decided there.
    pub buttons: bool,
}

/// `format`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WebhookFormat {
    /// The events as they are.
    #[default]
    Json,
    /// Events of the Open Cybersecurity Schema Framework.
    Ocsf,
    /// Logs of OpenTelemetry (OTLP/HTTP, JSON).
    Otlp,
    /// One text, for incoming webhooks of chats.
    Slack,
}

/// A syslog server that is told of events as they happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// For people, and for its checkpoint.
    pub name: String,
    /// Where it listens; without a path.
    pub server: Place,
    /// How it is reached.
    pub transport: FeedTransport,
    /// In which words.
    pub format: FeedFormat,
    /// Kinds of events; one that ends with `.` stands for all that begin so. None: all.
    pub kinds: Vec<String>,
    /// Of events with a decision those alone that were decided so. None: all.
    pub verdicts: Vec<String>,
    /// The longest message that it takes, in bytes.
    pub max_bytes: usize,
    /// PEM file of the authorities of its server; `None`: those of the system.
    pub ca: Option<PathBuf>,
}

/// `transport`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedTransport {
    /// Syslog over TLS (RFC 5425).
    #[default]
    Tls,
    /// Counted octets over TCP (RFC 6587), on loopback alone.
    Tcp,
}

/// `format`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedFormat {
    /// Events of the Open Cybersecurity Schema Framework.
    #[default]
    Ocsf,
    /// The events as they are.
    Json,
}

/// Where seals are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syslog {
    /// The server.
    pub address: SocketAddr,
    /// How it is reached.
    pub transport: Transport,
}

/// `transport`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// A datagram (RFC 5426).
    #[default]
    Udp,
    /// Counted octets (RFC 6587).
    Tcp,
}

pub(super) fn read_syslog(audit: &Section<'_, '_>) -> Option<Syslog> {
    let section = audit.section("syslog");
    let text = if section.is_there() { section.required("address") } else { section.string("address") };
    let transport = section.one_of("transport", &[("udp", Transport::Udp), ("tcp", Transport::Tcp)]);
    let address = text.and_then(|text| {
        let fault = |_| section.fault("address", "write `ADDRESS:514`: names are not resolved");
        text.parse().map_err(fault).ok()
    });
    section.finish();
    Some(Syslog { address: address?, transport: transport.unwrap_or_default() })
}

const VERDICTS: [&str; 5] = ["allow", "deny", "hold", "would_deny", "would_hold"];

/// What all who are told have: a name of their own, and what of it they want to hear.
fn read_wanted(section: &Section<'_, '_>, others: &[&str]) -> (Option<String>, Vec<String>, Vec<String>) {
    let name = section.required("name");
    if name.as_deref().is_some_and(|name| !is_name(name) || others.contains(&name)) {
        section.fault("name", "a name of its own, of letters, digits, `-`, `_` and `.`");
    }
    let (kinds, verdicts) = (section.strings("kinds"), section.strings("verdicts"));
    if let Some(unknown) = verdicts.iter().find(|verdict| !VERDICTS.contains(&verdict.as_str())) {
        section.fault("verdicts", format!("`{unknown}` is none of {}", VERDICTS.join(", ")));
    }
    (name, kinds, verdicts)
}

/// Feeds, whose names are none of the webhooks'.
pub(super) fn read_feeds(audit: &Section<'_, '_>, webhooks: &[Webhook]) -> Vec<Feed> {
    let mut all: Vec<Feed> = Vec::new();
    for section in audit.sections("feed") {
        let webhooks = webhooks.iter().map(|one| one.name.as_str());
        let others: Vec<_> = webhooks.chain(all.iter().map(|one| one.name.as_str())).collect();
        let (name, kinds, verdicts) = read_wanted(&section, &others);
        let transport = section.one_of("transport", &[("tls", FeedTransport::Tls), ("tcp", FeedTransport::Tcp)]);
        let transport = transport.unwrap_or_default();
        let server = section.required("server");
        let server =
            server.and_then(|text| syslog_server(&text, transport).map_err(|why| section.fault("server", why)).ok());
        let format = section.one_of("format", &[("ocsf", FeedFormat::Ocsf), ("json", FeedFormat::Json)]);
        let max_bytes = section.number("max_bytes", 2048..=1 << 20).and_then(|bytes| usize::try_from(bytes).ok());
        let ca = section.string("ca").map(PathBuf::from);
        section.finish();
        if let (Some(name), Some(server)) = (name, server) {
            let (format, max_bytes) = (format.unwrap_or_default(), max_bytes.unwrap_or(MAX_MESSAGE));
            all.push(Feed { name, server, transport, format, kinds, verdicts, max_bytes, ca });
        }
    }
    all
}

/// `HOST`, or `HOST:PORT`.
fn syslog_server(text: &str, transport: FeedTransport) -> Result<Place, String> {
    let mut place = Place::parse(&format!("https://{text}"))?;
    if !place.path.is_empty() {
        return Err("a host, or a host and a port".to_owned());
    }
    if !place.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) && transport == FeedTransport::Tcp {
        return Err("the record would travel in clear: `tcp` is for an address of loopback".to_owned());
    }
    let has_port = text.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    if !has_port || text.parse::<IpAddr>().is_ok() {
        place.port = if transport == FeedTransport::Tls { SYSLOG_TLS_PORT } else { SYSLOG_PORT };
    }
    Ok(place)
}

pub(super) fn read_webhooks(audit: &Section<'_, '_>, has_slack: bool) -> Vec<Webhook> {
    let mut all: Vec<Webhook> = Vec::new();
    for section in audit.sections("webhook") {
        let others: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
        let (name, kinds, verdicts) = read_wanted(&section, &others);
        let url = section.required("url");
        let url = url.and_then(|url| Place::parse(&url).map_err(|reason| section.fault("url", reason)).ok());
        let formats = [
            ("json", WebhookFormat::Json),
            ("ocsf", WebhookFormat::Ocsf),
            ("otlp", WebhookFormat::Otlp),
            ("slack", WebhookFormat::Slack),
        ];
        let format = section.one_of("format", &formats).unwrap_or_default();
        let (secret, authorization) = (read_secret(&section, "secret"), read_secret(&section, "authorization"));
        let ca = section.string("ca").map(PathBuf::from);
        let buttons = section.flag("buttons").unwrap_or(false);
        if buttons && !(format == WebhookFormat::Slack && has_slack) {
            section
                .fault("buttons", "needs `format = \"slack\"`, and `[console.slack]`, which says who may press them");
        }
        section.finish();
        if let (Some(name), Some(url)) = (name, url) {
            all.push(Webhook { name, url, format, kinds, verdicts, secret, authorization, ca, buttons });
        }
    }
    all
}

pub(super) fn read_journal(section: &Section<'_, '_>) -> JournalSection {
    let defaults = JournalSection::default();
    let low_bytes = section.number("low_bytes", 0..=1 << 60).unwrap_or(defaults.low_bytes);
    let critical_bytes = section.number("critical_bytes", 0..=1 << 60).unwrap_or(defaults.critical_bytes);
    if critical_bytes > low_bytes {
        section.fault("critical_bytes", "is more than `low_bytes`: sessions would end before new ones are refused");
    }
    JournalSection {
        low_bytes,
        critical_bytes,
        durability: section
            .one_of("durability", &[("process", Durability::Process), ("disk", Durability::Disk)])
            .unwrap_or_default(),
        segment_bytes: section.number("segment_bytes", 4096..=1 << 30).unwrap_or(defaults.segment_bytes),
        max_bytes: section.number("max_bytes", 65_536..=1 << 60),
        max_age: section.number("max_age_days", 1..=36_500).map(|days| Duration::from_secs(days * 86_400)),
    }
}

pub(super) fn read(audit: &Section<'_, '_>) -> Option<ClickHouse> {
    let section = audit.section("clickhouse");
    let url = if section.is_there() { section.required("url") } else { section.string("url") };
    let endpoint = url.and_then(|url| endpoint(&url).map_err(|reason| section.fault("url", reason)).ok());
    let tls = section.section("tls");
    if tls.is_there() && matches!(endpoint, Some((_, false))) {
        section.fault("tls", "says how a server proves itself: write `https://` in `url`, or leave it out");
    }
    let settings = ClickHouseTls { ca: tls.string("ca").map(PathBuf::from), name: tls.string("name") };
    let database = section.string("database").unwrap_or_else(|| "gateway".to_owned());
    if !is_identifier(&database) {
        section.fault("database", "a database's name is made of letters, digits and `_`, and begins with no digit");
    }
    let user = if section.is_there() { section.required("user") } else { section.string("user") };
    let password = read_secret(&section, "password");
    let batch = section.number("batch", 1..=100_000).unwrap_or(DEFAULT_BATCH);
    let cluster = read_cluster(&section.section("cluster"));
    tls.finish();
    section.finish();
    let (address, encrypted) = endpoint?;
    Some(ClickHouse {
        address,
        tls: encrypted.then_some(settings),
        database,
        user: user?,
        password,
        batch: usize::try_from(batch).unwrap_or(usize::MAX),
        cluster,
    })
}

fn read_cluster(section: &Section<'_, '_>) -> Option<ClickHouseCluster> {
    let name = if section.is_there() { section.required("name") } else { section.string("name") };
    if name.as_deref().is_some_and(|name| !is_name(name)) {
        section.fault("name", "the cluster's name in `remote_servers`: letters, digits, `-`, `_` and `.`");
    }
    let path = section.string("keeper_path").unwrap_or_else(|| DEFAULT_KEEPER_PATH.to_owned());
    // It goes into statements as it is.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.{}".contains(&byte);
    if !path.starts_with('/') || path.ends_with('/') || !path.bytes().all(plain) {
        section.fault(
            "keeper_path",
            "a path as `/clickhouse/tables/{shard}`, of letters, digits, `-`, `_`, `.` and macros",
        );
    } else if !path.contains("{shard}") {
        section
            .fault("keeper_path", "holds no `{shard}`: servers of different shards would be taken for replicas of one");
    }
    section.finish();
    Some(ClickHouseCluster { name: name?, keeper_path: path })
}

/// The address of a url, and whether it asks for TLS.
fn endpoint(url: &str) -> Result<(SocketAddr, bool), String> {
    let parts = url.strip_prefix("https://").map(|rest| (rest, true));
    let (rest, encrypted) = parts
        .or_else(|| url.strip_prefix("http://").map(|rest| (rest, false)))
        .ok_or("write `https://ADDRESS:8443`, or `http://127.0.0.1:8123` for a server on this host")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let host = rest.trim_start_matches('[').trim_end_matches(']');
    let port = if encrypted { HTTPS_PORT } else { HTTP_PORT };
    let address: SocketAddr =
        rest.parse().or_else(|_| host.parse().map(|host| SocketAddr::new(host, port))).map_err(|_| {
            format!("`{rest}` is no address: names are not resolved, write the address, and the certificate's name as `tls.name`")
        })?;
    if !encrypted && !address.ip().is_loopback() {
        return Err("the record and its password would travel in clear: write `https://`".into());
    }
    Ok((address, encrypted))
}

fn is_identifier(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.len() <= 64 && name.bytes().all(word) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}
