//! Whether the copy of the journal is one: `audit verify --copy` and `audit query` on a real ClickHouse.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::clickhouse::{ClickHouse, OPERATORS_PASSWORD};
use crate::gateway::Said;
use crate::wait;
use crate::world::World;

/// A stopped gateway's journal, and its copy.
struct Copied<'w> {
    world: &'w World,
    store: ClickHouse<'w>,
    /// The warden's journal.
    journal: String,
    /// Lines of it in the copy.
    lines: u64,
}

impl<'w> Copied<'w> {
    fn new(world: &'w World) -> Self {
        let store = ClickHouse::migrated(world);
        let file = world.file("gateway.toml", &format!("version = 1\n{}", store.section()));
        let mut gateway = world.attach(&["--config", file.to_str().unwrap()]);
        let agent = world.agent();
        for _ in 0..3 {
            drop(agent.connect("192.0.2.9:22"));
        }
        let running = Self { world, store, journal: String::new(), lines: 0 };
        wait::until("a copy of all", || {
            let shipping = world.cli_json(&["status"])["shipping"].clone();
            shipping["lag_events"] == 0 && shipping["error"].is_null() && shipping["pid"].is_u64()
        });
        assert_eq!(running.breaches(), [], "while it runs");
        gateway.stop();
        let of_warden = "SELECT toString(journal_id) FROM gateway.events WHERE event = 'gateway.started'";
        let journal = running.store.ask(of_warden);
        let lines =
            running.store.ask(&format!("SELECT uniqExact(seq) FROM gateway.events WHERE journal_id = '{journal}'"));
        Self { journal, lines: lines.parse().unwrap(), ..running }
    }

    fn audit(&self, arguments: &[&str]) -> Said {
        let password = self.world.file("read-password", OPERATORS_PASSWORD);
        let config = self.world.directory().join("gateway.toml");
        let login = ["--config", config.to_str().unwrap(), "--user", "gateway_read", "--password-file"];
        self.world.cli(&[arguments, &login, &[password.to_str().unwrap()]].concat())
    }

    fn verdict(&self, more: &[&str]) -> Value {
        let said = self.audit(&[&["--json", "audit", "verify", "--copy"], more].concat());
        let verdict: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
        let sound = verdict["copy"]["breaches"] == Value::Array(Vec::new())
            && verdict["breaches"].as_array().is_none_or(Vec::is_empty);
        assert_eq!(said.status.success(), sound, "{said:?}");
        verdict
    }

    /// What is wrong with the copy: line and problem, of the warden's journal.
    fn breaches(&self) -> Vec<(u64, String)> {
        let verdict = self.verdict(&[]);
        let breaches = verdict["copy"]["breaches"].as_array().unwrap().clone();
        breaches
            .iter()
            .inspect(|breach| assert_eq!(breach["journal"], self.journal, "{breach}"))
            .map(|breach| (breach["seq"].as_u64().unwrap(), breach["problem"].as_str().unwrap().to_owned()))
            .collect()
    }

    fn segment(&self) -> PathBuf {
        self.world.directory().join("state/journal").join(&self.journal).join("000001.jsonl")
    }

    /// Somebody with all rights puts another line where this one was.
    fn replace(&self, seq: u64, from: &str, to: &str) {
        let of_line = format!("journal_id = '{}' AND seq = {seq}", self.journal);
        let before = self.store.ask(&format!("SELECT hex(line_hash) FROM gateway.events WHERE {of_line} LIMIT 1"));
        self.store.ask(&format!(
            "INSERT INTO gateway.events (time, host_id, journal_id, seq, event, line)
             SELECT time, host_id, journal_id, seq, event, replaceOne(line, '{from}', '{to}') FROM gateway.events
             WHERE {of_line} LIMIT 1"
        ));
        self.store.ask(&format!("DELETE FROM gateway.events WHERE {of_line} AND hex(line_hash) = '{before}'"));
    }

    fn remove(&self, which: &str) {
        self.store.ask(&format!("DELETE FROM gateway.events WHERE journal_id = '{}' AND {which}", self.journal));
    }
}

fn one(seq: u64, problem: &str) -> Vec<(u64, String)> {
    vec![(seq, problem.to_owned())]
}

#[test]
fn a_copy_that_is_one_is_sound_and_what_is_not_copied_yet_is_counted() {
    let world = World::new();
    let copied = Copied::new(&world);
    let verdict = copied.verdict(&[]);
    assert_eq!(verdict["copy"]["breaches"], Value::Array(Vec::new()));
    let journals = verdict["copy"]["journals"].as_array().unwrap();
    assert!(journals.len() >= 2, "warden and engine: {verdict}");
    let lines = fs::read_to_string(copied.segment()).unwrap().lines().count() as u64;
    let warden = journals.iter().find(|one| one["journal"] == copied.journal).unwrap();
    assert_eq!(warden["lines"].as_u64().unwrap() + warden["not_copied"].as_u64().unwrap(), lines);
    let said = copied.audit(&["audit", "verify", "--copy"]);
    assert!(said.out.contains("\ncopy sound: "), "{said:?}");
    // From elsewhere, by the copy alone.
    let host = verdict["copy"]["host"].as_str().unwrap();
    let alone = copied.verdict(&["--host", host]);
    assert!(alone.get("journals").is_none() && alone["copy"]["journals"][0]["not_copied"] == 0, "{alone}");
    // The login that only adds rows cannot compare them.
    let config = world.directory().join("gateway.toml");
    let said = world.cli(&["audit", "verify", "--copy", "--config", config.to_str().unwrap()]);
    assert!(!said.status.success() && said.err.contains("lacks a grant"), "{said:?}");
}

