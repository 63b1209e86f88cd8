//! `gateway approvals`, `approve` and `deny`: people decide what policy holds.

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use super::Output;
use super::serve::{running, runtime};
use crate::control::client::ClientError;
use crate::control::service::Decision;
use crate::id::TicketId;

/// Which request, and why.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The request's id
    id: TicketId,
    /// Why, for the record and for the one who asks
    #[arg(long)]
    reason: Option<String>,
}

pub(super) fn list(output: Output) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let client = running().await?.ok_or(ClientError::NotRunning)?;
        let tickets: Vec<Value> = client.get("/v1/approvals").await?;
        output.print(&tickets, |tickets| {
            if tickets.is_empty() {
                return "nothing waits for approval".to_owned();
            }
            tickets.iter().map(entry).collect()
        })
    })
}

pub(super) fn decide(arguments: Arguments, approve: bool, output: Output) -> anyhow::Result<()> {
    let decision = Decision { ticket: arguments.id, approve, reason: arguments.reason };
    runtime()?.block_on(async {
        let client = running().await?.ok_or(ClientError::NotRunning)?;
        let answer: Value = client.post("/v1/decide", &decision).await?;
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            bail!("{error}");
        }
        output.print(&answer, |answer| {
            let state = answer.get("state").and_then(Value::as_str).unwrap_or("decided");
            format!("request {}: {state}", arguments.id)
        })
    })
}

/// Texts of requests come from runtimes: control characters would play with the reader's terminal.
fn entry(value: &Value) -> String {
    let text = |key: &str| {
        let found = value.pointer(&format!("/ticket/{key}")).and_then(Value::as_str).unwrap_or_default();
        found.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()
    };
    let list = |key: &str| {
        let items = value.pointer(&format!("/ticket/{key}")).and_then(Value::as_array).cloned().unwrap_or_default();
        items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let needed = value.pointer("/ticket/needed").and_then(Value::as_array).cloned().unwrap_or_default();
    let needed: Vec<String> = needed
        .iter()
        .map(|vote| {
            format!("{} of {}", vote.get(1).unwrap_or(&Value::Null), vote.get(0).and_then(Value::as_str).unwrap_or("?"))
        })
        .collect();
    let opaque = list("opaque");
    let opaque = if opaque.is_empty() { String::new() } else { format!("\n  NOT ALL OF IT CAN BE READ: {opaque}") };
    format!(
        "{}  {}  {} → {}\n  {}{opaque}\n  held by {}, needs {}, until {}\n",
        text("id"),
        value.get("state").and_then(Value::as_str).unwrap_or_default(),
        text("workload"),
        text("destination"),
        text("summary"),
        list("policies"),
        needed.join(" and "),
        text("expires"),
    )
}
