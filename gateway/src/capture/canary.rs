//! A process of ours that goes into a cgroup and tries hooks there.
//!
//! In: a cgroup and what to try. Out: what went wrong, if anything did, within a bounded time: who is frozen with its cgroup
//! is killed. It must never stay behind.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::lsm;

/// TEST-NET-1 (RFC 5737): nobody is there, so that only a redirect connects.
pub const CANARY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 5432));

/// How long the connect waits for the redirect.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long it then waits to be taken.
const TAKEN: Duration = Duration::from_secs(10);
/// How long all of it may take, on a busy host.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A cgroup for the canary below one that holds no process itself.
const PERCH: &str = "gateway-canary";

/// What it tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// A connect to `CANARY`.
    Connect,
    /// Whether LSM hooks run.
    Lsm,
}

impl Trial {
    fn argument(self) -> &'static str {
        match self {
            Self::Connect => "--connect",
            Self::Lsm => "--lsm",
        }
    }
}

/// Sends it, and says what it said where a trial failed.
///
/// # Errors
/// Where the process cannot be started.
pub fn send(cgroup: &Path, trials: &[Trial]) -> io::Result<Option<String>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("canary").args(trials.iter().map(|trial| trial.argument())).arg("--cgroup").arg(cgroup);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let started = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if started.elapsed() > PATIENCE => break None,
            None => std::thread::sleep(LOOK_EVERY),
        }
    };
    if status.is_none() {
        // A frozen process dies too (cgroup-v2.rst, "cgroup.freeze").
        let _ = child.kill();
        let _ = child.wait();
    }
    leave(cgroup);
    match status {
        Some(status) if status.success() => Ok(None),
        None => Ok(Some(format!("the canary was not done within {} s", PATIENCE.as_secs()))),
        Some(_) => {
            let mut said = String::new();
            if let Some(mut errors) = child.stderr.take() {
                let _ = errors.read_to_string(&mut said);
            }
            Ok(Some(said.trim().to_owned()))
        }
    }
}

/// What the process does: joins the cgroup and tries what it is asked to.
///
/// # Errors
/// Where it cannot join, nobody answers, or the LSM hooks do not run.
pub fn sing(cgroup: &Path, trials: &[Trial]) -> io::Result<()> {
    join(cgroup)?;
    if trials.contains(&Trial::Lsm) && !lsm::run_here() {
        return Err(io::Error::other("the LSM hooks do not run"));
    }
    if trials.contains(&Trial::Connect) {
        let mut stream = TcpStream::connect_timeout(&CANARY, TIMEOUT)?;
        // A client that closes takes its record along: one that went at once would be nobody to a busy listener. Who takes it
        // lets it go.
        stream.set_read_timeout(Some(TAKEN))?;
        let _ = stream.read(&mut [0]);
    }
    Ok(())
}

/// Takes away the cgroup below it that a process may have had to make.
pub fn leave(cgroup: &Path) {
    let _ = std::fs::remove_dir(cgroup.join(PERCH));
}

/// Joins a cgroup, or one below it: a cgroup that gives controllers to those below holds no process itself, as above
/// containers and services (cgroup-v2.rst, "No Internal Process Constraint").
///
/// # Errors
/// Where the cgroup takes no process.
pub fn join(cgroup: &Path) -> io::Result<()> {
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
