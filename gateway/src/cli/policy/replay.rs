//! `gateway policy replay`: recorded requests under other policies.
//!
//! In: the journal, and a set of policies that may not be in force anywhere. Out: what would be decided otherwise, like
//! with like, with examples. What cannot be decided again is counted and said, never taken for unchanged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use clap::Args;
use serde::Serialize;
use serde_json::Value as Json;

use super::super::events::State;
use super::super::terminal::visible;
use crate::audit::Reader;
use crate::audit::journal::{Filter, Item, Record};
use crate::audit::time::Timestamp;
use crate::policy::recorded::attachment_of;
use crate::policy::{Again, Moment, NotDecidable, PolicySnapshot, Scene, Verdict};

/// Events that hold a decision of policies.
pub(in crate::cli) const DECIDED: [&str; 4] =
    ["network.decision", "postgres.statement", "ssh.request", "kubernetes.request"];
/// Answers that are remembered; then they are found anew.
const MEMORY: usize = 100_000;
/// A text in an example is cut to so many characters.
const TEXT: usize = 160;

/// Which requests.
#[derive(Debug, Args)]
pub(in crate::cli) struct Which {
    /// Not older: 90m, 12h, 7d
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(super) since: Option<Duration>,
    /// Of this attachment
    #[arg(long, value_name = "NAME")]
    pub(super) attachment: Option<String>,
    #[command(flatten)]
    state: State,
}

/// `90m`, `12h`, `7d`.
fn span(text: &str) -> Result<Duration, String> {
    let fault = || format!("`{text}` is no time: a number and m, h or d, such as 7d");
    let unit = match text.as_bytes().last() {
        Some(b'm') => 60,
        Some(b'h') => 3_600,
        Some(b'd') => 86_400,
        _ => return Err(fault()),
    };
    let count: u64 = text.get(..text.len() - 1).and_then(|count| count.parse().ok()).ok_or_else(fault)?;
    count.checked_mul(unit).map(Duration::from_secs).ok_or_else(fault)
}

/// A recorded request, as far as policies are concerned.
pub(in crate::cli) struct Recorded {
    pub(in crate::cli) record: Record,
}

impl Recorded {
    pub(in crate::cli) fn decision(&self) -> &Json {
        self.record.body.get("decision").unwrap_or(&Json::Null)
    }

    /// The input of its decision.
    pub(in crate::cli) fn input(&self) -> &Json {
        self.decision().get("input").unwrap_or(&Json::Null)
    }

    /// What was decided, as if it had bound.
    pub(in crate::cli) fn verdict(&self) -> Option<Verdict> {
        match self.decision().get("verdict")?.as_str()? {
            "allow" => Some(Verdict::Allow),
            "hold" | "would_hold" => Some(Verdict::Hold),
            "deny" | "would_deny" => Some(Verdict::Deny),
            _ => None,
        }
    }

    /// Whether policy let it go on: a hold that was approved afterwards is not among these.
    pub(super) fn went_on(&self) -> bool {
        let verdict = self.decision().get("verdict").and_then(Json::as_str);
        matches!(verdict, Some("allow" | "would_hold" | "would_deny"))
    }

    pub(in crate::cli) fn policies(&self) -> Vec<String> {
        let policies = self.decision().get("policies").and_then(Json::as_array);
        policies.into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect()
    }

    fn actions(&self) -> Vec<String> {
        let questions = self.input().get("questions").and_then(Json::as_array);
        let mut actions: Vec<String> = questions
            .into_iter()
            .flatten()
            .filter_map(|question| question.get("action").and_then(Json::as_str).map(str::to_owned))
            .collect();
        actions.sort();
        actions.dedup();
        actions
    }

    pub(in crate::cli) fn text(&self) -> &str {
        self.record.body.get("text").and_then(Json::as_str).unwrap_or_default()
    }

    /// Decides it again.
    pub(in crate::cli) fn again(&self, set: &PolicySnapshot) -> Result<Again, NotDecidable> {
        let session = self.record.session.map(|session| session.to_string()).unwrap_or_default();
        let grants = self.decision().get("grants").and_then(Json::as_array);
        let at = UNIX_EPOCH + Duration::from_micros(self.record.time.as_micros());
        let scene = Scene {
            session: &session,
            login: self.record.body.get("login").and_then(Json::as_str).unwrap_or_default(),
            grants: grants.into_iter().flatten().filter_map(Json::as_str).collect(),
            at: Moment::at(at),
            text: self.text(),
        };
        set.decide_again(self.input(), &scene)
    }

