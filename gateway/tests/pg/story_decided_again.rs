//! What was recorded, under other policies: `gateway policy replay` and `gateway policy suggest`.

use std::fs;

use serde_json::Value;

use crate::shop::Shop;

const OTHERS: &str = r#"
@id("all") permit (principal, action in [Action::"read", Action::"write", Action::"session", Action::"ddl"], resource);
@id("no-orders") @message("orders are closed")
forbid (principal, action == Postgres::Action::"select", resource is Postgres::Relation) when { resource.name == "orders" && context.command == "SELECT" };
@id("updates") @message("ask the shop") @approval("local:approvers")
forbid (principal, action == Postgres::Action::"update", resource in Target::"undeclared");
"#;
const WORK: [&str; 3] =
    ["SELECT 'kept', 1", "UPDATE orders SET item = 'new' WHERE id = 1", "SELECT count(*) AS seen FROM orders"];

#[test]
fn recorded_requests_are_decided_again_and_what_went_on_becomes_permits() {
    let shop = Shop::new();
    let mut gateway = shop.world.attach(&[]);
    for statement in WORK {
        assert!(shop.psql(&[statement]).ok, "{statement}");
    }
    assert!(!shop.psql(&["DROP TABLE orders", "SELEC 1"]).ok);
    gateway.stop();
    let same = shop.world.cli_json(&["policy", "replay"]);
    assert_eq!((&same["changes"], &same["not_decided"]), (&Value::Array(vec![]), &serde_json::json!({})), "{same}");
    assert!(same["requests"].as_u64() > Some(6) && same["requests"] == same["unchanged"], "{same}");

    let others = shop.world.file("others/p.cedar", OTHERS);
    let folder = others.parent().unwrap().to_str().unwrap();
    let said = shop.world.cli(&["--json", "policy", "replay", "--since", "1h", "--policies", folder]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(said.err.contains("2 requests would be decided otherwise, and 0 cannot"), "{said:?}");
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let change = |id: &str| {
        let changes = report["changes"].as_array().unwrap().iter();
        changes.into_iter().find(|change| change["policies_now"] == serde_json::json!([id])).unwrap().clone()
    };
    let (closed, held) = (change("no-orders"), change("updates"));
    assert_eq!(
        (&closed["was"], &closed["now"], &closed["message"]),
        (&"allow".into(), &"deny".into(), &"orders are closed".into())
    );
    assert_eq!(closed["examples"][0]["text"], WORK[2], "{closed}");
    assert_eq!(
        (&held["now"], &held["actions"]),
        (&"hold".into(), &serde_json::json!(["Postgres::select", "Postgres::update"])),
        "{held}"
    );
    let page = shop.world.cli(&["policy", "replay", "--policies", folder]).out;
    assert!(page.contains("allow -> deny  1  Postgres::select\n  by no-orders, was by "), "{page}");

    let suggested = shop.world.cli(&["policy", "suggest"]);
    assert!(suggested.status.success(), "{suggested:?}");
    assert!(!suggested.out.contains("Not permitted"), "{suggested:?}");
    let file = shop.world.file("suggested/p.cedar", &suggested.out);
    let folder = file.parent().unwrap().to_str().unwrap();
    let again = shop.world.cli_json(&["policy", "replay", "--policies", folder]);
    assert_eq!(again["requests"], again["unchanged"], "{again}");
    let _gateway = shop.world.attach(&["--policies", folder]);
    for statement in WORK {
        let ran = shop.psql(&[statement]);
        assert!(ran.ok, "{statement}: {ran:?}\n{}", fs::read_to_string(&file).unwrap());
    }
    let beyond = shop.psql(&["DELETE FROM orders WHERE id = 1"]);
    assert!(beyond.err.contains("no policy permits Postgres::delete"), "{beyond:?}");
}
