//! `gateway replay`: one session as a timeline.
//!
//! In: the journal. Out: who connected where, each request with its decision, what people said and what came of it, on
//! at most 120 columns. It shows what was kept, never more, and nothing of it raw.

mod csv;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod kubernetes;
mod ssh;

use anyhow::bail;
use clap::Args;
use serde::de::DeserializeOwned;

use super::events::State;
use super::terminal::{duration, visible, width, wrapped};
use super::{Output, line};
use crate::audit::Reader;
use crate::audit::event::{
    ApprovalDecided, ApprovalEnded, ApprovalRequested, Counters, CredentialUsed, Decision, EndCause, KubernetesRequest,
    Mode, NetworkDecision, Phase, PostgresOutcome, PostgresStatement, SessionEnd, SessionStart, SshRequest,
    SshTransfer, Status, Verdict,
};
use crate::audit::journal::{Record, SessionState, Step, Timeline};

/// Columns of the offset and of the verdict.
const OFFSET: usize = 11;
const VERDICT: usize = 7;
/// Rows of one result that are shown.
const ROWS: usize = 100;
/// Lines of one text that are shown: a program that reads all of it uses `--json`.
const LINES: usize = 24;

/// Which session.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Its id, or so much of its beginning that only one has it
    id: String,
    /// Print its steps as CSV
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    recording: ssh::Which,
    #[command(flatten)]
    state: State,
}

pub(super) fn run(arguments: &Arguments, output: Output) -> anyhow::Result<()> {
    let reader = Reader::new(arguments.state.layout());
    let is_page = output == Output::Text && !arguments.csv && !arguments.recording.is_wanted();
    let begun = if is_page { beginning(&reader, &arguments.id)? } else { String::new() };
    let timeline = reader.timeline(&arguments.id)?;
    if arguments.recording.is_wanted() {
        return arguments.recording.run(&timeline);
    }
    match output {
        Output::Json => output.print(&timeline, |_| String::new())?,
        Output::Text if arguments.csv => line(csv::csv(&timeline).trim_end())?,
        Output::Text => {
            let page = Page::of(&timeline, width());
            line(page.strip_prefix(&begun).unwrap_or(&page))?;
        }
    }
    match timeline.broken.first() {
        Some(place) => bail!(
            "{} places of the journal cannot be read, so that a step may be missing; the first: {place}; run `gateway audit verify`",
            timeline.broken.len()
        ),
        None => Ok(()),
    }
}

/// Prints what is known at once of a session that is named by its whole id, and returns it: the rest takes a look at every line
/// of every journal.
fn beginning(reader: &Reader, id: &str) -> anyhow::Result<String> {
    let Ok(session) = id.parse() else { return Ok(String::new()) };
    let Some(timeline) = reader.beginning(session)? else { return Ok(String::new()) };
    let page = Page::beginning(&timeline, width());
    line(page.strip_suffix('\n').unwrap_or(&page))?;
    Ok(page)
}

/// Text with a column for offsets and one for verdicts.
struct Page {
    text: String,
    width: usize,
}

impl Page {
    fn of(timeline: &Timeline, width: usize) -> String {
        let mut page = Self { text: Self::beginning(timeline, width), width };
        page.end(timeline);
        page.text.truncate(page.text.trim_end().len());
        page.text
    }

    /// Without its end.
    fn beginning(timeline: &Timeline, width: usize) -> String {
        let mut page = Self { text: String::new(), width };
        page.head(timeline);
        let mut previous = None;
        for step in &timeline.steps {
            page.step(step, timeline, previous);
            previous = Some(step);
        }
        page.text
    }

    fn head(&mut self, timeline: &Timeline) {
        let summary = &timeline.summary;
        self.text += &format!("session {}\n", summary.session);
        self.field("start", &summary.started.to_string());
        match &summary.start {
            Some(start) => self.who(start),
            None => self.field("who", "unknown: its start cannot be read"),
        }
        let statements = timeline.steps.iter().filter_map(|step| read::<PostgresStatement>(&step.record));
        if let Some(login) = statements.map(|statement| (statement.login, statement.database)).next() {
            self.field("login", &format!("{}, database {}", login.0, login.1));
        }
        self.text.push('\n');
    }

