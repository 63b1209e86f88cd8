//! Masking at the source: the server itself computes masks, so that conditions, groups, joins and orders see nothing else;
//! what cannot be rewritten is denied (G4).
//!
//! In: real servers, psql, a driver with binary results, the leak corpus. Out: that no value comes, that two databases which
//! differ in hidden values alone give the same answers, and that a mask is the one that results would have.

use std::fs;

use crate::canary::in_messages;
use crate::cluster::{self, Cluster, Version};
use crate::corpus;
use crate::gateway::Gateway;
use crate::shop::{Shop, Side};
use crate::talk::{Door, Message, Talk, Way};

impl Shop {
    /// Attaches with its server as a target, masked as `masking` says, under these labels and policies.
    pub(crate) fn attach_target(&self, masking: &str, rules: &str, policy: &str) -> Gateway<'_> {
        let rules = self.world.file("masking.toml", &rules.replace("undeclared/", "shop/"));
        let target = format!(
            "[[target]]\nname = \"shop\"\nprotocol = \"postgres\"\naddresses = [\"{}\"]\nmasking = \"{masking}\"\n\
             [target.tls]\nmode = \"disable\"\n",
            self.address
        );
        self.attach_with(&format!("{policy}[masking]\nfile = \"{}\"\n{target}", rules.display()))
    }

    /// The same with the tables of the corpus.
    pub fn attach_corpus(&self, masking: &str, policy: &str) -> Gateway<'_> {
        let rules = fs::read_to_string(corpus::root().join("masking.toml")).unwrap();
        self.attach_target(masking, &rules, policy)
    }

    fn policy(&self, text: &str) -> String {
        let file = self.world.file("policies/a.cedar", text);
        format!("[policy]\ndir = \"{}\"\n", file.parent().unwrap().display())
    }
}

/// What stands before the labels where everything is as shipped.
pub const UNGUARDED: &str = "[policy]\ndisable = [\"guard.postgres.code\", \"guard.postgres.opaque\", \
    \"guard.postgres.opaque-functions\", \"guard.postgres.secrets\", \"guard.postgres.schema-change\", \
    \"guard.postgres.code-creation\"]\n";

fn no_canary_leaks(version: Version, cluster: &'static Cluster) {
    let (shop, _) = Shop::with_corpus(cluster);
    let _gateway = shop.attach_corpus("source", UNGUARDED);
    let inside = Door::new(&shop, Side::Inside);
    let (mut leaks, mut cases, mut rewritten) = (Vec::new(), 0, 0);
    for way in [Way::Simple, Way::Binary] {
        let mut session: Option<(Talk, String)> = None;
        for case in corpus::cases("leaks", version) {
            let (mut talk, file) = match session.take() {
                Some(session) if session.1 == case.session => session,
                _ => (inside.session("postgres"), case.session.clone()),
            };
            cases += 1;
            let answers: Vec<_> = case.statements.iter().flat_map(|statement| talk.ask(way, statement)).collect();
            if let Some(canary) = in_messages(&answers) {
                leaks.push(format!("{}: {} shows {canary}", case.place, case.statements.join("; ")));
            }
            rewritten += usize::from(answers.iter().any(|message| message.line().contains(r"\xe2\x80\xa2")));
            let cleared = ["ROLLBACK", "DISCARD ALL"].map(|statement| talk.ask(Way::Simple, statement));
            let lives = cleared[1].iter().any(|message| message.kind == b'C');
            session = lives.then_some((talk, file));
        }
    }
    println!("{cases} cases, {rewritten} show a mask");
    assert!(leaks.is_empty(), "{} of {cases}:\n{}", leaks.len(), leaks.join("\n"));
    assert!(cases >= 600 && rewritten >= 150, "{cases} cases, {rewritten} show a mask");
    // The server computes them.
    assert!(shop.reached("\\u2022\\u2022\\u2022") + shop.reached("\u{2022}\u{2022}\u{2022}") > 100);
}

