//! The configuration file.
//!
//! In: the text of `gateway.toml`. Out: sections as they are used, valid by construction. Unknown keys are errors, all
//! faults are reported at once, and a file with one changes nothing that is running. Opens no file that it names.

mod approval;
mod attach;
mod audit;
mod console;
mod egress;
mod error;
mod metrics;
mod oidc;
pub mod reference;
mod ssh;
pub(crate) mod table;
mod target;
mod tickets;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use approval::{ApprovalSection, HostApprovers, OnHold, WindowRule};
pub use attach::{Attach, is_name};
pub use audit::{
    ClickHouse, ClickHouseCluster, ClickHouseTls, Feed, FeedFormat, FeedTransport, Syslog, Transport, Webhook,
    WebhookFormat,
};
pub use console::{Console, Slack, SlackPerson};
pub use egress::{AllowedName, AllowedNetwork, Egress, NamePattern, is_host_name};
pub use error::{ConfigError, Fault};
pub use oidc::{ALGORITHMS, Oidc, Place};
pub use ssh::{Shell, SshServer};
pub use target::{CredentialSource, MaskedBy, SecretSource, Target, Tls, TlsMode};
pub use tickets::{System, TicketSystem};

pub use table::duration_of;
use table::{Section, Source};

/// Where the configuration is looked for when none is named.
pub const DEFAULT_FILE: &str = "/etc/gateway/gateway.toml";
/// Where state is kept by default (file-hierarchy(7)).
const DEFAULT_STATE_DIR: &str = "/var/lib/gateway";

/// A whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Journal, keys and the host's id.
    pub state_dir: PathBuf,
    /// Names of gaps that the operator lives with (G1, G7).
    pub accept_gaps: BTreeSet<String>,
    /// Where policies are.
    pub policy: PolicySection,
    /// What is masked: the path of `masking.toml`; `None`: the shipped detectors, and no labels.
    pub masking: Option<PathBuf>,
    /// The journal on this host.
    pub journal: JournalSection,
    /// Where seals are told; `None`: nowhere.
    pub syslog: Option<Syslog>,
    /// Where the journal is copied to; `None`: the record is on this host alone.
    pub clickhouse: Option<ClickHouse>,
    /// Who is told of events as they happen.
    pub webhooks: Vec<Webhook>,
    /// Syslog servers that are told of them.
    pub feeds: Vec<Feed>,
    /// Systems in which what waits is a ticket.
    pub tickets: Vec<TicketSystem>,
    /// How requests wait for people.
    pub approval: ApprovalSection,
    /// Who vouches for runtimes; `None`: nobody does.
    pub oidc: Option<Oidc>,
    /// The page for people; `None`: there is none.
    pub console: Option<Console>,
    /// Where numbers, health and readiness are asked for; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Who runs commands by `exec` without root.
    pub exec_users: BTreeSet<String>,
    /// What leaves besides protected connections.
    pub egress: Egress,
    /// Connections to destinations that no target names.
    pub undeclared: Undeclared,
    /// Who is intercepted.
    pub attachments: Vec<Attach>,
    /// What is declared.
    pub targets: Vec<Target>,
}

/// `[policy]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicySection {
    /// Directory of `*.cedar` files; `None`: the shipped `open` policies.
    pub dir: Option<PathBuf>,
    /// Ids of shipped forbids that are off; shown by `status`.
    pub disable: Vec<String>,
}

/// `[audit.journal]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalSection {
    /// How sure a line is before its request goes on.
    pub durability: Durability,
    /// A segment that is longer is followed by another one; the whole one is compressed.
    pub segment_bytes: u64,
    /// With less than this left on the disk no session begins; 0: never.
    pub low_bytes: u64,
    /// And with less than this those that run end.
    pub critical_bytes: u64,
    /// With more than this on the disk the oldest segments are removed; `None`: never.
    pub max_bytes: Option<u64>,
    /// Segments that ended longer ago are removed; `None`: never.
    pub max_age: Option<Duration>,
}

impl Default for JournalSection {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            // Compressed, a few mebibytes: small enough to be read through for one session.
            segment_bytes: 64 << 20,
            // A full disk lets nothing through anyway; how early is early enough depends on the disk.
            low_bytes: 0,
            critical_bytes: 0,
            max_bytes: None,
            max_age: None,
        }
    }
}

/// `durability`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// Written to the file before the request goes on: survives our death, not power loss.
    #[default]
    Process,
    /// On disk before the request goes on.
    Disk,
}

