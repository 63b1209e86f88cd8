//! `gateway reference`: pages of the documentation that are made of the program itself.
//!
//! In: the definitions of the commands. Out: Markdown, which says what `--help` says. It must never tell of a command that is
//! hidden.

use clap::builder::StyledStr;
use clap::{Arg, Command as Definition, CommandFactory, Subcommand};

use super::{Cli, line};
use crate::policy;

/// Which page.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The commands
    Commands,
    /// The words of policies
    Policies,
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Commands => line(commands().trim_end()),
        Command::Policies => line(policy::markdown().map_err(anyhow::Error::msg)?.trim_end()),
    }
}

const INTRODUCTION: &str = "\
Written by `gateway reference commands`. Each command has `--help`, a manual page (`man gateway-attach`) and, where it prints something, `--json` for programs. \
Exit status 0: it was done. 1: it was not, or what was looked for is there, as the command says. 2: it was not understood.";

fn commands() -> String {
    let mut cli = Cli::command();
    cli.build();
    let mut page = format!("# Commands\n\n{INTRODUCTION}\n");
    for part in shown(&cli) {
        page += &command("gateway", part, 2);
    }
    page
}

fn shown(of: &Definition) -> impl Iterator<Item = &Definition> {
    of.get_subcommands().filter(|part| !part.is_hide_set() && part.get_name() != "help")
}

fn command(above: &str, of: &Definition, level: usize) -> String {
    let name = format!("{above} {}", of.get_name());
    let said = text(of.get_long_about().or(of.get_about()));
    let mut page = format!("\n{} `{name}`\n\n{said}\n", "#".repeat(level));
    let parts: Vec<_> = shown(of).collect();
    if parts.is_empty() {
        let usage = of.clone().render_usage().to_string();
        page += &format!("\n    {}\n", usage.trim_start_matches("Usage: ").replace('\n', "\n    "));
    }
    let rows: String = of.get_arguments().filter(|one| is_own(one)).map(row).collect();
    if !rows.is_empty() {
        page += &format!("\n| | |\n| --- | --- |\n{rows}");
    }
    page + &parts.into_iter().map(|part| command(&name, part, level + 1)).collect::<String>()
}

/// Not one that every command has.
fn is_own(argument: &Arg) -> bool {
    !argument.is_hide_set() && !["help", "version", "json"].contains(&argument.get_id().as_str())
}

fn row(argument: &Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default();
    let values = if argument.get_action().takes_values() { values.join(" ") } else { String::new() };
    let option = argument.get_long().map(|long| format!("--{long}"));
    let words = [argument.get_short().map(|short| format!("-{short},")), option, Some(values)];
    let words: Vec<_> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
    let possible = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect::<Vec<_>>();
    let possible = match possible.as_slice() {
        [] => String::new(),
        _ if !argument.get_action().takes_values() => String::new(),
        several => format!(" ({})", several.join(", ")),
    };
    let said = text(argument.get_long_help().or(argument.get_help())).replace("\n\n", "<br>").replace('\n', " ");
    format!("| `{}` | {}{possible} |\n", words.join(" "), said.replace('|', "\\|"))
}

fn text(said: Option<&StyledStr>) -> String {
    said.map(ToString::to_string).unwrap_or_default().replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_documentation_is_this_one() {
        let page = commands();
        assert!(!page.contains("exec-child") && page.contains("## `gateway attach`"), "{page}");
        assert!(
            page == include_str!("../../../docs/commands.md"),
            "write it anew: gateway reference commands > docs/commands.md"
        );
    }
}
