//! Reading for many sessions, with a few threads for long texts.
//!
//! In: texts from all sessions. Out: their facts. Must never read a long text on the thread of a session: it
//! takes milliseconds and much memory, so only as many are read at once as there are threads, and as many wait as fit.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::facts::Facts;
use super::scan::Caps;
use super::{SqlError, read};

/// Texts up to this are read at once: about 0.2 ms.
const SHORT: usize = 16 * 1024;
/// Long texts that wait for a thread; the next waits in its own session.
const QUEUE: usize = 8;

/// Reads texts.
pub struct Reader {
    caps: Caps,
    long: mpsc::Sender<Job>,
}

struct Job {
    text: Vec<u8>,
    answer: oneshot::Sender<Result<Facts, SqlError>>,
}

impl Reader {
    /// A reader with threads for long texts that end with it.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(caps: Caps, threads: NonZeroUsize) -> std::io::Result<Self> {
        let (long, jobs) = mpsc::channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..threads.get() {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new().name("sql".into()).spawn(move || serve(&jobs, &caps))?;
        }
        Ok(Self { caps, long })
    }

    /// The facts of a text. Answers at once for a short text; else waits for a thread.
    ///
    /// # Errors
    /// A cap that the text breaks, or that it is not SQL.
    pub async fn read(&self, text: &[u8]) -> Result<Facts, SqlError> {
        if text.len() <= SHORT { read(text, &self.caps) } else { self.read_long(text).await }
    }

    async fn read_long(&self, text: &[u8]) -> Result<Facts, SqlError> {
        if text.len() > self.caps.bytes {
            return Err(SqlError::TooLong { bytes: text.len(), cap: self.caps.bytes });
        }
        let (answer, facts) = oneshot::channel();
        self.long.send(Job { text: text.to_vec(), answer }).await.map_err(|_| SqlError::Stopped)?;
        facts.await.map_err(|_| SqlError::Stopped)?
    }
}

/// A thread takes jobs until the reader is gone. A session that gave up meanwhile is not read for.
fn serve(jobs: &Mutex<mpsc::Receiver<Job>>, caps: &Caps) {
    loop {
        let job = jobs.lock().blocking_recv();
        let Some(job) = job else { return };
        if !job.answer.is_closed() {
            // The session may be gone by now; its answer goes with it.
            drop(job.answer.send(read(&job.text, caps)));
        }
    }
}
