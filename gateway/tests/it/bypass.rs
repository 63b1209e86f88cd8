//! Ways around the hooks that one process has with its own sockets.

use rustix::io::Errno;
use rustix::process::Signal;

use crate::bypass_floods::flow;
use crate::gateway::{Gateway, send};
use crate::server::SERVER;
use crate::tricks::{play, play_inside};
use crate::wait;
use crate::world::{As, World};

const GREETING: &str = "SSH-2.0-gateway\\r\\n";
/// What `tricks` hears of it.
const HEARD: &str = "heard: SSH-2.0-gateway";

#[test]
fn catches_connects_by_io_uring_in_the_task_and_in_its_worker() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    for address in [SERVER, "fd77::2"] {
        for flags in ["0", "16"] {
            assert_eq!(play_inside(&world, &["uring", address, "22", flags]), HEARD, "{address} {flags}");
        }
        let to =
            |body: &serde_json::Value| body["destination"]["address"] == address && body["who"]["uid"] == world.uid();
        let starts = || world.events("session.start").into_iter().filter(|event| to(&event["body"])).count();
        wait::until("both sessions", || starts() == 2);
    }
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn an_ipv6_routing_header_hides_no_destination() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    world.sh("ip -6 route add default via fd77::2");
    // The server is a hop: on the way to a protected port, and to one that is not.
    for (address, port) in [("2001:db8::7", "22"), ("2001:db8::7", "443"), ("fd77::2", "5432")] {
        let said = play_inside(&world, &["routing", address, port, "fd77::2"]);
        assert!(said.starts_with("connect: error"), "{said}");
    }
    assert_eq!(server.seen("ip 43"), 0);
    world.event("network.bypass", |body| body["dropped"]["packet_unreadable"].as_u64() > Some(0));
}

#[test]
fn an_ipv4_source_route_hides_no_destination() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    world.sh("ip route add default via 10.77.0.2");
    let cgroup = world.cgroup();
    let agent = As { cgroup: Some(&cgroup), capabilities: "+net_raw", ..As::default() };
    for (address, port) in [("198.51.100.7", "443"), ("198.51.100.7", "22"), (SERVER, "5432")] {
        let said = play(&world, agent, &["source_route", address, port, SERVER]);
        assert!(said.starts_with("connect: error"), "{said}");
    }
    for port in [443, 22, 5432, 15001] {
        assert_eq!(server.seen(&format!("tcp {port}")), 0, "{port}");
    }
    world.event("network.bypass", |body| body["dropped"]["packet_unreadable"].as_u64() > Some(0));
}

#[test]
fn a_protected_port_of_a_neighbours_link_local_address_is_not_reached() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    let neighbour = server.sh("ip -6 -o addr show dev cable scope link | grep -o 'fe80:[0-9a-f:]*' | head -n 1");
    let index = world.sh("ip -o link show dev cable");
    let (neighbour, index) = (neighbour.trim(), index.split(':').next().unwrap());
    let at = |port: u16| format!("[{neighbour}%{index}]:{port}");
    wait::until("a link-local address", || agent.connect(&at(443)).is_ok());
    for port in [22, 5432, 6443, 2379] {
        assert_eq!(agent.connect(&at(port)), Err(Errno::CONNREFUSED), "{port}");
        assert_eq!(server.seen(&format!("tcp {port}")), 0, "{port}");
    }
    world.refused("link_local");
}

