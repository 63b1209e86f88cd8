//! Ports forwarded into pods: what an engine reads is read there too, whatever the client forwards by.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::host::{Host, USER, prepare};
use crate::site::{Kubectl, Ran, Site, ran};
use crate::wait;

const POLICY: &str = r#"
@id("all") permit (principal, action in [Action::"read", Action::"write", Action::"destructive", Action::"run", Action::"tunnel", Action::"session"], resource);
@id("no-drop") @message("tables stay") forbid (principal, action == Postgres::Action::"drop", resource);
@id("no-telnet") @message("port 23 stays closed") forbid (principal, action == Network::Action::"connect", resource)
when { context has pod && context.pod has name && context.pod.name == "db" && resource.port == 23 };
"#;

/// The guard pack holds port-forward: these stories are about what comes after.
const LIFTED: &str = "[policy]\ndisable = [\"guard.kubernetes.commands\", \"guard.postgres.destructive\"]\n";

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// By each protocol that kubectl forwards with: SPDY in WebSocket, SPDY, and SPDY as it was then.
const WAYS: [(Kubectl, &str); 3] = [(Kubectl::Today, "true"), (Kubectl::Today, "false"), (Kubectl::Old, "true")];

/// PostgreSQL in the network of the node, which is that of its pods.
struct Database {
    server: Child,
    directory: PathBuf,
}

