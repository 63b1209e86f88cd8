//! Request lines as we read them, beside what the real API server notes of the very same in its audit log, and what the
//! library of today's server makes of them.

use std::process::Stdio;

use gateway::protocol::kubernetes::uri::RequestInfo;
use serde_json::Value;

use crate::node::{ADDRESS, Node, cached, node};
use crate::wait;

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// Paths that are asked with every method.
const PATHS: [&str; 26] = [
    "/api/v1/pods",
    "/api/v1/namespaces/default/pods",
    "/api/v1/namespaces/default/pods/nobody",
    "/api/v1/namespaces/default/pods/nobody/status",
    "/api/v1/namespaces/default/pods/nobody/log",
    "/api/v1/namespaces/default/pods/nobody/eviction",
    "/api/v1/namespaces/default/pods/nobody/ephemeralcontainers",
    "/api/v1/namespaces/default/secrets/nobody",
    "/api/v1/namespaces/default/services/nobody/proxy/a/b",
    "/api/v1/namespaces/default/serviceaccounts/nobody/token",
    "/api/v1/namespaces/nobody",
    "/api/v1/namespaces/nobody/status",
    "/api/v1/namespaces/nobody/finalize",
    "/api/v1/namespaces/nobody/unknown",
    "/api/v1/nodes/nobody",
    "/api/v1/nodes/nobody/proxy/pods",
    "/apis/apps/v1/namespaces/default/deployments/nobody",
    "/apis/apps/v1/namespaces/default/deployments/nobody/scale",
    "/apis/apps/v1/deployments",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles/nobody",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anobody",
    "/apis/unknown.example/v1/namespaces/default/things/nobody/part/more",
    "/apis/certificates.k8s.io/v1/certificatesigningrequests/nobody/approval",
    "/apis/apps",
    "/api/v1",
    "/healthz/nothing",
];

/// Lines that are asked once, of those with a query and odd ones.
const LINES: [(&str, &str); 40] = [
    ("GET", "/api/v1/namespaces/default/pods?watch=true&timeoutSeconds=1"),
    ("GET", "/api/v1/namespaces/default/pods?watch&timeoutSeconds=1"),
    ("GET", "/api/v1/namespaces/default/pods?watch=&timeoutSeconds=1"),
    ("GET", "/api/v1/namespaces/default/pods?watch=1&timeoutSeconds=1"),
    ("GET", "/api/v1/namespaces/default/pods?watch=0"),
    ("GET", "/api/v1/namespaces/default/pods?watch=false"),
    ("GET", "/api/v1/namespaces/default/pods?watch=False"),
    ("GET", "/api/v1/namespaces/default/pods?watch=yes&timeoutSeconds=1"),
    ("GET", "/api/v1/namespaces/default/pods?%77atch=true&timeoutSeconds=1"),
    ("GET", "/api/v1/namespaces/default/pods?Watch=true"),
    ("GET", "/api/v1/namespaces/default/pods/nobody?watch=true"),
    ("GET", "/api/v1/namespaces/default/pods?fieldSelector=metadata.name%3Dnobody"),
    ("GET", "/api/v1/namespaces/default/pods?fieldSelector=metadata.name=nobody"),
    ("GET", "/api/v1/namespaces/default/pods?fieldSelector=metadata.name==nobody"),
    ("GET", "/api/v1/namespaces/default/pods?fieldSelector=metadata.name!=nobody"),
    ("GET", "/api/v1/namespaces/default/pods?fieldSelector=spec.nodeName%3Dn,metadata.name%3Dnobody"),
    ("GET", "/api/v1/namespaces/default/pods?fieldSelector=metadata.name%3Dnobody&watch=1&timeoutSeconds=1"),
    ("GET", "/api/v1/namespaces/default/pods?fieldSelector=metadata.namespace%3Ddefault"),
    ("GET", "/api/v1/namespaces/default/pods?fieldSelector="),
    ("GET", "/api/v1/namespaces/default/pods?limit=1"),
    ("GET", "/api/v1/namespaces/default/pods?labelSelector=a%3Db"),
    ("DELETE", "/api/v1/namespaces/default/pods?fieldSelector=metadata.name%3Dnobody"),
    ("DELETE", "/api/v1/namespaces/default/pods?labelSelector=nobody%3Dnobody"),
    ("GET", "/api/v1/watch/namespaces/default/pods?timeoutSeconds=1"),
    ("GET", "/api/v1/watch/namespaces/default/pods/nobody?timeoutSeconds=1"),
    ("GET", "/api/v1/watch/pods?timeoutSeconds=1"),
    ("GET", "/apis/apps/v1/watch/deployments?timeoutSeconds=1"),
    ("GET", "/api/v1/proxy/namespaces/default/services/nobody"),
    ("GET", "/api/v1/proxy/nodes/nobody/a/b"),
    ("GET", "/api/v1/namespaces/default/pods/"),
    ("GET", "/api/v1/namespaces/default/pods/nobody/"),
    ("GET", "/api/v1/PODS"),
    ("GET", "/API/v1/pods"),
    ("GET", "/apis/APPS/v1/namespaces/default/deployments"),
    ("GET", "/api/V1/pods"),
    ("GET", "/api/v1/namespaces"),
    ("GET", "/api/v1/namespaces/"),
    ("GET", "/api/v1/namespaces/default/namespaces/nobody"),
    ("POST", "/api/v1/namespaces/default/pods/nobody/exec?command=id&command=-u"),
    ("GET", "/api/v1/namespaces/default/pods/nobody/attach"),
];

