//! What people ask of the engine, through the warden, which has looked at who they are.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::TicketId;

/// What an operator may ask the engine.
#[derive(Debug, Serialize, Deserialize)]
pub enum Question {
    /// The sessions that run.
    Sessions,
    /// The requests that wait for people.
    Approvals {
        /// Those that need one of these groups; `None`: all.
        of_groups: Option<Vec<String>>,
    },
    /// A person's say on one.
    Decide(Decide),
    /// A person asks for a window.
    Window(WindowRequest),
    /// The windows that are open.
    Windows,
    /// A person ends a window, or takes back the request for one.
    Revoke(Revoke),
    /// The policies in force.
    Policies,
    /// Numbers of what it did and what waits.
    Counts,
    /// What credentials may do at their servers.
    Powers(PowersOf),
    /// Which of these actions policies permit to nobody, by target.
    Closed(Vec<String>),
    /// A person comes back from the issuer to the console.
    LogIn {
        /// What they bring.
        said: LogIn,
        /// Where the warden was asked for the nonce of it.
        begun: Begun,
    },
    /// A person wants a device code of the issuer.
    BeginDevice,
    /// Whether somebody typed the code of this login at the issuer.
    PollDevice(String),
    /// One did not get so far.
    LoginFailed(LoginFault),
    /// Somebody who says to be Slack.
    Slack(SlackSaid),
    /// A request is a ticket in another system, too.
    Filed(FiledAs),
}

/// Where a login ended that let nobody in; with a fixed set of words, so that who fails often writes little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LoginFault {
    /// It was not begun in this browser, or long ago, or a token came for it before.
    NotBegunHere,
    /// Another issuer than the configured one answered.
    OtherIssuer,
    /// The issuer answered the browser with an error, or gave no token for its code.
    NoToken,
    /// The issuer's keys cannot be had.
    NoKeys,
    /// The token is for somebody else, for another login, of another time or of another's making.
    TokenRefused,
    /// No login: what was said to come from Slack was not signed by it, old, or taken before.
    NotSigned,
    /// The gateway itself: its configuration or its journal.
    Gateway,
}

impl LoginFault {
    /// As the journal has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NotBegunHere => "not_begun_here",
            Self::OtherIssuer => "other_issuer",
            Self::NoToken => "no_token",
            Self::NoKeys => "no_keys",
            Self::TokenRefused => "token_refused",
            Self::NotSigned => "slack_not_signed",
            Self::Gateway => "gateway",
        }
    }
}

/// Where a login was begun. The issuer knows a client for each, and a token that was issued to the one is none for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Begun {
    /// On a page of the console.
    Browser,
    /// By `gateway login`.
    CommandLine,
}

/// What a person brings to the console, unread.
#[derive(Clone, Serialize, Deserialize)]
pub struct LogIn {
    /// The issuer's ID token.
    pub token: String,
    /// What the warden gave for this login: the token has to say it.
    pub nonce: String,
}

impl std::fmt::Debug for LogIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogIn")
    }
}

/// A request as a ticket of another system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiledAs {
    /// The request.
    pub ticket: TicketId,
    /// The name of the system in the configuration.
    pub system: String,
    /// What the ticket is called there.
    pub key: String,
    /// Where people read it.
    pub url: String,
}

/// What came to the console as Slack's, unread.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SlackSaid {
    /// `X-Slack-Request-Timestamp`
    pub timestamp: String,
    /// `X-Slack-Signature`
    pub signature: String,
    /// The body, byte for byte.
    pub body: String,
}

/// Who that is, as the issuer signed it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoggedIn {
    /// Who.
    pub person: Person,
    /// When the issuer last asked them who they are, in seconds from 1970.
    pub since: u64,
}

/// A person's say on a held request, whom the warden has looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Decide {
    /// Which request.
    pub ticket: TicketId,
    /// Yes or no.
    pub approve: bool,
    /// Who.
    pub person: Person,
    /// In their words.
    pub reason: Option<String>,
}

/// Whose powers a person asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PowersOf {
    /// Names of declared targets.
    pub targets: Vec<String>,
    /// Who asks.
    pub person: Person,
}

/// A person asks for a window, and was looked at by the warden.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WindowRequest {
    /// Its name in the configuration.
    pub name: String,
    /// For which workload, or for all of an attachment.
    pub workload: String,
    /// To which target.
    pub target: String,
    /// For how long.
    pub time: Duration,
    /// Why.
    pub reason: String,
    /// It is to open at once.
    pub break_glass: bool,
    /// Who asks.
    pub person: Person,
}

/// A person ends a window.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revoke {
    /// The request for it.
    pub window: TicketId,
    /// Who.
    pub person: Person,
    /// In their words.
    pub reason: Option<String>,
}

/// A person, whom the warden has looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Who.
    pub name: String,
    /// Their number on this host.
    pub uid: Option<u32>,
    /// Issuer and subject, where a token says who they are.
    pub subject: Option<(String, String)>,
    /// The groups that they are in.
    pub groups: Vec<String>,
    /// Where it was said.
    pub channel: String,
    /// How the channel knew the person.
    pub known_by: String,
}
