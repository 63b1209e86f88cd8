//! What the warden and the console say to each other.
//!
//! The console is the less trusted end: it reads what browsers send. The warden takes from it what people ask for, never a
//! path, an address or a command; and who they are from tokens that the engine verified, each good for one login.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bridge::{Begun, LogIn, LoginFault, SlackSaid};
use crate::id::TicketId;
use crate::trust::leaf::Leaf;

/// What the warden tells the console.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToConsole {
    /// First of all. With it: the settings, and the socket to listen on.
    Start,
    /// The answer to a question.
    Answer {
        /// The number of the question.
        request: u64,
        /// JSON, or why there is none.
        result: Result<Value, String>,
    },
    /// The answer to `ToWarden::DialIssuer`. With it, where it worked: a connection.
    Socket {
        /// The number of the request.
        request: u64,
        /// Why there is none.
        error: Option<String>,
    },
}

/// What the console tells the warden.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToWarden {
    /// It listens.
    Ready,
    /// It does not; the process ends.
    CannotStart(String),
    /// A connection to the server of the issuer is wanted. Which that is, the warden's own configuration says.
    DialIssuer {
        /// Comes back with the answer.
        request: u64,
        /// Which of those that the configuration names.
        server: u16,
    },
    /// A connection to the server that takes what people read in Slack, which the configuration names.
    DialSlack {
        /// Comes back with the answer.
        request: u64,
    },
    /// Somebody says to be Slack; answered with what the person is to read, and where.
    Slack {
        /// Comes back with the answer.
        request: u64,
        /// What they say.
        said: SlackSaid,
    },
    /// A person is sent to the issuer; answered with the nonce that the issuer's token has to say.
    Begin {
        /// Comes back with the answer.
        request: u64,
        /// Where: what comes back has to be for the client of that.
        begun: Begun,
    },
    /// A person wants a device code; answered with what they have to do.
    BeginDevice {
        /// Comes back with the answer.
        request: u64,
    },
    /// Whether they did it; answered with `waiting`, or a `Login`.
    PollDevice {
        /// Comes back with the answer.
        request: u64,
        /// Which login.
        login: String,
    },
    /// A person has come back; answered with a `Login`.
    LogIn {
        /// Comes back with the answer.
        request: u64,
        /// What the issuer signed.
        said: LogIn,
    },
    /// A person came back with nothing to say; answered when that is counted.
    LoginFailed {
        /// Comes back with the answer.
        request: u64,
        /// Why.
        fault: LoginFault,
    },
    /// A login is over.
    LogOut(u64),
    /// A person wants to know or do something.
    Ask {
        /// Comes back with the answer.
        request: u64,
        /// Whose login it is.
        login: u64,
        /// What.
        wanted: Wanted,
    },
}

/// Somebody who is logged in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Login {
    /// What the warden knows them by.
    pub login: u64,
    /// Who.
    pub name: String,
    /// The groups that they are in.
    pub groups: Vec<String>,
    /// Their word counts for so long.
    pub fresh_for: Duration,
}

/// What a person wants.
#[derive(Debug, Serialize, Deserialize)]
pub enum Wanted {
    /// What waits for one of their groups.
    Approvals,
    /// One of these, with the session so far.
    Approval(TicketId),
    /// A say on one.
    Decide {
        /// Which.
        ticket: TicketId,
        /// Yes or no.
        approve: bool,
        /// In their words.
        reason: Option<String>,
    },
    /// The windows that are open.
    Windows,
    /// A window is to end.
    Revoke(TicketId),
    /// Sessions, the newest first.
    Sessions(Search),
    /// One session, with all that happened.
    Session(String),
    /// What the terminal of one showed, as asciicast.
    Recording {
        /// The session.
        session: String,
        /// The line of the request; the first that has one.
        request: Option<u64>,
    },
    /// The policies in force.
    Policies,
    /// How everything stands.
    Health,
}

/// Which sessions; an empty text asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// Part of the workload's name.
    pub workload: String,
    /// Part of the target's name or address.
    pub target: String,
    /// The protocol.
    pub protocol: String,
    /// A verdict that one of its requests had.
    pub decision: String,
    /// Begun at that day or time or later (RFC 3339, or its beginning).
    pub since: String,
    /// In a statement, command, path or the like of one of its requests, whatever the case.
    pub text: String,
}

/// What the console works with, read by the warden from files that the console cannot open.
#[derive(Clone, Serialize, Deserialize)]
pub struct Settings {
    /// The text of the configuration file.
    pub config: String,
    /// The secret of the client at the issuer.
    pub client_secret: Vec<u8>,
    /// Authorities that sign the issuer's server, in PEM.
    pub ca: Option<Vec<u8>>,
    /// Authorities that sign Slack's server, in PEM.
    pub slack_ca: Option<Vec<u8>>,
    /// What browsers are shown.
    pub leaf: Leaf,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Settings")
    }
}
