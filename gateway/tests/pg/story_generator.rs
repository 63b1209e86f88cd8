//! Random queries over labelled tables (G4): nobody chose them, and no byte of what comes back is a labelled value.
//!
//! In: sqlsmith, which reads the catalog and writes queries that the server's grammar and types allow. Out: no canary in
//! any answer; and enough of the queries ran for that to say something. 90 seconds here, an hour with `GATEWAY_SOAK`.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::canary::in_messages;
use crate::cluster::{self, Cluster};
use crate::shop::{Shop, Side};
use crate::talk::{Door, Message};
use crate::tap::{Exchange, Tap};
use crate::wait;

/// Seconds for one server.
fn seconds(masked: Masked) -> u32 {
    match (std::env::var_os("GATEWAY_SOAK").is_some(), masked) {
        (true, _) => 3_600,
        (false, Masked::InResults) => 90,
        (false, Masked::AtSource) => 45,
    }
}

/// Where values are masked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Masked {
    InResults,
    AtSource,
}

/// What came of the queries so far.
#[derive(Default)]
struct Seen {
    count: usize,
    ran: usize,
    refused: usize,
    uncertain: usize,
    shown: Vec<String>,
}

impl Seen {
    fn look(&mut self, exchanges: &[Exchange]) {
        for exchange in exchanges {
            let refusals: Vec<String> = exchange.answers.iter().filter_map(Message::refusal).collect();
            self.count += 1;
            self.refused += usize::from(!refusals.is_empty());
            self.ran += usize::from(exchange.answers.iter().any(|message| message.kind == b'T'));
            self.uncertain += usize::from(refusals.iter().any(|refusal| refusal.contains("with certainty")));
            if let Some(canary) = in_messages(&exchange.answers) {
                let lines = exchange.answers.iter().map(Message::line).collect::<Vec<_>>().join("\n");
                self.shown.push(format!("{canary}: {}\n{lines}", exchange.text()));
            }
        }
    }
}

fn no_random_query_shows_a_value(cluster: &'static Cluster, masked: Masked) {
    let (shop, masking) = Shop::with_corpus(cluster);
    let _gateway = match masked {
        Masked::InResults => shop.attach_with(&masking),
        Masked::AtSource => shop.attach_corpus("source", ""),
    };
    let door = Door::new(&shop, Side::Inside);
    let tap = Tap::new(&door, &shop.world.directory().join("tap"));
    let target = format!("--target=host={} user=agent dbname={}", tap.folder().display(), shop.database);
    let mut sqlsmith = Command::new("timeout");
    sqlsmith.args([&seconds(masked).to_string(), "sqlsmith", "--exclude-catalog", "--seed=7", &target]);
    let errors = shop.world.directory().join("sqlsmith");
    sqlsmith.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&errors).unwrap());
    let mut sqlsmith = sqlsmith.spawn().unwrap();
    let mut seen = Seen::default();
    // What an hour brings is looked at as it comes, and not kept.
    let patience = Duration::from_secs(u64::from(seconds(masked)) + 120);
    let end = wait::for_some_within(patience, "the end of the generator", || {
        let end = sqlsmith.try_wait().unwrap();
        seen.look(&if end.is_some() { tap.taken() } else { tap.finished() });
        end
    });
    assert_eq!(end.code(), Some(124), "{}", fs::read_to_string(&errors).unwrap());
    let Seen { count, ran, refused, uncertain, shown } = seen;
    println!("{count} queries, {ran} ran, {refused} refused, {uncertain} not rewritten");
    assert!(shown.is_empty(), "{} show a value:\n{}", shown.len(), shown.join("\n"));
    // At the source all but a few can be rewritten, and what they compare is no reason to refuse them.
    assert!(uncertain * 20 <= count, "{uncertain} of {count} are not rewritten");
    // There nearly all run, which takes the server's time.
    let (least_ran, least_refused) = if masked == Masked::AtSource { (10, 0) } else { (30, 30) };
    assert!(ran >= least_ran && refused >= least_refused, "too few queries say nothing: {count} of them");
}

#[test]
fn no_random_query_shows_a_value_on_either_server() {
    // At the same time: they wait for their servers.
    thread::scope(|scope| {
        for cluster in [cluster::remote(), cluster::remote_newest()] {
            scope.spawn(|| no_random_query_shows_a_value(cluster, Masked::InResults));
        }
    });
}

#[test]
fn no_random_query_shows_a_value_that_is_masked_at_the_source() {
    no_random_query_shows_a_value(cluster::remote(), Masked::AtSource);
}
