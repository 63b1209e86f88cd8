//! PostgreSQL's own regression tests, from Debian's source package of the server.
//!
//! In: a side of a shop's host. Out: all that passed between the stock psql and a server while it ran a file of them. What
//! differs between any two servers that were asked the same is known here, and nothing else is left out.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::cluster::{Cluster, Shape, Version, cached};
use crate::shop::{Shop, Side};
use crate::talk::{Door, Message, Talk, frame};
use crate::tap::{Exchange, Ids, Tap};

/// The database of the tests.
pub const DATABASE: &str = "regression";

/// psql on the way to a server.
pub struct Bench {
    tap: Tap,
    files: PathBuf,
    door: Door,
}

/// A server of its own: object ids are those of another that was asked the same.
pub fn server() -> Shop {
    let cluster = Box::leak(Box::new(Cluster::start(Version::V15, Shape::Remote)));
    let shop = Shop::at(cluster);
    cluster.admin(&format!("CREATE DATABASE {DATABASE} TEMPLATE template0"));
    for setting in ["lc_messages TO 'C'", "lc_monetary TO 'C'", "timezone_abbreviations TO 'Default'"] {
        cluster.admin(&format!("ALTER DATABASE {DATABASE} SET {setting}"));
    }
    shop
}

/// The files where servers can read and write them.
pub fn files() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("gateway-regress-").tempdir().unwrap();
    let script = r#"cp -r "$0"/* "$1"; mkdir "$1/results"; chmod -R a+rwX "$1""#;
    let from = cached("regression-sql-");
    assert!(Command::new("sh").args(["-ec", script]).arg(from).arg(folder.path()).status().unwrap().success());
    folder
}

/// Files of the schedule in its order: these, or all with `GATEWAY_SOAK`.
pub fn schedule(part: &[&str]) -> Vec<String> {
    let text = fs::read_to_string(cached("regression-sql-").join("parallel_schedule")).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("test:"));
    let all = lines.flat_map(|line| line.split_whitespace().map(str::to_owned));
    let whole = std::env::var_os("GATEWAY_SOAK").is_some();
    all.filter(|name| whole || part.contains(&name.as_str())).collect()
}

impl Bench {
    /// On this side.
    pub fn new(shop: &Shop, side: Side, files: &tempfile::TempDir) -> Self {
        let door = Door::to(shop, side, DATABASE);
        let tap = Tap::new(&door, &shop.world.directory().join("tap"));
        Self { tap, files: files.path().to_owned(), door }
    }

    /// The way past psql and the tap.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Runs one file to its end, and returns all that passed.
    pub fn run(&self, name: &str) -> Vec<Exchange> {
        let script = self.files.join("sql").join(format!("{name}.sql"));
        let mut psql = Command::new("timeout");
        psql.args(["900", "psql", "-X", "-a", "-q", "-d", DATABASE, "-U", "postgres", "-p", "5432", "-h"]);
        psql.arg(self.tap.folder()).env_clear().env("PATH", "/usr/bin:/bin").env("PGTZ", "PST8PDT");
        psql.env("PGDATESTYLE", "Postgres, MDY").env("PGOPTIONS", "-c intervalstyle=postgres_verbose");
        psql.env("PG_ABS_SRCDIR", &self.files).env("PG_ABS_BUILDDIR", &self.files);
        psql.env("PG_LIBDIR", "/usr/lib/postgresql/15/lib").env("PG_DLSUFFIX", ".so").env("HOME", &self.files);
        psql.stdin(fs::File::open(&script).unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
        assert_ne!(psql.status().unwrap().code(), Some(124), "{name} runs and runs");
        self.tap.taken()
    }
}

/// What was recorded, sent once more to another server, message by message.
pub struct Replay<'d> {
    door: &'d Door,
    client: Option<Talk>,
    status: u8,
}

impl<'d> Replay<'d> {
    /// To the server behind this door.
    pub fn new(door: &'d Door) -> Self {
        Self { door, client: None, status: 0 }
    }

    /// Sends one exchange; returns the message that ends the answer, and the session, where there is one. `before` gets each
    /// statement before it is sent: the session, how its transaction stands (0: it takes no statement), and the text.
    pub fn send(
        &mut self,
        exchange: &Exchange,
        mut before: impl FnMut(Option<&mut Talk>, u8, &str),
    ) -> Option<(Message, &mut Talk)> {
        for message in &exchange.asked {
            self.pass(message, &mut before);
        }
        let client = self.client.as_mut()?;
        let last = loop {
            let message = client.next()?;
            if matches!(message.kind, b'Z' | b'G') {
                break message;
            }
        };
        self.status = if last.kind == b'Z' { last.body[0] } else { 0 };
        Some((last, client))
    }

