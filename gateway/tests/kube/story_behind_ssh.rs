//! A Kubernetes API that is reached through an SSH server alone: judged, masked and logged in to like any other.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

use crate::host::{Host, Ran, ran};
use crate::node::{ADDRESS, node};
use crate::site::{Kubectl, TOKEN, target};
use crate::wait;

/// The local port of the forward.
const PORT: u16 = 16_443;

/// An ssh that forwards, until it is dropped.
struct Forwarding(Child);

impl Drop for Forwarding {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_api_behind_a_server_is_judged_masked_and_logged_in_to() {
    let (host, node) = (Host::new(), node());
    node.plug_behind(&host.world, host.pid());
    assert!(host.world.sh(&format!("ip route get {ADDRESS} 2>&1 || true")).contains("unreachable"), "another way");
    let namespace = format!("forward-{}", std::process::id());
    node.admin(&["create", "namespace", &namespace]);
    node.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: db, namespace: {namespace}}}\nstringData: {{password: hunter2}}\n"
    ));
    let token = host.world.file("secret/token", &format!("{TOKEN}\n"));
    let target = target(node, &format!("token = {{ file = \"{}\" }}", token.display()));
    let _gateway = host.attach_with(&(host.target() + &target), &[]);
    let config = host.world.directory().join("gateway.toml").display().to_string();
    let kubeconfig = host.world.cli(&["trust", "--kubeconfig", "prod", "--config", &config]).out;
    let kubeconfig = kubeconfig.replace(&format!("https://{ADDRESS}:6443"), &format!("https://127.0.0.1:{PORT}"));
    let file = host.world.file("kubeconfig", &kubeconfig);
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let forward = format!("{PORT}:{ADDRESS}:6443");
    let mut ssh = host.ssh_command(&["-N", "-o", "ExitOnForwardFailure=yes", "-L", &forward, "--"]);
    let _forwarding = Forwarding(ssh.stdout(Stdio::null()).spawn().unwrap());
    wait::until("the local port", || host.world.sh(&format!("ss -Hltn sport = :{PORT}")).contains("LISTEN"));
    let kubectl = |arguments: &[&str]| -> Ran {
        let program = Kubectl::Today.program().display().to_string();
        let file = file.display().to_string();
        let before = ["timeout", "60", &program, "--kubeconfig", &file, "--tls-server-name", ADDRESS, "-n", &namespace];
        ran(&mut host.command(&[&before[..], arguments].concat()))
    };
    let shown = kubectl(&["get", "secret", "db", "-o", "jsonpath={.data.password}"]);
    // As wide as what is hidden is no matter here; that it is not the value is.
    assert!(shown.code == Some(0) && !shown.out.is_empty() && shown.out != "aHVudGVyMg==", "{shown:?}");
    assert!(kubectl(&["get", "nodes"]).out.contains("node1"));
    let denied = kubectl(&["delete", "namespace", &namespace]);
    assert!(denied.code != Some(0) && denied.err.contains("guard.kubernetes.cluster-objects"), "{denied:?}");
    node.admin(&["get", "namespace", &namespace]);
    let start = |name: &str| {
        let events = host.world.events("session.start").into_iter();
        events.into_iter().find(|event| event["body"]["destination"]["target"] == name).unwrap()
    };
    let (around, inside) = (start("web"), start("prod"));
    assert_eq!(inside["body"]["parent"], around["session"], "{inside}");
    assert_eq!(inside["body"]["who"]["workload"], around["body"]["who"]["workload"]);
    let used = host.world.event("credential.used", |body| body["target"] == "prod");
    assert!(used["server_identity"].is_string() || used["login"].is_string(), "{used}");
}
