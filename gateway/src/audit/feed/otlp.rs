//! Events as logs of OpenTelemetry, in JSON (OTLP 1.5, "JSON Protobuf Encoding"; data model of logs).

use serde_json::{Value, json};

use super::{Event, Severity};
use crate::audit::clickhouse::Origin;

/// One `ExportLogsServiceRequest`.
pub(super) fn request(origin: &Origin, events: &[Event]) -> Value {
    let resource = [
        attribute("service.name", "gateway"),
        attribute("service.version", env!("CARGO_PKG_VERSION")),
        attribute("host.id", &origin.host.to_string()),
        attribute("host.name", &origin.host_name),
    ];
    let records: Vec<Value> = events.iter().map(record).collect();
    json!({ "resourceLogs": [{
        "resource": { "attributes": resource },
        "scopeLogs": [{ "scope": { "name": "gateway", "version": env!("CARGO_PKG_VERSION") }, "logRecords": records }],
    }] })
}

fn record(event: &Event) -> Value {
    let (number, name) = match event.severity() {
        Severity::Informational => (9, "INFO"),
        Severity::Warning => (13, "WARN"),
        Severity::Error => (17, "ERROR"),
    };
    let mut attributes = vec![
        attribute("event.name", &event.kind),
        attribute("gateway.journal", &event.journal.to_string()),
        attribute("gateway.seq", &event.seq.0.to_string()),
    ];
    attributes.extend(event.session.map(|session| attribute("session.id", &session.to_string())));
    attributes.extend(event.verdict().map(|verdict| attribute("gateway.verdict", verdict)));
    json!({
        // 64-bit numbers are texts there.
        "timeUnixNano": format!("{}000", event.time.as_micros()),
        "severityNumber": number,
        "severityText": name,
        "eventName": event.kind,
        "body": { "stringValue": event.body.to_string() },
        "attributes": attributes,
    })
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}
