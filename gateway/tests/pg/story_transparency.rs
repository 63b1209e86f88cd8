//! What is neither masked nor denied is the same with a gateway as without, message by message.
//!
//! In: one workload twice, in two databases alike, each recorded by a tap: frames of our own for every corner of the
//! protocol, and drivers that people use. Out: every message of the server is equal to the byte, but for the settings and
//! the key of the greeting, process ids in notifications, and object ids, of which only the order counts.

use crate::cluster::{self, Cluster};
use crate::drivers;
use crate::shop::{Shop, Side};
use crate::talk::{Door, Message, Way, frame, frames, unsynced};
use crate::tap::{Exchange, Ids, Tap};

/// Nothing that the shipped packs hold or deny is in the way of the workload.
const UNGUARDED: &str = "[policy]\ndisable = [\"guard.escape\", \"guard.postgres.code\", \"guard.postgres.opaque\", \
    \"guard.postgres.opaque-functions\", \"guard.postgres.schema-change\", \"guard.postgres.code-creation\", \
    \"guard.postgres.destructive\", \"guard.postgres.administer\", \"guard.postgres.server-functions\", \
    \"guard.postgres.unbounded\", \"guard.postgres.secrets\"]\n";

/// Nor what they do not permit.
const POLICIES: &str = r#"
    @id("all") permit (principal, action in [Action::"read", Action::"write", Action::"ddl", Action::"destructive",
        Action::"administer", Action::"run", Action::"session", Action::"escape"], resource);
"#;

