//! What a query reads, as the server resolves it, beside what we make of it: every SELECT of PostgreSQL's own regression
//! tests is made a view in the session that would have run it, whose dependencies are the server's word.
//!
//! In: the tests, recorded, and sent again message by message; before each SELECT its view, rolled back. Out: no relation
//! and no column that the server reads, and that the facts, or the lineage over the server's own catalog, do not name.

use std::collections::{BTreeMap, BTreeSet};

use gateway::masking::plan::Origin;
use gateway::protocol::postgres::sql::facts::{Object, RelationName, Statement};
use gateway::protocol::postgres::sql::lineage::{
    Col, Derived, Expected, Following, Lineage, Relations, Shape, Slot, follow,
};
use gateway::protocol::postgres::sql::{Caps, read};

use crate::regression::{Bench, Replay, files, schedule, server};
use crate::shop::Side;
use crate::talk::{Message, Talk, Way};

/// What the ordinary tests run.
const PART: &[&str] =
    &["test_setup", "select", "select_distinct", "select_having", "subselect", "union", "case", "with", "window"];

/// Why a query may read what is not named in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Explained {
    /// A function of somebody's has rows of a relation's type, or reads it: the facts say that this cannot be read.
    Opaque,
    /// A function of the server gets the relation by its name, in a constant: what such functions do is known by their own.
    Constant,
    /// A function of somebody's, called as if it were a column: of these the catalog tells (`decide/questions.rs`).
    AsColumn,
    /// A field of a value that has the type of a relation's rows, of which nothing is read.
    Field,
}

impl Explained {
    fn of(statement: &Statement, text: &str, read: &Read, calls: &BTreeSet<String>) -> Option<Self> {
        let in_constant = || text.split('\'').skip(1).step_by(2).any(|constant| constant.contains(&read.relation));
        if !statement.opaque.is_empty() {
            return Some(Self::Opaque);
        }
        if read.at.attribute == 0 && in_constant() {
            return Some(Self::Constant);
        }
        if statement.attributes.iter().any(|name| calls.contains(name)) {
            return Some(Self::AsColumn);
        }
        let is_named = named(statement).iter().any(|(schema, name)| is_same(schema.as_deref(), name, read));
        (!is_named && statement.attributes.contains(&read.column)).then_some(Self::Field)
    }
}

/// Functions of somebody's that can be called as a column of a row.
const CALLS: &str = "SELECT DISTINCT p.proname FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_type t ON t.oid = p.proargtypes[0] WHERE p.oid >= 16384 AND t.typtype = 'c'";

/// Makes a view of a query. A view cannot have columns without names or with the same, so it stands in an expression.
const VIEW: &str = "CREATE TEMP VIEW gateway_probe AS SELECT EXISTS (\n{query}\n) AS e";

/// What that depends on. What the server cannot do without has no dependencies recorded.
const READS: &str = "SELECT c.oid, n.nspname, c.relname, d.refobjsubid, coalesce(a.attname, '')
    FROM pg_catalog.pg_rewrite r
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
    JOIN pg_catalog.pg_class c ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = c.oid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid AND d.refobjsubid <> 0
    WHERE r.ev_class = 'pg_temp.gateway_probe'::pg_catalog.regclass AND c.oid <> r.ev_class
        AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";

/// A column that the server reads, or a relation: its number is 0 then.
#[derive(Debug)]
struct Read {
    at: Origin,
    schema: String,
    relation: String,
    column: String,
}

/// A relation's schema, where it is written, and its name.
type Name = (Option<String>, String);

/// The columns of the relations that a query names, as its session finds them.
#[derive(Default)]
struct Columns(BTreeMap<Name, Vec<(String, Origin)>>);

impl Columns {
    fn of(client: &mut Talk, names: &BTreeSet<Name>) -> Self {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\"")).replace('\'', "''");
        let mut found = Self::default();
        for (schema, name) in names {
            let path: Vec<_> = schema.iter().chain([name]).map(|part| quoted(part)).collect();
            let answer = client.ask(
                Way::Simple,
                &format!(
                    "SELECT attrelid, attnum, attname FROM pg_catalog.pg_attribute WHERE attnum > 0 AND NOT attisdropped
                     AND attrelid = pg_catalog.to_regclass('{}') ORDER BY attnum",
                    path.join(".")
                ),
            );
            let columns = rows(&answer).into_iter().map(|[relation, attribute, name]| {
                (name, Origin { relation: relation.parse().unwrap(), attribute: attribute.parse().unwrap() })
            });
            found.0.insert((schema.clone(), name.clone()), columns.collect());
        }
        found
    }
}

impl Relations for Columns {
    fn shape(&self, name: &RelationName) -> Shape {
        let columns = self.0.get(&(name.schema.clone(), name.name.clone())).filter(|columns| !columns.is_empty());
        let Some(columns) = columns else { return Shape::outside() };
        let one = |(name, origin): &(String, Origin)| {
            Slot::One(Col {
                name: Some(name.as_str().into()),
                derived: Derived { from: [*origin].into(), ..Derived::default() },
                expected: Expected::Origin(*origin),
            })
        };
        Shape(columns.iter().map(one).collect())
    }
}

