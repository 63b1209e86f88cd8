//! What a request asks of policy.
//!
//! In: a request line and the facts of its body. Out: the question whether it may run, and the objects whose values it
//! shows, issues or hands on. Whatever verb or upgrade something comes by, it is decided as what it is.

use std::sync::Arc;

use super::body::Parsed;
use super::uri::{Query, RequestInfo, Resource, UriError, Verb};
use crate::policy::Question;
use crate::policy::request::Entity;
use crate::policy::vocabulary::command::CommandFacts;
use crate::policy::vocabulary::kubernetes::{self as vocabulary, ObjectFacts, Request};
use crate::policy::vocabulary::names::Action;
use crate::protocol::shell;

/// What a request asks.
pub(super) struct Asked {
    /// May it run? Of exec: each command that it would run.
    pub(super) questions: Vec<Arc<Question>>,
    /// What it is about.
    pub(super) object: Arc<Entity>,
    /// Secrets that it hands to somebody who runs code: each has to be permitted like a look at it.
    pub(super) handed_on: Vec<Arc<Entity>>,
    /// ConfigMaps that it hands on likewise: of those it counts what is labelled.
    pub(super) config_maps: Vec<Arc<Entity>>,
}

/// The questions of a request.
///
/// # Errors
/// Where a parameter of it stands there twice.
pub(super) fn of(info: &RequestInfo, line: &str, target: &Arc<Entity>, parsed: &Parsed) -> Result<Asked, UriError> {
    let action = action(info);
    let object = match &info.resource {
        None => vocabulary::path(target, &info.path),
        Some(resource) => object(target, resource),
    };
    let query = &info.query;
    let text = |name| Ok::<_, UriError>(query.one(name)?.filter(|text| !text.is_empty()).map(Into::into));
    let propagation = text("propagationPolicy")?.or_else(|| parsed.propagation.as_deref().map(Into::into));
    let request = Request {
        verb: info.verb.name(),
        dry_run: parsed.dry_run || query.all("dryRun").any(|value| !value.is_empty()),
        label_selector: text("labelSelector")?,
        field_selector: text("fieldSelector")?,
        propagation,
        patch: parsed.patch,
        body: parsed.facts.clone(),
        command: None,
        text: line.into(),
    };
    let questions = if action == Action::KubernetesExec {
        let with = |command| Request { command: Some(command), ..request.clone() };
        let ask = |command| vocabulary::ask(action, Arc::clone(&object), with(command));
        commands(query).into_iter().map(ask).collect()
    } else {
        vec![vocabulary::ask(action, Arc::clone(&object), request)]
    };
    let secrets = parsed.facts.as_ref().map_or(&[][..], |body| &body.secrets);
    let config_maps = handed_on(info, target, "configmaps", &parsed.config_maps);
    Ok(Asked { questions, object, handed_on: handed_on(info, target, "secrets", secrets), config_maps })
}

fn object(target: &Arc<Entity>, of: &Resource) -> Arc<Entity> {
    vocabulary::object(
        target,
        ObjectFacts {
            group: &of.group,
            version: &of.version,
            resource: &of.resource,
            subresource: &of.subresource,
            namespace: &of.namespace,
            name: &of.name,
        },
    )
}

fn action(info: &RequestInfo) -> Action {
    let Some(of) = &info.resource else {
        return match info.verb {
            Verb::Get | Verb::Head => Action::KubernetesGet,
            _ => Action::KubernetesCall,
        };
    };
    let writes = matches!(info.verb, Verb::Create | Verb::Update | Verb::Patch);
    match (of.resource.as_str(), of.subresource.as_str()) {
        _ if info.verb == Verb::Proxy => Action::KubernetesProxy,
        (_, "proxy") => Action::KubernetesProxy,
        // GET as well as POST: before 1.35 the server asks for `get` alone of those who come by WebSocket.
        (_, "exec") => Action::KubernetesExec,
        (_, "attach") => Action::KubernetesAttach,
        (_, "portforward") => Action::KubernetesPortForward,
        (_, "ephemeralcontainers") if writes => Action::KubernetesDebug,
        (_, "eviction") if writes => Action::KubernetesDelete,
        ("serviceaccounts", "token") if writes => Action::KubernetesIssueToken,
        ("certificatesigningrequests", "approval" | "status") if writes => Action::KubernetesApproveCertificate,
        _ => match info.verb {
            Verb::List => Action::KubernetesList,
            Verb::Watch => Action::KubernetesWatch,
            Verb::Create | Verb::Post => Action::KubernetesCreate,
            Verb::Update | Verb::Put => Action::KubernetesUpdate,
            Verb::Patch => Action::KubernetesPatch,
            Verb::Delete => Action::KubernetesDelete,
            Verb::DeleteCollection => Action::KubernetesDeleteCollection,
            Verb::Get | Verb::Head | Verb::Proxy => Action::KubernetesGet,
        },
    }
}

/// What an exec runs: its words are handed to no shell, but may be one's.
fn commands(query: &Query) -> Vec<CommandFacts> {
    let mut all = Vec::new();
    for command in &shell::facts_of_words(query.all("command")).commands {
        let facts = CommandFacts::from(command);
        if !all.contains(&facts) {
            all.push(facts);
        }
    }
    all
}

/// Who may change what a pod runs with may read what it names. Ingresses name Secrets too, which nobody's code reads.
fn handed_on(info: &RequestInfo, target: &Arc<Entity>, resource: &str, names: &[Arc<str>]) -> Vec<Arc<Entity>> {
    let Some(of) = info.resource.as_ref().filter(|of| of.resource != "ingresses" && of.resource != "secrets") else {
        return Vec::new();
    };
    let object = |name: &Arc<str>| {
        let facts = ObjectFacts { version: "v1", resource, namespace: &of.namespace, name, ..ObjectFacts::default() };
        vocabulary::object(target, facts)
    };
    names.iter().map(object).collect()
}

/// Whether what comes back may hold what Secrets hold.
pub(super) fn shows_secrets(info: &RequestInfo) -> bool {
    info.resource.as_ref().is_some_and(|of| of.resource == "secrets")
}

/// Whether a token of a service account comes back.
pub(super) fn issues_token(info: &RequestInfo) -> bool {
    info.resource.as_ref().is_some_and(|of| of.resource == "serviceaccounts" && of.subresource == "token")
}
