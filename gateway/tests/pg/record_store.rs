//! Who may do what with the copy of the journal: the shipper's process, its login, the agent, the operator.

use std::fs;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::clickhouse::{ClickHouse, OPERATORS_PASSWORD, PASSWORD, PORT};
use crate::cluster::{authority, issue};
use crate::wait;
use crate::world::World;

fn attach<'w>(world: &'w World, store: &ClickHouse<'_>) -> crate::gateway::Gateway<'w> {
    let file = world.file("gateway.toml", &format!("version = 1\n{}", store.section()));
    world.attach(&["--config", file.to_str().unwrap()])
}

fn copied(world: &World) -> Value {
    wait::for_some("a copy of all", || {
        let shipping = world.cli_json(&["status"])["shipping"].clone();
        (shipping["lag_events"] == 0 && shipping["error"].is_null() && shipping["pid"].is_u64()).then_some(shipping)
    })
}

#[test]
fn the_shipper_has_a_user_of_its_own_no_capability_no_file_and_a_filter() {
    let world = World::new();
    let store = ClickHouse::migrated(&world);
    let gateway = attach(&world, &store);
    let pid = copied(&world)["pid"].as_u64().unwrap();
    let field = |pid: u64, name: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")).map(str::to_owned));
        line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let engine = field(gateway.engine_pid().into(), "Uid");
    let own = field(pid, "Uid");
    assert!(own != engine && !own.split(' ').any(|id| id == "0"), "{own}, the engine's {engine}");
    assert_eq!(field(pid, "Groups"), "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(pid, set), "0000000000000000", "{set}");
    }
    assert_eq!((field(pid, "NoNewPrivs"), field(pid, "Seccomp")), ("1".to_owned(), "2".to_owned()));
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let files: Vec<String> = links
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .map(|link| link.display().to_string())
        .filter(|link| link.starts_with('/') && !link.starts_with("/dev/null") && !link.contains("err-"))
        .collect();
    // A segment is open for as long as a batch takes.
    assert!(files.iter().all(|file| file.ends_with(".jsonl")), "{files:?}");
}

#[test]
fn the_login_of_the_gateway_adds_rows_and_can_do_nothing_else() {
    let world = World::new();
    let store = ClickHouse::migrated(&world);
    let ship = |sql: &str| store.try_ask("gateway_ship", PASSWORD, sql);
    let row = "INSERT INTO gateway.events (journal_id, seq, event, line) VALUES (generateUUIDv4(), 1, 'gap', 'x')";
    assert_eq!(ship(row), Ok(String::new()));
    for refused in [
        "ALTER TABLE gateway.events DROP COLUMN line",
        "ALTER TABLE gateway.events DELETE WHERE 1",
        "ALTER TABLE gateway.events UPDATE line = '' WHERE 1",
        "DELETE FROM gateway.events WHERE 1",
        "DROP TABLE gateway.events",
        "DROP DATABASE gateway",
        "TRUNCATE TABLE gateway.events",
        "OPTIMIZE TABLE gateway.events FINAL",
        "CREATE TABLE gateway.mine (a Int8) ENGINE = Memory",
        "RENAME TABLE gateway.events TO gateway.gone",
        "SELECT count() FROM gateway.events",
        "SELECT * FROM gateway.statement",
        "SELECT * FROM gateway.migrations",
        "INSERT INTO gateway.migrations (version) VALUES (9)",
        "SELECT * FROM url('http://127.0.0.1:1/', CSV, 'a String')",
    ] {
        let answer = ship(refused).unwrap_err();
        assert!(answer.contains("ACCESS_DENIED"), "{refused}: {answer}");
    }
    let read = |sql: &str| store.try_ask("gateway_read", OPERATORS_PASSWORD, sql);
    let views = ["session", "statement", "approval", "conflict", "journal", "request", "touched", "refused"];
    for view in views.iter().chain(&["credential_use", "vote", "exposure", "first_use", "volume"]) {
        read(&format!("SELECT * FROM gateway.{view}")).unwrap();
    }
    assert!(read(row).unwrap_err().contains("ACCESS_DENIED"));
    assert!(store.try_ask("gateway_ship", "wrong", "SELECT 1").is_err());
}

#[test]
fn migrating_again_changes_nothing_and_another_schema_is_left_alone() {
    let world = World::new();
    let store = ClickHouse::start(&world);
    let first = store.migrate();
    assert!(first.status.success() && first.out.contains("schema 3 now"), "{first:?}");
    let shape = "SELECT groupArray((name, create_table_query)) FROM (SELECT * FROM system.tables WHERE database = 'gateway' ORDER BY name)";
    let before = store.ask(shape);
    let again = store.migrate();
    assert!(again.status.success() && again.out.contains("already"), "{again:?}");
    assert_eq!(store.ask(shape), before);
    assert_eq!(store.ask("SELECT count() FROM gateway.migrations"), "3");
    let pretend = |version: u32| {
        store.ask(&format!(
            "INSERT INTO gateway.migrations (version, name, checksum) VALUES ({version}, 'x', repeat('0', 64))"
        ))
    };
    pretend(1);
    let changed = store.migrate();
    assert!(!changed.status.success() && changed.err.contains("from another text"), "{changed:?}");
    store.ask("DELETE FROM gateway.migrations WHERE name = 'x'");
    assert!(store.migrate().status.success());
    pretend(4);
    let later = store.migrate();
    assert!(!later.status.success() && later.err.contains("a later version of the gateway"), "{later:?}");
}

