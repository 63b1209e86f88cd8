//! Where held requests wait, are looked up, voted on, and used up.
//!
//! In: holds, votes, time. Out: each approval at most once, to the request that it was given for, also over a restart: it
//! is used once that is kept. The binding is a keyed hash over the exact bytes and what they mean: any change is a new
//! request, and so is the same one under other rules.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::said::{AskError, DeskError, Found, Outcome};
use super::ticket::{Approves, Cast, Filed, Needed, Open, State, Ticket, state};
use crate::audit::event::{ApprovalEnded, Event};
use crate::audit::{JournalError, SessionGuard, Timestamp};
use crate::budget::may_take;
use crate::id::TicketId;
use crate::policy::{Held, Hold};
use crate::state::{Change, KeptTicket};

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

/// Keeps what is to outlive the process.
pub trait Store: Send + Sync {
    /// Keeps changes, all of them or none; errs with the reason. Called in the order in which they happen.
    fn keep(&self, changes: Vec<Change>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

    /// The same, where nobody waits for it.
    fn note(&self, change: Change);
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
            let needed = self.ticket.needed.iter().map(|needed| needed.group.clone()).collect();
            return Err(DeskError::NotAsked { person: cast.person.clone(), needed });
        }
        if cast.approves == Approves::Yes && self.ticket.is_asked_by(cast) {
            return Err(DeskError::OwnRequest { person: cast.person.clone() });
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
    store: Arc<dyn Store>,
}

/// A request that is not kept yet: given up meanwhile, it is off the desk.
struct Opening<'d> {
    desk: &'d Desk,
    id: Option<TicketId>,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.desk.entries.lock().remove(&id);
            self.desk.store.note(Change::Gone { ticket: id });
        }
    }
}

/// A request whose question is in the journal, and not on the desk yet: given up meanwhile, its end is in the journal too.
struct Asking<'g> {
    guard: &'g SessionGuard,
    ticket: Option<TicketId>,
    reason: String,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let reason = std::mem::take(&mut self.reason);
            let ended = Event::ApprovalExpired(ApprovalEnded { ticket, reason });
            if let Err(error) = self.guard.note(&ended) {
                tracing::error!(session = %self.guard.session(), %error, "the end of a request could not be recorded");
            }
        }
    }
}

