//! Statements that wait for a person: told at once, sent once when approved, never when denied or given up.

use rustix::process::Signal;
use serde_json::Value;

use crate::gateway::send;
use crate::shop::{Shop, Side};

/// Waits for the one request that is on the desk.
fn ticket(shop: &Shop, text: &str) -> String {
    let body: Value = shop.world.event("approval.requested", |body| body["summary"].to_string().contains(text));
    body["ticket"].as_str().unwrap().to_owned()
}

#[test]
fn psql_waits_and_its_statement_runs_once_it_is_approved() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&[]);
    let psql = shop.start_psql("CREATE TABLE approved (a int)");
    let id = ticket(&shop, "approved");
    assert_eq!(shop.reached("CREATE TABLE approved"), 0, "it waits here and not there");
    let said = shop.world.cli(&["approve", &id]);
    assert!(said.status.success(), "{said:?}");
    let output = psql.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains(&id) && told.contains("guard.postgres.schema-change"), "{told}");
    assert_eq!(shop.admin("SELECT count(*) FROM approved"), "0");
    let (_, outcome) = shop.journaled("CREATE TABLE approved");
    assert_eq!(outcome["status"], "ok", "{outcome}");
    let again = shop.psql_on(Side::Inside, &[("PGAPPNAME", "agent")], &["CREATE TABLE approved (a int)"]);
    assert!(again.err.contains("held by policy"), "an approval is used up: {again:?}");
    assert_eq!(shop.reached("CREATE TABLE approved"), 1);
}

#[test]
fn what_is_denied_or_given_up_is_never_sent() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&[]);
    let psql = shop.start_psql("CREATE TABLE denied (a int)");
    let id = ticket(&shop, "denied");
    assert!(shop.world.cli(&["deny", &id, "--reason", "not today"]).status.success());
    let output = psql.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("denied request") && told.contains("not today"), "{told}");
    let psql = shop.start_psql("CREATE TABLE abandoned (a int)");
    let id = ticket(&shop, "abandoned");
    send(psql.id(), Signal::INT);
    let output = psql.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("cancel"), "{output:?}");
    shop.world.event("approval.expired", |body| body["ticket"] == id.as_str());
    assert!(!shop.world.cli(&["approve", &id]).status.success(), "there is nobody left to do it for");
    assert_eq!(shop.reached("CREATE TABLE"), 1, "the superuser's alone");
}

#[test]
fn an_agent_is_told_to_come_back_with_the_same_request() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&[]);
    let try_it = |text| shop.psql_on(Side::Inside, &[("PGAPPNAME", "agent")], &[text]);
    let ran = try_it("CREATE TABLE later (a int)");
    let id = ticket(&shop, "later");
    assert!(ran.err.contains(&id) && ran.err.contains("Send exactly the same statement again"), "{ran:?}");
    assert!(shop.world.cli(&["approve", &id]).status.success());
    let other = try_it("CREATE TABLE later (a int, b int)");
    assert!(other.err.contains("held by policy"), "another text is another request: {other:?}");
    let ran = try_it("CREATE TABLE later (a int)");
    assert!(ran.ok && ran.err.is_empty(), "{ran:?}");
    assert_eq!(shop.reached("CREATE TABLE later"), 1);
}

#[test]
fn an_approval_is_for_what_the_statement_meant_and_not_for_its_words() {
    let shop = Shop::new();
    let policies = format!(
        "@id(\"work\") permit (principal, action in [Action::\"read\", Action::\"write\", Action::\"ddl\", Action::\"session\"], resource);
         @id(\"ask\") @approval(\"local:approvers\") @message(\"orders wait\")
         forbid (principal, action == Postgres::Action::\"update\", resource == Postgres::Relation::\"undeclared/{}/public.orders\");",
        shop.database
    );
    let folder = shop.world.file("policies/a.cedar", &policies).parent().unwrap().display().to_string();
    let _gateway = shop.world.attach(&["--policies", &folder]);
    shop.admin("SET ROLE agent; CREATE SCHEMA side; CREATE TABLE side.orders AS TABLE orders");
    let agent = |statements: &[&str]| shop.psql_on(Side::Inside, &[("PGAPPNAME", "agent")], statements);
    let held = |statements: &[&str]| {
        let ran = agent(statements);
        let id = ran.err.split("Request ").nth(1).and_then(|rest| rest.split_whitespace().next());
        id.unwrap_or_else(|| panic!("not held: {statements:?}: {ran:?}")).to_owned()
    };
    const UPDATE: &str = "UPDATE orders SET item = 'meant' WHERE id = 7";
    const PREPARE: &str = "PREPARE p AS UPDATE orders SET item = 'prepared' WHERE id = 8";
    const OTHER: &str = "PREPARE p AS UPDATE orders SET item = 'other' WHERE id > 8";
    let approve = |id: &str| assert!(shop.world.cli(&["approve", id]).status.success());
    let plain = held(&[UPDATE]);
    approve(&plain);
    // What is prepared is held like what it will do, and each run again.
    approve(&held(&[PREPARE]));
    let named = held(&[PREPARE, "EXECUTE p"]);
    approve(&named);
    approve(&held(&[OTHER]));
    for other in [
        &["SET search_path = side, public", UPDATE],
        &["CREATE TEMP TABLE orders (id int, item text)", UPDATE],
        &[OTHER, "EXECUTE p"],
    ] {
        let id = held(other);
        assert!(id != plain && id != named, "{other:?}");
    }
    assert_eq!(shop.admin("SELECT count(*) FROM orders WHERE item NOT LIKE 'item %'"), "0");
    approve(&held(&[PREPARE]));
    for statements in [&[UPDATE][..], &[PREPARE, "EXECUTE p"]] {
        let ran = agent(statements);
        assert!(ran.ok && ran.err.is_empty(), "{ran:?}");
    }
    assert_eq!(shop.admin("SELECT string_agg(item, ',' ORDER BY id) FROM orders WHERE id IN (7, 8)"), "meant,prepared");
    assert_ne!(held(&[UPDATE]), plain, "the approval is used up");
}
