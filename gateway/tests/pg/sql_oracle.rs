//! PostgreSQL itself says what parses, what a statement reads, and which functions there are.
//!
//! In: texts on the edges of the grammar. Out: a failure wherever our reading and the server's differ.

use gateway::protocol::postgres::sql::facts::{Effect, Object};
use gateway::protocol::postgres::sql::functions::{FunctionClass, YOUNG, class, of_class};
use gateway::protocol::postgres::sql::scan::scan;
use gateway::protocol::postgres::sql::{Caps, SqlError, read};
use std::collections::{BTreeMap, BTreeSet};
use tokio::runtime::Runtime;
use tokio_postgres::{NoTls, Row, SimpleQueryMessage};

use crate::cluster::{Cluster, Version};

/// A client with a database of its own.
pub struct Client {
    runtime: Runtime,
    client: tokio_postgres::Client,
}

impl Client {
    pub fn connect(cluster: &Cluster, database: &str) -> Self {
        cluster.admin(&format!("CREATE DATABASE {database}"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut config = tokio_postgres::Config::new();
        config.host_path(cluster.directory()).port(cluster.port).user("postgres").dbname(database);
        let (client, connection) = runtime.block_on(config.connect(NoTls)).unwrap();
        runtime.spawn(connection);
        Self { runtime, client }
    }

    fn prepare(&self, text: &str) -> Result<(), tokio_postgres::Error> {
        self.runtime.block_on(self.client.prepare(text)).map(drop)
    }

    pub fn query(&self, text: &str) -> Vec<Row> {
        self.runtime.block_on(self.client.query(text, &[])).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    pub fn run(&self, text: &str) -> Result<Vec<SimpleQueryMessage>, tokio_postgres::Error> {
        self.runtime.block_on(self.client.simple_query(text))
    }

    pub fn must(&self, text: &str) {
        self.run(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
}

/// Whether the server's scanner and grammar take the text. Parse never runs it, and errors name their source file.
fn server_parses(client: &Client, text: &str) -> bool {
    let Err(error) = client.prepare(text) else { return true };
    let Some(error) = error.as_db_error() else { panic!("{error}: {text}") };
    !matches!(error.file(), Some("scan.l" | "gram.y" | "parser.c" | "scansup.c" | "mbutils.c"))
}

fn we_parse(text: &str) -> bool {
    match read(text.as_bytes(), &Caps::default()) {
        Ok(_) => true,
        Err(SqlError::Syntax { .. } | SqlError::SplitString { .. }) => false,
        Err(e) => panic!("{e}: {text}"),
    }
}

/// Statements whose reading turns on a detail of the scanner or the grammar.
const ADVERSARIAL: &[&str] = &[
    "",
    ";",
    ";;",
    "-- x",
    "/* x */",
    "/* /* x */ */",
    "/* /* x */",
    "*/",
    "SELECT",
    "SELECT;SELECT",
    "select 1;;select 2",
    "SELECT 'a'",
    "SELECT 'a",
    "SELECT 'a''b'",
    "SELECT 'a' 'b'",
    "SELECT 'a'\n'b'",
    "SELECT 'a' -- c\n 'b'",
    "SELECT 'a' /* c */\n 'b'",
    "SELECT 'a'\n\n\t'b'",
    "SELECT 'a'\r'b'",
    "SELECT 'a' --\r'b'",
    "SELECT '\\'",
    "SELECT '\\''",
    "SELECT '\\' || (SELECT 1) --'",
    "SELECT E'\\''",
    "SELECT E'\\\\'",
    "SELECT E'\\",
    "SELECT E'a'\n'\\''",
    "SELECT 'a'\nE'b'",
    "SELECT e'\\x41\\101\\u0041\\U00000041'",
    "SELECT E'\\u00'",
    "SELECT E'\\uD83D\\uDE00'",
    "SELECT E'\\uD83D'",
    "SELECT E'\\uDE00'",
    "SELECT E'\\xff'",
    "SELECT E'\\x00'",
    "SELECT E'\\0'",
    "SELECT E'\\xc3\\xa9'",
    "SELECT E'\\400'",
    "SELECT E'\\q'",
    "SELECT E'\\\n'",
    "SELECT U&'\\0041'",
    "SELECT U&'\\+000041'",
    "SELECT U&'!0041' UESCAPE '!'",
    "SELECT U&'\\0041' UESCAPE '\\'",
    "SELECT U&'x' UESCAPE '+'",
    "SELECT U&'x' UESCAPE 'ab'",
    "SELECT U&'\\004'",
    "SELECT U&'\\D83D\\DE00'",
    "SELECT U&'\\D83D'",
    "SELECT U&'\\0000'",
    "SELECT U&'\\\\'",
    "SELECT U&'a'\n'\\0041'",
    "SELECT U &'a'",
    "SELECT U& 'a'",
    "SELECT u&'a'",
    "SELECT U&\"\\0061\"",
    "SELECT U&\"a\" UESCAPE '!'",
    "SELECT U&\"!0061\" uescape '!'",
    "SELECT U&\"\"",
    "SELECT \"\"",
    "SELECT \"a\"\"b\"",
    "SELECT \"a",
    "SELECT 1 \"a\" \"b\"",
    "SELECT 1 AS \"select\"",
    "SELECT 1 select",
    "SELECT B'01'",
    "SELECT B'02'",
    "SELECT X'1f'",
    "SELECT X'1g'",
    "SELECT b'0'\n'1'",
    "SELECT N'x'",
    "SELECT n'x'",
    "SELECT B '01'",
    "SELECT $$a$$",
    "SELECT $a$a$a$",
    "SELECT $a$a$b$",
    "SELECT $a$ $b$ $b$ $a$",
    "SELECT $a$$a$",
    "SELECT $a$ $$ $a$",
    "SELECT $1a$x$1a$",
    "SELECT $é$x$é$",
    "SELECT $a$x$A$",
    "SELECT a$b$ FROM (SELECT 1 AS a$b$) x",
    "SELECT $",
    "SELECT $a",
    "SELECT $$",
    "SELECT $1$$a$$",
    "SELECT $1, $2",
    "SELECT $0",
    "SELECT 1$$a$$",
    "SELECT $a$\n$a$",
    "SELECT $a$;$a$;",
    "SELECT $_$x$_$",
    "SELECT $a-b$x$a-b$",
    "SELECT 1e10",
    "SELECT 1.5",
    "SELECT .5",
    "SELECT 5.",
    "SELECT 1..2",
    "SELECT 1.e5",
    "SELECT 99999999999999999999",
    "SELECT 1e",
    "SELECT 1a",
    "SELECT 1 a",
    "SELECT 1e+",
    "SELECT .",
    "SELECT 1+-1",
    "SELECT 1--1",
    "SELECT 1- -1",
    "SELECT 1/*x*/+1",
    "SELECT 1+/*x*/1",
    "SELECT @-5",
    "SELECT @ 5",
    "SELECT 2!=3",
    "SELECT 2<>3",
    "SELECT 2=-3",
    "SELECT 2=+3",
    "SELECT 2*-3",
    "SELECT 2 ~~ 3",
    "SELECT 2 => 3",
    "SELECT 2 := 3",
    "SELECT 1::int",
    "SELECT 1 : : int",
    "SELECT 1 OPERATOR(pg_catalog.+) 2",
    "SELECT 1 OPERATOR(+) 2",
    "SELECT +++1",
    "SELECT 1 @#@ 2",
    "SELECT 1 |/ 2",
    "SELECT [1]",
    "SELECT ARRAY[1,2][1]",
    "SELECT ARRAY[[1],[2]]",
    "SELECT '{1}'::int[][1]",
    "SELECT ('{1}'::int[])[1:2]",
    "SELECT ROW(1,2)",
    "SELECT (1,2)",
    "SELECT ()",
    "SELECT ROW()",
    "SELECT a.b.c.d.e",
    "SELECT a.*",
    "SELECT *",
    "SELECT t.* FROM t",
    "SELECT (t).* FROM t",
    "SELECT (t.*).a FROM t",
    "SELECT (t).a.b FROM t",
    "SELECT t.a.b FROM t",
    "SELECT f(t) FROM t",
    "SELECT t.f FROM t",
    "TABLE t",
    "TABLE ONLY t",
    "SELECT * FROM ONLY t",
    "SELECT * FROM ONLY (t)",
    "SELECT * FROM t *",
    "SELECT FROM t",
    "VALUES (1),(2)",
    "VALUES",
    "SELECT * FROM (VALUES (1)) v",
    "SELECT * FROM (t)",
    "SELECT * FROM (t CROSS JOIN t u)",
    "SELECT * FROM t, LATERAL (SELECT t.a) x",
    "SELECT * FROM ROWS FROM (generate_series(1,2), generate_series(1,3)) WITH ORDINALITY",
    "SELECT * FROM generate_series(1,2) AS (a int)",
    "SELECT * FROM f(VARIADIC ARRAY[1])",
    "SELECT * FROM t TABLESAMPLE SYSTEM (1) REPEATABLE (2)",
    "SELECT * FROM t NATURAL JOIN u",
    "SELECT * FROM t JOIN u USING (a) AS j",
    "SELECT * FROM t JOIN u",
    "SELECT * FROM t FULL JOIN u ON true",
    "SELECT * FROM XMLTABLE('/a' PASSING '<a/>' COLUMNS b int PATH 'c')",
    "SELECT XMLELEMENT(NAME a, XMLATTRIBUTES (1 AS b))",
    "SELECT xmlparse(document '<a/>')",
    "SELECT count(*) FILTER (WHERE true) OVER (PARTITION BY 1 ORDER BY 2 ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY 1)",
    "SELECT count(DISTINCT 1)",
    "SELECT f(a => 1, b := 2)",
    "SELECT f(a => 1, 2)",
    "SELECT CASE WHEN true THEN 1 END",
    "SELECT CASE 1 WHEN 1 THEN 2 ELSE 3 END",
    "SELECT 1 IS DISTINCT FROM 2",
    "SELECT 1 BETWEEN SYMMETRIC 2 AND 3",
    "SELECT 1 IN (1, 2)",
    "SELECT 1 IN (SELECT 1)",
    "SELECT 1 = ANY (ARRAY[1])",
    "SELECT 'a' LIKE 'b' ESCAPE 'c'",
    "SELECT 'a' SIMILAR TO 'b'",
    "SELECT a IS NULL",
    "SELECT a ISNULL",
    "SELECT a NOTNULL",
    "SELECT 1 AT TIME ZONE 'UTC'",
    "SELECT (1, 2) OVERLAPS (3, 4)",
    "SELECT 'x' COLLATE \"C\"",
    "SELECT EXISTS (SELECT 1)",
    "SELECT ARRAY(SELECT 1)",
    "SELECT int '1'",
    "SELECT pg_catalog.int4 '1'",
    "SELECT interval '1' day",
    "SELECT date 'x'",
    "SELECT a.b 'x'",
    "SELECT f('x') 'y'",
    "SELECT CAST(1 AS int)",
    "SELECT EXTRACT(year FROM now())",
    "SELECT POSITION('a' IN 'b')",
    "SELECT SUBSTRING('a' FROM 1 FOR 2)",
    "SELECT TRIM(BOTH FROM 'a')",
    "SELECT OVERLAY('a' PLACING 'b' FROM 1)",
    "SELECT NORMALIZE('a', NFC)",
    "SELECT CURRENT_DATE, CURRENT_USER, SESSION_USER, LOCALTIME(3)",
    "SELECT current_schema",
    "SELECT GROUPING(a) FROM t GROUP BY CUBE (a)",
    "SELECT a FROM t GROUP BY DISTINCT a",
    "SELECT NULLIF(1,2), GREATEST(1,2), COALESCE(1)",
    "SELECT 1 LIMIT 1 OFFSET 2",
    "SELECT 1 FETCH FIRST ROW ONLY",
    "SELECT 1 ORDER BY 1 USING <",
    "SELECT 1 FOR UPDATE OF t NOWAIT",
    "SELECT 1 FOR NO KEY UPDATE SKIP LOCKED",
    "SELECT 1 FOR UPDATE LIMIT 1",
    "SELECT DISTINCT ON (1) 2",
    "SELECT ALL 1",
    "SELECT 1 INTO t",
    "SELECT 1 INTO TEMP TABLE t",
    "SELECT 1 WINDOW w AS (ORDER BY 1)",
    "SELECT 1 UNION ALL SELECT 2 INTERSECT SELECT 3",
    "(SELECT 1) UNION (SELECT 2)",
    "((SELECT 1))",
    "SELECT 1 UNION SELECT 2 INTO t",
    "WITH q AS (SELECT 1) SELECT * FROM q",
    "WITH RECURSIVE q AS (SELECT 1) SELECT 1",
    "WITH q AS MATERIALIZED (SELECT 1) SELECT 1",
    "WITH q AS (DELETE FROM t RETURNING *) SELECT * FROM q",
    "WITH q AS (DROP TABLE t) SELECT 1",
    "WITH q(a) AS (SELECT 1) SEARCH DEPTH FIRST BY a SET s CYCLE a SET c USING p SELECT 1",
    "WITH q AS (SELECT 1) UPDATE t SET a = 1",
    "WITH q AS (SELECT 1) MERGE INTO t USING q ON true WHEN MATCHED THEN DO NOTHING",
    "INSERT INTO t DEFAULT VALUES",
    "INSERT INTO t (a[1], b.c) VALUES (1, 2)",
    "INSERT INTO t OVERRIDING SYSTEM VALUE VALUES (1)",
    "INSERT INTO t AS x VALUES (1) ON CONFLICT ON CONSTRAINT c DO NOTHING",
    "INSERT INTO t TABLE u",
    "INSERT INTO t SET a = 1",
    "INSERT t VALUES (1)",
    "UPDATE t SET (a, b) = (1, 2)",
    "UPDATE t SET (a, b) = (SELECT 1, 2)",
    "UPDATE ONLY t x SET a = DEFAULT FROM u WHERE CURRENT OF c",
    "UPDATE t SET t.a = 1",
    "DELETE FROM t USING u WHERE true RETURNING *",
    "DELETE t",
    "MERGE INTO t USING u ON a = b WHEN MATCHED AND c THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1)",
    "COPY t FROM STDIN",
    "COPY t TO PROGRAM 'x'",
    "COPY (SELECT 1) TO STDOUT WITH (FORMAT csv)",
    "COPY t (a) FROM 'f' WHERE a > 1",
    "COPY BINARY t TO 'f'",
    "COPY t FROM STDIN DELIMITER '|' CSV HEADER",
    "COPY (SELECT 1) FROM STDIN",
    "DO 'x'",
    "DO $$begin end$$ LANGUAGE plpgsql",
    "DO LANGUAGE 'plpgsql' 'x'",
    "CALL p()",
    "CALL p",
    "EXPLAIN SELECT 1",
    "EXPLAIN (ANALYZE, VERBOSE off) SELECT 1",
    "EXPLAIN ANALYZE VERBOSE SELECT 1",
    "EXPLAIN EXPLAIN SELECT 1",
    "PREPARE p (int) AS SELECT $1",
    "EXECUTE p(1)",
    "EXECUTE p",
    "DEALLOCATE PREPARE p",
    "DECLARE c BINARY SCROLL CURSOR WITH HOLD FOR SELECT 1",
    "FETCH ABSOLUTE -1 IN c",
    "MOVE FORWARD ALL c",
    "CLOSE c",
    "SET a TO 1, 2",
    "SET a.b = 'c'",
    "SET a.b.c = d",
    "SET LOCAL a = DEFAULT",
    "SET SESSION a = on",
    "SET TIME ZONE LOCAL",
    "SET NAMES 'x'",
    "SET NAMES",
    "SET ROLE NONE",
    "SET ROLE 'x'",
    "SET SESSION AUTHORIZATION x",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET TRANSACTION SNAPSHOT 'x'",
    "SET XML OPTION DOCUMENT",
    "SET SCHEMA 'x'",
    "SET a FROM CURRENT",
    "SET a",
    "RESET ALL",
    "RESET a.b",
    "SHOW ALL",
    "SHOW TIME ZONE",
    "DISCARD ALL",
    "SET CONSTRAINTS ALL DEFERRED",
    "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY",
    "START TRANSACTION",
    "COMMIT AND CHAIN",
    "END",
    "ABORT",
    "ROLLBACK TO SAVEPOINT a",
    "RELEASE a",
    "PREPARE TRANSACTION 'x'",
    "COMMIT PREPARED 'x'",
    "LISTEN a",
    "NOTIFY a, 'b'",
    "UNLISTEN *",
    "LOCK TABLE ONLY t IN ACCESS SHARE MODE NOWAIT",
    "CHECKPOINT",
    "LOAD 'x'",
    "VACUUM (FULL, ANALYZE) t (a)",
    "VACUUM FULL VERBOSE",
    "ANALYZE VERBOSE t",
    "CLUSTER t USING i",
    "REINDEX (VERBOSE) TABLE CONCURRENTLY t",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY m WITH NO DATA",
    "SECURITY LABEL ON TABLE t IS 'x'",
    "COMMENT ON TABLE t IS NULL",
    "IMPORT FOREIGN SCHEMA s FROM SERVER x INTO y",
    "CREATE TABLE t (a int DEFAULT 1 CHECK (a > 0) NOT NULL, UNIQUE (a), LIKE u INCLUDING ALL)",
    "CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1",
    "CREATE TABLE t AS EXECUTE p(1)",
    "CREATE TABLE t OF ty",
    "CREATE TABLE t PARTITION OF u FOR VALUES FROM (MINVALUE) TO (1)",
    "CREATE UNLOGGED TABLE a.b.c ()",
    "CREATE TABLE a.b.c.d ()",
    "CREATE OR REPLACE RECURSIVE VIEW v (a) AS SELECT 1",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE FUNCTION f() RETURNS void BEGIN ATOMIC SELECT 1; SELECT 2; END",
    "CREATE FUNCTION f(a int, OUT b int) AS 'x', 'y' LANGUAGE c SET a = 1",
    "CREATE PROCEDURE p() AS 'x'",
    "CREATE FOREIGN TABLE f (a int) SERVER s",
    "CREATE INDEX CONCURRENTLY ON t USING gin (lower(a) opclass DESC) INCLUDE (b) WHERE c",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; DELETE FROM t)",
    "CREATE TRIGGER g INSTEAD OF DELETE ON v EXECUTE PROCEDURE f(1, 'a', b)",
    "CREATE POLICY p ON t USING (true)",
    "CREATE ROLE r PASSWORD 'x' LOGIN",
    "CREATE USER x IN GROUP y",
    "ALTER ROLE ALL SET a = 1",
    "ALTER ROLE r IN DATABASE d RESET ALL",
    "ALTER SYSTEM SET a = 1",
    "GRANT SELECT (a) ON t TO r WITH GRANT OPTION",
    "GRANT ALL ON LARGE OBJECT 1 TO r",
    "GRANT SET ON PARAMETER a.b TO r",
    "REVOKE GRANT OPTION FOR ALL ON SCHEMA s FROM r CASCADE",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO r",
    "ALTER TABLE t ADD COLUMN IF NOT EXISTS a int, DROP b CASCADE, ALTER c TYPE int USING c::int",
    "ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b",
    "DROP TABLE IF EXISTS a, b CASCADE",
    "DROP FUNCTION f(int), g",
    "DROP OPERATOR + (int, NONE)",
    "DROP CAST (int AS text)",
    "CREATE STATISTICS s ON (a + 1), b FROM t",
    "CREATE PUBLICATION p FOR TABLE t (a) WHERE (b), TABLES IN SCHEMA s",
    "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
    "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()",
    "CREATE AGGREGATE a (int) (sfunc = f, stype = int)",
    "CREATE OPERATOR === (leftarg = int, function = f)",
    "CREATE CAST (int AS t) WITH FUNCTION f(int)",
    "CREATE TYPE t AS RANGE (subtype = int)",
    "CREATE EXTENSION IF NOT EXISTS e SCHEMA s CASCADE",
    "CREATE SCHEMA s CREATE TABLE t (a int) GRANT SELECT ON t TO r",
    "SELECT 1 NOT /*c*/ IN (2)",
    "SELECT 1 NOT --c\n BETWEEN 2 AND 3",
    "SELECT 'a' NOT /**/ LIKE 'b'",
    "SELECT 1 ORDER BY 1 NULLS /*c*/ FIRST",
    "SELECT * FROM generate_series(1,2) WITH /*c*/ ORDINALITY",
    "SELECT 'x'::timestamp WITH /*c*/ TIME ZONE",
    "SELECT 'x'::timestamp WITHOUT --c\n TIME ZONE",
    "SELECT U&'!0041' /*c*/ UESCAPE '!'",
    "SELECT U&'!0041' UESCAPE /*c*/ '!'",
    "SELECT U&\"!0061\" /*c*/ UESCAPE '!'",
    "SELECT U&\"!0061\" UESCAPE --c\n '!'",
    "SELECT U&\"!0061\" --c\n UESCAPE '!' FROM t",
    "SELECT * FROM U&\"!0061\" /*c*/ UESCAPE '!'",
    "SELECT U&'a' /*c*/ UESCAPE",
    "SELECT U&\"a\" /*c*/ UESCAPE",
    "SELECT FORMAT /*c*/ ('a')",
    "SELECT JSON '1' FORMAT /**/ JSON",
    "/*a*/SELECT/*b*/1/*c*/",
    "SELECT 1 /*;*/; SELECT 2",
    "SELECT --\n1",
    "SELECT 1 --",
    "SELECT\u{a0}1",
    "SELECT é FROM é",
    "SELECT \"é\"",
    "SELECT 1 AS é$1",
    "SELECT 'a\u{0301}'",
    "SELECT\u{feff}1",
    "\u{feff}SELECT 1",
    "SELECT\u{2003}1",
    "SELECT `a`",
    "SELECT \\a",
    "\\d",
    "SELECT {fn now()}",
    "SELECT ?",
    "SELECT :a",
    "SELECT @a",
    "SELECT #1",
    "SELECT a ? b",
    "SELECT a ?| b",
];

#[test]
fn our_grammar_agrees_with_the_servers() {
    let client = Client::connect(Version::V15.encrypted(), "oracle_grammar");
    let mut table: Vec<String> = ADVERSARIAL.iter().map(|s| (*s).to_owned()).collect();
    // Every pair of literal, comment and quote that stand next to each other with and without space.
    let parts = [
        "'a'", "E'\\''", "U&'b'", "\"c\"", "$$d$$", "$e$e$e$", "--f\n", "/*g*/", "1", "x", "$1", "||", "-", "b'1'",
        "U&\"h\"", "'\\'", "\n",
    ];
    for (a, b) in parts.iter().flat_map(|a| parts.iter().map(move |b| (a, b))) {
        table.push(format!("SELECT {a}{b}"));
        table.push(format!("SELECT {a} {b} || '' AS z"));
        table.push(format!("SELECT 1 {a}{b} || ' (('"));
    }
    let (mut same, mut wrong) = (0, Vec::new());
    for text in &table {
        let (ours, theirs) = (we_parse(text), server_parses(&client, text));
        // libpg_query takes a parameter in more places, and the server refuses what it takes there: harmless.
        let parameter = ours && text.contains("$1");
        if ours == theirs {
            same += 1
        } else if !parameter {
            wrong.push((ours, text))
        }
    }
    assert!(same + 12 > table.len(), "{same} of {} agree", table.len());
    assert!(wrong.is_empty(), "(we parse it, text): {wrong:#?}");
}

#[test]
fn every_function_of_the_server_has_a_class() {
    let unknown = |client: &Client| -> Vec<String> {
        let query = "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
            AND NOT 'internal'::regtype = ANY (proargtypes) AND prorettype NOT IN ('trigger'::regtype,
            'event_trigger'::regtype, 'internal'::regtype, 'language_handler'::regtype, 'fdw_handler'::regtype,
            'index_am_handler'::regtype, 'tsm_handler'::regtype, 'table_am_handler'::regtype)";
        let names = client.query(query).into_iter().map(|row| row.get::<_, String>(0));
        names.filter(|name| class(None, name) == FunctionClass::User).collect()
    };
    let client = Client::connect(Version::V15.encrypted(), "oracle_functions");
    let newest = Client::connect(Version::V18.encrypted(), "oracle_functions");
    assert_eq!((unknown(&client), unknown(&newest)), (Vec::new(), Vec::new()));
    // What is called pure neither is volatile nor returns rows of a relation by name.
    let volatile =
        "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile = 'v'";
    let pure: BTreeSet<String> = client
        .query(volatile)
        .iter()
        .map(|row| row.get::<_, String>(0))
        .filter(|name| class(None, name) == FunctionClass::Pure)
        .collect();
    let known = ["clock_timestamp", "currval", "gen_random_uuid", "lastval", "random", "timeofday"];
    assert_eq!(pure.iter().map(String::as_str).collect::<Vec<_>>(), known);
}

#[test]
fn what_an_older_server_lacks_is_known_to_be_young() {
    let client = Client::connect(Version::V15.encrypted(), "oracle_young");
    let rows = client.query("SELECT DISTINCT proname::text FROM pg_proc WHERE oid < 16384");
    let here: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let young: BTreeSet<&str> = YOUNG.split_ascii_whitespace().collect();
    let harmless = [FunctionClass::Pure, FunctionClass::Reader, FunctionClass::Session];
    let names = || harmless.into_iter().flat_map(of_class);
    let missing: Vec<&str> = names().filter(|name| !here.contains(*name) && !young.contains(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
    assert!(names().any(|name| !here.contains(name)), "this server has them all");
}

#[test]
fn every_operator_of_the_server_is_known() {
    for cluster in [Version::V15.encrypted(), Version::V18.encrypted()] {
        let client = Client::connect(cluster, "oracle_operators");
        let rows = client.query("SELECT DISTINCT oprname::text FROM pg_operator WHERE oid < 16384");
        let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let is_opaque =
            |name: &&String| read(format!("SELECT a {name} b").as_bytes(), &Caps::default()).unwrap().is_opaque();
        assert_eq!(names.iter().filter(is_opaque).collect::<Vec<_>>(), Vec::<&String>::new());
        assert!(names.len() > 70);
    }
}

const SELECTS: &[&str] = &[
    "SELECT a FROM t",
    "SELECT * FROM t",
    "SELECT t.b FROM s.t",
    "SELECT x.a FROM t x WHERE x.b = 1",
    "SELECT a FROM t UNION SELECT a FROM u",
    "SELECT a FROM t WHERE a IN (SELECT c FROM u)",
    "SELECT (SELECT max(c) FROM u WHERE u.a = t.a) FROM t",
    "WITH q AS (SELECT a FROM t) SELECT * FROM q",
    "WITH t AS (SELECT c AS a FROM u) SELECT a FROM t",
    "WITH t AS (SELECT * FROM t) SELECT a FROM t",
    "WITH RECURSIVE r AS (SELECT a FROM t UNION ALL SELECT r.a + 1 FROM r JOIN u ON u.c = r.a) SELECT * FROM r",
    "WITH a AS (SELECT * FROM u), b AS (SELECT c FROM a) SELECT * FROM b, s.t",
    "WITH t AS (SELECT 1 AS z) SELECT * FROM t, public.t AS p",
    "SELECT * FROM (WITH u AS (SELECT a FROM t) SELECT * FROM u) x, u",
    "WITH q AS (WITH u AS (SELECT 1 AS k) SELECT k FROM u) SELECT k, c FROM q, u",
    "SELECT * FROM t, LATERAL (SELECT u.c FROM u WHERE u.a = t.a) l",
    "SELECT 1 FROM t JOIN u USING (a)",
    "SELECT t FROM t",
    "SELECT row_to_json(x) FROM t x",
    "SELECT (x).b FROM t x",
    "SELECT count(*) FROM t",
    "SELECT a FROM t GROUP BY a HAVING max(b) > (SELECT min(c) FROM u)",
    "SELECT a FROM t ORDER BY (SELECT c FROM u LIMIT 1)",
    "SELECT a FROM t LIMIT (SELECT max(c) FROM u)",
    "SELECT sum(b) OVER (PARTITION BY (SELECT c FROM u LIMIT 1)) FROM t",
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM u) THEN a END FROM t",
    "SELECT ARRAY(SELECT c FROM u)",
    "SELECT * FROM unnest(ARRAY(SELECT c FROM u)) z",
    "SELECT * FROM ROWS FROM (generate_series(1, (SELECT max(c)::int FROM u))) z",
    "VALUES ((SELECT max(a) FROM t))",
    "TABLE s.t",
    "SELECT * FROM ONLY t",
    "SELECT * FROM t TABLESAMPLE SYSTEM ((SELECT 10))",
    "SELECT U&\"\\0061\" FROM U&\"\\0074\"",
    "SELECT \"a\" FROM \"s\".\"t\"",
    "SELECT A FROM T",
    "SELECT coalesce((SELECT a FROM t LIMIT 1), (SELECT c FROM u LIMIT 1))",
    "SELECT a FROM t WHERE b = ANY (ARRAY(SELECT c FROM u))",
    "SELECT a FROM t WHERE (a, b) = (SELECT a, c FROM u LIMIT 1)",
    "SELECT a FROM t INTERSECT (SELECT a FROM u EXCEPT SELECT b FROM s.t)",
    "SELECT xmlforest((SELECT max(c) FROM u) AS z)",
    "SELECT * FROM XMLTABLE('/a' PASSING (SELECT '<a/>'::xml FROM t LIMIT 1) COLUMNS k int)",
    "SELECT extract(year FROM (SELECT now() FROM t LIMIT 1))",
    "SELECT x FROM t AS y(x)",
    "SELECT j.a FROM (t JOIN u USING (a)) AS j",
    "SELECT * FROM t NATURAL JOIN u",
    "SELECT GREATEST((SELECT a FROM t LIMIT 1), 2), NULLIF((SELECT c FROM u LIMIT 1), 1)",
    "SELECT a FROM t WHERE a IS DISTINCT FROM (SELECT c FROM u LIMIT 1)",
    "SELECT DISTINCT ON ((SELECT max(c) FROM u)) a FROM t",
    "SELECT count(*) FILTER (WHERE a > (SELECT max(c) FROM u)) FROM t",
    "SELECT a FROM v",
    "SELECT relname FROM pg_class",
    "SELECT 'a' /* FROM u */ FROM t -- , u",
    "SELECT $$ FROM u $$ FROM t",
    "SELECT E'\\' FROM u --' FROM t",
    "SELECT '\\', a FROM t --' FROM u",
];

#[test]
fn relations_and_columns_are_those_that_the_server_reads() {
    let client = Client::connect(Version::V15.encrypted(), "oracle_relations");
    client.must(
            "CREATE SCHEMA s; CREATE TABLE t (a int, b int); CREATE TABLE u (a int, c int); CREATE TABLE s.t (a int, b int);
             CREATE VIEW v AS SELECT a FROM t",
        );
    for sql in SELECTS {
        let read_by_server = server_reads(&client, sql);
        let facts = read(sql.as_bytes(), &Caps::default()).expect("parses");
        let mut ours: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for question in facts.statements[0].questions.iter().filter(|q| q.effect == Effect::Select) {
            let Object::Relation(relation) = &question.object else { panic!("{sql}: {question:?}") };
            let schema = match relation.schema.as_deref() {
                None if relation.name.starts_with("pg_") => "pg_catalog",
                schema => schema.unwrap_or("public"),
            };
            let columns = ours.entry(format!("{schema}.{}", relation.name)).or_default();
            columns.extend(question.columns.names.iter().cloned());
            if question.columns.all {
                columns.insert("*".into());
            }
        }
        assert_eq!(ours.keys().collect::<Vec<_>>(), read_by_server.keys().collect::<Vec<_>>(), "{sql}");
        for (relation, columns) in &read_by_server {
            let ours = &ours[relation];
            let missing: Vec<_> = columns.iter().filter(|c| !ours.contains(*c) && !ours.contains("*")).collect();
            // The server counts all columns of a join for read.
            assert!(missing.is_empty() || sql.contains("JOIN"), "{sql}: {relation} {missing:?}");
        }
    }
}

/// What a view on the query depends on: relations by name, with the columns that it uses.
pub fn server_reads(client: &Client, sql: &str) -> BTreeMap<String, BTreeSet<String>> {
    client.must("BEGIN");
    // A view cannot have unnamed or repeated columns, so the query stands in one of its expressions.
    client.must(&format!("CREATE TEMP VIEW probe AS SELECT EXISTS (\n{sql}\n) AS e"));
    let rows = client.query(
        "SELECT DISTINCT n.nspname || '.' || c.relname, coalesce(a.attname::text, '')
             FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
             JOIN pg_class c ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid AND d.refobjsubid <> 0
             WHERE r.ev_class = 'probe'::regclass AND c.relname <> 'probe'",
    );
    let mut reads: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        let columns = reads.entry(row.get(0)).or_default();
        columns.extend(Some(row.get::<_, String>(1)).filter(|c| !c.is_empty()));
    }
    client.must("ROLLBACK");
    // Catalog relations have no entry in pg_depend, as they are pinned.
    if sql.contains("pg_class") {
        reads.insert("pg_catalog.pg_class".into(), BTreeSet::new());
    }
    reads
}

/// What a text does on the server, in a transaction that is rolled back.
fn outcome(client: &Client, text: &str) -> String {
    client.must("BEGIN");
    let outcome = match client.run(text) {
        Ok(messages) => format!("{:?}", messages.iter().filter_map(row).collect::<Vec<_>>()),
        Err(e) => e.as_db_error().map_or_else(|| e.to_string(), |e| e.code().code().to_owned()),
    };
    client.must("ROLLBACK");
    outcome
}

fn row(message: &SimpleQueryMessage) -> Option<Vec<Option<String>>> {
    let SimpleQueryMessage::Row(row) = message else { return None };
    Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
}

#[test]
fn the_server_reads_the_same_with_comments_as_spaces() {
    const PARTS: &[&str] = &[
        "'", "'", "''", "E'", "U&'", "\"", "$$", "$a$", "$a", "--", "--", "/*", "/*", "*/", "*/", "\n", "\n", " ",
        "\\", "x", "1", "||", "+", "-", "*", "/", "$1", "b'", "é", "0x1", "e5", ".", "'a'", "'b'", "/* ' */", "-- '\n",
        "E'\\''", "1e", "U&\"", "a$b$", " AS z ", ", 2", "\r", "@", "&",
    ];
    let client = Client::connect(Version::V15.encrypted(), "oracle_comments");
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let (mut blanked, mut read) = (0, 0);
    for _ in 0..60_000 {
        let mut text = "SELECT ".to_owned();
        for _ in 0..2 + state % 9 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text += PARTS[usize::try_from(state % PARTS.len() as u64).expect("small")];
        }
        let Ok(spaces) = scan(text.as_bytes(), &Caps::default()) else { continue };
        if spaces == text || gateway::protocol::postgres::sql::read(text.as_bytes(), &Caps::default()).is_err() {
            continue;
        }
        blanked += 1;
        let original = outcome(&client, &text);
        read += u32::from(original.starts_with('['));
        assert_eq!(original, outcome(&client, &spaces), "{text:?} {spaces:?}");
    }
    println!("{blanked} texts with comments, {read} run");
    assert!(blanked > 500 && read > 300, "{blanked} texts with comments, {read} run");
}
