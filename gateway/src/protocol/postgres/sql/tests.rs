//! Statement in, facts out; hostile text in, error out.

use std::time::{Duration, Instant};

use super::facts::*;
use super::*;

fn facts(sql: &str) -> Facts {
    read(sql.as_bytes(), &Caps::default()).unwrap_or_else(|e| panic!("{e}: {sql}"))
}

/// One line for each question: `effect object filter {columns} limit`.
fn questions(statement: &Statement) -> Vec<String> {
    statement.questions.iter().map(question).collect()
}

fn question(q: &Question) -> String {
    let object = match &q.object {
        Object::Relation(r) => {
            let dotted: Vec<&str> =
                [r.catalog.as_deref(), r.schema.as_deref(), Some(&r.name)].into_iter().flatten().collect();
            format!("{}{}", if r.temporary { "temp " } else { "" }, dotted.join("."))
        }
        Object::Function { schema, name, class } => {
            format!("{}{name}() {class:?}", schema.as_ref().map(|s| format!("{s}.")).unwrap_or_default())
        }
        Object::Schema(name) => format!("schema {name}"),
        Object::Database(name) => format!("database {}", name.as_deref().unwrap_or("-")),
        Object::Role(role) => format!("role {role:?}"),
        Object::Named { kind, schema, name } => {
            format!("{kind} {}{name}", schema.as_ref().map(|s| format!("{s}.")).unwrap_or_default())
        }
    };
    let mut line = format!("{:?} {object}", q.effect);
    if matches!(q.effect, Effect::Select | Effect::Update | Effect::Delete) {
        line += &format!(" {:?}", q.filter);
    }
    let mut columns: Vec<&str> = q.columns.names.iter().map(String::as_str).collect();
    if q.columns.all {
        columns.push("*");
    }
    if !columns.is_empty() {
        line += &format!(" {{{}}}", columns.join(","));
    }
    q.limit.into_iter().for_each(|n| line += &format!(" limit {n}"));
    line
}

fn assert_facts(table: &[(&str, &str, &[&str])]) {
    for (sql, command, expected) in table {
        let facts = facts(sql);
        let [statement] = &facts.statements[..] else { panic!("{sql}: not one statement") };
        assert_eq!(statement.command, *command, "{sql}");
        assert_eq!(questions(statement), *expected, "{sql}");
    }
}

#[test]
fn reads_what_queries_do() {
    assert_facts(&[
        ("SELECT 1", "SELECT", &[]),
        ("SELECT (SELECT p.t.a FROM s.t) FROM p.t", "SELECT", &["Select p.t None {a}", "Select s.t None {a}"]),
        ("SELECT a FROM t", "SELECT", &["Select t None {a}"]),
        ("SELECT a FROM t WHERE true", "SELECT", &["Select t Constant {a}"]),
        ("SELECT * FROM s.t WHERE id = 1 LIMIT 10", "SELECT", &["Select s.t Columns {id,*} limit 10"]),
        ("SELECT a FROM t FETCH FIRST 3 ROWS ONLY", "SELECT", &["Select t None {a} limit 3"]),
        ("SELECT a FROM t ORDER BY a FETCH FIRST 3 ROWS WITH TIES", "SELECT", &["Select t None {a}"]),
        ("TABLE d.s.t", "SELECT", &["Select d.s.t None {*}"]),
        (
            "SELECT x.a, y.b FROM t x JOIN u y ON x.id = y.id WHERE x.c = 1",
            "SELECT",
            &["Select t Columns {a,c,id}", "Select u Constant {b,id}"],
        ),
        (
            "SELECT j.a FROM (t JOIN u USING (id)) AS j WHERE j.a = 1",
            "SELECT",
            &["Select t Columns {a,id}", "Select u Columns {a,id}"],
        ),
        (
            "SELECT (SELECT j) FROM (t x JOIN u ON x.id = u.id) j WHERE j IS NOT NULL",
            "SELECT",
            &["Select t Constant {id,*}", "Select u Constant {id,*}"],
        ),
        ("SELECT c FROM customers c", "SELECT", &["Select customers None {*}"]),
        ("SELECT (c).ssn FROM customers c", "SELECT", &["Select customers None {*}"]),
        ("SELECT x FROM customers AS c(x)", "SELECT", &["Select customers None {x,*}"]),
        ("SELECT U&\"s\\0073n\" FROM customers", "SELECT", &["Select customers None {ssn}"]),
        (
            "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id)",
            "SELECT",
            &["Select t Columns {a,id}", "Select u Columns {id}"],
        ),
        ("SELECT a FROM t UNION SELECT b FROM u WHERE c", "SELECT", &["Select t None {a}", "Select u Columns {b,c}"]),
        ("WITH q AS (SELECT ssn FROM t) SELECT * FROM q", "SELECT", &["Select t None {ssn}"]),
        ("WITH t AS (SELECT * FROM t) SELECT * FROM t, s.t", "SELECT", &["Select t None {*}", "Select s.t None {*}"]),
        ("WITH RECURSIVE t AS (SELECT * FROM t) SELECT * FROM t", "SELECT", &[]),
        ("SELECT * FROM (WITH q AS (SELECT 1) SELECT * FROM q) a, q", "SELECT", &["Select q None {*}"]),
        ("SELECT a INTO TEMP n FROM t", "SELECT INTO", &["Select t None {a}", "Create temp n"]),
        ("SELECT a FROM t WHERE id = 1 FOR UPDATE", "SELECT", &["Select t Columns {a,id}", "Lock t {a,id}"]),
        ("SELECT * FROM pg_catalog.pg_stat_statements", "SELECT", &["Select pg_catalog.pg_stat_statements None {*}"]),
    ]);
}

