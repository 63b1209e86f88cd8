//! What bodies say, and which are refused.

use super::*;

fn resource(group: &str, name: &str) -> Resource {
    Resource { group: group.into(), version: "v1".into(), resource: name.into(), ..Resource::default() }
}

fn create(body: &str) -> Body {
    let body = Bytes::copy_from_slice(body.as_bytes());
    read(Verb::Create, &resource("", "pods"), "application/json", &body).unwrap().facts.unwrap()
}

fn patch(kind: &str, body: &str) -> Result<Parsed, BodyFault> {
    let media = format!("application/{kind}");
    read(Verb::Patch, &resource("apps", "deployments"), &media, &Bytes::copy_from_slice(body.as_bytes()))
}

fn all(items: &[std::sync::Arc<str>]) -> Vec<&str> {
    items.iter().map(AsRef::as_ref).collect()
}

#[test]
fn finds_what_pods_run_and_where_from() {
    let body = create(
        r#"{"spec":{"serviceAccountName":"bot","imagePullSecrets":[{"name":"pull"}],"initContainers":[{"image":"busybox"}],
        "containers":[{"image":"registry.acme.example/web:7","env":[{"valueFrom":{"secretKeyRef":{"name":"env","key":"k"}}}],
        "envFrom":[{"secretRef":{"name":"from"}}]},{"image":"localhost:5000/x"}],
        "volumes":[{"secret":{"secretName":"mounted"}},{"projected":{"sources":[{"secret":{"name":"projected"}}]}}]}}"#,
    );
    assert_eq!(all(&body.images), ["busybox", "localhost:5000/x", "registry.acme.example/web:7"]);
    assert_eq!(all(&body.registries), ["docker.io", "localhost:5000", "registry.acme.example"]);
    assert_eq!(all(&body.service_accounts), ["bot"]);
    assert_eq!(all(&body.secrets), ["env", "from", "mounted", "projected", "pull"]);
    assert!(!body.privileged && !body.host_access && !body.grants && !body.drains);
}

#[test]
fn finds_what_reaches_the_node() {
    let privileged = [
        r#"{"spec":{"containers":[{"securityContext":{"privileged":true}}]}}"#,
        r#"{"spec":{"containers":[{"securityContext":{"allowPrivilegeEscalation":true}}]}}"#,
        r#"{"spec":{"containers":[{"securityContext":{"capabilities":{"add":["SYS_ADMIN"]}}}]}}"#,
        r#"{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"containers":[{"securityContext":{"procMount":"Unmasked"}}]}}}}}}"#,
    ];
    for text in privileged {
        assert!(create(text).privileged, "{text}");
    }
    let host = [
        r#"{"spec":{"hostNetwork":true}}"#,
        r#"{"spec":{"hostPID":true}}"#,
        r#"{"spec":{"hostIPC":true}}"#,
        r#"{"spec":{"volumes":[{"hostPath":{"path":"/"}}]}}"#,
        r#"{"spec":{"containers":[{"ports":[{"hostPort":80}]}]}}"#,
    ];
    for text in host {
        assert!(create(text).host_access, "{text}");
    }
    let neither = create(
        r#"{"spec":{"hostNetwork":false,"containers":[{"securityContext":{"capabilities":{"drop":["ALL"]}}}]}}"#,
    );
    assert!(!neither.host_access && !neither.privileged);
}

