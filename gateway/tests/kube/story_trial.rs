//! `gateway test` at an API server: a client of the gateway's own in an attachment.

use serde_json::Value;

use crate::site::Site;
use crate::world::NAME;

const READS: &str = r#"@id("reads") permit (principal, action in [Action::"read", Action::"session"], resource);"#;

#[test]
fn a_client_inside_reads_what_it_may_and_is_refused_what_nobody_may() {
    let site = Site::new();
    let _gateway = site.attach_with("", Some(READS));
    let mut inside = site.command(&["sleep", "600"]).spawn().unwrap();
    crate::wait::until("somebody inside", || {
        site.world.cli_json(&["status"])["attachments"][0]["processes"].as_u64() == Some(1)
    });
    let said = site.world.cli(&["--json", "test", NAME]);
    let tested: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let steps = tested["steps"].as_array().unwrap();
    let outcome = |name: &str| steps.iter().find(|step| step["name"] == name).map(|step| step["outcome"].clone());
    for name in ["caught", "answers", "permits", "denies", "trusts_kubernetes"] {
        assert_eq!(outcome(name), Some("passed".into()), "{name}: {tested:#}");
    }
    assert!(said.status.success() && site.noted("gateway-test-nobody").is_empty(), "{tested:#}");
    let denied = site.request(|body| body["text"].as_str().is_some_and(|text| text.contains("gateway-test-nobody")));
    assert_eq!(denied["decision"]["verdict"], "deny", "{denied:#}");
    site.world.file("kubeconfig", "{\"clusters\": [{\"cluster\": {\"certificate-authority-data\": \"QUFB\"}}]}");
    let said = site.world.cli(&["test", NAME]);
    assert!(said.status.code() == Some(1) && said.out.contains("gateway trust --kubeconfig"), "{said:?}");
    let _ = (inside.kill(), inside.wait());
}