#[test]
fn without_a_schema_the_status_names_the_command_and_after_it_all_arrives() {
    let world = World::new();
    let store = ClickHouse::start(&world);
    let _gateway = attach(&world, &store);
    let error = wait::for_some("an error in the status", || {
        world.cli_json(&["status"])["shipping"]["error"].as_str().map(str::to_owned)
    });
    assert!(error.contains("gateway audit migrate"), "{error}");
    assert!(store.migrate().status.success());
    copied(&world);
    assert_ne!(store.ask("SELECT count() FROM gateway.events WHERE event = 'gateway.started'"), "0");
}

#[test]
fn a_changed_row_stays_beside_the_first_and_is_named() {
    let world = World::new();
    let store = ClickHouse::migrated(&world);
    let _gateway = attach(&world, &store);
    copied(&world);
    let event = "SELECT toString(journal_id), seq FROM gateway.events WHERE event = 'gateway.started'";
    let answer = store.ask(event);
    let (journal, seq) = answer.split_once('\t').unwrap();
    // As somebody with the gateway's own login would: the same number, another text.
    let forged = format!(
        "INSERT INTO gateway.events (time, host_id, journal_id, seq, event, line)
         SELECT now64(6), toUUID('{}'), '{journal}', {seq}, 'gateway.started', 'forged'",
        store.ask("SELECT any(host_id) FROM gateway.events")
    );
    store.try_ask("gateway_ship", PASSWORD, &forged).unwrap();
    store.ask("OPTIMIZE TABLE gateway.events FINAL");
    // Or the same line, told otherwise: the row that came first stays.
    let retold = "INSERT INTO gateway.events (time, host_id, journal_id, seq, event, line)
         SELECT time, host_id, journal_id, seq, 'retold', line FROM gateway.events WHERE event = 'gateway.started'";
    store.ask(retold);
    store.ask("OPTIMIZE TABLE gateway.events FINAL");
    assert_eq!(store.ask("SELECT count() FROM gateway.events WHERE event = 'retold'"), "0");
    let there = format!(
        "SELECT count(), countIf(line = 'forged') FROM gateway.events FINAL WHERE journal_id = '{journal}' AND seq = {seq}"
    );
    assert_eq!(store.ask(&there), "2\t1");
    assert_eq!(
        store.ask("SELECT toString(journal_id), seq, length(lines) FROM gateway.conflict"),
        format!("{journal}\t{seq}\t2")
    );
}

#[test]
fn an_agent_does_not_reach_the_store() {
    let world = World::new();
    let store = ClickHouse::migrated(&world);
    let file = format!("version = 1\n{}[egress]\nallow = [\"127.0.0.1:{PORT}\"]\n", store.section());
    let file = world.file("gateway.toml", &file);
    let _gateway = world.attach(&["--config", file.to_str().unwrap()]);
    let address = format!("127.0.0.1:{PORT}");
    assert!(world.outsider().connect(&address).is_ok());
    assert!(world.agent().connect(&address).is_err(), "not even where a list allows it");
}

#[test]
fn without_a_store_the_gap_is_named_in_status_and_journal() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let status = world.cli_json(&["status"]);
    assert_eq!(status["gaps"][0]["name"], "record_on_this_host", "{status}");
    assert!(status["shipping"].is_null());
    let text = world.cli(&["status"]).out;
    assert!(text.contains("gap record_on_this_host: the record is on this host alone"), "{text}");
    world.event("gap", |body| body["name"] == "record_on_this_host");
}

/// TLS in front of the store: its own server would do the same.
const TERMINATOR: &str = r"
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        sink.close()
def serve(client):
    try:
        client = context.wrap_socket(client, server_side=True)
    except (OSError, ssl.SSLError):
        return
    server = socket.create_connection(('127.0.0.1', 8123))
    threading.Thread(target=copy, args=(server, client), daemon=True).start()
    copy(client, server)
listener = socket.create_server(('127.0.0.1', 8443))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
";

#[test]
fn a_store_that_does_not_prove_itself_gets_no_row() {
    let world = World::new();
    let store = ClickHouse::migrated(&world);
    let (issuer, ca) = authority();
    let (chain, key) = issue(&["store.test"], "store.test", &issuer);
    let (chain, key) = (world.file("store.pem", &chain), world.file("store.key", &key));
    let mut terminator = world.command("/usr/bin/python3");
    terminator.args(["-c", TERMINATOR]).args([&chain, &key]).stdin(Stdio::null());
    let _terminator = Ended(terminator.spawn().unwrap());
    let section = |ca: &str, name: &str| {
        let section = store.section().replace(&format!("http://127.0.0.1:{PORT}"), "https://127.0.0.1:8443");
        let ca = world.file("store-ca.pem", ca);
        format!("version = 1\n{section}tls = {{ ca = \"{}\", name = \"{name}\" }}\n", ca.display())
    };
    let count = || store.ask("SELECT count() FROM gateway.events");
    for (ca, name) in [(&authority().1, "store.test"), (&ca, "other.test")] {
        let file = world.file("gateway.toml", &section(ca, name));
        let mut gateway = world.attach(&["--config", file.to_str().unwrap()]);
        let error = wait::for_some("an error in the status", || {
            world.cli_json(&["status"])["shipping"]["error"].as_str().map(str::to_owned)
        });
        assert!(error.contains("tls handshake") && error.contains("invalid peer certificate"), "{error}");
        assert_eq!(count(), "0");
        gateway.stop();
    }
    let file = world.file("gateway.toml", &section(&ca, "store.test"));
    let _gateway = world.attach(&["--config", file.to_str().unwrap()]);
    copied(&world);
    assert_ne!(count(), "0");
}

/// Ends a process with its handle.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
