//! What the desk takes, once, and from whom.

use super::*;
use crate::approval::{About, WindowAsked};
use crate::audit::event::{Token, Who};
use crate::audit::journal::testing::{Site, start};
use crate::id::SessionId;
use crate::policy::{Terms, Vote};

const APPROVERS: &str = "local:approvers";

/// What is kept is remembered here, unless it cannot be.
#[derive(Default)]
struct Kept {
    changes: Mutex<Vec<Change>>,
    fails: bool,
}

impl Store for Kept {
    fn keep(&self, changes: Vec<Change>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let kept = if self.fails { Err("no disk".to_owned()) } else { Ok(()) };
        self.changes.lock().extend(changes);
        Box::pin(async move { kept })
    }

    fn note(&self, change: Change) {
        self.changes.lock().push(change);
    }
}

impl Kept {
    /// What a restart finds.
    fn tickets(&self) -> Vec<KeptTicket> {
        let mut tickets: BTreeMap<TicketId, KeptTicket> = BTreeMap::new();
        for change in self.changes.lock().iter().cloned() {
            match change {
                Change::Asked { ticket, binding, text } => {
                    tickets.insert(ticket, KeptTicket { binding, text, votes: Vec::new() });
                }
                Change::Said { ticket, vote, text } => {
                    let kept = tickets.get_mut(&ticket).unwrap();
                    kept.votes.push(vote);
                    kept.text = text;
                }
                Change::Told { ticket, text } => tickets.get_mut(&ticket).unwrap().text = text,
                Change::Gone { ticket } => drop(tickets.remove(&ticket)),
                other => panic!("{other:?}"),
            }
        }
        tickets.into_values().collect()
    }
}

/// Nothing is ever kept.
struct Never;

impl Store for Never {
    fn keep(&self, _: Vec<Change>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        Box::pin(std::future::pending())
    }

    fn note(&self, _: Change) {}
}

const KEY: &[u8] = b"the key of a state";
const MINUTE: Duration = Duration::from_secs(60);

fn desk() -> Desk {
    Desk::restore((KEY, Vec::new()), Arc::new(Kept::default())).unwrap().0
}

fn ticket() -> Ticket {
    let about = About { workload: "agent".into(), destination: "shop/shop".into(), ..About::default() };
    let asked = WindowAsked {
        name: "w".into(),
        workload: "agent".into(),
        target: "shop".into(),
        time: MINUTE,
        reason: "why".into(),
        person: "requester".into(),
        uid: Some(2_000),
    };
    let ticket = Ticket::of_window(asked, about, vec![needed(APPROVERS, 1)], MINUTE);
    Ticket { window: None, ..ticket }
}

fn needed(group: &str, count: u8) -> Needed {
    Needed { group: group.to_owned(), count, terms: Terms::default() }
}

/// What policy would need for it.
fn held(ticket: &Ticket) -> Held {
    let vote = |needed: &Needed| Vote {
        group: needed.group.as_str().into(),
        count: needed.count,
        terms: needed.terms.clone(),
    };
    Held::for_tests(ticket.needed.iter().map(vote).collect())
}

fn yes(person: &str, group: &str) -> Cast {
    let (person, groups) = (person.to_owned(), vec![group.to_owned()]);
    Cast { person, uid: None, subject: None, groups, approves: Approves::Yes, reason: None }
}

fn no(person: &str, group: &str) -> Cast {
    Cast { approves: Approves::No, ..yes(person, group) }
}

/// A desk with one request on it that needs these.
fn desk_with(counts: &[(&str, u8)]) -> (Desk, TicketId, Binding) {
    desk_of(Ticket { needed: counts.iter().map(|(group, count)| needed(group, *count)).collect(), ..ticket() })
}

fn desk_of(ticket: Ticket) -> (Desk, TicketId, Binding) {
    let desk = desk();
    let (id, binding) = (ticket.id, desk.bind([b"x".as_slice()]));
    now(desk.open(ticket, binding.clone())).unwrap();
    (desk, id, binding)
}

