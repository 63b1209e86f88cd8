//! `gateway sessions` and `gateway events`: read back from the journal.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::terminal::visible;
use super::{Output, line};
use crate::audit::journal::{Filter, Item, Record, SessionState, SessionSummary};
use crate::audit::{Layout, Reader};
use crate::config::Config;
use crate::id::SessionId;

/// Where the journal is.
#[derive(Debug, Args)]
pub(super) struct State {
    /// The state directory
    #[arg(long, value_name = "DIR", default_value_os_t = Config::default().state_dir)]
    state_dir: PathBuf,
}

impl State {
    pub(super) fn layout(&self) -> Layout {
        Layout::new(&self.state_dir)
    }

    /// A file of the state directory.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.state_dir.join(name)
    }
}

/// Which sessions.
#[derive(Debug, Args)]
pub(super) struct SessionsArguments {
    #[command(flatten)]
    state: State,
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
    #[command(flatten)]
    state: State,
}

pub(super) fn sessions(arguments: &SessionsArguments, output: Output) -> anyhow::Result<()> {
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
    let filter = Filter { session: arguments.session, kinds: arguments.kinds.clone(), ..Filter::default() };
    let mut records = Reader::new(arguments.state.layout()).records(filter)?;
    let mut broken = 0_usize;
    while let Some(item) = records.next_item()? {
        match item {
            Item::Record(record) => print_record(&record, output)?,
            Item::Broken(place) => {
                broken += 1;
                eprintln!("gateway: {place}");
            }
        }
    }
    if broken > 0 {
        bail!("{broken} places of the journal cannot be read: run `gateway audit verify`");
    }
    Ok(())
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
