//! What waits for people, as tickets of Jira or ServiceNow.
//!
//! In: events of approvals, one at a time. Out: a ticket for each request, and a comment on it for all that becomes of it; what
//! the ticket is called there, for the warden. A ticket is looked for before it is made, by what names the request in it, so
//! that one made before a crash is found again; what their search does not show yet may be made twice, and is
//! never left out. What comes back is believed as far as a key goes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::connect::Sockets;
use super::words::TicketsTo;
use crate::audit::clickhouse::{Connect, Origin};
use crate::audit::feed::Event;
use crate::bridge::FiledAs;
use crate::config::System;
use crate::http::{self, Asked, Method, OF_ISSUERS, escaped};

/// Tickets that are known by heart; others are looked for.
const MOST: usize = 1_000;
/// The longest value that stands in a field, and the longest title, in characters.
const LONGEST: usize = 4_000;
const LONGEST_TITLE: usize = 150;
/// The fields that are titles: one line, and no markup.
const TITLES: [&str; 2] = ["summary", "short_description"];
/// What has a meaning in Jira's text (Atlassian, "Text formatting notation").
const MARKUP: &str = r"{}[]!|*_~^+-?#@\";

/// The fields of a ticket, where no template says them.
const JIRA: &str = r#"{
    "project": { "key": "{project}" }, "issuetype": { "name": "{issue_type}" },
    "summary": "{workload} waits for a yes at {destination}",
    "description": "{workload} on {host} waits at {destination}:\n\n{summary}\n\nHeld by {policies}; a yes takes {needed} of {groups}, until {expires}.\n\n{decide}"
}"#;
const SERVICENOW: &str = r#"{
    "short_description": "{workload} waits for a yes at {destination}",
    "description": "{workload} on {host} waits at {destination}:\n\n{summary}\n\nHeld by {policies}; a yes takes {needed} of {groups}, until {expires}.\n\n{decide}"
}"#;

/// A system of tickets.
pub(super) struct Tickets {
    to: TicketsTo,
    sockets: Sockets,
    known: Mutex<BTreeMap<String, Found>>,
}

/// A ticket there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    /// What people call it.
    key: String,
    /// What its API calls it.
    id: String,
}

impl Tickets {
    pub(super) fn new(to: TicketsTo, sockets: Sockets) -> Self {
        Self { to, sockets, known: Mutex::default() }
    }

    /// Tells of one event; what a request is called there now.
    pub(super) async fn tell(&self, origin: &Origin, event: &Event) -> Result<Option<FiledAs>, String> {
        let comment = comment(event);
        let Some(ticket) = event.text("/ticket").filter(|_| event.asks() || comment.is_some()) else { return Ok(None) };
        let known = self.known.lock().get(ticket).cloned();
        let found = match known {
            Some(found) => Some(found),
            None => self.find(ticket).await?,
        };
        if !event.asks() {
            if let (Some(found), Some(comment)) = (found, comment) {
                self.comment(&found, &comment).await?;
            }
            return Ok(None);
        }
        let found = match found {
            Some(found) => found,
            None => self.make(ticket, self.fields(origin, event, ticket)?).await?,
        };
        let mut known = self.known.lock();
        // Ids begin with their time: the first is the oldest.
        if known.len() >= MOST {
            known.pop_first();
        }
        known.insert(ticket.to_owned(), found.clone());
        let parsed = ticket.parse().map_err(|_| "the journal names no request".to_owned())?;
        Ok(Some(FiledAs { ticket: parsed, system: self.to.name.clone(), url: self.page(&found), key: found.key }))
    }

    /// The fields of a ticket about a request.
    fn fields(&self, origin: &Origin, event: &Event, ticket: &str) -> Result<Value, String> {
        let shipped = match self.to.system {
            System::Jira { .. } => JIRA,
            System::ServiceNow { .. } => SERVICENOW,
        };
        let template = self.to.template.as_deref().unwrap_or(shipped);
        let template: Map<String, Value> =
            serde_json::from_str(template).map_err(|error| format!("the template is no object of JSON: {error}"))?;
        let mut words = words(origin, event, ticket, self.to.console.as_deref());
        if let System::Jira { project, issue_type } = &self.to.system {
            words.insert("project", project.clone());
            words.insert("issue_type", issue_type.clone());
        }
        let is_jira = matches!(self.to.system, System::Jira { .. });
        let field = |(name, value): (String, Value)| {
            let is_title = TITLES.contains(&name.as_str());
            let value = filled(value, &words, is_jira && !is_title);
            let value = match value {
                Value::String(text) if is_title => Value::String(title(&text)),
                value => value,
            };
            (name, value)
        };
        let mut fields: Map<String, Value> = template.into_iter().map(field).collect();
        match &self.to.system {
            System::Jira { .. } => {
                let labels = fields.entry("labels").or_insert_with(|| json!([]));
                labels.as_array_mut().ok_or("`labels` of the template is no list")?.push(label(ticket).into());
            }
            System::ServiceNow { .. } => {
                fields.insert("correlation_id".to_owned(), label(ticket).into());
            }
        }
        Ok(Value::Object(fields))
    }

