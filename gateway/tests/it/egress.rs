//! Lists of the configuration, as the kernel carries them out.

use rustix::io::Errno;

use crate::world::World;

const CLOSED: &str = r#"
version = 1
[egress]
default = "deny"
allow = ["10.77.0.0/24:*", "[fd77::2]:8080", "10.77.0.2:22"]
"#;

const DECLARED: &str = r#"
version = 1
[[target]]
name = "shop"
protocol = "ssh"
addresses = ["10.77.0.2"]
ports = [6432]
"#;

#[test]
fn deny_by_default_leaves_what_the_list_names_and_the_list_opens_no_protected_port() {
    let world = World::new();
    let server = world.server();
    let config = world.file("gateway.toml", CLOSED);
    let _gateway = world.attach(&["--config", config.to_str().unwrap()]);
    let agent = world.agent();
    for allowed in ["10.77.0.2:443", "10.77.0.2:8080", "[fd77::2]:8080"] {
        agent.connect(allowed).unwrap();
        assert_eq!(agent.recv().unwrap(), "hello from the server", "{allowed}");
    }
    for refused in ["[fd77::2]:443", "10.77.1.2:443", "127.0.0.1:8080", "[::1]:443", "10.77.0.2:10250"] {
        assert_eq!(agent.connect(refused), Err(Errno::CONNREFUSED), "{refused}");
    }
    for protected in ["10.77.0.2:22", "[fd77::2]:22", "198.51.100.1:22"] {
        agent.connect(protected).unwrap();
        assert_eq!(agent.recv().unwrap(), "SSH-2.0-gateway\\r\\n", "{protected}");
    }
    agent.ask("udp u").unwrap();
    assert_eq!(agent.attempt("sendto u 198.51.100.1:4444"), Err(Errno::CONNREFUSED));
    assert_eq!(server.seen("tcp 22") + server.seen("tcp 10250"), 0);
    assert_eq!(server.seen("accept 443"), 1);
    world.refused("destination_refused");
}

#[test]
fn other_ports_of_a_declared_address_are_no_second_way_in() {
    let world = World::new();
    let server = world.server();
    let config = world.file("gateway.toml", DECLARED);
    let _gateway = world.attach(&["--config", config.to_str().unwrap()]);
    let agent = world.agent();
    agent.connect("10.77.0.2:6432").unwrap();
    assert_eq!(agent.recv().unwrap(), "SSH-2.0-gateway\\r\\n");
    let start = world.event("session.start", |body| body["destination"]["port"] == 6432);
    assert_eq!(start["destination"]["target"], "shop");
    for port in [443, 8080] {
        assert_eq!(agent.connect(&format!("10.77.0.2:{port}")), Err(Errno::CONNREFUSED), "{port}");
    }
    agent.connect("[fd77::2]:443").unwrap();
    assert_eq!(agent.recv().unwrap(), "hello from the server");
    assert_eq!(server.seen("tcp 6432"), 0);
    assert_eq!(server.seen("accept 443"), 1, "through the address that is not declared");
}

#[test]
fn the_store_of_the_record_is_out_of_reach_for_who_is_recorded() {
    let world = World::new();
    let _server = world.server();
    let password = world.file("password", "secret");
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let config = format!(
        "version = 1\n[egress]\nallow = [\"10.77.0.2:443\"]\n[audit.clickhouse]\nurl = \"https://10.77.0.2:443\"\n\
         user = \"ship\"\npassword = {{ file = \"{}\" }}\n",
        password.display()
    );
    let config = world.file("gateway.toml", &config);
    let _gateway = world.attach(&["--config", config.to_str().unwrap()]);
    let agent = world.agent();
    assert_eq!(agent.connect("10.77.0.2:443"), Err(Errno::CONNREFUSED));
    agent.connect("10.77.0.2:8080").unwrap();
    agent.ask("recv s").unwrap();
    world.refused("destination_refused");
}

#[test]
fn what_passes_unread_is_listed_and_a_gap() {
    let world = World::new();
    let server = world.server();
    let config = world.file("gateway.toml", "version = 1\n[egress]\npassthrough = [\"10.77.0.2:22\"]\n");
    let _gateway = world.attach(&["--config", config.to_str().unwrap()]);
    world.event("gap", |body| body["name"] == "passthrough");
    let agent = world.agent();
    agent.connect("10.77.0.2:22").unwrap();
    assert_eq!(agent.recv().unwrap(), "hello from the server");
    world.event("network.connect", |body| body["destination"]["port"] == 22);
    agent.connect("[fd77::2]:22").unwrap();
    assert_eq!(agent.recv().unwrap(), "SSH-2.0-gateway\\r\\n", "that address is not listed");
    assert_eq!(server.seen("accept 22"), 1);
}
