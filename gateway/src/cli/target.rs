//! `gateway target check`: what the credentials of targets may do beyond what policies permit.
//!
//! In: the running gateway's answer, which has asked the servers themselves. Out: a page, or JSON; exit status 0 where there is
//! nothing to be done, 1 where there is, 2 for a target that is not declared. It holds no credential.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::serve::{running, runtime};
use super::terminal::{visible, width, wrapped};
use super::{Output, line};
use crate::control::check::{CheckWanted, Checked, CheckedTarget, Finding, Seen};
use crate::control::client::ClientError;
use crate::host::readable;

/// What of targets.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What their credentials may do beyond what policies permit, asked of the servers
    ///
    /// Without names also what of credentials the processes of attachments can read by themselves.
    ///
    /// Exit status 0: nothing. 1: something was found, or a target could not be asked. 2: no such target.
    Check(Arguments),
}

/// Which targets.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Names of targets [default: all]
    #[arg(value_name = "NAME")]
    targets: Vec<String>,
}

/// How far the text of a finding stands in: behind the longest word.
const INDENT: usize = 19;

pub(super) fn run(command: Command, output: Output) -> anyhow::Result<ExitCode> {
    let Command::Check(Arguments { targets }) = command;
    let checked: Checked = runtime()?.block_on(async {
        let client = running().await?.ok_or(ClientError::NotRunning)?;
        Ok::<_, anyhow::Error>(client.post("/v1/targets/check", &CheckWanted { targets }).await?)
    })?;
    if !checked.unknown.is_empty() {
        eprintln!("gateway: the configuration in force declares no target {}", checked.unknown.join(", "));
        return Ok(ExitCode::from(2));
    }
    output.print(&checked, page)?;
    Ok(if checked.has_findings() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What the gateway starts to look as others would: it gives up root for good.
pub(super) fn look(pids: &[i32], closed: &[PathBuf]) -> anyhow::Result<()> {
    line(&serde_json::to_string(&readable::look(pids, closed)?)?)
}

fn page(checked: &Checked) -> String {
    let mut parts: Vec<_> = checked.targets.iter().map(target).collect();
    if parts.is_empty() {
        parts.push("the configuration declares no target\n".to_owned());
    }
    parts.extend(checked.runtimes.iter().map(runtime_of));
    parts.join("\n")
}

fn runtime_of(seen: &Seen) -> String {
    let mut page = format!("{}  what its processes can read by themselves\n", visible(&seen.attachment));
    for eyes in &seen.eyes {
        let count =
            if eyes.pids.len() == 1 { "one process".to_owned() } else { format!("{} processes", eyes.pids.len()) };
        let who = format!("uid {} ({count})", eyes.uid);
        match (&eyes.error, eyes.open.as_slice()) {
            (Some(error), _) => page += &lines("not seen", &format!("{who}: {error}")),
            (None, []) => page += &lines("ok", &format!("{who}: no credential at the places that are known")),
            (None, open) => {
                page += &lines("OPEN", &who);
                open.iter()
                    .for_each(|one| page += &lines(&format!("  {}", one.kind), &format!("{}: {}", one.path, one.what)));
            }
        }
    }
    if seen.eyes.iter().any(|eyes| !eyes.open.is_empty()) {
        page +=
            &lines("narrow", "move them out of its reach, or take its right to read them: inside, the gateway logs in");
    }
    for note in &seen.notes {
        page += &lines("note", note);
    }
    page
}

fn target(target: &CheckedTarget) -> String {
    let mut page = format!("{}  {}", visible(&target.name), target.protocol);
    for (word, said) in [("at", &target.address), ("as", &target.login), ("known by", &target.server_identity)] {
        if let Some(said) = said {
            page += &format!(", {word} {}", visible(said));
        }
    }
    page.push('\n');
    if let Some(error) = &target.error {
        page += &lines("not asked", error);
    }
    if target.error.is_none() && target.login.is_some() && target.findings.is_empty() {
        page += "  ok: nothing beyond what policies permit\n";
    }
    for finding in &target.findings {
        page += &told(finding);
    }
    for finding in &target.permitted {
        page += &lines("permitted", &format!("{}; {}", finding.what, finding.policy));
    }
    for note in &target.notes {
        page += &lines("note", note);
    }
    page
}

fn told(finding: &Finding) -> String {
    let mut page = lines("BEYOND", &format!("{}: {}", finding.name, finding.what));
    for (word, text) in [("costs", &finding.cost), ("policies", &finding.policy), ("narrow", &finding.narrow)] {
        page += &lines(&format!("  {word}"), text);
    }
    page
}

/// A word, and a text that is broken below itself.
fn lines(word: &str, text: &str) -> String {
    let broken = wrapped(text, width().saturating_sub(INDENT).max(40));
    let line = |(number, line): (usize, &String)| {
        let word = if number == 0 { word } else { "" };
        format!("  {word:<width$}{line}\n", width = INDENT - 2)
    };
    broken.iter().enumerate().map(line).collect()
}