    async fn find(&self, ticket: &str) -> Result<Option<Found>, String> {
        match &self.to.system {
            System::Jira { project, .. } => {
                let query = format!("project = \"{project}\" AND labels = \"{}\"", label(ticket));
                let query = format!("jql={}&fields=summary&maxResults=2", escaped(&query));
                // Cloud knows the first alone, Data Center the second.
                for path in ["/rest/api/2/search/jql", "/rest/api/2/search"] {
                    if let Some(answer) = self.ask(Method::GET, &format!("{path}?{query}"), None).await? {
                        return answer.pointer("/issues/0").map(of_jira).transpose();
                    }
                }
                Err("it has no search at /rest/api/2".to_owned())
            }
            System::ServiceNow { table } => {
                let query = escaped(&format!("correlation_id={}", label(ticket)));
                let path = format!(
                    "/api/now/table/{table}?sysparm_query={query}&sysparm_fields=number,sys_id&sysparm_limit=2"
                );
                let answer = self.asked(Method::GET, &path, None).await?;
                answer.pointer("/result/0").map(of_servicenow).transpose()
            }
        }
    }

    async fn make(&self, ticket: &str, fields: Value) -> Result<Found, String> {
        let made = match &self.to.system {
            System::Jira { .. } => {
                let answer = self.asked(Method::POST, "/rest/api/2/issue", Some(json!({ "fields": fields }))).await?;
                of_jira(&answer)
            }
            System::ServiceNow { table } => {
                let path = format!("/api/now/table/{table}?sysparm_fields=number,sys_id");
                let answer = self.asked(Method::POST, &path, Some(fields)).await?;
                of_servicenow(answer.get("result").unwrap_or(&Value::Null))
            }
        };
        made.map_err(|reason| format!("it made a ticket for {ticket}: {reason}"))
    }

    async fn comment(&self, found: &Found, text: &str) -> Result<(), String> {
        let id = &found.id;
        let (method, path, body) = match &self.to.system {
            System::Jira { .. } => {
                (Method::POST, format!("/rest/api/2/issue/{id}/comment"), json!({ "body": without_markup(text) }))
            }
            System::ServiceNow { table } => {
                // `[code]` would make it HTML.
                let text = text.replace('[', "(").replace(']', ")");
                (
                    Method::PATCH,
                    format!("/api/now/table/{table}/{id}?sysparm_fields=number"),
                    json!({ "work_notes": text }),
                )
            }
        };
        // Who closed it away there wants to hear no more of it.
        self.ask(method, &path, Some(body)).await.map(drop)
    }

    /// Its page.
    fn page(&self, found: &Found) -> String {
        let base = format!("https://{}{}", self.to.url.authority(), self.to.url.path.trim_end_matches('/'));
        match &self.to.system {
            System::Jira { .. } => format!("{base}/browse/{}", found.key),
            System::ServiceNow { table } => {
                format!("{base}/nav_to.do?uri={}", escaped(&format!("{table}.do?sys_id={}", found.id)))
            }
        }
    }

    async fn asked(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        let answer = self.ask(method, path, body).await?;
        answer.ok_or_else(|| format!("{}: 404 Not Found", path.split('?').next().unwrap_or_default()))
    }

    /// What it answers; none where it knows no such thing.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Option<Value>, String> {
        let asked = Asked {
            method: Some(method),
            path: format!("{}{path}", self.to.url.path.trim_end_matches('/')),
            json: body.map(|body| body.to_string()),
            authorization: Some(String::from_utf8_lossy(&self.to.authorization).into_owned()),
            ..Asked::default()
        };
        let shown = path.split('?').next().unwrap_or_default().to_owned();
        let stream = self.sockets.connect().await.map_err(|error| error.to_string())?;
        let (status, body) = http::answer(stream, &self.to.url, asked, OF_ISSUERS).await?;
        match status.as_u16() {
            404 | 410 => Ok(None),
            200..=299 if body.is_empty() => Ok(Some(Value::Null)),
            200..=299 => serde_json::from_slice(&body).map(Some).map_err(|_| format!("{shown}: its answer is no JSON")),
            _ => Err(format!("{shown}: {status} {}", reasons(&body))),
        }
    }
}