fn lines() -> Vec<(String, String)> {
    let all = PATHS.iter().flat_map(|path| METHODS.iter().map(move |method| (*method, *path)));
    all.chain(LINES).map(|(method, path)| (method.to_owned(), path.to_owned())).collect()
}

/// Sends them all, each under an audit id of its own.
fn send(node: &Node, lines: &[(String, String)]) {
    let mut config = Vec::new();
    for (number, (method, path)) in lines.iter().enumerate() {
        let head = if method == "HEAD" { "head\n".to_owned() } else { format!("request = \"{method}\"\n") };
        let body = if matches!(method.as_str(), "POST" | "PUT" | "PATCH") {
            "data = \"{}\"\nheader = \"content-type: application/json\"\n"
        } else {
            ""
        };
        config.push(format!(
            "url = \"https://{ADDRESS}:6443{path}\"\n{head}{body}header = \"audit-id: oracle-{number}\"\npath-as-is\n\
             cacert = \"{home}/ca.crt\"\ncert = \"{home}/admin.crt\"\nkey = \"{home}/admin.key\"\noutput = \"/dev/null\"\n\
             silent\nmax-time = 20\n",
            home = node.home.display()
        ));
    }
    let file = node.home.join("oracle.curl");
    std::fs::write(&file, config.join("next\n")).unwrap();
    let mut curl = node.enter("curl");
    let status = curl.arg("--config").arg(&file).stdout(Stdio::null()).status().unwrap();
    // Its status is that of the last request.
    assert!(status.code().is_some_and(|code| code != 2), "curl did not understand its configuration");
}

fn of_server(event: &Value) -> [String; 7] {
    let of = |name: &str| event["objectRef"][name].as_str().unwrap_or_default().to_owned();
    let verb = event["verb"].as_str().unwrap_or_default().to_owned();
    [verb, of("apiGroup"), of("apiVersion"), of("namespace"), of("resource"), of("name"), of("subresource")]
}

fn ours(method: &str, path: &str) -> [String; 7] {
    let info = RequestInfo::read(method, path).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let of = info.resource.unwrap_or_default();
    [info.verb.name().to_owned(), of.group, of.version, of.namespace, of.resource, of.name, of.subresource]
}

#[test]
fn request_lines_are_read_as_the_servers_audit_log_has_them() {
    let (node, lines) = (node(), lines());
    assert!(lines.len() >= 150, "{}", lines.len());
    // The server refuses these, or calls them a watch, before it looks for a route; so they are no lines for here.
    let lines: Vec<_> = lines.into_iter().filter(|(method, path)| RequestInfo::read(method, path).is_ok()).collect();
    assert!(lines.len() >= 150, "{}", lines.len());
    send(node, &lines);
    let find = |number: usize| {
        let id = format!("oracle-{number}");
        node.audit().into_iter().find(|event| event["auditID"] == id.as_str())
    };
    wait::for_some_within(std::time::Duration::from_secs(120), "the last line in the audit log", || {
        find(lines.len() - 1)
    });
    let events = node.audit();
    for (number, (method, path)) in lines.iter().enumerate() {
        let id = format!("oracle-{number}");
        let event = events.iter().find(|event| event["auditID"] == id.as_str());
        let event = event.unwrap_or_else(|| panic!("{method} {path}: the server noted nothing"));
        assert_eq!(of_server(event), ours(method, path), "{method} {path}: {event}");
    }
}

/// Parts of paths that mean something at one place or another.
const WORDS: [&str; 8] = ["namespaces", "pods", "x", "status", "finalize", "proxy", "watch", "log"];
const PREFIXES: [&str; 6] = ["/api", "/api/v1", "/apis", "/apis/apps/v1", "/apis/example.org/v1beta1", "/healthz"];

/// Every path of up to four of those words.
fn combined() -> Vec<String> {
    let mut paths: Vec<String> = PREFIXES.iter().map(|prefix| (*prefix).to_owned()).collect();
    let mut longest = 0..paths.len();
    for _ in 0..4 {
        let longer: Vec<_> =
            paths[longest].iter().flat_map(|path| WORDS.iter().map(move |word| format!("{path}/{word}"))).collect();
        longest = paths.len()..paths.len() + longer.len();
        paths.extend(longer);
    }
    paths
}

/// What the library makes of lines.
fn library(lines: &[(String, String)]) -> Vec<String> {
    let mut program = std::process::Command::new(cached("kube-go-").join("lines"));
    let mut program = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let text: String = lines.iter().map(|(method, path)| format!("{method} {path}\n")).collect();
    let mut input = program.stdin.take().unwrap();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut input, text.as_bytes()));
    let output = program.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn request_lines_are_read_as_the_library_of_todays_server_reads_them() {
    let every = |path: String| METHODS.map(|method| (method.to_owned(), path.clone()));
    let lines: Vec<_> = lines().into_iter().chain(combined().into_iter().flat_map(every)).collect();
    let theirs = library(&lines);
    assert_eq!(lines.len(), theirs.len());
    let (mut read, mut differs) = (0, Vec::new());
    for ((method, path), theirs) in lines.iter().zip(theirs) {
        // What is refused here need not be read as anybody reads it.
        if RequestInfo::read(method, path).is_ok() {
            read += 1;
            let ours = ours(method, path).join("\t");
            if ours != theirs {
                differs.push(format!("{method} {path}\n  ours   {ours}\n  theirs {theirs}"));
            }
        }
    }
    assert!(
        read > 100_000 && differs.is_empty(),
        "{} of {read}:\n{}",
        differs.len(),
        differs[..differs.len().min(20)].join("\n")
    );
}
