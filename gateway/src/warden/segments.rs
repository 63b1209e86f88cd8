//! Journals in pieces: a segment that is long enough is followed by another one.
//!
//! In: the journals that are being written, by the warden and by the engine. Out: for each that is long a fresh segment,
//! which its writer goes on in when it likes; one that never does loses nothing. Where none can be made, the old one grows.
//! What is whole and sealed is compressed, and removed once it is old enough.

use std::fs::File;
use std::os::fd::AsFd;

use tokio::task::JoinHandle;

use super::Warden;
use super::engine_process::forbid_changes;
use crate::audit::Layout;
use crate::audit::journal::{LayoutError, SealError, Sealer, open_regular, pack};
use crate::bridge::ToEngine;
use crate::config::JournalSection;
use crate::id::JournalId;

/// Each removal takes a seal, which takes a few writes to the disk.
const REMOVED_AT_ONCE: u32 = 100;

impl Warden {
    /// Has journals go on in another segment where the last one is long.
    pub(super) async fn turn_over(&self) {
        let limit = self.config.lock().journal.segment_bytes;
        let layout = self.engine.layout();
        match next_segment(layout, self.journal.id(), limit).await {
            Ok(Some(segment)) => {
                if let Err(error) = self.journal.go_on_in(segment) {
                    tracing::error!(%error, "the warden's journal does not go on in its next segment");
                }
            }
            Ok(None) => {}
            Err(error) => not_made(&error),
        }
        let Some((bridge, journal)) = self.engine.writes() else { return };
        match next_segment(layout, journal, limit).await {
            // An engine that takes nothing is about to be replaced.
            Ok(Some(segment)) => drop(bridge.send(&ToEngine::Segment, &[segment.as_fd()]).await),
            Ok(None) => {}
            Err(error) => not_made(&error),
        }
    }
}

impl Warden {
    /// Begins to compress what is whole, beside everything else.
    pub(super) fn pack_whole(&self, sealer: &Sealer) -> Option<JoinHandle<()>> {
        let whole = sealer.whole().inspect_err(|error| tracing::error!(%error, "nothing is compressed")).ok()?;
        let layout = self.engine.layout().clone();
        let pack_all = move || {
            for (journal, segment) in whole {
                if let Err(error) = pack(&layout, journal, segment) {
                    tracing::error!(%error, %journal, segment, "a segment stays as long as it was");
                }
            }
        };
        Some(tokio::task::spawn_blocking(pack_all))
    }
}

impl Warden {
    /// Removes what is older, or more, than the configuration lets be: the oldest first, and nothing before the store has it.
    pub(super) fn remove_old(&self, sealer: &mut Sealer) {
        let limits = self.config.lock().journal.clone();
        if limits.max_age.is_none() && limits.max_bytes.is_none() {
            return;
        }
        if let Err(error) = self.remove_beyond(&limits, sealer) {
            tracing::error!(error = &error as &dyn std::error::Error, "old segments of the journal stay");
        }
    }

    fn remove_beyond(&self, limits: &JournalSection, sealer: &mut Sealer) -> Result<(), SealError> {
        let layout = self.engine.layout();
        let mut size = layout.size()?;
        // A writer must not lose the file that it writes.
        let written: Vec<JournalId> = [self.journal.id()].into_iter().chain(self.engine.latest()).collect();
        let (mut removed, mut stays) = (0, None);
        for one in sealer.removable(&written)? {
            let Some((bytes, modified)) = layout.stored(one.journal, one.segment) else { continue };
            let age = modified.elapsed().unwrap_or_default();
            let due = limits.max_age.is_some_and(|max| age > max) || limits.max_bytes.is_some_and(|max| size > max);
            let copied = self.shipper.has_copied(one.journal, one.segment).unwrap_or(true);
            // Behind a segment that stays, none of its journal goes.
            if stays == Some(one.journal) || !due || !copied {
                stays = Some(one.journal);
                continue;
            }
            if removed == REMOVED_AT_ONCE {
                break;
            }
            sealer.remove(&one)?;
            removed += 1;
            size = size.saturating_sub(bytes);
        }
        Ok(())
    }
}

fn not_made(error: &LayoutError) {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "a journal has no next segment and goes on in its last one"
    );
}

/// A fresh segment, where the last one has `limit` bytes.
async fn next_segment(layout: &Layout, journal: JournalId, limit: u64) -> Result<Option<File>, LayoutError> {
    let last = layout.files(journal)?.segments.last().copied().unwrap_or(1);
    let path = layout.segment(journal, last);
    let is_long = path.symlink_metadata().is_ok_and(|state| state.len() >= limit);
    if !is_long {
        return Ok(None);
    }
    // Its writer brings all of it to the disk before it goes on, and holds its sessions for what is left to be brought there.
    let brought = tokio::task::spawn_blocking(move || open_regular(&path)?.sync_data()).await;
    if !matches!(brought, Ok(Ok(()))) {
        tracing::warn!(%journal, "a long segment is not on the disk yet");
    }
    let segment = layout.create_segment(journal, last + 1)?;
    let _ = forbid_changes(&segment);
    Ok(Some(segment))
}
