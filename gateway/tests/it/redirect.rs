//! What is redirected, however it is asked for, and what the client and the journal see of it.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use crate::server::{SERVER, SERVER6};
use crate::wait;
use crate::world::{NAME, World};

const GREETING: &str = "SSH-2.0-gateway\\r\\n";

#[test]
fn catches_ipv4_ipv6_and_mapped_connects_and_shows_the_client_its_own_destination() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    for (address, journaled) in [
        (format!("{SERVER}:22"), SERVER.to_owned()),
        (format!("{SERVER6}:22"), "fd77::2".to_owned()),
        (format!("[::ffff:{SERVER}]:22"), SERVER.to_owned()),
    ] {
        agent.connect(&address).unwrap();
        assert_eq!(agent.ask("peer s").unwrap(), address);
        assert_eq!(agent.recv().unwrap(), GREETING, "{address}");
        let start = world.event("session.start", |body| {
            body["destination"]["address"] == journaled && body["who"]["pid"] == agent.pid()
        });
        assert_eq!(start["destination"]["port"], 22);
        assert_eq!(start["destination"]["protocol"], "ssh");
        assert_eq!(start["who"]["uid"], world.uid());
        assert_eq!(start["who"]["attachment"], NAME);
        let below_mount = start["who"]["cgroup"].as_str().unwrap();
        assert!(world.cgroup().ends_with(below_mount.trim_start_matches('/')), "{start}");
        assert!(start["who"]["executable"].as_str().unwrap().contains("it"), "{start}");
    }
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn catches_a_connect_that_does_not_block() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    agent.ask("tcp s 4").unwrap();
    assert_eq!(agent.ask(&format!("connect_later s {SERVER}:22")).unwrap(), "in progress first");
    assert_eq!(agent.recv().unwrap(), GREETING);
    world.tried(&agent, &format!("{SERVER}:22"));
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn a_second_connect_of_the_same_socket_goes_nowhere_else() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.ask(&format!("connect s {SERVER}:5432")), Err(Errno::ISCONN));
    assert_eq!(agent.recv().unwrap(), GREETING);
    world.tried(&agent, &format!("{SERVER}:22"));
    assert_eq!(server.seen("tcp 22") + server.seen("tcp 5432"), 0);
}

#[test]
fn catches_sockets_that_were_bound_to_a_source_first() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    for source in ["127.0.0.1:0", "10.77.0.1:0", "10.77.0.1:40001"] {
        agent.ask("tcp s 4").unwrap();
        agent.ask(&format!("bind s {source}")).unwrap();
        agent.ask(&format!("connect s {SERVER}:22")).unwrap();
        assert_eq!(agent.recv().unwrap(), GREETING, "{source}");
    }
    let tried = || world.events("session.start").into_iter().filter(|event| event["body"]["who"]["pid"] == agent.pid());
    wait::until("all three in the journal", || tried().count() == 3);
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn a_socket_that_is_disconnected_and_connected_anew_gets_a_record_of_its_new_destination() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    agent.connect("192.0.2.7:22").unwrap();
    assert_eq!(agent.recv().unwrap(), GREETING);
    agent.ask("disconnect s").unwrap();
    agent.ask(&format!("connect s {SERVER}:22")).unwrap();
    assert_eq!(agent.ask("peer s").unwrap(), format!("{SERVER}:22"));
    assert_eq!(agent.recv().unwrap(), GREETING);
    for address in ["192.0.2.7", SERVER] {
        world.event("session.start", |body| {
            body["destination"]["address"] == address && body["who"]["pid"] == agent.pid()
        });
    }
    // To where nothing is protected, the old record no longer shows.
    agent.ask("disconnect s").unwrap();
    agent.ask(&format!("connect s {SERVER}:443")).unwrap();
    assert_eq!(agent.recv().unwrap(), "hello from the server");
    assert_eq!(server.seen("tcp 22"), 0);
    assert_eq!(server.seen("accept 443"), 1);
}

