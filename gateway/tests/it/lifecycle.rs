//! Hooks that outlive processes, and hooks that somebody takes away.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{HashMap, Map, MapData};
use gateway_common::sys::{AttachType, attached_programs};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::gateway::send;
use crate::server::SERVER;
use crate::wait;
use crate::world::{NAME, World};

/// The hooks are looked at every ten seconds.
const A_LOOK: Duration = Duration::from_secs(30);
const SOME_HOOKS: [AttachType; 4] =
    [AttachType::Connect4, AttachType::Connect6, AttachType::Egress, AttachType::SockOps];
const GREETING: &str = "SSH-2.0-gateway\\r\\n";

#[test]
fn a_restarted_gateway_adopts_what_is_pinned_and_doubles_nothing() {
    let world = World::new();
    let server = world.server();
    let mut first = world.attach(&[]);
    assert_eq!(hooks(&world, SOME_HOOKS), [1; 4]);
    let links = world.sh("ls /sys/fs/bpf/gateway/v1/*/links");
    let agent = world.agent();
    first.kill();
    assert_eq!(hooks(&world, SOME_HOOKS), [1; 4], "they stay in force");
    assert_eq!(agent.connect(&format!("{SERVER}:22")), Err(Errno::CONNREFUSED));
    let _second = world.attach(&[]);
    assert_eq!(hooks(&world, SOME_HOOKS), [1; 4]);
    assert_eq!(world.sh("ls /sys/fs/bpf/gateway/v1/*/links"), links);
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), GREETING);
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn a_gateway_that_its_manager_starts_anew_never_leaves_its_port_and_serves_who_came_meanwhile() {
    let world = World::new();
    let cgroup = world.cgroup().display().to_string();
    let text = format!("version = 1\n[[attach]]\nname = \"{NAME}\"\ncgroup = \"{cgroup}\"\n");
    world.file("gateway.toml", &text);
    let config = world.directory().join("gateway.toml");
    let mut manager = world.command("python3");
    manager
        .args(["-c", include_str!("manager.py"), "/run/it/notify", "/run/it/gateway", "run", "--config"])
        .arg(config);
    let mut manager = manager.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(manager.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut next =
        |what: &str| said.find_map(|line| line.strip_prefix(what).map(|rest| rest.trim().to_owned())).unwrap();
    let pid = next("started").parse().unwrap();
    assert_eq!(next("ready"), "2", "a listener for each address family");
    world.is_open();
    let (agent, other) = (world.agent(), world.outsider());
    send(pid, Signal::KILL);
    next("ended");
    agent.connect(&format!("{SERVER}:22")).unwrap();
    other.connect("127.0.0.1:15001").unwrap();
    manager.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    assert_eq!(wait::for_some("who came meanwhile to be served", || agent.recv().ok()), GREETING);
    next("started");
    assert_eq!(next("ready"), "0", "what is held needs not be held again");
    world.event("session.start", |body| body["who"]["pid"] == agent.pid() && body["destination"]["port"] == 22);
    assert!(world.cli(&["detach", NAME]).status.success());
    wait::until("the port to be free", || other.connect("127.0.0.1:15001") == Err(Errno::CONNREFUSED));
    drop(manager.stdin.take());
    manager.wait().unwrap();
}

#[test]
fn detach_opens_the_gate_and_is_journaled() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    let said = world.cli(&["detach", NAME]);
    assert!(said.status.success() && said.out.contains("is open"), "{said:?}");
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), "hello from the server");
    assert_eq!(server.seen("accept 22"), 1);
    world.event("attachment.detached", |body| body["attachment"] == NAME);
    assert_eq!(world.pins(), "");
}

#[test]
fn detach_opens_the_gate_that_a_killed_gateway_left() {
    let world = World::new();
    let server = world.server();
    world.attach(&[]).kill();
    let agent = world.agent();
    assert!(agent.connect(&format!("{SERVER}:22")).is_err());
    let said = world.cli(&["detach", "no-such-name"]);
    assert!(!said.status.success() && said.err.contains("nothing is attached as `no-such-name`"), "{said:?}");
    assert!(world.cli(&["detach", NAME]).status.success());
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), "hello from the server");
    assert_eq!(server.seen("accept 22"), 1);
    assert!(!world.cli(&["status"]).out.contains(NAME));
}

#[test]
fn purge_opens_what_was_left_and_keeps_the_journal() {
    let world = World::new();
    let _server = world.server();
    let mut gateway = world.attach(&[]);
    let said = world.cli(&["purge"]);
    assert!(!said.status.success() && said.err.contains("stop it first"), "{said:?}");
    gateway.kill();
    assert!(world.cli(&["purge"]).status.success());
    world.agent().connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(world.pins(), "");
    assert!(world.cli(&["audit", "verify"]).status.success());
}

