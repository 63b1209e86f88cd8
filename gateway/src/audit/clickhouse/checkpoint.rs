//! How far the journals were copied.
//!
//! In: what the store has acknowledged. Out: the same after a restart, or less: a crash repeats rows and skips none. It is
//! no evidence; where it cannot be read, or names another store, everything is sent again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::audit::journal::Seq;
use crate::host::durable;
use crate::id::JournalId;

/// How far one journal was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The segment.
    pub segment: u32,
    /// Bytes of it.
    pub bytes: u64,
    /// The last line.
    pub seq: Seq,
}

/// What stands in the file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    /// `ClickHouse::place`.
    store: String,
    journals: BTreeMap<JournalId, Place>,
}

/// The checkpoint could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{path}`, so rows will be sent again after a restart: check its folder's free space")]
pub struct CheckpointError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// How far all journals were copied to one store.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    content: Content,
}

impl Checkpoint {
    /// Reads it; begins anew for another store than the one it names.
    #[must_use]
    pub fn open(path: PathBuf, store: &str) -> Self {
        let read = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Content>(&text).ok());
        let content = read.filter(|content| content.store == store);
        Self { path, content: content.unwrap_or_else(|| Content { store: store.to_owned(), ..Content::default() }) }
    }

    /// How far a journal was copied; zero: not at all.
    #[must_use]
    pub fn place(&self, journal: JournalId) -> Place {
        self.content.journals.get(&journal).copied().unwrap_or_default()
    }

    /// Notes what the store acknowledged, durably.
    ///
    /// # Errors
    /// Where the file cannot be written; the place is noted in memory all the same.
    pub fn advance(&mut self, journal: JournalId, place: Place) -> Result<(), CheckpointError> {
        self.content.journals.insert(journal, place);
        self.write().map_err(|source| CheckpointError { path: self.path.clone(), source })
    }

    /// The old file stands until the new one is whole.
    fn write(&self) -> io::Result<()> {
        durable::write(&self.path, &serde_json::to_vec(&self.content)?, 0o644)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_there_after_a_restart_for_the_same_store_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shipped.json");
        let (journal, place) = (JournalId::generate(), Place { segment: 2, bytes: 700, seq: Seq(9) });
        Checkpoint::open(path.clone(), "one").advance(journal, place).unwrap();
        assert_eq!(Checkpoint::open(path.clone(), "one").place(journal), place);
        assert_eq!(Checkpoint::open(path, "other").place(journal), Place::default());
    }

    #[test]
    fn a_torn_file_sends_everything_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shipped.json");
        fs::write(&path, br#"{"store":"one","journals":{"#).unwrap();
        let mut checkpoint = Checkpoint::open(path.clone(), "one");
        let journal = JournalId::generate();
        assert_eq!(checkpoint.place(journal), Place::default());
        fs::remove_dir_all(folder.path()).unwrap();
        let place = Place { segment: 1, bytes: 7, seq: Seq(1) };
        assert!(checkpoint.advance(journal, place).unwrap_err().to_string().contains("sent again"));
        assert_eq!(checkpoint.place(journal), place);
    }
}
