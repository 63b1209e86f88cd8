//! The leak corpus (G4): whatever is asked, no byte that the client gets, no line of the journal and no row of the copy in
//! ClickHouse holds a value of a labelled column, nor a form from which it can be made again.
//!
//! In: `corpus/leaks`, asked by a superuser, to whom the server itself refuses nothing. Each statement also says what has
//! to come of it, so that it shows where too much is refused; and the whole is asked once more without the policies that
//! stand in front of the labels.

use std::fmt::Write;
use std::fs;

use crate::canary::{in_messages, in_record};
use crate::clickhouse::ClickHouse;
use crate::cluster::{self, Cluster, Version};
use crate::corpus::{self, Case, Outcome};
use crate::shop::{Shop, Side};
use crate::talk::{Door, Message, Talk, Way, frame, frames};
use crate::wait;

/// What stands before the labels where everything is as shipped.
const UNGUARDED: &str = "[policy]\ndisable = [\"guard.postgres.code\", \"guard.postgres.opaque\", \
    \"guard.postgres.opaque-functions\", \"guard.postgres.secrets\", \"guard.postgres.schema-change\", \
    \"guard.postgres.code-creation\"]\n";

impl Shop {
    /// With the tables of the corpus, and the text of a configuration with their labels.
    pub(crate) fn with_corpus(cluster: &'static Cluster) -> (Self, String) {
        let shop = Self::at(cluster);
        shop.admin(&fs::read_to_string(corpus::root().join("schema.sql")).unwrap());
        shop.admin(&format!("ALTER DATABASE {} SET statement_timeout = '10s'", shop.database));
        let rules = fs::read_to_string(corpus::root().join("masking.toml")).unwrap();
        let file = shop.world.file("masking.toml", &rules);
        let section = format!("[masking]\nfile = \"{}\"\n", file.display());
        (shop, section)
    }

    /// A door to a copy of the database, past the gateway: what is written there is not read through us.
    pub(crate) fn beside(&self) -> Door {
        let copy = format!("{}_beside", self.database);
        self.cluster.admin(&format!("CREATE DATABASE {copy} TEMPLATE {}", self.database));
        self.cluster.admin(&format!("ALTER DATABASE {copy} SET statement_timeout = '10s'"));
        Door::to(self, Side::Outside, &copy)
    }
}

/// Sessions through a door: one for the cases of a file, or one for each case where the file says so.
struct Asker<'d> {
    door: &'d Door,
    way: Way,
    /// What is written is taken back.
    undoes: bool,
    session: Option<(Talk, String)>,
}

impl<'d> Asker<'d> {
    fn new(door: &'d Door, way: Way) -> Self {
        Self { door, way, undoes: false, session: None }
    }

    /// Past the gateway nothing is denied: what a case writes there is taken back, unless it says itself where its
    /// transactions end.
    fn past(door: &'d Door) -> Self {
        Self { undoes: true, ..Self::new(door, Way::Simple) }
    }

    /// All answers to a case.
    fn ask(&mut self, case: &Case) -> Vec<Message> {
        let (mut talk, file) = match self.session.take() {
            Some(session) if session.1 == case.session => session,
            _ => (self.door.session("postgres"), case.session.clone()),
        };
        if self.undoes && !case.has_transactions() {
            talk.ask(Way::Simple, "BEGIN");
        }
        let answers = case.statements.iter().flat_map(|statement| talk.ask(self.way, statement)).collect();
        let cleared = ["ROLLBACK", "DISCARD ALL"].map(|statement| talk.ask(Way::Simple, statement));
        // A session that ended, or that cannot be cleared, is not used again.
        let lives = cleared[1].iter().any(|message| message.kind == b'C');
        self.session = lives.then_some((talk, file));
        answers
    }
}

fn lines(messages: &[Message]) -> String {
    let told = messages.iter().filter(|message| !matches!(message.kind, b'S' | b'K' | b'Z' | b'T'));
    told.fold(String::new(), |mut lines, message| {
        let _ = write!(lines, "\n      {}", message.line().chars().take(300).collect::<String>());
        lines
    })
}

#[derive(Default)]
struct Found {
    wrong: Vec<String>,
    cases: usize,
    shown_without_us: usize,
    denied: usize,
}

