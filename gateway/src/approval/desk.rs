//! Where held requests wait, are looked up, voted on, and used up.
//!
//! In: holds, votes, time. Out: each approval at most once, to the request that it was given for. The binding is a keyed
//! hash over the exact bytes and what they mean: any change is a new request.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::ticket::{Approves, Cast, Open, State, Ticket, state};
use crate::audit::JournalError;
use crate::budget::may_take;
use crate::id::TicketId;
use crate::policy::Hold;

/// Tickets of one workload at once: beyond, its holds are denied.
const MAX_PER_WORKLOAD: usize = 64;
/// Tickets of all together: an attachment, whose workloads may be many, has as many at most as are left for the others.
const MAX_TICKETS: u64 = 4_096;

/// What a ticket is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding(Vec<u8>);

impl Binding {
    /// For a binding to more than this.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For the journal.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

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

struct Entry {
    ticket: Ticket,
    binding: Binding,
    votes: Vec<Cast>,
    ends: Instant,
    state: watch::Sender<State>,
}

impl Entry {
    fn admits(&self, cast: &Cast) -> Result<(), DeskError> {
        if cast.counts_for(&self.ticket).is_empty() {
            let needed = self.ticket.needed.iter().map(|(group, _)| group.clone()).collect();
            return Err(DeskError::NotAsked { person: cast.person.clone(), needed });
        }
        match (&*self.state.borrow(), cast.approves) {
            (State::Denied { person, .. }, _) => return Err(DeskError::Decided { how: format!("denied by {person}") }),
            (State::Approved, Approves::Yes) => return Err(DeskError::Decided { how: "approved".into() }),
            _ => {}
        }
        // A person may take a yes back by a no, never add a second yes.
        if cast.approves == Approves::Yes && self.votes.iter().any(|vote| vote.is_same_person(cast)) {
            return Err(DeskError::Voted { person: cast.person.clone() });
        }
        Ok(())
    }
}

/// The desk of an engine.
pub struct Desk {
    key: hmac::Key,
    entries: Mutex<BTreeMap<TicketId, Entry>>,
}

impl Desk {
    /// An empty desk with a key of its own: approvals do not outlive the process.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn new() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?;
        Ok(Self { key, entries: Mutex::default() })
    }

