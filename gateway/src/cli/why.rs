//! `gateway why ID`: why a request was denied or held, and what would change that.
//!
//! In: the journal, and the policies that are here now. Out: each such request of a session with the policies that decided, their
//! text and place, the facts that they were asked about, what they would say now, and what to do next. It shows what was kept.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::Value as Json;

use super::events::State;
use super::policy::replay::{DECIDED, Recorded};
use super::policy::{self, Given};
use super::terminal::{visible, width, wrapped};
use super::{Files, Output};
use crate::audit::Reader;
use crate::audit::journal::{Filter, Item};
use crate::audit::time::Timestamp;
use crate::id::{SessionId, TicketId};
use crate::policy::load::{PolicyFile, find, load, read};
use crate::policy::recorded::attachment_of;
use crate::policy::{NotDecidable, PolicySnapshot};

/// The event of a request that waits.
const ASKED: &str = "approval.requested";
/// So many requests are told of, the last ones.
const MOST: usize = 20;

/// Of what.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A session, or so much of its id that only one has it; `SESSION/EVENT`, as denials name it; or a held request
    id: String,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    state: State,
}

/// All that was denied or held.
#[derive(Debug, Serialize)]
struct Answers {
    answers: Vec<Answer>,
    /// Earlier ones that are not among them.
    left_out: usize,
}

/// One request.
#[derive(Debug, Serialize)]
struct Answer {
    session: Option<SessionId>,
    event: u64,
    time: Timestamp,
    /// `deny`, `hold`, `would_deny` or `would_hold`.
    verdict: String,
    /// What the client was told.
    message: Option<String>,
    /// As it is kept.
    text: String,
    policies: Vec<Policy>,
    who: Json,
    questions: Json,
    /// What the policies that are here now say.
    now: String,
    advice: Vec<String>,
}

/// A policy that decided.
#[derive(Debug, Serialize)]
struct Policy {
    id: String,
    /// `FILE:LINE`; `None`: it is not there any more.
    place: Option<String>,
    text: Option<String>,
    /// It is shipped.
    guard: bool,
}

pub(super) fn run(arguments: &Arguments, output: Output) -> anyhow::Result<()> {
    let reader = Reader::new(arguments.state.layout());
    let (id, event) = match arguments.id.split_once('/') {
        Some((id, event)) => match event.parse() {
            Ok(event) => (id, Some(event)),
            Err(_) => bail!("`{}`: write SESSION/EVENT, with the number of the event", arguments.id),
        },
        None => (arguments.id.as_str(), None),
    };
    let session = reader.session(id)?;
    let mut refused = refused(&reader, session, event)?;
    if refused.is_empty()
        && let Ok(ticket) = id.parse()
        && let Some((session, event)) = request_of(&reader, ticket)?
    {
        refused = self::refused(&reader, session, Some(event))?;
    }
    ensure!(
        !refused.is_empty(),
        "nothing of `{}` was denied or held by a policy: `gateway replay {id}` tells all of a session, and `gateway events --kind network.` what the kernel refused",
        arguments.id
    );
    let Given { source, .. } = policy::read(&arguments.files)?;
    let files = read(&source).map_err(policy::all)?;
    let attachments = refused.iter().filter_map(|refused| attachment_of(refused.recorded.input()));
    let mut known = source.clone();
    known.known.attachments.extend(attachments.map(str::to_owned).collect::<BTreeSet<_>>());
    let set = load(&known, 1).map_err(policy::all)?;
    let left_out = refused.len().saturating_sub(MOST);
    let answers = refused.iter().skip(left_out).map(|recorded| answer(recorded, &files, &set)).collect();
    output.print(&Answers { answers, left_out }, page)
}

/// What was denied or held in a session, with the ticket of each that has one; of an event, that one alone.
fn refused(reader: &Reader, session: SessionId, event: Option<u64>) -> anyhow::Result<Vec<Refused>> {
    let kinds = DECIDED.into_iter().chain([ASKED]).map(str::to_owned).collect();
    let mut records = reader.records(Filter { session: Some(session), kinds, ..Filter::default() })?;
    let mut found: Vec<Refused> = Vec::new();
    while let Some(item) = records.next_item()? {
        let Item::Record(record) = item else { continue };
        if record.kind == ASKED {
            let of = record.body.get("request").and_then(Json::as_u64);
            if let Some(refused) = found.iter_mut().find(|refused| Some(refused.recorded.record.seq.0) == of) {
                refused.ticket = record.body.get("ticket").and_then(Json::as_str).map(str::to_owned);
            }
            continue;
        }
        let recorded = Recorded { record };
        if event.map_or_else(|| verdict(&recorded) != "allow", |event| recorded.record.seq.0 == event) {
            found.push(Refused { recorded, ticket: None });
        }
    }
    Ok(found)
}

/// The session and the event that asked for a ticket.
fn request_of(reader: &Reader, ticket: TicketId) -> anyhow::Result<Option<(SessionId, u64)>> {
    let ticket = ticket.to_string();
    let mut records = reader.records(Filter { kinds: vec![ASKED.to_owned()], ..Filter::default() })?;
    while let Some(item) = records.next_item()? {
        let Item::Record(record) = item else { continue };
        if record.body.get("ticket").and_then(Json::as_str) == Some(&ticket) {
            return Ok(record.session.zip(record.body.get("request").and_then(Json::as_u64)));
        }
    }
    Ok(None)
}

/// A recorded request that did not go on, or not at once.
struct Refused {
    recorded: Recorded,
    ticket: Option<String>,
}

fn verdict(recorded: &Recorded) -> &str {
    recorded.decision().get("verdict").and_then(Json::as_str).unwrap_or_default()
}

