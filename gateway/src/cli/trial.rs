//! `gateway test`: is an attachment set up well?
//!
//! In: the running gateway's answer, which has tried it from inside. Out: a page, or JSON; exit status 0 where nothing failed, 1
//! where something did, 2 for an attachment that there is not. It tries nothing itself.

use std::io::Read;
use std::process::ExitCode;

use clap::Args;

use super::serve::{running, runtime};
use super::terminal::{visible, width, wrapped};
use super::{Output, line};
use crate::control::client::ClientError;
use crate::control::setup::{Outcome, Step, TestWanted, Tested};
use crate::host::readable;

/// Which attachment.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Its name
    name: String,
    /// The database that is entered at Postgres servers
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    database: String,
}

/// What is read of standard input.
const MOST: u64 = 256 * 1024;
/// How far texts stand in.
const INDENT: usize = 29;

pub(super) fn run(arguments: Arguments, output: Output) -> anyhow::Result<ExitCode> {
    let wanted = TestWanted { attachment: arguments.name, database: arguments.database };
    let tested: Tested = runtime()?.block_on(async {
        let client = running().await?.ok_or(ClientError::NotRunning)?;
        Ok::<_, anyhow::Error>(client.post("/v1/test", &wanted).await?)
    })?;
    if !tested.is_known {
        eprintln!("gateway: nothing is attached under the name {}: `gateway status` lists all", tested.attachment);
        return Ok(ExitCode::from(2));
    }
    output.print(&tested, page)?;
    Ok(if tested.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What the gateway starts to look as others would for what they know it by, which it reads of standard input: it gives up root
/// for good.
pub(super) fn look(pids: &[i32]) -> anyhow::Result<()> {
    let mut text = String::new();
    std::io::stdin().take(MOST).read_to_string(&mut text)?;
    line(&serde_json::to_string(&readable::knows(pids, &serde_json::from_str(&text)?)?)?)
}

fn page(tested: &Tested) -> String {
    let mut page = String::new();
    let mut about = "";
    for step in &tested.steps {
        if step.about != about {
            about = &step.about;
            page += &format!("{}\n", visible(about));
        }
        page += &told(step);
    }
    let count = |outcome| tested.steps.iter().filter(|step| step.outcome == outcome).count();
    let [passed, failed, skipped] = [Outcome::Passed, Outcome::Failed, Outcome::Skipped].map(count);
    page + &format!("{}: {passed} passed, {failed} failed, {skipped} not tried\n", visible(&tested.attachment))
}

fn told(step: &Step) -> String {
    let word = match step.outcome {
        Outcome::Passed => "ok",
        Outcome::Failed => "FAILED",
        Outcome::Skipped => "-",
    };
    let mut page = lines(&format!("{word:<8}{}", visible(&step.name)), &step.said);
    if let Some(fix) = &step.fix {
        page += &lines("        fix", fix);
    }
    page
}

/// A word, and a text that is broken below itself.
fn lines(word: &str, text: &str) -> String {
    let broken = wrapped(text, width().saturating_sub(INDENT).max(40));
    let shown = |(number, text): (usize, &String)| {
        let word = if number == 0 { word } else { "" };
        format!("  {word:<width$}{text}\n", width = INDENT - 2)
    };
    broken.iter().enumerate().map(shown).collect()
}
