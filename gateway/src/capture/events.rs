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
use gateway_common::{KernelEvent, NamedEvent, SocketName};
use rustix::event::{PollFd, PollFlags, Timespec};

/// How long the thread sleeps on an empty ring before it looks whether it should end.
const WAKE_EVERY: Duration = Duration::from_millis(200);

/// The ring buffer of a gate.
pub struct Ring(pub(super) RingBuf<MapData>);

/// The thread that reads a ring buffer. Ends when it is dropped.
#[derive(Debug)]
pub struct RingReader {
    stop: Arc<AtomicBool>,
}

impl RingReader {
    /// Starts it; `take` is called for each entry, with the name that it carries, and must not wait.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn start(ring: Ring, take: impl Fn(KernelEvent, Option<SocketName>) + Send + 'static) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let Ring(mut ring) = ring;
        thread::Builder::new().name("kernel-events".into()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                wait(&ring);
                while let Some(entry) = ring.next() {
                    if let Some(event) = KernelEvent::read(&entry) {
                        take(event, NamedEvent::name_in(&entry));
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