/// What never waits here.
fn now<T>(future: impl Future<Output = T>) -> T {
    let waker = std::task::Waker::noop();
    match std::pin::pin!(future).poll(&mut std::task::Context::from_waker(waker)) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

fn vote(desk: &Desk, id: TicketId, cast: Cast) -> Result<State, DeskError> {
    now(desk.vote(id, cast, |_, _| Ok(())))
}

fn find(desk: &Desk, binding: &Binding) -> Option<Found> {
    desk.find(binding, &held(&ticket()))
}

#[test]
fn any_change_of_a_part_is_another_request() {
    let desk = desk();
    let bound = desk.bind([b"UPDATE t".as_slice(), b"shop"]);
    assert!(bound == desk.bind([b"UPDATE t".as_slice(), b"shop"]));
    assert!(bound != desk.bind([b"UPDATE tshop".as_slice(), b""]));
    assert!(bound != desk.bind([b"UPDATE t".as_slice(), b"shop", b""]));
    let (other, _) = Desk::restore((b"another key", Vec::new()), Arc::new(Kept::default())).unwrap();
    assert!(bound != other.bind([b"UPDATE t".as_slice(), b"shop"]), "the key is the host's own");
}

#[tokio::test(start_paused = true)]
async fn a_request_nobody_decides_expires() {
    let (desk, id, binding) = desk_with(&[(APPROVERS, 1)]);
    assert_eq!(find(&desk, &binding), Some(Found::Waiting(id)));
    assert_eq!(desk.wait(id, None).await, Outcome::Expired);
    assert_eq!(find(&desk, &binding), None);
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
    let rules = [needed("local:dba", 1), needed("local:sre", 2)];
    let again = desk.find(&binding, &held(&Ticket { needed: rules.into(), ..ticket() }));
    assert!(matches!(again, Some(Found::Denied { ticket, .. }) if ticket == id), "it is not asked again");
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
    assert_eq!(find(&desk, &binding), None, "it has to be asked anew");
    let (desk, id, _) = desk_with(&[(APPROVERS, 1)]);
    vote(&desk, id, Cast { approves: Approves::No, ..by_alice }).unwrap();
    assert!(desk.revoke(|_, _| false).is_empty(), "a no stands");
}

#[test]
fn a_vote_that_is_refused_or_not_recorded_does_not_count() {
    let (desk, id, _) = desk_with(&[(APPROVERS, 1)]);
    let refused = now(desk.vote(id, yes("eve", "local:other"), |_, _| panic!("a refused vote is no vote")));
    assert!(matches!(refused, Err(DeskError::NotAsked { .. })));
    let unrecorded = now(desk.vote(id, yes("alice", APPROVERS), |_, _| Err(JournalError::Poisoned)));
    assert!(matches!(unrecorded, Err(DeskError::Unrecorded { .. })), "{unrecorded:?}");
    let open = desk.list();
    assert!(open[0].votes.is_empty() && open[0].state == State::Waiting);
}

fn from(workload: &str) -> Ticket {
    Ticket { about: About { workload: workload.to_owned(), ..About::default() }, ..ticket() }
}

#[test]
fn a_workload_that_floods_the_desk_is_refused_alone() {
    let desk = desk();
    let open = |ticket: Ticket, what: &str| now(desk.open(ticket, desk.bind([what.as_bytes()])));
    for n in 0..MAX_PER_WORKLOAD {
        open(ticket(), &n.to_string()).unwrap();
    }
    assert_eq!(open(ticket(), "x"), Err(DeskError::Full));
    assert!(open(from("other"), "x").is_ok());
}

#[test]
fn an_attachment_whose_workloads_flood_the_desk_is_refused_alone() {
    let desk = desk();
    let open = |workload: String, n: usize| now(desk.open(from(&workload), desk.bind([n.to_string().as_bytes()])));
    let units = usize::try_from(MAX_TICKETS).unwrap() / MAX_PER_WORKLOAD;
    let opened = (0..units * MAX_PER_WORKLOAD).filter(|n| open(format!("agent/{}.service", n % units), *n).is_ok());
    assert_eq!(opened.count() as u64, MAX_TICKETS / 2);
    assert_eq!(open("agent".into(), 0), Err(DeskError::Full));
    assert!(open("other/a.service".into(), 0).is_ok());
}

#[test]
fn who_asks_cannot_say_yes_and_may_say_no() {
    let token = Token { issuer: "https://idp".into(), subject: "alice".into(), expires: None };
    let who = Who { uid: 1_001, token: Some(token), ..Who::default() };
    let by = |uid: Option<u32>, subject: Option<&str>| Cast {
        uid,
        subject: subject.map(|subject| ("https://idp".to_owned(), subject.to_owned())),
        ..yes("alice", APPROVERS)
    };
    for own in [by(Some(1_001), None), by(None, Some("alice"))] {
        let (desk, id, _) = desk_of(Ticket { who: Some(who.clone()), ..ticket() });
        assert!(matches!(vote(&desk, id, own.clone()), Err(DeskError::OwnRequest { .. })), "{own:?}");
        assert!(matches!(vote(&desk, id, Cast { approves: Approves::No, ..own }), Ok(State::Denied { .. })));
    }
    for other in [by(Some(1_002), None), by(None, Some("bob")), by(None, None)] {
        let (desk, id, _) = desk_of(Ticket { who: Some(who.clone()), ..ticket() });
        assert_eq!(vote(&desk, id, other), Ok(State::Approved));
    }
    // Root of a container has the number of root here.
    let (desk, id, _) = desk_of(Ticket { who: Some(Who { uid: 0, ..who }), ..ticket() });
    assert_eq!(vote(&desk, id, by(Some(0), None)), Ok(State::Approved));
}

#[test]
fn a_yes_says_why_where_policy_wants_that() {
    let terms = Terms { reason: true, ..Terms::default() };
    let (desk, id, _) = desk_of(Ticket { needed: vec![Needed { terms, ..needed(APPROVERS, 1) }], ..ticket() });
    let why = |reason: &str| Cast { reason: Some(reason.to_owned()), ..yes("alice", APPROVERS) };
    for silent in [yes("alice", APPROVERS), why(" ")] {
        assert_eq!(vote(&desk, id, silent), Err(DeskError::NoReason));
    }
    assert_eq!(vote(&desk, id, why("a ticket")), Ok(State::Approved));
}

#[test]
fn a_yes_counts_within_its_hours_and_is_used_before_they_close() {
    let day = Timestamp::now().as_micros() / 86_400_000_000;
    let name = |day: u64| ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][usize::try_from((day + 3) % 7).unwrap()];
    let of_days = |from: u64, to: u64| Terms {
        hours: vec![format!("{}-{} 00:00-24:00", name(from), name(to)).parse().unwrap()],
        ..Terms::default()
    };
    let with = |terms: Terms| Ticket {
        needed: vec![Needed { terms, ..needed(APPROVERS, 1) }],
        expires: Timestamp::from_micros((day + 3) * 86_400_000_000),
        ..ticket()
    };
    let (desk, id, _) = desk_of(with(of_days(day + 2, day + 4)));
    assert!(matches!(vote(&desk, id, yes("alice", APPROVERS)), Err(DeskError::Closed { .. })));
    let (desk, id, _) = desk_of(with(of_days(day, day + 1)));
    assert_eq!(vote(&desk, id, yes("alice", APPROVERS)), Ok(State::Approved));
    let until = desk.list()[0].ticket.expires;
    assert!(until <= Timestamp::from_micros((day + 2) * 86_400_000_000), "{until:?}");
}

