//! The journal of real stories: whole, readable, and telling when it is not.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::{Child, Stdio};

use crate::gateway::json_lines;
use crate::server::SERVER;
use crate::wait;
use crate::world::{NAME, World};

#[test]
fn is_sound_after_kills_and_restarts_and_names_a_changed_byte() {
    let world = World::new();
    let mut gateway = world.attach(&[]);
    let agent = world.agent();
    agent.connect(&format!("{SERVER}:22")).unwrap();
    crate::gateway::send(gateway.engine_pid(), rustix::process::Signal::KILL);
    world.event("engine.died", |_| true);
    gateway.kill();
    let mut gateway = world.attach(&[]);
    agent.connect(&format!("{SERVER}:6443")).unwrap();
    gateway.stop();
    let said = world.cli(&["audit", "verify"]);
    assert!(said.status.success(), "{said:?}");
    let file = world.sh("grep -l '\"session.start\"' /var/lib/gateway/journal/*/000001.jsonl | head -n 1");
    let file = file.trim();
    world.sh(&format!("chattr -a {file}; sed -i '0,/\"ssh\"/s//\"sSh\"/' {file}"));
    let said = world.cli(&["audit", "verify"]);
    assert!(!said.status.success(), "{said:?}");
    let folder = file.rsplit('/').nth(1).unwrap();
    assert!((said.out + &said.err).contains(folder), "it names the journal that was changed");
}

#[test]
fn a_long_journal_goes_on_in_segments_which_are_compressed_read_and_verified() {
    let world = World::new();
    let file = world.file("gateway.toml", "version = 1\n[audit.journal]\nsegment_bytes = 4096\n");
    let mut gateway = world.attach(&["--config", file.to_str().unwrap()]);
    let agent = world.agent();
    let mut connects = 0;
    let long = std::time::Duration::from_secs(120);
    let packed = wait::for_some_within(long, "compressed segments of the engine's journal", || {
        for _ in 0..5 {
            agent.connect(&format!("{SERVER}:22")).unwrap();
            connects += 1;
        }
        let packed = world.sh("ls /var/lib/gateway/journal/*/*.jsonl.zst 2>/dev/null || true");
        // The warden's journal has a few lines alone.
        (packed.lines().count() >= 3).then_some(packed)
    });
    // In the middle of whatever it does with segments.
    crate::gateway::send(gateway.engine_pid(), rustix::process::Signal::KILL);
    world.event("engine.died", |_| true);
    wait::until("the next engine", || agent.connect(&format!("{SERVER}:22")).is_ok());
    gateway.stop();
    let said = world.cli(&["audit", "verify"]);
    assert!(said.status.success(), "{said:?}");
    let mut read: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for event in json_lines(&world.cli(&["--json", "events"]).out) {
        read.entry(event["journal"].to_string()).or_default().push(event["seq"].as_u64().unwrap());
    }
    for seqs in read.values() {
        assert_eq!(*seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "each once and in order, wherever it stands");
    }
    assert!(read.len() >= 3 && read.values().any(|seqs| seqs.len() > connects), "{connects} connects: {read:?}");
    let file = packed.lines().next().unwrap();
    world.sh(&format!("size=$(stat -c %s {file}); printf '\\377' | dd of={file} bs=1 seek=$((size / 2)) conv=notrunc"));
    let said = world.cli(&["audit", "verify"]);
    assert!(!said.status.success() && (said.out.clone() + &said.err).contains(file), "{said:?}");
}

#[test]
fn what_a_workload_does_is_told_as_it_happens_over_all_protocols() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let agent = world.agent();
    agent.connect(&format!("{SERVER}:22")).unwrap();
    let first = world.event("session.start", |body| body["who"]["pid"] == agent.pid());
    let workload = first["who"]["workload"].as_str().unwrap();
    let follow = |workload: &str| {
        let out = world.directory().join(format!("followed-{}", workload.len()));
        let mut command = world.command("/run/it/gateway");
        command.args([
            "--json",
            "events",
            "--follow",
            "--workload",
            workload,
            "--kind",
            "session.",
            "--kind",
            "network.",
        ]);
        let child = command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).spawn().unwrap();
        (Ended(child), out)
    };
    let (_ours, followed) = follow(workload);
    let (_others, of_nobody) = follow("somebody else's");
    let told = || json_lines(&fs::read_to_string(&followed).unwrap());
    wait::until("what was before", || told().iter().any(|event| event["kind"] == "session.start"));
    for port in [22, 5432, 6443] {
        agent.connect_as(&port.to_string(), &format!("{SERVER}:{port}")).unwrap();
    }
    wait::until("what comes now, of each protocol", || {
        let of = |protocol: &str, kind: &str| {
            told().iter().any(|event| event["kind"] == kind && event["body"]["destination"]["protocol"] == protocol)
        };
        ["ssh", "postgres", "kubernetes"].iter().all(|name| of(name, "session.start") && of(name, "network.decision"))
    });
    let times: Vec<String> = told().iter().map(|event| event["time"].to_string()).collect();
    assert!(times.len() > 6, "{times:?}");
    assert_eq!(fs::read_to_string(of_nobody).unwrap(), "");
}

