//! No configuration at all: what a stock psql may do, what it reads when it may not, and what reaches the server.

use crate::shop::{Ran, Shop, Side};
use crate::world::NAME;

/// A statement of the agent's own, refused, with what psql must show.
const REFUSED: &[(&str, &[&str])] = &[
    ("DROP TABLE orders", &["denied by policy guard.postgres.destructive", "DROP and TRUNCATE are not for"]),
    ("TRUNCATE orders", &["denied by policy guard.postgres.destructive"]),
    ("DELETE FROM orders", &["denied by policy guard.postgres.unbounded", "need a WHERE"]),
    ("UPDATE orders SET item = 'all'", &["denied by policy guard.postgres.unbounded"]),
    ("DELETE FROM orders WHERE true", &["denied by policy guard.postgres.unbounded"]),
    ("SELECT 1; DROP TABLE orders", &["denied by policy guard.postgres.destructive"]),
    ("/* SELECT */ DROP/**/TABLE orders; SELECT 1", &["denied by policy guard.postgres.destructive"]),
    ("WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone", &["guard.postgres.unbounded"]),
    ("EXPLAIN ANALYZE DELETE FROM orders", &["guard.postgres.unbounded"]),
    ("DO $$ BEGIN DELETE FROM orders; END $$", &["guard.postgres.code", "local:approvers"]),
    ("COPY orders TO PROGRAM 'cat'", &["guard.escape"]),
    ("COPY orders FROM '/etc/passwd'", &["guard.escape"]),
    ("SELECT pg_read_file('/etc/passwd')", &["guard.postgres.server-functions"]),
    ("SELECT pg_catalog.pg_ls_dir('/')", &["guard.postgres.server-functions"]),
    ("SELECT lo_import('/etc/passwd')", &["guard.postgres.server-functions"]),
    ("CREATE TABLE made (a int)", &["held by policy guard.postgres.schema-change", "wait for a person"]),
    ("ALTER TABLE orders ADD COLUMN b int", &["held by policy guard.postgres.schema-change"]),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1", &["held by policy", "code-creation"]),
    ("CREATE EXTENSION dblink", &["guard.postgres.ways-out"]),
    ("GRANT ALL ON orders TO agent", &["guard.postgres.administer"]),
    ("SELECT * FROM pg_catalog.pg_authid", &["guard.postgres.secrets"]),
    ("SET session_replication_role = replica", &["guard.postgres.settings"]),
    ("SELECT * frm orders", &["syntax error"]),
    ("SET standard_conforming_strings = off", &["standard_conforming_strings"]),
    ("SET client_encoding = 'EUC_TW'", &["client_encoding"]),
    ("SELECT set_config('client_encoding', 'SJIS', false)", &["client_encoding", "send it as a message of its own"]),
    ("SELECT set_config('search' || '_path', 'app', false)", &["whose name is computed"]),
    ("PREPARE gone AS DELETE FROM orders", &["guard.postgres.unbounded"]),
    ("EXECUTE nobody_made_this", &["nobody_made_this"]),
    ("SELECT query_to_xml('DELETE FROM orders', true, true, '')", &["held by policy"]),
];

