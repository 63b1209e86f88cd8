//! A host of the demo's own: namespaces, a cgroup, a folder. In: root and a gateway. Out: commands on the operator's side,
//! on the agent's, and at the database. A shell that reads our pipe removes all of it when we are gone, however that
//! came about, so that an interrupt leaves nothing behind.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::run::cgroup_mount;

/// What makes and removes it.
const GUARD: &str = include_str!("world.sh");
/// Far above the ids that Debian gives to people (Debian Policy, section 9.2.2).
const FIRST_UID: u32 = 50_000;
/// Where the database listens, in a network namespace of its own.
pub(super) const DATABASE: &str = "10.99.0.2";

/// Whose side a command is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Root, outside of what is attached.
    Operator,
    /// The ordinary user `agent`, in the attached cgroup.
    Agent,
    /// Root, in the network namespace of the database.
    Database,
}

/// The host; dropped, it is removed.
pub(super) struct World {
    guard: Child,
    directory: PathBuf,
    cgroup: PathBuf,
    /// A user of its own: who shares one with a process outside may trace it, which the gateway refuses.
    uid: u32,
}

impl World {
    /// Makes it.
    pub(super) fn new(gateway: &Path) -> Result<Self> {
        let number = std::process::id();
        let name = format!("gateway-demo-{number}");
        let (directory, cgroup) = (std::env::temp_dir().join(&name), cgroup_mount()?.join(&name));
        let uid = FIRST_UID + number % 10_000;
        ensure!(!directory.exists(), "`{}` is there already: remove it", directory.display());
        let guard = Command::new("unshare")
            .args(["--mount", "--net", "--ipc", "--propagation", "private", "sh", "-c", GUARD])
            .env("DIRECTORY", &directory)
            .env("CGROUP", &cgroup)
            .env("GATEWAY", gateway)
            .env("AGENT_UID", uid.to_string())
            .current_dir("/")
            // An interrupt from the terminal ends us, and by that the guard, in this order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start unshare")?;
        let mut world = Self { guard, directory, cgroup, uid };
        let output = world.guard.stdout.take().context("no output of unshare")?;
        let mut ready = String::new();
        BufReader::new(output).read_line(&mut ready)?;
        ensure!(ready == "ready\n", "the namespaces could not be made: see what was printed above");
        for side in [Side::Operator, Side::Agent, Side::Database] {
            world.script(side.name(), &world.entrance(side))?;
        }
        Ok(world)
    }

    /// The script that runs a command on a side; people use it too.
    pub(super) fn way_in(&self, side: Side) -> PathBuf {
        self.directory.join(side.name())
    }

    /// A command on a side.
    pub(super) fn command(&self, side: Side, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(self.way_in(side));
        command.arg(program).stdin(Stdio::null());
        command
    }

    fn entrance(&self, side: Side) -> String {
        let (pid, uid) = (self.guard.id(), self.uid);
        let cgroup = self.cgroup.join(if side == Side::Agent { "agent" } else { "host" });
        let network = if side == Side::Database { "--net=/proc/$guard/root/run/netns/database" } else { "--net" };
        let (whose, environment, user) = match side {
            Side::Operator => ("as root, outside of the attached cgroup", "HOME=/root".to_owned(), String::new()),
            Side::Database => {
                ("as root, in the network namespace of the database", "HOME=/root".to_owned(), String::new())
            }
            Side::Agent => (
                "as the agent: an ordinary user in the attached cgroup",
                format!(
                    "HOME=/run/home USER=agent PGHOST={DATABASE} PGUSER=agent PGDATABASE=shop KUBECONFIG={}",
                    self.directory.join("kubeconfig").display()
                ),
                format!(
                    "setpriv --reuid {uid} --regid {uid} --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs -- "
                ),
            ),
        };
        let path = "PATH=/run/demo:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
        format!(
            "#!/bin/sh -e\n# Runs a command of the demo {whose}.\nguard={pid}\necho $$ >'{}/cgroup.procs'\n\
             exec nsenter --target=$guard --mount --ipc {network} -- \\\n    {user}env -i -C / TERM=\"$TERM\" LC_ALL=C.UTF-8 {path} {environment} \"$@\"\n",
            cgroup.display()
        )
    }

    /// Its folder.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a file there, for root's eyes alone below `secret`.
    pub(super) fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.directory.join(name);
        fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(path)
    }

    /// Writes a script there.
    pub(super) fn script(&self, name: &str, text: &str) -> Result<()> {
        let path = self.file(name, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755)).context("cannot make a script executable")
    }

    /// The cgroup to attach, below the mount.
    pub(super) fn attached(&self) -> String {
        let name = self.cgroup.file_name().unwrap_or_default().to_string_lossy().into_owned();
        format!("/{name}/agent")
    }
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Agent => "agent",
            Self::Database => "database",
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // It says itself whether all is removed.
        let _ = self.guard.wait();
    }
}
