//! The evasion corpus: whatever way a forbidden statement is written or sent, under the shipped packs it does not happen.
//!
//! In: `corpus/evasions`, asked by the owner of the tables, whom the server itself would obey, each as a Query message, by
//! the extended protocol, and in the middle of a pipeline; and ways of sending that no text shows. Out: what came of each
//! is what its file says, the database is what it was, and what was refused is not in the server's log.

use crate::cluster::{self, Cluster, Version};
use crate::corpus::{self, Case, Outcome};
use crate::shop::{Shop, Side};
use crate::talk::{Door, Message, Talk, Way, frame, frames, unsynced};
use crate::wait;

const TABLES: &str = "SET ROLE agent;
    CREATE TABLE notes (a text); INSERT INTO notes VALUES ('a note');
    CREATE FUNCTION wipes() RETURNS int LANGUAGE sql AS 'DELETE FROM public.orders; SELECT 1';
    CREATE FUNCTION wipes(VARIADIC int[]) RETURNS int LANGUAGE sql AS 'DELETE FROM public.orders; SELECT 1';
    CREATE FUNCTION wipes(int, int) RETURNS int LANGUAGE sql AS 'DELETE FROM public.orders; SELECT 1';
    CREATE FUNCTION wiped(notes) RETURNS int LANGUAGE sql AS 'DELETE FROM public.orders; SELECT 1';
    CREATE FUNCTION initcap(varchar) RETURNS text LANGUAGE sql AS 'DELETE FROM public.orders; SELECT $1';
    CREATE FUNCTION uuidv7(text) RETURNS text LANGUAGE sql AS 'DELETE FROM public.orders; SELECT $1';
    CREATE PROCEDURE wiping() LANGUAGE sql AS 'DELETE FROM public.orders';
    CREATE OPERATOR !!! (leftarg = int, rightarg = int, function = wipes);
    CREATE FUNCTION wipes(notes, int) RETURNS int LANGUAGE sql AS 'DELETE FROM public.orders; SELECT 1';
    CREATE OPERATOR + (leftarg = notes, rightarg = int, function = wipes);
    CREATE TABLE identifiers_are_cut_at_sixty_three_bytes_and_so_is_this_one_here (a int)";

/// All that the corpus tries to change.
const STATE: &str = "SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM (
    SELECT o::text AS line FROM public.orders o UNION ALL SELECT n::text FROM public.notes n
    UNION ALL SELECT (relname, relowner, relacl, relkind, reltriggers)::text FROM (SELECT *, (SELECT array_agg((tgname, tgenabled))
        FROM pg_trigger WHERE tgrelid = pg_class.oid) AS reltriggers FROM pg_class) c
        WHERE relpersistence <> 't' AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_%temp%')
    UNION ALL SELECT (proname, prosrc)::text FROM pg_proc WHERE pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_temp%')
    UNION ALL SELECT extname::text FROM pg_extension UNION ALL SELECT pubname::text FROM pg_publication
    UNION ALL SELECT rulename::text FROM pg_rules UNION ALL SELECT lanname::text FROM pg_language
    UNION ALL SELECT s::text FROM pg_db_role_setting s WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    UNION ALL SELECT (rolname, rolsuper)::text FROM pg_authid WHERE rolname IN ('agent', 'evil')
    UNION ALL SELECT datname::text FROM pg_database WHERE datname = current_database()) all_of_it";

/// One place to look at the database past the gateway.
struct Watch {
    talk: Talk,
    before: Vec<Message>,
}

impl Watch {
    fn new(door: &Door) -> Self {
        let mut talk = door.session("postgres");
        let before = talk.ask(Way::Simple, STATE);
        assert!(before.iter().any(|message| message.kind == b'D'), "{before:?}");
        Self { talk, before }
    }

    fn is_as_before(&mut self) -> bool {
        self.talk.ask(Way::Simple, STATE) == self.before
    }
}

fn scene(cluster: &'static Cluster) -> Shop {
    let shop = Shop::at(cluster);
    shop.admin(TABLES);
    shop
}

/// All answers to a case, in a session of its own, and the statements that were refused.
fn asked(door: &Door, way: Way, case: &Case) -> (Vec<Message>, Vec<String>) {
    let mut talk = door.session("agent");
    let (mut all, mut refused) = (Vec::new(), Vec::new());
    for statement in &case.statements {
        let answer = talk.ask(way, statement);
        if answer.iter().any(|message| message.refusal().is_some()) {
            refused.push(statement.clone());
        }
        all.extend(answer);
    }
    (all, refused)
}

