//! `gateway exec`: what the command is given, and what is left of it.

use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};

use crate::world::World;
use crate::{tricks, wait};

fn exec(world: &World, script: &str) -> Output {
    world
        .command("/run/it/gateway")
        .args(["exec", "--user", "agent", "--", "sh", "-c", script])
        .env("SSH_AUTH_SOCK", "/run/agent.sock")
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/bus")
        .env("SUDO_USER", "somebody")
        .env("KEPT", "yes")
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn runs_the_command_as_the_user_without_a_way_back_to_root() {
    let world = World::new();
    let output = exec(&world, "id -u; id -g; id -G; pwd >/dev/null; cat /proc/self/status");
    assert!(output.status.success(), "{}", err(&output));
    let text = out(&output);
    let id = world.uid().to_string();
    assert_eq!(text.lines().take(3).collect::<Vec<_>>(), [&id; 3]);
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("NoNewPrivs"), "1");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("Uid"), [id.as_str(); 4].join(" "));
}

/// In a terminal, as a shell outside has one: a gateway command that starts the trick that types there.
fn typed(world: &World, before: &str) -> String {
    let trick = tricks::program(world).display().to_string();
    let mut command = world.command("script");
    let output = command.args(["--quiet", "--command", &format!("{before}{trick} type"), "/dev/null"]);
    out(&output.stdin(Stdio::null()).output().unwrap())
}

#[test]
fn types_nothing_into_the_terminal_that_it_shares() {
    let world = World::new();
    // Kernels since 6.2 may forbid it to everybody.
    let plain = typed(&world, "");
    assert!(plain.contains("native: error 0") || plain.contains("native: error 5"), "{plain}");
    let said = typed(&world, "/run/it/gateway exec --user agent -- ");
    assert!(said.contains("native: error 1"), "{said}");
    assert!(said.contains("32-bit: error 1") || said.contains("32-bit: error 38"), "{said}");
}

#[test]
fn the_command_has_as_many_descriptors_as_before_and_the_gateway_all_that_it_may_have() {
    let world = World::new();
    let script = "ulimit -Sn; ulimit -Hn; read -r _";
    let mut command = world.command("prlimit");
    command.args(["--nofile=1024:8192", "/run/it/gateway", "exec", "--user", "agent", "--", "sh", "-c", script]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let limits: Vec<_> = lines.take(2).map(Result::unwrap).collect();
    assert_eq!(limits, ["1024", "8192"]);
    let engine = &world.event("engine.started", |_| true)["pid"];
    let found = std::fs::read_to_string(format!("/proc/{engine}/limits")).unwrap();
    let line = found.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["8192", "8192"]);
    drop(child.stdin.take());
    child.wait().unwrap();
}

fn ssh_is_refused_by_name_of_its_session(world: &World) {
    let mut command = world.command("/run/it/gateway");
    command.args(["exec", "--user", "agent", "--", "ssh", "-F", "none", "-o", "BatchMode=yes"]);
    let output = command.args(["-o", "StrictHostKeyChecking=no", "git@10.77.0.2"]).output().unwrap();
    assert!(err(&output).contains("(session "), "{}", err(&output));
}