#[test]
fn reads_what_writes_do() {
    assert_facts(&[
        ("INSERT INTO t (a) VALUES (1)", "INSERT", &["Insert t {a}"]),
        ("INSERT INTO a SELECT b FROM u", "INSERT", &["Select u None {b}", "Insert a {*}"]),
        ("INSERT INTO t (id) VALUES (1) RETURNING ssn", "INSERT", &["Select t None {ssn}", "Insert t {id}"]),
        (
            "INSERT INTO t (a) VALUES (1) ON CONFLICT (id) DO UPDATE SET a = excluded.a",
            "INSERT",
            &["Insert t {a}", "Update t Columns {a}"],
        ),
        ("UPDATE t SET a = 1", "UPDATE", &["Update t None {a}"]),
        ("UPDATE t SET a = 1 WHERE 1 = 1", "UPDATE", &["Update t Constant {a}"]),
        ("UPDATE t SET a = 1 WHERE id = 2", "UPDATE", &["Select t Columns {id}", "Update t Columns {a,id}"]),
        ("UPDATE t SET a = u.b FROM u WHERE u.id = 1", "UPDATE", &["Select u Columns {b,id}", "Update t Constant {a}"]),
        ("DELETE FROM t", "DELETE", &["Delete t None"]),
        (
            "DELETE FROM t WHERE EXISTS (SELECT 1 FROM u WHERE b = 1)",
            "DELETE",
            &["Select t Constant {b}", "Select u Columns {b}", "Delete t Constant {b}"],
        ),
        ("DELETE FROM t WHERE CURRENT OF c", "DELETE", &["Delete t Columns"]),
        (
            "DELETE FROM t USING u WHERE t.id = u.id",
            "DELETE",
            &["Select t Columns {id}", "Select u Columns {id}", "Delete t Columns {id}"],
        ),
        (
            "WITH d AS (DELETE FROM t RETURNING a) INSERT INTO h SELECT * FROM d",
            "INSERT",
            &["Select t None {a}", "Insert h {*}", "Delete t None {a}"],
        ),
        ("WITH t AS (SELECT 1) DELETE FROM t", "DELETE", &["Delete t None"]),
        (
            "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id) VALUES (u.id)",
            "MERGE",
            &["Select t Columns {id}", "Select u Columns {id}", "Insert t {id}", "Delete t Columns {id}"],
        ),
        (
            "MERGE INTO t USING u ON true WHEN MATCHED AND t.a = 1 THEN UPDATE SET b = 2 WHEN MATCHED THEN DELETE",
            "MERGE",
            &["Select t Constant {a}", "Select u Constant", "Update t Constant {a,b}", "Delete t Constant {a,b}"],
        ),
        (
            "MERGE INTO t USING u ON t.id = u.id WHEN NOT MATCHED BY SOURCE THEN DELETE",
            "MERGE",
            &["Select t Columns {id}", "Select u Columns {id}", "Delete t None {id}"],
        ),
        ("TRUNCATE a, s.b", "TRUNCATE TABLE", &["Truncate a", "Truncate s.b"]),
        ("COPY t (a) FROM STDIN", "COPY", &["Insert t {a}"]),
        ("COPY t TO STDOUT", "COPY", &["Select t None {*}"]),
        ("COPY (SELECT a FROM t) TO '/tmp/x'", "COPY", &["Select t None {a}", "ServerFile database -"]),
        ("COPY t TO PROGRAM 'sh'", "COPY", &["Select t None {*}", "CopyProgram database -"]),
        ("COPY (DELETE FROM t RETURNING a) TO STDOUT", "COPY", &["Select t None {a}", "Delete t None {a}"]),
        ("EXPLAIN DELETE FROM t", "EXPLAIN", &["Delete t None"]),
        ("PREPARE p AS DELETE FROM t", "PREPARE", &["Delete t None"]),
        ("DECLARE c CURSOR FOR SELECT a FROM t LIMIT 2", "DECLARE CURSOR", &["Select t None {a} limit 2"]),
        ("LOCK t", "LOCK TABLE", &["Lock t"]),
    ]);
}