impl Database {
    fn start(site: &Site) -> Self {
        let directory = tempfile::Builder::new().prefix("gateway-kube-pg-").tempdir().unwrap().keep();
        let data = directory.join("data").display().to_string();
        let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
        run(Command::new("chown").arg("postgres:postgres").arg(&directory));
        let as_postgres = ["--reuid=postgres", "--regid=postgres", "--clear-groups"];
        let made = ["initdb", "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "--locale=C.UTF-8", "-D", &data];
        let mut initdb = Command::new("setpriv");
        initdb.args(as_postgres).arg(format!("{PROGRAMS}/{}", made[0])).args(&made[1..]);
        run(initdb.current_dir("/").stdout(Stdio::null()));
        let mut server = site.node.enter("setpriv");
        server.args(as_postgres).arg(format!("{PROGRAMS}/postgres")).args(["-D", &data, "-F", "-p", "5432"]);
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        let server = server.current_dir("/").stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let database = Self { server, directory };
        let mut psql =
            || {
                site.node.enter("psql").args(["-XAtqh", "127.0.0.1", "-U", "postgres", "-c"]).arg(
            "CREATE TABLE IF NOT EXISTS payment (card text); INSERT INTO payment VALUES ('4111111111111111')",
        ).stderr(Stdio::null()).status().unwrap().success()
            };
        wait::until("a database in the node", &mut psql);
        database
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = (self.server.kill(), self.server.wait(), std::fs::remove_dir_all(&self.directory));
    }
}

/// kubectl that forwards, ended with it.
struct Forward(Child);

impl Forward {
    fn start(site: &Site, (which, websockets): (Kubectl, &str), ports: &str) -> Self {
        let mut command = site.kubectl_with(
            which,
            &format!("KUBECTL_PORT_FORWARD_WEBSOCKETS={websockets}"),
            &["port-forward", "pod/db", ports],
        );
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

/// An SSH server in the network of the node.
struct Server(Child);

impl Server {
    fn start(site: &Site) -> Self {
        let config = prepare(&site.world, "");
        let log = config.with_file_name("log");
        let mut sshd = site.world.command("nsenter");
        sshd.arg(site.node.network()).args(["--", "/usr/sbin/sshd", "-D", "-e", "-f"]).arg(&config);
        let server = Self(sshd.stdin(Stdio::null()).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap());
        wait::until("sshd", || std::fs::read_to_string(&log).unwrap().contains("Server listening"));
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

fn psql(site: &Site, port: u16, sql: &str) -> Ran {
    let at = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=disable connect_timeout=20");
    ran(&mut site.command(&["timeout", "60", "psql", "-XAtq", &at, "-c", sql]))
}

#[test]
fn a_forward_to_a_database_is_read_like_a_connection_to_it() {
    let site = Site::new();
    let target = format!(
        "[[target]]\nname = \"db\"\nprotocol = \"postgres\"\naddresses = [\"{}.pods.prod\"]\n[target.tls]\nmode = \"disable\"\n",
        site.namespace
    );
    let _gateway = site.attach_with(&format!("{LIFTED}\n{target}"), Some(POLICY));
    site.pod("db");
    let _database = Database::start(&site);
    for (number, way) in (0..).zip(WAYS) {
        let port = 18_432 + number;
        let _forward = Forward::start(&site, way, &format!("{port}:5432"));
        wait::for_some_within(Duration::from_secs(120), "an answer through the forwarded port", || {
            (psql(&site, port, "SELECT 1").out == "1").then_some(())
        });
        let card = psql(&site, port, "SELECT card FROM payment LIMIT 1");
        assert!(card.ok && !card.out.contains("4111111111111111"), "{way:?} {card:?}");
        let long = psql(&site, port, "SELECT repeat('x', 1000000)");
        assert_eq!(long.out.len(), 1_000_000, "{way:?} {}", long.err);
        let dropped = psql(&site, port, "DROP TABLE payment");
        assert!(!dropped.ok && dropped.err.contains("tables stay"), "{way:?} {dropped:?}");
    }
    let inside = site.world.event("session.start", |body| body["destination"]["target"] == "db");
    let name = format!("db.{}.pods.prod", site.namespace);
    assert_eq!(inside["destination"]["name"], name.as_str(), "{inside}");
    let around = site.world.events("session.start");
    let parent = around.iter().find(|event| event["session"] == inside["parent"]).expect("the session around it");
    assert_eq!(parent["body"]["destination"]["target"], "prod", "{parent}");
}

#[test]
fn a_port_of_a_pod_is_a_fact_for_policies_and_what_is_refused_everywhere_is_refused_there() {
    let site = Site::new();
    let _gateway = site.attach_with(LIFTED, Some(POLICY));
    site.pod("db");
    let _forward = Forward::start(&site, WAYS[0], "18023:23");
    let _other = Forward::start(&site, WAYS[1], "18250:10250");
    let connect = |port: &str| {
        let curl = ["curl", "-sS", "--max-time", "5", &format!("http://127.0.0.1:{port}/")];
        ran(&mut site.command(&curl))
    };
    wait::until("connections that end at once", || {
        connect("18023").err.contains("(52)") && connect("18250").err.contains("(52)")
    });
    site.world.event("network.decision", |body| {
        body["decision"]["verdict"] == "deny" && body["decision"]["policies"][0] == "no-telnet"
    });
    let refused =
        site.request(|body| body["decision"]["message"].as_str().is_some_and(|why| why.contains("port 10250")));
    assert!(refused["text"].as_str().unwrap().contains("pod db"), "{refused}");
}

#[test]
fn a_forward_to_an_ssh_server_is_read_like_a_connection_to_it() {
    let site = Site::new();
    let _server = Server::start(&site);
    let file = |name: &str| site.world.directory().join("sshd").join(name);
    let key = std::fs::read_to_string(file("host_key.pub")).unwrap();
    let key: Vec<_> = key.split(' ').take(2).collect();
    let target = format!(
        "[[target]]\nname = \"shell\"\nprotocol = \"ssh\"\naddresses = [\"{}.pods.prod\"]\n[target.ssh]\nhost_keys = [\"{}\"]\n\
         [target.credential]\nuser = \"{USER}\"\nfor_users = [\"agent\"]\nkey = {{ file = \"{}\" }}\n",
        site.namespace,
        key.join(" "),
        file("login_key").display()
    );
    let _gateway = site.attach_with(&format!("{LIFTED}\n{target}"), Some(POLICY));
    let line = site.world.cli(&["trust", "--ssh"]).out;
    site.world.sh(&format!("echo '{}' > /etc/ssh/ssh_known_hosts", line.trim()));
    site.pod("db");
    for (number, way) in (0..).zip(WAYS) {
        let port = (18_022 + 100 * number).to_string();
        let _forward = Forward::start(&site, way, &format!("{port}:22"));
        let ssh = |command: &str| {
            let words = ["-p", &port, "agent@127.0.0.1", command];
            ran(site.command(&["timeout", "60", "ssh"]).args(Host::options()).args(words))
        };
        wait::for_some_within(Duration::from_secs(120), "an answer through the forwarded port", || {
            (ssh("id -un").out == USER).then_some(())
        });
        let card = ssh("echo card 4111-1111-1111-1111");
        assert!(card.ok && card.out == format!("card {}", "*".repeat(19)), "{way:?} {card:?}");
        let onward = ssh("ssh 192.0.2.9 id");
        assert!(!onward.ok && onward.err.contains("leads on to another host"), "{way:?} {onward:?}");
    }
    let inside = site.world.event("session.start", |body| body["destination"]["target"] == "shell");
    let around = site.world.events("session.start");
    let parent = around.iter().find(|event| event["session"] == inside["parent"]).expect("the session around it");
    assert_eq!(parent["body"]["destination"]["target"], "prod", "{parent}");
}
