//! Cancelled statements, clients and servers that die, and a disk that is full.

use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;

use crate::cluster::{Cluster, Shape, Version};
use crate::gateway::send;
use crate::shop::{ENDLESS, Shop, Side};
use crate::wait;

#[test]
fn an_interrupted_psql_cancels_at_the_server() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&[]);
    let psql = shop.start_psql(&format!("{ENDLESS} AS marker_cancel"));
    shop.runs("marker_cancel");
    send(psql.id(), Signal::INT);
    let output = psql.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("canceling statement due to user request"), "{said}");
    assert!(!shop.is_running("marker_cancel"));
    let (_, outcome) = shop.journaled("marker_cancel");
    assert_eq!(outcome["sqlstate"], "57014", "{outcome}");
}

#[test]
fn a_killed_client_takes_its_transaction_with_it_and_the_journal_knows() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&[]);
    let mut psql =
        shop.start_psql(&format!("BEGIN; INSERT INTO orders VALUES (4001, 'gone'); {ENDLESS} AS marker_killed"));
    shop.runs("marker_killed");
    psql.kill().unwrap();
    psql.wait().unwrap();
    wait::until("the end of the statement at the server", || !shop.is_running("marker_killed"));
    assert_eq!(shop.admin("SELECT count(*) FROM orders WHERE id = 4001"), "0");
    let (_, outcome) = shop.journaled("marker_killed");
    assert!(outcome["sqlstate"] == "57014" || outcome["status"] == "lost", "{outcome}");
    shop.world.event("session.end", |body| body["cause"] == "client");
}

#[test]
fn a_server_that_dies_is_told_to_the_client_and_recorded() {
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(Version::V15, Shape::Remote)));
    let shop = Shop::at(cluster);
    let _gateway = shop.world.attach(&[]);
    // One that waits can say its last words; in the middle of work it may get stuck over them, and is killed without.
    let holding = std::thread::spawn({
        let database = shop.database.clone();
        move || cluster.psql(&database, "LOCK TABLE orders; SELECT pg_sleep(600) AS marker_holds")
    });
    shop.runs("marker_holds");
    let psql = shop.start_psql("SELECT count(*) AS marker_death FROM orders");
    shop.runs("marker_death");
    cluster.die();
    let output = psql.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("terminating connection"), "{said}");
    assert!(!holding.join().unwrap().status.success());
    let (_, outcome) = shop.journaled("marker_death");
    assert!(outcome["status"] == "error" || outcome["status"] == "lost", "{outcome}");
    shop.world.event("session.end", |body| body["cause"] == "server");
    let ran = shop.psql(&["SELECT 1"]);
    assert!(!ran.ok && ran.err.contains("the server cannot be reached") && ran.err.contains("session "), "{ran:?}");
}

#[test]
fn nothing_is_sent_on_while_the_journal_cannot_be_written() {
    let shop = Shop::new();
    shop.world.sh("umount /var/lib/gateway; mount -t tmpfs -o size=4m none /var/lib/gateway");
    let mut gateway = shop.world.attach(&[]);
    assert_eq!(shop.psql(&["SELECT 'marker_before'"]).out, "marker_before");
    shop.world.sh("dd if=/dev/zero of=/var/lib/gateway/fill bs=4k 2>/dev/null || true");
    let mut refused = 0;
    wait::until("a refusal", || {
        let ran = shop.psql(&["SELECT 'marker_full'"]);
        refused += usize::from(!ran.ok);
        refused > 3
    });
    let before = shop.reached("marker_full");
    for _ in 0..5 {
        let ran = shop.psql(&["SELECT 'marker_full'", "SELECT 'marker_full'"]);
        assert!(!ran.ok && ran.out.is_empty(), "{ran:?}");
    }
    assert_eq!(shop.reached("marker_full"), before, "what was refused never got there");
    let recorded = shop.world.sh("cat /var/lib/gateway/journal/*/*.jsonl | grep -c marker_full || true");
    assert!(recorded.trim().parse::<usize>().unwrap() >= before, "what got there is recorded: {recorded} of {before}");
    shop.world.sh("rm /var/lib/gateway/fill");
    gateway.kill();
    let _gateway = shop.world.attach(&[]);
    assert_eq!(shop.psql(&["SELECT 'marker_after'"]).out, "marker_after");
    let said = shop.world.cli(&["audit", "verify"]);
    assert!(said.status.success(), "half a line at the end is no break: {said:?}");
}

#[test]
fn below_the_low_mark_no_session_begins_and_below_the_critical_one_those_that_run_end() {
    let shop = Shop::new();
    shop.world.sh("umount /var/lib/gateway; mount -t tmpfs -o size=64m none /var/lib/gateway");
    let _gateway = shop.attach_with("[audit.journal]\nlow_bytes = 41943040\ncritical_bytes = 20971520\n");
    let fill =
        |name: &str| shop.world.sh(&format!("dd if=/dev/zero of=/var/lib/gateway/{name} bs=1M count=20 2>/dev/null"));
    let told = |words: &str| shop.world.event("gap", |body| body["detail"].as_str().unwrap().ends_with(words));
    let psql = shop.start_psql(&format!("{ENDLESS} AS marker_marks"));
    shop.runs("marker_marks");
    fill("one");
    told("left: no session begins");
    assert!(!shop.psql(&["SELECT 1"]).ok);
    assert_eq!(shop.world.cli_json(&["status"])["gaps"][1]["name"], "disk_low");
    assert!(shop.is_running("marker_marks"), "what runs goes on");
    fill("two");
    told("those that run end");
    let output = psql.wait_with_output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("nearly full"), "{output:?}");
    wait::until("the end of its work", || !shop.is_running("marker_marks"));
    shop.world.sh("rm /var/lib/gateway/one /var/lib/gateway/two");
    told("sessions begin again");
    assert_eq!(shop.psql(&["SELECT 'again'"]).out, "again");
    assert!(shop.world.cli(&["audit", "verify"]).status.success());
}

#[test]
fn a_session_that_was_open_before_sends_nothing_that_cannot_be_written() {
    let shop = Shop::new();
    shop.world.sh("umount /var/lib/gateway; mount -t tmpfs -o size=4m none /var/lib/gateway");
    let _gateway = shop.world.attach(&[]);
    let mut psql = shop.command(Side::Inside, &[], &["timeout", "60", "psql", "-XAtqw"]);
    let mut client = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = client.stdin.take().unwrap();
    input.write_all(b"SELECT 'marker_open';\n").unwrap();
    wait::until("the first statement", || shop.reached("marker_open") > 0);
    shop.world.sh("dd if=/dev/zero of=/var/lib/gateway/fill bs=4k 2>/dev/null || true");
    // A few lines still fit into the last page of the file.
    let _ = input.write_all("SELECT 'marker_late';\n".repeat(50).as_bytes());
    drop(input);
    let output = client.wait_with_output().unwrap();
    let recorded = shop.world.sh("cat /var/lib/gateway/journal/*/*.jsonl | grep -c marker_late || true");
    let (reached, recorded) = (shop.reached("marker_late"), recorded.trim().parse::<usize>().unwrap());
    assert!(reached <= recorded && recorded < 50, "{reached} reached the server, {recorded} are recorded: {output:?}");
}
