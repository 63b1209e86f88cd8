//! Namespace `Kubernetes`: objects of a cluster and the facts of a request.
//!
//! In: names as the API server reads them from a request line, facts of its body. Out: entities, ids escaped, and
//! questions. It must never read a path or a body.

use std::sync::Arc;

use super::command::CommandFacts;
use super::names::{Action, EntityType, PatchKind};
use super::push_escaped;
use crate::policy::request::{Entity, Fields, Question, Value};

/// Resources by set, whatever API group serves them.
// TABLE:
const SETS: &[(&str, &[&str])] = &[
    (
        "workloads",
        &[
            "pods",
            "deployments",
            "replicasets",
            "statefulsets",
            "daemonsets",
            "jobs",
            "cronjobs",
            "replicationcontrollers",
            "podtemplates",
        ],
    ),
    (
        "configuration",
        &[
            "configmaps",
            "services",
            "endpoints",
            "endpointslices",
            "ingresses",
            "ingressclasses",
            "networkpolicies",
            "horizontalpodautoscalers",
            "poddisruptionbudgets",
            "limitranges",
            "resourcequotas",
            "priorityclasses",
            "leases",
        ],
    ),
    ("credentials", &["secrets", "serviceaccounts", "certificatesigningrequests", "clustertrustbundles"]),
    ("rbac", &["roles", "rolebindings", "clusterroles", "clusterrolebindings"]),
    (
        "admission",
        &[
            "mutatingwebhookconfigurations",
            "validatingwebhookconfigurations",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
            "podsecuritypolicies",
            "flowschemas",
            "prioritylevelconfigurations",
        ],
    ),
    ("extension", &["customresourcedefinitions", "apiservices"]),
    (
        "storage",
        &[
            "persistentvolumes",
            "persistentvolumeclaims",
            "storageclasses",
            "volumeattachments",
            "csidrivers",
            "csinodes",
            "csistoragecapacities",
            "volumesnapshots",
        ],
    ),
    (
        "reviews",
        &[
            "selfsubjectaccessreviews",
            "selfsubjectrulesreviews",
            "selfsubjectreviews",
            "subjectaccessreviews",
            "localsubjectaccessreviews",
            "tokenreviews",
        ],
    ),
];

/// What is known of an object, or of objects of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct ObjectFacts<'a> {
    /// The API group; empty: core.
    pub group: &'a str,
    /// Such as `v1`.
    pub version: &'a str,
    /// Such as `pods`.
    pub resource: &'a str,
    /// Empty: none.
    pub subresource: &'a str,
    /// Empty: none, or all.
    pub namespace: &'a str,
    /// Empty: none, or all.
    pub name: &'a str,
}

/// A namespace of `target`: what lies inside.
#[must_use]
pub fn namespace(target: &Arc<Entity>, name: &str) -> Arc<Entity> {
    let mut id = format!("{}/", target.id());
    push_escaped(&mut id, name, "%/");
    Entity::new(EntityType::Namespace, id, vec![("name", name.into())], std::slice::from_ref(target))
}

/// A resource type, in the set that it belongs to.
fn resource_type(resource: &str, type_name: &str) -> Arc<Entity> {
    let set = SETS.iter().find(|(_, members)| members.contains(&resource));
    let set = set.map(|(name, _)| Entity::new(EntityType::KubernetesType, *name, Fields::new(), &[]));
    Entity::new(EntityType::KubernetesType, type_name, Fields::new(), set.as_slice())
}

