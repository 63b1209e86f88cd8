//! Every built-in type, in text and in binary, through the gateway with masking on: what has no label is byte by byte what the
//! server sent; what has one is masked in a form that the type's own input and receive functions, and drivers, take (G4).
//!
//! In: a sample for each type of `pg_type`. Out: a failure also where a type of the server has none.

use std::collections::BTreeMap;

use crate::cluster::{self, Cluster};
use crate::gateway::Gateway;
use crate::shop::Shop;
use crate::shop::Side;
use crate::talk::{Door, Message, Talk, Way, frame};

/// A type and a value of it. Arrays, ranges of ranges and the like are made from these.
const SAMPLES: &[(&str, &str)] = &[
    ("bool", "true"),
    ("bytea", "\\x00ff5c27"),
    ("char", "x"),
    ("name", "a name"),
    ("int8", "-9007199254740993"),
    ("int2", "-77"),
    ("int2vector", "1 2"),
    ("int4", "77"),
    ("regproc", "pg_catalog.now"),
    ("regprocedure", "pg_catalog.lower(text)"),
    ("regoper", "pg_catalog.||/"),
    ("regoperator", "pg_catalog.+(integer,integer)"),
    ("regclass", "pg_catalog.pg_class"),
    ("regtype", "integer"),
    ("regrole", "agent"),
    ("regnamespace", "pg_catalog"),
    ("regconfig", "simple"),
    ("regdictionary", "simple"),
    ("regcollation", "\"C\""),
    ("regdatabase", "template1"),
    ("text", "žluťoučký \\ \"kůň\", 'x'"),
    ("oid", "4711"),
    ("tid", "(1,2)"),
    ("xid", "77"),
    ("cid", "77"),
    ("oidvector", "1 2"),
    ("json", "{\"a\": [1, \"b\"]}"),
    ("jsonb", "{\"a\": [1, \"b\"]}"),
    ("jsonpath", "$.\"a\"[*]"),
    ("xml", "<a>b</a>"),
    ("point", "(1,2)"),
    ("lseg", "[(1,2),(3,4)]"),
    ("path", "((1,2),(3,4))"),
    ("box", "(3,4),(1,2)"),
    ("polygon", "((1,2),(3,4))"),
    ("line", "{1,2,3}"),
    ("circle", "<(1,2),3>"),
    ("float4", "1.5"),
    ("float8", "0.1"),
    ("money", "12.34"),
    ("macaddr", "08:00:2b:01:02:03"),
    ("macaddr8", "08:00:2b:01:02:03:04:05"),
    ("inet", "10.1.2.3/8"),
    ("cidr", "10.0.0.0/8"),
    ("aclitem", "agent=r/agent"),
    ("bpchar", "blanks   "),
    ("varchar", "varies"),
    ("date", "1984-05-06"),
    ("time", "04:05:06.789"),
    ("timetz", "04:05:06+02"),
    ("timestamp", "1984-05-06 04:05:06.789"),
    ("timestamptz", "1984-05-06 04:05:06+02"),
    ("interval", "1 year 2 days 03:04:05"),
    ("bit", "1"),
    ("varbit", "10110"),
    ("numeric", "12345678901234567890.0123456789"),
    ("refcursor", "portal"),
    ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("pg_lsn", "16/B374D848"),
    ("tsvector", "'fat':2 'rat':3A"),
    ("tsquery", "'fat' & 'rat'"),
    ("txid_snapshot", "10:20:10,14"),
    ("pg_snapshot", "10:20:10,14"),
    ("xid8", "4711"),
    ("int4range", "[1,5)"),
    ("numrange", "[1.5,2.5]"),
    ("tsrange", "[1984-05-06 00:00,1985-01-01 00:00)"),
    ("tstzrange", "[1984-05-06 00:00+00,1985-01-01 00:00+00)"),
    ("daterange", "[1984-05-06,1985-01-01)"),
    ("int8range", "[1,5)"),
    ("int4multirange", "{[1,5),[7,9)}"),
    ("nummultirange", "{[1.5,2.5]}"),
    ("tsmultirange", "{[1984-05-06 00:00,1985-01-01 00:00)}"),
    ("tstzmultirange", "{[1984-05-06 00:00+00,1985-01-01 00:00+00)}"),
    ("datemultirange", "{[1984-05-06,1985-01-01)}"),
    ("int8multirange", "{[1,5)}"),
    ("mood", "sad"),
    ("mail", "a@b.example"),
    ("quantity", "12"),
    ("words", "{a,\"b c\"}"),
    ("pair", "(\"a, b\",7)"),
    ("hstore", "\"a\"=>\"b\", \"c\"=>NULL"),
];