#[test]
fn what_is_dangerous_is_refused_with_the_policy_and_the_reason_and_the_session_goes_on() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&[]);
    let mut wrong = Vec::new();
    for (statement, texts) in REFUSED {
        // By its name psql would wait for a person where a policy holds.
        let ran = shop.psql_on(Side::Inside, &[("PGAPPNAME", "agent")], &[statement, "SELECT 'alive'"]);
        let told = texts.iter().all(|text| ran.err.contains(text)) && ran.err.contains("Session ");
        if !told || ran.out != "alive" {
            wrong.push(format!("{statement}: {ran:#?}"));
        }
        let reached = shop.reached(statement);
        if reached > 0 {
            wrong.push(format!("{statement} reached the server"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(shop.admin("SELECT count(*), min(item) FROM orders WHERE item LIKE 'item %'"), "100|item 1");
}

#[test]
fn ordinary_work_goes_on_as_without_a_gateway() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&[]);
    let statements = [
        "SELECT count(*), max(item) FROM orders",
        "INSERT INTO orders VALUES (1001, 'new') RETURNING id",
        "UPDATE orders SET item = 'changed' WHERE id = 1001 RETURNING item",
        "DELETE FROM orders WHERE id = 1001 RETURNING id",
        "CREATE TEMP TABLE mine (a int)",
        "INSERT INTO mine SELECT generate_series(1, 3)",
        "SELECT sum(a) FROM mine",
        "PREPARE one (int) AS SELECT item FROM orders WHERE id = $1",
        "EXECUTE one(7)",
        "DEALLOCATE one",
        "BEGIN",
        "DECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id",
        "FETCH 3 FROM c",
        "COMMIT",
        "SET statement_timeout = '9s'",
        "SHOW statement_timeout",
        "EXPLAIN (COSTS off) SELECT 1",
        "SELECT 1/0",
        "SELECT length(repeat('x', 100000))",
        "COPY (SELECT * FROM orders WHERE id < 3) TO STDOUT",
        "RESET ALL",
        "\\d orders",
        "\\dt public.*",
        "\\dn",
        "SELECT 1; SELECT 2",
    ];
    let (inside, outside) = (shop.psql(&statements), shop.psql_on(Side::Outside, &[], &statements));
    for (ours, theirs) in [(&inside.out, &outside.out), (&inside.err, &outside.err)] {
        assert_eq!(ours.lines().collect::<Vec<_>>(), theirs.lines().collect::<Vec<_>>());
    }
    assert!(shop.reached("SELECT sum(a) FROM mine") == 2, "both went to the same server");
}

#[test]
fn the_newest_server_is_served_and_guarded_alike() {
    let shop = Shop::at(crate::cluster::remote_newest());
    let _gateway = shop.world.attach(&[]);
    let ran = shop.psql(&[
        "SELECT current_setting('server_version_num')::int / 10000, count(*) FROM orders",
        "INSERT INTO orders VALUES (1001, 'new') RETURNING old.item, new.item",
        "DROP TABLE orders",
        "DELETE FROM orders",
        "SELECT uuidv7() IS NOT NULL",
        "\\d orders",
    ]);
    assert!(ran.out.starts_with("18|100\n|new\nt\n"), "{ran:?}");
    assert!(ran.err.contains("guard.postgres.destructive") && ran.err.contains("guard.postgres.unbounded"), "{ran:?}");
    assert_eq!(shop.reached("DROP TABLE orders") + shop.reached("DELETE FROM orders"), 0);
}

#[test]
fn a_denial_inside_a_transaction_leaves_it_open_and_whole() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&[]);
    let ran = shop.psql(&[
        "BEGIN",
        "INSERT INTO orders VALUES (2001, 'before')",
        "DROP TABLE orders",
        "INSERT INTO orders VALUES (2002, 'after')",
        "COMMIT",
    ]);
    assert!(ran.err.contains("Your transaction is open and unchanged."), "{ran:?}");
    assert_eq!(shop.admin("SELECT string_agg(item, ',' ORDER BY id) FROM orders WHERE id > 2000"), "before,after");
}

#[test]
fn what_a_name_runs_is_judged_and_not_the_name() {
    let shop = Shop::new();
    let file = shop.world.file(
        "policies/a.cedar",
        r#"
        @id("work") permit (principal, action in [Action::"read", Action::"write", Action::"ddl", Action::"session",
            Action::"run", Action::"tunnel"], resource);
        @id("quiet") @message("notes are closed") forbid (principal, action == Postgres::Action::"select", resource is Postgres::Relation)
        when { resource.name == "notes" };
        "#,
    );
    shop.admin("SET ROLE agent; CREATE TABLE notes (a int)");
    let _gateway = shop.world.attach(&["--policies", file.parent().unwrap().to_str().unwrap()]);
    let ran = shop.psql(&["PREPARE p AS SELECT * FROM orders LIMIT 1", "EXECUTE p", "SELECT a FROM notes"]);
    assert_eq!(ran.out, "1|item 1", "{ran:?}");
    assert!(ran.err.contains("denied by policy quiet: notes are closed"), "{ran:?}");
    // The same name, made anew with another meaning in the middle of one message.
    let ran = shop.psql(&["PREPARE p AS SELECT 1", "DEALLOCATE p; PREPARE p AS SELECT * FROM notes; EXECUTE p"]);
    assert!(ran.err.contains("denied by policy quiet"), "{ran:?}");
    assert_eq!(shop.reached("notes"), 1, "the superuser's own");
}

#[test]
fn a_session_drops_its_own_temporary_tables_by_their_bare_names() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&[]);
    let ran = shop.psql(&[
        "CREATE TEMP TABLE scratch (a int); CREATE TEMP TABLE \"Orders\" (a int)",
        "DROP TABLE scratch",
        "SELECT to_regclass('scratch') IS NULL",
        "CREATE TEMP TABLE scratch AS SELECT 1 AS a",
        "DROP TABLE IF EXISTS scratch, \"Orders\" CASCADE",
        "SELECT count(*) FROM pg_class WHERE relname IN ('scratch', 'Orders')",
    ]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("t\n0", ""), "{ran:?}");
}

#[test]
fn a_temporary_table_is_no_cover_for_the_real_one() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&[]);
    for statements in [
        &["CREATE TEMP TABLE orders (a int)", "DROP TABLE orders", "DROP TABLE orders"][..],
        &["BEGIN", "CREATE TEMP TABLE orders (a int)", "ROLLBACK", "DELETE FROM orders"],
        &["CREATE TEMP TABLE orders (a int) ON COMMIT DROP", "DELETE FROM orders", "DROP TABLE orders"],
        &["CREATE TEMP TABLE orders (a int); DROP TABLE orders; DROP TABLE orders"],
        &["CREATE TEMP TABLE orders (a int); DROP TABLE pg_temp.orders; TRUNCATE orders"],
        &["BEGIN; CREATE TEMP TABLE orders (a int); ROLLBACK; UPDATE orders SET item = 'none'"],
        &["CREATE TEMP TABLE orders (a int)", "SET search_path = public, pg_temp", "DROP TABLE orders"],
    ] {
        let ran = shop.psql(statements);
        assert_eq!(
            shop.admin("SELECT count(*) FROM orders WHERE item LIKE 'item %'"),
            "100",
            "{statements:?}: {ran:?}"
        );
    }
}

