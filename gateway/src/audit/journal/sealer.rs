//! Sealing: the warden's hand on all journals of the host.
//!
//! In: the journals' files, as their writers append to them. Out: `seals.jsonl`, a new key after each seal, and the
//! breaches that following showed. It seals only what it read itself, and never signs twice with a key.
//!
//! One seal takes four steps, each on the disk before the next; a stop between any two is repaired by `open`:
//!
//! | stopped after | on the disk | `open` |
//! | --- | --- | --- |
//! | 1 next key stored | `seal.key` is the one that the last seal names | destroys `seal.key.next` |
//! | 2 seal appended | the last seal names `seal.key.next` | erases `seal.key`, renames |
//! | 3 used key erased | the same, `seal.key` is zeros | renames |
//! | 4 next key renamed | `seal.key` is the one that the last seal names | nothing to do |

mod removal;

pub use removal::Removable;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::key::{FirstKey, SealKey, destroy, erase};
use super::layout::{NO_FOLLOW, sync_folder};
use super::line::{hash_of, parse};
use super::seal::{Mark, Says, SealChain, SealFault, host_of};
use super::segment::{Found, LineReader, open_regular};
use super::tail::{Breach, Tail};
use super::{Layout, LayoutError, Seq};
use crate::audit::event::JournalSealed;
use crate::audit::hex;
use crate::host::durable;
use crate::id::{HostId, JournalId};

/// Why nothing can be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The journal's folder cannot be used.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A file of the sealer cannot be used.
    #[error("cannot {action} `{path}`: check owner, mode and free space of the state directory")]
    File {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The seals of this host are not a chain.
    #[error(
        "`{path}` line {line} is not the next seal: run `gateway audit verify`, keep the folder as evidence, and start with a fresh state directory"
    )]
    Seals {
        /// The seals.
        path: PathBuf,
        /// The first bad line.
        line: u64,
        /// What is wrong with it.
        #[source]
        fault: SealFault,
    },
    /// They are another installation's.
    #[error(
        "`{path}` is of host {expected}, and this is host {found}: put the former id back into `host_id` of the state directory, or keep the folder as evidence and start with a fresh state directory"
    )]
    Host {
        /// The seals.
        path: PathBuf,
        /// Whose they are.
        expected: HostId,
        /// Who we are.
        found: HostId,
    },
    /// There are seals, but not the key that they start from.
    #[error("`{path}` is missing or no key though there are seals: put the copy back that was noted at install")]
    FirstKey {
        /// The first public key.
        path: PathBuf,
    },
    /// The private key is not the one that the last seal names.
    #[error(
        "`{path}` is not the key that the last seal names: seals were cut or the key was replaced; run `gateway audit verify`, keep the folder as evidence, and start with a fresh state directory"
    )]
    Key {
        /// The private key.
        path: PathBuf,
    },
    /// An earlier step failed half way.
    #[error("an earlier seal stopped half way: open the sealer again, which repairs it")]
    Stopped,
}

/// A seal that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The installation.
    pub host: HostId,
    /// Its number.
    pub seal: u64,
    /// The journal.
    pub journal: JournalId,
    /// The last line that it covers.
    pub seq: Seq,
    /// The line of `seals.jsonl`.
    pub line: String,
}

impl Sealed {
    /// What whoever is told of it has to know it again.
    #[must_use]
    pub fn note(&self) -> JournalSealed {
        let hash = hex::encode(&hash_of(self.line.as_bytes()));
        JournalSealed { host: self.host, journal: self.journal, seq: self.seq, seal: self.seal, hash }
    }
}

/// Follows all journals of a host and seals them. There is one at a time, under the gateway's lock.
#[derive(Debug)]
pub struct Sealer {
    layout: Layout,
    host: HostId,
    key: SealKey,
    chain: SealChain,
    seals: File,
    tails: BTreeMap<JournalId, Tail>,
    /// The last seal of each journal when the seals were opened.
    marks: BTreeMap<JournalId, Mark>,
    /// Found while opening, told by the next `follow`.
    breaches: Vec<Breach>,
    stopped: bool,
}