    fn example(&self) -> Example {
        let destination = || self.record.body.get("destination").map(Json::to_string).unwrap_or_default();
        let text = if self.text().is_empty() { destination() } else { self.text().to_owned() };
        let cut: String = text.chars().take(TEXT).collect();
        Example {
            time: self.record.time,
            session: self.record.session.map(|session| session.to_string()),
            text: if cut.len() < text.len() { cut + "…" } else { cut },
        }
    }
}

/// Answers that were found, by what they rest on.
#[derive(Default)]
pub(super) struct Answers(HashMap<[u8; 32], Result<Again, NotDecidable>>);

impl Answers {
    /// What a set says to a recorded request; the same requests come back by the thousand.
    pub(super) fn of(&mut self, set: &PolicySnapshot, recorded: &Recorded) -> Result<Again, NotDecidable> {
        let part = |name| recorded.record.body.get(name).unwrap_or(&Json::Null);
        let grants = recorded.decision().get("grants").unwrap_or(&Json::Null);
        let text = format!("{}\0{}\0{grants}", recorded.input(), part("login"));
        let Ok(key) = <[u8; 32]>::try_from(digest(&SHA256, text.as_bytes()).as_ref()) else {
            return recorded.again(set);
        };
        if let Some(answer) = self.0.get(&key) {
            return answer.clone();
        }
        let answer = recorded.again(set);
        if answer.as_ref().is_ok_and(|again| again.lasts) {
            if self.0.len() >= MEMORY {
                self.0.clear();
            }
            self.0.insert(key, answer.clone());
        }
        answer
    }
}

/// Hands each recorded request to `look`; returns how many places of the journal cannot be read.
pub(super) fn each(which: &Which, mut look: impl FnMut(&Recorded)) -> anyhow::Result<usize> {
    let ago = |since: Duration| {
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        Timestamp::from_micros(Timestamp::now().as_micros().saturating_sub(micros))
    };
    let kinds = DECIDED.map(str::to_owned).to_vec();
    let filter = Filter { kinds, since: which.since.map(ago), ..Filter::default() };
    let mut records = Reader::new(which.state.layout()).records(filter)?;
    let mut broken = 0;
    while let Some(item) = records.next_item()? {
        match item {
            Item::Record(record) => {
                let recorded = Recorded { record };
                if which.attachment.as_deref().is_none_or(|name| attachment_of(recorded.input()) == Some(name)) {
                    look(&recorded);
                }
            }
            Item::Broken(_) => broken += 1,
        }
    }
    Ok(broken)
}

/// Attachments that the journal knows: one that was made by name stands in no configuration.
pub(super) fn attachments(which: &Which) -> anyhow::Result<BTreeSet<String>> {
    let filter = Filter { kinds: vec!["attachment.attached".to_owned()], ..Filter::default() };
    let mut records = Reader::new(which.state.layout()).records(filter)?;
    let mut names = BTreeSet::new();
    while let Some(item) = records.next_item()? {
        if let Item::Record(record) = item {
            names.extend(record.body.get("attachment").and_then(Json::as_str).map(str::to_owned));
        }
    }
    Ok(names)
}

/// What would be otherwise.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// The set that was asked.
    policies: String,
    /// Requests that were decided again.
    requests: u64,
    /// Of these, decided as they were.
    unchanged: u64,
    /// Refused before policy was asked, as they would be again.
    not_asked: u64,
    /// Why others cannot be decided again, and how many.
    not_decided: BTreeMap<String, u64>,
    /// What decisions rest on that is not known for sure, and how many.
    doubts: BTreeMap<String, u64>,
    /// Places of the journal that cannot be read.
    broken: usize,
    changes: Vec<Change>,
}

/// Requests that would be decided otherwise, in the same way.
#[derive(Debug, Serialize)]
struct Change {
    was: &'static str,
    now: &'static str,
    /// Policies that decided, then and now.
    policies_then: Vec<String>,
    policies_now: Vec<String>,
    actions: Vec<String>,
    requests: u64,
    /// What the client would read.
    message: String,
    examples: Vec<Example>,
}

