//! What the desk takes, once, and from whom.

use super::*;
use crate::audit::{Kept, Timestamp};
use crate::id::SessionId;

const APPROVERS: &str = "local:approvers";

fn ticket() -> Ticket {
    Ticket {
        id: TicketId::generate(),
        session: SessionId::generate(),
        workload: "agent".into(),
        destination: "shop/shop".into(),
        summary: Kept::default(),
        opaque: Vec::new(),
        changed: None,
        policies: Vec::new(),
        needed: vec![(APPROVERS.into(), 1)],
        asked: Timestamp::now(),
        expires: Timestamp::now(),
    }
}

fn yes(person: &str, group: &str) -> Cast {
    Cast { person: person.into(), uid: None, groups: vec![group.into()], approves: Approves::Yes, reason: None }
}

fn no(person: &str, group: &str) -> Cast {
    Cast { approves: Approves::No, ..yes(person, group) }
}

/// A desk with one request on it that needs these.
fn desk_with(needed: &[(&str, u8)]) -> (Desk, TicketId, Binding) {
    let desk = Desk::new().unwrap();
    let needed = needed.iter().map(|(group, count)| ((*group).to_owned(), *count)).collect();
    let (ticket, binding) = (Ticket { needed, ..ticket() }, desk.bind([b"x".as_slice()]));
    let id = ticket.id;
    desk.open(ticket, binding.clone(), Duration::from_secs(60)).unwrap();
    (desk, id, binding)
}

fn vote(desk: &Desk, id: TicketId, cast: Cast) -> Result<State, DeskError> {
    desk.vote(id, cast, |_, _| Ok(()))
}

#[test]
fn any_change_of_a_part_is_another_request() {
    let desk = Desk::new().unwrap();
    let bound = desk.bind([b"UPDATE t".as_slice(), b"shop"]);
    assert!(bound == desk.bind([b"UPDATE t".as_slice(), b"shop"]));
    assert!(bound != desk.bind([b"UPDATE tshop".as_slice(), b""]));
    assert!(bound != desk.bind([b"UPDATE t".as_slice(), b"shop", b""]));
    assert!(bound != Desk::new().unwrap().bind([b"UPDATE t".as_slice(), b"shop"]), "the key is the process's own");
}

#[tokio::test(start_paused = true)]
async fn a_request_nobody_decides_expires() {
    let (desk, id, binding) = desk_with(&[(APPROVERS, 1)]);
    assert_eq!(desk.find(&binding), Some(Found::Waiting(id)));
    assert_eq!(desk.wait(id, None).await, Outcome::Expired);
    assert_eq!(desk.find(&binding), None);
    assert!(matches!(vote(&desk, id, yes("root", APPROVERS)), Err(DeskError::NoSuchTicket { .. })));
    assert_eq!(desk.expire().len(), 1);
    assert!(desk.list().is_empty());
}

#[tokio::test]
async fn only_members_vote_and_each_once() {
    let (desk, id, _) = desk_with(&[(APPROVERS, 2)]);
    assert!(matches!(vote(&desk, id, yes("eve", "local:other")), Err(DeskError::NotAsked { .. })));
    assert!(matches!(vote(&desk, id, no("eve", "local:other")), Err(DeskError::NotAsked { .. })));
    assert_eq!(vote(&desk, id, yes("alice", APPROVERS)), Ok(State::Waiting));
    assert!(matches!(vote(&desk, id, yes("alice", APPROVERS)), Err(DeskError::Voted { .. })));
    assert_eq!(vote(&desk, id, yes("bob", APPROVERS)), Ok(State::Approved));
    assert_eq!(desk.wait(id, None).await, Outcome::Approved);
    assert!(matches!(vote(&desk, id, yes("carol", APPROVERS)), Err(DeskError::Decided { .. })));
}

#[test]
fn a_person_who_was_renamed_has_no_second_vote() {
    let (desk, id, _) = desk_with(&[(APPROVERS, 2)]);
    let numbered = |name| Cast { uid: Some(1001), ..yes(name, APPROVERS) };
    assert_eq!(vote(&desk, id, numbered("alice")), Ok(State::Waiting));
    assert!(matches!(vote(&desk, id, numbered("alicia")), Err(DeskError::Voted { .. })));
}