/// Types whose values nobody writes: what the server keeps for itself, and what has no input.
const OF_THE_SERVER: &[&str] = &[
    "pg_node_tree",
    "pg_ndistinct",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "gtsvector",
    "ghstore",
];

/// Types without a binary form.
const TEXT_ALONE: &[&str] = &["aclitem"];

const MADE: &str = "CREATE EXTENSION hstore; SET ROLE agent;
    CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN mail AS text CHECK (value LIKE '%@%');
    CREATE DOMAIN quantity AS int CHECK (value > 10); CREATE DOMAIN words AS text[]; CREATE TYPE pair AS (a text, b int)";

struct Types {
    shop: Shop,
    /// Names as the tables have them: the type's, or the element's with `_array` behind it.
    columns: Vec<String>,
}

impl Types {
    /// Two tables with a column of each type; of one each column has a label.
    fn at(cluster: &'static Cluster) -> Self {
        let shop = Shop::at(cluster);
        shop.admin(MADE);
        let here =
            shop.admin("SELECT typname FROM pg_type WHERE typtype IN ('b', 'r', 'm') AND typelem = 0 AND typisdefined");
        let samples: BTreeMap<_, _> = SAMPLES.iter().copied().collect();
        let known = |name: &&str| samples.contains_key(name) || OF_THE_SERVER.contains(name);
        let unknown: Vec<_> = here.lines().filter(|name| !known(name)).collect();
        assert!(unknown.is_empty(), "types without a sample: {unknown:?}");
        let has = |name: &str| !shop.admin(&format!("SELECT to_regtype('{}')", quoted(name))).is_empty();
        let (mut columns, mut types, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (name, sample) in SAMPLES.iter().filter(|(name, _)| has(name)) {
            let literal = format!("'{}'", sample.replace('\'', "''"));
            let made = quoted(name);
            columns.push((*name).to_owned());
            types.push(made.clone());
            values.push(format!("{literal}::{made}"));
            if has(&format!("_{name}")) {
                columns.push(format!("{name}_array"));
                types.push(format!("{made}[]"));
                values.push(format!("ARRAY[{literal}, NULL, {literal}]::{made}[]"));
            }
        }
        let define: Vec<_> = columns.iter().zip(&types).map(|(column, made)| format!("\"{column}\" {made}")).collect();
        for table in ["open_types", "labelled_types"] {
            shop.admin(&format!(
                "SET ROLE agent; CREATE TABLE {table} ({}); INSERT INTO {table} VALUES ({}); INSERT INTO {table} DEFAULT VALUES",
                define.join(", "),
                values.join(", ")
            ));
        }
        Self { shop, columns }
    }

    fn attach(&self, masking: &str) -> Gateway<'_> {
        let rules = "version = 1\n[[column]]\nat = [\"shop/*/public.labelled_types.*\"]\nclass = \"ssn\"\n";
        let rules = self.shop.world.file("masking.toml", rules);
        self.shop.attach_with(&format!(
            "[masking]\nfile = \"{}\"\n[[target]]\nname = \"shop\"\nprotocol = \"postgres\"\naddresses = [\"{}\"]\n\
             masking = \"{masking}\"\n[target.tls]\nmode = \"disable\"\n",
            rules.display(),
            self.shop.address
        ))
    }

    /// The columns that a format has a form for.
    fn columns(&self, way: Way) -> Vec<&str> {
        let is_there = |column: &&str| way != Way::Binary || !TEXT_ALONE.contains(&column.trim_end_matches("_array"));
        self.columns.iter().map(String::as_str).filter(is_there).collect()
    }