#[test]
fn reads_what_ddl_does() {
    assert_facts(&[
        ("CREATE TABLE t (a int)", "CREATE TABLE", &["Create t"]),
        ("CREATE TEMP TABLE t (a int REFERENCES u (b))", "CREATE TABLE", &["Select u None", "Create temp t"]),
        ("CREATE TABLE pg_temp.t (LIKE u)", "CREATE TABLE", &["Select u None", "Create temp pg_temp.t"]),
        ("CREATE TABLE p PARTITION OF t FOR VALUES IN (1)", "CREATE TABLE", &["Create p", "Alter t"]),
        ("CREATE TABLE n AS SELECT a FROM t", "CREATE TABLE AS", &["Select t None {a}", "Create n"]),
        ("CREATE MATERIALIZED VIEW m AS TABLE t", "CREATE MATERIALIZED VIEW", &["Select t None {*}", "Create m"]),
        ("CREATE VIEW v AS SELECT a FROM t", "CREATE VIEW", &["Select t None {a}", "Create v"]),
        ("CREATE INDEX i ON s.t (a)", "CREATE INDEX", &["Create index s.i", "Alter s.t"]),
        ("CREATE SEQUENCE q", "CREATE SEQUENCE", &["Create q"]),
        ("CREATE SCHEMA s", "CREATE SCHEMA", &["Create schema s"]),
        ("CREATE DATABASE d", "CREATE DATABASE", &["Create database d"]),
        ("CREATE TYPE e AS ENUM ('a')", "CREATE TYPE", &["Create type e"]),
        ("CREATE ROLE r PASSWORD 'x'", "CREATE ROLE", &["ManageRole role Named(\"r\")"]),
        ("ALTER ROLE CURRENT_USER SUPERUSER", "ALTER ROLE", &["ManageRole role CurrentUser"]),
        ("DROP ROLE a, b", "DROP ROLE", &["ManageRole role Named(\"a\")", "ManageRole role Named(\"b\")"]),
        ("ALTER TABLE t ADD COLUMN b int", "ALTER TABLE", &["Alter t"]),
        ("ALTER TABLE t DROP COLUMN b", "ALTER TABLE", &["Alter t", "Drop t"]),
        ("ALTER TABLE t ATTACH PARTITION p DEFAULT", "ALTER TABLE", &["Alter p", "Alter t"]),
        ("ALTER TABLE t RENAME a TO b", "ALTER TABLE", &["Alter t"]),
        ("ALTER VIEW v OWNER TO r", "ALTER VIEW", &["Alter v"]),
        ("ALTER FUNCTION f() OWNER TO r", "ALTER FUNCTION", &["Alter f() User"]),
        ("ALTER SYSTEM SET work_mem = '1GB'", "ALTER SYSTEM", &["AlterSystem database -"]),
        ("DROP TABLE a, s.b", "DROP TABLE", &["Drop a", "Drop s.b"]),
        ("DROP SCHEMA s CASCADE", "DROP SCHEMA", &["Drop schema s"]),
        ("DROP FUNCTION s.f(int)", "DROP FUNCTION", &["Drop s.f() User"]),
        ("DROP POLICY p ON s.t", "DROP POLICY", &["Alter s.t", "Drop policy s.p"]),
        ("DROP EXTENSION e", "DROP EXTENSION", &["Drop extension e"]),
        ("DROP OWNED BY r", "DROP OWNED", &["Drop database -", "ManageRole role Named(\"r\")"]),
        ("COMMENT ON COLUMN s.t.c IS 'x'", "COMMENT", &["Alter s.t"]),
        ("COMMENT ON CONSTRAINT c ON DOMAIN s.d IS 'x'", "COMMENT", &["Alter domain s.d"]),
        ("DROP OPERATOR CLASS s.o USING btree", "DROP OPERATOR CLASS", &["Drop operator class s.o"]),
        ("DROP CAST (a AS b)", "DROP CAST", &["Drop cast a"]),
        ("COMMENT ON LARGE OBJECT 1 IS 'x'", "COMMENT", &["LargeObject database -"]),
        ("GRANT SELECT ON LARGE OBJECT 1 TO r", "GRANT", &["Grant database -", "LargeObject database -"]),
        ("GRANT SET ON PARAMETER work_mem TO r", "GRANT", &["Grant parameter work_mem"]),
        ("GRANT SELECT ON t TO r", "GRANT", &["Grant t"]),
        ("REVOKE ALL ON FUNCTION s.f(int), g FROM r", "REVOKE", &["Revoke g() User", "Revoke s.f() User"]),
        ("GRANT USAGE ON SCHEMA a, \"B\" TO PUBLIC", "GRANT", &["Grant schema B", "Grant schema a"]),
        ("GRANT CONNECT ON DATABASE d TO r", "GRANT", &["Grant database d"]),
        ("GRANT SELECT ON ALL TABLES IN SCHEMA s TO r", "GRANT", &["Grant schema s"]),
        ("GRANT a TO b", "GRANT ROLE", &["Grant role Named(\"a\")"]),
        ("VACUUM t", "VACUUM", &["Maintain t"]),
        ("ANALYZE", "ANALYZE", &["Maintain database -"]),
        ("REINDEX SCHEMA s", "REINDEX", &["Maintain schema s"]),
        ("REFRESH MATERIALIZED VIEW m", "REFRESH MATERIALIZED VIEW", &["Maintain m"]),
        ("LISTEN c", "LISTEN", &["Listen database -"]),
        ("NOTIFY c, 'x'", "NOTIFY", &["Notify database -"]),
        ("LOAD 'x'", "LOAD", &["ServerFile database -", "RunCode database -"]),
        (
            "CREATE SUBSCRIPTION s CONNECTION 'host=h' PUBLICATION p",
            "CREATE SUBSCRIPTION",
            &["Create subscription s", "Replicate database -"],
        ),
    ]);
}

