//! What engine and shipper give up before they read their first byte.
//!
//! In: a process that root started. Out: the same under a user of its own, without capabilities or a way to get any,
//! without files, and with the system calls alone that its work takes. What it may do with descriptors that it is given
//! is not limited here.

pub mod typing;

use std::collections::BTreeMap;
use std::fs;

use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
use rustix::fs::{Gid, Uid};
use rustix::process::Signal;
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch};

/// Which process closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Serves connections.
    Engine,
    /// Copies the journal, over sockets that it is given.
    Shipper,
    /// Talks to people's browsers, on a socket that it is given.
    Console,
    /// Answers Prometheus, on a socket that it is given.
    Metrics,
}

impl Part {
    /// The user that packages make for it, and the id where there is none: of the range that systemd keeps for services
    /// without one (uids and gids of systemd, 61184 to 65519), so that nobody else's files belong to it. Each part has
    /// its own, or one could trace the other.
    fn user(self) -> (&'static str, u32) {
        match self {
            Self::Engine => ("gateway", 61_843),
            Self::Shipper => ("gateway-ship", 61_844),
            Self::Console => ("gateway-console", 61_845),
            Self::Metrics => ("gateway-metrics", 61_846),
        }
    }

    fn system_calls(self) -> Vec<i64> {
        match self {
            Self::Engine => [ALLOWED, DIALLING, WRITING].concat(),
            Self::Shipper => ALLOWED.to_vec(),
            Self::Console => [ALLOWED, LISTENING, WRITING].concat(),
            Self::Metrics => [ALLOWED, LISTENING].concat(),
        }
    }
}

/// Why the sandbox was not closed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// It is started by the warden alone.
    #[error("this process is started by the gateway as root, not by hand")]
    NotRoot,
    /// A right could not be given up.
    #[error("cannot {what}")]
    Kernel {
        /// Which.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The rules for files could not be put in force.
    #[error("cannot forbid files")]
    Landlock(#[from] landlock::RulesetError),
    /// The rules for system calls could not be put in force.
    #[error("cannot limit system calls")]
    Seccomp(#[from] seccompiler::Error),
    /// This build is for another processor.
    #[error("no system call filter for this architecture")]
    Architecture(#[from] seccompiler::BackendError),
}

/// Gives everything up. Call it while there is one thread.
///
/// # Errors
/// Where anything cannot be given up: the process must not go on then.
pub fn close(part: Part) -> Result<(), SandboxError> {
    if !rustix::process::geteuid().is_root() {
        return Err(SandboxError::NotRoot);
    }
    let id = user_id(part);
    let kernel = |what| move |error: rustix::io::Errno| SandboxError::Kernel { what, source: error.into() };
    // Children of a killed warden must not go on serving.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(kernel("tie our life to the warden's"))?;
    drop_capabilities(id)?;
    // Changing the user cleared the signal of the parent's death (prctl(2), PR_SET_PDEATHSIG).
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(kernel("tie our life to the warden's"))?;
    rustix::thread::set_no_new_privs(true).map_err(kernel("give up new privileges"))?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(kernel("forbid core dumps"))?;
    forbid_files()?;
    limit_system_calls(part)
}

fn user_id(part: Part) -> u32 {
    let (user, fallback) = part.user();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uid =
        passwd.lines().find_map(|line| line.strip_prefix(user)?.strip_prefix(':')?.split(':').nth(1)?.parse().ok());
    uid.filter(|uid| *uid != 0).unwrap_or(fallback)
}

fn drop_capabilities(id: u32) -> Result<(), SandboxError> {
    let kernel = |what| move |error: rustix::io::Errno| SandboxError::Kernel { what, source: error.into() };
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // One that this kernel does not know.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(kernel("empty the capability bounding set")(error)),
        }
    }
    rustix::thread::set_thread_groups(&[]).map_err(kernel("leave all groups"))?;
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(kernel("change the group"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(kernel("change the user"))?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).map_err(kernel("drop capabilities"))
}

/// Whether this kernel closes files to a process that asks for it.
#[must_use]
pub fn has_landlock() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset.handle_access(AccessFs::from_all(ABI::V1)).and_then(Ruleset::create).is_ok()
}

/// No path can be opened any more. Kernels without Landlock (before 5.13) leave the ordinary permissions of a user that
/// owns nothing.
fn forbid_files() -> Result<(), SandboxError> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .create()?
        .restrict_self()?;
    tracing::debug!(?status.ruleset, "no files");
    Ok(())
}

/// System calls that the work takes: memory, threads, descriptors, time. Others fail with EPERM.
const ALLOWED: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_lseek,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_prctl,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_tgkill,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_socketpair,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_membarrier,
];

/// And those that make a connection.
const DIALLING: &[i64] = &[libc::SYS_socket, libc::SYS_connect];

/// And one that takes a connection.
const LISTENING: &[i64] = &[libc::SYS_accept4];

/// And one that makes a file without a name, for a long message.
const WRITING: &[i64] = &[libc::SYS_memfd_create];

/// System calls that nothing here ever makes: whoever does has taken the process over, and it ends.
const FATAL: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_bpf,
    libc::SYS_mount,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_io_uring_setup,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    // The journal is added to and never cut.
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
];

fn limit_system_calls(part: Part) -> Result<(), SandboxError> {
    let allowed = filter(&part.system_calls(), SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow)?;
    let fatal = filter(FATAL, SeccompAction::Allow, SeccompAction::KillProcess)?;
    // The strictest answer of all filters counts. The second filter forbids to add another one.
    seccompiler::apply_filter(&fatal)?;
    seccompiler::apply_filter(&allowed)?;
    Ok(())
}

fn filter(calls: &[i64], others: SeccompAction, these: SeccompAction) -> Result<BpfProgram, SandboxError> {
    let rules: BTreeMap<i64, Vec<SeccompRule>> = calls.iter().map(|call| (*call, Vec::new())).collect();
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, others, these, architecture)?.try_into()?)
}
