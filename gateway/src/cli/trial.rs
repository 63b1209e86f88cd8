//! `gateway test`: is an attachment set up well?
//!
//! In: the running gateway's answer, which has tried it from inside. Out: a page, or JSON; exit status 0 where nothing failed, 1
//! where something did, 2 for an attachment that there is not. It tries nothing itself.

use std::process::ExitCode;

use clap::Args;

use super::Output;
use super::serve::{running, runtime};
use super::terminal::{visible, width, wrapped};
use crate::control::client::ClientError;
use crate::control::setup::{Outcome, Step, TestWanted, Tested};

/// Which attachment.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Its name
    name: String,
    /// The database that is entered at Postgres servers
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    database: String,
}

/// How far texts stand in.
const INDENT: usize = 20;

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
    let line = |(number, line): (usize, &String)| {
        let word = if number == 0 { word } else { "" };
        format!("  {word:<width$}{line}\n", width = INDENT - 2)
    };
    broken.iter().enumerate().map(line).collect()
}