#[test]
fn says_why_a_statement_is_opaque() {
    for (sql, reason) in [
        ("DO 'begin end'", "DO runs a code block"),
        ("CALL p(1)", "CALL runs procedure `p`"),
        ("SELECT f(1)", "`f` is not a built-in function, what it does is not in the statement"),
        ("SELECT ssn(c) FROM c", "`ssn` is not a built-in function, what it does is not in the statement"),
        ("SELECT public.lower('A')", "`lower` is not a built-in function, what it does is not in the statement"),
        ("SELECT query_to_xml('x', true, true, '')", "`query_to_xml` runs what its arguments say"),
        ("SELECT * FROM dblink('x', 'y') AS t(a int)", "`dblink` runs what its arguments say"),
        ("SELECT set_config(a, 'x', true) FROM t", "a setting is changed whose name is computed"),
        ("UPDATE pg_settings SET setting = 'off'", "a setting is changed whose name is computed"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'x'", "the body of a function is stored, to run later"),
        (
            "CREATE TRIGGER g BEFORE INSERT ON t EXECUTE FUNCTION f()",
            "a trigger is stored, to run with later statements",
        ),
        ("CREATE RULE r AS ON SELECT TO t DO INSTEAD NOTHING", "a rule is stored, to run with later statements"),
        ("CREATE EXTENSION e", "the script of extension `e` runs on the server"),
        ("CREATE FOREIGN TABLE f (a int) SERVER s", "the objects of this CREATE FOREIGN TABLE cannot be read"),
        ("CREATE DATABASE d TEMPLATE shop", "the objects of this CREATE DATABASE with a TEMPLATE cannot be read"),
        ("ALTER DATABASE shop RENAME TO d", "the objects of this ALTER DATABASE with RENAME cannot be read"),
        ("CREATE STATISTICS s ON a, b FROM (SELECT 1) x", "the objects of this CREATE STATISTICS cannot be read"),
    ] {
        let facts = facts(sql);
        let reasons: Vec<String> = facts.statements[0].opaque.iter().map(Opaque::to_string).collect();
        assert!(reasons.contains(&reason.to_owned()), "{sql}: {reasons:?}");
    }
    assert!(!facts("SELECT lower(a), count(*), now() FROM t; SET x.y = 1; BEGIN").is_opaque());
    assert!(!facts("CREATE DATABASE d TEMPLATE = template0").is_opaque());
}

#[test]
fn says_what_a_change_of_a_table_does_with_its_columns() {
    for (sql, moved, compared) in [
        ("ALTER TABLE t RENAME TO u", "t.*", ""),
        ("ALTER VIEW t RENAME a TO b", "t.a", ""),
        ("ALTER TABLE t RENAME CONSTRAINT a TO b", "", ""),
        ("ALTER TABLE t SET SCHEMA s", "t.*", ""),
        ("ALTER TABLE t INHERIT u, NO INHERIT v", "t.* t.*", ""),
        ("ALTER TABLE t DETACH PARTITION u", "u.*", ""),
        ("ALTER TABLE t ALTER a TYPE int USING b + c", "t.b,c", "t.b,c"),
        ("ALTER TABLE t ADD a text GENERATED ALWAYS AS (b) STORED", "t.b", "t.b"),
        ("ALTER TABLE t ADD CHECK (t IS NOT NULL AND a > 1), ADD UNIQUE (b)", "", "t.* t.b"),
        ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (b)", "", "t.a u.b"),
        ("ALTER TABLE t ADD COLUMN a int, DROP b", "", ""),
        ("CREATE TABLE t (a int REFERENCES u)", "", "u.*"),
        ("CREATE INDEX ON t (a, b)", "", ""),
        ("CREATE INDEX ON t (a, (b + 1))", "", "t.a,b"),
        ("CREATE INDEX ON t (a) WHERE b > 1", "", "t.a,b"),
        ("CREATE POLICY p ON t USING (a > 1) WITH CHECK (b > 1)", "", "t.a t.b"),
    ] {
        let facts = facts(sql);
        let told = |of: fn(&ColumnUse) -> &Columns| {
            let named = facts.statements[0].uses.iter().filter(|used| !of(used).is_empty());
            let one = |used: &ColumnUse| {
                let names: Vec<_> = of(used).names.iter().cloned().collect();
                let names = if of(used).all { "*".to_owned() } else { names.join(",") };
                format!("{}.{names}", used.relation.name)
            };
            let mut all: Vec<_> = named.map(one).collect();
            all.sort();
            all.join(" ")
        };
        assert_eq!((told(|used| &used.moved), told(|used| &used.compared)), (moved.into(), compared.into()), "{sql}");
    }
}

#[test]
fn classes_calls() {
    assert_facts(&[
        ("SELECT pg_read_file('x')", "SELECT", &["Execute pg_read_file() ServerFile", "ServerFile database -"]),
        (
            "SELECT lo_import('x')",
            "SELECT",
            &["Execute lo_import() LargeObject", "ServerFile database -", "LargeObject database -"],
        ),
        ("SELECT pg_notify('a', 'b')", "SELECT", &["Execute pg_notify() Session", "Notify database -"]),
        ("SELECT nextval('s')", "SELECT", &["Execute nextval() Session"]),
        (
            "SELECT query FROM pg_stat_get_activity(NULL)",
            "SELECT",
            &["Select pg_catalog.pg_stat_activity None {*}", "Execute pg_stat_get_activity() Reader"],
        ),
        ("SELECT pg_terminate_backend(1)", "SELECT", &["Execute pg_terminate_backend() Server"]),
        (
            "SELECT pg_drop_replication_slot('s')",
            "SELECT",
            &["Execute pg_drop_replication_slot() Replication", "Replicate database -"],
        ),
        ("VALUES (extract(year FROM now()), 'a' LIKE 'b', xmlexists('/a' PASSING '<a/>'))", "SELECT", &[]),
    ]);
    let calls = facts("SELECT ssn(c), f(1, 2) FROM t c").statements[0].calls.clone();
    let arguments: Vec<(String, usize)> = calls.into_iter().map(|c| (c.name, c.arguments)).collect();
    assert_eq!(arguments, [("f".to_owned(), 2), ("ssn".to_owned(), 1)]);
}

/// As pg_dump sends it.
const PG_DUMP_SETS: &str = "SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings \
    WHERE name = 'restrict_nonsystem_relation_kind'";

#[test]
fn knows_the_setting_of_a_row_in_the_form_of_pg_dump_alone() {
    let is_known = |sql: &str| !facts(sql).is_opaque();
    assert!(is_known(PG_DUMP_SETS) && is_known(&PG_DUMP_SETS.replace(", foreign-table", "")));
    for (from, to) in [
        ("'restrict_nonsystem_relation_kind'", "'search_path'"),
        ("'restrict_nonsystem_relation_kind'", "'restrict_nonsystem_relation_kind' OR true"),
        ("'restrict_nonsystem_relation_kind'", "current_user"),
        ("WHERE name =", "WHERE name <>"),
        ("WHERE name =", "WHERE setting ="),
        ("WHERE name =", "WHERE name OPERATOR(public.=)"),
        ("WHERE name = 'restrict_nonsystem_relation_kind'", ""),
        ("set_config(name,", "set_config(setting,"),
        ("'view, foreign-table'", "'view, other'"),
        ("'view, foreign-table'", "name"),
        ("false)", "false), set_config(name, 'x', false)"),
        ("FROM pg_settings", "FROM mine.pg_settings"),
        ("FROM pg_settings", "FROM pg_settings, pg_class"),
        ("SELECT", "WITH pg_settings AS (SELECT 'role' AS name) SELECT"),
    ] {
        let sql = PG_DUMP_SETS.replace(from, to);
        assert!(sql != PG_DUMP_SETS && !is_known(&sql), "{sql}");
    }
    assert!(!is_known(&format!("SELECT 1 UNION {PG_DUMP_SETS}")));
}

#[test]
fn follows_settings() {
    use SettingClass::{Encoding, PinnedChanged, PinnedKept, Plain, Tracked};
    for (sql, name, class) in [
        ("SET standard_conforming_strings = off", Some("standard_conforming_strings"), PinnedChanged),
        ("SET LOCAL \"Standard_Conforming_Strings\" TO 'off'", Some("standard_conforming_strings"), PinnedChanged),
        ("SET standard_conforming_strings = on", Some("standard_conforming_strings"), PinnedKept),
        ("RESET standard_conforming_strings", Some("standard_conforming_strings"), PinnedKept),
        ("SET NAMES 'SJIS'", Some("client_encoding"), Encoding),
        ("SET NAMES 'JOHAB'", Some("client_encoding"), PinnedChanged),
        ("SET NAMES 'utf-8'", Some("client_encoding"), PinnedKept),
        ("SET client_encoding TO DEFAULT", Some("client_encoding"), PinnedKept),
        ("SELECT set_config('client_encoding', 'SJIS', false)", Some("client_encoding"), Encoding),
        ("SELECT set_config('client_encodingX'::varchar(15), 'SJIS', false)", None, PinnedChanged),
        ("SELECT set_config(setting_name => 'a', new_value => 'b', is_local => true)", None, PinnedChanged),
        (PG_DUMP_SETS, Some("restrict_nonsystem_relation_kind"), Plain),
        ("ALTER ROLE r SET client_encoding = 'SJIS'", Some("client_encoding"), PinnedChanged),
        ("ALTER DATABASE d SET standard_conforming_strings = off", Some("standard_conforming_strings"), PinnedChanged),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET standard_conforming_strings = off AS ''",
            Some("standard_conforming_strings"),
            PinnedChanged,
        ),
        ("UPDATE pg_settings SET setting = 'off'", None, PinnedChanged),
        ("SET search_path = a, b", Some("search_path"), Tracked),
        ("SET SCHEMA 'a'", Some("search_path"), Tracked),
        ("SET ROLE r", Some("role"), Tracked),
        ("RESET SESSION AUTHORIZATION", Some("session_authorization"), Tracked),
        ("SET TIME ZONE 'UTC'", Some("timezone"), Plain),
        ("RESET ALL", Some("all"), Tracked),
    ] {
        let facts = facts(sql);
        let changes = &facts.statements[0].settings;
        assert_eq!(changes.len(), 1, "{sql}");
        assert_eq!((changes[0].name.as_deref(), changes[0].class), (name, class), "{sql}");
    }
    let path = &facts("SET search_path = a, \"B\"").statements[0].settings[0];
    assert_eq!(path.value, SettingValue::Constant("a, B".into()));
    assert_eq!(questions(&facts("SET ROLE r").statements[0]), ["SetRole role Named(\"r\")"]);
    assert_eq!(questions(&facts("SET SESSION AUTHORIZATION DEFAULT").statements[0]), ["SetRole role Unnamed"]);
}

