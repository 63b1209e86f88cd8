//! The second backstop of an attachment: links that lead from its namespaces to this host.
//!
//! In: its namespaces, now and whenever a device comes or goes. Out: the program on our end of each link, once and for as
//! long as the attachment is there: a namespace that nobody is in may still forward for one behind it.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use rustix::io::Errno;

use super::attachment::Attachment;
use super::{Warden, WardenError};
use crate::audit::event::{self, Event};
use crate::capture::CaptureError;
use crate::capture::backstop::{Put, Root};
use crate::capture::links::{self, Links};
use crate::host::netns::Netns;

/// Devices of ours that an attachment's packets arrive by, and from where.
pub(super) type Guarded = HashSet<(u32, Root)>;

impl Attachment {
    /// Looks at links of its namespaces that were not there before. Where the backstop cannot stand before a namespace whose
    /// root is the workload's, that is a gap.
    ///
    /// # Errors
    /// With the first link that it cannot stand on.
    pub(super) fn guard_links(&self, warden: &Warden) -> Result<(), WardenError> {
        let guard = |namespace: &Netns| self.guard_links_of(warden, namespace);
        self.clone_namespaces().iter().map(guard).fold(Ok(()), Result::and)
    }

    /// The same of one namespace.
    ///
    /// # Errors
    /// As `guard_links`.
    pub(super) fn guard_links_of(&self, warden: &Warden, namespace: &Netns) -> Result<(), WardenError> {
        let own = Netns::own()?;
        if namespace.inode()? == own.inode()? {
            return Ok(());
        }
        let Links { here, .. } = links::of(&warden.namespaces, namespace, &own)?;
        let root = if namespace.is_ours().unwrap_or(false) { Root::OfHost } else { Root::OfWorkload };
        let guarded = here.into_iter().map(|device| self.guard(warden, device, root)).fold(Ok(()), Result::and);
        match guarded {
            Err(error) if root == Root::OfHost => {
                // Who gets past the hooks from there has CAP_NET_ADMIN on this host, which is a gap by itself.
                tracing::warn!(error = &error as &dyn std::error::Error, "a link has no second backstop");
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn guard(&self, warden: &Warden, device: u32, root: Root) -> Result<(), CaptureError> {
        let how = if self.guarded().contains(&(device, root)) { Put::IfAbsent } else { Put::Anew };
        let put = self.with_gate(|gate| gate.guard(device, root, how)).unwrap_or(Ok(false));
        match put {
            Ok(true) if how == Put::IfAbsent => {
                let reason = format!("the second backstop was taken off device {device}, and stands again");
                warden.record(&Event::AttachmentRepaired(self.describe(&warden.hierarchy, reason)));
            }
            Ok(_) => {
                self.guarded().insert((device, root));
            }
            // It went while we looked.
            Err(CaptureError::Link { source, .. }) if source.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => {
                self.guarded().remove(&(device, root));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The same, later: what cannot be is journaled.
    pub(super) fn guard_new_links(&self, warden: &Warden) {
        if let Err(error) = self.guard_links(warden) {
            let gap = links::linked(&format!("of attachment {}", self.name()), &crate::chain::chain(&error));
            let (name, detail) = (gap.name, gap.detail);
            warden.record(&Event::Gap(event::Gap { name, detail, attachment: Some(self.name().to_owned()) }));
        }
    }
}

impl Warden {
    /// Guards links as soon as they are there, on a thread of its own.
    pub(super) fn watch_links(self: &Arc<Self>) {
        let weak: Weak<Self> = Arc::downgrade(self);
        let watch = move || {
            let look = || {
                let Some(warden) = weak.upgrade() else { return false };
                for attachment in warden.all() {
                    attachment.guard_new_links(&warden);
                }
                true
            };
            if let Err(error) = links::watch(look) {
                tracing::error!(%error, "links that are plugged in are looked at ten seconds late");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("links".into()).spawn(watch) {
            tracing::error!(%error, "links that are plugged in are looked at ten seconds late");
        }
    }
}
