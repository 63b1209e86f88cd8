//! What the server wrote, beside what was read in the statement: a relation whose rows changed is named by the facts, or
//! follows from one that is by what the catalog says, or the facts say that the statement cannot be read.
//!
//! In: PostgreSQL's own regression tests, recorded, and sent again message by message; behind each transaction the server
//! counts changed rows by relation. Out: no relation that changed and that nobody had read. What a trigger, or a
//! function in a view, does counts as read where it is on a relation that was: policies decide about these when they are made.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gateway::protocol::postgres::sql::facts::{Effect, Object, Question, RelationName, Statement, Verb};
use gateway::protocol::postgres::sql::{Caps, read};

use crate::regression::{Bench, DATABASE, Replay, files, schedule, server};
use crate::shop::Side;
use crate::talk::{Door, Talk, Way};
use crate::tap::Exchange;

/// What the ordinary tests run: all that writes by other ways than its own words.
const PART: &[&str] = &[
    "test_setup",
    "insert",
    "insert_conflict",
    "triggers",
    "rules",
    "updatable_views",
    "update",
    "prepare",
    "with",
    "merge",
];

/// Rows that were inserted, updated or deleted since the server started, by relation.
const COUNTS: &str = "SELECT relid, schemaname, relname, n_tup_ins + n_tup_upd + n_tup_del
    FROM pg_catalog.pg_stat_user_tables WHERE n_tup_ins + n_tup_upd + n_tup_del > 0";

/// Whether `{relation}` follows from those of the names `{names}`: children, what refers to them, what their views and
/// rules name. Or whether code runs there: a trigger, of one of them or of any statement, or a function in a view.
const FOLLOWS: &str = "WITH RECURSIVE edges (a, b) AS (
        SELECT inhparent, inhrelid FROM pg_inherits
        UNION SELECT confrelid, conrelid FROM pg_constraint WHERE contype = 'f'
        UNION SELECT ev_class, refobjid FROM pg_rewrite r JOIN pg_depend d ON d.objid = r.oid
            WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass),
    reached (id) AS (
        SELECT oid FROM pg_class WHERE relname::text IN ({names}) UNION SELECT b FROM edges JOIN reached ON a = id)
    SELECT EXISTS (SELECT FROM reached WHERE id = {relation}) OR EXISTS (SELECT FROM pg_event_trigger)
        OR EXISTS (SELECT FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN (TABLE reached))
        OR EXISTS (SELECT FROM pg_rewrite r JOIN pg_depend d ON d.objid = r.oid WHERE d.classid = 'pg_rewrite'::regclass
            AND d.refclassid = 'pg_proc'::regclass AND r.ev_class IN (TABLE reached))";

/// What was read of the statements since the last look.
#[derive(Default)]
struct Named {
    relations: BTreeSet<(Option<String>, String)>,
    /// One of them cannot be read: policy is told so.
    opaque: bool,
    texts: Vec<String>,
    prepared: HashMap<String, Vec<RelationName>>,
}

impl Named {
    fn add(&mut self, text: &str) {
        self.texts.push(text.chars().take(300).collect());
        match read(text.as_bytes(), &Caps::default()) {
            Ok(facts) => facts.statements.iter().for_each(|statement| self.add_statement(statement)),
            // The gateway does not send it on.
            Err(_) => self.opaque = true,
        }
    }

    fn add_statement(&mut self, statement: &Statement) {
        self.opaque |= !statement.opaque.is_empty();
        let written: Vec<RelationName> = statement.questions.iter().filter_map(written).collect();
        for verb in &statement.verbs {
            match verb {
                Verb::Prepare(name) => drop(self.prepared.insert(name.clone(), written.clone())),
                Verb::Execute(name) => {
                    let ran = self.prepared.get(name).cloned().unwrap_or_default();
                    self.relations.extend(ran.into_iter().map(|relation| (relation.schema, relation.name)));
                }
                _ => {}
            }
        }
        self.relations.extend(written.into_iter().map(|relation| (relation.schema, relation.name)));
    }

    fn has(&self, schema: &str, name: &str) -> bool {
        let same = |named: &str| named == schema || (named == "pg_temp" && schema.starts_with("pg_temp_"));
        self.relations.iter().any(|(in_schema, named)| named == name && in_schema.as_deref().is_none_or(same))
    }