#[test]
fn follows_the_session() {
    for (sql, verb) in [
        ("BEGIN", Verb::Begin),
        ("START TRANSACTION READ ONLY", Verb::Begin),
        ("END", Verb::Commit),
        ("ABORT", Verb::Rollback),
        ("SAVEPOINT s", Verb::Savepoint("s".into())),
        ("ROLLBACK TO s", Verb::RollbackTo("s".into())),
        ("PREPARE TRANSACTION 'x'", Verb::PrepareTransaction),
        ("PREPARE p AS SELECT 1", Verb::Prepare("p".into())),
        ("EXECUTE p(1)", Verb::Execute("p".into())),
        ("CREATE TABLE t AS EXECUTE p", Verb::Execute("p".into())),
        ("EXPLAIN ANALYZE EXECUTE p", Verb::Execute("p".into())),
        ("DEALLOCATE p", Verb::Deallocate(Some("p".into()))),
        ("DEALLOCATE ALL", Verb::Deallocate(None)),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", Verb::Declare { name: "c".into(), hold: true }),
        ("FETCH ALL FROM c", Verb::Fetch("c".into())),
        ("CLOSE ALL", Verb::Close(None)),
        ("DISCARD ALL", Verb::Discard(Discard::All)),
        ("EXPLAIN (ANALYZE, BUFFERS) SELECT 1", Verb::Explain { analyze: true }),
        ("EXPLAIN (ANALYZE off) SELECT 1", Verb::Explain { analyze: false }),
        ("SET TRANSACTION READ ONLY", Verb::SetTransaction),
        ("COPY t FROM STDIN", Verb::CopyIn),
    ] {
        assert!(facts(sql).statements[0].verbs.contains(&verb), "{sql}: {:?}", facts(sql).statements[0].verbs);
    }
}