#[test]
fn the_commands_first_connect_is_served() {
    let world = World::new();
    let server = world.server();
    ssh_is_refused_by_name_of_its_session(&world);
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn closes_inherited_descriptors_and_removes_what_leads_outside() {
    let world = World::new();
    let script = r#"ls /proc/self/fd | wc -l; env"#;
    let output = world
        .command("sh")
        .args(["-c", r#"exec 7</etc/hostname 9<>/dev/null; exec "$@""#, "sh", "/run/it/gateway", "exec"])
        .args(["--user", "agent", "--", "sh", "-c", script])
        .env("SSH_AUTH_SOCK", "/run/agent.sock")
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/bus")
        .env("XDG_RUNTIME_DIR", "/run/user/0")
        .env("DOCKER_HOST", "unix:///run/docker.sock")
        .env("SUDO_USER", "somebody")
        .env("KEPT", "yes")
        .output()
        .unwrap();
    let text = out(&output);
    // Input, output, errors, and the directory that ls reads.
    assert_eq!(text.lines().next(), Some("4"), "{text}");
    for removed in ["SSH_AUTH_SOCK", "DBUS_", "XDG_RUNTIME_DIR", "DOCKER_HOST", "SUDO_"] {
        assert!(!text.contains(removed), "{removed} in {text}");
    }
    assert!(text.contains("KEPT=yes") && text.contains("HOME=/run/home") && text.contains("USER=agent"), "{text}");
}

#[test]
fn the_command_trusts_our_authority_beside_the_systems() {
    let world = World::new();
    let output = exec(&world, "cat /etc/ssl/certs/ca-certificates.crt");
    let seen = out(&output);
    let ours = world.cli(&["trust", "--ca"]).out;
    assert!(ours.contains("BEGIN CERTIFICATE") && seen.contains(ours.trim()), "{}", err(&output));
    assert!(seen.matches("BEGIN CERTIFICATE").count() > 10, "the system's are still there");
    assert!(!world.sh("cat /etc/ssl/certs/ca-certificates.crt").contains(ours.trim()), "and only the command's");
    let output = exec(&world, "echo x >> /etc/ssl/certs/ca-certificates.crt");
    assert!(!output.status.success());
}

#[test]
fn ends_as_the_command_ends() {
    let world = World::new();
    assert_eq!(exec(&world, "exit 7").status.code(), Some(7));
    assert_eq!(exec(&world, "kill -KILL $$").status.code(), Some(137));
    assert_eq!(exec(&world, "exit 0").status.code(), Some(0));
}

#[test]
fn leaves_no_process_no_cgroup_and_no_hook_behind() {
    let world = World::new();
    let output = exec(&world, "cat /proc/self/cgroup; sleep 1000 >/dev/null 2>&1 & echo pid $!");
    assert!(output.status.success(), "{}", err(&output));
    let text = out(&output);
    let left = text.lines().find_map(|line| line.strip_prefix("pid ")).unwrap().parse().unwrap();
    assert!(!crate::gateway::is_running(left));
    let cgroup = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    assert!(cgroup.starts_with("gateway.slice/exec-sh-"), "{cgroup}");
    assert!(!crate::world::cgroup_mount().join(cgroup).exists());
    assert_eq!(world.pins(), "");
    world.event("attachment.detached", |body| body["attachment"] == "sh");
    world.event("gateway.stopped", |_| true);
}

#[test]
fn runs_through_the_daemon_where_one_runs() {
    let world = World::new();
    let server = world.server();
    let _daemon = world.attach(&[]);
    // For longer than the daemon bears a silent peer on its control socket.
    let output = exec(&world, "cat /proc/self/cgroup; exec 3<>/dev/null; id -u; sleep 6");
    assert!(output.status.success(), "{}", err(&output));
    let attached = world.event("attachment.attached", |body| body["attachment"] == "sh");
    let cgroup = attached["cgroup"].as_str().unwrap();
    assert!(out(&output).contains(&format!("0::{cgroup}\n")), "{}", out(&output));
    world.event("attachment.detached", |body| body["attachment"] == "sh");
    assert_eq!(world.events("gateway.started").len(), 1);
    ssh_is_refused_by_name_of_its_session(&world);
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn a_command_is_served_to_its_end_also_by_the_gateway_of_one_that_ended_before() {
    let world = World::new();
    let server = world.server();
    let start = |name: &str, then: &str| {
        let script = format!("touch /run/home/{name}; until test -e /run/home/{name}-go; do sleep 0.05; done; {then}");
        let mut command = world.command("/run/it/gateway");
        command.args(["exec", "--user", "agent", "--name", name, "--", "sh", "-c", &script]);
        let said = std::fs::File::create(world.directory().join(name)).unwrap();
        let child = command.stderr(said).spawn().unwrap();
        let there = format!("test -e /run/home/{name} && echo yes || true");
        // Hooks are loaded before it starts, which an emulated processor takes its time for.
        let begins = || (world.sh(&there) == "yes\n").then_some(());
        wait::for_some_within(std::time::Duration::from_secs(60), "the command", begins);
        child
    };
    let said = |name: &str| std::fs::read_to_string(world.directory().join(name)).unwrap();
    let mut first = start("first", "true");
    let mut second = start("second", "exec ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no git@10.77.0.2");
    world.sh("touch /run/home/first-go");
    wait::until("the first end", || said("first").contains("has ended") || first.try_wait().unwrap().is_some());
    world.sh("touch /run/home/second-go");
    wait::for_some("the second end", || second.try_wait().unwrap());
    assert!(said("second").contains("(session "), "{}", said("second"));
    assert!(wait::for_some("the end of both", || first.try_wait().unwrap()).success());
    assert_eq!(server.seen("tcp 22"), 0);
    assert_eq!(world.pins(), "");
}

#[test]
fn root_is_refused_unless_it_is_asked_for() {
    let world = World::new();
    let run = |arguments: &[&str]| world.cli(&[&["exec"], arguments, &["--", "id", "-u"]].concat());
    let said = run(&[]);
    assert!(!said.status.success() && said.err.contains("as whom?"), "{said:?}");
    let said = run(&["--user", "root"]);
    assert!(!said.status.success() && said.err.contains("root can get around the gateway"), "{said:?}");
    let said = run(&["--as-root"]);
    assert_eq!(said.out, "0\n", "{said:?}");
    assert!(said.err.contains("gap root_process"), "{said:?}");
}

#[test]
fn cannot_leave_its_cgroup_or_touch_the_hooks() {
    let world = World::new();
    let top = world.top().display().to_string();
    let output = exec(
        &world,
        &format!(
            "echo $$ > {top}/cgroup.procs; echo $$ > /sys/fs/cgroup/cgroup.procs; ls /sys/fs/bpf; cat /proc/self/cgroup"
        ),
    );
    assert!(out(&output).contains("/gateway.slice/exec-sh-"), "{}", out(&output));
    assert!(err(&output).matches("ermission denied").count() >= 2, "{}", err(&output));
}

#[test]
fn an_interrupt_is_the_commands() {
    let world = World::new();
    let mut command = world.command("/run/it/gateway");
    command.args(["exec", "--user", "agent", "--", "sh", "-c"]);
    command.arg("trap 'echo caught; exit 3' INT; echo started; while :; do sleep 0.1; done");
    let path = world.directory().join("interrupted");
    let mut child = command.stdout(std::fs::File::create(&path).unwrap()).spawn().unwrap();
    let said = |text: &str| std::fs::read_to_string(&path).unwrap().contains(text);
    wait::until("the command", || said("started"));
    crate::gateway::send(child.id(), rustix::process::Signal::INT);
    assert!(child.try_wait().unwrap().is_none(), "the gateway itself goes on");
    let inside = world.events("attachment.attached");
    let cgroup =
        crate::world::cgroup_mount().join(inside[0]["body"]["cgroup"].as_str().unwrap().trim_start_matches('/'));
    let pid = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
    crate::gateway::send(pid.lines().next().unwrap().parse().unwrap(), rustix::process::Signal::INT);
    assert_eq!(wait::for_some("the end", || child.try_wait().unwrap()).code(), Some(3));
    assert!(said("caught"));
}
