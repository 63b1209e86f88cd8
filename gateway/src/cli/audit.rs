//! `gateway audit`: is the journal whole, and is there a schema for its copy?

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};

use super::Output;
use super::events::State;
use super::serve::runtime;
use crate::audit::clickhouse::{Migrated, Store, migrate};
use crate::audit::journal::FirstKey;
use crate::audit::verify::verify;
use crate::config::{Config, DEFAULT_FILE, SecretSource};
use crate::id::HostId;
use crate::shipper::{Direct, login};
use crate::warden::materials;

/// What to do with the journal.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check every line, chain and seal, offline
    Verify(VerifyArguments),
    /// Bring the database of [audit.clickhouse] to this version's schema
    Migrate(MigrateArguments),
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

/// Where, and as whom.
#[derive(Debug, Args)]
pub(super) struct MigrateArguments {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// A login that may define tables [default: the configuration's, which should not]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A file with its password [default: it has none]
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
}

pub(super) fn run(command: Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Verify(arguments) => check(&arguments, output),
        Command::Migrate(arguments) => bring_up(arguments, output),
    }
}

fn check(arguments: &VerifyArguments, output: Output) -> anyhow::Result<()> {
    let report = verify(&arguments.state.layout(), arguments.key)?;
    output.print(&report, ToString::to_string)?;
    if !report.is_sound() {
        bail!("the journal is not whole: keep it as evidence");
    }
    Ok(())
}

fn bring_up(arguments: MigrateArguments, output: Output) -> anyhow::Result<()> {
    let name = arguments.config.display().to_string();
    let text = std::fs::read_to_string(&arguments.config).with_context(|| format!("cannot read `{name}`"))?;
    let mut config = Config::parse(&name, &text)?;
    let Some(store) = config.clickhouse.as_mut() else { bail!("`{name}` has no section [audit.clickhouse]") };
    if let Some(user) = arguments.user {
        store.user = user;
        store.password = arguments.password_file.map(SecretSource::File);
    }
    // The host does not matter for a schema.
    let settings = materials::store(&config, HostId::generate()).map_err(|fault| anyhow!(fault))?;
    let settings = settings.context("there is no copy to set up")?;
    let (connect, database) = (Direct::new(&settings)?, settings.database.clone());
    let store = Store::new(login(settings), Arc::new(connect))?;
    let migrated = runtime()?.block_on(migrate(&store, &database))?;
    output.print(&migrated, describe)
}

fn describe(migrated: &Migrated) -> String {
    let Migrated { database, applied, version } = migrated;
    if applied.is_empty() {
        format!("database `{database}` has schema {version} already")
    } else {
        format!("database `{database}` has schema {version} now")
    }
}
