//! Answers in, labels out: each way in which a value is handed on, and answers that are none.

use super::*;
use crate::masking::class::Classes;
use crate::masking::file::MaskingFile;
use crate::masking::rules::{Labels, Rules};

fn labels() -> Labels {
    let text = "version = 1\n[[column]]\nat = [\"t/d/public.customers.ssn\"]\nclass = \"ssn\"\n\
                [[column]]\nat = [\"t/d/public.cust*.email\"]\nclass = \"email\"\n";
    Rules::new(Some(MaskingFile::parse("m", text, &|_| Err(String::new())).unwrap())).labels("t", "d")
}

fn row(cells: &[&str]) -> Vec<Option<Box<str>>> {
    let mut row: Vec<Option<Box<str>>> = cells.iter().map(|cell| Some((*cell).into())).collect();
    row.resize(question::WIDTH, None);
    row
}

/// A relation with columns numbered from 1.
fn relation(oid: &str, name: &str, columns: &[&str]) -> Rows {
    let column = |(index, column): (usize, &&str)| {
        row(&["column", oid, "public", name, &(index + 1).to_string(), column, "25", "", "r"])
    };
    columns.iter().enumerate().map(column).collect()
}

fn read(rows: Rows, known: &Known) -> Result<Catalog, CatalogError> {
    let mut rows = rows;
    rows.push(row(&["newest", "999"]));
    let (labels, classes) = (labels(), Classes::default());
    Catalog::read(&rows, Said { labels: &labels, classes: &classes, target: "t", database: "d", known })
}

/// `relation.column class` of each labelled column.
fn labelled(rows: Rows) -> Vec<String> {
    let catalog = read(rows, &Known::new()).unwrap();
    let of = |relation: &Arc<Relation>| {
        let line =
            |(column, class): (&Column, &Arc<Class>)| format!("{}.{} {}", relation.name, column.name, class.name);
        relation.labelled().map(line).collect::<Vec<_>>()
    };
    catalog.relations().flat_map(of).collect()
}

#[test]
fn labels_follow_partitions_children_and_parents_by_name() {
    let mut rows = relation("10", "customers", &["id", "ssn"]);
    rows.extend(relation("11", "low", &["ssn", "id"]));
    rows.extend(relation("12", "top", &["ssn", "more"]));
    rows.extend([row(&["inherits", "11", "10"]), row(&["inherits", "10", "12"])]);
    assert_eq!(labelled(rows), ["customers.ssn ssn", "low.ssn ssn", "top.ssn ssn"]);
}

#[test]
fn labels_follow_views_to_the_columns_that_derive_from_them() {
    let mut rows = relation("10", "customers", &["id", "ssn", "email"]);
    rows.extend(relation("20", "plain", &["id", "code"]));
    rows.extend(relation("21", "mixed", &["id", "one", "both"]));
    rows.extend(relation("22", "above", &["c"]));
    rows.extend(relation("23", "unread", &["id"]));
    rows.extend(relation("24", "several", &["a", "b", "n"]));
    rows.extend([
        row(&["view", "20", " SELECT id, ssn AS code FROM customers;"]),
        row(&["view", "21", " SELECT c.id, 1 AS one, c.ssn || c.email AS both FROM customers c;"]),
        row(&["view", "22", " SELECT code AS c FROM plain;"]),
        row(&["view", "23", " SELECT id FROM customers;"]),
        row(&[
            "view",
            "24",
            " WITH q AS (SELECT customers.id AS a, upper(customers.email) AS b FROM customers) \
             SELECT q.a, q.b, count(*) AS n FROM q GROUP BY q.a, q.b UNION ALL SELECT 1, 'x', o.n FROM other o;",
        ]),
    ]);
    for (view, base, column) in [
        ("20", "10", "1"),
        ("20", "10", "2"),
        ("21", "10", "1"),
        ("21", "10", "2"),
        ("21", "10", "3"),
        ("22", "20", "2"),
        ("23", "10", "1"),
        ("24", "10", "1"),
        ("24", "10", "3"),
    ] {
        rows.push(row(&["reads", view, base, column]));
    }
    let wanted = [
        "customers.ssn ssn",
        "customers.email email",
        "plain.code ssn",
        "mixed.both secret",
        "above.c ssn",
        "several.b email",
    ];
    assert_eq!(labelled(rows), wanted);
}

#[test]
fn a_definition_that_cannot_be_read_labels_the_whole_view() {
    let mut rows = relation("10", "customers", &["id", "ssn"]);
    rows.extend(relation("20", "v", &["a", "b"]));
    rows.extend([
        row(&["view", "20", " SELECT id AS a, nobody.ssn AS b FROM customers"]),
        row(&["reads", "20", "10", "0"]),
    ]);
    assert_eq!(labelled(rows), ["customers.ssn ssn", "v.a ssn", "v.b ssn"]);
}

