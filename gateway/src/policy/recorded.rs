//! A recorded request, decided again.
//!
//! In: the input of a decision as the journal has it, and what the record says of its session. Out: what a set of
//! policies says to it now, and what that rests on that the journal does not know for sure. It must never guess a fact:
//! what the schema does not accept, and what a policy reads and the record lacks, is said.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use cedar_policy::{Context, Entities, Entity, EntityId, EntityUid, Request as CedarRequest};
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::decision::{Verdict, distinct_ids};
use super::evaluate::{PolicySnapshot, authorize, verdict_of_connect};
use super::reads::{Reads, Volatile};
use super::request::{Moment, Subject};
use super::slice::Slice;
use super::translate::{Translated, iso};
use super::vocabulary::names::{Action, EntityType, Handling};

/// What a record says beside the input of its decision.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    /// The session's id.
    pub session: &'a str,
    /// The login that is recorded, where there is one.
    pub login: &'a str,
    /// Windows that were open.
    pub grants: Vec<&'a str>,
    /// When it was asked.
    pub at: Moment,
    /// The request's text as it is kept: without constants, masked.
    pub text: &'a str,
}

/// What policies say to a recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// The strictest answer to its questions. A data class that is masked does not make it stricter.
    pub verdict: Verdict,
    /// Policies that decided, of the strictest questions.
    pub policies: Vec<Arc<str>>,
    /// What the client would read.
    pub messages: Vec<Arc<str>>,
    /// What it rests on that is not known for sure.
    pub doubts: BTreeSet<Doubt>,
    /// Whether the same input is answered the same way whenever it is asked, with the same login and windows.
    pub lasts: bool,
}

/// Something that a policy reads and the journal has no true copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// The text, which is kept without constants.
    Text,
    /// What the client calls itself.
    Application,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a policy reads `text`, which is recorded without its constants",
            Self::Application => "a policy reads `session.application`, which is not recorded",
        })
    }
}

/// Why a recorded request cannot be decided again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDecidable {
    /// It was refused before policy was asked.
    #[error("it was refused before any policy was asked")]
    NothingAsked,
    /// The input was too large to be kept.
    #[error("its facts were too large to be kept")]
    Omitted,
    /// Not as this version writes it, or not of this schema.
    #[error("its facts cannot be read: {0}")]
    Unreadable(String),
    /// A policy errs on it, perhaps since a fact is not recorded.
    #[error("a policy cannot be evaluated: {0}")]
    Evaluation(String),
}

fn unreadable(reason: impl fmt::Display) -> NotDecidable {
    NotDecidable::Unreadable(reason.to_string())
}

impl PolicySnapshot {
    /// Decides a recorded request by these policies, as they would bind.
    ///
    /// # Errors
    /// Where it cannot be decided, and why.
    pub fn decide_again(&self, input: &Json, scene: &Scene<'_>) -> Result<Again, NotDecidable> {
        if input.get("omitted").is_some() {
            return Err(NotDecidable::Omitted);
        }
        let questions = input.get("questions").and_then(Json::as_array).filter(|questions| !questions.is_empty());
        let questions = questions.ok_or(NotDecidable::NothingAsked)?;
        let principal = input.get("principal").ok_or_else(|| unreadable("no principal"))?;
        let others = input.get("entities").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        let entities: Vec<&Json> = std::iter::once(principal)
            .chain(others)
            .chain(questions.iter().filter_map(|q| q.get("resource")))
            .collect();
        let entities = self.entities(&entities)?;
        let mut reads = Reads::default();
        let answers = questions
            .iter()
            .map(|question| {
                let (answer, read) = self.answer_again(principal, question, &entities, scene)?;
                reads = reads.union(read);
                Ok(answer)
            })
            .collect::<Result<Vec<_>, NotDecidable>>()?;
        let strictest = answers.iter().map(|answer| answer.verdict).max().ok_or(NotDecidable::NothingAsked)?;
        let deciding = || answers.iter().filter(|answer| answer.verdict == strictest);
        let mut messages: Vec<Arc<str>> = Vec::new();
        for message in deciding().flat_map(|answer| answer.messages.iter()) {
            if !messages.contains(message) {
                messages.push(Arc::clone(message));
            }
        }
        let doubt = |fact, doubt| reads.has(fact).then_some(doubt);
        Ok(Again {
            verdict: if strictest == Verdict::Mask { Verdict::Allow } else { strictest },
            policies: distinct_ids(deciding().flat_map(|answer| answer.policies.iter())),
            messages,
            doubts: doubt(Volatile::Text, Doubt::Text)
                .into_iter()
                .chain(doubt(Volatile::Application, Doubt::Application))
                .collect(),
            lasts: !reads.forbid_caching() && !reads.has(Volatile::Weekday) && !reads.has(Volatile::Hour),
        })
    }

