//! Network namespaces that appear after the attach.

use rustix::io::Errno;

use crate::wait;
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
fn the_first_connect_of_a_new_namespace_does_not_wait_for_the_usual_second() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let cgroup = world.cgroup();
    let mut took: Vec<u64> = (0..9)
        .map(|_| {
            let through = ["unshare", "--net", "sh", "-ec", LOOPBACK_UP, "sh"];
            let agent = world.start(As { cgroup: Some(&cgroup), through: &through, ..As::default() }, "agent");
            // The socket is made and connected at once: nobody can listen so fast.
            agent.ask("latency 1 198.51.100.7:22").unwrap().parse().unwrap()
        })
        .collect();
    took.sort_unstable();
    assert!(took[took.len() / 2] < 900_000, "microseconds: {took:?}");
}

/// As an engine would make one, without any: with processes, mounts and a network of its own.
const BY_HAND: [&str; 13] = [
    "unshare",
    "--net",
    "--mount",
    "--pid",
    "--ipc",
    "--uts",
    "--cgroup",
    "--fork",
    "--kill-child",
    "sh",
    "-ec",
    r#"mount -t proc proc /proc; ip link set lo up; exec "$@""#,
    "sh",
];

#[test]
fn a_container_made_by_hand_is_served_and_named_as_the_host_sees_it() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let own = world.cgroup().join("container");
    std::fs::create_dir(&own).unwrap();
    let agent = world.start(As { cgroup: Some(&own), through: &BY_HAND, ..As::default() }, "agent");
    agent.connect("198.51.100.7:22").unwrap();
    assert_eq!(agent.recv().unwrap(), "SSH-2.0-gateway\\r\\n");
    // Whom it calls 1 is a child of the process that made it.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", agent.pid())).unwrap();
    let pid: u32 = children.trim().parse().unwrap();
    let start = world.event("session.start", |body| body["who"]["pid"] == pid);
    let who = &start["who"];
    assert_eq!((&who["uid"], &who["executable"]), (&world.uid().into(), &"/run/it/it".into()), "{start}");
    assert!(who["cgroup"].as_str().unwrap().ends_with("/agent/container"), "{start}");
}

/// Connects once from a namespace that is gone right after, as often as it is told to, four at a time.
const MANY: &str = r#"
one() { unshare --net sh -ec 'ip link set lo up; exec setpriv --reuid "$0" --regid "$0" --clear-groups bash -c "
exec 3<>/dev/tcp/198.51.100.7/22; read -r -t 20 line <&3; echo \$line"' "$USER_ID"; }
for group in $(seq $(($1 / 4))); do one & one & one & one & wait; done
"#;

#[test]
fn a_hundred_namespaces_are_served_at_their_first_connect_and_leave_nothing_behind() {
    let many = std::env::var("GATEWAY_SOAK").map_or(100, |_| 4_000);
    let world = World::new();
    let gateway = world.attach(&[]);
    let cgroup = world.cgroup();
    let before = gateway.descriptors();
    let mut command = world.command_as(As { cgroup: Some(&cgroup), root: true, ..As::default() });
    let output = command
        .args(["bash", "-c", MANY, "bash", &many.to_string()])
        .env("USER_ID", world.uid().to_string())
        .output()
        .unwrap();
    let greetings = String::from_utf8_lossy(&output.stdout);
    let served = greetings.lines().filter(|line| line.starts_with("SSH-2.0-gateway")).count();
    assert_eq!(served, many, "{greetings}{}", String::from_utf8_lossy(&output.stderr));
    wait::until("the namespaces to be left", || gateway.descriptors() <= before);
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