    fn who(&mut self, start: &SessionStart) {
        let who = &start.who;
        let attachment =
            if who.attachment == who.workload { String::new() } else { format!(", attachment {}", who.attachment) };
        self.field("who", &format!("{}{attachment}", who.workload));
        self.field("process", &format!("{}, pid {}, uid {}", who.executable, who.pid, who.uid));
        self.field("cgroup", &who.cgroup);
        if let Some(container) = &who.container {
            let pod = [&container.pod_namespace, &container.pod_name].map(String::as_str).join("/");
            let pod = if pod == "/" { String::new() } else { format!(", pod {pod}") };
            self.field("inside", &format!("container {} {}{pod}", container.id, container.image));
        }
        if let Some(token) = &who.token {
            self.field("token", &format!("{} of {}", token.subject, token.issuer));
        }
        let to = &start.destination;
        let target = to.target.as_deref().unwrap_or("undeclared");
        let environment = to.environment.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
        self.field("to", &format!("{target}{environment}: {} at {}, port {}", to.protocol, to.address, to.port));
        if let Some(parent) = start.parent {
            self.field("parent", &parent.to_string());
        }
        if start.mode == Mode::Observe {
            self.field("mode", "observe: nothing was blocked");
        }
    }

    fn field(&mut self, name: &str, value: &str) {
        let lines = wrapped(&visible(value), self.width - OFFSET).into_iter();
        for (line, name) in lines.zip(std::iter::once(name).chain(std::iter::repeat(""))) {
            self.text += &format!("  {name:<0$}{line}\n", OFFSET - 2);
        }
    }

    fn step(&mut self, step: &Step, timeline: &Timeline, previous: Option<&Step>) {
        let (offset, record) = (Some(step.offset_us), &step.record);
        match record.kind.as_str() {
            // Head and end tell of them.
            "session.start" | "session.end" => return,
            "postgres.statement" => {
                if let Some(statement) = read::<PostgresStatement>(record) {
                    let before = previous.and_then(|step| read(&step.record));
                    self.entry(offset, verdict(&statement.decision), &asked(&statement, before.as_ref()));
                    self.note(&decided(&statement.decision));
                    self.approval(step, timeline);
                    return self.outcome(step, &statement, timeline);
                }
            }
            "ssh.request" => {
                if let Some(request) = read::<SshRequest>(record) {
                    self.entry(offset, verdict(&request.decision), &ssh::asked(&request));
                    self.note(&decided(&request.decision));
                    self.approval(step, timeline);
                    if let Some(outcome) = &step.outcome {
                        self.note(&read(outcome).map_or_else(|| as_kept(outcome), |outcome| ssh::came_of_it(&outcome)));
                    }
                    return;
                }
            }
            "ssh.transfer" => {
                if let Some(transfer) = read::<SshTransfer>(record) {
                    return self.entry(offset, "", &ssh::transferred(&transfer));
                }
            }
            "kubernetes.request" => {
                if let Some(request) = read::<KubernetesRequest>(record) {
                    self.entry(offset, verdict(&request.decision), &kubernetes::asked(&request));
                    self.note(&decided(&request.decision));
                    self.approval(step, timeline);
                    if let Some(outcome) = &step.outcome {
                        match read(outcome) {
                            Some(outcome) => {
                                self.note(&kubernetes::came_of_it(&outcome));
                                kubernetes::bodies(&outcome).iter().for_each(|text| self.note(text));
                            }
                            None => self.note(&as_kept(outcome)),
                        }
                    }
                    return;
                }
            }
            // `--play` shows them.
            "ssh.frames" | "kubernetes.frames" => return,
            "network.decision" => {
                if let Some(NetworkDecision { decision, .. }) = read(record) {
                    self.entry(offset, verdict(&decision), "connect");
                    return self.note(&decided(&decision));
                }
            }
            "credential.used" => {
                if let Some(CredentialUsed { credential, server_identity, .. }) = read(record) {
                    let text = format!("the gateway's own credential {credential}; server known by: {server_identity}");
                    return self.entry(offset, "", &text);
                }
            }
            _ => {}
        }
        self.entry(offset, "", &as_kept(record));
        self.approval(step, timeline);
        if let Some(outcome) = &step.outcome {
            self.note(&as_kept(outcome));
        }
    }