#[test]
fn a_removed_hook_is_noticed_journaled_and_put_back() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    world.sh("rm /sys/fs/bpf/gateway/v1/*/links/connect4");
    // The kernel lets go of the link a moment later.
    wait::until("the hook's end", || hooks(&world, [AttachType::Connect4]) == [0]);
    let unredirected = agent.connect(&format!("{SERVER}:22"));
    assert_eq!(unredirected, Err(Errno::INPROGRESS), "the backstop drops each SYN meanwhile, until we wait no more");
    let degraded = degraded(&world, "connect4");
    assert_eq!(degraded["enforcing"], false);
    let repaired = |body: &serde_json::Value| is_for(body, "connect4") && body["enforcing"] == true;
    world.event_within(A_LOOK, "attachment.repaired", repaired);
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), GREETING);
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn maps_that_are_changed_or_taken_away_are_noticed_journaled_and_put_back() {
    let world = World::new();
    let server = world.server();
    let lists = "version = 1\n[egress]\ndefault = \"deny\"\nallow = [\"10.77.0.2:8080\"]\n";
    let config = world.file("gateway.toml", lists);
    let gateway = world.attach(&["--config", config.to_str().unwrap()]);
    let maps = world.sh("ls -d /sys/fs/bpf/gateway/v1/*/maps-*");
    let map =
        |name: &str| MapData::from_pin(format!("/proc/{}/root{}/{name}", gateway.child.id(), maps.trim())).unwrap();
    let agent = world.agent();
    let noticed = |name: &str| {
        let name = format!(" {name} ");
        degraded(&world, &name);
        world.event_within(A_LOOK, "attachment.repaired", |body| is_for(body, &name));
        wait::until("an open gate", || agent.connect(&format!("{SERVER}:22")).is_ok_and(|_| agent.recv().is_ok()));
        assert_eq!(agent.connect(&format!("{SERVER}:443")), Err(Errno::CONNREFUSED));
        agent.connect(&format!("{SERVER}:8080")).unwrap();
    };
    let mut ports = HashMap::<_, u32, u32>::try_from(Map::HashMap(map("port"))).unwrap();
    ports.remove(&22).unwrap();
    noticed("PORT");
    let mut networks = LpmTrie::<_, [u32; 4], u32>::try_from(Map::LpmTrie(map("network"))).unwrap();
    for network in networks.keys().flatten().collect::<Vec<_>>() {
        networks.remove(&network).unwrap();
    }
    noticed("NETWORK");
    world.sh("rm /sys/fs/bpf/gateway/v1/*/maps-*/flow");
    noticed("FLOW");
    assert_eq!(server.seen("accept 22") + server.seen("accept 443"), 0);
}

#[test]
fn a_cgroup_removed_and_made_anew_is_intercepted_again() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    make_anew(&world);
    degraded(&world, "removed and made anew");
    world.event_within(A_LOOK, "attachment.repaired", |body| is_for(body, "removed and made anew"));
    world.is_open();
    let agent = world.agent();
    let before = server.seen("tcp 22");
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), GREETING);
    assert_eq!(server.seen("tcp 22"), before);
}

#[test]
fn a_configured_cgroup_is_there_before_its_runtime_and_again_after_each_run_of_it() {
    let world = World::new();
    let server = world.server();
    fs::remove_dir(world.cgroup()).unwrap();
    let text = format!("version = 1\n[[attach]]\nname = \"{NAME}\"\ncgroup = \"{}\"\n", world.cgroup().display());
    let config = world.file("gateway.toml", &text).display().to_string();
    let mut gateway = world.gateway(&["run", "--config", &config]);
    gateway.says("was not there, and was made");
    gateway.says("is intercepted");
    world.is_open();
    for _ in 0..3 {
        // As a service manager does between two runs of a service.
        let start = Instant::now();
        wait::until("an empty cgroup", || fs::remove_dir(world.cgroup()).is_ok());
        wait::until("the cgroup and its hooks", || {
            world.cgroup().exists() && hooks(&world, SOME_HOOKS) == [1; SOME_HOOKS.len()]
        });
        assert!(start.elapsed() < A_LOOK / 6, "told by its directory, not by the next look: {:?}", start.elapsed());
        world.is_open();
    }
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn detach_by_name_finds_the_cgroup_that_was_made_anew() {
    let world = World::new();
    let server = world.server();
    let mut gateway = world.attach(&[]);
    make_anew(&world);
    world.event_within(A_LOOK, "attachment.repaired", |_| true);
    gateway.kill();
    let agent = world.agent();
    assert!(agent.connect(&format!("{SERVER}:22")).is_err());
    assert!(world.cli(&["detach", NAME]).status.success());
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), "hello from the server");
    assert_eq!(server.seen("accept 22"), 1);
}

#[test]
fn a_repair_that_failed_is_tried_again() {
    let world = World::new();
    let mut gateway = world.attach(&[]);
    world.sh("rm /sys/fs/bpf/gateway/v1/*/links/connect4; mount -o remount,ro /sys/fs/bpf");
    world.event_within(A_LOOK, "attachment.degraded", |_| true);
    gateway.says("cannot repair");
    world.sh("mount -o remount,rw /sys/fs/bpf");
    world.event_within(A_LOOK, "attachment.repaired", |_| true);
    world.is_open();
}

/// Waits for the journal to tell that hooks are not in force, and why.
fn degraded(world: &World, why: &str) -> serde_json::Value {
    world.event_within(A_LOOK, "attachment.degraded", |body| is_for(body, why))
}

/// Whether it is for this reason, or since the canary was there first.
fn is_for(body: &serde_json::Value, why: &str) -> bool {
    body["reason"].as_str().is_some_and(|reason| reason.contains(why) || reason.contains("was not redirected"))
}

/// How many programs are attached to each hook.
fn hooks<const N: usize>(world: &World, hooks: [AttachType; N]) -> [usize; N] {
    let cgroup = File::open(world.cgroup()).unwrap();
    hooks.map(|hook| attached_programs(&cgroup, hook).unwrap().len())
}

fn make_anew(world: &World) {
    wait::until("an empty cgroup", || fs::remove_dir(world.cgroup()).is_ok());
    fs::create_dir(world.cgroup()).unwrap();
}
