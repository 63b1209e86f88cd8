//! Journals in pieces: a segment that is long enough is followed by another one.
//!
//! In: the journals that are being written, by the warden and by the engine. Out: for each that is long a fresh segment,
//! which its writer goes on in when it likes; one that never does loses nothing. Where none can be made, the old one grows.
//! What is whole and sealed is compressed.

use std::fs::File;
use std::os::fd::AsFd;

use tokio::task::JoinHandle;

use super::Warden;
use super::engine_process::forbid_changes;
use crate::audit::Layout;
use crate::audit::journal::{LayoutError, Sealer, pack};
use crate::bridge::ToEngine;
use crate::id::JournalId;

impl Warden {
    /// Has journals go on in another segment where the last one is long.
    pub(super) async fn turn_over(&self) {
        let limit = self.config.lock().journal.segment_bytes;
        let layout = self.engine.layout();
        match next_segment(layout, self.journal.id(), limit) {
            Ok(Some(segment)) => {
                if let Err(error) = self.journal.go_on_in(segment) {
                    tracing::error!(%error, "the warden's journal does not go on in its next segment");
                }
            }
            Ok(None) => {}
            Err(error) => not_made(&error),
        }
        let Some((bridge, journal)) = self.engine.writes() else { return };
        match next_segment(layout, journal, limit) {
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

fn not_made(error: &LayoutError) {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "a journal has no next segment and goes on in its last one"
    );
}

/// A fresh segment, where the last one has `limit` bytes.
fn next_segment(layout: &Layout, journal: JournalId, limit: u64) -> Result<Option<File>, LayoutError> {
    let last = layout.files(journal)?.segments.last().copied().unwrap_or(1);
    let is_long = layout.segment(journal, last).symlink_metadata().is_ok_and(|state| state.len() >= limit);
    if !is_long {
        return Ok(None);
    }
    let segment = layout.create_segment(journal, last + 1)?;
    let _ = forbid_changes(&segment);
    Ok(Some(segment))
}
