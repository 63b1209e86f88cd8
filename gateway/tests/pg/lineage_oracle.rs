//! PostgreSQL itself says what each output of a query derives from.
//!
//! In: queries over tables that are filled. Out: a failure wherever a column that our lineage does not name is one that
//! the server reads, or one whose values change what an output shows or which rows come.

use std::collections::{BTreeMap, BTreeSet};

use gateway::masking::plan::Origin;
use gateway::protocol::postgres::sql::facts::RelationName;
use gateway::protocol::postgres::sql::lineage::{
    Col, Derived, Expected, Following, How, Lineage, Relations, Shape, Slot, Sources, follow,
};
use tokio_postgres::SimpleQueryMessage;

use crate::cluster::Version;
use crate::sql_oracle::{Client, server_reads};

const TABLES: &str = "
    CREATE TABLE c (id int PRIMARY KEY, name text, ssn text, email text, pay int);
    INSERT INTO c VALUES (1, 'Anna', '000-45-6789', 'anna@example.org', 70), (2, 'Bert', NULL, 'bert@example.org', 50),
        (3, 'Cleo', '000-11-2222', NULL, 70), (4, 'Dora', '000-99-0000', 'dora@example.org', NULL);
    CREATE TABLE o (id int, item text, cost int);
    INSERT INTO o VALUES (1, 'ink', 3), (2, 'paper', 4), (3, 'ink', 5), (9, 'pen', 6);
    CREATE TABLE t (id int, parent int, label text);
    INSERT INTO t VALUES (1, NULL, 'root'), (2, 1, 'left'), (3, 1, 'right'), (4, 2, 'leaf');
    CREATE TABLE parts (id int, name text, ssn text, email text, pay int) PARTITION BY RANGE (id);
    CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (100000);
    INSERT INTO parts SELECT * FROM c;
    CREATE VIEW v AS SELECT c.id, upper(c.name) AS name, c.ssn, c.email || o.item AS email, o.cost AS pay
        FROM c LEFT JOIN o USING (id);
    CREATE VIEW above WITH (security_barrier) AS WITH q AS (SELECT * FROM v) SELECT id, name, ssn, email, pay FROM q
        UNION ALL SELECT 0, '', (SELECT max(label) FROM t), '', 1";

/// What can stand in FROM under columns `name`, `ssn`, `email` and `pay` of `x`.
const FROM: &[&str] = &[
    "c x",
    "(SELECT * FROM c) x",
    "(SELECT pay, email, ssn, name FROM c) AS x (pay, email, ssn, name)",
    "(TABLE c UNION ALL SELECT 7, 'Eve', '000', NULL, 1) x",
    "(SELECT c.* FROM o, LATERAL (SELECT c.* FROM c WHERE c.id = o.id) c) x",
    "(c JOIN o ON o.id = c.id) x (id, name, ssn, email, pay)",
    "(SELECT name, ssn, email, pay FROM c NATURAL JOIN o) x",
    "(SELECT * FROM c JOIN o USING (id)) x",
    "o FULL JOIN c x USING (id)",
    "(o RIGHT JOIN c x USING (id)) LEFT JOIN t ON t.id = o.cost",
    "parts x",
    "v x",
    "above x",
    "(SELECT DISTINCT ON (id) * FROM c ORDER BY id) x",
    "(SELECT name, max(ssn) AS ssn, min(email) AS email, sum(pay)::int AS pay FROM c GROUP BY name) x",
    "(VALUES ('a', 'b', (SELECT email FROM c WHERE id = 1), 4)) x (name, ssn, email, pay)",
    "(SELECT * FROM unnest(ARRAY['n'], ARRAY['s'], ARRAY['e'], (SELECT array_agg(pay ORDER BY id) FROM c)) u) x (name, ssn, email, pay)",
];