    /// Binds a request: all parts count, each with its length, so that none can pass for another.
    #[must_use]
    pub fn bind<'p>(&self, parts: impl IntoIterator<Item = &'p [u8]>) -> Binding {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        Binding(context.sign().as_ref().to_vec())
    }

    /// Whether the same request was made before and still stands.
    #[must_use]
    pub fn find(&self, binding: &Binding) -> Option<Found> {
        let entries = self.entries.lock();
        let now = Instant::now();
        let entry = entries.values().find(|entry| entry.binding == *binding && entry.ends > now)?;
        let ticket = entry.ticket.id;
        Some(match &*entry.state.borrow() {
            State::Waiting => Found::Waiting(ticket),
            State::Approved => Found::Approved(ticket),
            State::Denied { person, reason } => {
                Found::Denied { ticket, person: person.clone(), reason: reason.clone() }
            }
        })
    }

    /// Puts a request on the desk.
    ///
    /// # Errors
    /// Where too many wait.
    pub fn open(&self, ticket: Ticket, binding: Binding, time: Duration) -> Result<(), DeskError> {
        let mut entries = self.entries.lock();
        let of_workload = entries.values().filter(|entry| entry.ticket.workload == ticket.workload).count();
        let attachment = ticket.attachment();
        let of_attachment = entries.values().filter(|entry| entry.ticket.attachment() == attachment).count();
        if of_workload >= MAX_PER_WORKLOAD || !may_take(of_attachment as u64, entries.len() as u64, MAX_TICKETS) {
            return Err(DeskError::Full);
        }
        let entry = Entry {
            binding,
            votes: Vec::new(),
            ends: Instant::now() + time,
            state: watch::Sender::new(State::Waiting),
            ticket,
        };
        entries.insert(entry.ticket.id, entry);
        Ok(())
    }

    /// Waits until a ticket is decided, or for at most `limit`.
    pub async fn wait(&self, id: TicketId, limit: Option<Duration>) -> Outcome {
        let (mut state, ends) = {
            let entries = self.entries.lock();
            let Some(entry) = entries.get(&id) else { return Outcome::Expired };
            (entry.state.subscribe(), entry.ends)
        };
        let deadline = limit.map_or(ends, |limit| ends.min(Instant::now() + limit));
        let decided = tokio::time::timeout_at(deadline, state.wait_for(|state| *state != State::Waiting)).await;
        match decided {
            Ok(Ok(state)) => match &*state {
                State::Approved => Outcome::Approved,
                State::Denied { person, reason } => Outcome::Denied { person: person.clone(), reason: reason.clone() },
                State::Waiting => Outcome::Expired,
            },
            _ => Outcome::Expired,
        }
    }

    /// Uses an approval up: the permit is given once, to whoever comes first with the bound request.
    #[must_use]
    pub fn consume<P>(&self, id: TicketId, binding: &Binding, hold: Hold<P>) -> Option<P> {
        let mut entries = self.entries.lock();
        let entry = entries.get(&id)?;
        let fits = entry.binding == *binding && entry.ends > Instant::now() && *entry.state.borrow() == State::Approved;
        if !fits {
            return None;
        }
        entries.remove(&id);
        Some(hold.approve())
    }

    /// Takes a vote, once it is recorded. Returns where the ticket stands then. A no ends it, also after it was approved
    /// and before the approval is used.
    ///
    /// # Errors
    /// Where there is no such ticket, the person may not vote on it, or the vote could not be recorded.
    pub fn vote(
        &self,
        id: TicketId,
        cast: Cast,
        record: impl FnOnce(&Ticket, &Cast) -> Result<(), JournalError>,
    ) -> Result<State, DeskError> {
        let mut entries = self.entries.lock();
        let now = Instant::now();
        let entry = entries.get_mut(&id).filter(|entry| entry.ends > now);
        let entry = entry.ok_or(DeskError::NoSuchTicket { ticket: id })?;
        entry.admits(&cast)?;
        record(&entry.ticket, &cast).map_err(|error| DeskError::Unrecorded { reason: error.to_string() })?;
        entry.votes.push(cast);
        let stands = state(&entry.ticket.needed, &entry.votes);
        entry.state.send_replace(stands.clone());
        Ok(stands)
    }

    /// Takes a ticket off the desk that nobody has denied; false where there is none.
    pub fn withdraw(&self, id: TicketId) -> bool {
        let mut entries = self.entries.lock();
        let stands = entries.get(&id).is_some_and(|entry| !matches!(*entry.state.borrow(), State::Denied { .. }));
        stands && entries.remove(&id).is_some()
    }

    /// Takes those off that a user of this host approved who no longer votes for all that it counted for.
    #[must_use]
    pub fn revoke(&self, votes: impl Fn(u32, &String) -> bool) -> Vec<Ticket> {
        let stands = |ticket: &Ticket, cast: &Cast| {
            let lost = |uid| cast.counts_for(ticket).iter().any(|group| !votes(uid, group));
            cast.approves == Approves::No || !cast.uid.is_some_and(lost)
        };
        let mut entries = self.entries.lock();
        let gone = entries.extract_if(.., |_, entry| !entry.votes.iter().all(|cast| stands(&entry.ticket, cast)));
        gone.map(|(_, entry)| entry.ticket).collect()
    }

    /// Takes those off whose time is over.
    #[must_use]
    pub fn expire(&self) -> Vec<Ticket> {
        let now = Instant::now();
        let mut entries = self.entries.lock();
        let over: Vec<_> = entries.values().filter(|entry| entry.ends <= now).map(|entry| entry.ticket.id).collect();
        over.iter().filter_map(|id| entries.remove(id)).map(|entry| entry.ticket).collect()
    }

    /// What waits, what was approved and not used yet, and what was denied and may be asked again.
    #[must_use]
    pub fn list(&self) -> Vec<Open> {
        let now = Instant::now();
        let entries = self.entries.lock();
        let open = entries.values().filter(|entry| entry.ends > now);
        open.map(|entry| Open {
            ticket: entry.ticket.clone(),
            state: entry.state.borrow().clone(),
            votes: entry.votes.clone(),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
