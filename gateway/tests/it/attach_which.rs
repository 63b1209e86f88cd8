//! Subtrees that are named by a process, a unit or a container, and subtrees that are only observed.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::gateway::Gateway;
use crate::server::SERVER;
use crate::world::{As, NAME, World};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const GREETING: &str = "SSH-2.0-gateway\\r\\n";

/// Attaches by these words, and sees that a process in the cgroup is caught and named so in the journal.
fn catches<'w>(world: &'w World, words: &[&str], cgroup: &Path, workload: &str) -> Gateway<'w> {
    let mut gateway = world.gateway(&[&["attach", "--name", NAME], words].concat());
    gateway.says("is intercepted");
    let attached = world.event("attachment.attached", |_| true);
    let mount = crate::world::cgroup_mount();
    assert_eq!(mount.join(attached["cgroup"].as_str().unwrap().trim_start_matches('/')), cgroup);
    let below = cgroup.join("below");
    fs::create_dir_all(&below).unwrap();
    let agent = world.start(As { cgroup: Some(&below), ..As::default() }, "agent");
    crate::wait::until("an open gate", || agent.connect(&format!("{SERVER}:22")).is_ok());
    assert_eq!(agent.recv().unwrap(), GREETING);
    world.event("session.start", |body| body["who"]["workload"] == workload);
    gateway
}

/// A cgroup in the world, as a service manager or container engine lays it out.
fn laid_out(world: &World, path: &str) -> PathBuf {
    let cgroup = world.top().join(path);
    fs::create_dir_all(&cgroup).unwrap();
    cgroup
}

/// An id that no other world has.
fn container_id(world: &World) -> String {
    format!("{:08x}{}", world.uid(), &ID[..56])
}

fn unit(world: &World) -> String {
    format!("{}.service", world.top().file_name().unwrap().to_string_lossy())
}

#[test]
fn by_a_process_it_is_that_processs_cgroup() {
    let world = World::new();
    let server = world.server();
    let agent = world.agent();
    let pid = agent.pid().to_string();
    let _gateway = catches(&world, &["--pid", &pid], &world.cgroup(), NAME);
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), GREETING);
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn by_a_unit_it_is_the_service_as_systemd_lays_it_out() {
    let world = World::new();
    let server = world.server();
    let unit = unit(&world);
    let cgroup = laid_out(&world, &format!("system.slice/{unit}"));
    laid_out(&world, &format!("system.slice/other-{unit}"));
    let name = unit.strip_suffix(".service").unwrap();
    let gateway = catches(&world, &["--unit", name], &cgroup, &format!("{NAME}/{unit}"));
    assert_eq!(server.seen("tcp 22"), 0);
    drop(gateway);
    let mut said = world.cli(&["attach", "--unit", &format!("no-{unit}")]);
    assert!(!said.status.success() && said.err.contains("is it running?"), "{said:?}");
    laid_out(&world, &format!("user.slice/app.slice/{unit}"));
    said = world.cli(&["attach", "--unit", &unit]);
    assert!(!said.status.success() && said.err.contains("2 cgroups are named after"), "{said:?}");
}

#[test]
fn by_a_container_it_is_the_containers_own_cgroup_with_every_engine() {
    for (layout, beside) in [
        ("system.slice/docker-ID.scope", "system.slice/other.scope"),
        ("docker/ID", "docker/other"),
        ("k8s.io/ID", "k8s.io/other"),
        (
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-ID.scope",
            "kubepods.slice",
        ),
        ("machine.slice/libpod-ID.scope", "machine.slice/libpod-conmon-ID.scope"),
    ] {
        let world = World::new();
        let server = world.server();
        let id = container_id(&world);
        let cgroup = laid_out(&world, &layout.replace("ID", &id));
        laid_out(&world, &beside.replace("ID", &id));
        let _gateway = catches(&world, &["--container", &id[..12]], &cgroup, NAME);
        let who = &world.event("session.start", |_| true)["who"];
        assert_eq!((&who["workload_instance"], &who["container"]["id"]), (&id.as_str().into(), &id.as_str().into()));
        assert_eq!(server.seen("tcp 22"), 0, "{layout}");
    }
}

#[test]
fn a_container_that_is_not_there_or_not_named_clearly_is_refused() {
    let world = World::new();
    let id = container_id(&world);
    let said = world.cli(&["attach", "--container", &id[..11]]);
    assert!(!said.status.success() && said.err.contains("at least its first 12 digits"), "{said:?}");
    let said = world.cli(&["attach", "--container", &id]);
    assert!(!said.status.success() && said.err.contains("is it running?"), "{said:?}");
    laid_out(&world, &format!("docker/{id}"));
    laid_out(&world, &format!("docker/{}0", &id[..63]));
    let said = world.cli(&["attach", "--container", &id[..12]]);
    assert!(!said.status.success() && said.err.contains("2 cgroups are named after"), "{said:?}");
    let said = world.cli(&["attach", "--pid", "4194999"]);
    assert!(!said.status.success() && said.err.contains("there is no process 4194999"), "{said:?}");
    assert_eq!(world.pins(), "");
}

#[test]
fn observing_is_shown_and_what_nobody_could_read_is_refused_all_the_same() {
    let world = World::new();
    let server = world.server();
    let _gateway = world.attach(&["--observe"]);
    assert_eq!(world.cli_json(&["status"])["attachments"][0]["observe"], true);
    assert!(world.cli(&["status"]).out.contains("observe"));
    assert_eq!(world.event("attachment.attached", |_| true)["mode"], "observe");
    let agent = world.agent();
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), GREETING, "it goes through us");
    world.event("session.start", |body| body["mode"] == "observe");
    agent.ask("udp u").unwrap();
    assert_eq!(agent.attempt(&format!("sendto u {SERVER}:5432")), Err(Errno::CONNREFUSED));
    assert_eq!((server.seen("tcp 22"), server.seen("udp 5432")), (0, 0));
}
