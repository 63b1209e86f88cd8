//! Events of requests: what was asked, what came of it, and who approved it.
//!
//! In: facts from the protocols and from approval, texts only as `Kept`. Out: bodies of lines. Rows, payloads and
//! credentials never stand here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::session::{Decision, Verdict};
use crate::audit::journal::Seq;
use crate::audit::kept::Kept;
use crate::audit::time::Timestamp;
use crate::id::TicketId;

/// What a statement is judged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// To log in.
    Login,
    /// To run at once.
    Query,
    /// To be prepared.
    Parse,
    /// To run with parameters that a person has to see first.
    Bind,
    /// To run a prepared one.
    Execute,
}

/// A statement and its decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostgresStatement {
    /// The database.
    pub database: Arc<str>,
    /// The role on the server.
    pub login: Arc<str>,
    /// What it was judged for.
    pub phase: Phase,
    /// `SELECT`, `DROP TABLE` and the like, the most dangerous first.
    pub command: Arc<str>,
    /// Actions that policy was asked about.
    pub actions: Arc<[String]>,
    /// Relations read, named as the statement names them; resolved they stand in the decision's input.
    pub relations_read: Arc<[String]>,
    /// Relations written, likewise.
    pub relations_written: Arc<[String]>,
    /// Classes of data that it touches.
    pub data_classes: Vec<String>,
    /// The redacted text.
    pub text: Kept,
    /// Redacted parameters.
    pub parameters: Vec<Kept>,
    /// Fingerprint without constants.
    pub fingerprint: Arc<str>,
    /// The decision.
    pub decision: Decision,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Done.
    Ok,
    /// The server said no.
    Error,
    /// We said no.
    Refused,
    /// Cancelled.
    Cancelled,
    /// The connection was lost before the answer.
    Lost,
}

/// What came of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresOutcome {
    /// The line of the statement, in this journal.
    pub request: Seq,
    /// How it ended.
    pub status: Status,
    /// SQLSTATE of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// Rows that the client got.
    #[serde(default)]
    pub rows_returned: u64,
    /// Rows that the server changed.
    #[serde(default)]
    pub rows_affected: u64,
    /// From the request to its answer's end.
    pub duration_us: u64,
    /// Of that, waiting for a person.
    #[serde(default)]
    pub held_us: u64,
    /// Values hidden, by class.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub masked: BTreeMap<String, u64>,
    /// Values shown in the clear, by class.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shown: BTreeMap<String, u64>,
    /// The first rows that the client got, as it got them, where policy has them kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<ResultShown>,
    /// Why there are none of some, or of all, where policy has them kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results_left_out: Option<String>,
}

/// The first rows of one result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultShown {
    /// Names of its columns; none of COPY.
    pub columns: Vec<String>,
    /// Values of each row, as texts; of COPY its lines.
    pub rows: Vec<Vec<Option<String>>>,
    /// Rows that came behind them.
    #[serde(default)]
    pub more: u64,
}

/// A held request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRequested {
    /// The ticket.
    pub ticket: TicketId,
    /// The line of the request, in this journal.
    pub request: Seq,
    /// Who asks: the workload, or of a window the one that it is for.
    #[serde(default)]
    pub workload: String,
    /// Where to: target and database, host or namespace.
    #[serde(default)]
    pub destination: String,
    /// What the approver reads.
    pub summary: Kept,
    /// How many rows it has changed already, where its commit is what waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
    /// What it would change: fields before and after, as far as they are shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Keyed hash of the request and what it means.
    pub binding: String,
    /// Policies that hold it.
    pub policies: Vec<String>,
    /// Groups that must approve.
    pub groups: Vec<String>,
    /// How many votes.
    pub needed: u32,
    /// When it ends by itself.
    pub expires: Timestamp,
}

/// A person's vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalDecided {
    /// The ticket.
    pub ticket: TicketId,
    /// `allow` or `deny`.
    pub verdict: Verdict,
    /// Issuer and subject, or the OS user.
    pub person: String,
    /// The number of the OS user.
    #[serde(default)]
    pub uid: Option<u32>,
    /// The groups of the ticket that it counts for.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Where it was said: `cli`, `console`, `slack`.
    pub channel: String,
    /// How the channel knew the person.
    #[serde(default)]
    pub known_by: String,
    /// In the person's words.
    #[serde(default)]
    pub reason: Option<Kept>,
}

/// A held request is a ticket in another system, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalFiled {
    /// The ticket.
    pub ticket: TicketId,
    /// The name of the system in the configuration.
    pub system: String,
    /// What the ticket is called there.
    pub key: String,
    /// Where people read it.
    pub url: String,
}

/// The end of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalEnded {
    /// The ticket.
    pub ticket: TicketId,
    /// In words: `sent`, `timeout`, `client left`.
    pub reason: String,
}

/// A window that opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowOpened {
    /// The request for it.
    pub window: TicketId,
    /// Its name in the configuration.
    pub name: String,
    /// For which workload, or for all of an attachment.
    pub workload: String,
    /// To which target.
    pub target: String,
    /// Who asked for it.
    pub person: String,
    /// Who approved it.
    pub approvers: Vec<String>,
    /// Why, in the words of who asked.
    pub reason: Kept,
    /// When it ends by itself.
    pub until: Timestamp,
    /// It was opened in an emergency, by one person alone.
    pub break_glass: bool,
}

/// The end of a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowClosed {
    /// The request for it.
    pub window: TicketId,
    /// Its name in the configuration.
    pub name: String,
    /// For which workload, or for all of an attachment.
    pub workload: String,
    /// To which target.
    pub target: String,
    /// Who ended it, where somebody did.
    #[serde(default)]
    pub person: Option<String>,
    /// Why.
    pub reason: Kept,
}

/// An attachment was tried from inside by a process of the gateway's own, for an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentTested {
    /// Name of the attachment.
    pub attachment: String,
    /// Who asked.
    pub person: String,
    /// The process that tried, where there was one: sessions of its pids are of this test.
    pub pids: Vec<u32>,
    /// What ended as it should: `shop/permits`.
    pub passed: Vec<String>,
    /// What did not.
    pub failed: Vec<String>,
    /// What was not tried.
    pub skipped: Vec<String>,
}

/// What a target's credential may do was asked of its server, for an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetChecked {
    /// Name of the target.
    pub target: String,
    /// The login on the other side.
    pub login: String,
    /// How we knew the server.
    pub server_identity: String,
    /// Who asked.
    pub person: String,
    /// Names of what it may do beyond what policies permit.
    pub beyond: Vec<String>,
    /// Names of what it may do that policies permit to somebody.
    pub permitted: Vec<String>,
    /// Why the server gave no answer, where it gave none.
    #[serde(default)]
    pub error: Option<String>,
}

/// A credential's use; its name only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialUsed {
    /// Name of the credential.
    pub credential: String,
    /// Name of the target.
    pub target: String,
    /// The login on the other side.
    pub login: String,
    /// How we knew the server: `verify-full NAME`, `host key SHA256:…`, `none`.
    pub server_identity: String,
}
