//! Changes of more rows than go without approval: they run, their commit waits for a person who reads how many rows it
//! is, and without a yes nothing of them stays. Over both protocols, inside and outside of a transaction of the client's.

use std::process::{Child, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::gateway::{Gateway, send};
use crate::shop::{Ran, Shop, Side};
use crate::wait;

const POLICIES: &str = r#"
    @id("session") permit (principal, action == Postgres::Action::"connect", resource);
    @id("run") permit (principal, action in [Action::"read", Action::"session", Action::"run"], resource);
    @id("few") @max_affected("3") @approval("local:approvers") @message("changes of many rows wait for a person")
    permit (principal, action in Action::"write", resource);
    @id("bound") @approval("local:approvers") @max_affected("50") @message("deletes wait")
    forbid (principal, action == Postgres::Action::"delete", resource);
"#;
const FORTY: &str = "UPDATE orders SET item = 'forty' WHERE id <= 40";

fn attach<'s>(shop: &'s Shop, approval: &str) -> Gateway<'s> {
    let folder = shop.world.file("policies/a.cedar", POLICIES).parent().unwrap().display().to_string();
    shop.attach_with(&format!(
        "[policy]\ndir = \"{folder}\"\ndisable = [\"guard.postgres.unbounded\"]\n[approval]\n{approval}\n"
    ))
}

/// Waits for the request of so many rows that came after `seen` others.
fn asked(shop: &Shop, seen: usize, rows: u64) -> String {
    let event = wait::for_some("a commit that waits", || shop.world.events("approval.requested").into_iter().nth(seen));
    assert_eq!(event["body"]["changed"], rows, "{event}");
    event["body"]["ticket"].as_str().unwrap().to_owned()
}

fn approve(shop: &Shop, ticket: &str) {
    let said = shop.world.cli(&["approve", ticket]);
    assert!(said.status.success(), "{said:?}");
}

/// Rows that have another item than at first, as others see them, whom nothing of it may block.
fn changed(shop: &Shop) -> String {
    shop.admin("SELECT count(*) FILTER (WHERE item NOT LIKE 'item %') + 100 - count(*) FROM orders")
}

fn is_unlocked(shop: &Shop) {
    wait::until("the rows to be free", || {
        shop.admin("SELECT count(*) FROM (SELECT FROM orders FOR UPDATE SKIP LOCKED) AS free") == "100"
    });
}

