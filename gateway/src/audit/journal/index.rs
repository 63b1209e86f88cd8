//! Where the lines of a session are, without reading the segment.
//!
//! In: from the sealer, each line's offset and session as it follows the file. Out: the offsets of one session. It is
//! no evidence: whoever uses an offset checks the line that he finds there, and `verify` never reads it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::layout::NO_FOLLOW;
use super::segment::open_regular;
use crate::id::{JournalId, SessionId};

const MAGIC: [u8; 6] = *b"GWJIDX";
const VERSION: u16 = 1;
const RECORD: usize = 24;
const HEADER: usize = 32;
/// Held back before a write.
const BATCH: usize = 64 * 1024;

/// An index that grows.
#[derive(Debug)]
pub(crate) struct IndexWriter {
    file: File,
    batch: Vec<u8>,
}

fn header(journal: JournalId) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    let parts = MAGIC.into_iter().chain(VERSION.to_le_bytes()).chain(24_u16.to_le_bytes()).chain([0; 6]);
    for (to, from) in bytes.iter_mut().zip(parts.chain(*journal.as_bytes())) {
        *to = from;
    }
    bytes
}

impl IndexWriter {
    /// Opens an index and cuts it to `lines` records; none if it is missing, foreign or shorter, and must be made anew.
    pub(crate) fn resume(path: &Path, journal: JournalId, lines: u64) -> Option<Self> {
        let mut file = OpenOptions::new().read(true).append(true).custom_flags(NO_FOLLOW).open(path).ok()?;
        let mut found = [0; HEADER];
        file.read_exact(&mut found).ok()?;
        let wanted = lines.checked_mul(RECORD as u64)?.checked_add(HEADER as u64)?;
        let state = file.metadata().ok()?;
        if found != header(journal) || !state.is_file() || state.len() < wanted {
            return None;
        }
        file.set_len(wanted).ok()?;
        Some(Self { file, batch: Vec::new() })
    }

    /// Makes an empty index in the place of whatever is there.
    pub(crate) fn create(path: &Path, journal: JournalId) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create_new(true).mode(0o640).custom_flags(NO_FOLLOW).open(path)?;
        file.write_all(&header(journal))?;
        Ok(Self { file, batch: Vec::new() })
    }

    pub(crate) fn push(&mut self, offset: u64, session: Option<SessionId>) -> io::Result<()> {
        self.batch.extend(offset.to_le_bytes());
        self.batch.extend(session.map_or([0; 16], |session| *session.as_bytes()));
        if self.batch.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let result = self.file.write_all(&self.batch);
        self.batch.clear();
        result
    }
}

/// What an index knows of one session.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    /// Of the session's lines.
    pub(crate) hits: Vec<u64>,
    /// Of the last line that the index knows: from there on, the segment itself must be read.
    pub(crate) last: u64,
}

/// Looks a session up; an index that is missing or foreign knows nothing.
pub(crate) fn look_up(path: &Path, journal: JournalId, session: SessionId) -> Offsets {
    read(path, journal, session).unwrap_or_default()
}

fn read(path: &Path, journal: JournalId, session: SessionId) -> io::Result<Offsets> {
    let mut file = BufReader::with_capacity(BATCH, open_regular(path)?);
    let mut found = [0; HEADER];
    file.read_exact(&mut found)?;
    let mut offsets = Offsets::default();
    if found != header(journal) {
        return Ok(offsets);
    }
    let mut record = [0; RECORD];
    while file.read_exact(&mut record).is_ok() {
        let Some((offset, of)) = record.split_first_chunk::<8>() else { break };
        let offset = u64::from_le_bytes(*offset);
        // Offsets that do not rise are damage: what follows is read from the segment.
        if offset < offsets.last {
            break;
        }
        offsets.last = offset;
        if of == session.as_bytes() {
            offsets.hits.push(offset);
        }
    }
    Ok(offsets)
}
