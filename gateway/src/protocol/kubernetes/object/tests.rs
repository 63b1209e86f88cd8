//! No value of a Secret is shown, however the JSON is cut, nested or escaped; all else is as it was.

use super::*;
use crate::instructions::at_most;
use crate::masking::Masking;

fn rule(hides: bool) -> Rule {
    let masking = Masking::default();
    let class = hides.then(|| Arc::clone(masking.classes.find("secret").unwrap()));
    Rule { secret: class, ..Rule::new(masking.detectors) }
}

fn masked(text: &str, hides: bool, size: usize) -> Result<String, MaskError> {
    let mut masker = ObjectMasker::new(rule(hides));
    let mut out = Vec::new();
    for chunk in text.as_bytes().chunks(size) {
        masker.push(chunk, &mut out)?;
    }
    masker.finish(&mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

/// base64 of `[secret•••]`
const MASK: &str = "W3NlY3JldOKAouKAouKAol0=";

#[test]
fn hides_what_secrets_hold_in_objects_lists_tables_and_events() {
    let secret = r#"{"kind":"Secret","metadata":{"name":"db"},"data":{"password":"aHVudGVyMg==","empty":""},"stringData":{"a\n":"hunter2"},"type":"Opaque"}"#;
    let hidden = format!(
        r#"{{"kind":"Secret","metadata":{{"name":"db"}},"data":{{"password":"{MASK}","empty":""}},"stringData":{{"a\n":"[secret•••]"}},"type":"Opaque"}}"#
    );
    let around = [
        ("", ""),
        (r#"{"kind":"SecretList","items":["#, "]}"),
        (r#"{"kind":"Table","columnDefinitions":[{"name":"Data"}],"rows":[{"cells":["db",1],"object":"#, "}]}"),
        (r#"{"type":"ADDED","object":"#, "}\n{\"type\":\"BOOKMARK\",\"object\":{}}\n"),
    ];
    for (before, behind) in around {
        let (text, expected) = (format!("{before}{secret}{behind}"), format!("{before}{hidden}{behind}"));
        for size in [1, 2, 3, 7, 4096] {
            assert_eq!(masked(&text, true, size).as_ref(), Ok(&expected), "{size}");
        }
        assert_eq!(masked(&text, false, 5).as_ref(), Ok(&text));
    }
}

#[test]
fn hides_the_object_that_was_last_applied() {
    let applied = r#"{\"data\":{\"password\":\"aHVudGVyMg==\"},\"kind\":\"Secret\"}\n"#;
    let text = format!(
        r#"{{"metadata":{{"annotations":{{"kubectl.kubernetes.io/last-applied-configuration":"{applied}"}}}}}}"#
    );
    let shown = masked(&text, true, 3).unwrap();
    assert!(!shown.contains("aHVudGVyMg") && shown.contains(&format!(r#"\"password\":\"{MASK}\""#)), "{shown}");
    let text = text.replace("{\\\"data", "data");
    assert!(masked(&text, true, 3).unwrap().contains(r#"configuration":"[secret•••]""#));
}

#[test]
fn hides_keys_that_are_escaped_and_values_of_other_types() {
    let shown = masked(r#"{"d\u0061ta":{"a":["x",1,true,{"b":"y"}]},"data":"z"}"#, true, 1).unwrap();
    assert_eq!(shown, format!(r#"{{"d\u0061ta":{{"a":["{MASK}",null,null,{{"b":"{MASK}"}}]}},"data":"{MASK}"}}"#));
}

#[test]
fn a_pod_takes_so_many_instructions() {
    let variable = r#"{"name":"A_VARIABLE","value":"some value that a program reads"}"#;
    let pod = format!(
        r#"{{"kind":"Pod","metadata":{{"name":"web","namespace":"shop"}},"spec":{{"containers":[{{"image":"web:1","env":[{}]}}]}}}}"#,
        [variable; 10].join(",")
    );
    let (rule, mut out) = (rule(true), Vec::with_capacity(4096));
    at_most(module_path!(), "a_pod_takes_so_many_instructions", 360_000, || {
        out.clear();
        let mut masker = ObjectMasker::new(rule.clone());
        masker.push(pod.as_bytes(), &mut out).unwrap();
        masker.finish(&mut out).unwrap();
        assert_eq!(out, pod.as_bytes());
    });
}

#[test]
fn detectors_look_at_every_value() {
    let shown =
        masked(r#"{"a":"card 4111-1111-1111-1111\n","b":4111111111111111,"c":["\u0034111111111111111"]}"#, false, 4);
    assert_eq!(shown.unwrap(), r#"{"a":"card •••1111\n","b":"•••1111","c":["•••1111"]}"#);
}

/// In the form of KEP-3157, written by hand: the server of these tests is older and sends none of it.
#[test]
fn an_initial_list_that_comes_as_a_watch_is_masked_and_its_bookmark_stays() {
    let bookmark = r#"{"type":"BOOKMARK","object":{"kind":"Secret","apiVersion":"v1","metadata":{"resourceVersion":"1046","creationTimestamp":null,"annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
    let added = |value: &str| {
        format!(
            r#"{{"type":"ADDED","object":{{"kind":"Secret","apiVersion":"v1","metadata":{{"name":"db","namespace":"shop","resourceVersion":"1041"}},"data":{{"password":"{value}"}},"type":"Opaque"}}}}"#
        )
    };
    let frames =
        format!("{}\n{}\n{bookmark}\n{}\n", added("aHVudGVyMg=="), added("aHVudGVyMw=="), added("aHVudGVyNA=="));
    for size in [1, 7, 100, 10_000] {
        let shown = masked(&frames, true, size).unwrap();
        assert_eq!(shown.lines().nth(2), Some(bookmark));
        assert_eq!(shown.lines().count(), 4, "an event for each");
        assert!(!shown.contains("aHVudGVy"), "{shown}");
    }
}

#[test]
fn what_is_no_json_is_an_error() {
    let cases = [
        "{",
        "[1,",
        "\"a",
        "{\"a\"}",
        "{\"a\":}",
        "[1 2]",
        "{1:2}",
        "]",
        "{]",
        "nul",
        "k8s\0",
        "<html>",
        "{\"a\":1,,}",
        "[\"\\x\"]",
        "{\"\\x\":1}",
    ];
    for text in cases {
        for size in [1, 100] {
            assert!(masked(text, true, size).is_err(), "{text}");
        }
    }
    assert_eq!(masked(&"[".repeat(600), true, 100), Err(MaskError::TooDeep));
}

proptest::proptest! {
    #[test]
    fn no_secret_survives_any_split(
        keys in proptest::collection::vec("[a-z\"\\\\é]{1,6}", 1..4),
        size in 1_usize..40,
        wrap in 0_usize..4,
    ) {
        let data: serde_json::Map<_, _> = keys.iter().map(|key| (key.clone(), serde_json::json!("SECRETVALUE"))).collect();
        let mut value = serde_json::json!({ "data": data, "metadata": { "name": "n" } });
        for _ in 0..wrap {
            value = serde_json::json!({ "items": [value], "object": { "rows": [1, null] } });
        }
        let shown = masked(&value.to_string(), true, size).unwrap();
        proptest::prop_assert!(!shown.contains("SECRETVALUE"));
        proptest::prop_assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok());
    }

    #[test]
    fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let mut masker = ObjectMasker::new(rule(true));
        let _ = masker.push(&bytes, &mut Vec::new()).and_then(|()| masker.finish(&mut Vec::new()));
    }
}
