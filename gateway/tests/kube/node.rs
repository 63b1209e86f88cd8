//! A Kubernetes node of our own.
//!
//! In: programs from the cache. Out: a running API server with a kubelet, in network, mount and process namespaces that end
//! when our end of its standard input does. One serves the whole run.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::world::World;

/// The address of its API server.
pub const ADDRESS: &str = "10.99.0.2";

/// The node.
pub struct Node {
    /// Its files: authorities, admin's kubeconfig, audit log.
    pub home: PathBuf,
    keeper: Child,
    cables: AtomicU32,
}

/// The one of this run.
pub fn node() -> &'static Node {
    static NODE: LazyLock<Node> = LazyLock::new(Node::start);
    &NODE
}

/// The newest folder of the cache's tools whose name begins so.
pub fn cached(prefix: &str) -> PathBuf {
    let chosen = std::env::var_os("GATEWAY_CACHE").filter(|value| !value.is_empty());
    let tools = chosen.map_or_else(|| PathBuf::from("/var/cache/gateway"), PathBuf::from).join("tools");
    let entries = fs::read_dir(&tools).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(prefix);
    entries
        .filter(named)
        .max()
        .unwrap_or_else(|| panic!("there is no {prefix}… in {}: run `cargo xtask setup`", tools.display()))
}

impl Node {
    fn start() -> Self {
        let home = std::env::temp_dir().join(format!("gateway-kube-{}", std::process::id()));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask/src/lab/kube.sh");
        let mut command = Command::new(script);
        command.arg("serve").arg(cached("kubernetes-")).arg(&home).current_dir("/");
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(keeper.stdout.take().unwrap());
        let ready = output.lines().map_while(Result::ok).any(|line| line == "ready");
        assert!(ready, "the node does not come up: {}", home.display());
        Self { home, keeper, cables: AtomicU32::new(0) }
    }

    /// Plugs it into a world, where it is at `ADDRESS`.
    pub fn plug_into(&self, world: &World) {
        self.lay(world, "");
    }

    /// Plugs it into the network of a process of that world, and nowhere else there.
    pub fn plug_behind(&self, world: &World, pid: u32) {
        self.lay(world, &format!("nsenter --target {pid} --net "));
    }

    /// Lays a cable to where a command runs that begins so.
    fn lay(&self, world: &World, at: &str) {
        let (number, pid) = (self.cables.fetch_add(1, Ordering::Relaxed), self.keeper.id());
        assert!(number < 250, "too many worlds for one node");
        world.sh(&format!(
            "{at}ip link add kube type veth peer name cable{number} netns {pid}
             {at}ip addr add 10.98.{number}.1/24 dev kube; {at}ip link set kube up
             nsenter --target {pid} --net sh -ec 'ip addr add 10.98.{number}.2/24 dev cable{number}
             ip link set cable{number} up'
             {at}ip route add {ADDRESS}/32 via 10.98.{number}.2; {at}ip route add 10.96.0.1/32 via 10.98.{number}.2"
        ));
    }

    /// The admin's kubectl, past the gateway; it must succeed.
    pub fn admin(&self, arguments: &[&str]) -> String {
        let output = self.admin_command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, not run yet.
    pub fn admin_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.enter(cached("kubectl-").join("bin/kubectl").to_str().unwrap());
        command.arg("--kubeconfig").arg(self.home.join("admin.kubeconfig"));
        command.args(arguments).env("HOME", "/nonexistent").stdin(Stdio::null());
        command
    }

    /// A program in the node's network, not run yet.
    pub fn enter(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(self.network()).arg("--").arg(program);
        command
    }

    /// How nsenter finds the node's network, which is that of its pods.
    pub fn network(&self) -> String {
        format!("--net=/proc/{}/ns/net", self.keeper.id())
    }

    /// Applies objects, as the admin.
    pub fn apply(&self, objects: &str) {
        let file = self.home.join(format!("apply-{}.yaml", uuid()));
        fs::write(&file, objects).unwrap();
        self.admin(&["apply", "-f", file.to_str().unwrap()]);
    }

    /// What the server itself noted of requests so far.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.home.join("audit.log")).unwrap();
        // The last line may still be written.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// A number that no other call of this process gets.
fn uuid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
