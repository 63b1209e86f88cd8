//! The Kubernetes part of the demo: an API server with the shop's namespace, and what an agent with stock kubectl is let
//! do there. In: a world. Out: the server, its target, its steps. No kubelet: nothing of it runs, so it is up in seconds.

use std::process::Command;

use anyhow::{Context, Result};

use super::screen::{Screen, Voice};
use super::servers::Server;
use super::story::{after, by_operator};
use super::world::{DATABASE, Side, World};
use crate::ebpf::cache_dir;
use crate::run::{checkout, quiet, until};
use crate::setup;

/// At the server alone, in a Secret.
const PASSWORD: &str = "correct-horse-battery";
/// Of the administrator's that `kube.sh` makes; the gateway has it, and the agent does not.
const TOKEN: &str = "token-of-gateway-one";
const TARGET: &str = r#"
[[target]]
name = "cluster"
protocol = "kubernetes"
addresses = ["ADDRESS"]
environment = "production"
  [target.tls]
  ca = "DIRECTORY/kubernetes/ca.crt"
  [target.credential]
  token = { file = "DIRECTORY/secret/cluster" }
"#;
const OBJECTS: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Secret
metadata: {name: payments, namespace: shop}
stringData: {user: shop, password: PASSWORD}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: shop/web:1.5}]}
";

/// etcd and an API server in the network namespace of the database.
pub(super) fn start(world: &World) -> Result<Server> {
    let tools = setup::kubernetes(&cache_dir()?);
    let mut command = world.command(Side::Database, checkout()?.join("xtask/src/lab/kube.sh"));
    command.arg("api").arg(tools).arg(world.directory().join("kubernetes"));
    Server::start(world, "kubernetes", &mut command)
}

/// Waits for it, and fills it past the gateway.
pub(super) fn fill(world: &World, server: &mut Server) -> Result<()> {
    until("the API server", || {
        server.check()?;
        Ok(server.said().contains("ready"))
    })?;
    let objects = world.file("secret/objects.yaml", &OBJECTS.replace("PASSWORD", PASSWORD))?;
    quiet(administrator(world)?.args(["create", "--validate=false", "-f"]).arg(objects)).map(drop)
}

/// kubectl past the gateway.
fn administrator(world: &World) -> Result<Command> {
    let mut kubectl = world.command(Side::Database, setup::kubectl(&cache_dir()?));
    kubectl.arg("--kubeconfig").arg(world.directory().join("kubernetes/admin.kubeconfig"));
    Ok(kubectl)
}

/// Its lines of gateway.toml.
pub(super) fn target(world: &World) -> Result<String> {
    world.file("secret/cluster", TOKEN)?;
    let folder = world.directory().display().to_string();
    Ok(TARGET.replace("ADDRESS", DATABASE).replace("DIRECTORY", &folder))
}

/// The agent's kubectl, and a kubeconfig that trusts the gateway and holds no credential.
pub(super) fn trust(world: &World) -> Result<()> {
    let script =
        "gateway trust --kubeconfig cluster --config \"$0/gateway.toml\" >\"$0/kubeconfig\"; ln -s \"$1\" /run/demo/";
    let mut shell = world.command(Side::Operator, "sh");
    shell.args(["-ec", script]).arg(world.directory()).arg(setup::kubectl(&cache_dir()?));
    quiet(&mut shell).map(drop)
}

fn typed(world: &World, screen: &Screen, arguments: &str) -> Result<String> {
    screen.typed(Voice::Agent, &format!("kubectl -n shop {arguments}"));
    let script = format!("exec kubectl -n shop {arguments} 2>&1");
    let output = world.command(Side::Agent, "timeout").args(["60", "sh", "-c", &script]).output();
    let seen = String::from_utf8_lossy(&output.context("cannot start kubectl")?.stdout).into_owned();
    screen.shows(&seen);
    Ok(seen)
}

/// What is read, what is hidden of it, and what is denied.
pub(super) fn secrets(world: &World, screen: &mut Screen) -> Result<()> {
    screen.step("The same of a Kubernetes API: kubectl reads, what Secrets hold is hidden, a namespace is not deleted");
    let seen = typed(world, screen, "get deployments,secrets")?;
    screen.check(seen.contains("deployment.apps/web") && seen.contains("secret/payments"), "it reads", &seen)?;
    let seen =
        typed(world, screen, "get secret payments -o go-template='{{.data.password | base64decode}}{{println}}'")?;
    let is_masked = seen.contains("[secret") && !seen.contains(PASSWORD);
    screen.check(is_masked, "it is told that there is a password, and not which", &seen)?;
    let seen = typed(world, screen, "delete namespace shop")?;
    screen.check(seen.contains("guard.kubernetes.cluster-objects"), "the error names the policy", &seen)?;
    let left = quiet(administrator(world)?.args(["get", "namespace", "shop", "-o", "jsonpath={.status.phase}"]))?;
    screen.check(left == "Active", "the namespace is there", &left)
}

/// What waits for a person, and goes through once.
pub(super) fn held(world: &World, screen: &mut Screen) -> Result<()> {
    screen.step("Scaling to zero waits for a person: the same request goes through once after the approval");
    let scale = "scale deployment web --replicas=0";
    let told = typed(world, screen, scale)?;
    screen.check(
        told.contains("guard.kubernetes.scale-to-zero"),
        "it is held, and the agent reads how to go on",
        &told,
    )?;
    let ticket = after(&told, "gateway approve ")?;
    by_operator(
        world,
        screen,
        &["approve", ticket.trim_end_matches([')', ';']), "--reason", "the shop is closed today"],
    )?;
    let done = typed(world, screen, scale)?;
    screen.check(done.contains("scaled"), "the agent's request has gone on", &done)?;
    let replicas = "jsonpath={.spec.replicas}";
    let count = quiet(administrator(world)?.args(["-n", "shop", "get", "deployment", "web", "-o", replicas]))?;
    screen.check(count == "0", "at the server there are no replicas", &count)
}