const TABLES: &str = "SET ROLE agent;
    CREATE TABLE parents (id int PRIMARY KEY, name text CONSTRAINT short_name CHECK (length(name) < 20));
    CREATE TABLE children (id int, parent int CONSTRAINT of_a_parent REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
    CREATE DOMAIN small AS int CONSTRAINT is_small CHECK (value < 10);
    INSERT INTO parents VALUES (1, 'one');
    CREATE FUNCTION tells() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        RAISE NOTICE 'a notice' USING HINT = 'a hint', DETAIL = 'a detail', ERRCODE = '01234';
        RAISE WARNING 'a warning'; RAISE INFO 'some information'; RETURN 1; END $$;
    CREATE FUNCTION fails() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        RAISE 'an error' USING HINT = 'a hint', DETAIL = 'a detail', ERRCODE = 'ZZ001', SCHEMA = 's', TABLE = 't',
            COLUMN = 'c', DATATYPE = 'd', CONSTRAINT = 'k'; END $$;
    SELECT lo_from_bytea(4711, 'a large object')";

/// Bytes that are sent in one write, and how many ReadyForQuery are awaited before the next.
type Step = (Vec<u8>, usize);

fn query(text: &str) -> Step {
    (frames(Way::Simple, text), 1)
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    frame(b'P', &[name.as_bytes(), b"\0", text.as_bytes(), b"\0\0\0"].concat())
}

/// Results in this format; parameters in text.
fn bind(portal: &str, name: &str, values: &[Option<&str>], format: u8) -> Vec<u8> {
    let count = u16::try_from(values.len()).unwrap().to_be_bytes();
    let value = |value: &Option<&str>| match value {
        Some(text) => [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat(),
        None => (-1_i32).to_be_bytes().to_vec(),
    };
    let values: Vec<u8> = values.iter().flat_map(value).collect();
    let names = [portal.as_bytes(), b"\0", name.as_bytes(), b"\0\0\0"].concat();
    frame(b'B', &[&names[..], &count, &values, &[0, 1, 0, format]].concat())
}

fn describe(kind: u8, name: &str) -> Vec<u8> {
    frame(b'D', &[&[kind], name.as_bytes(), b"\0"].concat())
}

fn execute(portal: &str, rows: u32) -> Vec<u8> {
    frame(b'E', &[portal.as_bytes(), b"\0", &rows.to_be_bytes()].concat())
}

fn close(kind: u8, name: &str) -> Vec<u8> {
    frame(b'C', &[&[kind], name.as_bytes(), b"\0"].concat())
}

fn sync() -> Vec<u8> {
    frame(b'S', b"")
}

fn flush() -> Vec<u8> {
    frame(b'H', b"")
}

/// Statements of every kind, each by the simple protocol, the extended one, and with binary results.
const STATEMENTS: &[&str] = &[
    "",
    ";",
    "SELECT 1",
    "SELECT",
    "SELECT * FROM orders WHERE id <= 3 ORDER BY id",
    "SELECT NULL, '', 'é', '\\x00ff'::bytea, 1.10::numeric, 'NaN'::float8, '2020-01-02'::date, ARRAY[[1, 2], [3, NULL]]",
    "SELECT '{\"a\": [1, 2]}'::jsonb, '(1,2)'::point, int4range(1, 5), '10.0.0.1/8'::inet, B'101', interval '1 day 2 h'",
    "SELECT ROW(1, 'a', NULL), parents FROM parents",
    "SELECT repeat('x', 100000), g FROM generate_series(1, 3) g",
    "INSERT INTO orders VALUES (501, 'one more') RETURNING *",
    "UPDATE orders SET item = 'changed' WHERE id = 501",
    "DELETE FROM orders WHERE id = 501 RETURNING id",
    "WITH a AS (SELECT 1 AS b) TABLE a",
    "VALUES (1, 'a'), (2, 'b')",
    "EXPLAIN (COSTS OFF) SELECT * FROM orders WHERE id = 1",
    "SHOW server_version",
    "SELECT pg_notify('c', 'payload')",
    "SELECT tells()",
    "SELECT fails()",
    "SELECT 1 / 0",
    "SELECT nothing FROM orders",
    "SELECT * FROM no_such_table",
    "SELECT 'x'::int",
    "SELECT 10::small",
    "INSERT INTO parents VALUES (1, 'again')",
    "INSERT INTO parents VALUES (NULL, 'null')",
    "INSERT INTO parents VALUES (2, 'much longer than is permitted')",
    "INSERT INTO children VALUES (1, 99)",
    "SELECT loid, pageno, data FROM pg_largeobject",
    "SELECT lo_get(4711), lo_get(4711, 2, 5)",
    "SELECT lo_put(4711, 0, 'A')",
    "SELECT lo_open(4712, 262144)",
    "DO 'BEGIN RAISE NOTICE ''from a block''; END'",
    "CALL no_such_procedure()",
    "CREATE TABLE made (a serial, b text DEFAULT 'x')",
    "ALTER TABLE made ADD COLUMN c int",
    "COMMENT ON COLUMN made.c IS 'c'",
    "CREATE INDEX ON made (a)",
    "TRUNCATE made",
    "DROP TABLE made",
    "DROP TABLE IF EXISTS made",
    "ANALYZE orders",
    "VACUUM orders",
    "DISCARD PLANS",
    "COPY (SELECT id, item FROM orders ORDER BY id LIMIT 3) TO STDOUT",
    "COPY (SELECT 1, NULL, 'a,b') TO STDOUT (FORMAT csv, HEADER)",
    "COPY (SELECT 1, 'a') TO STDOUT (FORMAT binary)",
    "COPY (SELECT 1 / (3 - g) FROM generate_series(1, 5) g) TO STDOUT",
];

/// Several messages or statements, in an order that matters.
fn sequences() -> Vec<Step> {
    let simple = [
        "SELECT 1; SELECT 2, 3; SELECT tells()",
        "SELECT 1; SELECT 1 / 0; SELECT 2",
        "BEGIN; SAVEPOINT a; SELECT 1 / 0",
        "SELECT 1",
        "ROLLBACK TO a",
        "INSERT INTO children VALUES (1, 99)",
        "COMMIT",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; SELECT 1; ROLLBACK",
        "COMMIT",
        "BEGIN; BEGIN; ROLLBACK; ROLLBACK",
        "LISTEN c",
        "NOTIFY c",
        "NOTIFY c, 'with a payload'",
        "BEGIN; NOTIFY c, 'twice'; NOTIFY c, 'twice'; NOTIFY c, 'once'; COMMIT",
        "UNLISTEN *",
        "BEGIN; DECLARE few SCROLL CURSOR FOR SELECT id, item FROM orders ORDER BY id",
        "FETCH 3 FROM few; FETCH PRIOR FROM few; FETCH ABSOLUTE 50 FROM few; MOVE 5 IN few; FETCH ALL FROM few",
        "CLOSE few; COMMIT",
        "DECLARE kept CURSOR WITH HOLD FOR SELECT g FROM generate_series(1, 9) g",
        "FETCH 4 FROM kept; CLOSE kept; FETCH 1 FROM kept",
        "PREPARE one (int) AS SELECT $1 * 2, item FROM orders WHERE id = $1",
        "EXECUTE one(1); EXECUTE one(2); EXECUTE one('x')",
        "DEALLOCATE one",
        "SET application_name = 'other'; SHOW application_name; RESET application_name",
        "SET datestyle = 'German, DMY'; SELECT '2020-01-02'::date; SET timezone = 'Asia/Tokyo'; SELECT '2020-01-02 00:00Z'::timestamptz",
        "SET search_path = nowhere; SELECT * FROM orders; RESET search_path; RESET ALL",
        "SET bytea_output = escape; SELECT '\\x00ff'::bytea; RESET bytea_output; SET extra_float_digits = -2; SELECT 1.0 / 3; RESET extra_float_digits",
        "SET client_min_messages = debug1; SELECT tells(); RESET client_min_messages",
        "SET statement_timeout = 20; SELECT pg_sleep(9); RESET statement_timeout",
        "BEGIN; SELECT lo_open(4711, 393216); SELECT loread(0, 5); SELECT lowrite(0, 'B'); SELECT lo_close(0); COMMIT",
        "BEGIN; PREPARE TRANSACTION 'two'",
        // What cannot be parsed, or names nothing, fails the transaction as any error does.
        "SELEC 1",
        "BEGIN",
        "SELEC 1",
        "SELECT 1",
        "COMMIT",
        "BEGIN; SAVEPOINT a",
        "SELECT FROM WHERE",
        "ROLLBACK TO a",
        "SELECT 1",
        "ROLLBACK",
        "DISCARD ALL",
    ];
    simple.into_iter().map(query).collect()
}

/// The extended protocol.
fn extended() -> Vec<Step> {
    let item = "SELECT id, item FROM orders WHERE id <= $1 ORDER BY id";
    let whole = |name: &str, value: &str, format| {
        [bind("", name, &[Some(value)], format), describe(b'P', ""), execute("", 0)].concat()
    };
    vec![
        ([parse("s", item), describe(b'S', "s"), sync()].concat(), 1),
        ([whole("s", "2", 0), whole("s", "3", 1), whole("s", "4", 0), sync()].concat(), 1),
        ([bind("", "s", &[None], 0), execute("", 0), sync()].concat(), 1),
        ([bind("", "s", &[Some("x")], 0), execute("", 0), whole("s", "1", 0), sync()].concat(), 1),
        ([bind("", "s", &[], 0), execute("", 0), sync()].concat(), 1),
        ([parse("s", "SELECT 1"), sync()].concat(), 1),
        // A portal with a limit of rows, across messages and in a transaction.
        query("BEGIN"),
        ([bind("p", "s", &[Some("20")], 0), describe(b'P', "p"), execute("p", 7), execute("p", 7), sync()].concat(), 1),
        ([execute("p", 5), execute("p", 5), execute("p", 5), close(b'P', "p"), execute("p", 1), sync()].concat(), 1),
        query("ROLLBACK"),
        ([bind("q", "s", &[Some("9")], 1), execute("q", 4), execute("q", 4), sync()].concat(), 1),
        ([execute("q", 4), sync()].concat(), 1),
        ([close(b'S', "s"), close(b'S', "never there"), bind("", "s", &[Some("1")], 0), sync()].concat(), 1),
        // Pipelines: some fail in the middle, some are in pieces between Syncs, one waits on Flush alone.
        (
            [
                unsynced(Way::Extended, "SELECT 1"),
                unsynced(Way::Binary, "SELECT 2"),
                unsynced(Way::Extended, "SELECT 1 / 0"),
                unsynced(Way::Extended, "SELECT 3"),
                sync(),
                unsynced(Way::Extended, "SELECT 4"),
                sync(),
                sync(),
                frames(Way::Simple, "SELECT 5; SELECT 6"),
                unsynced(Way::Extended, "SELECT 7"),
                flush(),
                unsynced(Way::Extended, "SELECT 8"),
                sync(),
            ]
            .concat(),
            5,
        ),
        (
            [
                unsynced(Way::Extended, "BEGIN"),
                unsynced(Way::Extended, "INSERT INTO orders VALUES (601, 'a')"),
                unsynced(Way::Extended, "SAVEPOINT a"),
                unsynced(Way::Extended, "SELECT tells()"),
                unsynced(Way::Extended, "RELEASE a"),
                unsynced(Way::Extended, "COMMIT"),
                unsynced(Way::Extended, "DELETE FROM orders WHERE id = 601"),
                sync(),
            ]
            .concat(),
            1,
        ),
        ((0..200).flat_map(|_| frames(Way::Binary, "SELECT id, item FROM orders WHERE id < 5")).collect(), 200),
        ([parse("", "SELECT $1::int, $2"), describe(b'S', ""), describe(b'P', "nothing"), sync()].concat(), 1),
        ([parse("", "SELECT 1; SELECT 2"), sync()].concat(), 1),
        query("BEGIN"),
        ([parse("", "SELEC 1"), bind("", "", &[], 0), execute("", 0), sync()].concat(), 1),
        ([unsynced(Way::Extended, "SELECT 1"), sync()].concat(), 1),
        query("ROLLBACK"),
        query("BEGIN"),
        ([unsynced(Way::Extended, "SELECT 1"), execute("never there", 0), sync()].concat(), 1),
        query("COMMIT"),
        query("BEGIN"),
        ([bind("", "never there", &[], 0), sync()].concat(), 1),
        query("COMMIT"),
        ([parse("", ""), bind("", "", &[], 0), describe(b'P', ""), execute("", 0), sync()].concat(), 1),
        ([parse("", "LISTEN c"), bind("", "", &[], 0), execute("", 0), sync()].concat(), 1),
        (
            [unsynced(Way::Extended, "NOTIFY c, 'in a pipeline'"), unsynced(Way::Extended, "SELECT 1"), sync()]
                .concat(),
            1,
        ),
    ]
}

/// What was prepared without a name in one pipeline is bound in another, though names have changed in between.
fn unnamed() -> Vec<Step> {
    vec![
        ([parse("ddl", "CREATE TABLE between (a int)"), parse("", "SELECT 'unnamed'"), sync()].concat(), 1),
        ([bind("", "ddl", &[], 0), execute("", 0), sync()].concat(), 1),
        ([bind("", "", &[], 1), describe(b'P', ""), execute("", 0), sync()].concat(), 1),
        ([parse("begin", "BEGIN"), parse("drop", "DROP TABLE between"), parse("end", "COMMIT"), sync()].concat(), 1),
        ([bind("", "begin", &[], 0), execute("", 0), sync()].concat(), 1),
        ([parse("", "SELECT 'unnamed, too'"), bind("kept", "", &[], 0), sync()].concat(), 1),
        ([bind("", "drop", &[], 0), execute("", 0), sync()].concat(), 1),
        ([execute("kept", 0), bind("", "", &[], 0), execute("", 0), sync()].concat(), 1),
        ([bind("", "end", &[], 0), execute("", 0), sync()].concat(), 1),
    ]
}

/// COPY in both protocols, whole, wrong, and broken off.
fn copies() -> Vec<Step> {
    let rows = |rows: &[u8]| frame(b'd', rows);
    let done = || frame(b'c', b"");
    let into = "COPY orders FROM STDIN";
    let wrong = [frames(Way::Simple, into), rows(b"901\ta\nx\tb\n"), done()].concat();
    vec![
        query("BEGIN"),
        ([frames(Way::Simple, into), rows(b"901\ta\n902"), rows(b"\t\\N\n"), done()].concat(), 1),
        query("SELECT * FROM orders WHERE id > 900 ORDER BY id; ROLLBACK"),
        (wrong, 1),
        ([frames(Way::Simple, into), rows(b"901\ta\n"), frame(b'f', b"no more\0")].concat(), 1),
        ([frames(Way::Simple, "COPY orders (nothing) FROM STDIN"), rows(b"901\ta\n"), done()].concat(), 1),
        (
            [
                frames(Way::Simple, "COPY orders FROM STDIN (FORMAT csv, HEADER)"),
                rows(b"id,item\n903,\"a,b\"\n"),
                done(),
            ]
            .concat(),
            1,
        ),
        query("DELETE FROM orders WHERE id = 903"),
        (
            [parse("", into), bind("", "", &[], 0), execute("", 0), flush(), rows(b"904\tx\n"), done(), sync()]
                .concat(),
            1,
        ),
        query("DELETE FROM orders WHERE id = 904"),
        (
            [
                parse("", "COPY (SELECT id FROM orders WHERE id < 5 ORDER BY id) TO STDOUT"),
                bind("", "", &[], 0),
                describe(b'P', ""),
                execute("", 0),
                sync(),
            ]
            .concat(),
            1,
        ),
    ]
}

/// A startup packet.
fn startup(version: [u8; 4], parameters: &[(&str, &str)]) -> Vec<u8> {
    let words = parameters.iter().flat_map(|(name, value)| [name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    let body: Vec<u8> = version.into_iter().chain(words).chain([0]).collect();
    [&u32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], &body].concat()
}

/// Runs steps in one session and returns all that came.
fn run(tap: &Tap, greeting: &[u8], steps: &[Step]) -> Vec<Exchange> {
    let mut talk = tap.silent();
    let mut wait = |bytes: &[u8], readies: usize| {
        assert!(talk.send(bytes), "the session ended");
        let mut seen = 0;
        while seen < readies {
            let Some(message) = talk.next() else { panic!("the session ended after {}", bytes.escape_ascii()) };
            seen += usize::from(message.kind == b'Z');
        }
    };
    wait(greeting, 1);
    steps.iter().for_each(|(bytes, readies)| wait(bytes, *readies));
    drop(talk);
    tap.taken()
}

/// Two databases alike on one server, and a tap on the way to each.
struct Pair {
    taps: [Tap; 2],
    databases: [String; 2],
    _doors: [Door; 2],
}

impl Pair {
    fn of(shop: &Shop) -> Self {
        let beside = format!("{}_beside", shop.database);
        shop.cluster.admin(&format!("CREATE DATABASE {beside} TEMPLATE {} OWNER agent", shop.database));
        let databases = [shop.database.clone(), beside];
        let doors = [Door::to(shop, Side::Inside, &databases[0]), Door::to(shop, Side::Outside, &databases[1])];
        let folder = |name: &str| shop.world.directory().join(name);
        let taps = [Tap::new(&doors[0], &folder("tap-inside")), Tap::new(&doors[1], &folder("tap-outside"))];
        Self { taps, databases, _doors: doors }
    }

    fn same(&self, version: [u8; 4], parameters: &[(&str, &str)], steps: &[Step]) -> usize {
        let [ours, theirs] = [0, 1].map(|side| {
            let database = [("user", "postgres"), ("database", self.databases[side].as_str())];
            let all: Vec<_> = database.into_iter().chain(parameters.iter().copied()).collect();
            run(&self.taps[side], &startup(version, &all), steps)
        });
        equal(&ours, &theirs)
    }
}

/// All that the server says is the same; returns how many messages there were.
fn equal(ours: &[Exchange], theirs: &[Exchange]) -> usize {
    let mut different = Vec::new();
    let lines = |exchange: &[Message]| exchange.iter().map(Message::line).collect::<Vec<_>>().join("\n");
    let mut ids = Ids::default();
    let mut messages = 0;
    for (ours, theirs) in ours.iter().zip(theirs) {
        let plain = ids.plain(ours, theirs).map(|all| all.into_iter().map(of_unknown_names).collect::<Vec<_>>());
        let [our, their] = &plain;
        messages += their.len();
        let at = our.iter().zip(their).position(|(our, their)| our != their).unwrap_or(0);
        let (our, their) = (lines(our.get(at..).unwrap_or(&[])), lines(their.get(at..).unwrap_or(&[])));
        if our != their {
            different.push(format!("{}\nwith us from message {at}\n{our}\nwithout\n{their}\n", theirs.text()));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert_eq!(ours.len(), theirs.len());
    messages
}

/// The gateway itself says that there is no prepared statement or portal of a name, since it keeps what each means: with
/// the server's code and words, but with no place in the server's source. What cannot be parsed it refuses with the server's
/// code.
fn of_unknown_names(message: Message) -> Message {
    let fields: Vec<&[u8]> = message.body.split(|byte| *byte == 0).collect();
    let has = |codes: &[&[u8]]| message.kind == b'E' && fields.iter().any(|field| codes.contains(field));
    let same: &[u8] = match () {
        () if has(&[b"C26000", b"C34000"]) => b"SVCM",
        () if has(&[b"C42601"]) => b"SVC",
        () => return message,
    };
    let same = fields.into_iter().filter(|field| field.first().is_some_and(|kind| same.contains(kind)));
    Message { kind: b'E', body: same.collect::<Vec<_>>().join(&0) }
}

const USUAL: [u8; 4] = [0, 3, 0, 0];

fn every_message_is_the_same(cluster: &'static Cluster) {
    let shop = Shop::at(cluster);
    shop.admin(TABLES);
    let folder = shop.world.file("policies/a.cedar", POLICIES).parent().unwrap().display().to_string();
    let _gateway = shop.attach_with(&format!("{UNGUARDED}dir = \"{folder}\"\n"));
    let pair = Pair::of(&shop);
    let ways = [Way::Simple, Way::Extended, Way::Binary];
    let single: Vec<Step> =
        STATEMENTS.iter().flat_map(|statement| ways.map(|way| (frames(way, statement), 1))).collect();
    let mut messages = 0;
    for steps in [single, sequences(), extended(), unnamed(), copies()] {
        messages += pair.same(USUAL, &[], &steps);
    }
    for steps in [sequences(), extended(), unnamed(), copies()] {
        messages += pair.same(USUAL, &[("client_encoding", "LATIN1")], &steps);
    }
    let options =
        [("application_name", "a"), ("options", "-c geqo=off -c DateStyle=German"), ("search_path", "public")];
    messages +=
        pair.same(USUAL, &options, &[query("SHOW geqo; SHOW datestyle; SHOW search_path; SELECT now()::date < now()")]);
    // An option that no server knows, and versions of which only the newest knows one.
    for version in [[0, 3, 0, 2], [0, 3, 0, 9], USUAL] {
        messages += pair.same(version, &[("_pq_.nothing", "x")], &[query("SELECT 1"), query("SELECT 1 / 0")]);
    }
    println!("{messages} messages of our own");
    for mut client in drivers::over_unix_sockets(&shop) {
        let refused = ("REFUSED", "SELECT * FROM no_such_table");
        let [ours, theirs] = [0, 1].map(|side| {
            let folder = pair.taps[side].folder().display().to_string();
            client.set("PGHOST", &folder);
            client.set("PGDATABASE", &pair.databases[side]);
            client.run(&shop, Side::Outside, refused);
            pair.taps[side].taken()
        });
        messages += equal(&ours, &theirs);
    }
    println!("{messages} messages");
    assert!(messages > 3_000, "{messages} messages say little");
}

#[test]
fn every_message_is_the_same_on_15() {
    every_message_is_the_same(cluster::remote());
}

#[test]
fn every_message_is_the_same_on_18() {
    every_message_is_the_same(cluster::remote_newest());
}
