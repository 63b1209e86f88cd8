//! A cgroup to try programs on.
//!
//! In: the hierarchy. Out: a cgroup that nobody else has, gone with its handle. Nothing that matters ever runs in it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::host::cgroup::{Cgroup, CgroupError, Hierarchy};

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// It could not be made.
    #[error("cannot make the cgroup `{path}` to try programs on")]
    Make {
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It could not be used.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

/// The cgroup.
#[derive(Debug)]
pub struct Trial {
    path: PathBuf,
}

impl Trial {
    /// Makes it.
    ///
    /// # Errors
    /// Where the hierarchy is not writable.
    pub fn begin(hierarchy: &Hierarchy) -> Result<Self, TrialError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = hierarchy.mount().join(format!("gateway-trial-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).map_err(|source| TrialError::Make { path: path.clone(), source })?;
        Ok(Self { path })
    }

    /// What programs are attached to.
    ///
    /// # Errors
    /// Where somebody removed it.
    pub fn open(&self, hierarchy: &Hierarchy) -> Result<(Cgroup, OwnedFd), TrialError> {
        let cgroup = hierarchy.at(&self.path)?;
        let directory = hierarchy.open(&cgroup)?;
        Ok((cgroup, directory))
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the cgroup that was made for a trial");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_trials_do_not_meet_and_leave_nothing() {
        let hierarchy = Hierarchy::find().unwrap();
        let (one, other) = (Trial::begin(&hierarchy).unwrap(), Trial::begin(&hierarchy).unwrap());
        let paths = [one.path().to_owned(), other.path().to_owned()];
        assert_ne!(one.open(&hierarchy).unwrap().0.id, other.open(&hierarchy).unwrap().0.id);
        drop((one, other));
        assert_eq!(paths.map(|path| path.exists()), [false; 2]);
    }
}
