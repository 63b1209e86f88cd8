//! What attachments may write of what the disk has left.
//!
//! In: how much each attachment writes, and what the file system says. Out: whether one may begin something that has to be
//! recorded. Who wrote more lately than the disk has left may not: so a flood fills half of the disk, and stops alone. Ends
//! and outcomes are written all the same, into a part that is kept for them.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::JournalError;
use crate::budget::may_take;
use crate::config::JournalSection;

/// After so long, what was written counts half.
const HALVES_AFTER: Duration = Duration::from_secs(600);
/// How long an answer of the file system is good for, in milliseconds.
const LOOK_EVERY_MS: u64 = 100;
/// Kept of the disk for what nobody may refuse: a sixteenth, and no more than this.
const KEPT_PART: u64 = 16;
const KEPT_BYTES: u64 = 256 * 1024 * 1024;

/// What one attachment wrote lately, in bytes.
#[derive(Debug)]
pub struct Account {
    attachment: String,
    written: AtomicU64,
}

impl Account {
    pub(super) fn add(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// What the disk has left, by the marks of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Enough.
    Enough,
    /// No session begins.
    Low,
    /// Those that run end too.
    Critical,
}

/// Bytes that must be left, or else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// For a session to begin.
    pub low: u64,
    /// For one to go on.
    pub critical: u64,
}

impl From<&JournalSection> for Marks {
    fn from(section: &JournalSection) -> Self {
        Self { low: section.low_bytes, critical: section.critical_bytes }
    }
}

/// What the file system of a journal has left, and who wrote how much of it.
#[derive(Debug)]
pub(super) struct Room {
    opened: Instant,
    /// As the file system said last, and until when that is good, in milliseconds since `opened`.
    left: AtomicU64,
    good_until: AtomicU64,
    marks: Mutex<Marks>,
    accounts: Mutex<Accounts>,
}

#[derive(Debug)]
struct Accounts {
    halved: Instant,
    by: BTreeMap<String, Arc<Account>>,
}

impl Room {
    pub(super) fn new() -> Self {
        let opened = Instant::now();
        let accounts = Mutex::new(Accounts { halved: opened, by: BTreeMap::new() });
        Self { opened, left: AtomicU64::new(0), good_until: AtomicU64::new(0), marks: Mutex::default(), accounts }
    }

    /// The account of an attachment.
    pub(super) fn account(&self, attachment: &str) -> Arc<Account> {
        let mut accounts = self.accounts.lock();
        if let Some(known) = accounts.by.get(attachment) {
            return Arc::clone(known);
        }
        // Who has no session and wrote nothing lately needs none: attachments come and go.
        accounts.by.retain(|_, known| Arc::strong_count(known) > 1 || known.written.load(Ordering::Relaxed) > 0);
        let new = Arc::new(Account { attachment: attachment.to_owned(), written: AtomicU64::new(0) });
        accounts.by.insert(attachment.to_owned(), Arc::clone(&new));
        new
    }

    /// Errs where the attachment wrote more lately than the file system of the journal's file has left. `file` is asked
    /// for when it has to be looked at.
    pub(super) fn admits(&self, file: impl FnOnce() -> Arc<File>, account: &Account) -> Result<(), JournalError> {
        let left = self.left(file, Instant::now());
        let written = account.written.load(Ordering::Relaxed);
        if may_take(written, 0, left) {
            return Ok(());
        }
        Err(JournalError::NoShare { attachment: account.attachment.clone(), written, left })
    }

    /// Takes other marks.
    pub(super) fn set(&self, marks: Marks) {
        *self.marks.lock() = marks;
    }

    /// Where the disk stands, and how many bytes it has left.
    pub(super) fn disk(&self, file: impl FnOnce() -> Arc<File>) -> (Disk, u64) {
        let (left, marks) = (self.left(file, Instant::now()), *self.marks.lock());
        let disk = match left {
            left if left < marks.critical => Disk::Critical,
            left if left < marks.low => Disk::Low,
            _ => Disk::Enough,
        };
        (disk, left)
    }

    fn left(&self, file: impl FnOnce() -> Arc<File>, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.opened).as_millis();
        let age = u64::try_from(age).unwrap_or(u64::MAX);
        if age < self.good_until.load(Ordering::Relaxed) {
            return self.left.load(Ordering::Relaxed);
        }
        let left = left_of(&file());
        self.left.store(left, Ordering::Relaxed);
        self.good_until.store(age.saturating_add(LOOK_EVERY_MS), Ordering::Relaxed);
        self.accounts.lock().grow_old(now);
        left
    }
}

impl Accounts {
    fn grow_old(&mut self, now: Instant) {
        if now.saturating_duration_since(self.halved) < HALVES_AFTER {
            return;
        }
        self.halved = now;
        for account in self.by.values() {
            let _ = account.written.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| Some(bytes / 2));
        }
    }
}

fn left_of(file: &File) -> u64 {
    match rustix::fs::fstatvfs(file) {
        Ok(found) => {
            let kept = (found.f_blocks.saturating_mul(found.f_frsize) / KEPT_PART).min(KEPT_BYTES);
            found.f_bavail.saturating_mul(found.f_frsize).saturating_sub(kept)
        }
        Err(error) => {
            // A disk that is full is noticed by the write.
            tracing::warn!(%error, "the file system of the journal does not say what is left");
            u64::MAX
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wrote_as_much_as_is_left_begins_nothing_and_others_do() {
        let (file, room) = (Arc::new(tempfile::tempfile().unwrap()), Room::new());
        let file = || Arc::clone(&file);
        let (flood, other) = (room.account("flood"), room.account("other"));
        let left = room.left(file, Instant::now());
        flood.add(usize::try_from(left / 2).unwrap());
        other.add(4096);
        assert!(room.admits(file, &flood).is_ok());
        flood.add(usize::try_from(left).unwrap());
        let refused = room.admits(file, &flood).unwrap_err().to_string();
        assert!(refused.contains("`flood`"), "{refused}");
        assert!(room.admits(file, &other).is_ok());
    }

    #[test]
    fn what_was_written_long_ago_counts_less_and_at_last_not_at_all() {
        let (file, room) = (Arc::new(tempfile::tempfile().unwrap()), Room::new());
        let file = || Arc::clone(&file);
        let account = room.account("a");
        account.add(1_000);
        let mut now = Instant::now();
        for expected in [1_000, 500, 250] {
            room.left(file, now);
            assert_eq!(account.written.load(Ordering::Relaxed), expected);
            now += HALVES_AFTER;
        }
        for _ in 0..10 {
            room.left(file, now);
            now += HALVES_AFTER;
        }
        drop(account);
        drop(room.account("b"));
        assert!(!room.accounts.lock().by.contains_key("a"));
    }
}
