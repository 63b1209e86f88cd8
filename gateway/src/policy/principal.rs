//! Who speaks, as policies see it.
//!
//! In: what the kernel says of a cgroup and what a verified token claims. Out: a [`Principal`]. It must never carry an
//! executable, uid or pid: any process of a cgroup can be another.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::request::{Entity, Fields, Value};
use super::vocabulary::names::EntityType;

/// A container, as a cgroup level that root named says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// `docker`, `podman`, `containerd`
    pub runtime: Arc<str>,
    /// The engine's id.
    pub id: Arc<str>,
    /// Its name, where the engine was asked.
    pub name: Option<Arc<str>>,
    /// Its image, where the engine was asked.
    pub image: Option<Arc<str>>,
}

/// A Kubernetes pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The service account that it runs as.
    pub service_account: Arc<str>,
    /// Its uid, which the cgroup's path carries too.
    pub uid: Arc<str>,
}

/// A verified token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// Who issued it.
    pub issuer: Arc<str>,
    /// Whom it is about.
    pub subject: Arc<str>,
    /// For whom it was issued.
    pub audience: Box<[Arc<str>]>,
    /// Verified claims; one that is not a list is a list of one.
    pub claims: Vec<Claim>,
}

/// A verified claim of a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Its name.
    pub name: Arc<str>,
    /// Its values.
    pub values: Box<[Arc<str>]>,
}

/// What identity knows of a workload, before it becomes a [`Principal`].
#[derive(Clone, Debug, Default)]
pub struct WorkloadFacts {
    /// Its stable name, the same in each run.
    pub name: Arc<str>,
    /// The attachment that it runs in.
    pub attachment: Arc<str>,
    /// Its groups, `local:NAME` or `ISSUER:NAME`.
    pub groups: Vec<Arc<str>>,
    /// The systemd unit.
    pub unit: Option<Arc<str>>,
    /// The container.
    pub container: Option<Container>,
    /// The pod.
    pub pod: Option<Pod>,
    /// The token that is bound to it.
    pub token: Option<Token>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal(Arc<Entity>);

impl Principal {
    /// The workload with those facts; made once for a session, shared by all its requests.
    #[must_use]
    pub fn new(facts: WorkloadFacts) -> Self {
        let mut parents = vec![Entity::new(EntityType::Attachment, facts.attachment, Fields::new(), &[])];
        let groups: BTreeSet<Arc<str>> = facts.groups.into_iter().collect();
        parents.extend(groups.into_iter().map(|name| Entity::new(EntityType::Group, name, Fields::new(), &[])));
        let mut attributes = Fields::new();
        attributes.extend(facts.unit.map(|unit| ("unit", Value::Text(unit))));
        attributes.extend(facts.container.map(|container| ("container", container_record(container))));
        attributes.extend(facts.pod.map(|pod| ("pod", pod_record(pod))));
        let mut tags = Vec::new();
        if let Some(token) = facts.token {
            tags.extend(token.claims.into_iter().map(|claim| (claim.name, Value::Texts(claim.values))));
            let record = vec![
                ("issuer", Value::Text(token.issuer)),
                ("subject", Value::Text(token.subject)),
                ("audience", Value::Texts(token.audience)),
            ];
            attributes.push(("token", Value::Record(record)));
        }
        Self(Entity::with_tags(EntityType::Workload, facts.name, attributes, tags, &parents))
    }

    /// The entity that policies see.
    #[must_use]
    pub fn entity(&self) -> &Arc<Entity> {
        &self.0
    }
}

fn container_record(container: Container) -> Value {
    let mut fields = vec![("runtime", Value::Text(container.runtime)), ("id", Value::Text(container.id))];
    fields.extend(container.name.map(|name| ("name", Value::Text(name))));
    fields.extend(container.image.map(|image| ("image", Value::Text(image))));
    Value::Record(fields)
}

fn pod_record(pod: Pod) -> Value {
    Value::Record(vec![
        ("namespace", Value::Text(pod.namespace)),
        ("name", Value::Text(pod.name)),
        ("serviceAccount", Value::Text(pod.service_account)),
        ("uid", Value::Text(pod.uid)),
    ])
}
