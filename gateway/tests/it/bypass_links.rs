//! Ways around the hooks by links into network namespaces whose root is the workload's: what no socket of the subtree
//! sends to where it goes.

use std::time::Duration;

use rustix::io::Errno;

use crate::agent::Agent;
use crate::bypass_namespaces::{root_of_its_own, run};
use crate::server::{SERVER, Server};
use crate::world::{As, NAME, World};

/// The host's end of a link, for frames that are made by hand.
const HOST_END: &str = "02:00:00:00:00:01";

/// A link of the host's root into such a namespace, by which it has a way to the server.
fn plug_in(world: &World, agent: &Agent) {
    let pid = agent.pid();
    world.sh(&format!(
        "mknod -m 666 /run/tun c 10 200
         ip link add plug address {HOST_END} type veth peer name eth0 netns {pid}; ip addr add 10.88.0.1/24 dev plug
         ip link set plug up; ip route add 10.99.0.0/24 dev plug; echo 1 > /proc/sys/net/ipv4/ip_forward"
    ));
    run(world, agent, "ip addr add 10.88.0.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.88.0.1");
    run(world, agent, FORWARD);
}

const FORWARD: &str = r#"
    echo 1 > /proc/sys/net/ipv4/ip_forward
    for filter in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > "$filter"; done
"#;

