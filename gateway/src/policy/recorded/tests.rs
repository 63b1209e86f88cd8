//! What is decided again is decided as it was, from the record alone.

use super::*;
use crate::policy::fault::Fault;
use crate::policy::load::{Origin, PolicyFile, Source, load};
use crate::policy::table::{self, each_case};
use crate::policy::vocabulary::data::{self, Use};
use crate::policy::vocabulary::names::{ProtocolName, RelationKind};
use crate::policy::vocabulary::network::{self, EndpointFacts};
use crate::policy::vocabulary::postgres::{self, RelationFacts, Statement};
use crate::policy::vocabulary::{self, TargetFacts};
use crate::policy::{Request, record};

/// Policies that read facts of entities behind references: of a target, a view, a relation, what they lie in.
const DEEP: &str = r#"
@id("deep.base") permit(principal, action in [Action::"read", Action::"write", Action::"session", Action::"tunnel", Action::"run"], resource);
@id("deep.data") permit(principal, action in [Data::Action::"unmask", Data::Action::"compare", Data::Action::"export"], resource);
@id("deep.port") @message("m") forbid(principal, action in [Data::Action::"unmask", Data::Action::"compare"], resource)
  when { context.target.port == 5432 && context.target.protocol == Protocol::"postgres" };
@id("deep.within") @message("m") forbid(principal, action in [Data::Action::"compare", Data::Action::"export"], resource)
  when { context has relation && context.relation in Postgres::Schema::"shop/app/public" };
@id("deep.through") @message("m") forbid(principal, action in [Action::"read"], resource is Postgres::Relation)
  when { context has through && context.through.kind == Postgres::RelationKind::"view" && context.database.name == "app" };
@id("deep.classes") @message("m") forbid(principal, action in [Action::"write"], resource is Postgres::Relation)
  when { resource.classes.containsAny([DataClass::"card"]) || resource in Target::"shop" };
@id("deep.host") @message("m") forbid(principal, action, resource is Network::Endpoint)
  when { context has via && context.via.address.isInRange(ip("10.0.0.0/8")) };
"#;

fn set(text: &str) -> PolicySnapshot {
    let deep = PolicyFile { name: "deep.cedar".into(), text: text.into(), guard: false };
    let mut known = crate::policy::KnownIds::default().with_built_in();
    known.targets.insert("shop".into());
    known.classes.insert("card".into());
    let source = Source { origin: Origin::Files(vec![deep]), known, ..Source::default() };
    load(&source, 1).map_err(|faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect::<String>()).unwrap()
}

fn again(set: &PolicySnapshot, request: &Request<'_>) -> Result<Again, NotDecidable> {
    // As the journal gives it back: text.
    let input = record::input(&request.principal.facts(), request.questions).to_string();
    let session = request.session.id.to_string();
    let scene = Scene {
        session: &session,
        login: &request.session.login,
        grants: request.session.grants.iter().map(AsRef::as_ref).collect(),
        at: request.at,
        text: request.questions.iter().find_map(|question| question.text()).map_or("", AsRef::as_ref),
    };
    set.decide_again(&serde_json::from_str(&input).unwrap(), &scene)
}

/// Every case of the shipped tables, by the packs and by policies that look deep: the same as without the record.
#[test]
fn what_the_tables_ask_is_answered_from_the_record_as_it_was() {
    let sets = [load(&Source::default(), 1).unwrap(), set(DEEP)];
    let tables = [
        include_str!("../../../../policies/guard.tests.toml"),
        include_str!("../../../../policies/guard-kubernetes.tests.toml"),
        include_str!("../../../../policies/open.tests.toml"),
    ];
    let (mut cases, mut by_deep) = (0, BTreeSet::new());
    for table in tables {
        each_case(table, |name, request| {
            for set in &sets {
                let (verdict, policies) = asked(set, request);
                let now = again(set, request).unwrap_or_else(|error| panic!("{name}: {error}"));
                by_deep.extend(policies.iter().filter(|id| id.starts_with("deep.")).map(ToString::to_string));
                assert_eq!((now.verdict, now.policies), (verdict, policies), "{name}");
            }
            cases += 1;
        });
    }
    assert!(cases > 150, "{cases} cases");
    assert!(by_deep.len() > 2, "{by_deep:?}");
}

