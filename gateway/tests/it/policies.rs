//! Policies that are broken, at the start and while the gateway runs.

use crate::server::SERVER;
use crate::world::World;

const FORBID: &str = r#"
@id("work") permit (principal, action in [Action::"session", Action::"tunnel"], resource);
@id("no-ssh-here") @message("closed for this test")
forbid (principal, action == Network::Action::"connect", resource);
"#;

#[test]
fn broken_policies_at_the_start_put_nothing_in_force() {
    let world = World::new();
    let file = world.file("policies/a.cedar", "permit(principal, action,");
    let cgroup = world.cgroup();
    let said = world.cli(&[
        "attach",
        "--cgroup",
        cgroup.to_str().unwrap(),
        "--policies",
        file.parent().unwrap().to_str().unwrap(),
    ]);
    assert!(!said.status.success());
    assert!(said.err.contains("a.cedar"), "{said:?}");
    assert_eq!(world.pins(), "");
}

#[test]
fn broken_policies_at_a_reload_leave_the_old_in_force() {
    let world = World::new();
    let file = world.file("policies/a.cedar", FORBID);
    let mut gateway = world.attach(&["--policies", file.parent().unwrap().to_str().unwrap()]);
    let agent = world.agent();
    let denied = || {
        agent.connect(&format!("{SERVER}:22")).unwrap();
        agent.recv().unwrap();
        agent.ask("send s SSH-2.0-story").unwrap();
        agent.recv().unwrap()
    };
    let text = denied();
    assert!(text.contains("no-ssh-here"), "{text}");
    let loaded = world.events("policy.loaded").len();
    std::fs::write(&file, "permit(principal, action, resource").unwrap();
    let event = world.event("policy.rejected", |_| true);
    assert!(event["faults"][0].as_str().unwrap().contains("a.cedar"), "{event}");
    assert!(event["in_force"].is_string(), "{event}");
    gateway.says("the old policies stay in force");
    let text = denied();
    assert!(text.contains("no-ssh-here"), "{text}");
    std::fs::write(&file, FORBID.replace("no-ssh-here", "still-no-ssh")).unwrap();
    crate::wait::until("new policies", || world.events("policy.loaded").len() > loaded);
    let text = denied();
    assert!(text.contains("still-no-ssh"), "{text}");
}

#[test]
fn an_empty_policy_directory_is_an_error_and_not_the_shipped_policies() {
    let world = World::new();
    let file = world.file("policies/README", "no policy");
    let said = world.cli(&["run", "--policies", file.parent().unwrap().to_str().unwrap()]);
    assert!(!said.status.success());
    assert!(said.err.contains("`*.cedar`"), "{said:?}");
}
