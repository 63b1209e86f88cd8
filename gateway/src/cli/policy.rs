//! `gateway policy`: are the policies right, and what do they say?

pub(super) mod replay;
mod suggest;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};

use super::{Files, Output};
use crate::config::{Config, DEFAULT_FILE, SecretSource};
use crate::host::network::Network;
use crate::id::SessionId;
use crate::masking::file::MaskingFile;
use crate::masking::rules::Rules;
use crate::policy::explain::Explanation;
use crate::policy::load::{Origin, load};
use crate::policy::table::{ReadRequest, Scene};
use crate::policy::vocabulary::names::ProtocolName;
use crate::policy::vocabulary::{self, TargetFacts};
use crate::policy::{
    Fault, KnownIds, Moment, Principal, Question, Request, Session, Source, WorkloadFacts, check, explain, run_tables,
};
use crate::protocol::postgres::questions_of;
use crate::secret::Secret;

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Type-check policies against the schema and the configuration
    Check(CheckArguments),
    /// Run tables of requests and expected decisions
    Test(TestArguments),
    /// Facts, decision and deciding policies of one request
    Explain(ExplainArguments),
    /// Decide recorded requests again, and print what would change; fails where anything would
    Replay(ReplayArguments),
    /// The least permits for what an attachment did, as the journal has it
    Suggest(suggest::Arguments),
}

/// Which requests, and by which policies.
#[derive(Debug, Args)]
pub(super) struct ReplayArguments {
    #[command(flatten)]
    which: replay::Which,
    /// Examples of each change
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    examples: usize,
    #[command(flatten)]
    files: Files,
}

/// Which policies.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    files: Files,
}

/// Which request, and whose.
#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// SQL, as the client would send it. Labels count where it names their columns; those of views, the server tells
    #[arg(long)]
    sql: String,
    /// The attachment that it comes from
    #[arg(long, default_value = "none")]
    attachment: String,
    /// The target that it goes to
    #[arg(long, default_value = "undeclared")]
    target: String,
    /// The database
    #[arg(long, default_value = "postgres")]
    database: String,
    /// Schemas that unqualified names are looked for in
    #[arg(long = "schema", default_value = "public")]
    schemas: Vec<String>,
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
            let summary = check(&read(&arguments.files)?.source).map_err(all)?;
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
        Command::Explain(arguments) => output.print(&explain_one(&arguments)?, ToString::to_string),
        Command::Replay(arguments) => {
            let mut source = read(&arguments.files)?.source;
            source.known.attachments.extend(replay::attachments(&arguments.which)?);
            let set = load(&source, 1).map_err(all)?;
            let report = replay::compare(&set, &arguments.which, arguments.examples)?;
            output.print(&report, replay::Report::page)?;
            match (report.is_same(), report.differences()) {
                (true, _) => Ok(()),
                (false, (changed, unknown)) => {
                    bail!("{changed} requests would be decided otherwise, and {unknown} cannot be decided again")
                }
            }
        }
        Command::Suggest(arguments) => suggest::run(&arguments, output),
        Command::Test(arguments) => {
            let Given { source, rules, .. } = read(&arguments.files)?;
            let tables = tables(&arguments, &source)?;
            let set = load(&source, 1).map_err(all)?;
            let report = run_tables(&set, &tables, &Sql { rules }).map_err(all)?;
            output.print(&report, ToString::to_string)?;
            if report.failed() > 0 {
                bail!("{} cases are not decided as the tables want", report.failed());
            }
            Ok(())
        }
    }
}

/// Whether policies and masking file are right.
///
/// # Errors
/// With all faults.
pub(super) fn check_files(files: &Files) -> anyhow::Result<()> {
    check(&read(files)?.source).map_err(all).map(drop)
}

/// Raw requests of tables are SQL, or command lines where the case names a `user` of an SSH server.
struct Sql {
    rules: Rules,
}