/// Why it says no (Jira: `errorMessages`, `errors`; ServiceNow: `error`).
fn reasons(body: &[u8]) -> String {
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return String::new() };
    let said = ["errorMessages", "errors", "error"].iter().filter_map(|name| body.get(name));
    let mut text = String::new();
    for reason in said.filter(|said| **said != json!({}) && **said != json!([])) {
        let _ = write!(text, "{reason} ");
    }
    text.chars().take(300).collect()
}

/// What names a request in a ticket.
fn label(ticket: &str) -> String {
    format!("gateway-{ticket}")
}

fn of_jira(issue: &Value) -> Result<Found, String> {
    let key = key(issue, "key")?;
    Ok(Found { id: key.clone(), key })
}

fn of_servicenow(record: &Value) -> Result<Found, String> {
    Ok(Found { key: key(record, "number")?, id: key(record, "sys_id")? })
}

/// A key: it goes into paths, and to people.
fn key(of: &Value, name: &str) -> Result<String, String> {
    let key = of.get(name).and_then(Value::as_str).unwrap_or_default();
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if key.is_empty() || key.len() > 64 || !key.bytes().all(is_key) {
        return Err(format!("`{name}` of its answer is no key"));
    }
    Ok(key.to_owned())
}

/// What a template may name.
fn words(origin: &Origin, event: &Event, ticket: &str, console: Option<&str>) -> BTreeMap<&'static str, String> {
    let text = |path| event.text(path).unwrap_or_default().to_owned();
    let all = |path| event.texts(path).join(", ");
    let decide = match console {
        Some(console) => format!("Decide: {console}/requests/{ticket}"),
        None => format!("Decide: gateway approvals show {ticket}"),
    };
    BTreeMap::from([
        ("ticket", ticket.to_owned()),
        ("host", origin.host_name.clone()),
        ("workload", text("/workload")),
        ("destination", text("/destination")),
        ("summary", text("/summary")),
        ("policies", all("/policies")),
        ("groups", all("/groups")),
        ("needed", event.number("/needed").unwrap_or_default().to_string()),
        ("expires", text("/expires")),
        ("decide", decide),
    ])
}

/// A value of a template with the words put in: once, so that what a runtime wrote names nothing itself.
fn filled(value: Value, words: &BTreeMap<&'static str, String>, has_markup: bool) -> Value {
    match value {
        Value::String(text) => Value::String(put_in(&text, words, has_markup)),
        Value::Array(all) => all.into_iter().map(|one| filled(one, words, has_markup)).collect(),
        Value::Object(all) => all.into_iter().map(|(name, one)| (name, filled(one, words, has_markup))).collect(),
        other => other,
    }
}

fn put_in(template: &str, words: &BTreeMap<&'static str, String>, has_markup: bool) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let named = after.split_once('}').and_then(|(name, after)| Some((name, words.get(name)?, after)));
        match named {
            Some((name, word, after)) => {
                let word: String = word.chars().filter(|c| !c.is_control() || *c == '\n').take(LONGEST).collect();
                // Its own link is to stay one.
                out += &if has_markup && name != "decide" { without_markup(&word) } else { word };
                rest = after;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out + rest
}

fn without_markup(text: &str) -> String {
    text.chars().flat_map(|c| MARKUP.contains(c).then_some('\\').into_iter().chain([c])).collect()
}

fn title(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_TITLE).collect()
}

/// What became of a request.
fn comment(event: &Event) -> Option<String> {
    let of = |path| event.text(path).unwrap_or_default();
    let (person, reason) = (of("/person"), of("/reason"));
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    Some(match (event.kind(), of("/verdict")) {
        ("approval.decided", "allow") => format!("{person} said yes in {}{why}", of("/channel")),
        ("approval.decided", _) => format!("{person} said no in {}{why}", of("/channel")),
        ("approval.consumed", _) => "The request was sent: its approval is used up.".to_owned(),
        ("approval.expired", _) => format!("It is over{why}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