/// Expressions over them.
const OUTPUTS: &[&str] = &[
    "x.ssn, name, pay",
    "upper(x.name), x.ssn || '!', pay + 1",
    "name::varchar(3), ssn COLLATE \"C\", pay::text",
    "CASE WHEN x.pay > 60 THEN x.name ELSE 'no' END, email",
    "COALESCE(ssn, email), NULLIF(name, 'Bert'), GREATEST(pay, 3)",
    "count(*), count(ssn), count(email || ''), max(name), sum(pay)",
    "count(CASE WHEN ssn LIKE '000-4%' THEN 1 END), bool_or(pay > 60), pg_typeof(min(ssn))",
    "string_agg(name, ',' ORDER BY name), array_agg(pay ORDER BY pay)",
    "percentile_disc(0.5) WITHIN GROUP (ORDER BY pay), mode() WITHIN GROUP (ORDER BY name)",
    "first_value(ssn) OVER (ORDER BY name), lag(email) OVER (ORDER BY name), row_number() OVER (ORDER BY name)",
    "x, (x).email, (x).ssn || ''",
    "row_to_json(x)->>'name', to_jsonb(x) - 'ssn', ROW(x.name, x.pay)",
    "x.ssn IS NULL, (x.ssn = 'q') IS NULL, x.pay IS DISTINCT FROM 3",
    "(SELECT max(item) FROM o WHERE o.cost < 100), (SELECT x.email), ARRAY(SELECT x.name)",
    "EXISTS (SELECT 1 FROM o WHERE o.cost > 3), name IN (SELECT item FROM o), pay = ANY (SELECT cost FROM o)",
    "ARRAY[name, email], (ARRAY[ssn, name])[1], (ARRAY[ssn, name])[1:1]",
    "format('%s-%s', name, pay), concat(ssn, NULL), length(email), md5(ssn)",
    "(SELECT s.z FROM (SELECT x.email || i.item AS z FROM o i LIMIT 1) s)",
    "name LIKE 'A%', pay BETWEEN 1 AND 60, (name, pay) = ('Anna', 70)",
    "jsonb_build_object('a', ssn, 'b', pay), xmlforest(email AS e)::text",
    "(SELECT string_agg(q.u, ',' ORDER BY q.u) FROM (SELECT y.name AS u FROM c y UNION ALL SELECT x.ssn) q)",
    "x.*",
];

/// Queries that need a shape of their own.
const WHOLE: &[&str] = &[
    "SELECT * FROM c",
    "SELECT o.*, c.*, 1 FROM c, o WHERE o.id = c.id",
    "SELECT * FROM c JOIN o USING (id) JOIN t USING (id)",
    "SELECT j.* FROM (c JOIN o USING (id)) j",
    "SELECT u.id, c.name FROM c JOIN o USING (id) AS u",
    "SELECT * FROM (SELECT id, ssn FROM c) a NATURAL JOIN (SELECT id, item FROM o) b",
    "WITH a AS (SELECT * FROM c), b (k, z) AS (SELECT id, email FROM a WHERE pay > 60) SELECT z, name FROM a, b WHERE a.id = k",
    "WITH c AS (SELECT id, item AS ssn FROM o) SELECT ssn FROM c",
    "WITH RECURSIVE r AS (SELECT id, label, 0 AS n FROM t WHERE parent IS NULL UNION ALL
        SELECT t.id, r.label || t.label, n + 1 FROM r JOIN t ON t.parent = r.id) SELECT label, n FROM r",
    "WITH RECURSIVE r (a, b, n) AS (SELECT '', ssn, 0 FROM c UNION ALL SELECT b, a, n + 1 FROM r WHERE n < 3) SELECT a, n FROM r",
    "WITH RECURSIVE r AS (SELECT id, name FROM c UNION SELECT id - 1, name FROM r WHERE id > 1) SELECT name FROM r",
    "WITH w AS (UPDATE o SET item = c.email FROM c WHERE c.id = o.id RETURNING o.*) SELECT item || '', cost FROM w",
    "WITH w AS (DELETE FROM o RETURNING *), z AS (SELECT w.item FROM w) SELECT z.item FROM z",
    "INSERT INTO o SELECT id, ssn, pay FROM c RETURNING item, cost + 1",
    "INSERT INTO c (id, name) SELECT 500, item FROM o WHERE cost = 3 ON CONFLICT (id) DO UPDATE SET name = excluded.name || c.email RETURNING name, ssn",
    "UPDATE c SET name = ssn, pay = DEFAULT WHERE id > 0 RETURNING name, email, pay",
    "UPDATE c SET (name, email) = (SELECT item, 'x' FROM o WHERE o.cost = 3) RETURNING c.*",
    "DELETE FROM c USING o WHERE o.id = c.id RETURNING o.item, c.name",
    "SELECT ssn FROM c UNION SELECT item FROM o",
    "SELECT id, name FROM c EXCEPT SELECT id, item FROM o",
    "(SELECT id, email FROM c) UNION ALL (SELECT cost, item FROM o) ORDER BY 1 LIMIT 3",
    "SELECT id FROM c ORDER BY ssn LIMIT 2",
    "SELECT id AS ssn FROM c ORDER BY ssn LIMIT 2",
    "SELECT name FROM c ORDER BY pay, email LIMIT 1 OFFSET (SELECT min(cost) - 3 FROM o)",
    "SELECT DISTINCT pay FROM c",
    "SELECT pay, count(*) FROM c GROUP BY 1 HAVING max(ssn) > '000-2'",
    "SELECT pay AS p, name, count(*) FROM c GROUP BY ROLLUP (p, 2)",
    "SELECT count(DISTINCT email), count(*) FILTER (WHERE ssn > '000-3') FROM c",
    "SELECT name FROM c WHERE EXISTS (SELECT 1 FROM o WHERE o.id = c.id AND o.item > c.email)",
    "SELECT unnest(string_to_array(email, '@')) FROM c",
    "SELECT g FROM c, generate_series(1, c.pay / 10) g",
    "SELECT p.name FROM parts p WHERE p.ssn LIKE '000%'",
    "SELECT (SELECT x FROM (SELECT c.email AS x) s, (SELECT 1) c) FROM c",
    "SELECT (SELECT c.item FROM o c WHERE c.cost = 3), c.name FROM c",
    "SELECT l.k FROM c, LATERAL (SELECT c.pay + o.cost AS k, o.* FROM o WHERE o.id = c.id) l",
    "SELECT a.name, b.name FROM c a JOIN c b ON a.pay = b.pay",
    "SELECT s.lower, s.\"?column?\" FROM (SELECT lower(name), ssn || '' FROM c) s",
    "SELECT name, rank() OVER w FROM c WINDOW w AS (PARTITION BY pay ORDER BY email)",
    "SELECT t.label, lead(t.label) OVER (ORDER BY t.id) FROM t",
    "TABLE o",
    "VALUES ((SELECT max(ssn) FROM c), 1), ('x', (SELECT min(cost) FROM o))",
];