    fn pass(&mut self, message: &Message, before: &mut impl FnMut(Option<&mut Talk>, u8, &str)) {
        if message.kind == 0 {
            let mut client = self.door.silent();
            let length = u32::try_from(message.body.len() + 4).unwrap().to_be_bytes();
            client.send(&[&length[..], &message.body].concat());
            self.client = Some(client);
            return;
        }
        let text = match message.kind {
            b'Q' => message.body.split(|byte| *byte == 0).next(),
            b'P' => message.body.split(|byte| *byte == 0).nth(1),
            _ => None,
        };
        if let Some(text) = text {
            before(self.client.as_mut(), self.status, &String::from_utf8_lossy(text));
        }
        // Until it has answered it takes no other.
        self.status = 0;
        if let Some(client) = self.client.as_mut().filter(|_| message.kind != b'X') {
            client.send(&frame(message.kind, &message.body));
        }
    }
}

/// Numbers of five digits and more may be ids of objects, processes and transactions; which of the temporary schemas a
/// session gets depends on who else is there.
pub fn without_ids(text: &str) -> String {
    let mut out = String::new();
    for run in text.split_inclusive(|character: char| !character.is_ascii_digit()) {
        let digits = run.trim_end_matches(|character: char| !character.is_ascii_digit());
        let is_id = digits.len() >= 5 || (!digits.is_empty() && out.ends_with("_temp_"));
        out.push_str(if is_id { "#" } else { digits });
        out.push_str(&run[digits.len()..]);
    }
    out
}

/// An exchange of each side about the same statement; one alone that the other side does not have.
pub type Pair = (Option<Exchange>, Option<Exchange>);

/// Exchanges of two sides, in order.
pub fn paired(ours: Vec<Exchange>, theirs: Vec<Exchange>) -> Vec<Pair> {
    let keys = |all: &[Exchange]| all.iter().map(|exchange| without_ids(&exchange.text())).collect::<Vec<_>>();
    let (our_keys, their_keys) = (keys(&ours), keys(&theirs));
    let (mut ours, mut theirs) = (ours.into_iter(), theirs.into_iter());
    let (mut pairs, mut here, mut there) = (Vec::new(), 0, 0);
    while here < our_keys.len() || there < their_keys.len() {
        // How many to leave out on either side until both say the same again.
        let skipped = (0..60).flat_map(|sum| (0..=sum).map(move |ours| (ours, sum - ours))).find(|(ours, theirs)| {
            let (our, their) = (our_keys.get(here + ours), their_keys.get(there + theirs));
            our.is_some() && our == their
        });
        let (our, their) = skipped.unwrap_or((our_keys.len() - here, their_keys.len() - there));
        pairs.extend(ours.by_ref().take(our).map(|exchange| (Some(exchange), None)));
        pairs.extend(theirs.by_ref().take(their).map(|exchange| (None, Some(exchange))));
        (here, there) = (here + our, there + their);
        if skipped.is_some() {
            pairs.push((ours.next(), theirs.next()));
            (here, there) = (here + 1, there + 1);
        }
    }
    pairs
}

/// What two answers to one statement amount to.
pub enum Compared {
    /// Equal to the byte.
    Same,
    /// But for ids in rows and texts.
    SameButIds,
    /// The gateway refused what the server refuses too, in other words.
    RefusedByBoth,
    /// The gateway refused what the server runs: its words.
    Refused(String),
    /// Both, for people.
    Differs(String),
}

/// Compares.
pub fn compare(ids: &mut Ids, ours: &Exchange, theirs: &Exchange) -> Compared {
    let lines = |messages: &[Message]| messages.iter().map(Message::line).collect::<Vec<_>>().join("\n      ");
    let [our, their] = ids.plain(ours, theirs);
    if our == their {
        return Compared::Same;
    }
    if let Some(refusal) = our.iter().find_map(Message::refusal) {
        let both = their.iter().any(|message| message.kind == b'E');
        return if both { Compared::RefusedByBoth } else { Compared::Refused(refusal) };
    }
    let (our, their) = (lines(&our), lines(&their));
    if without_ids(&our) == without_ids(&their) {
        return Compared::SameButIds;
    }
    let cut = |lines: &str| lines.chars().take(1_500).collect::<String>();
    Compared::Differs(format!("with us\n      {}\n   without\n      {}", cut(&our), cut(&their)))
}