#[test]
fn splits_a_message_failing_at_the_server_does() {
    let sql = "SELECT ';'; /* ; */ SELECT $a$;$a$ ;; DELETE FROM t";
    let facts = facts(sql);
    let bodies: Vec<&str> = facts.statements.iter().map(|s| sql[s.span.clone()].trim()).collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies[2].ends_with("DELETE FROM t"), "{bodies:?}");
    assert_eq!(read(b" ; -- nothing", &Caps::default()), Ok(Facts::default()));
}

#[test]
fn cuts_long_names_failing_at_the_server_does() {
    let name = "é".repeat(40);
    let facts = facts(&format!("SELECT * FROM {name}"));
    let Object::Relation(relation) = &facts.statements[0].questions[0].object else { panic!("no relation") };
    assert_eq!(relation.name, "é".repeat(31));
}

fn error(text: impl AsRef<[u8]>) -> SqlError {
    let started = Instant::now();
    let error = read(text.as_ref(), &Caps::default()).expect_err("hostile text was read");
    assert!(started.elapsed() < Duration::from_secs(2), "{error} took {:?}", started.elapsed());
    error
}

#[test]
fn refuses_what_breaks_a_cap() {
    assert_eq!(error(vec![b' '; 64 << 20]), SqlError::TooLong { bytes: 64 << 20, cap: 4 << 20 });
    assert_eq!(error(b"SELECT '\xff'"), SqlError::NotUtf8 { at: 8 });
    assert_eq!(error(b"SELECT 1\0; DROP TABLE t"), SqlError::Nul { at: 8 });
    assert!(matches!(error("(".repeat(10_000)), SqlError::ParenDepth { .. }));
    assert!(matches!(
        error(format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000))),
        SqlError::ParenDepth { .. }
    ));
    assert!(matches!(error("/*".repeat(40_000)), SqlError::CommentDepth { .. }));
    assert!(matches!(error(format!("SELECT {}1", "+".repeat(100_000))), SqlError::OperatorRun { .. }));
    assert_eq!(error(format!("SELECT 1{}", "+1".repeat(6_000))), SqlError::TreeDepth { cap: 2_000 });
    assert_eq!(error("SELECT 1 UNION ".repeat(6_000) + "SELECT 1"), SqlError::TreeDepth { cap: 2_000 });
    assert_eq!(error(format!("SELECT {}1", "1,".repeat(1_000_000))), SqlError::TooManyTokens { cap: 1_000_000 });
    assert_eq!(error(";".repeat(6_000)), SqlError::TooManyStatements { cap: 5_000 });
    assert_eq!(
        error(format!("CREATE SCHEMA s {}", "CREATE GLOBAL TEMP TABLE a () ".repeat(100_000))),
        SqlError::GlobalTemp
    );
    // Two strings to the server, one to a grammar that sees spaces for the comment.
    assert_eq!(error("DO E'a' /**/\n'\\' '"), SqlError::SplitString { at: 13 });
}

