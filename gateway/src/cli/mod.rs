//! Commands, one thin file each.
//!
//! In: arguments. Out: text for people, or JSON for programs with `--json`; exit status 0 done, 1 failed, 2 usage.
//! Together with `main.rs` the only place that prints or exits.
#![expect(clippy::print_stderr, reason = "commands talk to the terminal")]

mod approvals;
mod attach;
mod audit;
mod callback;
mod config;
mod detach;
mod doctor;
mod events;
mod exec;
mod inside;
mod kept;
mod login;
mod manual;
mod masking;
mod own_exec;
mod policy;
mod query;
mod reference;
mod remote;
mod replay;
mod run;
mod serve;
mod status;
mod target;
mod trial;
pub(crate) mod terminal;
mod trust;
mod user;
mod why;
mod windows;

#[cfg(any(fuzzing, test))]
pub use replay::fuzzing;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use serde::Serialize;

use crate::capture::canary::{self, Trial};
use crate::chain::chain;

/// Sits between the runtimes of this host and production: judges, masks and records what they do.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, about)]
struct Cli {
    /// Print JSON for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Intercept the connections of a cgroup subtree, in the foreground
    Attach(attach::Arguments),
    /// Run a command in a fresh cgroup, intercepted
    Exec(exec::Arguments),
    /// The daemon: all attachments of the configuration
    Run(run::Arguments),
    /// Open an attachment's gate for good
    Detach(detach::Arguments),
    /// What is in force
    Status(status::Arguments),
    /// Is an attachment set up well? Tried from inside, as clients there do
    ///
    /// Exit status 0: nothing failed. 1: something did. 2: nothing is attached under that name.
    Test(trial::Arguments),
    /// What this kernel and host offer
    Doctor,
    /// Undo everything that this host has of the gateway, but for its journal
    Purge,
    /// Sessions, from the journal
    Sessions(events::SessionsArguments),
    /// One session as a timeline, from the journal
    Replay(replay::Arguments),
    /// Why a request was denied or held, and what would change that, from the journal
    Why(why::Arguments),
    /// Requests that wait for a person
    Approvals(approvals::ListArguments),
    /// Let a held request go on, once
    Approve(approvals::Arguments),
    /// Refuse a held request
    Deny(approvals::Arguments),
    /// Log in at the console of a gateway, here or elsewhere, in a browser
    Login(login::Arguments),
    /// End that login
    Logout(login::LogoutArguments),
    /// Ask for a window: a workload may do at a target what policies say of it, until a time
    Request(windows::RequestArguments),
    /// The windows that are open
    Windows,
    /// End a window, and the sessions that rest on it
    Revoke(windows::RevokeArguments),
    /// Events, from the journal
    Events(events::EventsArguments),
    /// The journal: is it whole? And the schema of its copy
    #[command(subcommand)]
    Audit(audit::Command),
    /// Policies: are they right, and what do they say?
    #[command(subcommand)]
    Policy(policy::Command),
    /// What is masked: is the file right, and what do its masks look like?
    #[command(subcommand)]
    Masking(masking::Command),
    /// The configuration: what is in force, what would be, and what may stand in it
    #[command(subcommand)]
    Config(config::Command),
    /// Targets: what may their credentials do?
    #[command(subcommand)]
    Target(target::Command),
    /// What a client must trust
    Trust(trust::Arguments),
    #[command(hide = true)]
    Engine,
    #[command(hide = true)]
    Shipper,
    #[command(hide = true)]
    Console,
    #[command(hide = true)]
    Metrics,
    #[command(hide = true)]
    Canary {
        #[arg(long)]
        cgroup: PathBuf,
        #[arg(long)]
        connect: bool,
        #[arg(long)]
        lsm: bool,
    },
    #[command(hide = true)]
    Inside,
    #[command(hide = true)]
    Readable {
        #[arg(long = "pid")]
        pids: Vec<i32>,
        #[arg(long)]
        closed: Vec<PathBuf>,
        #[arg(long)]
        anchors: bool,
    },
    #[command(hide = true)]
    ExecChild(exec::ChildArguments),
    /// Print a page of the documentation that is made of the program itself
    #[command(hide = true, subcommand)]
    Reference(reference::Command),
    /// Write man pages and shell completions, for packages
    #[command(hide = true)]
    Manual {
        /// An existing folder
        directory: PathBuf,
    },
}

