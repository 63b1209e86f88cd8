//! `gateway policy suggest`: permits for what attachments did.
//!
//! In: the journal. Out: policies, as text, that permit what went on and as little else as their form allows, and what
//! they were found to cover when all of it was decided again by them. It suggests no permit to see a labelled value, and
//! puts nothing in force: a person reads it first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use serde_json::Value as Json;

use super::super::Output;
use super::replay::{self, Answers, Which};
use super::{all, read};
use crate::policy::load::{Origin, PolicyFile, load};
use crate::policy::recorded::{attachment_of, parts_of};
use crate::policy::vocabulary::names::{Action, EntityType, Handling};
use crate::policy::{NotDecidable, Source, Verdict};

/// More objects of a type in a namespace than this, and the permit is for the type: their names come and go.
const NAMES: usize = 3;

/// For what.
#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    files: super::Files,
}

/// What is asked in one way: by whom, of what type of resource, and how the rest of the question is bound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scope {
    attachment: String,
    kind: String,
    /// Conditions beside the resource, as Cedar.
    when: Vec<String>,
}

/// Resources by scope, with the actions on each.
#[derive(Debug, Default)]
struct Seen {
    resources: BTreeMap<Scope, BTreeMap<Resource, BTreeSet<String>>>,
    targets: BTreeSet<String>,
    requests: u64,
}

/// What a permit is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Resource {
    reference: String,
    /// Namespace and type of an object of Kubernetes, which stand for it where there are many.
    within: Option<(String, String)>,
}

/// What is suggested, and how far it goes.
#[derive(Debug, Serialize)]
struct Suggestion {
    /// Text of a policy file.
    policies: String,
    /// Requests that went on.
    requests: u64,
    /// Of these, permitted by the policies and the guard pack.
    covered: u64,
    /// The others: what would become of them, and how many.
    others: BTreeMap<String, u64>,
}

pub(super) fn run(arguments: &Arguments, output: Output) -> anyhow::Result<()> {
    let mut seen = Seen::default();
    let broken = replay::each(&arguments.which, |recorded| {
        if recorded.went_on() {
            seen.add(recorded.input());
        }
    })?;
    if broken > 0 {
        bail!("{broken} places of the journal cannot be read: run `gateway audit verify`");
    }
    if seen.requests == 0 {
        bail!("the journal has no request of that time and attachment that went on: observe it first");
    }
    let policies = seen.policies();
    let suggestion = tried(policies, &seen, arguments)?;
    output.print(&suggestion, Suggestion::page)
}

/// Decides all of it again by what is suggested.
fn tried(policies: String, seen: &Seen, arguments: &Arguments) -> anyhow::Result<Suggestion> {
    let given = read(&arguments.files)?.source;
    let file = PolicyFile { name: "suggested.cedar".to_owned(), text: policies.clone(), guard: false };
    let mut known = given.known;
    known.attachments.extend(seen.resources.keys().map(|scope| scope.attachment.clone()));
    known.targets.extend(seen.targets.iter().cloned());
    let set = load(&Source { origin: Origin::Files(vec![file]), known, disable: given.disable }, 1).map_err(all)?;
    let mut suggestion = Suggestion { policies, requests: 0, covered: 0, others: BTreeMap::new() };
    let mut answers = Answers::default();
    replay::each(&arguments.which, |recorded| {
        if !recorded.went_on() {
            return;
        }
        suggestion.requests += 1;
        let other = match answers.of(&set, recorded) {
            Ok(again) if again.verdict == Verdict::Allow => {
                suggestion.covered += 1;
                return;
            }
            Ok(again) if again.policies.is_empty() => "denied, since no permit could be made for it".to_owned(),
            Ok(again) => format!("{} by {}", again.verdict, again.policies.join(", ")),
            Err(NotDecidable::NothingAsked) => "no policy is asked about it".to_owned(),
            Err(reason) => format!("unknown: {reason}"),
        };
        *suggestion.others.entry(other).or_default() += 1;
    })?;
    Ok(suggestion)
}

impl Suggestion {
    fn page(&self) -> String {
        let mut page = format!(
            "// What went on in the journal, as permits: {} of {} requests. Read them, and widen or narrow them, before they are in force.\n",
            self.covered, self.requests
        );
        for (other, count) in &self.others {
            let _ = writeln!(page, "// Not permitted by these and the guard pack: {count} requests, {other}");
        }
        page + "\n" + &self.policies
    }
}

impl Seen {
    fn add(&mut self, input: &Json) {
        self.requests += 1;
        let Some(attachment) = attachment_of(input) else { return };
        for question in input.get("questions").and_then(Json::as_array).into_iter().flatten() {
            self.add_question(attachment, question);
        }
    }

