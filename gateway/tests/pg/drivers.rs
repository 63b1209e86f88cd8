//! Clients that people use: each does the same work through the gateway and past it, with equal results.
//!
//! In: programs in `drivers/`. Out: their output, compared line by line. The statement that the gateway refuses is, past
//! it, one that the server itself refuses with the same code; what it shows of labelled columns is, past it, what
//! `labelled.rs` says of them.

mod labelled;
mod with_sqlx;

use std::path::Path;
use std::process::Command;

use futures_util::{SinkExt, TryStreamExt};

use crate::cluster::cached;
use crate::shop::{Ran, Shop, Side, ran};

/// The variable that has this test binary act as a client of that name.
const ROLE: &str = "GATEWAY_PG_CLIENT";
/// What its lines begin with, between those of the test harness.
const MARK: &str = "= ";

/// A client: its program, and what that one has to know.
pub(crate) struct Client {
    variables: Vec<(&'static str, String)>,
    program: Vec<String>,
}

impl Client {
    pub(crate) fn of(program: &[&str]) -> Self {
        Self { variables: Vec::new(), program: program.iter().map(|word| (*word).to_owned()).collect() }
    }

    /// Gives it a variable.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.variables.retain(|(other, _)| *other != name);
        self.variables.push((name, value.to_owned()));
    }

    /// Runs it to its end, which must be a good one.
    pub(crate) fn run(&self, shop: &Shop, side: Side, variable: (&str, &str)) -> Ran {
        let own = self.variables.iter().map(|(name, value)| (*name, value.as_str()));
        let variables: Vec<_> = own.chain([variable]).collect();
        let program: Vec<&str> =
            ["timeout", "120"].into_iter().chain(self.program.iter().map(String::as_str)).collect();
        let mut ran = ran(&mut shop.command(side, &variables, &program));
        if ran.out.contains(MARK) {
            ran.out = ran.out.lines().filter_map(|line| Some(line.split_once(MARK)?.1.to_owned() + "\n")).collect();
        }
        assert!(ran.ok, "{side:?}: {ran:?}");
        ran
    }
}

/// Runs a client on both sides. It must say the same.
fn same(shop: &Shop, client: &Client) {
    let outside = client.run(shop, Side::Outside, ("REFUSED", "SELECT * FROM pg_catalog.pg_authid"));
    let inside = client.run(shop, Side::Inside, ("REFUSED", "DELETE FROM orders"));
    assert_eq!(inside.out.lines().collect::<Vec<_>>(), outside.out.lines().collect::<Vec<_>>());
    for line in ["refused 42501", "usable", "100"] {
        assert!(inside.out.contains(line), "no `{line}`: {inside:?}");
    }
    assert_eq!(shop.admin("SELECT count(*) FROM orders"), "100");
    assert!(shop.reached("DELETE FROM orders") == 0, "it was refused before the server saw it");
}

/// Two tests of each client: on ordinary tables, and on labelled ones.
macro_rules! clients {
    ($($name:ident)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn works_as_without_a_gateway() {
                let shop = Shop::new();
                let _gateway = shop.world.attach(&[]);
                same(&shop, &super::$name(&shop));
            }

            #[test]
            fn reads_labelled_columns_masked_and_all_else_as_without_a_gateway() {
                let shop = Shop::new();
                labelled::same_but_for_masks(&shop, &super::$name(&shop));
            }
        }
    )*};
}

clients! { psql psycopg asyncpg pg8000 tokio_postgres sqlx lib_pq pgx jdbc node_postgres }

/// Those that need no building, and find a server by the folder of its socket.
pub(crate) fn over_unix_sockets(shop: &Shop) -> Vec<Client> {
    vec![psql(shop), psycopg(shop), asyncpg(shop), node_postgres(shop)]
}

fn psql(shop: &Shop) -> Client {
    let script = shop.world.file("psql.sh", include_str!("drivers/psql.sh"));
    let file = shop.world.file("psql.sql", include_str!("drivers/psql.sql"));
    Client::of(&["sh", script.to_str().unwrap(), file.to_str().unwrap()])
}

fn psycopg(shop: &Shop) -> Client {
    let file = shop.world.file("with_psycopg.py", include_str!("drivers/with_psycopg.py"));
    Client::of(&[&python(), file.to_str().unwrap()])
}

fn asyncpg(shop: &Shop) -> Client {
    let file = shop.world.file("with_asyncpg.py", include_str!("drivers/with_asyncpg.py"));
    Client::of(&[&python(), file.to_str().unwrap()])
}

fn tokio_postgres(_: &Shop) -> Client {
    of_this_binary("tokio-postgres")
}

