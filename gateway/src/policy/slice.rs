//! The policies that can matter to one action on one type of resource.
//!
//! In: a checked set of policies. Out: for each action and resource type of the schema, the few policies whose scope can
//! match, so that the others are not evaluated. It must never leave out a policy that would have decided.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, Effect, EntityTypeName, Policy, PolicyId, PolicySet, PolicySetError, ResourceConstraint,
};

use super::decision::{Caps, Recording, Vote};
use super::reads::{Reads, Volatile};
use super::schema::Schema;
use super::vocabulary::names::{Action, EntityType};

/// What decisions need to know of a policy beside Cedar's own form of it.
#[derive(Clone, Debug)]
pub(super) struct PolicyEntry {
    pub(super) id: Arc<str>,
    pub(super) message: Option<Arc<str>>,
    pub(super) vote: Option<Vote>,
    pub(super) caps: Caps,
    pub(super) recorded: Recording,
    pub(super) reads: Reads,
    pub(super) policy: Policy,
}

/// The policies for one action and one resource type.
#[derive(Debug, Default)]
pub(super) struct Slice {
    /// All of them.
    pub(super) all: PolicySet,
    /// The permits alone: what would decide if the forbids that fired were lifted.
    pub(super) permits: PolicySet,
    /// What a decision depends on beside the question.
    pub(super) reads: Reads,
    entries: HashMap<PolicyId, Arc<PolicyEntry>>,
}

impl Slice {
    /// The slice of those policies; errs where two have the same id, which the rules have refused already.
    fn new<'a>(entries: impl Iterator<Item = &'a Arc<PolicyEntry>>) -> Result<Self, Box<PolicySetError>> {
        let mut slice = Self::default();
        for entry in entries {
            slice.all.add(entry.policy.clone())?;
            if entry.policy.effect() == Effect::Permit {
                slice.permits.add(entry.policy.clone())?;
            }
            slice.reads = slice.reads.union(entry.reads);
            slice.entries.insert(entry.policy.id().clone(), entry.clone());
        }
        Ok(slice)
    }

    pub(super) fn entry(&self, id: &PolicyId) -> Option<&Arc<PolicyEntry>> {
        self.entries.get(id)
    }
}

/// The slices of a set, by action and resource type.
#[derive(Debug, Default)]
pub(super) struct Slices(HashMap<(Action, EntityType), Slice>);

impl Slices {
    pub(super) fn new(schema: &Schema, entries: &[Arc<PolicyEntry>]) -> Result<Self, Box<PolicySetError>> {
        let mut slices = HashMap::new();
        for &action in Action::ALL {
            for &kind in EntityType::ALL {
                let (Some(uid), Some(name)) = (schema.action(action), schema.type_name(kind)) else { continue };
                let asked = schema.cedar().resources_for_action(uid).is_some_and(|mut types| types.any(|t| t == name));
                if asked {
                    let matching = entries.iter().filter(|entry| can_match(schema, &entry.policy, action, name));
                    slices.insert((action, kind), Slice::new(matching)?);
                }
            }
        }
        Ok(Self(slices))
    }

    /// Whether any policy reads the text of requests.
    pub(super) fn read_text(&self) -> bool {
        self.0.values().any(|slice| slice.reads.has(Volatile::Text))
    }

    pub(super) fn find(&self, action: Action, kind: EntityType) -> Option<&Slice> {
        self.0.get(&(action, kind))
    }

    #[cfg(test)]
    pub(super) fn unsliced(schema: &Schema, entries: &[Arc<PolicyEntry>]) -> Self {
        let all = Self::new(schema, &[]).unwrap().0.into_keys();
        Self(all.map(|key| (key, Slice::new(entries.iter()).unwrap())).collect())
    }
}

fn can_match(schema: &Schema, policy: &Policy, action: Action, kind: &EntityTypeName) -> bool {
    let acts = match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(one) => schema.action(action).is_some_and(|uid| *uid == one),
        ActionConstraint::In(groups) => groups.iter().any(|group| schema.is_in(action, group)),
    };
    acts && match policy.resource_constraint() {
        // What lies in what is known only when a request is there.
        ResourceConstraint::Any | ResourceConstraint::In(_) => true,
        ResourceConstraint::Eq(one) => one.type_name() == kind,
        ResourceConstraint::Is(only) | ResourceConstraint::IsIn(only, _) => only == *kind,
    }
}