    fn approval(&mut self, step: &Step, timeline: &Timeline) {
        let after = |record: &Record| duration(record.time.as_micros().saturating_sub(step.record.time.as_micros()));
        for record in &step.approval {
            let text = match record.kind.as_str() {
                "approval.requested" => read(record).map(|asked: ApprovalRequested| {
                    let changed = asked.changed.map(|rows| format!("its commit waits, rows that it changed: {rows}; "));
                    let changed = changed.unwrap_or_default();
                    let changes = asked.changes.iter().map(|change| format!("; {change}")).collect::<String>();
                    format!("{changed}request {}, asked of {}{changes}", asked.ticket, asked.groups.join(", "))
                }),
                "approval.decided" => read(record).map(|vote: ApprovalDecided| {
                    let said = if vote.verdict == Verdict::Allow { "approved" } else { "denied" };
                    let groups = vote.groups.join(", ");
                    let groups = if groups.is_empty() { groups } else { format!(" for {groups}") };
                    let reason = vote.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                    format!("{} {said} it{groups} after {}, by {}{reason}", vote.person, after(record), vote.channel)
                }),
                "approval.consumed" if step.used_approval => {
                    read(record).map(|end: ApprovalEnded| format!("{}, once, after {}", end.reason, after(record)))
                }
                "approval.consumed" => Some(match record.session.filter(|at| *at != timeline.summary.session) {
                    Some(other) => format!("the approval was used in session {other}"),
                    None => "the approval was used when it was sent again".to_owned(),
                }),
                "approval.expired" => read(record)
                    .map(|end: ApprovalEnded| format!("it ended unused: {}, after {}", end.reason, after(record))),
                _ => None,
            };
            self.note(&text.unwrap_or_else(|| as_kept(record)));
        }
    }

    fn outcome(&mut self, step: &Step, statement: &PostgresStatement, timeline: &Timeline) {
        if let Some(record) = &step.outcome {
            match read(record) {
                Some(outcome) => {
                    self.note(&came_of_it(&outcome));
                    self.results(&outcome);
                }
                None => self.note(&as_kept(record)),
            }
            return;
        }
        let was_sent = match statement.decision.verdict {
            Verdict::Deny => false,
            Verdict::Hold => step.used_approval,
            Verdict::Allow | Verdict::WouldDeny | Verdict::WouldHold => true,
        };
        // Only what runs has an outcome.
        if was_sent && matches!(statement.phase, Phase::Query | Phase::Execute | Phase::Bind) {
            let is_open = timeline.summary.state == SessionState::Open;
            self.note(if is_open { "no outcome yet" } else { "no outcome is recorded" });
        }
    }

    /// The rows that were kept, a line each.
    fn results(&mut self, outcome: &PostgresOutcome) {
        for result in &outcome.results {
            if !result.columns.is_empty() {
                self.note(&result.columns.join(" | "));
            }
            for row in result.rows.iter().take(ROWS) {
                let values: Vec<_> = row.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
                self.note(&values.join(" | "));
            }
            let more = result.more + (result.rows.len().saturating_sub(ROWS)) as u64;
            if more > 0 {
                self.note(&format!("… and {more} more"));
            }
        }
        if let Some(why) = &outcome.results_left_out {
            self.note(&format!("its rows are not all kept: {why}"));
        }
    }

    fn end(&mut self, timeline: &Timeline) {
        let since = |time: u64| time.saturating_sub(timeline.summary.started.as_micros());
        match &timeline.summary.state {
            SessionState::Open => self.entry(None, "open", "it still runs"),
            SessionState::Lost => {
                self.entry(None, "LOST", "its engine died: what it did after the last line is not recorded");
            }
            SessionState::Ended { at, end: Some(end) } => self.ended(since(at.as_micros()), end),
            SessionState::Ended { at, end: None } => {
                self.entry(Some(since(at.as_micros())), "end", "how cannot be read");
            }
        }
    }

    fn ended(&mut self, at: u64, end: &SessionEnd) {
        self.entry(Some(at), "end", cause(end.cause));
        let Counters { bytes_sent, bytes_received, requests, denied, held, rows_returned } = end.counters;
        let requests = count(requests, "request");
        self.note(&format!(
            "{requests}: {denied} denied, {held} held; {}; {bytes_sent} bytes to the server, {bytes_received} back",
            count(rows_returned, "row")
        ));
    }

    /// A first line with its columns, and what does not fit on it.
    fn entry(&mut self, offset: Option<u64>, verdict: &str, text: &str) {
        let offset = offset.map(clock).unwrap_or_default();
        let indent = OFFSET + VERDICT;
        let mut lines = wrapped(text, self.width - indent);
        let left_out = lines.len().saturating_sub(LINES);
        lines.truncate(LINES);
        if left_out > 0 {
            lines.push(format!("… {left_out} more lines: `gateway replay --json` has all that was kept"));
        }
        for (number, line) in lines.iter().enumerate() {
            let (offset, verdict) = if number == 0 { (offset.as_str(), verdict) } else { ("", "") };
            let offset = format!("{offset:>0$}", OFFSET - 2);
            self.text += format!("{offset}  {verdict:<VERDICT$}{line}").trim_end();
            self.text.push('\n');
        }
    }

