//! Every kind of event becomes a row that has lost nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::block::testing::{events, sessions};
use super::super::fields::Shape;
use super::*;
use crate::audit::hex;
use crate::audit::journal::testing::{Site, start as session_start};
use crate::audit::{Durability, Event, event};
use crate::id::SessionId;

const SCHEMA: &str = include_str!("../0001_record.sql");
/// Columns that both tables got later.
const ADDED: &str = include_str!("../0002_pod.sql");
const ID: &str = "0191e5a0-0000-7000-8000-00000000000a";
const AT: &str = "2026-11-22T03:00:00.123456Z";

fn who() -> Value {
    json!({
        "attachment": "agents", "workload": "agents/claude", "workload_instance": "i1", "cgroup": "/agents.slice",
        "container": { "id": "c1", "image": "img", "pod_namespace": "ns", "pod_name": "pod", "pod_uid": "uid" },
        "uid": 1000, "pid": 7, "executable": "psql",
        "token": { "issuer": "iss", "subject": "sub", "expires": AT }, "groups": ["local:agents"],
    })
}

fn destination() -> Value {
    json!({
        "address": "10.0.0.5", "port": 5432, "protocol": "postgres", "target": "shop", "environment": "production",
        "name": "db.test",
    })
}

fn decision() -> Value {
    json!({
        "verdict": "deny", "policies": ["guard.x"], "policy_set": "abc", "epoch": 3, "message": "no", "ticket": ID,
        "grants": ["window"], "input": { "principal": "p", "context": { "has_where": false } },
    })
}

fn attachment() -> Value {
    json!({
        "attachment": "agents", "cgroup": "/agents.slice", "cgroup_id": 9, "enforcing": true, "mode": "observe",
        "processes": 4, "gaps": ["root_process"], "policy_set": "abc", "person": "root", "reason": "asked to",
    })
}

