//! A host of its own for each test: namespaces, directories, cgroups, a user, a server behind a cable.
//!
//! In: nothing but root. Out: commands and processes that see a private /run, /var/lib, BPF file system and network.
//! All of it ends with the handle, also after a panic; only processes that were started here are ever killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::agent::Agent;
use crate::gateway::{Gateway, Said, json_lines};
use crate::server::Server;
use crate::wait;

/// The name under which tests attach.
pub const NAME: &str = "story";
/// Ids that Debian leaves to people, far above theirs (Debian Policy, section 9.2.2).
const FIRST_UID: u32 = 40_000;
/// From a world's agent to its people, so that no two worlds share one.
const ALICE: u32 = 100_000;
const BOB: u32 = 200_000;
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Private places, our own binaries, a user, and the loopback device.
const SET_UP: &str = r#"
set -e
mount -t tmpfs -o mode=755 none /run
mount -t tmpfs -o mode=755 none /var/lib
mount -t bpf -o mode=700 none /sys/fs/bpf
mkdir -p /run/it /run/gateway /var/lib/gateway
mount --bind "$STATE" /var/lib/gateway
touch /run/it/it /run/it/gateway
mount --bind "$TESTS" /run/it/it
mount --bind "$GATEWAY" /run/it/gateway
mount --bind "$PASSWD" /etc/passwd
mkdir -m 755 /run/home
chown "$AGENT_UID" /run/home
ip link set lo up
echo ready
exec cat
"#;

/// A host of its own.
pub struct World {
    keeper: Child,
    directory: PathBuf,
    cgroup: PathBuf,
    uid: u32,
    outputs: AtomicU32,
}

/// How an agent is started.
#[derive(Debug, Clone, Copy, Default)]
pub struct As<'a> {
    /// Its cgroup; none: outside of all that is attached.
    pub cgroup: Option<&'a Path>,
    /// It stays root.
    pub root: bool,
    /// Its user, by name; `agent` where this is empty.
    pub user: &'a str,
    /// Capabilities that it keeps, as setpriv(1) names them (`+net_raw`).
    pub capabilities: &'a str,
    /// A program that starts it, such as `unshare --net`.
    pub through: &'a [&'a str],
}

impl World {
    /// Makes it.
    pub fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests need root: run them with sudo");
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gateway-it-{}-{number}", std::process::id());
        // No two worlds share a user: who has the same one may trace the other.
        let uid = FIRST_UID + (std::process::id() % 150) * 100 + number;
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir_all(directory.join("state")).unwrap();
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        let user = |(name, uid): (&str, u32)| format!("{name}:x:{uid}:{uid}:{name}:/run/home:/bin/sh\n");
        let users: String = [("agent", uid), ("alice", uid + ALICE), ("bob", uid + BOB)].map(user).concat();
        // First, so that they are found before users of this host with the same names.
        fs::write(directory.join("passwd"), users + &passwd).unwrap();
        let cgroup = cgroup_mount().join(&name);
        fs::create_dir_all(cgroup.join("agent")).unwrap();
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--net", "--propagation", "private", "sh", "-c", SET_UP])
            .env("STATE", directory.join("state"))
            .env("PASSWD", directory.join("passwd"))
            .env("TESTS", std::env::current_exe().unwrap())
            .env("GATEWAY", env!("CARGO_BIN_EXE_gateway"))
            .env("AGENT_UID", uid.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let mut output = std::io::BufReader::new(keeper.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut ready).unwrap();
        let world = Self { keeper, directory, cgroup, uid, outputs: AtomicU32::new(0) };
        assert_eq!(ready, "ready\n", "the world could not be made: see what was printed above");
        world
    }

