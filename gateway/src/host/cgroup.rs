//! The cgroup v2 hierarchy: where it is mounted, which id a path has and which path an id.
//!
//! In: `/proc/self/mountinfo` and paths below the mount. Out: ids (inode numbers, as the kernel side reports them) and
//! paths relative to the mount. Never follows a path out of the hierarchy.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use quick_cache::sync::Cache;
use rustix::fs::{CWD, Mode, OFlags};

/// Magic of the cgroup2 file system (linux/magic.h).
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// Below it every command that runs intercepted has its cgroup.
pub const COMMANDS: &str = "gateway.slice";

/// Cgroups whose place is remembered.
const REMEMBERED: usize = 4_096;

/// Cgroups that a walk of a subtree visits at most.
const WALK_LIMIT: usize = 100_000;

/// Why a cgroup could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// There is no cgroup v2 mount.
    #[error(
        "cannot find a cgroup2 mount in /proc/self/mountinfo: mount one with `mount -t cgroup2 none /sys/fs/cgroup`"
    )]
    NotMounted,
    /// A system call failed on a path.
    #[error("cannot {what} `{path}`")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The path is not below the cgroup2 mount.
    #[error("`{path}` is not a cgroup of the cgroup2 mount at `{mount}`")]
    NotACgroup {
        /// What was given.
        path: PathBuf,
        /// Where the hierarchy is.
        mount: PathBuf,
    },
}

/// The mounted hierarchy.
#[derive(Debug)]
pub struct Hierarchy {
    mount: PathBuf,
    root: OwnedFd,
    /// Where cgroups were, by id, which no other gets (kernfs, 64-bit hosts).
    places: Cache<u64, Place>,
}

/// Where a cgroup is, for telling who is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Its path below the mount.
    pub path: String,
    /// The beginning of the path, up to where somebody else than root could have named a level.
    pub named_by_root: String,
}

/// A cgroup: where it is, and the id that the kernel side reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    /// Below the mount, starting with `/`.
    pub path: String,
    /// The inode number of its directory.
    pub id: u64,
}

impl Hierarchy {
    /// Finds the cgroup2 mount, which on hybrid hosts is `/sys/fs/cgroup/unified`.
    ///
    /// # Errors
    /// Where there is none, or it cannot be opened.
    pub fn find() -> Result<Self, CgroupError> {
        let table = fs::read_to_string("/proc/self/mountinfo").map_err(|source| CgroupError::Io {
            what: "read",
            path: "/proc/self/mountinfo".into(),
            source,
        })?;
        let mount = mount_point(&table).ok_or(CgroupError::NotMounted)?;
        let root = open(&mount)?;
        Ok(Self { mount, root, places: Cache::new(REMEMBERED) })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// A path, given in full or below the mount, in full.
    fn in_full(&self, path: &Path) -> PathBuf {
        if path.starts_with(&self.mount) {
            return path.to_owned();
        }
        self.mount.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Makes the cgroup at a path, and those above it, unless it is there; returns whether it was not.
    ///
    /// # Errors
    /// Where it cannot be made, or lies elsewhere.
    pub fn make(&self, path: &Path) -> Result<bool, CgroupError> {
        let full = self.in_full(path);
        // What was meant in full, of a hierarchy that is mounted elsewhere here.
        let is_elsewhere = path.starts_with("/sys") && !path.starts_with(&self.mount);
        if is_elsewhere || full.components().any(|part| part == Component::ParentDir) {
            return Err(CgroupError::NotACgroup { path: path.to_owned(), mount: self.mount.clone() });
        }
        if full.exists() {
            return Ok(false);
        }
        fs::create_dir_all(&full).map_err(|source| CgroupError::Io { what: "make", path: full, source })?;
        Ok(true)
    }

    /// The cgroup at a path, given in full or below the mount.
    ///
    /// # Errors
    /// Where it does not exist or lies elsewhere.
    pub fn at(&self, path: &Path) -> Result<Cgroup, CgroupError> {
        let full = self.in_full(path);
        let full = fs::canonicalize(&full).map_err(|source| CgroupError::Io { what: "open", path: full, source })?;
        let stranger = || CgroupError::NotACgroup { path: full.clone(), mount: self.mount.clone() };
        let below = full.strip_prefix(&self.mount).map_err(|_| stranger())?;
        let fd = open(&full)?;
        let magic = rustix::fs::fstatfs(&fd).map(|found| found.f_type as u64);
        if magic != Ok(CGROUP2_SUPER_MAGIC) {
            return Err(stranger());
        }
        let id = rustix::fs::fstat(&fd)
            .map_err(|error| CgroupError::Io { what: "look at", path: full.clone(), source: error.into() })?
            .st_ino;
        Ok(Cgroup { path: format!("/{}", below.display()), id })
    }

    /// The path of a cgroup below the mount; `None` where it is gone.
    #[must_use]
    pub fn path_of(&self, id: u64) -> Option<String> {
        use std::os::fd::AsRawFd;
        let fd = gateway_common::sys::open_cgroup_by_id(&self.root, id).ok()?;
        let path = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
        let below = path.strip_prefix(&self.mount).ok()?;
        Some(format!("/{}", below.display()))
    }

    /// Where a cgroup is, or was when it was first asked for: no cgroup v2 moves or changes its name, and one that somebody
    /// else makes once a level is theirs has another id. Where it was gone before: nothing.
    #[must_use]
    pub fn place_of(&self, id: u64) -> Place {
        if let Some(place) = self.places.get(&id) {
            return place;
        }
        let Some(path) = self.path_of(id) else { return Place::default() };
        let place = Place { named_by_root: self.named_by_root(&path).to_owned(), path };
        self.places.insert(id, place.clone());
        place
    }

    /// Levels have the name that somebody gave them who may write to the level above.
    fn named_by_root<'p>(&self, path: &'p str) -> &'p str {
        let mut full = self.mount.clone();
        let mut end = 0;
        for level in path.split('/').skip(1) {
            if !is_roots(&full) {
                break;
            }
            full.push(level);
            end += 1 + level.len();
        }
        path.get(..end).unwrap_or_default()
    }

