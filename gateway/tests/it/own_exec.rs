//! `gateway exec` without root, by the gateway that runs; and attachments that go with their command.

use std::fs;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;

use crate::gateway::{Gateway, is_running, send};
use crate::wait;
use crate::world::{As, NAME, World, cgroup_mount};

/// A daemon that runs commands for `alice`.
fn daemon(world: &World) -> Gateway<'_> {
    let file = world.file("gateway.toml", "version = 1\n[exec]\nusers = [\"alice\"]\n");
    world.attach(&["--config", file.to_str().unwrap()])
}

fn as_user<'a>(user: &'a str, through: &'a [&'a str]) -> As<'a> {
    As { user, through, ..As::default() }
}

/// A shell of a user that runs this, with `gateway exec --` as `$RUN`.
fn shell(world: &World, user: &str, script: &str) -> Command {
    let mut command = world.command_as(as_user(user, &[]));
    command.args(["env", "-C", "/run/home", "RUN=/run/it/gateway exec --", "sh", "-c", script]);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(world: &World, user: &str, script: &str) -> Output {
    shell(world, user, script).stdin(Stdio::null()).output().unwrap()
}

/// Names of what is attached.
fn attached(world: &World) -> Vec<String> {
    let status = world.cli_json(&["status"]);
    status["attachments"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// Waits until commands have taken their attachments and cgroups with them.
fn all_gone(world: &World) {
    wait::until("the end of all commands", || attached(world) == [NAME]);
    assert_eq!(world.pins().lines().count(), 1);
    for event in world.events("attachment.attached") {
        let path = event["body"]["cgroup"].as_str().unwrap().trim_start_matches('/').to_owned();
        assert!(!path.starts_with("gateway.slice") || !cgroup_mount().join(&path).exists(), "{path} is left");
    }
}

#[test]
fn a_named_user_becomes_the_command_inside_with_nothing_to_get_out_by() {
    let world = World::new();
    let _daemon = daemon(&world);
    let script = r#"echo $$; exec 7</etc/hostname; export SSH_AUTH_SOCK=/x DBUS_Y=z KEPT=yes
        exec $RUN sh -c 'echo $$; cat /proc/self/cgroup /proc/self/status; env; ls /proc/self/fd | wc -l; exit 7'"#;
    let output = run(&world, "alice", script);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(7), "{err}");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], lines[1], "the command is the process that asked");
    let field = |name: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Uid"), [world.uid_of("alice").to_string().as_str(); 4].join(" "));
    assert_eq!(field("NoNewPrivs"), "1");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    let attached = world.event("attachment.attached", |body| body["attachment"] == "sh");
    assert_eq!(attached["person"], "alice");
    assert!(lines.contains(&format!("0::{}", attached["cgroup"].as_str().unwrap()).as_str()), "{out}");
    assert!(!out.contains("SSH_AUTH_SOCK") && !out.contains("DBUS_") && out.contains("KEPT=yes"), "{out}");
    // Input, output, errors, and the directory that ls reads.
    assert_eq!(lines.last(), Some(&"4"));
    assert!(err.contains("does not trust the gateway's authority") && err.contains("gateway trust --ca"), "{err}");
    all_gone(&world);
}

