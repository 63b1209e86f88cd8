//! Namespace `Data`: what may be done with labelled values.
//!
//! In: a data class and where it was met. Out: the question whether it may be seen, compared or copied on. It must never
//! decide how a value is masked.

use std::sync::Arc;

use super::names::{Action, EntityType};
use crate::policy::request::{Entity, Fields, Question, Value};

/// A use of a labelled value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// See it as it is; a refusal masks it.
    Unmask,
    /// Filter, join, group or sort by it.
    Compare,
    /// Copy it to where no label follows.
    Export,
}

/// A data class and the classes that it is part of.
#[must_use]
pub fn class(name: &str, parents: &[Arc<Entity>]) -> Arc<Entity> {
    Entity::new(EntityType::DataClass, name, Fields::new(), parents)
}

/// May values of `class` be used so, met at `target`, in `place` (a relation of Postgres, an object of Kubernetes) where
/// it is known?
#[must_use]
pub fn ask(usage: Use, class: Arc<Entity>, target: Arc<Entity>, place: Option<Arc<Entity>>) -> Arc<Question> {
    let action = match usage {
        Use::Unmask => Action::DataUnmask,
        Use::Compare => Action::DataCompare,
        Use::Export => Action::DataExport,
    };
    let mut context = vec![("target", Value::Entity(target))];
    context.extend(place.map(|place| {
        let name = if place.kind() == EntityType::KubernetesObject { "object" } else { "relation" };
        (name, Value::Entity(place))
    }));
    Question::new(action, class, context)
}
