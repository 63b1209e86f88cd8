//! `gateway target check`: what the credentials of targets may do beyond what policies permit.
//!
//! In: the running gateway's answer, which has asked the servers themselves. Out: a page, or JSON; exit status 0 where there is
//! nothing to be done, 1 where there is, 2 for a target that is not declared. It holds no credential.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Output;
use super::serve::{running, runtime};
use super::terminal::{visible, width, wrapped};
use crate::control::check::{CheckWanted, Checked, CheckedTarget, Finding};
use crate::control::client::ClientError;

/// What of targets.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What their credentials may do beyond what policies permit, asked of the servers
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

/// How far the text of a finding stands in.
const INDENT: usize = 4;

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

fn page(checked: &Checked) -> String {
    if checked.targets.is_empty() {
        return "the configuration declares no target".to_owned();
    }
    checked.targets.iter().map(target).collect::<Vec<_>>().join("\n")
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
    let indent = INDENT + 12;
    let broken = wrapped(text, width().saturating_sub(indent).max(40));
    let line = |(number, line): (usize, &String)| {
        let word = if number == 0 { word } else { "" };
        format!("  {word:<width$}{line}\n", width = indent - 2)
    };
    broken.iter().enumerate().map(line).collect()
}
