//! Which labelled fields a request may bring to light.
//!
//! In: a request and the labels of its target. Out: the places to hide in its answer. A label of pods means the template of
//! a pod wherever one stands. It decides nothing: who may see what is asked of policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::object::{Known, Place};
use super::uri::{RequestInfo, Resource, Verb};
use crate::masking::Masking;
use crate::masking::class::Class;

/// Groups of which the kinds with templates of pods are known, and the columns that their tables print.
const SHIPPED: [&str; 7] = ["", "apps", "batch", "autoscaling", "policy", "extensions", "events.k8s.io"];
/// Those kinds.
const WITH_TEMPLATES: [&str; 9] = [
    "podtemplates",
    "replicationcontrollers",
    "deployments",
    "replicasets",
    "statefulsets",
    "daemonsets",
    "controllerrevisions",
    "jobs",
    "cronjobs",
];
/// Keys below which no shipped kind prints anything in a table.
const UNPRINTED: [&str; 5] = ["env", "data", "binaryData", "stringData", "annotations"];
/// What answers with something else than the object.
const OTHERS: [&str; 5] = ["log", "exec", "attach", "portforward", "proxy"];

/// What the request says of the objects in its answer.
pub(super) fn asked(info: &RequestInfo) -> Known {
    let Some(of) = &info.resource else { return Known::default() };
    let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let is_secret = of.group.is_empty() && of.resource == "secrets";
    Known { namespace: known(&of.namespace), name: known(&of.name), is_all: false, is_secret }
}

/// Where its answer may hold labelled fields.
pub(super) fn places(info: &RequestInfo, masking: &Masking) -> Vec<Place> {
    let Some(of) = &info.resource else { return Vec::new() };
    if info.verb == Verb::Proxy || OTHERS.contains(&of.subresource.as_str()) {
        return Vec::new();
    }
    places_of(of, &asked(info), masking)
}

/// Where a ConfigMap of these names may hold some.
pub(super) fn of_config_map(namespace: &str, name: &str, masking: &Masking) -> Vec<Place> {
    let of = Resource { resource: "configmaps".to_owned(), ..Resource::default() };
    let known = |text: &str| Some(text.to_owned());
    let asked = Known { namespace: known(namespace), name: known(name), ..Known::default() };
    places_of(&of, &asked, masking)
}

fn places_of(of: &Resource, asked: &Known, masking: &Masking) -> Vec<Place> {
    let name = of.type_name();
    let mut places = Vec::new();
    for label in &masking.fields {
        let is_named = label.kind.matches(&of.resource) || label.kind.matches(&name);
        let in_templates = !is_named && label.kind.matches("pods") && has_templates(of);
        if is_named || in_templates {
            let place = |path| Place { label: Arc::clone(label), path, in_templates };
            places.extend((0..label.paths.len()).map(place).filter(|place| place.is_of(asked)));
        }
    }
    places
}

/// Each class of places once, with the first of them.
pub(super) fn classes(places: &[Place]) -> Vec<Arc<Class>> {
    let all = places.iter().map(|place| (&place.label.class.name, &place.label.class));
    all.collect::<BTreeMap<_, _>>().into_values().map(Arc::clone).collect()
}

/// Whether a table of these objects might print what is hidden there: those of the cluster's owner print what they like.
pub(super) fn are_printed(places: &[Place], info: &RequestInfo) -> bool {
    let is_shipped = info.resource.as_ref().is_some_and(is_shipped);
    let is_kept = |place: &Place| {
        (is_shipped || place.in_templates)
            && place.path().is_some_and(|path| UNPRINTED.iter().any(|key| path.has_key(key)))
    };
    !places.iter().all(is_kept)
}

/// Of what the server says of a change that it refuses: it quotes objects as they were to become.
pub(super) fn quotes(places: &[Place], info: &RequestInfo) -> Option<Arc<Class>> {
    let changes = matches!(info.verb, Verb::Update | Verb::Patch);
    places.first().filter(|_| changes).map(|place| Arc::clone(&place.label.class))
}

fn is_shipped(of: &Resource) -> bool {
    SHIPPED.contains(&of.group.as_str())
}

fn has_templates(of: &Resource) -> bool {
    !is_shipped(of) || WITH_TEMPLATES.contains(&of.resource.as_str())
}
