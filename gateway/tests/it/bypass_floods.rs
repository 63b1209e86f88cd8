//! Ways around the hooks by numbers: full maps, and connects that race with what an operator does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use aya::maps::{HashMap, Map, MapData};
use gateway_common::{ConnectRecord, EVENT_BYTES, Endpoint, FLOW_ENTRIES, FlowKey};
use rustix::io::Errno;

use crate::agent::Agent;
use crate::gateway::Gateway;
use crate::server::{SERVER, Server};
use crate::wait;
use crate::world::{NAME, World};

const GREETING: &str = "SSH-2.0-gateway\\r\\n";

#[test]
fn a_full_table_of_connections_refuses_new_ones_and_loses_none() {
    let world = World::new();
    let server = world.server();
    let gateway = world.attach(&[]);
    let agent = world.agent();
    let mut flow = flow(&world, &gateway);
    let key = |port: u32| FlowKey { netns: u64::MAX, client: Endpoint::v4(1, port), listener: Endpoint::v4(2, port) };
    let fakes = || (0..FLOW_ENTRIES as u32).map(key);
    for key in fakes() {
        if flow.insert(key, ConnectRecord::default(), 0).is_err() {
            break;
        }
    }
    let answer = agent.connect(&format!("{SERVER}:22")).and_then(|_| agent.recv());
    assert!(matches!(answer, Err(Errno::CONNRESET)), "{answer:?}");
    world.refused("map_failed");
    assert_eq!(server.seen("tcp 22"), 0);
    let found = fakes().filter(|key| flow.get(key, 0).is_ok()).count();
    assert!(found >= FLOW_ENTRIES - 64, "{found}: those that were there stay");
    for key in fakes() {
        let _ = flow.remove(&key);
    }
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), GREETING);
}

#[test]
fn a_flood_of_connects_reaches_nobody_and_leaves_no_record() {
    let world = World::new();
    let server = world.server();
    let gateway = world.attach(&[]);
    let agents: Vec<_> = (0..4).map(|_| world.agent()).collect();
    thread::scope(|scope| {
        for agent in &agents {
            scope.spawn(|| assert_eq!(count(&agent.ask(&format!("storm 250 {SERVER}:22")).unwrap(), "server"), 0));
        }
    });
    let flow = flow(&world, &gateway);
    wait::until("the end of every record", || flow.keys().count() == 0);
    // Nor do those that nobody accepts, as many as there are before the heartbeat is too old.
    crate::bypass::stop(&gateway);
    let _ = agents[0].ask(&format!("hold 50 {SERVER}:22"));
    assert_ne!(flow.keys().count(), 0);
    drop(agents);
    wait::until("the end of those that nobody accepts", || flow.keys().count() == 0);
    assert_eq!(server.seen("tcp 22"), 0);
}

#[test]
fn connects_that_race_with_attach_reload_and_detach_reach_nobody_in_between() {
    let world = World::new();
    let server = world.server();
    let config = world.file("gateway.toml", &lists("allow"));
    let agents = [world.agent(), world.agent()];
    let storm = Storm::default();
    thread::scope(|scope| {
        let _over = Over(&storm);
        scope.spawn(|| storm.rage(&agents[0], &PORTS, 5));
        // What is refused at once leaves no time between two tries.
        scope.spawn(|| storm.rage(&agents[1], &PORTS[3..], 200));
        let _gateway = world.attach(&["--config", config.to_str().unwrap()]);
        storm.is_attached.store(true, Ordering::SeqCst);
        let before = arrived(&server);
        let other = world.agent();
        for (default, answer) in [("deny", Errno::CONNREFUSED), ("allow", Errno::NETUNREACH)].repeat(2) {
            std::fs::write(&config, lists(default)).unwrap();
            reload(&world);
            assert_eq!(other.connect("198.51.100.1:443"), Err(answer), "the lists are in force");
        }
        assert_eq!(arrived(&server), before, "from the attach to the detach nothing arrived");
        storm.is_attached.store(false, Ordering::SeqCst);
        assert!(world.cli(&["detach", NAME]).status.success());
        wait::until("the way to the server", || arrived(&server) > before);
    });
    assert!(storm.was_redirected.load(Ordering::SeqCst));
}

#[test]
fn a_gateway_that_is_replaced_under_load_lets_nobody_past() {
    let world = World::new();
    let server = world.server();
    let config = world.file("gateway.toml", &lists("allow"));
    let agents = [world.agent(), world.agent()];
    let storm = Storm::default();
    thread::scope(|scope| {
        let _over = Over(&storm);
        let mut gateway = world.attach(&["--config", config.to_str().unwrap()]);
        let before = arrived(&server);
        storm.is_attached.store(true, Ordering::SeqCst);
        scope.spawn(|| storm.rage(&agents[0], &PORTS, 5));
        scope.spawn(|| storm.rage(&agents[1], &PORTS[3..], 200));
        for _ in 0..3 {
            gateway.kill();
            // Loads its own programs, and puts them behind the links that are there.
            gateway = world.attach(&["--config", config.to_str().unwrap()]);
        }
        assert_eq!(arrived(&server), before);
    });
    assert!(storm.was_redirected.load(Ordering::SeqCst));
}

