//! Held statements that people of this host decide: who counts, for which groups, and what is kept of it.

use std::fs;
use std::process::Child;

use serde_json::Value;

use crate::gateway::{Gateway, Said};
use crate::shop::{Ran, Shop, Side};
use crate::world::{As, NAME};

const POLICIES: &str = r#"
@id("work") permit (principal, action in [Action::"read", Action::"write", Action::"session", Action::"tunnel"], resource);
@id("two-dbas") @approval("local:dba") @approvers("2") @message("changes need two DBAs")
forbid (principal, action == Postgres::Action::"update", resource);
@id("dba-first") @approval("local:dba") @message("removals need a DBA")
forbid (principal, action == Postgres::Action::"delete", resource);
@id("sre-only") @approval("local:sre") @message("additions need an SRE")
forbid (principal, action == Postgres::Action::"insert", resource);
@id("and-sre") @approval("local:sre") @message("and an SRE")
forbid (principal, action == Postgres::Action::"delete", resource);
"#;
const PEOPLE: &str = r#"{ alice = ["local:dba"], bob = ["local:dba", "local:sre"], root = [] }"#;

fn attach(shop: &Shop) -> Gateway<'_> {
    let policies = shop.world.file("policies/people.cedar", POLICIES);
    shop.attach_with(&format!(
        "[policy]\ndir = \"{}\"\n[approval]\nhost = {PEOPLE}\n",
        policies.parent().unwrap().display()
    ))
}

fn says(shop: &Shop, user: &str, words: &[&str]) -> Said {
    shop.world.cli_as(As { user, ..As::default() }, words)
}

/// The request that waits, which has this in its text.
fn ticket(shop: &Shop, text: &str) -> String {
    let body: Value = shop.world.event("approval.requested", |body| body["summary"].to_string().contains(text));
    body["ticket"].as_str().unwrap().to_owned()
}