/// `[undeclared]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undeclared {
    /// How a client logs in to a Postgres server that no target names.
    pub postgres: Login,
}

/// `login`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// The client's own login goes through us, where its mechanism allows that.
    Relay,
    /// The client's password is asked for in clear over our TLS and used once, upstream.
    Ask,
    /// Nobody gets there.
    Deny,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: DEFAULT_STATE_DIR.into(),
            accept_gaps: BTreeSet::new(),
            policy: PolicySection::default(),
            masking: None,
            journal: JournalSection::default(),
            syslog: None,
            clickhouse: None,
            webhooks: Vec::new(),
            feeds: Vec::new(),
            tickets: Vec::new(),
            approval: ApprovalSection::default(),
            oidc: None,
            console: None,
            metrics: None,
            exec_users: BTreeSet::new(),
            egress: Egress {
                allow_by_default: true,
                allow: Vec::new(),
                names: Vec::new(),
                passthrough: Vec::new(),
                unix: Vec::new(),
            },
            undeclared: Undeclared { postgres: Login::Relay },
            attachments: Vec::new(),
            targets: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a file's text; `file` is its name for messages.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let (source, table) = Source::parse(text);
        let root = Section::root(&source, &table);
        let config = read(&root);
        root.finish();
        let faults = source.into_faults();
        if faults.is_empty() { Ok(config) } else { Err(ConfigError { file: file.to_owned(), faults }) }
    }

    /// Groups that it names: of workloads and of approvers.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        let of_workloads = self.attachments.iter().flat_map(|attach| &attach.groups);
        of_workloads.chain(self.approval.host.values().flatten()).map(String::as_str)
    }

    /// The target that names a destination, if any: the one with the longest matching network.
    #[must_use]
    pub fn target_of(&self, destination: std::net::SocketAddr, attachment: &str) -> Option<&Target> {
        let of = |target: &&Target| target.serves(attachment) && target.ports.contains(&destination.port());
        let best = |target: &Target| target.longest_match(destination.ip());
        self.targets.iter().filter(of).filter(|target| best(target).is_some()).max_by_key(|target| best(target))
    }
}

fn read(root: &Section<'_, '_>) -> Config {
    let defaults = Config::default();
    if root.number("version", 1..=1).is_none() {
        root.fault("version", "write `version = 1`: it says which reading of the file was meant");
    }
    let policy = root.section("policy");
    let masking = root.section("masking");
    let audit = root.section("audit");
    let journal = audit.section("journal");
    let identity = root.section("identity");
    let egress = root.section("egress");
    let undeclared = root.section("undeclared");
    let postgres = undeclared.section("postgres");
    let webhooks = audit::read_webhooks(&audit, root.section("console").section("slack").is_there());
    let feeds = audit::read_feeds(&audit, &webhooks);
    let told: Vec<_> = webhooks.iter().map(|one| &*one.name).chain(feeds.iter().map(|one| &*one.name)).collect();
    let (approval, tickets) = approval::read(root, &told);
    let config = Config {
        state_dir: root.string("state_dir").map_or(defaults.state_dir, PathBuf::from),
        accept_gaps: root.strings("accept_gaps").into_iter().collect(),
        policy: PolicySection { dir: policy.string("dir").map(PathBuf::from), disable: policy.strings("disable") },
        masking: masking.string("file").map(PathBuf::from),
        journal: audit::read_journal(&journal),
        syslog: audit::read_syslog(&audit),
        clickhouse: audit::read(&audit),
        feeds,
        webhooks,
        tickets,
        approval,
        oidc: oidc::read(&identity),
        console: console::read(root),
        metrics: metrics::read(root),
        exec_users: approval::exec_users(root),
        egress: egress::read(&egress),
        undeclared: Undeclared {
            postgres: postgres
                .one_of("login", &[("relay", Login::Relay), ("ask", Login::Ask), ("deny", Login::Deny)])
                .unwrap_or(Login::Relay),
        },
        attachments: attach::read(root),
        targets: target::read(root),
    };
    if config.oidc.is_none() && config.attachments.iter().any(|attach| attach.token_file.is_some()) {
        identity.fault("oidc", "an attachment has a `token_file`, and nobody says who may have issued what is in it");
    }
    if config.console.is_some() && config.oidc.is_none() {
        root.fault("console", "nobody says who people are: add [identity.oidc]");
    }
    egress::check(&egress, &config);
    approval::check_windows(root, &config);
    for section in [identity, policy, masking, journal, audit, egress, postgres, undeclared] {
        section.finish();
    }
    config
}

#[cfg(test)]
mod tests;
