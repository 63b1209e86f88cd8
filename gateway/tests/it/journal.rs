//! The journal of real stories: whole, readable, and telling when it is not.

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
