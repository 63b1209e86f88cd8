//! A session as CSV (RFC 4180), a line for each step, for spreadsheets and scripts.
//!
//! In: a timeline. Out: what each step was and what came of it, as it was kept. A cell that a spreadsheet would compute gets a
//! `'` before it. It shows nothing that the timeline has not.

use serde_json::Value;

use crate::audit::journal::{Record, Step, Timeline};

const HEAD: &str = "time,seq,kind,decision,policies,text,status,rows_returned,rows_affected,duration_us\r\n";

pub(super) fn csv(timeline: &Timeline) -> String {
    timeline.steps.iter().fold(HEAD.to_owned(), |text, step| text + &row(step))
}

fn row(step: &Step) -> String {
    let of = |record: Option<&Record>, path: &str| {
        let value = record.and_then(|record| record.body.pointer(path)).unwrap_or(&Value::Null);
        match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            other => other.to_string(),
        }
    };
    let (asked, came) = (Some(&step.record), step.outcome.as_ref());
    let cells = [
        step.record.time.to_string(),
        step.record.seq.to_string(),
        step.record.kind.clone(),
        of(asked, "/decision/verdict"),
        of(asked, "/decision/policies"),
        of(asked, "/text"),
        of(came, "/status"),
        of(came, "/rows_returned"),
        of(came, "/rows_affected"),
        of(came, "/duration_us"),
    ];
    cells.map(|text| cell(&text)).join(",") + "\r\n"
}

fn cell(text: &str) -> String {
    let computed = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if computed { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
