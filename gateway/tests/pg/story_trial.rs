//! `gateway test`: what a process of the gateway's own comes to in an attachment, as a client there would.

use serde_json::Value;

use crate::cluster::NAME as NAME_OF_SERVER;
use crate::gateway::Said;
use crate::shop::{Shop, Side};
use crate::world::NAME;

const READS: &str = r#"@id("reads") permit (principal, action in [Action::"read", Action::"session"], resource);"#;

/// What it says with this configuration before the target, and with these policies.
fn try_with(shop: &Shop, target: &str, policies: &str, more: &[&str]) -> (Said, Vec<(String, String, String)>) {
    let folder = shop.world.file("policies/p.cedar", policies);
    let folder = folder.parent().unwrap().to_str().unwrap().to_owned();
    let file = shop.world.file("gateway.toml", &format!("version = 1\n{target}"));
    let arguments = [&["--config", file.to_str().unwrap(), "--policies", &folder], more].concat();
    let mut gateway = shop.world.attach(&arguments);
    let unknown = shop.world.cli(&["test", "nobody"]);
    assert!(unknown.status.code() == Some(2) && unknown.err.contains("nothing is attached"), "{unknown:?}");
    let said = shop.world.cli(&["--json", "test", NAME]);
    let tested: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert!(gateway.stop().success());
    let word = |step: &Value, key: &str| step[key].as_str().unwrap().to_owned();
    let name = |step: &Value| format!("{}/{}", word(step, "about"), word(step, "name"));
    let steps = tested["steps"].as_array().unwrap();
    (said, steps.iter().map(|step| (name(step), word(step, "outcome"), word(step, "said"))).collect())
}

fn outcomes(steps: &[(String, String, String)]) -> Vec<(&str, &str)> {
    steps.iter().map(|(name, outcome, _)| (name.as_str(), outcome.as_str())).collect()
}

fn target(shop: &Shop) -> String {
    shop.target("mode = \"verify-full\"", &shop.password_of("scram_user"))
}

#[test]
fn a_good_set_up_passes_and_the_journal_has_it_as_the_gateways_own() {
    let shop = Shop::new();
    let (said, steps) = try_with(&shop, &target(&shop), READS, &[]);
    let wanted = [
        ("capture/caught", "passed"),
        ("shop/answers", "passed"),
        ("shop/permits", "passed"),
        ("shop/denies", "passed"),
        ("clients/trusts", "skipped"),
    ];
    assert_eq!((said.status.code(), outcomes(&steps)), (Some(0), wanted.to_vec()), "{steps:#?}");
    assert!(
        steps[3].2.contains("COPY (SELECT 1) TO PROGRAM 'true'")
            && steps[3].2.contains("denied by policy guard.escape"),
        "{steps:#?}"
    );
    let tested = shop.world.events("attachment.tested").pop().unwrap()["body"].clone();
    assert_eq!((&tested["attachment"], &tested["person"]), (&NAME.into(), &"root".into()), "{tested:#}");
    assert_eq!(tested["passed"].as_array().unwrap().len(), 4, "{tested:#}");
    let pid = &tested["pids"][0];
    let session = shop.world.events("session.start").into_iter().map(|event| event["body"].clone());
    let session: Vec<_> = session.filter(|body| &body["who"]["pid"] == pid).collect();
    assert!(session.len() == 1 && session[0]["who"]["attachment"] == NAME, "{pid}: {session:#?}");
    assert_eq!(session[0]["who"]["uid"], 65_534, "{session:#?}");
    assert_eq!(shop.world.sh(&format!("ls {} | grep gateway- || true", shop.world.cgroup().display())), "");
    assert!(shop.world.events("postgres.statement").iter().any(|event| event["body"]["decision"]["verdict"] == "deny"));
}

#[test]
fn what_policies_permit_to_somebody_is_not_sent_as_what_they_deny() {
    let shop = Shop::new();
    let all = r#"@id("all") permit (principal, action in [Action::"read", Action::"session", Action::"run", Action::"escape"], resource);"#;
    let target = format!("[policy]\ndisable = [\"guard.escape\"]\n{}", target(&shop));
    let (said, steps) = try_with(&shop, &target, all, &[]);
    assert_eq!((said.status.code(), steps[3].1.as_str()), (Some(0), "skipped"), "{steps:#?}");
    assert!(steps[3].2.contains("policies permit Postgres::copy_program"), "{steps:#?}");
    assert_eq!(sent(&shop), ["SELECT 1"]);
}

