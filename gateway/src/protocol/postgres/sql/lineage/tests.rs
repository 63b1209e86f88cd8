//! Texts in, columns out: what each output derives from, what is compared, what is moved, and what is not followed.

use super::*;
use crate::masking::plan::Origin;
use crate::protocol::postgres::sql::read;

/// Three relations whose columns are known; all others are of no interest.
struct Known;

const RELATIONS: &[(&str, u32, &[&str])] =
    &[("c", 1, &["id", "name", "ssn", "email"]), ("d", 2, &["id", "code"]), ("p", 3, &["id", "ssn"])];

impl Relations for Known {
    fn shape(&self, name: &RelationName) -> Shape {
        let Some((_, oid, columns)) = RELATIONS.iter().find(|(known, ..)| *known == name.name) else {
            return Shape::outside();
        };
        let col = |(number, name): (i16, &&str)| {
            let origin = Origin { relation: *oid, attribute: number };
            let derived = Derived { from: [origin].into(), ..Derived::default() };
            Slot::One(Col { name: Some((*name).into()), derived, expected: Expected::Origin(origin) })
        };
        Shape((1..).zip(*columns).map(col).collect())
    }
}

fn lineage(text: &str) -> Option<Lineage> {
    let facts = read(text.as_bytes(), &Caps::default()).unwrap();
    let found = follow(text, Following { relations: &Known, shows_nulls: true });
    assert_eq!(found.len(), facts.statements.len());
    found.into_iter().next_back().flatten()
}

fn names(sources: &Sources) -> String {
    let name = |origin: &Origin| {
        let (relation, _, columns) = RELATIONS.iter().find(|(_, oid, _)| *oid == origin.relation).unwrap();
        format!("{relation}.{}", columns[usize::try_from(origin.attribute).unwrap() - 1])
    };
    sources.iter().map(name).collect::<Vec<_>>().join("+")
}

