//! What policies could permit at all, to anybody.
//!
//! In: an action and a target. Out: the permits whose scope covers it and that no forbid without conditions takes back.
//! Conditions are not looked at: a permit that is named here may still permit nothing, but where none is named nobody is
//! permitted anything. It decides no request.

use std::sync::Arc;

use cedar_policy::{Effect, EntityUid, PrincipalConstraint, ResourceConstraint};

use super::evaluate::PolicySnapshot;
use super::slice::{PolicyEntry, Slice};
use super::vocabulary::names::{Action, EntityType};

/// A target as policies name it.
#[derive(Clone, Copy, Debug)]
pub struct Whereabouts<'a> {
    /// Its name.
    pub target: &'a str,
    /// Its environment.
    pub environment: Option<&'a str>,
}

impl PolicySnapshot {
    /// Ids of the permits that could let somebody do this there, sorted; empty: nobody may, whatever the request.
    #[must_use]
    pub fn reach(&self, action: Action, at: Whereabouts<'_>) -> Vec<Arc<str>> {
        let slices = EntityType::ALL.iter().filter_map(|kind| self.slices.find(action, *kind));
        let open = slices.filter(|slice| !entries(slice).any(|entry| is_closing(entry, at)));
        let permits = open.flat_map(entries).filter(|entry| entry.policy.effect() == Effect::Permit);
        let mut ids: Vec<_> = permits.filter(|entry| could_be_there(entry, at)).map(|entry| entry.id.clone()).collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

fn entries(slice: &Slice) -> impl Iterator<Item = &PolicyEntry> {
    slice.all.policies().filter_map(|policy| slice.entry(policy.id())).map(Arc::as_ref)
}

/// Whether something in the target could lie in what the policy is about.
fn could_be_there(entry: &PolicyEntry, at: Whereabouts<'_>) -> bool {
    match entry.policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => true,
        // What else lies in the target is known to the server alone.
        ResourceConstraint::In(parent) | ResourceConstraint::Eq(parent) | ResourceConstraint::IsIn(_, parent) => {
            is_there(&parent, at).unwrap_or(true)
        }
    }
}

/// Whether a policy forbids it to everybody, everywhere in the target, and nobody can lift that.
fn is_closing(entry: &PolicyEntry, at: Whereabouts<'_>) -> bool {
    let policy = &entry.policy;
    let everywhere = match policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => true,
        ResourceConstraint::In(parent) | ResourceConstraint::IsIn(_, parent) => is_there(&parent, at).unwrap_or(false),
        ResourceConstraint::Eq(_) => false,
    };
    let to_everybody = matches!(policy.principal_constraint(), PrincipalConstraint::Any);
    let forbids = policy.effect() == Effect::Forbid && entry.vote.is_none() && !policy.has_non_scope_constraint();
    forbids && to_everybody && everywhere
}

/// Whether it is the target itself or its environment; `None`: it is something else.
fn is_there(named: &EntityUid, at: Whereabouts<'_>) -> Option<bool> {
    let kind = EntityType::from_name(&named.type_name().to_string());
    let id: &str = named.id().as_ref();
    match kind {
        Some(EntityType::Target) => Some(id == at.target),
        Some(EntityType::Environment) => Some(Some(id) == at.environment),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::load::{KnownIds, PolicyFile, Source, build};

    fn set(text: &str) -> PolicySnapshot {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let known = KnownIds {
            targets: names(&["shop", "store"]),
            environments: names(&["production", "staging"]),
            groups: names(&["local:a"]),
            ..KnownIds::default()
        };
        let file = PolicyFile { name: "p.cedar".into(), text: text.into(), guard: false };
        let source = Source { known: known.with_built_in(), ..Source::default() };
        build(&[file], &source, 1).unwrap_or_else(|faults| panic!("{faults:#?}"))
    }

    fn reach(text: &str, action: Action) -> Vec<String> {
        let at = Whereabouts { target: "shop", environment: Some("production") };
        set(text).reach(action, at).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_no_permit_covers_is_for_nobody() {
        let reads = r#"@id("r") permit (principal, action in Action::"read", resource in Target::"shop");"#;
        assert_eq!(reach(reads, Action::PostgresSelect), ["r"]);
        assert!(reach(reads, Action::PostgresDelete).is_empty());
        assert!(reach("", Action::PostgresSelect).is_empty());
    }

    #[test]
    fn a_permit_for_another_target_or_environment_is_none_here() {
        for elsewhere in [r#"Target::"store""#, r#"Environment::"staging""#] {
            let text = format!(r#"@id("r") permit (principal, action in Action::"read", resource in {elsewhere});"#);
            assert!(reach(&text, Action::PostgresSelect).is_empty(), "{elsewhere}");
        }
        let here = r#"@id("r") permit (principal in Group::"local:a", action, resource in Environment::"production") when { context has text };"#;
        let here = here.replace("action,", r#"action == Postgres::Action::"select","#);
        assert_eq!(reach(&here, Action::PostgresSelect), ["r"], "whoever and whenever that is");
    }

    #[test]
    fn a_forbid_counts_where_nothing_lifts_it() {
        let forbidden = |forbid: &str| {
            let all = r#"@id("all") permit (principal, action in Action::"escape", resource);"#;
            reach(&format!("{all}\n{forbid}"), Action::PostgresCopyProgram).is_empty()
        };
        assert!(forbidden(r#"@id("f") forbid (principal, action in Action::"escape", resource);"#));
        assert!(forbidden(r#"@id("f") forbid (principal, action in Action::"escape", resource in Target::"shop");"#));
        for open in [
            r#"@id("f") forbid (principal, action in Action::"escape", resource in Target::"store");"#,
            r#"@id("f") forbid (principal in Group::"local:a", action in Action::"escape", resource);"#,
            r#"@id("f") forbid (principal, action in Action::"escape", resource) unless { resource in Environment::"scratch" };"#,
            r#"@id("f") @approval("local:a") forbid (principal, action in Action::"escape", resource);"#,
        ] {
            assert!(!forbidden(open), "{open}");
        }
    }
}
