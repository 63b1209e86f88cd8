//! The timeline of a journal that is written here line by line, with times of our choice and texts as hostile as they come.

use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::audit::journal::TimelineError;
use crate::audit::journal::testing::Site;

const ENGINE: &str = "01989b5e-0000-7000-8000-000000000001";
const FIRST: &str = "01989b5e-7c3a-7c1d-9d0e-5f2b8a4c6d10";
const SECOND: &str = "01989b5e-7c3a-7c1d-9d0e-5f2b8a4c6d22";
const TICKET: &str = "01989b5f-0000-7000-8000-0000000000aa";

/// A journal in the making; the reader checks no chain, which is the matter of `verify`.
struct Notes {
    site: Site,
    text: String,
    seq: u64,
}

impl Notes {
    fn new() -> Self {
        let site = Site::new();
        let mut notes = Self { site, text: String::new(), seq: 0 };
        notes.add("00000000-0000-0000-0000-000000000000", 0, "journal.opened", &json!({}));
        notes
    }

    /// Writes a line this many microseconds after the first, and returns its number.
    fn add(&mut self, session: &str, micros: u64, kind: &str, body: &Value) -> u64 {
        self.seq += 1;
        let time = format!("2026-11-22T03:04:{:02}.{:06}Z", 5 + micros / 1_000_000, micros % 1_000_000);
        self.text += &format!(
            r#"{{"v":1,"journal":"{ENGINE}","session":"{session}","time":"{time}","seq":{},"kind":"{kind}","body":{body},"prev":"{:064}"}}"#,
            self.seq, 0
        );
        self.text.push('\n');
        self.seq
    }

    fn start(&mut self, session: &str, executable: &str) {
        let who = json!({ "attachment": "agents", "workload": "agents/report", "cgroup": "/agents.slice", "uid": 1000,
            "pid": 4242, "executable": executable });
        let destination = json!({ "address": "10.0.0.5", "port": 5432, "protocol": "postgres", "target": "shop",
            "environment": "production" });
        self.add(session, 0, "session.start", &json!({ "who": who, "destination": destination }));
    }

    fn statement(&mut self, session: &str, micros: u64, text: &str, decision: &Value) -> u64 {
        self.phase((session, micros), "query", text, decision)
    }

    fn phase(&mut self, (session, micros): (&str, u64), phase: &str, text: &str, decision: &Value) -> u64 {
        let mut decision = decision.clone();
        let more = json!({ "policy_set": "", "epoch": 1, "input": { "secret": "input" } });
        decision.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let body = json!({ "database": "shop", "login": "agent", "phase": phase, "command": "", "actions": [],
            "relations_read": [], "relations_written": [], "data_classes": [], "text": text, "parameters": [],
            "fingerprint": "", "decision": decision });
        self.add(session, micros, "postgres.statement", &body)
    }

    fn outcome(&mut self, session: &str, micros: u64, request: u64, outcome: &Value) {
        self.outcome_of("postgres.outcome", (session, micros), request, outcome);
    }

    fn outcome_of(&mut self, kind: &str, (session, micros): (&str, u64), request: u64, outcome: &Value) {
        let mut body = outcome.clone();
        body["request"] = request.into();
        self.add(session, micros, kind, &body);
    }

    fn ticket(&mut self, session: &str, micros: u64, request: u64) {
        let body = json!({ "ticket": TICKET, "request": request, "summary": "", "binding": "", "policies": ["careful"],
            "groups": ["local:approvers"], "needed": 1, "expires": "2026-11-22T04:04:05.000000Z" });
        self.add(session, micros, "approval.requested", &body);
    }

    fn vote(&mut self, session: &str, micros: u64) {
        let body =
            json!({ "ticket": TICKET, "verdict": "allow", "person": "root", "channel": "cli", "reason": "refund 7" });
        self.add(session, micros, "approval.decided", &body);
    }

    fn used(&mut self, session: &str, micros: u64) {
        self.add(session, micros, "approval.consumed", &json!({ "ticket": TICKET, "reason": "sent" }));
    }

    fn reader(&self) -> Reader {
        let path = self.site.layout.segment(ENGINE.parse().unwrap(), 1);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &self.text).unwrap();
        Reader::new(self.site.layout.clone())
    }

    fn page(&self, id: &str) -> String {
        Page::of(&self.reader().timeline(id).unwrap(), 80)
    }
}

fn allow() -> Value {
    json!({ "verdict": "allow", "policies": ["open.read"] })
}

fn hold() -> Value {
    json!({ "verdict": "hold", "policies": ["careful"], "message": "changes wait for a person" })
}

