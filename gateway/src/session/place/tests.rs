//! What is meant by words of a forward: declared, spoken there, listed, or nothing that one could be sure of.

use super::*;

const CONFIG: &str = r#"
    version = 1
    [egress]
    allow = ["10.9.0.0/16:8080", "api.example.com:443", "*.open.example.com:*"]
    passthrough = ["10.9.9.9:22"]
    [[target]]
    name = "db"
    protocol = "postgres"
    addresses = ["10.0.0.5", "db.example.com"]
    ports = [5432, 6432]
    [[target]]
    name = "web"
    protocol = "ssh"
    addresses = ["web.example.com", "10.0.0.7"]
    [target.ssh]
    host_keys = ["ssh-ed25519 AAAA"]
    [target.credential]
    user = "deploy"
    key = { file = "/k" }
"#;

fn found(host: &str, port: u32, server_name: Option<&str>) -> Result<Place, String> {
    let config = Config::parse("gateway.toml", CONFIG).unwrap();
    let told = |address: IpAddr| (address.to_string() == "10.3.3.3").then(|| "db.example.com".to_owned());
    let ends =
        Ends { config: &config, attachment: "agents", server: "10.0.0.7".parse().unwrap(), server_name, told: &told };
    find(&ends, &Onward { host: host.to_owned(), port })
}

fn meant(host: &str, port: u32) -> String {
    match found(host, port, None) {
        Ok(place) => {
            let target = place.target.map_or_else(|| "-".to_owned(), |target| target.name);
            format!("{} {} {} {target}", place.protocol.name(), place.handling, place.address)
        }
        Err(_) => "nowhere".to_owned(),
    }
}

#[test]
fn what_is_declared_is_found_by_address_by_name_and_by_the_servers_own_names() {
    for (host, port, expected) in [
        ("10.0.0.5", 5432, "postgres inspected 10.0.0.5:5432 db"),
        ("::ffff:10.0.0.5", 6432, "postgres inspected 10.0.0.5:6432 db"),
        ("DB.example.com.", 5432, "postgres inspected 10.0.0.5:5432 db"),
        ("web.example.com", 22, "ssh inspected 10.0.0.7:22 web"),
        ("localhost", 22, "ssh inspected 10.0.0.7:22 web"),
        ("127.0.0.1", 22, "ssh inspected 10.0.0.7:22 web"),
        ("::1", 22, "ssh inspected 10.0.0.7:22 web"),
        ("0.0.0.0", 22, "ssh inspected 10.0.0.7:22 web"),
        ("10.3.3.3", 5432, "postgres inspected 10.3.3.3:5432 db"),
        // Protected ports are read wherever they are.
        ("10.8.8.8", 5432, "postgres inspected 10.8.8.8:5432 -"),
        ("localhost", 5432, "postgres inspected 10.0.0.7:5432 -"),
    ] {
        assert_eq!(meant(host, port), expected, "{host}:{port}");
    }
    let at_the_name = found("localhost", 6432, Some("db.example.com")).unwrap();
    assert_eq!((at_the_name.target.unwrap().name.as_str(), at_the_name.host.as_str()), ("db", "localhost"));
}

#[test]
fn what_nobody_declared_is_unread_or_listed() {
    for (host, port, expected) in [
        ("10.8.8.8", 8080, "tcp unread 10.8.8.8:8080 -"),
        ("10.9.1.1", 8080, "tcp passthrough 10.9.1.1:8080 -"),
        ("10.9.9.9", 22, "tcp passthrough 10.9.9.9:22 -"),
        ("api.example.com", 443, "tcp passthrough [::]:443 -"),
        ("a.open.example.com", 8443, "tcp passthrough [::]:8443 -"),
    ] {
        assert_eq!(meant(host, port), expected, "{host}:{port}");
    }
}

#[test]
fn a_port_of_a_pod_is_what_is_declared_or_spoken_there() {
    let pods =
        "[[target]]\nname = \"shop\"\nprotocol = \"postgres\"\naddresses = [\"shop.pods.prod\"]\nports = [6432]\n";
    let config = Config::parse("gateway.toml", &format!("{CONFIG}\n{pods}")).unwrap();
    for (name, port, expected) in [
        ("db-0.shop.pods.prod", 6432, "postgres inspected shop"),
        ("db-0.shop.pods.prod", 5432, "postgres inspected -"),
        ("db-0.other.pods.prod", 6432, "tcp unread -"),
        ("db-0.shop.pods.prod", 22, "ssh inspected -"),
        ("db-0.shop.pods.prod", 8080, "tcp unread -"),
        ("db-0.shop.pods.prod", 10_250, "nowhere"),
        ("db-0.shop.pods.prod", 0, "nowhere"),
        ("a/b.shop.pods.prod", 8080, "nowhere"),
    ] {
        let namespace = name.split_once('.').map_or(name, |(_, rest)| rest);
        let names = [name.to_owned(), namespace.to_owned()];
        let meant = match in_pod(&config, "agents", &names, port) {
            Ok(place) => {
                let target = place.target.map_or_else(|| "-".to_owned(), |target| target.name);
                format!("{} {} {target}", place.protocol.name(), place.handling)
            }
            Err(_) => "nowhere".to_owned(),
        };
        assert_eq!(meant, expected, "{name}:{port}");
    }
}

#[test]
fn what_two_could_read_in_two_ways_leads_nowhere() {
    let hosts = [
        "",
        ".",
        "010.0.0.5",
        "0xa.0.0.5",
        "0xa000005",
        "167772165",
        "10.5",
        "10.0.0.5 ",
        "10.0.0.5%eth0",
        "fe80::1",
        "fe80::1%eth0",
        "169.254.1.1",
        "64:ff9b::a00:5",
        "2002:a00:5::1",
        "::10.0.0.5",
        "[10.0.0.5]",
        "db.example.com\0",
        "db..example.com",
        "unknown.example.com",
        "host",
        "a/b",
    ];
    for host in hosts {
        assert_eq!(meant(host, 5432), "nowhere", "{host}");
    }
    for (host, port) in [
        ("10.0.0.5", 0),
        ("10.0.0.5", 70_000),
        ("10.0.0.5", 8080),
        ("10.3.3.3", 8080),
        ("db.example.com", 8080),
        ("localhost", 8080),
        ("169.254.169.254", 80),
        ("10.8.8.8", 2379),
        ("10.8.8.8", 10_250),
        ("a.open.example.com", 5432),
        ("a.open.example.com", 2379),
    ] {
        assert_eq!(meant(host, port), "nowhere", "{host}:{port}");
    }
}
