//! What an operator may ask, in the words of the wire.
//!
//! In: requests. Out: answers, both as plain data; errors as one sentence that names the fix. No transport and no
//! state here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::access::Rights;
use super::check::{CheckWanted, Checked};
use super::setup::{TestWanted, Tested};
use crate::audit::{Seq, Timestamp};
use crate::capture::gaps::Gap;
use crate::config::reference;
use crate::id::{JournalId, TicketId};

/// Attach a subtree.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachRequest {
    /// Its name.
    pub name: String,
    /// The cgroup, in full or below the mount.
    pub cgroup: PathBuf,
    /// Groups of its workloads.
    pub groups: Vec<String>,
    /// Decide and record, but block nothing.
    pub observe: bool,
    /// The file of the token that says who its workloads are.
    pub token_file: Option<PathBuf>,
    /// Leave connections open that were there before.
    pub keep_existing: bool,
    /// Gaps that are accepted beside the configuration's.
    pub accept_gaps: Vec<String>,
    /// The user that will run in it, where nobody does yet.
    pub runs_as: Option<u32>,
    /// It goes, with its cgroup, once the process that asks has ended and nobody is left in it.
    pub tied: bool,
}

/// Make a cgroup for the one who asks, and move them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecRequest {
    /// Its name.
    pub name: String,
    /// The name may get a number where it is taken.
    pub may_number: bool,
}

/// The one who asked is in the cgroup now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Moved {
    /// The attachment's name.
    pub name: String,
    /// The path of the cgroup.
    pub cgroup: String,
    /// Ways around.
    pub gaps: Vec<Gap>,
    /// The system's list of authorities has ours.
    pub trusted: bool,
}

/// Who asks, held so that the number cannot come to mean another process.
#[derive(Debug, Clone)]
pub struct Caller {
    /// By SO_PEERCRED.
    pub uid: u32,
    /// By SO_PEERCRED.
    pub pid: i32,
    /// A pidfd.
    pub held: Arc<OwnedFd>,
}

/// What is in force now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// Ways around that were accepted.
    pub gaps: Vec<Gap>,
    /// Connections that were open before.
    pub existing: ExistingConnections,
    /// Why its connections are all refused for now, where they are.
    #[serde(default)]
    pub closed: Option<String>,
}

/// Connections to protected destinations that were open before the hooks were in force.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ExistingConnections {
    /// Where they went.
    pub destinations: Vec<SocketAddr>,
    /// How many of them were ended.
    pub cut: usize,
}

/// What is open again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Detached {
    /// The attachment's name.
    pub name: String,
    /// The path of its cgroup.
    pub cgroup: String,
}

/// A person's say on a held request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Which request.
    pub ticket: TicketId,
    /// Yes or no.
    pub approve: bool,
    /// In their words.
    pub reason: Option<String>,
}

/// A window that a person asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowWanted {
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
}

/// A window that a person ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    /// The request for it.
    pub window: TicketId,
    /// In their words.
    pub reason: Option<String>,
}

/// How everything stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Whether protected destinations can be reached at all.
    pub engine_runs: bool,
    /// All that is attached.
    pub attachments: Vec<AttachmentStatus>,
    /// Names of gaps that the configuration accepts.
    pub accepted_gaps: BTreeSet<String>,
    /// Gaps of the host, whatever is attached.
    #[serde(default)]
    pub gaps: Vec<Gap>,
    /// How far the copy of the journal is; none: there is no copy.
    #[serde(default)]
    pub shipping: Option<Shipping>,
    /// How far those are who are told of events.
    #[serde(default)]
    pub feeds: Vec<Shipping>,
    /// What the engine does; `None`: it does not answer.
    #[serde(default)]
    pub work: Option<Work>,
    /// Where the configuration in force comes from, and what else is to be said of it.
    #[serde(default)]
    pub configuration: Vec<String>,
}

/// What the engine did since it started, and does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Sessions that run, by attachment.
    pub sessions: BTreeMap<String, u64>,
    /// Decisions by their word: `allow`, `deny`, `hold`, `would_deny`, `would_hold`.
    pub decisions: BTreeMap<String, u64>,
    /// Requests that wait for people.
    pub approvals: usize,
    /// Windows that are open.
    pub windows: usize,
}

/// The configuration that is in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConfigurationShown {
    /// Where it comes from; `None`: no file was there.
    pub file: Option<PathBuf>,
    /// When it was put in force; `None`: no gateway runs, and this is what one would begin with.
    pub since: Option<Timestamp>,
    /// What else has a say, and what the file says by now.
    pub notes: Vec<String>,
    /// All settings.
    pub tables: Vec<reference::Table>,
}

/// How far the copy of the journal is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipping {
    /// Where it is: `https://10.0.0.9:8443/gateway`.
    pub store: String,
    /// The process that copies, where one runs.
    pub pid: Option<u32>,
    /// The journals that are written now, and those that are behind.
    pub journals: Vec<ShippedJournal>,
    /// Lines that are not copied yet.
    pub lag_events: u64,
    /// Seconds since the oldest of them was written.
    pub lag_secs: u64,
    /// Why it is behind, where that is known.
    pub error: Option<String>,
}

