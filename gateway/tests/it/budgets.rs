//! One attachment that takes all that it can get, and another one beside it, which must not notice.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::agent::Agent;
use crate::server::SERVER;
use crate::wait;
use crate::world::{As, NAME, World};

/// Connects whose median is taken.
const CONNECTS: usize = 200;
/// Pairs of looks, of which one has to be good: other work of a busy machine disturbs some.
const ROUNDS: usize = 8;
/// So few descriptors that a flood could take them all.
const FEW: &str = "--nofile=1000:1000";
static ALONE: Mutex<()> = Mutex::new(());
const GREETING: &str = "SSH-2.0-gateway\\r\\n";

#[test]
fn a_flood_of_connects_costs_its_neighbour_no_event_and_little_time() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let neighbour = neighbour(&world);
    let flooder = world.agent();
    let flood = || flooder.ask(&format!("flood 300 {SERVER}:22 800")).unwrap() != "0";
    let served = AtomicBool::new(false);
    let made = notices_little(&neighbour, || {
        served.fetch_or(flood(), Ordering::SeqCst);
    });
    wait::until("the flood to be served, at its own pace", || served.load(Ordering::SeqCst) || flood());
    let starts = world.events("session.start").into_iter();
    assert_eq!(starts.filter(|event| event["body"]["who"]["pid"] == neighbour.pid()).count(), made);
}

#[test]
fn a_flood_of_refusals_costs_its_neighbour_no_event_and_little_time() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let neighbour = neighbour(&world);
    let flooder = world.agent();
    // Refused, and held by nobody: more than the ring buffer and the journal's counts tell apart.
    notices_little(&neighbour, || drop(flooder.ask(&format!("storm 20000 {SERVER}:2379")).unwrap()));
    let counted = world.event("network.refused", |body| body["reason"] == "destination_refused");
    assert!(counted["count"].as_u64() > Some(100), "alike ones are one event: {counted}");
}

#[test]
fn a_flood_of_new_namespaces_costs_its_neighbour_no_event_and_little_time() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let neighbour = neighbour(&world);
    let cgroup = world.cgroup();
    notices_little(&neighbour, || {
        let mut flood = world.command_as(As { cgroup: Some(&cgroup), root: true, ..As::default() });
        let connects = "unshare --net bash -c 'ip link set lo up; exec 3<>/dev/tcp/198.51.100.7/22'";
        flood.args(["bash", "-c", &format!("for n in $(seq 10); do {connects} & done; wait")]);
        assert!(flood.status().unwrap().success());
    });
}

#[test]
fn a_flood_of_connects_from_many_namespaces_costs_its_neighbour_no_event_and_little_time() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let neighbour = neighbour(&world);
    let cgroup = world.cgroup();
    let through = ["unshare", "--net", "sh", "-ec", r#"ip link set lo up; exec "$@""#, "sh"];
    let flooders: Vec<_> = (0..12)
        .map(|_| world.start(As { cgroup: Some(&cgroup), through: &through, ..As::default() }, "agent"))
        .collect();
    notices_little(&neighbour, || {
        thread::scope(|scope| {
            for flooder in &flooders {
                scope.spawn(|| flooder.ask(&format!("flood 300 {SERVER}:22 40")).unwrap());
            }
        });
    });
}

#[test]
fn sessions_that_one_attachment_keeps_open_leave_descriptors_for_another() {
    let world = World::new();
    let _gateway = world.attach_by(&["prlimit", FEW, "/run/it/gateway"], &[]);
    let neighbour = neighbour(&world);
    let flooders = [world.agent(), world.agent()];
    for flooder in &flooders {
        // Nobody says a word on them.
        flooder.ask(&format!("hold 600 {SERVER}:5432")).unwrap();
    }
    world.refused("too_many_sessions");
    is_served(&neighbour);
}

#[test]
fn namespaces_that_one_attachment_makes_leave_descriptors_for_another() {
    let world = World::new();
    let _gateway = world.attach_by(&["prlimit", FEW, "/run/it/gateway"], &[]);
    let other = neighbour_cgroup(&world);
    let cgroup = world.cgroup();
    let mut many = world.command_as(As { cgroup: Some(&cgroup), root: true, ..As::default() });
    many.args(["bash", "-c", "for n in $(seq 200); do unshare --net sleep 100 & done; sleep 100"]);
    let mut many = many.spawn().unwrap();
    world.event("network.bypass", |body| body["refused"]["too_many_namespaces"].as_u64() > Some(0));
    let through = ["unshare", "--net", "sh", "-ec", r#"ip link set lo up; exec "$@""#, "sh"];
    let refused = world.start(As { cgroup: Some(&cgroup), through: &through, ..As::default() }, "agent");
    wait::until("a refusal", || refused.connect(&format!("{SERVER}:22")) == Err(Errno::CONNREFUSED));
    is_served(&world.start(As { cgroup: Some(&other), through: &through, ..As::default() }, "agent"));
    many.kill().unwrap();
    many.wait().unwrap();
}

#[test]
fn who_fills_the_disk_with_its_record_is_refused_alone() {
    let world = World::new();
    world.sh("umount /var/lib/gateway; mount -t tmpfs -o size=8m none /var/lib/gateway");
    let _gateway = world.attach(&[]);
    let neighbour = neighbour(&world);
    let flooder = world.agent();
    // A single connect may fail because the machine is busy.
    wait::for_some_within(Duration::from_secs(60), "the end of its share", || {
        flooder.ask(&format!("storm 500 {SERVER}:22")).unwrap().starts_with("gateway 0 ").then_some(())
    });
    for _ in 0..3 {
        let answers = flooder.ask(&format!("storm 100 {SERVER}:22")).unwrap();
        assert!(answers.starts_with("gateway 0 "), "{answers}");
        is_served(&neighbour);
    }
    world.event("network.bypass", |body| {
        body["attachment"] == NAME && body["refused"]["no_share_of_the_disk"].as_u64() > Some(300)
    });
}

/// Whether the median of a process's connects at most doubles beside a flood, which is made again and again meanwhile.
/// Returns how many connects it made.
fn notices_little(neighbour: &Agent, flood: impl Fn() + Sync) -> usize {
    // Two floods at once would be measured as one.
    let _alone = ALONE.lock();
    let median = || neighbour.ask(&format!("latency {CONNECTS} {SERVER}:22")).unwrap().parse::<u64>().unwrap();
    let mut looks = Vec::new();
    while looks.len() < ROUNDS {
        let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let flooded = thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    begun.store(true, Ordering::SeqCst);
                    flood();
                }
            });
            wait::until("the flood", || begun.load(Ordering::SeqCst));
            let took = median();
            over.store(true, Ordering::SeqCst);
            took
        });
        let quiet = median();
        looks.push((quiet, flooded));
        if flooded <= 2 * quiet {
            return looks.len() * 2 * CONNECTS;
        }
    }
    panic!("microseconds without and with the flood: {looks:?}");
}

fn is_served(agent: &Agent) {
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), GREETING);
}

/// A process in an attachment of its own.
pub fn neighbour(world: &World) -> Agent {
    let other = neighbour_cgroup(world);
    world.start(As { cgroup: Some(&other), ..As::default() }, "agent")
}

fn neighbour_cgroup(world: &World) -> PathBuf {
    let other = world.top().join("other");
    std::fs::create_dir_all(&other).unwrap();
    let said = world.cli(&["attach", "--cgroup", other.to_str().unwrap(), "--name", "other"]);
    assert!(said.status.success(), "{said:?}");
    other
}
