//! `gateway approvals`, `approve` and `deny`: people decide what policy holds.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Output;
use super::remote::At;
use super::serve::{running, runtime};
use super::terminal::{visible, width, wrapped};
use crate::control::client::{Client, ClientError};
use crate::control::service::Decision;
use crate::id::TicketId;
use crate::policy::Terms;

/// Which request, and why.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The request's id
    id: TicketId,
    /// Why, for the record and for the one who asks
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    at: At,
}

/// Which requests.
#[derive(Debug, Args)]
pub(super) struct ListArguments {
    #[command(subcommand)]
    one: Option<One>,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Subcommand)]
enum One {
    /// One request: who, what, where, why it is held, what was said, and the session so far
    Show {
        /// The request's id
        id: TicketId,
    },
}

pub(super) fn list(arguments: &ListArguments, output: Output) -> anyhow::Result<()> {
    let remote = arguments.at.remote()?;
    runtime()?.block_on(async {
        if let Some(One::Show { id }) = arguments.one {
            let one: Value = match remote {
                Some(console) => console.get(&format!("/api/v1/approvals/{id}")).await?,
                None => host().await?.post("/v1/approval", &id).await?,
            };
            return output.print(&one, whole);
        }
        let tickets: Vec<Value> = match remote {
            Some(console) => console.get("/api/v1/approvals").await?,
            None => host().await?.get("/v1/approvals").await?,
        };
        output.print(&tickets, |tickets| {
            if tickets.is_empty() {
                return "nothing waits for approval".to_owned();
            }
            tickets.iter().map(entry).collect()
        })
    })
}

pub(super) fn decide(arguments: Arguments, approve: bool, output: Output) -> anyhow::Result<()> {
    let remote = arguments.at.remote()?;
    runtime()?.block_on(async {
        let answer: Value = match remote {
            Some(console) => {
                let say = json!({ "approve": approve, "reason": arguments.reason });
                console.post(&format!("/api/v1/approvals/{}/decision", arguments.id), &say).await?
            }
            None => {
                let decision = Decision { ticket: arguments.id, approve, reason: arguments.reason };
                host().await?.post("/v1/decide", &decision).await?
            }
        };
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            bail!("{error}");
        }
        output.print(&answer, |answer| {
            let state = answer.get("state").and_then(Value::as_str).unwrap_or("decided");
            format!("request {}: {state}", arguments.id)
        })
    })
}

/// The gateway of this host.
async fn host() -> anyhow::Result<Client> {
    Ok(running().await?.ok_or(ClientError::NotRunning)?)
}

/// Texts of requests come from runtimes, those of votes from people: what the reader decides on must be what stands there.
fn entry(value: &Value) -> String {
    let of = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).map(visible).unwrap_or_default();
    let all = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
    let texts = |values: &[Value]| values.iter().filter_map(Value::as_str).map(visible).collect::<Vec<_>>().join(", ");
    let summary = value.pointer("/ticket/summary").and_then(Value::as_str).unwrap_or_default();
    // Deeper than our own lines, so that a line of a statement is never taken for one of them.
    let summary = wrapped(summary, width() - 4).join("\n    ");
    let opaque = texts(&all(value, "/ticket/opaque"));
    let opaque = if opaque.is_empty() { String::new() } else { format!("\n  NOT ALL OF IT CAN BE READ: {opaque}") };
    let changed = value.pointer("/ticket/changed").and_then(Value::as_u64);
    let changed =
        changed.map(|rows| format!("\n  it has changed {}, not committed yet", counted(rows))).unwrap_or_default();
    let votes = all(value, "/votes");
    let needed = |needed: &Value| {
        let (group, count) = (of(needed, "/group"), needed.get("count").and_then(Value::as_u64).unwrap_or(1));
        let is_for =
            |vote: &&Value| of(vote, "/vote") == "approved" && all(vote, "/groups").contains(&group.as_str().into());
        let terms = Terms::deserialize(needed).map(|terms| terms.to_string()).unwrap_or_default();
        format!("{} of {count} of {group}{terms}", votes.iter().filter(is_for).count())
    };
    let needed: Vec<_> = all(value, "/ticket/needed").iter().map(needed).collect();
    let said = |vote: &Value| {
        let reason = of(vote, "/reason");
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        format!("  {} {} for {}{reason}\n", of(vote, "/person"), of(vote, "/vote"), texts(&all(vote, "/groups")))
    };
    let policies = texts(&all(value, "/ticket/policies"));
    let held = if policies.is_empty() { "asked for by a person".to_owned() } else { format!("held by {policies}") };
    let session = of(value, "/ticket/session");
    let session = if session.is_empty() { session } else { format!(", session {session}") };
    format!(
        "{}  {}  {} → {}{session}\n    {summary}{opaque}{changed}\n  {held}, until {}\n  has {}\n{}",
        of(value, "/ticket/id"),
        of(value, "/state"),
        of(value, "/ticket/workload"),
        of(value, "/ticket/destination"),
        of(value, "/ticket/expires"),
        needed.join(" and "),
        votes.iter().map(said).collect::<String>(),
    )
}

