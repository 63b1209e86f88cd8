//! A session told from the journal: stock psql, a real approval, and what `gateway replay` makes of it.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::shop::{Shop, Side};
use crate::wait;

#[test]
fn a_session_is_told_in_order_with_its_denial_its_approval_and_its_end() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&[]);
    let mut command = shop.command(Side::Inside, &[], &["psql", "-XAtqw"]);
    let mut psql = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = psql.stdin.take().unwrap();
    input
        .write_all(
            b"SELECT count(*) FROM orders;\nDROP TABLE orders;\nSELECT nothing FROM orders;\n\
              CREATE TABLE replayed\n\t(a int);\n",
        )
        .unwrap();
    let asked = shop.world.event("approval.requested", |body| body["summary"].to_string().contains("replayed"));
    let ticket = asked["ticket"].as_str().unwrap();
    let sessions = shop.world.cli_json(&["sessions"]);
    let ours = |one: &&Value| one["start"]["who"]["executable"].to_string().contains("psql");
    let id = sessions.as_array().unwrap().iter().find(ours).unwrap()["session"].as_str().unwrap().to_owned();
    let running = shop.world.cli(&["replay", &id]);
    assert!(running.status.success() && running.out.trim_end().ends_with("open   it still runs"), "{running:?}");
    assert!(shop.world.cli(&["approve", ticket, "--reason", "needed for the report"]).status.success());
    drop(input);
    let output = psql.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "100", "{output:?}");
    wait::until("its end", || shop.world.cli(&["replay", &id]).out.contains("the client closed"));
    let page = shop.world.cli(&["replay", &id]).out;
    let expected = [
        "DENY DROP TABLE orders",
        "by guard.postgres.destructive: DROP and TRUNCATE are not for this workload",
        "allow SELECT nothing FROM orders",
        "SQLSTATE 42703",
        "HOLD CREATE TABLE replayed (a int);",
        "by guard.postgres.schema-change: CREATE and ALTER wait for a person",
        ticket,
        "root approved it for local:approvers after",
        "needed for the report",
        "sent, once, after",
        "done in",
        "end the client closed",
        "4 requests: 1 denied, 1 held; 1 row;",
    ];
    // Where lines are broken depends on the numbers in them.
    let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rest = words.as_str();
    for text in std::iter::once("allow SELECT count(*) FROM orders").chain(expected) {
        let at = rest.find(text).unwrap_or_else(|| panic!("no `{text}` where it belongs:\n{page}"));
        rest = &rest[at..];
    }
    assert!(page.lines().all(|line| line.chars().count() <= 100), "{page}");
    let timeline = shop.world.cli_json(&["replay", &id]);
    let steps = timeline["steps"].as_array().unwrap();
    let held = steps.iter().find(|step| step["body"]["decision"]["verdict"] == "hold").unwrap();
    assert_eq!(held["outcome"]["body"]["status"], "ok", "{held}");
    let kinds: Vec<_> = held["approval"].as_array().unwrap().iter().map(|record| record["kind"].clone()).collect();
    assert_eq!(kinds, ["approval.requested", "approval.decided", "approval.consumed"]);
    let unknown = shop.world.cli(&["replay", "01989b5e"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(unknown.err.contains("`gateway sessions`"), "{unknown:?}");
}
