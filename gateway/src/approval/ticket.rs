//! One held request: who may say yes, who has, and where it stands.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::desk::Binding;
use super::window::WindowAsked;
use crate::audit::event::{ApprovalRequested, Event, Who};
use crate::audit::{Kept, Seq, SessionGuard, Timestamp};
use crate::id::{SessionId, TicketId};
use crate::policy::{Held, Terms};

/// Questions of policy that approvers read, of those that a request asks.
const MAX_ASKS: usize = 100;

/// A held request, as approvers see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ticket {
    /// Its id.
    pub id: TicketId,
    /// The session that it came in, and its line in the engine's journal; none of a window.
    pub session: Option<SessionId>,
    /// Its line in the journal.
    pub request: Option<Seq>,
    /// Who asks, as the kernel and a token say.
    pub who: Option<Who>,
    /// What is asked.
    #[serde(flatten)]
    pub about: About,
    /// Policies that hold it.
    pub policies: Vec<String>,
    /// Their words.
    pub messages: Vec<String>,
    /// Who has to approve.
    pub needed: Vec<Needed>,
    /// When it was asked.
    pub asked: Timestamp,
    /// When it ends by itself.
    pub expires: Timestamp,
    /// Its client waits, and nothing is left of it without that one.
    pub attended: bool,
    /// The window that it is for.
    pub window: Option<WindowAsked>,
    /// Tickets of other systems about it.
    #[serde(default)]
    pub filed: Vec<Filed>,
}

/// A ticket of another system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filed {
    /// The name of the system in the configuration.
    pub system: String,
    /// What the ticket is called there.
    pub key: String,
    /// Where people read it.
    pub url: String,
}

/// What a ticket says of a request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct About {
    /// Who asks.
    pub workload: String,
    /// Where to: target and database, host or namespace.
    pub destination: String,
    /// What is asked, its constants left out.
    pub summary: Kept,
    /// Why its effects cannot all be read, where they cannot.
    pub opaque: Vec<String>,
    /// How many rows it has changed already, where its commit is what waits.
    pub changed: Option<u64>,
    /// What it would do: effects and what they are on.
    #[serde(default)]
    pub asks: Vec<String>,
    /// What it would change: fields before and after, as far as they are shown.
    #[serde(default)]
    pub changes: Vec<String>,
}

/// Members of a group who have to approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needed {
    /// The group.
    pub group: String,
    /// How many of it.
    pub count: u8,
    /// On what terms their yes counts.
    #[serde(flatten)]
    pub terms: Terms,
}

impl About {
    /// The same, with what the request would do, each through `mask`: names in it are a client's.
    #[must_use]
    pub fn with_asks(mut self, held: &Held, mask: impl Fn(&str) -> String) -> Self {
        self.asks = held.asked().iter().take(MAX_ASKS).map(|asked| mask(asked)).collect();
        if let Some(more) = held.asked().len().checked_sub(MAX_ASKS).filter(|more| *more > 0) {
            self.asks.push(format!("… and {more} more"));
        }
        self
    }
}

impl Needed {
    /// What a hold needs.
    pub(super) fn of(held: &Held) -> Vec<Self> {
        let needed = held.votes().iter();
        needed
            .map(|vote| Self { group: vote.group.to_string(), count: vote.count, terms: vote.terms.clone() })
            .collect()
    }
}

impl Ticket {
    /// A ticket for a hold of a session, which ends by itself after `time` unless its policies say so earlier or later.
    #[must_use]
    pub fn new(guard: &SessionGuard, request: Seq, about: About, held: &Held, time: Duration) -> Self {
        let asked = Timestamp::now();
        Self {
            id: TicketId::generate(),
            session: Some(guard.session()),
            request: Some(request),
            who: Some(guard.who().clone()),
            about,
            policies: held.policies().iter().map(ToString::to_string).collect(),
            messages: held.messages().iter().map(ToString::to_string).collect(),
            needed: Needed::of(held),
            asked,
            expires: later(asked, held.expires().unwrap_or(time)),
            attended: false,
            window: None,
            filed: Vec::new(),
        }
    }

    /// A request for a window.
    #[must_use]
    pub fn of_window(asked: WindowAsked, about: About, needed: Vec<Needed>, time: Duration) -> Self {
        let now = Timestamp::now();
        Self {
            id: TicketId::generate(),
            session: None,
            request: None,
            who: None,
            about,
            policies: Vec::new(),
            messages: Vec::new(),
            needed,
            asked: now,
            expires: later(now, time),
            attended: false,
            window: Some(asked),
            filed: Vec::new(),
        }
    }

