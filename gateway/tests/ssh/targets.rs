//! `gateway target check`: what our login may do at a real server beyond logging in.

use serde_json::Value;

use crate::gateway::Said;
use crate::host::{Host, USER};

/// A server whose files are root's alone.
fn server() -> Host {
    let host = Host::new();
    host.world.sh("chmod 755 /etc/ssh");
    host
}

fn check(host: &Host) -> (Said, Value) {
    let mut gateway = host.attach();
    let said = host.world.cli(&["--json", "target", "check"]);
    let checked: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert!(gateway.stop().success());
    (said, checked["targets"][0].clone())
}

fn names(of: &Value) -> Vec<&str> {
    of.as_array().unwrap().iter().map(|finding| finding["name"].as_str().unwrap()).collect()
}

fn of<'v>(target: &'v Value, name: &str) -> &'v Value {
    let wanted = |finding: &&Value| finding["name"] == name;
    target["findings"].as_array().unwrap().iter().find(wanted).unwrap_or_else(|| panic!("{name}: {target:#}"))
}

fn what<'v>(target: &'v Value, name: &str) -> &'v str {
    of(target, name)["what"].as_str().unwrap()
}

/// Groups and rules of sudo that this server alone has.
fn with_files(host: &Host, groups: &str, sudoers: &str) {
    let group = host.world.file("group", &(std::fs::read_to_string("/etc/group").unwrap() + groups));
    let rules = host.world.file("rules", sudoers);
    host.world.sh(&format!(
        "mount --bind {} /etc/group
         mount -t tmpfs -o mode=755 none /etc/sudoers.d; cp {} /etc/sudoers.d/test; chmod 440 /etc/sudoers.d/test",
        group.display(),
        rules.display()
    ));
}

#[test]
fn a_plain_login_is_no_finding_and_the_journal_tells_who_asked_before_and_after() {
    let host = server();
    let (said, target) = check(&host);
    assert_eq!((said.status.code(), names(&target["findings"])), (Some(0), vec![]), "{target:#}");
    assert!(target["server_identity"].as_str().unwrap().starts_with("host key SHA256:"), "{target:#}");
    let (used, checked) = (host.world.events("credential.used"), host.world.events("target.checked"));
    let (used, checked) = (used.last().unwrap(), checked.last().unwrap());
    assert!(used["seq"].as_u64() < checked["seq"].as_u64());
    assert_eq!((&used["body"]["target"], &used["body"]["login"]), (&"web".into(), &USER.into()));
    assert_eq!(checked["body"]["person"], "root");
}

#[test]
fn what_is_as_good_as_root_is_told_with_the_way_to_take_it() {
    let host = server();
    with_files(&host, &format!("docker:x:990:{USER}\n"), &format!("{USER} ALL=(ALL:ALL) NOPASSWD: ALL\n"));
    host.world.sh(&format!(
        "mount -t tmpfs -o mode=777 none /etc/cron.d
         mkdir -m 777 /run/home/.ssh
         mkdir -p /run/deploy/.ssh; ssh-keygen -q -t ed25519 -N '' -f /run/deploy/.ssh/other
         chown -R {USER} /run/deploy/.ssh"
    ));
    let (said, target) = check(&host);
    assert_eq!(said.status.code(), Some(1), "{target:#}");
    assert!(what(&target, "sudo_all").ends_with("without a password: (ALL : ALL) NOPASSWD: ALL"), "{target:#}");
    assert!(of(&target, "sudo_all")["narrow"].as_str().unwrap().contains("sudo -l -U deploy"), "{target:#}");
    assert_eq!(of(&target, "group_docker")["narrow"], "gpasswd -d deploy docker");
    assert!(what(&target, "writes").ends_with("may write to: /etc/cron.d"), "{target:#}");
    assert!(what(&target, "enters").contains("agent, alice, bob"), "{target:#}");
    assert!(what(&target, "key").ends_with("/run/deploy/.ssh/other"), "{target:#}");
    assert_eq!(target["findings"].as_array().unwrap().len(), 5, "{target:#}");
}

#[test]
fn rules_of_sudo_are_told_one_by_one() {
    let host = server();
    with_files(
        &host,
        "",
        &format!(
            "{USER} ALL=(root) NOPASSWD: /usr/bin/systemctl restart app, /usr/bin/less /var/log/app\n{USER} ALL=(root) /usr/bin/id\n"
        ),
    );
    let (_, target) = check(&host);
    assert_eq!(names(&target["findings"]), ["sudo", "sudo_password"], "{target:#}");
    assert!(what(&target, "sudo").contains("/usr/bin/systemctl restart app"), "{target:#}");
}

#[test]
fn a_server_that_runs_something_else_or_says_too_much_tells_nothing() {
    for (force, wanted) in [
        ("printf 'gateway-looks\\nuid 1000\\n\\033[2Jx y\\ngateway-looked\\n'", "not that of the command"),
        ("/bin/echo no", "not that of the command"),
        ("yes gateway-looks", "more than 65536 bytes"),
    ] {
        let host = Host::with(&format!("ForceCommand {force}\n"));
        let (said, target) = check(&host);
        let error = target["error"].as_str().unwrap_or_else(|| panic!("{target:#}"));
        assert!(said.status.code() == Some(1) && error.contains(wanted), "{error}");
        assert!(!said.out.contains("[2J") && names(&target["findings"]).is_empty(), "{said:?}");
    }
}

#[test]
fn a_server_with_another_key_never_sees_the_login() {
    let host = server();
    let key = std::fs::read_to_string(host.file("login_key.pub")).unwrap();
    let other: String = key.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let credential = format!("key = {{ file = \"{}\" }}", host.file("login_key").display());
    let _gateway = host.attach_with(&host.target_with(&format!("host_keys = [\"{other}\"]"), &credential), &[]);
    let said = host.world.cli(&["--json", "target", "check"]);
    let checked: Value = serde_json::from_str(&said.out).unwrap();
    assert!(checked["targets"][0]["error"].as_str().unwrap().contains("not among those"), "{checked:#}");
    assert!(!host.log().contains("Accepted") && !host.log().contains("Failed"), "{}", host.log());
    assert!(host.world.events("credential.used").is_empty());
}
