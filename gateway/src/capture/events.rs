//! The ring buffer of an attachment, read by a thread of its own.
//!
//! In: what the kernel side tells. Out: the same, to whoever started the thread. It never waits for its listener, and
//! nothing decides by what comes here: the kernel has acted already.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use gateway_common::{HeldEvent, HeldQuestion, KernelEvent, NamedEvent, SocketName};
use rustix::event::{PollFd, PollFlags, Timespec};

/// How long the thread sleeps on an empty ring before it looks whether it should end.
const WAKE_EVERY: Duration = Duration::from_millis(200);

/// The ring buffer of a gate.
pub struct Ring(pub(super) RingBuf<MapData>);

/// What the kernel side tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// That something happened.
    Event(KernelEvent),
    /// The same, to something with a name.
    Named(KernelEvent, SocketName),
    /// A question for a name that nobody else will deliver.
    Held(HeldQuestion),
}

impl Entry {
    fn read(entry: &[u8]) -> Option<Self> {
        if let Some(question) = HeldEvent::question_in(entry) {
            return Some(Self::Held(question));
        }
        let event = KernelEvent::read(entry)?;
        Some(NamedEvent::name_in(entry).map_or(Self::Event(event), |name| Self::Named(event, name)))
    }
}

/// The thread that reads a ring buffer. Ends when it is dropped.
#[derive(Debug)]
pub struct RingReader {
    stop: Arc<AtomicBool>,
}

impl RingReader {
    /// Starts it; `take` is called for each entry, and must not wait.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn start(ring: Ring, take: impl Fn(Entry) + Send + 'static) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let Ring(mut ring) = ring;
        thread::Builder::new().name("kernel-events".into()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                wait(&ring);
                while let Some(entry) = ring.next() {
                    if let Some(entry) = Entry::read(&entry) {
                        take(entry);
                    }
                }
            }
        })?;
        Ok(Self { stop })
    }
}

impl Drop for RingReader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn wait(ring: &RingBuf<MapData>) {
    let fd = ring.as_fd();
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(WAKE_EVERY.subsec_nanos()) };
    // A signal or an error only means to look at the ring now.
    let _ = rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout));
}
