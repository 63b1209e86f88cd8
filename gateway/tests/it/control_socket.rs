//! Who may ask the gateway, and for what.

use crate::gateway::Gateway;
use crate::world::{As, NAME, World};

/// `alice` votes; nobody else is named.
fn with_an_approver(world: &World) -> Gateway<'_> {
    let file = world.file("gateway.toml", "version = 1\n[approval]\nhost = { alice = [\"local:dba\"] }\n");
    world.attach(&["--config", file.to_str().unwrap()])
}

fn root_in(cgroup: &std::path::Path) -> As<'_> {
    As { cgroup: Some(cgroup), root: true, ..As::default() }
}

#[test]
fn a_process_inside_an_attachment_may_not_ask_even_as_root() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let below = world.cgroup().join("below");
    std::fs::create_dir(&below).unwrap();
    for cgroup in [&world.cgroup(), &below] {
        for ask in [&["status"][..], &["detach", NAME], &["approvals"]] {
            let said = world.cli_as(root_in(cgroup), ask);
            assert!(!said.status.success());
            assert!(said.err.contains(&format!("a process inside the attachment `{NAME}` may not ask")), "{said:?}");
        }
    }
    assert_eq!(world.cli_json(&["status"])["attachments"][0]["name"], NAME);
}

#[test]
fn an_approver_inside_an_attachment_may_not_ask() {
    let world = World::new();
    let _gateway = with_an_approver(&world);
    let cgroup = world.cgroup();
    let said = world.cli_as(As { cgroup: Some(&cgroup), user: "alice", ..As::default() }, &["approvals"]);
    assert!(!said.status.success() && said.err.contains("a process inside the attachment"), "{said:?}");
    assert!(world.cli_as(As { user: "alice", ..As::default() }, &["approvals"]).status.success());
}

#[test]
fn a_connection_made_inside_is_refused_whoever_uses_it_and_one_made_before_is_looked_at_again() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let (inside, outside) = (world.cgroup().display().to_string(), world.top().join("outside"));
    std::fs::create_dir(&outside).unwrap();
    let agent = world.start(root_in(&world.cgroup()), "agent");
    agent.ask("unix made_inside /run/gateway/control.sock").unwrap();
    let answer = agent.ask(&format!("get_from made_inside {} /v1/status", outside.display())).unwrap();
    assert!(answer.contains("403") && answer.contains("may not ask"), "{answer}");
    let mover = world.outsider();
    mover.ask("unix first /run/gateway/control.sock").unwrap();
    let answer = mover.ask("get first /v1/status").unwrap();
    assert!(answer.contains("engine_runs"), "{answer}");
    mover.ask("unix second /run/gateway/control.sock").unwrap();
    mover.ask(&format!("join {inside}")).unwrap();
    let answer = mover.ask("get second /v1/status").unwrap();
    assert!(answer.contains("403") && answer.contains("may not ask"), "{answer}");
}

#[test]
fn only_root_may_ask() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let said = world.cli_as(As::default(), &["status"]);
    assert!(!said.status.success() && said.err.contains("sudo"), "{said:?}");
    // The mode of the socket is one door; behind it stands another.
    world.sh("chmod 666 /run/gateway/control.sock");
    let said = world.cli_as(As::default(), &["detach", NAME]);
    assert!(!said.status.success() && said.err.contains("only root may ask"), "{said:?}");
    let said = world.cli_as(As::default(), &["approvals"]);
    assert!(!said.status.success() && said.err.contains("`[approval] host`"), "{said:?}");
}

#[test]
fn an_approver_may_vote_and_ask_for_nothing_else() {
    let world = World::new();
    let _gateway = with_an_approver(&world);
    let alice = As { user: "alice", ..As::default() };
    let said = world.cli_as(alice, &["approvals"]);
    assert!(said.status.success() && said.out.contains("nothing waits"), "{said:?}");
    let other = world.top().join("other");
    std::fs::create_dir(&other).unwrap();
    let attach = ["attach", "--cgroup", other.to_str().unwrap(), "--name", "other"];
    for ask in [&["status"][..], &["detach", NAME], &attach] {
        let said = world.cli_as(alice, ask);
        assert!(!said.status.success() && said.err.contains("only root may ask"), "{said:?}");
    }
    let said = world.cli_as(As { user: "bob", ..As::default() }, &["approvals"]);
    assert!(
        !said.status.success() && said.err.contains("`[approval] host`"),
        "who is not named does not get in: {said:?}"
    );
    assert_eq!(world.cli_json(&["status"])["attachments"].as_array().unwrap().len(), 1);
}
