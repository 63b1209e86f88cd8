//! PostgreSQL's own regression tests, directly and through the gateway: what is refused though no policy means it, what
//! differs in any byte, and what the server wrote that nobody had read in the statement.
//!
//! In: the SQL of Debian's source package of the server, run by the stock psql on servers alike. With `observe` the
//! shipped packs decide and journal, and block nothing: all of it runs. Out: each statement that does not run as it does
//! directly, but for those that `EXPLAINED` explains. The ordinary tests run a part, `cargo xtask soak` the whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use gateway::protocol::postgres::sql::facts::{Call, FunctionClass};
use gateway::protocol::postgres::sql::{Caps, read};
use serde_json::Value;

use crate::regression::{Bench, Compared, DATABASE, Pair, compare, files, paired, schedule, server};
use crate::shop::{Shop, Side};
use crate::tap::Ids;

/// What the ordinary tests run: `test_setup` makes what the others use.
const PART: &[&str] = &[
    "test_setup",
    "text",
    "strings",
    "copy",
    "insert",
    "select",
    "union",
    "transactions",
    "portals",
    "update",
    "namespace",
    "jsonb",
    "prepare",
    "temp",
    "returning",
    "with",
    "merge",
];

/// Statements that do not run as they do directly: the file, what their text or the refusal has in it, and why.
const EXPLAINED: &[(&str, &str, &str)] = &[
    ("strings", "standard_conforming_strings", PINNED),
    ("strings", "U&", PINNED),
    ("strings", "a\\\\bcd", PINNED),
    ("strings", "set escape_string_warning = off", PINNED),
    ("plpgsql", "standard_conforming_strings", PINNED),
    ("plpgsql", "strtest()", PINNED),
    ("portals", "is not known in this session", OPENED),
    ("plpgsql", "is not known in this session", OPENED),
    ("copy2", "the option `encoding`", "rows in another encoding are not read, and could hold what detectors look for"),
    ("largeobject", "", "psql moves files by function call messages, which name no statement; all else hangs on these"),
    ("xid", "xact", NUMBERED),
    ("xid", "xid", NUMBERED),
    ("stats", "stats_reset", "a time of the server"),
];

const PINNED: &str =
    "with standard_conforming_strings off the server would read other statements than we do: it is pinned";
const NUMBERED: &str = "the number of a transaction, of which the server has some of its own";
const OPENED: &str = "a cursor that a function opened: nobody knows what it shows";

fn explained(name: &str, text: &str) -> bool {
    EXPLAINED.iter().any(|(file, part, _)| *file == name && text.contains(part))
}

/// What policies would have stopped.
#[derive(Default)]
struct Stopped {
    /// By policies and command: these say in their message what they are about.
    on_purpose: BTreeMap<(String, String), usize>,
    /// For a function of the server that the guard takes for one whose effects cannot be read.
    falsely: BTreeMap<String, usize>,
}

impl Stopped {
    fn of(shop: &Shop) -> Self {
        let builtin = shop.cluster.admin_of(DATABASE, "SELECT DISTINCT proname FROM pg_proc WHERE oid < 16384");
        let builtin: BTreeSet<&str> = builtin.lines().collect();
        let mut stopped = Self::default();
        let journal = shop.world.sh("cat /var/lib/gateway/journal/*/*.jsonl");
        for line in journal.lines().filter(|line| line.contains("\"postgres.statement\"") && line.contains("\"would_"))
        {
            let event: Value = serde_json::from_str(line).unwrap();
            stopped.add(&event["body"], &builtin);
        }
        stopped
    }

    fn add(&mut self, body: &Value, builtin: &BTreeSet<&str>) {
        let policies = body["decision"]["policies"].as_array().unwrap();
        let policies: Vec<&str> = policies.iter().filter_map(Value::as_str).collect();
        let functions = |policy: &&str| matches!(*policy, "guard.postgres.opaque" | "guard.postgres.opaque-functions");
        if policies.iter().all(functions)
            && let Some(name) = innocent(body["text"].as_str().unwrap_or_default(), builtin)
        {
            *self.falsely.entry(name).or_default() += 1;
            return;
        }
        let command = body["command"].as_str().unwrap().to_owned();
        *self.on_purpose.entry((policies.join(" "), command)).or_default() += 1;
    }
}