/// Outputs, each with what it derives from; `=` before one that is the column itself, `*` after any number.
fn outputs(text: &str) -> String {
    let Some(lineage) = lineage(text) else { return "?".to_owned() };
    let show = |slot: &Slot| match slot {
        Slot::One(col) => {
            let how = if col.derived.how == How::Column && !col.derived.from.is_empty() { "=" } else { "" };
            format!("{how}{}", names(&col.derived.from))
        }
        Slot::Rest(rest) => format!("{}*", names(&rest.all().from)),
    };
    lineage.outputs.0.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn compared(text: &str) -> String {
    lineage(text).map_or_else(|| "?".to_owned(), |lineage| names(&lineage.compared))
}

fn moved(text: &str) -> String {
    lineage(text).map_or_else(|| "?".to_owned(), |lineage| names(&lineage.moved))
}

#[test]
fn each_output_derives_from_what_it_is_made_of_and_nothing_else() {
    let mut wrong = Vec::new();
    for (text, wanted) in [
        ("SELECT ssn, id + 1, 1, upper(email) || name FROM c", "=c.ssn, c.id, , c.name+c.email"),
        ("SELECT c.ssn, d.code, o.x, 1 FROM c, d, o", "=c.ssn, =d.code, , "),
        ("SELECT x.a FROM c AS x (i, n, a)", "=c.ssn"),
        ("SELECT * FROM c", "=c.id, =c.name, =c.ssn, =c.email"),
        ("SELECT o.*, c.*, 1 FROM c, o", "*, =c.id, =c.name, =c.ssn, =c.email, "),
        ("SELECT * FROM p JOIN c USING (id)", "=c.id+p.id, =p.ssn, =c.name, =c.ssn, =c.email"),
        ("SELECT * FROM p NATURAL JOIN c", "=c.id+p.id, =c.ssn+p.ssn, =c.name, =c.email"),
        ("SELECT j.* FROM (p JOIN c ON p.id = c.id) j (a)", "=p.id, =p.ssn, =c.id, =c.name, =c.ssn, =c.email"),
        ("SELECT u.ssn, id FROM c JOIN (SELECT ssn FROM p) q USING (ssn) AS u", "=c.ssn+p.ssn, =c.id"),
        ("SELECT s.z, s.id FROM (SELECT ssn AS z, id FROM c) s", "=c.ssn, =c.id"),
        ("SELECT lower FROM (SELECT lower(ssn), id FROM c) s", "c.ssn"),
        ("SELECT s.x FROM (SELECT ssn::text, id AS x FROM c) s", "=c.id"),
        ("SELECT ssn FROM (SELECT ssn::text, id AS x FROM c) s", "c.ssn"),
        ("WITH q (a, b) AS (SELECT id, ssn FROM c) SELECT b, a FROM q", "=c.ssn, =c.id"),
        ("WITH c AS (SELECT 1 AS ssn) SELECT ssn FROM c", ""),
        ("WITH c AS (SELECT * FROM c) SELECT name FROM c", "=c.name"),
        ("SELECT ssn FROM c UNION ALL SELECT ssn FROM p", "=c.ssn+p.ssn"),
        ("SELECT id, ssn FROM c UNION ALL SELECT 1, 'x'", "c.id, c.ssn"),
        ("SELECT ssn FROM c UNION ALL SELECT NULL", "=c.ssn"),
        ("SELECT * FROM (SELECT * FROM o UNION ALL SELECT id, ssn FROM p) x", "p.id, p.ssn"),
        ("VALUES (1, (SELECT ssn FROM c)), (2, 'x')", ", c.ssn"),
        ("SELECT column2 FROM (VALUES (1, (SELECT ssn FROM c))) v", "c.ssn"),
        ("SELECT (SELECT max(code) FROM d WHERE d.id = c.id) FROM c", "d.code"),
        ("SELECT EXISTS (SELECT ssn FROM c), ARRAY(SELECT ssn FROM c), 1 IN (SELECT id FROM c)", ", c.ssn, c.id"),
        ("SELECT l.z FROM c, LATERAL (SELECT c.ssn || o.x AS z FROM o) l", "c.ssn"),
        ("SELECT (SELECT x FROM (SELECT c.email AS x) s, (SELECT 1) c) FROM c", "c.email"),
        (
            "SELECT count(*), count(ssn), count(id + 1), max(ssn), pg_typeof(ssn), ssn IS NULL FROM c",
            ", , c.id, c.ssn, , ",
        ),
        ("SELECT count(CASE WHEN ssn > '1' THEN 1 END), (ssn > '1') IS NULL FROM c", "c.ssn, c.ssn"),
        ("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY ssn) FROM c", "c.ssn"),
        ("SELECT first_value(ssn) OVER (), row_number() OVER (ORDER BY id) FROM c", "c.ssn, "),
        ("SELECT c, c.*::text, row_to_json(c), ROW(c.*) FROM c", &["c.id+c.name+c.ssn+c.email"; 4].join(", ")),
        ("SELECT (c).name, c.row_to_json, c.ctid FROM c", "=c.name, c.id+c.name+c.ssn+c.email, "),
        ("SELECT (s).id FROM (SELECT id, ssn FROM c) s", "=c.id"),
        ("SELECT (c).* FROM c", "=c.id, =c.name, =c.ssn, =c.email"),
        (
            "SELECT CASE WHEN ssn > '1' THEN name ELSE 'x' END, COALESCE(ssn, ''), ARRAY[id, 1] FROM c",
            "c.name+c.ssn, c.ssn, c.id",
        ),
        (
            "SELECT xmlforest(ssn AS a), json_object('a': email), json_array(SELECT ssn FROM p) FROM c",
            "c.ssn, c.email, p.ssn",
        ),
        ("SELECT u FROM c, unnest(ARRAY[c.ssn]) u", "c.ssn"),
        ("SELECT k.a, g.g FROM c, JSON_TABLE(c.email, '$' COLUMNS (a int)) k, generate_series(1, 2) g", "c.email, "),
        ("COPY (SELECT name, upper(ssn) FROM c) TO STDOUT", "=c.name, c.ssn"),
        ("DECLARE k CURSOR FOR SELECT id FROM c", "=c.id"),
        ("PREPARE q AS SELECT $1, ssn FROM c WHERE id = $2", ", =c.ssn"),
        ("DELETE FROM c USING p WHERE p.id = c.id RETURNING p.id, c.name", "=p.id, =c.name"),
        ("WITH w AS (DELETE FROM c RETURNING *) SELECT name, id FROM w", "=c.name, =c.id"),
        ("UPDATE c SET name = 'x' RETURNING old.ssn, new.name, id", "=c.ssn, =c.name, =c.id"),
        ("UPDATE c SET name = c.ssn RETURNING name", "c.name+c.ssn"),
        ("INSERT INTO d SELECT id, ssn FROM p RETURNING code", "d.code+p.id+p.ssn"),
    ] {
        let found = outputs(text);
        if found != wanted {
            wrong.push(format!("{text}\n    {found}\n    {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_recursive_query_hands_on_what_each_of_its_rounds_makes() {
    let mut wrong = Vec::new();
    for (text, wanted) in [
        (
            "WITH RECURSIVE r (a, b) AS (SELECT id, 0 FROM c UNION ALL SELECT r.a, p.id FROM r, p) SELECT b, a FROM r",
            "p.id, =c.id",
        ),
        (
            "WITH RECURSIVE r (x, y, z) AS (SELECT 1, 2, ssn FROM c UNION ALL SELECT y::int, z::int, '' FROM r) SELECT x FROM r",
            "c.ssn",
        ),
        ("WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT r.n, ssn FROM r, c", ", =c.ssn"),
        (
            "WITH RECURSIVE r (a, s) AS (SELECT id, ssn FROM c UNION ALL SELECT a, s FROM r) \
             SEARCH DEPTH FIRST BY s SET o CYCLE a SET k USING w SELECT o, k, w, a FROM r",
            "c.ssn, , c.id, =c.id",
        ),
        ("WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT ssn FROM c) SELECT * FROM a", "?"),
    ] {
        let found = outputs(text);
        if found != wanted {
            wrong.push(format!("{text}\n    {found}\n    {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_chooses_sorts_and_groups_rows_is_compared_and_nothing_else() {
    let mut wrong = Vec::new();
    for (text, wanted) in [
        ("SELECT ssn FROM c WHERE id = 1 AND name LIKE 'a%'", "c.id+c.name"),
        ("SELECT id FROM c ORDER BY ssn", "c.ssn"),
        ("SELECT id, ssn FROM c ORDER BY 2", "c.ssn"),
        ("SELECT id, ssn FROM c ORDER BY 1", "c.id"),
        ("SELECT id AS ssn, ssn AS x FROM c ORDER BY ssn", "c.id"),
        ("SELECT *, ssn FROM o, c ORDER BY 1", "c.id+c.name+c.ssn+c.email"),
        ("SELECT s.id FROM (SELECT * FROM c) s WHERE s.id = 1", "c.id"),
        ("SELECT count(*) FROM (SELECT * FROM c) s", ""),
        ("SELECT id FROM (SELECT id, ssn AS z FROM c) s WHERE z = '1'", "c.ssn"),
        ("SELECT DISTINCT name FROM c", "c.name"),
        ("SELECT DISTINCT ON (email) id FROM c", "c.email"),
        ("SELECT name AS n, count(*) FROM c GROUP BY n", "c.name"),
        ("SELECT ssn, count(*) FROM c GROUP BY ROLLUP (1)", "c.ssn"),
        ("SELECT name FROM c GROUP BY name HAVING max(ssn) > '1'", "c.name+c.ssn"),
        ("SELECT count(DISTINCT ssn), count(*) FILTER (WHERE email > 'a') FROM c", "c.ssn+c.email"),
        ("SELECT array_agg(name ORDER BY ssn) FROM c", "c.ssn"),
        ("SELECT rank() OVER (PARTITION BY name ORDER BY ssn) FROM c", "c.name+c.ssn"),
        ("SELECT rank() OVER w FROM c WINDOW w AS (ORDER BY ssn)", "c.ssn"),
        ("SELECT 1 FROM c JOIN p USING (ssn)", "c.ssn+p.ssn"),
        ("SELECT 1 FROM c NATURAL JOIN d", "c.id+d.id"),
        ("SELECT 1 FROM p NATURAL JOIN o", "p.id+p.ssn"),
        ("SELECT 1 FROM c JOIN o ON o.x = c.email", "c.email"),
        ("SELECT ssn FROM c UNION SELECT 'x'", "c.ssn"),
        ("SELECT ssn, id FROM c UNION ALL SELECT 'x', 1 ORDER BY 2", "c.id"),
        ("SELECT 1 FROM o WHERE EXISTS (SELECT 1 FROM c WHERE c.ssn = o.x)", "c.ssn"),
        ("SELECT 1 FROM o WHERE x IN (SELECT ssn FROM c)", "c.ssn"),
        ("SELECT (SELECT 1 FROM o WHERE o.x = c.ssn) FROM c", "c.ssn"),
        ("SELECT unnest(string_to_array(ssn, '-')) FROM c", "c.ssn"),
        ("SELECT 1 FROM generate_series(1, (SELECT max(id) FROM c))", "c.id"),
        ("SELECT id FROM c LIMIT (SELECT max(id) FROM p)", "p.id"),
        ("UPDATE c SET name = 'x' WHERE ssn = 'y'", "c.ssn"),
        (
            "INSERT INTO c (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE c.ssn > '1'",
            "c.ssn",
        ),
    ] {
        let found = compared(text);
        if found != wanted {
            wrong.push(format!("{text}\n    {found}\n    {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_written_anywhere_is_moved() {
    let mut wrong = Vec::new();
    for (text, wanted) in [
        ("CREATE TEMP TABLE t AS SELECT id, name FROM (SELECT * FROM c) s", "c.id+c.name"),
        ("SELECT ssn INTO t FROM c", "c.ssn"),
        ("CREATE VIEW v AS SELECT email FROM c WHERE id = 1", "c.email"),
        ("INSERT INTO o SELECT name FROM c WHERE ssn > '1'", "c.name"),
        ("INSERT INTO c (id, ssn) VALUES (1, 'x')", ""),
        ("INSERT INTO c (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = c.email", "c.email"),
        ("UPDATE c SET name = 'x', (ssn, email) = (SELECT code, 'y' FROM d) WHERE id = 1", "d.code"),
        ("UPDATE o SET x = c.email FROM c WHERE c.id = o.id", "c.email"),
        ("SELECT pg_notify('x', ssn), lower(email) FROM c", "c.ssn"),
        ("SELECT nextval('s' || ssn) FROM c", "c.ssn"),
        ("DELETE FROM c WHERE id = 1 RETURNING ssn", ""),
    ] {
        let found = moved(text);
        if found != wanted {
            wrong.push(format!("{text}\n    {found}\n    {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_not_followed_has_no_lineage() {
    for text in [
        "MERGE INTO o USING c ON true WHEN MATCHED THEN DELETE",
        "SELECT nobody.x FROM c",
        "SELECT * FROM pg_stat_get_activity(NULL), c",
        "TRUNCATE c",
        "CREATE TABLE t AS EXECUTE q",
        "SELECT s.c.ssn FROM c",
    ] {
        assert_eq!(lineage(text).map(|_| ()), (text == "SELECT s.c.ssn FROM c").then_some(()), "{text}");
    }
}

#[test]
fn what_is_too_deep_or_too_much_is_not_followed_and_takes_no_time() {
    let nested = |open: &str, middle: &str, close: &str, count: usize| {
        format!("SELECT {}{middle}{} FROM c", open.repeat(count), close.repeat(count))
    };
    let doubled = |number: usize| format!(", q{number} AS (SELECT * FROM q{0} a, q{0} b)", number - 1);
    let wide: Vec<String> = (0..1_000).map(|number| format!("c x{number}")).collect();
    for text in [
        nested("1 + (", "1", ")", 200),
        nested("(SELECT ", "ssn", " FROM c)", 150),
        nested("", "1", " UNION ALL SELECT 1", 300),
        format!("SELECT 1 FROM c {}", "JOIN o ON true ".repeat(300)),
        format!("WITH q0 AS (SELECT * FROM c){} SELECT 1", (1..30).map(doubled).collect::<String>()),
        format!("SELECT {} FROM {}", vec!["ssn"; 1_000].join(", "), wide.join(", ")),
    ] {
        let start = std::time::Instant::now();
        assert!(lineage(&text).is_none(), "{}", &text[..100]);
        assert!(start.elapsed().as_secs() < 5, "{} took {:?}", &text[..100], start.elapsed());
    }
}

#[test]
fn columns_that_nobody_counts_are_told_from_both_ends() {
    let expand = |text: &str, count: usize| {
        let cols = lineage(text).unwrap().outputs.expand(count)?;
        Some(cols.iter().map(|col| names(&col.derived.from)).collect::<Vec<_>>().join(","))
    };
    assert_eq!(expand("SELECT id, o.*, ssn FROM c, o", 4).unwrap(), "c.id,,,c.ssn");
    assert_eq!(expand("SELECT id, o.*, ssn FROM c, o", 2).unwrap(), "c.id,c.ssn");
    assert!(expand("SELECT id, o.*, ssn FROM c, o", 1).is_none());
    assert_eq!(expand("SELECT o.*, ssn, q.*, id FROM c, o, q", 5).unwrap(), "c.ssn,c.ssn,c.ssn,c.ssn,c.id");
    assert!(expand("SELECT id FROM c", 2).is_none());
}