#[test]
fn bounds_the_work_on_names() {
    assert_eq!(
        questions(&facts(&format!("SELECT 1 FROM t WHERE {} a = 1", "a = 1 AND ".repeat(100_000))).statements[0]).len(),
        1
    );
    let columns: Vec<String> = (0..2_000).map(|i| format!("c{i}")).collect();
    let tables: Vec<String> = (0..2_000).map(|i| format!("t{i}")).collect();
    assert_eq!(error(format!("SELECT {} FROM {}", columns.join(","), tables.join(","))), SqlError::TooComplex);
    let ctes: Vec<String> = (0..5_000).map(|i| format!("q{i} AS (SELECT 1)")).collect();
    let used = vec!["t"; 5_000].join(",");
    assert_eq!(error(format!("WITH {} SELECT 1 FROM {used}", ctes.join(","))), SqlError::TooComplex);
}

#[test]
fn reads_deep_and_wide_statements_on_a_small_stack() {
    let deep = format!("SELECT 1{}", "+1".repeat(1_900));
    let wide = format!("INSERT INTO t VALUES {}(1)", "(1,'a'),".repeat(100_000));
    let ors = format!("SELECT 1 FROM t WHERE {} a = 1", "a = 1 OR ".repeat(10_000));
    let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(move || {
        for text in [deep, wide, ors] {
            read(text.as_bytes(), &Caps::default()).expect("reads");
        }
        let caps = Caps { tree_depth: u32::MAX, ..Caps::default() };
        let deeper = format!("SELECT 1{}", "+1".repeat(400_000));
        assert!(read(deeper.as_bytes(), &caps).expect("reads").depth > 400_000);
    });
    thread.expect("starts").join().expect("no overflow");
}

#[test]
fn comments_are_white_space_as_to_the_server() {
    for sql in [
        "SELECT 1 NOT /*c*/ IN (2)",
        "SELECT U&'!0041' /*c*/ UESCAPE --d\n '!'",
        "SELECT E'a' --'\n --\u{e9}\n '\\'(((' , 1",
        &("/**/".repeat(500_000) + "SELECT 1"),
        &("--\n".repeat(500_000) + "SELECT 1"),
        &format!("SELECT {}1{}", "/* /*".repeat(15), "*/ */".repeat(15))
            .replace("1*/", "*/")
            .replace("SELECT", "SELECT 1"),
    ] {
        assert_eq!(facts(sql).statements.len(), 1, "{:.60}", sql);
    }
    let sql = "DELETE /* \u{e9} */ FROM t";
    assert_eq!(facts(sql).statements[0].span, 0..sql.len());
}

#[test]
fn syntax_errors_quote_nothing_of_the_statement() {
    for sql in [
        "SELECT 'top secret' 'x' y",
        "SELECT * FROM \"\"",
        "ALTER ROLE x PASSWORD topsecret",
        "SELECT 1 topsecret topsecret",
        "SELECT '",
        "(",
    ] {
        let text = error(sql).to_string();
        assert!(text.starts_with("not SQL of PostgreSQL: ") && !text.contains("secret"), "{text}");
    }
}

#[test]
fn counts_parens_outside_of_quotes_only() {
    let hidden = [
        "SELECT '((((((' || E'\\'((((((' || E'a'\n'\\'((((((' || U&'((((((' || $x$((((( $y$ (((((($x$",
        "SELECT 1 AS \"((((((\"\"((((((\", 2 AS U&\"((((((\" -- ((((((\n /* (((((( /* ' */ ' */",
        "SELECT a$b$, '(((((', c$b$ FROM t",
        "SELECT $1, $$((((((($$, n'((((((', b'', x''",
    ];
    let mut caps = Caps { paren_depth: 1, ..Caps::default() };
    for sql in hidden {
        read(sql.as_bytes(), &caps).unwrap_or_else(|e| panic!("{e}: {sql}"));
    }
    caps.paren_depth = 2;
    for sql in [
        "SELECT E'a' '\\', (((1))) --'",
        "SELECT 'a\\', (((1)))",
        "SELECT a$b$, (((1))), c$b$",
        "SELECT E'a'\n'\\'', (((1)))",
    ] {
        assert!(matches!(scan::scan(sql.as_bytes(), &caps), Err(SqlError::ParenDepth { .. })), "{sql}");
    }
}