    fn forget(&mut self) {
        let prepared = std::mem::take(&mut self.prepared);
        *self = Self { prepared, ..Self::default() };
    }
}

/// The relation that a question is about, where its rows may change.
fn written(question: &Question) -> Option<RelationName> {
    let Object::Relation(relation) = &question.object else { return None };
    let reads = matches!(question.effect, Effect::Select | Effect::Lock | Effect::Grant | Effect::Revoke);
    (!reads).then(|| relation.clone())
}

/// Sends what was recorded once more, and looks at what changed behind each transaction.
struct Again<'d> {
    replay: Replay<'d>,
    watch: Talk,
    counts: BTreeMap<String, u64>,
    named: Named,
    looks: usize,
    changes: usize,
    opaque: usize,
    wrong: Vec<String>,
}

impl<'d> Again<'d> {
    fn new(door: &'d Door) -> Self {
        let watch = door.session("postgres");
        let mut again = Self {
            replay: Replay::new(door),
            watch,
            counts: BTreeMap::new(),
            named: Named::default(),
            looks: 0,
            changes: 0,
            opaque: 0,
            wrong: Vec::new(),
        };
        again.changed();
        again
    }

    fn send(&mut self, file: &str, exchange: &Exchange) {
        let Self { replay, named, .. } = self;
        let Some((last, client)) = replay.send(exchange, |_, _, text| named.add(text)) else { return };
        // In a transaction, or in the middle of a COPY, nothing is counted yet.
        if last.kind == b'Z' && last.body == b"I" {
            client.ask(Way::Simple, "SELECT pg_catalog.pg_stat_force_next_flush()");
            self.look(file);
        }
    }

    /// Relations with rows that changed since the last look: id, schema, name.
    fn changed(&mut self) -> Vec<[String; 3]> {
        let text = |cell: Option<&[u8]>| String::from_utf8_lossy(cell.unwrap_or_default()).into_owned();
        let answer = self.watch.ask(Way::Simple, COUNTS);
        let mut changed = Vec::new();
        for row in answer.iter().filter(|message| message.kind == b'D') {
            let [id, schema, name, count] = row.cells().into_iter().map(text).collect::<Vec<_>>().try_into().unwrap();
            let count = count.parse().unwrap();
            if self.counts.insert(id.clone(), count) < Some(count) {
                changed.push([id, schema, name]);
            }
        }
        changed
    }

    fn look(&mut self, file: &str) {
        self.looks += 1;
        for [id, schema, name] in self.changed() {
            self.changes += 1;
            if self.named.opaque {
                self.opaque += 1;
            } else if !self.named.has(&schema, &name) && !self.follows(&id) {
                self.wrong.push(format!("{file}: {schema}.{name} changed by\n   {}", self.named.texts.join("\n   ")));
            }
        }
        self.named.forget();
    }

    fn follows(&mut self, id: &str) -> bool {
        let names: Vec<String> =
            self.named.relations.iter().map(|(_, name)| format!("'{}'", name.replace('\'', "''"))).collect();
        let names = if names.is_empty() { "NULL".to_owned() } else { names.join(", ") };
        let answer = self.watch.ask(Way::Simple, &FOLLOWS.replace("{names}", &names).replace("{relation}", id));
        let row = answer.iter().find(|message| message.kind == b'D');
        row.unwrap_or_else(|| panic!("{answer:?}")).cells()[0] == Some(b"t")
    }
}

#[test]
fn what_the_server_wrote_was_read_in_the_statement() {
    let files = files();
    let (recorded, sent) = (server(), server());
    let (recorder, bench) = (Bench::new(&recorded, Side::Outside, &files), Bench::new(&sent, Side::Outside, &files));
    let mut again = Again::new(bench.door());
    for name in schedule(PART) {
        let exchanges = recorder.run(&name);
        exchanges.iter().for_each(|exchange| again.send(&name, exchange));
    }
    println!("{} looks, {} changes, {} of them opaque, in {DATABASE}", again.looks, again.changes, again.opaque);
    assert!(again.wrong.is_empty(), "{}:\n{}", again.wrong.len(), again.wrong.join("\n"));
    assert!(again.looks > 2_000 && again.changes > 800 && again.opaque * 2 < again.changes, "too little was seen");
}