    /// The full path of a cgroup.
    #[must_use]
    pub fn full_path(&self, cgroup: &Cgroup) -> PathBuf {
        self.mount.join(cgroup.path.trim_start_matches('/'))
    }

    /// A descriptor to attach programs with.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn open(&self, cgroup: &Cgroup) -> Result<OwnedFd, CgroupError> {
        open(&self.full_path(cgroup))
    }

    /// The processes of a cgroup and of all below it.
    ///
    /// # Errors
    /// Where the cgroup itself cannot be read; those below it may vanish meanwhile.
    pub fn processes(&self, cgroup: &Cgroup) -> Result<Vec<i32>, CgroupError> {
        let top = self.full_path(cgroup);
        read_processes(&top).map_err(|source| CgroupError::Io { what: "read", path: top.clone(), source })?;
        Ok(subtree(top).iter().flat_map(|path| read_processes(path).unwrap_or_default()).collect())
    }

    /// The ids of a cgroup and of all below it.
    #[must_use]
    pub fn ids(&self, cgroup: &Cgroup) -> HashSet<u64> {
        let inode = |path: &PathBuf| fs::metadata(path).ok().map(|found| found.ino());
        subtree(self.full_path(cgroup)).iter().filter_map(inode).collect()
    }

    /// The full paths of all cgroups.
    #[must_use]
    pub fn all(&self) -> Vec<PathBuf> {
        subtree(self.mount.clone())
    }

    /// The cgroup v2 path of a process; `None` where it is gone.
    #[must_use]
    pub fn of_process(&self, pid: i32) -> Option<String> {
        let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        table.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
    }

    /// The first level between the root and a cgroup, itself included, that somebody else than root could write to: a
    /// process of theirs could move out of the subtree, or make a cgroup that it then leaves.
    ///
    /// # Errors
    /// Where a level cannot be looked at.
    pub fn delegated(&self, cgroup: &Cgroup) -> Result<Option<(PathBuf, u32)>, CgroupError> {
        let full = self.full_path(cgroup);
        for level in full.ancestors().take_while(|level| level.starts_with(&self.mount)) {
            for path in [level.to_owned(), level.join("cgroup.procs")] {
                match fs::metadata(&path) {
                    Ok(found) if !is_for_root_alone(&found) => return Ok(Some((path, found.uid()))),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => return Err(CgroupError::Io { what: "look at", path, source }),
                }
            }
        }
        Ok(None)
    }
}

