//! Where the journal's files are.
//!
//! In: the state directory. Out: paths, new segment files, the list of journals. It opens nothing for changing what is
//! there, and follows no symbolic link below the state directory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::packed;
use super::segment::open_regular;
use crate::id::JournalId;

/// The journal's folder below a state directory.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

/// A file or folder of the journal could not be made or listed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{path}`: check owner, mode and free space of the state directory")]
pub struct LayoutError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What a journal's folder holds.
#[derive(Debug, Default)]
pub struct JournalFiles {
    /// Numbers of the segments, ascending.
    pub segments: Vec<u32>,
    /// Names that are neither segment nor index.
    pub strangers: Vec<PathBuf>,
}

impl Layout {
    /// The layout below `state_dir`; touches nothing.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self { root: state_dir.join("journal") }
    }

    /// The folder that holds all of it.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of one journal.
    #[must_use]
    pub fn journal(&self, journal: JournalId) -> PathBuf {
        self.root.join(journal.to_string())
    }

    /// A segment of a journal; the first is 1.
    #[must_use]
    pub fn segment(&self, journal: JournalId, segment: u32) -> PathBuf {
        self.journal(journal).join(format!("{segment:06}.jsonl"))
    }

    /// A segment that is whole, compressed.
    #[must_use]
    pub fn packed(&self, journal: JournalId, segment: u32) -> PathBuf {
        self.journal(journal).join(format!("{segment:06}.jsonl.zst"))
    }

    /// A segment to be read, compressed or not, and where it is. Nothing: neither is there.
    pub(crate) fn open_segment(&self, journal: JournalId, segment: u32) -> io::Result<(PathBuf, File)> {
        // A segment that is being compressed is there as both for a moment, and never as neither.
        let plain = self.segment(journal, segment);
        match open_regular(&plain) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let packed = self.packed(journal, segment);
                open_regular(&packed).map(|file| (packed, file))
            }
            other => other.map(|file| (plain, file)),
        }
    }

    /// How many bytes of lines a segment has; none where it is not there.
    pub(crate) fn length(&self, journal: JournalId, segment: u32) -> Option<u64> {
        let (path, file) = self.open_segment(journal, segment).ok()?;
        if path == self.packed(journal, segment) {
            return packed::length(&file).ok().flatten();
        }
        file.metadata().ok().map(|state| state.len())
    }

    /// How many bytes a segment takes on the disk, and when it was written last.
    pub(crate) fn stored(&self, journal: JournalId, segment: u32) -> Option<(u64, SystemTime)> {
        let state = self.open_segment(journal, segment).ok()?.1.metadata().ok()?;
        Some((state.len(), state.modified().ok()?))
    }

    /// How many bytes all journals take on the disk.
    pub(crate) fn size(&self) -> Result<u64, LayoutError> {
        let mut size = 0;
        for journal in self.journals()?.0 {
            let files = list(&self.journal(journal))?;
            size += files.iter().filter_map(|file| file.symlink_metadata().ok()).map(|state| state.len()).sum::<u64>();
        }
        Ok(size)
    }

    /// The index of a segment.
    #[must_use]
    pub fn index(&self, journal: JournalId, segment: u32) -> PathBuf {
        self.journal(journal).join(format!("{segment:06}.idx"))
    }

    /// The seals.
    #[must_use]
    pub fn seals(&self) -> PathBuf {
        self.root.join("seals.jsonl")
    }

    /// The first public key.
    #[must_use]
    pub fn first_key(&self) -> PathBuf {
        self.root.join("seal.pub")
    }

    /// The current private key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.root.join("seal.key")
    }

    /// The private key after it, while a seal is being written.
    #[must_use]
    pub fn next_key(&self) -> PathBuf {
        self.root.join("seal.key.next")
    }

    /// Makes the folder, if it is not there: root writes, its group may read.
    pub fn create(&self) -> Result<(), LayoutError> {
        make_folder(&self.root)
    }

    /// Makes a journal's folder and its first segment, opened for appending. The caller sets the file system's append
    /// flag on it and hands it to the writer. Errs if the journal is there already.
    pub fn create_journal(&self, journal: JournalId) -> Result<File, LayoutError> {
        self.create()?;
        make_folder(&self.journal(journal))?;
        self.create_segment(journal, 1)
    }

    /// Makes another segment of a journal, opened for appending. Errs if it is there already.
    pub fn create_segment(&self, journal: JournalId, segment: u32) -> Result<File, LayoutError> {
        let path = self.segment(journal, segment);
        let mut options = OpenOptions::new();
        options.append(true).create_new(true).mode(0o640).custom_flags(NO_FOLLOW);
        let file = options.open(&path).map_err(|source| LayoutError { action: "create", path, source })?;
        // The names must outlive a power loss as the lines do.
        for folder in [self.journal(journal), self.root.clone()] {
            sync_folder(&folder).map_err(|source| LayoutError { action: "sync", path: folder, source })?;
        }
        Ok(file)
    }

    /// All journals by id, which is the order in which they were opened; and names that are no journal of ours.
    pub fn journals(&self) -> Result<(Vec<JournalId>, Vec<PathBuf>), LayoutError> {
        let own = [self.seals(), self.first_key(), self.key(), self.next_key()];
        let (mut journals, mut strangers) = (Vec::new(), Vec::new());
        for path in list(&self.root)? {
            // Only the one spelling that `journal` makes leads back to the same folder.
            match name_of(&path).parse::<JournalId>() {
                Ok(id) if self.journal(id) == path && is_folder(&path) => journals.push(id),
                _ if own.contains(&path) => {}
                _ => strangers.push(path),
            }
        }
        journals.sort_unstable();
        strangers.sort_unstable();
        Ok((journals, strangers))
    }

    /// The segments of a journal.
    pub fn files(&self, journal: JournalId) -> Result<JournalFiles, LayoutError> {
        let mut files = JournalFiles::default();
        for path in list(&self.journal(journal))? {
            let number = name_of(&path).split('.').next().and_then(|stem| stem.parse::<u32>().ok());
            match number {
                Some(number) if number > 0 && path == self.segment(journal, number) => files.segments.push(number),
                Some(number) if number > 0 && path == self.packed(journal, number) => files.segments.push(number),
                Some(number) if path == self.index(journal, number) => {}
                Some(number) if path == packed::half_done(&self.packed(journal, number)) => {}
                _ => files.strangers.push(path),
            }
        }
        files.segments.sort_unstable();
        files.segments.dedup();
        files.strangers.sort_unstable();
        Ok(files)
    }
}

/// O_NOFOLLOW with O_NONBLOCK, so that neither a link nor a pipe put in a file's place is opened or waited for.
#[expect(clippy::cast_possible_wrap, reason = "the flags are small positive bits")]
pub(crate) const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.union(rustix::fs::OFlags::NONBLOCK).bits() as i32;

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn make_folder(path: &Path) -> Result<(), LayoutError> {
    let done = DirBuilder::new().recursive(true).mode(0o750).create(path);
    done.map_err(|source| LayoutError { action: "create the folder", path: path.to_owned(), source })
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, LayoutError> {
    let error = |source| LayoutError { action: "list", path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(error)?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(error)).collect()
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}