/// How far one journal was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippedJournal {
    /// The journal.
    pub journal: JournalId,
    /// The last line that the store has acknowledged; zero: none.
    pub shipped: Seq,
    /// The last line.
    pub written: Seq,
}

/// How an attachment stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttachmentStatus {
    /// Its name.
    pub name: String,
    /// Its cgroup.
    pub cgroup: String,
    /// It decides and records, but blocks nothing.
    pub observe: bool,
    /// Processes in it.
    pub processes: u32,
    /// Ways around.
    pub gaps: Vec<Gap>,
    /// What the kernel side did, by reason.
    pub counts: BTreeMap<String, u64>,
    /// Seconds since its hooks were looked at.
    pub looked_secs: u64,
    /// What was wrong with them.
    pub degraded: Option<String>,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// With the reason, causes included.
    #[error("{0}")]
    Refused(String),
}

impl From<crate::warden::WardenError> for OperatorError {
    fn from(error: crate::warden::WardenError) -> Self {
        Self::Refused(crate::chain::chain(&error))
    }
}

/// Who carries out what operators ask.
pub trait Operator: Clone + Send + Sync + 'static {
    /// Attaches a subtree.
    ///
    /// # Errors
    /// With the reason; nothing is in force then.
    fn attach(
        &self,
        caller: &Caller,
        request: AttachRequest,
    ) -> impl Future<Output = Result<Attached, OperatorError>> + Send;

    /// Moves the one who asks into an attached cgroup that goes with them.
    ///
    /// # Errors
    /// With the reason; they are where they were then.
    fn exec(&self, caller: &Caller, request: ExecRequest) -> impl Future<Output = Result<Moved, OperatorError>> + Send;

    /// Opens an attachment's gate for good.
    ///
    /// # Errors
    /// Where nothing has the name.
    fn detach(&self, name: &str) -> impl Future<Output = Result<Detached, OperatorError>> + Send;

    /// Reads policies anew.
    ///
    /// # Errors
    /// With all faults; the old ones stay in force.
    fn reload(&self) -> impl Future<Output = Result<(), OperatorError>> + Send;

    /// The sessions that run.
    ///
    /// # Errors
    /// Where no engine runs.
    fn sessions(&self) -> impl Future<Output = Result<serde_json::Value, OperatorError>> + Send;

    /// The requests that wait for people: for root all, else those that this user votes on.
    ///
    /// # Errors
    /// Where no engine runs.
    fn approvals(&self, uid: u32) -> impl Future<Output = Result<serde_json::Value, OperatorError>> + Send;

    /// One request that this user votes on, with the session so far.
    ///
    /// # Errors
    /// Where there is no such, or no engine runs.
    fn approval(
        &self,
        uid: u32,
        ticket: TicketId,
    ) -> impl Future<Output = Result<serde_json::Value, OperatorError>> + Send;

    /// Puts a person's request for a window before those who approve it, or opens it at once in an emergency.
    ///
    /// # Errors
    /// Where the configuration does not have it so, or no engine runs.
    fn window(
        &self,
        uid: u32,
        wanted: WindowWanted,
    ) -> impl Future<Output = Result<serde_json::Value, OperatorError>> + Send;

    /// The windows that are open.
    ///
    /// # Errors
    /// Where no engine runs.
    fn windows(&self) -> impl Future<Output = Result<serde_json::Value, OperatorError>> + Send;

    /// Ends a window.
    ///
    /// # Errors
    /// Where it is not this user's to end, or no engine runs.
    fn revoke(&self, uid: u32, ending: Ending)
    -> impl Future<Output = Result<serde_json::Value, OperatorError>> + Send;

    /// Takes the say of an OS user, whom the socket has looked at.
    ///
    /// # Errors
    /// Where the user votes for no group, their uid is not theirs alone, or no engine runs.
    fn decide(
        &self,
        uid: u32,
        decision: Decision,
    ) -> impl Future<Output = Result<serde_json::Value, OperatorError>> + Send;

    /// What credentials may do at their servers beyond what policies permit.
    ///
    /// # Errors
    /// Where a target is not declared, or no engine runs.
    fn check_targets(
        &self,
        uid: u32,
        wanted: CheckWanted,
    ) -> impl Future<Output = Result<Checked, OperatorError>> + Send;

    /// Whether an attachment is set up well, tried from inside.
    ///
    /// # Errors
    /// Where no engine runs, or nothing could be recorded.
    fn test(&self, uid: u32, wanted: TestWanted) -> impl Future<Output = Result<Tested, OperatorError>> + Send;

    /// How everything stands.
    fn status(&self) -> impl Future<Output = Status> + Send;

    /// The configuration that is in force.
    fn configuration(&self) -> ConfigurationShown;

    /// What an OS user may do besides root.
    fn rights(&self, uid: u32) -> Rights;

    /// The attachment that a cgroup belongs to.
    fn attached_as(&self, cgroup: &str) -> Option<String>;

    /// The cgroup of a process.
    fn cgroup_of(&self, pid: i32) -> Option<String>;
}
