//! `gateway why`: from what a client was told to what decided it.

use crate::shop::{Shop, Side};
use crate::wait;

const POLICIES: &str = r#"
@id("all") permit (principal, action in [Action::"read", Action::"write", Action::"session"], resource);
@id("no-orders") @message("orders are closed")
forbid (principal, action == Postgres::Action::"select", resource is Postgres::Relation) when { resource.name == "orders" };
@id("updates") @message("ask the shop") @approval("local:approvers")
forbid (principal, action == Postgres::Action::"update", resource in Target::"undeclared");
"#;

#[test]
fn a_denial_leads_to_the_policy_that_made_it_and_to_what_would_change_it() {
    let shop = Shop::new();
    let file = shop.world.file("policies/p.cedar", POLICIES);
    let folder = file.parent().unwrap().to_str().unwrap();
    let _gateway = shop.world.attach(&["--policies", folder]);
    let why = |id: &str| shop.world.cli(&["why", id, "--policies", folder]);
    let has = |id: &str, texts: &[&str]| {
        let said = why(id);
        assert!(said.status.success(), "{said:?}");
        for text in texts {
            assert!(said.out.contains(text), "{text}: {}", said.out);
        }
        said.out
    };

    let denied = shop.psql(&["SELECT 'fine'", "SELECT count(*) FROM orders"]);
    let named = denied.err.split("Session ").nth(1).unwrap_or_else(|| panic!("{denied:?}"));
    let (session, event) = named.split_once(", event ").unwrap();
    let event: String = event.chars().take_while(char::is_ascii_digit).collect();
    let page = has(
        &format!("{session}/{event}"),
        &[
            "deny at 20",
            "SELECT count(*) FROM orders",
            "orders are closed",
            "who       Workload \"story\" in Attachment::\"story\"",
            "asked     Postgres::select on Postgres::Relation \"undeclared/",
            "where none",
            "by        no-orders  ",
            "p.cedar:3",
            "resource.name == \"orders\"",
            "now       deny, by no-orders",
            "`no-orders` is yours to change",
        ],
    );
    assert_eq!(has(session, &[]), page, "the only one of its session");
    assert!(!page.contains("'fine'"), "{page}");

    std::fs::write(&file, POLICIES.replace("== \"orders\"", "== \"others\"")).unwrap();
    has(session, &["now       allow, by all"]);
    wait::until("the new policies", || shop.psql(&["SELECT count(*) FROM orders"]).ok);
    let held = shop.psql_on(Side::Inside, &[("PGAPPNAME", "agent")], &["UPDATE orders SET item = 'x' WHERE id = 1"]);
    let ticket = held.err.split("Request ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let ticket = ticket.unwrap_or_else(|| panic!("{held:?}"));
    has(ticket, &["hold at 20", "by        updates", &format!("gateway approve {ticket}")]);

    let dropped = shop.psql(&["DROP TABLE orders"]);
    let session = dropped.err.split("Session ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    has(session, &["guard.postgres.destructive", "is shipped: `disable = [\"guard.postgres.destructive\"]`"]);

    let unknown = why("01989b5e-7c3a-7c1d-9d0e-5f2b8a4c6d10");
    assert!(!unknown.status.success() && unknown.err.contains("nothing of `01989b5e"), "{unknown:?}");
}