impl ReadRequest for Sql {
    fn read(&self, request: &str, scene: &Scene<'_>) -> Result<Vec<Arc<Question>>, String> {
        if let Some(user) = scene.facts.get("user").and_then(|user| user.as_str()) {
            return Ok(crate::protocol::ssh::questions_of(request, scene.target, user));
        }
        let database = scene.facts.get("database").and_then(|name| name.as_str()).unwrap_or("postgres");
        let labels = self.rules.labels(scene.target.id(), database);
        questions_of(request, scene.target, database, vec!["public".to_owned()], &labels)
    }
}

fn explain_one(arguments: &ExplainArguments) -> anyhow::Result<Explanation> {
    let Given { config, source, rules } = read(&arguments.files)?;
    let set = load(&source, 1).map_err(all)?;
    let declared = config.targets.iter().find(|target| target.name == arguments.target);
    if declared.is_none() && arguments.target != vocabulary::UNDECLARED {
        bail!("the configuration has no target `{}`", arguments.target);
    }
    let attachment = config.attachments.iter().find(|attach| attach.name == arguments.attachment);
    let mut groups = attachment.map(|attach| attach.groups.clone()).unwrap_or_default();
    if source.origin == Origin::Shipped {
        groups.push(vocabulary::OPEN_GROUP.to_owned());
    }
    let principal = Principal::new(WorkloadFacts {
        name: arguments.attachment.as_str().into(),
        attachment: arguments.attachment.as_str().into(),
        groups: groups.iter().map(|group| group.as_str().into()).collect(),
        ..WorkloadFacts::default()
    });
    let address = declared.and_then(|target| target.addresses.iter().find_map(Network::host_address));
    let target = vocabulary::target(TargetFacts {
        name: &arguments.target,
        protocol: ProtocolName::Postgres,
        address: address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
        port: declared.and_then(|target| target.ports.first().copied()).unwrap_or(5432),
        environment: declared.and_then(|target| target.environment.as_deref()),
    });
    let labels = rules.labels(&arguments.target, &arguments.database);
    let questions = questions_of(&arguments.sql, &target, &arguments.database, arguments.schemas.clone(), &labels)
        .map_err(|reason| anyhow!("it would be refused before any policy is asked: {reason}"))?;
    let session = Session { id: SessionId::generate(), login: "".into(), application: None, grants: Arc::default() };
    let request = Request { principal: &principal, session: &session, at: Moment::now(), questions: &questions };
    Ok(explain(&set, &request))
}

pub(super) fn all(faults: Vec<Fault>) -> anyhow::Error {
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    anyhow!("the policies have {} faults:\n  {}", lines.len(), lines.join("\n  "))
}

/// What the files say.
pub(super) struct Given {
    pub(super) config: Config,
    pub(super) source: Source,
    pub(super) rules: Rules,
}

pub(super) fn read(files: &Files) -> anyhow::Result<Given> {
    let path = files.config.clone().or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()));
    let config = match path {
        Some(path) => {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Config::parse(&path.display().to_string(), &text)?
        }
        None => Config::default(),
    };
    let folder = files.policies.clone().or_else(|| config.policy.dir.clone());
    let rules = rules(&config)?;
    let known = KnownIds {
        targets: config.targets.iter().map(|target| target.name.clone()).collect(),
        environments: config.targets.iter().filter_map(|target| target.environment.clone()).collect(),
        attachments: config.attachments.iter().map(|attach| attach.name.clone()).collect(),
        groups: config.groups().map(str::to_owned).collect(),
        classes: rules.class_names(),
        ..KnownIds::default()
    };
    let source = Source {
        origin: folder.map_or(Origin::Shipped, |folder| Origin::Folders(vec![folder])),
        disable: config.policy.disable.iter().cloned().collect(),
        known: known.with_built_in(),
    };
    Ok(Given { config, source, rules })
}

/// The masking file, for its classes and labels. Nothing is hashed here, so that no key is read.
fn rules(config: &Config) -> anyhow::Result<Rules> {
    let Some(path) = &config.masking else { return Ok(Rules::default()) };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let no_key = |_: &SecretSource| Ok(Secret::new(vec![0; 32]));
    Ok(Rules::new(Some(MaskingFile::parse(&path.display().to_string(), &text, &no_key)?)))
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
