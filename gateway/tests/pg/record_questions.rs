//! What the documented questions answer of a record that is known line by line, copied from the journal by the gateway into a
//! real ClickHouse.

use std::fmt::Write;
use std::fs;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::clickhouse::{ClickHouse, OPERATORS_PASSWORD, questions};
use crate::wait;
use crate::world::World;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A journal of a gateway that ran before, written by hand: each line a known time ago.
struct Record {
    journal: ::gateway::id::JournalId,
    now: i64,
    text: String,
    prev: String,
    seq: u64,
}

impl Record {
    fn new() -> Self {
        let journal = ::gateway::id::JournalId::generate();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let prev = "0".repeat(64);
        let mut record = Self { journal, now: now.try_into().unwrap(), text: String::new(), prev, seq: 0 };
        let host = ::gateway::id::HostId::generate();
        let body = json!({ "format": 1, "host": host, "host_name": "h", "role": "engine", "product": "0.1", "previous": null });
        record.line(60 * DAY, None, "journal.opened", &body);
        record
    }

    fn line(&mut self, ago: i64, session: Option<&str>, kind: &str, body: &Value) -> u64 {
        self.seq += 1;
        let micros = (self.now - ago) * 1_000_000 + i64::try_from(self.seq).unwrap();
        let time = ::gateway::audit::Timestamp::from_micros(micros.try_into().unwrap());
        let session = session.unwrap_or("00000000-0000-0000-0000-000000000000");
        let (journal, seq, prev) = (self.journal, self.seq, &self.prev);
        let line = format!(
            r#"{{"v":1,"journal":"{journal}","session":"{session}","time":"{time}","seq":{seq},"kind":"{kind}","body":{body},"prev":"{prev}"}}"#
        );
        self.prev = digest(&SHA256, line.as_bytes()).as_ref().iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        writeln!(self.text, "{line}").unwrap();
        self.seq
    }

    fn session(&mut self, ago: i64, workload: &str, (protocol, target, port): (&str, &str, u16)) -> String {
        let id = ::gateway::id::SessionId::generate().to_string();
        let who = json!({ "attachment": "agents", "workload": workload, "executable": format!("/bin/{protocol}") });
        let destination =
            json!({ "address": "10.0.0.5", "port": port, "protocol": protocol, "target": target, "name": target });
        self.line(
            ago,
            Some(&id),
            "session.start",
            &json!({ "who": who, "destination": destination, "mode": "enforce" }),
        );
        id
    }

    /// A statement; `asked` are actions and resolved relations.
    fn statement(
        &mut self,
        (ago, session): (i64, &str),
        text: &str,
        asked: &[(&str, &str)],
        decision: (&str, &[&str]),
    ) -> u64 {
        let questions: Vec<Value> = asked
            .iter()
            .map(|(action, relation)| {
                json!({
                    "action": format!("Postgres::{action}"),
                    "resource": { "type": "Postgres::Relation", "id": format!("shop/app/{relation}"), "in": [] },
                    "context": { "command": "SELECT", "columns": ["id"] },
                })
            })
            .collect();
        let body = json!({
            "database": "app", "login": "app", "phase": "query", "command": "SELECT", "actions": ["Postgres::select"],
            "relations_read": [], "relations_written": [], "data_classes": [], "text": text, "parameters": [],
            "fingerprint": "f", "decision": decided(decision, &questions),
        });
        self.line(ago, Some(session), "postgres.statement", &body)
    }

    fn outcome(&mut self, (ago, session): (i64, &str), request: u64, rows: u64, (masked, shown): (&Value, &Value)) {
        let body = json!({
            "request": request, "status": "ok", "rows_returned": rows, "duration_us": 900, "masked": masked, "shown": shown,
        });
        self.line(ago, Some(session), "postgres.outcome", &body);
    }