    /// A question of a form that is not known here gets no permit, and is counted as not covered.
    fn add_question(&mut self, attachment: &str, question: &Json) {
        let text = |pointer: &str| question.pointer(pointer).and_then(Json::as_str);
        let (Some(action), Some(kind), Some(id)) = (text("/action"), text("/resource/type"), text("/resource/id"))
        else {
            return;
        };
        // To see a value is for people to permit; what is inspected needs no permit to be dialled.
        let inspected = text("/resource/attributes/handling") == Some(Handling::Inspected.name());
        if action == Action::DataUnmask.name() || (action == Action::NetworkConnect.name() && inspected) {
            return;
        }
        let Some(when) = conditions(question) else { return };
        // Policies name printable ASCII alone.
        if !format!("{id}{when:?}").bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return;
        }
        let scope = Scope { attachment: attachment.to_owned(), kind: kind.to_owned(), when };
        self.targets.extend(id.split_once('/').map(|(target, _)| target.to_owned()));
        let resource = Resource { reference: reference(kind, id), within: within(question) };
        self.resources.entry(scope).or_default().entry(resource).or_default().insert(action.to_owned());
    }

    /// A permit for each set of actions that some resources have in common.
    fn policies(&self) -> String {
        let mut text = String::new();
        let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
        for (scope, resources) in &self.resources {
            let mut alike: BTreeMap<(&BTreeSet<String>, String), BTreeSet<&str>> = BTreeMap::new();
            let crowded = crowded(resources.keys());
            for (resource, actions) in resources {
                let many = resource.within.as_ref().filter(|within| crowded.contains(within));
                let condition = many.map(|(space, kind)| format!("resource in {space} && resource in {kind}"));
                alike.entry((actions, condition.unwrap_or_default())).or_default().insert(&resource.reference);
            }
            for ((actions, condition), references) in alike {
                let protocol =
                    actions.first().and_then(|action| action.split_once("::")).map_or("all", |parts| parts.0);
                let name = format!("{}.{}", scope.attachment, protocol.to_ascii_lowercase());
                let number = numbers.entry(name.clone()).or_default();
                *number += 1;
                let references: Vec<&str> = references.into_iter().collect();
                let (resource, condition) = match references.as_slice() {
                    _ if !condition.is_empty() => (format!("is {}", scope.kind), Some(condition)),
                    [one] => (format!("== {one}"), None),
                    many => (
                        format!("is {}", scope.kind),
                        Some(format!("[\n        {}\n    ].contains(resource)", many.join(",\n        "))),
                    ),
                };
                let when: Vec<String> = condition.into_iter().chain(scope.when.iter().cloned()).collect();
                text += &permit((&format!("{name}.{number}"), &scope.attachment), actions, &resource, &when);
            }
        }
        text
    }
}

/// Namespaces and types of which there are many objects.
fn crowded<'a>(resources: impl Iterator<Item = &'a Resource>) -> BTreeSet<&'a (String, String)> {
    let mut counts: BTreeMap<&(String, String), usize> = BTreeMap::new();
    for within in resources.filter_map(|resource| resource.within.as_ref()) {
        *counts.entry(within).or_default() += 1;
    }
    counts.into_iter().filter(|(_, count)| *count > NAMES).map(|(within, _)| within).collect()
}

fn permit((id, attachment): (&str, &str), actions: &BTreeSet<String>, resource: &str, when: &[String]) -> String {
    let actions: Vec<String> = actions
        .iter()
        .filter_map(|action| action.split_once("::"))
        .map(|(space, name)| format!("{space}::Action::{}", quoted(name)))
        .collect();
    let when = if when.is_empty() { String::new() } else { format!(" when {{\n    {}\n}}", when.join(" &&\n    ")) };
    format!(
        "@id({})\npermit (\n    principal in Attachment::{},\n    action in [{}],\n    resource {resource}\n){when};\n\n",
        quoted(id),
        quoted(attachment),
        actions.join(", ")
    )
}

/// What bounds a question beside its resource; none where nothing could.
fn conditions(question: &Json) -> Option<Vec<String>> {
    let context = question.get("context")?;
    let mut when = Vec::new();
    if let Some(command) = context.get("command").filter(|command| command.is_object()) {
        if question.get("action")?.as_str()? == Action::KubernetesExec.name() {
            when.push("context has command".to_owned());
        }
        let name = command.get("name").and_then(Json::as_str)?;
        when.push(format!("context.command has name && context.command.name == {}", quoted(name)));
        when.push(bounded("context.command.opaque", command.get("opaque")?)?);
        when.push(bounded("context.command.kinds", command.get("kinds")?)?);
        let as_root = command.get("asRoot").and_then(Json::as_bool)?;
        when.push(format!("{}context.command.asRoot", if as_root { "" } else { "!" }));
    }
    if let Some(directory) = context.get("directory").and_then(Json::as_str) {
        when.push(format!("context.directory == {}", quoted(directory)));
    }
    if let Some(opaque) = context.get("opaque") {
        when.push(bounded("context.opaque", opaque)?);
    }
    for name in ["relation", "object", "via", "pod"] {
        if let Some(text) = context.get(name).and_then(Json::as_str) {
            let (kind, id) = parts_of(text)?;
            when.push(format!("context has {name} && context.{name} == {}", reference(kind.name(), id)));
        }
    }
    Some(when)
}

