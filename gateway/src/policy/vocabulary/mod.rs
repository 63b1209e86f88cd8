//! The vocabulary of `policies/gateway.cedarschema` as typed constructors.
//!
//! In: facts that a protocol engine has established. Out: entities and questions that the schema accepts, so that a
//! protocol cannot misspell an attribute. One file for each Cedar namespace. It must never derive a fact: it only names.

use std::net::IpAddr;
use std::sync::Arc;

use super::request::{Entity, Fields, Value};
use names::{EntityType, ProtocolName};

pub mod names;
pub mod command;
pub mod network;
pub mod postgres;
pub mod kubernetes;
pub mod ssh;
pub mod data;

/// The id of the target that stands for every destination that no `[[target]]` names.
pub const UNDECLARED: &str = "undeclared";

/// The environment that the guard pack exempts: what a job starts and throws away.
pub const SCRATCH: &str = "scratch";

/// The attachment of a workload that no `[[attach]]` names.
pub const NO_ATTACHMENT: &str = "none";

/// The group that the open pack permits; given to every attachment where no policies are configured.
pub const OPEN_GROUP: &str = "local:open";

/// The group whose workloads the guard pack leaves to their own policies.
pub const DBA_GROUP: &str = "local:dba";

/// The group that the guard pack asks for approval.
pub const APPROVERS_GROUP: &str = "local:approvers";

/// What is known of a target.
#[derive(Clone, Copy, Debug)]
pub struct TargetFacts<'a> {
    /// Its name in the configuration, or [`UNDECLARED`].
    pub name: &'a str,
    /// What it speaks.
    pub protocol: ProtocolName,
    /// The address that the client meant.
    pub address: IpAddr,
    /// The port that the client meant.
    pub port: u16,
    /// Its environment, where the configuration names one.
    pub environment: Option<&'a str>,
}

/// A target, in its environment.
#[must_use]
pub fn target(facts: TargetFacts<'_>) -> Arc<Entity> {
    let environment = facts.environment.map(|name| Entity::new(EntityType::Environment, name, Fields::new(), &[]));
    let attributes = vec![
        ("protocol", facts.protocol.into()),
        ("address", Value::Address(facts.address)),
        ("port", Value::Long(facts.port.into())),
    ];
    Entity::new(EntityType::Target, facts.name, attributes, environment.as_slice())
}

/// `parent/name`, the name escaped so that it cannot pass for two.
fn id_below(parent: &Entity, name: &str) -> String {
    let mut id = String::with_capacity(parent.id().len() + 1 + name.len());
    id.push_str(parent.id());
    id.push('/');
    push_escaped(&mut id, name, "%/");
    id
}

/// Appends `name`, each character of `reserved` as `%` and its two hexadecimal digits.
fn push_escaped(id: &mut String, name: &str, reserved: &str) {
    for character in name.chars() {
        match character {
            '%' if reserved.contains('%') => id.push_str("%25"),
            '/' if reserved.contains('/') => id.push_str("%2F"),
            '.' if reserved.contains('.') => id.push_str("%2E"),
            other => id.push(other),
        }
    }
}

#[cfg(test)]
mod tests;
