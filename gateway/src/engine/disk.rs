//! What the disk of the journal has left, against the marks of the configuration.
//!
//! In: a look at the file system each second. Out: below the low mark no session begins, below the critical one those that run end;
//! both in the journal when it begins and when it is over. What it must never do: wait for a disk that is full, on which
//! nothing passes anyway.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::audit::event::{Event, Gap};
use crate::audit::journal::Disk;

const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Engine {
    /// Looks for ever.
    pub(super) async fn look_after_disk(self: Arc<Self>) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tick.tick().await;
            let (disk, left) = self.journal.disk();
            if self.disk.send_if_modified(|known| std::mem::replace(known, disk) != disk) {
                self.tell_of_disk(disk, left);
            }
        }
    }

    fn tell_of_disk(&self, disk: Disk, left: u64) {
        let means = match disk {
            Disk::Enough => "sessions begin again",
            Disk::Low => "no session begins",
            Disk::Critical => "no session begins, and those that run end",
        };
        let name = if disk == Disk::Enough { "disk_has_room" } else { "disk_low" };
        let detail = format!("the disk of the journal has {left} bytes left: {means}");
        tracing::warn!("{detail}");
        let event = Event::Gap(Gap { name: name.into(), detail, attachment: None });
        if let Err(error) = self.journal.append_unsynced(None, &event) {
            tracing::error!(%error, "the state of the disk could not be recorded");
        }
    }
}