#[derive(Debug, Serialize)]
struct Example {
    time: Timestamp,
    session: Option<String>,
    text: String,
}

type Alike = (Verdict, Verdict, Vec<String>, Vec<String>, Vec<String>);

/// Decides what `which` names again, and compares.
pub(super) fn compare(set: &PolicySnapshot, which: &Which, examples: usize) -> anyhow::Result<Report> {
    let mut report = Report { policies: set.name().to_string(), ..Report::default() };
    let mut answers = Answers::default();
    let mut changes: BTreeMap<Alike, Change> = BTreeMap::new();
    let broken = each(which, |recorded| {
        let Some(was) = recorded.verdict() else { return };
        match answers.of(set, recorded) {
            Ok(again) => report.count(recorded, was, &again, (&mut changes, examples)),
            Err(NotDecidable::NothingAsked) => report.not_asked += 1,
            Err(reason) => *report.not_decided.entry(reason.to_string()).or_default() += 1,
        }
    })?;
    report.broken = broken;
    report.changes = changes.into_values().collect();
    report.changes.sort_by_key(|change| std::cmp::Reverse(change.requests));
    Ok(report)
}

impl Report {
    fn count(
        &mut self,
        recorded: &Recorded,
        was: Verdict,
        again: &Again,
        (changes, examples): (&mut BTreeMap<Alike, Change>, usize),
    ) {
        self.requests += 1;
        for doubt in &again.doubts {
            *self.doubts.entry(doubt.to_string()).or_default() += 1;
        }
        if again.verdict == was {
            self.unchanged += 1;
            return;
        }
        let policies_now: Vec<String> = again.policies.iter().map(ToString::to_string).collect();
        let (policies_then, actions) = (recorded.policies(), recorded.actions());
        let alike = (was, again.verdict, policies_then.clone(), policies_now.clone(), actions.clone());
        let message = || again.messages.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let change = changes.entry(alike).or_insert_with(|| Change {
            was: was.name(),
            now: again.verdict.name(),
            policies_then,
            policies_now,
            actions,
            requests: 0,
            message: message(),
            examples: Vec::new(),
        });
        change.requests += 1;
        if change.examples.len() < examples {
            change.examples.push(recorded.example());
        }
    }

    /// Whether all would be as it was, for certain.
    pub(super) fn is_same(&self) -> bool {
        self.changes.is_empty() && self.not_decided.is_empty() && self.broken == 0
    }

    /// How many would be otherwise, and how many nobody knows of: a place that cannot be read may be one.
    pub(super) fn differences(&self) -> (u64, u64) {
        (
            self.changes.iter().map(|change| change.requests).sum(),
            self.not_decided.values().sum::<u64>() + self.broken as u64,
        )
    }

    /// For people.
    pub(super) fn page(&self) -> String {
        let (changed, unknown) = self.differences();
        let mut page = format!(
            "{} requests decided again by {}: {} as they were, {changed} otherwise; {unknown} cannot be decided again\n",
            self.requests, self.policies, self.unchanged
        );
        if self.not_asked > 0 {
            page += &format!("{} were refused before any policy was asked, and would be again\n", self.not_asked);
        }
        for (reason, count) in self.not_decided.iter().chain(&self.doubts) {
            page += &format!("{count}: {}\n", visible(reason));
        }
        if self.broken > 0 {
            page += &format!("{} places of the journal cannot be read: run `gateway audit verify`\n", self.broken);
        }
        for change in &self.changes {
            page += &format!("\n{} -> {}  {}  {}\n", change.was, change.now, change.requests, change.actions.join(" "));
            page += &format!("  by {}, was by {}\n", named(&change.policies_now), named(&change.policies_then));
            if !change.message.is_empty() {
                page += &format!("  {}\n", visible(&change.message));
            }
            for example in &change.examples {
                let session = example.session.as_deref().unwrap_or("-");
                page += &format!("  {}  {session}  {}\n", example.time, visible(&example.text));
            }
        }
        page
    }
}

fn named(policies: &[String]) -> String {
    if policies.is_empty() { "no permit".to_owned() } else { policies.join(", ") }
}