impl Sealer {
    /// Opens the seals of a state directory, or makes the first key; repairs what a stop left half done. Errs if seals
    /// and keys do not belong together. A journal that does not match its seals is a breach, told by `follow`.
    pub fn open(layout: Layout, host: HostId) -> Result<Self, SealError> {
        layout.create()?;
        let (first_key, seals) = first_key_and_seals(&layout)?;
        let (chain, marks, removed) = read_seals(&layout, &seals, first_key)?;
        if let Some(expected) = chain.host().filter(|expected| *expected != host) {
            return Err(SealError::Host { path: layout.seals(), expected, found: host });
        }
        let key = recover_key(&layout, &chain)?;
        let (tails, breaches) = (BTreeMap::new(), Vec::new());
        let mut sealer = Self { layout, host, key, chain, seals, tails, marks, breaches, stopped: false };
        // Stopped between a seal that says so and the removal.
        for (journal, to) in removed {
            sealer.take_away(journal, to)?;
        }
        sealer.open_tails()?;
        Ok(sealer)
    }

    /// Reads what all journals gained, new journals too. Returns what is wrong, each lasting breach once; the caller
    /// journals it loudly. Errs only if the folder cannot be listed.
    pub fn follow(&mut self) -> Result<Vec<Breach>, SealError> {
        self.open_tails()?;
        let mut breaches = std::mem::take(&mut self.breaches);
        for tail in self.tails.values_mut().filter(|tail| !tail.broken) {
            if let Err(kind) = tail.follow(&self.layout) {
                tail.broken = kind.is_lasting();
                breaches.push(tail.breach(kind));
            }
        }
        Ok(breaches)
    }

    /// How far a journal was followed, and how far of that it is sealed.
    #[must_use]
    pub fn progress(&self, journal: JournalId) -> Option<(Seq, Seq)> {
        let tail = self.tails.get(&journal)?;
        let seq = |mark: Option<Mark>| mark.map_or(Seq(0), |mark| mark.seq);
        Some((seq(tail.mark()), seq(tail.sealed)))
    }

    /// Segments that are whole, sealed to their last line, and not compressed. Errs if a folder cannot be listed.
    pub fn whole(&self) -> Result<Vec<(JournalId, u32)>, SealError> {
        let mut whole = Vec::new();
        for (journal, sealed) in self.tails.iter().filter_map(|(journal, tail)| Some((*journal, tail.sealed?))) {
            // A journal of one segment, as most are, is not even listed.
            if sealed.segment > 1 {
                let segments = self.layout.files(journal)?.segments.into_iter();
                let before = segments.filter(|segment| *segment < sealed.segment);
                whole.extend(before.map(|segment| (journal, segment)));
            }
        }
        whole.retain(|(journal, segment)| self.layout.segment(*journal, *segment).exists());
        Ok(whole)
    }

    /// Seals every journal up to the last line that was followed; nothing new, no seal. After an error, drop the
    /// sealer and open it again.
    pub fn seal(&mut self) -> Result<Vec<Sealed>, SealError> {
        let due: Vec<_> = self.tails.iter().filter_map(|(journal, tail)| Some((*journal, tail.due()?))).collect();
        due.into_iter().map(|(journal, mark)| self.seal_lines(journal, mark, Says::Written)).collect()
    }

    fn seal_lines(&mut self, journal: JournalId, mark: Mark, says: Says) -> Result<Sealed, SealError> {
        if std::mem::replace(&mut self.stopped, true) {
            return Err(SealError::Stopped);
        }
        // A seal must not outlive the lines that it covers. A file that is gone is a breach already.
        let segment = self.layout.segment(journal, mark.segment);
        if says == Says::Written
            && let Ok(file) = open_regular(&segment)
        {
            file.sync_data().map_err(|source| file_error("sync", &segment, source))?;
        }
        let next = self.store_next_key()?;
        let (number, line) = self.append_seal((journal, mark, says), &next)?;
        self.erase_used_key()?;
        self.adopt_next_key(next)?;
        if says == Says::Written
            && let Some(tail) = self.tails.get_mut(&journal)
        {
            tail.sealed = Some(mark);
        }
        self.stopped = false;
        Ok(Sealed { host: self.host, seal: number, journal, seq: mark.seq, line })
    }