#[test]
fn a_request_of_kubernetes_is_told_with_what_came_of_it() {
    let mut notes = Notes::new();
    notes.start(FIRST, "/usr/bin/kubectl");
    let decision = json!({ "verdict": "allow", "policies": ["all"], "policy_set": "", "epoch": 1, "input": {} });
    let exec = json!({ "verb": "create", "actions": ["Kubernetes::exec"], "resource": "pods", "subresource": "exec",
        "namespace": "shop", "name": "web-0", "text": "POST /api/v1/…/exec?command=id", "stripped": ["impersonate-user"],
        "data_classes": [], "decision": decision });
    let request = notes.add(FIRST, 1_000, "kubernetes.request", &exec);
    let frames = json!({ "request": request, "frames": [
        { "at_us": 10, "stream": "out", "text": "uid=0\n" }, { "at_us": 20, "stream": "in", "bytes": 3 }] });
    notes.add(FIRST, 2_000, "kubernetes.frames", &frames);
    notes.outcome_of(
        "kubernetes.outcome",
        (FIRST, 3_000),
        request,
        &json!({ "status": "ok", "code": 101, "bytes": 9,
        "duration_us": 2_000, "exit_status": 3, "masked": { "card": 1 } }),
    );
    let page = notes.page(FIRST);
    for text in
        ["allow", "create pods/exec shop/web-0:", "left out: impersonate-user", "exit status 3 after", "masked: card 1"]
    {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("uid=0"), "the recording is played, not listed: {page}");
}

#[test]
fn tells_a_session_with_each_outcome_vote_and_end_where_it_belongs() {
    let mut notes = Notes::new();
    notes.start(FIRST, "/usr/bin/psql");
    notes.phase((FIRST, 1_000), "login", "", &json!({ "verdict": "allow", "policies": ["open.session"] }));
    let read = notes.statement(FIRST, 12_345, "SELECT name,\n  card FROM payments", &allow());
    // Another session's lines stand between, with a request of the same text.
    notes.start(SECOND, "/usr/bin/psql");
    notes.outcome(SECOND, 13_000, read, &json!({ "status": "lost", "duration_us": 1 }));
    let masked = json!({ "status": "ok", "rows_returned": 4, "duration_us": 2_150, "masked": { "card": 4 } });
    notes.outcome(FIRST, 14_500, read, &masked);
    let deny = json!({ "verdict": "deny", "policies": ["guard.postgres.destructive"],
        "message": "DROP and TRUNCATE are not for this workload" });
    notes.statement(FIRST, 20_000, "DROP TABLE payments", &deny);
    let update = notes.statement(FIRST, 30_000, "UPDATE payments SET amount = 0 WHERE id = 7", &hold());
    notes.ticket(FIRST, 31_000, update);
    notes.vote(FIRST, 1_530_000);
    notes.used(FIRST, 1_531_000);
    notes.outcome(FIRST, 1_533_000, update, &json!({ "status": "ok", "rows_affected": 1, "duration_us": 900 }));
    let wrong = notes.statement(FIRST, 1_600_000, "SELECT nothing", &allow());
    let failed = json!({ "status": "error", "sqlstate": "42703", "duration_us": 700 });
    notes.outcome(FIRST, 1_601_000, wrong, &failed);
    let end = json!({ "cause": "client", "duration_us": 2_000_000, "bytes_sent": 100, "bytes_received": 2000,
        "requests": 4, "denied": 1, "held": 1, "rows_returned": 4 });
    notes.add(FIRST, 2_000_000, "session.end", &end);
    let expected = r"session 01989b5e-7c3a-7c1d-9d0e-5f2b8a4c6d10
  start    2026-11-22T03:04:05.000000Z
  who      agents/report, attachment agents
  process  /usr/bin/psql, pid 4242, uid 1000
  cgroup   /agents.slice
  to       shop, production: postgres at 10.0.0.5, port 5432
  login    agent, database shop

    0.001  allow  log in as agent to shop
                    by open.session
    0.012  allow  SELECT name,
                    card FROM payments
                    by open.read
                    4 rows in 2.1 ms; masked: card 4
    0.020  DENY   DROP TABLE payments
                    by guard.postgres.destructive: DROP and TRUNCATE are not for
                    this workload
    0.030  HOLD   UPDATE payments SET amount = 0 WHERE id = 7
                    by careful: changes wait for a person
                    request 01989b5f-0000-7000-8000-0000000000aa, asked of
                    local:approvers
                    root approved it after 1.5 s, by cli: refund 7
                    sent, once, after 1.5 s
                    1 row changed in 900 µs
    1.600  allow  SELECT nothing
                    by open.read
                    the server refused it after 700 µs: SQLSTATE 42703
    2.000  end    the client closed
                    4 requests: 1 denied, 1 held; 4 rows; 100 bytes to the
                    server, 2000 back";
    assert_eq!(notes.page(FIRST), expected);
}

