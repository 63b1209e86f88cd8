//! A host with an attached cgroup, stock SSH clients in it, and a real sshd at the far end of a cable.
//!
//! In: nothing but root. Out: what the client said, what the server has, what the journal keeps. The server sees the
//! same files as the client, so that a test can look at what a command did.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::gateway::Gateway;
use crate::wait;
use crate::world::{As, World};

/// Where the server is.
pub const SERVER: &str = "10.77.0.2";
/// The password of `deploy` at the server.
pub const PASSWORD: &str = "correct-horse-battery";
/// A user at the server alone.
pub const USER: &str = "deploy";

/// What the server is told.
pub const CONFIG: &str = "
Port 22
HostKey {dir}/host_key
PidFile none
UsePAM no
StrictModes no
PermitRootLogin no
PasswordAuthentication yes
KbdInteractiveAuthentication no
AuthorizedKeysFile {dir}/authorized_keys
TrustedUserCAKeys {dir}/user_ca.pub
AcceptEnv *
MaxSessions 64
MaxStartups 300
LogLevel VERBOSE
Subsystem sftp internal-sftp
";

/// A world with an SSH server in it.
pub struct Host {
    /// The host.
    pub world: World,
    sshd: Child,
}

/// What a client did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status.
    pub code: Option<i32>,
    /// Its output.
    pub out: String,
    /// Its errors.
    pub err: String,
}

impl Host {
    /// Makes it, with more lines in the configuration of the server.
    pub fn with(more: &str) -> Self {
        let world = World::new();
        let config = prepare(&world, more);
        let sshd = sshd(&world, &config, &config.with_file_name("log"));
        let host = Self { world, sshd };
        let pid = host.pid();
        host.world.sh(&format!(
            "ip link add cable type veth peer name cable netns {pid}
             ip addr add 10.77.0.1/24 dev cable; ip link set cable up
             exec nsenter --target {pid} --net sh -ec 'ip addr add {SERVER}/24 dev cable; ip link set cable up'"
        ));
        wait::until("sshd", || host.log().contains("Server listening"));
        host
    }

    /// With an ordinary server.
    pub fn new() -> Self {
        Self::with("")
    }

    /// The server's process, which holds its network namespace.
    pub fn pid(&self) -> u32 {
        self.sshd.id()
    }

    /// Has the server read its configuration again.
    pub fn reload(&self) {
        let starts = || self.log().matches("Server listening on 0.0.0.0").count();
        let before = starts();
        crate::gateway::send(self.sshd.id(), rustix::process::Signal::HUP);
        wait::until("sshd again", || starts() > before);
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap()
    }