/// Between harmless statements, all in one pipeline and one write.
fn pipelined(door: &Door, case: &Case) {
    let mut talk = door.session("agent");
    let harmless = unsynced(Way::Extended, "SELECT 1");
    let within = case.statements.iter().flat_map(|statement| unsynced(Way::Extended, statement));
    let all: Vec<u8> = harmless.iter().copied().chain(within).chain(harmless.clone()).chain(frame(b'S', b"")).collect();
    talk.send(&all);
    talk.answer(1);
}

fn nothing_happens(version: Version, cluster: &'static Cluster) {
    let shop = scene(cluster);
    // Nobody decides, and only so many requests may wait.
    let _gateway = shop.attach_with("[approval]\ntimeout = \"1s\"\n");
    let (inside, outside) = (Door::new(&shop, Side::Inside), Door::new(&shop, Side::Outside));
    let mut watch = Watch::new(&outside);
    let (mut wrong, mut refused, cases) = (Vec::new(), Vec::new(), corpus::cases("evasions", version));
    for case in &cases {
        let place = format!("{}: {}", case.place, case.statements.join("; "));
        // A fast machine holds more in a second than may wait.
        let (ours, texts) = wait::for_some("room for one more held request", || {
            let answer = asked(&inside, Way::Simple, case);
            let is_full = |message: &Message| message.line().contains("as many requests wait for approval as may");
            (!answer.0.iter().any(is_full)).then_some(answer)
        });
        let theirs = if case.outcome == Outcome::Passes { asked(&outside, Way::Simple, case).0 } else { Vec::new() };
        let outcome = Outcome::of(&ours, &theirs);
        if outcome != case.outcome {
            let lines: Vec<String> = ours.iter().map(|message| message.line().chars().take(300).collect()).collect();
            wrong.push(format!("{place}\n   {outcome}, not {}\n      {}", case.outcome, lines.join("\n      ")));
        }
        refused.extend(texts);
        asked(&inside, Way::Extended, case);
        pipelined(&inside, case);
        if !watch.is_as_before() {
            wrong.push(format!("{place}\n   happened"));
            shop.admin("TRUNCATE orders; INSERT INTO orders SELECT g, 'item ' || g FROM generate_series(1, 100) g");
            watch.before = watch.talk.ask(Way::Simple, STATE);
        }
    }
    let log = shop.cluster.log();
    let line = |text: &String| format!("{} LOG:  statement: {text}\n", shop.database);
    wrong.extend(refused.iter().filter(|text| log.contains(&line(text))).map(|text| format!("{text}: is in the log")));
    println!("{} cases, {} statements refused", cases.len(), refused.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() >= 200 && refused.len() >= 200, "the corpus asks for too little");
}

#[test]
fn nothing_that_is_forbidden_happens_on_15() {
    nothing_happens(Version::V15, cluster::remote());
}

#[test]
fn nothing_that_is_forbidden_happens_on_18() {
    nothing_happens(Version::V18, cluster::remote_newest());
}

const BACKSLASH: &str = r"SELECT '\'; DELETE FROM orders; --'";

/// Startup packets, and what is asked in the session that they begin, if they do.
const STARTS: &[(&[(&str, &str)], &str)] = &[
    (&[("options", "-c standard_conforming_strings=off")], BACKSLASH),
    (&[("options", "--standard-conforming-strings=off")], BACKSLASH),
    (&[("options", "-cstandard_conforming_strings=off")], BACKSLASH),
    (&[("options", "-c\\ standard_conforming_strings=off")], BACKSLASH),
    (&[("standard_conforming_strings", "off")], BACKSLASH),
    (&[("STANDARD_CONFORMING_STRINGS", "off")], BACKSLASH),
    (&[("client_encoding", "SJIS")], "DELETE FROM orders"),
    (&[("options", "-c client_encoding=GBK")], "DELETE FROM orders"),
    (&[("options", "-c session_replication_role=replica")], "DELETE FROM orders"),
    (&[("options", "-c role=postgres")], "DROP TABLE orders"),
    (&[("options", "-c search_path=pg_temp,public")], "DROP TABLE orders"),
    (&[("search_path", "public")], "TRUNCATE orders"),
    (&[("options", "-c log_statement=none")], "DROP TABLE orders"),
    (&[("replication", "database")], "DROP TABLE orders"),
    (&[("replication", "true")], "BASE_BACKUP"),
    (&[("_pq_.gateway", "1")], "DROP TABLE orders"),
    (&[("application_name", "psql'; DROP TABLE orders; --")], "DROP TABLE orders"),
    (&[("user", "postgres")], "DROP TABLE orders"),
];