/// A packet as from a namespace behind it, with no socket that a hook would look at.
fn forward(world: &World, agent: &Agent, port: u16) -> String {
    run(world, agent, &format!(r#""$1" tun /run/tun 10.99.0.2 10.77.0.2 {port}"#))
}

/// A host with such a namespace, attached.
fn plugged_in() -> (World, Server, Agent) {
    let world = World::new();
    let server = world.server();
    let agent = root_of_its_own(&world);
    plug_in(&world, &agent);
    (world, server, agent)
}

/// Waits for the journal to tell of a packet to the server that was dropped where the link arrives.
fn dropped(world: &World, port: u16) {
    world.event("network.refused", |body| {
        body["reason"] == "link_dropped"
            && body["destination"]["address"] == SERVER
            && body["destination"]["port"] == port
            && body["who"]["cgroup"].as_str().is_some_and(|cgroup| cgroup.ends_with("/agent"))
    });
}

#[test]
fn what_a_namespace_forwards_is_dropped_at_the_hosts_end_of_its_link() {
    let (world, server, agent) = plugged_in();
    let _gateway = world.attach(&["--accept-gap", "cap_net_raw"]);
    for _ in 0..2 {
        assert_eq!(agent.connect(&format!("{SERVER}:5432")), Err(Errno::CONNREFUSED), "its sockets are looked at");
    }
    assert_eq!(forward(&world, &agent, 5432), "sent");
    dropped(&world, 5432);
    assert_eq!(forward(&world, &agent, 443), "sent");
    assert_eq!((server.seen("tcp 5432"), server.seen("tcp 443")), (0, 1), "all else goes on");
    let status = world.cli_json(&["status"]);
    let mut gaps = status["attachments"][0]["gaps"].as_array().unwrap().iter();
    assert!(gaps.all(|gap| gap["name"] != "linked_namespace"), "{status}");
}

/// Below it another one, whose connects to an ordinary port it sends to a protected one.
const TRANSLATED: &str = r#"
    unshare --net sleep 20 & child=$!
    until test "$(readlink /proc/$child/ns/net)" != "$(readlink /proc/self/ns/net)"; do :; done
    ip link add up0 type veth peer name eth0 netns $child
    ip addr add 10.99.0.1/24 dev up0; ip link set up0 up
    nsenter --target $child --net sh -ec 'ip addr add 10.99.0.2/24 dev eth0; ip link set eth0 up
        ip route add default via 10.99.0.1'
    nft add table ip nat
    nft add chain ip nat before '{ type nat hook prerouting priority -100 ; }'
    nft add rule ip nat before tcp dport 443 dnat to 10.77.0.2:5432
    nsenter --target $child --net timeout 3 bash -c 'exec 3<>/dev/tcp/10.77.0.2/443' || echo lost
    kill $child
"#;

#[test]
fn a_translated_destination_is_dropped_at_the_hosts_end_of_the_link() {
    let (world, server, agent) = plugged_in();
    let _gateway = world.attach(&["--accept-gap", "cap_net_raw"]);
    assert_eq!(run(&world, &agent, TRANSLATED), "lost");
    dropped(&world, 5432);
    assert_eq!((server.seen("tcp 5432"), server.seen("tcp 443")), (0, 0));
}

/// Rewrites packets on their way to the device, behind the egress hook: by tc, or by nft where the kernel has no pedit.
const REWRITE: &str = r#"
    if tc qdisc add dev eth0 clsact && tc filter add dev eth0 egress prio 1 protocol ip u32 match ip dport 443 0xffff \
        action pedit ex munge tcp dport set 5432 pipe csum ip tcp; then exit; fi
    nft add table netdev edit
    nft add chain netdev edit out '{ type filter hook egress device eth0 priority 0 ; }'
    nft add rule netdev edit out tcp dport 443 tcp dport set 5432
"#;

#[test]
fn a_destination_that_is_rewritten_behind_the_hooks_is_dropped_at_the_hosts_end_of_the_link() {
    let (world, server, agent) = plugged_in();
    let _gateway = world.attach(&["--accept-gap", "cap_net_raw"]);
    run(&world, &agent, REWRITE);
    agent.connect(&format!("{SERVER}:443")).unwrap_err();
    dropped(&world, 5432);
    assert_eq!((server.seen("tcp 5432"), server.seen("tcp 443")), (0, 0));
}

/// A frame past the stack, by a kind of socket.
fn past_the_stack(way: &str) {
    let (world, server, agent) = plugged_in();
    let _gateway = world.attach(&["--accept-gap", "cap_net_raw"]);
    let said = run(&world, &agent, &format!(r#""$1" {way} eth0 {HOST_END} 10.99.0.2 10.77.0.2 5432"#));
    // Where LSM hooks run there is not even a socket for it.
    match said.as_str() {
        "sent" => dropped(&world, 5432),
        "socket: error 1" => world.refused("family_refused"),
        other => panic!("{way}: {other}"),
    }
    assert_eq!(server.seen("tcp 5432"), 0);
}

#[test]
fn frames_of_packet_sockets_are_refused_or_dropped_at_the_hosts_end_of_the_link() {
    past_the_stack("packet");
}

#[test]
fn frames_of_xdp_sockets_are_refused_or_dropped_at_the_hosts_end_of_the_link() {
    past_the_stack("xdp");
}

#[test]
fn a_link_that_is_plugged_in_later_is_guarded_at_once() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&["--accept-gap", "cap_net_raw"]);
    let agent = root_of_its_own(&world);
    // Its namespace is known from here on.
    assert_eq!(agent.connect(&format!("{SERVER}:443")), Err(Errno::NETUNREACH));
    assert_eq!(agent.connect(&format!("{SERVER}:5432")), Err(Errno::CONNREFUSED));
    plug_in(&world, &agent);
    let filters = || world.sh("tc filter show dev plug ingress");
    crate::wait::until("a filter on the link", || filters().contains("gateway"));
    assert_eq!(forward(&world, &agent, 5432), "sent");
    dropped(&world, 5432);
    assert_eq!(server.seen("tcp 5432"), 0);
}

#[test]
fn a_filter_that_is_taken_off_is_put_back_and_goes_with_the_attachment() {
    let (world, server, agent) = plugged_in();
    let mut gateway = world.attach(&["--accept-gap", "cap_net_raw"]);
    world.sh("tc qdisc del dev plug clsact");
    let patience = Duration::from_secs(30);
    let told = |body: &serde_json::Value| body["reason"].as_str().is_some_and(|why| why.contains("second backstop"));
    world.event_within(patience, "attachment.repaired", told);
    forward(&world, &agent, 5432);
    assert_eq!(server.seen("tcp 5432"), 0);
    // Without a gateway too.
    gateway.kill();
    forward(&world, &agent, 5432);
    assert_eq!(server.seen("tcp 5432"), 0);
    assert!(world.cli(&["detach", NAME]).status.success());
    assert!(!world.sh("tc filter show dev plug ingress").contains("gateway"));
    forward(&world, &agent, 5432);
    assert_eq!(server.seen("tcp 5432"), 1);
}

#[test]
fn who_shares_a_namespace_and_is_not_attached_connects_as_before() {
    let world = World::new();
    let server = world.server();
    let cgroup = world.cgroup();
    let agent = world.start(As { cgroup: Some(&cgroup), through: &["unshare", "--net"], ..As::default() }, "agent");
    plug_in_by_root(&world, &agent);
    server.sh("ip route add 10.88.0.0/24 via 10.77.0.1");
    let pid = agent.pid().to_string();
    let through = ["nsenter", "--target", &pid, "--net"];
    let neighbour = world.start(As { root: true, through: &through, ..As::default() }, "agent");
    let _gateway = world.attach(&[]);
    assert!(world.sh("tc filter show dev plug ingress").contains("gateway"));
    neighbour.connect(&format!("{SERVER}:5432")).unwrap();
    crate::wait::until("the neighbour at the server", || server.seen("accept 5432") == 1);
    // And the gateway, which dials this undeclared server from there.
    agent.connect(&format!("{SERVER}:5432")).unwrap();
    agent.ask("ssl_request s").unwrap();
    crate::wait::until("the gateway at the server", || server.seen("accept 5432") == 2);
}

/// The same link into a container's namespace, whose root is the host's.
fn plug_in_by_root(world: &World, agent: &Agent) {
    let pid = agent.pid();
    world.sh(&format!(
        "ip link add plug type veth peer name eth0 netns {pid}; ip addr add 10.88.0.1/24 dev plug; ip link set plug up
         echo 1 > /proc/sys/net/ipv4/ip_forward
         nsenter --target {pid} --net sh -ec 'ip link set lo up; ip addr add 10.88.0.2/24 dev eth0; ip link set eth0 up
             ip route add default via 10.88.0.1'"
    ));
}

#[test]
fn a_link_that_has_no_hosts_end_is_a_gap() {
    let world = World::new();
    let agent = root_of_its_own(&world);
    let _server = world.server();
    world.sh(&format!("ip link add link cable name mac0 netns {} type macvlan", agent.pid()));
    let cgroup = world.cgroup();
    let said = world.cli(&["attach", "--cgroup", cgroup.to_str().unwrap()]);
    assert!(!said.status.success(), "{said:?}");
    assert!(said.err.contains("linked_namespace: ") && said.err.contains("mac0"), "{said:?}");
    let _gateway = world.attach(&["--accept-gap", "linked_namespace", "--accept-gap", "cap_net_raw"]);
    world.event("gap", |body| body["name"] == "linked_namespace" && body["attachment"] == NAME);
}
