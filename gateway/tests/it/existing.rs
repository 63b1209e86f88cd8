//! Connections that were there before the hooks.

use rustix::io::Errno;

use crate::server::SERVER;
use crate::world::World;

#[test]
fn a_connection_opened_before_the_attach_is_cut() {
    let world = World::new();
    let server = world.server();
    let agent = world.agent();
    agent.connect(&format!("{SERVER}:5432")).unwrap();
    assert_eq!(agent.recv().unwrap(), "hello from the server");
    agent.connect_as("other", &format!("{SERVER}:443")).unwrap();
    agent.ask("recv other").unwrap();
    let gateway = world.attach(&[]);
    assert!(gateway.output().contains("1 of them ended"), "{}", gateway.output());
    assert!(gateway.output().contains(&format!("{SERVER}:5432")), "{}", gateway.output());
    assert_eq!(agent.ask("recv s"), Err(Errno::CONNABORTED));
    assert_eq!(agent.ask("send s late"), Err(Errno::PIPE));
    agent.ask("send other fine").unwrap();
    assert_eq!(agent.ask("recv other").unwrap(), "fine");
    assert_eq!(server.seen("data 5432 late"), 0);
    assert_eq!(server.seen("data 443 fine"), 1);
}

#[test]
fn a_connection_brought_in_from_another_cgroup_before_the_attach_is_cut() {
    let world = World::new();
    let server = world.server();
    let agent = world.start(crate::world::As::default(), "agent");
    agent.connect(&format!("{SERVER}:5432")).unwrap();
    std::fs::write(world.cgroup().join("cgroup.procs"), agent.pid().to_string()).unwrap();
    let _gateway = world.attach(&[]);
    assert_eq!(agent.ask("send s late"), Err(Errno::CONNABORTED));
    assert_eq!(server.seen("data 5432 late"), 0);
}

#[test]
fn a_connection_that_is_kept_sends_nothing_any_more_and_is_journaled_as_a_gap() {
    let world = World::new();
    let server = world.server();
    let agent = world.agent();
    agent.connect(&format!("{SERVER}:5432")).unwrap();
    assert_eq!(agent.recv().unwrap(), "hello from the server");
    let _gateway = world.attach(&["--keep-existing"]);
    agent.ask("send s late").unwrap();
    world.dropped();
    assert_eq!(server.seen("data 5432 late"), 0);
    world.event("gap", |body| body["name"] == "existing_connections");
}
