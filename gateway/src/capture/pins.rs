//! Where links and maps are pinned: one type owns every path below the BPF file system.
//!
//! In: a cgroup id. Out: paths. The layout carries a version: a new layout of the maps gets a new directory, and the
//! old one is drained by `detach`. Pins do not survive the removal of their cgroup, which `health` looks after.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;

/// Magic of the BPF file system (linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Where it is mounted by convention (systemd does so at boot).
const BPF_FS: &str = "/sys/fs/bpf";

/// Version of the layout of all maps together.
const LAYOUT: &str = "v1";

/// The pins of one attachment.
#[derive(Debug, Clone)]
pub struct Pins {
    directory: PathBuf,
}

impl Pins {
    /// Those of a cgroup, which need not exist yet.
    #[must_use]
    pub fn of(cgroup: u64) -> Self {
        Self { directory: root().join(cgroup.to_string()) }
    }

    /// All that exist, with the cgroup ids that they were made for.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn all() -> io::Result<Vec<u64>> {
        match fs::read_dir(root()) {
            Ok(entries) => Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Makes the directories, mounting the BPF file system where it is missing.
    ///
    /// # Errors
    /// Where it cannot be mounted or written to.
    pub fn create(&self) -> io::Result<()> {
        if rustix::fs::statfs(BPF_FS)?.f_type as u64 != BPF_FS_MAGIC {
            rustix::mount::mount(
                "bpf",
                BPF_FS,
                "bpf",
                MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
                c"mode=0700",
            )?;
        }
        fs::create_dir_all(self.directory.join("maps"))?;
        fs::create_dir_all(self.directory.join("links"))
    }

    /// Whether something is pinned.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.directory.exists()
    }

    /// Of a map, by its name in the eBPF object.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.directory.join("maps").join(name.to_lowercase())
    }

    /// Of a link, by the name of its program.
    #[must_use]
    pub fn link(&self, program: &str) -> PathBuf {
        self.directory.join("links").join(program)
    }

    /// Removes the links in the order given, then the maps. A removed pin closes the last reference, and with it the
    /// hook.
    ///
    /// # Errors
    /// At the first pin that cannot be removed; those after it stay.
    pub fn remove<'a>(&self, programs: impl Iterator<Item = &'a str>) -> io::Result<()> {
        for program in programs {
            absent_is_fine(fs::remove_file(self.link(program)))?;
        }
        for entry in fs::read_dir(self.directory.join("maps")).into_iter().flatten().flatten() {
            absent_is_fine(fs::remove_file(entry.path()))?;
        }
        for directory in [self.directory.join("maps"), self.directory.join("links"), self.directory.clone()] {
            absent_is_fine(fs::remove_dir(directory))?;
        }
        Ok(())
    }
}

fn root() -> PathBuf {
    Path::new(BPF_FS).join("gateway").join(LAYOUT)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
