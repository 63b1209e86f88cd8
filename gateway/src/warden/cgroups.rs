//! Cgroups that come and go. A service manager removes the cgroup of a service that ended, and the hooks go with it.
//!
//! In: what inotify tells of the directories above. Out: `[[attach]]`'s cgroups are there again, empty and with their hooks,
//! before whoever starts in them next is; those that somebody else made anew get theirs at once. It must never make a cgroup
//! that the configuration does not name.

use std::path::Path;
use std::sync::{Arc, Weak};

use rustix::event::Timespec;

use super::Warden;
use super::attachment::Attachment;
use crate::audit::event::Event;
use crate::host::cgroup_watch::CgroupWatch;

/// How long nothing has to happen for a look all the same.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

impl Warden {
    /// Looks whenever a cgroup comes or goes, on a thread of its own.
    pub(super) fn watch_cgroups(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        let watch = move || {
            if let Err(error) = watch(&weak) {
                tracing::error!(%error, "cgroups that are made anew are looked at ten seconds late");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("cgroups".into()).spawn(watch) {
            tracing::error!(%error, "cgroups that are made anew are looked at ten seconds late");
        }
    }

    fn look_after_cgroups(self: &Arc<Self>, watch: &CgroupWatch) -> std::io::Result<()> {
        for attachment in self.all() {
            let Some(cgroup) = attachment.cgroup() else { continue };
            // First, so that nothing is missed between the look and the wait.
            if let Some(parent) = self.hierarchy.full_path(&cgroup).parent() {
                watch.add(parent)?;
            }
            let path = Path::new(&cgroup.path);
            if self.hierarchy.at(path).is_ok_and(|now| now.id == cgroup.id) {
                continue;
            }
            if self.make_if_configured(attachment.name(), path) {
                self.follow(&attachment);
            }
            self.look_after_hooks_of(&attachment);
        }
        Ok(())
    }

    /// Puts the hooks over a cgroup that we have just made: nobody was in it without them. What cannot be is looked after as
    /// hooks that are gone.
    fn follow(self: &Arc<Self>, attachment: &Attachment) {
        let _alone = self.repairing.lock();
        if attachment.reattach(self).is_ok() {
            let reason = "its cgroup was removed with nobody in it, and was made again".to_owned();
            self.record(&Event::AttachmentRepaired(attachment.describe(&self.hierarchy, reason)));
        }
    }

    /// Makes a cgroup of `[[attach]]` that is not there; returns whether it did.
    fn make_if_configured(&self, name: &str, path: &Path) -> bool {
        if !self.config.lock().attachments.iter().any(|attach| attach.name == name) {
            return false;
        }
        self.hierarchy.make(path).unwrap_or_else(|error| {
            tracing::warn!(
                attachment = name,
                error = &error as &dyn std::error::Error,
                "a cgroup is gone and cannot be made again: what starts there is intercepted a moment late"
            );
            false
        })
    }
}

/// Until the warden is gone.
fn watch(warden: &Weak<Warden>) -> std::io::Result<()> {
    let watch = CgroupWatch::new()?;
    while let Some(warden) = warden.upgrade() {
        warden.look_after_cgroups(&watch)?;
        drop(warden);
        watch.wait(&LOOK_EVERY)?;
    }
    Ok(())
}
