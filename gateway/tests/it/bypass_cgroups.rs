//! Ways around the hooks by cgroups: other programs below, moves in and out, old controllers, and leaving by itself.

use std::fs;

use rustix::io::Errno;

use crate::server::SERVER;
use crate::tricks::play;
use crate::world::{As, World, kernel};

const GREETING: &str = "SSH-2.0-gateway\\r\\n";

#[test]
fn hooks_of_a_cgroup_below_have_no_last_word() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let below = world.cgroup().join("below");
    fs::create_dir(&below).unwrap();
    let root = As { root: true, ..As::default() };
    for (port, address, to) in [("9001", SERVER, "22"), ("9002", "127.0.0.1", "15001"), ("5432", SERVER, "2379")] {
        assert_eq!(play(&world, root, &["hooks", below.to_str().unwrap(), port, address, to]), "attached");
    }
    let agent = world.start(As { cgroup: Some(&below), ..As::default() }, "agent");
    // Sent to a protected port, ours sees that one.
    agent.connect("198.51.100.1:9001").unwrap();
    assert_eq!(agent.recv().unwrap(), GREETING);
    let start = world.event("session.start", |body| body["who"]["pid"] == agent.pid());
    assert_eq!((&start["destination"]["address"], &start["destination"]["port"]), (&SERVER.into(), &22.into()));
    assert_eq!(agent.connect("198.51.100.1:9002"), Err(Errno::CONNREFUSED));
    world.refused("own_listener");
    assert_eq!(agent.connect(&format!("{SERVER}:5432")), Err(Errno::CONNREFUSED));
    world.refused("destination_refused");
    // Nor do programs that let all pass overrule those that refuse.
    agent.ask("udp u").unwrap();
    assert_eq!(agent.attempt(&format!("sendto u {SERVER}:5432")), Err(Errno::CONNREFUSED));
    assert_eq!(server.seen("tcp 22") + server.seen("tcp 2379") + server.seen("udp 5432"), 0);
}

#[test]
fn a_socket_made_inside_stays_intercepted_when_its_process_is_moved_out() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    agent.ask("tcp s 4").unwrap();
    agent.ask("udp u").unwrap();
    fs::write(world.top().join("cgroup.procs"), agent.pid().to_string()).unwrap();
    agent.connect_again("s", &format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), GREETING);
    assert_eq!(agent.attempt(&format!("sendto u {SERVER}:5432")), Err(Errno::CONNREFUSED));
    world.tried(&agent, &format!("{SERVER}:22"));
    world.refused("not_tcp");
    assert_eq!(server.seen("tcp 22") + server.seen("udp 5432"), 0);
    // What it makes from now on is not the attachment's any more, and no claim of ours.
    agent.connect(&format!("{SERVER}:443")).unwrap();
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), "hello from the server");
}

#[test]
fn sockets_brought_in_from_outside_are_made_deaf() {
    let world = World::new();
    let server = world.server();
    let before = world.start(As::default(), "agent");
    before.ask("tcp s 4").unwrap();
    before.ask("tcp six 6").unwrap();
    fs::write(world.cgroup().join("cgroup.procs"), before.pid().to_string()).unwrap();
    before.ask("tcp own 4").unwrap();
    let _gateway = world.attach(&[]);
    let deaf = |body: &serde_json::Value, count: &str| {
        let detail = body["detail"].as_str().unwrap();
        body["name"] == "foreign_sockets" && detail.contains(&format!("{count} of them were made deaf"))
    };
    world.event("gap", |body| deaf(body, "2"));
    assert_eq!(before.ask(&format!("connect s {SERVER}:22")), Err(Errno::INPROGRESS), "until it waits no more");
    assert!(before.ask("connect six [fd77::2]:22").is_err());
    before.connect_again("own", &format!("{SERVER}:22")).unwrap();
    assert_eq!(before.ask("recv own").unwrap(), GREETING, "its own sockets are left alone");
    // And one that is moved in later, with a connection to where nothing is protected that could be connected anew.
    let later = world.start(As::default(), "agent");
    later.connect(&format!("{SERVER}:443")).unwrap();
    fs::write(world.cgroup().join("cgroup.procs"), later.pid().to_string()).unwrap();
    world.event_within(std::time::Duration::from_secs(30), "gap", |body| deaf(body, "1"));
    later.ask("disconnect s").unwrap();
    assert!(later.ask(&format!("connect s {SERVER}:22")).is_err());
    assert_eq!(server.seen("accept 22"), 0);
    assert_eq!(world.events("gap").iter().filter(|event| event["body"]["name"] == "foreign_sockets").count(), 2);
}