    fn command(&mut self, (ago, session): (i64, &str), text: &str, program: &str, decision: (&str, &[&str])) {
        let question = json!({
            "action": "Ssh::exec", "resource": { "type": "Ssh::Account", "id": "web/deploy", "in": [] },
            "context": { "command": { "program": program, "options": [] } },
        });
        let body = json!({
            "login": "deploy", "phase": "exec", "actions": ["Ssh::exec"], "text": text,
            "decision": decided(decision, &[question]),
        });
        self.line(ago, Some(session), "ssh.request", &body);
    }

    fn held(&mut self, ago: i64, session: &str, request: u64, vote: Option<(&str, i64)>) {
        let ticket = ::gateway::id::SessionId::generate().to_string();
        let requested = json!({
            "ticket": ticket, "request": request, "summary": "UPDATE", "binding": "b", "policies": ["held"],
            "groups": ["dba"], "needed": 1, "expires": "2026-11-22T03:00:00.123456Z",
        });
        self.line(ago, Some(session), "approval.requested", &requested);
        let Some((person, after)) = vote else {
            self.line(ago - HOUR, Some(session), "approval.expired", &json!({ "ticket": ticket, "reason": "timeout" }));
            return;
        };
        let decided =
            json!({ "ticket": ticket, "verdict": "allow", "person": person, "channel": "cli", "groups": ["dba"] });
        self.line(ago - after, None, "approval.decided", &decided);
        self.line(ago - after, Some(session), "approval.consumed", &json!({ "ticket": ticket, "reason": "sent" }));
    }
}

fn decided((verdict, policies): (&str, &[&str]), questions: &[Value]) -> Value {
    json!({
        "verdict": verdict, "policies": policies, "policy_set": "1", "epoch": 1,
        "input": { "principal": { "type": "Workload", "id": "w" }, "questions": questions },
    })
}

const ALLOW: (&str, &[&str]) = ("allow", &["open"]);

/// Two workloads for a month; what is unusual happened within the last hours.
fn month() -> Record {
    let mut record = Record::new();
    let none = json!({});
    let report = record.session(40 * DAY, "report", ("postgres", "shop", 5432));
    let build = record.session(40 * DAY, "build", ("ssh", "web", 22));
    for day in (2..=11).rev() {
        for hour in 0..3 {
            let ago = day * DAY + hour * 2 * HOUR;
            let request =
                record.statement((ago, &report), "SELECT * FROM orders", &[("select", "public.orders")], ALLOW);
            record.outcome((ago, &report), request, 100, (&none, &none));
        }
        record.command((day * DAY, &build), "ls -l", "ls", ALLOW);
    }
    let cards = [("select", "public.customers_v"), ("select", "public.customers")];
    let request = record.statement((2 * MINUTE, &report), "SELECT card FROM customers_v", &cards, ALLOW);
    record.outcome(
        (2 * MINUTE, &report),
        request,
        5000,
        (&json!({ "card": 4990 }), &json!({ "card": 10, "email": 1 })),
    );
    let both = [("select", "public.customers"), ("update", "public.customers")];
    let update = record.statement((2 * HOUR, &report), "UPDATE customers SET a = 1", &both, ("hold", &["held"]));
    record.held(2 * HOUR, &report, update, Some(("alice", 4)));
    record.held(3 * HOUR, &report, update, Some(("alice", 90)));
    record.held(4 * HOUR, &report, update, Some(("bob", 600)));
    record.held(5 * HOUR, &report, update, None);
    let destructive: (&str, &[&str]) = ("deny", &["guard.postgres.destructive"]);
    record.statement((9 * DAY, &report), "DROP TABLE old", &[("drop_table", "public.old")], destructive);
    record.statement((6 * DAY, &report), "DROP TABLE customers", &[("drop_table", "public.customers")], destructive);
    record.statement((5 * DAY, &report), "TRUNCATE orders", &[("truncate", "public.orders")], destructive);
    record.command((HOUR, &build), "ls /etc", "ls", ALLOW);
    record.command((HOUR, &build), "nc 10.0.0.9 80", "nc", ALLOW);
    record.command((HOUR, &build), "sudo reboot", "reboot", ("deny", &[]));
    for (ago, session, credential) in [(3 * DAY, &report, "shop"), (HOUR, &report, "shop"), (HOUR, &build, "web")] {
        let body =
            json!({ "credential": credential, "target": "t", "login": "app", "server_identity": "verify-full db" });
        record.line(ago, Some(session), "credential.used", &body);
    }
    let connect = json!({
        "who": { "attachment": "agents", "workload": "build" }, "count": 1,
        "destination": { "address": "192.0.2.7", "port": 443, "protocol": "tcp", "name": "paste.example" },
    });
    record.line(HOUR, None, "network.connect", &connect);
    record
}

