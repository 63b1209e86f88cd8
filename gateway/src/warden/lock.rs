//! One gateway per host.
//!
//! In: nothing. Out: the lock, held as long as it lives. The kernel frees it with the process, so that a killed
//! gateway leaves none behind.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::FlockOperation;

/// Where the lock and the control socket are (file-hierarchy(7)).
pub const RUN_DIR: &str = "/run/gateway";

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another gateway runs.
    #[error("a gateway runs on this host already: `gateway status` shows it")]
    Held,
    /// The file could not be made.
    #[error("cannot lock {RUN_DIR}/lock: needs root")]
    Io(#[source] io::Error),
}

/// The lock.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, never read")] File);

impl Lock {
    /// Takes it, or says who has it.
    ///
    /// # Errors
    /// Where another gateway runs, or the file cannot be made.
    pub fn take() -> Result<Self, LockError> {
        fs::create_dir_all(RUN_DIR).map_err(LockError::Io)?;
        // Everybody may ask the control socket, which looks at who asks; nobody else writes here.
        fs::set_permissions(RUN_DIR, PermissionsExt::from_mode(0o755)).map_err(LockError::Io)?;
        let path = Path::new(RUN_DIR).join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(LockError::Io)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Held),
            Err(error) => Err(LockError::Io(error.into())),
        }
    }
}
