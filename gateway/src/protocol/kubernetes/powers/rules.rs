//! Answers of an API server about rights.
//!
//! In: their JSON. Out: what was allowed, and rules with the namespaces that they hold in. Fields that are not known are passed
//! over; a name that cannot be one of a namespace is left out, since it would go back to the server.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::rights::{Ask, CHANGES, RIGHTS, Scope, is_own_review};

/// An answer to `SelfSubjectReview`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Who {
    #[serde(default)]
    status: WhoStatus,
}

#[derive(Debug, Default, Deserialize)]
struct WhoStatus {
    #[serde(default, rename = "userInfo")]
    user: UserInfo,
}

#[derive(Debug, Default, Deserialize)]
struct UserInfo {
    #[serde(default)]
    username: String,
    #[serde(default)]
    groups: Vec<String>,
}

impl Who {
    /// Its name, where the server told one.
    pub(super) fn name(&self) -> Option<&str> {
        Some(self.status.user.username.as_str()).filter(|name| !name.is_empty())
    }

    pub(super) fn is_in(&self, group: &str) -> bool {
        self.status.user.groups.iter().any(|known| known == group)
    }
}

/// An answer to `SelfSubjectAccessReview` or `SelfSubjectRulesReview`.
#[derive(Debug, Deserialize)]
pub(super) struct Review {
    status: Status,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    allowed: bool,
    #[serde(default)]
    incomplete: bool,
    #[serde(default)]
    evaluation_error: String,
    #[serde(default)]
    resource_rules: Option<Vec<Rule>>,
}

/// A rule, in RBAC's words.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    api_groups: Option<Vec<String>>,
    #[serde(default)]
    resources: Option<Vec<String>>,
    #[serde(default)]
    resource_names: Option<Vec<String>>,
}

impl Review {
    pub(super) fn is_allowed(&self) -> bool {
        self.status.allowed
    }

    pub(super) fn is_incomplete(&self) -> bool {
        self.status.incomplete
    }

    pub(super) fn reason(&self) -> &str {
        &self.status.evaluation_error
    }
}

/// A list of namespaces.
#[derive(Debug, Deserialize)]
pub(super) struct Namespaces {
    #[serde(default)]
    metadata: ListMeta,
    items: Vec<Item>,
}

#[derive(Debug, Default, Deserialize)]
struct ListMeta {
    #[serde(default, rename = "continue")]
    next: String,
}

#[derive(Debug, Deserialize)]
struct Item {
    metadata: Meta,
}

#[derive(Debug, Deserialize)]
struct Meta {
    name: String,
}

impl Namespaces {
    pub(super) fn has_more(&self) -> bool {
        !self.metadata.next.is_empty()
    }

    /// The first of them.
    pub(super) fn names(self, most: usize) -> Vec<String> {
        let names = self.items.into_iter().map(|item| item.metadata.name);
        names.filter(|name| is_label(name)).take(most).collect()
    }
}

/// RFC 1123, as namespaces are named.
fn is_label(name: &str) -> bool {
    let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(is_plain)
}

/// Of what was told of namespaces, by what it lets one do: which resources, where.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// How many namespaces.
    pub(super) count: usize,
    /// Of rights with a name: where each part of them holds.
    rights: BTreeMap<(&'static str, usize), BTreeSet<String>>,
    /// Of changes by verb and resource: where.
    changes: BTreeMap<(usize, String), BTreeSet<String>>,
}

impl Rules {
    pub(super) fn add(&mut self, namespace: &str, review: Review) {
        self.count += 1;
        for rule in review.status.resource_rules.unwrap_or_default() {
            self.add_rights(namespace, &rule);
            self.add_changes(namespace, &rule);
        }
    }

    fn add_rights(&mut self, namespace: &str, rule: &Rule) {
        for right in RIGHTS.iter().filter(|right| right.scope == Scope::Namespaced) {
            for (at, _) in right.asks.iter().enumerate().filter(|(_, ask)| rule.gives(ask)) {
                self.rights.entry((right.name, at)).or_default().insert(namespace.to_owned());
            }
        }
    }

    fn add_changes(&mut self, namespace: &str, rule: &Rule) {
        for (at, (verb, ..)) in CHANGES.iter().enumerate().filter(|(_, (verb, ..))| has(&rule.verbs, verb)) {
            for group in rule.api_groups.iter().flatten() {
                let resources = rule.resources.iter().flatten();
                for resource in resources.filter(|resource| !is_told_elsewhere(group, resource, verb)) {
                    let named = rule.qualified(group, resource);
                    self.changes.entry((at, named)).or_default().insert(namespace.to_owned());
                }
            }
        }
    }

    /// Where a right holds, and which parts of it.
    pub(super) fn of_right(&self, name: &'static str, asks: &'static [Ask]) -> (Vec<String>, Vec<&'static Ask>) {
        let (mut places, mut held) = (BTreeSet::new(), Vec::new());
        for (at, ask) in asks.iter().enumerate() {
            if let Some(namespaces) = self.rights.get(&(name, at)) {
                places.extend(namespaces.iter().cloned());
                held.push(ask);
            }
        }
        (places.into_iter().collect(), held)
    }

    /// What may be changed by a verb, by the namespaces that it may be changed in.
    pub(super) fn of_change(&self, at: usize) -> BTreeMap<Vec<String>, Vec<String>> {
        let mut found: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
        for ((verb, resource), places) in &self.changes {
            if *verb == at {
                found.entry(places.iter().cloned().collect()).or_default().push(resource.clone());
            }
        }
        found
    }
}

impl Rule {
    /// As the server's own reading of rules has it (`RuleAllows` of its RBAC).
    fn gives(&self, ask: &Ask) -> bool {
        let of = |list: &Option<Vec<String>>, word: &str| list.as_ref().is_some_and(|list| has(list, word));
        let any_of_sub = ask.resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        has(&self.verbs, ask.verb)
            && of(&self.api_groups, ask.group)
            && (of(&self.resources, ask.resource) || any_of_sub.is_some_and(|word| of(&self.resources, &word)))
    }

    /// A resource as kubectl has it, with word of it where only objects with certain names are meant.
    fn qualified(&self, group: &str, resource: &str) -> String {
        let mut named = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        if self.resource_names.as_ref().is_some_and(|names| !names.is_empty()) {
            named += " (of certain names)";
        }
        named
    }
}

fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|one| one == word || one == "*")
}

/// What a right with a name tells already, and what everybody may.
fn is_told_elsewhere(group: &str, resource: &str, verb: &str) -> bool {
    let rights = RIGHTS.iter().filter(|right| !matches!(right.scope, Scope::In(_)));
    let mut asks = rights.flat_map(|right| right.asks);
    is_own_review(group, resource) || asks.any(|ask| ask.group == group && ask.resource == resource && ask.verb == verb)
}
