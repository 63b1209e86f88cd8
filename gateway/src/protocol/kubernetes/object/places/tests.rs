//! No labelled value is shown, in whatever its object comes; what no label names is as it was.

use std::sync::Arc;

use crate::masking::Masking;
use crate::masking::file::MaskingFile;
use crate::protocol::kubernetes::fields;
use crate::protocol::kubernetes::object::{ObjectMasker, Rule};
use crate::protocol::kubernetes::uri::RequestInfo;

const FILE: &str = r#"
version = 1
[class.db]
show = { partial = { last = 2 } }
[[field]]
kind = "configmaps"
namespaces = ["shop"]
names = ["*-credentials"]
paths = ["data.*", "binaryData.*"]
class = "db"
[[field]]
kind = "pods"
names = ["web-*"]
paths = ["spec.containers[*].env[?name =~ '(?i)token'].value"]
class = "secret"
[[field]]
kind = "widgets.example.org"
paths = ["spec.pin", "spec.list.key", "metadata.annotations.\"example.org/pin\""]
class = "secret"
"#;

fn masking() -> Masking {
    MaskingFile::parse("masking.toml", FILE, &|_| Err("no key".to_owned())).unwrap().masking("prod")
}

/// What is shown of an answer to this request, the same however it is cut.
fn shown(request: &str, answer: &str) -> String {
    let (method, target) = request.split_once(' ').unwrap();
    let (masking, info) = (masking(), RequestInfo::read(method, target).unwrap());
    let places = fields::places(&info, &masking);
    let rule = || Rule {
        quotes: fields::quotes(&places, &info),
        places: places.clone().into(),
        asked: fields::asked(&info),
        ..Rule::new(Arc::clone(&masking.detectors))
    };
    let cut = |size: usize| {
        let (mut masker, mut out) = (ObjectMasker::new(rule()), Vec::new());
        answer.as_bytes().chunks(size).try_for_each(|chunk| masker.push(chunk, &mut out)).unwrap();
        masker.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let whole = cut(usize::MAX);
    assert!([1, 2, 5].iter().all(|size| cut(*size) == whole));
    whole
}

fn map(namespace: &str, name: &str) -> String {
    format!(r#"{{"metadata":{{"name":"{name}","namespace":"{namespace}"}},"data":{{"user":"app","word":"hunter2!"}}}}"#)
}

#[test]
fn fields_are_hidden_in_objects_of_the_names_and_namespaces_that_a_label_says() {
    let mask = |text: String| text.replace(r#""app""#, r#""•••""#).replace("hunter2!", "•••2!");
    let [meant, other, far] =
        [("shop", "db-credentials"), ("shop", "settings"), ("far", "db-credentials")].map(|(a, b)| map(a, b));
    let hidden = mask(meant.clone());
    for (request, before, behind) in [
        ("GET /api/v1/namespaces/shop/configmaps/db-credentials", "", ""),
        ("PUT /api/v1/namespaces/shop/configmaps/db-credentials", r#"{"kind":"ConfigMap","object":"#, "}"),
        ("GET /api/v1/configmaps", r#"{"kind":"ConfigMapList","metadata":{"resourceVersion":"1"},"items":["#, "]}"),
        ("GET /api/v1/namespaces/shop/configmaps", r#"{"kind":"Table","rows":[{"cells":["a",1],"object":"#, "}]}"),
        ("GET /api/v1/configmaps?watch=1", r#"{"type":"ADDED","object":"#, "}"),
        ("GET /api/v1/configmaps?watch=1", r#"{"type":"ADDED","object":{"rows":[{"object":"#, "}]}}"),
    ] {
        let around = |inner: &str| format!("{before}{inner}{behind}");
        assert_eq!(shown(request, &around(&meant)), around(&hidden), "{request}");
        if !request.contains("db-credentials") {
            assert_eq!(shown(request, &around(&other)), around(&other), "{request}");
        }
        if !request.contains("shop") {
            assert_eq!(shown(request, &around(&far)), around(&far), "{request}");
        }
    }
    let list = format!("{{\"items\":[{other},{meant},{far}]}}");
    assert_eq!(shown("GET /api/v1/configmaps", &list), format!("{{\"items\":[{other},{hidden},{far}]}}"));
    assert_eq!(shown("GET /api/v1/services", &list), list);
}

#[test]
fn what_is_known_too_late_is_hidden() {
    let late = r#"{"data":{"word":"hunter2!"},"metadata":{"name":"settings","namespace":"shop"}}"#;
    assert!(!shown("GET /api/v1/configmaps", late).contains("hunter"));
    assert_eq!(shown("GET /api/v1/namespaces/shop/configmaps/settings", late), late);
    // A cluster's own object is in no namespace.
    let nowhere = r#"{"metadata":{"name":"db-credentials"},"data":{"word":"hunter2!"}}"#;
    assert_eq!(shown("GET /api/v1/configmaps", nowhere), nowhere);
    // What follows a list is of none of its objects.
    let behind = format!(r#"{{"items":[{}],"data":{{"word":"hunter2!"}}}}"#, map("shop", "settings"));
    assert_eq!(shown("GET /api/v1/configmaps", &behind).matches("hunter2!").count(), 1);
}

#[test]
fn variables_are_hidden_in_pods_and_in_every_template_of_one() {
    let spec = r#"{"containers":[{"name":"app","env":[{"name":"API_TOKEN","value":"hunter2"},{"name":"MODE","value":"fast"},{"value":"hunter2","name":"MODE"},{"name":"token","valueFrom":{"x":1}}]}]}"#;
    let hidden = spec.replace("hunter2", "[secret•••]");
    for (request, before, behind) in [
        ("GET /api/v1/namespaces/a/pods/web-1", r#"{"metadata":{"name":"web-1"},"spec":"#, "}"),
        (
            "GET /apis/apps/v1/deployments",
            r#"{"items":[{"metadata":{"name":"web"},"spec":{"template":{"spec":"#,
            "}}}]}",
        ),
        ("GET /apis/batch/v1/cronjobs", r#"{"items":[{"spec":{"jobTemplate":{"spec":{"template":{"spec":"#, "}}}}}]}"),
        ("GET /apis/apps/v1/controllerrevisions", r#"{"items":[{"data":{"spec":{"template":{"spec":"#, "}}}}]}"),
        ("GET /apis/example.org/v1/rollouts", r#"{"items":[{"spec":{"parts":[{"template":{"spec":"#, "}}]}}]}"),
    ] {
        let around = |inner: &str| format!("{before}{inner}{behind}");
        assert_eq!(shown(request, &around(spec)), around(&hidden), "{request}");
    }
    let other = format!(r#"{{"metadata":{{"name":"db-1"}},"spec":{spec}}}"#);
    assert_eq!(shown("GET /api/v1/pods", &other), other);
}

#[test]
fn the_object_that_was_last_applied_has_the_name_of_the_one_around_it() {
    let applied = |name: &str| {
        let inner = r#"{\"data\":{\"word\":\"hunter2!\"},\"kind\":\"ConfigMap\"}"#;
        format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"shop","annotations":{{"kubectl.kubernetes.io/last-applied-configuration":"{inner}"}}}}}}"#
        )
    };
    assert!(shown("GET /api/v1/configmaps", &applied("db-credentials")).contains(r#"\"word\":\"•••2!\""#));
    assert_eq!(shown("GET /api/v1/configmaps", &applied("settings")), applied("settings"));
}

#[test]
fn masks_are_what_readers_can_decode_and_writers_cannot_take_for_values() {
    let map = r#"{"metadata":{"name":"a-credentials","namespace":"shop"},"binaryData":{"a":"aHVudGVyMg=="}}"#;
    // base64 of `[db•••]`
    assert!(shown("GET /api/v1/configmaps", map).contains(r#""a":"W2Ri4oCi4oCi4oCiXQ==""#));
    let widget = r#"{"spec":{"pin":1234,"list":[{"key":true},{"key":{"a":["x",null,1]}}]},"metadata":{"annotations":{"example.org/pin":"1","b":"2"}}}"#;
    let mask = "\"[secret•••]\"";
    assert_eq!(
        shown("GET /apis/example.org/v1/widgets", widget),
        format!(
            r#"{{"spec":{{"pin":{mask},"list":[{{"key":{mask}}},{{"key":{{"a":[{mask},null,{mask}]}}}}]}},"metadata":{{"annotations":{{"example.org/pin":{mask},"b":"2"}}}}}}"#
        )
    );
    assert_eq!(shown("GET /apis/example.com/v1/widgets", widget), widget);
}

#[test]
fn what_a_server_says_of_a_change_quotes_nothing() {
    let status = r#"{"kind":"Status","message":"spec: Invalid value: hunter2","details":{"causes":[{"message":"hunter2","field":"spec"}]},"code":422}"#;
    let hidden = status.replace("spec: Invalid value: hunter2", "[secret•••]").replace("hunter2", "[secret•••]");
    assert_eq!(shown("PATCH /api/v1/namespaces/a/pods/web-1", status), hidden);
    assert_eq!(shown("GET /api/v1/namespaces/a/pods/web-1", status), status);
    assert_eq!(shown("PATCH /api/v1/namespaces/a/pods/db", status), status);
}

#[test]
fn tables_are_asked_for_where_they_print_nothing_of_what_is_hidden() {
    let printed = |target: &str| {
        let info = RequestInfo::read("GET", target).unwrap();
        fields::are_printed(&fields::places(&info, &masking()), &info)
    };
    assert!(printed("/apis/example.org/v1/widgets"));
    for target in ["/api/v1/pods", "/api/v1/configmaps", "/apis/apps/v1/deployments", "/api/v1/services"] {
        assert!(!printed(target), "{target}");
    }
}

proptest::proptest! {
    #[test]
    fn no_labelled_value_survives_any_order_and_depth(
        keys in proptest::collection::vec("[a-z\"\\\\é]{1,6}", 1..4),
        late in proptest::bool::ANY,
        wrap in 0_usize..3,
    ) {
        let data: serde_json::Map<_, _> = keys.iter().map(|key| (key.clone(), serde_json::json!("VALUE-OF-MINE"))).collect();
        let data = serde_json::Value::from(data);
        let metadata = r#""metadata":{"name":"a-credentials","namespace":"shop"}"#;
        let mut text = if late { format!("{{\"data\":{data},{metadata}}}") } else { format!("{{{metadata},\"data\":{data}}}") };
        for _ in 0..wrap {
            text = format!("{{\"items\":[{text}]}}");
        }
        let shown = shown("GET /api/v1/configmaps", &text);
        proptest::prop_assert!(!shown.contains("VALUE-OF"), "{}", shown);
        proptest::prop_assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok());
    }
}
