//! Events of the Open Cybersecurity Schema Framework (OCSF 1.3.0, schema.ocsf.io).
//!
//! In: an event. Out: one of the class that fits it best, with what the class has attributes for; all of it besides stands in
//! `unmapped`, so that nothing is lost in translation.

use serde_json::{Map, Value, json};

use super::{Event, Severity};
use crate::audit::clickhouse::Origin;

/// A class, its category, and what was done in its words.
struct Class {
    category: u32,
    class: u32,
    activity: u32,
}

/// One event.
pub(super) fn event(origin: &Origin, event: &Event) -> Value {
    let Class { category, class, activity } = class(event);
    let severity = match event.severity() {
        Severity::Informational => 1,
        Severity::Warning => 3,
        Severity::Error => 4,
    };
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            out.insert(key.to_owned(), value);
        }
    };
    put("category_uid", category.into());
    put("class_uid", class.into());
    put("activity_id", activity.into());
    put("type_uid", (class * 100 + activity).into());
    put("severity_id", severity.into());
    put("time", (event.time.as_micros() / 1_000).into());
    put(
        "metadata",
        json!({
            "version": "1.3.0",
            "product": { "name": "gateway", "vendor_name": "gateway", "version": env!("CARGO_PKG_VERSION") },
            "uid": format!("{}:{}", event.journal, event.seq.0),
            "log_name": event.kind,
            "correlation_uid": event.session,
            "profiles": ["host", "security_control"],
        }),
    );
    put("device", json!({ "type_id": 0, "uid": origin.host, "hostname": origin.host_name }));
    put("actor", actor(event));
    put("dst_endpoint", destination(event));
    let said = ["/text", "/command", "/summary", "/uri", "/reason", "/detail"].iter().find_map(|path| event.text(path));
    put("message", said.into());
    if let Some((action, disposition)) = disposition(event) {
        put("action_id", action.into());
        put("disposition_id", disposition.into());
    }
    put("unmapped", event.body.clone());
    Value::Object(out)
}

fn class(event: &Event) -> Class {
    let of = |category, class, activity| Class { category, class, activity };
    let verb = || match event.text("/verb") {
        Some("create") => 1,
        Some("get" | "list" | "watch") => 2,
        Some("update" | "patch") => 3,
        Some("delete" | "deletecollection") => 4,
        _ => 99,
    };
    match event.kind.as_str() {
        "session.start" => of(4, 4001, 1),
        "session.end" => of(4, 4001, 2),
        "network.refused" | "network.bypass" => of(4, 4001, 5),
        kind if kind.starts_with("network.") => of(4, 4001, 6),
        kind if kind.starts_with("dns.") => of(4, 4003, 1),
        kind if kind.starts_with("ssh.") => of(4, 4007, 6),
        kind if kind.starts_with("postgres.") => of(6, 6005, 4),
        kind if kind.starts_with("kubernetes.") => of(6, 6003, verb()),
        "console.login" | "console.login_failed" | "token.verified" | "token.refused" => of(3, 3002, 1),
        "gap" | "engine.died" | "policy.rejected" => of(2, 2004, 1),
        // A class of its own for what is of the gateway itself: the base event.
        _ => of(0, 0, 99),
    }
}

/// Action and disposition of the profile `security_control`.
fn disposition(event: &Event) -> Option<(u32, u32)> {
    match event.verdict()? {
        "allow" => Some((1, 1)),
        "deny" => Some((2, 2)),
        // Held: denied for now. Observed: allowed, and logged.
        "hold" => Some((2, 99)),
        "would_deny" | "would_hold" => Some((1, 17)),
        _ => None,
    }
}

fn actor(event: &Event) -> Value {
    let who = event.body.get("who").unwrap_or(&event.body);
    let text = |path: &str| who.pointer(path).cloned().unwrap_or(Value::Null);
    let process = json!({ "pid": text("/pid"), "file": { "path": text("/executable"), "type_id": 1 }, "user": { "uid": uid(who) } });
    match (who.get("pid"), event.text("/person"), event.text("/workload")) {
        (Some(_), ..) => json!({ "process": process, "app_name": text("/workload") }),
        (None, Some(person), _) => json!({ "user": { "name": person } }),
        (None, None, Some(workload)) => json!({ "app_name": workload }),
        (None, None, None) => Value::Null,
    }
}

/// The attribute is a text there.
fn uid(who: &Value) -> Value {
    who.get("uid").and_then(Value::as_u64).map_or(Value::Null, |uid| uid.to_string().into())
}

fn destination(event: &Event) -> Value {
    let Some(destination) = event.body.get("destination").filter(|found| found.is_object()) else { return Value::Null };
    let text = |key: &str| destination.get(key).cloned().unwrap_or(Value::Null);
    json!({ "ip": text("address"), "port": text("port"), "svc_name": text("protocol"), "name": text("target") })
}
