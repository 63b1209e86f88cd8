//! A host of its own: namespaces, cgroups, private places. In: root. Out: commands that run in it, inside or beside the
//! cgroup that is attached. All of it ends with the handle; only processes that were started here are ever killed.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::run::{cgroup_mount, line, until};

/// Where the world keeps its own files, in memory: the numbers are not to be those of a disk.
pub(super) const HOME: &str = "/run/bench";
/// Far above the ids that Debian gives to people (Debian Policy, section 9.2.2).
pub(super) const AGENT: &str = "61234";

/// The journal stays on the disk that it would have: its writes are part of what is measured.
const SET_UP: &str = r#"
set -e
mount -t tmpfs -o mode=755 none /run
mount -t tmpfs -o mode=755 none /var/lib
mount -t bpf -o mode=700 none /sys/fs/bpf
mkdir -p /run/bench /run/gateway /var/lib/gateway
chown postgres:postgres /run/bench
mount --bind "$STATE" /var/lib/gateway
touch /run/bench/gateway /run/bench/xtask
mount --bind "$GATEWAY" /run/bench/gateway
mount --bind "$XTASK" /run/bench/xtask
ip link set lo up
echo ready
exec cat
"#;

/// Which cgroup a client is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Attached.
    Inside,
    /// A sibling that is not: accounting costs the same there.
    Beside,
}

/// A host of its own.
pub(super) struct World {
    keeper: Child,
    cgroup: PathBuf,
    directory: PathBuf,
}

/// A process of this world, which ends with its handle.
pub(super) struct Running {
    child: Child,
    name: &'static str,
}

impl World {
    /// Makes it, with this gateway in it.
    pub(super) fn new(gateway: &Path) -> Result<Self> {
        let name = format!("gateway-bench-{}", std::process::id());
        let directory = std::env::temp_dir().join(&name);
        let folder = |name: &str, mode| {
            let path = directory.join(name);
            let make = || DirBuilder::new().mode(mode).create(&path);
            // What the mode says is cut by the umask.
            make().and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
        };
        for (name, mode) in [("", 0o755), ("state", 0o700), ("clients", 0o1777)] {
            folder(name, mode).with_context(|| format!("cannot make `{}`", directory.display()))?;
        }
        let cgroup = cgroup_mount()?.join(&name);
        for place in [Place::Inside, Place::Beside] {
            fs::create_dir_all(place.below(&cgroup)).with_context(|| format!("cannot make `{}`", cgroup.display()))?;
        }
        let keeper = Command::new("unshare")
            .args(["--mount", "--net", "--ipc", "--propagation", "private", "sh", "-c", SET_UP])
            .env("STATE", directory.join("state"))
            .env("GATEWAY", gateway)
            .env("XTASK", std::env::current_exe().context("no path to this program")?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start unshare")?;
        let mut world = Self { keeper, cgroup, directory };
        let output = world.keeper.stdout.take().context("no output of unshare")?;
        let mut ready = String::new();
        BufReader::new(output).read_line(&mut ready)?;
        ensure!(ready == "ready\n", "the namespaces could not be made: see what was printed above");
        Ok(world)
    }

    /// A command in it, as root, in no cgroup of ours.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.keeper.id().to_string(), "--mount", "--net", "--ipc", "--"]).arg(program);
        command.current_dir("/").env("LC_ALL", "C.UTF-8");
        command
    }

    /// The same as another user, ended when this process ends.
    pub(super) fn command_as(&self, user: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command("setpriv");
        command.args(["--reuid", user, "--regid", user, "--clear-groups", "--pdeathsig", "KILL", "--"]).arg(program);
        command
    }

    /// A client without any rights, in a cgroup.
    pub(super) fn client(&self, place: Place, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command("sh");
        command.args(["-ec", r#"echo $$ > "$0/cgroup.procs"; exec "$@""#]).arg(place.below(&self.cgroup));
        command.args(["setpriv", "--reuid", AGENT, "--regid", AGENT, "--clear-groups", "--pdeathsig", "KILL", "--"]);
        command.arg(program);
        command
    }

    /// Writes a file that everybody in it may read.
    pub(super) fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(path)
    }

    /// Where a process's output goes.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }

    /// A folder that clients may write to.
    pub(super) fn clients_folder(&self) -> PathBuf {
        self.directory.join("clients")
    }

    /// The cgroup to attach.
    pub(super) fn attached(&self) -> PathBuf {
        Place::Inside.below(&self.cgroup)
    }
}

impl Place {
    fn below(self, cgroup: &Path) -> PathBuf {
        cgroup.join(match self {
            Self::Inside => "inside",
            Self::Beside => "beside",
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        for place in [Place::Inside, Place::Beside] {
            let level = place.below(&self.cgroup);
            // A client that was just killed leaves its cgroup a moment later.
            let _ = until("an empty cgroup", || Ok(fs::remove_dir(&level).is_ok() || !level.exists()));
        }
        let _ = fs::remove_dir(&self.cgroup);
        // Journals are append-only files: with the attribute set they could not be removed.
        let _ = Command::new("chattr").args(["-R", "-f", "-a"]).arg(&self.directory).status();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Running {
    /// Starts it, its output into a file of the world's owner.
    pub(super) fn start(name: &'static str, command: &mut Command, log: &Path) -> Result<Self> {
        let out = fs::File::create(log).with_context(|| format!("cannot make `{}`", log.display()))?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = command.spawn().with_context(|| format!("cannot start `{}`", line(command)))?;
        Ok(Self { child, name })
    }

    /// Its process: nsenter, setpriv and sh become what they start.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Errs when it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status})", self.name),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGINT is the fast way out of each of these servers.
        let _ = Command::new("kill").args(["-INT", &self.pid().to_string()]).status();
        if until(self.name, || Ok(self.check().is_err())).is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
