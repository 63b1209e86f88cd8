//! Cancelling: our own keys, and the sessions behind them.
//!
//! In: the sessions that live, each with its way to cancel at its server, and the keys that CancelRequests bring. Out:
//! the session that a key belongs to. A server's own key never leaves the gateway, a wrong key is answered as a right
//! one is (not at all), and an entry ends with its session.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand::fill;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Keys that are looked at in one go; a wrong one keeps its place for [`PENALTY`]. 16 in 100 ms is 160 a second against
/// the 2^63 values of the shortest key and its process number.
const AT_ONCE: usize = 16;
const PENALTY: Duration = Duration::from_millis(100);
/// How long a request waits for its place.
const PATIENCE: Duration = Duration::from_secs(10);
/// Sessions of one process; beyond it a session runs without a key.
const PROCESS_NUMBERS: usize = 1 << 20;

/// What a CancelRequest does: the session that made the key decides.
pub(super) trait Cancel: Send + Sync {
    /// Cancels what the session runs or waits for.
    fn cancel(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The keys of all live sessions of this process.
pub struct CancelKeys {
    live: Mutex<HashMap<u32, Entry>>,
    looks: Semaphore,
}

struct Entry {
    key: Box<[u8]>,
    session: Arc<dyn Cancel>,
}

impl Default for CancelKeys {
    fn default() -> Self {
        Self { live: Mutex::default(), looks: Semaphore::new(AT_ONCE) }
    }
}

/// A session's entry; dropping it ends the key.
pub(super) struct CancelKey {
    keys: Arc<CancelKeys>,
    pub(super) process: u32,
    pub(super) key: Box<[u8]>,
}

impl CancelKeys {
    /// Makes a key of `length` bytes for a session.
    pub(super) fn issue(self: &Arc<Self>, length: usize, session: Arc<dyn Cancel>) -> Option<CancelKey> {
        let mut key = vec![0; length].into_boxed_slice();
        fill(&mut key).ok()?;
        let mut live = self.live.lock();
        if live.len() >= PROCESS_NUMBERS {
            return None;
        }
        let process = loop {
            let mut number = [0; 4];
            fill(&mut number).ok()?;
            // Drivers keep it in a signed integer, and some take zero for none.
            let number = u32::from_be_bytes(number) & 0x7fff_ffff;
            if number != 0 && !live.contains_key(&number) {
                break number;
            }
        };
        live.insert(process, Entry { key: key.clone(), session });
        Some(CancelKey { keys: Arc::clone(self), process, key })
    }

    /// Cancels what the session of this key does, if there is one. Returns when its server has been told.
    pub(super) async fn cancel(&self, process: u32, key: &[u8]) -> Found {
        let Ok(Ok(place)) = tokio::time::timeout(PATIENCE, self.looks.acquire()).await else { return Found::Nothing };
        let Some(session) = self.find(process, key) else {
            tokio::time::sleep(PENALTY).await;
            return Found::Nothing;
        };
        drop(place);
        session.cancel().await;
        Found::Session
    }

    fn find(&self, process: u32, key: &[u8]) -> Option<Arc<dyn Cancel>> {
        let live = self.live.lock();
        let entry = live.get(&process)?;
        verify_slices_are_equal(&entry.key, key).ok()?;
        Some(Arc::clone(&entry.session))
    }
}

/// Whether a key belonged to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It did.
    Session,
    /// It did not.
    Nothing,
}

impl Drop for CancelKey {
    fn drop(&mut self) {
        self.keys.live.lock().remove(&self.process);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Cancel for Counting {
        fn cancel(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::ready(()))
        }
    }

    #[tokio::test]
    async fn cancels_the_session_of_the_key_and_no_other() {
        let keys = Arc::new(CancelKeys::default());
        let (one, two) = (Arc::new(Counting::default()), Arc::new(Counting::default()));
        let first = keys.issue(4, one.clone()).unwrap();
        let second = keys.issue(32, two.clone()).unwrap();
        assert_eq!(second.key.len(), 32);
        assert_eq!(keys.cancel(first.process, &first.key).await, Found::Session);
        assert_eq!(keys.cancel(second.process, &first.key).await, Found::Nothing);
        assert_eq!((one.0.load(Ordering::Relaxed), two.0.load(Ordering::Relaxed)), (1, 0));
    }

    #[tokio::test]
    async fn a_key_ends_with_its_session() {
        let keys = Arc::new(CancelKeys::default());
        let key = keys.issue(4, Arc::new(Counting::default())).unwrap();
        let (process, bytes) = (key.process, key.key.clone());
        drop(key);
        assert_eq!(keys.cancel(process, &bytes).await, Found::Nothing);
    }
}
