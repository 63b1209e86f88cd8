//! What is only reached through the server of a host: another SSH server, a web server, a PostgreSQL.
//!
//! In: a host. Out: their addresses, and targets for them. The gateway has no route to any of them.

use std::fs;
use std::process::{Child, Stdio};

use crate::cluster::{self, Cluster, NAME};
use crate::host::{CONFIG, Host, sshd};
use crate::wait;

/// Where the second SSH server and the web server are.
pub const INNER: &str = "10.78.0.2";
/// The port of the web server.
pub const WEB: u16 = 8080;

/// The network behind a host.
pub struct Behind {
    sshd: Child,
    web: Child,
    /// A target for the second SSH server.
    pub target: String,
}

impl Behind {
    /// Lays it.
    pub fn new(host: &Host) -> Self {
        let dir = host.world.directory().join("sshd");
        let at = |name: &str| dir.join(name).display().to_string();
        host.world.sh(&format!("ssh-keygen -q -t ed25519 -N '' -f {}", at("inner_key")));
        let config = CONFIG.replace("{dir}/host_key", &at("inner_key")).replace("{dir}", &dir.display().to_string());
        let config = host.world.file("sshd/inner_config", &config);
        let sshd = sshd(&host.world, &config, &dir.join("inner_log"));
        let (outer, inner) = (host.pid(), sshd.id());
        host.world.sh(&format!(
            "nsenter --target {outer} --net sh -ec 'ip link add inner type veth peer name cable netns {inner}
             ip addr add 10.78.0.1/24 dev inner; ip link set inner up'
             nsenter --target {inner} --net sh -ec 'ip addr add {INNER}/24 dev cable; ip link set cable up'
             mkdir -p {0}; echo served > {0}/page",
            at("www")
        ));
        wait::until("the second sshd", || fs::read_to_string(dir.join("inner_log")).unwrap().contains("listening"));
        let mut web = host.world.command("nsenter");
        web.args(["--target", &inner.to_string(), "--net", "/usr/bin/python3", "-m", "http.server", &WEB.to_string()]);
        let web = web.args(["--bind", INNER, "--directory", &at("www")]).stdin(Stdio::null());
        let web = web.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let key = fs::read_to_string(dir.join("inner_key.pub")).unwrap();
        let key: Vec<_> = key.split(' ').take(2).collect();
        let target = format!(
            "[[target]]\nname = \"inner\"\nprotocol = \"ssh\"\naddresses = [\"{INNER}\", \"inner.test\"]\n\
             [target.ssh]\nhost_keys = [\"{}\"]\n[target.credential]\nuser = \"deploy\"\nkey = {{ file = \"{}\" }}\n",
            key.join(" "),
            at("login_key")
        );
        Self { sshd, web, target }
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        for child in [&mut self.web, &mut self.sshd] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A PostgreSQL behind a host.
pub struct Database {
    /// The server.
    pub cluster: &'static Cluster,
    /// Where it is.
    pub address: String,
}

impl Database {
    /// Lays a cable to it.
    pub fn new(host: &Host) -> Self {
        let cluster = cluster::remote();
        let (number, outer, pid) = (cluster.next_cable(), host.pid(), cluster.pid());
        let network = format!("10.79.{number}");
        host.world.sh(&format!(
            "nsenter --target {outer} --net sh -ec 'ip link add db type veth peer name cable{number} netns {pid}
             ip addr add {network}.1/24 dev db; ip link set db up'
             nsenter --target {pid} --net sh -ec 'ip addr add {network}.2/24 dev cable{number}
             ip link set cable{number} up'"
        ));
        Self { cluster, address: format!("{network}.2") }
    }

    /// A target for it, verified and logged in to as these lines say.
    pub fn target(&self, host: &Host, tls: &str, credential: &str) -> String {
        let ca = host.world.file("ca.pem", &self.cluster.ca);
        let password = host.world.file("secret/database", cluster::PASSWORD);
        format!(
            "[[target]]\nname = \"db\"\nprotocol = \"postgres\"\naddresses = [\"{}\"]\n[target.tls]\nca = \"{}\"\n\
             name = \"{NAME}\"\n{tls}\n[target.credential]\nuser = \"scram_tls\"\nfor_users = [\"agent\"]\n\
             password = {{ file = \"{}\" }}\n{credential}\n",
            self.address,
            ca.display(),
            password.display()
        )
    }
}
