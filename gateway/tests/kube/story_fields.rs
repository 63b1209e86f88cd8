//! Labels on fields: ConfigMaps and environments, hidden by class wherever the server shows them, and never overwritten.

use crate::site::{Kubectl, Site};

/// Three objects with such a value where a label says, each with one beside it that no label names.
const OBJECTS: &str = "
{apiVersion: v1, kind: ConfigMap, metadata: {name: queue-credentials, namespace: NAMESPACE}, data: {word: hunter2-of-NAMESPACE}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: NAMESPACE}, data: {word: plain-to-see}}
---
apiVersion: v1
kind: Pod
metadata: {name: worker, namespace: NAMESPACE}
spec:
  nodeName: nowhere
  containers: [{name: app, image: x, env: [{name: QUEUE_TOKEN, value: hunter2-of-NAMESPACE}, {name: MODE, value: plain-to-see}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: workers, namespace: NAMESPACE}
spec:
  selector: {matchLabels: {app: workers}}
  template:
    metadata: {labels: {app: workers}}
    spec:
      containers: [{name: app, image: x, env: [{name: QUEUE_TOKEN, value: hunter2-of-NAMESPACE}, {name: MODE, value: plain-to-see}]}]
---
apiVersion: batch/v1beta1
kind: CronJob
metadata: {name: nightly, namespace: NAMESPACE}
spec:
  schedule: '0 0 31 2 *'
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [
    {name: app, image: x, env: [{name: QUEUE_TOKEN, value: hunter2-of-NAMESPACE}, {name: MODE, value: plain-to-see}]}]}}}}
";
const POLICY: &str = r#"
@id("all") permit (principal, action in [Action::"read", Action::"write", Action::"destructive"], resource);
"#;
const UNMASK: &str = r#"
@id("show") permit (principal, action == Data::Action::"unmask", resource == DataClass::"queue")
when { context has object && context.object.type == "configmaps" };
"#;

/// A site whose file has labels, with those objects; the configuration that names the file, and what is hidden.
fn site() -> (Site, String, String) {
    let site = Site::new();
    let masking = format!(
        "version = 1\n[class.queue]\nshow = {{ partial = {{ last = 2 }} }}\n\
         [[field]]\nkind = \"configmaps\"\ntargets = [\"prod\"]\nnamespaces = [\"{}\"]\nnames = [\"*-credentials\"]\n\
         paths = [\"data.*\"]\nclass = \"queue\"\n\
         [[field]]\nkind = \"pods\"\npaths = [\"spec.containers[*].env[?name =~ '(?i)token'].value\"]\nclass = \"secret\"\n",
        site.namespace
    );
    let masking = site.world.file("masking.toml", &masking);
    // As its owner applies it: the annotation holds it too.
    site.node.apply(&OBJECTS.replace("NAMESPACE", &site.namespace));
    let plain = format!("hunter2-of-{}", site.namespace);
    (site, format!("[masking]\nfile = \"{}\"\n", masking.display()), plain)
}

#[test]
fn no_shape_of_an_answer_shows_what_a_labelled_field_holds() {
    let (site, masking, plain) = site();
    let _gateway = site.attach_with(&masking, Some(POLICY));
    for which in Kubectl::BOTH {
        for arguments in [
            &["get", "configmap", "queue-credentials", "-o", "yaml"][..],
            &["get", "configmaps", "-A", "-o", "json"],
            &["get", "configmaps", "--chunk-size=1", "-o", "yaml"],
            &["describe", "configmaps"],
            &["get", "pod", "worker", "-o", "yaml"],
            &["describe", "pod", "worker"],
            &["get", "deployment", "workers", "-o", "yaml"],
            &["describe", "deployment", "workers"],
            &["get", "cronjobs.v1beta1.batch", "-o", "yaml"],
            &["get", "pods,deployments,configmaps", "-o", "json"],
            &["label", "deployment", "workers", "seen=yes", "--overwrite", "-o", "yaml"],
        ] {
            let ran = site.kubectl_of(which, arguments);
            assert!(ran.ok && ran.out.contains("plain-to-see") || arguments.contains(&"queue-credentials"), "{ran:?}");
            assert!(ran.out.contains("•••") && !ran.out.contains(&plain), "{which:?} {arguments:?} {ran:?}");
        }
        let table = site.kubectl_of(which, &["get", "pods,configmaps"]).out;
        assert!(table.contains("READY") && table.contains("DATA"), "tables print nothing of it: {table}");
    }
    let path = format!("/api/v1/namespaces/{}/", site.namespace);
    for (accept, path) in [
        ("application/json;as=Table;v=v1;g=meta.k8s.io", format!("{path}configmaps?includeObject=Object")),
        ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", format!("{path}pods")),
        ("application/json", format!("{path}configmaps?watch=1&timeoutSeconds=2")),
        ("application/vnd.kubernetes.protobuf", format!("{path}pods?watch=1&timeoutSeconds=2")),
        ("application/yaml", format!("{path}pods/worker")),
    ] {
        let ran = site.curl(&["-H", &format!("accept: {accept}")], &path);
        assert!(ran.ok && ran.out.contains("•••") && !ran.out.contains(&plain), "{accept} {path}: {ran:?}");
    }
    let outcome = site.world.event("kubernetes.outcome", |body| body["masked"]["queue"] == 2);
    assert_eq!(outcome["status"], "ok", "the map and what was applied: {outcome}");
}

