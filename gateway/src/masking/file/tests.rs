//! What a file may say, and what is told about one that says something else.

use super::*;
use crate::masking::detect::DetectorSet;

fn key(source: &SecretSource) -> Result<Secret, String> {
    match source {
        SecretSource::Credential(name) if name == "masking-key" => Ok(Secret::new(vec![7; 32])),
        SecretSource::Env(_) => Ok(Secret::new(vec![7; 8])),
        _ => Err("cannot be read".to_owned()),
    }
}

const FILE: &str = r#"
version = 1
[default]
predicate = "deny"
unknown_origin = "mask"
keep_null = false
[class.pii]
show = "null"
[class.email]
parent = "pii"
show = { partial = { first = 1, from = "@" } }
[class.birthday]
parent = "pii"
show = { truncate = "year" }
[class.customer_ref]
show = { hash = { key = { credential = "masking-key" }, length = 16 } }
[class.name]
show = { fixed = "Jane Doe" }
[[column]]
at = ["shop-prod/shop/public.customers.email", "shop-*/shop/public.customers.mail"]
class = "email"
[detector]
on = ["email"]
off = ["iban"]
window = "256 B"
delay = "20 ms"
[[detector.custom]]
name = "employee_number"
class = "pii"
pattern = '\bE-[0-9]{6}\b'
within = ["shop-*"]
[[detector.except]]
detector = "card"
at = ["shop-*/shop/public.orders.order_number"]
"#;

#[test]
fn reads_classes_labels_and_detectors() {
    let file = MaskingFile::parse("masking.toml", FILE, &key).unwrap();
    assert_eq!(file.default, Defaults { keep_null: false });
    // A class without a form has its parent's, shipped ones too.
    assert!(matches!(file.classes.find("ssn").unwrap().show, Show::Null));
    assert!(matches!(file.classes.find("birthday").unwrap().show, Show::Year));
    let mail =
        ColumnName { target: "shop-x", database: "shop", schema: "public", relation: "customers", column: "mail" };
    assert_eq!(&*file.class_of(&mail).unwrap().name, "email");
    let order = ColumnName { relation: "orders", column: "order_number", ..mail };
    assert!(file.class_of(&order).is_none());
    assert_eq!(file.exceptions(&order).collect::<Vec<_>>(), ["card"]);
    assert_eq!((file.detector.window, file.detector.delay), (256, Duration::from_millis(20)));
}

#[test]
fn detectors_are_on_where_the_file_says() {
    let file = MaskingFile::parse("masking.toml", FILE, &key).unwrap();
    let count =
        |target: &str, text: &str| file.masking(target).detectors.find(text.as_bytes(), DetectorSet::default()).len();
    assert_eq!(count("shop-prod", "a@example.com E-123456 4242424242424242"), 3);
    assert_eq!(count("other", "a@example.com E-123456 4242424242424242"), 2);
    assert_eq!(count("other", "DE89370400440532013000"), 0);
}

#[test]
fn reports_all_faults_at_once_with_their_lines() {
    let text = r#"version = 1
colour = "red"
[class.a]
parent = "nobody"
[class.b]
show = { hash = { key = { env = "K" } } }
[class.c]
show = "partial"
[class.d]
show = { partial = { last = 99 }, fixed = "x" }
[[column]]
at = ["x/y/z"]
class = "none"
paths = ["$.a"]
[detector]
on = ["cards"]
window = "1 MB"
[[detector.custom]]
name = "card"
class = "pii"
pattern = "("
[default]
source = true
"#;
    let error = MaskingFile::parse("masking.toml", text, &key).unwrap_err();
    let lines: Vec<_> = error.faults.iter().map(|fault| (fault.line, fault.key.as_str())).collect();
    let expected = [
        (2, "colour"),
        (4, "class.a.parent"),
        (6, "class.b.show.hash.key"),
        (8, "class.c.show"),
        (10, "class.d.show"),
        (10, "class.d.show.partial.last"),
        (12, "column[1].at"),
        (12, "column[1].at"),
        (13, "column[1].class"),
        (14, "column[1].paths"),
        (16, "detector.on"),
        (17, "detector.window"),
        (19, "detector.custom[1].name"),
        (21, "detector.custom[1].pattern"),
        (23, "default.source"),
    ];
    assert_eq!(lines, expected, "{error}");
}

#[test]
fn an_empty_file_is_the_shipped_defaults() {
    let file = MaskingFile::parse("masking.toml", "version = 1\n", &key).unwrap();
    let shipped = Masking::default();
    let text = b"4242424242424242 123-45-6789 DE89370400440532013000 a@example.com";
    assert_eq!(
        file.masking("any").detectors.find(text, DetectorSet::default()),
        shipped.detectors.find(text, DetectorSet::default())
    );
    assert!(file.default.keep_null);
}

#[test]
fn a_class_is_a_table_with_a_name() {
    let text = "version = 1\n[class]\nemail = 1\n[class.\"a b\"]\nshow = { fixed = \"a\\u0000\" }\n";
    let error = MaskingFile::parse("masking.toml", text, &key).unwrap_err();
    let keys: Vec<_> = error.faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["class", "class.email", "class.a b.show.fixed"], "{error}");
}
