//! `gateway policy`: are the policies right, and what do they say?

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};

use super::{Files, Output};
use crate::config::{Config, DEFAULT_FILE};
use crate::policy::load::{Origin, load};
use crate::policy::table::NoRawRequests;
use crate::policy::{Fault, KnownIds, Source, check, run_tables};

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Type-check policies against the schema and the configuration
    Check(CheckArguments),
    /// Run tables of requests and expected decisions
    Test(TestArguments),
}

/// Which policies.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    files: Files,
}

/// Which tables.
#[derive(Debug, Args)]
pub(super) struct TestArguments {
    /// Tables (*.tests.toml) [default: those beside the policies]
    tables: Vec<PathBuf>,
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(command: Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Check(arguments) => {
            let summary = check(&source(&arguments.files)?).map_err(all)?;
            output.print(&summary, |summary| {
                format!(
                    "{} permits, {} forbids, {} of them held for approval, {} disabled: valid",
                    summary.permits.len(),
                    summary.forbids.len() + summary.approvals.len(),
                    summary.approvals.len(),
                    summary.disabled.len()
                )
            })
        }
        Command::Test(arguments) => {
            let source = source(&arguments.files)?;
            let tables = tables(&arguments, &source)?;
            let set = load(&source, 1).map_err(all)?;
            let report = run_tables(&set, &tables, &NoRawRequests).map_err(all)?;
            output.print(&report, ToString::to_string)?;
            if report.failed() > 0 {
                bail!("{} cases are not decided as the tables want", report.failed());
            }
            Ok(())
        }
    }
}

fn all(faults: Vec<Fault>) -> anyhow::Error {
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    anyhow!("the policies have {} faults:\n  {}", lines.len(), lines.join("\n  "))
}

fn source(files: &Files) -> anyhow::Result<Source> {
    let path = files.config.clone().or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()));
    let config = match path {
        Some(path) => {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Config::parse(&path.display().to_string(), &text)?
        }
        None => Config::default(),
    };
    let folder = files.policies.clone().or_else(|| config.policy.dir.clone());
    let known = KnownIds {
        targets: config.targets.iter().map(|target| target.name.clone()).collect(),
        environments: config.targets.iter().filter_map(|target| target.environment.clone()).collect(),
        attachments: config.attachments.iter().map(|attach| attach.name.clone()).collect(),
        groups: config.attachments.iter().flat_map(|attach| attach.groups.clone()).collect(),
        ..KnownIds::default()
    };
    Ok(Source {
        origin: folder.map_or(Origin::Shipped, |folder| Origin::Folders(vec![folder])),
        disable: config.policy.disable.iter().cloned().collect(),
        known: known.with_built_in(),
    })
}

fn tables(arguments: &TestArguments, source: &Source) -> anyhow::Result<Vec<(String, String)>> {
    let mut paths = arguments.tables.clone();
    if paths.is_empty()
        && let Origin::Folders(folders) = &source.origin
    {
        for folder in folders {
            paths.extend(beside(folder)?);
        }
    }
    if paths.is_empty() {
        bail!("no tables: name some, or put *.tests.toml beside the policies");
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((path.display().to_string(), text))
    };
    paths.into_iter().map(read).collect()
}

fn beside(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".tests.toml"))
        .collect();
    paths.sort();
    Ok(paths)
}
