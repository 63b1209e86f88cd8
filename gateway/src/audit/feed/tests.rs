//! Every kind of event is told, in every form, and what is not wanted is not.

use super::*;
use crate::audit::event;

fn origin() -> Origin {
    Origin { host: "01a205ac-e000-7122-a1c1-c8380b5f7118".parse().unwrap(), host_name: "db-7".into() }
}

fn line(kind: &str, body: &Value) -> Vec<u8> {
    let id = "01a205ac-e000-7122-a1c1-c8380b5f7118";
    let zeros = "0".repeat(64);
    format!(
        r#"{{"v":1,"journal":"{id}","session":"{id}","time":"2026-11-22T23:52:29.418692Z","seq":7,"kind":"{kind}","body":{body},"prev":"{zeros}"}}"#
    )
    .into_bytes()
}

fn held() -> Value {
    json!({
        "text": "DELETE FROM <!everyone>", "verb": "delete", "who": { "workload": "ci", "pid": 7, "uid": 1000, "executable": "/bin/psql" },
        "destination": { "address": "10.0.0.9", "port": 5432, "protocol": "postgres", "target": "shop" },
        "decision": { "verdict": "deny", "policies": ["p"], "input": { "secret": "much" } },
    })
}

#[test]
fn what_is_wanted_is_told_without_the_input_of_decisions() {
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let of = |kinds: &[&str], verdicts: &[&str]| Feeds::new(text(kinds), text(verdicts));
    let statement = line("postgres.statement", &held());
    let event = of(&[], &[]).event(&statement).unwrap();
    assert!(!event.json().to_string().contains("much"), "{event:?}");
    assert_eq!((event.kind.as_str(), event.seq, event.severity()), ("postgres.statement", Seq(7), Severity::Warning));
    assert!(of(&["postgres."], &["deny"]).event(&statement).is_some());
    for other in [of(&["ssh."], &[]), of(&["postgres"], &[]), of(&[], &["allow"])] {
        assert_eq!(other.event(&statement), None, "{other:?}");
    }
    let gap = line("gap", &json!({ "name": "no_lsm_hooks" }));
    assert_eq!(of(&["gap"], &["deny"]).event(&gap).unwrap().severity(), Severity::Error, "it has no verdict");
    assert_eq!(of(&[], &[]).event(b"no line"), None);
}

#[test]
fn every_kind_has_a_class_of_ocsf_and_a_record_of_opentelemetry() {
    for kind in event::Event::KINDS {
        let event = Feeds::default().event(&line(kind, &held())).unwrap();
        let told = Form::Ocsf.write(&origin(), std::slice::from_ref(&event));
        let one = &told[0];
        let number = |key: &str| one[key].as_u64().unwrap_or_else(|| panic!("{key}: {one}"));
        assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"), "{kind}");
        assert_eq!(number("category_uid"), number("class_uid") / 1_000, "{kind}");
        assert_eq!((number("time"), one["metadata"]["log_name"].as_str()), (1_795_391_549_418, Some(*kind)));
        assert_eq!((number("action_id"), number("disposition_id")), (2, 2));
        assert_eq!(one["unmapped"]["text"], "DELETE FROM <!everyone>");
        assert_eq!(one["actor"]["process"]["user"]["uid"], "1000");
        let told = Form::Otlp.write(&origin(), &[event]);
        let record = &told["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
        assert_eq!(
            (record["timeUnixNano"].as_str(), record["eventName"].as_str()),
            (Some("1795391549418692000"), Some(*kind))
        );
    }
}

#[test]
fn a_chat_reads_who_wants_what_and_nobody_is_called_by_it() {
    let body =
        json!({ "workload": "ci", "summary": "DELETE <!channel> & more\n*", "ticket": "01a2", "policies": ["p"] });
    let event = Feeds::default().event(&line("approval.requested", &body)).unwrap();
    let form = Form::Slack { console: Some("https://gateway.example.com"), buttons: false };
    let text = form.write(&origin(), &[event.clone(), event])["text"].as_str().unwrap().to_owned();
    let expected = "*approval.requested* ci on db-7: DELETE &lt;!channel&gt; &amp; more * <https://gateway.example.com/requests/01a2|decide>";
    assert_eq!(text.lines().collect::<Vec<_>>(), [expected, expected]);
}

#[test]
fn what_waits_ends_a_message_that_is_answered_there() {
    let body = json!({ "workload": "ci", "summary": "DELETE *", "ticket": "01a2" });
    let events = [("approval.consumed", &body), ("approval.requested", &body)]
        .map(|(kind, body)| Feeds::default().event(&line(kind, body)).unwrap());
    let form = Form::Slack { console: None, buttons: true };
    let message = form.write(&origin(), &events);
    let blocks = message["blocks"].as_array().unwrap();
    let kinds: Vec<_> = blocks.iter().map(|block| block["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["section", "section", "input", "actions"]);
    let buttons: Vec<_> =
        blocks[3]["elements"].as_array().unwrap().iter().map(|one| (&one["action_id"], &one["value"])).collect();
    assert_eq!(buttons, [(&json!(APPROVE), &json!("01a2")), (&json!(DENY), &json!("01a2"))]);
    assert!(events[1].asks() && !events[0].asks());
    assert_eq!(form.write(&origin(), &events[..1])["blocks"], Value::Null, "nothing waits");
}