    /// A command in it, as root, outside of all that is attached.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.keeper.id().to_string(), "--mount", "--net", "--"]).arg(program);
        command
    }

    /// Runs a shell script in it, which must succeed, and returns what it prints.
    pub fn sh(&self, script: &str) -> String {
        let output = self.command("sh").args(["-ec", script]).output().unwrap();
        assert!(output.status.success(), "`{script}`: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The attachments whose hooks are pinned, by cgroup id, a line each.
    pub fn pins(&self) -> String {
        self.sh("ls /sys/fs/bpf/gateway/v1 2>/dev/null || true")
    }

    /// The cgroup above those of agents; root's alone.
    pub fn top(&self) -> &Path {
        &self.cgroup
    }

    /// The cgroup that tests attach to.
    pub fn cgroup(&self) -> PathBuf {
        self.cgroup.join("agent")
    }

    /// The user `agent`.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// A user by name.
    pub fn uid_of(&self, user: &str) -> u32 {
        match user {
            "" | "agent" => self.uid,
            "alice" => self.uid + ALICE,
            "bob" => self.uid + BOB,
            other => panic!("nobody is named {other}"),
        }
    }

    /// Where the test's own files are; the state directory is `state` below it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a file there.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A command in it that joins a cgroup and gives up root before it runs.
    pub fn command_as(&self, how: As<'_>) -> Command {
        // Without a terminal: who runs these tests may have one.
        let mut command = self.command("setsid");
        let join = r#"test -z "$0" || echo $$ > "$0/cgroup.procs"; exec "$@""#;
        command.arg("sh");
        command.arg("-ec").arg(join).arg(how.cgroup.unwrap_or(Path::new(""))).args(how.through);
        if !how.root {
            let id = self.uid_of(how.user).to_string();
            let capabilities =
                format!("-all{}{}", if how.capabilities.is_empty() { "" } else { "," }, how.capabilities);
            command.args(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"]);
            command.args([format!("--inh-caps={capabilities}"), format!("--ambient-caps={capabilities}")]);
        }
        command
    }

    /// Starts a helper process.
    pub fn start(&self, how: As<'_>, role: &str) -> Agent {
        let mut command = self.command_as(how);
        command.args(["/run/it/it", "--exact", "inside::serves_as_a_helper_process_when_asked"]);
        command.args(["--nocapture", "--test-threads=1"]);
        Agent::start(command, role)
    }

    /// An unprivileged process in the attached cgroup.
    pub fn agent(&self) -> Agent {
        self.start(As { cgroup: Some(&self.cgroup()), ..As::default() }, "agent")
    }

    /// A root process outside.
    pub fn outsider(&self) -> Agent {
        self.start(As { root: true, ..As::default() }, "agent")
    }

    /// A server in a network namespace of its own, at `SERVER` and `SERVER6`.
    pub fn server(&self) -> Server {
        let process = self.start(As { root: true, through: &["unshare", "--net"], ..As::default() }, "server");
        let pid = process.pid();
        self.sh(&format!(
            "ip link add cable type veth peer name cable netns {pid}
             ip addr add 10.77.0.1/24 dev cable; ip -6 addr add fd77::1/64 dev cable nodad; ip link set cable up
             exec nsenter --target {pid} --net sh -ec 'ip link set lo up
             ip addr add 10.77.0.2/24 dev cable; ip -6 addr add fd77::2/64 dev cable nodad; ip link set cable up'"
        ));
        let outsider = self.outsider();
        wait::until("the cable", || outsider.connect("10.77.0.2:8080").is_ok());
        Server::new(process, outsider)
    }

    /// Starts a gateway with these arguments.
    pub fn gateway(&self, arguments: &[&str]) -> Gateway<'_> {
        self.gateway_with(&[], arguments)
    }

    /// The same with more in its environment.
    pub fn gateway_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Gateway<'_> {
        let mut command = self.command("/run/it/gateway");
        command.args(arguments).envs(variables.iter().copied());
        self.spawn(command)
    }

    fn spawn(&self, mut command: Command) -> Gateway<'_> {
        let number = self.outputs.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (self.directory.join(format!("out-{number}")), self.directory.join(format!("err-{number}")));
        command.stdin(Stdio::null());
        let child = command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap()).spawn().unwrap();
        Gateway { world: self, child, out, err }
    }

    /// `gateway attach` with more arguments, in force and open.
    pub fn attach(&self, more: &[&str]) -> Gateway<'_> {
        self.attach_by(&["/run/it/gateway"], more)
    }

    /// The same by a program that runs the gateway, or by another build of it.
    pub fn attach_by(&self, program: &[&str], more: &[&str]) -> Gateway<'_> {
        let cgroup = self.cgroup().display().to_string();
        let mut command = self.command(program[0]);
        command.args(&program[1..]).args(["attach", "--cgroup", &cgroup, "--name", NAME]).args(more);
        let mut gateway = self.spawn(command);
        gateway.says("is intercepted");
        self.is_open();
        gateway
    }

    /// Waits until a connect from inside is redirected, and its session journaled: it is greeted after that.
    pub fn is_open(&self) {
        let agent = self.agent();
        wait::until("an open gate", || agent.connect("192.0.2.9:22").is_ok() && agent.recv().is_ok());
    }

    /// Runs a command of the gateway to its end, which must not be long in coming.
    pub fn cli(&self, arguments: &[&str]) -> Said {
        self.cli_as(As { root: true, ..As::default() }, arguments)
    }

    /// The same by somebody else, or from elsewhere.
    pub fn cli_as(&self, how: As<'_>, arguments: &[&str]) -> Said {
        let mut command = self.command_as(how);
        command.args(["timeout", "--kill-after=5", "60", "/run/it/gateway"]).args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_ne!(output.status.code(), Some(124), "`gateway {}` runs and runs", arguments.join(" "));
        Said {
            status: output.status,
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The same with `--json`, as one value; it must succeed.
    pub fn cli_json(&self, arguments: &[&str]) -> Value {
        let said = self.cli(&[&["--json"], arguments].concat());
        assert!(said.status.success(), "{said:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    /// Journaled events of a kind.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let said = self.cli(&["--json", "events", "--kind", kind]);
        json_lines(&said.out)
    }

    /// Waits for a journaled event.
    pub fn event(&self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.event_within(Duration::from_secs(15), kind, wanted)
    }

    /// The same with another deadline.
    pub fn event_within(&self, patience: Duration, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait::for_some_within(patience, &format!("an event `{kind}`"), || {
            self.events(kind).into_iter().map(|event| event["body"].clone()).find(&wanted)
        })
    }

    /// Waits until the journal tells of a process's session to an address and port, as it was meant.
    pub fn tried(&self, agent: &Agent, to: &str) {
        let to: std::net::SocketAddr = to.parse().unwrap();
        self.event("session.start", |body| {
            let destination = &body["destination"];
            body["who"]["pid"] == agent.pid()
                && destination["address"] == to.ip().to_canonical().to_string()
                && destination["port"] == to.port()
        });
    }

    /// Waits until the journal tells of refused calls with a reason of the kernel side.
    pub fn refused(&self, reason: &str) {
        self.event("network.bypass", |body| body["refused"][reason].as_u64() > Some(0));
    }

    /// The same for dropped packets.
    pub fn dropped(&self) {
        self.event("network.bypass", |body| body["dropped"]["packet_dropped"].as_u64() > Some(0));
    }
}

impl World {
    /// Ends what still runs in its network namespace, such as commands of `gateway exec`, and returns their cgroups.
    fn end_processes(&self) -> Vec<PathBuf> {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let keeper = self.keeper.id().to_string();
        let own = namespace(&keeper);
        let mut cgroups = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            if own.is_none() || pid == keeper || namespace(&pid) != own {
                continue;
            }
            let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            cgroups.extend(table.lines().find_map(|line| line.strip_prefix("0::/gateway.slice/").map(PathBuf::from)));
            let _ = kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), Signal::KILL);
        }
        cgroups
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let left = self.end_processes();
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        let mut levels = vec![self.cgroup.clone()];
        let mut next = 0;
        while let Some(level) = levels.get(next).cloned() {
            let entries = fs::read_dir(level).into_iter().flatten().flatten();
            levels.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
            next += 1;
        }
        for level in levels.iter().rev() {
            wait::until("an empty cgroup", || {
                for pid in fs::read_to_string(level.join("cgroup.procs")).unwrap_or_default().lines() {
                    let _ = kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), Signal::KILL);
                }
                fs::remove_dir(level).is_ok() || !level.exists()
            });
        }
        for cgroup in left {
            let path = cgroup_mount().join("gateway.slice").join(cgroup);
            wait::until("an empty cgroup", || fs::remove_dir(&path).is_ok() || !path.exists());
        }
        // Journals are append-only: without taking that back nothing here could be removed.
        let _ = Command::new("chattr").args(["-R", "-f", "-a"]).arg(&self.directory).status();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Where the unified hierarchy is, on pure and hybrid hosts.
pub fn cgroup_mount() -> PathBuf {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().find(|line| line.contains(" - cgroup2 ")).expect("no cgroup2 mount");
    PathBuf::from(line.split(' ').nth(4).unwrap())
}

/// The release of the kernel that runs: version and patch level.
pub fn kernel() -> (u32, u32) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}