    /// The attachment of who asks: the first part of the workload's name.
    #[must_use]
    pub fn attachment(&self) -> &str {
        self.about.workload.split('/').next().unwrap_or_default()
    }

    /// Whether a person asks for it, so that their yes does not count. Root on this host is whoever root is in containers
    /// too, so its number says nothing.
    #[must_use]
    pub fn is_asked_by(&self, cast: &Cast) -> bool {
        let is_user = |uid: u32| uid != 0 && cast.uid == Some(uid);
        let is_subject = |who: &Who| {
            who.token
                .as_ref()
                .zip(cast.subject.as_ref())
                .is_some_and(|(token, (issuer, subject))| token.issuer == *issuer && token.subject == *subject)
        };
        let asks = |who: &Who| is_user(who.uid) || is_subject(who);
        let wants =
            |window: &WindowAsked| window.person == cast.person || window.uid.is_some_and(|uid| cast.uid == Some(uid));
        self.who.as_ref().is_some_and(asks) || self.window.as_ref().is_some_and(wants)
    }

    /// What the journal gets of it.
    #[must_use]
    pub fn requested(&self, binding: &Binding) -> Event {
        Event::ApprovalRequested(Box::new(ApprovalRequested {
            ticket: self.id,
            request: self.request.unwrap_or_default(),
            workload: self.about.workload.clone(),
            destination: self.about.destination.clone(),
            summary: self.about.summary.clone(),
            changed: self.about.changed,
            changes: self.about.changes.clone(),
            binding: binding.to_hex(),
            policies: self.policies.clone(),
            groups: self.needed.iter().map(|needed| needed.group.clone()).collect(),
            needed: self.needed.iter().map(|needed| u32::from(needed.count)).sum(),
            expires: self.expires,
        }))
    }
}

/// So long after a time.
pub(super) fn later(time: Timestamp, by: Duration) -> Timestamp {
    let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
    Timestamp::from_micros(time.as_micros().saturating_add(micros))
}

/// A person's say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cast {
    /// Who: one vote each.
    pub person: String,
    /// Their number, where they are a user of this host: names can change between two votes.
    pub uid: Option<u32>,
    /// Issuer and subject, where a token says who they are.
    pub subject: Option<(String, String)>,
    /// The groups that they are in; once taken, those for which it counts.
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
        let needed = ticket.needed.iter().map(|needed| &needed.group);
        needed.filter(|group| self.groups.contains(group)).cloned().collect()
    }
}

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
pub fn state(needed: &[Needed], votes: &[Cast]) -> State {
    if let Some(no) = votes.iter().find(|cast| cast.approves == Approves::No) {
        return State::Denied { person: no.person.clone(), reason: no.reason.clone() };
    }
    let has = |group: &String| votes.iter().filter(|cast| cast.groups.contains(group)).count();
    let has_all = needed.iter().all(|needed| has(&needed.group) >= usize::from(needed.count));
    if has_all { State::Approved } else { State::Waiting }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cast(person: &str, groups: &[&str], approves: Approves) -> Cast {
        let groups = groups.iter().map(ToString::to_string).collect();
        Cast { person: person.into(), uid: None, subject: None, groups, approves, reason: None }
    }

    fn needed(group: &str, count: u8) -> Needed {
        Needed { group: group.to_owned(), count, terms: Terms::default() }
    }

    #[test]
    fn every_group_has_to_approve_with_as_many_as_it_says() {
        let needed = [needed("local:dba", 2), needed("local:sec", 1)];
        let alice = cast("alice", &["local:dba", "local:sec"], Approves::Yes);
        let bob = cast("bob", &["local:dba"], Approves::Yes);
        assert_eq!(state(&needed, std::slice::from_ref(&alice)), State::Waiting);
        assert_eq!(state(&needed, &[alice, bob.clone()]), State::Approved);
        assert_eq!(state(&needed, &[bob]), State::Waiting);
    }

    #[test]
    fn one_no_is_enough() {
        let needed = [needed("local:dba", 1)];
        let votes = [cast("alice", &["local:dba"], Approves::Yes), cast("bob", &[], Approves::No)];
        assert!(matches!(state(&needed, &votes), State::Denied { person, .. } if person == "bob"));
    }
}