fn sqlx(_: &Shop) -> Client {
    of_this_binary("sqlx")
}

fn of_this_binary(driver: &str) -> Client {
    let program = ["/run/it/it", "--exact", "drivers::acts_as_a_client_when_asked", "--nocapture", "--test-threads=1"];
    Client { variables: vec![(ROLE, driver.to_owned())], ..Client::of(&program) }
}

fn pg8000(shop: &Shop) -> Client {
    let file = shop.world.file("with_pg8000.py", include_str!("drivers/with_pg8000.py"));
    Client::of(&[&python(), file.to_str().unwrap()])
}

fn lib_pq(shop: &Shop) -> Client {
    go(shop, "pq", include_str!("drivers/pq.go"), "github.com/lib/pq")
}

fn pgx(shop: &Shop) -> Client {
    go(shop, "pgx", include_str!("drivers/pgx.go"), "github.com/jackc/pgx/v4")
}

/// A program in Go with a package of Debian's.
fn go(shop: &Shop, name: &str, source: &str, package: &str) -> Client {
    needs(&Path::new("/usr/share/gocode/src").join(package));
    let file = shop.world.file(&format!("{name}.go"), source);
    let program = shop.world.directory().join(name);
    build(
        Command::new("go")
            .args(["build", "-o"])
            .args([&program, &file])
            .env("GO111MODULE", "off")
            .env("GOPATH", "/usr/share/gocode")
            .env("GOCACHE", shop.world.directory().join("go-cache")),
    );
    Client::of(&[program.to_str().unwrap()])
}

fn jdbc(shop: &Shop) -> Client {
    let jar = needs(Path::new("/usr/share/java/postgresql.jar"));
    let file = shop.world.file("Jdbc.java", include_str!("drivers/Jdbc.java"));
    let folder = shop.world.directory().display().to_string();
    build(Command::new("javac").args(["-encoding", "UTF-8", "-cp", &jar, "-d", &folder]).arg(file));
    Client::of(&["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", &format!("{jar}:{folder}"), "Jdbc"])
}

fn node_postgres(shop: &Shop) -> Client {
    let modules = needs(&cached("postgres-drivers-node-").join("node_modules"));
    let file = shop.world.file("node.js", include_str!("drivers/node.js"));
    Client { variables: vec![("NODE_PATH", modules)], ..Client::of(&["node", file.to_str().unwrap()]) }
}

pub(crate) fn build(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: run `cargo xtask setup`"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn needs(path: &Path) -> String {
    assert!(path.exists(), "`{}` is missing: run `cargo xtask setup`", path.display());
    path.display().to_string()
}

fn python() -> String {
    needs(&cached("postgres-drivers-python-").join("bin/python"))
}

/// Rows in text and in binary, and what the journal keeps of parameters.
const MASKED: &str = r#"
import psycopg
with psycopg.connect("", autocommit=True) as connection:
    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            cursor.execute("SELECT item, id, note, paid FROM labelled WHERE id = %s", (7,))
            print(cursor.fetchall())
    connection.execute("INSERT INTO orders VALUES (%s, %s)", (700, "card 4111 1111 1111 1111"))
    connection.execute("UPDATE labelled SET item = %s WHERE id = %s", ("anna", 7))
    try:
        connection.execute("UPDATE labelled SET item = %s WHERE id = %s", ("[pii\u2022\u2022\u2022]", 7))
    except psycopg.errors.InsufficientPrivilege as error:
        print(error.diag.message_primary)
"#;

#[test]
fn labelled_columns_come_masked_in_both_formats_and_parameters_are_kept_masked() {
    let shop = Shop::new();
    shop.admin(
        "SET ROLE agent; CREATE TABLE labelled (id int, item text, note jsonb, paid date);
         INSERT INTO labelled VALUES (7, 'secret', '{\"a\": \"secret\"}', '2026-01-02')",
    );
    let columns: Vec<_> = ["item", "note", "paid"]
        .iter()
        .map(|column| format!("\"undeclared/{}/public.labelled.{column}\"", shop.database))
        .collect();
    let rules = format!("version = 1\n[[column]]\nat = [{}]\nclass = \"pii\"\n", columns.join(", "));
    let rules = shop.world.file("masking.toml", &rules);
    let _gateway = shop.attach_with(&format!("[masking]\nfile = \"{}\"\n", rules.display()));
    let file = shop.world.file("masked.py", MASKED);
    let ran = ran(&mut shop.command(Side::Inside, &[], &["timeout", "60", &python(), file.to_str().unwrap()]));
    let row = "[('[pii•••]', 7, '[pii•••]', datetime.date(1970, 1, 1))]";
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.get(..2), Some(&[row, row][..]), "{ran:?}");
    assert!(lines.get(2).is_some_and(|line| line.contains("not written back")), "{ran:?}");
    let parameters = |text: &str| {
        let of = |(statement, _): &(serde_json::Value, Option<serde_json::Value>)| {
            let is_it = statement["phase"] == "execute" && statement["text"].to_string().contains(text);
            is_it.then(|| statement["parameters"].clone())
        };
        shop.statements().iter().find_map(of).unwrap_or_default()
    };
    assert_eq!(parameters("INSERT INTO orders"), serde_json::json!(["[2 bytes]", "card •••1111"]));
    assert_eq!(parameters("UPDATE labelled"), serde_json::json!(["?", "?"]));
    assert_eq!(shop.admin("SELECT item FROM labelled"), "anna");
}

