//! Names without a schema mean what the server's search path says, and policies are asked about that.

use crate::gateway::Gateway;
use crate::shop::Shop;

const POLICIES: &str = r#"
@id("work") permit (principal, action in [Action::"read", Action::"write", Action::"ddl", Action::"session", Action::"run",
    Action::"tunnel"], resource);
@id("no-app-t") @message("app.t is closed") forbid (principal, action == Postgres::Action::"select", resource is Postgres::Relation)
when { resource.schema == "app" && resource.name == "t" };
"#;

fn shop() -> Shop {
    let shop = Shop::new();
    shop.admin(
        "SET ROLE agent; CREATE SCHEMA app; CREATE SCHEMA other; CREATE TABLE app.t (a int); CREATE TABLE other.t (a int)",
    );
    shop
}

fn attach(shop: &Shop) -> Gateway<'_> {
    let file = shop.world.file("policies/a.cedar", POLICIES);
    shop.world.attach(&["--policies", file.parent().unwrap().to_str().unwrap()])
}

#[test]
fn a_search_path_that_the_client_sets_is_followed() {
    let shop = shop();
    let _gateway = attach(&shop);
    let mut wrong = Vec::new();
    let denied = "denied by policy no-app-t: app.t is closed";
    for statements in [
        &["SET search_path = app", "SELECT count(*) FROM t"][..],
        &["SELECT set_config('search_path', 'app', false)", "SELECT count(*) FROM t"],
        &["BEGIN", "SET LOCAL search_path = other, app", "SELECT count(*) FROM t"],
        &["SET search_path = app; SELECT count(*) FROM t"],
        &["SET search_path = app", "PREPARE p AS SELECT count(*) FROM t", "EXECUTE p"],
        &["SELECT count(*) FROM app.t"],
        // Unquoted names in a value are folded to lower case by the server, in SET as constants are not.
        &["SELECT set_config('search_path', 'APP', false)", "SELECT count(*) FROM t"],
        &["SELECT set_config('search_path', '  App ,other', false)", "SELECT count(*) FROM t"],
        &["SELECT set_config('search_path', E'other,\\tapp', false)", "SELECT count(*) FROM other.t, t AS t2"],
        &["SET SCHEMA 'app'", "SELECT count(*) FROM t"],
        &["SET search_path TO \"app\"", "SELECT count(*) FROM t"],
        &["SET search_path TO App", "SELECT count(*) FROM t"],
        &["BEGIN; SET LOCAL search_path = app; SELECT count(*) FROM t; COMMIT"],
    ] {
        let ran = shop.psql(statements);
        if !ran.err.contains(denied) {
            wrong.push(format!("{statements:?}: {ran:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let ran = shop.psql(&["SET search_path = other", "SELECT count(*) FROM t"]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("0", ""));
}

#[test]
fn the_roles_and_the_databases_own_path_count_from_the_first_statement() {
    let shop = shop();
    shop.admin(&format!("ALTER DATABASE {} SET search_path = app", shop.database));
    let _gateway = attach(&shop);
    let ran = shop.psql(&["SELECT count(*) FROM t"]);
    assert!(ran.err.contains("denied by policy no-app-t"), "{ran:?}");
    let statements = shop.statements();
    let (statement, _) = statements.iter().find(|(statement, _)| statement["command"] == "SELECT").unwrap();
    assert!(statement["decision"]["input"].to_string().contains("/app.t"), "{statement}");
}

#[test]
fn a_path_in_the_startup_options_counts() {
    let shop = shop();
    let _gateway = attach(&shop);
    let ran =
        shop.psql_on(crate::shop::Side::Inside, &[("PGOPTIONS", "-c search_path=app")], &["SELECT count(*) FROM t"]);
    assert!(ran.err.contains("denied by policy no-app-t"), "{ran:?}");
}