#[test]
fn a_line_that_is_another_one_in_the_copy_is_named() {
    let world = World::new();
    let copied = Copied::new(&world);
    copied.replace(3, "\"v\":1", "\"v\":2");
    assert_eq!(copied.breaches(), one(3, "line"));
    copied.replace(3, "\"v\":2", "\"v\":1");
    assert_eq!(copied.breaches(), []);
    // Well-formed, and nothing in the copy itself is wrong up to here: the journal tells.
    copied.replace(3, "\"seq\":3,\"kind\":\"", "\"seq\":3,\"kind\":\"x");
    assert_eq!(copied.breaches(), one(3, "row"));
    copied.replace(3, "\"kind\":\"x", "\"kind\":\"");
    copied.replace(3, "\"body\":{", "\"body\":{\"a\":1,");
    // A seal may end with that very line.
    assert!([one(3, "differs"), one(3, "sealed")].contains(&copied.breaches()));
    let host = copied.verdict(&[])["copy"]["host"].as_str().unwrap().to_owned();
    assert_eq!(copied.verdict(&["--host", &host])["copy"]["breaches"][0]["problem"], "prev", "by its own chain");
}

#[test]
fn lines_that_the_copy_lost_or_has_twice_are_named() {
    let world = World::new();
    let copied = Copied::new(&world);
    let host = copied.verdict(&[])["copy"]["host"].as_str().unwrap().to_owned();
    copied.store.ask(&format!(
        "INSERT INTO gateway.events (time, host_id, journal_id, seq, event, line)
         VALUES (now64(6), '{host}', '{}', 2, 'gap', 'forged')",
        copied.journal
    ));
    assert_eq!(copied.breaches(), one(2, "two"));
    copied.remove("line = 'forged'");
    assert_eq!(copied.breaches(), []);
    // Its end: the copy said that it has them.
    copied.remove(&format!("seq = {}", copied.lines));
    assert_eq!(copied.breaches(), one(copied.lines, "missing"));
    copied.remove("seq = 2");
    assert_eq!(copied.breaches(), one(3, "missing"));
    copied.remove("1");
    assert_eq!(copied.breaches(), one(copied.lines, "missing"));
}

#[test]
fn a_journal_that_was_cut_or_removed_here_is_told_by_its_copy() {
    let world = World::new();
    let copied = Copied::new(&world);
    let whole = fs::read_to_string(copied.segment()).unwrap();
    let cut: String = whole.lines().take(2).map(|line| format!("{line}\n")).collect();
    world.sh(&format!("chattr -a {0} 2>/dev/null || true; rm {0}", copied.segment().display()));
    fs::write(copied.segment(), &cut).unwrap();
    assert_eq!(copied.breaches(), one(3, "not_here"));
    // Written anew as far as it was copied, with other words.
    fs::write(copied.segment(), whole.replacen("\"body\":{", "\"body\":{\"a\":1,", 1)).unwrap();
    assert_eq!(copied.breaches(), one(1, "differs"));
    fs::remove_dir_all(copied.segment().parent().unwrap()).unwrap();
    assert_eq!(copied.breaches(), one(1, "not_here"));
}

#[test]
fn the_copy_answers_as_a_table_json_and_csv() {
    let world = World::new();
    let copied = Copied::new(&world);
    let sql =
        "SELECT event, count() AS n FROM gateway.events WHERE event LIKE 'gateway.st%' GROUP BY event ORDER BY event";
    let table = copied.audit(&["audit", "query", sql]);
    assert!(table.out.starts_with("event            n\n---------------  -\ngateway.started  1\n"), "{table:?}");
    let json = copied.audit(&["--json", "audit", "query", sql]);
    assert_eq!(serde_json::from_str::<Value>(json.out.lines().next().unwrap()).unwrap()["event"], "gateway.started");
    let csv = copied.audit(&["audit", "query", "--format", "csv", sql]);
    assert!(csv.out.starts_with("\"event\",\"n\"\n\"gateway.started\",1\n"), "{csv:?}");
    let played = copied.audit(&["audit", "query", "SELECT concat('a', char(27), '[2Jb') AS x"]);
    assert!(played.out.contains("a\\u{1b}[2Jb"), "{played:?}");
    let wrong = copied.audit(&["audit", "query", "SELEC 1"]);
    assert!(!wrong.status.success() && wrong.err.contains("Syntax error"), "{wrong:?}");
    let write = copied.audit(&["audit", "query", "DROP TABLE gateway.events"]);
    assert!(!write.status.success() && write.err.contains("ACCESS_DENIED"), "{write:?}");
}