/// The entry of the client. Unasked, as in an ordinary run of the tests, it does nothing.
#[tokio::test]
async fn acts_as_a_client_when_asked() {
    let Ok(driver) = std::env::var(ROLE) else { return };
    let variable = |name| std::env::var(name).unwrap();
    if driver == "sqlx" {
        let client = with_sqlx::connect().await;
        match std::env::var("STATEMENTS") {
            Ok(statements) => with_sqlx::read(client, &statements).await,
            Err(_) => with_sqlx::work(client, &variable("REFUSED")).await.unwrap(),
        }
        return;
    }
    let mut config = ::tokio_postgres::Config::new();
    config.host(variable("PGHOST")).dbname(variable("PGDATABASE")).user(variable("PGUSER"));
    let (mut client, connection) = config.connect(::tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    match std::env::var("STATEMENTS") {
        Ok(statements) => labelled::read(&client, &statements).await,
        Err(_) => work(&mut client, &variable("REFUSED")).await.unwrap(),
    }
}

async fn work(client: &mut ::tokio_postgres::Client, refused: &str) -> Result<(), ::tokio_postgres::Error> {
    let say = |what: &str, value: &dyn std::fmt::Debug| println!("\n{MARK}{what} {value:?}");
    let code = |error: ::tokio_postgres::Error| error.code().unwrap().code().to_owned();
    let count = "SELECT count(*) FROM orders";
    say("count", &client.query_one(count, &[]).await?.get::<_, i64>(0));
    let statement = client.prepare("SELECT item FROM orders WHERE id = $1").await?;
    for id in 1..=20 {
        let row = client.query_one(&statement, &[&id]).await?;
        say("item", &row.get::<_, &str>(0));
    }
    let row = client.query_one("SELECT $1::int4, 2.5::float8, 'é', true, '\\x00ff'::bytea, ARRAY[1, 2]", &[&4]).await?;
    say("types", &(row.get::<_, i32>(0), row.get::<_, f64>(1), row.get::<_, &str>(2), row.get::<_, bool>(3)));
    say("types", &(row.get::<_, &[u8]>(4), row.get::<_, Vec<i32>>(5)));
    let transaction = client.transaction().await?;
    transaction.execute("INSERT INTO orders VALUES ($1, $2)", &[&5001, &"rolled back"]).await?;
    say("inside", &transaction.query_one(count, &[]).await?.get::<_, i64>(0));
    let portal = transaction.bind("SELECT id FROM orders ORDER BY id", &[]).await?;
    say("portal", &transaction.query_portal(&portal, 7).await?.len());
    say("portal", &transaction.query_portal(&portal, 0).await?.len());
    transaction.rollback().await?;
    say("after", &client.query_one(count, &[]).await?.get::<_, i64>(0));
    say("error", &code(client.query_one("SELECT 1/$1::int", &[&0]).await.unwrap_err()));
    client.batch_execute("CREATE TEMP TABLE copied (a int, b text)").await?;
    let mut sink = Box::pin(client.copy_in("COPY copied FROM STDIN").await?);
    for number in 0..100 {
        sink.send(bytes::Bytes::from(format!("{number}\trow\n"))).await?;
    }
    say("copied", &sink.as_mut().finish().await?);
    let copied: Vec<bytes::Bytes> = client.copy_out("COPY copied TO STDOUT").await?.try_collect().await?;
    say("copied", &copied.len());
    println!("\n{MARK}refused {}", code(client.simple_query(refused).await.unwrap_err()));
    println!("\n{MARK}refused {}", code(client.query(refused, &[]).await.unwrap_err()));
    say("usable", &client.query_one("SELECT $1::text", &[&"usable"]).await?.get::<_, &str>(0));
    Ok(())
}