#[test]
fn no_canary_leaks_on_15() {
    no_canary_leaks(Version::V15, cluster::remote());
}

#[test]
fn no_canary_leaks_on_18() {
    no_canary_leaks(Version::V18, cluster::remote_newest());
}

/// Other values wherever there are some in labelled columns, of which the masks are the same: the first letter, the length
/// and the domain of an address.
const OTHERS: &str =
    "UPDATE customers SET ssn = reverse(ssn), email = left(email, 1) || translate(substr(split_part(email, '@', 1), 2), 'abcdefghijklmnopqrstuvwxyz',
            'bcdefghijklmnopqrstuvwxyza') || '@' || split_part(email, '@', 2),
        salary = 9999999 - salary, born = born + 3333, notes = notes - 'secret' - 'open' || '{\"other\": [3]}',
        photo = photo || 'other', tags = tags || 'other'::text WHERE id = 1 OR tags IS NULL;
    UPDATE people SET ssn = reverse(ssn); REFRESH MATERIALIZED VIEW stored_view; ANALYZE";

/// Statements that tell rows apart by labelled columns. Each runs.
const COMPARING: &[&str] = &[
    "SELECT id FROM customers WHERE ssn LIKE '000%' ORDER BY id",
    "SELECT id FROM customers WHERE ssn > '5' OR salary > 1000000 OR born < '1950-01-01' ORDER BY id",
    "SELECT id, ssn FROM customers WHERE email = 'quillfeather.anemone@sorrelwick.example'",
    "SELECT id FROM customers WHERE email LIKE 'q%@sorrelwick.example' ORDER BY id",
    "SELECT id FROM customers ORDER BY salary, born, ssn, id",
    "SELECT id FROM customers ORDER BY salary DESC NULLS LAST, email DESC, id LIMIT 1",
    "SELECT email, count(*), min(ssn), max(salary), sum(salary) FROM customers GROUP BY email ORDER BY 1",
    "SELECT DISTINCT ssn FROM customers ORDER BY 1",
    "SELECT DISTINCT ON (salary) id FROM customers ORDER BY salary, id",
    "SELECT a.id, b.id FROM customers a JOIN people b ON a.ssn = b.ssn ORDER BY 1, 2",
    "SELECT a.id, b.id FROM customers a JOIN people b USING (ssn) ORDER BY 1, 2",
    "SELECT count(*) FROM customers NATURAL JOIN people",
    "SELECT id, row_number() OVER (ORDER BY salary, id), rank() OVER (PARTITION BY ssn ORDER BY born) FROM customers ORDER BY id",
    "SELECT id FROM customers GROUP BY id HAVING max(salary) > 100 ORDER BY id",
    "SELECT e.id FROM events e WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = e.customer AND c.ssn < '5') ORDER BY 1",
    "SELECT e.id FROM events e WHERE e.customer IN (SELECT id FROM customers WHERE salary > 60000) ORDER BY 1",
    "SELECT (SELECT max(salary) FROM customers) > 100, (SELECT count(*) FROM customers WHERE ssn ~ '^0')",
    "WITH w AS (SELECT * FROM customers WHERE salary > 0) SELECT count(*), max(ssn) FROM w",
    "WITH RECURSIVE t(i, s) AS (SELECT id, ssn FROM customers WHERE id = 1 UNION ALL SELECT i + 1, s FROM t WHERE i < 3) SELECT * FROM t",
    "SELECT ssn FROM customers UNION SELECT what FROM events ORDER BY 1 LIMIT 3",
    "SELECT ssn FROM customers INTERSECT SELECT ssn FROM people",
    "SELECT ssn FROM customers EXCEPT SELECT '000-73-9184'",
    "SELECT id, CASE WHEN ssn LIKE '000%' THEN 'a' ELSE 'b' END, length(email), md5(ssn), ascii(ssn) FROM customers ORDER BY id",
    "SELECT 1 / (CASE WHEN salary > 7000000 THEN 0 ELSE 1 END) FROM customers",
    "SELECT id, salary::text, salary * 2, born - date '1900-01-01', extract(year FROM born) FROM customers ORDER BY id",
    "SELECT id FROM customers WHERE notes ? 'secret' OR notes @> '{\"open\": [1]}' OR photo = 'vermilionpheasant' ORDER BY id",
    "SELECT id FROM customers WHERE 'kittiwake' = ANY (tags) OR tags @> '{kittiwake}' ORDER BY id",
    "SELECT c.id, x.n FROM customers c, LATERAL (SELECT count(*) n FROM people p WHERE p.ssn = c.ssn) x ORDER BY 1",
    "SELECT id FROM plain_view WHERE code LIKE '000%' ORDER BY id",
    "SELECT id FROM stored_view WHERE loud LIKE 'QUILL%' OR ssn > '5' ORDER BY id",
    "SELECT mixed FROM computed_view WHERE mixed > 'r' ORDER BY mixed",
    "SELECT mail, count(*) FROM joined_view GROUP BY mail ORDER BY mail",
    "SELECT id FROM people_low WHERE ssn = '000-73-9184'",
    "SELECT c FROM customers c WHERE c.ssn IS NOT NULL ORDER BY c",
    "SELECT row_to_json(c), c.* FROM customers c ORDER BY c.salary, c.id",
    "SELECT count(DISTINCT ssn), count(DISTINCT email), array_agg(salary ORDER BY born, id), string_agg(ssn, ',') FROM customers",
    "SELECT public.customers.ssn, customers.email FROM public.customers ORDER BY public.customers.salary, public.customers.id",
    "SELECT s FROM customers AS c (i, n, s, e) WHERE s > '1' ORDER BY e, i",
    "SELECT count(*) FROM ONLY customers WHERE ssn > '1'",
    "TABLE people",
    "SELECT width_bucket(salary, 0, 10000000, 10), salary % 10, salary::bit(32) FROM customers ORDER BY id",
];

