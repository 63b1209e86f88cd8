//! Ways around the hooks by network namespaces whose root is the workload's.

use rustix::io::Errno;

use crate::agent::Agent;
use crate::bypass_floods::flow;
use crate::server::SERVER;
use crate::tricks::{play, program};
use crate::world::{As, World, kernel};

/// A process inside that is root of a user namespace and a network namespace of its own, which it may do as it likes
/// with; only by descriptors that it was given could it be anywhere else.
pub fn root_of_its_own(world: &World) -> Agent {
    let cgroup = world.cgroup();
    let id = world.uid().to_string();
    let through = [
        ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "--inh-caps=-all"].as_slice(),
        &[
            "unshare",
            "--user",
            "--map-root-user",
            "--net",
            "--mount",
            "sh",
            "-ec",
            r#"ip link set lo up; exec "$@""#,
            "sh",
        ],
    ]
    .concat();
    world.start(As { cgroup: Some(&cgroup), root: true, through: &through, ..As::default() }, "agent")
}

/// Has such a process run a script; `$1` is the program of tricks.
pub fn run(world: &World, agent: &Agent, script: &str) -> String {
    let script = world.file("script.sh", script);
    agent.ask(&format!("run {} {}", script.display(), program(world).display())).unwrap()
}

/// A veth pair into a namespace below, which forwards, and packets from there, from a tun device and past all of IP.
const OWN_DEVICES: &str = r#"
    unshare --net sleep 20 & child=$!
    until test "$(readlink /proc/$child/ns/net)" != "$(readlink /proc/self/ns/net)"; do :; done
    ip link add up0 type veth peer name eth0 netns $child
    ip addr add 10.99.0.1/24 dev up0; ip link set up0 up
    nsenter --target $child --net sh -ec 'ip addr add 10.99.0.2/24 dev eth0; ip link set eth0 up
        ip route add default via 10.99.0.1'
    echo 1 > /proc/sys/net/ipv4/ip_forward
    "$1" tun /run/tun 10.99.0.2 10.77.0.2 5432
    "$1" packet up0 ff:ff:ff:ff:ff:ff 10.99.0.2 10.77.0.2 5432
    nsenter --target $child --net "$1" packet eth0 ff:ff:ff:ff:ff:ff 10.99.0.2 10.77.0.2 5432
    kill $child
"#;

#[test]
fn devices_that_root_of_its_own_namespace_makes_lead_nowhere() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = root_of_its_own(&world);
    world.sh("mknod -m 666 /run/tun c 10 200");
    // There is nowhere to send it; where LSM hooks run there are no packet sockets either.
    match run(&world, &agent, OWN_DEVICES).as_str() {
        "sent sent sent" => {}
        "sent socket: error 1 socket: error 1" => world.refused("family_refused"),
        other => panic!("{other}"),
    }
    for _ in 0..2 {
        assert_eq!(agent.connect(&format!("{SERVER}:5432")), Err(Errno::CONNREFUSED));
    }
    world.refused("no_listener");
    assert_eq!(agent.connect(&format!("{SERVER}:443")), Err(Errno::NETUNREACH));
    assert_eq!(server.seen("tcp 5432") + server.seen("tcp 443"), 0);
}

#[test]
fn a_fake_server_in_a_namespace_of_its_own_is_never_dialled() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = root_of_its_own(&world);
    run(&world, &agent, "ip addr add 10.77.0.2/32 dev lo");
    agent.ask("tcp fake 4").unwrap();
    agent.ask("bind fake 10.77.0.2:5432").unwrap();
    agent.ask("listen fake").unwrap();
    for _ in 0..2 {
        assert_eq!(agent.connect(&format!("{SERVER}:5432")), Err(Errno::CONNREFUSED));
    }
    assert_eq!(agent.ask("accept_at_once fake"), Err(Errno::AGAIN), "nobody came");
    world.refused("no_listener");
    assert_eq!(server.seen("tcp 5432"), 0);
}

#[test]
fn a_connection_that_is_restored_without_a_handshake_was_connected_like_any_other() {
    let (world, server, agent) = crate::bypass_links::plugged_in();
    let gateway = world.attach(&["--accept-gap", "cap_net_admin", "--accept-gap", "cap_net_raw"]);
    for _ in 0..2 {
        assert_eq!(agent.connect(&format!("{SERVER}:5432")), Err(Errno::CONNREFUSED));
    }
    let restore = |port: u16| run(&world, &agent, &format!(r#""$1" repair {SERVER} {port}"#));
    let refused =
        format!("connect: error {}", if kernel() < (5, 18) { Errno::PERM } else { Errno::CONNREFUSED }.raw_os_error());
    assert_eq!((restore(5432), restore(443)), (refused, "sent".to_owned()));
    crate::wait::until("what was sent to an ordinary port", || server.seen("tcp 443") > 0);
    world.refused("no_listener");
    // Where the gateway listens, it is the listener that has not heard of it.
    let cgroup = world.cgroup();
    let of_host = As { cgroup: Some(&cgroup), capabilities: "+net_admin", ..As::default() };
    assert_eq!(play(&world, of_host, &["repair", SERVER, "5432"]), "sent");
    assert_eq!((server.seen("tcp 5432"), server.seen("accept 443")), (0, 0));
    crate::wait::until("the end of its record", || flow(&world, &gateway).keys().count() == 0);
}

#[test]
fn a_declared_target_is_dialled_from_the_gateways_namespace_whatever_is_in_the_clients() {
    let world = World::new();
    let server = world.server();
    let config = world.file("gateway.toml", DECLARED);
    let _gateway = world.attach(&["--config", config.to_str().unwrap()]);
    let cgroup = world.cgroup();
    // A container's namespace: made by root, with the target's address inside.
    let addresses = r#"ip link set lo up; ip addr add 10.77.0.2/32 dev lo; exec "$@""#;
    let through = ["unshare", "--net", "sh", "-ec", addresses, "sh"];
    let agent = world.start(As { cgroup: Some(&cgroup), through: &through, ..As::default() }, "agent");
    agent.ask("tcp fake 4").unwrap();
    agent.ask("bind fake 10.77.0.2:5432").unwrap();
    agent.ask("listen fake").unwrap();
    agent.connect(&format!("{SERVER}:5432")).unwrap();
    // The server is dialled before this is answered.
    agent.ask("ssl_request s").unwrap();
    crate::wait::until("the gateway at the real server", || server.seen("accept 5432") > 0);
    assert_eq!(agent.ask("accept_at_once fake"), Err(Errno::AGAIN), "and not at the fake");
}

const DECLARED: &str = r#"
version = 1
[[target]]
name = "shop"
protocol = "postgres"
addresses = ["10.77.0.2"]
ports = [5432]
"#;
