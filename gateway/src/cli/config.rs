//! `gateway config`: what is in force and from where, whether a file would be, and what may stand in one.
//!
//! In: the running gateway's answer, or files. Out: settings in TOML with the line of each; all faults of a file and of what
//! it names; the reference. It changes nothing, and shows no secret.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::serve::{running, runtime};
use super::{Files, Output, line, policy};
use crate::config::{Config, DEFAULT_FILE, reference};
use crate::control::service::ConfigurationShown;
use crate::warden::materials;

/// What of the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What is in force, and from where; with `--config`, or where no gateway runs, what that file would come to
    Show(ShowArguments),
    /// Whether a reload would take the file, the policies and all that they name; all faults at once
    Check(CheckArguments),
    /// What may stand in the file, as a page of the documentation
    Reference,
}

/// Which file.
#[derive(Debug, Args)]
pub(super) struct ShowArguments {
    /// A file, instead of what is in force
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Which files.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    files: Files,
}

/// Where values end and the words beside them begin.
const COLUMN: usize = 44;

pub(super) fn run(command: Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Show(arguments) => output.print(&shown(arguments.config)?, page),
        Command::Check(arguments) => {
            let checked = check(&arguments.files)?;
            output.print(&checked, |checked| {
                let count =
                    |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
                let file =
                    checked.file.as_ref().map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
                format!(
                    "{file}: valid, with {} and {}",
                    count(checked.targets, "target"),
                    count(checked.attachments, "attachment")
                )
            })
        }
        Command::Reference => line(reference::markdown().trim_end()),
    }
}

fn shown(file: Option<PathBuf>) -> anyhow::Result<ConfigurationShown> {
    let of_gateway = || {
        runtime()?.block_on(async {
            match running().await? {
                Some(client) => Ok::<_, anyhow::Error>(Some(client.get("/v1/config").await?)),
                None => Ok(None),
            }
        })
    };
    if file.is_none()
        && let Some(shown) = of_gateway()?
    {
        return Ok(shown);
    }
    let (file, text, _) = read(file)?;
    Ok(ConfigurationShown { file, since: None, notes: Vec::new(), tables: reference::settings(&text) })
}

/// A file's name, text and meaning; the default one where none is named, and nothing where that is not there.
fn read(file: Option<PathBuf>) -> anyhow::Result<(Option<PathBuf>, String, Config)> {
    let file = file.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()));
    let Some(path) = file else { return Ok((None, String::new(), Config::default())) };
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let config = Config::parse(&path.display().to_string(), &text)?;
    Ok((Some(path), text, config))
}

fn page(shown: &ConfigurationShown) -> String {
    let file = shown.file.as_ref().map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    let mut page = match shown.since {
        Some(since) => format!("# {file}, in force since {since}\n"),
        None => format!("# {file}, which is not in force\n"),
    };
    for note in &shown.notes {
        page += &format!("# {}\n", note.replace('\n', "\n#   "));
    }
    for table in &shown.tables {
        if let Some(without) = &table.without {
            page += &format!("\n# no {}: {without}\n", table.header);
            continue;
        }
        page += &if table.header.is_empty() { "\n".to_owned() } else { format!("\n{}\n", table.header) };
        for setting in &table.settings {
            let from = setting.line.map_or_else(|| "default".to_owned(), |line| format!("line {line}"));
            page += &match (&setting.value, &setting.otherwise) {
                (Some(value), _) => format!("{:<COLUMN$}  # {from}\n", format!("{} = {value}", setting.key)),
                (None, otherwise) => {
                    format!("# no {}: {}\n", setting.key, otherwise.as_deref().unwrap_or("not said"))
                }
            };
        }
    }
    page
}

/// A configuration without faults.
#[derive(Debug, Serialize)]
struct Checked {
    file: Option<PathBuf>,
    targets: usize,
    attachments: usize,
}

fn check(files: &Files) -> anyhow::Result<Checked> {
    let (file, _, config) = read(files.config.clone())?;
    let mut faults = materials::faults(&config);
    faults.extend(policy::check_files(files).err().map(|error| format!("{error:#}")));
    if !faults.is_empty() {
        let name = file.as_ref().map_or_else(|| "the default".to_owned(), |file| file.display().to_string());
        bail!("{name} would not be put in force:\n  {}", faults.join("\n").replace('\n', "\n  "));
    }
    Ok(Checked { file, targets: config.targets.len(), attachments: config.attachments.len() })
}