    /// Lines below an entry.
    fn note(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let indent = OFFSET + VERDICT + 2;
        for line in wrapped(&visible(text), self.width - indent) {
            self.text += format!("{:indent$}{line}", "").trim_end();
            self.text.push('\n');
        }
    }
}

fn read<T: DeserializeOwned>(record: &Record) -> Option<T> {
    T::deserialize(&record.body).ok()
}

/// A record of a kind or form that this version does not know.
fn as_kept(record: &Record) -> String {
    format!("{} {}", record.kind, record.body)
}

/// Seconds since the start, to the millisecond.
fn clock(micros: u64) -> String {
    let (seconds, millis) = (micros / 1_000_000, micros / 1_000 % 1_000);
    match seconds {
        0..60 => format!("{seconds}.{millis:03}"),
        60..3_600 => format!("{}:{:02}.{millis:03}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60),
    }
}

fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn verdict(decision: &Decision) -> &'static str {
    match decision.verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "DENY",
        Verdict::Hold => "HOLD",
        Verdict::WouldDeny => "(deny)",
        Verdict::WouldHold => "(hold)",
    }
}

fn decided(decision: &Decision) -> String {
    let policies: Vec<_> = decision.policies.iter().map(AsRef::as_ref).collect();
    let by = if policies.is_empty() { String::new() } else { format!("by {}", policies.join(", ")) };
    match (&decision.message, by.is_empty()) {
        (Some(message), true) => message.clone(),
        (Some(message), false) => format!("{by}: {message}"),
        (None, _) => by,
    }
}

/// What was asked; the text of a statement that comes in steps is shown once.
fn asked(statement: &PostgresStatement, before: Option<&PostgresStatement>) -> String {
    let text = statement.text.as_str();
    let is_again = || before.is_some_and(|before| before.text == statement.text && before.phase != Phase::Query);
    match statement.phase {
        Phase::Login => format!("log in as {} to {}", statement.login, statement.database),
        Phase::Query => text.to_owned(),
        Phase::Parse => format!("prepare: {text}"),
        Phase::Bind | Phase::Execute if is_again() => "run it".to_owned(),
        Phase::Bind | Phase::Execute => format!("run: {text}"),
    }
}

fn came_of_it(outcome: &PostgresOutcome) -> String {
    let took = duration(outcome.duration_us);
    let rows = match (outcome.rows_returned, outcome.rows_affected) {
        (0, 0) => "done".to_owned(),
        (returned, 0) => count(returned, "row"),
        (0, changed) => format!("{} changed", count(changed, "row")),
        (returned, changed) => format!("{} changed, {returned} returned", count(changed, "row")),
    };
    let mut text = match outcome.status {
        Status::Ok => format!("{rows} in {took}"),
        Status::Error => {
            format!("the server refused it after {took}: SQLSTATE {}", outcome.sqlstate.as_deref().unwrap_or("unknown"))
        }
        Status::Refused => format!("refused after {took}"),
        Status::Cancelled => format!("cancelled after {took}"),
        Status::Lost => format!("the connection was lost after {took}, before an answer"),
    };
    for (what, classes) in [("masked", &outcome.masked), ("shown in the clear", &outcome.shown)] {
        if !classes.is_empty() {
            let list: Vec<_> = classes.iter().map(|(class, values)| format!("{class} {values}")).collect();
            text += &format!("; {what}: {}", list.join(", "));
        }
    }
    text
}

fn cause(cause: EndCause) -> &'static str {
    match cause {
        EndCause::Client => "the client closed",
        EndCause::Server => "the server closed or failed",
        EndCause::Policy => "ended by policy",
        EndCause::Token => "the token ended",
        EndCause::Approval => "the approval ended",
        EndCause::Operator => "an operator ended it",
        EndCause::Protocol => "a message that was not understood",
        EndCause::Limit => "a limit was reached",
        EndCause::Disk => "the disk is full",
        EndCause::Shutdown => "the gateway stopped",
        EndCause::Dropped => "its task ended without a word: a fault of the gateway",
    }
}

#[cfg(test)]
mod tests;
