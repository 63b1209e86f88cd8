//! `gateway audit`: is the journal whole?

use anyhow::bail;
use clap::{Args, Subcommand};

use super::Output;
use super::events::State;
use crate::audit::journal::FirstKey;
use crate::audit::verify::verify;

/// What to do with the journal.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check every line, chain and seal, offline
    Verify(VerifyArguments),
}

/// Against what.
#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// The first public key, as it was noted elsewhere [default: the one beside the journal]
    #[arg(long, value_name = "HEX")]
    key: Option<FirstKey>,
    #[command(flatten)]
    state: State,
}

pub(super) fn run(command: Command, output: Output) -> anyhow::Result<()> {
    let Command::Verify(arguments) = command;
    let report = verify(&arguments.state.layout(), arguments.key)?;
    output.print(&report, ToString::to_string)?;
    if !report.is_sound() {
        bail!("the journal is not whole: keep it as evidence");
    }
    Ok(())
}