#[test]
fn each_documented_question_is_answered_rightly() {
    let world = World::new();
    let record = month();
    let folder = world.directory().join("state/journal").join(record.journal.to_string());
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("000001.jsonl"), &record.text).unwrap();
    let store = ClickHouse::migrated(&world);
    let file = world.file("gateway.toml", &format!("version = 1\n{}", store.section()));
    let _gateway = world.attach(&["--config", file.to_str().unwrap()]);
    wait::until("a copy of all", || {
        let shipping = world.cli_json(&["status"])["shipping"].clone();
        shipping["lag_events"] == 0 && shipping["error"].is_null() && shipping["pid"].is_u64()
    });
    let verified = world.cli(&["audit", "verify"]);
    assert!(verified.status.success(), "the record itself is one: {verified:?}");
    let ask = |view: &str, columns: &str| {
        let from = format!("FROM gateway.{view}");
        let asks = |question: &String| {
            question.split_once(&from).is_some_and(|(_, rest)| rest.starts_with(char::is_whitespace))
        };
        let asked = questions().into_iter().find(asks).unwrap_or_else(|| panic!("nothing is asked of {view}"));
        let only = format!("SELECT {columns} FROM ({})", asked.trim_end_matches(';'));
        let answer = store.try_ask("gateway_read", OPERATORS_PASSWORD, &format!("{only} FORMAT TSV")).unwrap();
        // What this test's own connects were told.
        let rows: Vec<&str> = answer.lines().filter(|row| !row.contains("guard.network.unread")).collect();
        rows.join("\n")
    };
    assert_eq!(ask("touched", "workload, reads, writes"), "report\t2\t1");
    assert_eq!(
        ask("refused", "policy, times, workloads, latest"),
        "guard.postgres.destructive\t2\t1\tTRUNCATE orders\n(no permit)\t1\t1\tsudo reboot"
    );
    assert_eq!(ask("credential_use", "workload, process_executable, login, sessions"), "report\t/bin/postgres\tapp\t2");
    assert_eq!(
        ask("vote", "who, requests, approved, median_seconds, under_ten_seconds"),
        "alice\t2\t2\t90\t1\n(nobody)\t1\t0\t\\N\t0\nbob\t1\t1\t600\t0"
    );
    assert_eq!(ask("exposure", "workload, rows, hidden, in_clear"), "report\t5000\t4990\t10");
    assert_eq!(
        ask("first_use", "workload, kind, thing, times"),
        "build\tcommand\tnc\t1\nbuild\thost\tpaste.example:443\t1\nreport\trelation\tshop/app/public.customers\t2\n\
         report\trelation\tshop/app/public.customers_v\t1"
    );
    assert_eq!(ask("volume", "workload, rows, usual_rows"), "report\t5000\t100");
    // The operator's own way to ask.
    let password = world.file("read-password", OPERATORS_PASSWORD);
    let asked = questions().into_iter().find(|question| question.contains("gateway.volume")).unwrap();
    let login = ["--config", file.to_str().unwrap(), "--user", "gateway_read", "--password-file"];
    let arguments =
        [&["audit", "query", "--format", "csv", &asked][..], &login, &[password.to_str().unwrap()]].concat();
    let said = world.cli(&arguments);
    assert_eq!(said.out, "\"workload\",\"rows\",\"usual_rows\"\n\"report\",5000,100\n", "{said:?}");
}
