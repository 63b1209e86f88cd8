//! The rules that a policy has to keep beside Cedar's own.
//!
//! In: the texts of policy files. Out: checked policies, Cedar's ids set from `@id`, or every fault of every file. It must
//! never pass on a policy that can silently mean nothing, or more than it says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy, PolicyId, PolicySet, ValidationMode, Validator};

use super::decision::{Caps, Recording, Vote};
use super::fault::{Fault, Place, Reason};
use super::load::{KnownIds, PolicyFile, Source};
use super::reads::Reads;
use super::schema::Schema;
use super::slice::PolicyEntry;
use super::terms::Terms;
use crate::config::duration_of;

/// How many known ids a fault lists.
const LISTED: usize = 8;
/// Rows of one run that are kept at most, and bytes of one body.
const MAX_ROWS: u64 = 10_000;
const MAX_BYTES: u64 = 65_536;

/// Policies that kept all rules, sorted by id.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) entries: Vec<Arc<PolicyEntry>>,
}

/// A policy and where it stands.
struct Located<'f> {
    file: &'f PolicyFile,
    start: usize,
    end: usize,
    id: String,
    policy: Policy,
}

impl Located<'_> {
    /// Where `needle` stands in the policy, else its start.
    fn place_of(&self, needle: &str) -> Place {
        let own = self.file.text.get(self.start..self.end).unwrap_or_default();
        let offset = own.find(needle).unwrap_or(0);
        Place::at(&self.file.name, &self.file.text, self.start + offset)
    }

    fn fault_at(&self, needle: &str, reason: Reason) -> Fault {
        Fault::new(self.place_of(needle), reason)
    }
}

pub(super) fn check_files(schema: &Schema, files: &[PolicyFile], source: &Source) -> Result<Checked, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut policies = Vec::new();
    for file in files {
        policies.extend(parse(file, &mut faults));
    }
    let shipped: BTreeSet<String> = policies.iter().filter(|p| p.file.guard).map(|p| p.id.clone()).collect();
    let unknown = source.disable.difference(&shipped).cloned();
    faults.extend(unknown.map(|id| Fault::new(Place::start("gateway.toml"), Reason::UnknownDisabled { id })));
    policies.retain(|located| !(located.file.guard && source.disable.contains(&located.id)));

    faults.extend(duplicates(&policies));
    let known = source.known.clone().with_built_in();
    let mut entries = Vec::with_capacity(policies.len());
    for located in &policies {
        let vote = annotations(located, &mut faults);
        scope(located, &mut faults);
        literals(located, &known, vote.as_ref(), &mut faults);
        entries.push(entry(located, vote));
    }
    faults.extend(validate(schema, &policies));
    faults.sort();
    faults.dedup();
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    if faults.is_empty() { Ok(Checked { entries }) } else { Err(faults) }
}

fn parse<'f>(file: &'f PolicyFile, faults: &mut Vec<Fault>) -> Vec<Located<'f>> {
    let set: PolicySet = match file.text.parse() {
        Ok(set) => set,
        Err(errors) => {
            faults.extend(syntax(file, &errors));
            return Vec::new();
        }
    };
    for template in set.templates() {
        let start = template.as_ref().loc().map_or(0, |at| at.start());
        faults.push(Fault::new(Place::at(&file.name, &file.text, start), Reason::Template));
    }
    let mut found = Vec::new();
    for policy in set.policies() {
        let (start, end) = policy.as_ref().loc().map_or((0, file.text.len()), |at| (at.start(), at.end()));
        let place = Place::at(&file.name, &file.text, start);
        let id = match policy.annotation("id") {
            Some(id) if !id.trim().is_empty() => id.to_owned(),
            _ => {
                faults.push(Fault::new(place.clone(), Reason::NoId));
                // Named all the same, so that its other faults are found.
                place.to_string()
            }
        };
        let policy = policy.new_id(PolicyId::new(&id));
        found.push(Located { file, start, end, id, policy });
    }
    found.sort_by_key(|located| located.start);
    found
}

fn syntax(file: &PolicyFile, errors: &cedar_policy::ParseErrors) -> Vec<Fault> {
    errors
        .iter()
        .map(|error| described(file, 0, DetailedError::from(error), |what, help| Reason::Syntax { what, help }))
        .collect()
}

