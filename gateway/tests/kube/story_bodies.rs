//! Bodies in the record: what was sent and what was got, where policy has it kept, and nothing of a Secret.
//!
//! In: kubectl at a real API server, policies with `@record_bytes`. Out: outcomes with the beginnings of bodies as the client got
//! them; a reason where they are left out.

use serde_json::Value;

use crate::site::Site;

const POLICIES: &str = r#"
@id("all") @record_bytes("1000") permit (principal, action in [Action::"read", Action::"write"], resource);
"#;
const UNMASK: &str =
    r#"@id("clear") permit (principal, action == Data::Action::"unmask", resource == DataClass::"secret");"#;
const PLAIN: &str = "correct-horse-battery";

/// What came of the request of a verb to a resource.
fn outcome(site: &Site, verb: &str, resource: &str) -> Value {
    let asked = |event: &Value| event["body"]["verb"] == verb && event["body"]["resource"] == resource;
    let request =
        crate::wait::for_some("a request", || site.world.events("kubernetes.request").into_iter().rev().find(asked));
    site.world.event("kubernetes.outcome", |body| body["request"] == request["seq"])
}

fn text<'v>(outcome: &'v Value, name: &str) -> &'v str {
    outcome[name].as_str().unwrap_or_default()
}

#[test]
fn what_was_sent_and_got_is_kept_and_shown_again() {
    let site = Site::new();
    let _gateway = site.attach_with("", Some(POLICIES));
    let made = site.kubectl(&[
        "create",
        "configmap",
        "settings",
        "--from-literal=word=plain-to-see",
        "--from-literal=card=4111111111111111",
    ]);
    assert!(made.ok, "{made:?}");
    let created = outcome(&site, "create", "configmaps");
    let sent = text(&created, "request_body");
    assert!(sent.contains("plain-to-see") && !sent.contains("4111111111111111"), "{created}");
    assert!(site.kubectl(&["get", "configmap", "settings", "-o", "json"]).ok);
    let got = outcome(&site, "get", "configmaps");
    assert!(text(&got, "answer_body").contains("plain-to-see") && text(&got, "request_body").is_empty(), "{got}");
    assert!(site.kubectl(&["get", "configmaps", "-A", "-o", "json"]).ok);
    let listed = outcome(&site, "list", "configmaps");
    assert!(text(&listed, "answer_body").len() == 1_000 && listed["bytes"].as_u64() > Some(1_000), "{listed}");
    let all = site.world.events("kubernetes.outcome");
    let made = all.iter().find(|event| text(&event["body"], "request_body").contains("plain-to-see")).unwrap();
    let replay = site.world.cli(&["replay", made["session"].as_str().unwrap()]).out;
    // Long texts go over lines.
    let on_one_line: String = replay.split_whitespace().collect();
    assert!(on_one_line.contains("sent:{") && on_one_line.contains("plain-to-see"), "{replay}");
}

#[test]
fn nothing_of_a_secret_is_kept() {
    let site = Site::new();
    let gateway = site.attach_with("", Some(POLICIES));
    assert!(site.kubectl(&["create", "secret", "generic", "login", &format!("--from-literal=word={PLAIN}")]).ok);
    let created = outcome(&site, "create", "secrets");
    assert!(text(&created, "request_body").is_empty(), "{created}");
    assert!(text(&created, "bodies_left_out").contains("may hold secret"), "{created}");
    assert!(site.kubectl(&["get", "secret", "login", "-o", "json"]).ok);
    let masked = outcome(&site, "get", "secrets");
    assert!(text(&masked, "answer_body").contains("\"login\""), "{masked}");
    drop(gateway);
    let _gateway = site.attach_with("", Some(&format!("{POLICIES}\n{UNMASK}")));
    let shown = site.kubectl(&["get", "secret", "login", "-o", "jsonpath={.data.word}"]);
    assert!(shown.ok && shown.out.starts_with("Y29y"), "{shown:?}");
    let clear = crate::wait::for_some("its outcome", || {
        let all = site.world.events("kubernetes.outcome");
        all.into_iter().rev().find(|event| text(&event["body"], "bodies_left_out").contains("secret in the clear"))
    });
    assert_eq!(clear["body"]["answer_body"], Value::Null);
    for hidden in [PLAIN, "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"] {
        let all = [site.world.events("kubernetes.outcome"), site.world.events("kubernetes.request")].concat();
        assert!(!Value::from(all).to_string().contains(hidden), "{hidden}");
    }
}
