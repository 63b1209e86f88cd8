//! What every client reads of labelled columns: the one table of expectations.
//!
//! In: a client. Out: it has read the same through the gateway from `labelled` as past it from `masked`, a table that
//! holds the masks as its values: in text and binary, prepared or not, each cell with its type. So no client says here
//! what a mask looks like in its language.

use bytes::BytesMut;
use futures_util::TryStreamExt;
use tokio_postgres::types::{FromSql, ToSql, Type};

use super::{Client, MARK};
use crate::shop::{Ran, Shop, Side};

/// Every labelled column has its label by name; `pii` has no form of its own.
const LABELS: [&str; 11] =
    ["code", "price", "size", "born", "seen", "photo", "token", "is_new", "tags", "sizes", "note"];

const TABLES: &str = r#"SET ROLE agent;
    CREATE TABLE labelled (id int PRIMARY KEY, name text CHECK (name <> ''), weight numeric(6, 3), day date, raw bytea,
        list text[], code text, price numeric, size bigint, born date, seen timestamptz, photo bytea, token uuid,
        is_new bool, tags text[], sizes int[], note jsonb);
    INSERT INTO labelled VALUES
        (1, 'Äda', 1.250, '2020-02-03', '\x00ff', '{"a b",NULL}', 'raw-code-1', 12.34, 5150, '1984-05-06',
            '2001-02-03 04:05:06+00', 'raw-photo', '11111111-2222-3333-4444-555555555555', true, '{raw-tag,x}', '{7,8}',
            '{"a": "raw-note"}'),
        (2, 'Bert', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (3, 'Cleo', -1, 'infinity', '', '{}', 'raw-code-3', -0.5, -1, '1600-02-29', 'infinity', '', gen_random_uuid(),
            false, '{}', '{}', '[]');
    CREATE VIEW above AS SELECT id, name, code AS number, upper(code) AS shout FROM labelled;
    CREATE TABLE masked AS SELECT id, name, weight, day, raw, list,
        CASE WHEN id <> 2 THEN '[pii•••]'::text END AS code, CASE WHEN id <> 2 THEN 0::numeric END AS price,
        CASE WHEN id <> 2 THEN 0::bigint END AS size, CASE WHEN id <> 2 THEN '1970-01-01'::date END AS born,
        CASE WHEN id <> 2 THEN '1970-01-01 00:00:00+00'::timestamptz END AS seen,
        CASE WHEN id <> 2 THEN convert_to('[pii•••]', 'UTF8') END AS photo,
        CASE WHEN id <> 2 THEN '00000000-0000-0000-0000-000000000000'::uuid END AS token, NULL::bool AS is_new,
        NULL::text[] AS tags, NULL::int[] AS sizes, CASE WHEN id <> 2 THEN '"[pii•••]"'::jsonb END AS note FROM labelled;
    ALTER TABLE masked ADD CHECK (name <> '')"#;

/// What no client may be shown in any line, and what each shows where nothing is masked.
const RAW: [&str; 4] = ["raw-code-1", "raw-tag", "raw-note", "12.34"];

/// What is asked, with an id or none, and what would answer so without a gateway. Nobody says of an expression what it
/// derives from: it is masked whole, NULL or not.
const STATEMENTS: [(&str, &str); 12] = [
    ("SELECT * FROM labelled WHERE id = $1", "SELECT * FROM masked WHERE id = $1"),
    (
        "SELECT id, tags, note, born FROM labelled WHERE id >= $1 ORDER BY id",
        "SELECT id, tags, note, born FROM masked WHERE id >= $1 ORDER BY id",
    ),
    (
        "SELECT l.code AS name, l.name AS code, l.list, l.price AS id FROM labelled l WHERE id = $1",
        "SELECT l.code AS name, l.name AS code, l.list, l.price AS id FROM masked l WHERE id = $1",
    ),
    (
        "SELECT name, upper(code) a, price * 2 b, born + 1 c, array_length(tags, 1) d, photo || photo e, sizes || 1 f
         FROM labelled WHERE id = $1",
        "SELECT name, '[pii•••]'::text a, 0::numeric b, '1970-01-01'::date c, 0 d, convert_to('[pii•••]', 'UTF8') e,
         NULL::int[] f FROM masked WHERE id = $1",
    ),
    (
        "SELECT name, number, shout FROM above WHERE id = $1",
        "SELECT name, code AS number, code AS shout FROM masked WHERE id = $1",
    ),
    (
        "WITH l AS (SELECT seen, token FROM labelled WHERE id = $1) SELECT token, seen FROM l",
        "SELECT token, seen FROM masked WHERE id = $1",
    ),
    (
        "UPDATE labelled SET name = name WHERE id = $1 RETURNING code, size, name",
        "UPDATE masked SET name = name WHERE id = $1 RETURNING code, size, name",
    ),
    // Errors keep their code, and lose the text that quotes the value or the row.
    (
        "SELECT code::int AS number FROM labelled WHERE id = $1",
        "SELECT coalesce(code, '0')::int AS number FROM masked WHERE id = $1",
    ),
    ("UPDATE labelled SET name = '' WHERE id = $1", "UPDATE masked SET name = '' WHERE id = $1"),
    // Denied, and past the gateway refused by the server with the same code.
    (
        "SELECT id FROM labelled WHERE code = 'raw-code-1' AND id = $1",
        "SELECT rolname FROM pg_authid WHERE rolconnlimit > $1",
    ),
    ("COPY labelled TO STDOUT", "COPY masked TO STDOUT"),
    (
        "COPY labelled (id, name, code, born, sizes) TO STDOUT (FORMAT csv, HEADER)",
        "COPY masked (id, name, code, born, sizes) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE (code, born))",
    ),
];

/// Runs a client on both sides.
pub(super) fn same_but_for_masks(shop: &Shop, client: &Client) {
    shop.admin(TABLES);
    let columns = LABELS.map(|column| format!("\"undeclared/{}/public.labelled.{column}\"", shop.database));
    let rules = format!("version = 1\n[[column]]\nat = [{}]\nclass = \"pii\"\n", columns.join(", "));
    let rules = shop.world.file("masking.toml", &rules);
    let _gateway = shop.attach_with(&format!("[masking]\nfile = \"{}\"\n", rules.display()));
    let one_a_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let asked = STATEMENTS.map(|(asked, _)| one_a_line(asked)).join("\n");
    let expected = STATEMENTS.map(|(_, expected)| one_a_line(expected)).join("\n");
    let expected = client.run(shop, Side::Outside, ("STATEMENTS", &expected));
    let inside = client.run(shop, Side::Inside, ("STATEMENTS", &asked));
    let lines = |ran: &Ran| ran.out.lines().map(str::to_owned).collect::<Vec<_>>();
    for (ours, theirs) in lines(&inside).iter().zip(lines(&expected)) {
        assert_eq!(*ours, theirs);
    }
    assert_eq!(lines(&inside).len(), lines(&expected).len(), "{inside:?}");
    let outside = client.run(shop, Side::Outside, ("STATEMENTS", &asked));
    for raw in RAW {
        assert!(!inside.out.contains(raw) && !inside.err.contains(raw), "{raw}: {inside:?}");
        assert!(outside.out.contains(raw), "this client would not show `{raw}`: {outside:?}");
    }
    assert!(outside.err.contains("raw-code-1"), "errors do not quote values: {outside:?}");
    for line in ["42501", "23514", "22P02"] {
        assert!(inside.out.contains(line), "no `{line}`: {inside:?}");
    }
}

/// A value as it came, of any type.
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The client tokio-postgres: binary values as they come, and texts of simple statements.
#[expect(clippy::print_stderr, reason = "as other clients do")]
pub(super) async fn read(client: &tokio_postgres::Client, statements: &str) {
    let say = |text: String| println!("\n{MARK}{text}");
    let failed = |error: tokio_postgres::Error| {
        let error = error.as_db_error().unwrap();
        eprintln!("{error:?}");
        say(format!("error {}", error.code().code()));
    };
    for statement in statements.lines() {
        if statement.starts_with("COPY") {
            let mut out = BytesMut::new();
            let rows: Vec<bytes::Bytes> = client.copy_out(statement).await.unwrap().try_collect().await.unwrap();
            rows.iter().for_each(|row| out.extend_from_slice(row));
            say(format!("{:?}", String::from_utf8(out.to_vec()).unwrap()));
            continue;
        }
        let prepared = client.prepare(statement).await;
        for id in [1, 2, 3, 1, 2, 3, 1, 2, 3, 1] {
            // What is denied is so when it is prepared; past the gateway the server says it each time.
            let result = match &prepared {
                Ok(prepared) => client.query(prepared, &[&id]).await,
                Err(_) => client.query(statement, &[&id]).await,
            };
            match result {
                Ok(rows) => rows.iter().for_each(|row| say(described(row))),
                Err(error) => failed(error),
            }
        }
        for id in 1..=3 {
            // Both in one pipeline.
            let values: [&(dyn ToSql + Sync); 1] = [&id];
            let (first, second) = (client.query(statement, &values), client.query(statement, &values));
            let (first, second) = futures_util::future::join(first, second).await;
            for result in [first, second] {
                match result {
                    Ok(rows) => rows.iter().for_each(|row| say(described(row))),
                    Err(error) => failed(error),
                }
            }
            match client.simple_query(&statement.replace("$1", &id.to_string())).await {
                Ok(messages) => say(format!("{messages:?}")),
                Err(error) => failed(error),
            }
        }
    }
}

fn described(row: &tokio_postgres::Row) -> String {
    let cell = |(index, column): (usize, &tokio_postgres::Column)| {
        let value = row.get::<_, Option<Raw>>(index);
        let value = value.map_or("null".to_owned(), |Raw(bytes)| bytes.escape_ascii().to_string());
        format!("{} {} {value}", column.name(), column.type_())
    };
    row.columns().iter().enumerate().map(cell).collect::<Vec<_>>().join(" | ")
}