/// One request with all that there is about it.
fn whole(value: &Value) -> String {
    let of = |path: &str| match value.pointer(path) {
        Some(Value::String(text)) => visible(text),
        Some(Value::Null) | None => String::new(),
        Some(other) => visible(&other.to_string()),
    };
    let list = |path: &str| value.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut text = entry(value);
    for (label, path) in [
        ("asked by", "/ticket/window/person"),
        ("instance", "/ticket/who/workload_instance"),
        ("cgroup", "/ticket/who/cgroup"),
        ("container", "/ticket/who/container/id"),
        ("pod", "/ticket/who/container/pod_uid"),
        ("executable", "/ticket/who/executable"),
        ("process", "/ticket/who/pid"),
        ("uid", "/ticket/who/uid"),
        ("token of", "/ticket/who/token/subject"),
        ("issuer", "/ticket/who/token/issuer"),
        ("asked", "/ticket/asked"),
    ] {
        let found = of(path);
        if !found.is_empty() {
            text += &format!("  {label:<10} {found}\n");
        }
    }
    for (label, path) in [("why", "/ticket/messages"), ("would", "/ticket/asks"), ("change", "/ticket/changes")] {
        for line in list(path).iter().filter_map(Value::as_str) {
            text += &format!("  {label:<10} {}\n", visible(line));
        }
    }
    for filed in list("/ticket/filed") {
        let of = |name: &str| filed.get(name).and_then(Value::as_str).map(visible).unwrap_or_default();
        text += &format!("  {:<10} {} {}\n", "ticket", of("key"), of("url"));
    }
    text + &so_far(&list("/so_far"))
}

fn so_far(events: &[Value]) -> String {
    let mut text = String::new();
    for event in events {
        let of = |path: &str| event.pointer(path).and_then(Value::as_str).map(visible).unwrap_or_default();
        let what = ["/body/text", "/body/summary", "/body/reason", "/body/status", "/body/cause"].map(of);
        let what = what.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        let what = wrapped(&what, width() - 6).join("\n      ");
        text += &format!("    {}  {}  {}\n      {what}\n", of("/time"), of("/kind"), of("/body/decision/verdict"));
    }
    if text.is_empty() { text } else { format!("  the session so far:\n{text}") }
}

fn counted(rows: u64) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_shows_who_has_said_what_and_what_is_still_needed() {
        let value = serde_json::json!({
            "state": "waiting",
            "ticket": {
                "id": "01a2", "workload": "agents", "destination": "shop/shop", "session": "01a1", "expires": "2026-01-02T03:04:05Z",
                "summary": "UPDATE orders\nSET item = $1\u{202e}", "opaque": [], "changed": 40, "policies": ["shop.write"],
                "needed": [{ "group": "local:dba", "count": 2, "reason": true }, { "group": "local:sre", "count": 1 }],
            },
            "votes": [{ "person": "alice", "vote": "approved", "groups": ["local:dba"], "reason": "ok\u{1b}[2J" }],
        });
        let expected = "01a2  waiting  agents → shop/shop, session 01a1\n    UPDATE orders\n    SET item = $1\\u{202e}\n  it has changed 40 rows, not committed yet\n  held by shop.write, until \
                        2026-01-02T03:04:05Z\n  has 1 of 2 of local:dba with a reason and 0 of 1 of local:sre\n  alice approved for \
                        local:dba: ok\\u{1b}[2J\n";
        assert_eq!(entry(&value), expected);
    }
}
