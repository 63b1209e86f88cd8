//! Secrets: masked in every shape that they come in, shown to whom policy shows them, never overwritten by their masks.

use crate::node::ADDRESS;
use crate::site::{Front, Kubectl, Site, TOKEN, ran};

const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: NAMESPACE}\nstringData: {password: hunter2-of-the-database}\n";
const PLAIN: &str = "hunter2-of-the-database";
/// base64 of it.
const ENCODED: &str = "aHVudGVyMi1vZi10aGUtZGF0YWJhc2U=";
/// base64 of `[secret•••]`
const MASK: &str = "W3NlY3JldOKAouKAouKAol0=";

const ALL: &str = r#"
@id("all") permit (principal, action in [Action::"read", Action::"write", Action::"destructive"], resource);
"#;
const UNMASK: &str = r#"
@id("show") permit (principal, action == Data::Action::"unmask", resource == DataClass::"secret")
when { context has object && context.object has name && context.object.name == "db" };
"#;

fn hidden(what: &str, text: &str) {
    assert!(!text.contains(PLAIN) && !text.contains(ENCODED), "{what}: {text}");
}

#[test]
fn no_shape_of_an_answer_shows_what_a_secret_holds() {
    let site = Site::new();
    let _gateway = site.attach();
    let file = site.manifest("secret.yaml", SECRET);
    for which in Kubectl::BOTH {
        // Applied on the client's side, so that the annotation holds it too.
        let applied = site.kubectl_of(which, &["apply", "-f", &file, "-o", "yaml"]);
        assert!(applied.ok && applied.out.contains(MASK), "{applied:?}");
        hidden("the answer to a write", &applied.out);
        for arguments in [
            &["get", "secret", "db", "-o", "yaml"][..],
            &["get", "secret", "db", "-o", "json"],
            &["get", "secrets", "-o", "yaml"],
            &["get", "secrets", "-A", "-o", "json"],
            &["get", "secrets", "--chunk-size=1", "-o", "json"],
            &["describe", "secret", "db"],
            &["get", "secret", "db", "-o", "jsonpath={.data.password}"],
            &["get", "secret", "db", "-o", "go-template={{.data.password | base64decode}}"],
        ] {
            let ran = site.kubectl_of(which, arguments);
            assert!(ran.ok, "{which:?} {arguments:?} {ran:?}");
            hidden(&format!("{arguments:?}"), &ran.out);
        }
        assert!(site.kubectl_of(which, &["get", "secrets"]).out.contains("Opaque"), "the table");
        site.admin(&["delete", "secret", "db"]);
    }
    site.node.apply(&SECRET.replace("NAMESPACE", &site.namespace));
    let path = format!("/api/v1/namespaces/{}/secrets", site.namespace);
    for (accept, path) in [
        ("application/json;as=Table;v=v1;g=meta.k8s.io", format!("{path}?includeObject=Object")),
        ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", path.clone()),
        ("application/vnd.kubernetes.protobuf", path.clone()),
        ("application/vnd.kubernetes.protobuf;stream=watch", format!("{path}?watch=1&timeoutSeconds=2")),
        ("application/yaml", format!("{path}/db")),
        ("application/cbor", format!("{path}/db")),
        ("*/*", format!("{path}?watch=1&timeoutSeconds=2")),
        (
            "application/json;as=Table;v=v1;g=meta.k8s.io",
            format!("{path}?watch=1&timeoutSeconds=2&includeObject=Object"),
        ),
        ("application/json", path.replace("/api/v1/", "/api/v1/watch/") + "?timeoutSeconds=2"),
    ] {
        let ran = site.curl(&["-H", &format!("accept: {accept}")], &path);
        assert!(ran.ok && ran.out.contains("\"db\""), "{accept} {path}: {ran:?}");
        hidden(&format!("{accept} {path}"), &ran.out);
    }
    let outcome = site.world.event("kubernetes.outcome", |body| body["masked"]["secret"] == 2 && body["code"] == 200);
    assert_eq!(outcome["status"], "ok", "{outcome}");
}

