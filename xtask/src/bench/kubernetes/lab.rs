//! The three ways to one API server, started and stopped here. In: a world. Out: clients that reach the server by each of
//! them. It must never give one way a token, a protocol or a cipher that another does not have.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::super::report::Ways;
use super::super::servers::gateway;
use super::super::world::{Place, Running, World};
use super::{WAYS, Way};
use crate::ebpf::cache_dir;
use crate::run::{checkout, quiet, until};
use crate::setup;

/// Where the lab's API server listens.
const SERVER: &str = "10.99.0.2";
const DIRECT: &str = "10.99.0.2:6443";
const HAPROXY: &str = "127.0.0.1:7443";
/// How often pods are asked for.
const ATTEMPTS: u32 = 5;
/// An administrator's, which the lab knows.
const TOKEN: &str = "token-of-gateway-one";

/// As in Debian's package, but for TLS on both sides. HTTP/1.1 on both, as the gateway does for a client of HTTP/1.1: of an
/// answer in HTTP/2 HAProxy makes one without a reason phrase, and h2load counts the status of none such.
const HAPROXY_CONFIG: &str = "
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend near
  bind 127.0.0.1:7443 ssl crt HOME/haproxy.pem alpn h2,http/1.1
  default_backend far
backend far
  server far 10.99.0.2:6443 ssl verify required ca-file HOME/ca.crt alpn http/1.1
";
/// Like any that a controller makes, with what detectors look at.
const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"many-","labels":{"app":"many","team":"shop"},
"annotations":{"note":"made for numbers"}},"spec":{"nodeSelector":{"no":"node"},"automountServiceAccountToken":false,"containers":[{"name":"app",
"image":"registry.acme.example/shop/web:1.2.3","env":[{"name":"LEVEL","value":"info"},{"name":"HOME","value":"/srv"}],
"resources":{"requests":{"cpu":"10m","memory":"16Mi"}}}]}}"#;

/// One of the two variables of each.
const MASKING: &str = "version = 1\n[[field]]\nkind = \"pods\"\npaths = [\"spec.containers[*].env[?name =~ '^(HOME|.*TOKEN)$'].value\"]\nclass = \"secret\"\n";

/// A node, which ends with its input.
struct Node {
    keeper: Child,
    home: PathBuf,
}

/// Everything that runs; fields end in this order, the node last.
pub(super) struct Lab<'w> {
    gateway: Running,
    engine: u32,
    haproxy: Running,
    node: Node,
    world: &'w World,
}

impl Node {
    fn start() -> Result<Self> {
        let home = std::env::temp_dir().join(format!("gateway-bench-kube-{}", std::process::id()));
        let tools = setup::kubernetes(&cache_dir()?);
        let mut command = Command::new(checkout()?.join("xtask/src/lab/kube.sh"));
        command.arg("serve").arg(&tools).arg(&home).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().context("cannot start the node")?;
        let output = BufReader::new(keeper.stdout.take().context("no output of the node")?);
        let ready = output.lines().map_while(Result::ok).any(|line| line == "ready");
        let node = Self { keeper, home };
        ensure!(ready, "the node does not come up: {}", node.home.display());
        Ok(node)
    }