#[test]
fn catches_data_sent_with_the_syn() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    agent.ask("tcp s 4").unwrap();
    agent.ask(&format!("fastopen s {SERVER}:22")).unwrap();
    // The refusal comes right behind it: the client has spoken already.
    assert!(agent.recv().unwrap().starts_with(GREETING));
    assert_eq!(agent.ask("peer s").unwrap(), format!("{SERVER}:22"));
    world.tried(&agent, &format!("{SERVER}:22"));
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn catches_connects_to_this_host_by_its_unspecified_address() {
    let world = World::new();
    let local = world.start(crate::world::As { root: true, ..Default::default() }, "server");
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    for address in ["0.0.0.0:22", "127.0.0.1:22", "127.8.8.8:22", "[::]:22", "[::1]:22", "[::ffff:0.0.0.0]:22"] {
        agent.connect(address).unwrap();
        assert_eq!(agent.recv().unwrap(), GREETING, "{address}");
        world.tried(&agent, address);
    }
    agent.connect("0.0.0.0:8080").unwrap();
    assert_eq!(agent.recv().unwrap(), "hello from the server", "what is not protected is there");
    assert!(!local.ask("report").unwrap().contains("accept 22"));
}

#[test]
fn processes_outside_are_left_alone() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let outsider = world.outsider();
    outsider.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(outsider.recv().unwrap(), "hello from the server");
    assert_eq!(server.seen("accept 22"), 1);
}

#[test]
fn catches_processes_of_cgroups_made_below_after_the_attach() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let child = world.cgroup().join("later/still");
    std::fs::create_dir_all(&child).unwrap();
    let agent = world.start(crate::world::As { cgroup: Some(&child), ..Default::default() }, "agent");
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), GREETING);
    world.event("session.start", |body| body["who"]["cgroup"].as_str().unwrap().ends_with("/later/still"));
    assert_eq!(server.seen("tcp 22"), 0);
}

/// Children that become other programs, each of which connects.
const FAMILY: &str = r#"
case "$1" in
    parent) for n in $(seq 40); do bash "$0" child & done; wait ;;
    child) exec bash "$0" grandchild ;;
    grandchild) exec 3<>/dev/tcp/10.77.0.2/22; read -r -t 20 line <&3; echo "$line" ;;
esac
"#;

#[test]
fn catches_processes_that_fork_and_exec_while_they_are_moved_between_cgroups() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let homes = ["one", "two/deeper"].map(|name| world.cgroup().join(name));
    homes.iter().for_each(|home| std::fs::create_dir_all(home).unwrap());
    let agent = world.start(crate::world::As { cgroup: Some(&homes[0]), ..Default::default() }, "agent");
    let script = world.file("family.sh", FAMILY);
    let is_over = AtomicBool::new(false);
    let greetings = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                for (from, to) in [(&homes[0], &homes[1]), (&homes[1], &homes[0])] {
                    for pid in std::fs::read_to_string(from.join("cgroup.procs")).unwrap().lines() {
                        // Some of them are gone by then.
                        let _ = std::fs::write(to.join("cgroup.procs"), pid);
                    }
                }
            }
        });
        let said = agent.ask(&format!("run {} parent", script.display()));
        is_over.store(true, Ordering::SeqCst);
        said.unwrap()
    });
    assert_eq!(greetings.matches("SSH-2.0-gateway").count(), 40, "{greetings}");
    let moved = |event: &serde_json::Value| {
        let cgroup = event["body"]["who"]["cgroup"].as_str().unwrap();
        cgroup.ends_with("/one") || cgroup.ends_with("/two/deeper")
    };
    let tried = || world.events("session.start").into_iter().filter(moved).count();
    wait::until("all of them in the journal", || tried() == 40);
    assert_eq!(server.seen("tcp 22"), 0);
}
