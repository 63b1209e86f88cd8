//! `gateway audit`: is the journal whole, is its copy one, is there a schema for it, and what does it say?

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};

use serde::Serialize;

use super::events::State;
use super::serve::runtime;
use super::{Output, query};
use crate::audit::clickhouse::{Checkpoint, Migrated, Store, migrate};
use crate::audit::journal::FirstKey;
use crate::audit::verify::{CopyReport, Here, Report, check_noted, verify, verify_copy};
use crate::config::{self, Config, DEFAULT_FILE, SecretSource};
use crate::id::HostId;
use crate::shipper::{Direct, login};
use crate::warden::{CHECKPOINT, HOST_ID, materials};

/// What to do with the journal.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check every line, chain and seal, offline; with --copy, the copy in ClickHouse too
    Verify(VerifyArguments),
    /// Ask the copy in ClickHouse
    Query(query::Arguments),
    /// Bring the database of [audit.clickhouse] to this version's schema
    Migrate(MigrateArguments),
}

/// Against what.
#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// The first public key, as it was noted elsewhere [default: the one beside the journal]
    #[arg(long, value_name = "HEX")]
    key: Option<FirstKey>,
    /// A file of seals that was kept elsewhere: messages of a syslog server, or what a webhook was told
    #[arg(long, value_name = "FILE", conflicts_with = "host")]
    noted: Option<PathBuf>,
    /// The copy in ClickHouse too, line by line against the journal
    #[arg(long)]
    copy: bool,
    /// The copy of this installation alone, against itself
    #[arg(long, value_name = "ID", requires = "copy", conflicts_with_all = ["key", "state_dir"])]
    host: Option<HostId>,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    login: StoreLogin,
}

/// Where.
#[derive(Debug, Args)]
pub(super) struct MigrateArguments {
    /// Another server of the cluster: each needs it once [default: the configuration's]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The name in its certificate [default: its address]
    #[arg(long, value_name = "NAME", requires = "server")]
    server_name: Option<String>,
    #[command(flatten)]
    login: StoreLogin,
}

/// Where the copy is, and as whom.
#[derive(Debug, Args)]
pub(super) struct StoreLogin {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// A login of ClickHouse with the rights for this [default: the configuration's, which only adds rows]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A file with its password [default: it has none]
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
}

/// A store, and what the configuration says of it.
pub(super) struct Opened {
    pub(super) store: Store,
    settings: config::ClickHouse,
}

impl StoreLogin {
    pub(super) fn open(self) -> anyhow::Result<Opened> {
        self.open_at(None)
    }

    /// At the url of a server, and the name in its certificate, instead of the configuration's.
    fn open_at(self, server: Option<(String, Option<String>)>) -> anyhow::Result<Opened> {
        let name = self.config.display().to_string();
        let text = std::fs::read_to_string(&self.config).with_context(|| format!("cannot read `{name}`"))?;
        let mut config = Config::parse(&name, &text)?;
        let Some(store) = config.clickhouse.as_mut() else { bail!("`{name}` has no section [audit.clickhouse]") };
        if let Some(user) = self.user {
            store.user = user;
            store.password = self.password_file.map(SecretSource::File);
        }
        if let Some((url, name)) = server {
            store.turn_to(&url, name).map_err(|fault| anyhow!("--server: {fault}"))?;
        }
        // The host does not matter to a login.
        let settings = materials::store(&config, HostId::generate()).map_err(|fault| anyhow!(fault))?;
        let settings = settings.context("there is no copy")?;
        let connect = Direct::new(&settings)?;
        let store = Store::new(login(settings), Arc::new(connect))?;
        Ok(Opened { store, settings: config.clickhouse.context("there is no copy")? })
    }
}

pub(super) fn run(command: Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Verify(arguments) => check(arguments, output),
        Command::Query(arguments) => query::run(arguments, output),
        Command::Migrate(arguments) => bring_up(arguments, output),
    }
}

/// What was found.
#[derive(Serialize)]
struct Verdict {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    journal: Option<Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    copy: Option<CopyReport>,
}

fn own_host(state: &State) -> anyhow::Result<HostId> {
    let file = state.file(HOST_ID);
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
    Ok(text.trim().parse()?)
}

fn check(arguments: VerifyArguments, output: Output) -> anyhow::Result<()> {
    let layout = arguments.state.layout();
    let journal = match arguments.host {
        None => {
            let mut report = verify(&layout, arguments.key)?;
            if let Some(path) = &arguments.noted {
                let noted = File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
                check_noted(&layout, noted, own_host(&arguments.state)?, &mut report)?;
            }
            Some(report)
        }
        Some(_) => None,
    };
    let copy = if arguments.copy {
        let opened = arguments.login.open()?;
        let (host, here) = match arguments.host {
            Some(host) => (host, None),
            None => {
                let acknowledged = Checkpoint::open(arguments.state.file(CHECKPOINT), &opened.settings.place());
                (own_host(&arguments.state)?, Some(Here { layout: &layout, noted: arguments.key, acknowledged }))
            }
        };
        Some(runtime()?.block_on(verify_copy(&opened.store, host, here))?)
    } else {
        None
    };
    let verdict = Verdict { journal, copy };
    let text = |verdict: &Verdict| {
        let journal = verdict.journal.as_ref().map(ToString::to_string).unwrap_or_default();
        journal + &verdict.copy.as_ref().map(ToString::to_string).unwrap_or_default()
    };
    output.print(&verdict, text)?;
    if verdict.journal.is_some_and(|report| !report.is_sound()) {
        bail!("the journal is not whole: keep it as evidence");
    }
    if verdict.copy.is_some_and(|report| !report.is_sound()) {
        bail!("the copy is not what was recorded: keep both as evidence");
    }
    Ok(())
}

fn bring_up(arguments: MigrateArguments, output: Output) -> anyhow::Result<()> {
    let MigrateArguments { server, server_name, login } = arguments;
    let Opened { store, settings } = login.open_at(server.map(|url| (url, server_name)))?;
    let migrated = runtime()?.block_on(migrate(&store, &settings.database, settings.cluster.as_ref()))?;
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
