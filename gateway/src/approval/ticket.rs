//! One held request: who may say yes, who has, and where it stands.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::desk::Binding;
use crate::audit::event::{ApprovalRequested, Event};
use crate::audit::{Kept, Seq, Timestamp};
use crate::id::{SessionId, TicketId};
use crate::policy::Held;

/// A held request, as approvers see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ticket {
    /// Its id.
    pub id: TicketId,
    /// The session that it came in.
    pub session: SessionId,
    /// Who asks.
    pub workload: String,
    /// Where to: target and database.
    pub destination: String,
    /// What is asked, its constants left out.
    pub summary: Kept,
    /// Why its effects cannot all be read, where they cannot.
    pub opaque: Vec<String>,
    /// How many rows it has changed already, where its commit is what waits.
    pub changed: Option<u64>,
    /// Policies that hold it, and their words.
    pub policies: Vec<String>,
    /// Groups that have to approve, with how many members each.
    pub needed: Vec<(String, u8)>,
    /// When it was asked.
    pub asked: Timestamp,
    /// When it ends by itself.
    pub expires: Timestamp,
}

/// What a ticket says of a request.
pub struct About {
    /// Who asks.
    pub workload: String,
    /// Where to.
    pub destination: String,
    /// What is asked, its constants left out.
    pub summary: Kept,
    /// Why its effects cannot all be read, where they cannot.
    pub opaque: Vec<String>,
}

impl Ticket {
    /// A ticket for a hold, which ends by itself after `time`.
    #[must_use]
    pub fn new(session: SessionId, about: About, held: &Held, time: Duration) -> Self {
        let asked = Timestamp::now();
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let About { workload, destination, summary, opaque } = about;
        Self {
            id: TicketId::generate(),
            session,
            workload,
            destination,
            summary,
            opaque,
            changed: None,
            policies: held.policies().iter().map(ToString::to_string).collect(),
            needed: held.votes().iter().map(|vote| (vote.group.to_string(), vote.count)).collect(),
            asked,
            expires: Timestamp::from_micros(asked.as_micros().saturating_add(micros)),
        }
    }

    /// The attachment of who asks: the first part of the workload's name.
    #[must_use]
    pub fn attachment(&self) -> &str {
        self.workload.split('/').next().unwrap_or_default()
    }

    /// What the journal gets of it: `request` is the line of the request that it is for.
    #[must_use]
    pub fn requested(&self, request: Seq, binding: &Binding) -> Event {
        Event::ApprovalRequested(Box::new(ApprovalRequested {
            ticket: self.id,
            request,
            summary: self.summary.clone(),
            changed: self.changed,
            binding: binding.to_hex(),
            policies: self.policies.clone(),
            groups: self.needed.iter().map(|(group, _)| group.clone()).collect(),
            needed: self.needed.iter().map(|(_, count)| u32::from(*count)).sum(),
            expires: self.expires,
        }))
    }
}

/// A person's say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cast {
    /// Who: one vote each.
    pub person: String,
    /// Their number, where they are a user of this host: names can change between two votes.
    pub uid: Option<u32>,
    /// The groups that they are in.
    pub groups: Vec<String>,
    /// Yes or no.
    pub approves: Approves,
    /// In their words.
    pub reason: Option<String>,
}

impl Cast {
    /// Whether both are of one person.
    #[must_use]
    pub fn is_same_person(&self, other: &Self) -> bool {
        self.person == other.person || (self.uid.is_some() && self.uid == other.uid)
    }

    /// The groups of a ticket for which it counts.
    #[must_use]
    pub fn counts_for(&self, ticket: &Ticket) -> Vec<String> {
        let needed = ticket.needed.iter().map(|(group, _)| group);
        needed.filter(|group| self.groups.contains(group)).cloned().collect()
    }
}

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approves {
    /// It may go on.
    Yes,
    /// It may not; one no is enough.
    No,
}

/// A ticket with what was said about it.
#[derive(Debug, Clone)]
pub struct Open {
    /// The request.
    pub ticket: Ticket,
    /// Where it stands.
    pub state: State,
    /// In the order in which they came.
    pub votes: Vec<Cast>,
}

/// Where a ticket stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not enough have said yes.
    Waiting,
    /// Enough have: it may be used once.
    Approved,
    /// Somebody said no.
    Denied {
        /// Who.
        person: String,
        /// Why.
        reason: Option<String>,
    },
}

/// Where a ticket stands after these votes.
#[must_use]
pub fn state(needed: &[(String, u8)], votes: &[Cast]) -> State {
    if let Some(no) = votes.iter().find(|cast| cast.approves == Approves::No) {
        return State::Denied { person: no.person.clone(), reason: no.reason.clone() };
    }
    let has_all = needed
        .iter()
        .all(|(group, count)| votes.iter().filter(|cast| cast.groups.contains(group)).count() >= usize::from(*count));
    if has_all { State::Approved } else { State::Waiting }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast(person: &str, groups: &[&str], approves: Approves) -> Cast {
        let groups = groups.iter().map(ToString::to_string).collect();
        Cast { person: person.into(), uid: None, groups, approves, reason: None }
    }

    #[test]
    fn every_group_has_to_approve_with_as_many_as_it_says() {
        let needed = [("local:dba".to_owned(), 2), ("local:sec".to_owned(), 1)];
        let alice = cast("alice", &["local:dba", "local:sec"], Approves::Yes);
        let bob = cast("bob", &["local:dba"], Approves::Yes);
        assert_eq!(state(&needed, std::slice::from_ref(&alice)), State::Waiting);
        assert_eq!(state(&needed, &[alice, bob.clone()]), State::Approved);
        assert_eq!(state(&needed, &[bob]), State::Waiting);
    }

    #[test]
    fn one_no_is_enough() {
        let needed = [("local:dba".to_owned(), 1)];
        let votes = [cast("alice", &["local:dba"], Approves::Yes), cast("bob", &[], Approves::No)];
        assert!(matches!(state(&needed, &votes), State::Denied { person, .. } if person == "bob"));
    }
}
