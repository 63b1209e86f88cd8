//! The names of attachments, for when no gateway runs: pins know cgroup ids only.
//!
//! In: an attachment. Out: a small file of its name in the run directory, which goes with a reboot as the pins do. Units wait
//! for it (`agents.slice`): it must never be there while the hooks of its cgroup are not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lock::RUN_DIR;
use crate::host::cgroup::Hierarchy;

/// What is kept of an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// The path of its cgroup.
    pub cgroup: String,
    /// The id that its pins go by.
    pub cgroup_id: u64,
}

/// Keeps an attachment's name.
///
/// # Errors
/// Where the run directory cannot be written to.
pub fn keep(kept: &Kept) -> io::Result<()> {
    fs::create_dir_all(directory())?;
    fs::write(directory().join(&kept.name), serde_json::to_vec(kept)?)
}

/// Forgets it.
pub fn forget(name: &str) {
    // One that is not there is forgotten already.
    let _ = fs::remove_file(directory().join(name));
}

/// Forgets those whose cgroup is gone, and its hooks with it.
///
/// # Errors
/// Where the directory cannot be read.
pub fn forget_stale(hierarchy: &Hierarchy) -> io::Result<()> {
    for kept in all()? {
        if hierarchy.at(Path::new(&kept.cgroup)).map_or(true, |cgroup| cgroup.id != kept.cgroup_id) {
            forget(&kept.name);
        }
    }
    Ok(())
}

/// All that are kept.
///
/// # Errors
/// Where the directory cannot be read.
pub fn all() -> io::Result<Vec<Kept>> {
    match fs::read_dir(directory()) {
        Ok(entries) => Ok(entries
            .flatten()
            .filter_map(|entry| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok())
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn directory() -> PathBuf {
    Path::new(RUN_DIR).join("attachments")
}
