//! Random queries over labelled tables (G4): nobody chose them, and no byte of what comes back is a labelled value.
//!
//! In: sqlsmith, which reads the catalog and writes queries that the server's grammar and types allow. Out: no canary in
//! any answer; and enough of the queries ran for that to say something. 90 seconds here, an hour with `GATEWAY_SOAK`.

use std::process::{Command, Stdio};
use std::thread;

use crate::canary::in_messages;
use crate::cluster::{self, Cluster};
use crate::shop::{Shop, Side};
use crate::talk::{Door, Message};
use crate::tap::Tap;

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
    let output = sqlsmith.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(124), "{}", String::from_utf8_lossy(&output.stderr));
    let exchanges = tap.taken();
    let (mut ran, mut refused) = (0, 0);
    for exchange in &exchanges {
        refused += usize::from(exchange.answers.iter().any(|message| message.refusal().is_some()));
        ran += usize::from(exchange.answers.iter().any(|message| message.kind == b'T'));
        let shown = in_messages(&exchange.answers);
        let lines = || exchange.answers.iter().map(Message::line).collect::<Vec<_>>().join("\n");
        assert!(shown.is_none(), "{shown:?}: {}\n{}", exchange.text(), lines());
    }
    let uncertain = |message: &Message| message.refusal().is_some_and(|refusal| refusal.contains("with certainty"));
    let uncertain = exchanges.iter().filter(|exchange| exchange.answers.iter().any(uncertain)).count();
    println!("{} queries, {ran} ran, {refused} refused, {uncertain} not rewritten", exchanges.len());
    // At the source all but a few can be rewritten, and what they compare is no reason to refuse them.
    assert!(uncertain * 20 <= exchanges.len(), "{uncertain} of {} are not rewritten", exchanges.len());
    // There nearly all run, which takes the server's time.
    let (least_ran, least_refused) = if masked == Masked::AtSource { (10, 0) } else { (30, 30) };
    let count = exchanges.len();
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
