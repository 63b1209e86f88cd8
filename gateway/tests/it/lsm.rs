//! What LSM hooks close, where the kernel runs them; where it does not, that this is said.

use std::fs::File;
use std::time::Duration;

use gateway_common::sys::{AttachType, attached_programs};
use rustix::io::Errno;

use crate::server::SERVER;
use crate::wait;
use crate::world::{As, NAME, World};

/// Set where the kernel is known to run them: not to find them is a failure there, and no gap.
const EXPECTED: &str = "GATEWAY_IT_LSM";
const A_LOOK: Duration = Duration::from_secs(30);
const REFUSED: Result<String, Errno> = Err(Errno::PERM);

/// Whether they run here. Where not, `doctor` has to say what that costs, and every attachment has to have the gap.
fn runs(world: &World) -> bool {
    let findings = world.cli_json(&["doctor"]);
    let finding = findings.as_array().unwrap().iter().find(|finding| finding["feature"] == "LSM hooks").unwrap();
    let runs = finding["works"] == true;
    assert!(runs || std::env::var_os(EXPECTED).is_none(), "{finding}");
    let gaps = world.cli_json(&["status"])["attachments"][0]["gaps"].clone();
    let gap = gaps.as_array().unwrap().iter().find(|gap| gap["name"] == "no_lsm_hooks");
    assert_eq!(gap.is_some(), !runs, "{gaps}");
    if let Some(gap) = gap {
        for words in ["passed in from outside", "unix sockets of programs outside", "packet sockets", "vsock"] {
            assert!(finding["detail"].as_str().unwrap().contains(words), "{finding}");
        }
        world.event("gap", |body| body["name"] == gap["name"] && body["attachment"] == NAME);
    }
    runs
}

/// Two ends of a stream that one made and the other reached: `c` of both.
fn join(server: &crate::agent::Agent, client: &crate::agent::Agent, path: &str) {
    server.ask(&format!("unix_serve l {path} stream")).unwrap();
    client.ask(&format!("unix c {path}")).unwrap();
    server.ask("accept l c").unwrap();
}

#[test]
fn address_families_that_no_other_hook_sees_are_refused() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let cgroup = world.cgroup();
    let agent = world.start(As { cgroup: Some(&cgroup), capabilities: "+net_raw", ..As::default() }, "agent");
    world.outsider().ask("socket s 17 3 768").unwrap();
    if !runs(&world) {
        return;
    }
    // Packet, Bluetooth, RDS, TIPC, crypto, vsock, KCM, QRTR, SMC, XDP.
    for call in
        ["17 3 768", "17 2 0", "31 3 0", "21 5 0", "30 1 0", "38 5 0", "40 1 0", "41 2 0", "42 2 0", "43 1 0", "44 3 0"]
    {
        assert_eq!(agent.ask(&format!("socket s {call}")), REFUSED, "{call}");
    }
    for call in ["1 1 0", "1 2 0", "2 1 0", "10 2 0", "16 3 0"] {
        agent.ask(&format!("socket s {call}")).unwrap();
    }
    world.refused("family_refused");
    world.event("network.bypass", |body| body["about"]["AF_VSOCK"].as_u64() > Some(0));
    let below = cgroup.join("below");
    std::fs::create_dir(&below).unwrap();
    let root = world.start(As { cgroup: Some(&below), root: true, ..As::default() }, "agent");
    assert_eq!(root.ask("socket s 17 3 768"), REFUSED, "root in a cgroup below");
    world.outsider().ask("socket s 17 3 768").unwrap();
}

#[test]
fn a_socket_from_outside_is_not_received_and_one_from_inside_is() {
    let world = World::new();
    let _server = world.server();
    let _gateway = world.attach(&[]);
    let (agent, outsider) = (world.agent(), world.outsider());
    outsider.connect(&format!("{SERVER}:5432")).unwrap();
    join(&agent, &outsider, "/run/home/agent.sock");
    if !runs(&world) {
        return;
    }
    for family in [4, 6] {
        outsider.ask(&format!("tcp s {family}")).unwrap();
        outsider.ask("give c s").unwrap();
        assert_eq!(agent.ask("take c s").unwrap(), "nothing");
    }
    world.refused("receive_refused");
    world.event("network.bypass", |body| body["about"]["AF_INET6"].as_u64() > Some(0));
    outsider.ask("socket s 17 3 768").unwrap();
    outsider.ask("give c s").unwrap();
    assert_eq!(agent.ask("take c s").unwrap(), "nothing", "a packet socket");
    outsider.ask("file s /etc/passwd").unwrap();
    outsider.ask("give c s").unwrap();
    assert_eq!(agent.ask("take c s").unwrap(), "", "a file");
    outsider.ask("socket s 1 1 0").unwrap();
    outsider.ask("give c s").unwrap();
    assert_eq!(agent.ask("take c s").unwrap(), "", "a unix socket");
    let below = world.cgroup().join("below/further");
    std::fs::create_dir_all(&below).unwrap();
    let other = world.start(As { cgroup: Some(&below), ..As::default() }, "agent");
    join(&agent, &other, "/run/home/other.sock");
    other.connect(&format!("{SERVER}:22")).unwrap();
    other.ask("give c s").unwrap();
    assert_eq!(agent.ask("take c s").unwrap(), "", "a socket of a cgroup below");
    assert_eq!(agent.recv().unwrap(), "SSH-2.0-gateway\\r\\n");
    agent.ask("give c s").unwrap();
    assert_eq!(other.ask("take c t").unwrap(), "", "and back");
}