/// A fault from Cedar's own words and place.
fn described(
    file: &PolicyFile,
    start: usize,
    error: DetailedError,
    reason: impl Fn(String, Option<String>) -> Reason,
) -> Fault {
    let first = error.source_locations.first();
    let label = first.and_then(|at| at.label.clone());
    let help = match (label, error.help) {
        (Some(label), Some(help)) => Some(format!("{label}: {help}")),
        (label, help) => label.or(help),
    };
    let place = Place::at(&file.name, &file.text, first.map_or(start, |at| at.loc.start));
    Fault::new(place, reason(error.message, help))
}

fn duplicates(policies: &[Located<'_>]) -> Vec<Fault> {
    let mut first: BTreeMap<&str, Place> = BTreeMap::new();
    let mut faults = Vec::new();
    for located in policies {
        match first.get(located.id.as_str()) {
            Some(first) => {
                let reason = Reason::DuplicateId { id: located.id.clone(), first: first.clone() };
                faults.push(located.fault_at("@id", reason));
            }
            None => {
                first.insert(&located.id, located.place_of("@id"));
            }
        }
    }
    faults
}

/// Checks the annotations; the vote that they ask for, if any.
fn annotations(located: &Located<'_>, faults: &mut Vec<Fault>) -> Option<Vote> {
    let policy = located.id.clone();
    let mut fault = |name: &str, reason| faults.push(located.fault_at(&format!("@{name}"), reason));
    for (name, text) in located.policy.annotations() {
        match name {
            "id" | "doc" => {}
            "max_rows" | "max_affected" => {
                let bounds =
                    located.policy.effect() == Effect::Permit || located.policy.annotation("approval").is_some();
                if !bounds || text.parse::<u64>().is_err() {
                    fault(name, Reason::Cap { policy: policy.clone(), name: name.to_owned() });
                }
            }
            "record_rows" | "record_bytes" => {
                let most = if name == "record_rows" { MAX_ROWS } else { MAX_BYTES };
                let bounds =
                    located.policy.effect() == Effect::Permit || located.policy.annotation("approval").is_some();
                if !bounds || !text.parse::<u64>().is_ok_and(|count| (1..=most).contains(&count)) {
                    fault(name, Reason::Recorded { policy: policy.clone(), name: name.to_owned(), most });
                }
            }
            "message" | "approval" | "approvers" | "reason" | "expires" | "hours" => {
                if text.trim().is_empty() {
                    fault(name, Reason::EmptyAnnotation { policy: policy.clone(), name: name.to_owned() });
                }
            }
            _ => fault(name, Reason::UnknownAnnotation { policy: policy.clone(), name: name.to_owned() }),
        }
    }
    let approval = located.policy.annotation("approval").filter(|group| !group.trim().is_empty());
    let raises = located.policy.annotation("max_affected").is_some();
    if approval.is_some() && located.policy.effect() == Effect::Permit && !raises {
        fault("approval", Reason::ApprovalOnPermit { policy: policy.clone() });
    }
    let count = match located.policy.annotation("approvers") {
        None => Some(1),
        Some(text) => text.parse().ok().filter(|count| (1..=9).contains(count) && approval.is_some()),
    };
    if count.is_none() {
        fault("approvers", Reason::Approvers { policy });
    }
    let terms = terms(located, faults);
    Some(Vote { group: approval?.into(), count: count?, terms: terms? })
}

/// The terms of its approval; none where one of them is a fault.
fn terms(located: &Located<'_>, faults: &mut Vec<Fault>) -> Option<Terms> {
    let mut terms = Terms::default();
    let mut is_right = true;
    for (name, text) in located.policy.annotations() {
        let what = match name {
            "reason" => {
                (text == "required").then(|| terms.reason = true).ok_or("`required`, or be left out".to_owned())
            }
            "expires" => duration(text).map(|time| terms.expires = Some(time)),
            "hours" => text.parse().map(|hours| terms.hours.push(hours)).map_err(|error| format!("hours: {error}")),
            _ => continue,
        };
        let what = what.and_then(|()| match located.policy.annotation("approval") {
            Some(_) => Ok(()),
            None => Err("an `@approval` beside it".to_owned()),
        });
        if let Err(needs) = what {
            is_right = false;
            let reason = Reason::Term { policy: located.id.clone(), name: name.to_owned(), needs };
            faults.push(located.fault_at(&format!("@{name}"), reason));
        }
    }
    is_right.then_some(terms)
}

fn duration(text: &str) -> Result<Duration, String> {
    duration_of(text).ok_or_else(|| "a time between `1s` and `24h`, such as `15m`".to_owned())
}

fn scope(located: &Located<'_>, faults: &mut Vec<Fault>) {
    let anything = matches!(located.policy.action_constraint(), ActionConstraint::Any);
    if anything && located.policy.effect() == Effect::Permit {
        let reason = Reason::PermitOfAnything { policy: located.id.clone() };
        faults.push(located.fault_at("permit", reason));
    }
}

/// Ids are not type-checked: one that nothing has makes a policy that never matches, and a forbid that never fires.
fn literals(located: &Located<'_>, known: &KnownIds, vote: Option<&Vote>, faults: &mut Vec<Fault>) {
    let mut check = |kind: &str, id: &str, written: &str| {
        if let Some((kind, ids)) = unknown(known, kind, id) {
            let reason = Reason::UnknownId { policy: located.id.clone(), kind, id: id.to_owned(), known: listed(ids) };
            faults.push(located.fault_at(written, reason));
        }
    };
    let uids: BTreeSet<EntityUid> = located.policy.entity_literals().into_iter().collect();
    for uid in uids {
        check(&uid.type_name().to_string(), uid.id().unescaped(), &uid.to_string());
    }
    if let Some(vote) = vote {
        check("Group", &vote.group, "@approval");
    }
}

/// What kind of thing that is and which ids there are, if this is none of them. What lies in a target has the target's
/// name before its first `/`.
fn unknown<'k>(known: &'k KnownIds, kind: &str, id: &str) -> Option<(&'static str, &'k BTreeSet<String>)> {
    let (kind, ids, id) = match kind {
        "Target" => ("target", &known.targets, id),
        "Environment" => ("environment", &known.environments, id),
        "Attachment" => ("attachment", &known.attachments, id),
        "DataClass" => ("data class", &known.classes, id),
        "Group" => {
            let issued = id.split_once(':').is_some_and(|(issuer, _)| known.issuers.contains(issuer));
            return (!issued && !known.groups.contains(id)).then_some(("group", &known.groups));
        }
        "Postgres::Database" | "Postgres::Schema" | "Postgres::Relation" | "Postgres::Function" | "Postgres::Role"
        | "Postgres::Object" | "Network::Endpoint" => {
            ("target", &known.targets, id.split_once('/').map_or(id, |(target, _)| target))
        }
        _ => return None,
    };
    (!ids.contains(id)).then_some((kind, ids))
}

