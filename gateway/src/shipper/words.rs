//! What warden and shipper say to each other over their bridge.
//!
//! In and out: the same. The shipper is the less trusted end: it names no path, address or file, and the warden believes
//! no place that does not fit the segment that it handed over.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::audit::clickhouse::Place as Copied;
use crate::bridge::FiledAs;
use crate::config::{FeedFormat, FeedTransport, Place, System, WebhookFormat};
use crate::id::{HostId, JournalId};

/// What the warden tells the shipper.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToShipper {
    /// First of all. With it: a file that holds the `Task`.
    Start,
    /// Copy what follows, some batches at most. With it: the segment.
    Ship {
        /// Whose segment.
        journal: JournalId,
        /// What was copied before.
        from: Copied,
    },
    /// The answer to `ToWarden::Dial`. With it, where it worked: a connected socket.
    Socket {
        /// The number of the request.
        request: u64,
        /// Why there is none.
        error: Option<String>,
    },
}

/// What the shipper tells the warden.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToWarden {
    /// Ready to copy.
    Ready,
    /// The settings cannot be used; the process ends.
    CannotStart(String),
    /// A connection to the store is wanted.
    Dial {
        /// Comes back with the answer.
        request: u64,
    },
    /// A request that waits is a ticket there now. What is told after it was done after it.
    Filed(FiledAs),
    /// The store keeps a batch, and more is under way.
    Kept {
        /// Up to here.
        place: Copied,
    },
    /// The store keeps all that was under way.
    Shipped {
        /// Up to here.
        place: Copied,
        /// How long the segment was when there was no more in it: what is left up to there is no line.
        end: Option<u64>,
        /// Why what follows can never be copied.
        stuck: Option<String>,
    },
    /// It may keep nothing of what it was not said to keep.
    Failed(String),
}

/// What a process of this kind is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// All of the journal goes to ClickHouse.
    Copy(Settings),
    /// Some of it is told to somebody who listens.
    Feed(FeedSettings),
}

impl Task {
    /// Which server it is dialled to: host and port.
    #[must_use]
    pub fn server(&self) -> String {
        match self {
            Self::Copy(settings) => settings.address.to_string(),
            Self::Feed(FeedSettings {
                to: FeedTo::Webhook { url, .. } | FeedTo::Tickets(TicketsTo { url, .. }),
                ..
            }) => url.server(),
            Self::Feed(FeedSettings { to: FeedTo::Syslog { server, .. }, .. }) => server.server(),
        }
    }
}

/// What telling takes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedSettings {
    /// This installation.
    pub host: HostId,
    /// Its name, for people.
    pub host_name: String,
    /// To whom.
    pub to: FeedTo,
    /// Kinds of events that are told; none: all.
    pub kinds: Vec<String>,
    /// Verdicts that are told, of events with one; none: all.
    pub verdicts: Vec<String>,
    /// Authorities that sign its server, in PEM.
    pub ca: Option<Vec<u8>>,
}

/// Who is told, and how.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedTo {
    /// Requests over TLS.
    Webhook {
        /// Where they go.
        url: Place,
        /// In which words.
        format: WebhookFormat,
        /// What they are signed with.
        secret: Option<Vec<u8>>,
        /// The value of their `Authorization`.
        authorization: Option<Vec<u8>>,
        /// Where people decide: a link for those who read of what waits.
        console: Option<String>,
        /// They decide there, too.
        buttons: bool,
    },
    /// Tickets.
    Tickets(TicketsTo),
    /// Messages of syslog.
    Syslog {
        /// Where it listens.
        server: Place,
        /// Whether over TLS.
        transport: FeedTransport,
        /// In which words.
        format: FeedFormat,
        /// The longest, in bytes.
        max_bytes: usize,
    },
}

/// What making tickets takes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketsTo {
    /// The name of the system in the configuration.
    pub name: String,
    /// Where it is.
    pub url: Place,
    /// Whose words it understands, and where in it tickets are made.
    pub system: System,
    /// The value of `Authorization`.
    pub authorization: Vec<u8>,
    /// The fields of a ticket, as JSON.
    pub template: Option<String>,
    /// Where people decide.
    pub console: Option<String>,
}

/// What copying takes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// This installation.
    pub host: HostId,
    /// Its name, for people.
    pub host_name: String,
    /// Where the store listens.
    pub address: SocketAddr,
    /// How it proves to be itself.
    pub tls: Option<StoreTls>,
    /// The database.
    pub database: String,
    /// The login that adds rows.
    pub user: String,
    /// Its password.
    pub password: Option<Vec<u8>>,
    /// Lines in one insert, at most.
    pub batch: usize,
}

/// How the store proves to be itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreTls {
    /// Authorities that sign it, in PEM.
    pub ca: Option<Vec<u8>>,
    /// The name in its certificate; `None`: the address.
    pub name: Option<String>,
}

impl std::fmt::Debug for FeedSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FeedSettings")
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Settings")
    }
}