#[test]
fn nobody_inside_leaves_or_takes_a_pin_away() {
    let world = World::new();
    let server = world.server();
    let script = r#"
        own=$(sed -n 's/^0:://p' /proc/self/cgroup)
        try() { if "$@" 2>/dev/null; then echo "did: $*"; fi; }
        for level in "$1" "$1/gateway.slice" "$1$own" "$1$own/.."; do
            try sh -c 'echo $$ > "$0/cgroup.procs"' "$level"
            try mkdir "$level/mine"
        done
        try ls /sys/fs/bpf/gateway
        try rm -r /sys/fs/bpf/gateway
        try umount /sys/fs/bpf
        try unshare --mount true
        # Root of a user namespace of its own owns no cgroup and no pin either.
        try unshare --user --map-root-user --mount rm -r /sys/fs/bpf/gateway
        try unshare --user --map-root-user --mount umount /sys/fs/bpf
        try unshare --user --map-root-user --cgroup sh -c 'echo $$ > "$0/cgroup.procs"' "$1"
        ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null git@10.77.0.2 2>&1
        true
    "#;
    let mut command = world.command("/run/it/gateway");
    command.args(["exec", "--user", "agent", "--", "sh", "-c", script, "sh"]).arg(crate::world::cgroup_mount());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !said.contains("did: "), "{said}");
    assert!(said.contains("gateway: ") && said.contains("(session "), "{said}");
    world.event("session.start", |body| body["who"]["executable"].as_str().unwrap().ends_with("/ssh"));
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn the_bpf_call_is_not_for_those_inside() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&[]);
    let cgroup = world.cgroup();
    let id = world.uid().to_string();
    let words = ["hooks", cgroup.to_str().unwrap(), "22", SERVER, "22"];
    let agent = As { cgroup: Some(&cgroup), ..As::default() };
    let as_root_of_its_own =
        ["setpriv", "--reuid", &id, "--clear-groups", "unshare", "--user", "--map-root-user", "--net"];
    let its_root = As { cgroup: Some(&cgroup), root: true, through: &as_root_of_its_own, ..As::default() };
    for who in [agent, its_root] {
        assert_eq!(play(&world, who, &words), "BPF_PROG_LOAD: error 1");
        assert_eq!(play(&world, who, &["bpf"]), "tried", "no program of any kind is loaded");
    }
    assert!(play(&world, As { root: true, ..As::default() }, &["bpf"]).contains("loaded "), "root outside loads some");
    assert_eq!(server.seen("tcp 22"), 0);
}

/// Linux before 5.15 lets sockets pass all hooks then: attach refuses.
#[test]
fn old_network_controllers_take_nobody_out() {
    let world = World::new();
    let server = world.server();
    let agent = world.agent();
    let groups = world.directory().join("net_prio");
    fs::create_dir(&groups).unwrap();
    let groups = OldController::mount(groups);
    fs::write(groups.0.join("mine/cgroup.procs"), agent.pid().to_string()).unwrap();
    if kernel() < (5, 15) {
        let said = world.cli(&["attach", "--cgroup", world.cgroup().to_str().unwrap()]);
        assert!(!said.status.success() && said.err.contains("net_prio_cgroup"), "{said:?}");
        return;
    }
    let _gateway = world.attach(&[]);
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), GREETING);
    agent.ask("udp u").unwrap();
    assert_eq!(agent.attempt(&format!("sendto u {SERVER}:5432")), Err(Errno::CONNREFUSED));
    world.tried(&agent, &format!("{SERVER}:22"));
    world.refused("not_tcp");
    assert_eq!(server.seen("tcp 22") + server.seen("udp 5432"), 0);
}

/// A hierarchy of net_prio (cgroup v1) with a group; gone with the handle.
struct OldController(std::path::PathBuf);

impl OldController {
    fn mount(at: std::path::PathBuf) -> Self {
        sh(r#"mount -t cgroup -o net_prio none "$0""#, &at);
        fs::create_dir(at.join("mine")).unwrap();
        Self(at)
    }
}

impl Drop for OldController {
    fn drop(&mut self) {
        let end = r#"while read -r pid; do echo "$pid" > "$0/cgroup.procs"; done < "$0/mine/cgroup.procs"
            rmdir "$0/mine"; umount "$0""#;
        sh(end, &self.0);
    }
}

fn sh(script: &str, argument: &std::path::Path) {
    let output = std::process::Command::new("sh").args(["-ec", script]).arg(argument).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