/// Ends a process with its handle.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A syslog server: what it is told, a line each.
const SYSLOG: &str = r"
import socket, sys, threading
out = open(sys.argv[1], 'ab', buffering=0)
def tcp():
    listener = socket.create_server(('127.0.0.1', 5514))
    while True:
        stream = listener.accept()[0].makefile('rb')
        length = b''
        while (digit := stream.read(1)).isdigit():
            length += digit
        out.write(stream.read(int(length)) + b'\n')
threading.Thread(target=tcp, daemon=True).start()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(('127.0.0.1', 5514))
while True:
    out.write(udp.recv(65536) + b'\n')
";

#[test]
fn a_record_made_anew_by_root_is_told_by_the_seals_that_a_syslog_server_has() {
    let world = World::new();
    let messages = world.file("messages", "");
    let messages = messages.to_str().unwrap();
    let _server = Ended(world.command("/usr/bin/python3").args(["-c", SYSLOG, messages]).spawn().unwrap());
    let told = || fs::read_to_string(messages).unwrap();
    let verified = || world.cli(&["audit", "verify", "--noted", messages]);
    for transport in ["udp", "tcp"] {
        let section = format!("[audit.syslog]\naddress = \"127.0.0.1:5514\"\ntransport = \"{transport}\"\n");
        let file = world.file("gateway.toml", &format!("version = 1\n{section}"));
        let before = told().lines().count();
        let mut gateway = world.attach(&["--config", file.to_str().unwrap()]);
        wait::for_some_within(std::time::Duration::from_secs(40), "a seal at the server", || {
            (told().lines().count() > before).then_some(())
        });
        world.agent().connect(&format!("{SERVER}:22")).unwrap();
        gateway.stop();
        let last = world.sh("tail -n 1 /var/lib/gateway/journal/seals.jsonl");
        assert!(told().lines().last().unwrap().ends_with(last.trim()), "the very last seal: {}", told());
        let said = verified();
        assert!(said.status.success() && said.out.contains("noted elsewhere: "), "{said:?}");
    }
    // Root takes it all away and lets the gateway itself begin anew.
    world.sh("chattr -R -a /var/lib/gateway/journal 2>/dev/null || true; rm -r /var/lib/gateway/journal");
    let mut gateway = world.attach(&[]);
    gateway.stop();
    assert!(world.cli(&["audit", "verify"]).status.success(), "nothing here tells");
    let said = verified();
    assert!(!said.status.success() && said.out.contains("was noted elsewhere"), "{said:?}");
}

#[test]
fn a_journal_that_outlives_the_id_of_its_host_is_still_that_hosts() {
    let world = World::new();
    let id = || world.sh("cat /var/lib/gateway/host_id");
    world.attach(&[]).stop();
    let before = id();
    // As a purge of the package leaves it.
    world.sh("find /var/lib/gateway -mindepth 1 -maxdepth 1 ! -name journal -exec rm -r {} +");
    for _ in 0..2 {
        world.attach(&[]).stop();
        assert_eq!(id(), before);
    }
    let said = world.cli(&["audit", "verify"]);
    assert!(said.status.success(), "{said:?}");
}

#[test]
fn sessions_events_and_status_print_json_for_programs() {
    let world = World::new();
    let gateway = world.attach(&[]);
    let agent = world.agent();
    agent.connect(&format!("{SERVER}:22")).unwrap();
    agent.recv().unwrap();
    agent.ask("close s").unwrap();
    let ended = wait::for_some("an ended session", || {
        let sessions = world.cli_json(&["sessions"]);
        let ours = |session: &&serde_json::Value| session["start"]["who"]["pid"] == agent.pid();
        sessions
            .as_array()
            .unwrap()
            .iter()
            .find(ours)
            .filter(|session| !session["state"].to_string().contains("open"))
            .cloned()
    });
    let id = ended["session"].as_str().unwrap();
    let events = json_lines(&world.cli(&["--json", "events", "--session", id]).out);
    let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds.first(), Some(&"session.start"), "{kinds:?}");
    assert_eq!(kinds.last(), Some(&"session.end"), "{kinds:?}");
    assert!(kinds.contains(&"network.decision"), "{kinds:?}");
    let status = world.cli_json(&["status"]);
    assert_eq!(status["engine_runs"], true);
    assert_eq!(status["attachments"][0]["name"], NAME);
    assert!(status["attachments"][0]["counts"]["redirected"].as_u64() > Some(0), "{status}");
    assert!(world.cli(&["doctor"]).status.success());
    drop(gateway);
}

#[test]
fn every_session_that_started_has_one_end() {
    let world = World::new();
    let mut gateway = world.attach(&[]);
    let agent = world.agent();
    let addresses = ["192.0.2.2:22", "192.0.2.3:6443", "192.0.2.4:22", "[2001:db8::1]:22"];
    for address in addresses {
        agent.connect_as(address, address).unwrap();
    }
    wait::until("their sessions", || world.events("session.start").len() > addresses.len());
    gateway.stop();
    let ids = |kind: &str| {
        let mut ids: Vec<_> = world.events(kind).iter().map(|event| event["session"].to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids("session.start"), ids("session.end"));
    assert!(ids("session.start").len() >= 4);
}
