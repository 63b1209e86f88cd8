//! Group commit: many writers, one write, and one fdatasync.
//!
//! In: numbers of lines that must reach the file or the disk. Out: their writers go on, threads and futures alike.
//! One thread of its own syncs, so that no worker of an async runtime ever waits for a disk. A sync that fails is never
//! tried again: the kernel may have dropped the pages and would call the next one good.

use std::fs::File;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::{Journal, JournalError, Seq};

#[derive(Debug, Default)]
struct Progress {
    /// What is synced.
    file: Option<Arc<File>>,
    wanted: Seq,
    durable: Seq,
    /// The system's error number.
    failed: Option<i32>,
    closing: bool,
    waiting: Vec<(Seq, Waker)>,
}

#[derive(Debug, Default)]
struct Shared {
    progress: Mutex<Progress>,
    asked: Condvar,
    synced: Condvar,
}

/// The syncing thread of a journal with durability `disk`.
#[derive(Debug)]
pub(crate) struct Committer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub(crate) fn start(file: Arc<File>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        shared.progress.lock().file = Some(file);
        let ours = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("journal-sync".into()).spawn(move || ours.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Brings all of one file to the disk and syncs another from now on. No line is written meanwhile.
    pub(crate) fn go_on_in(&self, from: &File, to: Arc<File>) -> Result<(), JournalError> {
        let synced = from.sync_data();
        let mut progress = self.shared.progress.lock();
        if let Err(error) = &synced {
            progress.failed = Some(error.raw_os_error().unwrap_or_default());
        }
        progress.file = Some(to);
        synced.map_err(JournalError::Sync)
    }

    /// Waits on this thread until `seq` is on the disk.
    pub(crate) fn wait(&self, seq: Seq) -> Result<Seq, JournalError> {
        let mut progress = self.shared.progress.lock();
        loop {
            if let Some(done) = progress.outcome(seq) {
                return done;
            }
            progress.ask(seq, &self.shared.asked);
            self.shared.synced.wait(&mut progress);
        }
    }

    /// The same as a future.
    pub(crate) fn committed(&self, seq: Seq) -> Committed<'static> {
        Committed(State::Waits(Arc::clone(&self.shared), seq))
    }

    /// Whether a sync failed.
    pub(crate) fn check(&self) -> Result<(), JournalError> {
        self.shared.progress.lock().failed.map_or(Ok(()), |code| Err(sync_error(code)))
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.shared.progress.lock().closing = true;
        self.shared.asked.notify_all();
        if let Some(thread) = self.thread.take() {
            // It panics nowhere; if it did, its waiters were never told "durable".
            drop(thread.join());
        }
    }
}

impl Progress {
    fn outcome(&self, seq: Seq) -> Option<Result<Seq, JournalError>> {
        if self.durable >= seq {
            return Some(Ok(seq));
        }
        self.failed.map(|code| Err(sync_error(code)))
    }

    fn ask(&mut self, seq: Seq, asked: &Condvar) {
        if self.wanted < seq {
            self.wanted = seq;
            asked.notify_one();
        }
    }
}

fn sync_error(code: i32) -> JournalError {
    JournalError::Sync(io::Error::from_raw_os_error(code))
}

impl Shared {
    fn run(&self) {
        loop {
            let mut progress = self.progress.lock();
            while progress.wanted <= progress.durable {
                if progress.closing {
                    return;
                }
                self.asked.wait(&mut progress);
            }
            // All up to here is written, since a line is asked for after its write.
            let target = progress.wanted;
            let file = progress.file.clone();
            drop(progress);
            // A file that it went on from meanwhile was synced then.
            let result = file.map_or(Ok(()), |file| file.sync_data());
            let mut progress = self.progress.lock();
            match result {
                Ok(()) if progress.failed.is_none() => progress.durable = target,
                Ok(()) => {}
                Err(error) => progress.failed = Some(error.raw_os_error().unwrap_or_default()),
            }
            let failed = progress.failed.is_some();
            let durable = progress.durable;
            let ready = |(seq, _): &mut (Seq, Waker)| failed || *seq <= durable;
            let wakers: Vec<_> = progress.waiting.extract_if(.., ready).collect();
            // Outside the lock: a waker may poll at once.
            drop(progress);
            wakers.into_iter().for_each(|(_, waker)| waker.wake());
            self.synced.notify_all();
            if failed {
                return;
            }
        }
    }
}

#[derive(Debug)]
enum State<'a> {
    Done(Option<Result<Seq, JournalError>>),
    /// In memory: its write waits until every task that is ready now has had its turn, and is shared with their lines.
    Shares {
        journal: &'a Journal,
        seq: Seq,
        waited: bool,
    },
    /// In the file.
    Waits(Arc<Shared>, Seq),
}

/// A line on its way to the file or the disk; ready when it is there, or with the reason why nothing may rest on it.
/// Dropped before that, it is written all the same.
#[must_use = "a request may go on only when its line is committed"]
#[derive(Debug)]
pub struct Committed<'a>(State<'a>);

impl<'a> Committed<'a> {
    pub(super) fn done(result: Result<Seq, JournalError>) -> Self {
        Self(State::Done(Some(result)))
    }

    /// Not written, for a reason.
    pub(crate) fn refused(error: JournalError) -> Self {
        Self::done(Err(error))
    }

    pub(super) fn shares(journal: &'a Journal, seq: Seq) -> Self {
        Self(State::Shares { journal, seq, waited: false })
    }
}

impl Future for Committed<'_> {
    type Output = Result<Seq, JournalError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Done(result) => result.take().map_or(Poll::Pending, Poll::Ready),
            State::Shares { journal, seq, waited } => {
                if !*waited && !journal.has_written(*seq) {
                    *waited = true;
                    // Behind all tasks that are ready: those of them that add a line are written with this one.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let result = journal.written(*seq);
                self.0 = State::Done(None);
                Poll::Ready(result)
            }
            State::Waits(shared, seq) => {
                let mut progress = shared.progress.lock();
                if let Some(done) = progress.outcome(*seq) {
                    return Poll::Ready(done);
                }
                match progress.waiting.iter_mut().find(|(waits, _)| waits == seq) {
                    Some((_, waker)) => waker.clone_from(context.waker()),
                    None => progress.waiting.push((*seq, context.waker().clone())),
                }
                progress.ask(*seq, &shared.asked);
                Poll::Pending
            }
        }
    }
}

impl Drop for Committed<'_> {
    fn drop(&mut self) {
        if let State::Shares { journal, seq, .. } = self.0 {
            // Nobody rests on it any more; a journal that takes no line says so to who adds the next.
            drop(journal.written(seq));
        }
    }
}
