//! What a set of policies must be: the text of every fault, with its place.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::*;
use crate::policy::table::{NoRawRequests, run_tables};
use crate::policy::vocabulary::names::{Action, CHOICES, EntityType};

const GUARD_TESTS: &str = include_str!("../../../../policies/guard.tests.toml");
const GUARD_KUBERNETES_TESTS: &str = include_str!("../../../../policies/guard-kubernetes.tests.toml");
const OPEN_TESTS: &str = include_str!("../../../../policies/open.tests.toml");

fn tables() -> Vec<(String, String)> {
    vec![
        ("guard.tests.toml".into(), GUARD_TESTS.into()),
        ("guard-kubernetes.tests.toml".into(), GUARD_KUBERNETES_TESTS.into()),
        ("open.tests.toml".into(), OPEN_TESTS.into()),
    ]
}

fn file(text: &str) -> PolicyFile {
    PolicyFile { name: "p.cedar".into(), text: text.into(), guard: false }
}

fn source() -> Source {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let known = KnownIds {
        targets: names(&["shop-prod"]),
        environments: names(&["production"]),
        attachments: names(&["agent"]),
        groups: names(&["local:ops"]),
        issuers: names(&["okta"]),
        classes: names(&["card"]),
    };
    Source { known, ..Source::default() }
}

fn faults(text: &str) -> Vec<String> {
    let Err(faults) = build(&[file(text)], &source(), 1) else { return Vec::new() };
    faults.iter().map(ToString::to_string).collect()
}

fn permit(rest: &str) -> String {
    format!("@id(\"a\")\npermit (principal, action in Action::\"read\", resource) {rest};")
}

#[test]
fn shipped_packs_pass_their_tables() {
    let set = load(&Source::default(), 1).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let report = run_tables(&set, &tables(), &NoRawRequests).unwrap();
    assert_eq!(report.failed(), 0, "{report}");
}

#[test]
fn each_shipped_policy_is_missed_when_it_is_gone() {
    let files = read(&Source::default()).unwrap();
    let whole = build(&files, &Source::default(), 1).unwrap();
    for missing in &whole.entries {
        let entries: Vec<_> = whole.entries.iter().filter(|entry| entry.id != missing.id).cloned().collect();
        let slices = Slices::new(whole.schema, &entries).unwrap();
        let set = PolicySnapshot {
            schema: whole.schema,
            epoch: whole.epoch,
            name: OnceLock::new(),
            entries,
            slices,
            cache: Cache::new(),
        };
        let report = run_tables(&set, &tables(), &NoRawRequests).unwrap();
        assert_ne!(report.failed(), 0, "no case notices that `{}` is gone", missing.id);
    }
}

