//! Whether cgroups come and go, told by inotify, which their file system supports like any other.
//!
//! In: directories. Out: that something was made or removed in one of them. What it was, the caller looks up: an event is
//! about a name, and names change hands.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

/// Directories that are watched.
#[derive(Debug)]
pub struct CgroupWatch {
    inotify: OwnedFd,
}

impl CgroupWatch {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// Where this user has too many of them (`fs.inotify.max_user_instances`).
    pub fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { inotify })
    }

    /// Watches a directory too, or its nearest ancestor that is there. It may be watched already.
    ///
    /// # Errors
    /// Where the system takes no more (`fs.inotify.max_user_watches`).
    pub fn add(&self, directory: &Path) -> io::Result<()> {
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        for level in directory.ancestors() {
            match inotify::add_watch(&self.inotify, level, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits until something was made or removed, or the time is over, and forgets it.
    ///
    /// # Errors
    /// Where the kernel cannot tell.
    pub fn wait(&self, time: &Timespec) -> io::Result<()> {
        let mut ready = [PollFd::new(&self.inotify, PollFlags::IN)];
        match poll(&mut ready, Some(time)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            match reader.next() {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::host::cgroup::Hierarchy;

    #[test]
    fn cgroups_that_are_made_and_removed_are_told_of_at_once_and_quiet_is_waited_out() {
        let top = Hierarchy::find().unwrap().mount().join(format!("gateway-watch-{}", std::process::id()));
        let watch = CgroupWatch::new().unwrap();
        watch.add(&top.join("inner")).unwrap();
        let told = |change: &dyn Fn()| {
            change();
            let start = Instant::now();
            watch.wait(&Timespec { tv_sec: 30, tv_nsec: 0 }).unwrap();
            assert!(start.elapsed() < Duration::from_secs(10));
        };
        told(&|| std::fs::create_dir(&top).unwrap());
        watch.add(&top).unwrap();
        told(&|| std::fs::create_dir(top.join("inner")).unwrap());
        told(&|| std::fs::remove_dir(top.join("inner")).unwrap());
        std::fs::remove_dir(&top).unwrap();
        watch.wait(&Timespec { tv_sec: 30, tv_nsec: 0 }).unwrap();
        watch.add(&top.join("inner")).unwrap();
        watch.wait(&Timespec { tv_sec: 0, tv_nsec: 1_000_000 }).unwrap();
    }
}
