//! A cluster of ClickHouse servers that keeps the record: the tables that `audit migrate` makes, and rows on two shards.
//!
//! The servers of the tests serve no interserver port, so that their replicated tables stay read-only. The statements that make
//! them are run with a real ZooKeeper; where rows are needed, tables of the same text take their place that are not replicated.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::clickhouse::{ClickHouse, OPERATORS_PASSWORD, PORT, questions};
use crate::gateway::Said;
use crate::wait;
use crate::world::World;

const ZOOKEEPER_PORT: u16 = 2181;

/// Succeeds where a ZooKeeper serves.
const SERVES: &str = r"
import socket, sys
socket = socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=5)
socket.sendall(b'srvr')
sys.exit(b'Mode: standalone' not in socket.makefile('rb').read())
";

/// A ZooKeeper; it ends with its handle.
struct ZooKeeper(Child);

impl ZooKeeper {
    fn start(world: &World) -> Self {
        let directory = world.directory().join("zookeeper");
        fs::create_dir(&directory).unwrap();
        let settings = format!(
            "tickTime=500\ndataDir={}\nclientPort={ZOOKEEPER_PORT}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n",
            directory.display()
        );
        let file = world.file("zoo.cfg", &settings);
        let log = File::create(directory.join("log")).unwrap();
        let mut command = world.command("/usr/bin/java");
        command.args(["-Xmx128m", "-cp", "/usr/share/java/zookeeper.jar"]);
        command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(file);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let started = Self(command.spawn().unwrap());
        // A JVM that starts beside other tests takes longer than a server of ClickHouse asks for it.
        wait::for_some_within(Duration::from_secs(60), "a ZooKeeper that serves", || {
            let mut command = world.command("/usr/bin/python3");
            command.args(["-c", SERVES, &ZOOKEEPER_PORT.to_string()]).stderr(Stdio::null());
            command.status().unwrap().success().then_some(())
        });
        started
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two servers: a shard each, or replicas of one.
struct Cluster<'w> {
    world: &'w World,
    servers: [ClickHouse<'w>; 2],
    _keeper: ZooKeeper,
}

impl<'w> Cluster<'w> {
    fn start(world: &'w World, shards: [u16; 2]) -> Self {
        let remote = if shards == [0, 0] {
            format!("<shard>{}{}</shard>", replica(0), replica(1))
        } else {
            format!("<shard>{}</shard><shard>{}</shard>", replica(0), replica(1))
        };
        let remote = remote.replace("<shard>", "<shard><internal_replication>true</internal_replication>");
        let keeper = ZooKeeper::start(world);
        let servers = [(0, shards[0]), (1, shards[1])].map(|(number, shard)| {
            let member = format!(
                "<tcp_port>{}</tcp_port><macros><shard>{shard}</shard><replica>r{number}</replica></macros>
                 <zookeeper><node><host>127.0.0.1</host><port>{ZOOKEEPER_PORT}</port></node></zookeeper>
                 <remote_servers><audit><secret>known-to-servers</secret>{remote}</audit></remote_servers>",
                tcp_port(number),
            );
            let server = ClickHouse::start_with(world, PORT + number, &member);
            server.ask("SYSTEM START LISTEN TCP");
            server
        });
        Self { world, servers, _keeper: keeper }
    }

    fn config(&self, with_cluster: bool) -> String {
        let cluster = if with_cluster { "cluster = { name = \"audit\" }\n" } else { "" };
        let text = format!("version = 1\n{}{cluster}", self.servers[0].section());
        self.world.file("gateway.toml", &text).to_str().unwrap().to_owned()
    }

    fn cli(&self, user: &str, arguments: &[&str]) -> Said {
        let password = self.world.file("operators-password", OPERATORS_PASSWORD);
        let config = self.config(true);
        let login = ["--config", &config, "--user", user, "--password-file", password.to_str().unwrap()];
        self.world.cli(&[arguments, &login].concat())
    }

    /// Each by itself.
    fn migrate(&self) {
        for (number, said) in [(0, "schema 3 now"), (1, "schema 3 now"), (0, "already"), (1, "already")] {
            let url = format!("http://127.0.0.1:{}", PORT + number);
            let migrated = self.cli("gateway_migrate", &["audit", "migrate", "--server", &url]);
            assert!(migrated.status.success() && migrated.out.contains(said), "{number}: {migrated:?}");
        }
    }
}

fn tcp_port(number: u16) -> u16 {
    9000 + number
}

fn replica(number: u16) -> String {
    format!("<replica><host>127.0.0.1</host><port>{}</port></replica>", tcp_port(number))
}

const ENGINES: &str = "SELECT groupArray((name, engine)) FROM (SELECT * FROM system.tables
    WHERE database = 'gateway' AND engine != 'View' ORDER BY name)";

#[test]
fn each_server_of_a_cluster_gets_replicated_tables_and_one_over_all_shards() {
    let world = World::new();
    let cluster = Cluster::start(&world, [0, 0]);
    cluster.migrate();
    for server in &cluster.servers {
        assert_eq!(
            server.ask(ENGINES),
            "[('events','Distributed'),('events_local','ReplicatedReplacingMergeTree'),('migrations','ReplacingMergeTree'),\
             ('sessions','Distributed'),('sessions_local','ReplicatedReplacingMergeTree')]"
        );
        // In ZooKeeper they are replicas of one, which has the second's text held against the first's.
        let replicas =
            "SELECT groupArray((zookeeper_path, total_replicas)) FROM (SELECT * FROM system.replicas ORDER BY table)";
        assert_eq!(
            server.ask(replicas),
            "[('/clickhouse/tables/0/gateway/events',2),('/clickhouse/tables/0/gateway/sessions',2)]"
        );
        // With columns that came by later migrations where those put them.
        let columns = |table: &str| {
            let of_table = format!("database = 'gateway' AND table = '{table}' ORDER BY position");
            server.ask(&format!("SELECT groupArray(name) FROM (SELECT name FROM system.columns WHERE {of_table})"))
        };
        assert!(columns("events").contains("'k8s_pod_name','k8s_pod_uid','user_id'"), "{}", columns("events"));
        assert_eq!(columns("events"), columns("events_local"));
    }
    // A configuration that forgot the cluster would read and write the same names.
    let config = cluster.config(false);
    let password = world.file("operators-password", OPERATORS_PASSWORD);
    let arguments = ["audit", "migrate", "--config", &config, "--user", "gateway_migrate", "--password-file"];
    let said = world.cli(&[&arguments[..], &[password.to_str().unwrap()]].concat());
    assert!(!said.status.success() && said.err.contains("another `cluster` of [audit.clickhouse]"), "{said:?}");
}

#[test]
fn the_lines_of_a_journal_are_on_one_shard_and_both_servers_answer_for_all() {
    let world = World::new();
    let cluster = Cluster::start(&world, [0, 1]);
    cluster.migrate();
    for server in &cluster.servers {
        for table in ["events_local", "sessions_local"] {
            let text = server.ask(&format!("SHOW CREATE TABLE gateway.{table} FORMAT TSVRaw"));
            let (before, rest) = text.split_once("ReplicatedReplacingMergeTree(").unwrap();
            let (_, after) = rest.split_once("'{replica}', ").unwrap();
            server.ask(&format!("DROP TABLE gateway.{table} SYNC"));
            server.ask(&format!("{before}ReplacingMergeTree({after}"));
        }
    }
    let journals = two_shards(&world, &cluster);
    let count = |server: &ClickHouse<'_>, table: &str| -> u64 {
        server.ask(&format!("SELECT uniqExact(journal_id, seq) FROM gateway.{table}")).parse().unwrap()
    };
    let own = cluster.servers.each_ref().map(|server| count(server, "events_local"));
    assert!(own.iter().all(|lines| *lines > 0), "{own:?}");
    for server in &cluster.servers {
        assert_eq!(count(server, "events"), own[0] + own[1]);
        assert_ne!(count(server, "sessions"), 0);
        assert_eq!(server.ask("SELECT count() FROM gateway.conflict"), "0");
        // The shard makes the hashes, of lines that reached it.
        let unlike = "SELECT countIf(line = '' OR line_hash != SHA256(line)) FROM gateway";
        assert_eq!(server.ask(&format!("{unlike}.events")), "0");
        assert_eq!(server.ask(&format!("{unlike}.sessions")), "0");
        for question in questions() {
            server.try_ask("gateway_read", OPERATORS_PASSWORD, &question).unwrap();
        }
    }
    let shards = "SELECT max(n) FROM (SELECT uniqExact(_shard_num) AS n FROM gateway.events GROUP BY journal_id)";
    assert_eq!(cluster.servers[1].ask(shards), "1");
    let said = cluster.cli("gateway_read", &["--json", "audit", "verify", "--copy"]);
    let verdict: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    assert!(said.status.success() && verdict["copy"]["breaches"] == Value::Array(Vec::new()), "{verdict}");
    assert_eq!(verdict["copy"]["journals"].as_array().unwrap().len(), journals);
    // Two sessions' lines that differ stay beside each other, as with one server.
    let server = &cluster.servers[1];
    let add = "INSERT INTO gateway.sessions (time, journal_id, seq, event, line) SETTINGS distributed_foreground_insert = 1 VALUES";
    for line in ["one", "another", "one"] {
        server.ask(&format!("{add} ('2026-01-01 00:00:00', '00000000-0000-0000-0000-000000000001', 1, 'x', '{line}')"));
    }
    assert_eq!(server.ask("SELECT count() FROM gateway.sessions FINAL WHERE event = 'x'"), "2");
}

/// Runs gateways until both shards have lines, all copied; each start is two journals more. Says how many there are.
fn two_shards(world: &World, cluster: &Cluster<'_>) -> usize {
    let config = cluster.config(true);
    for starts in 1..=8 {
        let mut gateway = world.attach(&["--config", &config]);
        let agent = world.agent();
        drop(agent.connect("192.0.2.9:22"));
        wait::until("a copy of all", || {
            let shipping = world.cli_json(&["status"])["shipping"].clone();
            shipping["lag_events"] == 0 && shipping["error"].is_null() && shipping["pid"].is_u64()
        });
        gateway.stop();
        let empty = |server: &ClickHouse<'_>| server.ask("SELECT count() FROM gateway.events_local") == "0";
        if !cluster.servers.iter().any(empty) {
            return 2 * starts;
        }
    }
    panic!("sixteen journals are on one of two shards");
}