impl Desk {
    /// A desk with what was kept of it, and what has ended since, each with the reason: that is kept still.
    ///
    /// # Errors
    /// Where what was kept is of another version.
    pub fn restore(
        (key, kept): (&[u8], Vec<KeptTicket>),
        store: Arc<dyn Store>,
    ) -> serde_json::Result<(Self, Vec<(Ticket, &'static str)>)> {
        let (mut entries, mut ended) = (BTreeMap::new(), Vec::new());
        for KeptTicket { binding, text, votes } in kept {
            let ticket: Ticket = serde_json::from_str(&text)?;
            let votes = votes.iter().map(|vote| serde_json::from_str(vote)).collect::<Result<Vec<Cast>, _>>()?;
            let left = ticket.expires.as_micros().saturating_sub(Timestamp::now().as_micros());
            let over = if left == 0 {
                Some("timeout")
            } else {
                ticket.attended.then_some("its client was lost in a restart of the gateway")
            };
            if let Some(reason) = over {
                ended.push((ticket, reason));
                continue;
            }
            let state = watch::Sender::new(state(&ticket.needed, &votes));
            let ends = Instant::now() + Duration::from_micros(left);
            entries.insert(ticket.id, Entry { binding: Binding(binding), votes, ends, state, ticket });
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Ok((Self { key, entries: Mutex::new(entries), store }, ended))
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

    /// Whether the same request was made before under the same rules, and still stands.
    #[must_use]
    pub fn find(&self, binding: &Binding, held: &Held) -> Option<Found> {
        let entries = self.entries.lock();
        let (now, needed) = (Instant::now(), Needed::of(held));
        let is_it = |entry: &&Entry| entry.binding == *binding && entry.ticket.needed == needed && entry.ends > now;
        let entry = entries.values().find(is_it)?;
        let ticket = entry.ticket.id;
        Some(match &*entry.state.borrow() {
            State::Waiting => Found::Waiting(ticket),
            State::Approved => Found::Approved(ticket),
            State::Denied { person, reason } => {
                Found::Denied { ticket, person: person.clone(), reason: reason.clone() }
            }
        })
    }

    /// Asks people on behalf of a session: in the journal first, then on the desk, until it expires.
    ///
    /// # Errors
    /// Where it cannot be recorded, too many wait, or it cannot be kept.
    pub async fn ask(&self, guard: &SessionGuard, ticket: Ticket, binding: Binding) -> Result<TicketId, AskError> {
        let id = ticket.id;
        let recorded = guard.record(&ticket.requested(&binding));
        let mut asking = Asking { guard, ticket: Some(id), reason: "the client left or gave up".to_owned() };
        if let Err(error) = recorded.await {
            asking.ticket = None;
            return Err(AskError::Unrecorded(error));
        }
        self.open(ticket, binding).await.inspect_err(|error| asking.reason = error.to_string())?;
        asking.ticket = None;
        Ok(id)
    }

    /// Puts a request on the desk, until it expires.
    ///
    /// # Errors
    /// Where too many wait, or it cannot be kept.
    pub async fn open(&self, ticket: Ticket, binding: Binding) -> Result<(), DeskError> {
        let text = serde_json::to_string(&ticket).map_err(|error| DeskError::NotKept { reason: error.to_string() })?;
        let change = Change::Asked { ticket: ticket.id, binding: binding.0.clone(), text };
        let mut opening = Opening { desk: self, id: Some(ticket.id) };
        self.insert(ticket, binding).inspect_err(|_| opening.id = None)?;
        self.store.keep(vec![change]).await.map_err(|reason| DeskError::NotKept { reason })?;
        opening.id = None;
        Ok(())
    }

    fn insert(&self, ticket: Ticket, binding: Binding) -> Result<(), DeskError> {
        let mut entries = self.entries.lock();
        let of_workload = entries.values().filter(|entry| entry.ticket.about.workload == ticket.about.workload).count();
        let attachment = ticket.attachment();
        let of_attachment = entries.values().filter(|entry| entry.ticket.attachment() == attachment).count();
        if of_workload >= MAX_PER_WORKLOAD || !may_take(of_attachment as u64, entries.len() as u64, MAX_TICKETS) {
            return Err(DeskError::Full);
        }
        let left = ticket.expires.as_micros().saturating_sub(Timestamp::now().as_micros());
        let entry = Entry {
            binding,
            votes: Vec::new(),
            ends: Instant::now() + Duration::from_micros(left),
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

    /// Uses an approval up: the permit is given once, to whoever comes first with the bound request, and not before it is
    /// kept that it was given.
    ///
    /// # Errors
    /// Where that cannot be kept: the approval is lost then.
    pub async fn consume<P>(&self, id: TicketId, binding: &Binding, hold: Hold<P>) -> Result<Option<P>, DeskError> {
        if !self.take(id, binding, hold.held()) {
            return Ok(None);
        }
        let kept = self.store.keep(vec![Change::Gone { ticket: id }]).await;
        kept.map_err(|reason| DeskError::NotKept { reason })?;
        Ok(Some(hold.approve()))
    }

    fn take(&self, id: TicketId, binding: &Binding, held: &Held) -> bool {
        let mut entries = self.entries.lock();
        let Some(entry) = entries.get(&id) else { return false };
        let fits = entry.binding == *binding
            && entry.ticket.needed == Needed::of(held)
            && entry.ends > Instant::now()
            && *entry.state.borrow() == State::Approved;
        fits && entries.remove(&id).is_some()
    }

    /// Takes a request for a window off the desk that enough have approved, with their votes.
    #[must_use]
    pub fn take_window(&self, id: TicketId) -> Option<(Ticket, Vec<Cast>)> {
        let mut entries = self.entries.lock();
        let entry = entries.get(&id).filter(|entry| entry.ticket.window.is_some())?;
        let is_due = entry.ends > Instant::now() && *entry.state.borrow() == State::Approved;
        let entry = if is_due { entries.remove(&id) } else { None }?;
        Some((entry.ticket, entry.votes))
    }

    /// Takes a vote, once it is recorded. Returns where the ticket stands then. A no ends it, also after it was approved
    /// and before the approval is used.
    ///
    /// # Errors
    /// Where there is no such ticket, the person may not vote on it, or the vote could not be recorded or kept.
    pub async fn vote(
        &self,
        id: TicketId,
        cast: Cast,
        record: impl FnOnce(&Ticket, &Cast) -> Result<(), JournalError>,
    ) -> Result<State, DeskError> {
        let (stands, change) = self.count(id, cast, record)?;
        self.store.keep(vec![change]).await.map_err(|reason| DeskError::NotKept { reason })?;
        Ok(stands)
    }

    fn count(
        &self,
        id: TicketId,
        mut cast: Cast,
        record: impl FnOnce(&Ticket, &Cast) -> Result<(), JournalError>,
    ) -> Result<(State, Change), DeskError> {
        let mut entries = self.entries.lock();
        let now = Instant::now();
        let entry = entries.get_mut(&id).filter(|entry| entry.ends > now);
        let entry = entry.ok_or(DeskError::NoSuchTicket { ticket: id })?;
        entry.admits(&cast)?;
        let until = terms(&entry.ticket, &mut cast)?;
        let lost = |reason: String| DeskError::Unrecorded { reason };
        let vote = serde_json::to_string(&cast).map_err(|error| lost(error.to_string()))?;
        record(&entry.ticket, &cast).map_err(|error| lost(error.to_string()))?;
        if until < entry.ticket.expires {
            entry.ticket.expires = until;
            let left = until.as_micros().saturating_sub(Timestamp::now().as_micros());
            entry.ends = entry.ends.min(Instant::now() + Duration::from_micros(left));
        }
        let text = serde_json::to_string(&entry.ticket).map_err(|error| lost(error.to_string()))?;
        entry.votes.push(cast);
        let stands = state(&entry.ticket.needed, &entry.votes);
        entry.state.send_replace(stands.clone());
        Ok((stands, Change::Said { ticket: id, vote, text }))
    }

    /// Notes that a request is a ticket in another system too, once it is recorded: one in each. Nothing happens where it does not
    /// wait any more.
    ///
    /// # Errors
    /// Where that could not be recorded or kept.
    pub async fn file(
        &self,
        id: TicketId,
        filed: Filed,
        record: impl FnOnce(&Ticket, &Filed) -> Result<(), JournalError>,
    ) -> Result<(), DeskError> {
        let change = {
            let mut entries = self.entries.lock();
            let Some(entry) = entries.get_mut(&id) else { return Ok(()) };
            if entry.ticket.filed.iter().any(|other| other.system == filed.system) {
                return Ok(());
            }
            let lost = |reason: String| DeskError::Unrecorded { reason };
            record(&entry.ticket, &filed).map_err(|error| lost(error.to_string()))?;
            entry.ticket.filed.push(filed);
            let text = serde_json::to_string(&entry.ticket).map_err(|error| lost(error.to_string()))?;
            Change::Told { ticket: id, text }
        };
        self.store.keep(vec![change]).await.map_err(|reason| DeskError::NotKept { reason })
    }

    /// Takes a ticket off the desk that nobody has denied; false where there is none.
    pub fn withdraw(&self, id: TicketId) -> bool {
        let mut entries = self.entries.lock();
        let stands = entries.get(&id).is_some_and(|entry| !matches!(*entry.state.borrow(), State::Denied { .. }));
        let is_gone = stands && entries.remove(&id).is_some();
        if is_gone {
            self.store.note(Change::Gone { ticket: id });
        }
        is_gone
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
        gone.map(|(_, entry)| self.gone(entry)).collect()
    }

    /// Takes those off whose time is over.
    #[must_use]
    pub fn expire(&self) -> Vec<Ticket> {
        let now = Instant::now();
        let mut entries = self.entries.lock();
        let over: Vec<_> = entries.values().filter(|entry| entry.ends <= now).map(|entry| entry.ticket.id).collect();
        over.iter().filter_map(|id| entries.remove(id)).map(|entry| self.gone(entry)).collect()
    }

    fn gone(&self, entry: Entry) -> Ticket {
        self.store.note(Change::Gone { ticket: entry.ticket.id });
        entry.ticket
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

/// The terms of a yes: for which groups it counts now, and until when it may be used.
fn terms(ticket: &Ticket, cast: &mut Cast) -> Result<Timestamp, DeskError> {
    cast.groups = cast.counts_for(ticket);
    let mut until = Timestamp::from_micros(u64::MAX);
    if cast.approves == Approves::No {
        return Ok(until);
    }
    for needed in ticket.needed.iter().filter(|needed| cast.groups.contains(&needed.group)) {
        if needed.terms.reason && cast.reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
            return Err(DeskError::NoReason);
        }
        let closes = needed.terms.closes(Timestamp::now());
        until = until.min(closes.ok_or_else(|| DeskError::Closed { hours: needed.terms.hours() })?);
    }
    Ok(until)
}

#[cfg(test)]
mod tests;
