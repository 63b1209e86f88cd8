//! `gateway sessions` and `gateway events`: read back from the journal.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::remote::{At, Remote};
use super::serve::runtime;
use super::terminal::visible;
use super::{Output, line};
use crate::audit::journal::{Filter, Item, Record, SessionState, SessionSummary};
use crate::audit::{Layout, Reader};
use crate::config::Config;
use crate::id::SessionId;

/// How often a journal that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where the journal is.
#[derive(Debug, Args)]
pub(super) struct State {
    /// The state directory [default: /var/lib/gateway]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl State {
    pub(super) fn layout(&self) -> Layout {
        Layout::new(&self.directory())
    }

    /// A file of the state directory.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn directory(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(|| Config::default().state_dir)
    }
}

/// Which sessions.
#[derive(Debug, Args)]
pub(super) struct SessionsArguments {
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    at: At,
}

/// What a console answers.
#[derive(Deserialize)]
struct Found {
    sessions: Vec<SessionSummary>,
    complete: bool,
}

/// Which events.
#[derive(Debug, Args)]
pub(super) struct EventsArguments {
    /// Of this session
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// Of this kind; `postgres.` stands for all that begin so
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Of this workload, whatever protocol it speaks
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    /// Go on with what happens from now on, until it is interrupted
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    state: State,
}

pub(super) fn sessions(arguments: &SessionsArguments, output: Output) -> anyhow::Result<()> {
    // A directory that is named is on this host, whatever the environment says.
    let is_here = arguments.state.state_dir.is_some();
    if is_here && arguments.at.is_named() {
        bail!("--state-dir is of this host, --console of another: name one of them");
    }
    if !is_here && let Some(console) = arguments.at.remote()? {
        return sessions_at(&console, output);
    }
    let (sessions, broken) = Reader::new(arguments.state.layout()).sessions()?;
    output.print(&sessions, |sessions| sessions.iter().map(session_line).collect())?;
    match broken.first() {
        Some(place) => bail!(
            "{} places of the journal cannot be read, the first: {place}; run `gateway audit verify`",
            broken.len()
        ),
        None => Ok(()),
    }
}

/// Those that a console shows: the newest, in the order of their start.
fn sessions_at(console: &Remote, output: Output) -> anyhow::Result<()> {
    let mut found: Found = runtime()?.block_on(console.get("/api/v1/sessions"))?;
    found.sessions.reverse();
    output.print(&found.sessions, |sessions| sessions.iter().map(session_line).collect())?;
    if !found.complete {
        eprintln!("gateway: these are the newest: {} has more", console.url());
    }
    Ok(())
}

fn session_line(session: &SessionSummary) -> String {
    let (who, to) = match &session.start {
        Some(start) => {
            let destination = &start.destination;
            let target = destination.target.as_deref().unwrap_or("undeclared");
            let to = format!("{} {}:{} ({target})", destination.protocol, destination.address, destination.port);
            (visible(&format!("{} pid {} {}", start.who.workload, start.who.pid, start.who.executable)), to)
        }
        None => ("unknown".to_owned(), "unknown".to_owned()),
    };
    let state = match &session.state {
        SessionState::Open => "open".to_owned(),
        SessionState::Lost => "lost with its engine".to_owned(),
        SessionState::Ended { end: Some(end), .. } => {
            let counters = &end.counters;
            format!(
                "{:?}, {} requests, {} denied, {} rows",
                end.cause, counters.requests, counters.denied, counters.rows_returned
            )
            .to_lowercase()
        }
        SessionState::Ended { end: None, .. } => "ended".to_owned(),
    };
    format!("{}  {}  {who}  →  {to}  {state}\n", session.started, session.session)
}

pub(super) fn events(arguments: &EventsArguments, output: Output) -> anyhow::Result<()> {
    // A workload's events are found by the start of their session, which is of another kind.
    let kinds = if arguments.workload.is_some() { Vec::new() } else { arguments.kinds.clone() };
    let filter = Filter { session: arguments.session, kinds, ..Filter::default() };
    let wanted = Filter { kinds: arguments.kinds.clone(), ..Filter::default() };
    let mut records = Reader::new(arguments.state.layout()).records(filter)?;
    let mut workloads = Workloads::default();
    let mut broken = 0_usize;
    loop {
        match records.next_item()? {
            Some(Item::Record(record)) => {
                let whose = arguments.workload.as_ref().is_none_or(|name| workloads.of(&record).as_ref() == Some(name));
                if whose && wanted.accepts_kind(&record.kind) {
                    print_record(&record, output)?;
                }
            }
            Some(Item::Broken(place)) => {
                broken += 1;
                eprintln!("gateway: {place}");
            }
            None if arguments.follow => {
                std::thread::sleep(LOOK_EVERY);
                records.refresh()?;
            }
            None => break,
        }
    }
    if broken > 0 {
        bail!("{broken} places of the journal cannot be read: run `gateway audit verify`");
    }
    Ok(())
}

/// Whose sessions are open.
#[derive(Debug, Default)]
struct Workloads(BTreeMap<SessionId, String>);

impl Workloads {
    /// Whose record it is: it says so itself, or the start of its session did.
    fn of(&mut self, record: &Record) -> Option<String> {
        let Some(session) = record.session else { return own(record) };
        if let Some(name) = own(record) {
            self.0.insert(session, name);
        }
        let ends = record.kind == "session.end";
        if ends { self.0.remove(&session) } else { self.0.get(&session).cloned() }
    }
}

fn own(record: &Record) -> Option<String> {
    record.body.get("who")?.get("workload")?.as_str().map(str::to_owned)
}

/// A line each, so that the output can be followed and filtered.
fn print_record(record: &Record, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Json => line(&serde_json::to_string(record)?),
        Output::Text => {
            let session = record.session.map(|session| format!("{session} ")).unwrap_or_default();
            line(&format!("{}  {session}{}  {}", record.time, record.kind, escaped(&record.body)?))
        }
    }
}

/// JSON escapes control characters; those that turn the direction of writing it does not.
fn escaped(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(visible(&serde_json::to_string(value)?))
}
