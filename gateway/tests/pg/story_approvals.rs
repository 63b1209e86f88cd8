//! On what terms a yes counts, what an approver reads, and what of it outlives the gateway.

use std::process::Child;

use rustix::process::Signal;

use crate::gateway::{Gateway, Said, is_running, send};
use crate::shop::{Ran, Shop, Side};
use crate::wait;
use crate::world::As;

const POLICIES: &str = r#"
@id("work") permit (principal, action in [Action::"read", Action::"write", Action::"session"], resource);
@id("two-dbas") @approval("local:dba") @approvers("2") @message("changes need two DBAs")
forbid (principal, action == Postgres::Action::"update", resource);
@id("reasoned") @approval("local:dba") @reason("required") @expires("40s") @message("removals need a reason")
forbid (principal, action == Postgres::Action::"delete", resource);
"#;
const PEOPLE: &str = r#"{ alice = ["local:dba"], bob = ["local:dba"], agent = ["local:dba"], root = [] }"#;

fn attach<'s>(shop: &'s Shop, policies: &str) -> Gateway<'s> {
    let file = shop.world.file("policies/rules.cedar", policies);
    let folder = file.parent().unwrap().display();
    let text = format!(
        "version = 1\naccept_gaps = [\"approver_uid\"]\n[policy]\ndir = \"{folder}\"\n[approval]\nhost = {PEOPLE}\n"
    );
    let file = shop.world.file("gateway.toml", &text);
    shop.world.attach(&["--config", file.to_str().unwrap()])
}

fn says(shop: &Shop, user: &str, words: &[&str]) -> Said {
    shop.world.cli_as(As { user, ..As::default() }, words)
}

fn approves(shop: &Shop, user: &str, id: &str) -> Said {
    says(shop, user, &["approve", id])
}

fn refused(said: &Said, why: &str) {
    assert!(!said.status.success() && said.err.contains(why), "{said:?}");
}

/// An agent that does not wait.
fn agent(shop: &Shop, statements: &[&str]) -> Ran {
    shop.psql_on(Side::Inside, &[("PGAPPNAME", "agent")], statements)
}

/// The request that an agent is told to come back with.
fn held(ran: &Ran) -> String {
    let id = ran.err.split("Request ").nth(1).and_then(|rest| rest.split_whitespace().next());
    id.unwrap_or_else(|| panic!("not held: {ran:?}")).to_owned()
}

fn kill_engine(shop: &Shop, gateway: &Gateway<'_>) {
    let engine = gateway.engine_pid();
    send(engine, Signal::KILL);
    wait::until("the end of the engine", || !is_running(engine));
    wait::until("another engine", || gateway.engine_pid() != engine);
    shop.world.is_open();
}

#[test]
fn requests_and_votes_outlive_gateway_and_engine_and_what_was_used_does_not_come_again() {
    let shop = Shop::new();
    let mut gateway = attach(&shop, POLICIES);
    const UPDATE: &str = "UPDATE orders SET item = 'outlives' WHERE id = 1";
    let id = held(&agent(&shop, &[UPDATE]));
    assert!(approves(&shop, "alice", &id).out.contains("waiting for more"), "one of two");
    let psql = shop.start_psql("UPDATE orders SET item = 'lost' WHERE id = 2");
    let lost = shop.world.event("approval.requested", |body| body["ticket"] != id.as_str());
    let lost = lost["ticket"].as_str().unwrap().to_owned();
    gateway.kill();
    assert!(!end(psql).ok);
    let gateway = attach(&shop, POLICIES);
    refused(&approves(&shop, "alice", &id), "alice has voted on it already");
    let listed = says(&shop, "bob", &["approvals"]);
    assert!(listed.out.contains(&id) && listed.out.contains("1 of 2 of local:dba"), "{listed:?}");
    assert!(!listed.out.contains(&lost), "nobody is left to come back with what psql waited for: {listed:?}");
    let ended = shop.world.event("approval.expired", |body| body["ticket"] == lost.as_str());
    assert_eq!(ended["reason"], "its client was lost in a restart of the gateway");
    assert!(approves(&shop, "bob", &id).out.contains(": approved"));
    kill_engine(&shop, &gateway);
    let ran = agent(&shop, &[UPDATE]);
    assert!(ran.ok, "{ran:?}");
    assert_eq!(shop.admin("SELECT item FROM orders WHERE id = 1"), "outlives");
    kill_engine(&shop, &gateway);
    assert_ne!(held(&agent(&shop, &[UPDATE])), id, "it was used up");
    assert_eq!(shop.reached("UPDATE orders"), 1);
}