#[test]
fn a_second_destination_while_the_first_waits_to_be_accepted_is_judged_by_itself() {
    let world = World::new();
    let server = world.server();
    let gateway = world.attach(&[]);
    let agent = world.agent();
    let records = flow(&world, &gateway);
    let waiting = || records.keys().count();
    // The heartbeat that was written last is good for two seconds.
    stop(&gateway);
    agent.connect("192.0.2.7:22").unwrap();
    assert_eq!(waiting(), 1);
    agent.ask("disconnect s").unwrap();
    assert_eq!(waiting(), 0, "its record went with it");
    agent.connect_again("s", &format!("{SERVER}:22")).unwrap();
    send(gateway.child.id(), Signal::CONT);
    assert_eq!(agent.recv().unwrap(), GREETING);
    let ours = |body: &serde_json::Value| body["who"]["pid"] == agent.pid();
    let start = world.event("session.start", ours);
    assert_eq!(start["destination"]["address"], SERVER, "{start}");
    wait::until("the end of both records", || waiting() == 0);
    // Off to where nothing is protected, and back.
    for (port, greeting) in [(443, "hello from the server"), (22, GREETING), (8080, "hello from the server")] {
        agent.ask("disconnect s").unwrap();
        agent.connect_again("s", &format!("{SERVER}:{port}")).unwrap();
        assert_eq!(agent.recv().unwrap(), greeting, "{port}");
    }
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn two_destinations_from_one_source_port_are_never_taken_for_each_other() {
    let world = World::new();
    let server = world.server();
    let gateway = world.attach(&[]);
    let agent = world.agent();
    agent.ask("tcp s 4").unwrap();
    agent.ask("bind s 10.77.0.1:40003").unwrap();
    stop(&gateway);
    agent.connect_again("s", "192.0.2.7:6443").unwrap();
    agent.ask("disconnect s").unwrap();
    agent.connect_again("s", &format!("{SERVER}:22")).unwrap();
    send(gateway.child.id(), Signal::CONT);
    // Both had the same two ends: the record is the second one's, whichever socket is accepted with it; none is left.
    let answer = agent.recv();
    assert!(matches!(answer.as_deref(), Ok(GREETING) | Err(&Errno::CONNRESET)), "{answer:?}");
    let ours = |event: &serde_json::Value| event["body"]["who"]["pid"] == agent.pid();
    let started: Vec<_> = world.events("session.start").into_iter().filter(ours).collect();
    assert!(started.iter().all(|event| event["body"]["destination"]["address"] == SERVER), "{started:?}");
    assert_eq!(server.seen("tcp 22") + server.seen("tcp 6443"), 0);
}

#[test]
fn a_record_serves_nobody_who_comes_from_the_same_address() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let (agent, outsider) = (world.agent(), world.outsider());
    agent.ask("tcp s 4").unwrap();
    agent.ask("bind s 127.0.0.1:40004").unwrap();
    agent.connect_again("s", &format!("{SERVER}:22")).unwrap();
    outsider.ask("tcp s 4").unwrap();
    assert_eq!(outsider.ask("bind s 127.0.0.1:40004"), Err(Errno::ADDRINUSE));
    assert_eq!(agent.recv().unwrap(), GREETING);
    // A reset leaves nothing behind that would keep the address.
    agent.ask("disconnect s").unwrap();
    agent.ask("close s").unwrap();
    let sessions = world.events("session.start").len();
    wait::until("the address", || outsider.ask("bind s 127.0.0.1:40004").is_ok());
    let answer = outsider.connect_again("s", "127.0.0.1:15001").and_then(|_| outsider.recv());
    assert_eq!(answer, Err(Errno::CONNRESET));
    world.refused("no_record");
    assert_eq!(world.events("session.start").len(), sessions);
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn nobody_inside_takes_the_port_of_the_listener_without_bind() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    // Only then 15001 is among the ports that the kernel chooses from, and that a socket can narrow.
    world.sh("echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range");
    let said = play_inside(&world, &["listen", "15001"]);
    // Before Linux 6.3 the kernel alone chooses.
    assert!(["listen: error 98", "IP_LOCAL_PORT_RANGE: error 92"].contains(&said.as_str()), "{said}");
}

/// Stops the warden, so that connections wait to be accepted.
pub fn stop(gateway: &Gateway<'_>) {
    send(gateway.child.id(), Signal::STOP);
    let stat = format!("/proc/{}/stat", gateway.child.id());
    wait::until("a stopped warden", || std::fs::read_to_string(&stat).unwrap().contains(") T "));
}