#[test]
fn a_gateway_with_other_programs_takes_over_under_load_and_lets_nobody_past() {
    let world = World::new();
    let server = world.server();
    let agents = [world.agent(), world.agent()];
    let (storm, other) = (Storm::default(), other_build(&world));
    let maps = || world.sh("ls -d /sys/fs/bpf/gateway/v1/*/maps*");
    thread::scope(|scope| {
        let _over = Over(&storm);
        let mut gateway = world.attach(&[]);
        let (before, first) = (arrived(&server), maps());
        storm.is_attached.store(true, Ordering::SeqCst);
        scope.spawn(|| storm.rage(&agents[0], &[22], 5));
        scope.spawn(|| storm.rage(&agents[1], &[2379], 200));
        // As if an earlier build had a hook that none has now.
        world.sh("cd /sys/fs/bpf/gateway/v1/*/links; mv bind6 of_old");
        for (build, maps_of) in [(other.as_str(), None), ("/run/it/gateway", Some(&first))] {
            gateway.kill();
            gateway = world.attach_by(&[build], &[]);
            assert_eq!(maps().lines().count(), 1, "what the other one had is gone");
            assert_eq!(maps_of.is_none(), maps() != first);
            let links = world.sh("ls /sys/fs/bpf/gateway/v1/*/links");
            assert!(links.contains("bind6") && !links.contains("of_old"), "{links}");
        }
        world.refused("destination_refused");
        assert_eq!(arrived(&server), before);
    });
    assert!(storm.was_redirected.load(Ordering::SeqCst));
}

/// Our own binary with another eBPF object in it: one whose ring buffer is half as large.
fn other_build(world: &World) -> String {
    const OBJECT: &[u8] = include_bytes!(env!("GATEWAY_EBPF_OBJECT_PATH"));
    let size = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
    // The number of elements of an array, behind its kind, its unused size, and two types (BTF_KIND_ARRAY of linux/btf.h).
    let array = [[0, 0, 0, 3].as_slice(), &[0; 4]].concat();
    let is_size = |at: usize| OBJECT[at..at + 8] == array && OBJECT[at + 16..at + 20] == size(EVENT_BYTES);
    let found: Vec<_> = (0..OBJECT.len() - 20).filter(|at| is_size(*at)).collect();
    assert_eq!(found.len(), 1, "the ring buffer alone has that size");
    let mut build = std::fs::read(env!("CARGO_BIN_EXE_gateway")).unwrap();
    let object = memchr::memmem::find(&build, OBJECT).expect("the object in the binary");
    build[object + found[0] + 16..][..4].copy_from_slice(&size(EVENT_BYTES / 2));
    let path = world.directory().join("other-build");
    std::fs::write(&path, build).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Two sets of lists that protect and refuse the same there, long enough for the change to take a while.
fn lists(default: &str) -> String {
    let allow: String = (0..1000).map(|n| format!("\"172.16.{}.{}:443\", ", n / 250, n % 250)).collect();
    format!(
        r#"version = 1
[egress]
default = "{default}"
allow = [{allow} "10.0.0.0/8:*"]
[[target]]
name = "shop"
protocol = "ssh"
addresses = ["10.77.0.2"]
ports = [6432]
"#
    )
}
/// Protected everywhere, refused everywhere, protected by the target, refused beside it.
const PORTS: [u16; 4] = [22, 2379, 6432, 8080];

fn arrived(server: &Server) -> usize {
    PORTS.iter().map(|port| server.seen(&format!("accept {port}"))).sum()
}

/// Another attachment that comes and goes has the configuration read anew.
fn reload(world: &World) {
    let other = world.top().join("other");
    std::fs::create_dir_all(&other).unwrap();
    let said = world.cli(&["attach", "--cgroup", other.to_str().unwrap(), "--name", "other"]);
    assert!(said.status.success(), "{said:?}");
    assert!(world.cli(&["detach", "other"]).status.success());
}

/// Connects without a pause.
#[derive(Default)]
struct Storm {
    /// From when an attach has returned to when a detach begins.
    is_attached: AtomicBool,
    is_over: AtomicBool,
    was_redirected: AtomicBool,
}

/// Ends a storm, also when a claim did not hold.
struct Over<'s>(&'s Storm);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

impl Storm {
    fn rage(&self, agent: &Agent, ports: &[u16], times: u32) {
        while !self.is_over.load(Ordering::SeqCst) {
            for port in ports {
                let begun_after = self.is_attached.load(Ordering::SeqCst);
                let answers = agent.ask(&format!("storm {times} {SERVER}:{port}")).unwrap();
                if begun_after && self.is_attached.load(Ordering::SeqCst) {
                    assert_eq!(count(&answers, "server"), 0, "{port}: {answers}");
                }
                self.was_redirected.fetch_or(count(&answers, "gateway") > 0, Ordering::SeqCst);
            }
        }
    }
}

fn count(answers: &str, who: &str) -> u32 {
    let mut words = answers.split(' ').skip_while(|word| *word != who);
    words.nth(1).unwrap().parse().unwrap()
}

/// The records of connections on their way to us, as the kernel has them.
pub fn flow(world: &World, gateway: &Gateway<'_>) -> HashMap<MapData, FlowKey, ConnectRecord> {
    let maps = world.sh("ls -d /sys/fs/bpf/gateway/v1/*/maps-*");
    let pin = format!("/proc/{}/root{}/flow", gateway.child.id(), maps.trim());
    HashMap::try_from(Map::HashMap(MapData::from_pin(pin).unwrap())).unwrap()
}