fn end(psql: Child) -> Ran {
    let output = psql.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ran { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}

#[test]
fn a_yes_needs_a_reason_where_policy_says_so_and_never_comes_from_who_asks() {
    let shop = Shop::new();
    let _gateway = attach(&shop, POLICIES);
    const DELETE: &str = "DELETE FROM orders WHERE id = 3";
    let ran = agent(&shop, &[DELETE]);
    assert!(ran.err.contains("local:dba with a reason, for 40 seconds"), "{ran:?}");
    let id = held(&ran);
    refused(&says(&shop, "agent", &["approve", &id, "--reason", "mine"]), "agent is who asks for it");
    refused(&approves(&shop, "alice", &id), "add --reason");
    let said = says(&shop, "alice", &["approve", &id, "--reason", "a duplicate"]);
    assert!(said.out.contains(": approved"), "{said:?}");
    assert!(agent(&shop, &[DELETE]).ok);
    let votes = shop.world.events("approval.decided");
    assert_eq!(votes.len(), 1, "what was refused is no vote: {votes:?}");
    let id = held(&agent(&shop, &["DELETE FROM orders WHERE id = 4"]));
    assert!(says(&shop, "agent", &["deny", &id]).status.success(), "who asks may take it back");
    let expires = held(&agent(&shop, &["DELETE FROM orders WHERE id = 5"]));
    shop.world.event_within(std::time::Duration::from_secs(90), "approval.expired", |body| {
        body["ticket"] == expires.as_str() && body["reason"] == "timeout"
    });
    refused(&says(&shop, "alice", &["approve", &expires, "--reason", "late"]), "no request waits");
    assert_eq!(shop.reached("DELETE FROM orders"), 1);
}

#[test]
fn a_yes_is_for_the_rules_under_which_it_was_given() {
    let shop = Shop::new();
    let one = POLICIES.replace("@approvers(\"2\")", "");
    let _gateway = attach(&shop, &one);
    const UPDATE: &str = "UPDATE orders SET item = 'rules' WHERE id = 6";
    let id = held(&agent(&shop, &[UPDATE]));
    assert!(approves(&shop, "alice", &id).out.contains(": approved"));
    let loaded = shop.world.events("policy.loaded").len();
    shop.world.file("policies/rules.cedar", POLICIES);
    wait::until("the stricter policies", || shop.world.events("policy.loaded").len() > loaded);
    let again = agent(&shop, &[UPDATE]);
    assert!(again.err.contains("2 of local:dba") && held(&again) != id, "one yes is not two: {again:?}");
    assert_eq!(shop.reached("UPDATE orders"), 0);
}

#[test]
fn outside_of_its_hours_a_yes_does_not_count() {
    let shop = Shop::new();
    // A day that is neither today nor tomorrow, in UTC.
    let day = shop.world.sh("LC_ALL=C date -u -d '3 days' +%a");
    let hours = format!("@approval(\"local:dba\") @hours(\"{} 00:00-24:00\")", day.trim());
    let _gateway = attach(&shop, &POLICIES.replace("@approval(\"local:dba\") @approvers(\"2\")", &hours));
    let id = held(&agent(&shop, &["UPDATE orders SET item = 'night' WHERE id = 7"]));
    refused(&approves(&shop, "alice", &id), &format!("counts only {} 00:00-24:00, in UTC", day.trim()));
    assert!(says(&shop, "alice", &["deny", &id]).status.success(), "a no counts at any hour");
    assert_eq!(shop.reached("UPDATE orders"), 0);
}

#[test]
fn an_approver_reads_who_asks_for_what_and_what_the_session_did_before() {
    let shop = Shop::new();
    let _gateway = attach(&shop, POLICIES);
    let ran = agent(&shop, &["SELECT count(*) FROM orders", "UPDATE orders SET item = 'secret-word' WHERE id = 8"]);
    let id = held(&ran);
    let said = says(&shop, "alice", &["approvals", "show", &id]);
    for expected in [
        "UPDATE orders",
        "bin/psql",
        "changes need two DBAs",
        "would      Postgres::update on Postgres::Relation",
        "public.orders",
        "the session so far:",
        "SELECT reads [orders] writes []",
        "0 of 2 of local:dba",
    ] {
        assert!(said.out.contains(expected), "{expected} in {said:?}");
    }
    assert!(!said.out.contains("secret-word"), "{said:?}");
    assert!(said.out.contains(&format!("uid        {}", shop.world.uid())), "{said:?}");
    refused(&says(&shop, "bob", &["approvals", "show", &id.replace(&id[..1], "f")]), "no request waits under");
}