/// An object of `target`.
#[must_use]
pub fn object(target: &Arc<Entity>, facts: ObjectFacts<'_>) -> Arc<Entity> {
    let type_name = match facts.group {
        "" => facts.resource.to_owned(),
        group => format!("{}.{group}", facts.resource),
    };
    // The Namespace object lies in no namespace, though the server's own request info says so.
    let inside = if facts.resource == "namespaces" { "" } else { facts.namespace };
    let mut id = target.id().to_owned();
    for part in [inside, &type_name, facts.name] {
        id.push('/');
        push_escaped(&mut id, part, "%/");
    }
    if !facts.subresource.is_empty() {
        id.push('/');
        push_escaped(&mut id, facts.subresource, "%/");
    }
    let version = match facts.group {
        "" => facts.version.to_owned(),
        group => format!("{group}/{}", facts.version),
    };
    let mut attributes: Fields =
        vec![("type", Value::from(type_name.as_str())), ("apiVersion", version.as_str().into())];
    for (name, text) in [("subresource", facts.subresource), ("namespace", inside), ("name", facts.name)] {
        if !text.is_empty() {
            attributes.push((name, text.into()));
        }
    }
    let place = if inside.is_empty() { Arc::clone(target) } else { namespace(target, inside) };
    Entity::new(EntityType::KubernetesObject, id, attributes, &[place, resource_type(facts.resource, &type_name)])
}

/// A path of `target` that is no resource.
#[must_use]
pub fn path(target: &Arc<Entity>, path: &str) -> Arc<Entity> {
    let id = format!("{}{path}", target.id());
    Entity::new(EntityType::KubernetesPath, id, vec![("path", path.into())], std::slice::from_ref(target))
}

/// What a body says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Images of containers.
    pub images: Vec<Arc<str>>,
    /// Where they come from.
    pub registries: Vec<Arc<str>>,
    /// More than an ordinary container may.
    pub privileged: bool,
    /// Something of the node's.
    pub host_access: bool,
    /// Service accounts that it runs as or names.
    pub service_accounts: Vec<Arc<str>>,
    /// Secrets that it refers to.
    pub secrets: Vec<Arc<str>>,
    /// Dotted paths.
    pub fields: Vec<Arc<str>>,
    /// The lowest number of them.
    pub replicas: Option<i64>,
    /// It gives rights.
    pub grants: bool,
    /// A node is closed, or emptied.
    pub drains: bool,
}

impl Body {
    fn record(self) -> Value {
        let mut fields: Fields = vec![
            ("images", Value::Texts(self.images.into())),
            ("registries", Value::Texts(self.registries.into())),
            ("privileged", self.privileged.into()),
            ("hostAccess", self.host_access.into()),
            ("serviceAccounts", Value::Texts(self.service_accounts.into())),
            ("secrets", Value::Texts(self.secrets.into())),
            ("fields", Value::Texts(self.fields.into())),
            ("grants", self.grants.into()),
            ("drains", self.drains.into()),
        ];
        fields.extend(self.replicas.map(|count| ("replicas", Value::Long(count))));
        Value::Record(fields)
    }
}

/// The facts of a request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// As the API server names it.
    pub verb: &'static str,
    /// Nothing is kept.
    pub dry_run: bool,
    /// Which labels it asks for.
    pub label_selector: Option<Arc<str>>,
    /// Which fields it asks for.
    pub field_selector: Option<Arc<str>>,
    /// What becomes of dependents.
    pub propagation: Option<Arc<str>>,
    /// How its patch is written.
    pub patch: Option<PatchKind>,
    /// What its body says.
    pub body: Option<Body>,
    /// A command that it runs.
    pub command: Option<CommandFacts>,
    /// Method and target.
    pub text: Arc<str>,
}

/// May this request do that to `resource`?
#[must_use]
pub fn ask(action: Action, resource: Arc<Entity>, request: Request) -> Arc<Question> {
    let mut context: Fields = vec![("verb", request.verb.into()), ("dryRun", request.dry_run.into())];
    let texts = [
        ("labelSelector", request.label_selector),
        ("fieldSelector", request.field_selector),
        ("propagation", request.propagation),
    ];
    context.extend(texts.into_iter().filter_map(|(name, text)| Some((name, Value::Text(text?)))));
    context.extend(request.patch.map(|patch| ("patch", patch.into())));
    context.extend(request.body.map(|body| ("body", body.record())));
    context.extend(request.command.map(|command| ("command", command.to_value())));
    Question::with_text(action, resource, context, Some(request.text))
}
