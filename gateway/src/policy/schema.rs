//! The shipped schema, parsed once.
//!
//! In: `policies/gateway.cedarschema`, embedded. Out: Cedar's schema with the tables that evaluation needs: type names,
//! action ids and their groups. It must never be read from disk: policies are checked against what this binary asks.

use std::sync::LazyLock;

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, Schema as CedarSchema};

use super::vocabulary::names::{Action, EntityType};

/// The text of the schema.
pub(super) const TEXT: &str = include_str!("../../../policies/gateway.cedarschema");

static SCHEMA: LazyLock<Result<Schema, SchemaError>> = LazyLock::new(Schema::parse);

/// The embedded schema cannot be used: a fault of this build, never of a policy.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the embedded policy schema is broken: {reason}; this build of gateway cannot judge anything")]
pub(super) struct SchemaError {
    reason: String,
}

/// The schema and what follows from it.
#[derive(Debug)]
pub(super) struct Schema {
    cedar: CedarSchema,
    types: Vec<EntityTypeName>,
    actions: Vec<ActionEntry>,
}

#[derive(Debug)]
struct ActionEntry {
    uid: EntityUid,
    /// The action itself, lying in all its groups.
    entity: Entity,
}

/// The schema of this build.
pub(super) fn schema() -> Result<&'static Schema, SchemaError> {
    SCHEMA.as_ref().map_err(Clone::clone)
}

impl Schema {
    fn parse() -> Result<Self, SchemaError> {
        let broken = |reason: String| SchemaError { reason };
        let (cedar, _) = CedarSchema::from_cedarschema_str(TEXT).map_err(|error| broken(error.to_string()))?;
        let groups = cedar.action_entities().map_err(|error| broken(error.to_string()))?;
        let types = EntityType::ALL
            .iter()
            .map(|kind| kind.name().parse().map_err(|error| broken(format!("`{kind}`: {error}"))))
            .collect::<Result<_, _>>()?;
        let mut actions = Vec::with_capacity(Action::ALL.len());
        for action in Action::ALL {
            let (namespace, id) = action.parts();
            let kind =
                format!("{namespace}::Action").parse().map_err(|error| broken(format!("`{action}`: {error}")))?;
            let uid = EntityUid::from_type_name_and_id(kind, EntityId::new(id));
            let ancestors = groups.ancestors(&uid).ok_or_else(|| broken(format!("no action `{action}`")))?;
            let entity = Entity::new_no_attrs(uid.clone(), ancestors.cloned().collect());
            actions.push(ActionEntry { uid, entity });
        }
        Ok(Self { cedar, types, actions })
    }

    pub(super) fn cedar(&self) -> &CedarSchema {
        &self.cedar
    }

    /// Cedar's name of the type. `None` cannot be: the table has a row for each item.
    pub(super) fn type_name(&self, kind: EntityType) -> Option<&EntityTypeName> {
        self.types.get(kind as usize)
    }

    pub(super) fn action(&self, action: Action) -> Option<&EntityUid> {
        self.actions.get(action as usize).map(|entry| &entry.uid)
    }

    pub(super) fn action_entity(&self, action: Action) -> Option<&Entity> {
        self.actions.get(action as usize).map(|entry| &entry.entity)
    }

    /// Whether `action` is `group` or lies in it.
    pub(super) fn is_in(&self, action: Action, group: &EntityUid) -> bool {
        self.actions.get(action as usize).is_some_and(|entry| {
            entry.uid == *group || entry.entity.as_ref().ancestors().any(|ancestor| ancestor == group.as_ref())
        })
    }
}
