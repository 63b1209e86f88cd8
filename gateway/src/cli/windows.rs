//! `gateway request`, `windows` and `revoke`: times in which a workload may do more.

use anyhow::{anyhow, bail};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::Output;
use super::serve::{running, runtime};
use super::terminal::visible;
use crate::config::duration_of;
use crate::control::client::ClientError;
use crate::control::service::{Ending, WindowWanted};
use crate::id::TicketId;

/// Which window, for whom and why.
#[derive(Debug, Args)]
pub(super) struct RequestArguments {
    /// The window's name in the configuration
    name: String,
    /// For this workload, `ATTACHMENT` or `ATTACHMENT/UNIT`
    #[arg(long)]
    workload: String,
    /// To this target
    #[arg(long)]
    target: String,
    /// For how long, from its opening on
    #[arg(long = "for", value_name = "TIME", default_value = "15m")]
    time: String,
    /// Why, for those who approve it and for the record
    #[arg(long)]
    reason: String,
    /// Open it at once, without approval, in an emergency: it is recorded loudly
    #[arg(long)]
    break_glass: bool,
}

/// Which window.
#[derive(Debug, Args)]
pub(super) struct RevokeArguments {
    /// The window's id
    id: TicketId,
    /// Why, for the record
    #[arg(long)]
    reason: Option<String>,
}

pub(super) fn request(arguments: RequestArguments, output: Output) -> anyhow::Result<()> {
    let RequestArguments { name, workload, target, time, reason, break_glass } = arguments;
    let time = duration_of(&time).ok_or_else(|| anyhow!("`{time}` is no time: write `30s`, `15m` or `2h`"))?;
    ask("/v1/window", &WindowWanted { name, workload, target, time, reason, break_glass }, output, |answer| {
        let of = |key: &str| text(answer, key);
        match answer.get("until") {
            Some(_) => {
                format!("window {} is open until {}; end it with: gateway revoke {0}", of("window"), of("until"))
            }
            None => format!(
                "request {} waits for approval by {} of {}: gateway approve {0}",
                of("window"),
                answer.get("approvers").and_then(Value::as_u64).unwrap_or(1),
                of("group")
            ),
        }
    })
}

pub(super) fn revoke(arguments: RevokeArguments, output: Output) -> anyhow::Result<()> {
    let RevokeArguments { id, reason } = arguments;
    ask("/v1/revoke", &Ending { window: id, reason }, output, |_| format!("window {id} is closed"))
}

pub(super) fn list(output: Output) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let client = running().await?.ok_or(ClientError::NotRunning)?;
        let windows: Vec<Value> = client.get("/v1/windows").await?;
        output.print(&windows, |windows| {
            if windows.is_empty() {
                return "no window is open".to_owned();
            }
            windows.iter().map(entry).collect()
        })
    })
}

fn ask(path: &str, what: &impl Serialize, output: Output, words: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let client = running().await?.ok_or(ClientError::NotRunning)?;
        let answer: Value = client.post(path, what).await?;
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            bail!("{error}");
        }
        output.print(&answer, words)
    })
}

/// Names and reasons are people's words.
fn entry(window: &Value) -> String {
    let of = |key: &str| text(window, key);
    let person = |vote: &Value| vote.get("person").and_then(Value::as_str).map(visible);
    let votes = window.get("votes").and_then(Value::as_array).cloned().unwrap_or_default();
    let approved = match window.get("break_glass").and_then(Value::as_bool) {
        Some(true) => "BREAK GLASS: nobody approved it".to_owned(),
        _ => format!("approved by {}", votes.iter().filter_map(person).collect::<Vec<_>>().join(", ")),
    };
    format!(
        "{}  {}  {} → {}, until {}\n  asked for by {}: {}\n  {approved}\n",
        of("id"),
        of("name"),
        of("workload"),
        of("target"),
        of("ends"),
        of("person"),
        of("reason")
    )
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).map(visible).unwrap_or_default()
}