#[test]
fn reads_patches_of_every_kind() {
    let of = |kind, body| patch(kind, body).unwrap().facts.unwrap();
    for (kind, body) in [
        ("merge-patch+json", r#"{"spec":{"replicas":0}}"#),
        ("strategic-merge-patch+json", r#"{"spec":{"replicas":0}}"#),
        ("json-patch+json", r#"[{"op":"replace","path":"/spec/replicas","value":0}]"#),
        ("apply-patch+yaml", "spec:\n  replicas: 0\n"),
        ("merge-patch+json", r#"{"spec":{"replicas":0.5}}"#),
    ] {
        assert_eq!((of(kind, body).replicas, all(&of(kind, body).fields)), (Some(0), vec!["spec.replicas"]), "{kind}");
    }
    let image = of(
        "json-patch+json",
        r#"[{"op":"add","path":"/spec/template/spec/containers/0/image","value":"a/b"},{"op":"remove","path":"/spec/x~1y"}]"#,
    );
    assert_eq!(all(&image.images), ["a/b"]);
    assert_eq!(all(&image.fields), ["spec.template.spec.containers.image", "spec.x/y"]);
    let secret = of(
        "json-patch+json",
        r#"[{"op":"add","path":"/spec/template/spec/volumes/-","value":{"secret":{"secretName":"s"}}}]"#,
    );
    assert_eq!(all(&secret.secrets), ["s"]);
    assert!(patch("json-patch+json", r#"[{"op":"test","path":"/data/x","value":"y"}]"#).unwrap().compares);
}

#[test]
fn a_scale_without_a_number_is_one_to_zero() {
    let scale = Resource { subresource: "scale".into(), ..resource("apps", "deployments") };
    let replicas = |media: &str, body: &'static str| {
        let verb = if media.contains("patch") { Verb::Patch } else { Verb::Update };
        read(verb, &scale, media, &Bytes::from_static(body.as_bytes())).unwrap().facts.unwrap().replicas
    };
    assert_eq!(replicas("application/json", r#"{"kind":"Scale","spec":{}}"#), Some(0));
    assert_eq!(replicas("application/json", r#"{"kind":"Scale","spec":{"replicas":3}}"#), Some(3));
    assert_eq!(replicas("application/merge-patch+json", r#"{"spec":null}"#), Some(0));
    assert_eq!(replicas("application/json-patch+json", r#"[{"op":"remove","path":"/spec/replicas"}]"#), Some(0));
}

#[test]
fn what_goes_on_is_what_was_read() {
    let parsed = patch("apply-patch+yaml", "a: &x {b: 1}\nc: *x\nd: yes\n").unwrap();
    let (bytes, media) = parsed.onward.unwrap();
    assert_eq!((&bytes[..], media), (&br#"{"a":{"b":1},"c":{"b":1},"d":"yes"}"#[..], "application/apply-patch+yaml"));
}

#[test]
fn refuses_what_is_not_certain() {
    let pods = resource("", "pods");
    let post = |media: &str, body: &str| read(Verb::Create, &pods, media, &Bytes::copy_from_slice(body.as_bytes()));
    for (media, body) in [
        ("application/json", r#"{"spec":{"hostNetwork":false,"hostNetwork":true}}"#),
        ("application/json", r#"{"a":1} {"b":2}"#),
        ("application/json", "not json"),
        ("application/yaml", "a: 1\na: 2\n"),
        ("application/yaml", "a: 1\n---\nb: 2\n"),
        ("application/yaml", "1: a\n"),
        ("application/yaml", "a: [\n"),
        ("application/vnd.kubernetes.protobuf", "k8s\0"),
        ("application/cbor", "x"),
        ("text/plain", "{}"),
    ] {
        assert!(post(media, body).is_err(), "{media} {body}");
    }
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    assert!(post("application/json", &deep).is_err());
    let laughs = (1..30).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        let before = level - 1;
        text + &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 9].join(", "))
    });
    assert!(post("application/yaml", &laughs).is_err());
    assert!(matches!(
        patch("json-patch+json", r#"[{"op":"copy","from":"/a","path":"/b"}]"#),
        Err(BodyFault::Elsewhere { .. })
    ));
    assert!(matches!(patch("json-patch+json", r#"{"op":"add"}"#), Err(BodyFault::Syntax { .. })));
}

#[test]
fn masks_are_not_written_back() {
    let mask = "W3NlY3JldOKAouKAouKAol0=";
    for body in [
        format!(r#"{{"data":{{"password":"{mask}"}}}}"#),
        r#"{"stringData":{"password":"[secret•••]"}}"#.to_owned(),
        r#"{"stringData":{"password":"[secret\u2022\u2022\u2022]"}}"#.to_owned(),
        format!(
            r#"{{"metadata":{{"annotations":{{"kubectl.kubernetes.io/last-applied-configuration":"{{\"data\":{{\"p\":\"{mask}\"}}}}"}}}}}}"#
        ),
    ] {
        let read = read(Verb::Update, &resource("", "secrets"), "application/json", &Bytes::from(body.clone()));
        assert_eq!(read.err(), Some(BodyFault::Mask), "{body}");
    }
}

#[test]
fn deletes_say_what_becomes_of_dependents() {
    let body = Bytes::from_static(br#"{"dryRun":["All"],"propagationPolicy":"Orphan"}"#);
    let parsed = read(Verb::Delete, &resource("", "pods"), "application/json", &body).unwrap();
    assert!(parsed.dry_run && parsed.facts.is_none());
    assert_eq!(parsed.propagation.as_deref(), Some("Orphan"));
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120), text in "[-a: {}\\[\\]*&\n\"0-9]{0,80}") {
        let body = Bytes::from(bytes);
        for media in ["application/json", "application/yaml"] {
            let _ = read(Verb::Create, &resource("", "pods"), media, &body);
            let _ = read(Verb::Create, &resource("", "pods"), media, &Bytes::from(text.clone()));
        }
    }
}