#[test]
fn no_startup_packet_opens_a_way() {
    let shop = scene(cluster::remote());
    let _gateway = shop.world.attach(&[]);
    let (inside, outside) = (Door::new(&shop, Side::Inside), Door::new(&shop, Side::Outside));
    let mut watch = Watch::new(&outside);
    for (parameters, statement) in STARTS {
        let (mut talk, greeting) = inside.with(parameters);
        let began = greeting.last().is_some_and(|message| message.kind == b'Z');
        let answer = if began { talk.ask(Way::Simple, statement) } else { Vec::new() };
        let refused = greeting.iter().chain(&answer).any(|message| message.kind == b'E');
        assert!(refused && watch.is_as_before(), "{parameters:?}: {greeting:?} {answer:?}");
    }
}

/// What is sent after a login, by name.
type Sending = (&'static str, Vec<u8>);

fn query(text: &str) -> Vec<u8> {
    frames(Way::Simple, text)
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    frame(b'P', &[name.as_bytes(), b"\0", text.as_bytes(), b"\0\0\0"].concat())
}

fn bind(portal: &str, name: &str) -> Vec<u8> {
    frame(b'B', &[portal.as_bytes(), b"\0", name.as_bytes(), b"\0\0\0\0\0\0\0"].concat())
}

fn execute(portal: &str) -> Vec<u8> {
    frame(b'E', &[portal.as_bytes(), b"\0\0\0\0\0"].concat())
}

fn close(kind: &str, name: &str) -> Vec<u8> {
    frame(b'C', &[kind.as_bytes(), name.as_bytes(), b"\0"].concat())
}

fn run(text: &str) -> Vec<u8> {
    [parse("", text), bind("", ""), execute("")].concat()
}

/// Many messages at once, and names that change their meaning among them.
fn pipelines() -> Vec<Sending> {
    let sync = frame(b'S', b"");
    vec![
        ("two messages at once", [query("SET standard_conforming_strings = off"), query(BACKSLASH)].concat()),
        ("a hundred messages at once", [query("SELECT 1").repeat(100), query("DELETE FROM orders")].concat()),
        ("in a pipeline", [run("SELECT 1"), run("DELETE FROM orders"), run("SELECT 1"), sync.clone()].concat()),
        (
            "after an error",
            [run("SELECT 1 / 0"), run("DELETE FROM orders"), sync.clone(), query("DELETE FROM orders")].concat(),
        ),
        (
            "a name that is made anew",
            [
                parse("s", "SELECT 1"),
                close("S", "s"),
                parse("s", "DELETE FROM orders"),
                bind("", "s"),
                execute(""),
                sync.clone(),
            ]
            .concat(),
        ),
        (
            "a portal of the statement before",
            [parse("", "DELETE FROM orders"), bind("p", ""), parse("", "SELECT 1"), execute("p"), sync.clone()]
                .concat(),
        ),
        (
            "a statement named by the protocol, run by SQL",
            [parse("s", "DELETE FROM orders"), sync.clone(), query("EXECUTE s")].concat(),
        ),
        (
            "a portal named by the protocol, run by SQL",
            [
                query("BEGIN"),
                parse("s", "DELETE FROM orders RETURNING 1"),
                bind("p", "s"),
                sync.clone(),
                query("FETCH ALL FROM p"),
                query("COMMIT"),
            ]
            .concat(),
        ),
        ("no Sync", [run("DELETE FROM orders"), frame(b'H', b"")].concat()),
        ("a Query inside a pipeline", [run("SELECT 1"), query("DELETE FROM orders")].concat()),
    ]
}

/// Messages that are not as the protocol has them.
fn odd() -> Vec<Sending> {
    let function = |oid: u32| frame(b'F', &[&oid.to_be_bytes()[..], &[0; 6]].concat());
    vec![
        ("bytes after the end of the text", frame(b'Q', b"SELECT 1\0; DELETE FROM orders\0")),
        ("a text that does not end", frame(b'Q', b"DELETE FROM orders")),
        ("a text that is not UTF-8", frame(b'Q', b"DELETE FROM orders /* \xff */\0")),
        ("half a character before a quote", frame(b'Q', b"SELECT '\xe9'; DELETE FROM orders; --'\0")),
        (
            "a parameter type that is unknown",
            [
                frame(b'P', b"\0DELETE FROM orders WHERE $1\0\0\x01\0\0\0\x10"),
                frame(b'B', b"\0\0\0\0\0\x01\0\0\0\x04true\0\0"),
                execute(""),
                frame(b'S', b""),
            ]
            .concat(),
        ),
        ("call of wipes() by number", function(16_384)),
        ("call of lo_unlink by number", function(964)),
        ("a message longer than it says", [&b"Q\0\0\0\x08SEL"[..], b"ECT 1; DELETE FROM orders\0"].concat()),
        ("a length of nothing", b"Q\0\0\0\0DELETE FROM orders\0".to_vec()),
        ("an unknown message", frame(b'u', b"DELETE FROM orders\0")),
        ("a second startup packet", [&b"\0\0\0\x08\x04\xd2\x16\x2f"[..], &query("DELETE FROM orders")].concat()),
    ]
}

/// Rows that look like statements, and statements that look like rows.
fn copies() -> Vec<Sending> {
    vec![
        (
            "rows for a COPY that nobody began",
            [frame(b'd', b"DELETE FROM orders;\n"), query("DELETE FROM orders")].concat(),
        ),
        (
            "a statement behind the rows of a COPY",
            [
                query("COPY notes FROM STDIN"),
                frame(b'd', b"\\.\nDELETE FROM orders;\n"),
                frame(b'f', b"no\0"),
                query("DELETE FROM orders"),
            ]
            .concat(),
        ),
        (
            "a Query in the middle of a COPY",
            [query("COPY notes FROM STDIN"), query("DELETE FROM orders"), frame(b'f', b"no\0")].concat(),
        ),
    ]
}

/// Oversized input, with something forbidden behind it.
fn big() -> Vec<Sending> {
    let long = |text: String| [query(&text), query("SELECT 1")].concat();
    vec![
        ("5 MB of text", long(format!("SELECT '{}'; DELETE FROM orders", "x".repeat(5 << 20)))),
        ("300 kB of text", long(format!("SELECT '{}'; DELETE FROM orders", "x".repeat(300 << 10)))),
        (
            "100,000 parentheses",
            long(format!("SELECT {}1{}; DELETE FROM orders", "(".repeat(100_000), ")".repeat(100_000))),
        ),
        ("100,000 terms", long(format!("SELECT 1{}; DELETE FROM orders", "+1".repeat(100_000)))),
        (
            "100,000 comments in comments",
            long(format!("{}{}DELETE FROM orders", "/*".repeat(100_000), "*/".repeat(100_000))),
        ),
        ("100,000 statements", long("SELECT 1;".repeat(100_000) + "DELETE FROM orders")),
        (
            "a name of which the server takes 63 bytes",
            query("DROP TABLE identifiers_are_cut_at_sixty_three_bytes_and_so_is_this_one_here_and_more"),
        ),
        ("a tag of a million letters", long(format!("SELECT ${0}$ ${0}$; DELETE FROM orders", "a".repeat(1_000_000)))),
    ]
}

#[test]
fn no_way_of_sending_opens_one() {
    let shop = scene(cluster::remote());
    let _gateway = shop.world.attach(&[]);
    let (inside, outside) = (Door::new(&shop, Side::Inside), Door::new(&shop, Side::Outside));
    let mut watch = Watch::new(&outside);
    for (name, bytes) in [pipelines(), odd(), copies(), big()].concat() {
        for piece in [bytes.len(), 7, 1] {
            // Byte by byte the long ones take long, and nothing of them is new.
            if bytes.len() / piece > 2_000 {
                continue;
            }
            let mut talk = inside.session("agent");
            let sent = bytes.chunks(piece).all(|piece| talk.send(piece))
                && talk.send(&frame(b'S', b""))
                && talk.send(&frame(b'X', b""));
            let answers = talk.answer(usize::MAX);
            let refused = answers.iter().any(|message| message.kind == b'E') || !sent;
            assert!(refused && watch.is_as_before(), "{name} in pieces of {piece}: {answers:?}");
        }
    }
    assert!(!shop.cluster.log().contains(&format!("{} LOG:  statement: DELETE FROM orders\n", shop.database)));
}