/// The lab's server is older than CBOR and than initial lists of watches: frames of both are made of its answers by the
/// types and the encoder of today's API.
#[test]
fn forms_of_todays_servers_are_masked_or_refused() {
    let site = Site::new();
    let front = Front::start(&site);
    site.node.apply(&SECRET.replace("NAMESPACE", &site.namespace));
    let target = site.target(&site.token()).replace("environment", &format!("ports = [{}]\nenvironment", front.port));
    let _gateway = site.attach_to(&target, None);
    let path = format!("/api/v1/namespaces/{}/secrets", site.namespace);
    let past = |path: &str| {
        let mut curl = site.node.enter("curl");
        curl.args([
            "-sk",
            "-H",
            &format!("authorization: Bearer {TOKEN}"),
            &format!("https://{ADDRESS}:{}{path}", front.port),
        ]);
        ran(&mut curl).out
    };
    for form in ["form=cbor", "watch=1&form=cbor-seq"] {
        let path = format!("{path}?{form}");
        assert!(past(&path).contains(ENCODED), "{form}");
        let ran = site.curl_at(front.port, &[], &path);
        assert!(ran.out.contains("in a form that cannot be masked"), "{form}: {ran:?}");
        hidden(form, &ran.out);
    }
    let path = format!(
        "{path}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1&form=initial"
    );
    let (shown, plain) = (site.curl_at(front.port, &[], &path).out, past(&path));
    assert!(plain.contains("k8s.io/initial-events-end") && plain.contains(ENCODED), "{plain}");
    assert_eq!(shown, plain.replace(ENCODED, MASK).replace(PLAIN, "[secret•••]"));
}

#[test]
fn who_may_see_a_secret_sees_it_and_no_other() {
    let site = Site::new();
    let _gateway = site.attach_with("", Some(&format!("{ALL}{UNMASK}")));
    let other = SECRET.replace("name: db", "name: other");
    for secret in [SECRET, &other] {
        site.node.apply(&secret.replace("NAMESPACE", &site.namespace));
    }
    for which in Kubectl::BOTH {
        let get = |name: &str| site.kubectl_of(which, &["get", "secret", name, "-o", "jsonpath={.data.password}"]).out;
        assert_eq!((get("db").as_str(), get("other").as_str()), (ENCODED, MASK));
        hidden("a list", &site.kubectl_of(which, &["get", "secrets", "-o", "yaml"]).out);
    }
}

#[test]
fn masks_are_not_written_back_and_what_was_shown_can_be() {
    let site = Site::new();
    let _gateway = site.attach();
    let file = site.manifest("secret.yaml", SECRET);
    for which in Kubectl::BOTH {
        site.node.apply(&SECRET.replace("NAMESPACE", &site.namespace));
        let shown = site.kubectl_of(which, &["get", "secret", "db", "-o", "yaml"]).out;
        let masked = site.manifest("masked.yaml", &shown);
        for arguments in [
            &["replace", "-f", &masked][..],
            &["apply", "-f", &masked],
            &["apply", "--server-side", "--force-conflicts", "-f", &masked],
        ] {
            let ran = site.kubectl_of(which, arguments);
            assert!(!ran.ok && ran.err.contains("masked value"), "{arguments:?} {ran:?}");
        }
        let patch = format!("{{\"data\":{{\"password\":\"{MASK}\"}}}}");
        let ran = site.kubectl_of(which, &["patch", "secret", "db", "-p", &patch]);
        assert!(!ran.ok && ran.err.contains("masked value"), "{ran:?}");
        assert_eq!(site.admin(&["get", "secret", "db", "-o", "jsonpath={.data.password}"]), ENCODED);
        // The whole object, with its real values, applies over what is shown masked.
        let changed = site.manifest("changed.yaml", &SECRET.replace("hunter2", "hunter3"));
        let ran = site.kubectl_of(which, &["apply", "-f", &changed]);
        assert!(ran.ok, "{ran:?}");
        assert_ne!(site.admin(&["get", "secret", "db", "-o", "jsonpath={.data.password}"]), ENCODED);
        let ran = site.kubectl_of(which, &["apply", "-f", &file]);
        assert!(ran.ok, "{ran:?}");
        site.admin(&["delete", "secret", "db"]);
    }
}

