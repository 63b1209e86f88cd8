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
use crate::talk::{Door, Message, Talk, Way};
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