/// That a set has no more in it than this one.
fn bounded(name: &str, items: &Json) -> Option<String> {
    let items: Vec<String> = items.as_array()?.iter().filter_map(Json::as_str).map(quoted).collect();
    Some(if items.is_empty() {
        format!("{name}.isEmpty()")
    } else {
        format!("[{}].containsAll({name})", items.join(", "))
    })
}

/// Namespace and type of an object of Kubernetes; none where each name counts.
fn within(question: &Json) -> Option<(String, String)> {
    let resource = question.get("resource")?;
    if resource.get("type")?.as_str()? != EntityType::KubernetesObject.name() {
        return None;
    }
    let around: Vec<_> =
        resource.get("in")?.as_array()?.iter().filter_map(|parent| parts_of(parent.as_str()?)).collect();
    if around.contains(&(EntityType::KubernetesType, "credentials")) {
        return None;
    }
    let parent = |wanted| {
        let found = around.iter().find(|(kind, _)| *kind == wanted);
        found.map(|(kind, id)| reference(kind.name(), id))
    };
    Some((parent(EntityType::Namespace)?, parent(EntityType::KubernetesType)?))
}

fn reference(kind: &str, id: &str) -> String {
    format!("{kind}::{}", quoted(id))
}

/// A string of Cedar, whose escapes are Rust's.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::table::each_case;
    use crate::policy::{KnownIds, Moment, PolicySnapshot, Scene, record};

    fn loaded(origin: Origin) -> PolicySnapshot {
        let known = KnownIds {
            attachments: ["none".to_owned(), "agents".to_owned()].into(),
            targets: ["shop-prod".to_owned(), "ci-postgres".to_owned(), "t".to_owned()].into(),
            classes: ["card".to_owned()].into(),
            ..KnownIds::default()
        };
        let source = Source { origin, known: known.with_built_in(), ..Source::default() };
        load(&source, 1).map_err(all).unwrap()
    }

    fn decided(set: &PolicySnapshot, input: &Json) -> Verdict {
        let scene = Scene { session: "s", login: "app", grants: Vec::new(), at: Moment::now(), text: "" };
        set.decide_again(input, &scene).unwrap().verdict
    }

    /// What the shipped tables let go on, of all protocols: the permits made from it let all of that go on, and nothing
    /// else of the tables, but what lies in the same scope.
    #[test]
    fn permits_cover_what_went_on_and_little_else() {
        let shipped = loaded(Origin::Shipped);
        let (mut seen, mut went_on, mut stopped) = (Seen::default(), Vec::new(), Vec::new());
        for table in [
            include_str!("../../../../policies/guard.tests.toml"),
            include_str!("../../../../policies/guard-kubernetes.tests.toml"),
            include_str!("../../../../policies/open.tests.toml"),
        ] {
            each_case(table, |name, request| {
                let input = record::input(&request.principal.facts(), request.questions);
                if decided(&shipped, &input) == Verdict::Allow {
                    seen.add(&input);
                    went_on.push((name.to_owned(), input));
                } else {
                    stopped.push((name.to_owned(), input));
                }
            });
        }
        let text = seen.policies();
        let set = loaded(Origin::Files(vec![PolicyFile { name: "s.cedar".into(), text: text.clone(), guard: false }]));
        let missed: Vec<_> = went_on.iter().filter(|(_, input)| decided(&set, input) != Verdict::Allow).collect();
        assert!(went_on.len() > 50 && missed.is_empty(), "{} of {}: {missed:#?}\n{text}", missed.len(), went_on.len());
        let open = stopped.iter().filter(|(_, input)| decided(&set, input) == Verdict::Allow);
        // The same attachment without the group that the open pack asks for: permits are for attachments.
        let of_group = ["is not for workloads outside the group", "nor is a read"];
        assert_eq!(open.map(|(name, _)| name.as_str()).collect::<Vec<_>>(), of_group);
    }

    #[test]
    fn names_of_others_cannot_leave_their_quotes() {
        let mut seen = Seen::default();
        let id = "t/d/public.\"].contains(resource)};\\permit(principal, action, resource)";
        for id in [id, "t/d/public.line\nbreak"] {
            seen.add(&serde_json::json!({
            "principal": { "in": ["Attachment::\"agents\""] },
            "questions": [{ "action": "Postgres::select", "context": {}, "resource": { "type": "Postgres::Relation", "id": id } }],
        }));
        }
        let set = loaded(Origin::Files(vec![PolicyFile { name: "s".into(), text: seen.policies(), guard: false }]));
        assert_eq!(
            set.ids().into_iter().filter(|id| id.starts_with("agents")).collect::<Vec<_>>(),
            ["agents.postgres.1"]
        );
    }
}
