//! Kinds of sockets that would get around the connect hook.

use rustix::io::Errno;

use crate::server::SERVER;
use crate::world::{As, World};

#[test]
fn sockets_of_other_kinds_are_refused() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let cgroup = world.cgroup();
    let agent = world.start(As { cgroup: Some(&cgroup), capabilities: "+net_raw", ..As::default() }, "agent");
    let outsider = world.outsider();
    // Domain, type, protocol: raw TCP and raw anything, SCTP, MPTCP, DCCP, UDP-Lite, SMC, over IPv4 and IPv6.
    for call in [
        "2 3 6", "2 3 255", "10 3 6", "2 1 132", "2 5 132", "10 1 132", "2 1 262", "10 1 262", "2 6 33", "2 2 136",
        "2 1 256",
    ] {
        let inside = agent.ask(&format!("socket s {call}"));
        match outsider.ask(&format!("socket s {call}")) {
            Ok(_) => assert_eq!(inside, Err(Errno::PERM), "{call}"),
            // This kernel has no such sockets for anybody.
            Err(error) => assert_eq!(inside, Err(error), "{call}"),
        }
    }
    assert_eq!(agent.ask("socket s 2 3 6"), Err(Errno::PERM), "every kernel has raw sockets");
    world.refused("socket_refused");
    for call in ["2 1 0", "2 1 6", "2 2 17", "10 1 6", "1 1 0"] {
        agent.ask(&format!("socket s {call}")).unwrap();
    }
    assert_eq!(server.seen("tcp 5432"), 0);
}

#[test]
fn a_raw_socket_made_before_the_attach_sends_nothing_to_a_protected_port() {
    let world = World::new();
    let server = world.server();
    let cgroup = world.cgroup();
    let agent = world.start(As { cgroup: Some(&cgroup), capabilities: "+net_raw", ..As::default() }, "agent");
    agent.ask("socket s 2 3 6").unwrap();
    agent.ask(&format!("syn s {SERVER}:5432")).unwrap();
    assert_eq!(server.seen("tcp 5432"), 1, "it works where nobody is in the way");
    // Where no LSM hook refuses packet sockets, the capability has to be accepted.
    let _gateway = world.attach(&["--accept-gap", "cap_net_raw"]);
    assert_eq!(agent.ask(&format!("syn s {SERVER}:5432")), Err(Errno::PERM));
    assert_eq!(server.seen("tcp 5432"), 1);
    world.dropped();
}
