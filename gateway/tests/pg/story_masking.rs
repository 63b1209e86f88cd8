//! What labelled columns and detectors hide, on a real server: in rows however they are made, in COPY, in errors, in the
//! journal; what is denied because it would tell all the same; and what goes on as without a gateway (G4).

use std::time::{Duration, Instant};

use crate::cluster;
use crate::gateway::Gateway;
use crate::shop::{Ran, Shop, Side, ran};
use crate::wait;

/// No detector takes it for a number of that kind, none of which begins with three zeros: the label alone hides it.
const SSN: &str = "000-45-6789";
const EMAIL: &str = "anna.berg@example.org";

/// What must never come out: the values, and forms from which they can be made again.
const RAW: &[&str] = &[
    SSN,
    "000456789",
    "456789",
    "9876-54-000",
    "aaa-ef-ghij",
    "45-6789",
    EMAIL,
    "anna.berg",
    "ANNA.BERG",
    "gro.elpmaxe",
    "greb",
    "@anna",
    "MDAw",
];

/// Tables with labels, and what derives from them.
const TABLES: &str = "SET ROLE agent;
    CREATE TABLE customers (id int PRIMARY KEY, name text, ssn text, email text, salary int, born date,
        initial text GENERATED ALWAYS AS (substr(email, 1, 20)) STORED, CHECK (name <> ''));
    INSERT INTO customers VALUES (1, 'Anna', '000-45-6789', 'anna.berg@example.org', 70000, '1984-05-06'),
        (2, 'Bert', NULL, 'bert@example.org', 50000, '1990-01-02');
    CREATE VIEW plain_view AS SELECT c.id, c.name, c.ssn AS code FROM customers c;
    CREATE VIEW computed_view AS SELECT id, lower(email) || name AS mixed, 1 AS one FROM customers;
    CREATE VIEW above AS SELECT code, id FROM plain_view;
    CREATE VIEW harmless AS SELECT id, name FROM customers;
    CREATE MATERIALIZED VIEW stored AS SELECT id, ssn FROM customers;
    CREATE TABLE people (id int, ssn text) PARTITION BY RANGE (id);
    CREATE TABLE people_low PARTITION OF people FOR VALUES FROM (0) TO (100);
    INSERT INTO people VALUES (1, '000-45-6789');
    CREATE TABLE child (extra int) INHERITS (customers);
    INSERT INTO child (id, name, ssn, email, extra) VALUES (3, 'Cleo', '000-45-6789', 'anna.berg@example.org', 1);
    CREATE TABLE copies (a text, b int);
    CREATE FUNCTION of_row(orders) RETURNS text LANGUAGE sql AS 'SELECT email FROM public.customers WHERE id = $1.id';
    CREATE FUNCTION looks(int) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT email FROM public.customers WHERE id = $1';
    CREATE VIEW looking AS SELECT id, item, looks(id) AS found FROM orders;
    CREATE VIEW looking_from AS SELECT found FROM looks(1) found;
    CREATE FUNCTION sees(int, int) RETURNS text LANGUAGE sql AS 'SELECT email FROM public.customers WHERE id = $1';
    CREATE OPERATOR #@# (leftarg = int, rightarg = int, function = sees);
    CREATE TYPE sight AS (found text);
    CREATE FUNCTION see(int) RETURNS sight LANGUAGE sql AS 'SELECT ROW(email)::public.sight FROM public.customers WHERE id = $1';
    CREATE CAST (int AS sight) WITH FUNCTION see(int);
    CREATE FUNCTION tells(int) RETURNS bool LANGUAGE plpgsql AS
        'BEGIN RAISE NOTICE ''%'', (SELECT email FROM public.customers WHERE id = $1); RETURN true; END';
    CREATE DOMAIN told AS int CHECK (tells(VALUE));
    CREATE DOMAIN told_again AS told;
    CREATE TABLE snapshots (id int, one customers, many customers[]);
    INSERT INTO snapshots SELECT id, c, ARRAY[c] FROM customers c;
    CREATE TABLE ruled (id int);
    CREATE RULE tells AS ON INSERT TO ruled DO INSTEAD SELECT email || '' FROM customers;
    CREATE TABLE strict (ssn date)";

fn rules(database: &str) -> String {
    let at = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| format!("\"undeclared/{database}/public.{name}\"")).collect();
        names.join(", ")
    };
    format!(
        "version = 1\n[class.pay]\nparent = \"pii\"\n\
         [class.email]\nparent = \"pii\"\nshow = {{ partial = {{ first = 1, from = \"@\" }} }}\n\
         [[column]]\nat = [{}]\nclass = \"ssn\"\n\
         [[column]]\nat = [{}]\nclass = \"email\"\n\
         [[column]]\nat = [{}]\nclass = \"pay\"\n",
        at(&["customers.ssn", "people.ssn"]),
        at(&["customers.email"]),
        at(&["customers.salary"]),
    )
}

impl Shop {
    /// With tables that have labels.
    fn labelled(cluster: &'static cluster::Cluster) -> Self {
        let shop = Self::at(cluster);
        shop.admin(TABLES);
        shop
    }

