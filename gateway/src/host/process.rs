//! What `/proc` says of a process, and how many descriptors our own may have.
//!
//! In: a process id. Out: its credentials, capabilities and executable. A process can vanish or change between two
//! looks: what is read here is attribution and warning, never a decision.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Capabilities with which a process gets around us, or reads memory that is not its own (capabilities(7)), by number.
const ESCAPING: [(u32, &str); 8] = [
    (12, "cap_net_admin"),
    (16, "cap_sys_module"),
    (17, "cap_sys_rawio"),
    (19, "cap_sys_ptrace"),
    (21, "cap_sys_admin"),
    (22, "cap_sys_boot"),
    (38, "cap_perfmon"),
    (39, "cap_bpf"),
];

/// Those with which it becomes root, or has root's files: cgroups, keys, the journal. Of root they say nothing more.
const OF_ROOT: [(u32, &str); 9] = [
    (0, "cap_chown"),
    (1, "cap_dac_override"),
    (2, "cap_dac_read_search"),
    (3, "cap_fowner"),
    (6, "cap_setgid"),
    (7, "cap_setuid"),
    (18, "cap_sys_chroot"),
    (27, "cap_mknod"),
    (31, "cap_setfcap"),
];

/// `CAP_NET_RAW`.
const NET_RAW: u32 = 13;

/// How many descriptors we might have at first, for the commands that we start.
static DESCRIPTORS: OnceLock<Rlimit> = OnceLock::new();

/// Lets this process, and those that it starts, have as many descriptors as it may ask for: each session has two, each
/// network namespace five. systemd starts daemons with 1,024 of 524,288 (systemd.exec(5), LimitNOFILE).
pub fn allow_descriptors() {
    let before = *DESCRIPTORS.get_or_init(|| getrlimit(Resource::Nofile));
    // Best effort: with fewer, what finds none is refused.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, ..before });
}

/// How many descriptors this process may have.
#[must_use]
pub fn descriptors() -> usize {
    getrlimit(Resource::Nofile).current.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX)
}

/// How many descriptors this process might have before that, where it asked for more.
#[must_use]
pub fn descriptors_before() -> Option<u64> {
    DESCRIPTORS.get().and_then(|limit| limit.current)
}

/// Lets this process have that many descriptors; programs that use `select` expect 1,024.
///
/// # Errors
/// Where it may not have so many.
pub fn limit_descriptors(count: u64) -> rustix::io::Result<()> {
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), ..getrlimit(Resource::Nofile) })
}

/// Descriptors of a process that are sockets, with the inode of each.
#[must_use]
pub fn sockets(pid: i32) -> Vec<(i32, u64)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let read = |entry: fs::DirEntry| {
        let link = fs::read_link(entry.path()).ok()?;
        let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, inode))
    };
    entries.filter_map(read).collect()
}

/// A process as `/proc/PID/status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id in our pid namespace.
    pub pid: i32,
    /// The effective user id.
    pub uid: u32,
    /// All its user ids: real, effective, saved and of the file system. It can become each of them.
    pub uids: Vec<u32>,
    /// Its effective and supplementary groups.
    pub groups: Vec<u32>,
    /// The permitted capabilities, in its own user namespace: it can make each of them effective.
    capabilities: u64,
    /// The capabilities that it can ever have there.
    bounding: u64,
    /// It is in the user namespace that we are in.
    in_our_user_namespace: bool,
}

impl Process {
    /// Reads it; `None` where it is gone.
    #[must_use]
    pub fn read(pid: i32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let uids: Vec<u32> = field("Uid:")?.split_whitespace().filter_map(|uid| uid.parse().ok()).collect();
        let uid = *uids.get(1)?;
        let mut groups: Vec<u32> = field("Groups:")?.split_whitespace().filter_map(|gid| gid.parse().ok()).collect();
        groups.extend(field("Gid:")?.split_whitespace().nth(1).and_then(|gid| gid.parse::<u32>().ok()));
        let set = |name: &str| u64::from_str_radix(field(name)?.trim(), 16).ok();
        let (capabilities, bounding) = (set("CapPrm:")?, set("CapBnd:")?);
        let namespace = |who: &str| fs::read_link(format!("/proc/{who}/ns/user")).ok();
        let in_our_user_namespace = namespace(&pid.to_string()) == namespace("self");
        Some(Self { pid, uid, uids, groups, capabilities, bounding, in_our_user_namespace })
    }

