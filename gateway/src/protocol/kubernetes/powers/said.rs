//! From the server's answers to powers.
//!
//! In: rights and rules. Out: powers in words, each with what takes it away. Names are the server's, cut and on one line. It asks nobody.

use super::rights::{Ask, CHANGES, IMPERSONATE, RIGHTS, Right, Scope, USES_OF_EVERYTHING};
use super::rules::{Rules, Who};
use crate::upstream::power::{Power, some};

const MASTERS: &str = "system:masters";

/// Whom it is told of.
pub(super) struct Login {
    /// As the configuration calls it, or the server.
    name: String,
    is_master: bool,
    /// The command that tells which roles are bound to it.
    roles: String,
}

impl Login {
    pub(super) fn new(configured: &str, who: &Who) -> Self {
        let name = some(&[who.name().unwrap_or(configured).to_owned()]);
        let mut roles = "kubectl get rolebindings,clusterrolebindings -A -o wide".to_owned();
        if who.name().is_some() {
            roles += &format!(" | grep -F -e {}", in_a_shell(short(&name)));
        }
        Self { is_master: who.is_in(MASTERS), name, roles }
    }

    pub(super) fn everything(&self) -> Power {
        let narrow = if self.is_master {
            format!(
                "it is in the group {MASTERS}, which no role holds back: give the gateway a login of its own without it"
            )
        } else {
            format!(
                "give the gateway a login of its own, with a role of what policies permit; where this one's comes from: {}",
                self.roles
            )
        };
        Power {
            name: "cluster_admin".to_owned(),
            what: format!("`{}` may do all to all of the cluster (`*` on `*`)", self.name),
            cost: "the server checks nothing behind policy: one request that is read wrongly reaches every Secret, pod and node".to_owned(),
            narrow,
            uses: USES_OF_EVERYTHING.to_vec(),
        }
    }

