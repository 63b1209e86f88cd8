//! What of credentials a process could read by itself: files, sockets of agents, names of variables.
//!
//! In: processes that see the same files with the same rights, and files that should be closed to them. Out: what is open to
//! them, by name and path. It is asked of the kernel, as their user, below their root: permission bits, access lists and mounts
//! count as they count for them. No content leaves this module, and nothing is written.
//!
//! [`look`] and [`knows`] are for a process of its own, which root starts for it: it gives up root's rights for good. The real and the saved
//! user stay root's: who runs as the effective one could else trace or end a process outside of its cgroup.

mod anchors;
mod key;
mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::process::{Pid, PidfdFlags};
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

use super::process::{Process, is_alive};
pub use anchors::{Anchors, Client, Known};
use places::{HOLDS_SECRET, IN_FOLDERS, IN_HOME, IN_SYSTEM, NAMED, NOT_SECRET, Place};

/// What is read of a process's environment, and processes whose environments are.
const MAX_ENVIRONMENT: u64 = 256 * 1024;
const MAX_PROCESSES: usize = 64;
/// What is read of the list of users.
const MAX_PASSWD: u64 = 1 << 20;
/// Entries of a folder that are looked at, and all that is told.
const MAX_ENTRIES: usize = 256;
const MAX_FOUND: usize = 500;
/// The longest path or name that is told, in bytes.
const MAX_PATH: usize = 1_024;

/// One thing that is open to them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Readable {
    /// For programs: `pgpass`.
    pub kind: String,
    /// Its path, or the name of a variable.
    pub path: String,
    /// In words.
    pub what: String,
}

/// Looks as these processes would, of which the first is the one whose root and rights count; `closed` are files of ours.
///
/// # Errors
/// Where the first is gone, or its rights cannot be taken on: nothing was looked at then.
pub fn look(pids: &[i32], closed: &[PathBuf]) -> io::Result<Vec<Readable>> {
    let (environment, uid) = stand_in_for(pids)?;
    let mut found = Found::default();
    for path in closed {
        found.file(path, "gateway_secret", "a secret of the gateway's own");
    }
    found.variables(&environment);
    found.named(&environment);
    found.in_homes(&homes(&environment, uid));
    found.in_system();
    Ok(found.0.into_iter().take(MAX_FOUND).collect())
}

/// Looks likewise for what their clients know the gateway by.
///
/// # Errors
/// Likewise.
pub fn knows(pids: &[i32], anchors: &Anchors) -> io::Result<Vec<Known>> {
    let (environment, uid) = stand_in_for(pids)?;
    Ok(anchors::known(anchors, &environment, &homes(&environment, uid)))
}

/// Takes on the root, the mounts and the rights of the first of these, for good.
fn stand_in_for(pids: &[i32]) -> io::Result<(Environment, u32)> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let first = pids.first().copied().ok_or_else(gone)?;
    let held = rustix::process::pidfd_open(Pid::from_raw(first).ok_or_else(gone)?, PidfdFlags::empty())?;
    let process = Process::read(first).ok_or_else(gone)?;
    let environment = Environment::of(pids);
    let root = rustix::fs::open(
        format!("/proc/{first}/root"),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    // The number did not come to mean another process meanwhile.
    if !is_alive(&held) {
        return Err(gone());
    }
    rustix::process::fchdir(&root)?;
    rustix::process::chroot(".")?;
    drop(root);
    become_like(&process)?;
    Ok((environment, process.uid))
}

/// Gives up all rights but those with which it reads.
fn become_like(process: &Process) -> io::Result<()> {
    let gid = process.groups.last().copied().unwrap_or(process.uid);
    let raw = |group: &u32| Gid::from_raw(*group);
    rustix::thread::set_thread_groups(&process.groups.iter().map(raw).collect::<Vec<_>>())?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::from_raw(gid), Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::from_raw(process.uid), Uid::ROOT)?;
    let reads_all = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    let kept = if process.reads_all() { reads_all } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// What processes were started with.
#[derive(Debug, Default)]
struct Environment {
    /// Of names that lead to files, and of `HOME`: their values.
    leading: BTreeMap<String, BTreeSet<String>>,
    /// Names alone.
    secret: BTreeSet<String>,
}

impl Environment {
    fn of(pids: &[i32]) -> Self {
        let mut environment = Self::default();
        for pid in pids.iter().take(MAX_PROCESSES) {
            let Ok(file) = File::open(format!("/proc/{pid}/environ")) else { continue };
            let mut bytes = Vec::new();
            if file.take(MAX_ENVIRONMENT).read_to_end(&mut bytes).is_ok() {
                environment.take(&bytes);
            }
        }
        environment
    }

    fn take(&mut self, bytes: &[u8]) {
        for variable in bytes.split(|byte| *byte == 0) {
            let Some((name, value)) = std::str::from_utf8(variable).ok().and_then(|text| text.split_once('=')) else {
                continue;
            };
            if value.is_empty() || self.secret.len() + self.leading.len() >= MAX_FOUND {
                continue;
            }
            if name == "HOME" || NAMED.iter().any(|(named, ..)| *named == name) {
                self.leading.entry(name.to_owned()).or_default().insert(value.to_owned());
            } else if says_secret(name) {
                self.secret.insert(name.to_owned());
            }
        }
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.leading.get(name).into_iter().flatten().map(String::as_str)
    }
}

/// Whether a variable of that name holds a secret, as far as a name tells.
fn says_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    HOLDS_SECRET.iter().any(|word| upper.contains(word)) && !NOT_SECRET.iter().any(|end| upper.ends_with(end))
}