#[test]
fn a_socket_is_not_taken_out_of_a_process_outside() {
    let world = World::new();
    let cgroup = world.cgroup();
    let _gateway = world.attach(&["--accept-gap", "root_process"]);
    let root = || world.start(As { cgroup: Some(&cgroup), root: true, ..As::default() }, "agent");
    let (thief, inside, outsider) = (root(), root(), world.outsider());
    let fetch = |from: &crate::agent::Agent| {
        from.ask("tcp s 4").unwrap();
        // The process that was started became the agent; it is nsenter(1) no more.
        thief.ask(&format!("fetch f {} {}", from.pid(), from.ask("number s").unwrap()))
    };
    if !runs(&world) {
        fetch(&outsider).unwrap();
        return;
    }
    assert_eq!(fetch(&outsider), REFUSED);
    world.refused("receive_refused");
    fetch(&inside).unwrap();
}

#[test]
fn unix_sockets_outside_are_refused_unless_they_are_listed() {
    let world = World::new();
    let config = world.file(
        "gateway.toml",
        "version = 1\n[egress]\nunix = [\"/run/it/listed.sock\", \"/run/it/all/\", \"@listed\"]\n",
    );
    let _gateway = world.attach(&["--config", config.to_str().unwrap()]);
    let (agent, outsider) = (world.agent(), world.outsider());
    world.sh("mkdir -p /run/it/all /run/postgresql /run/systemd/journal /run/home/.ssh");
    let runs = runs(&world);
    for name in
        ["/run/postgresql/.s.PGSQL.5432", "/run/docker.sock", "/run/home/.ssh/control", "/run/it/listed.sock2", "@bus"]
    {
        outsider.ask(&format!("unix_serve l {name} stream")).unwrap();
        let result = agent.ask(&format!("unix s {name}"));
        assert_eq!(result, if runs { REFUSED } else { Ok(String::new()) }, "{name}");
    }
    if !runs {
        return;
    }
    let event = world.event("network.bypass", |body| body["about"]["/run/docker.sock"].as_u64() == Some(1));
    assert!(event["refused"]["unix_refused"].as_u64() >= Some(1), "{event}");
    for name in ["/run/it/listed.sock", "/run/it/all/of.sock", "@listed", "/run/systemd/journal/stdout"] {
        outsider.ask(&format!("unix_serve l {name} stream")).unwrap();
        agent.ask(&format!("unix s {name}")).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    outsider.ask("unix_serve l /run/it/datagrams dgram").unwrap();
    assert_eq!(agent.ask("unix_send /run/it/datagrams"), REFUSED);
    outsider.ask("unix_serve l /run/systemd/notify dgram").unwrap();
    agent.ask("unix_send /run/systemd/notify").unwrap();
    let other = world.agent();
    join(&other, &agent, "/run/home/inside.sock");
    outsider.ask("unix s /run/home/inside.sock").unwrap();
    other.ask("unix_serve l /run/home/inside.datagrams dgram").unwrap();
    agent.ask("unix_send /run/home/inside.datagrams").unwrap();
}

#[test]
fn lsm_hooks_outlive_the_gateway_are_adopted_put_back_and_removed() {
    let world = World::new();
    let mut first = world.attach(&[]);
    if !runs(&world) {
        return;
    }
    let hooks = || {
        let cgroup = File::open(world.cgroup()).unwrap();
        attached_programs(&cgroup, AttachType::LsmCgroup).unwrap().len()
    };
    let agent = world.agent();
    assert_eq!(hooks(), 4);
    first.kill();
    assert_eq!(agent.ask("socket s 40 1 0"), REFUSED, "they stay in force");
    let _second = world.attach(&[]);
    assert_eq!((hooks(), agent.ask("socket s 40 1 0")), (4, REFUSED));
    world.sh("rm /sys/fs/bpf/gateway/v1/*/links/socket_create");
    wait::until("the hook's end", || hooks() == 3);
    let is_for_it = |body: &serde_json::Value| body["reason"].as_str().is_some_and(|why| why.contains("socket_create"));
    world.event_within(A_LOOK, "attachment.degraded", is_for_it);
    world.event_within(A_LOOK, "attachment.repaired", |body| body["enforcing"] == true);
    assert_eq!((hooks(), agent.ask("socket s 40 1 0")), (4, REFUSED));
    assert!(world.cli(&["detach", NAME]).status.success());
    assert_eq!(hooks(), 0);
    assert_ne!(agent.ask("socket s 40 1 0"), REFUSED);
    assert_eq!(world.pins(), "");
}