    /// Step 1.
    fn store_next_key(&self) -> Result<SealKey, SealError> {
        let path = self.layout.next_key();
        let next = SealKey::generate().map_err(|source| file_error("make a key for", &path, source))?;
        next.store(&path)
            .and_then(|()| sync_folder(self.layout.root()))
            .map_err(|source| file_error("store the next key in", &path, source))?;
        Ok(next)
    }

    /// Step 2.
    fn append_seal(&mut self, what: (JournalId, Mark, Says), next: &SealKey) -> Result<(u64, String), SealError> {
        let path = self.layout.seals();
        let error = |source| file_error("add a seal to", &path, source);
        let public = next.public().map_err(error)?;
        let line = self.chain.write(self.host, what, &self.key, &public).map_err(error)?;
        let bare = line.strip_suffix(b"\n").unwrap_or(&line);
        let number = self.chain.sealed + 1;
        let mut after = self.chain.clone();
        // What could not be read again is not written.
        let fault = |fault| SealError::Seals { path: path.clone(), line: number, fault };
        after.accept_unsigned(bare).map_err(fault)?;
        self.seals.write_all(&line).and_then(|()| self.seals.sync_data()).map_err(error)?;
        self.chain = after;
        Ok((number, String::from_utf8_lossy(bare).into_owned()))
    }

    /// Step 3.
    fn erase_used_key(&self) -> Result<(), SealError> {
        let path = self.layout.key();
        erase(&path).map_err(|source| file_error("erase the used key in", &path, source))
    }

    /// Step 4.
    fn adopt_next_key(&mut self, next: SealKey) -> Result<(), SealError> {
        rename_next_key(&self.layout)?;
        self.key = next;
        Ok(())
    }

    /// Starts to follow the journals that are new, or sealed and not there any more.
    fn open_tails(&mut self) -> Result<(), SealError> {
        let (mut journals, _) = self.layout.journals()?;
        journals.extend(self.marks.keys());
        for journal in journals {
            if self.tails.contains_key(&journal) {
                continue;
            }
            let mark = self.marks.get(&journal).copied();
            let tail = match Tail::open(&self.layout, journal, mark) {
                Ok(tail) => tail,
                Err(kind) => {
                    let (tail, lasting) = (Tail::broken(journal, mark), kind.is_lasting());
                    self.breaches.push(tail.breach(kind));
                    if !lasting {
                        continue;
                    }
                    tail
                }
            };
            self.tails.insert(journal, tail);
        }
        Ok(())
    }
}

fn file_error(action: &'static str, path: &Path, source: io::Error) -> SealError {
    SealError::File { action, path: path.to_owned(), source }
}

/// The installation that the seals of a state directory are of, where there are any: who lost its id is still that one.
#[must_use]
pub fn sealed_host(layout: &Layout) -> Option<HostId> {
    let mut lines = LineReader::new(open_regular(&layout.seals()).ok()?, 0).ok()?;
    matches!(lines.next(), Ok(Found::Line(_))).then(|| host_of(lines.line())).flatten()
}

fn rename_next_key(layout: &Layout) -> Result<(), SealError> {
    let path = layout.next_key();
    fs::rename(&path, layout.key())
        .and_then(|()| sync_folder(layout.root()))
        .map_err(|source| file_error("put the next key in place from", &path, source))
}

