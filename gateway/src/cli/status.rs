//! `gateway status`: what is in force.

use clap::Args;

use super::Output;
use super::serve::{running, runtime};
use crate::control::service::{AttachmentStatus, Shipping, Status, Work};
use crate::warden::names;

/// Nothing to choose.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments, output: Output) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        match running().await? {
            Some(client) => {
                let status: Status = client.get("/v1/status").await?;
                output.print(&status, describe)
            }
            None => output.print(&names::all()?, |kept| {
                let mut text = "no gateway runs on this host".to_owned();
                for kept in kept {
                    text += &format!(
                        "\n  `{}` ({}) stays closed: protected connections are refused; open it with `sudo gateway detach {}`",
                        kept.name, kept.cgroup, kept.name
                    );
                }
                text
            }),
        }
    })
}

fn describe(status: &Status) -> String {
    let mut text = format!(
        "{:<16} {:<8} {:<32} {:>5} {:>8} {:>10} {:>8} {:>8}  GAPS\n",
        "NAME", "MODE", "CGROUP", "PROCS", "SESSIONS", "REDIRECTED", "REFUSED", "DROPPED"
    );
    for attachment in &status.attachments {
        let sessions = status.work.as_ref().map(|work| work.sessions.get(&attachment.name).copied().unwrap_or(0));
        text += &line(attachment, sessions);
    }
    if let Some(looked) = status.attachments.iter().map(|attachment| attachment.looked_secs).max() {
        let wrong = status.attachments.iter().filter(|attachment| attachment.degraded.is_some()).count();
        let state = if wrong == 0 { "in force".to_owned() } else { format!("something is wrong with {wrong}") };
        text += &format!("hooks: {state}, looked at {looked} s ago at most\n");
    }
    if let Some(work) = &status.work {
        text += &told(work);
    } else if status.engine_runs {
        text += "the engine does not answer\n";
    }
    for (number, note) in status.configuration.iter().enumerate() {
        text += &format!("{}{note}\n", if number == 0 { "configuration: " } else { "  " });
    }
    if !status.engine_runs {
        text += "no engine runs: protected connections are refused until it is back\n";
    }
    for attachment in &status.attachments {
        for gap in &attachment.gaps {
            text += &format!("{}: gap {}: {}\n", attachment.name, gap.name, gap.detail);
        }
        if let Some(degraded) = &attachment.degraded {
            text += &format!("{}: {degraded}\n", attachment.name);
        }
    }
    for gap in &status.gaps {
        text += &format!("gap {}: {}\n", gap.name, gap.detail);
    }
    if let Some(shipping) = &status.shipping {
        text += &copy("the journal is copied to", shipping);
    }
    for feed in &status.feeds {
        text += &copy("events are told to", feed);
    }
    text
}

/// What was decided since the engine started, and what waits.
fn told(work: &Work) -> String {
    let of = |word: &str| work.decisions.get(word).copied().unwrap_or(0);
    let mut text = format!("decided: {} allowed, {} denied, {} held", of("allow"), of("deny"), of("hold"));
    let observed = of("would_deny") + of("would_hold");
    if observed > 0 {
        text += &format!(", {observed} let through that would not be");
    }
    text += match work.approvals {
        0 => "; nothing waits for a person\n".to_owned(),
        1 => "; one request waits for a person: `gateway approvals`\n".to_owned(),
        waiting => format!("; {waiting} requests wait for a person: `gateway approvals`\n"),
    }
    .as_str();
    if work.windows > 0 {
        text += &format!(
            "{} open: `gateway windows`\n",
            if work.windows == 1 { "a window is".to_owned() } else { format!("{} windows are", work.windows) }
        );
    }
    text
}

fn copy(what: &str, shipping: &Shipping) -> String {
    let mut text = match shipping.lag_events {
        0 => format!("{what} {}, all of it", shipping.store),
        lag => format!("{what} {}: {lag} events behind, the oldest for {} s", shipping.store, shipping.lag_secs),
    };
    for journal in &shipping.journals {
        text += &format!("\n  journal {}: up to {} of {}", journal.journal, journal.shipped, journal.written);
    }
    if shipping.pid.is_none() {
        text += "\n  nothing does it now";
    }
    if let Some(error) = &shipping.error {
        text += &format!("\n  {error}");
    }
    text + "\n"
}

fn line(attachment: &AttachmentStatus, sessions: Option<u64>) -> String {
    let count = |reasons: &[&str]| reasons.iter().filter_map(|reason| attachment.counts.get(*reason)).sum::<u64>();
    let refused = [
        "heartbeat_stale",
        "no_listener",
        "own_listener",
        "destination_refused",
        "not_tcp",
        "link_local",
        "socket_refused",
        "bind_refused",
    ];
    let gaps: Vec<_> = attachment.gaps.iter().map(|gap| gap.name.as_str()).collect();
    format!(
        "{:<16} {:<8} {:<32} {:>5} {:>8} {:>10} {:>8} {:>8}  {}\n",
        attachment.name,
        if attachment.observe { "observe" } else { "enforce" },
        attachment.cgroup,
        attachment.processes,
        sessions.map_or_else(|| "?".to_owned(), |sessions| sessions.to_string()),
        count(&["redirected"]),
        count(&refused),
        count(&["packet_dropped", "packet_unreadable"]),
        if gaps.is_empty() { "-".to_owned() } else { gaps.join(", ") },
    )
}