/// Where configuration and policies are.
#[derive(Debug, Clone, Default, Args)]
struct Files {
    /// The configuration [default: /etc/gateway/gateway.toml, where it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Policy files (*.cedar) [default: the configuration's, else the shipped ones]
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
}

/// How a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Text,
    Json,
}

impl Output {
    /// Prints a value as JSON, or as its text.
    fn print<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        match self {
            Self::Json => line(&serde_json::to_string_pretty(value)?),
            Self::Text => line(text(value).trim_end()),
        }
    }
}

/// Prints a line. A reader that has seen enough, as `head` does, is no failure: there is nobody left to tell.
fn line(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = if cli.json { Output::Json } else { Output::Text };
    start_log();
    let result = match cli.command {
        Command::Attach(arguments) => attach::run(arguments, output),
        Command::Exec(arguments) => return exec::run(arguments),
        Command::Run(arguments) => run::run(arguments),
        Command::Detach(arguments) => detach::run(&arguments, output),
        Command::Status(arguments) => status::run(&arguments, output),
        Command::Test(arguments) => return trial::run(arguments, output).unwrap_or_else(|error| fail(error.as_ref())),
        Command::Doctor => doctor::run(output),
        Command::Purge => detach::purge(),
        Command::Sessions(arguments) => events::sessions(&arguments, output),
        Command::Replay(arguments) => replay::run(&arguments, output),
        Command::Why(arguments) => why::run(&arguments, output),
        Command::Approvals(arguments) => approvals::list(&arguments, output),
        Command::Approve(arguments) => approvals::decide(arguments, true, output),
        Command::Deny(arguments) => approvals::decide(arguments, false, output),
        Command::Login(arguments) => login::run(&arguments, output),
        Command::Logout(arguments) => login::log_out(&arguments, output),
        Command::Request(arguments) => windows::request(arguments, output),
        Command::Windows => windows::list(output),
        Command::Revoke(arguments) => windows::revoke(arguments, output),
        Command::Events(arguments) => events::events(&arguments, output),
        Command::Audit(command) => audit::run(command, output),
        Command::Policy(command) => policy::run(command, output),
        Command::Masking(command) => masking::run(command, output),
        Command::Config(command) => config::run(command, output),
        Command::Target(command) => return target::run(command, output).unwrap_or_else(|error| fail(error.as_ref())),
        Command::Trust(arguments) => trust::run(&arguments),
        Command::Engine => crate::engine::run(),
        Command::Shipper => crate::shipper::run(),
        Command::Console => crate::console::run(),
        Command::Metrics => crate::metrics::run(),
        Command::Canary { cgroup, connect, lsm } => {
            let trials = [(connect, Trial::Connect), (lsm, Trial::Lsm)];
            let trials: Vec<_> = trials.into_iter().filter_map(|(asked, trial)| asked.then_some(trial)).collect();
            canary::sing(&cgroup, &trials).map_err(Into::into)
        }
        Command::Inside => inside::run(),
        Command::Readable { pids, anchors: true, .. } => trial::look(&pids),
        Command::Readable { pids, closed, .. } => target::look(&pids, &closed),
        Command::ExecChild(arguments) => exec::child(arguments),
        Command::Reference(page) => reference::run(&page),
        Command::Manual { directory } => manual::write(&Cli::command(), &directory),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref()),
    }
}

fn fail(error: &(dyn Error + 'static)) -> ExitCode {
    eprintln!("gateway: {}", chain(error));
    ExitCode::FAILURE
}

fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}