/// The anchor and the seals, opened for reading and appending; both are made where there are neither.
fn first_key_and_seals(layout: &Layout) -> Result<(FirstKey, File), SealError> {
    let path = layout.seals();
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o640).custom_flags(NO_FOLLOW);
    let seals = options.open(&path).map_err(|source| file_error("open", &path, source))?;
    let state = seals.metadata().map_err(|source| file_error("open", &path, source))?;
    if !state.is_file() {
        return Err(file_error("open", &path, io::Error::other("not a regular file")));
    }
    let anchor = layout.first_key();
    match FirstKey::load(&anchor) {
        Ok(key) => Ok((key, seals)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && state.len() == 0 => {
            let key = make_first_key(layout).map_err(|source| file_error("make", &anchor, source))?;
            Ok((key, seals))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
            Err(SealError::FirstKey { path: anchor })
        }
        Err(source) => Err(file_error("read", &anchor, source)),
    }
}

/// The private key first: without its public half nothing was ever anchored, and it is made anew.
fn make_first_key(layout: &Layout) -> io::Result<FirstKey> {
    destroy(&layout.key())?;
    let key = SealKey::generate()?;
    key.store(&layout.key())?;
    let first = FirstKey(key.public()?);
    durable::write(&layout.first_key(), format!("{first}\n").as_bytes(), 0o644)?;
    Ok(first)
}

/// By journal.
type Ends = BTreeMap<JournalId, Mark>;

/// Reads all seals, cuts a torn last one, and returns the last mark of each journal, and how far it was removed. Signatures are checked by
/// `verify`, links here.
fn read_seals(layout: &Layout, seals: &File, first_key: FirstKey) -> Result<(SealChain, Ends, Ends), SealError> {
    let path = layout.seals();
    let error = |source| file_error("read", &path, source);
    let mut chain = SealChain::new(first_key.0);
    let (mut marks, mut removed) = (Ends::new(), Ends::new());
    let mut lines = LineReader::new(seals.try_clone().map_err(error)?, 0).map_err(error)?;
    loop {
        let fault = |fault| SealError::Seals { path: path.clone(), line: chain.sealed + 1, fault };
        match lines.next().map_err(error)? {
            Found::Line(_) => {
                let mut after = chain.clone();
                let seal = after.accept_unsigned(lines.line()).map_err(fault)?;
                match seal.says {
                    Says::Written => {
                        marks.insert(seal.journal, seal.mark);
                    }
                    Says::Removed => {
                        removed.insert(seal.journal, seal.mark);
                        // All of it is gone.
                        if marks.get(&seal.journal).is_some_and(|last| last.seq <= seal.mark.seq) {
                            marks.remove(&seal.journal);
                        }
                    }
                }
                chain = after;
            }
            Found::End => return Ok((chain, marks, removed)),
            Found::Torn(_) => {
                // A seal is acted on only when it is whole and synced, so a torn one never was.
                seals.set_len(lines.offset()).and_then(|()| seals.sync_all()).map_err(error)?;
                return Ok((chain, marks, removed));
            }
            Found::TooLong => return Err(fault(SealFault::Malformed)),
        }
    }
}

/// The private key that signs next, by the table above.
fn recover_key(layout: &Layout, chain: &SealChain) -> Result<SealKey, SealError> {
    let (current, next) = (layout.key(), layout.next_key());
    let load = |path: &Path| -> Result<Option<SealKey>, SealError> {
        let error = |source| file_error("read", path, source);
        let Some(key) = SealKey::load(path).map_err(error)? else { return Ok(None) };
        Ok((key.public().map_err(error)? == chain.key).then_some(key))
    };
    if let Some(key) = load(&current)? {
        destroy(&next).map_err(|source| file_error("destroy", &next, source))?;
        return Ok(key);
    }
    let key = load(&next)?.ok_or(SealError::Key { path: current.clone() })?;
    erase(&current).map_err(|source| file_error("erase the used key in", &current, source))?;
    rename_next_key(layout)?;
    Ok(key)
}

impl Tail {
    /// What is followed and not sealed.
    fn due(&self) -> Option<Mark> {
        self.mark().filter(|mark| self.sealed.is_none_or(|sealed| sealed.seq < mark.seq))
    }
}

#[cfg(test)]
mod tests;