fn rows<const N: usize>(answer: &[Message]) -> Vec<[String; N]> {
    let text = |cell: Option<&[u8]>| String::from_utf8_lossy(cell.unwrap_or_default()).into_owned();
    let rows = answer.iter().filter(|message| message.kind == b'D');
    rows.map(|row| row.cells().into_iter().map(text).collect::<Vec<_>>().try_into().unwrap()).collect()
}

/// What the server reads of a query; none where it makes no view of it: it fails, writes, or has parameters.
fn server_reads(client: &mut Talk, status: u8, query: &str) -> Option<Vec<Read>> {
    let (begin, end) = match status {
        b'I' => ("BEGIN", "ROLLBACK"),
        b'T' => ("SAVEPOINT gateway_probe", "ROLLBACK TO gateway_probe; RELEASE gateway_probe"),
        _ => return None,
    };
    client.ask(Way::Simple, begin);
    let made = client.ask(Way::Simple, &VIEW.replace("{query}", query));
    let is_made = !made.iter().any(|message| message.kind == b'E');
    let answer = if is_made { client.ask(Way::Simple, READS) } else { Vec::new() };
    client.ask(Way::Simple, end);
    let reads = rows(&answer).into_iter().map(|[oid, schema, relation, attribute, column]| {
        let at = Origin { relation: oid.parse().unwrap(), attribute: attribute.parse().unwrap() };
        Read { at, schema, relation, column }
    });
    is_made.then(|| reads.collect())
}

/// The relations that the facts name.
fn named(statement: &Statement) -> BTreeSet<Name> {
    let asked = statement.questions.iter().filter_map(|question| match &question.object {
        Object::Relation(name) => Some(name),
        _ => None,
    });
    asked.map(|name| (name.schema.clone(), name.name.clone())).collect()
}

fn is_same(schema: Option<&str>, name: &str, read: &Read) -> bool {
    let in_schema =
        |schema: &str| schema == read.schema || (schema == "pg_temp" && read.schema.starts_with("pg_temp_"));
    name == read.relation && schema.is_none_or(in_schema)
}

#[derive(Default)]
struct Looks {
    queries: usize,
    no_view: usize,
    reads: usize,
    followed: usize,
    explained: BTreeMap<Explained, usize>,
    wrong: Vec<String>,
}

impl Looks {
    fn look(&mut self, file: &str, client: &mut Talk, status: u8, text: &str) {
        let Ok(facts) = read(text.as_bytes(), &Caps::default()) else { return };
        let [statement] = facts.statements.as_slice() else { return };
        if statement.command != "SELECT" {
            return;
        }
        let query = text.trim_end_matches(|end: char| end == ';' || end.is_whitespace());
        let Some(reads) = server_reads(client, status, query) else {
            self.no_view += 1;
            return;
        };
        self.queries += 1;
        self.reads += reads.len();
        let names = named(statement);
        let columns = Columns::of(client, &names);
        let lineage = follow(text, Following { relations: &columns, shows_nulls: true }).pop().flatten();
        self.followed += usize::from(lineage.is_some());
        let mut missed = Vec::new();
        for read in &reads {
            let is_named = names.iter().any(|(schema, name)| is_same(schema.as_deref(), name, read));
            let by_facts = statement.uses.iter().any(|used| {
                let is_it = is_same(used.relation.schema.as_deref(), &used.relation.name, read);
                is_it && used.read.has(&read.column)
            });
            let by_lineage = |lineage: &Lineage| read.at.attribute < 1 || lineage.read.contains(&read.at);
            if !is_named || !(by_facts || read.at.attribute == 0) || !lineage.as_ref().is_none_or(by_lineage) {
                missed.push(read);
            }
        }
        if missed.is_empty() {
            return;
        }
        let calls = rows(&client.ask(Way::Simple, CALLS)).into_iter().map(|[name]| name).collect();
        for read in missed {
            match Explained::of(statement, text, read, &calls) {
                Some(why) => *self.explained.entry(why).or_default() += 1,
                None => {
                    let Read { schema, relation, column, .. } = read;
                    self.wrong.push(format!("{file}: {query}\n   {schema}.{relation} {column}"));
                }
            }
        }
    }
}

#[test]
fn what_the_server_reads_of_a_query_is_read_in_it() {
    let files = files();
    let (recorded, sent) = (server(), server());
    let (recorder, bench) = (Bench::new(&recorded, Side::Outside, &files), Bench::new(&sent, Side::Outside, &files));
    let (mut replay, mut looks) = (Replay::new(bench.door()), Looks::default());
    for name in schedule(PART) {
        for exchange in recorder.run(&name) {
            replay.send(&exchange, |client, status, text| {
                if let Some(client) = client {
                    looks.look(&name, client, status, text);
                }
            });
        }
    }
    let Looks { queries, no_view, reads, followed, explained, wrong } = looks;
    println!(
        "{queries} queries that read {reads}, {followed} followed, {no_view} of which is no view, explained {explained:?}"
    );
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(queries > 600 && reads > 1_000 && followed * 10 > queries * 9, "too little was read");
}