#[test]
fn an_approval_is_told_in_the_session_that_asked_and_in_the_one_that_used_it() {
    let mut notes = Notes::new();
    notes.start(FIRST, "/usr/bin/agent");
    let asked = notes.statement(FIRST, 1_000, "UPDATE t SET a = 1 WHERE b = 2", &hold());
    notes.ticket(FIRST, 2_000, asked);
    notes.vote(FIRST, 3_000_000);
    notes.start(SECOND, "/usr/bin/agent");
    let sent = notes.statement(SECOND, 4_000_000, "UPDATE t SET a = 1 WHERE b = 2", &hold());
    notes.used(SECOND, 4_001_000);
    notes.outcome(SECOND, 4_002_000, sent, &json!({ "status": "ok", "rows_affected": 1, "duration_us": 900 }));
    let (first, second) = (notes.page(FIRST), notes.page(SECOND));
    assert!(first.contains("root approved it after 2.9 s"), "{first}");
    assert!(first.contains("the approval was used in session") && first.contains(SECOND), "{first}");
    assert!(!first.contains("sent, once") && !first.contains("1 row changed"), "{first}");
    assert!(
        second.contains(TICKET) && second.contains("root approved it") && second.contains("sent, once"),
        "{second}"
    );
    assert!(second.contains("1 row changed"), "{second}");
}

#[test]
fn nothing_that_a_runtime_chose_plays_with_the_terminal() {
    let mut notes = Notes::new();
    notes.start(FIRST, "/tmp/\u{1b}]0;owned\u{7}\n  who      nobody");
    notes.statement(FIRST, 1_000, "SELECT '\u{1b}[2J\r\u{202e}x'\n    0.002  allow  SELECT 'forged'", &allow());
    notes.add(FIRST, 2_000, "ssh.line", &json!({ "text": "\u{9b}31m\u{2066}" }));
    let page = notes.page(FIRST);
    let plays = |c: char| c != '\n' && (c.is_control() || ('\u{200b}'..='\u{2069}').contains(&c));
    assert!(!page.contains(plays), "{page:?}");
    assert!(page.contains(r"/tmp/\u{1b}]0;owned\u{7}\u{a}  who"), "{page}");
    assert!(page.contains(r"SELECT '\u{1b}[2J\u{d}\u{202e}x'"), "{page}");
    let forged = page.lines().find(|line| line.contains("forged")).unwrap();
    assert!(forged.starts_with(&" ".repeat(18)), "a line of a text never begins in our columns: {forged:?}");
    assert!(page.contains(r"ssh.line"), "what is not known is shown all the same: {page}");
}

#[test]
fn no_line_is_wider_than_the_terminal_and_long_texts_are_cut_and_said() {
    let mut notes = Notes::new();
    notes.start(FIRST, &"x".repeat(300));
    notes.statement(FIRST, 1_000, &format!("SELECT {}\n{}", "a, ".repeat(100), "line\n".repeat(100)), &allow());
    let timeline = notes.reader().timeline(FIRST).unwrap();
    for width in [80, 100, 120] {
        let page = Page::of(&timeline, width);
        let longest = page.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(width), "{page}");
        assert!(page.contains("more lines: `gateway replay --json`"), "{page}");
        assert!(page.lines().count() < 50, "{page}");
    }
}

#[test]
fn a_statement_in_steps_is_told_once_and_a_running_session_says_so() {
    let mut notes = Notes::new();
    notes.start(FIRST, "/usr/bin/node");
    notes.phase((FIRST, 1_000), "parse", "SELECT $1", &allow());
    let run = notes.phase((FIRST, 2_000), "execute", "SELECT $1", &allow());
    let page = notes.page(FIRST);
    assert!(page.contains("allow  prepare: SELECT $1") && page.contains("allow  run it"), "{page}");
    assert!(page.contains("no outcome yet") && page.ends_with("open   it still runs"), "{page}");
    notes.outcome(FIRST, 3_000, run, &json!({ "status": "ok", "rows_returned": 1, "duration_us": 900 }));
    assert!(!notes.page(FIRST).contains("no outcome"));
    notes.add(
        "00000000-0000-0000-0000-000000000000",
        9_000,
        "engine.died",
        &json!({ "journal": ENGINE, "status": "9" }),
    );
    assert!(notes.page(FIRST).contains("LOST"));
}

