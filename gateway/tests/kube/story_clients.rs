//! Client libraries and tools at a real task, through the gateway and past it: the same, but for what is hidden.

use std::path::Path;

use crate::node::{ADDRESS, cached};
use crate::site::{Ran, Site, ran};

const POLICY: &str = r#"
@id("all") permit (principal, action in [Action::"read", Action::"write", Action::"destructive", Action::"run", Action::"tunnel"], resource);
"#;

/// The guard pack holds commands and forwards: these stories are about clients.
const LIFTED: &str = "[policy]\ndisable = [\"guard.kubernetes.commands\"]\n";

/// A site with a pod that runs, and a Secret.
fn site() -> Site {
    let site = Site::new();
    site.admin(&["create", "secret", "generic", "password", "--from-literal=word=hunter2hunter2"]);
    site.pod("worker");
    site
}

/// The same program twice: inside, and past the gateway as the admin.
fn both(site: &Site, arguments: &[&str], environment: &[&str]) -> (Ran, Ran) {
    let inside = ran(site.command(&["timeout", "120", "env"]).args(environment).args(arguments));
    let admin = format!("KUBECONFIG={}", site.node.home.join("admin.kubeconfig").display());
    let mut past = site.node.enter("timeout");
    past.args(["120", "env", &format!("HOME={}", site.node.home.display()), &admin]).args(environment).args(arguments);
    (inside, ran(&mut past))
}

fn clients() -> std::path::PathBuf {
    cached("kube-clients-")
}

fn source(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kube/clients").join(name).display().to_string()
}

#[test]
fn the_python_client_does_the_same_but_for_secrets() {
    let site = site();
    let _gateway = site.attach_with(LIFTED, Some(POLICY));
    let serve = [
        "exec",
        "worker",
        "--",
        "sh",
        "-c",
        "mkdir /tmp/www; echo hello > /tmp/www/index.html; httpd -p 18190 -h /tmp/www",
    ];
    site.admin(&serve);
    let script = site.world.file("client.py", &std::fs::read_to_string(source("client.py")).unwrap());
    let python = clients().join("bin/python");
    let arguments = [python.to_str().unwrap(), script.to_str().unwrap(), &site.namespace, "18190"];
    let (inside, past) = both(&site, &arguments, &[]);
    assert!(inside.ok && past.ok, "inside: {inside:?}\npast: {past:?}");
    let expected = past.out.replace("hunter2hunter2", "[secret•••]").replace("4111-1111-1111-1111", &"*".repeat(19));
    assert_eq!(inside.out, expected);
    assert!(inside.out.contains("forwarded: hello") && inside.out.contains("said\\n"), "{}", inside.out);
}

#[test]
fn a_typed_client_of_go_does_the_same_in_protobuf() {
    let site = Site::new();
    let gateway = site.attach_with(LIFTED, Some(POLICY));
    let typed = cached("kube-go-").join("typed");
    let (inside, past) = both(&site, &[typed.to_str().unwrap(), &site.namespace], &[]);
    drop(gateway);
    assert!(inside.ok && past.ok, "inside: {inside:?}\npast: {past:?}");
    // What is hidden, and what policies forbid or hold, each with what the client is told.
    let other = [
        ("word: done", "[secret•••]"),
        ("what was read, written back", "holds a masked value"),
        ("the node's files", "guard.kubernetes.pods"),
        ("scale to zero", "guard.kubernetes.scale-to-zero"),
        ("role", "guard.kubernetes.rights"),
    ];
    assert_eq!(inside.out.lines().count(), past.out.lines().count(), "inside: {inside:?}\npast: {past:?}");
    for (inside, past) in inside.out.lines().zip(past.out.lines()) {
        let told = other.iter().find(|(what, _)| past.starts_with(what)).map(|(_, told)| told);
        assert!(past.contains(": done"), "{past}");
        assert!(told.map_or(inside == past, |told| inside.contains(told)), "{inside}\n{past}");
    }
    // It was protobuf all along, on both sides of the gateway.
    let made = site.request(|body| body["verb"] == "create" && body["resource"] == "deployments.apps");
    let facts = &made["decision"]["input"]["questions"][0]["context"]["body"];
    assert_eq!(facts["images"][0], "docker.io/test/app:1", "{made}");
}

#[test]
fn kube_rs_does_the_same_but_for_secrets() {
    let site = site();
    let _gateway = site.attach_with(LIFTED, Some(POLICY));
    let serve = "mkdir /tmp/rs; echo hello > /tmp/rs/index.html; httpd -p 18191 -h /tmp/rs";
    site.admin(&["exec", "worker", "--", "sh", "-c", serve]);
    let program = cached("kube-rs-").join("bin/kube-client");
    let (inside, past) = both(&site, &[program.to_str().unwrap(), &site.namespace], &[]);
    assert!(inside.ok && past.ok, "inside: {inside:?}\npast: {past:?}");
    let expected = past.out.replace("hunter2hunter2", "[secret•••]").replace("4111-1111-1111-1111", &"*".repeat(19));
    assert_eq!(inside.out, expected);
    assert!(inside.out.contains("forwarded: hello") && inside.out.contains("deleted: true"), "{}", inside.out);
}

