//! A host with an attached cgroup and kubectl in it, and the node at the far end of a cable.
//!
//! In: what the configuration says beside the target. Out: what kubectl said inside, what reached the server, what the
//! journal has. Each has a namespace of its own, so that one node serves many at once.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use serde_json::Value;

use crate::gateway::Gateway;
use crate::node::{ADDRESS, Node, cached, node};
use crate::wait;
use crate::world::{As, World};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A world with a namespace in it.
pub struct Site {
    /// The host.
    pub world: World,
    /// The node.
    pub node: &'static Node,
    /// The namespace.
    pub namespace: String,
}

/// What a client did.
#[derive(Debug)]
pub struct Ran {
    /// Whether it ended well.
    pub ok: bool,
    /// Its output.
    pub out: String,
    /// Its errors.
    pub err: String,
}

/// Which kubectl.
#[derive(Debug, Clone, Copy)]
pub enum Kubectl {
    /// PyPI's.
    Today,
    /// Of the server's age.
    Old,
}

impl Kubectl {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Today, Self::Old];

    /// Where it is.
    pub fn program(self) -> PathBuf {
        match self {
            Self::Today => cached("kubectl-").join("bin/kubectl"),
            Self::Old => cached("kubernetes-").join("bin/kubectl"),
        }
    }
}

/// The credential of the gateway: a token of an administrator's.
pub const TOKEN: &str = "token-of-gateway-one";

impl Site {
    /// With the node, and a namespace of its own.
    pub fn new() -> Self {
        let (world, node) = (World::new(), node());
        node.plug_into(&world);
        let namespace = format!("site-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        node.admin(&["create", "namespace", &namespace]);
        Self { world, node, namespace }
    }

    /// The configuration that declares the server.
    pub fn target(&self, credential: &str) -> String {
        target(self.node, credential)
    }

    /// The gateway's own token, in a file.
    pub fn token(&self) -> String {
        let file = self.world.file("secret/token", &format!("{TOKEN}\n"));
        format!("token = {{ file = \"{}\" }}", file.display())
    }

    /// A gateway in force with the shipped policies.
    pub fn attach(&self) -> Gateway<'_> {
        self.attach_with("", None)
    }