#[test]
fn a_beginning_of_the_id_is_enough_where_only_one_has_it() {
    let mut notes = Notes::new();
    notes.start(FIRST, "/usr/bin/psql");
    notes.start(SECOND, "/usr/bin/psql");
    let reader = notes.reader();
    let find = |text: &str| reader.timeline(text).map(|timeline| timeline.summary.session.to_string());
    assert_eq!(find(&FIRST[..35].to_uppercase()).unwrap(), FIRST);
    let several = find("01989b5e").unwrap_err();
    assert!(matches!(several, TimelineError::Ambiguous { count: 2, .. }), "{several}");
    for text in ["", "01989b5f", "../../etc", "%"] {
        let none = find(text).unwrap_err().to_string();
        assert!(none.contains("`gateway sessions`"), "{none}");
    }
}

#[test]
fn json_has_every_record_once_and_no_decision_input() {
    let mut notes = Notes::new();
    notes.start(FIRST, "/usr/bin/psql");
    let asked = notes.statement(FIRST, 1_000, "UPDATE t SET a = 1 WHERE b = 2", &hold());
    notes.ticket(FIRST, 2_000, asked);
    notes.vote(FIRST, 3_000);
    notes.outcome(FIRST, 4_000, 999, &json!({ "status": "ok", "duration_us": 1 }));
    let value = serde_json::to_value(notes.reader().timeline(FIRST).unwrap()).unwrap();
    assert_eq!(value["session"], FIRST);
    assert_eq!(value["steps"].as_array().unwrap().len(), 3, "start, statement, and an outcome of no known request");
    let step = &value["steps"][1];
    assert_eq!((&step["kind"], &step["offset_us"]), (&json!("postgres.statement"), &json!(1_000)));
    assert_eq!(step["approval"].as_array().unwrap().len(), 2);
    assert!(!value.to_string().contains("secret"), "{value}");
}

#[test]
fn steps_are_rows_of_csv_whatever_their_texts_hold() {
    let mut notes = Notes::new();
    notes.start(FIRST, "/usr/bin/psql");
    let request = notes.statement(FIRST, 10, "SELECT \"a\", 'b'\nFROM c", &allow());
    notes.outcome(FIRST, 20, request, &json!({ "status": "ok", "rows_returned": 3, "duration_us": 900 }));
    notes.statement(FIRST, 30, "=cmd()", &json!({ "verdict": "deny", "policies": ["a", "b"] }));
    let csv = csv::csv(&notes.reader().timeline(FIRST).unwrap());
    let rows: Vec<&str> = csv.split("\r\n").collect();
    assert!(rows[0].starts_with("time,seq,kind,decision,policies,text,"));
    let select = rows.iter().find(|row| row.contains("SELECT")).unwrap();
    assert!(select.ends_with(",allow,open.read,\"SELECT \"\"a\"\", 'b'\nFROM c\",ok,3,,900"), "{select}");
    let computed = rows.iter().find(|row| row.contains("cmd")).unwrap();
    assert!(computed.ends_with(",deny,a b,'=cmd(),,,,"), "{computed}");
}

#[test]
fn the_beginning_of_a_long_session_is_how_the_whole_begins() {
    let beginning = |notes: &Notes| {
        let begun = notes.reader().beginning(FIRST.parse().unwrap()).unwrap().map(|begun| Page::beginning(&begun, 80));
        assert!(begun.as_ref().is_none_or(|begun| notes.page(FIRST).starts_with(begun)), "{begun:?}");
        begun.map(|begun| begun.lines().count())
    };
    // A statement in the middle waits for a person, is never answered, or all are.
    let long = |number: usize, decision: &Value, is_answered: bool, count: usize| {
        let mut notes = Notes::new();
        notes.start(FIRST, "/usr/bin/psql");
        for at in 0..count {
            let is_other = at == number;
            let decision = if is_other { decision } else { &allow() };
            let micros = 1_000 * at as u64;
            let request = notes.statement(FIRST, micros, &format!("SELECT {at}"), decision);
            if is_other && decision["verdict"] == "hold" {
                notes.ticket(FIRST, micros + 1, request);
            }
            if !is_other || is_answered {
                notes.outcome(FIRST, micros + 10, request, &json!({ "status": "ok", "rows": 1, "duration_us": 9 }));
            }
        }
        notes
    };
    let whole = long(1_000, &allow(), true, 700);
    assert!(beginning(&whole).unwrap() > 200);
    assert_eq!(whole.page(&FIRST.replace('-', "")), whole.page(FIRST), "in whatever form its id is written");
    for other in [long(50, &hold(), true, 700), long(50, &allow(), false, 700)] {
        assert!((140..170).contains(&beginning(&other).unwrap()), "{:?}", beginning(&other));
    }
    assert_eq!(beginning(&long(0, &hold(), true, 700)), None, "who logged in is not known before");
    assert_eq!(beginning(&long(1_000, &allow(), true, 20)), None, "a short one is there at once");
}