fn told(messages: &[Message]) -> Vec<String> {
    messages.iter().filter(|message| !matches!(message.kind, b'S' | b'K')).map(Message::line).collect()
}

/// A RowDescription holds object ids, which two databases do not share.
fn without_ids(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().filter(|line| !line.starts_with("T ")).collect()
}

fn hidden_values_change_no_answer(cluster: &'static Cluster) {
    let (one, _) = Shop::with_corpus(cluster);
    let (other, _) = Shop::with_corpus(cluster);
    one.admin("REFRESH MATERIALIZED VIEW stored_view");
    other.admin(OTHERS);
    let policy = "[policy]\ndisable = [\"guard.postgres.unbounded\"]\n";
    let _gateways = (one.attach_corpus("source", policy), other.attach_corpus("source", policy));
    let doors = (Door::new(&one, Side::Inside), Door::new(&other, Side::Inside));
    let (mut ours, mut theirs) = (doors.0.session("agent"), doors.1.session("agent"));
    let (past_one, past_other) = (Door::new(&one, Side::Outside), Door::new(&other, Side::Outside));
    let (mut bare, mut bare_other) = (past_one.session("agent"), past_other.session("agent"));
    let (mut wrong, mut tells) = (Vec::new(), 0);
    for statement in COMPARING {
        for way in [Way::Simple, Way::Extended, Way::Binary] {
            let (answer, same) = (ours.ask(way, statement), theirs.ask(way, statement));
            if answer.iter().all(|message| message.kind != b'C') {
                wrong.push(format!("{statement}\n   does not run: {:?}", told(&answer)));
            }
            let (answer, same) = (without_ids(told(&answer)), without_ids(told(&same)));
            if answer != same {
                wrong.push(format!("{statement} ({way:?})\n   {answer:?}\n   {same:?}"));
            }
        }
        let differs = told(&bare.ask(Way::Simple, statement)) != told(&bare_other.ask(Way::Simple, statement));
        tells += usize::from(differs);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tells * 5 >= COMPARING.len() * 4, "only {tells} statements tell the databases apart without a gateway");
}