/// The statements of clients that the journal has, without those that it has of logins.
fn sent(shop: &Shop) -> Vec<String> {
    let statements = shop.world.events("postgres.statement").into_iter();
    let texts = statements.map(|event| event["body"]["text"].as_str().unwrap_or_default().to_owned());
    texts.filter(|text| !text.is_empty()).collect()
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let shop = Shop::new();
    let none = r#"@id("ssh") permit (principal, action == Ssh::Action::"login", resource);"#;
    let (said, steps) = try_with(&shop, &target(&shop), none, &[]);
    assert_eq!((said.status.code(), outcomes(&steps)[1]), (Some(1), ("shop/answers", "failed")), "{steps:#?}");
    assert!(steps[1].2.contains("no policy permits Postgres::connect") && said.out.contains("gateway why"), "{said:?}");
    let other = target(&shop).replace(NAME_OF_SERVER, "other.test");
    let (said, steps) = try_with(&shop, &other, READS, &[]);
    assert_eq!((said.status.code(), outcomes(&steps)[1]), (Some(1), ("shop/answers", "failed")), "{steps:#?}");
    assert!(steps[1].2.contains("tls handshake") && said.out.contains("gateway target check"), "{said:?}");
    let window = target(&shop).replace("user = ", "window = \"w\"\nuser = ");
    let window = format!("[[window]]\nname = \"w\"\napproval = \"local:dba\"\n{window}");
    let (said, steps) = try_with(&shop, &window, READS, &[]);
    assert_eq!((said.status.code(), outcomes(&steps)[1]), (Some(0), ("shop/answers", "skipped")), "{steps:#?}");
}

#[test]
fn an_attachment_that_observes_is_sent_nothing_that_policies_deny() {
    let shop = Shop::new();
    let (said, steps) = try_with(&shop, &target(&shop), READS, &["--observe"]);
    assert_eq!((said.status.code(), steps[3].1.as_str()), (Some(0), "skipped"), "{steps:#?}");
    assert_eq!(sent(&shop), ["SELECT 1"]);
}

#[test]
fn a_root_certificate_file_without_the_gateways_authority_is_told() {
    let shop = Shop::new();
    let folder = shop.world.file("policies/p.cedar", READS);
    let file = shop.world.file("gateway.toml", &format!("version = 1\n{}", target(&shop)));
    let folder = folder.parent().unwrap().to_str().unwrap();
    let _gateway = shop.world.attach(&["--config", file.to_str().unwrap(), "--policies", folder]);
    let _inside = Killed(shop.command(Side::Inside, &[], &["sleep", "600"]).spawn().unwrap());
    crate::wait::until("somebody inside", || {
        shop.world.cli_json(&["status"])["attachments"][0]["processes"].as_u64() == Some(1)
    });
    let trusts = |outcome: &str, said: &str| {
        let tested: Value = serde_json::from_str(&shop.world.cli(&["--json", "test", NAME]).out).unwrap();
        let steps = tested["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["name"] == "trusts_postgres").unwrap_or_else(|| panic!("{tested:#}"));
        assert_eq!(step["about"], format!("uid {}", shop.world.uid()), "{step:#}");
        assert!(step["outcome"] == outcome && step["said"].as_str().unwrap().contains(said), "{step:#}");
    };
    trusts("passed", "need nothing");
    let root = "/run/home/.postgresql/root.crt";
    shop.world.sh(&format!(
        "mkdir /run/home/.postgresql; cp {} {root}",
        shop.world.file("ca.pem", &shop.cluster.ca).display()
    ));
    trusts("failed", root);
    let ours = shop.world.file("gateway-ca.pem", &shop.world.cli(&["trust", "--ca"]).out);
    shop.world.sh(&format!("cat {} >> {root}", ours.display()));
    trusts("passed", root);
}

/// A process that ends with the test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}
