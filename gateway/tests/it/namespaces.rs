//! Network namespaces that appear after the attach.

use rustix::io::Errno;

use crate::world::{As, World};

const LOOPBACK_UP: &str = r#"ip link set lo up; exec "$@""#;

#[test]
fn a_new_network_namespace_is_served_at_its_first_connect() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let cgroup = world.cgroup();
    for _ in 0..5 {
        let through = ["unshare", "--net", "sh", "-ec", LOOPBACK_UP, "sh"];
        let agent = world.start(As { cgroup: Some(&cgroup), through: &through, ..As::default() }, "agent");
        agent.connect("198.51.100.7:22").unwrap();
        assert_eq!(agent.recv().unwrap(), "SSH-2.0-gateway\\r\\n");
        assert_eq!(agent.ask("peer s").unwrap(), "198.51.100.7:22");
        world.event("session.start", |body| body["who"]["pid"] == agent.pid());
    }
}

#[test]
fn a_namespace_of_another_user_namespace_is_refused_since_its_root_is_the_workloads() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let cgroup = world.cgroup();
    let id = world.uid().to_string();
    let through = [
        ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "--inh-caps=-all"].as_slice(),
        &["unshare", "--user", "--map-root-user", "--net", "sh", "-ec", LOOPBACK_UP, "sh"],
    ]
    .concat();
    let agent = world.start(As { cgroup: Some(&cgroup), root: true, through: &through, ..As::default() }, "agent");
    let started = world.events("session.start").len();
    for address in ["198.51.100.7:22", "[2001:db8::7]:22", "127.0.0.1:5432"] {
        assert_eq!(agent.connect(address), Err(Errno::CONNREFUSED), "{address}");
    }
    world.refused("no_listener");
    assert_eq!(world.events("session.start").len(), started);
    agent.ask("tcp s 4").unwrap();
    assert_eq!(agent.ask("bind s 127.0.0.1:15001"), Err(Errno::PERM), "nor does its root listen in our place");
}
