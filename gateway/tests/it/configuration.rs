//! The configuration: what is in force and from where, and what a broken one changes.

use rustix::process::Signal;

use crate::gateway::{is_running, send};
use crate::server::SERVER;
use crate::wait;
use crate::world::World;

const CONFIG: &str = "version = 1\n\n[egress]\ndefault = \"deny\"\n";
const POLICY: &str = r#"
@id("work") permit (principal, action in [Action::"session", Action::"tunnel"], resource);
@id("no-ssh-here") @message("closed for this test")
forbid (principal, action == Network::Action::"connect", resource);
"#;

#[test]
fn what_is_in_force_is_told_with_its_line_and_outlives_broken_files_and_the_engine() {
    let world = World::new();
    let config = world.file("gateway.toml", CONFIG);
    let policy = world.file("policies/a.cedar", POLICY);
    let folder = policy.parent().unwrap().to_str().unwrap();
    let gateway = world.attach(&["--config", config.to_str().unwrap(), "--policies", folder]);
    let shown = || world.cli(&["config", "show"]).out;
    let page = shown();
    let line = |key: &str| page.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}: {page}"));
    assert!(line("default = \"deny\"").ends_with("# line 4"), "{page}");
    assert!(line("timeout = \"15m\"").ends_with("# default"), "{page}");
    assert!(page.starts_with(&format!("# {}, in force since 20", config.display())), "{page}");
    assert!(page.contains(&format!("# policies are those of {folder}")), "{page}");
    assert!(page.contains("` is attached by a command"), "{page}");
    assert!(!page.contains("another one now") && !page.contains("was refused"), "{page}");

    std::fs::write(&config, "version = 1\nnonsense = 1\n").unwrap();
    std::fs::write(&policy, "permit(principal, action").unwrap();
    wait::until("the refusal", || shown().contains("was refused, and changed nothing: "));
    let page = shown();
    assert!(page.contains("the file is another one now") && page.contains("nonsense"), "{page}");
    assert!(page.contains("default = \"deny\""), "what is in force, not what is there: {page}");

    wait::until("another look", || shown().contains("nonsense") && shown() != page);
    let logged = gateway.output().matches("nonsense").count();
    assert_eq!(logged, 1, "told once, though files are looked at each second: {}", gateway.output());

    let engine = gateway.engine_pid();
    send(engine, Signal::KILL);
    wait::until("the end of the engine", || !is_running(engine));
    wait::until("another engine", || gateway.engine_pid() != engine);
    world.is_open();
    let agent = world.agent();
    agent.connect(&format!("{SERVER}:22")).unwrap();
    agent.recv().unwrap();
    agent.ask("send s SSH-2.0-story").unwrap();
    let text = agent.recv().unwrap();
    assert!(text.contains("no-ssh-here"), "the policies in force: {text}");
}

#[test]
fn a_check_names_all_faults_of_files_that_are_named_and_puts_nothing_in_force() {
    let world = World::new();
    let policy = world.file("policies/a.cedar", "permit(principal, action");
    let text = format!(
        "version = 1\nstate_dir = {:?}\n[policy]\ndir = {:?}\n[[target]]\nname = \"shop\"\nprotocol = \"postgres\"\naddresses = [\"192.0.2.9\"]\n\
         [target.tls]\nca = \"/nowhere/ca.pem\"\n[target.credential]\nuser = \"app\"\npassword = {{ file = \"/nowhere/password\" }}\n",
        world.directory().join("not-made"),
        policy.parent().unwrap(),
    );
    let config = world.file("gateway.toml", &text);
    let check = || world.cli(&["config", "check", "--config", config.to_str().unwrap()]);
    let said = check();
    assert!(!said.status.success());
    for fault in ["/nowhere/ca.pem", "/nowhere/password", "a.cedar", "target `shop`"] {
        assert!(said.err.contains(fault), "{fault}: {said:?}");
    }
    world.file("gateway.toml", "version = 1\nnonsense = 1\n[egress]\ndefault = \"maybe\"\n");
    let said = check();
    assert!(said.err.contains("nonsense") && said.err.contains("maybe"), "{said:?}");
    world.file("gateway.toml", CONFIG);
    let said = check();
    assert!(said.status.success() && said.out.contains("valid"), "{said:?}");
    assert!(!world.directory().join("not-made").exists(), "a check makes nothing");
    assert_eq!(world.pins(), "");
}

#[test]
fn a_check_of_masking_shows_masks_and_names_labels_that_nothing_has() {
    let world = World::new();
    let file = |target: &str| {
        let text = format!(
            "version = 1\n[class.ref]\nparent = \"pii\"\nshow = {{ partial = {{ last = 3 }} }}\n\
             [[column]]\nat = [\"{target}/*/public.people.ref\"]\nclass = \"ref\"\n"
        );
        world.file("masking.toml", &text)
    };
    let masking = file("undeclared");
    let config = world.file("gateway.toml", &format!("version = 1\n[masking]\nfile = {masking:?}\n"));
    let check = || {
        let texts = ["--text", "card 4111 1111 1111 1111", "--text", "nothing"];
        world.cli(&[&["masking", "check", "--config", config.to_str().unwrap()], texts.as_slice()].concat())
    };
    let said = check();
    assert!(said.status.success(), "{said:?}");
    for text in ["1 on columns", "•••com", "•1111\n", "  nothing\n", "forge_token"] {
        assert!(said.out.contains(text), "{text}: {}", said.out);
    }
    assert!(!said.out.contains("4111 1111 1111"), "{}", said.out);
    file("shop");
    let said = check();
    assert!(!said.status.success() && said.out.contains("column[1], ref: of no declared target"), "{said:?}");
    world.file("masking.toml", "version = 1\nnonsense = 1\n");
    assert!(check().err.contains("nonsense"));
}
