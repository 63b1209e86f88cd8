//! Who may ask the gateway.

use crate::world::{As, NAME, World};

#[test]
fn a_process_inside_an_attachment_may_not_ask_even_as_root() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let below = world.cgroup().join("below");
    std::fs::create_dir(&below).unwrap();
    for cgroup in [&world.cgroup(), &below] {
        for ask in [&["status"][..], &["detach", NAME]] {
            let mut command = world.command_as(As { cgroup: Some(cgroup), root: true, ..As::default() });
            let output = command.arg("/run/it/gateway").args(ask).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success());
            assert!(said.contains(&format!("a process inside the attachment `{NAME}` may not ask")), "{said}");
        }
    }
    assert_eq!(world.cli_json(&["status"])["attachments"][0]["name"], NAME);
}

#[test]
fn only_root_may_ask() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let mut command = world.command_as(As::default());
    let output = command.args(["/run/it/gateway", "status"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("sudo"), "{said}");
    // The mode of the socket is one door; behind it stands another.
    world.sh("chmod 666 /run/gateway/control.sock");
    let mut command = world.command_as(As::default());
    let output = command.args(["/run/it/gateway", "detach", NAME]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("only root may ask"), "{said}");
}
