//! The four ways to one OpenSSH server, started and stopped here. In: a world. Out: clients that reach the server by each
//! of them. It must never give one way a cipher, a key or a file that another does not have.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::super::report::Ways;
use super::super::servers::gateway;
use super::super::world::{AGENT, HOME, Place, Running, World};
use super::{WAYS, Way};
use crate::run::{quiet, until};

/// The server, at the far end of a cable: the gateway dials no declared target on loopback.
const SERVER: &str = "10.77.0.2";
const USER: &str = "deploy";
const PORT: &str = "22";
/// Where the two relays listen.
const RELAY: &str = "2201";
const RUSSH: &str = "2202";

/// Keys, files and places. `$0` is the user of clients, `$1` mebibytes of what is copied.
const SET_UP: &str = r#"
cd /run/bench
mkdir -p /run/sshd; mkdir -m 755 /run/deploy; mkdir -m 777 files
ssh-keygen -q -t ed25519 -N '' -f host_key; ssh-keygen -q -t ed25519 -N '' -f login_key
cp login_key.pub authorized_keys; cp login_key client_key; chown "$0" client_key; chmod 600 client_key
head -c "$1"M /dev/urandom > files/binary
line='2026-11-22T10:11:12.131415Z host service[4711]: request 8f14e45fceea167a served in 1532 us, 48211 bytes, status ok'
yes "$line" | head -c "$1"M > files/text
chmod 644 files/binary files/text authorized_keys
"#;

/// Of the server; it keeps nothing of what is not measured.
const SERVER_CONFIG: &str = "
Port 22
HostKey /run/bench/host_key
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthorizedKeysFile /run/bench/authorized_keys
MaxStartups 500
Subsystem sftp internal-sftp
";

/// Of clients: they ask nobody, and take the cipher that the gateway takes of a client that has it.
const CLIENT_CONFIG: &str = "
Host *
IgnoreUnknown ObscureKeystrokeTiming
ObscureKeystrokeTiming no
Ciphers aes128-gcm@openssh.com
IdentityFile /run/bench/client_key
IdentitiesOnly yes
BatchMode yes
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
GlobalKnownHostsFile /dev/null
LogLevel ERROR
ConnectTimeout 60
";

/// Everything that runs; fields end in this order, the server last.
pub(super) struct Lab<'w> {
    gateway: Running,
    engine: u32,
    russh: Running,
    relay: Running,
    sshd: Running,
    world: &'w World,
    /// The configuration of clients.
    client: String,
    /// Of each file that is copied.
    pub(super) mebibytes: u64,
}

impl<'w> Lab<'w> {
    /// Starts all of it, and sees that the gateway judges.
    pub(super) fn start(world: &'w World, relay: &Path, mebibytes: u64) -> Result<Self> {
        users(world)?;
        quiet(world.command("sh").args(["-ec", SET_UP, AGENT, &mebibytes.to_string()]))?;
        let sshd = sshd(world)?;
        let server = format!("{SERVER}:{PORT}");
        let mut plain = world.command(format!("{HOME}/xtask"));
        plain.args(["bench", "relay", &format!("127.0.0.1:{RELAY}"), &server]);
        let plain = Running::start("relay", &mut plain, &world.log("relay"))?;
        let program = world.clients_folder().with_file_name("russh-relay");
        fs::copy(relay, &program).with_context(|| format!("cannot copy `{}`", relay.display()))?;
        let mut russh = world.command(program);
        russh.args([&format!("127.0.0.1:{RUSSH}"), &server, USER, &format!("{HOME}/login_key")]);
        let russh = Running::start("russh relay", &mut russh, &world.log("russh"))?;
        let (gateway, engine) = gateway(world, &target(world)?)?;
        let client = world.file("ssh_config", CLIENT_CONFIG)?.display().to_string();
        let lab = Self { gateway, engine, russh, relay: plain, sshd, world, client, mebibytes };
        for way in WAYS {
            let name = format!("a login by way of {}", way.name());
            until(&name, || Ok(lab.ssh(way, &[], "true").output()?.status.success()))?;
        }
        let refused = lab.ssh(Way::Gateway, &[], "ssh somewhere").output()?;
        let said = String::from_utf8_lossy(&refused.stderr);
        ensure!(said.contains("gateway: "), "the gateway let `ssh somewhere` through: {said}");
        Ok(lab)
    }

