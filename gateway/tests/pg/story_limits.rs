//! Policies that say how many rows a statement may show or change: what is beyond is cut or rolled back, with an error,
//! over both protocols and in transactions, and the session goes on.

use crate::gateway::Gateway;
use crate::shop::Shop;

const POLICIES: &str = r#"
    @id("session") permit (principal, action == Postgres::Action::"connect", resource);
    @id("run") permit (principal, action in [Action::"session", Action::"run"], resource);
    @id("few") @max_rows("5") permit (principal, action in Action::"read", resource);
    @id("small") @max_affected("3") permit (principal, action in Action::"write", resource);
"#;

/// Each outcome as one line.
const PYTHON: &str = r#"
import asyncio, asyncpg, psycopg

def attempt(name, run):
    try:
        print(name, run())
    except psycopg.Error as error:
        print(name, error.sqlstate, str(error).split("\n")[0])

connection = psycopg.connect(autocommit=True, prepare_threshold=0)
change = "UPDATE orders SET item = %s WHERE id <= %s"
attempt("small", lambda: connection.execute(change, ("small", 2)).rowcount)
attempt("large", lambda: connection.execute(change, ("large", 50)).rowcount)
attempt("few", lambda: len(connection.execute("SELECT id FROM orders WHERE id <= %s", (5,)).fetchall()))
attempt("many", lambda: len(connection.execute("SELECT id FROM orders WHERE id <= %s", (6,)).fetchall()))

def together():
    with connection.pipeline():
        one = connection.execute(change, ("one", 1))
        connection.execute(change, ("large", 60))
        return one.rowcount
attempt("pipeline", together)

def within():
    with connection.transaction():
        connection.execute(change, ("within", 3))
        connection.execute(change, ("large", 70))
attempt("transaction", within)
attempt("alive", lambda: connection.execute("SELECT min(item) FROM orders WHERE id = %s", (1,)).fetchone()[0])

async def portal():
    connection = await asyncpg.connect()
    seen = 0
    try:
        async with connection.transaction():
            async for row in connection.cursor("SELECT id FROM orders WHERE id <= $1", 50, prefetch=2):
                seen += 1
    except asyncpg.PostgresError as error:
        print("portal", seen, error.sqlstate)
    print("alive", await connection.fetchval("SELECT count(*) FROM orders WHERE id = $1", 7))
    await connection.close()
asyncio.run(portal())
"#;

fn attach(shop: &Shop) -> Gateway<'_> {
    let folder = shop.world.file("policies/a.cedar", POLICIES).parent().unwrap().display().to_string();
    shop.attach_with(&format!("[policy]\ndir = \"{folder}\"\ndisable = [\"guard.postgres.unbounded\"]\n"))
}

#[test]
fn a_result_is_cut_where_policy_says_and_the_client_reads_why() {
    let shop = Shop::new();
    let _gateway = attach(&shop);
    for statement in ["SELECT id FROM orders ORDER BY id", "COPY (SELECT id FROM orders ORDER BY id) TO STDOUT"] {
        let ran = shop.psql(&[statement, "SELECT 'alive'"]);
        assert!(ran.err.contains("cut by policy few: a result of more than 5 rows"), "{statement}: {ran:?}");
        assert!(ran.out.ends_with("alive") && !ran.out.contains('6'), "{statement}: {ran:?}");
    }
    let within = shop.psql(&["SELECT count(*) FROM orders", "SELECT id FROM orders WHERE id < 3 ORDER BY id"]);
    assert_eq!((within.out.as_str(), within.err.as_str()), ("100\n1\n2", ""));
    // A result that is too long changes nothing: the transaction goes on.
    let open = shop.psql(&["BEGIN", "UPDATE orders SET item = 'kept' WHERE id = 9", "SELECT id FROM orders", "COMMIT"]);
    assert!(open.err.contains("more than 5 rows"), "{open:?}");
    assert_eq!(shop.admin("SELECT item FROM orders WHERE id = 9"), "kept");
    let (_, outcome) = shop.journaled("SELECT id FROM orders ORDER BY id");
    assert_eq!((&outcome["rows_returned"], &outcome["status"]), (&5.into(), &"error".into()), "{outcome}");
}

/// A cursor in pieces, over both protocols: the rows of all of them, and how it ended.
const PIECES: &str = r#"
import psycopg
connection = psycopg.connect(autocommit=True)

def pieces(fetch, declare="DECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id"):
    seen = []
    try:
        with connection.transaction():
            connection.execute(declare)
            for _ in range(9):
                seen += [row[0] for row in connection.execute(fetch, prepare=False).fetchall()]
    except psycopg.Error as error:
        return len(seen), max(seen), error.sqlstate
    return len(seen), max(seen), "all"

print(pieces("FETCH 2 FROM c"))
print(pieces("FETCH 1 FROM c"))
print(pieces("FETCH ABSOLUTE 7 FROM c", "DECLARE c SCROLL CURSOR FOR SELECT id FROM orders ORDER BY id"))
print(pieces("FETCH 3 FROM c", "DECLARE c CURSOR FOR SELECT id FROM orders WHERE id < 6 ORDER BY id"))

# A DECLARE that fails makes no other cursor.
seen = []
try:
    with connection.transaction():
        connection.execute("DECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id")
        for _ in range(9):
            seen += connection.execute("FETCH 2 FROM c").fetchall()
            try:
                with connection.transaction():
                    connection.execute("DECLARE c CURSOR FOR SELECT 1")
            except psycopg.Error:
                pass
except psycopg.Error as error:
    print("declared again", len(seen), error.sqlstate)

# What runs by the protocol is counted where it runs, whichever way it is written.
seen = []
try:
    with connection.transaction():
        connection.execute("DECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id")
        for _ in range(9):
            seen += connection.execute("FETCH 1 FROM c", prepare=True).fetchall()