fn is_for_root_alone(found: &fs::Metadata) -> bool {
    found.uid() == 0 && found.mode() & 0o022 == 0
}

fn is_roots(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|found| is_for_root_alone(&found))
}

/// Whether a cgroup path is another or lies below it.
#[must_use]
pub fn contains(outer: &str, inner: &str) -> bool {
    let outer = outer.trim_end_matches('/');
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Kills whatever is left in a cgroup, and waits until it is empty.
pub async fn end_all(cgroup: &Path) {
    let is_populated =
        || fs::read_to_string(cgroup.join("cgroup.events")).is_ok_and(|events| events.contains("populated 1"));
    while is_populated() {
        // cgroup.kill is there from Linux 5.14.
        if fs::write(cgroup.join("cgroup.kill"), "1").is_err() {
            let pids = subtree(cgroup.to_owned())
                .iter()
                .flat_map(|path| read_processes(path).unwrap_or_default())
                .collect::<Vec<_>>();
            for pid in pids.into_iter().filter_map(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Removes a cgroup and all below it.
///
/// # Errors
/// `EBUSY` where somebody is in it.
pub fn remove(cgroup: &Path) -> io::Result<()> {
    subtree(cgroup.to_owned()).iter().rev().try_for_each(fs::remove_dir)
}

/// A directory and all below it, up to the limit.
fn subtree(top: PathBuf) -> Vec<PathBuf> {
    let mut found = vec![top];
    let mut next = 0;
    while let Some(path) = found.get(next) {
        let children = fs::read_dir(path).into_iter().flatten().flatten();
        let directories: Vec<_> = children
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        found.extend(directories.into_iter().take(WALK_LIMIT.saturating_sub(found.len())));
        next += 1;
    }
    found
}

fn mount_point(table: &str) -> Option<PathBuf> {
    // Fields: id, parent, device, root, mount point, options, then optional fields up to `-`, then the type.
    table.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (kind.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(point))
    })
}

fn open(path: &Path) -> Result<OwnedFd, CgroupError> {
    rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| CgroupError::Io { what: "open", path: path.to_owned(), source: error.into() })
}

fn read_processes(path: &Path) -> io::Result<Vec<i32>> {
    let list = fs::read_to_string(path.join("cgroup.procs"))?;
    Ok(list.lines().filter_map(|line| line.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_mount_on_pure_and_hybrid_hosts() {
        let pure = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        let hybrid = "40 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n31 30 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        assert_eq!(mount_point(pure), Some("/sys/fs/cgroup".into()));
        assert_eq!(mount_point(hybrid), Some("/sys/fs/cgroup/unified".into()));
    }

    #[test]
    fn takes_no_mount_that_shows_a_part_of_the_hierarchy() {
        assert_eq!(mount_point("30 23 0:26 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup rw\n"), None);
    }

    #[test]
    fn a_sibling_with_a_longer_name_is_not_below() {
        assert!(contains("/agents", "/agents/a") && contains("/agents", "/agents") && contains("/", "/agents"));
        assert!(!contains("/agents", "/agents-2") && !contains("/agents/a", "/agents"));
    }

    #[test]
    fn what_others_may_name_is_not_roots_name_and_a_place_outlives_its_cgroup() {
        let hierarchy = Hierarchy::find().unwrap();
        let top = hierarchy.mount().join(format!("gateway-place-{}", std::process::id()));
        let inner = top.join("delegated/trusted.service");
        fs::create_dir_all(&inner).unwrap();
        std::os::unix::fs::chown(top.join("delegated"), Some(61_234), None).unwrap();
        let id = fs::metadata(&inner).unwrap().ino();
        let place = hierarchy.place_of(id);
        remove(&top).unwrap();
        let name = top.file_name().unwrap().to_str().unwrap();
        assert_eq!(place.path, format!("/{name}/delegated/trusted.service"));
        assert_eq!(place.named_by_root, format!("/{name}/delegated"));
        assert_eq!((hierarchy.path_of(id), hierarchy.place_of(id)), (None, place));
        assert_eq!(hierarchy.place_of(u64::MAX), Place::default());
    }

    #[test]
    fn ids_lead_back_to_paths() {
        let hierarchy = Hierarchy::find().unwrap();
        let root = hierarchy.at(Path::new("/")).unwrap();
        assert_eq!(hierarchy.path_of(root.id).as_deref(), Some("/"));
    }
}