#[test]
fn hidden_values_change_no_answer_on_15() {
    hidden_values_change_no_answer(cluster::remote());
}

#[test]
fn hidden_values_change_no_answer_on_18() {
    hidden_values_change_no_answer(cluster::remote_newest());
}

/// A column of every kind of type, with values that lie at the edges of what a form shows.
const KINDS: &str = "SET ROLE agent;
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE TABLE kinds (id int PRIMARY KEY, a text, b varchar(40), c char(12), d name, e json, f jsonb, g bytea, h xml, i int2,
        j int4, k int8, l float4, m float8, n numeric(12, 2), o date, p time, q timestamp, r timestamptz, s uuid, t bool,
        u inet, v text[], w int4range, x mood, y interval, z point);
    INSERT INTO kinds SELECT g, v, v, left(v, 12), v, to_json(v), to_jsonb(v), convert_to(v, 'UTF8'), xmlelement(name a, v), g, g, g, g, g, g,
        date '1984-02-29' + g * 400, time '10:00' + g * interval '1 min', timestamp '1984-02-29 10:00' + g * interval '400 days',
        timestamptz '1984-02-29 10:00+00' + g * interval '400 days', md5(v)::uuid, g % 2 = 0, '10.0.0.1', ARRAY[v], int4range(1, g + 1),
        'good', interval '1 day', point(g, 1)
    FROM (SELECT v, g::int FROM unnest(ARRAY['anna.berg@example.org', 'a@b', '@nobody', 'no address', 'x', '', 'two@at@signs.example', 'trailing@x.example   ',
        E'tab@x.example\\t', 'Žluťoučký@kůň.example', '\u{3000}wide@x\u{3000}', 'ab', 'abc@', 'a''b\\c@\"d', '12345678', '1234567']) WITH ORDINALITY AS u(v, g)) u;
    INSERT INTO kinds (id) VALUES (99);
    INSERT INTO kinds (id, o, q, r) VALUES (100, 'infinity', '-infinity', 'infinity'), (101, '0044-03-15 BC', '0044-03-15 BC', '0044-03-15 BC'),
        (102, '0001-01-01', '9999-12-31 23:59:59', '2024-12-31 23:30:00+00');";

/// The same labels on every column of `kinds`, of a class with this form.
fn one_form(form: &str, keep_null: bool) -> String {
    format!(
        "version = 1\n[default]\nkeep_null = {keep_null}\n[class.form]\nshow = {form}\n[[column]]\n\
         at = [\"undeclared/*/public.kinds.*\"]\nclass = \"form\"\n"
    )
}

/// By row and column: what is shown.
fn shown(door: &Door, way: Way) -> Vec<Vec<Option<Vec<u8>>>> {
    let mut talk = door.session("agent");
    talk.ask(Way::Simple, "SET timezone = 'UTC'");
    let answer = talk.ask(way, "SELECT * FROM kinds");
    let rows: Vec<_> = answer.iter().filter(|message| message.kind == b'D').collect();
    assert_eq!(rows.len(), 20, "{:?}", told(&answer));
    rows.iter().map(|row| row.cells().iter().map(|cell| cell.map(<[u8]>::to_vec)).collect()).collect()
}