#[test]
fn a_name_can_be_made_and_used_in_one_message() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&[]);
    let ran = shop.psql(&["BEGIN; DECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id; FETCH 2 FROM c; COMMIT"]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("1\n2", ""));
    let ran = shop.psql(&["PREPARE p AS SELECT 7; EXECUTE p; DEALLOCATE p"]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("7", ""));
}

#[test]
fn the_journal_has_texts_without_secrets_and_outcomes_and_is_sound() {
    let shop = Shop::new();
    let mut gateway = shop.world.attach(&[]);
    let ran: Ran = shop.psql(&[
        "SELECT id FROM orders WHERE id < 8",
        "UPDATE orders SET item = 'x' WHERE id < 4",
        "SELECT 1/0",
        "CREATE ROLE somebody PASSWORD 'hunter2-in-the-clear'",
        "DROP TABLE orders",
    ]);
    assert!(ran.err.contains("division by zero"), "{ran:?}");
    let (read, outcome) = shop.journaled("WHERE id <");
    assert_eq!((&outcome["status"], &outcome["rows_returned"]), (&"ok".into(), &7.into()), "{outcome}");
    assert_eq!(read["relations_read"][0], "orders");
    assert!(read["decision"]["input"].to_string().contains(&format!("{}/public.orders", shop.database)), "{read}");
    assert_eq!(read["login"], "agent");
    assert_eq!(read["decision"]["verdict"], "allow");
    let (_, outcome) = shop.journaled("UPDATE");
    assert_eq!(outcome["rows_affected"], 3, "{outcome}");
    let (_, outcome) = shop.journaled("/");
    assert_eq!((&outcome["status"], &outcome["sqlstate"]), (&"error".into(), &"22012".into()), "{outcome}");
    let statements = shop.statements();
    let of = |command: &str| statements.iter().find(|(statement, _)| statement["command"] == command).unwrap();
    let (dropped, outcome) = of("DROP TABLE");
    assert_eq!(dropped["decision"]["verdict"], "deny");
    assert_eq!(dropped["decision"]["policies"][0], "guard.postgres.destructive");
    assert!(outcome.is_none(), "what was never sent has no outcome");
    assert!(gateway.stop().success());
    let journal = shop.world.sh("cat /var/lib/gateway/journal/*/*.jsonl");
    assert!(journal.contains("somebody") && !journal.contains("hunter2"), "the role's name alone");
    assert!(!gateway.output().contains("hunter2") && !shop.cluster.log().contains("hunter2"));
    let said = shop.world.cli(&["audit", "verify"]);
    assert!(said.status.success(), "{said:?}");
    let ends = shop.world.events("session.end");
    assert!(ends.iter().any(|event| event["body"]["cause"] == "client"), "{ends:?}");
}

#[test]
fn observing_lets_a_connection_through_that_policy_would_refuse_and_says_so() {
    const CLOSED: &str = r#"@id("work") permit (principal, action in [Action::"read", Action::"session"], resource);
        @id("closed") forbid (principal, action == Network::Action::"connect", resource);"#;
    let shop = Shop::new();
    let policies = shop.world.file("policies/a.cedar", CLOSED);
    let cgroup = shop.world.cgroup();
    let configuration = format!(
        "version = 1\n[policy]\ndir = \"{}\"\n[[attach]]\nname = \"{NAME}\"\ncgroup = \"{}\"\nobserve = true\n",
        policies.parent().unwrap().display(),
        cgroup.display()
    );
    let file = shop.world.file("gateway.toml", &configuration);
    let _daemon = shop.world.gateway(&["run", "--config", file.to_str().unwrap()]);
    shop.world.is_open();
    let ran = shop.psql(&["SELECT count(*) FROM orders"]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("100", ""));
    let decided = shop.world.event("network.decision", |body| body["decision"]["policies"][0] == "closed");
    assert_eq!(decided["decision"]["verdict"], "would_deny", "{decided}");
}

#[test]
fn observing_records_what_would_be_denied_and_lets_it_through() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&["--observe"]);
    let ran = shop.psql(&["DELETE FROM orders", "CREATE TABLE made (a int)", "SELECT count(*) FROM orders"]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("0", ""));
    let (statement, outcome) = shop.journaled("DELETE");
    assert_eq!(statement["decision"]["verdict"], "would_deny");
    assert_eq!(statement["decision"]["policies"][0], "guard.postgres.unbounded");
    assert_eq!(outcome["rows_affected"], 100);
    assert_eq!(shop.journaled("CREATE TABLE").0["decision"]["verdict"], "would_hold");
}