    fn query(&self, way: Way, table: &str) -> String {
        let columns: Vec<_> = self.columns(way).iter().map(|column| format!("\"{column}\"")).collect();
        format!("SELECT {} FROM {table}", columns.join(", "))
    }
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// What is told of a statement: `ParameterStatus` and keys aside.
fn told(talk: &mut Talk, way: Way, statement: &str) -> Vec<Message> {
    let answer = talk.ask(way, statement);
    answer.into_iter().filter(|message| !matches!(message.kind, b'S' | b'K' | b'N')).collect()
}

/// Settings that change how values are written.
const STYLES: &[&str] = &[
    "SET bytea_output = hex",
    "SET bytea_output = escape; SET datestyle = 'German'; SET intervalstyle = iso_8601; SET timezone = 'Asia/Kolkata'; SET xmlbinary = hex",
    "SET extra_float_digits = 0; SET datestyle = 'SQL, DMY'; SET intervalstyle = sql_standard; SET lc_monetary = 'C'",
    "SET client_encoding = LATIN2; SET datestyle = 'Postgres'; SET bytea_output = escape",
    "SET client_encoding = GB18030",
];

/// Puts a value back: the server's input or receive function reads it. What it says, if it does not.
fn not_taken(talk: &mut Talk, type_oid: u32, way: Way, value: &[u8]) -> Option<String> {
    let format: &[u8] = if way == Way::Binary { b"\0\x01" } else { b"\0\0" };
    let parse = [b"\0SELECT $1 IS NULL\0\0\x01", &type_oid.to_be_bytes()[..]].concat();
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    let bind = [b"\0\0\0\x01", format, b"\0\x01", &length, value, b"\0\0"].concat();
    let frames = [frame(b'P', &parse), frame(b'B', &bind), frame(b'E', b"\0\0\0\0\0"), frame(b'S', b"")].concat();
    talk.send(&frames);
    talk.answer(1).iter().find(|message| message.kind == b'E').map(Message::line)
}

/// The type of each column of a result.
fn type_oids(messages: &[Message]) -> Vec<u32> {
    let description = messages.iter().find(|message| message.kind == b'T').unwrap();
    let mut rest = &description.body[2..];
    let mut oids = Vec::new();
    while !rest.is_empty() {
        let name = rest.iter().position(|byte| *byte == 0).unwrap() + 1;
        oids.push(u32::from_be_bytes(rest[name + 6..name + 10].try_into().unwrap()));
        rest = &rest[name + 18..];
    }
    oids
}

fn no_label_changes_no_byte(cluster: &'static Cluster) {
    let types = Types::at(cluster);
    for masking in ["rows", "source"] {
        let _gateway = types.attach(masking);
        let (inside, outside) = (Door::new(&types.shop, Side::Inside), Door::new(&types.shop, Side::Outside));
        for style in STYLES {
            let (mut ours, mut theirs) = (inside.session("agent"), outside.session("agent"));
            for setting in style.split("; ") {
                assert_eq!(told(&mut ours, Way::Simple, setting), told(&mut theirs, Way::Simple, setting));
            }
            for way in [Way::Simple, Way::Extended, Way::Binary] {
                let query = types.query(way, "open_types");
                let (answer, expected) = (told(&mut ours, way, &query), told(&mut theirs, way, &query));
                assert!(expected.iter().filter(|message| message.kind == b'D').count() == 2, "{expected:?}");
                assert!(
                    answer == expected,
                    "{masking}, {style}, {way:?}:\n{}",
                    difference(&answer, &expected, &types.columns(way))
                );
            }
            let copy = |options: &str| format!("COPY open_types TO STDOUT {options}");
            for options in ["", "(FORMAT csv, HEADER)"] {
                assert_eq!(
                    told(&mut ours, Way::Simple, &copy(options)),
                    told(&mut theirs, Way::Simple, &copy(options))
                );
            }
            let columns: Vec<_> = types.columns(Way::Binary).into_iter().map(quoted).collect();
            let binary = format!("COPY open_types ({}) TO STDOUT (FORMAT binary)", columns.join(", "));
            assert_eq!(told(&mut ours, Way::Simple, &binary), told(&mut theirs, Way::Simple, &binary));
        }
    }
}

fn difference(ours: &[Message], theirs: &[Message], columns: &[&str]) -> String {
    let cells =
        |messages: &[Message]| messages.iter().map(|message| (message.kind, message.line())).collect::<Vec<_>>();
    let rows = ours.iter().zip(theirs).filter(|(our, their)| our.kind == b'D' && our != their);
    let named = rows.flat_map(|(our, their)| {
        let both = our
            .cells()
            .into_iter()
            .map(|cell| cell.map(<[u8]>::to_vec))
            .zip(their.cells().into_iter().map(|cell| cell.map(<[u8]>::to_vec)));
        let different = columns.iter().zip(both).filter(|(_, (our, their))| our != their);
        different.map(|(column, (our, their))| format!("{column}: {our:?}, not {their:?}")).collect::<Vec<_>>()
    });
    let named: Vec<_> = named.collect();
    if named.is_empty() { format!("{:?}\n{:?}", cells(ours), cells(theirs)) } else { named.join("\n") }
}

fn masks_are_values_of_their_type(cluster: &'static Cluster) {
    let types = Types::at(cluster);
    for masking in ["rows", "source"] {
        let _gateway = types.attach(masking);
        let (inside, outside) = (Door::new(&types.shop, Side::Inside), Door::new(&types.shop, Side::Outside));
        for style in STYLES {
            let (mut ours, mut theirs) = (inside.session("agent"), outside.session("agent"));
            for setting in style.split("; ") {
                told(&mut ours, Way::Simple, setting);
                told(&mut theirs, Way::Simple, setting);
            }
            for way in [Way::Simple, Way::Extended, Way::Binary] {
                let query = types.query(way, "labelled_types");
                let (answer, bare) = (told(&mut ours, way, &query), told(&mut theirs, way, &query));
                let row = |messages: &[Message], number: usize| {
                    let row = messages.iter().filter(|message| message.kind == b'D').nth(number);
                    let row = row.unwrap_or_else(|| panic!("{masking}, {way:?}: {messages:?}"));
                    row.cells().iter().map(|cell| cell.map(<[u8]>::to_vec)).collect::<Vec<_>>()
                };
                assert!(row(&answer, 1).iter().all(Option::is_none), "NULL stays NULL: {answer:?}");
                let (masked, clear, oids) = (row(&answer, 0), row(&bare, 0), type_oids(&answer));
                for (((column, mask), value), oid) in types.columns(way).iter().zip(&masked).zip(&clear).zip(oids) {
                    let what = format!("{masking}, {style}, {way:?}: {column}");
                    assert!(value.is_some() && mask != value, "{what} is not masked");
                    let refused = mask.as_ref().and_then(|mask| not_taken(&mut theirs, oid, way, mask));
                    assert_eq!(refused, None, "{what}: {mask:?} is no value");
                }
                let shown = masked.iter().filter(|cell| cell.is_some()).count();
                assert!(shown >= 18, "{masking}, {way:?}: only {shown} types have a mask");
            }
        }
    }
}

/// Drivers read each column with the types that they know.
const PYTHON: &str = r#"
import asyncio, asyncpg, psycopg
from psycopg.types import TypeInfo
from psycopg.types.hstore import register_hstore
columns = sys.argv[1].split(",")
connection = psycopg.connect(autocommit=True)
register_hstore(TypeInfo.fetch(connection, "hstore"), connection)
def queries(binary):
    fit = [column for column in columns if not (binary and column.startswith("aclitem"))]
    for at in range(0, len(fit), 25):
        yield "SELECT " + ", ".join(f'"{column}"' for column in fit[at:at + 25]) + " FROM labelled_types"
for binary in (False, True):
    for query in queries(binary):
        with connection.cursor(binary=binary) as cursor:
            rows = cursor.execute(query).fetchall()
            assert len(rows) == 2 and set(rows[1]) == {None}, rows
async def main():
    connection = await asyncpg.connect()
    for query in queries(True):
        rows = await connection.fetch(query)
        assert len(rows) == 2 and set(rows[1]) == {None}, rows
    await connection.close()
asyncio.run(main())
print("read", len(columns))
"#;

#[test]
fn no_label_changes_no_byte_of_any_type_on_15() {
    no_label_changes_no_byte(cluster::remote());
}

#[test]
fn no_label_changes_no_byte_of_any_type_on_18() {
    no_label_changes_no_byte(cluster::remote_newest());
}

#[test]
fn masks_are_values_of_their_type_on_15() {
    masks_are_values_of_their_type(cluster::remote());
}

#[test]
fn masks_are_values_of_their_type_on_18() {
    masks_are_values_of_their_type(cluster::remote_newest());
}

#[test]
fn drivers_parse_masks_of_every_type() {
    let types = Types::at(cluster::remote());
    for masking in ["rows", "source"] {
        let _gateway = types.attach(masking);
        let program = format!("import sys\nsys.argv = ['', '{}']\n{PYTHON}", types.columns.join(","));
        let ran = types.shop.python(&program);
        assert_eq!(ran.out, format!("read {}", types.columns.len()), "{masking}: {ran:?}");
    }
}