except psycopg.Error as error:
    print("prepared", len(seen), error.sqlstate)
"#;

#[test]
fn the_rows_of_a_cursor_are_counted_over_all_pieces_that_are_fetched() {
    let shop = Shop::new();
    let _gateway = attach(&shop);
    let ran = shop.python(PIECES);
    let expected = [
        "(4, 4, '54000')",
        "(5, 5, '54000')",
        "(5, 7, '54000')",
        "(5, 5, 'all')",
        "declared again 4 54000",
        "prepared 5 54000",
    ];
    assert_eq!(ran.out.lines().collect::<Vec<_>>(), expected, "{ran:?}");
}

#[test]
fn a_change_of_too_many_rows_is_rolled_back() {
    let shop = Shop::new();
    let _gateway = attach(&shop);
    let items =
        || shop.admin("SELECT string_agg(DISTINCT item, ',' ORDER BY item) FROM orders WHERE item NOT LIKE 'item%'");
    for statement in [
        "UPDATE orders SET item = 'gone' WHERE id <= 4",
        "UPDATE orders SET item = 'gone' WHERE id <= 4 RETURNING 'x'",
        "INSERT INTO orders SELECT g, 'gone' FROM generate_series(1000, 1003) g",
        "DELETE FROM orders WHERE id <= 4",
    ] {
        let ran = shop.psql(&[statement, "SELECT 'alive'"]);
        assert!(ran.err.contains("it would change 4 rows, 3 are allowed") && ran.out.ends_with("alive"), "{ran:?}");
        assert!(ran.err.contains("rolled back"), "{ran:?}");
    }
    assert_eq!((items().as_str(), shop.admin("SELECT count(*) FROM orders").as_str()), ("", "100"));
    let ran = shop.psql(&["UPDATE orders SET item = 'three' WHERE id <= 3", "SELECT 'alive'"]);
    assert_eq!((ran.out.as_str(), ran.err.as_str(), items().as_str()), ("alive", "", "three"));
    // In a transaction of the client's, that one fails as a whole.
    let ran = shop.psql(&[
        "BEGIN",
        "UPDATE orders SET item = 'part' WHERE id = 5",
        "UPDATE orders SET item = 'gone' WHERE id <= 50",
        "SELECT 1",
        "COMMIT",
    ]);
    assert!(ran.err.contains("3 are allowed") && ran.err.contains("current transaction is aborted"), "{ran:?}");
    assert_eq!(items(), "three");
    // What fails by itself says what it says.
    let ran = shop.psql(&["INSERT INTO orders VALUES (1, 'twice')", "SELECT 'alive'"]);
    assert!(ran.err.contains("orders_pkey") && ran.out == "alive", "{ran:?}");
}

#[test]
fn a_constraint_that_is_checked_at_commit_is_told_before_the_client_reads_of_success() {
    let shop = Shop::new();
    shop.admin("ALTER TABLE orders ADD CONSTRAINT later UNIQUE (item) DEFERRABLE INITIALLY DEFERRED");
    let _gateway = attach(&shop);
    let ran = shop.psql(&["UPDATE orders SET item = 'item 2' WHERE id = 1", "SELECT 'alive'"]);
    assert!(ran.err.contains("could not commit") && ran.out == "alive", "{ran:?}");
    assert_eq!(shop.admin("SELECT item FROM orders WHERE id = 1"), "item 1");
}

#[test]
fn what_nobody_counts_is_refused() {
    let shop = Shop::new();
    let _gateway = attach(&shop);
    for statement in [
        "UPDATE orders SET item = 'a' WHERE id = 1; UPDATE orders SET item = 'b' WHERE id = 2",
        "WITH w AS (DELETE FROM orders RETURNING id) SELECT count(*) FROM w",
        "WITH w AS (UPDATE orders SET item = 'x' RETURNING id) UPDATE orders SET item = 'y' WHERE id = 1",
        "EXPLAIN ANALYZE DELETE FROM orders",
        "COPY orders FROM STDIN",
    ] {
        let ran = shop.psql(&[statement, "SELECT 'alive'"]);
        assert!(ran.err.contains("refused by the gateway: policy") && ran.out == "alive", "{statement}: {ran:?}");
    }
    let ran = shop.psql(&[
        "PREPARE p AS UPDATE orders SET item = 'prepared' WHERE id <= $1",
        "EXECUTE p(2)",
        "EXECUTE p(40)",
        "PREPARE q AS WITH w AS (DELETE FROM orders RETURNING id) SELECT count(*) FROM w",
    ]);
    assert!(ran.err.contains("40 rows, 3 are allowed") && ran.err.contains("refused by the gateway"), "{ran:?}");
    assert_eq!(shop.admin("SELECT count(*), count(*) FILTER (WHERE item = 'prepared') FROM orders"), "100|2");
}

#[test]
fn drivers_read_of_cuts_and_nothing_of_what_is_over_stays() {
    let shop = Shop::new();
    let _gateway = attach(&shop);
    let ran = shop.python(PYTHON);
    let lines: Vec<_> = ran.out.lines().collect();
    let begins = [
        "small 2",
        "large 54000 cut by policy",
        "few 5",
        "many 54000 cut by policy",
        "pipeline 54000 ",
        "transaction 54000 ",
        "alive small",
        "portal ",
        "alive 1",
    ];
    let fits = begins.iter().zip(&lines).all(|(begin, line)| line.starts_with(begin));
    assert!(fits && lines.len() == begins.len(), "{ran:?}");
    assert_eq!(shop.admin("SELECT count(*) FROM orders WHERE item NOT LIKE 'item%'"), "2");
}