#[test]
fn all_groups_have_to_approve_in_one_ticket() {
    let (desk, id, _) = desk_with(&[("local:dba", 1), ("local:sre", 1)]);
    assert_eq!(vote(&desk, id, yes("alice", "local:dba")), Ok(State::Waiting));
    assert_eq!(vote(&desk, id, yes("bob", "local:dba")), Ok(State::Waiting), "two of one group are not one of each");
    assert_eq!(desk.list()[0].votes.len(), 2);
    assert_eq!(vote(&desk, id, yes("carol", "local:sre")), Ok(State::Approved));
}

#[test]
fn one_no_ends_it_whoever_said_yes() {
    let (desk, id, binding) = desk_with(&[("local:dba", 1), ("local:sre", 2)]);
    vote(&desk, id, yes("alice", "local:dba")).unwrap();
    assert!(matches!(vote(&desk, id, no("bob", "local:sre")), Ok(State::Denied { person, .. }) if person == "bob"));
    let late = vote(&desk, id, yes("carol", "local:sre"));
    assert_eq!(late, Err(DeskError::Decided { how: "denied by bob".into() }));
    assert!(matches!(desk.find(&binding), Some(Found::Denied { ticket, .. }) if ticket == id), "it is not asked again");
}

#[test]
fn a_yes_can_be_taken_back_until_it_is_used() {
    let (desk, id, _) = desk_with(&[(APPROVERS, 1)]);
    assert_eq!(vote(&desk, id, yes("alice", APPROVERS)), Ok(State::Approved));
    assert!(matches!(vote(&desk, id, no("alice", APPROVERS)), Ok(State::Denied { .. })));
}

#[test]
fn an_approval_ends_when_who_gave_it_may_no_longer() {
    let by_alice = Cast { uid: Some(1001), ..yes("alice", APPROVERS) };
    let (desk, id, binding) = desk_with(&[(APPROVERS, 1)]);
    assert_eq!(vote(&desk, id, by_alice.clone()), Ok(State::Approved));
    assert!(desk.revoke(|uid, group| uid == 1001 && group == APPROVERS).is_empty());
    assert_eq!(desk.revoke(|uid, _| uid == 1002).len(), 1);
    assert_eq!(desk.find(&binding), None, "it has to be asked anew");
    let (desk, id, _) = desk_with(&[(APPROVERS, 1)]);
    vote(&desk, id, Cast { approves: Approves::No, ..by_alice }).unwrap();
    assert!(desk.revoke(|_, _| false).is_empty(), "a no stands");
}

#[test]
fn a_vote_that_is_refused_or_not_recorded_does_not_count() {
    let (desk, id, _) = desk_with(&[(APPROVERS, 1)]);
    let refused = desk.vote(id, yes("eve", "local:other"), |_, _| panic!("a refused vote is no vote"));
    assert!(matches!(refused, Err(DeskError::NotAsked { .. })));
    let unrecorded = desk.vote(id, yes("alice", APPROVERS), |_, _| Err(JournalError::Poisoned));
    assert!(matches!(unrecorded, Err(DeskError::Unrecorded { .. })), "{unrecorded:?}");
    let open = desk.list();
    assert!(open[0].votes.is_empty() && open[0].state == State::Waiting);
}

#[test]
fn a_workload_that_floods_the_desk_is_refused_alone() {
    let desk = Desk::new().unwrap();
    for n in 0..MAX_PER_WORKLOAD {
        desk.open(ticket(), desk.bind([n.to_string().as_bytes()]), Duration::from_secs(60)).unwrap();
    }
    assert_eq!(desk.open(ticket(), desk.bind([b"x".as_slice()]), Duration::from_secs(60)), Err(DeskError::Full));
    let other = Ticket { workload: "other".into(), ..ticket() };
    assert!(desk.open(other, desk.bind([b"x".as_slice()]), Duration::from_secs(60)).is_ok());
}

#[test]
fn an_attachment_whose_workloads_flood_the_desk_is_refused_alone() {
    let desk = Desk::new().unwrap();
    let open = |workload: String, n: usize| {
        let ticket = Ticket { workload, ..ticket() };
        desk.open(ticket, desk.bind([n.to_string().as_bytes()]), Duration::from_secs(60))
    };
    let units = usize::try_from(MAX_TICKETS).unwrap() / MAX_PER_WORKLOAD;
    let opened = (0..units * MAX_PER_WORKLOAD).filter(|n| open(format!("agent/{}.service", n % units), *n).is_ok());
    assert_eq!(opened.count() as u64, MAX_TICKETS / 2);
    assert_eq!(open("agent".into(), 0), Err(DeskError::Full));
    assert!(open("other/a.service".into(), 0).is_ok());
}
