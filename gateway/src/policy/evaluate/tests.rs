//! How questions are decided: what denies, what holds, what an error does, and that slicing and caching change nothing.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::*;
use crate::id::SessionId;
use crate::instructions::at_most;
use crate::policy::decision::Denial;
use crate::policy::load::{GUARD, KnownIds, OPEN, PolicyFile, Source, build};
use crate::policy::permit::Change;
use crate::policy::principal::{Principal, WorkloadFacts};
use crate::policy::request::{Entity, Fields, Moment, Session};
use crate::policy::vocabulary::command::CommandFacts;
use crate::policy::vocabulary::data::{self, Use};
use crate::policy::vocabulary::names::{
    EntityType, FunctionKind, ObjectKind, ProtocolName, RelationKind, Weekday, Where,
};
use crate::policy::vocabulary::network::{EndpointFacts, connect, endpoint};

use crate::policy::vocabulary::postgres::{self, RelationFacts, Statement};
use crate::policy::vocabulary::{TargetFacts, ssh, target};

fn set(text: &str) -> PolicySnapshot {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let known = KnownIds {
        groups: names(&["local:a", "local:b"]),
        classes: names(&["card", "pci"]),
        attachments: names(&["agent"]),
        ..KnownIds::default()
    };
    let file = PolicyFile { name: "p.cedar".into(), text: text.into(), guard: false };
    build(&[file], &Source { known, ..Source::default() }, 7).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn session() -> Session {
    Session { id: SessionId::generate(), login: "app".into(), application: None, grants: Arc::default() }
}

fn principal(groups: &[&str]) -> Principal {
    let groups = groups.iter().map(|group| (*group).into()).collect();
    Principal::new(WorkloadFacts { name: "w".into(), attachment: "agent".into(), groups, ..WorkloadFacts::default() })
}

fn at(hour: u8) -> Moment {
    Moment { seconds: 1_795_392_000 + i64::from(hour) * 3_600, weekday: Weekday::Mon, hour }
}

fn declared(environment: Option<&str>) -> Arc<Entity> {
    let address = "10.0.0.5".parse().unwrap();
    target(TargetFacts { name: "undeclared", protocol: ProtocolName::Postgres, address, port: 5432, environment })
}

fn database() -> Arc<Entity> {
    postgres::database(&declared(None), "shop")
}

fn orders(database: &Arc<Entity>, kind: RelationKind) -> Arc<Entity> {
    let facts = RelationFacts { name: "orders", kind, classes: Vec::new(), rows_estimate: None };
    postgres::relation(&postgres::schema(database, "public"), facts)
}

fn statement(text: &str) -> Statement {
    Statement::new(database(), "SELECT", text.into())
}

fn on_orders(action: Action) -> Arc<Question> {
    postgres::ask(action, orders(&database(), RelationKind::Table), statement(""))
}

fn about_card(usage: Use) -> Arc<Question> {
    data::ask(usage, data::class("card", &[data::class("pci", &[])]), declared(None), None)
}

fn judge(set: &PolicySnapshot, questions: &[Arc<Question>], mode: Mode) -> Decision {
    set.judge(&Request { principal: &principal(&[]), session: &session(), at: at(10), questions }, mode)
}

fn dial(set: &PolicySnapshot, handling: Handling, mode: Mode) -> ConnectDecision {
    let address = "10.0.0.5".parse().unwrap();
    let facts = EndpointFacts { address, port: 22, names: Vec::new(), protocol: ProtocolName::Ssh, handling };
    let questions = [connect(endpoint(&declared(None), facts), None)];
    set.judge_connect(
        &Request { principal: &principal(&[]), session: &session(), at: at(10), questions: &questions },
        mode,
    )
}

fn denied(decision: Decision) -> Denial {
    let Decision::Deny(denial) = decision else { panic!("{decision:?}") };
    denial
}

const READ: &str = "@id(\"read\") permit (principal, action in Action::\"read\", resource);";

fn ids(policies: &[Arc<str>]) -> Vec<&str> {
    policies.iter().map(AsRef::as_ref).collect()
}

#[test]
fn denies_what_no_policy_permits_and_says_so() {
    let denial = denied(judge(&set(READ), &[on_orders(Action::PostgresDelete)], Mode::Enforce));
    let expected = "no policy permits Postgres::delete on Postgres::Relation \"undeclared/shop/public.orders\"";
    assert_eq!((denial.to_string().as_str(), denial.policies().len()), (expected, 0));
}

#[test]
fn a_known_decision_takes_so_many_instructions() {
    let (set, principal, session, questions) =
        (set(&format!("{GUARD}\n{READ}")), principal(&[]), session(), [on_orders(Action::PostgresSelect)]);
    at_most(module_path!(), "a_known_decision_takes_so_many_instructions", 7_800, || {
        let request = Request { principal: &principal, session: &session, at: at(10), questions: &questions };
        let decision = set.judge(&request, Mode::Enforce);
        assert!(matches!(decision, Decision::Allow(_)), "{decision:?}");
    });
}

#[test]
fn denies_a_request_that_asks_nothing_in_either_mode() {
    assert!(!denied(judge(&set(READ), &[], Mode::Enforce)).errors().is_empty());
    denied(judge(&set(READ), &[], Mode::Observe));
}

#[test]
fn names_who_allowed() {
    let Decision::Allow(permit) = judge(&set(READ), &[on_orders(Action::PostgresSelect)], Mode::Enforce) else {
        panic!()
    };
    assert_eq!((ids(&permit.policies()), permit.epoch().counter()), (vec!["read"], 7));
}

#[test]
fn a_forbid_that_overflows_denies() {
    let forbid = "@id(\"big\") forbid (principal, action == Postgres::Action::\"select\", resource)
        when { context has limit && context.limit * 1000 > 5000000 };";
    let set = set(&format!("{READ}\n{forbid}"));
    let with_limit = |limit| {
        let facts = Statement { limit: Some(limit), ..statement("") };
        judge(
            &set,
            &[postgres::ask(Action::PostgresSelect, orders(&database(), RelationKind::Table), facts)],
            Mode::Enforce,
        )
    };
    assert!(matches!(with_limit(1), Decision::Allow(_)));
    assert_eq!(ids(denied(with_limit(6_000)).policies()), ["big"]);
    let denial = denied(with_limit(i64::MAX / 10));
    assert!(denial.errors()[0].contains("overflow"), "{denial:?}");
    assert!(!denial.to_string().contains("overflow"), "the client does not read the cause");
}

#[test]
fn facts_that_do_not_fit_the_schema_are_denied() {
    let set = set(READ);
    let bare = Question::new(Action::PostgresSelect, orders(&database(), RelationKind::Table), Fields::new());
    assert!(denied(judge(&set, &[bare], Mode::Enforce)).errors()[0].contains("do not fit"));
    let role = postgres::role(&declared(None), "r", false);
    let question = postgres::ask(Action::PostgresSelect, role, statement(""));
    assert!(denied(judge(&set, &[question], Mode::Enforce)).errors()[0].contains("does not know"));
    let untyped = Entity::new(EntityType::Relation, "x", vec![("kind", "table".into())], &[]);
    let question = postgres::ask(Action::PostgresSelect, untyped, statement(""));
    assert!(!denied(judge(&set, &[question], Mode::Enforce)).errors().is_empty());
}

const HOLD_A: &str = "@id(\"a\") @approval(\"local:a\") @message(\"ask a\") forbid (principal, action, resource);";
const HOLD_B: &str =
    "@id(\"b\") @approval(\"local:b\") @approvers(\"2\") forbid (principal, action in Action::\"read\", resource);";

#[test]
fn holds_when_approval_is_all_that_is_missing() {
    let question = [on_orders(Action::PostgresSelect)];
    let Decision::Hold(hold) = judge(&set(&format!("{READ}{HOLD_A}{HOLD_B}")), &question, Mode::Enforce) else {
        panic!()
    };
    let votes: Vec<String> = hold.held().votes().iter().map(ToString::to_string).collect();
    assert_eq!(votes, ["local:a", "2 of local:b"]);
    assert_eq!((ids(hold.held().policies()), ids(hold.held().messages())), (vec!["a", "b"], vec!["ask a"]));
    assert_eq!(hold.approve().epoch().counter(), 7);
}

#[test]
fn the_most_generous_permit_caps_and_so_does_what_was_approved() {
    let read = |id: &str, cap: &str| {
        format!("@id(\"{id}\") {cap} permit (principal, action in [Action::\"read\", Action::\"write\"], resource);")
    };
    let caps = |policies: &str, actions: &[Action]| {
        let questions: Vec<_> = actions.iter().map(|action| on_orders(*action)).collect();
        let permit = match judge(&set(policies), &questions, Mode::Enforce) {
            Decision::Allow(permit) => permit,
            Decision::Hold(hold) => hold.approve(),
            Decision::Deny(denial) => panic!("{denial}"),
        };
        (permit.caps().rows, permit.caps().affected)
    };
    let (few, many) = (read("few", "@max_rows(\"5\")"), read("many", "@max_rows(\"50\") @max_affected(\"9\")"));
    assert_eq!(caps(&few, &[Action::PostgresSelect]), (Some(5), None));
    assert_eq!(caps(&format!("{few}{many}"), &[Action::PostgresSelect]), (Some(50), None));
    assert_eq!(caps(&format!("{few}{}", read("any", "")), &[Action::PostgresSelect]), (None, None));
    let held = "@id(\"h\") @approval(\"local:a\") @max_affected(\"2\") forbid (principal, action in Action::\"write\", resource);";
    let both = [Action::PostgresSelect, Action::PostgresUpdate];
    assert_eq!(caps(&format!("{many}{held}"), &both), (Some(50), Some(2)));
    let Decision::Allow(observed) = judge(&set(&few), &[on_orders(Action::PostgresSelect)], Mode::Observe) else {
        panic!()
    };
    assert!(!observed.caps().is_some());
}

#[test]
fn people_raise_the_cap_of_a_permit_that_says_so_and_no_other() {
    let write = |id: &str, words: &str| {
        format!("@id(\"{id}\") {words} permit (principal, action in Action::\"write\", resource);")
    };
    let comes_to = |policies: &str, mode, rows| {
        let permit = match judge(&set(policies), &[on_orders(Action::PostgresUpdate)], mode) {
            Decision::Allow(permit) => permit,
            Decision::Hold(hold) => hold.approve(),
            Decision::Deny(denial) => panic!("{denial}"),
        };
        match permit.change(rows) {
            Change::Within(_) => "within".to_owned(),
            Change::Waits(hold) => format!("{} by {}", hold.held().policies().join("+"), hold.held().approvers()),
            Change::Over => "over".to_owned(),
        }
    };
    let few = write("few", "@max_affected(\"5\") @approval(\"local:a\") @approvers(\"2\")");
    let ten = write("ten", "@max_affected(\"10\")");
    let other = write("other", "@max_affected(\"7\") @approval(\"local:b\")");
    let bound = "@id(\"h\") @approval(\"local:a\") @max_affected(\"20\") forbid (principal, action in Action::\"write\", resource);";
    for (policies, rows, expected) in [
        (few.clone(), 5, "within"),
        (few.clone(), 6, "few by 2 of local:a"),
        (few.clone(), u64::MAX, "few by 2 of local:a"),
        (ten.clone(), 11, "over"),
        // The most generous counts, and what people raise is raised by all who may.
        (format!("{few}{ten}"), 10, "within"),
        (format!("{few}{ten}"), 11, "few by 2 of local:a"),
        (format!("{few}{other}"), 8, "few+other by 2 of local:a and local:b"),
        (format!("{few}{}", write("any", "")), 1_000, "within"),
        (format!("{few}{bound}"), 20, "few by 2 of local:a"),
        (format!("{few}{bound}"), 21, "over"),
        (format!("{}{bound}", write("any", "")), 21, "over"),
    ] {
        assert_eq!(comes_to(&policies, Mode::Enforce, rows), expected, "{rows}: {policies}");
    }
    assert_eq!(comes_to(&ten, Mode::Observe, 11), "within");
}

#[test]
fn does_not_hold_what_approval_would_not_allow() {
    let question = [on_orders(Action::PostgresSelect)];
    let denial = denied(judge(&set(HOLD_A), &question, Mode::Enforce));
    assert!(denial.to_string().starts_with("no policy permits Postgres::select"), "{denial}");
    let never = "@id(\"never\") @message(\"no\") forbid (principal, action in Action::\"read\", resource);";
    let denial = denied(judge(&set(&format!("{READ}{HOLD_A}{never}")), &question, Mode::Enforce));
    assert!(ids(denial.policies()).contains(&"never"));
    assert_eq!(denial.to_string(), "no", "what waits for a person is not the reason");
}

#[test]
fn the_strictest_question_decides() {
    let set = set(&format!("{READ}@id(\"write\") permit (principal, action in Action::\"write\", resource);{HOLD_B}"));
    let held = [on_orders(Action::PostgresInsert), on_orders(Action::PostgresSelect)];
    assert!(matches!(judge(&set, &held, Mode::Enforce), Decision::Hold(_)));
    let refused =
        [on_orders(Action::PostgresSelect), on_orders(Action::PostgresDrop), on_orders(Action::PostgresInsert)];
    assert!(denied(judge(&set, &refused, Mode::Enforce)).asked().starts_with("Postgres::drop"));
}

#[test]
fn a_class_that_nobody_permits_is_masked_not_denied() {
    let questions = [on_orders(Action::PostgresSelect), about_card(Use::Unmask)];
    let Decision::Allow(permit) = judge(&set(READ), &questions, Mode::Enforce) else { panic!() };
    assert_eq!(permit.masked().map(AsRef::as_ref).collect::<Vec<&str>>(), ["card"]);
    denied(judge(&set(READ), &[about_card(Use::Compare)], Mode::Enforce));
    let unmask = "@id(\"see\") permit (principal, action == Data::Action::\"unmask\", resource in DataClass::\"pci\");";
    let Decision::Allow(permit) = judge(&set(&format!("{READ}{unmask}")), &questions, Mode::Enforce) else { panic!() };
    assert_eq!(permit.masked().count(), 0);
}

#[test]
fn observing_blocks_nothing_but_what_data_may_be_used_for() {
    let set = set(&format!("{READ}{HOLD_B}"));
    let Decision::Allow(permit) = judge(&set, &[on_orders(Action::PostgresDrop)], Mode::Observe) else { panic!() };
    assert!(matches!(permit.would_be(), Some(WouldBe::Denied(_))));
    let Decision::Allow(permit) = judge(&set, &[on_orders(Action::PostgresSelect)], Mode::Observe) else { panic!() };
    assert!(matches!(permit.would_be(), Some(WouldBe::Held(held)) if ids(held.policies()) == ["b"]));
    let questions = [on_orders(Action::PostgresDrop), about_card(Use::Unmask)];
    let Decision::Allow(permit) = judge(&set, &questions, Mode::Observe) else { panic!() };
    assert_eq!(permit.masked().count(), 1);
    denied(judge(&set, &[on_orders(Action::PostgresSelect), about_card(Use::Compare)], Mode::Observe));
}

#[test]
fn an_inspected_connection_needs_no_permit_but_a_forbid_stops_it() {
    let none = set(READ);
    assert!(matches!(dial(&none, Handling::Inspected, Mode::Enforce), ConnectDecision::Allow(_)));
    assert!(matches!(dial(&none, Handling::Unread, Mode::Enforce), ConnectDecision::Deny(_)));
    assert!(matches!(dial(&none, Handling::Passthrough, Mode::Enforce), ConnectDecision::Deny(_)));
    for annotation in ["", "@approval(\"local:a\")"] {
        let forbid =
            format!("@id(\"f\") {annotation} forbid (principal, action == Network::Action::\"connect\", resource);");
        for permit in ["", "@id(\"p\") permit (principal, action in Action::\"tunnel\", resource);"] {
            let set = set(&format!("{forbid}{permit}"));
            assert!(matches!(dial(&set, Handling::Inspected, Mode::Enforce), ConnectDecision::Deny(_)));
            let ConnectDecision::Allow(permit) = dial(&set, Handling::Inspected, Mode::Observe) else { panic!() };
            assert!(matches!(permit.would_be(), Some(WouldBe::Denied(_))));
        }
    }
}

#[test]
fn a_connect_permit_is_given_for_connections_only() {
    let (set, questions) = (set(READ), [on_orders(Action::PostgresSelect)]);
    let request = Request { principal: &principal(&[]), session: &session(), at: at(10), questions: &questions };
    assert!(matches!(set.judge_connect(&request, Mode::Enforce), ConnectDecision::Deny(_)));
    let nothing = Request { questions: &[], ..request };
    assert!(matches!(set.judge_connect(&nothing, Mode::Observe), ConnectDecision::Allow(_)));
}

/// The verdicts of `set` on the same question in each of those circumstances.
fn verdicts(set: &PolicySnapshot, cases: &[(Session, Moment, &str)]) -> Vec<Verdict> {
    let relation = orders(&database(), RelationKind::Table);
    let ask = |(session, at, text): &(Session, Moment, &str)| {
        let question = postgres::ask(Action::PostgresSelect, relation.clone(), statement(text));
        let request = Request { principal: &principal(&[]), session, at: *at, questions: &[] };
        set.answer(&request, &question).verdict
    };
    cases.iter().map(ask).collect()
}

fn reading(condition: &str) -> PolicySnapshot {
    let forbid = format!(
        "@id(\"f\") forbid (principal, action == Postgres::Action::\"select\", resource) when {{ {condition} }};"
    );
    set(&format!("{READ}{forbid}"))
}

#[test]
fn equal_questions_are_evaluated_once() {
    let set = set(READ);
    verdicts(&set, &[(session(), at(1), "a"), (session(), at(2), "b"), (session(), at(2), "b")]);
    assert_eq!(set.cache.len(), 1);
}

#[test]
fn a_policy_that_reads_text_time_or_session_is_not_cached() {
    let cases = [
        "context.text like \"*secret*\"",
        "context.session.id == \"x\"",
        "context.session.now > datetime(\"2026-11-23T05:00:00Z\")",
    ];
    for condition in cases {
        let set = reading(condition);
        verdicts(&set, &[(session(), at(1), "a"), (session(), at(9), "secret")]);
        assert_eq!(set.cache.len(), 0, "{condition}");
    }
    let texts = [(session(), at(1), "select 1"), (session(), at(1), "select secret"), (session(), at(1), "select 1")];
    let expected = [Verdict::Allow, Verdict::Deny, Verdict::Allow];
    assert_eq!(verdicts(&reading(cases[0]), &texts), expected);
    let times = [(session(), at(1), ""), (session(), at(9), ""), (session(), at(1), "")];
    assert_eq!(verdicts(&reading(cases[2]), &times), expected);
}

#[test]
fn what_a_policy_reads_is_part_of_what_is_cached() {
    let grant = |names: &[&str]| Session {
        grants: Arc::new(names.iter().map(|name| Arc::from(*name)).collect::<BTreeSet<_>>()),
        ..session()
    };
    let calls_itself = |name: &str| Session { application: Some(name.into()), ..session() };
    let cases = [
        ("context.session.hour >= 9", [(session(), at(1), ""), (session(), at(9), "")]),
        ("context.session.grants.contains(\"g\")", [(grant(&[]), at(1), ""), (grant(&["g"]), at(1), "")]),
        (
            "context.session has application && context.session.application == \"psql\"",
            [(session(), at(1), ""), (calls_itself("psql"), at(1), "")],
        ),
        (
            "context.session.login == \"root\"",
            [(session(), at(1), ""), (Session { login: "root".into(), ..session() }, at(1), "")],
        ),
    ];
    for (condition, [first, second]) in cases {
        let (set, again) = (reading(condition), first.clone());
        assert_eq!(
            verdicts(&set, &[first, second, again]),
            [Verdict::Allow, Verdict::Deny, Verdict::Allow],
            "{condition}"
        );
        assert_eq!(set.cache.len(), 2, "{condition}");
    }
}

#[test]
fn a_heavy_question_is_decided_and_not_kept() {
    let set = set(READ);
    let facts = Statement { columns: (0..3_000).map(|n| format!("column{n}").into()).collect(), ..statement("") };
    let question = postgres::ask(Action::PostgresSelect, orders(&database(), RelationKind::Table), facts);
    assert!(matches!(judge(&set, &[question], Mode::Enforce), Decision::Allow(_)));
    assert_eq!(set.cache.len(), 0);
}

#[test]
fn another_principal_is_another_decision() {
    let set = set("@id(\"a\") permit (principal in Group::\"local:a\", action in Action::\"read\", resource);");
    let (session, questions) = (session(), [on_orders(Action::PostgresSelect)]);
    let allowed = |groups: &[&str]| {
        let request = Request { principal: &principal(groups), session: &session, at: at(1), questions: &questions };
        matches!(set.judge(&request, Mode::Enforce), Decision::Allow(_))
    };
    assert_eq!([allowed(&["local:a"]), allowed(&[]), allowed(&["local:a", "local:b"])], [true, false, true]);
}

/// One policy for each kind of scope, beside the shipped packs.
const POOL: &str = r#"
    @id("x1") permit (principal, action == Postgres::Action::"select", resource is Postgres::Relation);
    @id("x2") permit (principal in Group::"local:a", action in [Action::"write", Action::"run"], resource in Target::"undeclared");
    @id("x3") permit (principal, action in Action::"session", resource == Postgres::Database::"undeclared/shop");
    @id("x4") permit (principal, action in Action::"ddl", resource is Postgres::Relation in Environment::"scratch");
    @id("x5") forbid (principal in Group::"local:b", action, resource);
    @id("x6") forbid (principal, action, resource is Postgres::Function) when { resource.name like "f*" };
    @id("x7") @approval("local:a") forbid (principal, action in [Postgres::Action::"insert", Postgres::Action::"connect"], resource)
        when { context.session.hour < 8 || context.text like "*x*" };
    @id("x8") forbid (principal, action == Postgres::Action::"select", resource) when { context.batch + 9223372036854775806 > 1 };
    @id("x9") permit (principal, action in [Data::Action::"unmask", Data::Action::"compare"], resource in DataClass::"pci")
        when { context.target in Environment::"scratch" };
"#;

/// Checked once: that takes longer than all decisions of a test.
static WHOLE_POOL: LazyLock<PolicySnapshot> = LazyLock::new(|| set(&format!("{GUARD}\n{OPEN}\n{POOL}")));

static FORBID_ALL: LazyLock<PolicySnapshot> =
    LazyLock::new(|| set("@id(\"no\") forbid (principal, action, resource);"));

fn any_policies() -> impl Strategy<Value = Vec<Arc<PolicyEntry>>> {
    (0..=WHOLE_POOL.entries.len()).prop_flat_map(|count| subsequence(WHOLE_POOL.entries.clone(), count))
}

fn chosen(entries: Vec<Arc<PolicyEntry>>, sliced: bool) -> PolicySnapshot {
    let pool = &*WHOLE_POOL;
    let slices =
        if sliced { Slices::new(pool.schema, &entries).unwrap() } else { Slices::unsliced(pool.schema, &entries) };
    PolicySnapshot {
        schema: pool.schema,
        epoch: pool.epoch,
        name: OnceLock::new(),
        entries,
        slices,
        cache: Cache::new(),
    }
}

/// What the policies of the pool are about.
static ASKED: LazyLock<Vec<Action>> = LazyLock::new(|| {
    let all = Action::ALL.iter().copied();
    all.filter(|action| ["Postgres", "Data", "Network", "Ssh"].contains(&action.parts().0)).collect()
});

#[derive(Clone, Debug)]
struct Asked {
    action: Action,
    shape: Index,
    kind: Index,
    narrowed: Index,
    scratch: bool,
    batch: u32,
    opaque: bool,
    text: &'static str,
}

fn asked() -> impl Strategy<Value = Asked> {
    let indices = (any::<Index>(), any::<Index>(), any::<Index>());
    let text = prop_oneof![Just("select"), Just("xx")];
    (any::<Index>(), indices, any::<bool>(), 0..4u32, any::<bool>(), text).prop_map(
        |(action, (shape, kind, narrowed), scratch, batch, opaque, text)| Asked {
            action: *action.get(&ASKED),
            shape,
            kind,
            narrowed,
            scratch,
            batch,
            opaque,
            text,
        },
    )
}

impl Asked {
    fn question(&self) -> Arc<Question> {
        let target = declared(self.scratch.then_some("scratch"));
        let usage = match self.action {
            Action::DataUnmask => Some(Use::Unmask),
            Action::DataCompare => Some(Use::Compare),
            Action::DataExport => Some(Use::Export),
            _ => None,
        };
        if let Some(usage) = usage {
            return data::ask(usage, data::class("card", &[data::class("pci", &[])]), target, None);
        }
        if self.action == Action::NetworkConnect {
            let (address, handling) = ("10.0.0.5".parse().unwrap(), *self.kind.get(Handling::ALL));
            let protocol = *self.shape.get(ProtocolName::ALL);
            let facts = EndpointFacts { address, port: 22, names: Vec::new(), protocol, handling };
            let via = ssh::host(&target, address, None);
            return connect(endpoint(&target, facts), Some(&via).filter(|_| self.opaque));
        }
        if self.action.parts().0 == "Ssh" {
            return self.ssh(&target);
        }
        let database = postgres::database(&target, "shop");
        let schema = postgres::schema(&database, "public");
        let shapes = [
            orders(&database, *self.kind.get(RelationKind::ALL)),
            postgres::function(&schema, "f", *self.kind.get(FunctionKind::ALL)),
            postgres::object(&database, Some(&schema), *self.kind.get(ObjectKind::ALL), "o"),
            postgres::role(&target, "r", true),
            schema.clone(),
            database.clone(),
        ];
        // A resource that the action does not have is refused either way; most of the time take one that it has.
        let known = pool_schema_kinds(self.action);
        let fitting: Vec<_> = shapes.into_iter().filter(|shape| known.contains(&shape.kind())).collect();
        let facts = Statement {
            narrowed: *self.narrowed.get(Where::ALL),
            batch: self.batch,
            opaque: if self.opaque { vec!["trigger".into()] } else { Vec::new() },
            database,
            ..statement(self.text)
        };
        postgres::ask(self.action, self.shape.get(&fitting).clone(), facts)
    }
}

impl Asked {
    fn ssh(&self, target: &Arc<Entity>) -> Arc<Question> {
        let account = ssh::account(&ssh::host(target, "10.0.0.5".parse().unwrap(), None), "deploy");
        match self.action {
            Action::SshLogin => ssh::login(account),
            Action::SshExec => ssh::exec(account, &CommandFacts::default(), self.opaque, self.text.into()),
            Action::SshShell => ssh::open(self.action, account, self.opaque),
            action => {
                let facts = ssh::FileFacts { path: self.text, new_path: None, startup: self.opaque };
                ssh::file(action, account, facts)
            }
        }
    }
}

fn pool_schema_kinds(action: Action) -> Vec<EntityType> {
    let schema = crate::policy::schema::schema().unwrap();
    let names: Vec<_> = schema.cedar().resources_for_action(schema.action(action).unwrap()).unwrap().collect();
    EntityType::ALL.iter().copied().filter(|kind| names.contains(&schema.type_name(*kind).unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_rule_denies(asked in asked()) {
        let nothing = chosen(Vec::new(), true);
        let decision = judge(&nothing, &[asked.question()], Mode::Enforce);
        match asked.action {
            Action::DataUnmask => prop_assert!(matches!(decision, Decision::Allow(permit) if permit.masked().count() == 1)),
            _ => prop_assert!(matches!(decision, Decision::Deny(_))),
        }
    }

    #[test]
    fn slices_decide_as_the_whole_set_and_order_does_not_matter(
        asked in asked(),
        policies in any_policies(),
        groups in subsequence(vec!["local:a", "local:b", "local:open", "local:dba"], 0..=4),
        hour in 0..24u8,
    ) {
        let mut entries = policies;
        let (question, session, principal) = (asked.question(), session(), principal(&groups));
        let request = Request { principal: &principal, session: &session, at: at(hour), questions: &[] };
        let sliced = chosen(entries.clone(), true).answer(&request, &question);
        let whole = chosen(entries.clone(), false).answer(&request, &question);
        prop_assert_eq!(&sliced, &whole);
        entries.reverse();
        prop_assert_eq!(&sliced, &chosen(entries, true).answer(&request, &question));
    }

    #[test]
    fn a_forbid_wins_over_any_permit(asked in asked(), policies in any_policies()) {
        let mut entries = policies;
        entries.extend(FORBID_ALL.entries.iter().cloned());
        let (session, principal) = (session(), principal(&["local:open", "local:a"]));
        let request = Request { principal: &principal, session: &session, at: at(10), questions: &[] };
        let answer = chosen(entries, true).answer(&request, &asked.question());
        prop_assert!(answer.verdict == Verdict::Deny || (asked.action == Action::DataUnmask && answer.verdict == Verdict::Mask));
    }
}
