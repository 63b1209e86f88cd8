//! A decision as the journal has it, whatever the protocol.
//!
//! In: a decision, and its input as it may be kept. Out: the part of an event that says who decided what, and why. It
//! keeps no word of a request beside what the input holds already.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::explain::entity_facts;
use super::request::{Entity, Question, Value};
use super::{Decision, PolicySnapshot, Session, WouldBe};
use crate::audit::KeptInput;
use crate::audit::event::{Decision as Recorded, Verdict};

impl PolicySnapshot {
    /// A decision of these policies, in a session.
    #[must_use]
    pub fn recorded(&self, decision: &Decision, input: KeptInput, session: &Session) -> Recorded {
        let (verdict, policies, message) = match decision {
            Decision::Allow(permit) => match permit.would_be() {
                None => (Verdict::Allow, permit.policies(), None),
                Some(WouldBe::Denied(denial)) => {
                    (Verdict::WouldDeny, denial.policies().to_vec(), Some(denial.to_string()))
                }
                Some(WouldBe::Held(held)) => {
                    (Verdict::WouldHold, held.policies().to_vec(), Some(held.messages().join("; ")))
                }
            },
            Decision::Hold(hold) => {
                (Verdict::Hold, hold.held().policies().to_vec(), Some(hold.held().messages().join("; ")))
            }
            Decision::Deny(denial) => (Verdict::Deny, denial.policies().to_vec(), Some(denial.to_string())),
        };
        let grants = session.grants.iter().map(ToString::to_string).collect();
        Recorded { verdict, policies, message, grants, ..self.recorded_refusal(input) }
    }

    /// A refusal by none of them.
    #[must_use]
    pub fn recorded_refusal(&self, input: KeptInput) -> Recorded {
        Recorded {
            verdict: Verdict::Deny,
            policies: Vec::new(),
            policy_set: self.name(),
            epoch: self.epoch().counter(),
            message: None,
            ticket: None,
            grants: Vec::new(),
            input,
        }
    }
}

/// The whole input of a decision but for its session, so that it can be made again: `principal` as
/// [`super::Principal::facts`] shows it, the questions, and what is known of the entities that their facts refer to.
#[must_use]
pub fn input(principal: &Json, questions: &[Arc<Question>]) -> Json {
    let asked: Vec<Json> = questions.iter().map(|question| question.facts()).collect();
    let mut input = json!({ "principal": principal, "questions": asked });
    let entities = referred(questions);
    if let Some(fields) = input.as_object_mut().filter(|_| !entities.is_empty()) {
        fields.insert("entities".to_owned(), Json::Array(entities));
    }
    input
}

/// Each entity that facts of these questions refer to, once, unless one of them is about it, or nothing is known of it.
fn referred(questions: &[Arc<Question>]) -> Vec<Json> {
    let mut seen: HashSet<&Entity> = questions.iter().map(|question| question.resource().as_ref()).collect();
    let of_context = questions.iter().flat_map(|question| question.context());
    let of_resource = questions.iter().flat_map(|question| question.resource().attributes());
    let mut values: Vec<&Value> = of_context.chain(of_resource).map(|(_, value)| value).collect();
    let mut facts = Vec::new();
    while let Some(value) = values.pop() {
        let entities = match value {
            Value::Entity(entity) => std::slice::from_ref(entity),
            Value::Entities(entities) => entities,
            Value::Record(fields) => {
                values.extend(fields.iter().map(|(_, value)| value));
                continue;
            }
            Value::Bool(_) | Value::Long(_) | Value::Text(_) | Value::Texts(_) => continue,
            Value::Choice(..) | Value::Address(_) => continue,
        };
        for entity in entities {
            let is_bare = entity.attributes().is_empty() && entity.parents().is_empty();
            if !is_bare && seen.insert(entity) {
                values.extend(entity.attributes().iter().map(|(_, value)| value));
                facts.push(entity_facts(entity));
            }
        }
    }
    facts
}