    /// The same with more configuration, and with policies.
    pub fn attach_with(&self, more: &str, policies: Option<&str>) -> Gateway<'_> {
        let target = self.target(&self.token());
        self.attach_to(&format!("{more}\n{target}"), policies)
    }

    /// With this target.
    pub fn attach_to(&self, configuration: &str, policies: Option<&str>) -> Gateway<'_> {
        let file = self.world.file("gateway.toml", &format!("version = 1\n{configuration}"));
        let mut arguments = vec!["--config".to_owned(), file.display().to_string()];
        if let Some(policies) = policies {
            let folder = self.world.file("policies/site.cedar", policies);
            arguments.extend(["--policies".to_owned(), folder.parent().unwrap().display().to_string()]);
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let gateway = self.world.attach(&arguments);
        let kubeconfig = self.world.cli(&["trust", "--kubeconfig", "prod", "--config", file.to_str().unwrap()]);
        assert!(kubeconfig.status.success(), "{kubeconfig:?}");
        self.world.file("kubeconfig", &kubeconfig.out);
        gateway
    }

    /// A program inside, as somebody who is not root.
    pub fn command(&self, program: &[&str]) -> Command {
        let cgroup = self.world.cgroup();
        let mut command = self.world.command_as(As { cgroup: Some(&cgroup), ..As::default() });
        let kubeconfig = self.world.directory().join("kubeconfig");
        command.args(["env", "-i", "-C", "/run/home", "PATH=/usr/bin:/bin", "HOME=/run/home", "LC_ALL=C.UTF-8"]);
        command.arg(format!("KUBECONFIG={}", kubeconfig.display()));
        command.args(program).stdin(Stdio::null());
        command
    }

    /// kubectl inside, in the site's namespace, not run yet.
    pub fn kubectl_command(&self, which: Kubectl, arguments: &[&str]) -> Command {
        let program = which.program();
        let mut command = self.command(&["timeout", "60", program.to_str().unwrap(), "--namespace", &self.namespace]);
        command.args(arguments);
        command
    }

    /// The same with a variable.
    pub fn kubectl_with(&self, which: Kubectl, variable: &str, arguments: &[&str]) -> Command {
        let command = self.kubectl_command(which, arguments);
        // Before the program's own arguments there is `env`: its variables come first.
        let all: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let at = all.iter().position(|word| word == "LC_ALL=C.UTF-8").unwrap();
        let mut with = Command::new(command.get_program());
        with.args(&all[..at]).arg(variable).args(&all[at..]).stdin(Stdio::null());
        with
    }

    /// kubectl inside.
    pub fn kubectl_of(&self, which: Kubectl, arguments: &[&str]) -> Ran {
        ran(&mut self.kubectl_command(which, arguments))
    }

    /// Today's kubectl inside.
    pub fn kubectl(&self, arguments: &[&str]) -> Ran {
        self.kubectl_of(Kubectl::Today, arguments)
    }

    /// A file that kubectl inside can read.
    pub fn manifest(&self, name: &str, text: &str) -> String {
        self.world.file(name, &text.replace("NAMESPACE", &self.namespace)).display().to_string()
    }

    /// The gateway's authority, in a file.
    pub fn ca(&self) -> PathBuf {
        let ca = self.world.directory().join("gateway-ca.pem");
        if !ca.exists() {
            fs::write(&ca, self.world.cli(&["trust", "--ca", "--config", self.config().to_str().unwrap()]).out)
                .unwrap();
        }
        ca
    }

    /// curl inside, which trusts the gateway.
    pub fn curl(&self, arguments: &[&str], path: &str) -> Ran {
        self.curl_at(6443, arguments, path)
    }

    /// The same at another port.
    pub fn curl_at(&self, port: u16, arguments: &[&str], path: &str) -> Ran {
        let ca = self.ca();
        let url = format!("https://{ADDRESS}:{port}{path}");
        let mut command =
            self.command(&["timeout", "60", "curl", "-sS", "--path-as-is", "--cacert", ca.to_str().unwrap()]);
        ran(command.args(arguments).arg(url))
    }

    fn config(&self) -> PathBuf {
        self.world.directory().join("gateway.toml")
    }

    /// The admin's kubectl in the site's namespace, past the gateway.
    pub fn admin(&self, arguments: &[&str]) -> String {
        self.node.admin(&[&["--namespace", &self.namespace], arguments].concat())
    }

    /// Waits for a journaled request.
    pub fn request(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.world.event("kubernetes.request", wanted)
    }

    /// What the server noted of requests that name this.
    pub fn noted(&self, uri: &str) -> Vec<Value> {
        let of_uri = |event: &Value| event["requestURI"].as_str().is_some_and(|text| text.contains(uri));
        self.node.audit().into_iter().filter(of_uri).collect()
    }

    /// A pod of the namespace that runs.
    pub fn pod(&self, name: &str) {
        self.node.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {}, labels: {{app: {name}}}}}\n\
             spec:\n  hostNetwork: true\n  nodeName: node1\n  automountServiceAccountToken: false\n  \
             terminationGracePeriodSeconds: 0\n  tolerations: [{{operator: Exists}}]\n  containers:\n  \
             - {{name: app, image: docker.io/test/app:1, imagePullPolicy: Never}}\n",
            self.namespace
        ));
        wait::for_some_within(std::time::Duration::from_secs(120), "a running pod", || {
            (self.admin(&["get", "pod", name, "-o", "jsonpath={.status.phase}"]) == "Running").then_some(())
        });
    }
}

/// The API server's own handlers of today in front of the lab's kubelet; it ends with it.
pub struct Front {
    /// Where it listens: another one for each.
    pub port: u16,
    program: Child,
    said: PathBuf,
}

impl Front {
    /// In the network of the node.
    pub fn start(site: &Site) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(6444);
        let said = site.world.directory().join("front.log");
        let mut front = site.node.enter(cached("kube-go-").join("front").to_str().unwrap());
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        front.arg(&site.node.home).arg(format!("{ADDRESS}:{port}")).stdout(fs::File::create(&said).unwrap());
        let front = Self { port, program: front.spawn().unwrap(), said };
        wait::until("the front", || front.said().contains("ready"));
        front
    }

    /// What it was asked for.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = (self.program.kill(), self.program.wait());
    }
}

/// What declares the server of a node.
pub fn target(node: &Node, credential: &str) -> String {
    format!(
        "[[target]]\nname = \"prod\"\nprotocol = \"kubernetes\"\naddresses = [\"{ADDRESS}\"]\nenvironment = \"production\"\n\
         [target.tls]\nca = \"{}\"\n[target.credential]\n{credential}\n",
        node.home.join("ca.crt").display()
    )
}

/// Runs a command to its end.
pub fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
    Ran { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}