fn listed(ids: &BTreeSet<String>) -> String {
    if ids.is_empty() {
        return "it has none".to_owned();
    }
    let names: Vec<String> = ids.iter().take(LISTED).map(|id| format!("`{id}`")).collect();
    let more = if ids.len() > LISTED { ", …" } else { "" };
    format!("it has {}{more}", names.join(", "))
}

fn entry(located: &Located<'_>, vote: Option<Vote>) -> Arc<PolicyEntry> {
    let message = located.policy.annotation("message").map(Into::into);
    let (id, reads) = (located.id.as_str().into(), Reads::of(&located.policy));
    let cap = |name| located.policy.annotation(name).and_then(|text| text.parse().ok());
    let alone = cap("max_affected");
    // Of a permit people may raise the cap; of a forbid they have said yes to what its cap bounds.
    let is_raised = vote.is_some() && located.policy.effect() == Effect::Permit;
    let caps = Caps { rows: cap("max_rows"), affected: alone.filter(|_| !is_raised), alone };
    let kept = |name| cap(name).unwrap_or_default();
    let recorded = Recording { rows: kept("record_rows"), bytes: kept("record_bytes") };
    Arc::new(PolicyEntry { id, message, vote, caps, recorded, reads, policy: located.policy.clone() })
}

/// Cedar's strict validation. A warning is a fault too: it says that a policy can never apply, or looks like another.
fn validate(schema: &Schema, policies: &[Located<'_>]) -> Vec<Fault> {
    let by_id: BTreeMap<&str, &Located<'_>> = policies.iter().map(|located| (located.id.as_str(), located)).collect();
    // Of two with the same id, which is a fault already, the last is validated.
    let Ok(set) = PolicySet::from_policies(by_id.values().map(|located| located.policy.clone())) else {
        return Vec::new();
    };
    let result = Validator::new(schema.cedar().clone()).validate(&set, ValidationMode::Strict);
    let errors = result.validation_errors().map(|error| (error.policy_id().clone(), DetailedError::from(error)));
    let warnings = result.validation_warnings().map(|error| (error.policy_id().clone(), DetailedError::from(error)));
    let mut faults = Vec::new();
    for (id, error) in errors.chain(warnings) {
        let id: &str = id.as_ref();
        let Some(located) = by_id.get(id) else { continue };
        let reason = |what, help| Reason::Type { policy: id.to_owned(), what, help };
        faults.push(described(located.file, located.start, error, reason));
    }
    faults
}
