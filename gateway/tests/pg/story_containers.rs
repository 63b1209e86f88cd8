//! A stock psql in containers of a real engine.

use std::process::Command;

use crate::podman::Podman;
use crate::shop::Shop;

/// psql with a statement, in a container of its own with this network.
fn psql(shop: &Shop, podman: &Podman<'_>, network: &str, statement: &str) -> (String, String) {
    let user = format!("--user={0}:{0}", shop.world.uid());
    let mut command: Command = podman.run(&["--rm", &user, "--network", network]);
    command.args(["timeout", "60", "/usr/lib/postgresql/15/bin/psql", "-XAtqw", "-U", "agent", "-h", &shop.address]);
    let output = command.args(["-d", &shop.database, "-c", statement]).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn psql_in_a_container_is_served_and_guarded_with_every_network() {
    let shop = Shop::new();
    let podman = Podman::new(&shop.world);
    let read = "SELECT item FROM orders WHERE id = 7";
    let mut gateway = podman.attach(&[]);
    for network in ["bridge", "host"] {
        assert_eq!(psql(&shop, &podman, network, read), ("item 7".into(), String::new()), "{network}");
        let (out, err) = psql(&shop, &podman, network, "DROP TABLE orders");
        assert!(out.is_empty() && err.contains("denied by policy guard.postgres.destructive"), "{network}: {err}");
    }
    // An undeclared server is dialled from the client's namespace, which leads nowhere here; a declared one from ours.
    let (out, err) = psql(&shop, &podman, "none", read);
    assert!(out.is_empty() && err.contains("gateway"), "{err}");
    gateway.stop();
    let config = format!(
        "version = 1\n[[target]]\nname = \"shop\"\nprotocol = \"postgres\"\naddresses = [\"{}\"]\n[target.tls]\nmode = \"disable\"\n",
        shop.address
    );
    let config = shop.world.file("gateway.toml", &config);
    let _gateway = podman.attach(&["--config", config.to_str().unwrap()]);
    assert_eq!(psql(&shop, &podman, "none", read), ("item 7".into(), String::new()));
    let (_, err) = psql(&shop, &podman, "none", "DROP TABLE orders");
    assert!(err.contains("denied by policy guard.postgres.destructive"), "{err}");
    assert_eq!((shop.reached(read), shop.reached("DROP TABLE")), (3, 0));
    let named = |body: &serde_json::Value| body["who"]["container"]["id"].as_str().is_some_and(|id| id.len() == 64);
    assert!(shop.world.events("session.start").iter().all(|event| named(&event["body"])));
}
