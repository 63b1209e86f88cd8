//! Whether the hooks still catch what they should: looked at from outside, and tried from inside.
//!
//! In: a gate and its cgroup's path. Out: what is wrong. Pins prove nothing, since they outlive a cgroup that was
//! removed and made anew; the programs attached to the cgroup that the path leads to now do, and a connect from inside
//! proves that sockets meet them at all.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::gate::Gate;
use super::lsm;
use crate::host::cgroup::Hierarchy;

/// TEST-NET-1 (RFC 5737): nobody is there, so that only a redirect connects.
pub const CANARY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 5432));

/// How long the canary waits for the redirect.
const CANARY_TIMEOUT: Duration = Duration::from_secs(2);

/// What is wrong with an attachment's hooks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unhealthy {
    /// The cgroup is not there.
    #[error("the cgroup `{path}` is gone: nothing is intercepted until it is made again")]
    CgroupGone {
        /// Where it was.
        path: String,
    },
    /// It was removed and made anew.
    #[error("the cgroup `{path}` was removed and made anew: its hooks went with it")]
    CgroupReplaced {
        /// Where it is.
        path: String,
    },
    /// Hooks of ours are not attached.
    #[error("the hooks {} are not attached to `{path}` any more", .hooks.join(", "))]
    HooksMissing {
        /// Which cgroup.
        path: String,
        /// Their programs.
        hooks: Vec<&'static str>,
    },
    /// A connect from inside was not redirected.
    #[error("a connect from inside `{path}` was not redirected: {reason}")]
    CanaryLost {
        /// Which cgroup.
        path: String,
        /// What happened instead.
        reason: String,
    },
}

/// Looks at the hooks of a gate.
///
/// # Errors
/// With what is wrong.
pub fn look(gate: &Gate, hierarchy: &Hierarchy) -> Result<(), Unhealthy> {
    let path = gate.cgroup().path.clone();
    let Ok(now) = hierarchy.at(Path::new(&path)) else { return Err(Unhealthy::CgroupGone { path }) };
    if now.id != gate.cgroup().id {
        return Err(Unhealthy::CgroupReplaced { path });
    }
    let Ok(directory) = hierarchy.open(&now) else { return Err(Unhealthy::CgroupGone { path }) };
    let hooks = gate.missing_hooks(&directory);
    if hooks.is_empty() { Ok(()) } else { Err(Unhealthy::HooksMissing { path, hooks }) }
}

/// A cgroup for the canary below one that holds no process itself.
const PERCH: &str = "gateway-canary";

/// Starts a process of ours inside the cgroup that connects to `CANARY`. The listener sees the record and closes it.
/// Where the gate has LSM hooks, it tries these too.
///
/// # Errors
/// Where the connect was not redirected, the LSM hooks did not run, or the process could not be started.
pub fn send_canary(cgroup: &str, directory: &Path, has_lsm: bool) -> Result<(), Unhealthy> {
    let lost = |reason: String| Unhealthy::CanaryLost { path: cgroup.to_owned(), reason };
    let program = std::env::current_exe().map_err(|error| lost(error.to_string()))?;
    let output = Command::new(program)
        .args(["canary", "--connect"])
        .args(has_lsm.then_some("--lsm"))
        .arg("--cgroup")
        .arg(directory)
        .output()
        .map_err(|error| lost(format!("the canary did not start: {error}")))?;
    // There where it had to make it.
    let _ = std::fs::remove_dir(directory.join(PERCH));
    if output.status.success() { Ok(()) } else { Err(lost(String::from_utf8_lossy(&output.stderr).trim().to_owned())) }
}

/// Joins a cgroup, or one below it: a cgroup that gives controllers to those below holds no process itself, as above
/// containers and services (cgroup-v2.rst, "No Internal Process Constraint").
fn join(cgroup: &Path) -> io::Result<()> {
    let enter = |cgroup: &Path| std::fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string());
    match enter(cgroup) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            let perch = cgroup.join(PERCH);
            match std::fs::create_dir(&perch) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => enter(&perch),
            }
        }
        other => other,
    }
}

/// What the canary's process does: joins the cgroup and tries what it is asked to.
///
/// # Errors
/// Where it cannot join, nobody answers, or the LSM hooks do not run.
pub fn canary(cgroup: &Path, connect: bool, lsm: bool) -> io::Result<()> {
    join(cgroup)?;
    if lsm && !lsm::run_here() {
        return Err(io::Error::other("the LSM hooks do not run"));
    }
    if connect { TcpStream::connect_timeout(&CANARY, CANARY_TIMEOUT).map(drop) } else { Ok(()) }
}
