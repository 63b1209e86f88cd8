//! The client sqlx: cached statements with binary results, simple ones, COPY, an error, a refusal.
//!
//! In: the variables of a client. Out: what it read, a line each; of labelled columns the bytes as they came.

use std::fmt::Debug;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, Column, Connection, Executor, PgConnection, Row, TypeInfo, ValueRef};

use super::MARK;

fn say(what: &str, value: &dyn Debug) {
    println!("\n{MARK}{what} {value:?}");
}

fn code(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(|error| error.code()).map_or_else(|| error.to_string(), |code| code.to_string())
}

/// Without TLS, which was not built in.
pub(super) async fn connect() -> PgConnection {
    PgConnection::connect_with(&PgConnectOptions::new().ssl_mode(PgSslMode::Disable)).await.unwrap()
}

pub(super) async fn work(mut client: PgConnection, refused: &str) -> Result<(), sqlx::Error> {
    const COUNT: &str = "SELECT count(*) FROM orders";
    say("count", &sqlx::query_scalar::<_, i64>(COUNT).fetch_one(&mut client).await?);
    for id in 1..=20 {
        let item = sqlx::query_scalar::<_, String>("SELECT item FROM orders WHERE id = $1").bind(id);
        say("item", &item.fetch_one(&mut client).await?);
    }
    let types =
        sqlx::query("SELECT $1::int4, 2.5::float8, 'é', true, NULL::text, '\\x00ff'::bytea, ARRAY[1, 2]").bind(4);
    let row = types.fetch_one(&mut client).await?;
    say("types", &(row.get::<i32, _>(0), row.get::<f64, _>(1), row.get::<&str, _>(2), row.get::<bool, _>(3)));
    say("types", &(row.get::<Option<&str>, _>(4), row.get::<&[u8], _>(5), row.get::<Vec<i32>, _>(6)));
    let mut transaction = client.begin().await?;
    sqlx::query("INSERT INTO orders VALUES ($1, $2)").bind(5001).bind("rolled back").execute(&mut *transaction).await?;
    say("inside", &sqlx::query_scalar::<_, i64>(COUNT).fetch_one(&mut *transaction).await?);
    transaction.rollback().await?;
    say("after", &sqlx::query_scalar::<_, i64>(COUNT).fetch_one(&mut client).await?);
    let failed = sqlx::query("SELECT 1/$1::int").bind(0).fetch_one(&mut client).await;
    say("error", &code(&failed.unwrap_err()));
    client.execute("CREATE TEMP TABLE copied (a int, b text)").await?;
    let mut sink = client.copy_in_raw("COPY copied FROM STDIN").await?;
    for number in 0..100 {
        sink.send(format!("{number}\trow\n").into_bytes()).await?;
    }
    say("copied", &sink.finish().await?);
    let copied: Vec<_> = client.copy_out_raw("COPY copied TO STDOUT").await?.try_collect().await?;
    say("copied", &copied.len());
    let refused = || AssertSqlSafe(refused.to_owned());
    println!("\n{MARK}refused {}", code(&sqlx::raw_sql(refused()).execute(&mut client).await.unwrap_err()));
    println!("\n{MARK}refused {}", code(&sqlx::query(refused()).execute(&mut client).await.unwrap_err()));
    say("usable", &sqlx::query_scalar::<_, String>("SELECT $1::text").bind("usable").fetch_one(&mut client).await?);
    client.close().await
}

/// Each statement ten times from the cache, and once by the simple protocol.
#[expect(clippy::print_stderr, reason = "as other clients do")]
pub(super) async fn read(mut client: PgConnection, statements: &str) {
    for statement in statements.lines() {
        if statement.starts_with("COPY") {
            let rows = client.copy_out_raw(statement).await.unwrap();
            let rows: Vec<bytes::Bytes> = rows.try_collect().await.unwrap();
            say("rows", &String::from_utf8(rows.concat()).unwrap());
            continue;
        }
        for round in 0..11 {
            let id = round % 3 + 1;
            let rows = if round < 10 {
                sqlx::query(AssertSqlSafe(statement.to_owned())).bind(id).fetch_all(&mut client).await
            } else {
                sqlx::raw_sql(AssertSqlSafe(statement.replace("$1", &id.to_string()))).fetch_all(&mut client).await
            };
            match rows {
                Ok(rows) => rows.iter().for_each(|row| say("row", &described(row))),
                Err(error) => {
                    eprintln!("{error:?}");
                    println!("\n{MARK}error {}", code(&error));
                }
            }
        }
    }
}

fn described(row: &PgRow) -> Vec<String> {
    let cell = |column: &sqlx::postgres::PgColumn| {
        let value = row.try_get_raw(column.ordinal()).unwrap();
        let bytes =
            if value.is_null() { "null".to_owned() } else { value.as_bytes().unwrap().escape_ascii().to_string() };
        format!("{} {} {bytes}", column.name(), column.type_info().name())
    };
    row.columns().iter().map(cell).collect()
}