#[test]
fn each_shipped_forbid_has_a_message() {
    let set = load(&Source::default(), 1).unwrap();
    let silent = set.entries.iter().filter(|entry| entry.message.is_none() && entry.id.as_ref() != "open");
    assert_eq!(silent.map(|entry| entry.id.to_string()).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn names_are_those_of_the_schema() {
    let schema = schema().unwrap();
    let in_schema: BTreeSet<String> = schema.cedar().entity_types().map(ToString::to_string).collect();
    let ours: BTreeSet<String> = EntityType::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(in_schema, ours);
    let groups: BTreeSet<String> = schema.cedar().action_groups().map(ToString::to_string).collect();
    let actions = schema.cedar().actions().map(ToString::to_string);
    let in_schema: BTreeSet<String> = actions.filter(|action| !groups.contains(action)).collect();
    let ours: BTreeSet<String> = Action::ALL.iter().map(|action| schema.action(*action).unwrap().to_string()).collect();
    assert_eq!(in_schema, ours);
    for (kind, ids) in CHOICES {
        let name = kind.name().rsplit("::").next().unwrap();
        let (_, rest) = schema::TEXT.split_once(&format!("entity {name} ")).unwrap();
        let (listed, _) = rest.trim_start().strip_prefix("enum [").unwrap().split_once(']').unwrap();
        let listed: Vec<&str> =
            listed.split(',').map(|id| id.trim().trim_matches('"')).filter(|id| !id.is_empty()).collect();
        assert_eq!(&listed, ids, "{kind}");
    }
}

#[test]
fn each_action_is_in_one_danger_group_and_those_on_data_in_none() {
    let schema = schema().unwrap();
    for &action in Action::ALL {
        let uid = schema.action(action).unwrap();
        let groups = schema.cedar().action_groups().filter(|group| *group != uid && schema.is_in(action, group));
        let expected = usize::from(action.parts().0 != "Data");
        assert_eq!(groups.count(), expected, "{action}");
    }
}

#[test]
fn accepts_what_is_known() {
    let text = r#"
        @id("a") @doc("why") permit (principal in Attachment::"agent", action in Action::"read", resource in Target::"shop-prod");
        @id("b") @message("m") @approval("okta:anyone") @approvers("2") @reason("required") @expires("5m") @hours("Mon-Fri 08:00-18:00")
        forbid (principal in Group::"local:ops", action, resource) when { resource in Environment::"production" };
        @id("c") permit (principal, action == Data::Action::"unmask", resource == DataClass::"card")
        when { context.target == Target::"undeclared" };
        @id("d") permit (principal in Group::"local:dba", action in Action::"read", resource in Postgres::Schema::"shop-prod/shop/public");
    "#;
    assert_eq!(faults(text), Vec::<String>::new());
}

#[test]
fn reports_terms_of_approval_that_make_no_sense() {
    let cases = [
        (
            "@id(\"a\") @reason(\"required\") forbid (principal, action, resource);",
            "p.cedar:1:10: `a`: `@reason` needs an `@approval` beside it",
        ),
        (
            "@id(\"a\") @approval(\"local:ops\") @reason(\"yes\") forbid (principal, action, resource);",
            "p.cedar:1:33: `a`: `@reason` needs `required`, or be left out",
        ),
        (
            "@id(\"a\") @approval(\"local:ops\") @expires(\"5\") forbid (principal, action, resource);",
            "p.cedar:1:33: `a`: `@expires` needs a time between `1s` and `24h`, such as `15m`",
        ),
        (
            "@id(\"a\") @approval(\"local:ops\") @hours(\"always\") forbid (principal, action, resource);",
            "p.cedar:1:33: `a`: `@hours` needs hours: `always` are no hours: write `Mon-Fri 08:00-18:00`, in UTC",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(faults(text), [expected], "{text}");
    }
}

#[test]
fn reports_each_rule_with_its_place_and_fix() {
    let cases = [
        (
            "permit (principal, action in Action::\"read\", resource);",
            "p.cedar:1:1: a policy without an id: write `@id(\"…\")` above it",
        ),
        (
            "\n  @id(\"a\")\npermit (principal, action, resource);",
            "p.cedar:3:1: `a`: a permit of any action would unmask every data class: name the actions, `action in [Action::\"read\"]`",
        ),
        (
            &format!("@severity(\"high\")\n{}", permit("")),
            "p.cedar:1:1: `a`: unknown annotation `@severity`: known are @id, @message, @approval, @approvers, @reason, @expires, @hours, @max_rows, @max_affected, @record_rows, @record_bytes and @doc",
        ),
        (
            &format!("@message(\"\")\n{}", permit("")),
            "p.cedar:1:1: `a`: `@message` is empty: write `@message(\"…\")`, or leave it out",
        ),
        (
            &format!("@approval(\"local:ops\")\n{}", permit("")),
            "p.cedar:1:1: `a`: `@approval` on a permit is for changes of more rows than its `@max_affected`, which is missing: permit it, and hold it by a forbid with `@approval`",
        ),
        (
            "@id(\"a\") @approvers(\"2\") forbid (principal, action, resource);",
            "p.cedar:1:10: `a`: `@approvers` needs an `@approval` beside it and a number from 1 to 9",
        ),
        (
            "@id(\"a\") @approval(\"local:ops\") @approvers(\"no\") forbid (principal, action, resource);",
            "p.cedar:1:33: `a`: `@approvers` needs an `@approval` beside it and a number from 1 to 9",
        ),
        (
            &format!("@max_rows(\"many\")\n{}", permit("")),
            "p.cedar:1:1: `a`: `@max_rows` needs a whole number, on a permit or beside an `@approval`",
        ),
        (
            "@id(\"a\") @max_affected(\"5\") forbid (principal, action, resource);",
            "p.cedar:1:10: `a`: `@max_affected` needs a whole number, on a permit or beside an `@approval`",
        ),
        (
            "@id(\"a\") @approval(\"nobody\") forbid (principal, action, resource);",
            "p.cedar:1:10: `a`: the configuration has no group `nobody`: it has `local:approvers`, `local:dba`, `local:open`, `local:ops`",
        ),
        (
            &permit("when { resource in Target::\"shop-pord\" }"),
            "p.cedar:2:75: `a`: the configuration has no target `shop-pord`: it has `shop-prod`, `undeclared`",
        ),
        (
            &permit("when { resource in Postgres::Schema::\"stage/shop/public\" }"),
            "p.cedar:2:75: `a`: the configuration has no target `stage/shop/public`: it has `shop-prod`, `undeclared`",
        ),
        (
            &permit("when { principal in Attachment::\"x\" }"),
            "p.cedar:2:76: `a`: the configuration has no attachment `x`: it has `agent`, `none`",
        ),
        (
            "@id(\"a\") permit (principal == ?principal, action in Action::\"read\", resource);",
            "p.cedar:1:1: a template (`?principal`, `?resource`) is never linked to anything here: write the id out",
        ),
        (
            &format!("{}\n{}", permit(""), permit("")),
            "p.cedar:3:1: the id `a` is used already at p.cedar:1:1: choose another",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(faults(text), [expected], "{text}");
    }
}

#[test]
fn reports_syntax_and_type_errors_with_their_place() {
    let text = "@id(\"a\")\npermit (principal, action in Action::\"read\", resource)\nwhen { context.wehre == 1 };";
    let found = faults(text);
    assert!(found.iter().any(|fault| fault.starts_with("p.cedar:3:") && fault.contains("wehre")), "{found:#?}");
    let found = faults("@id(\"a\")\npermit (principal action resource);");
    assert!(found.len() == 1 && found[0].starts_with("p.cedar:2:19: "), "{found:#?}");
    let found = faults(&permit("when { context.opaque.contains(1) }"));
    assert!(found.iter().any(|fault| fault.starts_with("p.cedar:2:")), "{found:#?}");
}

#[test]
fn a_policy_that_can_never_apply_is_a_fault() {
    let text = "@id(\"a\") forbid (principal, action == Postgres::Action::\"drop\", resource) when { false };";
    assert_eq!(faults(text).len(), 1, "{:#?}", faults(text));
}

#[test]
fn reports_all_faults_of_all_files_at_once() {
    let one = file("permit (principal, action, resource);\n@id(\"b\") @x(\"\") forbid (principal, action, resource);");
    let two = PolicyFile { name: "q.cedar".into(), text: "nonsense".into(), guard: false };
    let found = build(&[one, two], &source(), 1).unwrap_err();
    let places: Vec<String> = found.iter().map(|fault| fault.place.to_string()).collect();
    assert_eq!(places, ["p.cedar:1:1", "p.cedar:1:1", "p.cedar:2:10", "q.cedar:1:9"], "{found:#?}");
}

#[test]
fn disables_by_name_and_only_what_there_is() {
    let disable = |id: &str| Source { disable: BTreeSet::from([id.to_owned()]), ..Source::default() };
    let set = load(&disable("guard.postgres.code"), 1).unwrap();
    assert!(!set.ids().contains(&"guard.postgres.code"));
    for id in ["guard.cod", "open"] {
        let found = load(&disable(id), 1).unwrap_err();
        assert_eq!(found[0].reason, Reason::UnknownDisabled { id: id.to_owned() });
    }
}

#[test]
fn reads_folders_strictly() {
    let folder = tempfile::tempdir().unwrap();
    let source = Source { origin: Origin::Folders(vec![folder.path().to_owned()]), ..Source::default() };
    let found =
        |source: &Source| check(source).unwrap_err().iter().map(|fault| fault.reason.clone()).collect::<Vec<_>>();
    assert_eq!(found(&source), [Reason::NoPolicies]);
    std::fs::create_dir(folder.path().join("more")).unwrap();
    assert_eq!(found(&source), [Reason::Folder]);
    std::fs::remove_dir(folder.path().join("more")).unwrap();
    std::fs::write(folder.path().join("big.cedar"), " ".repeat(FILE_LIMIT + 1)).unwrap();
    assert_eq!(found(&source), [Reason::TooLarge { limit: FILE_LIMIT }]);
    std::fs::write(folder.path().join("big.cedar"), permit("")).unwrap();
    std::fs::write(folder.path().join(".hidden.cedar"), "nonsense").unwrap();
    std::fs::write(folder.path().join("a.tests.toml"), "").unwrap();
    let summary = check(&source).unwrap();
    assert_eq!(summary.permits, ["a"], "the open pack is not in force where there are policies");
    let gone = Source { origin: Origin::Folders(vec![folder.path().join("gone")]), ..Source::default() };
    assert!(matches!(found(&gone)[..], [Reason::Unreadable(_)]));
}

#[test]
fn the_epoch_follows_the_text() {
    let digest = |text: &str| *build(&[file(text)], &source(), 1).unwrap().epoch().digest();
    assert_eq!(digest(&permit("")), digest(&permit("")));
    assert_ne!(digest(&permit("")), digest(&permit(" ")));
}