    /// The capabilities that let it around us; none where it holds them in a user namespace of its own only.
    #[must_use]
    pub fn escaping_capabilities(&self) -> Vec<&'static str> {
        if !self.in_our_user_namespace {
            return Vec::new();
        }
        let of_root = OF_ROOT.iter().filter(|_| !self.is_root());
        let held = |(number, _): &&(u32, &str)| self.capabilities >> number & 1 == 1;
        ESCAPING.iter().chain(of_root).filter(held).map(|(_, name)| *name).collect()
    }

    /// Whether it reads all files of this host, whatever their permissions say.
    #[must_use]
    pub fn reads_all(&self) -> bool {
        self.in_our_user_namespace && self.capabilities & (1 << 1 | 1 << 2) != 0
    }

    /// Whether it may make packet sockets, in our network namespace or in one of its user namespace's.
    #[must_use]
    pub fn holds_net_raw(&self) -> bool {
        self.capabilities >> NET_RAW & 1 == 1
    }

    /// Whether it could have CAP_NET_ADMIN or CAP_NET_RAW over network namespaces of its user namespace.
    #[must_use]
    pub fn may_send_any_packet(&self) -> bool {
        self.bounding & (1 << 12 | 1 << 13) != 0
    }

    /// The same process as if it were another user's, without capabilities.
    #[must_use]
    pub fn as_user(self, uid: u32, groups: &[u32]) -> Self {
        Self { uid, uids: vec![uid], groups: groups.to_vec(), capabilities: 0, ..self }
    }

    /// Whether it is root of the initial user namespace.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.uid == 0 && self.in_our_user_namespace
    }
}

/// Whether the process of a pidfd has not ended: it is readable then.
#[must_use]
pub fn is_alive(pidfd: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
}

/// What keeps a process from becoming a command that was given nothing to get around us with; `None`: nothing does.
#[must_use]
pub fn unfit_for_a_command(pid: i32) -> Option<&'static str> {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return Some("is gone") };
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    // A thread that gives up new privileges gives up its own alone.
    if field("Threads:") != "1" {
        return Some("has more than one thread");
    }
    if field("NoNewPrivs:") != "1" {
        return Some("has not given up new privileges");
    }
    let holds_some = |set: &str| field(set).bytes().any(|digit| digit != b'0');
    ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"].into_iter().any(holds_some).then_some("holds capabilities")
}

/// The path of its executable, for display; `None` for kernel threads and processes that are gone.
#[must_use]
pub fn executable(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// All process ids that there are now.
pub fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use rustix::thread::CapabilitySet;

    use super::*;

    #[test]
    fn sees_that_we_are_root_with_capabilities() {
        let own = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.is_root());
        assert!(own.escaping_capabilities().contains(&"cap_sys_admin"));
    }

    #[test]
    fn a_process_is_fit_for_a_command_once_it_can_gain_nothing() {
        let unfit = |options: &[&str]| {
            let mut child = std::process::Command::new("setpriv").args(options).args(["sleep", "60"]).spawn().unwrap();
            let pid = i32::try_from(child.id()).unwrap();
            while !executable(pid).is_some_and(|program| program.ends_with("sleep")) {
                std::thread::yield_now();
            }
            let unfit = unfit_for_a_command(pid);
            child.kill().unwrap();
            child.wait().unwrap();
            unfit
        };
        assert_eq!(unfit(&["--reuid=61237", "--clear-groups", "--no-new-privs"]), None);
        assert_eq!(unfit(&["--reuid=61237", "--clear-groups"]), Some("has not given up new privileges"));
        assert_eq!(unfit(&["--no-new-privs"]), Some("holds capabilities"));
        assert_eq!(unfit_for_a_command(i32::try_from(std::process::id()).unwrap()), Some("has more than one thread"));
    }

    #[test]
    fn a_capability_that_was_laid_aside_counts() {
        let laid_aside = std::thread::spawn(|| {
            let mut sets = rustix::thread::capabilities(None).unwrap();
            sets.effective = CapabilitySet::empty();
            rustix::thread::set_capabilities(None, sets).unwrap();
            Process::read(rustix::thread::gettid().as_raw_nonzero().get()).unwrap().escaping_capabilities()
        });
        assert!(laid_aside.join().unwrap().contains(&"cap_sys_admin"));
    }

    #[test]
    fn capabilities_of_another_user_namespace_do_not_count() {
        let own = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        let inside = Process { capabilities: u64::MAX, in_our_user_namespace: false, ..own };
        assert!(!inside.is_root() && inside.escaping_capabilities().is_empty());
    }
}