/// The same of calls, packets and questions for names.
fn network() -> [(&'static str, Value); 6] {
    [
        ("network.connect", json!({ "who": who(), "destination": destination(), "count": 3 })),
        ("network.refused", json!({ "who": who(), "destination": destination(), "reason": "not_tcp", "count": 3 })),
        (
            "dns.admitted",
            json!({ "attachment": "agents", "name": "api.example", "addresses": ["192.0.2.9"], "seconds": 60 }),
        ),
        (
            "dns.refused",
            json!({
                "who": who(), "destination": destination(), "question": "x.example", "record_type": "A",
                "reason": "not_allowed", "count": 3,
            }),
        ),
        (
            "network.bypass",
            json!({ "attachment": "agents", "dropped": { "x": 1 }, "refused": { "not_tcp": 2 }, "about": { "/run/x": 1 }, "since": AT }),
        ),
        ("network.decision", json!({ "destination": destination(), "decision": decision() })),
    ]
}

/// The same of SSH.
fn ssh() -> [(&'static str, Value); 4] {
    [
        (
            "ssh.request",
            json!({
                "login": "deploy", "phase": "exec", "channel": 2, "actions": ["Ssh::exec"], "text": "uptime", "pty": true,
                "decision": decision(),
            }),
        ),
        (
            "ssh.outcome",
            json!({
                "request": 4, "status": "ok", "exit_status": 7, "signal": "TERM", "bytes_sent": 1, "bytes_received": 2,
                "duration_us": 7, "held_us": 8, "masked": { "card": 2 },
            }),
        ),
        (
            "ssh.frames",
            json!({
                "request": 4,
                "frames": [
                    { "at_us": 1, "stream": "out", "text": "$ ", "hex": "ff", "bytes": 3, "size": [80, 24] },
                    { "at_us": 2, "stream": "in", "bytes": 1 },
                ],
            }),
        ),
        (
            "ssh.transfer",
            json!({
                "request": 4, "direction": "read", "path": "/etc/hosts", "bytes": 3, "sha256": "ab", "complete": true,
            }),
        ),
    ]
}

/// The same of Kubernetes.
fn kubernetes() -> [(&'static str, Value); 4] {
    [
        (
            "kubernetes.request",
            json!({
                "verb": "create", "actions": ["Kubernetes::exec"], "resource": "pods", "subresource": "exec",
                "namespace": "shop", "name": "web-0", "text": "POST /api/v1/namespaces/shop/pods/web-0/exec",
                "stripped": ["Impersonate-User"], "data_classes": ["secret"], "decision": decision(),
            }),
        ),
        (
            "kubernetes.outcome",
            json!({
                "request": 4, "status": "ok", "code": 200, "bytes": 3, "duration_us": 7, "masked": { "secret": 2 },
                "exit_status": 1, "reason": "cut", "request_body": "{}", "answer_body": "{}", "bodies_left_out": "a reason",
            }),
        ),
        ("kubernetes.preview", json!({ "request": 4, "text": "PUT /api/v1/namespaces/shop/pods/web-0?dryRun=All" })),
        (
            "kubernetes.frames",
            json!({
                "request": 4,
                "frames": [{ "at_us": 1, "stream": "out", "text": "$ ", "hex": "ff", "bytes": 3, "size": [80, 24] }],
            }),
        ),
    ]
}

/// The same of windows.
fn windows() -> [(&'static str, Value); 2] {
    [
        (
            "window.opened",
            json!({
                "window": ID, "name": "repair", "workload": "agents", "target": "shop", "person": "alice",
                "approvers": ["bob"], "reason": "why", "until": AT, "break_glass": false,
            }),
        ),
        (
            "window.closed",
            json!({
                "window": ID, "name": "repair", "workload": "agents", "target": "shop", "person": "alice", "reason": "why",
            }),
        ),
    ]
}

/// A full body of each kind, as the journal has it.
fn samples() -> BTreeMap<&'static str, Value> {
    let ended = json!({ "ticket": ID, "reason": "sent" });
    [
        (
            "journal.opened",
            json!({ "format": 1, "host": ID, "host_name": "h", "role": "engine", "product": "0.1", "previous": ID }),
        ),
        ("journal.sealed", json!({ "host": ID, "journal": ID, "seq": 4, "seal": 2, "hash": "ab" })),
        ("journal.broken", json!({ "journal": ID, "last_good": 4, "problem": "cut" })),
        ("gateway.started", json!({ "kernel": "6.1", "durability": "process", "accepted_gaps": ["x"] })),
        ("gateway.stopped", json!({ "reason": "asked to" })),
        ("engine.started", json!({ "pid": 5, "journal": ID })),
        ("engine.died", json!({ "journal": ID, "status": "signal: 9" })),
        ("attachment.attached", attachment()),
        ("attachment.heartbeat", attachment()),
        ("attachment.degraded", attachment()),
        ("attachment.repaired", attachment()),
        ("attachment.detached", attachment()),
        ("gap", json!({ "name": "root_process", "detail": "process 1", "attachment": "agents" })),
        ("session.start", json!({ "who": who(), "destination": destination(), "parent": ID, "mode": "enforce" })),
        (
            "session.end",
            json!({
                "cause": "client", "duration_us": 9, "bytes_sent": 1, "bytes_received": 2, "requests": 3, "denied": 1,
                "held": 1, "rows_returned": 5,
            }),
        ),
        (
            "postgres.statement",
            json!({
                "database": "shop", "login": "app", "phase": "query", "command": "SELECT", "actions": ["select"],
                "relations_read": ["public.orders"], "relations_written": ["public.log"], "data_classes": ["card"],
                "text": "SELECT 1", "parameters": ["1"], "fingerprint": "f1", "decision": decision(),
            }),
        ),
        (
            "postgres.outcome",
            json!({
                "request": 4, "status": "ok", "sqlstate": "42501", "rows_returned": 5, "rows_affected": 6,
                "duration_us": 7, "held_us": 8, "masked": { "card": 2 }, "shown": { "email": 1 },
                "results": [{ "columns": ["id"], "rows": [["1"], [null]], "more": 3 }], "results_left_out": "a reason",
            }),
        ),
        (
            "approval.requested",
            json!({
                "ticket": ID, "request": 4, "workload": "ci/job", "destination": "shop/app", "summary": "UPDATE", "changed": 40, "changes": ["spec.replicas: 3 → 0"], "binding": "b", "policies": ["p"], "groups": ["dba"],
                "needed": 1, "expires": AT,
            }),
        ),
        (
            "approval.decided",
            json!({
                "ticket": ID, "verdict": "allow", "person": "root", "uid": 1000, "groups": ["dba"], "channel": "cli",
                "known_by": "peer credentials", "reason": "fine",
            }),
        ),
        (
            "approval.filed",
            json!({ "ticket": ID, "system": "ops", "key": "OPS-12", "url": "https://t.example.com/browse/OPS-12" }),
        ),
        ("approval.consumed", ended.clone()),
        ("approval.expired", ended),
        ("policy.loaded", json!({ "policy_set": "abc", "epoch": 1, "source": "/p", "policies": 4, "disabled": ["x"] })),
        ("policy.rejected", json!({ "source": "/p", "faults": ["x"], "in_force": "abc" })),
        (
            "credential.used",
            json!({ "credential": "shop", "target": "shop", "login": "app", "server_identity": "verify-full db" }),
        ),
        ("token.verified", json!({ "attachment": "ci", "issuer": "iss", "subject": "sub", "expires": AT })),
        ("console.login", json!({ "person": "idp:alice", "issuer": "iss", "subject": "alice", "groups": ["idp:dba"] })),
        ("console.login_failed", json!({ "failed": { "token_refused": 2 } })),
        ("token.refused", json!({ "attachment": "ci", "reason": "it has expired" })),
    ]
    .into_iter()
    .chain(network())
    .chain(ssh())
    .chain(kubernetes())
    .chain(windows())
    .chain(targets())
    .collect()
}

fn targets() -> [(&'static str, Value); 2] {
    [
        (
            "target.checked",
            json!({
                "target": "shop", "login": "app", "server_identity": "verify-full db", "person": "root",
                "beyond": ["superuser"], "permitted": ["insert"], "error": "lost",
            }),
        ),
        (
            "attachment.tested",
            json!({
                "attachment": "ci", "person": "root", "pids": [7], "passed": ["capture/caught"],
                "failed": ["shop/permits"], "skipped": ["shop/denies"],
            }),
        ),
    ]
}

fn origin() -> Origin {
    Origin { host: ID.parse().unwrap(), host_name: "db-7".into() }
}

fn line(kind: &str, body: &Value) -> String {
    let zeros = "0".repeat(64);
    format!(
        r#"{{"v":1,"journal":"{ID}","session":"{ID}","time":"{AT}","seq":5,"kind":"{kind}","body":{body},"prev":"{zeros}"}}"#
    )
}

fn push(text: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.push(&origin(), ID.parse().unwrap(), Seq(5), text);
    batch
}

/// What a decision was made from has no column, and stands in the line alone.
fn without_input(mut body: Value) -> Value {
    if let Some(decision) = body.get_mut("decision").and_then(Value::as_object_mut) {
        decision.remove("input");
    }
    body
}

/// Every value at the ends of a tree, in any order and in the spelling of columns.
fn leaves(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.values().for_each(|field| leaves(field, found)),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, found)),
        Value::String(text) if text == AT => found.push("2026-11-22 03:00:00.123456".into()),
        Value::String(text) if text == "10.0.0.5" => found.push("::ffff:10.0.0.5".into()),
        Value::String(text) => found.push(text.clone()),
        other => found.push(other.to_string()),
    }
}

#[test]
fn every_kind_has_a_sample() {
    let kinds: BTreeSet<_> = Event::KINDS.iter().copied().collect();
    assert_eq!(samples().into_keys().collect::<BTreeSet<_>>(), kinds);
}

#[test]
fn every_sample_has_every_field() {
    fn complete<T: Serialize + DeserializeOwned>(kinds: &[&str]) {
        for kind in kinds {
            let sample = samples().remove(kind).unwrap();
            let typed: T = serde_json::from_value(sample.clone()).unwrap();
            assert_eq!(serde_json::to_value(typed).unwrap(), sample, "{kind}");
        }
    }
    complete::<event::JournalOpened>(&["journal.opened"]);
    complete::<event::JournalSealed>(&["journal.sealed"]);
    complete::<event::JournalBroken>(&["journal.broken"]);
    complete::<event::GatewayStarted>(&["gateway.started"]);
    complete::<event::Reason>(&["gateway.stopped"]);
    complete::<event::EngineStarted>(&["engine.started"]);
    complete::<event::EngineDied>(&["engine.died"]);
    complete::<event::Attachment>(&["attachment.attached", "attachment.heartbeat", "attachment.degraded"]);
    complete::<event::Attachment>(&["attachment.repaired", "attachment.detached"]);
    complete::<event::Gap>(&["gap"]);
    complete::<event::NetworkConnect>(&["network.connect"]);
    complete::<event::NetworkRefused>(&["network.refused"]);
    complete::<event::DnsAdmitted>(&["dns.admitted"]);
    complete::<event::DnsRefused>(&["dns.refused"]);
    complete::<event::NetworkBypass>(&["network.bypass"]);
    complete::<event::NetworkDecision>(&["network.decision"]);
    complete::<event::SessionStart>(&["session.start"]);
    complete::<event::SessionEnd>(&["session.end"]);
    complete::<event::PostgresStatement>(&["postgres.statement"]);
    complete::<event::PostgresOutcome>(&["postgres.outcome"]);
    complete::<event::SshRequest>(&["ssh.request"]);
    complete::<event::SshOutcome>(&["ssh.outcome"]);
    complete::<event::SshFrames>(&["ssh.frames"]);
    complete::<event::SshTransfer>(&["ssh.transfer"]);
    complete::<event::KubernetesRequest>(&["kubernetes.request"]);
    complete::<event::KubernetesOutcome>(&["kubernetes.outcome"]);
    complete::<event::KubernetesPreview>(&["kubernetes.preview"]);
    complete::<event::KubernetesFrames>(&["kubernetes.frames"]);
    complete::<event::ApprovalRequested>(&["approval.requested"]);
    complete::<event::ApprovalFiled>(&["approval.filed"]);
    complete::<event::ApprovalDecided>(&["approval.decided"]);
    complete::<event::ApprovalEnded>(&["approval.consumed", "approval.expired"]);
    complete::<event::WindowOpened>(&["window.opened"]);
    complete::<event::WindowClosed>(&["window.closed"]);
    complete::<event::PolicyLoaded>(&["policy.loaded"]);
    complete::<event::PolicyRejected>(&["policy.rejected"]);
    complete::<event::CredentialUsed>(&["credential.used"]);
    complete::<event::TargetChecked>(&["target.checked"]);
    complete::<event::AttachmentTested>(&["attachment.tested"]);
    complete::<event::TokenVerified>(&["token.verified"]);
    complete::<event::TokenRefused>(&["token.refused"]);
    complete::<event::ConsoleLogin>(&["console.login"]);
    complete::<event::ConsoleLoginFailed>(&["console.login_failed"]);
}

#[test]
fn every_field_of_every_kind_lands_in_a_column_or_in_the_facts() {
    let fixed = ["time", "host_id", "host_name", "journal_id", "seq", "event", "session_id", "line"];
    for (kind, body) in samples() {
        let batch = push(line(kind, &body).as_bytes());
        let mut row = events(batch).remove(0);
        assert_eq!(row["event"], kind);
        assert_eq!(row["line"], line(kind, &body));
        for name in fixed {
            assert!(row.as_object_mut().unwrap().remove(name).is_some(), "{kind}: {name}");
        }
        let (mut there, mut wanted) = (Vec::new(), Vec::new());
        leaves(&row, &mut there);
        leaves(&without_input(body), &mut wanted);
        // Times that have no column stay as they are, which `leaves` reads alike.
        there.sort();
        wanted.sort();
        assert_eq!(there, wanted, "{kind}");
    }
}

#[test]
fn session_lines_stand_in_their_table_with_all_of_their_fields() {
    for (kind, body) in samples() {
        let batch = push(line(kind, &body).as_bytes());
        let sessions = sessions(batch);
        assert_eq!(sessions.len(), usize::from(kind.starts_with("session.")), "{kind}");
        for row in sessions {
            let (mut there, mut wanted) = (Vec::new(), Vec::new());
            leaves(&row, &mut there);
            leaves(&body, &mut wanted);
            wanted.retain(|value| !there.contains(value));
            assert_eq!(wanted, Vec::<String>::new(), "{kind}");
        }
    }
}

#[test]
fn every_column_is_in_the_schema_with_a_type_that_takes_it() {
    let (events, sessions) = SCHEMA.split_once("CREATE TABLE IF NOT EXISTS sessions").unwrap();
    let sessions = sessions.split("CREATE VIEW IF NOT EXISTS").next().unwrap();
    let fits = |shape: Shape, kind: &str| match shape {
        Shape::Text => kind.starts_with("LowCardinality(String)") || kind.starts_with("String"),
        Shape::Texts => kind.starts_with("Array("),
        Shape::Number => kind.starts_with("UInt"),
        Shape::Counts => kind.starts_with("Map("),
        Shape::Time => kind.starts_with("Nullable(DateTime64(6") || kind.starts_with("DateTime64(6"),
        Shape::Id => kind.starts_with("UUID"),
        Shape::Address => kind.starts_with("IPv6"),
    };
    let check = |table: &str, fields: &[Field]| {
        for (_, column, shape) in fields {
            let column = format!("    {column} ");
            let found =
                table.lines().chain(ADDED.lines()).find_map(|line| line.strip_prefix(&column)).map(str::trim_start);
            assert!(found.is_some_and(|kind| fits(*shape, kind)), "{column}: {found:?}");
        }
    };
    for kind in Event::KINDS {
        of_event(kind).iter().for_each(|fields| check(events, fields));
        of_session(kind).iter().for_each(|fields| check(sessions, fields));
    }
}

#[test]
fn a_line_as_the_writer_makes_it_becomes_a_row_with_its_own_bytes() {
    let site = Site::new();
    let journal = site.journal(None, Durability::Process);
    let session = SessionId::generate();
    journal.append(Some(session), &Event::SessionStart(Box::new(session_start()))).unwrap();
    let text = std::fs::read(site.segment(&journal)).unwrap();
    let second = text.split(|byte| *byte == b'\n').nth(1).unwrap();
    let mut batch = Batch::default();
    batch.push(&origin(), journal.id(), Seq(2), second);
    let row = events(batch).remove(0);
    assert_eq!(row["session_id"], session.to_string());
    assert_eq!(row["line"].as_str().unwrap().as_bytes(), second);
    assert_eq!(hex::encode(&crate::audit::journal::hash_of(row["line"].as_str().unwrap().as_bytes())).len(), 64);
}

#[test]
fn what_does_not_fit_its_column_and_what_nobody_knows_stays_in_the_facts() {
    let body =
        json!({ "request": -1, "status": ["x"], "masked": { "card": "many" }, "sqlstate": null, "new": { "a": 1 } });
    let row = events(push(line("postgres.outcome", &body).as_bytes())).remove(0);
    assert_eq!(row["facts"], body);
    let row = events(push(line("later.kind", &json!({ "a": [1] })).as_bytes())).remove(0);
    assert_eq!((&row["event"], &row["facts"]), (&json!("later.kind"), &json!({ "a": [1] })));
    let row = events(push(line("later.kind", &json!([1])).as_bytes())).remove(0);
    assert_eq!(row["facts"], json!({ "body": [1] }));
}

#[test]
fn bytes_that_are_no_line_become_a_row_in_the_place_of_one() {
    let good = line("gap", &json!({}));
    let other_number = good.replace("\"seq\":5", "\"seq\":6");
    for text in
        [&b"\xff\xfe{}"[..], b"", &good.as_bytes()[..80], other_number.as_bytes(), good.replace("{}", "{").as_bytes()]
    {
        let batch = push(text);
        assert_eq!((batch.lines(), batch.bytes()), (1, text.len()));
        let row = events(batch).remove(0);
        assert_eq!((&row["event"], &row["seq"]), (&json!("unreadable"), &json!(5)));
        assert_eq!(row.get("line").and_then(Value::as_str).unwrap_or_default(), String::from_utf8_lossy(text));
        assert_eq!(sessions(push(text)), Vec::<Value>::new());
    }
}

#[test]
fn rows_of_every_kind_stand_beside_each_other_with_their_own_values() {
    let mut batch = Batch::default();
    let (mut alone, samples) = (Vec::new(), samples());
    for (kind, body) in samples.iter().chain(samples.iter().rev()) {
        let line = line(kind, body);
        batch.push(&origin(), ID.parse().unwrap(), Seq(5), line.as_bytes());
        alone.append(&mut events(push(line.as_bytes())));
    }
    assert_eq!(batch.lines(), alone.len());
    assert_eq!(events(batch), alone);
}

#[test]
fn what_no_json_of_the_server_would_take_is_unreadable_even_where_it_is_left_out() {
    for hostile in ["1e999", "\"\\ud800\"", &format!("{}1{}", "[".repeat(2_000), "]".repeat(2_000))] {
        let body = format!("{{\"x\":{hostile}}}");
        let text = line("gap", &json!({})).replace("{}", &body);
        assert_eq!(events(push(text.as_bytes())).remove(0)["event"], "unreadable", "{hostile}");
    }
    let text = line("gap", &json!({})).replace("{}", "{\"decision\":{\"input\":[\"\\ud800\"],\"more\":1}}");
    let row = events(push(text.as_bytes())).remove(0);
    assert_eq!((&row["event"], &row["facts"]), (&json!("gap"), &json!({ "decision": { "more": 1 } })));
}
