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
pub fn plugged_in() -> (World, Server, Agent) {
    let world = World::new();
    let server = world.server();
    let agent = root_of_its_own(&world);
    plug_in(&world, &agent);
    (world, server, agent)
}

/// Waits for the journal to tell of a packet to the server that was dropped where the link arrives.
fn dropped(world: &World, port: u16) {
    world.event_within(Duration::from_secs(40), "network.refused", |body| {
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

/// A bridge in the namespace and one on the host, so that whatever its root puts into a frame comes to the server.
fn bridge(world: &World, agent: &Agent) {
    world.sh("ip link add br0 type bridge; ip link set plug master br0; ip link set cable master br0
         ip addr flush dev plug; ip addr flush dev cable; ip addr add 10.77.0.1/24 dev br0; ip link set br0 up");
    run(world, agent, "ip link add br0 type bridge; ip link set eth0 master br0; ip link set br0 up");
}

/// Headers before a packet that opens a connection to a protected port, and what a server sees where nobody drops it.
const CARRIERS: [(&str, &str, &str); 11] = [
    ("a VLAN in a VLAN", "81000005 81000006 0800", "frame 8100"),
    ("a VLAN in a provider's", "88a80005 81000006 0800", "frame 8100"),
    ("PPPoE", "8864 11000001002a 0021", "frame 8864"),
    ("MPLS", "8847 00064140", "frame 8847"),
    ("LLC and SNAP", "0030 aaaa03 000000 0800", "frame 30"),
    ("IPv4 in IPv4", "0800 4500003c00020000400400000a6300020a4d0002", "ip 4"),
    ("6in4", "0800 4500003c00020000402900000a6300020a4d0002", "ip 41"),
    ("GRE", "0800 4500004000020000402f00000a6300020a4d0002 00000800", "ip 47"),
    ("VXLAN", "0800 4500005a00020000401100000a6300020a4d0002 9c4012b500460000 0800000000000500 ETHERNET", "udp 4789"),
    (
        "VXLAN of old",
        "0800 4500005a00020000401100000a6300020a4d0002 9c40211800460000 0800000000000500 ETHERNET",
        "udp 8472",
    ),
    ("Geneve", "0800 4500005a00020000401100000a6300020a4d0002 9c4017c100460000 0000655800000500 ETHERNET", "udp 6081"),
];
/// To everybody, from a device that nobody has.
const ADDRESSES: &str = "ffffffffffff 020000000007";

#[test]
fn what_one_frame_carries_in_another_is_dropped_at_the_hosts_end_of_the_link() {
    let (world, server, agent) = plugged_in();
    bridge(&world, &agent);
    let put = |(name, headers, _): &(&str, &str, &str)| {
        let headers = headers.replace("ETHERNET", &format!("{ADDRESSES}0800"));
        let headers = format!("{ADDRESSES}{headers}").replace(' ', "");
        let said = run(&world, &agent, &format!(r#""$1" frame /run/tun {headers} 10.99.0.2 10.77.0.2 5432"#));
        assert_eq!(said, "sent", "{name}");
    };
    // Without a gateway each of them arrives.
    for carrier in &CARRIERS {
        let before = server.seen(carrier.2);
        put(carrier);
        crate::wait::until(carrier.0, || server.seen(carrier.2) == before + 1);
    }
    let arrived = || CARRIERS.map(|(name, _, seen)| (name, server.seen(seen)));
    let before = arrived();
    let _gateway = world.attach(&["--accept-gap", "cap_net_raw"]);
    CARRIERS.iter().for_each(put);
    assert_eq!(arrived(), before);
    let unreadable = CARRIERS.iter().filter(|(_, _, seen)| !seen.starts_with("udp")).count() as u64;
    crate::wait::until("all of them in the journal", || {
        let counts = world.events("network.bypass");
        let of = |event: &serde_json::Value| event["body"]["dropped"]["packet_unreadable"].as_u64().unwrap_or(0);
        counts.iter().map(of).sum::<u64>() >= unreadable
    });
    for port in [4789, 8472, 6081] {
        dropped(&world, port);
    }
}

/// Tunnels that root of a namespace can make where the kernel has them, and what a server sees of them.
const TUNNELS: [(&str, &str, &str); 6] = [
    ("ipip", "remote 10.77.0.2 local 10.88.0.2", "ip 4"),
    ("gre", "remote 10.77.0.2 local 10.88.0.2", "ip 47"),
    ("gretap", "remote 10.77.0.2 local 10.88.0.2", "ip 47"),
    ("sit", "remote 10.77.0.2 local 10.88.0.2 mode any", "ip 4"),
    ("geneve", "id 5 remote 10.77.0.2", "udp 6081"),
    ("vxlan", "id 5 remote 10.77.0.2 dstport 4789", "udp 4789"),
];

/// Makes one, sends a packet to a neighbour behind it, and takes it away again.
const THROUGH_A_TUNNEL: &str = r#"
    ip link add t0 type KIND OPTIONS 2>/dev/null || { echo none; exit; }
    ip addr add 10.66.0.2/24 dev t0; ip link set t0 up
    ip neigh add 10.66.0.1 lladdr 02:00:00:00:00:09 dev t0 2>/dev/null || true
    ip route add 10.55.0.0/24 via 10.66.0.1 dev t0
    "$1" tun /run/tun 10.99.0.2 10.55.0.2 5432
    ip link del t0
"#;

#[test]
fn tunnels_of_a_namespace_are_dropped_at_the_hosts_end_of_its_link() {
    let (world, server, agent) = plugged_in();
    server.sh("ip route add 10.88.0.0/24 via 10.77.0.1");
    let send = |kind: &str, options: &str| {
        let said = run(&world, &agent, &THROUGH_A_TUNNEL.replace("KIND", kind).replace("OPTIONS", options));
        // Where the kernel has it, a namespace's root may make it.
        let module = format!("modprobe --dry-run --quiet rtnl-link-{kind}");
        let has = || world.command("sh").args(["-c", &module]).status().unwrap().success();
        assert!(said == "sent" || (said == "none" && !has()), "{kind}: {said}");
        said == "sent"
    };
    let mut made = Vec::new();
    for (kind, options, seen) in TUNNELS {
        let before = server.seen(seen);
        if send(kind, options) {
            crate::wait::until(kind, || server.seen(seen) > before);
            made.push((kind, options, seen));
        }
    }
    assert!(made.iter().any(|(kind, ..)| *kind == "vxlan"), "every kernel of the tests has one: {made:?}");
    let arrived = || made.iter().map(|(kind, _, seen)| (*kind, server.seen(seen))).collect::<Vec<_>>();
    let before = arrived();
    let _gateway = world.attach(&["--accept-gap", "cap_net_raw"]);
    for (kind, options, _) in &made {
        assert!(send(kind, options), "{kind}");
    }
    assert_eq!(arrived(), before);
    dropped(&world, 4789);
}

/// A tunnel with keys of its own, which sends to its other end what goes behind it, or begins with asking there.
const WIREGUARD: &str = r#"
    ip link add wg0 type wireguard 2>/dev/null || { echo none; exit; }
    wg genkey > /run/home/key
    wg set wg0 private-key /run/home/key peer "$(wg genkey | wg pubkey)" endpoint 10.77.0.2:51820 allowed-ips 10.55.0.0/24
    ip link set wg0 up; ip route add 10.55.0.0/24 dev wg0
    "$1" tun /run/tun 10.99.0.2 10.55.0.2 5432
    ip link del wg0
"#;

#[test]
fn a_tunnel_of_wireguard_leads_only_to_where_the_list_says() {
    let (world, server, agent) = plugged_in();
    let tunnel = || run(&world, &agent, WIREGUARD);
    let said = tunnel();
    if said == "none" {
        // Where the kernel has it, a namespace's root may make it.
        assert!(!world.command("modprobe").args(["--dry-run", "--quiet", "wireguard"]).status().unwrap().success());
        return;
    }
    assert_eq!(said, "sent");
    crate::wait::until("its first words", || server.seen("udp 51820") > 0);
    let before = server.seen("udp 51820");
    let config = world.file("gateway.toml", "version = 1\n[egress]\ndefault = \"deny\"\nallow = [\"10.77.0.2:443\"]\n");
    let _gateway = world.attach(&["--accept-gap", "cap_net_raw", "--config", config.to_str().unwrap()]);
    assert_eq!(tunnel(), "sent");
    dropped(&world, 51820);
    assert_eq!(server.seen("udp 51820"), before);
}

/// Sends what anybody in the namespace sends to port 443 to another one, whatever socket it comes from.
const REWRITE_ALL: &str = r#"
    if tc qdisc add dev eth0 clsact && tc filter add dev eth0 egress prio 1 protocol ip u32 match ip protocol 6 0xff \
        match ip dport 443 0xffff action pedit ex munge tcp dport set 5432 pipe csum ip tcp; then
        tc filter add dev eth0 egress prio 2 protocol ip u32 match ip protocol 17 0xff match ip dport 443 0xffff \
            action pedit ex munge udp dport set 5432 pipe csum ip udp
        exit
    fi
    nft add table netdev edit
    nft add chain netdev edit out '{ type filter hook egress device eth0 priority 0 ; }'
    nft add rule netdev edit out tcp dport 443 tcp dport set 5432
    nft add rule netdev edit out udp dport 443 udp dport set 5432
"#;

#[test]
fn what_a_neighbour_sends_is_not_trusted_where_the_workload_can_rewrite_it() {
    let (world, server, agent) = plugged_in();
    server.sh("ip route add 10.88.0.0/24 via 10.77.0.1");
    let pid = agent.pid().to_string();
    let neighbour =
        world.start(As { root: true, through: &["nsenter", "--target", &pid, "--net"], ..As::default() }, "agent");
    neighbour.ask("udp u").unwrap();
    neighbour.connect(&format!("{SERVER}:5432")).unwrap();
    neighbour.ask("disconnect s").unwrap();
    // Whatever was sent before it has arrived when this has.
    neighbour.ask(&format!("sendto u {SERVER}:8080")).unwrap();
    crate::wait::until("the last packet", || server.seen("udp 8080") == 1);
    let before = server.seen("tcp 5432");
    let _gateway = world.attach(&["--accept-gap", "cap_net_raw"]);
    // A stream to a protected port could have its bytes rewritten, a datagram or another stream its destination.
    neighbour.connect(&format!("{SERVER}:5432")).unwrap_err();
    neighbour.connect(&format!("{SERVER}:443")).unwrap();
    run(&world, &agent, REWRITE_ALL);
    neighbour.connect(&format!("{SERVER}:443")).unwrap_err();
    neighbour.ask(&format!("sendto u {SERVER}:443")).unwrap();
    world.event("network.refused", |body| body["reason"] == "link_dropped" && body["destination"]["port"] == 5432);
    assert_eq!((server.seen("tcp 5432"), server.seen("udp 5432")), (before, 0));
}

#[test]
fn a_link_that_is_moved_on_into_a_namespace_below_stays_guarded() {
    let (world, server, agent) = plugged_in();
    let _gateway = world.attach(&["--accept-gap", "cap_net_raw"]);
    let moved = r#"
        unshare --net sleep 20 & child=$!
        until test "$(readlink /proc/$child/ns/net)" != "$(readlink /proc/self/ns/net)"; do :; done
        ip link set eth0 netns $child
        nsenter --target $child --net sh -ec 'ip link set lo up; ip addr add 10.88.0.2/24 dev eth0; ip link set eth0 up
            until ip link show eth0 | grep -q "state UP"; do :; done
            ip route add default via 10.88.0.1; echo 1 > /proc/sys/net/ipv4/ip_forward
            for filter in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > "$filter"; done
            "$1" tun /run/tun 10.99.0.2 10.77.0.2 5432; "$1" tun /run/tun 10.99.0.2 10.77.0.2 443' sh "$1"
        kill $child
    "#;
    assert_eq!(run(&world, &agent, moved), "sent sent");
    dropped(&world, 5432);
    assert_eq!((server.seen("tcp 5432"), server.seen("tcp 443")), (0, 1));
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