fn end(client: Child) -> Ran {
    let output = client.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ran { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn start_psql(shop: &Shop, statements: &[&str]) -> Child {
    let mut command = shop.command(Side::Inside, &[], &["psql", "-XAtw"]);
    for statement in statements {
        command.args(["-c", statement]);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn psql_waits_and_the_change_is_committed_once_a_person_who_read_how_many_rows_says_yes() {
    let shop = Shop::new();
    let _gateway = attach(&shop, "");
    let psql = start_psql(&shop, &[FORTY, "SELECT 'alive'"]);
    let ticket = asked(&shop, 0, 40);
    assert_eq!((shop.reached(FORTY), changed(&shop).as_str()), (1, "0"), "it ran, and is not committed");
    let listed = shop.world.cli(&["approvals"]).out;
    assert!(listed.contains("it has changed 40 rows, not committed yet"), "{listed}");
    approve(&shop, &ticket);
    let ran = end(psql);
    assert!(ran.out.contains("UPDATE 40") && ran.out.ends_with("alive"), "{ran:?}");
    assert!(ran.err.contains(&ticket) && ran.err.contains("rows that it would change: 40"), "{ran:?}");
    assert_eq!(changed(&shop), "40");
    // Recorded first: the yes was used, then it was committed, and then its outcome is known.
    let events = ["approval.decided", "approval.consumed", "postgres.outcome"].map(|kind| {
        let of = |event: &Value| event["body"]["ticket"] == *ticket || event["body"]["rows_affected"] == 40;
        shop.world.events(kind).into_iter().find(of).unwrap_or_else(|| panic!("no {kind}"))["seq"].as_u64()
    });
    assert!(events.is_sorted() && events[0] < events[1], "{events:?}");
    let (_, outcome) = shop.journaled("UPDATE orders");
    assert_eq!((&outcome["status"], &outcome["rows_affected"]), (&"ok".into(), &40.into()));
    // Used up, and for no other number of rows.
    let again = start_psql(&shop, &[FORTY]);
    assert_ne!(asked(&shop, 1, 40), ticket);
    send(again.id(), Signal::INT);
    assert!(end(again).err.contains("cancel"));
}

#[test]
fn without_a_yes_nothing_stays_and_nothing_stays_locked() {
    let shop = Shop::new();
    let _gateway = attach(&shop, "timeout = \"20s\"");
    let psql = start_psql(&shop, &[FORTY, "SELECT 'alive'"]);
    let ticket = asked(&shop, 0, 40);
    assert!(shop.world.cli(&["deny", &ticket, "--reason", "too many"]).status.success());
    let ran = end(psql);
    assert!(ran.err.contains("denied request") && ran.err.contains("Nothing of it is committed"), "{ran:?}");
    assert!(ran.out.ends_with("alive"), "{ran:?}");
    is_unlocked(&shop);
    let (_, outcome) = shop.journaled("UPDATE orders");
    assert_eq!((&outcome["status"], &outcome["rows_affected"]), (&"error".into(), &0.into()), "{outcome}");
    // Given up, and gone.
    for (seen, (signal, rows)) in [(Signal::INT, 39), (Signal::KILL, 38)].into_iter().enumerate() {
        let psql = start_psql(&shop, &[&format!("UPDATE orders SET item = 'left' WHERE id <= {rows}")]);
        let ticket = asked(&shop, seen + 1, rows);
        send(psql.id(), signal);
        drop(end(psql));
        shop.world.event("approval.expired", |body| body["ticket"] == ticket.as_str());
        is_unlocked(&shop);
        assert!(!shop.world.cli(&["approve", &ticket]).status.success(), "nobody is left to do it for");
    }
    // Nobody decides.
    let psql = start_psql(&shop, &["UPDATE orders SET item = 'nobody' WHERE id <= 37", "SELECT 'alive'"]);
    asked(&shop, 3, 37);
    let ran = end(psql);
    assert!(ran.err.contains("nobody decided in time") && ran.out.ends_with("alive"), "{ran:?}");
    is_unlocked(&shop);
    assert_eq!(changed(&shop), "0");
}

#[test]
fn an_agent_comes_back_with_the_same_change_of_the_same_rows() {
    let shop = Shop::new();
    let _gateway = attach(&shop, "");
    let agent = |statements: &[&str]| shop.psql_on(Side::Inside, &[("PGAPPNAME", "agent")], statements);
    let held = |statements: &[&str]| {
        let ran = agent(statements);
        let id = ran.err.split("Request ").nth(1).and_then(|rest| rest.split_whitespace().next()).map(str::to_owned);
        assert!(ran.err.contains("nothing of it is committed"), "{ran:?}");
        id.unwrap_or_else(|| panic!("not held: {statements:?}: {ran:?}"))
    };
    let first = held(&[FORTY]);
    assert_eq!(changed(&shop), "0");
    is_unlocked(&shop);
    approve(&shop, &first);
    // It is another change by now: other rows.
    shop.admin("UPDATE orders SET id = 1040 WHERE id = 40");
    let second = held(&[FORTY]);
    assert_ne!(first, second);
    shop.admin("UPDATE orders SET id = 40 WHERE id = 1040");
    let ran = agent(&[FORTY]);
    assert!(ran.ok && ran.err.is_empty(), "{ran:?}");
    assert_eq!(changed(&shop), "40");
    assert_ne!(held(&[FORTY]), first, "it is used up");
    // In a transaction of the client's that one fails, and goes through when it comes again.
    const ONE: &str = "UPDATE orders SET item = 'one' WHERE id = 99";
    let block = ["BEGIN", ONE, "UPDATE orders SET item = 'block' WHERE id <= 5", "COMMIT"];
    approve(&shop, &held(&block));
    assert_eq!(changed(&shop), "40");
    let ran = agent(&block);
    assert!(ran.ok && ran.err.is_empty(), "{ran:?}");
    assert_eq!(shop.admin("SELECT count(*) FROM orders WHERE item IN ('block', 'one')"), "6");
    // What people let run is bound by its own cap, whoever would raise the other.
    let (many, five) = ("DELETE FROM orders WHERE id <= 60", "DELETE FROM orders WHERE id <= 5");
    let asked = |statement| {
        let ran = agent(&[statement]);
        ran.err.split("Request ").nth(1).and_then(|rest| rest.split_whitespace().next()).map(str::to_owned)
    };
    approve(&shop, &asked(many).unwrap());
    let over = agent(&[many]);
    assert!(over.err.contains("it would change 60 rows, 50 are allowed"), "{over:?}");
    approve(&shop, &asked(five).unwrap());
    approve(&shop, &held(&[five]));
    approve(&shop, &asked(five).unwrap());
    assert!(agent(&[five]).ok);
    assert_eq!(shop.admin("SELECT count(*) FROM orders"), "95");
}

#[test]
fn who_waited_half_a_minute_gives_its_locks_up_and_comes_back_after_the_yes() {
    let shop = Shop::new();
    let _gateway = attach(&shop, "timeout = \"10m\"");
    let psql = start_psql(&shop, &[FORTY, "SELECT 'alive'"]);
    let ticket = asked(&shop, 0, 40);
    let ran = end(psql);
    let request = format!("Request {ticket} waits for approval");
    assert!(ran.err.contains(&request) && ran.err.contains("nothing of it is committed"), "{ran:?}");
    assert!(ran.out.ends_with("alive") && !ran.out.contains("UPDATE"), "{ran:?}");
    is_unlocked(&shop);
    assert_eq!(changed(&shop), "0");
    // The request outlived its locks: people decide in their own time, and nobody is asked again.
    assert!(shop.world.events("approval.expired").is_empty());
    approve(&shop, &ticket);
    assert_eq!(changed(&shop), "0", "a yes alone changes nothing");
    let ran = end(start_psql(&shop, &[FORTY]));
    assert!(ran.ok && ran.out.contains("UPDATE 40") && !ran.err.contains("waits as request"), "{ran:?}");
    assert_eq!(changed(&shop), "40");
    // In a transaction of the client's it is no longer, and that one fails.
    let block = ["BEGIN", "UPDATE orders SET item = 'block' WHERE id <= 5", "COMMIT"];
    let psql = start_psql(&shop, &block);
    let ticket = asked(&shop, 1, 5);
    let ran = end(psql);
    assert!(ran.err.contains(&format!("Request {ticket} waits")) && ran.out.ends_with("ROLLBACK"), "{ran:?}");
    is_unlocked(&shop);
    approve(&shop, &ticket);
    let ran = end(start_psql(&shop, &block));
    assert!(ran.ok && ran.out.ends_with("COMMIT"), "{ran:?}");
    assert_eq!(shop.admin("SELECT count(*) FROM orders WHERE item = 'block'"), "5");
}

/// Each outcome as one line.
const PYTHON: &str = r#"
import asyncio, asyncpg, psycopg

def attempt(name, run):
    try:
        print(name, run(), flush=True)
    except psycopg.Error as error:
        print(name, error.sqlstate, str(error).split("\n")[0], flush=True)

connection = psycopg.connect(autocommit=True, prepare_threshold=0)
change = "UPDATE orders SET item = %s WHERE id <= %s"
attempt("few", lambda: connection.execute(change, ("few", 3)).rowcount)
attempt("ten", lambda: connection.execute(change, ("ten", 10)).rowcount)

def together():
    with connection.pipeline():
        connection.execute("UPDATE orders SET item = 'one' WHERE id = 99")
        connection.execute(change, ("eleven", 11))
        last = connection.execute("SELECT count(*) FROM orders WHERE item = 'eleven'")
        return last.fetchone()[0]
attempt("pipeline", together)

def within():
    with connection.transaction():
        connection.execute(change, ("twelve", 12))
        return connection.execute("SELECT count(*) FROM orders WHERE item = 'twelve'").fetchone()[0]
attempt("transaction", within)
attempt("denied", together)
attempt("alive", lambda: connection.execute("SELECT count(*) FROM orders").fetchone()[0])

async def portal():
    connection = await asyncpg.connect()
    # One row is asked for, and all of them are changed.
    print("row", await connection.fetchrow("UPDATE orders SET item = 'row' WHERE id = $1 RETURNING id", 50))
    print("rows", await connection.fetchrow("UPDATE orders SET item = 'rows' WHERE id <= $1 RETURNING 'x'", 14))
    await connection.close()
asyncio.run(portal())
"#;

#[test]
fn drivers_wait_with_their_pipelines_transactions_and_portals() {
    let shop = Shop::new();
    let _gateway = attach(&shop, "on_hold = \"wait\"");
    let mut command = shop.python_command(PYTHON);
    let python = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let waits =
        [(10, "approve", "3"), (11, "approve", "10"), (12, "approve", "12"), (11, "deny", "13"), (14, "approve", "14")];
    for (seen, (rows, word, committed)) in waits.into_iter().enumerate() {
        let ticket = asked(&shop, seen, rows);
        assert_eq!(changed(&shop), committed, "{rows}: nothing of it is committed while it waits");
        assert!(shop.world.cli(&[word, &ticket]).status.success());
    }
    let ran = end(python);
    let expected = [
        "few 3",
        "ten 10",
        "pipeline 11",
        "transaction 12",
        "denied 42501 refused by the gateway: root denied request",
        "alive 100",
        "row <Record id=50>",
        "rows <Record ?column?='x'>",
    ];
    let lines: Vec<_> = ran.out.lines().collect();
    let fits = expected.iter().zip(&lines).all(|(begin, line)| line.starts_with(begin));
    assert!(fits && lines.len() == expected.len(), "{ran:?}");
    assert_eq!(shop.admin("SELECT count(*) FROM orders WHERE item = 'rows'"), "14");
    assert_eq!(shop.admin("SELECT count(*) FROM orders WHERE item = 'one'"), "1", "the second pipeline stays undone");
}