/// Where their user is at home: by their environment, and by the list of users below their root.
fn homes(environment: &Environment, uid: u32) -> BTreeSet<PathBuf> {
    let mut homes: BTreeSet<_> = environment.values("HOME").map(PathBuf::from).collect();
    let mut passwd = String::new();
    if let Some(file) = open("/etc/passwd".as_ref()) {
        let _ = file.take(MAX_PASSWD).read_to_string(&mut passwd);
    }
    let uid = uid.to_string();
    homes.extend(passwd.lines().filter_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        match fields.as_slice() {
            [_, _, number, _, _, home, ..] if *number == uid => Some(PathBuf::from(home)),
            _ => None,
        }
    }));
    homes.retain(|home| home.is_absolute());
    homes
}

/// What was found.
#[derive(Default)]
struct Found(BTreeSet<Readable>);

impl Found {
    fn add(&mut self, kind: &str, path: &str, what: String) {
        let path = path.chars().take(MAX_PATH).collect();
        self.0.insert(Readable { kind: kind.to_owned(), path, what });
    }

    /// A file that they can read.
    fn file(&mut self, path: &Path, kind: &str, what: &str) {
        if may(path, Access::READ_OK) && fs::metadata(path).is_ok_and(|it| it.is_file() && it.len() > 0) {
            self.add(kind, &path.to_string_lossy(), what.to_owned());
        }
    }

    /// A socket that they can connect to, as far as files say.
    fn socket(&mut self, path: &Path, what: &str) {
        if may(path, Access::WRITE_OK) && fs::metadata(path).is_ok_and(|it| it.file_type().is_socket()) {
            self.add("agent_socket", &path.to_string_lossy(), what.to_owned());
        }
    }

    fn variables(&mut self, environment: &Environment) {
        for name in &environment.secret {
            self.add(
                "variable",
                name,
                "a variable in the environment whose name says that it holds a secret".to_owned(),
            );
        }
    }

    /// What variables name.
    fn named(&mut self, environment: &Environment) {
        for (name, place, kind, what) in NAMED {
            for value in environment.values(name) {
                let paths: Vec<&str> = match place {
                    Place::Files => value.split(':').collect(),
                    Place::File | Place::Socket | Place::Folder(_) => vec![value],
                };
                for path in paths.into_iter().map(Path::new).filter(|path| path.is_absolute()).take(MAX_ENTRIES) {
                    match place {
                        Place::File | Place::Files => self.file(path, kind, what),
                        Place::Folder(inside) => self.file(&path.join(inside), kind, what),
                        Place::Socket => self.socket(path, what),
                    }
                }
            }
        }
    }

    fn in_homes(&mut self, homes: &BTreeSet<PathBuf>) {
        for home in homes {
            for (path, kind, what) in IN_HOME {
                self.file(&home.join(path), kind, what);
            }
            for entry in entries(&home.join(".ssh")) {
                let Some(state) = open(&entry).and_then(key::state) else { continue };
                self.add("ssh_key", &entry.to_string_lossy(), format!("a private key, {state}"));
            }
        }
    }

    fn in_system(&mut self) {
        for (path, kind, what) in IN_SYSTEM {
            self.file(Path::new(path), kind, what);
        }
        for (folder, begins, inside, what) in IN_FOLDERS {
            for entry in entries(Path::new(folder)).into_iter().filter(|entry| name(entry).starts_with(begins)) {
                for socket in entries(&entry).into_iter().filter(|entry| name(entry).starts_with(inside)) {
                    self.socket(&socket, what);
                }
            }
        }
    }
}

/// Whether the effective user may.
fn may(path: &Path, access: Access) -> bool {
    rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS).is_ok()
}

/// A regular file that can be read, without waiting for anybody.
fn open(path: &Path) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file).ok()?.st_mode);
    (kind == FileType::RegularFile).then(|| File::from(file))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_ENTRIES).map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_has_no_right_of_roots_and_stays_out_of_reach_of_whom_it_looks_for() {
        // Credentials belong to a thread.
        let looked = std::thread::spawn(|| {
            let own = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
            become_like(&own.as_user(61_238, &[61_240, 61_239])).unwrap();
            fs::read_to_string("/proc/thread-self/status").unwrap()
        });
        let status = looked.join().unwrap();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        // kill(2) and ptrace(2) ask for the real and the saved user: these are root's.
        assert_eq!(field("Uid:"), "0\t61238\t0\t61238");
        assert_eq!((field("Gid:"), field("Groups:")), ("0\t61239\t0\t61239", "61239 61240"));
        assert!(["CapEff:", "CapPrm:", "CapInh:"].iter().all(|set| field(set) == "0000000000000000"));
        assert_eq!(field("NoNewPrivs:"), "1");
    }

    #[test]
    fn names_of_variables_tell_of_secrets_and_values_are_not_kept() {
        let mut environment = Environment::default();
        environment.take(b"AWS_SECRET_ACCESS_KEY=hush\0github_token=hush\0PGPASSWORD=hush\0PATH=/bin\0EMPTY_TOKEN=\0TOKEN_FILE=/x\0HOME=/root\0KUBECONFIG=/a:/b\0");
        let secret: Vec<_> = environment.secret.iter().map(String::as_str).collect();
        assert_eq!(secret, ["AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "github_token"]);
        assert_eq!(environment.values("KUBECONFIG").collect::<Vec<_>>(), ["/a:/b"]);
        assert!(!format!("{environment:?}").contains("hush"));
    }
}