#[test]
fn a_computed_column_has_the_label_of_what_it_is_computed_from() {
    let mut rows = relation("10", "customers", &["id", "email", "initial"]);
    rows.push(row(&["computes", "10", "3", "2"]));
    assert_eq!(labelled(rows), ["customers.email email", "customers.initial email"]);
}

#[test]
fn a_toast_table_has_the_labels_of_what_it_stores() {
    let mut rows = relation("10", "customers", &["id", "ssn"]);
    rows.extend(relation("11", "low", &["id", "ssn"]));
    rows.push(row(&["inherits", "11", "10"]));
    for (toast, of) in [("20", "10"), ("21", "11"), ("22", "30")] {
        rows.push(row(&["column", toast, "pg_toast", &format!("pg_toast_{of}"), "3", "chunk_data", "17", "", "t"]));
        rows.push(row(&["stores", toast, of]));
    }
    rows.extend(relation("30", "orders", &["id", "item"]));
    let wanted = ["customers.ssn ssn", "low.ssn ssn", "pg_toast_10.chunk_data ssn", "pg_toast_11.chunk_data ssn"];
    assert_eq!(labelled(rows), wanted);
}

#[test]
fn a_renamed_column_keeps_its_label() {
    let before = read(relation("10", "customers", &["id", "ssn"]), &Known::new()).unwrap();
    let after = read(relation("10", "clients", &["id", "number"]), before.known()).unwrap();
    let Found::Column(column) = after.origin(Origin { relation: 10, attribute: 2 }) else { panic!() };
    assert_eq!(&*column.class.as_ref().unwrap().name, "ssn");
}

#[test]
fn origins_that_are_not_known_are_told_from_those_without_a_label() {
    let catalog = read(relation("10", "customers", &["id", "ssn"]), &Known::new()).unwrap();
    let at = |relation, attribute| catalog.origin(Origin { relation, attribute });
    assert!(matches!(at(10, 1), Found::Column(column) if column.class.is_none()));
    assert!(matches!(at(10, 2), Found::Column(column) if column.class.is_some()));
    assert!(matches!(at(500, 1), Found::Elsewhere));
    for (relation, attribute) in [(0, 0), (10, 0), (10, 3), (1_000, 1)] {
        assert!(matches!(at(relation, attribute), Found::Unknown), "{relation} {attribute}");
    }
}

#[test]
fn half_an_answer_is_an_error() {
    let (labels, classes, known) = (labels(), Classes::default(), Known::new());
    let said = Said { labels: &labels, classes: &classes, target: "t", database: "d", known: &known };
    for rows in [
        relation("10", "customers", &["id"]),
        vec![row(&["newest", "none"])],
        vec![row(&["newest", "9"]), row(&["column", "10"])],
        vec![row(&["newest", "9"]), row(&["rumour", "10"])],
        vec![vec![Some("newest".into()), Some("9".into())]],
    ] {
        assert_eq!(Catalog::read(&rows, said).unwrap_err(), CatalogError::Malformed);
    }
}

#[test]
fn answers_that_differ_have_other_digests() {
    let one = relation("10", "customers", &["id", "ssn"]);
    assert_eq!(digest(&one), digest(&one.clone()));
    assert_ne!(digest(&one), digest(&relation("10", "customers", &["id", "ss", "n"])));
    assert_ne!(digest(&vec![row(&["a", ""])]), digest(&vec![row(&["a"])]));
    assert_eq!(digest(&vec![row(&["newest", "7"])]), digest(&vec![row(&["newest", "8"])]));
}

#[test]
fn what_came_before_the_closure_was_read_again_carries_no_label() {
    let catalog = read(relation("10", "customers", &["id", "ssn"]), &Known::new()).unwrap();
    let late = Origin { relation: 1_500, attribute: 1 };
    assert!(matches!(catalog.origin(late), Found::Unknown));
    catalog.seen_again(&vec![row(&["newest", "2000"])], None);
    assert!(matches!(catalog.origin(late), Found::Elsewhere));
    catalog.seen_again(&vec![row(&["newest", "5"])], None);
    assert!(matches!(catalog.origin(late), Found::Elsewhere));
}

#[test]
fn names_from_the_file_are_constants_in_the_question() {
    let text = r#"version = 1
        [[column]]
        at = ["t/d/\"o'%_\\.b\".\"x;--\".c", "t/d/p*_q.r*.s"]
        class = "ssn""#;
    let file = MaskingFile::parse("m", text, &|_| Err(String::new())).unwrap();
    let question = question(&Rules::new(Some(file)).labels("t", "d"), &[7]);
    for wanted in [
        r"n.nspname OPERATOR(pg_catalog.=) 'o''%_\.b'::pg_catalog.name",
        "c.relname OPERATOR(pg_catalog.=) 'x;--'::pg_catalog.name",
        r"OPERATOR(pg_catalog.~~) 'p%\_q'::pg_catalog.text",
        "'{7}'::pg_catalog.oid[]",
    ] {
        assert!(question.contains(wanted), "{wanted}: {question}");
    }
}