fn answer(Refused { recorded, ticket }: &Refused, files: &[PolicyFile], set: &PolicySnapshot) -> Answer {
    let policies: Vec<_> = recorded.policies().into_iter().map(|id| policy_of(files, id)).collect();
    let part = |name| recorded.input().get(name).cloned().unwrap_or(Json::Null);
    let message = recorded.decision().get("message").and_then(Json::as_str).map(str::to_owned);
    let (now, is_asked) = match recorded.again(set) {
        Ok(again) => {
            let by = again.policies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let name = again.verdict.name();
            (
                if by.is_empty() { format!("{name}, since no policy permits it") } else { format!("{name}, by {by}") },
                true,
            )
        }
        Err(NotDecidable::NothingAsked) => {
            ("it was refused before any policy was asked, and would be again".to_owned(), false)
        }
        Err(reason) => (format!("cannot be told: {reason}"), true),
    };
    Answer {
        session: recorded.record.session,
        event: recorded.record.seq.0,
        time: recorded.record.time,
        verdict: verdict(recorded).to_owned(),
        advice: advice(recorded, ticket.as_deref(), &policies, is_asked),
        message,
        text: recorded.text().to_owned(),
        policies,
        who: part("principal"),
        questions: part("questions"),
        now,
    }
}

fn policy_of(files: &[PolicyFile], id: String) -> Policy {
    match find(files, &id) {
        Some((file, line, text)) => {
            Policy { place: Some(format!("{}:{line}", file.name)), text: Some(text), guard: file.guard, id }
        }
        None => Policy { place: None, text: None, guard: false, id },
    }
}

/// What an operator can do about it.
fn advice(recorded: &Recorded, ticket: Option<&str>, policies: &[Policy], is_asked: bool) -> Vec<String> {
    let mut advice = Vec::new();
    let attachment = attachment_of(recorded.input()).unwrap_or("NAME");
    if verdict(recorded).ends_with("hold") {
        advice.push(match ticket {
            Some(ticket) => {
                format!("to let it go on once: `gateway approve {ticket}`, while it waits; then the same request again")
            }
            None => "held requests wait for a person: `gateway approvals`".to_owned(),
        });
    } else if policies.is_empty() && is_asked {
        let name = visible(attachment);
        advice.push(format!("no policy permits it: `gateway policy suggest --attachment {name}` writes the least that would, to be read first"));
    }
    for policy in policies {
        let id = &policy.id;
        advice.push(match &policy.place {
            Some(_) if policy.guard => {
                format!("`{id}` is shipped: `disable = [\"{id}\"]` in [policy] turns it off, for everybody")
            }
            Some(place) => {
                format!("`{id}` is yours to change: {place}; then `gateway policy test` and `gateway policy replay`")
            }
            None => format!("`{id}` is not in these policies any more"),
        });
    }
    advice
}

fn page(answers: &Answers) -> String {
    let mut page = String::new();
    if answers.left_out > 0 {
        page += &format!("the last {MOST}; {} before them are left out\n\n", answers.left_out);
    }
    for answer in &answers.answers {
        page += &told(answer);
        page.push('\n');
    }
    page
}

fn told(answer: &Answer) -> String {
    let mut page = format!("{} at {}\n", answer.verdict, answer.time);
    let mut field = |name: &str, text: &str| {
        for (number, line) in wrapped(&visible(text), width().saturating_sub(12)).iter().enumerate() {
            page += &format!("  {:<10}{line}\n", if number == 0 { name } else { "" });
        }
    };
    let session = answer.session.map(|session| session.to_string()).unwrap_or_default();
    field("request", &answer.text);
    field("told", answer.message.as_deref().unwrap_or_default());
    field("who", &entity(&answer.who));
    for question in answer.questions.as_array().into_iter().flatten() {
        let action = question.get("action").and_then(Json::as_str).unwrap_or_default();
        field("asked", &format!("{action} on {}", entity(question.get("resource").unwrap_or(&Json::Null))));
        field("", &format!("with {}", facts(question.get("context"))));
    }
    for policy in &answer.policies {
        let place = policy.place.as_deref().unwrap_or("not in these policies any more");
        field("by", &format!("{}  {place}", policy.id));
        for line in policy.text.iter().flat_map(|text| text.lines()) {
            field("", &format!("  {line}"));
        }
    }
    field("now", &answer.now);
    for advice in &answer.advice {
        field("to change", advice);
    }
    field("more", &format!("gateway replay {session}, event {}", answer.event));
    page
}

/// `Postgres::Relation "shop/public.orders" (kind table) in Target::"shop"`
fn entity(entity: &Json) -> String {
    let text = |name: &str| entity.get(name).and_then(Json::as_str).unwrap_or_default();
    let attributes = facts(entity.get("attributes"));
    let attributes = if attributes.is_empty() { String::new() } else { format!(" ({attributes})") };
    let within: Vec<_> =
        entity.get("in").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    let within = if within.is_empty() { String::new() } else { format!(" in {}", within.join(", ")) };
    format!("{} \"{}\"{attributes}{within}", text("type"), text("id"))
}

/// `command DROP TABLE, batch 1`: what is empty is left out.
fn facts(facts: Option<&Json>) -> String {
    let fields = facts.and_then(Json::as_object).into_iter().flatten();
    let told = fields.filter_map(|(name, value)| match value {
        Json::Null => None,
        Json::Array(items) if items.is_empty() => None,
        Json::String(text) => Some(format!("{name} {text}")),
        other => Some(format!("{name} {other}")),
    });
    told.collect::<Vec<_>>().join(", ")
}