    fn answer_again(
        &self,
        principal: &Json,
        question: &Json,
        entities: &Entities,
        scene: &Scene<'_>,
    ) -> Result<(super::Answer, Reads), NotDecidable> {
        let action = text_of(question, "action")?;
        let action = Action::from_name(action).ok_or_else(|| unreadable(format!("no action `{action}`")))?;
        let resource = question.get("resource").ok_or_else(|| unreadable("a question without resource"))?;
        let (kind, id) = kind_and_id(resource)?;
        let slice: &Slice = self
            .slices
            .find(action, kind)
            .ok_or_else(|| unreadable(format!("the schema does not know `{action}` on a {kind}")))?;
        let request = self.request(principal, action, question, scene)?;
        let group = self.schema.action_entity(action).ok_or_else(|| unreadable("no such action"))?.clone();
        let entities = entities.clone().add_entities([group], None).map_err(unreadable)?;
        let mut answer = authorize(slice, &Translated { request, entities }, Subject { action, kind, id });
        if let Some(error) = answer.errors.first() {
            return Err(NotDecidable::Evaluation(error.clone()));
        }
        if action == Action::NetworkConnect {
            let inspected = resource.pointer("/attributes/handling").and_then(Json::as_str);
            answer.verdict = verdict_of_connect(&answer, inspected == Some(Handling::Inspected.name()));
        }
        Ok((answer, slice.reads))
    }

    fn request(
        &self,
        principal: &Json,
        action: Action,
        question: &Json,
        scene: &Scene<'_>,
    ) -> Result<CedarRequest, NotDecidable> {
        let uid = self.schema.action(action).ok_or_else(|| unreadable("no such action"))?.clone();
        let resource = question.get("resource").unwrap_or(&Json::Null);
        let Json::Object(mut facts) = typed(None, question.get("context").unwrap_or(&Json::Null)) else {
            return Err(unreadable("a question without context"));
        };
        facts.insert("session".to_owned(), session(scene));
        let has_text = match action.parts().0 {
            "Postgres" | "Kubernetes" => true,
            _ => action == Action::SshExec,
        };
        if has_text {
            facts.insert("text".to_owned(), json!(scene.text));
        }
        let cedar = self.schema.cedar();
        let context = Context::from_json_value(Json::Object(facts), Some((cedar, &uid))).map_err(unreadable)?;
        CedarRequest::new(self.uid(principal)?, uid, self.uid(resource)?, context, Some(cedar)).map_err(unreadable)
    }

    /// Each of them once: a statement that reads a relation twice names it twice.
    fn entities(&self, facts: &[&Json]) -> Result<Entities, NotDecidable> {
        let mut seen = BTreeSet::new();
        let mut entities = Vec::new();
        for facts in facts {
            if seen.insert(kind_and_id(facts)?) {
                entities.push(Entity::from_json_value(entity(facts)?, Some(self.schema.cedar())).map_err(unreadable)?);
            }
        }
        Entities::from_entities(entities, Some(self.schema.cedar())).map_err(unreadable)
    }

    fn uid(&self, facts: &Json) -> Result<EntityUid, NotDecidable> {
        let (kind, id) = kind_and_id(facts)?;
        let kind = self.schema.type_name(kind).ok_or_else(|| unreadable("no such entity type"))?;
        Ok(EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id)))
    }
}

fn text_of<'j>(facts: &'j Json, name: &str) -> Result<&'j str, NotDecidable> {
    facts.get(name).and_then(Json::as_str).ok_or_else(|| unreadable(format!("no `{name}`")))
}