#[test]
fn a_change_that_is_refused_quotes_no_labelled_field() {
    let (site, masking, plain) = site();
    let patch = r#"{"spec":{"containers":[{"name":"app","env":[{"name":"OTHER","value":"x"}]}]}}"#;
    let change = ["patch", "pod", "worker", "-p", patch];
    let admin = [&["--namespace", &site.namespace][..], &change].concat();
    let said = site.node.admin_command(&admin).output().unwrap();
    assert!(String::from_utf8_lossy(&said.stderr).contains(&plain), "the server itself quotes it: {said:?}");
    let _gateway = site.attach_with(&masking, Some(POLICY));
    for which in Kubectl::BOTH {
        let ran = site.kubectl_of(which, &change);
        assert!(!ran.ok && ran.err.contains("[secret•••]") && !ran.err.contains(&plain), "{which:?} {ran:?}");
    }
    let test = format!(r#"[{{"op":"test","path":"/data/word","value":"{plain}"}}]"#);
    let ran = site.kubectl(&["patch", "configmap", "queue-credentials", "--type=json", "-p", &test]);
    assert!(!ran.ok && ran.err.contains("would tell whether"), "{ran:?}");
}

#[test]
fn masks_of_labelled_fields_are_not_written_back_and_who_may_see_them_does() {
    let (site, masking, plain) = site();
    let gateway = site.attach_with(&masking, Some(POLICY));
    let get = ["get", "configmap,pod,deployment", "-o", "yaml"];
    let masked = site.manifest("masked.yaml", &site.kubectl(&get).out);
    for arguments in [&["replace", "-f", &masked][..], &["apply", "-f", &masked]] {
        let ran = site.kubectl(arguments);
        assert!(!ran.ok && ran.err.contains("masked value"), "{ran:?}");
    }
    assert_eq!(site.admin(&["get", "configmap", "queue-credentials", "-o", "jsonpath={.data.word}"]), plain);
    drop(gateway);
    let _gateway = site.attach_with(&masking, Some(&format!("{POLICY}{UNMASK}")));
    let shown = site.kubectl(&get).out;
    let maps = site.kubectl(&["get", "configmaps", "-o", "yaml"]).out;
    assert!(maps.contains(&plain) && shown.contains("[secret•••]"), "{maps}{shown}");
}

#[test]
fn a_workload_does_not_take_a_labelled_map_that_its_maker_may_not_see() {
    let (site, masking, _) = site();
    let pod = |container: &str, volume: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: reader, namespace: NAMESPACE}}\nspec:\n  nodeName: nowhere\n  \
             containers: [{{name: app, image: x{container}}}]\n{volume}"
        )
    };
    let ways = |map: &str| {
        [
            pod(&format!(", envFrom: [{{configMapRef: {{name: {map}}}}}]"), ""),
            pod(&format!(", env: [{{name: A, valueFrom: {{configMapKeyRef: {{name: {map}, key: word}}}}}}]"), ""),
            pod("", &format!("  volumes: [{{name: v, configMap: {{name: {map}}}}}]\n")),
            pod("", &format!("  volumes: [{{name: v, projected: {{sources: [{{configMap: {{name: {map}}}}}]}}}}]\n")),
        ]
    };
    let gateway = site.attach_with(&masking, Some(POLICY));
    for text in ways("queue-credentials") {
        let ran = site.kubectl(&["apply", "-f", &site.manifest("pod.yaml", &text)]);
        assert!(!ran.ok && ran.err.contains("hand the ConfigMap `queue-credentials`"), "{text}: {ran:?}");
    }
    let other = site.kubectl(&["create", "-f", &site.manifest("pod.yaml", &ways("settings")[0])]);
    assert!(other.ok, "{other:?}");
    drop(gateway);
    site.admin(&["delete", "pod", "reader", "--force", "--grace-period=0"]);
    let _gateway = site.attach_with(&masking, Some(&format!("{POLICY}{UNMASK}")));
    let ran = site.kubectl(&["create", "-f", &site.manifest("pod.yaml", &ways("queue-credentials")[0])]);
    assert!(ran.ok, "{ran:?}");
}