#[test]
fn a_patch_does_not_tell_what_a_secret_holds() {
    let site = Site::new();
    let _gateway = site.attach();
    site.node.apply(&SECRET.replace("NAMESPACE", &site.namespace));
    for patch in [
        format!(r#"[{{"op":"test","path":"/data/password","value":"{ENCODED}"}}]"#),
        r#"[{"op":"copy","from":"/data/password","path":"/metadata/annotations"}]"#.to_owned(),
        r#"[{"op":"move","from":"/data/password","path":"/metadata/labels"}]"#.to_owned(),
    ] {
        let ran = site.kubectl(&["patch", "secret", "db", "--type=json", "-p", &patch]);
        assert!(!ran.ok && ran.err.contains("Forbidden"), "{patch}: {ran:?}");
    }
}

#[test]
fn a_workload_does_not_take_a_secret_that_its_maker_may_not_see() {
    let site = Site::new();
    let pod = |secret: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: reader, namespace: NAMESPACE}}\nspec:\n  nodeName: nowhere\n  \
             containers:\n  - name: app\n    image: x\n    env:\n    - name: P\n      valueFrom: {{secretKeyRef: {{name: {secret}, key: password}}}}\n"
        )
    };
    let gateway = site.attach_with("", Some(ALL));
    let file = site.manifest("pod.yaml", &pod("db"));
    let ran = site.kubectl(&["apply", "-f", &file]);
    assert!(!ran.ok && ran.err.contains("hand the Secret `db`"), "{ran:?}");
    drop(gateway);
    let _gateway = site.attach_with("", Some(&format!("{ALL}{UNMASK}")));
    let ran = site.kubectl(&["apply", "-f", &file]);
    assert!(ran.ok, "{ran:?}");
    site.admin(&["delete", "pod", "reader", "--force", "--grace-period=0"]);
    let other = site.manifest("other.yaml", &pod("other"));
    let ran = site.kubectl(&["apply", "-f", &other]);
    assert!(!ran.ok && ran.err.contains("hand the Secret `other`"), "{ran:?}");
}

/// As Helm 3 and 4 keep it: JSON in gzip in base64, which is the value of a Secret.
#[test]
fn a_release_of_helm_is_hidden_whole_and_can_be_found() {
    let site = Site::new();
    let _gateway = site.attach();
    let release = format!(
        r#"{{"name":"shop","info":{{"status":"deployed"}},"config":{{"password":"{PLAIN}"}},"manifest":"kind: Secret","version":1}}"#
    );
    let encoded = site.world.sh(&format!("printf %s '{release}' | gzip -9 | base64 -w0"));
    assert!(encoded.starts_with("H4sI"), "{encoded}");
    site.node.apply(&format!(
        "apiVersion: v1\nkind: Secret\ntype: helm.sh/release.v1\nmetadata:\n  name: sh.helm.release.v1.shop.v1\n  namespace: {}\n  \
         labels: {{name: shop, owner: helm, status: deployed, version: '1'}}\nstringData: {{release: {encoded}}}\n",
        site.namespace
    ));
    for which in Kubectl::BOTH {
        for output in [
            "yaml",
            "json",
            "go-template={{range .items}}{{.metadata.labels.name}}{{.data.release | base64decode}}{{end}}",
        ] {
            let ran = site.kubectl_of(which, &["get", "secrets", "-l", "owner=helm,status=deployed", "-o", output]);
            assert!(ran.ok && ran.out.contains("shop"), "{ran:?}");
            // base64 of gzip, and base64 of that.
            assert!(!ran.out.contains("H4sI") && !ran.out.contains("SDRzS"), "{which:?} {output}: {ran:?}");
            assert!(ran.out.contains(MASK) || ran.out.contains("[secret•••]"), "{ran:?}");
        }
        assert!(site.kubectl_of(which, &["get", "secrets"]).out.contains("helm.sh/release.v1"), "the table");
    }
}