fn kind_and_id(facts: &Json) -> Result<(EntityType, &str), NotDecidable> {
    let kind = text_of(facts, "type")?;
    let kind = EntityType::from_name(kind).ok_or_else(|| unreadable(format!("no entity type `{kind}`")))?;
    Ok((kind, text_of(facts, "id")?))
}

fn session(scene: &Scene<'_>) -> Json {
    json!({
        "id": scene.session,
        "login": scene.login,
        "grants": scene.grants,
        "now": { "__extn": { "fn": "datetime", "arg": iso(scene.at.seconds) } },
        "weekday": uid("Weekday", scene.at.weekday.name()),
        "hour": scene.at.hour,
    })
}

/// An entity as Cedar's JSON has it. All that it lies in becomes its parents: what lies in a parent lies there too.
fn entity(facts: &Json) -> Result<Json, NotDecidable> {
    let (kind, id) = kind_and_id(facts)?;
    let parents = facts.get("in").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let parents = parents
        .iter()
        .map(|parent| parent.as_str().and_then(reference).ok_or_else(|| unreadable(format!("no entity: {parent}"))))
        .collect::<Result<Vec<_>, _>>()?;
    let attributes = typed(Some(kind), facts.get("attributes").unwrap_or(&json!({})));
    let tags = facts.get("claims").cloned().unwrap_or_else(|| json!({}));
    Ok(json!({ "uid": uid(kind.name(), id), "attrs": attributes, "parents": parents, "tags": tags }))
}

/// Type and id of `Type::"id"`, as references to entities are recorded.
#[must_use]
pub fn parts_of(reference: &str) -> Option<(EntityType, &str)> {
    let (kind, id) = reference.split_once("::\"")?;
    Some((EntityType::from_name(kind)?, id.strip_suffix('"')?))
}

/// The attachment that a decision's input comes from.
#[must_use]
pub fn attachment_of(input: &Json) -> Option<&str> {
    let groups = input.pointer("/principal/in")?.as_array()?.iter();
    let named = |group| parts_of(group).filter(|(kind, _)| *kind == EntityType::Attachment).map(|(_, id)| id);
    groups.filter_map(Json::as_str).find_map(named)
}

fn reference(text: &str) -> Option<Json> {
    parts_of(text).map(|(kind, id)| uid(kind.name(), id))
}

fn uid(kind: &str, id: &str) -> Json {
    json!({ "type": kind, "id": id })
}

/// A record with its references as Cedar's JSON has them. Which names hold one is what the schema says; all that is not
/// of the type that the schema wants there is refused by Cedar.
fn typed(owner: Option<EntityType>, record: &Json) -> Json {
    let Json::Object(fields) = record else { return record.clone() };
    let fields = fields.iter().map(|(name, value)| (name.clone(), field(owner, name, value)));
    Json::Object(fields.collect::<Map<_, _>>())
}

fn field(owner: Option<EntityType>, name: &str, value: &Json) -> Json {
    let choice = match (name, owner) {
        ("kind", Some(EntityType::Relation)) => Some(EntityType::RelationKind),
        ("kind", Some(EntityType::Function)) => Some(EntityType::FunctionKind),
        ("kind", Some(EntityType::Object)) => Some(EntityType::ObjectKind),
        ("protocol", Some(EntityType::Target | EntityType::Endpoint)) => Some(EntityType::Protocol),
        ("handling", Some(EntityType::Endpoint)) => Some(EntityType::Handling),
        ("where", None) => Some(EntityType::Where),
        ("patch", None) => Some(EntityType::PatchKind),
        _ => None,
    };
    match (choice, value) {
        (Some(kind), Json::String(id)) => uid(kind.name(), id),
        (None, Json::String(text)) if refers(owner, name) => reference(text).unwrap_or_else(|| value.clone()),
        (None, Json::Array(items)) if refers(owner, name) => {
            items.iter().map(|item| item.as_str().and_then(reference).unwrap_or_else(|| item.clone())).collect()
        }
        _ => value.clone(),
    }
}

fn refers(owner: Option<EntityType>, name: &str) -> bool {
    match owner {
        None => matches!(name, "database" | "through" | "target" | "relation" | "object" | "via" | "pod"),
        Some(owner) => owner == EntityType::Relation && name == "classes",
    }
}

#[cfg(test)]
mod tests;
