//! `gateway manual DIRECTORY`: man pages and shell completions, for packages.
//!
//! In: the definitions of the commands, and the reference of the configuration. Out: `gateway*.1`, gateway.toml(5), and a file for each shell, in a folder that exists. What they say is
//! what `--help` says. It must never tell of a command that is hidden.

use std::path::Path;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

/// The shells that get completions.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

pub(super) fn write(command: &Command, directory: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot write to `{}`: does it exist?", directory.display());
    let mut command = shown(command);
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut command, "gateway", directory).with_context(failed)?;
    }
    std::fs::write(directory.join("gateway.toml.5"), crate::config::reference::manual()).with_context(failed)?;
    clap_mangen::generate_to(command, directory).with_context(failed)
}

/// The command without those that are hidden: completions would offer them.
fn shown(command: &Command) -> Command {
    let parts: Vec<Command> = command.get_subcommands().filter(|part| !part.is_hide_set()).cloned().collect();
    let mut bare = Command::new("gateway")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(command.is_subcommand_required_set());
    if let Some(about) = command.get_about() {
        bare = bare.about(about.clone());
    }
    bare.args(command.get_arguments().cloned()).subcommands(parts)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn tells_of_every_command_that_is_shown_and_of_none_that_is_hidden() {
        let directory = tempfile::tempdir().unwrap();
        write(&Cli::command(), directory.path()).unwrap();
        for part in Cli::command().get_subcommands() {
            let page = directory.path().join(format!("gateway-{}.1", part.get_name()));
            assert_eq!(page.exists(), !part.is_hide_set(), "{}", page.display());
        }
        assert!(directory.path().join("gateway.toml.5").exists());
        for file in ["gateway.bash", "_gateway", "gateway.fish"] {
            let text = std::fs::read_to_string(directory.path().join(file)).unwrap();
            assert!(text.contains("approvals") && !text.contains("exec-child"), "{file}");
        }
    }
}
