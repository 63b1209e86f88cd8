//! Runtimes in containers of a real engine: every network mode, and every place where a server can be.

use std::time::Duration;

use aya::maps::{HashMap, Map, MapData};
use gateway_common::{ConnectRecord, FlowKey, ListenerState};
use rustix::io::Errno;

use crate::agent::Agent;
use crate::gateway::Gateway;
use crate::podman::Podman;
use crate::server::SERVER;
use crate::wait;
use crate::world::{As, NAME, World};

const GREETING: &str = "SSH-2.0-gateway\\r\\n";
/// Root of a container has the host's uid 0.
const WITH_ROOT: [&str; 2] = ["--accept-gap", "root_process"];
/// Longer than two of the gateway's looks after its hooks.
const A_LOOK: Duration = Duration::from_secs(60);

/// The option that makes the user of a container one of the world's, without capabilities.
fn user(world: &World, name: &str) -> String {
    format!("--user={0}:{0}", world.uid_of(name))
}

#[test]
fn a_container_is_served_at_its_first_connect_and_named_whenever_it_was_started() {
    let world = World::new();
    let server = world.server();
    let podman = Podman::new(&world);
    let started = |when: &str| {
        ["none", "bridge", "host"].map(|network| {
            let name = format!("{when}-{network}");
            let agent = podman.start(&name, &[&user(&world, "agent"), "--network", network], "agent");
            (name, agent)
        })
    };
    let before = started("before");
    let _gateway = podman.attach(&[]);
    for (name, agent) in before.into_iter().chain(started("after")) {
        agent.connect(&format!("{SERVER}:22")).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(agent.recv().unwrap(), GREETING, "{name}");
        assert_eq!(agent.ask("peer s").unwrap(), format!("{SERVER}:22"), "{name}");
        let (id, pid) = podman.identity(&name);
        let start = world.event("session.start", |body| body["who"]["pid"] == pid);
        let who = &start["who"];
        assert_eq!((&who["container"]["id"], &who["workload_instance"]), (&id.as_str().into(), &id.as_str().into()));
        assert_eq!((&who["uid"], &who["executable"]), (&world.uid().into(), &"/run/it/it".into()), "{start}");
        assert_eq!((&who["attachment"], &start["destination"]["address"]), (&NAME.into(), &SERVER.into()), "{start}");
        let open = agent.connect(&format!("{SERVER}:8080"));
        assert_eq!(
            open.is_ok(),
            !name.ends_with("none"),
            "what is not protected is reached by the network mode: {name}"
        );
    }
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn by_its_id_a_container_alone_is_intercepted() {
    let world = World::new();
    let server = world.server();
    let podman = Podman::new(&world);
    let inside = podman.start("inside", &[&user(&world, "agent")], "agent");
    let beside = podman.start("beside", &[&user(&world, "alice")], "agent");
    let (id, _) = podman.identity("inside");
    let mut gateway = world.gateway(&["attach", "--container", &id[..12], "--name", NAME]);
    gateway.says("is intercepted");
    inside.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(inside.recv().unwrap(), GREETING);
    world.event("session.start", |body| body["who"]["container"]["id"] == id);
    assert_eq!(server.seen("accept 22"), 0);
    beside.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(beside.recv().unwrap(), "hello from the server");
}

#[test]
fn the_canary_is_caught_below_a_cgroup_that_holds_no_process_itself() {
    let world = World::new();
    let podman = Podman::new(&world);
    let _agent = podman.start("runtime", &[&user(&world, "agent")], "agent");
    let controllers = std::fs::read_to_string(podman.parent_here().join("cgroup.subtree_control")).unwrap();
    assert_ne!(controllers, "\n", "the engine gave controllers to its containers");
    let _gateway = podman.attach(&[]);
    let cgroup = format!("/sys/fs/cgroup{}", podman.parent());
    let said = world.cli(&["canary", "--connect", "--cgroup", &cgroup]);
    assert!(said.status.success(), "{said:?}");
}

#[test]
fn root_of_a_container_gets_no_packet_past_though_it_may_make_raw_sockets() {
    let world = World::new();
    let server = world.server();
    let podman = Podman::new(&world);
    let agent = podman.start("root", &["--network", "bridge", "--cap-add", "NET_RAW"], "agent");
    agent.ask("socket before 2 3 6").unwrap();
    agent.ask(&format!("syn before {SERVER}:5432")).unwrap();
    assert_eq!(server.seen("tcp 5432"), 1, "it works where nobody is in the way");
    let _gateway = podman.attach(&[&WITH_ROOT, ["--accept-gap", "cap_net_raw"].as_slice()].concat());
    assert_eq!(agent.ask(&format!("syn before {SERVER}:5432")), Err(Errno::PERM));
    assert_eq!(agent.ask("socket after 2 3 6"), Err(Errno::PERM));
    agent.ask("udp u").unwrap();
    agent.ask(&format!("sendto u {SERVER}:5432")).unwrap_err();
    agent.ask("tcp s 4").unwrap();
    agent.ask(&format!("fastopen s {SERVER}:22")).unwrap();
    assert!(agent.recv().unwrap().starts_with(GREETING));
    world.event("session.start", |body| body["who"]["uid"] == 0 && body["who"]["container"]["id"] != "");
    assert_eq!((server.seen("tcp 5432"), server.seen("udp 5432"), server.seen("tcp 22")), (1, 0, 0));
}

#[test]
fn capabilities_of_containers_that_lead_around_are_named_also_of_those_that_come_later() {
    let world = World::new();
    let podman = Podman::new(&world);
    let more = ["--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW"];
    let before = podman.start("before", &more, "agent");
    let said = world.cli(&["attach", "--cgroup", podman.parent(), "--name", NAME, "--accept-gap", "root_process"]);
    assert!(!said.status.success(), "{said:?}");
    assert!(said.err.contains("\n  cap_net_admin: "), "{said:?}");
    let names_net_raw = said.err.contains("\n  cap_net_raw: ");
    assert!(!said.err.contains("cap_dac_override"), "root owns the files of root without it: {said:?}");
    drop(before);
    podman.ask(&["rm", "--force", "--time=0", "--ignore", "before"]);
    let _gateway = podman.attach(&WITH_ROOT);
    let is_named = |name: &str| world.events("gap").iter().any(|event| event["body"]["name"] == name);
    assert!(!is_named("cap_net_admin"));
    assert_eq!(names_net_raw, is_named("no_lsm_hooks"), "packet sockets are refused where the kernel can");
    let _later = podman.start("later", &more, "agent");
    world.event_within(A_LOOK, "gap", |body| body["name"] == "cap_net_admin" && body["attachment"] == NAME);
    assert!(world.cli(&["status"]).out.contains("cap_net_admin"));
}

#[test]
fn root_of_a_container_with_users_of_its_own_is_served_in_the_hosts_network_and_refused_in_one_that_it_owns() {
    let world = World::new();
    let server = world.server();
    let podman = Podman::new(&world);
    let base = world.uid_of("bob");
    let own_users = [format!("--uidmap=0:{base}:1"), format!("--gidmap=0:{base}:1")];
    let start = |name: &str, network: &str, more: &[&str]| {
        let options = [own_users[0].as_str(), &own_users[1], "--network", network];
        podman.start(name, &[&options, more].concat(), "agent")
    };
    let (of_host, of_bridge) =
        (start("host", "host", &["--cap-drop", "NET_RAW"]), start("bridge", "bridge", &["--cap-drop", "NET_RAW"]));
    let _gateway = podman.attach(&[]);
    of_host.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(of_host.recv().unwrap(), GREETING);
    world.event("session.start", |body| body["who"]["uid"] == base);
    assert_eq!(of_bridge.connect(&format!("{SERVER}:22")), Err(Errno::CONNREFUSED), "its root could be the listener");
    world.refused("no_listener");
    of_bridge.connect(&format!("{SERVER}:8080")).unwrap();
    assert_eq!(server.seen("tcp 22"), 0);
}

/// Begins a Postgres session and waits for its end, which comes soon: no server here speaks the protocol.
fn ask_postgres(agent: &Agent, address: &str) {
    agent.connect(address).unwrap();
    agent.ask("send s \0\0\0\x10\0\x03\0\0user\0a\0\0").unwrap();
    while agent.recv().unwrap() != "end" {}
}

fn accepted(server: &Agent, port: u16) -> usize {
    let report = server.ask("report").unwrap();
    report.split(';').filter(|entry| *entry == format!("accept {port}")).count()
}

/// What our server in a container needs to see all packets.
const SERVER_MAY: [&str; 2] = ["--cap-add", "NET_RAW"];
const WITH_SERVERS: [&str; 4] = ["--accept-gap", "root_process", "--accept-gap", "cap_net_raw"];

#[test]
fn a_sidecar_on_loopback_is_reached_from_its_own_namespace_and_never_the_hosts() {
    let world = World::new();
    let podman = Podman::new(&world);
    let of_host = world.start(As { root: true, ..As::default() }, "server");
    let sidecar = podman.start("sidecar", &[&SERVER_MAY, ["--network", "none"].as_slice()].concat(), "server");
    let agent = podman.start("runtime", &[&user(&world, "agent"), "--network", "container:sidecar"], "agent");
    let target = |name: &str, port: u16, more: &str| {
        format!(
            "[[target]]\nname = \"{name}\"\nprotocol = \"postgres\"\naddresses = [\"0.0.0.0/0\"]\nports = [{port}]\n\
             [target.tls]\nmode = \"disable\"\n{more}"
        )
    };
    let login = "[target.credential]\nuser = \"a\"\npassword = { env = \"SECRET\" }\nallow_unverified = true\n";
    let config = format!("version = 1\n{}{}", target("scratch", 6432, ""), target("shop", 6443, login));
    let config = world.file("gateway.toml", &config);
    let _gateway = podman.attach(&[&WITH_SERVERS, ["--config", config.to_str().unwrap()].as_slice()].concat());
    // Undeclared, declared, and declared with a credential, which is for no address that each namespace has.
    for (port, target) in [(5432, None), (6432, Some("scratch")), (6443, None)] {
        for (number, address) in ["127.0.0.1", "0.0.0.0"].into_iter().enumerate() {
            ask_postgres(&agent, &format!("{address}:{port}"));
            let start = world.event("session.start", |body| {
                body["destination"]["address"] == address && body["destination"]["port"] == port
            });
            assert_eq!(start["destination"]["target"].as_str(), target);
            assert_eq!((accepted(&sidecar, port), accepted(&of_host, port)), (number + 1, 0), "{address}:{port}");
        }
    }
}

#[test]
fn a_published_address_is_judged_as_the_client_wrote_it_and_a_declared_one_dialled_from_the_host() {
    let world = World::new();
    let podman = Podman::new(&world);
    let published = ["--network", "bridge", "--publish", "5432:5432", "--publish", "6432:6432"];
    let service = podman.start("service", &[&SERVER_MAY, published.as_slice()].concat(), "server");
    // The bridge's own address, which is the host's: the engine's NAT leads from there to the container.
    let config = "version = 1\n[[target]]\nname = \"shop\"\nprotocol = \"postgres\"\naddresses = [\"10.88.0.1\"]\n\
                  ports = [6432]\n[target.tls]\nmode = \"disable\"\n";
    let config = world.file("gateway.toml", config);
    let _gateway = podman.attach(&[&WITH_SERVERS, ["--config", config.to_str().unwrap()].as_slice()].concat());
    let mut arrived = (0, 0);
    for (network, from_there) in [("bridge", 1), ("host", 1), ("none", 0)] {
        let agent = podman.start(network, &[&user(&world, "agent"), "--network", network], "agent");
        ask_postgres(&agent, "10.88.0.1:5432");
        ask_postgres(&agent, "10.88.0.1:6432");
        // From a namespace without a way out the undeclared address is nowhere; the declared one is the host's.
        arrived = (arrived.0 + from_there, arrived.1 + 1);
        assert_eq!((accepted(&service, 5432), accepted(&service, 6432)), arrived, "{network}");
        for (port, target) in [(5432, None), (6432, Some("shop"))] {
            let (id, _) = podman.identity(network);
            let start = world.event("session.start", |body| {
                body["who"]["container"]["id"] == id && body["destination"]["port"] == port
            });
            let destination = &start["destination"];
            assert_eq!((&destination["address"], destination["target"].as_str()), (&"10.88.0.1".into(), target));
        }
    }
}

/// What may be left behind: descriptors of the warden, namespaces that it listens in, connections, pinned hooks.
fn kept(world: &World, gateway: &Gateway<'_>) -> (usize, usize, usize, String) {
    let pins = world.sh("find /sys/fs/bpf/gateway | sort");
    let maps = pins.lines().find(|line| line.rsplit('/').next().unwrap().starts_with("maps-")).unwrap();
    let map = |name: &str| {
        let path = format!("/proc/{}/root{maps}/{name}", gateway.child.id());
        Map::HashMap(MapData::from_pin(path).unwrap())
    };
    let listeners = HashMap::<_, u64, ListenerState>::try_from(map("listener")).unwrap().keys().count();
    let flows = HashMap::<_, FlowKey, ConnectRecord>::try_from(map("flow")).unwrap().keys().count();
    (gateway.descriptors(), listeners, flows, pins)
}

/// Connects once and shows how it was greeted.
const CONNECT: &str = "exec 3<>/dev/tcp/198.51.100.7/22; read -r line <&3; echo $line";

#[test]
fn containers_that_come_go_and_start_again_leave_nothing_behind() {
    let world = World::new();
    let podman = Podman::new(&world);
    let gateway = podman.attach(&[]);
    let user = user(&world, "agent");
    let connects = |network| {
        let output = podman.run(&["--rm", &user, "--network", network]).args(["bash", "-c", CONNECT]).output().unwrap();
        let greeting = String::from_utf8_lossy(&output.stdout);
        assert_eq!(greeting.trim(), "SSH-2.0-gateway", "{network}: {}", String::from_utf8_lossy(&output.stderr));
    };
    // The first connection of an attachment opens its way into the engine, which stays.
    connects("host");
    let before = kept(&world, &gateway);
    ["none", "bridge", "host"].into_iter().cycle().take(20).for_each(connects);
    let stays = format!("({CONNECT}); exec sleep 1000");
    let started = podman.run(&["--detach", "--name", "again", &user]).args(["bash", "-c", &stays]).status().unwrap();
    assert!(started.success());
    for starts in 1..=3 {
        wait::until("a greeting", || podman.ask(&["logs", "again"]).matches("SSH-2.0-gateway").count() == starts);
        podman.ask(&["restart", "--time=0", "again"]);
    }
    podman.ask(&["rm", "--force", "--time=0", "again"]);
    wait::until("all to be as before", || {
        let now = kept(&world, &gateway);
        (now.0 <= before.0, now.1, now.2, &now.3) == (true, before.1, 0, &before.3)
    });
}

/// Connects again and again, and shows how each greeting begins.
const CONNECT_OFTEN: &str =
    "while true; do (exec 3<>/dev/tcp/10.77.0.2/22; read -r -t 5 -n 5 line <&3; echo $line); sleep 0.5; done";

#[test]
fn a_container_attached_by_its_id_is_intercepted_again_soon_after_it_starts_again() {
    let world = World::new();
    let server = world.server();
    let podman = Podman::new(&world);
    let options = ["--detach", "--name", "again", &user(&world, "agent")];
    assert!(podman.run(&options).args(["bash", "-c", CONNECT_OFTEN]).status().unwrap().success());
    wait::until("a connection past us", || server.seen("accept 22") > 0);
    let (id, _) = podman.identity("again");
    let mut gateway = world.gateway(&["attach", "--container", &id, "--name", NAME]);
    gateway.says("is intercepted");
    podman.ask(&["restart", "--time=0", "again"]);
    // Until the gateway looks, there is a new cgroup without hooks, which is said before.
    world.event("gap", |body| body["name"] == "new_cgroup_on_restart" && body["attachment"] == NAME);
    assert!(world.cli(&["status"]).out.contains("new_cgroup_on_restart"));
    world.event_within(A_LOOK, "attachment.repaired", |body| body["attachment"] == NAME);
    let sessions = || world.events("session.start").len();
    let before = sessions();
    wait::until("the container's next connects", || sessions() > before + 1);
    let past = server.seen("accept 22");
    let before = sessions();
    wait::until("the container's next connects", || sessions() > before + 1);
    assert_eq!(server.seen("accept 22"), past, "nothing gets past any more");
}