#[test]
fn elides_constants_where_secrets_can_stand() {
    let redacted = |sql: &str| redact(sql.as_bytes(), &facts(sql), |_| false);
    assert_eq!(redacted("SELECT 1, 'a' -- b"), "SELECT 1, 'a' -- b");
    assert_eq!(
        redacted("ALTER ROLE \"r\" /* was 'y' */ PASSWORD 'x' VALID UNTIL 'z'"),
        "ALTER ROLE \"r\" PASSWORD '?' VALID UNTIL '?'"
    );
    assert_eq!(redacted("SELECT 1; CREATE USER u PASSWORD E'a\\'b'"), "SELECT 1; CREATE USER u PASSWORD '?'");
    for sql in [
        "CREATE SUBSCRIPTION s CONNECTION 'password=hunter2' PUBLICATION p",
        "CREATE USER MAPPING FOR u SERVER s OPTIONS (password 'hunter2')",
        "CREATE SERVER s FOREIGN DATA WRAPPER f OPTIONS (password 'hunter2')",
        "CREATE FOREIGN TABLE f (a int) SERVER s OPTIONS (password 'hunter2')",
        "SELECT dblink_connect('password=' || $$hunter2$$)",
        "SELECT pgp_sym_encrypt(a, 'hunter2') FROM t",
        "SET app.token = 'hunter2'",
        "SELECT set_config('app.token', U&'hunter2', false)",
        "ALTER SYSTEM SET primary_conninfo = 'password=hunter2'",
        "EXPLAIN SELECT dblink('hunter2') -- hunter2",
    ] {
        assert!(!redacted(sql).contains("hunter2"), "{}", redacted(sql));
    }
    let sql = "SELECT a1, $2, \"b\" FROM t WHERE x = 12.5 AND y = B'01' /* 9 */";
    assert_eq!(redact(sql.as_bytes(), &facts(sql), |_| true), "SELECT a1, $2, \"b\" FROM t WHERE x = ? AND y = '?'");
    assert_eq!(redact(b"x", &facts(sql), |_| false), unreadable(1));
}

#[test]
fn mutated_statements_do_not_panic() {
    const SEEDS: &[&str] = &[
        "WITH RECURSIVE q(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM q) SELECT * FROM q JOIN t USING (a) WHERE b = 'x' LIMIT 3",
        "INSERT INTO t (a, b) VALUES (1, E'\\'x'), ($1, $$y$$) ON CONFLICT (a) DO UPDATE SET b = excluded.b RETURNING *",
        "GRANT SELECT (a), INSERT ON TABLE s.t, u TO r WITH GRANT OPTION; REVOKE ALL ON FUNCTION f(int) FROM PUBLIC",
        "CREATE TRIGGER g AFTER UPDATE OF a ON t FOR EACH ROW WHEN (new.a > 1) EXECUTE FUNCTION f('x')",
        "CREATE STATISTICS s (ndistinct) ON a, b FROM t; ALTER TABLE t DROP COLUMN a, ADD CHECK (b > 0); COPY t TO STDOUT",
        "SELECT U&\"\\0061\" /* /* x */ */, JSON_OBJECT('a': 1), XMLELEMENT(NAME a) FROM JSON_TABLE('{}', '$' COLUMNS (b int)) j",
    ];
    const SIGNS: &[u8] = b"'\"$\\/*-+();\n,.AaEeUu&x1\xc3\xa9\0";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % (below as u64)).expect("small")
    };
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        let mut text = SEEDS[random(SEEDS.len())].as_bytes().to_vec();
        for _ in 0..=random(6) {
            let (at, other) = (random(text.len()), SEEDS[random(SEEDS.len())].as_bytes());
            match random(4) {
                0 => text[at] = SIGNS[random(SIGNS.len())],
                1 => text.truncate(at + 1),
                2 => drop(text.splice(at..at, other[random(other.len())..].iter().copied())),
                _ => drop(text.drain(at..(at + random(9)).min(text.len() - 1).max(at))),
            }
        }
        if let Ok(facts) = read(&text, &Caps::default()) {
            let _ = redact(&text, &facts, |_| true);
        }
    }
}

#[tokio::test]
async fn a_reader_reads_short_and_long_texts_and_refuses_what_is_too_long_or_deep() {
    let reader = Reader::start(Caps::default(), std::num::NonZeroUsize::MIN).expect("starts");
    assert_eq!(reader.read(b"SELECT a FROM t").await.expect("reads").statements.len(), 1);
    let long = format!("SELECT {}1", "a,".repeat(20_000));
    assert_eq!(reader.read(long.as_bytes()).await.expect("reads").statements.len(), 1);
    assert!(matches!(reader.read(&vec![b' '; 5 << 20]).await, Err(SqlError::TooLong { .. })));
    let deep = format!("SELECT 1{}", "+1".repeat(50_000));
    assert!(matches!(reader.read(deep.as_bytes()).await, Err(SqlError::TreeDepth { .. })));
}