/// The function for which a statement is stopped, where all that it calls are the server's, and none runs what it is told.
fn innocent(text: &str, builtin: &BTreeSet<&str>) -> Option<String> {
    let facts = read(text.as_bytes(), &Caps::default()).ok()?;
    let suspects: Vec<_> = facts
        .statements
        .iter()
        .flat_map(|statement| &statement.calls)
        .filter(|call| !matches!(call.class, FunctionClass::Pure | FunctionClass::Reader | FunctionClass::Session))
        .collect();
    let is_innocent = |call: &Call| {
        let of_the_server = call.schema.as_deref().is_none_or(|schema| schema == "pg_catalog");
        call.class == FunctionClass::User && of_the_server && builtin.contains(call.name.as_str())
    };
    let first = suspects.first()?;
    suspects.iter().all(|call| is_innocent(call)).then(|| first.name.clone())
}

#[derive(Default)]
struct Found {
    asked: usize,
    with_ids: usize,
    by_both: usize,
    explained: usize,
    refused: Vec<String>,
    different: Vec<String>,
}

impl Found {
    fn add(&mut self, name: &str, ids: &mut Ids, pair: Pair) {
        self.asked += 1;
        let text = [&pair.1, &pair.0].into_iter().flatten().next().map(|one| one.text()).unwrap_or_default();
        let place = format!("{name}: {}", text.chars().take(200).collect::<String>());
        let outcome = match &pair {
            (Some(ours), Some(theirs)) => compare(ids, ours, theirs),
            (Some(_), None) => Compared::Differs("only with us".to_owned()),
            (None, _) => Compared::Differs("only without".to_owned()),
        };
        match outcome {
            Compared::Same => {}
            Compared::SameButIds => self.with_ids += 1,
            Compared::RefusedByBoth => self.by_both += 1,
            Compared::Refused(reason) => self.refused.push(format!("{place}\n   {reason}")),
            Compared::Differs(_) if explained(name, &text) => self.explained += 1,
            Compared::Differs(how) => self.different.push(format!("{place}\n   {how}")),
        }
    }
}

#[test]
fn regression_sql_runs_as_without_a_gateway() {
    let files = files();
    let (direct, through) = (server(), server());
    let _gateway = through.world.attach(&["--observe"]);
    let (theirs, ours) = (Bench::new(&direct, Side::Outside, &files), Bench::new(&through, Side::Inside, &files));
    let (mut found, mut ids) = (Found::default(), Ids::default());
    for name in schedule(PART) {
        paired(ours.run(&name), theirs.run(&name)).into_iter().for_each(|pair| found.add(&name, &mut ids, pair));
    }
    let stopped = Stopped::of(&through);
    let falsely = found.refused.len() + stopped.falsely.values().sum::<usize>();
    let mut report = format!(
        "{} statements; {} the same but for ids, {} refused by both, {} different and explained\n{falsely} falsely \
         refused:\n",
        found.asked, found.with_ids, found.by_both, found.explained
    );
    found.refused.iter().for_each(|one| writeln!(report, "{one}").unwrap());
    stopped.falsely.iter().for_each(|(name, count)| writeln!(report, "{count} for `{name}`").unwrap());
    report += "stopped by policies on purpose:\n";
    for ((policies, command), count) in &stopped.on_purpose {
        writeln!(report, "{count:6} {command} by {policies}").unwrap();
    }
    println!("{report}");
    assert!(falsely * 200 < found.asked, "{falsely} of {} are more than one in two hundred", found.asked);
    assert!(found.different.is_empty(), "{}:\n{}", found.different.len(), found.different.join("\n"));
    let unexplained = found.refused.iter().filter(|one| !explained(one.split(':').next().unwrap(), one));
    assert_eq!((unexplained.collect::<Vec<_>>(), stopped.falsely), (Vec::new(), BTreeMap::new()));
    assert!(falsely * 200 < found.asked, "{falsely} of {} refused falsely", found.asked);
    assert!(found.asked > 3_000 && stopped.on_purpose.len() > 30, "too little was asked");
}