/// What is decided at once, told as what is decided again is.
fn asked(set: &PolicySnapshot, request: &Request<'_>) -> (Verdict, Vec<Arc<str>>) {
    let answers: Vec<_> = request.questions.iter().map(|question| set.answer_as_asked(request, question)).collect();
    let strictest = answers.iter().map(|answer| answer.verdict).max().unwrap();
    let deciding = answers.iter().filter(|answer| answer.verdict == strictest);
    let policies = distinct_ids(deciding.flat_map(|answer| answer.policies.iter()));
    (if strictest == Verdict::Mask { Verdict::Allow } else { strictest }, policies)
}

/// Each of these policies reads what stands behind a reference: it must see there what it saw when it was asked.
#[test]
fn entities_behind_references_are_as_they_were() {
    let target = vocabulary::target(TargetFacts {
        name: "shop",
        protocol: ProtocolName::Postgres,
        address: "10.1.2.3".parse().unwrap(),
        port: 5432,
        environment: Some("scratch"),
    });
    let database = postgres::database(&target, "app");
    let schema = postgres::schema(&database, "public");
    let card = data::class("card", &[]);
    let relation = |name: &str, kind, classes| {
        postgres::relation(&schema, RelationFacts { name, kind, classes, rows_estimate: None })
    };
    let cards = relation("cards", RelationKind::Table, vec![card.clone()]);
    let mut read = Statement::new(database, "SELECT", "".into());
    read.through = Some(relation("v", RelationKind::View, Vec::new()));
    let host = vocabulary::ssh::host(&target, "10.1.2.3".parse().unwrap(), None);
    let facts = EndpointFacts {
        address: "10.9.9.9".parse().unwrap(),
        port: 22,
        names: Vec::new(),
        protocol: ProtocolName::Ssh,
        handling: Handling::Inspected,
    };
    let questions = [
        ("deep.port", data::ask(Use::Unmask, card.clone(), target.clone(), Some(cards.clone()))),
        ("deep.within", data::ask(Use::Export, card, target.clone(), Some(cards.clone()))),
        ("deep.through", postgres::ask(Action::PostgresSelect, cards.clone(), read.clone())),
        ("deep.classes", postgres::ask(Action::PostgresUpdate, cards, read)),
        ("deep.host", network::connect(network::endpoint(&target, facts), Some(&host))),
    ];
    let set = set(DEEP);
    for (policy, question) in questions {
        table::each_case(
            "[[test]]\nname = \"n\"\nrequest = \"q\"\nask = [{ action = \"Postgres::connect\" }]\nexpect = \"allow\"",
            |_, request| {
                let request = Request { questions: std::slice::from_ref(&question), ..*request };
                let now = again(&set, &request).unwrap();
                assert_eq!((now.verdict, now.policies.clone()), asked(&set, &request), "{policy}");
                assert_eq!(now.policies, [policy.into()], "{policy}");
            },
        );
    }
}

#[test]
fn what_is_not_known_is_said_and_never_guessed() {
    let scene = Scene { session: "s", login: "app", grants: Vec::new(), at: Moment::now(), text: "SELECT 1" };
    let reads_text = set(r#"
        @id("t") @message("m") forbid(principal, action == Postgres::Action::"connect", resource)
          when { context.text like "*secret*" || context.session has application };
        @id("p") permit(principal, action in [Action::"session"], resource);"#);
    let connect = |more: &str| {
        format!(
            r#"{{"principal":{{"type":"Workload","id":"w"}},"questions":[{{"action":"Postgres::connect",
            "resource":{{"type":"Postgres::Database","id":"shop/app","attributes":{{"name":"app"{more}}}}},
            "context":{{"database":"Postgres::Database::\"shop/app\"","command":"CONNECT","where":"none","columns":[],
            "inTransaction":false,"batch":1,"opaque":[]}}}}]}}"#
        )
    };
    let decided = |input: &str| reads_text.decide_again(&serde_json::from_str(input).unwrap(), &scene);
    let now = decided(&connect("")).unwrap();
    assert_eq!(now.doubts, BTreeSet::from([Doubt::Text, Doubt::Application]));
    assert!(now.verdict == Verdict::Allow && !now.lasts, "{now:?}");
    assert_eq!(decided("null"), Err(NotDecidable::NothingAsked));
    assert_eq!(decided(r#"{"omitted":"larger than an event may be"}"#), Err(NotDecidable::Omitted));
    for broken in
        [connect(r#","rows":1"#), connect("").replace("connect", "conect"), connect("").replace("none", "nothing")]
    {
        assert!(matches!(decided(&broken), Err(NotDecidable::Unreadable(_))), "{broken}");
    }
}
