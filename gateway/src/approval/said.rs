//! What the desk says: what became of a request, and why something is not done.

use crate::audit::JournalError;
use crate::id::TicketId;

/// Why something is not done at the desk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// There is no such ticket, or no longer.
    #[error("no request waits under `{ticket}`: `gateway approvals` lists what waits")]
    NoSuchTicket {
        /// The id.
        ticket: TicketId,
    },
    /// The person is in none of the groups.
    #[error("{person} is in none of the groups that it needs: {}", .needed.join(", "))]
    NotAsked {
        /// Who.
        person: String,
        /// The groups.
        needed: Vec<String>,
    },
    /// The person has voted.
    #[error("{person} has voted on it already: it needs somebody else")]
    Voted {
        /// Who.
        person: String,
    },
    /// It is denied, or the vote would add nothing.
    #[error("it is decided already: it was {how}")]
    Decided {
        /// How.
        how: String,
    },
    /// The person asks for it.
    #[error("{person} is who asks for it: somebody else has to say yes")]
    OwnRequest {
        /// Who.
        person: String,
    },
    /// The yes says not why.
    #[error("a yes to it has to say why: add --reason")]
    NoReason,
    /// It is not the time for a yes.
    #[error("a yes to it counts only {hours}, in UTC")]
    Closed {
        /// When it does.
        hours: String,
    },
    /// It is decided, and may not outlive the gateway.
    #[error("it is decided so, but could not be kept over a restart of the gateway: {reason}")]
    NotKept {
        /// Why.
        reason: String,
    },
    /// What is not recorded does not count.
    #[error("the vote could not be recorded, so it does not count: {reason}")]
    Unrecorded {
        /// The journal's reason.
        reason: String,
    },
    /// Too many wait.
    #[error("as many requests wait for approval as may: decide some first")]
    Full,
}

/// A request that was made before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It waits.
    Waiting(TicketId),
    /// It may go on, once.
    Approved(TicketId),
    /// Somebody said no, which stands until its time is over.
    Denied {
        /// The request.
        ticket: TicketId,
        /// Who.
        person: String,
        /// Why.
        reason: Option<String>,
    },
}

/// Why nobody is asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// What is not recorded is not asked.
    #[error(transparent)]
    Unrecorded(JournalError),
    /// The desk does not take it.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

/// What a wait came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It may go on, once.
    Approved,
    /// Somebody said no.
    Denied {
        /// Who.
        person: String,
        /// Why.
        reason: Option<String>,
    },
    /// Nobody decided in time.
    Expired,
}
