//! The record away from the host: what SQL finds of a session, and what is there after every kind of failure.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::clickhouse::{ClickHouse, OPERATORS_PASSWORD, PASSWORD, questions};
use crate::gateway::{is_running, send};
use crate::shop::{Shop, Side};
use crate::wait;
use crate::world::World;

/// How far the copy is, as `status` tells.
pub(crate) fn shipping(world: &World) -> Value {
    world.cli_json(&["status"])["shipping"].clone()
}

pub(crate) fn shipper(world: &World) -> u32 {
    wait::for_some("a shipper", || u32::try_from(shipping(world)["pid"].as_u64()?).ok())
}

/// Waits until the store has all that the journal has.
pub(crate) fn caught_up(world: &World) {
    wait::for_some_within(std::time::Duration::from_secs(60), "a copy of all", || {
        let shipping = shipping(world);
        (shipping["lag_events"] == 0 && shipping["error"].is_null()).then_some(())
    });
}

/// All lines of all journals, as they stand on disk, compressed or not, sorted.
fn journal_lines(world: &World) -> Vec<String> {
    let folders = fs::read_dir(world.directory().join("state/journal")).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.filter(|path| path.is_dir()).flat_map(|folder| fs::read_dir(folder).unwrap());
    let names: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    let mut lines = Vec::new();
    for name in names.iter().filter(|name| name.extension().is_some_and(|extension| extension == "jsonl")) {
        // It may be compressed right now: then it is there as the other one.
        let plain = fs::read(name);
        let text =
            plain.unwrap_or_else(|_| zstd::decode_all(File::open(name.with_extension("jsonl.zst")).unwrap()).unwrap());
        lines.extend(String::from_utf8(text).unwrap().lines().map(str::to_owned));
    }
    for name in names.iter().filter(|name| name.extension().is_some_and(|extension| extension == "zst")) {
        if !names.contains(&name.with_extension("")) {
            let text = zstd::decode_all(File::open(name).unwrap()).unwrap();
            lines.extend(String::from_utf8(text).unwrap().lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
}

/// All lines of the copy, sorted; `FINAL` hides what was sent twice.
fn copied_lines(store: &ClickHouse<'_>) -> Vec<String> {
    let rows = store.ask("SELECT line FROM gateway.events FINAL FORMAT JSONEachRow");
    let line = |row: &str| serde_json::from_str::<Value>(row).unwrap()["line"].as_str().unwrap().to_owned();
    let mut lines: Vec<String> = rows.lines().map(line).collect();
    lines.sort();
    lines
}

/// Every line of the journal is in the copy byte for byte, and nothing else, and nothing twice.
pub(crate) fn nothing_is_lost_and_nothing_is_there_twice(world: &World, store: &ClickHouse<'_>) {
    let before = journal_lines(world);
    caught_up(world);
    let copy = copied_lines(store);
    let after = journal_lines(world);
    let lacks = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| other.binary_search(line).is_err()).cloned().collect()
    };
    assert_eq!(lacks(&before, &copy), Vec::<String>::new(), "lost");
    assert_eq!(lacks(&copy, &after), Vec::<String>::new(), "made up");
    assert!(copy.windows(2).all(|pair| pair[0] != pair[1]), "there twice");
    let hashes =
        "SELECT count(), uniqExact(line_hash), countIf(hex(SHA256(line)) != hex(line_hash)) FROM gateway.events FINAL";
    let counts = store.ask(hashes);
    let counts: Vec<&str> = counts.split('\t').collect();
    assert_eq!((counts[0], counts[2]), (counts[1], "0"));
    assert_eq!(store.ask("SELECT count() FROM gateway.conflict"), "0");
    assert_eq!(store.ask("SELECT sum(missing) FROM gateway.journal"), "0");
}

#[test]
fn what_an_agent_did_is_read_back_by_sql() {
    let shop = Shop::new();
    let store = ClickHouse::migrated(&shop.world);
    let _gateway = shop.attach_with(&format!(
        "{}[[target]]\nname = \"shop\"\nprotocol = \"postgres\"\naddresses = [\"{}\"]\nenvironment = \"staging\"\n\
         [target.tls]\nmode = \"disable\"\n",
        store.section(),
        shop.address
    ));
    let ran = shop.psql_on(
        Side::Inside,
        &[("PGAPPNAME", "agent")],
        &["SELECT item FROM orders WHERE id < 4", "DROP TABLE orders", "UPDATE orders SET item = 'x' WHERE id = 7"],
    );
    assert!(ran.err.contains("guard.postgres.destructive"), "{ran:?}");
    shop.journaled("UPDATE");
    caught_up(&shop.world);
    let rows = store.ask(
        "SELECT db_operation_name, decision, status, rows_returned, rows_affected, target, environment, attachment,
                login, db_namespace, arrayStringConcat(policies, ','), relations_read != [] OR relations_written != []
         FROM gateway.statement WHERE phase != 'login' ORDER BY seq FORMAT TSV",
    );
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split('\t').collect()).collect();
    let find =
        |operation: &str| rows.iter().find(|row| row[0].starts_with(operation)).unwrap_or_else(|| panic!("{rows:?}"));
    let who = ["shop", "staging", "story", "agent", &shop.database];
    let select = find("SELECT");
    assert_eq!((&select[1..5], &select[5..10], select[11]), (&["allow", "ok", "3", "0"][..], &who[..], "1"));
    let update = find("UPDATE");
    assert_eq!(&update[1..5], ["allow", "ok", "0", "1"]);
    let dropped = find("DROP");
    assert_eq!((dropped[1], dropped[10]), ("deny", "guard.postgres.destructive"));
    let text = store.ask("SELECT db_query_text FROM gateway.statement WHERE db_operation_name = 'SELECT' LIMIT 1");
    assert!(text.starts_with("SELECT item FROM orders"), "{text}");
    for question in questions() {
        let answer = store.try_ask("gateway_read", OPERATORS_PASSWORD, &question);
        assert!(answer.is_ok(), "{question}: {answer:?}");
    }
    let ends = shop.world.events("session.end");
    let session = store.ask(
        "SELECT session_id, user_id, end_cause, requests, rows_returned, ended IS NOT NULL FROM gateway.session
         WHERE process_executable LIKE '%/psql'",
    );
    let id = session.split('\t').next().unwrap();
    let end = &ends.iter().find(|end| end["session"] == id).unwrap()["body"];
    let told = format!("{id}\t{}\tclient\t{}\t{}\t1", shop.world.uid(), end["requests"], end["rows_returned"]);
    assert_eq!(session, told);
}

