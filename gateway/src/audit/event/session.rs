//! Events of a session: who connects where to, what policy said, how it ended.
//!
//! In: facts from capture, identity and policy. Out: bodies of lines. Texts of requests never stand here, decision
//! inputs only as `KeptInput`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::host::Mode;
use crate::audit::kept::{Kept, KeptInput};
use crate::audit::time::Timestamp;
use crate::id::{SessionId, TicketId};

/// Who connects. Executable, uid and pid are attribution: any process of a cgroup can be another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Who {
    /// The attachment.
    pub attachment: String,
    /// Stable name of the workload.
    pub workload: String,
    /// This run of it.
    pub workload_instance: String,
    /// Path of the cgroup.
    pub cgroup: String,
    /// Container and pod, where there is one.
    pub container: Option<Container>,
    /// User on the host.
    pub uid: u32,
    /// Process on the host.
    pub pid: u32,
    /// Its executable.
    pub executable: String,
    /// The token bound to it, where there is one.
    pub token: Option<Token>,
    /// Groups that policies see.
    pub groups: Vec<String>,
}

/// A container, and the pod around it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// Its image.
    pub image: String,
    /// Namespace of the pod.
    pub pod_namespace: String,
    /// Name of the pod.
    pub pod_name: String,
    /// Its uid, which the cgroup's path carries.
    pub pod_uid: String,
}

/// A verified token; never the token itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Who issued it.
    pub issuer: String,
    /// For whom.
    pub subject: String,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

/// The token that an attachment is bound to was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenVerified {
    /// Its name.
    pub attachment: String,
    /// What it says.
    #[serde(flatten)]
    pub token: Token,
}

/// It does not count: connections of the attachment are refused, and its sessions end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRefused {
    /// The attachment's name.
    pub attachment: String,
    /// Why; the token itself is not quoted.
    pub reason: String,
}

/// A person logged in at the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleLogin {
    /// Who, as votes name them.
    pub person: String,
    /// Who said so.
    pub issuer: String,
    /// For whom.
    pub subject: String,
    /// The groups that they are in.
    pub groups: Vec<String>,
}

/// Logins at the console that let nobody in, since the last line of the kind: at most one a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleLoginFailed {
    /// How many, by why: a fixed set of words.
    pub failed: BTreeMap<String, u64>,
}

/// Where to, as the client asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Original address.
    pub address: IpAddr,
    /// Original port.
    pub port: u16,
    /// Name of the protocol; `tcp` or `udp` where none is known.
    pub protocol: String,
    /// Name of the declared target; none: undeclared.
    #[serde(default)]
    pub target: Option<String>,
    /// Its environment.
    #[serde(default)]
    pub environment: Option<String>,
    /// The server's name, where one is known.
    #[serde(default)]
    pub name: Option<String>,
}

impl Destination {
    /// One that is not declared.
    #[must_use]
    pub fn of(address: SocketAddr, protocol: &str) -> Self {
        let (protocol, port) = (protocol.to_owned(), address.port());
        Self { address: address.ip(), port, protocol, target: None, environment: None, name: None }
    }
}

/// What policy said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Sent on.
    Allow,
    /// Refused.
    Deny,
    /// Waits for a person.
    Hold,
    /// Sent on, since the attachment only observes.
    WouldDeny,
    /// Sent on, since the attachment only observes.
    WouldHold,
}

impl Verdict {
    /// All of them, with their words in the journal.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Allow, "allow"),
        (Self::Deny, "deny"),
        (Self::Hold, "hold"),
        (Self::WouldDeny, "would_deny"),
        (Self::WouldHold, "would_hold"),
    ];
}

/// A decision with all that it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The answer.
    pub verdict: Verdict,
    /// Policies that made it.
    pub policies: Vec<Arc<str>>,
    /// Hash of the set in force.
    pub policy_set: Arc<str>,
    /// Counts the sets of this process.
    pub epoch: u64,
    /// What the client reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The ticket that it waits for or used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketId>,
    /// Open windows and exceptions that it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
    /// Principal, action, resource, context.
    pub input: KeptInput,
}

/// A connect that was let through unseen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConnect {
    /// Who.
    pub who: Who,
    /// Where to.
    pub destination: Destination,
    /// Connects like it since the last such event.
    pub count: u64,
}

/// A connect, datagram or packet that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRefused {
    /// Who; of a dropped packet the cgroup alone.
    pub who: Who,
    /// Where to.
    pub destination: Destination,
    /// Why, in the words of `network.bypass`.
    pub reason: String,
    /// Others like it since the last such event, this one included.
    pub count: u64,
}

/// A question for a name that was not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsRefused {
    /// Who.
    pub who: Who,
    /// The server that was meant.
    pub destination: Destination,
    /// What was asked for, with what detectors find in it masked; empty where that could not be read.
    pub question: Kept,
    /// What kind of record, as in `AAAA`.
    pub record_type: String,
    /// Why.
    pub reason: String,
    /// Questions like it since the last such event.
    pub count: u64,
}

/// A decision to connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkDecision {
    /// Where to.
    pub destination: Destination,
    /// The decision.
    pub decision: Decision,
}

/// How a session begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStart {
    /// Who.
    pub who: Who,
    /// Where to.
    pub destination: Destination,
    /// The session that this one runs inside of.
    #[serde(default)]
    pub parent: Option<SessionId>,
    /// Enforce or observe.
    #[serde(default)]
    pub mode: Mode,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// The client closed.
    Client,
    /// The server closed or failed.
    Server,
    /// Denied, or a policy ended.
    Policy,
    /// A token ended.
    Token,
    /// An approval ended.
    Approval,
    /// An operator ended it.
    Operator,
    /// A message that was not understood.
    Protocol,
    /// A budget was used up.
    Limit,
    /// The disk is full.
    Disk,
    /// The gateway ends.
    Shutdown,
    /// Its task ended without saying why: a fault of ours.
    Dropped,
}

/// What went through a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// To the server.
    pub bytes_sent: u64,
    /// From the server.
    pub bytes_received: u64,
    /// Statements, commands or requests.
    pub requests: u64,
    /// Of these, denied.
    pub denied: u64,
    /// Of these, held.
    pub held: u64,
    /// Rows that the client got.
    pub rows_returned: u64,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnd {
    /// Why.
    pub cause: EndCause,
    /// Since its start.
    pub duration_us: u64,
    /// What went through.
    #[serde(flatten)]
    pub counters: Counters,
}