/// The relations of a database.
struct Database {
    columns: BTreeMap<String, Vec<(String, Origin)>>,
    views: BTreeMap<String, String>,
}

impl Database {
    fn load(client: &Client) -> Self {
        let mut columns: BTreeMap<String, Vec<(String, Origin)>> = BTreeMap::new();
        for row in client.query(
            "SELECT c.relname::text, c.oid, a.attnum, a.attname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND a.attnum > 0 ORDER BY 2, 3",
        ) {
            let origin = Origin { relation: row.get(1), attribute: row.get(2) };
            columns.entry(row.get(0)).or_default().push((row.get(3), origin));
        }
        let views = client.query("SELECT viewname::text, definition FROM pg_views WHERE schemaname = 'public'");
        Self { columns, views: views.iter().map(|row| (row.get(0), row.get(1))).collect() }
    }

    fn lineage(&self, text: &str) -> Option<Lineage> {
        follow(text, Following { relations: self, shows_nulls: true }).pop()?
    }

    /// What the definitions of the views compare: whoever made one decided that its rows may tell of it.
    fn compared_by_views(&self) -> Sources {
        self.views.values().flat_map(|definition| self.lineage(definition).unwrap().compared).collect()
    }

    fn name(&self, origin: Origin) -> String {
        let of = |(relation, columns): (&String, &Vec<(String, Origin)>)| {
            columns.iter().find(|(_, known)| *known == origin).map(|(column, _)| format!("{relation}.{column}"))
        };
        self.columns.iter().find_map(of).unwrap()
    }

    /// Columns of tables, with their types told by their names.
    fn base(&self) -> impl Iterator<Item = (&str, &str, Origin)> {
        let tables = ["c", "o", "t", "parts"];
        tables
            .into_iter()
            .flat_map(|table| self.columns[table].iter().map(move |(column, origin)| (table, &**column, *origin)))
    }
}

impl Relations for Database {
    fn shape(&self, name: &RelationName) -> Shape {
        let Some(columns) = self.columns.get(&name.name) else { return Shape::outside() };
        let own = |(name, origin): &(String, Origin)| Col {
            name: Some(name.as_str().into()),
            derived: Derived { from: [*origin].into(), ..Derived::default() },
            expected: Expected::Origin(*origin),
        };
        let cols: Vec<Col> = match self.views.get(&name.name) {
            None => columns.iter().map(own).collect(),
            // What a view is made of, so that a change of a table is one of what it says.
            Some(definition) => {
                let outputs = self.lineage(definition).unwrap().outputs.expand(columns.len()).unwrap();
                let named =
                    |(col, (name, _)): (Col, &(String, Origin))| Col { name: Some(name.as_str().into()), ..col };
                outputs.into_iter().zip(columns).map(named).collect()
            }
        };
        Shape(cols.into_iter().map(Slot::One).collect())
    }
}

fn queries() -> Vec<String> {
    let product =
        FROM.iter().flat_map(|from| OUTPUTS.iter().map(move |outputs| format!("SELECT {outputs} FROM {from}")));
    WHOLE.iter().map(|text| (*text).to_owned()).chain(product).collect()
}

type Table = Vec<Vec<Option<String>>>;

/// The rows of a query in a transaction that is rolled back, after a change.
fn rows(client: &Client, change: &str, text: &str) -> Result<Table, String> {
    client.must("BEGIN");
    client.must(change);
    let rows = client.run(text);
    client.must("ROLLBACK");
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect()),
        _ => None,
    };
    Ok(rows.map_err(|error| error.to_string())?.iter().filter_map(row).collect())
}

