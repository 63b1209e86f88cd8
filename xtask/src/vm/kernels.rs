//! The kernels that are tried beside the one that runs here. In: the cache. Out: their files, or the command that gets
//! them. It must never look at what the machine itself boots.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{checkout, line};

/// A kernel of Debian's, for virtual machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Its release series.
    pub(crate) series: &'static str,
    /// The suite that has it.
    suite: &'static str,
    /// It runs LSM programs of a cgroup: Linux 6.0, and `bpf` among its security modules.
    pub(super) runs_lsm: bool,
    /// The processor that is emulated.
    pub(super) processor: &'static str,
}

/// Without fast string instructions (erms, fsrm): emulated, they go byte by byte, and without them Linux copies and clears
/// memory by words. Measured: two thirds of the time. Without cx16: the emulated cmpxchg16b corrupts the flags that Linux
/// 6.12 reads after it (QEMU 7.2).
const WITHOUT_CX16: &str = "max,cx16=off,erms=off,fsrm=off";
/// With it: Linux from 6.19 allocates what BPF programs keep with a socket by `kmalloc_nolock`, which fails without cmpxchg16b.
const WHOLE: &str = "max,erms=off,fsrm=off";

/// The one that every run of the tests boots.
pub(crate) const USUAL: Kernel = Kernel { series: "6.1", suite: "bookworm", runs_lsm: true, processor: WITHOUT_CX16 };

/// All of them: from the oldest that is promised to the newest that there is.
pub(crate) const ALL: [Kernel; 4] = [
    Kernel { series: "5.10", suite: "bullseye", runs_lsm: false, processor: WITHOUT_CX16 },
    USUAL,
    Kernel { series: "6.12", suite: "bookworm-backports", runs_lsm: true, processor: WITHOUT_CX16 },
    Kernel { series: "7.2", suite: "sid", runs_lsm: true, processor: WHOLE },
];

impl Kernel {
    /// The folder in the cache that holds it.
    pub(crate) fn folder(self, cache: &Path) -> PathBuf {
        cache.join("tools").join(format!("linux-{}", self.series))
    }

    /// The file of it that is written last.
    pub(crate) fn file(self, cache: &Path) -> PathBuf {
        self.folder(cache).join("version")
    }

    /// What gets it.
    pub(crate) fn install(self, cache: &Path) -> Result<Command> {
        let mut command = Command::new("sh");
        command.arg(checkout()?.join("xtask/src/setup/kernel.sh")).arg(self.folder(cache)).arg(self.suite);
        Ok(command)
    }

    /// Its release, as `uname -r` says it.
    pub(super) fn version(self, cache: &Path) -> Result<String> {
        let file = self.file(cache);
        let text = fs::read_to_string(&file).with_context(|| {
            format!("there is no kernel {} in {}: run `cargo xtask setup`", self.series, file.display())
        })?;
        Ok(text.trim().to_owned())
    }

    /// The modules that have to be there before the files of this machine are, in the order of loading. What a kernel
    /// has built in is not a module.
    pub(super) fn first_modules(self, cache: &Path, more: &[&str]) -> Result<Vec<PathBuf>> {
        let version = self.version(cache)?;
        let mut found = Vec::new();
        for module in ["virtio_pci", "virtiofs", "overlay"].iter().chain(more) {
            let mut modprobe = Command::new("/sbin/modprobe");
            modprobe.arg("--dirname").arg(self.folder(cache)).args([
                "--set-version",
                &version,
                "--show-depends",
                module,
            ]);
            let output = modprobe.output().with_context(|| format!("cannot run `{}`", line(&modprobe)))?;
            let text = String::from_utf8_lossy(&output.stdout);
            for path in
                text.lines().filter_map(|line| line.strip_prefix("insmod ")).map(|rest| PathBuf::from(rest.trim()))
            {
                if !found.contains(&path) {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }
}