#[test]
fn an_outage_holds_nothing_up_and_everything_arrives_once() {
    let shop = Shop::new();
    let mut store = ClickHouse::migrated(&shop.world);
    let mut gateway = shop.attach_with(&store.section());
    assert!(shop.psql(&["SELECT 1"]).ok);
    caught_up(&shop.world);
    store.die();
    for number in 0..20 {
        let ran = shop.psql(&[&format!("SELECT item FROM orders WHERE id = {number}")]);
        assert!(ran.ok, "{ran:?}");
    }
    let behind = wait::for_some("an error in the status", || {
        let shipping = shipping(&shop.world);
        shipping["error"].is_string().then_some(shipping)
    });
    assert!(behind["lag_events"].as_u64() >= Some(40), "{behind}");
    assert!(behind["error"].to_string().contains("cannot reach ClickHouse at 127.0.0.1:8123"), "{behind}");
    let text = shop.world.cli(&["status"]).out;
    assert!(text.contains("events behind") && text.contains("cannot reach ClickHouse"), "{text}");
    store.go_on();
    caught_up(&shop.world);
    // Its end too: what was not copied before it is copied by the next one.
    gateway.stop();
    let mut next = shop.attach_with(&store.section());
    caught_up(&shop.world);
    next.stop();
    let _last = shop.attach_with(&store.section());
    nothing_is_lost_and_nothing_is_there_twice(&shop.world, &store);
}

#[test]
fn what_was_compressed_before_there_was_a_store_is_copied_whole() {
    let shop = Shop::new();
    let store = ClickHouse::migrated(&shop.world);
    let short = "[audit.journal]\nsegment_bytes = 4096\n";
    let mut gateway = shop.attach_with(short);
    wait::for_some_within(Duration::from_secs(120), "compressed segments", || {
        assert!(shop.psql(&["SELECT item FROM orders WHERE id < 9"; 8]).ok);
        let packed = shop.world.sh("ls /var/lib/gateway/journal/*/*.jsonl.zst 2>/dev/null || true");
        (packed.lines().count() >= 3).then_some(())
    });
    gateway.stop();
    let mut gateway = shop.attach_with(&format!("{short}{}batch = 40\n", store.section()));
    nothing_is_lost_and_nothing_is_there_twice(&shop.world, &store);
    gateway.stop();
    the_copy_is_sound(&shop);
}

/// Each line of the copy, held against the journal by an operator.
fn the_copy_is_sound(shop: &Shop) {
    let password = shop.world.file("read-password", OPERATORS_PASSWORD);
    let config = shop.world.directory().join("gateway.toml");
    let login = ["--config", config.to_str().unwrap(), "--user", "gateway_read", "--password-file"];
    let said = shop.world.cli(&[&["audit", "verify", "--copy"][..], &login, &[password.to_str().unwrap()]].concat());
    assert!(said.status.success() && said.out.contains("copy sound"), "{said:?}");
}

