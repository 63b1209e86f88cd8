//! `gateway test` at an SSH server: a client of the gateway's own in an attachment.

use serde_json::Value;

use crate::host::Host;
use crate::world::NAME;

fn steps(host: &Host) -> Vec<[String; 3]> {
    let said = host.world.cli(&["--json", "test", NAME]);
    let tested: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let steps = tested["steps"].as_array().unwrap();
    assert_eq!(said.status.success(), steps.iter().all(|step| step["outcome"] != "failed"), "{tested:#}");
    steps.iter().map(|step| ["name", "outcome", "said"].map(|key| step[key].as_str().unwrap().to_owned())).collect()
}

#[test]
fn a_client_inside_is_let_in_and_runs_what_policies_permit() {
    let host = Host::new();
    let _gateway = host.attach();
    let steps = steps(&host);
    let outcomes: Vec<_> = steps.iter().map(|[name, outcome, _]| (name.as_str(), outcome.as_str())).collect();
    let wanted = [
        ("caught", "passed"),
        ("answers", "passed"),
        ("permits", "passed"),
        ("denies", "skipped"),
        ("trusts", "skipped"),
    ];
    assert_eq!(outcomes, wanted, "{steps:#?}");
    assert_eq!(host.requests("exec").pop().unwrap()["text"], "true");
}

#[test]
fn what_policies_refuse_it_is_told_as_what_to_permit() {
    let host = Host::new();
    let _gateway = host.attach_policies(r#"@id("in") permit (principal, action == Ssh::Action::"login", resource);"#);
    let steps = steps(&host);
    assert_eq!(steps[2][..2], ["permits", "failed"], "{steps:#?}");
    assert!(steps[2][2].contains("no policy permits Ssh::exec"), "{steps:#?}");
}

#[test]
fn known_hosts_count_as_far_as_the_user_who_runs_there_can_read_them() {
    let host = Host::new();
    let _gateway = host.attach();
    let mut inside = host.command(&["sleep", "600"]).spawn().unwrap();
    crate::wait::until("somebody inside", || {
        host.world.cli_json(&["status"])["attachments"][0]["processes"].as_u64() == Some(1)
    });
    let trusts = |outcome: &str| {
        let steps = steps(&host);
        let step = steps.iter().find(|[name, ..]| name == "trusts_ssh").unwrap_or_else(|| panic!("{steps:#?}"));
        assert_eq!(step[1], outcome, "{steps:#?}");
    };
    trusts("passed");
    host.world.sh("chmod 600 /etc/ssh/ssh_known_hosts");
    trusts("failed");
    host.world.sh("chmod 644 /etc/ssh/ssh_known_hosts; sed -i 's/^/@revoked /' /etc/ssh/ssh_known_hosts");
    trusts("failed");
    let _ = (inside.kill(), inside.wait());
}