#[test]
fn ansible_does_the_same() {
    let site = site();
    let _gateway = site.attach_with(LIFTED, Some(POLICY));
    let play = site.world.file("play.yml", &std::fs::read_to_string(source("play.yml")).unwrap());
    let python = format!("ansible_python_interpreter={}", clients().join("bin/python").display());
    let namespace = format!("namespace={}", site.namespace);
    let arguments = [
        "ansible-playbook",
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        &python,
        "-e",
        &namespace,
        play.to_str().unwrap(),
    ];
    let collections = format!("ANSIBLE_COLLECTIONS_PATH={}", clients().join("collections").display());
    let environment = [&collections, "ANSIBLE_NOCOLOR=1", "ANSIBLE_LOCALHOST_WARNING=0"];
    let (inside, past) = both(&site, &arguments, &environment.map(AsRef::as_ref));
    assert!(inside.ok && past.ok, "inside: {inside:?}\npast: {past:?}");
    assert!(inside.out.contains("again False, seen blue, ran from ansible"), "{}", inside.out);
    assert_eq!(inside.out, past.out);
}

#[test]
fn curl_does_the_same() {
    let site = site();
    let _gateway = site.attach_with(LIFTED, Some(POLICY));
    let maps = format!("/api/v1/namespaces/{}/configmaps", site.namespace);
    let json = "content-type: application/json";
    let past = |arguments: &[&str], path: &str| {
        let home = site.node.home.display();
        let mut curl = site.node.enter("curl");
        curl.args(["-sS", "--max-time", "30", "--cacert", &format!("{home}/ca.crt")]);
        curl.args(["--cert", &format!("{home}/admin.crt"), "--key", &format!("{home}/admin.key")]);
        ran(curl.args(arguments).arg(format!("https://{ADDRESS}:6443{path}")))
    };
    // What each object has of its own.
    let plain = |ran: Ran| -> serde_json::Value {
        let mut answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
        for name in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
            answer["metadata"].as_object_mut().map(|meta| meta.remove(name));
        }
        answer["details"].as_object_mut().map(|details| details.remove("uid"));
        answer
    };
    let map = r#"{"metadata":{"name":"curl"},"data":{"a":"1"}}"#;
    let one = format!("{maps}/curl");
    let merge = "content-type: application/merge-patch+json";
    let steps: [(&[&str], &str); 4] = [
        (&["-d", map, "-H", json], &maps),
        (&["-X", "PATCH", "-d", r#"{"data":{"b":"2"}}"#, "-H", merge], &one),
        (&[], &one),
        (&["-X", "DELETE"], &one),
    ];
    for version in ["--http1.1", "--http2"] {
        let through: Vec<_> =
            steps.iter().map(|(arguments, path)| plain(site.curl(&[&[version], *arguments].concat(), path))).collect();
        let directly: Vec<_> = steps.iter().map(|(arguments, path)| plain(past(arguments, path))).collect();
        assert_eq!(through, directly, "{version}");
        assert_eq!(through[2]["data"]["b"], "2");
    }
}

#[test]
fn a_client_in_a_pod_trusts_the_gateway_by_the_bundle_of_its_service_account() {
    let site = site();
    let _gateway = site.attach();
    let (ca, namespace) = (site.ca().display().to_string(), &site.namespace);
    // As a pod has it, but for the authority.
    site.world.sh(&format!(
        "mkdir -p /run/secrets/kubernetes.io/serviceaccount; cd /run/secrets/kubernetes.io/serviceaccount
         cp {ca} ca.crt; printf %s token-of-a-pod >token; printf %s {namespace} >namespace; chmod -R a+rX /run/secrets"
    ));
    let inside = |arguments: &[&str]| {
        let service = ["KUBERNETES_SERVICE_HOST=10.99.0.2", "KUBERNETES_SERVICE_PORT=6443"];
        ran(site.command(&["timeout", "120", "env", "-u", "KUBECONFIG"]).args(service).args(arguments))
    };
    let word = "jsonpath={.data.word}";
    for program in [cached("kubectl-").join("bin/kubectl"), cached("kubernetes-").join("bin/kubectl")] {
        let ran = inside(&[program.to_str().unwrap(), "get", "secret", "password", "-o", word]);
        assert_eq!(ran.out, "W3NlY3JldOKAouKAouKAol0=", "{ran:?}");
    }
    let script = format!(
        "from kubernetes import client, config; config.load_incluster_config()\n\
         print(client.CoreV1Api().read_namespaced_pod('worker', '{namespace}').status.phase)"
    );
    let ran = inside(&[clients().join("bin/python").to_str().unwrap(), "-c", &script]);
    assert_eq!(ran.out, "Running", "{ran:?}");
}