#[test]
fn a_mask_of_the_server_is_that_of_a_result() {
    let shop = Shop::new();
    shop.admin(KINDS);
    let forms = [
        ("\"redact\"", true),
        ("\"null\"", true),
        ("{ partial = { first = 1, from = \"@\" } }", true),
        ("{ partial = { first = 2, from = \"@b\" } }", true),
        ("{ partial = { first = 0, last = 4 } }", true),
        ("{ partial = { first = 2, last = 2 } }", false),
        ("{ fixed = \"Jane ' Doe\" }", true),
        ("{ truncate = \"year\" }", true),
        ("\"redact\"", false),
    ];
    let both = |form: &str, keep_null: bool, way: Way| {
        ["rows", "source"].map(|masking| {
            let _gateway = shop.attach_target(masking, &one_form(form, keep_null), "");
            shown(&Door::new(&shop, Side::Inside), way)
        })
    };
    for (form, keep_null) in forms {
        let way = if form.contains("redact") || form.contains("year") { Way::Binary } else { Way::Simple };
        let [rows, source] = both(form, keep_null, way);
        // In another order, maybe: by the first column, which is masked like the others, nobody tells.
        for (number, (row, of_source)) in rows.iter().zip(&source).enumerate() {
            for (column, (cell, of_source)) in row.iter().zip(of_source).enumerate() {
                let text = |cell: &Option<Vec<u8>>| cell.as_ref().map(|cell| cell.escape_ascii().to_string());
                // A name holds 63 bytes, and JSON of jsonb is written with its own spaces: the values are the same.
                assert_eq!(text(of_source), text(cell), "{form}, column {column} of row {number}");
            }
        }
    }
    // What has no words in SQL without the key is redacted.
    let key = shop.world.file("key", "0123456789abcdef0123456789abcdef");
    let [rows, source] =
        both(&format!("{{ hash = {{ key = {{ file = \"{}\" }} }} }}", key.display()), true, Way::Simple);
    assert!(rows[0][1].as_ref().is_some_and(|cell| cell.starts_with("•••".as_bytes())));
    assert_eq!(source[0][1].as_deref(), Some("[form•••]".as_bytes()));
}

#[test]
fn what_cannot_be_rewritten_is_denied_and_says_why() {
    let (shop, _) = Shop::with_corpus(cluster::remote());
    shop.admin("CREATE SCHEMA other AUTHORIZATION agent");
    let _gateway = shop.attach_corpus("source", "");
    for (statement, why) in [
        ("SELECT ssn FROM customers TABLESAMPLE system (100)", "a subquery has no TABLESAMPLE"),
        ("SELECT ssn FROM customers FOR UPDATE", "leave out FOR UPDATE or FOR SHARE"),
        (
            "WITH customers AS (SELECT * FROM customers) SELECT ssn FROM customers",
            "write its schema, or rename that query",
        ),
        ("SELECT public.customers.ssn FROM public.customers, other.customers", "give it an alias"),
    ] {
        let ran = shop.psql(&[statement, "SELECT 'alive'"]);
        assert!(ran.err.contains("refused by the gateway") && ran.err.contains(why), "{statement}: {ran:?}");
        assert_eq!(ran.out, "alive");
    }
    let two = shop.psql(&["SET search_path = other, public", "SELECT ssn FROM customers"]);
    assert!(two.err.contains("may mean more than one relation"), "{two:?}");
    let temporary = shop.psql(&["CREATE TEMP TABLE customers (ssn text)", "SELECT ssn FROM customers"]);
    assert!(temporary.err.contains("may mean more than one relation"), "{temporary:?}");
    // What writes keeps the rules of masks that are not written back; what explains, those of comparisons.
    for statement in [
        "INSERT INTO copies SELECT ssn FROM customers",
        "CREATE TABLE n AS SELECT * FROM customers",
        "UPDATE customers SET name = 'x' WHERE ssn LIKE '000%'",
        "DELETE FROM customers WHERE ssn LIKE '000%'",
        "EXPLAIN SELECT 1 FROM customers WHERE ssn LIKE '000%'",
    ] {
        let ran = shop.psql(&[statement, "SELECT 'alive'"]);
        assert!(ran.err.contains("Data::compare") || ran.err.contains("Data::export"), "{statement}: {ran:?}");
    }
    // What names no labelled column goes on as it was sent.
    assert_eq!(shop.psql(&["SELECT id FROM customers WHERE id = 1 FOR UPDATE"]).out, "1");
    // The place of an error is one in words that the client did not send.
    let wrong = shop.psql(&["SELECT ssn, ctid FROM customers"]);
    assert!(wrong.err.contains("column \"ctid\" does not exist") && !wrong.err.contains("LINE"), "{wrong:?}");
    assert_eq!(shop.admin("SELECT count(*) FROM copies"), "0");
}

