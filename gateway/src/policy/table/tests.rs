//! The shipped packs against their tables, and that each of their policies is missed when it is taken out.

use super::*;
use crate::policy::explain::explain;
use crate::policy::load::{Source, load};
use crate::policy::vocabulary::names::{Action, RelationKind};
use crate::policy::vocabulary::postgres::{self, RelationFacts, Statement};

/// Reads `DROP name`, and nothing else.
struct Drops;

impl ReadRequest for Drops {
    fn read(&self, request: &str, scene: &Scene<'_>) -> Result<Vec<Arc<Question>>, String> {
        let name = request.strip_prefix("DROP ").ok_or("no DROP")?;
        let database = scene.facts.get("database").and_then(Toml::as_str).unwrap_or("app");
        let database = postgres::database(scene.target, database);
        let facts = RelationFacts { name, kind: RelationKind::Table, classes: Vec::new(), rows_estimate: None };
        let relation = postgres::relation(&postgres::schema(&database, "public"), facts);
        Ok(vec![postgres::ask(Action::PostgresDrop, relation, Statement::new(database, "DROP", request.into()))])
    }
}

fn set() -> PolicySnapshot {
    load(&Source::default(), 1).unwrap()
}

fn failures(cases: &str) -> Vec<Option<String>> {
    let text = format!(
        "[defaults]\nworkload = {{ groups = [\"local:open\"] }}\nenvironments = {{ ci = \"scratch\" }}\n\
         ask = {{ database = \"shop\" }}\n{cases}"
    );
    let report = run_tables(&set(), &[("t.tests.toml".into(), text)], &Drops).unwrap();
    report.cases.into_iter().map(|case| case.failure).collect()
}

fn case(rest: &str) -> String {
    format!("[[test]]\nname = \"n\"\n{rest}\n")
}

#[test]
fn raw_requests_are_read_by_the_caller() {
    let found = failures(
        &[
            case("request = \"DROP orders\"\nexpect = \"deny\"\nby = [\"guard.postgres.destructive\"]"),
            case("request = \"DROP orders\"\nask = [{ target = \"ci\" }]\nexpect = \"allow\""),
            case("request = \"SELECT 1\"\nexpect = \"allow\""),
        ]
        .concat(),
    );
    assert_eq!(found, [None, None, Some("no DROP".to_owned())]);
}

#[test]
fn a_case_that_is_not_met_fails_and_says_why() {
    let read = "request = \"q\"\nask = [{ action = \"Postgres::select\", relation = \"public.orders\" }]\n";
    let create = "request = \"q\"\nask = [{ action = \"Postgres::create\", relation = \"public.orders\" }]\n";
    let found = failures(
        &[
            case(&format!("{read}expect = \"deny\"")),
            case(&format!("{read}expect = \"allow\"\nby = [\"other\"]")),
            case(&format!("{create}expect = \"hold\"\napprovers = [\"okta:dba\"]")),
        ]
        .concat(),
    );
    let expected = [
        "expected deny, got allow by [open]",
        "expected allow by other, got it by [open]",
        "expected approval by [\"okta:dba\"], got [\"local:approvers\"]",
    ];
    assert_eq!(found, expected.map(|text| Some(text.to_owned())));
}

#[test]
fn facts_that_no_question_has_fail() {
    let ask = |facts: &str| case(&format!("request = \"q\"\nask = [{{ {facts} }}]\nexpect = \"allow\""));
    let found = failures(&[
        ask("action = \"Postgres::drpo\""),
        ask("action = \"Postgres::select\", relation = \"public.orders\", wehre = \"key\""),
        ask("action = \"Postgres::select\", relation = \"orders\""),
        ask("action = \"Postgres::select\", relation = \"public.orders\", kind = \"tabel\""),
        ask("action = \"Postgres::select\", relation = \"public.orders\", batch = -1"),
        case("request = \"q\"\nsession = { hour = 24 }\nask = [{ action = \"Postgres::connect\" }]\nexpect = \"allow\""),
    ].concat());
    let expected = [
        "there is no action `Postgres::drpo`",
        "`Postgres::select` has no fact `wehre`",
        "`orders` lacks its schema: `public.orders`",
        "`kind` cannot be `tabel`",
        "`batch` cannot be -1",
        "a session has no `hour` of that kind",
    ];
    assert_eq!(found, expected.map(|text| Some(text.to_owned())));
}

#[test]
fn a_table_that_cannot_be_read_is_a_fault_with_its_place() {
    let tables = [("a.tests.toml".to_owned(), "\n[[test]]\nnmae = \"x\"\n".to_owned())];
    let faults = run_tables(&set(), &tables, &NoRawRequests).unwrap_err();
    assert!(faults[0].to_string().starts_with("a.tests.toml:3:1: unknown field `nmae`"), "{faults:?}");
}

#[test]
fn an_explanation_has_facts_and_policies_and_no_text() {
    let facts: Table = "action = \"Postgres::create\"\nrelation = \"public.notes\"".parse().unwrap();
    let question = ask::question(&facts, &Table::new(), &Surroundings::default(), "CREATE TABLE secret-text").unwrap();
    let (session, at) = session(&Table::new()).unwrap();
    let principal = workload(&"groups = [\"local:open\"]".parse().unwrap()).unwrap();
    let request = Request { principal: &principal, session: &session, at, questions: &[question] };
    let explanation = explain(&set(), &request);
    assert_eq!(explanation.decision, "hold");
    assert_eq!(explanation.policies, ["guard.postgres.schema-change"]);
    assert_eq!(explanation.approvers, ["local:approvers"]);
    let shown = format!("{explanation}\n{}", serde_json::to_string(&explanation).unwrap());
    assert!(shown.contains("undeclared/app/public.notes") && shown.contains("Target::"), "{shown}");
    assert!(!shown.contains("secret-text"), "{shown}");
}
