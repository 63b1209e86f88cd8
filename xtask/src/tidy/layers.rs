//! Who may import whom in gateway, and where each big library lives. In: a file of `gateway/src`. Out: its breaches.
//! It must never let a step import one that stands before it.

use super::Fault;
use super::source::{Source, words_at};

/// Usable by all; import no step.
const BASE: [&str; 13] = [
    "chain", "budget", "config", "host", "trust", "state", "http", "metrics", "secret", "id", "conn", "bridge",
    "sandbox",
];

/// In flow order: each may import the base and the steps after it.
const STEPS: [&str; 10] =
    ["capture", "listener", "identity", "protocol", "upstream", "policy", "approval", "masking", "recording", "audit"];

/// May import everything.
const TOP: [&str; 9] = ["warden", "engine", "shipper", "app", "control", "console", "metrics", "session", "cli"];

/// Pairs that the order would allow: only `approval` may turn a hold into a permit, so `policy` must not know it.
const FORBIDDEN: [(&str, &str); 1] = [("policy", "approval")];

/// Pairs that the order would forbid: an approval is asked of policy anew, and made from its hold.
const ALLOWED: [(&str, &str); 1] = [("approval", "policy")];

/// Libraries and the only places (starts of paths below `gateway/src`) that may name them.
const HOMES: [(&[&str], &[&str]); 15] = [
    (&["aya", "aya_obj", "aya_log"], &["capture"]),
    (&["cedar_policy"], &["policy"]),
    (&["sqlx"], &["state"]),
    (&["pg_raw_parse"], &["protocol/postgres/sql/parse"]),
    (&["brush_parser"], &["protocol/shell/second"]),
    (&["rcgen"], &["trust"]),
    (&["rustls", "tokio_rustls"], &["trust", "upstream", "protocol", "listener", "console"]),
    (&["jsonwebtoken"], &["identity/token"]),
    (
        &["hyper", "hyper_util", "http_body_util"],
        &["control", "http", "console", "metrics", "protocol/kubernetes", "audit/clickhouse/store"],
    ),
    (&["clickhouse"], &["audit/clickhouse"]),
    (&["hickory_proto"], &["protocol/dns"]),
    (&["serde_norway"], &["protocol/kubernetes/body"]),
    (&["flate2"], &["protocol/kubernetes/stream"]),
    (&["russh"], &["protocol/ssh", "trust/ssh"]),
    (&["seccompiler", "landlock"], &["sandbox"]),
];

pub(super) fn check(source: &Source) -> Vec<Fault> {
    let Some(inner) = source.path.strip_prefix("gateway/src/").filter(|_| !source.is_test_file()) else {
        return Vec::new();
    };
    let code: String = (0..)
        .zip(&source.lines)
        .map(|(number, line)| if source.is_test(number) { "\n".into() } else { format!("{}\n", line.code) })
        .collect();
    let mut found = imports(inner, &code);
    found.extend(homes(inner, &code));
    found.extend(flow_order(inner, &code));
    let line = |at: usize| code.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
    found.into_iter().map(|(at, text)| Fault { path: source.path.clone(), line: line(at), text }).collect()
}

fn imports(inner: &str, code: &str) -> Vec<(usize, String)> {
    let modules = module_path(inner);
    let Some(&from) = modules.first() else { return Vec::new() };
    let mut found = Vec::new();
    for (at, to) in root_names(code, modules.len()) {
        if let Err(reason) = may_import(from, to) {
            found.push((at, reason));
        }
    }
    found
}

/// Where a file stands in the tree of modules; nothing for a crate's root.
fn module_path(inner: &str) -> Vec<&str> {
    let stem = inner.strip_suffix(".rs").unwrap_or(inner);
    stem.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).collect()
}

/// The modules of the crate's root that the code names, by `crate::` or by enough `super::`.
fn root_names(code: &str, depth: usize) -> Vec<(usize, &str)> {
    let climb = "super::".repeat(depth);
    let mut found = Vec::new();
    let starts = words_at(code, "crate").map(|at| (at, at + "crate".len()));
    let climbs =
        code.match_indices(&climb).filter(|(at, _)| !code.get(..*at).is_some_and(|before| before.ends_with("::")));
    for (at, end) in starts.chain(climbs.map(|(at, _)| (at, at + climb.len() - "::".len()))) {
        let Some(path) = code.get(end..).and_then(|rest| rest.strip_prefix("::")) else { continue };
        match path.strip_prefix('{') {
            Some(group) => found.extend(group_names(group).into_iter().map(|name| (at, name))),
            None => found.push((at, first_name(path))),
        }
    }
    found.retain(|(_, name)| !matches!(*name, "" | "super" | "self"));
    found
}

fn first_name(path: &str) -> &str {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    path.get(..end).unwrap_or_default()
}

/// The first names of `a::b, c::{d, e}}`.
fn group_names(group: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let (mut depth, mut start) = (0_usize, 0_usize);
    for (at, next) in group.char_indices() {
        match next {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(first_name(group.get(start..at).unwrap_or_default().trim_start()));
                start = at + 1;
                if next == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

fn may_import(from: &str, to: &str) -> Result<(), String> {
    let step = |name: &str| STEPS.iter().position(|step| *step == name);
    let known = |name: &str| BASE.contains(&name) || TOP.contains(&name) || step(name).is_some();
    if let Some(name) = [from, to].into_iter().find(|name| !known(name)) {
        return Err(format!(
            "`{name}` is in no layer: import a thing from its own module, or give the module its place in xtask/src/tidy/layers.rs"
        ));
    }
    let fits = match (step(from), step(to)) {
        _ if FORBIDDEN.contains(&(from, to)) => false,
        _ if ALLOWED.contains(&(from, to)) => true,
        _ if from == to || TOP.contains(&from) || BASE.contains(&to) => true,
        (Some(from), Some(to)) => from < to,
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(format!("`{from}` must not import `{to}`: imports go down the flow (xtask/src/tidy/layers.rs)"))
    }
}

fn homes(inner: &str, code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (libraries, places) in HOMES.iter().filter(|(_, places)| !places.iter().any(|place| inner.starts_with(place))) {
        for library in *libraries {
            found.extend(
                words_at(code, library)
                    .filter(|&at| is_crate_name(code, at, library))
                    .map(|at| (at, format!("`{library}` outside its home ({})", places.join(", ")))),
            );
        }
    }
    found
}

/// Whether the word names a crate: a path starts with it, or `use` takes it whole.
fn is_crate_name(code: &str, at: usize, name: &str) -> bool {
    let before = code.get(..at).unwrap_or_default();
    let after = code.get(at + name.len()..).unwrap_or_default();
    let own_path =
        before.strip_suffix("::").is_some_and(|path| path.ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    !own_path && (after.starts_with("::") || before.trim_end().ends_with("use"))
}

/// `lib.rs` declares the steps as they are travelled.
fn flow_order(inner: &str, code: &str) -> Vec<(usize, String)> {
    if inner != "lib.rs" {
        return Vec::new();
    }
    let declared =
        |step: &&str| words_at(code, step).find(|&at| code.get(..at).is_some_and(|before| before.ends_with("mod ")));
    let places: Vec<(usize, &str)> = STEPS.iter().filter_map(|step| declared(step).map(|at| (at, *step))).collect();
    let pairs = places.iter().zip(places.iter().skip(1)).filter(|((one, _), (next, _))| one > next);
    pairs
        .map(|((_, one), (at, next))| {
            (*at, format!("`{next}` is declared before `{one}`: modules stand in flow order"))
        })
        .collect()
}