fn end(psql: Child) -> Ran {
    let output = psql.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ran { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}

#[test]
fn two_of_a_group_let_a_statement_go_on_and_one_person_does_not_count_twice() {
    let shop = Shop::new();
    let _gateway = attach(&shop);
    let psql = shop.start_psql("UPDATE orders SET item = 'secret-word' WHERE id = 1");
    let id = ticket(&shop, "UPDATE");
    let said = says(&shop, "alice", &["approve", &id, "--reason", "looks fine"]);
    assert!(said.status.success() && said.out.contains("waiting for more approvals"), "{said:?}");
    let said = says(&shop, "alice", &["approve", &id]);
    assert!(!said.status.success() && said.err.contains("alice has voted on it already"), "{said:?}");
    let said = says(&shop, "bob", &["approvals"]);
    for expected in
        ["1 of 2 of local:dba", "alice approved for local:dba: looks fine", "two-dbas", NAME, "UPDATE orders"]
    {
        assert!(said.out.contains(expected), "{expected} in {said:?}");
    }
    assert!(!said.out.contains("secret-word"), "{said:?}");
    assert_eq!(shop.reached("UPDATE orders"), 0);
    let said = says(&shop, "bob", &["approve", &id]);
    assert!(said.status.success() && said.out.contains("approved"), "{said:?}");
    let ran = end(psql);
    assert!(ran.ok && ran.err.contains("2 of local:dba"), "{ran:?}");
    assert_eq!(shop.admin("SELECT item FROM orders WHERE id = 1"), "secret-word");
    assert_eq!(shop.reached("UPDATE orders"), 1);
    let votes: Vec<Value> =
        shop.world.events("approval.decided").into_iter().map(|event| event["body"].clone()).collect();
    assert_eq!(votes.len(), 2, "what was refused is no vote: {votes:?}");
    for (vote, user) in votes.iter().zip(["alice", "bob"]) {
        assert_eq!((&vote["person"], &vote["verdict"]), (&user.into(), &"allow".into()), "{vote}");
        assert_eq!(vote["uid"], shop.world.uid_of(user), "{vote}");
        assert_eq!((&vote["channel"], &vote["groups"]), (&"cli".into(), &["local:dba"][..].into()), "{vote}");
        assert_eq!(vote["known_by"], "peer credentials of the control socket", "{vote}");
    }
    assert!(votes[0]["reason"].to_string().contains("looks fine"), "{votes:?}");
}

#[test]
fn every_group_has_to_approve_and_one_no_ends_it() {
    let shop = Shop::new();
    let _gateway = attach(&shop);
    let psql = shop.start_psql("DELETE FROM orders WHERE id = 2");
    let id = ticket(&shop, "DELETE");
    assert!(says(&shop, "alice", &["approve", &id]).out.contains("waiting for more approvals"));
    assert!(says(&shop, "bob", &["approve", &id]).out.contains(": approved"), "bob is of both groups");
    assert!(end(psql).ok);
    let psql = shop.start_psql("DELETE FROM orders WHERE item = 'item 3'");
    let id = ticket(&shop, "item =");
    assert!(says(&shop, "alice", &["approve", &id]).status.success());
    assert!(says(&shop, "bob", &["deny", &id, "--reason", "not this one"]).out.contains("denied"));
    let ran = end(psql);
    assert!(!ran.ok && ran.err.contains("bob denied request") && ran.err.contains("not this one"), "{ran:?}");
    let said = says(&shop, "alice", &["approve", &id]);
    assert!(!said.status.success() && said.err.contains("it was denied by bob"), "{said:?}");
    assert_eq!(shop.reached("DELETE FROM orders"), 1);
}

#[test]
fn who_is_not_of_a_needed_group_decides_nothing() {
    let shop = Shop::new();
    let _gateway = attach(&shop);
    let psql = shop.start_psql("INSERT INTO orders VALUES (1000, 'x')");
    let id = ticket(&shop, "INSERT");
    let refused = |said: Said, why: &str| assert!(!said.status.success() && said.err.contains(why), "{said:?}");
    refused(says(&shop, "agent", &["deny", &id]), "`[approval] host`");
    refused(shop.world.cli(&["deny", &id]), "uid 0 votes for no group");
    refused(says(&shop, "alice", &["deny", &id]), "alice is in none of the groups that it needs: local:sre");
    assert!(says(&shop, "alice", &["approvals"]).out.contains("nothing waits"), "what she cannot decide is not shown");
    assert!(shop.world.events("approval.decided").is_empty());
    assert!(says(&shop, "bob", &["approve", &id]).status.success());
    assert!(end(psql).ok);
    assert_eq!(shop.reached("INSERT INTO orders VALUES"), 1);
}

#[test]
fn an_approval_ends_when_who_gave_it_is_no_approver_any_more() {
    let shop = Shop::new();
    let _gateway = attach(&shop);
    let send = || shop.psql_on(Side::Inside, &[("PGAPPNAME", "agent")], &["UPDATE orders SET item = 'z' WHERE id = 8"]);
    assert!(send().err.contains("held by policy two-dbas"));
    let id = ticket(&shop, "UPDATE");
    for user in ["alice", "bob"] {
        assert!(says(&shop, user, &["approve", &id]).status.success());
    }
    let config = shop.world.directory().join("gateway.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace(r#"alice = ["local:dba"]"#, r#"alice = ["local:sre"]"#)).unwrap();
    // What changes in the folder of policies has the configuration read anew.
    shop.world.file("policies/more.cedar", r#"@id("more") permit (principal, action in [Action::"ddl"], resource);"#);
    let ended = shop.world.event("approval.expired", |body| body["ticket"] == id.as_str());
    assert_eq!(ended["reason"], "who approved it may no longer");
    assert!(send().err.contains("held by policy two-dbas"), "it is asked anew");
    assert_eq!(shop.reached("UPDATE orders"), 0);
}

#[test]
fn an_approvers_uid_inside_is_a_gap_that_costs_the_vote() {
    let shop = Shop::new();
    let gateway = attach(&shop);
    let psql = shop.start_psql("UPDATE orders SET item = 'x' WHERE id = 5");
    let id = ticket(&shop, "UPDATE");
    let cgroup = shop.world.cgroup();
    let inside = shop.world.start(As { cgroup: Some(&cgroup), user: "alice", ..As::default() }, "agent");
    let said = says(&shop, "alice", &["approve", &id]);
    assert!(!said.status.success() && said.err.contains(&format!("processes in `{NAME}` run as alice")), "{said:?}");
    assert!(says(&shop, "bob", &["deny", &id]).status.success());
    assert!(!end(psql).ok);
    drop(gateway);
    let config = shop.world.directory().join("gateway.toml").display().to_string();
    let cgroup = cgroup.display().to_string();
    let attach = ["attach", "--cgroup", &cgroup, "--name", NAME, "--config", &config];
    let said = shop.world.cli(&attach);
    assert!(!said.status.success() && said.err.contains("approver_uid: a process runs as alice"), "{said:?}");
    let said = shop.world.cli(&["exec", "--user", "bob", "--config", &config, "--", "true"]);
    assert!(!said.status.success() && said.err.contains("approver_uid: a process runs as bob"), "{said:?}");
    let _gateway = shop.world.attach(&["--config", &config, "--accept-gap", "approver_uid"]);
    let status = shop.world.cli(&["status"]);
    assert!(status.out.contains("gap approver_uid"), "{status:?}");
    let doctor = shop.world.cli(&["doctor"]);
    assert!(doctor.out.contains(&format!("`{NAME}` has gap approver_uid")), "{doctor:?}");
    shop.world.event("gap", |body| body["name"] == "approver_uid" && body["attachment"] == NAME);
    let psql = shop.start_psql("UPDATE orders SET id = 700 WHERE id = 6");
    let id = ticket(&shop, "SET id");
    let said = says(&shop, "alice", &["deny", &id]);
    assert!(said.status.success(), "what was accepted is no obstacle: {said:?}");
    assert!(!end(psql).ok);
    drop(inside);
}
