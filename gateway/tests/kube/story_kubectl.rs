//! kubectl of both ages through the gateway: the same as directly, but for masks and denials.

use crate::site::{Kubectl, Site};
use crate::story_preview::{CAREFUL, GROUP, ticket_of};

/// While an aggregated API comes and goes, a client that looks at all of them may fail.
static DISCOVERY: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[test]
fn ordinary_work_goes_through() {
    let _alone = DISCOVERY.lock();
    let site = Site::new();
    let _gateway = site.attach();
    for which in Kubectl::BOTH {
        let kubectl = |arguments: &[&str]| {
            let ran = site.kubectl_of(which, arguments);
            assert!(ran.ok, "{which:?} {arguments:?}: {ran:?}");
            ran.out
        };
        let file = site
            .manifest("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {color: red}\n");
        assert!(kubectl(&["apply", "-f", &file]).contains("configmap/settings created"));
        assert_eq!(kubectl(&["get", "configmap", "settings", "-o", "jsonpath={.data.color}"]), "red");
        assert!(kubectl(&["get", "configmaps"]).contains("settings"), "a table");
        assert!(kubectl(&["describe", "configmap", "settings"]).contains("red"));
        let file = site.manifest(
            "map2.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {color: blue}\n",
        );
        let diff = site.kubectl_of(which, &["diff", "-f", &file]);
        assert!(diff.out.contains("+  color: blue"), "{diff:?}");
        assert!(kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file]).contains("serverside-applied"));
        kubectl(&[
            "patch",
            "configmap",
            "settings",
            "--type=json",
            "-p",
            r#"[{"op":"add","path":"/data/size","value":"9"}]"#,
        ]);
        kubectl(&["patch", "configmap", "settings", "--type=merge", "-p", r#"{"data":{"shape":"round"}}"#]);
        kubectl(&["label", "configmap", "settings", "seen=yes"]);
        assert_eq!(kubectl(&["get", "cm", "-l", "seen=yes", "-o", "name"]), "configmap/settings");
        assert_eq!(kubectl(&["get", "cm", "settings", "-o", "jsonpath={.data.size}{.data.shape}"]), "9round");
        assert_eq!(kubectl(&["auth", "can-i", "delete", "pods"]), "yes");
        assert!(kubectl(&["api-resources"]).contains("deployments"));
        assert!(kubectl(&["explain", "pod.spec.containers"]).contains("image"));
        assert!(kubectl(&["get", "nodes"]).contains("node1"));
        assert!(kubectl(&["version"]).contains("Server Version"));
        assert!(kubectl(&["get", "--raw", "/metrics"]).contains("apiserver_request_total"));
        assert!(kubectl(&["delete", "configmap", "settings"]).contains("deleted"));
    }
    let seen = site.request(|body| body["resource"] == "configmaps" && body["verb"] == "delete");
    assert_eq!((&seen["decision"]["verdict"], &seen["name"]), (&"allow".into(), &"settings".into()), "{seen}");
}

#[test]
fn logs_are_followed_line_by_line_and_masked() {
    use std::io::{BufRead, BufReader};
    let site = Site::new();
    let _gateway = site.attach();
    site.pod("talker");
    for which in Kubectl::BOTH {
        let mut command = site.kubectl_command(which, &["logs", "-f", "talker"]);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let lines: Vec<_> = BufReader::new(child.stdout.take().unwrap()).lines().take(3).map(Result::unwrap).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(lines.iter().all(|line| line == "tick card *******************"), "{lines:?}");
    }
}

#[test]
fn a_watch_shows_each_change_as_it_comes() {
    use std::io::{BufRead, BufReader};
    let site = Site::new();
    let _gateway = site.attach();
    for which in Kubectl::BOTH {
        site.admin(&["create", "configmap", "watched"]);
        let arguments = ["get", "configmap", "watched", "-w", "-o", "jsonpath={.data.step}{'\\n'}"];
        let mut child = site.kubectl_command(which, &arguments).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(lines.next().unwrap(), "");
        for step in ["one", "two", "three"] {
            site.admin(&["patch", "configmap", "watched", "-p", &format!("{{\"data\":{{\"step\":\"{step}\"}}}}")]);
            assert_eq!(lines.next().unwrap(), step);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        site.admin(&["delete", "configmap", "watched"]);
    }
}

/// A service whose address is one of the node's own: there is no kube-proxy.
const METRICS: &str = "
apiVersion: v1
kind: Service
metadata: {name: metrics, namespace: kube-system}
spec: {clusterIP: 10.96.0.50, ports: [{port: 443, targetPort: 443}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: metrics, namespace: kube-system}
subsets: [{addresses: [{ip: 10.99.0.2}], ports: [{port: 443}]}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: metrics, namespace: kube-system}
";

/// An aggregated API, which ends with it.
struct Metrics(std::process::Child);

impl Metrics {
    fn start(site: &Site) -> Self {
        let run = |program: &str, arguments: &[&str]| {
            let output = site.node.enter(program).args(arguments).output().unwrap();
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        };
        run("ip", &["addr", "add", "10.96.0.50/32", "dev", "lo"]);
        let file = |name: &str| site.node.home.join(name).display().to_string();
        let (certificate, key) = (file("metrics.crt"), file("metrics.key"));
        let subject = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        run("openssl", &[&subject[..], &["-subj", "/CN=metrics", "-keyout", &key, "-out", &certificate]].concat());
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kube/clients/metrics.py");
        let mut server = site.node.enter("/usr/bin/python3");
        Self(server.args([program, "10.96.0.50", &certificate, &key]).spawn().unwrap())
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

#[test]
fn an_aggregated_api_is_asked_through_the_gateway() {
    let _alone = DISCOVERY.lock();
    let site = Site::new();
    let _gateway = site.attach_with(GROUP, Some(CAREFUL));
    let _metrics = Metrics::start(&site);
    site.node.apply(METRICS);
    let within = std::time::Duration::from_secs(120);
    crate::wait::for_some_within(within, "the aggregated API", || {
        let output = site.node.admin_command(&["top", "node", "--no-headers"]).output().unwrap();
        output.status.success().then_some(())
    });
    for which in Kubectl::BOTH {
        let node = site.kubectl_of(which, &["top", "node", "--no-headers"]);
        assert!(node.ok && node.out.contains("node1") && node.out.contains("250m"), "{which:?} {node:?}");
        let pod = site.kubectl_of(which, &["top", "pod", "--no-headers"]);
        assert!(pod.ok && pod.out.contains("worker") && pod.out.contains("3Mi"), "{which:?} {pod:?}");
    }
    // It knows no dry runs: who decides is told so, and nothing is tried.
    let node = "/apis/metrics.k8s.io/v1beta1/nodes/node1";
    let patch = r#"{"metadata":{"labels":{"changed":"yes"}}}"#;
    let change = ["-X", "PATCH", "-H", "content-type: application/merge-patch+json", "-d", patch];
    let held = site.curl(&change, node);
    let shown = site.world.cli(&["approvals", "show", &ticket_of(&held.out)]).out;
    assert!(shown.contains("the API server is not known to understand dry runs of it"), "{shown}");
    assert!(!site.node.admin(&["get", "--raw", node]).contains("changed"));
    site.node.admin(&["delete", "apiservice", "v1beta1.metrics.k8s.io"]);
    let seen = site.request(|body| body["resource"] == "pods.metrics.k8s.io");
    assert_eq!((&seen["verb"], &seen["decision"]["verdict"]), (&"list".into(), &"allow".into()), "{seen}");
}
