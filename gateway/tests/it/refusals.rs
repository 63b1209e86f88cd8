//! What is refused, and what the clients of each protocol are told.

use rustix::io::Errno;
use rustix::process::Signal;

use crate::bypass::stop;
use crate::gateway::send;
use crate::server::{SERVER, SERVER6};
use crate::tricks::play_inside;
use crate::wait;
use crate::world::{As, World, cgroup_mount};

#[test]
fn nobody_inside_takes_the_port_of_the_listener() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    for (family, address) in [(4, "127.0.0.1:15001"), (4, "0.0.0.0:15001"), (4, "127.0.0.9:15001"), (6, "[::]:15001")] {
        agent.ask(&format!("tcp s {family}")).unwrap();
        assert_eq!(agent.ask(&format!("bind s {address}")), Err(Errno::PERM), "{address}");
    }
    agent.ask("tcp s 4").unwrap();
    agent.ask("bind s 127.0.0.1:15002").unwrap();
    world.refused("bind_refused");
}

#[test]
fn nobody_inside_connects_to_the_listener_directly() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    for address in
        ["127.0.0.1:15001", "127.0.0.5:15001", "0.0.0.0:15001", "[::1]:15001", "[::]:15001", "[::ffff:127.0.0.1]:15001"]
    {
        assert_eq!(agent.connect(address), Err(Errno::CONNREFUSED), "{address}");
    }
    world.refused("own_listener");
}

#[test]
fn a_connection_to_the_listener_from_outside_is_reset_without_a_session() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let sessions = world.events("session.start").len();
    let outsider = world.outsider();
    // On one processor the reset comes before the connect returns.
    let answer = outsider.connect("127.0.0.1:15001").and_then(|_| outsider.recv());
    assert_eq!(answer, Err(Errno::CONNRESET));
    world.refused("no_record");
    assert_eq!(world.events("session.start").len(), sessions);
}

#[test]
fn udp_to_a_protected_port_reaches_nobody() {
    let world = World::new();
    let server = world.server();
    let agent = world.agent();
    agent.ask("udp old").unwrap();
    agent.connect_again("old", &format!("{SERVER}:5432")).unwrap();
    let _gateway = world.attach(&[]);
    assert_eq!(agent.ask("send old hello"), Err(Errno::PERM), "connected before the attach");
    agent.ask("udp s").unwrap();
    assert_eq!(agent.connect_again("s", &format!("{SERVER}:5432")), Err(Errno::CONNREFUSED));
    for (socket, address) in [("s", "10.77.0.2:5432"), ("six", "[fd77::2]:5432"), ("six", "[::ffff:10.77.0.2]:5432")] {
        agent.ask("udp six 6").unwrap();
        assert_eq!(agent.attempt(&format!("sendto {socket} {address}")), Err(Errno::CONNREFUSED), "{address}");
    }
    agent.attempt(&format!("sendto s {SERVER}:4444")).unwrap();
    assert_eq!((server.seen("udp 5432"), server.seen("udp 4444")), (0, 1));
    world.refused("not_tcp");
    world.dropped();
}

#[test]
fn refused_calls_are_journaled_with_destination_process_and_cgroup() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    let cgroup = format!("/{}", world.cgroup().strip_prefix(cgroup_mount()).unwrap().display());
    agent.connect("10.77.0.2:2379").unwrap_err();
    agent.ask("udp s").unwrap();
    agent.attempt("sendto s 10.77.0.2:2379").unwrap_err();
    for protocol in ["tcp", "udp"] {
        let event = world.event("network.refused", |body| body["destination"]["protocol"] == protocol);
        assert_eq!(event["destination"]["address"], "10.77.0.2");
        assert_eq!(event["destination"]["port"], 2379);
        assert_eq!(event["reason"], "destination_refused");
        assert_eq!((&event["who"]["pid"], &event["who"]["cgroup"]), (&agent.pid().into(), &cgroup.as_str().into()));
    }
}

