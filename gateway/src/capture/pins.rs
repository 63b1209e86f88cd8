//! Where links and maps are pinned: one type owns every path below the BPF file system.
//!
//! In: a cgroup id, and the eBPF object of this build. Out: paths. The maps of each object have a directory of their own,
//! since no other object's programs may take them for theirs; links are the same for all. Pins do not survive the removal
//! of their cgroup, which `health` looks after.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use rustix::mount::MountFlags;

use super::gate::OBJECT;

/// Magic of the BPF file system (linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Where it is mounted by convention (systemd does so at boot).
const BPF_FS: &str = "/sys/fs/bpf";

/// What directories of maps begin with; then comes what tells the object.
const MAPS: &str = "maps";

/// Version of where things are pinned.
const LAYOUT: &str = "v1";

/// The pins of one attachment.
#[derive(Debug, Clone)]
pub struct Pins {
    directory: PathBuf,
    maps: PathBuf,
}

impl Pins {
    /// Those of a cgroup, which need not exist yet.
    #[must_use]
    pub fn of(cgroup: u64) -> Self {
        let directory = root().join(cgroup.to_string());
        Self { maps: directory.join(format!("{MAPS}-{}", *OBJECT_DIGEST)), directory }
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
        fs::create_dir_all(&self.maps)?;
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
        self.maps.join(name.to_lowercase())
    }

    /// Of a link, by the name of its program.
    #[must_use]
    pub fn link(&self, program: &str) -> PathBuf {
        self.directory.join("links").join(program)
    }

    /// A map as other builds pinned it.
    pub fn of_other_builds(&self, map: &str) -> impl Iterator<Item = PathBuf> {
        let name = map.to_lowercase();
        self.maps_of_all().into_iter().filter(|maps| *maps != self.maps).map(move |maps| maps.join(&name))
    }

    /// Links of programs that are none of these: another build's.
    #[must_use]
    pub fn other_links<'a>(&self, programs: impl Iterator<Item = &'a str>) -> Vec<PathBuf> {
        let known: Vec<_> = programs.map(|program| self.link(program)).collect();
        let pinned = entries(&self.directory.join("links"));
        pinned.into_iter().filter(|link| !known.contains(link)).collect()
    }

    /// Removes the maps of other builds.
    ///
    /// # Errors
    /// At the first that cannot be removed.
    pub fn forget_other_builds(&self) -> io::Result<()> {
        self.maps_of_all().iter().filter(|maps| **maps != self.maps).try_for_each(|maps| remove_all(maps))
    }

    fn maps_of_all(&self) -> Vec<PathBuf> {
        let is_maps = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(MAPS));
        entries(&self.directory).into_iter().filter(is_maps).collect()
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
        self.maps_of_all().iter().try_for_each(|maps| remove_all(maps))?;
        absent_is_fine(fs::remove_dir(self.directory.join("links")))?;
        absent_is_fine(fs::remove_dir(&self.directory))
    }
}

/// What tells this build's object from others.
static OBJECT_DIGEST: LazyLock<String> = LazyLock::new(|| {
    let digest = digest(&SHA256, OBJECT);
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
});

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn remove_all(maps: &Path) -> io::Result<()> {
    entries(maps).into_iter().try_for_each(|map| absent_is_fine(fs::remove_file(map)))?;
    absent_is_fine(fs::remove_dir(maps))
}

fn root() -> PathBuf {
    Path::new(BPF_FS).join("gateway").join(LAYOUT)
}

/// What was to be removed may be gone already.
pub(super) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