#[tokio::test]
async fn what_was_said_outlives_a_restart_and_what_was_used_does_not_come_again() {
    let store = Arc::new(Kept::default());
    let restart = || Desk::restore((KEY, store.tickets()), Arc::clone(&store) as _).unwrap();
    let desk = restart().0;
    let two = Ticket { needed: vec![needed(APPROVERS, 2)], ..ticket() };
    let (id, binding, rules) = (two.id, desk.bind([b"two".as_slice()]), held(&two));
    desk.open(two, binding.clone()).await.unwrap();
    assert_eq!(vote(&desk, id, yes("alice", APPROVERS)), Ok(State::Waiting));
    let desk = restart().0;
    assert!(matches!(vote(&desk, id, yes("alice", APPROVERS)), Err(DeskError::Voted { .. })), "her vote is known");
    assert_eq!(vote(&desk, id, yes("bob", APPROVERS)), Ok(State::Approved));
    let desk = restart().0;
    assert_eq!(desk.find(&binding, &rules), Some(Found::Approved(id)));
    assert_eq!(desk.consume(id, &binding, Hold::for_tests(rules.clone(), ())).await, Ok(Some(())));
    let desk = restart().0;
    assert_eq!(desk.find(&binding, &rules), None);
    assert_eq!(desk.consume(id, &binding, Hold::for_tests(rules, ())).await, Ok(None));
}