#[test]
fn its_connections_are_caught_and_it_keeps_the_terminal() {
    let world = World::new();
    let server = world.server();
    let _daemon = daemon(&world);
    let ssh = "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no git@10.77.0.2";
    let output = run(&world, "alice", &format!("exec $RUN {ssh}"));
    assert!(text(&output.stderr).contains("(session "), "{}", text(&output.stderr));
    assert_eq!(server.seen("tcp 22"), 0);
    // Process group, and the one that the terminal is in the foreground for (proc_pid_stat(5)).
    let inside = "test -t 0 && read -r stat < /proc/self/stat && set -- $stat && echo group $5 terminal $8";
    let script = world.file("terminal.sh", &format!("exec /run/it/gateway exec -- sh -c '{inside}'\n"));
    fs::set_permissions(world.directory(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = world.command_as(as_user("alice", &[]));
    let typed = format!("sh {}", script.display());
    let output = command.args(["script", "-qec", &typed, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    let out = text(&output.stdout);
    let line = out.lines().find(|line| line.starts_with("group ")).unwrap_or_else(|| panic!("{out}"));
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[1], words[3], "{out}");
    all_gone(&world);
}

#[test]
fn commands_that_start_at_once_have_each_their_own_attachment() {
    let world = World::new();
    let server = world.server();
    let _daemon = daemon(&world);
    let ssh = "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no git@10.77.0.2";
    let script = format!("exec $RUN sh -c 'cat /proc/self/cgroup; exec {ssh}'");
    let start = |_| shell(&world, "alice", &script).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started: Vec<_> = (0..6).map(start).collect();
    let mut cgroups = std::collections::BTreeSet::new();
    for command in started {
        let output = command.wait_with_output().unwrap();
        assert!(text(&output.stderr).contains("(session "), "{}", text(&output.stderr));
        cgroups.extend(text(&output.stdout).lines().find_map(|line| line.strip_prefix("0::").map(str::to_owned)));
    }
    assert_eq!(cgroups.len(), 6, "{cgroups:?}");
    let listed = world.events("attachment.attached");
    let listed = |cgroup: &String| listed.iter().any(|event| event["body"]["cgroup"] == cgroup.as_str());
    assert!(cgroups.iter().all(listed), "{cgroups:?}");
    assert_eq!(server.seen("tcp 22"), 0);
    all_gone(&world);
}

#[test]
fn who_is_not_named_is_told_what_to_add() {
    let world = World::new();
    let _daemon = daemon(&world);
    let refused = |expected: &str| {
        let output = run(&world, "bob", "exec $RUN true");
        let err = text(&output.stderr);
        assert!(!output.status.success() && err.contains(expected) && err.contains("[exec]"), "{err}");
    };
    refused("`users = [\"bob\"]`");
    world.sh("chmod 666 /run/gateway/control.sock");
    refused("may run no commands here");
    assert_eq!(attached(&world), [NAME]);
}

#[test]
fn a_caller_that_could_gain_privileges_is_not_moved() {
    let world = World::new();
    let _daemon = daemon(&world);
    let alice = world.start(as_user("alice", &[]), "agent");
    alice.ask("unix s /run/gateway/control.sock").unwrap();
    let answer = alice.ask(r#"post s /v1/exec {"name":"x","may_number":true}"#).unwrap();
    assert!(answer.contains("409") && answer.contains("the caller has"), "{answer}");
    assert_eq!(attached(&world), [NAME]);
}

#[test]
fn an_approvers_command_is_a_gap() {
    let world = World::new();
    let people = "[exec]\nusers = [\"alice\"]\n[approval]\nhost = { alice = [\"local:dba\"] }\n";
    let file = world.file("gateway.toml", &format!("version = 1\n{people}"));
    let _daemon = world.attach(&["--config", file.to_str().unwrap()]);
    let output = run(&world, "alice", "exec $RUN true");
    let err = text(&output.stderr);
    assert!(!output.status.success() && err.contains("approver_uid"), "{err}");
    assert_eq!(attached(&world), [NAME]);
}

#[test]
fn the_attachment_goes_with_the_command_and_what_it_left_behind() {
    let world = World::new();
    let _daemon = daemon(&world);
    let script = r#"exec $RUN sh -c 'cat /proc/self/cgroup; sleep 1000 >/dev/null 2>&1 & echo pid $!'"#;
    let out = text(&run(&world, "alice", script).stdout);
    let cgroup = out.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    world.event("attachment.detached", |body| body["attachment"] == "sh");
    let left = out.lines().find_map(|line| line.strip_prefix("pid ")).unwrap().parse().unwrap();
    assert!(!is_running(left));
    assert!(cgroup.starts_with("gateway.slice/exec-sh-"), "{cgroup}");
    all_gone(&world);
    let mut killed = shell(&world, "alice", "exec $RUN sleep 1000").spawn().unwrap();
    wait::until("the command", || attached(&world).contains(&"sleep".to_owned()));
    killed.kill().unwrap();
    killed.wait().unwrap();
    all_gone(&world);
}

#[test]
fn a_killed_command_line_of_root_leaves_the_command_intercepted_and_nothing_after_it() {
    let world = World::new();
    let _daemon = daemon(&world);
    let mut command = world.command("/run/it/gateway");
    command.args(["exec", "--user", "agent", "--name", "orphan", "--", "sh", "-c"]);
    command.arg("touch /run/home/started; until test -e /run/home/end; do sleep 0.05; done");
    let mut line = command.stderr(Stdio::null()).spawn().unwrap();
    wait::until("the command", || world.sh("ls /run/home").contains("started"));
    let cgroup = world.event("attachment.attached", |body| body["attachment"] == "orphan");
    let cgroup = cgroup_mount().join(cgroup["cgroup"].as_str().unwrap().trim_start_matches('/'));
    send(line.id(), Signal::KILL);
    line.wait().unwrap();
    let processes = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
    assert!(!processes.is_empty() && attached(&world).contains(&"orphan".to_owned()), "it goes on, intercepted");
    world.sh("touch /run/home/end");
    all_gone(&world);
    world.event("attachment.detached", |body| body["attachment"] == "orphan");
}

#[test]
fn without_a_gateway_or_with_roots_options_it_says_what_to_do() {
    let world = World::new();
    let err = text(&run(&world, "alice", "exec $RUN true").stderr);
    assert!(err.contains("no gateway runs on this host") && err.contains("sudo"), "{err}");
    let said = world.cli_as(as_user("alice", &[]), &["exec", "--user", "bob", "--", "true"]);
    assert!(!said.status.success() && said.err.contains("are root's"), "{said:?}");
}
