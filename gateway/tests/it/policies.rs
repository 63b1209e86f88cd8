//! Policies that are broken, at the start and while the gateway runs.

use crate::server::SERVER;
use crate::world::{As, World};

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
fn who_is_attached_under_broken_policies_is_judged_by_those_in_force() {
    let world = World::new();
    let file = world.file("policies/a.cedar", FORBID);
    let _gateway = world.attach(&["--policies", file.parent().unwrap().to_str().unwrap()]);
    std::fs::write(&file, "permit(principal, action, resource").unwrap();
    let other = world.top().join("other");
    std::fs::create_dir_all(&other).unwrap();
    let said = world.cli(&["attach", "--cgroup", other.to_str().unwrap(), "--name", "other"]);
    assert!(said.status.success() && !said.out.contains("refused"), "{said:?}");
    let agent = world.start(As { cgroup: Some(&other), ..As::default() }, "agent");
    agent.connect(&format!("{SERVER}:22")).unwrap();
    agent.recv().unwrap();
    agent.ask("send s SSH-2.0-story").unwrap();
    let text = agent.recv().unwrap();
    assert!(text.contains("no-ssh-here"), "{text}");
}

#[test]
fn an_empty_policy_directory_is_an_error_and_not_the_shipped_policies() {
    let world = World::new();
    let file = world.file("policies/README", "no policy");
    let said = world.cli(&["run", "--policies", file.parent().unwrap().to_str().unwrap()]);
    assert!(!said.status.success());
    assert!(said.err.contains("`*.cedar`"), "{said:?}");
}

#[test]
fn policies_on_data_classes_are_checked_tested_and_explained_by_the_masking_file() {
    let world = World::new();
    let policy = world.file(
        "policies/a.cedar",
        r#"
        @id("work") permit (principal, action in [Action::"read", Action::"write", Action::"session"], resource);
        @id("home") permit (principal, action == Data::Action::"unmask", resource == DataClass::"home");
        "#,
    );
    world.file(
        "policies/a.tests.toml",
        "[defaults.ask]\ndatabase = \"app\"\n\
         [[test]]\nname = \"homes are shown\"\nrequest = \"SELECT home FROM people\"\nexpect = \"allow\"\n\
         [[test]]\nname = \"numbers are not\"\nrequest = \"SELECT * FROM people\"\nexpect = \"mask\"\n\
         [[test]]\nname = \"nor compared\"\nrequest = \"SELECT 1 FROM people WHERE ssn = ''\"\nexpect = \"deny\"\n",
    );
    let rules = "version = 1\n[class.home]\nparent = \"pii\"\nshow = { hash = { key = { file = \"/none/there\" } } }\n\
                 [[column]]\nat = [\"undeclared/app/*.people.home\"]\nclass = \"home\"\n\
                 [[column]]\nat = [\"undeclared/*/public.people.s*n\"]\nclass = \"ssn\"\n";
    let masking = world.file("masking.toml", rules);
    let text = format!(
        "version = 1\n[policy]\ndir = \"{}\"\n[masking]\nfile = \"{}\"\n",
        policy.parent().unwrap().display(),
        masking.display()
    );
    let config = world.file("gateway.toml", &text);
    let cli = |arguments: &[&str]| {
        let arguments = [&["policy"], arguments, &["--config", config.to_str().unwrap()]].concat();
        let said = world.cli(&arguments);
        (said.status.success(), said.out, said.err)
    };
    let (good, out, err) = cli(&["check"]);
    assert!(good && out.contains("valid"), "{out}{err}");
    let (good, out, err) = cli(&["test"]);
    assert!(good && out.contains("3 passed"), "{out}{err}");
    let (_, out, err) = cli(&["explain", "--database", "app", "--sql", "SELECT home FROM people"]);
    assert!(out.starts_with("allow") && out.contains("Data::unmask: allow, by home"), "{out}{err}");
    let (_, out, err) = cli(&["explain", "--database", "other", "--sql", "SELECT home, ssn FROM people"]);
    assert!(out.starts_with("mask") && !out.contains("\"home\"}"), "{out}{err}");
    world.file("masking.toml", &rules.replace("class.home", "class.house"));
    let (good, _, err) = cli(&["check"]);
    assert!(!good && err.contains("masking.toml"), "{err}");
}