#[tokio::test]
async fn what_nobody_can_come_back_for_ends_with_the_process() {
    let store = Arc::new(Kept::default());
    let desk = Desk::restore((KEY, Vec::new()), Arc::clone(&store) as _).unwrap().0;
    let (attended, old) = (Ticket { attended: true, ..ticket() }, Ticket { expires: Timestamp::now(), ..ticket() });
    desk.open(attended, desk.bind([b"a".as_slice()])).await.unwrap();
    desk.open(old, desk.bind([b"o".as_slice()])).await.unwrap();
    let (desk, mut ended) = Desk::restore((KEY, store.tickets()), store).unwrap();
    ended.sort_by_key(|(ticket, _)| ticket.attended);
    assert!(desk.list().is_empty());
    assert_eq!(
        ended.iter().map(|(_, why)| *why).collect::<Vec<_>>(),
        ["timeout", "its client was lost in a restart of the gateway"]
    );
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_asked_and_not_used() {
    let store = Arc::new(Kept { fails: true, ..Kept::default() });
    let desk = Desk::restore((KEY, Vec::new()), store).unwrap().0;
    let binding = desk.bind([b"x".as_slice()]);
    assert!(matches!(desk.open(ticket(), binding.clone()).await, Err(DeskError::NotKept { .. })));
    assert!(desk.list().is_empty());
    let (one, store) = (ticket(), Arc::new(Kept::default()));
    let desk = Desk::restore((KEY, Vec::new()), Arc::clone(&store) as _).unwrap().0;
    let (id, rules) = (one.id, held(&one));
    desk.open(one, binding.clone()).await.unwrap();
    vote(&desk, id, yes("alice", APPROVERS)).unwrap();
    let failing = Arc::new(Kept { fails: true, ..Kept::default() });
    let desk = Desk::restore((KEY, store.tickets()), failing).unwrap().0;
    let consumed = desk.consume(id, &binding, Hold::for_tests(rules.clone(), ())).await;
    assert!(matches!(consumed, Err(DeskError::NotKept { .. })), "{consumed:?}");
    assert_eq!(desk.find(&binding, &rules), None);
}

#[tokio::test]
async fn an_approval_by_other_rules_is_none() {
    let (desk, id, binding) = desk_with(&[(APPROVERS, 1)]);
    vote(&desk, id, yes("alice", APPROVERS)).unwrap();
    let stricter = held(&Ticket { needed: vec![needed(APPROVERS, 2)], ..ticket() });
    assert_eq!(desk.find(&binding, &stricter), None);
    assert_eq!(desk.consume(id, &binding, Hold::for_tests(stricter, ())).await, Ok(None));
    assert!(matches!(find(&desk, &binding), Some(Found::Approved(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_race_for_an_approval_one_gets_it() {
    let (desk, id, binding) = desk_with(&[(APPROVERS, 1)]);
    vote(&desk, id, yes("alice", APPROVERS)).unwrap();
    let (desk, rules) = (Arc::new(desk), held(&ticket()));
    let race = (0..32).map(|_| {
        let (desk, binding, rules) = (Arc::clone(&desk), binding.clone(), rules.clone());
        tokio::spawn(async move { desk.consume(id, &binding, Hold::for_tests(rules, ())).await })
    });
    let mut won = 0;
    for one in race.collect::<Vec<_>>() {
        won += usize::from(one.await.unwrap().unwrap().is_some());
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_question_that_is_in_the_journal_has_its_end_there_whenever_its_client_leaves() {
    let site = Site::new();
    let journal = site.filled(1);
    let guard = SessionGuard::open(Arc::clone(&journal), SessionId::generate(), start()).unwrap();
    let ends = || {
        let text = std::fs::read_to_string(site.segment(&journal)).unwrap();
        ["approval.requested", "approval.expired"].map(|kind| text.matches(kind).count())
    };
    let desk = Desk::restore((KEY, Vec::new()), Arc::new(Never)).unwrap().0;
    let asked = desk.ask(&guard, ticket(), desk.bind([b"x".as_slice()]));
    assert!(tokio::time::timeout(Duration::from_millis(50), asked).await.is_err());
    assert_eq!((ends(), desk.list().len()), ([1, 1], 0));
    let desk = Desk::restore((KEY, Vec::new()), Arc::new(Kept { fails: true, ..Kept::default() })).unwrap().0;
    let asked = desk.ask(&guard, ticket(), desk.bind([b"x".as_slice()])).await;
    assert!(matches!(asked, Err(AskError::Desk(DeskError::NotKept { .. }))));
    assert_eq!(ends(), [2, 2]);
    let desk = self::desk();
    desk.ask(&guard, ticket(), desk.bind([b"x".as_slice()])).await.unwrap();
    assert_eq!((ends(), desk.list().len()), ([3, 2], 1));
}

#[tokio::test]
async fn a_request_has_one_ticket_in_each_other_system_also_after_a_restart() {
    let store = Arc::new(Kept::default());
    let desk = Desk::restore((KEY, Vec::new()), Arc::clone(&store) as Arc<dyn Store>).unwrap().0;
    let (ticket, binding) = (ticket(), desk.bind([b"x".as_slice()]));
    let id = ticket.id;
    desk.open(ticket, binding).await.unwrap();
    let filed = |system: &str, key: &str| Filed { system: system.into(), key: key.into(), url: "https://t/1".into() };
    let mut recorded = 0;
    for (of, filed) in [
        (id, filed("ops", "OPS-1")),
        (id, filed("ops", "OPS-2")),
        (id, filed("desk", "INC1")),
        (TicketId::generate(), filed("ops", "OPS-3")),
    ] {
        let record = |_: &Ticket, _: &Filed| {
            recorded += 1;
            Ok(())
        };
        desk.file(of, filed, record).await.unwrap();
    }
    assert_eq!(recorded, 2, "one in each, of requests that wait");
    let again = Desk::restore((KEY, store.tickets()), store).unwrap().0;
    let keys: Vec<_> = again.list()[0].ticket.filed.iter().map(|filed| filed.key.clone()).collect();
    assert_eq!(keys, ["OPS-1", "INC1"]);
}
