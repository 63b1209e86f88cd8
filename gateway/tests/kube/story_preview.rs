//! What people read of a change before they say yes: what the server says that it would change, and nothing hidden.

use crate::site::Site;

/// All may be read; who changes something waits.
pub const CAREFUL: &str = r#"
@id("all") permit (principal, action in [Action::"read", Action::"write", Action::"destructive"], resource);
@id("changes") @approval("local:dba") @message("changes wait for a person")
forbid (principal, action in [Kubernetes::Action::"update", Kubernetes::Action::"patch", Kubernetes::Action::"delete"], resource);
"#;
/// Who may say yes.
pub const GROUP: &str = "[approval]\nhost = { root = [\"local:dba\"] }\n";

/// The ticket that a held request was answered with.
pub fn ticket_of(said: &str) -> String {
    let said = said.split("gateway approve ").nth(1).unwrap_or_else(|| panic!("not held: {said}"));
    said.split(')').next().unwrap().to_owned()
}

#[test]
fn who_decides_reads_what_the_server_would_change_and_nothing_changes_before() {
    let site = Site::new();
    let _gateway = site.attach_with(GROUP, Some(CAREFUL));
    site.admin(&["create", "deployment", "web", "--image=example.com/web:1", "--replicas=3"]);
    let scale = ["scale", "deployment", "web", "--replicas=1"];
    let held = site.kubectl(&scale);
    let ticket = ticket_of(&held.err);
    let shown = site.world.cli(&["approvals", "show", &ticket]).out;
    assert!(shown.contains("change     spec.replicas: 3 → 1"), "{shown}");
    let requested = site.world.event("approval.requested", |body| body["ticket"] == ticket.as_str());
    assert_eq!(requested["changes"], serde_json::json!(["spec.replicas: 3 → 1"]), "{requested}");
    let replicas = || site.admin(&["get", "deployment", "web", "-o", "jsonpath={.spec.replicas}"]);
    assert_eq!(replicas(), "3", "nothing was done yet");
    let preview = site.world.event("kubernetes.preview", |body| body["request"] == requested["request"]);
    assert!(preview["text"].as_str().unwrap().ends_with("dryRun=All"), "{preview}");
    let changes = |event: &&serde_json::Value| matches!(event["verb"].as_str(), Some("patch" | "update"));
    let noted = site.noted("/deployments/web/scale");
    assert!(noted.iter().any(|event| changes(&event)), "the server was asked: {noted:?}");
    for event in noted.iter().filter(changes) {
        let target = event["requestURI"].as_str().unwrap();
        let is_refused = event["responseStatus"]["code"].as_u64() >= Some(400);
        assert!(target.ends_with("dryRun=All") || is_refused, "{event}");
    }
    assert!(site.world.cli(&["approve", &ticket]).status.success());
    let done = site.kubectl(&scale);
    assert!(done.ok, "{done:?}");
    assert_eq!(replicas(), "1");
    // The same once more is another request, and changes nothing.
    let shown = site.world.cli(&["approvals", "show", &ticket_of(&site.kubectl(&scale).err)]).out;
    assert!(shown.contains("change     nothing of the object"), "{shown}");
}

#[test]
fn what_is_hidden_is_hidden_from_who_decides() {
    let site = Site::new();
    let _gateway = site.attach_with(GROUP, Some(CAREFUL));
    site.admin(&["create", "secret", "generic", "login", "--from-literal=password=first-word"]);
    let patch = r#"{"stringData":{"password":"second-word"},"metadata":{"labels":{"card":"4111111111111111"}}}"#;
    let held = site.kubectl(&["patch", "secret", "login", "--type=merge", "-p", patch]);
    let shown = site.world.cli(&["approvals", "show", &ticket_of(&held.err)]).out;
    assert!(shown.contains("change     data.password: changed, hidden"), "{shown}");
    assert!(shown.contains("metadata.labels: added"), "{shown}");
    for hidden in ["first-word", "Zmlyc3Qtd29yZA", "second-word", "c2Vjb25kLXdvcmQ", "4111111111111111"] {
        assert!(!shown.contains(hidden), "{hidden}: {shown}");
    }
}

#[test]
fn what_the_server_would_refuse_or_cannot_try_is_said_so() {
    let site = Site::new();
    let _gateway = site.attach_with(GROUP, Some(CAREFUL));
    site.admin(&["create", "configmap", "plain", "--from-literal=word=one"]);
    let wrong = r#"{"data":{"word":{"not":"a text"}}}"#;
    let held = site.kubectl(&["patch", "configmap", "plain", "--type=merge", "-p", wrong]);
    let shown = site.world.cli(&["approvals", "show", &ticket_of(&held.err)]).out;
    assert!(
        shown.contains("what it would change is not known: the API server does not permit it to be tried (4"),
        "{shown}"
    );
    // Its options stand in its body, where `dryRun` in the query is nothing.
    let held = site.kubectl(&["delete", "configmap", "plain"]);
    let shown = site.world.cli(&["approvals", "show", &ticket_of(&held.err)]).out;
    assert!(!shown.contains("  change "), "{shown}");
    assert_eq!(site.admin(&["get", "configmap", "plain", "-o", "jsonpath={.data.word}"]), "one");
}