#[test]
fn a_database_that_is_not_in_utf8_is_denied() {
    let shop = Shop::new();
    let database = format!("{}_latin", shop.database);
    shop.cluster
        .admin(&format!("CREATE DATABASE {database} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0 OWNER agent"));
    shop.cluster.admin_of(
        &database,
        "SET ROLE agent; CREATE TABLE customers (id int, ssn text); INSERT INTO customers VALUES (1, 'café 000-45')",
    );
    let rules = "version = 1\n[[column]]\nat = [\"shop/*/public.customers.ssn\"]\nclass = \"ssn\"\n";
    let ask = |masking: &str| {
        let _gateway = shop.attach_target(masking, rules, "");
        shop.psql_on(Side::Inside, &[("PGDATABASE", &database)], &["SELECT ssn FROM customers"])
    };
    let source = ask("source");
    assert!(source.err.contains("the database has another encoding"), "{source:?}");
    assert_eq!(ask("rows").out, "[ssn•••]");
}

/// Cached statements, binary results, parameters, cursors; and what a client does when labels or tables change.
const PYTHON: &str = r#"
import asyncio, time, asyncpg, psycopg

async def main():
    connection = await asyncpg.connect()
    for _ in range(3):
        row = await connection.fetchrow("SELECT id, ssn, email, salary, born FROM customers WHERE id = $1 AND ssn <> $2", 1, "x")
        print("row", tuple(row))
    print("of mask", await connection.fetchval("SELECT count(*) FROM customers WHERE email = $1", "q•••@sorrelwick.example"))
    print("of value", await connection.fetchval("SELECT count(*) FROM customers WHERE ssn = $1", "000-73-9184"))
    async with connection.transaction():
        print("cursor", [tuple(row) async for row in connection.cursor("SELECT id, ssn FROM customers WHERE ssn LIKE $1 ORDER BY id", "[%", prefetch=1)])
    statement = await connection.prepare("SELECT ssn FROM customers ORDER BY id LIMIT 1")
    print("prepared", await statement.fetchval())
    await connection.close()
asyncio.run(main())

connection = psycopg.connect(autocommit=True)
for binary in (False, True):
    with connection.cursor(binary=binary) as cursor:
        print("psycopg", cursor.execute("SELECT ssn, salary, tags FROM customers WHERE salary = %s AND id = 1", (0,)).fetchall())
with connection.transaction():
    with connection.cursor("named") as cursor:
        cursor.execute("SELECT id, email FROM customers ORDER BY email, id")
        print("named", cursor.fetchmany(2))
with connection.cursor().copy("COPY (SELECT id, salary FROM customers WHERE ssn IS NOT NULL) TO STDOUT (FORMAT binary)") as copy:
    copy.set_types(["int4", "int4"])
    print("copy", list(copy.rows()))
connection.execute("PREPARE p AS SELECT ssn FROM customers WHERE id = $1")
print("execute", connection.execute("EXECUTE p(1)").fetchone())
for _ in range(8):
    connection.execute("SELECT ssn, name FROM customers WHERE id = %s", (1,), prepare=True)
# From another session: psycopg forgets what it prepared when it alters a table itself.
psycopg.connect(autocommit=True).execute("ALTER TABLE customers ADD COLUMN later int")
time.sleep(1.2)
try:
    connection.execute("EXECUTE p(1)")