#[test]
fn a_process_that_has_exited_is_named_by_what_the_kernel_saw_of_it() {
    let world = World::new();
    let gateway = world.attach(&[]);
    let below = world.cgroup().join("below");
    std::fs::create_dir(&below).unwrap();
    let connects_and_exits = |port: u16| -> u32 {
        let mut command = world.command_as(As { cgroup: Some(&below), ..As::default() });
        let script = format!("echo $$; exec 3<>/dev/tcp/10.77.0.2/{port}");
        let output = command.args(["bash", "-c", &script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    let is_named = |kind: &str, pid: u32| {
        let who = world.event(kind, |body| body["who"]["pid"] == pid)["who"].clone();
        assert_eq!(who["uid"], world.uid());
        assert!(who["cgroup"].as_str().unwrap().ends_with("/agent/below"), "{who}");
        who["executable"].as_str().unwrap().to_owned()
    };
    let session = is_named("session.start", connects_and_exits(22));
    assert!(session.ends_with("bash"), "{session}");
    // And where nobody looks before it is gone.
    stop(&gateway);
    let pid = connects_and_exits(2379);
    send(gateway.child.id(), Signal::CONT);
    assert_eq!(is_named("network.refused", pid), "bash");
}

#[test]
fn datagrams_that_go_where_they_want_are_journaled_once_for_each_destination() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    agent.ask("udp s").unwrap();
    agent.ask("udp six 6").unwrap();
    for _ in 0..5 {
        agent.attempt(&format!("sendto s {SERVER}:4444")).unwrap();
        agent.attempt(&format!("sendto six {SERVER6}:4445")).unwrap();
    }
    assert_eq!(server.seen("udp 4444"), 5);
    wait::until("a datagram over IPv6, whose neighbours have to be found first", || server.seen("udp 4445") > 0);
    for port in [4444, 4445] {
        let event = world.event("network.connect", |body| body["destination"]["port"] == port);
        assert_eq!((&event["destination"]["protocol"], &event["count"]), (&"udp".into(), &1.into()));
        assert_eq!(event["who"]["pid"], agent.pid());
    }
}

#[test]
fn metadata_services_kubelets_and_etcd_are_refused_by_default() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    for address in [
        "169.254.169.254:80",
        "169.254.170.2:80",
        "100.100.100.200:80",
        "[fd00:ec2::254]:80",
        "[::ffff:169.254.169.254]:80",
        "10.77.0.2:10250",
        "10.77.0.2:10255",
        "10.77.0.2:2379",
        "10.77.0.2:2380",
        "[fd77::2]:2379",
    ] {
        assert_eq!(agent.connect(address), Err(Errno::CONNREFUSED), "{address}");
    }
    assert_eq!(server.seen("tcp 10250") + server.seen("tcp 2379"), 0);
    world.refused("destination_refused");
}

#[test]
fn overlay_networks_of_this_host_are_no_way_past() {
    let world = World::new();
    let server = world.server();
    // As on a node of a cluster: what comes in a datagram is routed like any packet.
    world.sh("echo 1 > /proc/sys/net/ipv4/ip_forward
         ip link add overlay address 02:00:00:00:00:01 type vxlan id 5 dstport 8472 local 10.77.0.1
         ip addr add 10.99.0.1/24 dev overlay; ip link set overlay up");
    server.sh("ip route add 10.99.0.0/24 via 10.77.0.1");
    let words = ["vxlan", "10.77.0.1", "8472", "02:00:00:00:00:01", "10.99.0.2", "10.77.0.2", "5432"];
    assert_eq!(play_inside(&world, &words), "sent");
    crate::wait::until("the packet at the server", || server.seen("tcp 5432") == 1);
    let _gateway = world.attach(&[]);
    assert!(["sendto: error 111", "sendto: error 1"].contains(&play_inside(&world, &words).as_str()));
    world.refused("destination_refused");
    assert_eq!(server.seen("tcp 5432"), 1);
}

#[test]
fn protected_ports_of_link_local_addresses_are_refused() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    agent.ask("tcp s 6").unwrap();
    assert_eq!(agent.connect_again("s", "[fe80::1%1]:5432"), Err(Errno::CONNREFUSED));
    world.refused("link_local");
}

#[test]
fn what_is_not_protected_goes_where_it_wants_and_is_journaled() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    for address in [format!("{SERVER}:443"), format!("{SERVER6}:443")] {
        agent.connect(&address).unwrap();
        assert_eq!(agent.recv().unwrap(), "hello from the server");
        assert_eq!(agent.ask("peer s").unwrap(), address);
    }
    assert_eq!(server.seen("accept 443"), 2);
    let event = world.event("network.connect", |body| body["destination"]["port"] == 443);
    assert_eq!(event["who"]["uid"], world.uid());
    assert_eq!(event["who"]["pid"], agent.pid());
}

#[test]
fn the_ssh_client_shows_its_user_why() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let cgroup = world.cgroup();
    let mut ssh = world.command_as(As { cgroup: Some(&cgroup), ..As::default() });
    ssh.args(["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]);
    let output = ssh.args(["-o", "UserKnownHostsFile=/dev/null", "git@10.77.0.2", "true"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains("gateway: ") && said.contains("(session "), "{said}");
    assert_eq!(server.seen("tcp 22"), 0);
    let id = said.split("(session ").nth(1).unwrap().split(')').next().unwrap();
    let sessions = world.cli_json(&["sessions"]);
    assert!(sessions.as_array().unwrap().iter().any(|session| session["session"] == id), "{id} in {sessions}");
}

#[test]
fn a_tls_client_of_kubernetes_reads_access_denied() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    agent.connect(&format!("{SERVER}:6443")).unwrap();
    let error = agent.ask("tls s").unwrap();
    assert!(error.contains("AccessDenied"), "{error}");
    assert_eq!(server.seen("tcp 6443"), 0);
}

/// 10.77.0.2 by NAT64, 6to4, Teredo and IPv4-translated, and a metadata service by NAT64.
const CARRIED: [&str; 5] = [
    "[64:ff9b::a4d:2]:5432",
    "[2002:a4d:2::1]:5432",
    "[2001:0:4136:e378:8000:63bf:f5b2:fffd]:5432",
    "[::ffff:0:a4d:2]:5432",
    "[64:ff9b::a9fe:a9fe]:80",
];

#[test]
fn a_declared_address_in_an_ipv6_form_is_refused() {
    let world = World::new();
    let _server = world.server();
    let config = world.file(
        "gateway.toml",
        "version = 1\n[[target]]\nname = \"shop\"\nprotocol = \"postgres\"\naddresses = [\"10.77.0.2\"]\nports = [5432]\n",
    );
    let _gateway = world.attach(&["--config", config.to_str().unwrap()]);
    let agent = world.agent();
    for address in CARRIED {
        assert_eq!(agent.connect(address), Err(Errno::CONNREFUSED), "{address}");
        let address: std::net::SocketAddr = address.parse().unwrap();
        world.event("network.refused", |body| {
            body["reason"] == "destination_refused" && body["destination"]["address"] == address.ip().to_string()
        });
    }
    // Of what nothing is declared, the port is protected as at every address.
    agent.connect("[64:ff9b::c633:6407]:5432").unwrap();
}