    fn file(&self, name: &str) -> String {
        self.home.join(name).display().to_string()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

impl<'w> Lab<'w> {
    /// Starts all of it, with so many pods, and sees that the gateway judges.
    pub(super) fn start(world: &'w World, pods: usize) -> Result<Self> {
        let node = Node::start()?;
        lay_cable(world, &node)?;
        let pem = fs::read_to_string(node.file("apiserver.crt"))? + &fs::read_to_string(node.file("apiserver.key"))?;
        let home = world.file("haproxy.pem", &pem)?.with_file_name("");
        fs::copy(node.file("ca.crt"), home.join("ca.crt")).context("cannot copy the authority")?;
        let config = HAPROXY_CONFIG.replace("HOME/", &home.display().to_string());
        let mut haproxy = world.command("/usr/sbin/haproxy");
        haproxy.arg("-db").arg("-f").arg(world.file("haproxy.cfg", &config)?);
        let haproxy = Running::start("haproxy", &mut haproxy, &world.log("haproxy"))?;
        let (token, masking) = (world.file("token", TOKEN)?, world.file("masking.toml", MASKING)?);
        let (gateway, engine) = gateway(
            world,
            &format!(
                "version = 1\n[masking]\nfile = {masking:?}\n[policy]\ndisable = [\"guard.kubernetes.commands\"]\n[[target]]\nname = \"lab\"\n\
                 protocol = \"kubernetes\"\naddresses = [\"{SERVER}\"]\n[target.tls]\nca = {:?}\n[target.credential]\n\
                 token = {{ file = {token:?} }}\n",
                home.join("ca.crt")
            ),
        )?;
        let lab = Self { gateway, engine, haproxy, node, world };
        lab.fill(pods)?;
        for way in WAYS {
            let name = format!("an answer by way of {}", way.name());
            until(&name, || Ok(lab.fetch(way, "/api/v1/namespaces/default/pods/app", &[])?.code == 200))?;
        }
        let denied = lab.fetch(Way::Gateway, "/api/v1/namespaces/kube-system", &["-X", "DELETE"])?;
        ensure!(denied.code == 403, "the gateway let the delete of a namespace through: {}", denied.code);
        Ok(lab)
    }

    /// A small object to get, and pods that no node wants.
    fn fill(&self, pods: usize) -> Result<()> {
        let file = |name: &str, text: &str| Ok::<_, anyhow::Error>(self.world.file(name, text)?.display().to_string());
        let map = r#"{"metadata":{"name":"small"},"data":{"level":"info"}}"#;
        let json = ["-H", "content-type: application/json", "-d"];
        let maps = "/api/v1/namespaces/default/configmaps";
        let made = self.fetch(Way::Direct, maps, &[&json[..], &[map]].concat())?;
        ensure!(made.code == 201, "no config map: {}", made.code);
        let pod = file("pod.json", POD)?;
        let mut made = 0;
        // What a busy server turned away is asked for again.
        for _ in 0..ATTEMPTS {
            let (left, at_once) = (pods - made, (pods - made).min(4));
            let options = ["-n", &left.to_string(), "-c", &at_once.to_string(), "-d", &pod];
            made += self.load(Way::Direct, "/api/v1/namespaces/default/pods", &options)?.done;
            if made == pods {
                return Ok(());
            }
        }
        bail!("{made} of {pods} pods were made")
    }

    /// One request by curl, the answer thrown away.
    pub(super) fn fetch(&self, way: Way, path: &str, options: &[&str]) -> Result<Fetched> {
        let mut curl = self.client(way, "curl");
        // Each way's certificate is of an authority that its client knows; here only the time counts.
        curl.args(["-sk", "-o", "/dev/null", "-w", "%{http_code} %{size_download} %{time_total}"]);
        curl.args(["-H", &bearer(), "-H", "accept: application/json"]).args(options).arg(url(way, path));
        let said = quiet(&mut curl)?;
        let mut words = said.split_whitespace();
        let mut next = || words.next().context("curl said too little");
        Ok(Fetched { code: next()?.parse()?, bytes: next()?.parse()?, seconds: next()?.parse()? })
    }

    /// Many requests by h2load, over HTTP/1.1 and connections that stay.
    pub(super) fn load(&self, way: Way, path: &str, options: &[&str]) -> Result<Load> {
        let said = quiet(&mut self.loader(way, path, options))?;
        let number = |before: &str, after: &str| {
            let (_, rest) = said.split_once(before)?;
            rest.split_once(after)?.0.rsplit([' ', ',']).next()
        };
        let done = number("status codes:", " 2xx").with_context(|| format!("no answers counted: {said}"))?;
        let a_second = number("finished in", " req/s").with_context(|| format!("no rate: {said}"))?;
        let (done, a_second) = (done.parse()?, a_second.parse()?);
        Ok(Load { done, a_second, said })
    }

    /// The same, not run yet.
    pub(super) fn loader(&self, way: Way, path: &str, options: &[&str]) -> Command {
        let mut command = self.client(way, "h2load");
        command.args(["--h1", "-H", &bearer(), "-H", "accept: application/json"]);
        command.args(["-H", "content-type: application/json"]).args(options).arg(url(way, path));
        command
    }

    /// A command that runs in the node's pod and repeats its lines.
    pub(super) fn echo(&self, way: Way) -> Result<Command> {
        let mut kubectl = self.client(way, setup::kubectl(&cache_dir()?));
        kubectl.args(["--insecure-skip-tls-verify", "--token", TOKEN, "--server", &url(way, "")]);
        // Nobody's home has a word in it.
        kubectl.args(["--kubeconfig", "/dev/null", "exec", "-i", "app", "--", "cat"]).env("HOME", "/");
        Ok(kubectl)
    }

    fn client(&self, way: Way, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let place = if way == Way::Gateway { Place::Inside } else { Place::Beside };
        self.world.client(place, program)
    }

    /// The process that stands in between, where one does.
    pub(super) fn proxy(&self, way: Way) -> Option<u32> {
        match way {
            Way::Direct => None,
            Way::HaProxy => Some(self.haproxy.pid()),
            Way::Gateway => Some(self.engine),
        }
    }

    /// Errs when one of them has ended: its numbers would be those of something else.
    pub(super) fn check(mut self) -> Result<()> {
        self.gateway.check()?;
        self.haproxy.check()?;
        ensure!(self.node.keeper.try_wait()?.is_none(), "the node ended");
        Ok(())
    }
}

/// What curl measured.
pub(super) struct Fetched {
    pub(super) code: u32,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
}

/// What h2load counted.
pub(super) struct Load {
    /// Answered with what was asked for.
    pub(super) done: usize,
    pub(super) a_second: f64,
    /// All that it printed.
    pub(super) said: String,
}

/// Those of the gateway mean the server itself.
fn url(way: Way, path: &str) -> String {
    let host = match way {
        Way::Direct | Way::Gateway => DIRECT,
        Way::HaProxy => HAPROXY,
    };
    format!("https://{host}{path}")
}

fn bearer() -> String {
    format!("authorization: Bearer {TOKEN}")
}

/// Between the world and the node.
fn lay_cable(world: &World, node: &Node) -> Result<()> {
    let cable = r#"ip link add kube type veth peer name cable netns "$0"
                   ip addr add 10.98.0.1/24 dev kube; ip link set kube up
                   nsenter --target "$0" --net sh -ec "ip addr add 10.98.0.2/24 dev cable; ip link set cable up"
                   ip route add "$1/32" via 10.98.0.2"#;
    quiet(world.command("sh").args(["-ec", cable, &node.keeper.id().to_string(), SERVER]))?;
    Ok(())
}