fn sorted_column(table: &Table, index: usize) -> Vec<&Option<String>> {
    let mut column: Vec<_> = table.iter().map(|row| &row[index]).collect();
    column.sort();
    column
}

/// What our lineage misses of a query.
fn missed(client: &Client, database: &Database, text: &str, seen: &mut (usize, usize)) -> Vec<String> {
    let Ok(before) = rows(client, "", text) else { return vec![format!("{text}: does not run")] };
    let Some(lineage) = database.lineage(text) else { return vec![format!("{text}: is not followed")] };
    let width = before.first().map_or(0, Vec::len);
    let Some(outputs) = lineage.outputs.expand(width).filter(|_| width > 0) else {
        return vec![format!("{text}: has {width} columns, {:?}", lineage.outputs)];
    };
    let mut wrong = Vec::new();
    let reads_view = text.contains(" v x") || text.contains(" above x");
    let compared_by_views = if reads_view { database.compared_by_views() } else { Sources::new() };
    for (table, column, origin) in database.base() {
        if lineage.compared.contains(&origin) || compared_by_views.contains(&origin) {
            continue;
        }
        let number = matches!(column, "id" | "pay" | "cost" | "parent");
        let value = if number { format!("{column} + 1000") } else { format!("'zz' || md5({column})") };
        let Ok(after) = rows(client, &format!("UPDATE {table} SET {column} = {value}"), text) else { continue };
        if after.len() != before.len() {
            wrong.push(format!("{text}: {table}.{column} chooses rows"));
            continue;
        }
        for (index, output) in outputs.iter().enumerate() {
            let changed = sorted_column(&before, index) != sorted_column(&after, index);
            let named = output.derived.from.contains(&origin);
            seen.0 += usize::from(changed);
            seen.1 += usize::from(named && !changed);
            if changed && !named {
                wrong.push(format!("{text}: output {index} derives from {table}.{column}"));
            }
        }
    }
    wrong
}

fn what_an_output_derives_from_is_what_changes_it(version: Version, database: &str) {
    let client = Client::connect(version.encrypted(), database);
    client.must(TABLES);
    let database = Database::load(&client);
    let mut seen = (0, 0);
    let wrong: Vec<_> = queries().iter().flat_map(|text| missed(&client, &database, text, &mut seen)).collect();
    println!("{} changes were seen, {} that were named were not", seen.0, seen.1);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen.0 > 900, "too few changes: {}", seen.0);
}

#[test]
fn what_an_output_derives_from_is_what_changes_it_on_15() {
    what_an_output_derives_from_is_what_changes_it(Version::V15, "lineage_15");
}

#[test]
fn what_an_output_derives_from_is_what_changes_it_on_18() {
    what_an_output_derives_from_is_what_changes_it(Version::V18, "lineage_18");
}

#[test]
fn every_column_that_the_server_reads_is_read() {
    let client = Client::connect(Version::V15.encrypted(), "lineage_reads");
    client.must(TABLES);
    let database = Database::load(&client);
    let (mut compared, mut wrong) = (0, Vec::new());
    for text in queries() {
        let reads_only = text.starts_with("SELECT") || text.starts_with("WITH RECURSIVE") || text.starts_with("WITH a");
        if !reads_only || text.contains(" v x") || text.contains(" above x") {
            continue;
        }
        let server: BTreeSet<String> = server_reads(&client, &text)
            .into_iter()
            .flat_map(|(relation, columns)| {
                let relation = relation.trim_start_matches("public.").to_owned();
                columns.into_iter().map(move |column| format!("{relation}.{column}"))
            })
            .collect();
        let read: Sources = database.lineage(&text).map(|lineage| lineage.read).unwrap_or_default();
        let ours: BTreeSet<String> = read.iter().map(|origin| database.name(*origin)).collect();
        compared += 1;
        let missing: Vec<_> = server.difference(&ours).collect();
        if !missing.is_empty() {
            wrong.push(format!("{text}: {missing:?}"));
        }
    }
    assert!(wrong.is_empty() && compared > 250, "{compared} queries\n{}", wrong.join("\n"));
}

#[test]
fn a_column_as_it_stands_is_said_to_be_one() {
    let client = Client::connect(Version::V15.encrypted(), "lineage_plain");
    client.must(TABLES);
    let database = Database::load(&client);
    let how = |text: &str| database.lineage(text).unwrap().outputs.all().how;
    assert_eq!(how("SELECT s.ssn FROM (SELECT * FROM c UNION ALL SELECT * FROM parts) s"), How::Column);
    assert_eq!(how("SELECT s.ssn || '' FROM c s"), How::Computed);
}
