//! PostgreSQL's own regression tests, directly and through the gateway: what is refused though no policy means it, and
//! what differs in any byte.
//!
//! In: the SQL of Debian's source package of the server, run by the stock psql on two servers alike. With `observe` the
//! shipped packs decide and journal, and block nothing: all of it runs. Out: each statement that does not run as it does
//! directly, but for those that `EXPLAINED` explains. The ordinary tests run a part, `cargo xtask soak` the whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cluster::{Cluster, Shape, Version, cached};
use crate::shop::{Shop, Side};
use crate::talk::{Door, Message};
use crate::tap::{Exchange, Tap};

/// One server with the database of the tests, and psql on the way to it.
struct Bench {
    shop: Shop,
    tap: Tap,
    files: PathBuf,
    _door: Door,
}

impl Bench {
    fn new(side: Side, files: &Path) -> Self {
        let cluster = Box::leak(Box::new(Cluster::start(Version::V15, Shape::Remote)));
        let shop = Shop::at(cluster);
        cluster.admin("CREATE DATABASE regression TEMPLATE template0");
        for setting in ["lc_messages TO 'C'", "lc_monetary TO 'C'", "timezone_abbreviations TO 'Default'"] {
            cluster.admin(&format!("ALTER DATABASE regression SET {setting}"));
        }
        let door = Door::to(&shop, side, "regression");
        let folder = shop.world.directory().join("tap");
        let tap = Tap::new(&door, &folder);
        Self { shop, tap, files: files.to_owned(), _door: door }
    }

    /// Runs one file to its end, and returns all that passed.
    fn run(&self, name: &str) -> Vec<Exchange> {
        let script = self.files.join("sql").join(format!("{name}.sql"));
        let mut psql = Command::new("timeout");
        psql.args(["300", "psql", "-X", "-a", "-q", "-d", "regression", "-U", "postgres", "-p", "5432", "-h"]);
        psql.arg(self.tap.folder()).env_clear().env("PATH", "/usr/bin:/bin").env("PGTZ", "PST8PDT");
        psql.env("PGDATESTYLE", "Postgres, MDY").env("PGOPTIONS", "-c intervalstyle=postgres_verbose");
        psql.env("PG_ABS_SRCDIR", &self.files).env("PG_ABS_BUILDDIR", &self.files);
        psql.env("PG_LIBDIR", "/usr/lib/postgresql/15/lib").env("PG_DLSUFFIX", ".so").env("HOME", &self.files);
        psql.stdin(fs::File::open(&script).unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = psql.status().unwrap();
        assert_ne!(status.code(), Some(124), "{name} runs and runs");
        self.tap.taken()
    }
}

/// The files where servers can read and write them.
fn files() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("gateway-regress-").tempdir().unwrap();
    let from = cached("regression-sql-");
    let script = r#"cp -r "$0"/* "$1"; mkdir "$1/results"; chmod -R a+rwX "$1""#;
    assert!(Command::new("sh").args(["-ec", script]).arg(from).arg(folder.path()).status().unwrap().success());
    folder
}

/// The files in the order of the schedule.
fn schedule() -> Vec<String> {
    let text = fs::read_to_string(cached("regression-sql-").join("parallel_schedule")).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("test:"));
    lines.flat_map(|line| line.split_whitespace().map(str::to_owned)).collect()
}

/// Without what differs between any two sessions, or servers: reported settings, keys, addresses.
fn comparable(exchange: &Exchange) -> Vec<Message> {
    exchange.answers.iter().filter(|message| !matches!(message.kind, b'S' | b'K')).cloned().collect()
}

/// Digits may be object ids, process ids, transaction ids, times.
fn without_numbers(messages: &[Message]) -> Vec<String> {
    let plain = |message: &Message| {
        let mut text = String::new();
        for character in message.line().chars() {
            match character {
                '0'..='9' if text.ends_with('#') => {}
                '0'..='9' => text.push('#'),
                other => text.push(other),
            }
        }
        text
    };
    messages.iter().map(plain).collect()
}

#[test]
fn regression_sql_runs_as_without_a_gateway() {
    let files = files();
    let (direct, through) = (Bench::new(Side::Outside, files.path()), Bench::new(Side::Inside, files.path()));
    let _gateway = through.shop.world.attach(&["--observe"]);
    let only = std::env::var("GATEWAY_REGRESS").ok();
    let (mut asked, mut report) = (0, Vec::new());
    for name in
        schedule().iter().filter(|name| only.as_ref().is_none_or(|only| only.split(',').any(|one| one == *name)))
    {
        let started = std::time::Instant::now();
        let theirs = direct.run(name);
        let middle = started.elapsed();
        let ours = through.run(name);
        println!(
            "{name}: {} exchanges, {} through us, {middle:?} {:?}",
            theirs.len(),
            ours.len(),
            started.elapsed() - middle
        );
        asked += theirs.len();
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let (our, their) = (comparable(ours), comparable(theirs));
            if our == their {
                continue;
            }
            let refusal = our.iter().find_map(Message::refusal);
            let same = without_numbers(&our) == without_numbers(&their);
            let text: String = ours.text().chars().take(200).collect();
            let lines = |messages: &[Message]| {
                let lines = messages.iter().map(|message| message.line().chars().take(300).collect::<String>());
                lines.take(6).collect::<Vec<_>>().join("\n      ")
            };
            match refusal {
                Some(refusal) => report.push(format!("REFUSED {name}: {text}\n   {refusal}")),
                None if same => report.push(format!("NUMBERS {name}: {text}")),
                None => report.push(format!(
                    "DIFFERS {name}: {text}\n   with us\n      {}\n   without\n      {}",
                    lines(&our),
                    lines(&their)
                )),
            }
        }
    }
    println!("{asked} exchanges\n{}", report.join("\n"));
}
