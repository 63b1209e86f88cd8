//! Values of every type stay values of their type.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::masking::Masking;
use crate::masking::class::Partial;

const CARD: &str = "4242 4242 4242 4242";

fn class(show: Show) -> Arc<Class> {
    Class::new("c", None, show)
}

fn masked(value: &[u8], kind: Kind, format: Format, show: Show) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    mask(value, kind, format, &class(show), &mut out).then_some(out)
}

fn searched(value: &str, kind: Kind) -> Searched {
    search(value.as_bytes(), kind, Format::Text, &Masking::default().detectors, DetectorSet::default())
}

fn replaced(value: &str, kind: Kind) -> String {
    match searched(value, kind) {
        Searched::Replaced(out) => String::from_utf8(out).unwrap(),
        other => panic!("{value}: {other:?}"),
    }
}

#[test]
fn a_labelled_value_keeps_its_type() {
    let redact = |value: &str, kind| masked(value.as_bytes(), kind, Format::Text, Show::Redact);
    let text = |out: Option<Vec<u8>>| String::from_utf8(out.unwrap()).unwrap();
    assert_eq!(text(redact("x", Kind::Text)), "[c•••]");
    assert_eq!(text(redact("{}", Kind::Jsonb)), "\"[c•••]\"");
    assert_eq!(text(redact("12.5", Kind::Number(8))), "0");
    assert_eq!(text(redact("\\x00ff", Kind::Bytea)), "\\x5b63e280a2e280a2e280a25d");
    // The same for what `bytea_output = escape` writes, and for NULL where that is hidden too.
    assert_eq!(text(redact("\\000", Kind::Bytea)), "\\x5b63e280a2e280a2e280a25d");
    assert_eq!(text(redact("", Kind::Bytea)), "\\x5b63e280a2e280a2e280a25d");
    assert_eq!(redact("(1,2)", Kind::Compound), None);
    assert_eq!(masked(&[1, b'{', b'}'], Kind::Jsonb, Format::Binary, Show::Redact).unwrap()[..2], [1, b'"']);
    for kind in [Kind::Text, Kind::Json, Kind::Number(4), Kind::Uuid, Kind::Bytea] {
        assert_eq!(masked(b"1", kind, Format::Text, Show::Null), None);
    }
}

#[test]
fn equal_bytes_have_equal_hashes_in_every_format() {
    let key = || Show::hash(&crate::secret::Secret::new(vec![1; 32]), 16);
    let text = masked(b"\\x616263", Kind::Bytea, Format::Text, key()).unwrap();
    let binary = masked(b"abc", Kind::Bytea, Format::Binary, key()).unwrap();
    assert_eq!(decode_bytea(&text, Format::Text).unwrap(), binary);
}

#[test]
fn a_fixed_text_stays_valid_in_json_and_xml() {
    let fixed = || Show::Fixed("a \"b\" \\ <c>\n".into());
    let json = masked(b"1", Kind::Json, Format::Text, fixed()).unwrap();
    assert!(serde_json::from_slice::<String>(&json).unwrap().starts_with("a \"b\" \\ <c>\n"));
    assert_eq!(masked(b"1", Kind::Xml, Format::Text, fixed()).unwrap(), "[c•••]".as_bytes());
}

#[test]
fn json_stays_json_wherever_a_value_stands_in_it() {
    for (json, expected) in [
        (format!("{{\"a\": \"{CARD}\"}}"), "{\"a\": \"•••4242\"}"),
        (format!("[\"x\\n{CARD}\\n\"]"), "[\"x\\n•••4242\\n\"]"),
        ("[1, 4242424242424242, -4242424242424242]".into(), "[1, \"•••4242\", \"•••4242\"]"),
        (format!("{{\"{CARD}\": {{\"b\": [null, \"123-45-6789\"]}}}}"), "{\"•••4242\": {\"b\": [null, \"[ssn•••]\"]}}"),
        ("\"\\\\123-45-6789\\\"\"".into(), "\"\\\\[ssn•••]\\\"\""),
    ] {
        if let Searched::Replaced(out) = searched(&json, Kind::Json) {
            serde_json::from_slice::<serde_json::Value>(&out).unwrap();
            let out = String::from_utf8(out).unwrap();
            assert!(!out.contains("4242 ") && !out.contains("123-45-6789"), "{out}");
            assert_eq!(out, expected);
        } else {
            panic!("{json}");
        }
    }
    let key = "-----BEGIN PRIVATE KEY-----\\nMIIBVAIBADANBgkqhkiG9w0BAQEFAASC\\n-----END PRIVATE KEY-----\\n";
    assert_eq!(replaced(&format!("{{\"k\":\"{key}\"}}"), Kind::Json), "{\"k\":\"[secret•••]\\n\"}");
}