except psycopg.Error as error:
    print("stale", error.sqlstate)
connection.execute("DEALLOCATE p")
print("again", connection.execute("SELECT later, ssn FROM customers WHERE id = 1", prepare=False).fetchone())
"#;

#[test]
fn drivers_read_masks_of_cached_and_prepared_statements_in_both_formats() {
    let (shop, _) = Shop::with_corpus(cluster::remote());
    let open = "@id(\"work\") permit (principal, action in [Action::\"read\", Action::\"write\", Action::\"session\", \
         Action::\"run\", Action::\"ddl\"], resource);";
    let policy = shop.policy(open) + "disable = [\"guard.postgres.schema-change\", \"guard.postgres.unbounded\"]\n";
    let _gateway = shop.attach_corpus("source", &policy);
    let ran = shop.python(PYTHON);
    let masked = "(1, '[ssn•••]', 'q•••@sorrelwick.example', 0, datetime.date(1970, 1, 1))";
    let row = format!("row {masked}");
    let expected = [
        row.as_str(),
        &row,
        &row,
        "of mask 2",
        "of value 0",
        "cursor [(1, '[ssn•••]'), (3, '[ssn•••]')]",
        "prepared [ssn•••]",
        "psycopg [('[ssn•••]', 0, None)]",
        "psycopg [('[ssn•••]', 0, None)]",
        "named [(2, 'b•••@example.org'), (1, 'q•••@sorrelwick.example')]",
        "copy [(1, 0), (3, None)]",
        "execute ('[ssn•••]',)",
        "stale 26000",
        "again (None, '[ssn•••]')",
    ];
    assert_eq!(ran.out.lines().collect::<Vec<_>>(), expected, "{ran:?}");
}

#[test]
fn texts_that_differ_in_numbers_are_each_sent() {
    let (shop, _) = Shop::with_corpus(cluster::remote());
    let _gateway = shop.attach_corpus("source", "");
    let texts: Vec<_> =
        (0..12).map(|n| format!("SELECT {n}, id, ssn FROM ONLY customers WHERE id = {}", 1 + n % 2)).collect();
    let ran = shop.psql(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let expected: Vec<_> =
        (0..12).map(|n| format!("{n}|{}|{}", 1 + n % 2, if n % 2 == 0 { "[ssn•••]" } else { "" })).collect();
    assert_eq!(
        (ran.out.lines().collect::<Vec<_>>(), ran.err.as_str()),
        (expected.iter().map(String::as_str).collect(), "")
    );
}

#[test]
fn who_may_see_a_class_gets_values_and_conditions_on_them() {
    let (shop, _) = Shop::with_corpus(cluster::remote());
    let text = "@id(\"work\") permit (principal, action in [Action::\"read\", Action::\"session\", Action::\"run\"], resource);\n\
        @id(\"pay\") permit (principal, action == Data::Action::\"unmask\", resource == DataClass::\"pay\");\n\
        @id(\"pays\") permit (principal, action == Data::Action::\"compare\", resource == DataClass::\"pay\");";
    let _gateway = shop.attach_corpus("source", &shop.policy(text));
    let ran = shop.psql(&[
        "SELECT id, salary, ssn FROM customers WHERE salary > 1000000",
        "SELECT salary FROM customers WHERE id = 1 AND ssn LIKE '000%'",
        "SELECT salary FROM customers WHERE id = 2 ORDER BY ssn",
    ]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("1|7319426|[ssn•••]\n50000", ""));
    let (statement, _) = shop.journaled("SELECT id, salary, ssn FROM customers WHERE");
    let classes = statement["data_classes"].to_string();
    assert!(classes.contains("ssn") && classes.contains("pay"), "{statement}");
    assert!(!statement["text"].to_string().contains("CASE"), "the record has what the client sent: {statement}");
}