    /// A right in the whole cluster, or in the one namespace that it is about.
    pub(super) fn right(&self, right: &Right, held: &[&'static Ask]) -> Power {
        let place = if right.scope == Scope::Namespaced { " in every namespace" } else { "" };
        self.named(right, held, place)
    }

    fn named(&self, right: &Right, held: &[&'static Ask], place: &str) -> Power {
        let mut uses: Vec<_> = held.iter().filter_map(|ask| ask.used_by).collect();
        uses.dedup();
        let narrow = if right.name == IMPERSONATE {
            format!(
                "add `resourceNames` with the names that it needs (`gateway:NAME`, and groups) to its rule for impersonate: {}",
                self.roles
            )
        } else {
            self.take_out(&asked(held))
        };
        Power {
            name: right.name.to_owned(),
            what: format!("`{}` may {}{place}", self.name, right.does),
            cost: right.cost.to_owned(),
            narrow,
            uses,
        }
    }

    /// What rules of namespaces come to, beside what holds in the whole cluster.
    pub(super) fn rules(&self, rules: &Rules, wide: &[&str]) -> Vec<Power> {
        let mut powers = Vec::new();
        let here = RIGHTS.iter().filter(|right| right.scope == Scope::Namespaced && !wide.contains(&right.name));
        for right in here {
            let (places, held) = rules.of_right(right.name, right.asks);
            if !held.is_empty() {
                powers.push(self.named(right, &held, &within(&places, rules.count)));
            }
        }
        for (at, (verb, cost, uses)) in CHANGES.into_iter().enumerate() {
            for (places, resources) in rules.of_change(at) {
                powers.push(Power {
                    name: verb.to_owned(),
                    what: format!("`{}` may {verb}{}: {}", self.name, within(&places, rules.count), some(&resources)),
                    cost: cost.to_owned(),
                    narrow: self.take_out(&format!("{verb} on {}", some(&resources))),
                    uses: vec![uses],
                });
            }
        }
        powers
    }

    fn take_out(&self, what: &str) -> String {
        format!("take {what} out of the roles that are bound to it: {}", self.roles)
    }
}

/// What bindings call a service account: `-o wide` shows namespace and name with a slash between them.
fn short(name: &str) -> &str {
    name.strip_prefix("system:serviceaccount:").and_then(|name| name.split(':').nth(1)).unwrap_or(name)
}

/// `get, list on secrets; create on pods/exec`
fn asked(held: &[&'static Ask]) -> String {
    let mut parts: Vec<(String, Vec<&str>)> = Vec::new();
    for ask in held {
        let named =
            if ask.group.is_empty() { ask.resource.to_owned() } else { format!("{}.{}", ask.resource, ask.group) };
        match parts.iter_mut().find(|(resource, _)| *resource == named) {
            Some((_, verbs)) => verbs.push(ask.verb),
            None => parts.push((named, vec![ask.verb])),
        }
    }
    let parts: Vec<_> = parts.iter().map(|(resource, verbs)| format!("{} on {resource}", verbs.join(", "))).collect();
    parts.join(" and ")
}

fn within(places: &[String], count: usize) -> String {
    match places {
        [one] => format!(" in the namespace {one}"),
        all if all.len() == count => format!(" in all {count} namespaces that were looked into ({})", some(all)),
        several => format!(" in {} namespaces ({})", several.len(), some(several)),
    }
}

/// A word that a shell takes as it is.
fn in_a_shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@/".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rules::Namespaces;
    use super::*;

    fn login(name: &str, groups: &[&str]) -> Login {
        let who = json!({ "status": { "userInfo": { "username": name, "groups": groups } } });
        Login::new("gateway", &serde_json::from_value(who).unwrap())
    }

    fn rules(namespaces: &[(&str, serde_json::Value)]) -> Rules {
        let mut rules = Rules::default();
        for (namespace, told) in namespaces {
            let review = json!({ "status": { "resourceRules": told, "nonResourceRules": [], "incomplete": false } });
            rules.add(namespace, serde_json::from_value(review).unwrap());
        }
        rules
    }

    fn told(powers: &[Power]) -> Vec<(&str, &str)> {
        powers.iter().map(|power| (power.name.as_str(), power.what.as_str())).collect()
    }

    #[test]
    fn rules_of_namespaces_are_told_by_verb_and_place() {
        let both = json!({ "verbs": ["get", "delete"], "apiGroups": ["apps"], "resources": ["deployments"] });
        let own = json!({ "verbs": ["create"], "apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews"] });
        let one =
            json!({ "verbs": ["patch"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["app"] });
        let rules = rules(&[("a", json!([both, own])), ("b", json!([both, one]))]);
        assert_eq!(
            told(&login("bot", &[]).rules(&rules, &[])),
            [
                ("patch", "`bot` may patch in the namespace b: configmaps (of certain names)"),
                ("delete", "`bot` may delete in all 2 namespaces that were looked into (a, b): deployments.apps"),
            ]
        );
    }

    #[test]
    fn a_star_and_a_subresource_of_all_are_the_rights_in_them() {
        let sub = json!({ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*/exec"] });
        let star = json!({ "verbs": ["list"], "apiGroups": [""], "resources": ["*"] });
        let powers = login("bot", &[]).rules(&rules(&[("a", json!([sub])), ("b", json!([star]))]), &[]);
        assert!(told(&powers).contains(&("exec", "`bot` may run commands in pods in the namespace a")), "{powers:#?}");
        let reads = powers.iter().find(|power| power.name == "read_secrets").unwrap();
        assert_eq!(reads.uses, [crate::policy::vocabulary::names::Action::KubernetesList]);
        assert!(reads.narrow.starts_with("take list on secrets out of the roles"), "{}", reads.narrow);
        assert!(!told(&powers).iter().any(|(name, _)| *name == "attach"), "{powers:#?}");
    }

    #[test]
    fn what_holds_everywhere_is_told_once() {
        let secrets = json!({ "verbs": ["get"], "apiGroups": [""], "resources": ["secrets"] });
        let rules = rules(&[("a", json!([secrets]))]);
        assert_eq!(login("bot", &[]).rules(&rules, &["read_secrets"]), []);
        assert_eq!(login("bot", &[]).rules(&rules, &[]).len(), 1);
    }

    #[test]
    fn names_of_a_server_stay_words_of_a_shell_and_on_one_line() {
        let hostile = login("a'; reboot #\n\u{1b}[2J", &[MASTERS]);
        assert!(hostile.roles.ends_with(r"grep -F -e 'a'\''; reboot #[2J'"), "{}", hostile.roles);
        assert!(hostile.everything().narrow.contains(MASTERS));
        assert!(login("system:serviceaccount:shop:bot", &[]).roles.ends_with("-e bot"));
        let names = json!({ "items": [{ "metadata": { "name": "shop" } }, { "metadata": { "name": "../x" } }, { "metadata": { "name": "" } }] });
        let names: Namespaces = serde_json::from_value(names).unwrap();
        assert_eq!(names.names(8), ["shop"]);
    }
}
