//! Why a request is decided as it is, for people and for `--json`.
//!
//! In: a request and the set of policies in force. Out: the facts, the decision and the policies that made it. It must
//! never show the request's text: that is kept elsewhere, and masked.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::decision::{self, Answer, Verdict};
use super::evaluate::PolicySnapshot;
use super::principal::Principal;
use super::request::{Entity, Fields, Question, Request, Value};

/// A decision, explained.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The set of policies that was asked.
    pub epoch: String,
    /// Who asks.
    pub principal: Json,
    /// `allow`, `mask`, `hold` or `deny`: the strictest of all questions.
    pub decision: &'static str,
    /// Policies that decided, of the strictest questions.
    pub policies: Vec<String>,
    /// Whose approval it needs: `GROUP`, or `2 of GROUP`.
    pub approvers: Vec<String>,
    /// Each question with its facts and its answer.
    pub questions: Vec<ExplainedQuestion>,
}

/// One question, explained.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExplainedQuestion {
    /// What is to be done.
    pub action: &'static str,
    /// To what.
    pub resource: Json,
    /// The facts.
    pub context: Json,
    /// `allow`, `mask`, `hold` or `deny`.
    pub decision: &'static str,
    /// Policies that decided; none where nobody permits it.
    pub policies: Vec<String>,
    /// What the client reads.
    pub messages: Vec<String>,
    /// Why it could not be evaluated.
    pub errors: Vec<String>,
}

/// Explains how `set` decides `request`.
#[must_use]
pub fn explain(set: &PolicySnapshot, request: &Request<'_>) -> Explanation {
    let answers: Vec<_> = request.questions.iter().map(|question| set.answer_as_asked(request, question)).collect();
    let strictest = answers.iter().map(|answer| answer.verdict).max().unwrap_or(Verdict::Deny);
    let deciding = || answers.iter().filter(|answer| answer.verdict == strictest);
    let questions = request.questions.iter().zip(&answers).map(|(question, answer)| explained(question, answer));
    Explanation {
        epoch: set.epoch().to_string(),
        principal: request.principal.facts(),
        decision: strictest.name(),
        policies: strings(&decision::distinct_ids(deciding().flat_map(|answer| answer.policies.iter()))),
        approvers: decision::most(deciding().flat_map(|answer| answer.votes.iter()))
            .iter()
            .map(ToString::to_string)
            .collect(),
        questions: questions.collect(),
    }
}

fn explained(question: &Question, answer: &Answer) -> ExplainedQuestion {
    ExplainedQuestion {
        action: question.action().name(),
        resource: entity_facts(question.resource()),
        context: record(question.context()),
        decision: answer.verdict.name(),
        policies: strings(&answer.policies),
        messages: strings(&answer.messages),
        errors: answer.errors.to_vec(),
    }
}

impl Principal {
    /// What is known of it, as the journal and explanations show it.
    #[must_use]
    pub fn facts(&self) -> Json {
        entity_facts(self.entity())
    }
}

impl Question {
    /// Its facts without its text, as the journal and explanations show them.
    #[must_use]
    pub fn facts(&self) -> Json {
        json!({
            "action": self.action().name(),
            "resource": entity_facts(self.resource()),
            "context": record(self.context()),
        })
    }
}

/// Type, id, attributes, and all that it lies in, the nearest first.
pub(super) fn entity_facts(entity: &Arc<Entity>) -> Json {
    let mut within = Vec::new();
    let mut level: Vec<&Arc<Entity>> = entity.parents().iter().collect();
    while !level.is_empty() {
        within.extend(level.iter().map(|parent| json!(reference(parent))));
        level = level.into_iter().flat_map(|parent| parent.parents()).collect();
    }
    let mut facts = Map::new();
    facts.insert("type".into(), json!(entity.kind().name()));
    facts.insert("id".into(), json!(entity.id()));
    if !entity.attributes().is_empty() {
        facts.insert("attributes".into(), record(entity.attributes()));
    }
    if !within.is_empty() {
        facts.insert("in".into(), Json::Array(within));
    }
    if !entity.tags().is_empty() {
        let tags = entity.tags().iter().map(|(name, value)| (name.to_string(), plain(value)));
        facts.insert("claims".into(), Json::Object(tags.collect()));
    }
    Json::Object(facts)
}

fn reference(entity: &Entity) -> String {
    format!("{}::\"{}\"", entity.kind(), entity.id())
}

fn record(fields: &Fields) -> Json {
    Json::Object(fields.iter().map(|(name, value)| ((*name).to_owned(), plain(value))).collect())
}

/// Values nest as deep as our own constructors make them.
fn plain(value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::Long(value) => json!(value),
        Value::Text(text) => json!(text.as_ref()),
        Value::Texts(items) => items.iter().map(|item| json!(item.as_ref())).collect(),
        Value::Choice(_, id) => json!(id),
        Value::Entity(entity) => json!(reference(entity)),
        Value::Entities(items) => items.iter().map(|entity| json!(reference(entity))).collect(),
        Value::Address(address) => json!(address.to_string()),
        Value::Record(fields) => record(fields),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}{}", self.decision, by(&self.policies))?;
        if !self.approvers.is_empty() {
            writeln!(f, "approval by: {}", self.approvers.join(", "))?;
        }
        writeln!(f, "who: {}", self.principal)?;
        for question in &self.questions {
            writeln!(f, "{}: {}{}", question.action, question.decision, by(&question.policies))?;
            writeln!(f, "  on: {}", question.resource)?;
            writeln!(f, "  facts: {}", question.context)?;
            question.messages.iter().try_for_each(|message| writeln!(f, "  says: {message}"))?;
            question.errors.iter().try_for_each(|error| writeln!(f, "  error: {error}"))?;
        }
        write!(f, "policies: {}", self.epoch)
    }
}

fn strings(items: &[Arc<str>]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn by(policies: &[String]) -> String {
    if policies.is_empty() { String::new() } else { format!(", by {}", policies.join(", ")) }
}