    /// `ssh` by this way.
    pub(super) fn ssh(&self, way: Way, options: &[&str], command: &str) -> Command {
        let (host, port) = destination(way);
        let mut ssh = self.client(way, "ssh");
        ssh.args(["-p", port]).args(options).arg(format!("{USER}@{host}")).arg(command);
        ssh
    }

    /// `scp` by this way, up or down.
    pub(super) fn scp(&self, way: Way, from: &str, to: &str) -> Command {
        let (host, port) = destination(way);
        let place = |path: &str| path.replace("server:", &format!("{USER}@{host}:"));
        let mut scp = self.client(way, "scp");
        scp.args(["-q", "-P", port, &place(from), &place(to)]);
        scp
    }

    fn client(&self, way: Way, program: &str) -> Command {
        let place = if way == Way::Gateway { Place::Inside } else { Place::Beside };
        let mut client = self.world.client(place, program);
        client.args(["-F", &self.client]);
        client
    }

    /// How long a file is, removing it; in the world's own places.
    pub(super) fn take(&self, path: &str) -> Result<u64> {
        let script = r#"stat -c %s "$0"; rm "$0""#;
        let said = quiet(self.world.command("sh").args(["-ec", script, path]))?;
        Ok(said.trim().parse()?)
    }

    /// The process that stands in between, where one does.
    pub(super) fn proxy(&self, way: Way) -> Option<u32> {
        match way {
            Way::Direct => None,
            Way::Relay => Some(self.relay.pid()),
            Way::Russh => Some(self.russh.pid()),
            Way::Gateway => Some(self.engine),
        }
    }

    /// Errs when one of them has ended: its numbers would be those of something else.
    pub(super) fn check(mut self) -> Result<()> {
        self.gateway.check()?;
        self.russh.check()?;
        self.relay.check()?;
        self.sshd.check()
    }
}

/// Those of the gateway mean the server itself.
fn destination(way: Way) -> (&'static str, &'static str) {
    match way {
        Way::Direct | Way::Gateway => (SERVER, PORT),
        Way::Relay => ("127.0.0.1", RELAY),
        Way::Russh => ("127.0.0.1", RUSSH),
    }
}

/// Both sides look their users up.
fn users(world: &World) -> Result<()> {
    let known = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let ours = format!("agent:*:{AGENT}:{AGENT}::/run/bench:/bin/sh\n{USER}:*:61235:61235::/run/deploy:/bin/sh\n");
    let file = world.file("passwd", &(ours + &known))?;
    quiet(world.command("mount").arg("--bind").arg(file).arg("/etc/passwd"))?;
    Ok(())
}

/// In a network namespace of its own.
fn sshd(world: &World) -> Result<Running> {
    let config = world.file("sshd_config", SERVER_CONFIG)?;
    let log = world.log("sshd");
    let wait = r#"echo apart; ip link set lo up; until ip addr show cable 2>/dev/null | grep -q 'inet 10\.'; do sleep 0.05; done
                  exec /usr/sbin/sshd -D -e -f "$0""#;
    let mut sshd = world.command("unshare");
    sshd.args(["--net", "sh", "-c", wait]).arg(config);
    let mut running = Running::start("sshd", &mut sshd, &log)?;
    let mut says = |what: &str| {
        until(what, || {
            running.check().with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
            Ok(fs::read_to_string(&log)?.contains(what))
        })
    };
    says("apart")?;
    let pid = running.pid().to_string();
    let cable = r#"ip link add cable type veth peer name cable netns "$0"
                   ip addr add 10.77.0.1/24 dev cable; ip link set cable up
                   nsenter --target "$0" --net sh -ec "ip addr add $1/24 dev cable; ip link set cable up""#;
    quiet(world.command("sh").args(["-ec", cable, &pid, SERVER]))?;
    Ok(running)
}

/// The server, declared as one would.
fn target(world: &World) -> Result<String> {
    let key = quiet(world.command("cat").arg(format!("{HOME}/host_key.pub")))?;
    let key: Vec<&str> = key.split(' ').take(2).collect();
    Ok(format!(
        "version = 1\n[[target]]\nname = \"server\"\nprotocol = \"ssh\"\naddresses = [\"{SERVER}\"]\n[target.ssh]\n\
         host_keys = [\"{}\"]\n[target.credential]\nuser = \"{USER}\"\nkey = {{ file = \"{HOME}/login_key\" }}\n",
        key.join(" ")
    ))
}
