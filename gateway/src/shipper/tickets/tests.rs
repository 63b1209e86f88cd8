//! What a ticket says, whatever a runtime wrote, and what is believed of what comes back.

use super::*;
use crate::audit::feed::Feeds;
use crate::bridge::{Bridge, pair};
use crate::config::Place;
use crate::id::TicketId;

const ID: &str = "01a205ac-e000-7122-a1c1-c8380b5f7118";

fn event(kind: &str, body: &Value) -> Event {
    let zeros = "0".repeat(64);
    let line = format!(
        r#"{{"v":1,"journal":"{ID}","session":"{ID}","time":"2026-11-22T23:52:29.418692Z","seq":7,"kind":"{kind}","body":{body},"prev":"{zeros}"}}"#
    );
    Feeds::default().event(line.as_bytes()).unwrap()
}

fn origin() -> Origin {
    Origin { host: ID.parse().unwrap(), host_name: "db-7".to_owned() }
}

fn tickets(system: System, template: Option<&str>) -> Tickets {
    let (ours, _) = pair().unwrap();
    let sockets = Sockets::new(std::sync::Arc::new(Bridge::new(ours).unwrap()), None, "t.example.com").unwrap();
    let to = TicketsTo {
        name: "ops".to_owned(),
        url: Place::parse("https://t.example.com/base").unwrap(),
        system,
        authorization: b"Bearer x".to_vec(),
        template: template.map(str::to_owned),
        console: None,
    };
    Tickets::new(to, sockets)
}

fn jira() -> System {
    System::Jira { project: "OPS".to_owned(), issue_type: "Task".to_owned() }
}

fn requested(summary: &str) -> Value {
    json!({
        "ticket": TicketId::generate(), "workload": "ci/job-1", "destination": "shop/app", "summary": summary, "policies": ["p1", "p2"],
        "groups": ["idp:dba"], "needed": 2, "expires": "2026-01-02T03:04:05Z",
    })
}

#[tokio::test]
async fn a_ticket_says_who_asks_for_what_and_nothing_of_it_is_markup() {
    let body = requested("DELETE FROM [x|http://evil] {noformat}!a! {ticket} @all\u{202e}\u{1b}");
    let event = event("approval.requested", &body);
    let fields = tickets(jira(), None).fields(&origin(), &event, "01a2").unwrap();
    assert_eq!((&fields["project"]["key"], &fields["issuetype"]["name"]), (&json!("OPS"), &json!("Task")));
    assert_eq!(
        (&fields["summary"], &fields["labels"]),
        (&json!("ci/job-1 waits for a yes at shop/app"), &json!(["gateway-01a2"]))
    );
    let text = fields["description"].as_str().unwrap();
    for expected in [
        r"DELETE FROM \[x\|http://evil\] \{noformat\}\!a\! \{ticket\} \@all",
        r"ci/job\-1 on db\-7 waits at shop/app",
        "Held by p1, p2; a yes takes 2 of idp:dba, until 2026\\-01\\-02T03:04:05Z.",
        "Decide: gateway approvals show 01a2",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!text.contains('\u{1b}'));
    let now = tickets(System::ServiceNow { table: "incident".to_owned() }, None);
    let fields = now.fields(&origin(), &event, "01a2").unwrap();
    assert_eq!(fields["correlation_id"], "gateway-01a2");
    assert!(
        fields["description"].as_str().unwrap().contains("[x|http://evil] {noformat}!a! {ticket} @all"),
        "{fields}"
    );
}

#[tokio::test]
async fn a_template_says_the_fields_and_is_still_found_again() {
    let event = event("approval.requested", &requested(&"x".repeat(9_000)));
    let template = r#"{ "summary": "a\nb {summary}", "labels": ["ours"], "customfield_1": { "value": "{needed} {nothing} {" }, "priority": 3 }"#;
    let fields = tickets(jira(), Some(template)).fields(&origin(), &event, "01a2").unwrap();
    let title = fields["summary"].as_str().unwrap();
    assert!(title.starts_with("a b xxx") && title.chars().count() == LONGEST_TITLE, "{title}");
    assert_eq!(fields["labels"], json!(["ours", "gateway-01a2"]));
    assert_eq!((&fields["customfield_1"]["value"], &fields["priority"]), (&json!("2 {nothing} {"), &json!(3)));
    let wrong = tickets(jira(), Some(r#"{ "labels": "ours" }"#));
    assert!(wrong.fields(&origin(), &event, "01a2").unwrap_err().contains("no list"));
    assert!(tickets(jira(), Some("[]")).fields(&origin(), &event, "01a2").unwrap_err().contains("no object"));
}

#[tokio::test]
async fn what_a_system_calls_a_ticket_is_a_key_or_nothing() {
    assert_eq!(of_jira(&json!({ "key": "OPS-12", "id": "1" })).unwrap().key, "OPS-12");
    for other in [
        json!({}),
        json!({ "key": "" }),
        json!({ "key": "../x" }),
        json!({ "key": 12 }),
        json!({ "key": "a\"b" }),
        json!({ "key": "x".repeat(65) }),
    ] {
        assert!(of_jira(&other).is_err(), "{other}");
    }
    let found = of_servicenow(&json!({ "number": "INC1", "sys_id": "0123abcd" })).unwrap();
    let now = tickets(System::ServiceNow { table: "incident".to_owned() }, None);
    assert_eq!(now.page(&found), "https://t.example.com/base/nav_to.do?uri=incident.do%3Fsys_id%3D0123abcd");
    assert_eq!(tickets(jira(), None).page(&found), "https://t.example.com/base/browse/INC1");
}

#[test]
fn what_became_of_a_request_is_a_comment() {
    let of = |kind: &str, body: Value| comment(&event(kind, &body));
    let decided =
        |verdict: &str| json!({ "verdict": verdict, "person": "idp:alice", "channel": "console", "reason": "fine" });
    assert_eq!(of("approval.decided", decided("allow")).unwrap(), "idp:alice said yes in console: fine");
    assert_eq!(of("approval.decided", decided("deny")).unwrap(), "idp:alice said no in console: fine");
    assert_eq!(of("approval.expired", json!({ "reason": "timeout" })).unwrap(), "It is over: timeout");
    assert_eq!(of("approval.filed", json!({})), None);
}