#[test]
fn what_is_too_much_for_the_disk_is_removed_when_the_store_has_it_and_not_before() {
    let shop = Shop::new();
    let mut store = ClickHouse::migrated(&shop.world);
    store.die();
    let limits = "[audit.journal]\nsegment_bytes = 4096\nmax_bytes = 65536\n";
    let mut gateway = shop.attach_with(&format!("{limits}{}", store.section()));
    let removed =
        || shop.world.sh("grep -c '\"removed\":true' /var/lib/gateway/journal/seals.jsonl || true").trim().to_owned();
    let packed = || shop.world.sh("ls /var/lib/gateway/journal/*/*.jsonl.zst 2>/dev/null || true").lines().count();
    let size = || shop.world.sh("du -sb /var/lib/gateway/journal | cut -f 1").trim().parse::<u64>().unwrap();
    let work = || assert!(shop.psql(&["SELECT item FROM orders WHERE id < 9"; 20]).ok);
    wait::for_some_within(Duration::from_secs(120), "more than may be", || {
        work();
        (packed() > 4 && size() > 3 * 65_536).then_some(())
    });
    // Once more after all of it was there to be removed.
    let before = packed();
    wait::for_some_within(Duration::from_secs(60), "the next look", || {
        work();
        (packed() > before).then_some(())
    });
    assert_eq!(removed(), "0", "the store has nothing");
    store.go_on();
    wait::for_some_within(Duration::from_secs(120), "removed segments", || (removed() != "0").then_some(()));
    gateway.stop();
    let said = shop.world.cli(&["audit", "verify"]);
    assert!(said.status.success() && said.out.contains("lines were removed since"), "{said:?}");
    let _last = shop.attach_with(&format!("{limits}{}", store.section()));
    caught_up(&shop.world);
    assert_eq!(store.ask("SELECT sum(missing) FROM gateway.journal"), "0", "the copy has all");
    the_copy_is_sound(&shop);
}

#[test]
fn a_killed_shipper_loses_nothing_and_closes_no_gate() {
    let shop = Shop::new();
    let store = ClickHouse::migrated(&shop.world);
    // Small batches, so that many are under way.
    let gateway = shop.attach_with(&format!("{}batch = 3\n", store.section()));
    let engine = gateway.engine_pid();
    for number in 0..6 {
        let (before, statements) = (shipper(&shop.world), "SELECT item FROM orders WHERE id = ");
        let ran = shop.psql(&[&format!("{statements}{number}"), "SELECT count(*) FROM orders"]);
        assert!(ran.ok, "{ran:?}");
        send(before, Signal::KILL);
        wait::until("its end", || !is_running(before));
        assert!(shop.psql(&[&format!("{statements}1{number}")]).ok, "nothing waits for it");
    }
    assert_ne!(shipper(&shop.world), 0);
    assert_eq!(gateway.engine_pid(), engine);
    nothing_is_lost_and_nothing_is_there_twice(&shop.world, &store);
}

#[test]
fn with_a_lost_checkpoint_everything_is_sent_again_and_kept_once() {
    let shop = Shop::new();
    let store = ClickHouse::migrated(&shop.world);
    let mut gateway = shop.attach_with(&store.section());
    assert!(shop.psql(&["SELECT 1", "SELECT 2"]).ok);
    caught_up(&shop.world);
    gateway.stop();
    assert_eq!(copied_lines(&store), journal_lines(&shop.world), "its last words too");
    let stored = |what: &str| store.ask(&format!("SELECT count() FROM gateway.events {what}")).parse::<u64>().unwrap();
    let before = stored("FINAL");
    // A merge would drop what is there twice.
    store.ask("SYSTEM STOP MERGES gateway.events");
    fs::remove_file(shop.world.directory().join("state/shipped.json")).unwrap();
    let _next = shop.attach_with(&store.section());
    wait::until("rows that are there twice", || stored("") >= 2 * before);
    nothing_is_lost_and_nothing_is_there_twice(&shop.world, &store);
}

#[test]
fn the_password_of_the_store_is_in_no_log_status_or_journal() {
    let shop = Shop::new();
    let store = ClickHouse::migrated(&shop.world);
    let file = shop.world.file("gateway.toml", &format!("version = 1\n{}", store.section()));
    let cgroup = shop.world.cgroup().display().to_string();
    let arguments = ["attach", "--cgroup", &cgroup, "--name", "story", "--config", file.to_str().unwrap()];
    let mut gateway = shop.world.gateway_with(&[("RUST_LOG", "trace")], &arguments);
    gateway.says("is intercepted");
    shop.world.is_open();
    assert!(shop.psql(&["SELECT 1"]).ok);
    caught_up(&shop.world);
    let log = gateway.output();
    assert!(log.contains("clickhouse"), "the log tells of what it would quote the password in");
    let status = shop.world.cli(&["--json", "status"]).out;
    let journal = journal_lines(&shop.world).concat();
    let checkpoint = fs::read_to_string(shop.world.directory().join("state/shipped.json")).unwrap();
    for (name, text) in [("log", log), ("status", status), ("journal", journal), ("checkpoint", checkpoint)] {
        assert!(!text.contains(PASSWORD), "the {name} has it");
    }
    let pid = shipper(&shop.world);
    for name in ["environ", "cmdline"] {
        let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(PASSWORD), "{name}");
    }
}