    /// A file of the server's own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.world.directory().join("sshd").join(name)
    }

    /// The public key of the server.
    pub fn host_key(&self) -> String {
        let line = fs::read_to_string(self.file("host_key.pub")).unwrap();
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// The target, known by its key, logged in to with one.
    pub fn target(&self) -> String {
        let key = self.file("login_key");
        self.target_with(
            &format!("host_keys = [\"{}\"]", self.host_key()),
            &format!("key = {{ file = \"{}\" }}", key.display()),
        )
    }

    /// The target, known and logged in to by these lines.
    pub fn target_with(&self, ssh: &str, credential: &str) -> String {
        format!(
            "version = 1\n[[target]]\nname = \"web\"\nprotocol = \"ssh\"\naddresses = [\"{SERVER}\"]\n\
             [target.ssh]\n{ssh}\n[target.credential]\nuser = \"{USER}\"\nfor_users = [\"{USER}\", \"agent\"]\n{credential}\n"
        )
    }

    /// Attaches a gateway that has this configuration, and makes clients trust it.
    pub fn attach_with(&self, config: &str, more: &[&str]) -> Gateway<'_> {
        let path = self.world.file("gateway.toml", config);
        let path = path.display().to_string();
        let gateway = self.world.attach(&[["--config", &path].as_slice(), more].concat());
        let line = self.world.cli(&["trust", "--ssh"]).out;
        assert!(line.starts_with("* ssh-ed25519 "), "{line}");
        self.world.sh(&format!("echo '{}' > /etc/ssh/ssh_known_hosts", line.trim()));
        gateway
    }

    /// The usual one: the shipped policies, the usual target.
    pub fn attach(&self) -> Gateway<'_> {
        self.attach_with(&self.target(), &[])
    }

    /// With policies of the test's own, beside which the guard pack stands.
    pub fn attach_policies(&self, policies: &str) -> Gateway<'_> {
        let file = self.world.file("policies/test.cedar", policies);
        let directory = file.parent().unwrap().display().to_string();
        self.attach_with(&self.target(), &["--policies", &directory])
    }

    /// A program inside, as somebody who is not root, with a small environment.
    pub fn command(&self, program: &[&str]) -> Command {
        let cgroup = self.world.cgroup();
        let mut command = self.world.command_as(As { cgroup: Some(&cgroup), ..As::default() });
        command.args(["env", "-i", "-C", "/run/home", "PATH=/usr/bin:/bin:/usr/local/bin", "HOME=/run/home"]);
        command.args(["LC_ALL=C.UTF-8"]).args(program).stdin(Stdio::null());
        command
    }

    /// Arguments of ssh that ask nobody.
    pub fn options() -> [&'static str; 6] {
        ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=20"]
    }

    /// `ssh deploy@server` inside with these arguments, a command among them.
    pub fn ssh(&self, arguments: &[&str]) -> Ran {
        ran(&mut self.ssh_words(&["timeout", "60", "ssh"], arguments))
    }

    /// The same, to be started.
    pub fn ssh_command(&self, arguments: &[&str]) -> Command {
        self.ssh_words(&["ssh"], arguments)
    }

    fn ssh_words(&self, program: &[&str], arguments: &[&str]) -> Command {
        let user = format!("{USER}@{SERVER}");
        let mut all = program.to_vec();
        all.extend(Self::options());
        let (options, command): (Vec<&str>, Vec<&str>) = match arguments.iter().position(|word| *word == "--") {
            Some(at) => (arguments[..at].to_vec(), arguments[at + 1..].to_vec()),
            None => (Vec::new(), arguments.to_vec()),
        };
        all.extend(options);
        all.push(&user);
        all.extend(command);
        self.command(&all)
    }

    /// Journaled requests of a phase.
    pub fn requests(&self, phase: &str) -> Vec<Value> {
        let events = self.world.events("ssh.request").into_iter().map(|event| event["body"].clone());
        events.filter(|body| body["phase"] == phase).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
        if std::thread::panicking() {
            println!("sshd said:\n{}", self.log());
        }
    }
}

/// Files and users of a server, with more lines in its configuration, whose path this is.
pub fn prepare(world: &World, more: &str) -> PathBuf {
    let dir = world.directory().join("sshd");
    fs::create_dir(&dir).unwrap();
    let at = |name: &str| dir.join(name).display().to_string();
    let uid = world.uid() + 300_000;
    world.sh(&format!(
        "mkdir -p /run/sshd; mkdir -m 755 /run/deploy; chown {uid}:{uid} /run/deploy
         ssh-keygen -q -t ed25519 -N '' -f {}; ssh-keygen -q -t ed25519 -N '' -f {}
         cp {} {}; touch {}; chmod 755 {}
         mount -t tmpfs none /etc/ssh",
        at("host_key"),
        at("login_key"),
        at("login_key.pub"),
        at("authorized_keys"),
        at("user_ca.pub"),
        dir.display(),
    ));
    let hash = world.sh(&format!("openssl passwd -6 {PASSWORD}"));
    let mut passwd = fs::OpenOptions::new().append(true).open(world.directory().join("passwd")).unwrap();
    writeln!(passwd, "{USER}:{}:{uid}:{uid}:{USER}:/run/deploy:/bin/bash", hash.trim()).unwrap();
    world.file("sshd/config", &(CONFIG.replace("{dir}", &dir.display().to_string()) + more))
}

/// A server in a network namespace of its own, which listens once an address of 10.0.0.0/8 is there.
pub fn sshd(world: &World, config: &Path, log: &Path) -> Child {
    // Its own network is there once it says so: before that it is in the world's, or still in ours.
    let script = r#"echo apart; ip link set lo up; while ! ip addr show cable 2>/dev/null | grep -q 'inet 10\.'; do sleep 0.05; done
                    exec /usr/sbin/sshd -D -e -f "$0""#;
    let mut sshd = world.command("unshare");
    sshd.args(["--net", "sh", "-c", script]).arg(config).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut sshd = sshd.stderr(fs::File::create(log).unwrap()).spawn().unwrap();
    let mut said = [0; 6];
    sshd.stdout.take().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"apart\n");
    sshd
}

/// Runs a command to its end.
pub fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