    fn attach_masking(&self, policies: Option<&str>) -> Gateway<'_> {
        let masking = self.world.file("masking.toml", &rules(&self.database));
        let policies = policies.map(|text| {
            let file = self.world.file("policies/a.cedar", text);
            format!("[policy]\ndir = \"{}\"\n", file.parent().unwrap().display())
        });
        self.attach_with(&format!("{}[masking]\nfile = \"{}\"\n", policies.unwrap_or_default(), masking.display()))
    }

    /// As an agent, which comes back for approvals.
    fn agent(&self, statements: &[&str]) -> Ran {
        self.psql_on(Side::Inside, &[("PGAPPNAME", "agent")], statements)
    }
}

fn raw(ran: &Ran) -> Option<&'static str> {
    RAW.iter().find(|raw| ran.out.contains(**raw) || ran.err.contains(**raw)).copied()
}

/// Statements that would print a value, and whether they run, masked.
const ASKED: &[(&str, bool)] = &[
    ("SELECT ssn FROM customers WHERE id = 1", true),
    ("SELECT ssn AS note, \"email\" AS id FROM public.customers WHERE id = 1", true),
    (r#"SELECT U&"s\0073n" FROM customers WHERE id = 1"#, true),
    ("SELECT * FROM customers WHERE id = 1", true),
    ("TABLE customers", true),
    ("SELECT c FROM customers c WHERE id = 1", true),
    ("SELECT c.*::text FROM customers c WHERE id = 1", true),
    ("SELECT j FROM (customers c JOIN orders o ON o.id = c.id) j WHERE o.id = 1", false),
    ("SELECT j, to_json(j), (SELECT j), j.* FROM (customers c JOIN orders o ON o.id = c.id) j LIMIT 1", true),
    ("COPY (SELECT to_json(j) FROM (customers c JOIN orders o USING (id)) j) TO STDOUT", true),
    ("SELECT ROW(c.*), to_json(c), row_to_json(c)->'ssn' FROM customers c WHERE id = 1", true),
    ("SELECT ssn(c) FROM customers c WHERE id = 1", false),
    ("SELECT c.row_to_json, (c).to_jsonb FROM customers c WHERE id = 1", true),
    ("COPY (SELECT c.row_to_json FROM customers c) TO STDOUT", true),
    ("SELECT o.of_row FROM orders o WHERE o.id = 1", false),
    ("SELECT (o).of_row FROM orders o WHERE id = 1", false),
    // What stands in FROM does not see what stands beside it.
    ("SELECT (SELECT x FROM (SELECT c.email AS x) s, (SELECT 1) c) FROM customers c", true),
    ("SELECT (SELECT x FROM (SELECT c.email AS x) s, orders c LIMIT 1) FROM customers c", true),
    // Forms that show a part show it of plain columns alone.
    ("SELECT 'x@' || email, substr(email, 6, 4) || 'xxxxxxxx', reverse(email) FROM customers WHERE id = 1", true),
    ("SELECT ssn::varchar, ssn COLLATE \"C\", ssn || '', reverse(ssn) FROM customers WHERE id = 1", true),
    ("SELECT translate(ssn, '0123456789', 'abcdefghij'), replace(ssn, '-', '')::int FROM customers WHERE id = 1", true),
    ("SELECT CASE WHEN true THEN ssn END, COALESCE(ssn, ''), format('%s', ssn) FROM customers WHERE id = 1", true),
    (
        "SELECT encode(ssn::bytea, 'base64'), md5(ssn), ARRAY[ssn], jsonb_build_object('a', ssn) FROM customers WHERE id = 1",
        true,
    ),
    ("SELECT min(ssn), max(email), string_agg(ssn, ','), array_agg(email) FROM customers", true),
    ("SELECT json_object_agg(id, ssn) FROM customers WHERE id = 1", true),
    ("SELECT xmlforest(ssn) FROM customers WHERE id = 1", true),
    ("SELECT first_value(ssn) OVER () FROM customers WHERE id = 1", true),
    ("SELECT ssn FROM customers WHERE id = 1 UNION ALL SELECT NULL", true),
    ("SELECT NULL WHERE false UNION SELECT ssn FROM customers WHERE id = 1", false),
    ("WITH q AS (SELECT ssn AS z FROM customers WHERE id = 1) SELECT z FROM q", true),
    ("WITH q AS (SELECT ssn AS z FROM customers WHERE id = 1) SELECT z FROM q WHERE z > '1'", false),
    ("SELECT l.z FROM generate_series(1, 1) o, LATERAL (SELECT c.ssn AS z FROM customers c WHERE c.id = 1) l", true),
    ("SELECT u FROM customers c, LATERAL unnest(ARRAY[c.ssn]) u WHERE c.id = 1", false),
    ("SELECT x.a FROM customers AS x (i, n, a) WHERE x.i = 1", true),
    ("SELECT ssn FROM customers WHERE id = 1 UNION ALL SELECT ssn FROM people", true),
    (
        "WITH RECURSIVE r AS (SELECT id, ssn FROM customers UNION ALL SELECT id - 1, ssn FROM r WHERE id > 0) SELECT ssn FROM r",
        true,
    ),
    (
        "WITH RECURSIVE r (a, b, n) AS (SELECT '', ssn, 0 FROM customers UNION ALL SELECT b, '', 1 FROM r WHERE n < 1) SELECT a FROM r",
        true,
    ),
    ("SELECT o.*, s.*, ssn || '' FROM orders o, (SELECT upper(email), ssn FROM customers) s LIMIT 2", true),
    ("COPY (SELECT o.*, upper(c.email), c.* FROM orders o, customers c WHERE o.id = 1) TO STDOUT", true),
    ("SELECT lower FROM (SELECT lower(email) FROM customers) s", true),
    ("SELECT (s).x, (s).ssn, s.x FROM (SELECT email AS x, ssn FROM customers) s", true),
    ("SELECT min(x), json_agg(s), array_agg(s) FROM (SELECT email AS x FROM customers) s", true),
    ("SELECT percentile_disc(0.1) WITHIN GROUP (ORDER BY ssn) FROM customers", false),
    ("SELECT v.column1 FROM (VALUES ((SELECT ssn FROM customers WHERE id = 1))) v", true),
    ("SELECT j.ssn FROM (customers JOIN orders USING (id)) j WHERE j.id = 1", true),
    ("SELECT * FROM (SELECT * FROM customers UNION ALL SELECT * FROM customers) s", true),
    (
        "CREATE TEMP TABLE people (ssn text, id int); SELECT people.ssn || '', c.ssn || '' FROM people, customers c",
        true,
    ),
    ("UPDATE copies SET a = 'x' FROM customers c WHERE c.id = copies.b RETURNING c.ssn || '', c.email", true),
    ("WITH w AS (UPDATE customers SET name = 'Anna' WHERE id = 1 RETURNING *) SELECT upper(email), ssn FROM w", true),
    ("SELECT (SELECT ssn FROM customers WHERE id = 1)", true),
    ("SELECT code FROM plain_view WHERE id = 1", true),
    ("SELECT code FROM above WHERE id = 1", true),
    ("SELECT mixed FROM computed_view WHERE id = 1", true),
    ("SELECT ssn FROM stored WHERE id = 1", true),
    ("SELECT ssn FROM people", true),
    ("SELECT ssn FROM people_low", true),
    ("SELECT ssn, email FROM child", true),
    ("SELECT initial FROM customers WHERE id = 1", true),
    ("SELECT found || '', found FROM looking WHERE id = 1", true),
    ("SELECT * FROM looking_from", true),
    ("SELECT one, (one).email, many, many[1].ssn FROM snapshots", true),
    ("INSERT INTO ruled VALUES (1)", false),
    ("SELECT 1 #@# 1", false),
    ("SELECT 1::sight", false),
    ("SELECT (CAST(1 AS public.sight)).found", false),
    ("SELECT 1::told", false),
    ("SELECT told '1', ARRAY[1]::told[]", false),
    ("SELECT 1::told_again", false),
    ("SELECT 1 OPERATOR(public.#@#) 1", false),
    ("SELECT ssn FROM customers; SELECT email FROM customers", true),
    ("PREPARE p AS SELECT reverse(ssn) FROM customers WHERE id = $1; EXECUTE p(1)", true),
    ("BEGIN; DECLARE c CURSOR FOR SELECT ssn, email FROM customers; FETCH ALL FROM c; COMMIT", true),
    ("EXPLAIN SELECT * FROM customers WHERE ssn = '000-45-6789'", false),
    ("COPY customers TO STDOUT", true),
    ("COPY customers (email, id, ssn) TO STDOUT (FORMAT csv, HEADER)", true),
    ("COPY (SELECT reverse(ssn), email FROM customers) TO STDOUT", true),
    ("COPY people_low TO STDOUT", true),
    ("COPY customers TO STDOUT (FORMAT binary)", false),
    ("COPY (SELECT ssn FROM customers) TO STDOUT (FORMAT binary)", false),
    ("COPY customers TO STDOUT (ENCODING 'LATIN1')", false),
    ("UPDATE customers SET name = 'Anna' WHERE id = 1 RETURNING ssn, email", true),
    ("UPDATE customers SET ssn = ssn WHERE id = 1 RETURNING ssn", false),
    ("INSERT INTO copies SELECT ssn, 1 FROM customers", false),
    ("INSERT INTO copies SELECT ssn, 1 FROM customers WHERE id = 1 RETURNING a", false),
    ("CREATE TEMP TABLE t1 AS SELECT ssn q FROM customers WHERE id = 1; SELECT q FROM t1", false),
    ("SELECT ssn q INTO TEMP t2 FROM customers", false),
    ("WITH w AS (DELETE FROM stored_copy RETURNING *) SELECT 1", false),
    ("UPDATE copies SET b = replace(c.ssn, '-', '')::int FROM customers c WHERE c.id = 1 RETURNING b", false),
    ("SELECT set_config('app.x', ssn, false) FROM customers WHERE id = 1", false),
    ("SELECT pg_notify('x', ssn) FROM customers WHERE id = 1", false),
    ("SELECT nextval('s' || ssn) FROM customers", false),
    ("DO $$ BEGIN RAISE NOTICE '%', (SELECT ssn FROM customers WHERE id = 1); END $$", false),
    ("SELECT query_to_xml('SELECT ssn FROM customers', true, false, '')", false),
    ("SELECT most_common_vals, histogram_bounds FROM pg_stats WHERE tablename = 'customers'", false),
    ("SELECT query FROM pg_stat_activity", false),
    ("SELECT ssn::date FROM customers WHERE id = 1", false),
    ("SELECT ssn::json FROM customers WHERE id = 1", false),
    ("SELECT has_table_privilege(ssn, 'orders', 'SELECT') FROM customers WHERE id = 1", false),
    ("SELECT email::regtype FROM customers WHERE id = 1", false),
    ("SELECT to_regprocedure('f(' || email || ')') FROM customers WHERE id = 1", false),
    (
        "SELECT has_type_privilege(substr(email, 1, 4) || substr(email, 6, 4), 'USAGE') FROM customers WHERE id = 1",
        false,
    ),
    ("INSERT INTO customers (id, name, ssn) VALUES (1, 'x', 'y')", false),
    ("UPDATE customers SET name = '' WHERE id = 1", false),
];

/// Statements from whose result a value could be told though none is shown.
const COMPARED: &[&str] = &[
    "SELECT count(*) FROM customers WHERE ssn LIKE '123%'",
    "SELECT id FROM customers WHERE (SELECT true) AND email = 'a'",
    "SELECT id FROM customers ORDER BY ssn",
    "SELECT id, ssn FROM customers ORDER BY 2",
    "SELECT id, ssn AS x FROM customers ORDER BY x",
    "SELECT ssn AS x, count(*) FROM customers GROUP BY x",
    "SELECT ssn, count(*) FROM customers GROUP BY ROLLUP (1)",
    "SELECT DISTINCT email FROM customers",
    "SELECT DISTINCT ON (email) id FROM customers",
    "SELECT count(DISTINCT ssn) FROM customers",
    "SELECT count(*) FILTER (WHERE ssn > '1') FROM customers",
    "SELECT id, row_number() OVER (ORDER BY ssn) FROM customers",
    "SELECT id, rank() OVER w FROM customers WINDOW w AS (PARTITION BY email)",
    "SELECT a.id FROM customers a JOIN customers b ON a.ssn = b.ssn",
    "SELECT a.id FROM customers a JOIN people b USING (ssn)",
    "SELECT count(*) FROM customers NATURAL JOIN people",
    "SELECT name FROM customers GROUP BY name, ssn HAVING ssn > '123'",
    "SELECT id FROM (SELECT id, ssn AS z FROM customers) s WHERE z = '000-45-6789'",
    "SELECT id FROM (SELECT ssn, id FROM customers) s (a, id) ORDER BY a",
    "WITH c AS (SELECT id, email e FROM customers) SELECT id FROM c JOIN orders o USING (id) WHERE e <> o.item",
    "SELECT id FROM plain_view WHERE code > '1'",
    "SELECT id FROM computed_view WHERE mixed LIKE 'a%'",
    "SELECT count(*) FROM generate_series(1, (SELECT salary FROM customers WHERE id = 1))",
    "SELECT 1 FROM orders WHERE EXISTS (SELECT 1 FROM customers WHERE ssn = item)",
    "SELECT 1 FROM orders WHERE item IN (SELECT ssn FROM customers)",
    "SELECT unnest(string_to_array(ssn, '-')) FROM customers",
    "SELECT email FROM customers INTERSECT SELECT 'x'",
    "(SELECT id, email FROM customers) UNION ALL (SELECT 1, 'x') ORDER BY 2",
    "SELECT 1 FROM orders c WHERE EXISTS (SELECT 1 FROM customers d WHERE EXISTS (SELECT 1 FROM orders JOIN orders p ON d.ssn > '1', (SELECT 1) d))",
    "WITH RECURSIVE r AS (SELECT 1, ssn FROM customers UNION ALL SELECT 2, 'x' FROM r) CYCLE ssn SET c USING p SELECT 'x' FROM r LIMIT 5",
    "SELECT id FROM customers c WHERE c.row_to_json::text LIKE '%1%'",
    "SELECT pg_options_to_table(string_to_array(ssn, '-')) FROM customers",
    "SELECT id FROM customers LIMIT (SELECT salary FROM customers WHERE id = 1)",
    "DELETE FROM customers WHERE email = 'x'",
    "UPDATE customers SET name = 'x' WHERE ssn = 'y'",
    "EXPLAIN SELECT id FROM customers WHERE salary > 60000",
];

/// What has nothing to do with labels, though it names the same relations.
const UNTOUCHED: &[&str] = &[
    "SELECT id, name, born FROM customers ORDER BY name",
    "SELECT count(*), count(id) FROM customers WHERE born > '1980-01-01'",
    "SELECT name || '!' FROM customers WHERE id = 1",
    "SELECT h.name, o.item FROM harmless h JOIN orders o USING (id) ORDER BY o.item",
    "SELECT id FROM plain_view WHERE name = 'Anna'",
    "SELECT one, id FROM computed_view ORDER BY id",
    "SELECT id, item FROM looking ORDER BY id LIMIT 2",
    "SELECT id FROM snapshots ORDER BY id",
    "SELECT name FROM (SELECT name, id FROM customers) s WHERE s.id = 1",
    "SELECT c.name, (SELECT max(c.item) FROM orders c WHERE c.id = 1) FROM customers c WHERE c.id = 1",
    "SELECT c.name, s.item FROM customers c JOIN (SELECT c.id, c.item FROM orders c) s ON s.id = c.id ORDER BY c.id",
    "SELECT c.id FROM customers c LEFT JOIN LATERAL (SELECT o.item FROM orders o WHERE o.id = c.id) i ON true WHERE i.item IS NOT NULL",
    "UPDATE customers SET name = name WHERE id = 2 RETURNING customers.name",
    "WITH q AS (SELECT id, name FROM customers) SELECT * FROM q ORDER BY id",
    "COPY customers (id, name) TO STDOUT",
    "COPY (SELECT id, name FROM customers ORDER BY id) TO STDOUT (FORMAT binary)",
    "COPY orders TO STDOUT",
    "INSERT INTO customers (id, name, email) VALUES (10, 'Dora', 'dora@example.org') RETURNING id, name",
    "UPDATE customers SET email = 'other@example.org' WHERE id = 10 RETURNING id",
    "DELETE FROM customers WHERE id = 10 RETURNING name",
    "CREATE TEMP TABLE t AS SELECT id, name FROM customers",
    "SELECT * FROM t ORDER BY id",
    "INSERT INTO copies SELECT name, id FROM customers",
    "DELETE FROM copies WHERE b > 0",
    "SELECT id, nme FROM customers",
    "EXPLAIN (COSTS off) SELECT id FROM customers WHERE id = 1",
    "SELECT relname FROM pg_class WHERE relname = 'customers'",
    "\\d customers",
];

/// Statements that read labels, and what is shown of each: what derives from none is shown beside what does.
const BESIDE: &[(&str, &str)] = &[
    ("SELECT upper(name), email, id * 2, ssn || '' FROM customers WHERE id = 1", "ANNA|a•••@example.org|2|[ssn•••]"),
    ("SELECT count(ssn), count(*), max(name), count(email || '') FROM customers", "2|3|Cleo|0"),
    ("SELECT count(*), min(s.id) FROM (SELECT * FROM customers) s WHERE s.id < 3", "2|1"),
    ("SELECT s.id, upper(s.name) FROM (SELECT * FROM customers) s ORDER BY s.id LIMIT 1", "1|ANNA"),
    (
        "WITH q AS (SELECT *, row_number() OVER (ORDER BY id) AS n FROM customers) SELECT id + 0, n, email FROM q WHERE n <= 1",
        "1|1|a•••@example.org",
    ),
    (
        "SELECT email FROM customers WHERE id = 1 UNION ALL SELECT email FROM child",
        "a•••@example.org\na•••@example.org",
    ),
    ("SELECT email FROM customers WHERE id = 1 UNION ALL SELECT 'x@' || email FROM child", "[email•••]\n[email•••]"),
    (
        "SELECT o.*, upper(c.name), c.email || '' FROM customers c JOIN orders o USING (id) WHERE id = 1",
        "1|item 1|ANNA|[email•••]",
    ),
    ("SELECT *, upper(name) FROM people p JOIN customers c USING (id) WHERE p.id = 1 AND false", ""),
    ("SELECT upper(mixed), one + 1, id * 3 FROM computed_view WHERE id = 1", "[email•••]|2|3"),
    ("SELECT ssn IS NULL, name IS NULL, c.id FROM customers c ORDER BY id LIMIT 2", "f|f|1\nt|f|2"),
    (
        "COPY (SELECT id, upper(name), email, ssn || '' FROM customers WHERE id = 1) TO STDOUT",
        "1\tANNA\ta•••@example.org\t[ssn•••]",
    ),
    ("PREPARE p AS SELECT upper(name), ssn || '' FROM customers WHERE id = $1", ""),
    ("EXECUTE p(1)", "ANNA|[ssn•••]"),
    ("BEGIN", ""),
    ("DECLARE k CURSOR FOR SELECT lower(name), reverse(ssn) FROM customers WHERE id = 1", ""),
    ("FETCH ALL FROM k", "anna|[ssn•••]"),
    ("ROLLBACK", ""),
    ("UPDATE customers SET name = name WHERE id = 1 RETURNING lower(name), email", "anna|a•••@example.org"),
    ("CREATE TEMP TABLE shown AS SELECT id, upper(name) AS n FROM (SELECT * FROM customers) s", ""),
    ("SELECT n || '' FROM shown WHERE id = 1", "ANNA"),
    (
        "INSERT INTO copies SELECT s.name, s.id FROM (SELECT * FROM customers) s WHERE s.id = 1 RETURNING a || '!', b",
        "Anna!|1",
    ),
    (
        "SELECT to_json(o), o.id + 1 FROM orders o, customers c WHERE o.id = c.id AND c.id = 1",
        "{\"id\":1,\"item\":\"item 1\"}|2",
    ),
];

/// What only the newest server understands.
const ASKED_OF_THE_NEWEST: &[(&str, bool)] = &[
    ("UPDATE customers SET name = name WHERE id = 1 RETURNING old.email || '', new.ssn || '', old.email", true),
    ("UPDATE customers SET name = name WHERE id = 1 RETURNING old, new", true),
    ("UPDATE customers SET name = name WHERE id = 1 RETURNING WITH (OLD AS before) before, before.email || ''", true),
    ("DELETE FROM customers WHERE id = 1 RETURNING old.row_to_json", true),
];

fn each_statement_is_masked_or_refused(shop: &Shop, more: &[(&str, bool)]) {
    let _gateway = shop.attach_masking(None);
    let mut wrong = Vec::new();
    for (statement, runs) in ASKED.iter().chain(more) {
        let ran = shop.agent(&[statement, "SELECT 'alive'"]);
        // What the statement itself says may come back in an error of parse analysis.
        if let Some(raw) = raw(&ran).filter(|raw| !statement.contains(raw)) {
            wrong.push(format!("{statement}: shows {raw}: {ran:?}"));
        }
        if !ran.out.ends_with("alive") {
            wrong.push(format!("{statement}: the session is over: {ran:?}"));
        }
        if ran.err.is_empty() != *runs {
            wrong.push(format!("{statement}: runs is not {runs}: {ran:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(shop.admin("SELECT count(*) FROM copies"), "0");
    let kept = shop
        .world
        .sh(&format!("grep -rlE '{SSN}|anna.berg' {} || true", shop.world.directory().join("state").display()));
    assert_eq!(kept, "", "the journal holds a value");
    assert!(shop.world.cli(&["audit", "verify"]).status.success());
}

#[test]
fn no_statement_shows_a_labelled_value() {
    each_statement_is_masked_or_refused(&Shop::labelled(cluster::remote()), &[]);
}

#[test]
fn no_statement_shows_a_labelled_value_on_the_newest_server() {
    let shop = Shop::labelled(cluster::remote_newest());
    each_statement_is_masked_or_refused(&shop, ASKED_OF_THE_NEWEST);
}

#[test]
fn what_would_tell_of_a_value_is_denied_and_says_which_class() {
    let shop = Shop::labelled(cluster::remote());
    let _gateway = shop.attach_masking(None);
    let mut wrong = Vec::new();
    for statement in COMPARED {
        let ran = shop.agent(&[statement, "SELECT 'alive'"]);
        if ran.out != "alive" || !ran.err.contains("Data::compare on DataClass") {
            wrong.push(format!("{statement}: {ran:?}"));
        }
        if shop.reached(statement) > 0 {
            wrong.push(format!("{statement} reached the server"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_touches_no_label_goes_on_as_without_a_gateway() {
    let shop = Shop::labelled(cluster::remote());
    let _gateway = shop.attach_masking(None);
    let (inside, outside) = (shop.agent(UNTOUCHED), shop.psql_on(Side::Outside, &[("PGAPPNAME", "agent")], UNTOUCHED));
    for (ours, theirs) in [(&inside.out, &outside.out), (&inside.err, &outside.err)] {
        assert_eq!(ours.lines().collect::<Vec<_>>(), theirs.lines().collect::<Vec<_>>());
    }
}

fn what_derives_from_no_label_is_shown(shop: &Shop) {
    let _gateway = shop.attach_masking(None);
    let statements: Vec<_> = BESIDE.iter().map(|(statement, _)| *statement).collect();
    let marked: Vec<String> = statements.iter().map(|statement| format!("{statement};\n\\echo ==\n")).collect();
    let script = shop.world.file("beside.sql", &marked.concat());
    let program = ["timeout", "60", "psql", "-XAtqw", "-f", script.to_str().unwrap()];
    let ran = ran(&mut shop.command(Side::Inside, &[("PGAPPNAME", "agent")], &program));
    let shown: Vec<_> = ran.out.split("==").map(str::trim).collect();
    let wrong: Vec<_> = BESIDE.iter().zip(&shown).filter(|((_, wanted), shown)| wanted != *shown).collect();
    assert!(wrong.is_empty() && shown.len() > BESIDE.len(), "{wrong:#?}\n{}", ran.err);
}

#[test]
fn what_derives_from_no_label_is_shown_beside_what_does() {
    what_derives_from_no_label_is_shown(&Shop::labelled(cluster::remote()));
}

#[test]
fn what_derives_from_no_label_is_shown_beside_what_does_on_the_newest_server() {
    what_derives_from_no_label_is_shown(&Shop::labelled(cluster::remote_newest()));
}

#[test]
fn policy_shows_compares_and_moves_by_class() {
    let shop = Shop::labelled(cluster::remote());
    let _gateway = shop.attach_masking(Some(
        r#"
        @id("work") permit (principal, action in [Action::"read", Action::"write", Action::"session"], resource);
        @id("temp") permit (principal, action == Postgres::Action::"create", resource);
        @id("see") permit (principal, action == Data::Action::"unmask", resource == DataClass::"email");
        @id("use") permit (principal, action in [Data::Action::"compare", Data::Action::"export"], resource == DataClass::"email");
        "#,
    ));
    let ran = shop.agent(&[
        "SELECT email, ssn FROM customers WHERE email LIKE 'anna%' AND id = 1",
        "CREATE TEMP TABLE t AS SELECT email FROM customers WHERE id = 1",
        "SELECT upper(email) FROM customers WHERE id = 1",
        "SELECT upper(email) || ssn FROM customers WHERE id = 1",
    ]);
    assert_eq!(ran.out, format!("{EMAIL}|[ssn•••]\nANNA.BERG@EXAMPLE.ORG\n[ssn•••]"), "{ran:?}");
    let (statement, outcome) = shop.journaled("upper(email) || ssn");
    assert_eq!(statement["data_classes"], serde_json::json!(["email", "ssn"]));
    assert_eq!(outcome["masked"]["ssn"], 1, "{outcome}");
}

#[test]
fn what_an_expression_makes_of_a_label_is_hidden_whole_and_so_is_that_it_is_null() {
    let shop = Shop::labelled(cluster::remote());
    let _gateway = shop.attach_masking(None);
    let ran =
        shop.agent(&["SELECT CASE WHEN id = 1 THEN ssn END, CASE WHEN email LIKE 'a%' THEN 1 END FROM customers"]);
    assert_eq!(ran.out.lines().collect::<Vec<_>>(), ["[ssn•••]|0"; 3], "{ran:?}");
    // A column as it stands says whether it has a value, and may show a part of it.
    assert_eq!(shop.agent(&["SELECT ssn, email FROM customers WHERE id = 2"]).out, "|b•••@example.org");
    // The code of an error stays, and says what to correct.
    assert!(shop.agent(&["UPDATE customers SET name = '' WHERE id = 1"]).err.contains("23514: the text is hidden"));
}

#[test]
fn a_relation_of_the_same_name_in_another_session_uncovers_nothing() {
    let shop = Shop::labelled(cluster::remote());
    let rules = rules(&shop.database).replace("public.customers.email", "*.customers.email");
    let masking = shop.world.file("masking.toml", &rules);
    let _gateway = shop.attach_with(&format!("[masking]\nfile = \"{}\"\n", masking.display()));
    let program = ["psql", "-XAtqw", "-c", "CREATE TEMP TABLE customers (email text)", "-c", "SELECT pg_sleep(60)"];
    let mut other = shop.command(Side::Outside, &[], &program).stdout(std::process::Stdio::null()).spawn().unwrap();
    shop.runs("pg_sleep");
    let ran = shop.agent(&["COPY customers (id, email) TO STDOUT"]);
    let _ = other.kill();
    let _ = other.wait();
    assert!(raw(&ran).is_none() && ran.out.contains("•••"), "{ran:?}");
}

#[test]
fn what_a_trigger_says_is_hidden_where_labels_are() {
    let shop = Shop::labelled(cluster::remote());
    shop.admin(
        "SET ROLE agent; CREATE FUNCTION tells() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN RAISE NOTICE ''%'', (SELECT email FROM customers WHERE id = 1); RETURN NEW; END';
         CREATE TRIGGER tells BEFORE INSERT ON copies FOR EACH ROW EXECUTE FUNCTION tells()",
    );
    let _gateway = shop.attach_masking(None);
    let ran = shop.agent(&["INSERT INTO copies VALUES ('x', 1) RETURNING b"]);
    assert!(ran.out == "1" && ran.err.contains("00000: the text is hidden") && raw(&ran).is_none(), "{ran:?}");
    // The server's own words are about nothing but the statement.
    let ran = shop.agent(&["INSERT INTO strict VALUES ('no date')"]);
    assert!(ran.err.contains("no date"), "{ran:?}");
}

#[test]
fn rows_of_a_prepared_statement_are_not_kept() {
    let shop = Shop::labelled(cluster::remote());
    let _gateway = shop.attach_masking(None);
    for statements in [
        &["PREPARE r AS SELECT ssn FROM customers", "CREATE TEMP TABLE kept AS EXECUTE r", "SELECT * FROM kept"][..],
        &["PREPARE r AS SELECT ssn FROM customers; CREATE TEMP TABLE kept AS EXECUTE r; SELECT * FROM kept"],
        &[
            "PREPARE r AS SELECT ssn FROM customers",
            "EXPLAIN ANALYZE CREATE TEMP TABLE kept AS EXECUTE r",
            "TABLE kept",
        ],
    ] {
        let ran = shop.agent(statements);
        assert!(raw(&ran).is_none() && ran.err.contains("Data::export on DataClass"), "{statements:?}: {ran:?}");
    }
    let ran =
        shop.agent(&["PREPARE r AS SELECT name FROM customers", "CREATE TEMP TABLE kept AS EXECUTE r", "TABLE kept"]);
    assert!(ran.out.contains("Anna"), "{ran:?}");
}

#[test]
fn masks_are_not_written_back() {
    let shop = Shop::labelled(cluster::remote());
    let _gateway = shop.attach_masking(None);
    let shown = shop.agent(&["SELECT email FROM customers WHERE id = 1"]).out;
    assert_eq!(shown, "a•••@example.org");
    for statement in [
        format!("UPDATE customers SET email = '{shown}' WHERE id = 1"),
        format!("INSERT INTO copies VALUES ('{shown}', 1)"),
        "UPDATE customers SET salary = 0 WHERE id = 1".to_owned(),
        "INSERT INTO customers VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET salary = 0".to_owned(),
    ] {
        let ran = shop.agent(&[&statement, "SELECT 'alive'"]);
        assert!(ran.err.contains("not written back") && ran.out == "alive", "{statement}: {ran:?}");
    }
    let copied = shop.world.file("rows.tsv", &format!("fine\t1\n{shown}\t2\n"));
    let ran = shop.agent(&[&format!("\\copy copies FROM '{}'", copied.display())]);
    assert!(ran.err.contains("not written back"), "{ran:?}");
    assert_eq!(shop.admin("SELECT count(*) FROM copies"), "0");
    assert_eq!(shop.admin("SELECT email, salary FROM customers WHERE id = 1"), format!("{EMAIL}|70000"));
}

#[test]
fn cards_and_keys_are_masked_wherever_they_stand_without_any_file() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&[]);
    shop.admin("INSERT INTO orders VALUES (500, 'paid with 4111 1111 1111 1111'), (501, 'ssn 123-45-6789')");
    let ran = shop.agent(&[
        "SELECT item FROM orders WHERE id = 500",
        "COPY (SELECT item FROM orders WHERE id = 501) TO STDOUT",
        "SELECT jsonb_build_object('card', '4111111111111111')",
        "SELECT '4111 1111 1111 1111'::int",
    ]);
    assert!(!ran.out.contains("4111 1111 1111 1111") && !ran.out.contains("123-45-6789"), "{ran:?}");
    // The line below the error is the client's own.
    assert!(ran.err.contains("invalid input syntax for type integer: \"•••1111\""), "{ran:?}");
    assert!(ran.out.contains("paid with •••1111") && ran.out.contains("[ssn•••]"), "{ran:?}");
    let kept =
        shop.world.sh(&format!("grep -rl '4111 1111' {} || true", shop.world.directory().join("state").display()));
    assert_eq!(kept, "");
}

#[test]
fn what_others_change_in_the_catalog_is_seen_within_a_second() {
    let shop = Shop::labelled(cluster::remote());
    let _gateway = shop.attach_masking(None);
    let mut psql = shop.command(Side::Inside, &[("PGAPPNAME", "agent")], &["timeout", "60", "psql", "-XAtqw"]);
    let piped = std::process::Stdio::piped;
    let mut child = psql.stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
    let send = |child: &mut std::process::Child, text: &str| {
        use std::io::Write;
        child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    };
    send(&mut child, "SELECT ssn FROM customers WHERE id = 1;\n");
    wait::until("the first statement", || shop.reached("SELECT ssn FROM customers") > 0);
    shop.admin(
        "SET ROLE agent; ALTER TABLE customers RENAME ssn TO number; CREATE VIEW late AS SELECT number AS n FROM customers;
         ALTER TABLE customers RENAME TO clients",
    );
    let changed = Instant::now();
    wait::until("the time after which others' changes are seen", || changed.elapsed() > Duration::from_millis(1_100));
    send(&mut child, "SELECT number || '' FROM clients WHERE id = 1; SELECT n || '' FROM late;\n\\q\n");
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains(SSN) && text.matches("[ssn•••]").count() >= 3, "{text}");
}

#[test]
fn what_a_session_does_to_names_is_known_to_its_next_statement() {
    let shop = Shop::labelled(cluster::remote());
    let _gateway = shop.attach_masking(Some(
        r#"
        @id("all") permit (principal, action in [Action::"read", Action::"write", Action::"ddl", Action::"session"], resource);
        "#,
    ));
    let ran = shop.agent(&[
        "BEGIN",
        "CREATE TEMP TABLE customers (id int, ssn text)",
        "SELECT ssn FROM customers",
        "ROLLBACK",
        "SELECT ssn || '' FROM customers WHERE id = 1",
    ]);
    assert_eq!(ran.out, "[ssn•••]", "{ran:?}");
}

#[test]
fn a_masking_file_is_reloaded_and_a_broken_one_leaves_the_old_in_force() {
    let shop = Shop::labelled(cluster::remote());
    let gateway = shop.attach_masking(None);
    assert_eq!(shop.agent(&["SELECT name FROM customers WHERE id = 1"]).out, "Anna");
    let more =
        rules(&shop.database).replace("customers.email\"", "customers.email\", \"undeclared/*/public.customers.name\"");
    shop.world.file("masking.toml", &more);
    wait::until("the new rules", || shop.agent(&["SELECT name FROM customers WHERE id = 1"]).out == "A•••");
    shop.world.file("masking.toml", "version = 1\nnonsense = 1\n");
    wait::until("the refusal in the log", || gateway.output().contains("nonsense"));
    assert_eq!(shop.agent(&["SELECT name FROM customers WHERE id = 1"]).out, "A•••");
}
