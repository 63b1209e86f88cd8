//! Decisions: what policy lets run, what waits for a person, and what ends when a policy does.

use std::io::Read;
use std::process::Stdio;

use crate::host::Host;
use crate::wait;

#[test]
fn what_is_denied_never_reaches_the_server_and_says_why() {
    let host = Host::new();
    let _gateway = host.attach_policies(
        "@id(\"web.read\") permit (principal, action in [Ssh::Action::\"login\", Ssh::Action::\"exec\"], resource);
         @id(\"web.no-rm\") @message(\"nothing is removed here\")
         forbid (principal, action == Ssh::Action::\"exec\", resource) when { context.command.kinds.contains(\"removes\") };",
    );
    host.world.sh("touch /run/deploy/kept; chmod 666 /run/deploy/kept");
    for command in ["rm -f /run/deploy/kept", "true && rm /run/deploy/kept", "sh -c 'rm -r /run/deploy/kept'"] {
        let ran = host.ssh(&[command]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(126), ""), "{ran:?}");
        assert!(ran.err.starts_with("gateway: denied by policy web.no-rm") && ran.err.contains("nothing is removed"));
    }
    host.world.sh("test -e /run/deploy/kept");
    assert_eq!(host.ssh(&["ls /run/deploy"]).out, "kept\n");
    let denied = host.requests("exec").into_iter().filter(|body| body["decision"]["verdict"] == "deny").count();
    assert_eq!(denied, 3);
}

#[test]
fn a_login_that_no_policy_permits_is_refused_before_the_credential_is_used() {
    let host = Host::new();
    let _gateway = host.attach_policies("@id(\"none\") permit (principal, action == Ssh::Action::\"exec\", resource);");
    let ran = host.ssh(&["true"]);
    assert_eq!(ran.code, Some(255));
    assert!(ran.err.contains("no policy permits Ssh::login"), "{ran:?}");
    assert!(host.world.events("credential.used").is_empty());
    assert!(!host.log().contains("Accepted"), "{}", host.log());
}

#[test]
fn names_of_user_and_host_reach_policy() {
    let host = Host::new();
    let _gateway = host.attach_policies(
        "@id(\"deploy\") permit (principal, action in [Ssh::Action::\"login\", Ssh::Action::\"exec\"], resource)
         when { resource.user == \"deploy\" && context.session.login == \"deploy\" && resource in Ssh::Host::\"web/10.77.0.2\" };",
    );
    assert_eq!(host.ssh(&["echo in"]).out, "in\n");
    let mut other = host.command(&[&["ssh"][..], &Host::options(), &["agent@10.77.0.2", "echo in"]].concat());
    let refused = crate::host::ran(&mut other);
    assert!(refused.err.contains("no policy permits Ssh::login"), "{refused:?}");
}

#[test]
fn what_cannot_be_read_waits_for_a_person_and_runs_once() {
    let host = Host::new();
    let _gateway = host.attach_with(&(host.target() + "[approval]\nhost = { root = [\"local:approvers\"] }\n"), &[]);
    let command = "echo aGk= | base64 -d | sh; echo ran >> /run/deploy/ran";
    let held = host.ssh(&[command]);
    assert_eq!(held.code, Some(126), "{held:?}");
    assert!(held.err.contains("guard.ssh.opaque") && held.err.contains("send exactly the same again"), "{held:?}");
    let approvals = host.world.cli_json(&["approvals"]);
    let ticket = approvals[0]["ticket"]["id"].as_str().or(approvals[0]["id"].as_str()).unwrap().to_owned();
    assert!(host.world.cli(&["approve", &ticket, "--reason", "looked at"]).status.success());
    let other = host.ssh(&["echo aGk= | base64 -d | sh; echo other >> /run/deploy/ran"]);
    assert_eq!(other.code, Some(126), "an approval is for one command: {other:?}");
    let ran = host.ssh(&[command]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let again = host.ssh(&[command]);
    assert_eq!(again.code, Some(126), "once: {again:?}");
    assert_eq!(host.world.sh("cat /run/deploy/ran"), "ran\n");
    assert_eq!(host.world.events("approval.consumed").len(), 1);
}

#[test]
fn a_command_waits_where_the_configuration_says_so() {
    let host = Host::new();
    let config = host.target() + "[approval]\non_hold = \"wait\"\nhost = { root = [\"local:approvers\"] }\n";
    let _gateway = host.attach_with(&config, &[]);
    let child =
        host.ssh_command(&["eval \"$X\" echo yes"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let held = host.world.event("approval.requested", |_| true);
    let ticket = held["ticket"].as_str().unwrap().to_owned();
    assert!(host.world.cli(&["approve", &ticket]).status.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "yes\n");
    assert!(String::from_utf8(output.stderr).unwrap().contains("waits as request"));
    // Who leaves withdraws.
    let mut left = host.ssh_command(&["eval \"$X\" echo left"]).spawn().unwrap();
    host.world.event("approval.requested", |body| body["ticket"] != ticket.as_str());
    left.kill().unwrap();
    left.wait().unwrap();
    host.world.event("approval.expired", |body| body["reason"].as_str().unwrap().contains("left"));
}

#[test]
fn a_policy_that_ends_ends_what_rests_on_it() {
    let host = Host::new();
    let permit =
        "@id(\"run\") permit (principal, action in [Ssh::Action::\"login\", Ssh::Action::\"exec\"], resource);";
    let _gateway = host.attach_policies(permit);
    let mut child = host
        .ssh_command(&["trap 'echo told > /run/deploy/told; kill $!; exit 3' TERM; sleep 4714 & echo up; wait"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
    host.world.file(
        "policies/test.cedar",
        &format!("{permit}\n@id(\"over\") forbid (principal, action == Ssh::Action::\"exec\", resource);"),
    );
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("policies have changed") && err.contains("over"), "{err}");
    wait::until("the signal at the server", || host.world.sh("cat /run/deploy/told 2>/dev/null || true") == "told\n");
}

#[test]
fn a_gateway_that_stops_ends_what_runs() {
    let host = Host::new();
    let mut gateway = host.attach();
    let mut child = host
        .ssh_command(&["trap 'echo told > /run/deploy/told; kill $!; exit 3' TERM; sleep 4715 & echo up; wait"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
    assert!(gateway.stop().success());
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("the gateway stops"));
    wait::until("the signal at the server", || host.world.sh("cat /run/deploy/told 2>/dev/null || true") == "told\n");
}

#[test]
fn what_cannot_be_recorded_does_not_run() {
    let host = Host::new();
    host.world.sh("umount /var/lib/gateway; mount -t tmpfs -o size=4m none /var/lib/gateway");
    let _gateway = host.attach();
    // Open before the disk is full: new connections are refused then.
    let master = ["-o", "ControlMaster=auto", "-o", "ControlPath=/run/home/m", "-o", "ControlPersist=60", "--"];
    let run = |command: &str| host.ssh(&[&master[..], &[command]].concat());
    assert_eq!(run("echo in").out, "in\n");
    host.world.sh("dd if=/dev/zero of=/var/lib/gateway/fill bs=4k 2>/dev/null || true");
    // A few lines still fit into the last page of the file.
    for _ in 0..30 {
        run("echo marker_late >> /run/deploy/out");
    }
    let count = |script: &str| host.world.sh(script).trim().parse::<usize>().unwrap();
    let ran = count("test -e /run/deploy/out && grep -c marker_late /run/deploy/out || echo 0");
    let recorded = count("cat /var/lib/gateway/journal/*/*.jsonl | grep -c marker_late || true");
    assert!(ran <= recorded && recorded < 30, "{ran} ran, {recorded} are recorded");
    let _ = host.ssh(&["-o", "ControlPath=/run/home/m", "-O", "exit", "--"]);
}

#[test]
fn forwards_agents_and_other_subsystems_are_refused_and_journaled() {
    let host = Host::new();
    let _gateway = host.attach();
    let forward = host.ssh(&["-W", "127.0.0.1:8080", "--"]);
    assert!(forward.err.contains("administratively prohibited"), "{forward:?}");
    let listen = host.ssh(&["-o", "ExitOnForwardFailure=yes", "-R", "4711:127.0.0.1:22", "--", "true"]);
    assert_ne!(listen.code, Some(0), "{listen:?}");
    let subsystem = host.ssh(&["-s", "--", "netconf"]);
    assert!(subsystem.err.contains("subsystem request failed"), "{subsystem:?}");
    let texts: Vec<String> =
        host.requests("unreadable").iter().map(|body| body["text"].as_str().unwrap().to_owned()).collect();
    for text in ["127.0.0.1:8080", "listening on", "the subsystem netconf"] {
        assert!(texts.iter().any(|seen| seen.contains(text)), "{text}: {texts:?}");
    }
}

#[test]
fn an_observed_attachment_is_told_what_would_have_been() {
    let host = Host::new();
    let _gateway = host.attach_with(&host.target(), &["--observe"]);
    let ran = host.ssh(&["eval \"$X\" echo yes"]);
    assert_eq!(ran.out, "yes\n", "{ran:?}");
    assert_eq!(host.requests("exec")[0]["decision"]["verdict"], "would_hold");
}
