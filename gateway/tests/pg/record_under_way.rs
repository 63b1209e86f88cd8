//! Batches of the record that are under way at once: what is noted of them, and what is there when the shipper is killed
//! meanwhile, on a real ClickHouse.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::clickhouse::{ClickHouse, PORT};
use crate::gateway::{is_running, send};
use crate::shop::Shop;
use crate::story_record::{caught_up, nothing_is_lost_and_nothing_is_there_twice, shipper, shipping};
use crate::wait;

/// Lines of a batch, so that the shortest journal has more than one.
const BATCH: u64 = 3;

/// Journals that are there before there is a store.
fn shop_with_journals() -> Shop {
    let shop = Shop::new();
    let mut gateway = shop.attach_with("");
    assert!(shop.psql(&["SELECT item FROM orders WHERE id < 9"; 8]).ok);
    gateway.stop();
    drop(gateway);
    shop
}

/// How far the checkpoint says that all journals are copied.
fn noted(shop: &Shop) -> u64 {
    let Ok(text) = fs::read(shop.world.directory().join("state/shipped.json")) else { return 0 };
    let noted: Value = serde_json::from_slice(&text).unwrap();
    noted["journals"].as_object().unwrap().values().map(|place| place["seq"].as_u64().unwrap()).sum()
}

fn count(store: &ClickHouse<'_>, what: &str) -> u64 {
    store.ask(&format!("SELECT {what} FROM gateway.events")).parse().unwrap()
}

#[test]
fn a_shipper_that_is_killed_with_two_batches_under_way_leaves_each_line_once() {
    let shop = shop_with_journals();
    let store = ClickHouse::migrated(&shop.world);
    // A merge would drop what is there twice.
    store.ask("SYSTEM STOP MERGES gateway.events");
    store.signal(Signal::STOP);
    let _gateway = shop.attach_with(&format!("{}batch = {BATCH}\n", store.section()));
    // The oldest journal is the warden's, and has lines of no session: each of its batches is one insert.
    let inserts = format!("ss -Htn state established '( dport = :{PORT} )' | wc -l");
    wait::until("two batches under way", || shop.world.sh(&inserts).trim() == "2");
    assert!(shop.psql(&["SELECT 1"]).ok, "nothing waits for it");
    assert_eq!(shop.world.sh(&inserts).trim(), "2", "nor is more of it in memory");
    let killed = shipper(&shop.world);
    send(killed, Signal::KILL);
    wait::until("its end", || !is_running(killed));
    assert_eq!(noted(&shop), 0, "nothing was acknowledged");
    store.signal(Signal::CONT);
    caught_up(&shop.world);
    assert!(noted(&shop) > 2 * BATCH);
    // What it had sent was taken in after it was gone, and the next one sent it again.
    wait::until("both batches twice", || count(&store, "count() - uniqExact(line_hash)") >= 2 * BATCH);
    nothing_is_lost_and_nothing_is_there_twice(&shop.world, &store);
}

#[test]
fn a_batch_that_is_kept_before_the_one_in_front_of_it_is_not_noted() {
    let shop = shop_with_journals();
    let store = ClickHouse::migrated(&shop.world);
    let of_first = format!("seq <= {BATCH}");
    // Refused, and later than the ones behind it are kept.
    store.ask(&format!(
        "ALTER TABLE gateway.events ADD CONSTRAINT first_batch CHECK NOT ({of_first} AND sleepEachRow(0.5) = 0)"
    ));
    let _gateway = shop.attach_with(&format!("{}batch = {BATCH}\n", store.section()));
    let error = wait::for_some("an error in the status", || shipping(&shop.world)["error"].as_str().map(str::to_owned));
    assert!(error.contains("VIOLATED_CONSTRAINT"), "{error}");
    wait::until("the second batch of some journal", || count(&store, &format!("countIf(seq > {BATCH})")) >= BATCH);
    assert_eq!(count(&store, &format!("countIf({of_first})")), 0);
    assert_eq!(noted(&shop), 0, "of no journal the first batch is there");
    store.ask("ALTER TABLE gateway.events DROP CONSTRAINT first_batch");
    nothing_is_lost_and_nothing_is_there_twice(&shop.world, &store);
}