#[test]
fn a_value_that_spans_parts_hides_the_whole() {
    let key = "-----BEGIN PRIVATE KEY-----\",\"MIIBVAIBADANBgkqhkiG9w0BAQEFAASC\",\"-----END PRIVATE KEY-----";
    assert_eq!(replaced(&format!("[\"{key}\"]"), Kind::Json), "\"[secret•••]\"");
    assert_eq!(searched(&format!("{{\"{key}\"}}"), Kind::Compound), Searched::Null);
    assert_eq!(replaced(&key.replace('"', "<b/>"), Kind::Xml), "[secret•••]");
    assert_eq!(searched(&format!("{{\"{key}\"}}"), Kind::TextArray), Searched::Null);
    assert_eq!(replaced(&format!("{{1,\"{CARD}\",(a)}}"), Kind::TextArray), "{1,\"•••4242\",(a)}");
}

#[test]
fn bytes_are_searched_in_what_they_stand_for() {
    let hex: String = format!("x{CARD}").bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(replaced(&format!("\\x{hex}"), Kind::Bytea).starts_with("\\x5b"));
    assert_eq!(searched("\\x00", Kind::Bytea), Searched::Clean);
}

#[test]
fn numbers_and_times_are_not_searched() {
    for kind in [Kind::of(20), Kind::of(1700), Kind::of(1184), Kind::of(1016)] {
        assert_eq!(searched("4242424242424242", kind), Searched::Clean);
    }
    let partial = Show::Partial(Partial { first: 0, last: 4, from: None });
    assert_eq!(masked(b"4242424242424242", Kind::of(20), Format::Text, partial).unwrap(), b"0");
}

/// Texts of a document: strings and keys, and what its numbers look like.
fn texts_of(json: &serde_json::Value, texts: &mut Vec<String>) {
    match json {
        serde_json::Value::String(text) => texts.push(text.clone()),
        serde_json::Value::Array(values) => values.iter().for_each(|value| texts_of(value, texts)),
        serde_json::Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            texts.push(key.clone());
            texts_of(value, texts);
        }),
        other => texts.push(other.to_string()),
    }
}

proptest! {
    #[test]
    fn any_document_with_a_secret_stays_one_without_it(
        parts in proptest::collection::vec((".{0,8}", 0_usize..15, ".{0,8}"), 1..6),
        is_array in any::<bool>(),
    ) {
        let samples = crate::masking::detect::tests::samples();
        let text = |(before, which, after): &(String, usize, String)| match samples.get(*which) {
            // Not beside a letter or digit, where it would be another word.
            Some((_, secret)) => format!("{before}\n{secret}\n{after}"),
            None => format!("{before}{after}"),
        };
        let texts: Vec<_> = parts.iter().map(text).collect();
        let document = match is_array {
            true => serde_json::json!([texts, 4_242_424_242_424_242_u64, { "n": -4_242_424_242_424_242_i64 }]),
            false => texts.iter().map(|text| (text.clone(), serde_json::json!({ "v": text }))).collect(),
        };
        let written = document.to_string();
        let Searched::Replaced(out) = searched(&written, Kind::Json) else {
            prop_assert!(!is_array && parts.iter().all(|(_, which, _)| *which >= samples.len()));
            return Ok(());
        };
        let mut shown = Vec::new();
        texts_of(&serde_json::from_slice(&out).unwrap(), &mut shown);
        for (_, secret) in &samples {
            prop_assert!(shown.iter().all(|text| !text.contains(secret.as_str())), "{}", String::from_utf8_lossy(&out));
        }
    }

    #[test]
    fn any_bytes_of_any_type_are_masked_or_null(value in proptest::collection::vec(any::<u8>(), 0..40), oid in 0_u32..5000) {
        for format in [Format::Text, Format::Binary] {
            for show in [Show::Redact, Show::Year, Show::Partial(Partial { first: 1, last: 1, from: Some("@".into()) })] {
                let out = masked(&value, Kind::of(oid), format, show);
                prop_assert!(out.is_none_or(|out| out != value || value.iter().all(|byte| *byte == b'0' || *byte == 0)));
            }
            let _ = search(&value, Kind::of(oid), format, &Masking::default().detectors, DetectorSet::default());
        }
    }
}
