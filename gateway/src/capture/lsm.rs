//! The LSM hooks of an attachment: what no cgroup socket hook sees.
//!
//! In: a kernel that may or may not run them. Out: what it takes to load them, or why there are none, which is a gap with a
//! name. They are there or not for a whole host: an attachment where they are gets them all, or is refused. It must never
//! take hooks that load for hooks that run: where `bpf` is not among the active security modules they do only the former.

use std::fs;
use std::io;

use aya::maps::Array;
use aya::programs::{Program, ProgramError};
use aya::{Btf, Ebpf, EbpfLoader};
use gateway_common::sys::AttachType;
use gateway_common::{KernelLayout, Settings};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::btf;
use super::canary;
use super::gate::OBJECT;
use super::trial::{Trial, TrialError};
use crate::host::cgroup::Hierarchy;

/// The programs, each named as its LSM hook, in the order of attaching: after those of `gate::HOOKS`.
pub const HOOKS: [(&str, AttachType); 4] = [
    ("socket_create", AttachType::LsmCgroup),
    ("file_receive", AttachType::LsmCgroup),
    ("unix_stream_connect", AttachType::LsmCgroup),
    ("unix_may_send", AttachType::LsmCgroup),
];

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub enum LsmError {
    /// The kernel does not describe its types, or is so old that sockets have their cgroup elsewhere.
    #[error(
        "{} does not tell where sockets have their cgroup: needs Linux 6.0 with CONFIG_DEBUG_INFO_BTF",
        btf::KERNEL
    )]
    Types,
    /// The object could not be loaded.
    #[error("the eBPF object does not load")]
    Object(#[source] Box<aya::EbpfError>),
    /// The object lacks something that this build of the gateway expects.
    #[error("the eBPF object has no {name}: the build embedded an object of another version")]
    Missing {
        /// A program.
        name: &'static str,
    },
    /// A program could not be loaded or attached.
    #[error("the LSM program {program} does not {what} ({answer}): needs Linux 6.0 with CONFIG_BPF_LSM")]
    Program {
        /// Which one.
        program: &'static str,
        /// What was tried.
        what: &'static str,
        /// The kernel's answer, without the verifier's log.
        answer: String,
    },
    /// They load, and nobody calls them.
    #[error("LSM programs load but do not run: boot with `bpf` added to lsm=, see /sys/kernel/security/lsm")]
    Silent,
    /// There was nothing to try them on.
    #[error(transparent)]
    Trial(#[from] TrialError),
    /// Nobody could try them.
    #[error("cannot start a process of our own that tries LSM programs")]
    Process(#[source] io::Error),
}

/// What it takes to load them on this kernel.
#[derive(Debug)]
pub struct Lsm {
    types: Btf,
    layout: KernelLayout,
}

impl Lsm {
    /// Tries them on a cgroup that is made for it, with a process of ours inside.
    ///
    /// # Errors
    /// With the reason why there are none.
    pub fn find(hierarchy: &Hierarchy) -> Result<Self, LsmError> {
        let bytes = fs::read(btf::KERNEL).map_err(|_| LsmError::Types)?;
        let layout = btf::layout(&bytes).ok_or(LsmError::Types)?;
        let types = Btf::parse(&bytes, aya::Endianness::default()).map_err(|_| LsmError::Types)?;
        let lsm = Self { types, layout };
        let trial = Trial::begin(hierarchy)?;
        let (cgroup, directory) = trial.open(hierarchy)?;
        let mut loader = EbpfLoader::new();
        loader.btf(Some(&lsm.types));
        let mut ebpf = lsm.prepare(&mut loader).load(OBJECT).map_err(|e| LsmError::Object(Box::new(e)))?;
        lsm.load(&mut ebpf)?;
        let settings = ebpf.map_mut("SETTINGS").and_then(|map| Array::try_from(map).ok());
        let mut settings = settings.ok_or(LsmError::Missing { name: "SETTINGS" })?;
        let own = Settings { cgroup: cgroup.id, ..Settings::default() };
        settings.set(0, own, 0).map_err(|_| LsmError::Missing { name: "SETTINGS" })?;
        for (name, _) in HOOKS {
            let Some(Program::LsmCgroup(program)) = ebpf.program_mut(name) else {
                return Err(LsmError::Missing { name });
            };
            program.attach(&directory).map_err(|error| failed(name, "attach", &error))?;
        }
        let failed = canary::send(trial.path(), &[canary::Trial::Lsm]).map_err(LsmError::Process)?;
        if failed.is_none() { Ok(lsm) } else { Err(LsmError::Silent) }
    }

    /// Tells the programs of the kernel that they run on, before they are loaded.
    pub(super) fn prepare<'l, 'a>(&'a self, loader: &'l mut EbpfLoader<'a>) -> &'l mut EbpfLoader<'a> {
        loader.override_global("LAYOUT", &self.layout, true)
    }

    /// Loads them.
    pub(super) fn load(&self, ebpf: &mut Ebpf) -> Result<(), LsmError> {
        for (name, _) in HOOKS {
            let Some(Program::LsmCgroup(program)) = ebpf.program_mut(name) else {
                return Err(LsmError::Missing { name });
            };
            program.load(name, &self.types).map_err(|error| failed(name, "load", &error))?;
        }
        Ok(())
    }
}

fn failed(program: &'static str, what: &'static str, error: &ProgramError) -> LsmError {
    let answer = match error {
        ProgramError::LoadError { io_error, .. } => io_error.to_string(),
        ProgramError::SyscallError(error) => error.io_error.to_string(),
        other => other.to_string(),
    };
    LsmError::Program { program, what, answer }
}

/// Whether they run where we are: only they refuse, without a word, a socket of the family that nobody has.
#[must_use]
pub fn run_here() -> bool {
    let made = rustix::net::socket_with(AddressFamily::UNSPEC, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    made.is_err_and(|error| error == Errno::PERM)
}
