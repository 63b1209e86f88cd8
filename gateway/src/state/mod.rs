//! What outlives a process: requests that wait for people, what people said, windows, and the key that binds them.
//!
//! In: changes, in the order in which they happened. Out: what was kept, at the next start. It never takes back that
//! something is gone: what was used, ended or denied once does not come again, in whatever order changes arrive.

pub mod sqlite;

use serde::{Deserialize, Serialize};

use crate::id::TicketId;

/// Something that happened. The texts are their owner's, and mean nothing here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A request waits for people.
    Asked {
        /// Its id.
        ticket: TicketId,
        /// What it is bound to.
        binding: Vec<u8>,
        /// The rest of it.
        text: String,
    },
    /// A person said something, which may change the request too. Nothing happens where that is gone.
    Said {
        /// The request.
        ticket: TicketId,
        /// What was said.
        vote: String,
        /// The request as it is now.
        text: String,
    },
    /// More is known of a request. Nothing happens where it is gone.
    Told {
        /// The request.
        ticket: TicketId,
        /// The request as it is now.
        text: String,
    },
    /// A request was used, or ended.
    Gone {
        /// Its id.
        ticket: TicketId,
    },
    /// A window was opened.
    Opened {
        /// The request for it.
        window: TicketId,
        /// The rest of it.
        text: String,
    },
    /// A window ended.
    Closed {
        /// The request for it.
        window: TicketId,
    },
}

/// What was kept.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The key that binds requests.
    pub key: Vec<u8>,
    /// The requests.
    pub tickets: Vec<KeptTicket>,
    /// The windows.
    pub windows: Vec<String>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

/// A request that waits for people, or was approved and not used yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTicket {
    /// What it is bound to.
    pub binding: Vec<u8>,
    /// The rest of it.
    pub text: String,
    /// What was said, in order.
    pub votes: Vec<String>,
}