impl Found {
    /// What comes of a case is what its file says, and no canary is in it.
    fn expected(&mut self, case: &Case, [ours, binary, theirs]: [&mut Asker<'_>; 3]) {
        let (theirs, ours) = (theirs.ask(case), ours.ask(case));
        let outcome = Outcome::of(&ours, &theirs);
        self.cases += 1;
        self.shown_without_us += usize::from(in_messages(&theirs).is_some());
        self.denied += usize::from(outcome >= Outcome::Held);
        let place = format!("{}: {}", case.place, case.statements.join("; "));
        if outcome != case.outcome {
            self.wrong.push(format!(
                "{place}\n   {outcome}, not {}\n   with us:{}\n   without:{}",
                case.outcome,
                lines(&ours),
                lines(&theirs)
            ));
        }
        self.quiet(case, &ours);
        self.quiet(case, &binary.ask(case));
    }

    /// No canary is in it, whatever comes of it.
    fn quiet(&mut self, case: &Case, ours: &[Message]) {
        if let Some(canary) = in_messages(ours) {
            let place = format!("{}: {}", case.place, case.statements.join("; "));
            self.wrong.push(format!("{place}\n   SHOWS {canary}{}", lines(ours)));
        }
    }

    fn end(&self) {
        println!(
            "{} cases; {} show a value without a gateway; {} denied or held",
            self.cases, self.shown_without_us, self.denied
        );
        assert!(self.wrong.is_empty(), "{} of {}:\n{}", self.wrong.len(), self.cases, self.wrong.join("\n"));
    }
}

/// No line of the record holds one.
fn the_record_is_quiet(shop: &Shop, store: &ClickHouse<'_>) {
    wait::until("a copy of all", || {
        let shipping = shop.world.cli_json(&["status"])["shipping"].clone();
        shipping["lag_events"] == 0 && shipping["error"].is_null()
    });
    let journal = shop.world.sh("cat /var/lib/gateway/journal/*/*.jsonl");
    let rows = store.ask("SELECT * FROM gateway.events FORMAT JSONEachRow");
    assert!(rows.lines().count() > 1_000 && journal.lines().count() > 1_000, "the record is not there");
    let of = |text: &str| text.lines().find_map(|line| Some(format!("{}: {line}", in_record(line)?)));
    assert_eq!((of(&journal), of(&rows)), (None, None));
}

fn nothing_leaks(version: Version, cluster: &'static Cluster) {
    let (shop, masking) = Shop::with_corpus(cluster);
    let store = ClickHouse::migrated(&shop.world);
    let _gateway = shop.attach_with(&format!("{masking}{}", store.section()));
    let (inside, outside) = (Door::new(&shop, Side::Inside), shop.beside());
    let mut found = Found::default();
    let (mut ours, mut binary) = (Asker::new(&inside, Way::Simple), Asker::new(&inside, Way::Binary));
    let mut theirs = Asker::past(&outside);
    for case in corpus::cases("leaks", version) {
        found.expected(&case, [&mut ours, &mut binary, &mut theirs]);
    }
    found.end();
    assert!(found.cases >= 300 && found.shown_without_us >= 200, "the corpus asks for too little");
    the_record_is_quiet(&shop, &store);
}

fn nothing_leaks_without_the_guard(version: Version, cluster: &'static Cluster) {
    let (shop, masking) = Shop::with_corpus(cluster);
    let _gateway = shop.attach_with(&format!("{UNGUARDED}{masking}"));
    let inside = Door::new(&shop, Side::Inside);
    let (mut found, mut asker) = (Found::default(), Asker::new(&inside, Way::Simple));
    for case in corpus::cases("leaks", version) {
        found.cases += 1;
        found.quiet(&case, &asker.ask(&case));
    }
    found.end();
}

#[test]
fn nothing_leaks_on_15() {
    nothing_leaks(Version::V15, cluster::remote());
}

#[test]
fn nothing_leaks_on_18() {
    nothing_leaks(Version::V18, cluster::remote_newest());
}

#[test]
fn labels_alone_hide_values_on_15() {
    nothing_leaks_without_the_guard(Version::V15, cluster::remote());
}

#[test]
fn labels_alone_hide_values_on_18() {
    nothing_leaks_without_the_guard(Version::V18, cluster::remote_newest());
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    frame(b'P', &[name.as_bytes(), b"\0", text.as_bytes(), b"\0\0\0"].concat())
}

/// A portal of a statement without parameters, with results in this format.
fn bind(portal: &str, name: &str, format: u8) -> Vec<u8> {
    frame(b'B', &[portal.as_bytes(), b"\0", name.as_bytes(), &[0, 0, 0, 0, 0, 0, 1, 0, format]].concat())
}

fn describe(kind: u8, name: &str) -> Vec<u8> {
    frame(b'D', &[&[kind], name.as_bytes(), b"\0"].concat())
}

fn execute(portal: &str, rows: u32) -> Vec<u8> {
    frame(b'E', &[portal.as_bytes(), b"\0", &rows.to_be_bytes()].concat())
}

fn query(text: &str) -> Vec<u8> {
    frames(Way::Simple, text)
}

const READ: &str = "SELECT ssn, salary FROM customers";

fn sync() -> Vec<u8> {
    frame(b'S', b"")
}

/// What was prepared as `s`, run.
fn again(format: u8) -> Vec<u8> {
    [bind("", "s", format), execute("", 0), sync()].concat()
}

fn made() -> Vec<u8> {
    [parse("s", READ), describe(b'S', "s"), sync()].concat()
}

/// Bytes in one write each, every one up to the next ReadyForQuery.
type Writes = (&'static str, Vec<Vec<u8>>);

/// Names that one protocol makes are used by the other, and portals stand side by side.
fn across_protocols() -> Vec<Writes> {
    vec![
        ("a statement of SQL, bound", vec![query(&format!("PREPARE s AS {READ}")), again(0), again(1)]),
        ("a statement of the protocol, executed by SQL", vec![made(), query("EXECUTE s")]),
        (
            "a cursor of SQL, run by the protocol",
            vec![
                query("BEGIN"),
                query(&format!("DECLARE c CURSOR FOR {READ}")),
                [describe(b'P', "c"), execute("c", 1), execute("c", 0), sync()].concat(),
            ],
        ),
        (
            "a portal of the protocol, fetched by SQL",
            vec![
                query("BEGIN"),
                [parse("s", READ), bind("p", "s", 1), execute("p", 1), sync()].concat(),
                query("FETCH ALL FROM p"),
                query("MOVE BACKWARD ALL FROM p"),
                query("FETCH 1 FROM p"),
            ],
        ),
        (
            "portals side by side, in pieces and in both formats",
            vec![
                [
                    parse("s", READ),
                    bind("a", "s", 0),
                    bind("b", "s", 1),
                    execute("a", 1),
                    execute("b", 1),
                    execute("a", 1),
                    execute("b", 0),
                    sync(),
                ]
                .concat(),
            ],
        ),
        (
            "a format for each column, and nobody asks for a description",
            vec![
                [
                    parse("", READ),
                    frame(b'B', b"\0\0\0\0\0\0\0\x02\0\x01\0\0"),
                    execute("", 0),
                    frame(b'B', b"\0\0\0\0\0\0\0\x02\0\0\0\x01"),
                    execute("", 0),
                    sync(),
                ]
                .concat(),
            ],
        ),
        (
            "a name that is made anew while its portal waits",
            vec![
                query("BEGIN"),
                [
                    parse("s", "SELECT 'x', 1"),
                    bind("p", "s", 0),
                    frame(b'C', b"Ss\0"),
                    parse("s", READ),
                    bind("q", "s", 0),
                    execute("p", 0),
                    execute("q", 0),
                    sync(),
                ]
                .concat(),
            ],
        ),
    ]
}

/// What a statement reads has changed when it runs: the server plans it anew (`RevalidateCachedQuery`, plancache.c).
fn planned_anew() -> Vec<Writes> {
    let run = |text: &str| [parse("", text), bind("", "", 0), execute("", 0)].concat();
    let shadow = "CREATE TEMP TABLE customers (id int, ssn text, salary int)";
    vec![
        (
            "the temporary table that a statement read is gone",
            vec![query(shadow), made(), again(0), query("DROP TABLE pg_temp.customers"), again(0), again(1)],
        ),
        (
            "it goes in the same pipeline",
            vec![
                query(shadow),
                [parse("s", READ), run("DROP TABLE pg_temp.customers"), again(0)].concat(),
                [run("DISCARD TEMP"), again(1)].concat(),
                again(0),
            ],
        ),
        (
            "the transaction that made it is rolled back",
            vec![query("BEGIN"), query(shadow), made(), again(0), query("ROLLBACK"), again(0), query("EXECUTE s")],
        ),
        (
            "it is gone at the end of its transaction",
            vec![
                query("BEGIN"),
                query(&format!("{shadow} ON COMMIT DROP")),
                query(&format!("PREPARE s AS {READ}")),
                query("EXECUTE s"),
                query("COMMIT"),
                query("EXECUTE s"),
                again(1),
            ],
        ),
        (
            "the search path finds another relation",
            vec![
                query("SET search_path = other, public"),
                made(),
                again(0),
                query("SET search_path = public"),
                again(0),
                query("EXECUTE s"),
                query("BEGIN; SET LOCAL search_path = other; EXECUTE s; ROLLBACK; EXECUTE s"),
            ],
        ),
    ]
}

fn names_show_no_more(cluster: &'static Cluster) {
    let (shop, masking) = Shop::with_corpus(cluster);
    shop.admin("CREATE SCHEMA other; CREATE TABLE other.customers (id int, ssn text, salary int)");
    let _gateway = shop.attach_with(&masking);
    let (inside, outside) = (Door::new(&shop, Side::Inside), shop.beside());
    for (what, writes) in across_protocols().into_iter().chain(planned_anew()) {
        let talked = |door: &Door| -> Vec<Message> {
            let mut talk = door.session("postgres");
            let ask = |bytes: &Vec<u8>| {
                talk.send(bytes);
                talk.answer(1)
            };
            writes.iter().flat_map(ask).collect()
        };
        let ours = talked(&inside);
        assert!(in_messages(&ours).is_none(), "{what}: {}", lines(&ours));
        let is_masked = |message: &Message| message.line().contains("[ssn") || message.refusal().is_some();
        assert!(ours.iter().any(is_masked), "{what}: nothing was asked: {}", lines(&ours));
        assert!(in_messages(&talked(&outside)).is_some(), "{what}: no value is shown without a gateway either");
    }
}

#[test]
fn a_name_shows_no_more_than_what_it_stands_for_on_15() {
    names_show_no_more(cluster::remote());
}

#[test]
fn a_name_shows_no_more_than_what_it_stands_for_on_18() {
    names_show_no_more(cluster::remote_newest());
}
