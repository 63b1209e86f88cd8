//! What one attachment has of the engine for itself: a way in, threads, and a reader of statements.
//!
//! In: the engine's end of a socket pair, which the warden made for the attachment. Out: its sessions and answers, served by
//! threads that serve nobody else: who floods waits behind their own work, and the kernel shares the processors between
//! threads. Where all of them are stuck, the warden is told, and closes that attachment's gate alone. It ends when the warden's end is closed and the last session is over.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::{Engine, HEARTBEAT, READER_THREADS};
use crate::audit::event::{Event, NetworkBypass};
use crate::bridge::{Bridge, Connection, ToLane};
use crate::budget::{Budget, Share};
use crate::host::process;
use crate::id::SessionId;
use crate::listener::reset;
use crate::protocol::postgres::{Analyses, sql};
use crate::session;

/// Threads that serve the sessions of an attachment.
const MAX_WORKERS: usize = 16;
/// Sessions of an attachment at once, however much room is left.
const MAX_SESSIONS: usize = 4_096;
/// Descriptors that a session has at most: client, server, what it forwards, and one to spare.
const DESCRIPTORS_EACH: usize = 4;
/// Connections of an attachment that are told at once that it has as many sessions as it may: beyond, they are reset.
const MAX_TOLD: usize = 64;
/// How those are counted.
const NO_PLACE: &str = "too_many_sessions";
/// Counted of connections that are reset since the attachment wrote more lately than the disk has left.
const NO_SHARE: &str = "no_share_of_the_disk";
/// A lane whose threads have no time for so long is stuck: who connects must not wait for it.
const STUCK: Duration = Duration::from_secs(1);
/// For all threads that end with the process.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often refusals are journaled that are counted until then.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// The lanes of all attachments, and what they share.
pub(super) struct Lanes {
    open: Mutex<BTreeMap<String, Lane>>,
    /// By the number of the lane; here, so that they end with the process in good order.
    threads: Mutex<BTreeMap<u64, Runtime>>,
    next: AtomicU64,
    workers: usize,
    /// Sessions.
    places: Arc<Budget>,
    told: Arc<Budget>,
    /// Connections that were reset, by attachment and reason.
    reset: Mutex<BTreeMap<(String, &'static str), u64>>,
}

struct Lane {
    number: u64,
    analyses: Arc<Analyses>,
    /// When one of its threads last had time.
    alive: Arc<Mutex<Instant>>,
}

/// A session among those that run.
pub struct Running {
    engine: Arc<Engine>,
    id: SessionId,
    place: Option<Share>,
}

impl Running {
    /// Whether its attachment may have one more.
    #[must_use]
    pub fn has_place(&self) -> bool {
        self.place.is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.engine.running.lock().remove(&self.id);
    }
}

impl Lanes {
    /// For as many sessions as this process may have descriptors for.
    pub(super) fn new() -> Self {
        // Half of the host is for those whom it serves, and sessions that stay on one core share its caches.
        let workers = (std::thread::available_parallelism().map_or(1, usize::from) / 2).clamp(1, MAX_WORKERS);
        let room = process::descriptors() / DESCRIPTORS_EACH;
        Self {
            open: Mutex::default(),
            threads: Mutex::default(),
            next: AtomicU64::new(0),
            workers,
            places: Budget::new(room, MAX_SESSIONS),
            told: Budget::new(room, MAX_TOLD),
            reset: Mutex::default(),
        }
    }

    /// What is known of an attachment's statements.
    pub(super) fn analyses_of(&self, attachment: &str) -> Option<Arc<Analyses>> {
        self.open.lock().get(attachment).map(|lane| Arc::clone(&lane.analyses))
    }

    /// Attachments none of whose threads had time lately.
    pub(super) fn stuck(&self) -> BTreeSet<String> {
        let open = self.open.lock();
        let stuck = open.iter().filter(|(_, lane)| lane.alive.lock().elapsed() > STUCK);
        stuck.map(|(attachment, _)| attachment.clone()).collect()
    }

    /// Ends all of them, and what still runs there: whatever a session has to write when it is dropped is written then.
    /// For a thread that may wait.
    pub(super) fn end(&self) {
        let deadline = Instant::now() + LAST_WORDS;
        for (_, threads) in std::mem::take(&mut *self.threads.lock()) {
            threads.shutdown_timeout(deadline.saturating_duration_since(Instant::now()));
        }
    }

    /// Another one of the same name may have been opened meanwhile.
    fn close(&self, attachment: &str, number: u64) {
        if let Some(threads) = self.threads.lock().remove(&number) {
            threads.shutdown_background();
        }
        let mut open = self.open.lock();
        if open.get(attachment).is_some_and(|lane| lane.number == number) {
            open.remove(attachment);
        }
    }
}

async fn show_life(alive: Arc<Mutex<Instant>>) {
    let mut tick = tokio::time::interval(HEARTBEAT);
    loop {
        tick.tick().await;
        *alive.lock() = Instant::now();
    }
}

impl Engine {
    /// Opens the lane of an attachment. Where that fails, the warden finds its end closed, and resets who comes.
    pub(super) fn open_lane(self: &Arc<Self>, attachment: String, descriptors: Vec<OwnedFd>) {
        if let Err(error) = self.try_open_lane(attachment, descriptors) {
            tracing::error!(error = &*error as &dyn std::error::Error, "an attachment cannot be served");
        }
    }

    fn try_open_lane(self: &Arc<Self>, attachment: String, descriptors: Vec<OwnedFd>) -> anyhow::Result<()> {
        let socket = descriptors.into_iter().next().context("the warden sent no socket")?;
        let reader = sql::Reader::start(sql::Caps::default(), READER_THREADS).context("cannot start threads")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.lanes.workers)
            .thread_name(format!("lane {attachment}"))
            .enable_all()
            .build()
            .context("cannot start threads")?;
        let number = self.lanes.next.fetch_add(1, Ordering::Relaxed);
        let alive = Arc::new(Mutex::new(Instant::now()));
        let lane = Lane { number, analyses: Arc::new(Analyses::new(reader)), alive: Arc::clone(&alive) };
        self.lanes.open.lock().insert(attachment.clone(), lane);
        runtime.spawn(show_life(alive));
        let serving = runtime.spawn(Arc::clone(self).serve_lane(socket));
        self.lanes.threads.lock().insert(number, runtime);
        let lanes = Arc::clone(&self.lanes);
        tokio::spawn(async move {
            // One that panicked is over like any other.
            let _ = serving.await;
            lanes.close(&attachment, number);
        });
        Ok(())
    }

    async fn serve_lane(self: Arc<Self>, socket: OwnedFd) {
        let over = watch::Sender::new(());
        let taken = match Bridge::new(socket) {
            Ok(bridge) => self.take_all(&bridge, &over).await,
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            tracing::error!(%error, "the warden is not understood: what it hands over is not served");
        }
        over.closed().await;
    }

    async fn take_all(self: &Arc<Self>, bridge: &Bridge, over: &watch::Sender<()>) -> std::io::Result<()> {
        while let Some((message, descriptors)) = bridge.receive::<ToLane>().await? {
            match message {
                ToLane::Connection(connection) => self.start_session(*connection, descriptors, over.subscribe()),
                ToLane::Asked { request, connection, datagram } => {
                    self.answer_datagram(request, *connection, datagram);
                }
            }
        }
        Ok(())
    }

    fn start_session(self: &Arc<Self>, connection: Connection, sockets: Vec<OwnedFd>, alive: watch::Receiver<()>) {
        let Some(socket) = sockets.into_iter().next() else { return };
        if connection.verdict() == gateway_common::Verdict::Dns {
            return self.answer_connection(connection, socket.into());
        }
        let id = SessionId::generate();
        let running = self.enlist(id, &connection, None);
        let told = (!running.has_place()).then(|| self.lanes.told.take(&connection.attachment));
        if let Some(None) = told {
            self.count_reset(&connection.attachment, NO_PLACE);
            return reset(socket.into());
        }
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            session::run(&engine, id, connection, socket.into(), &running).await;
            drop((told, alive));
        });
    }

    /// Puts a session among those that run, until what this returns is dropped.
    pub fn enlist(self: &Arc<Self>, id: SessionId, connection: &Connection, parent: Option<SessionId>) -> Running {
        let place = self.lanes.places.take(&connection.attachment);
        self.running.lock().insert(id, (connection.clone(), parent));
        Running { engine: Arc::clone(self), id, place }
    }

    /// Counts a connection that is reset since what it does could not be recorded.
    pub fn count_without_share(&self, attachment: &str) {
        self.count_reset(attachment, NO_SHARE);
    }

    fn count_reset(&self, attachment: &str, reason: &'static str) {
        *self.lanes.reset.lock().entry((attachment.to_owned(), reason)).or_default() += 1;
    }

    /// Journals what was counted, for ever.
    pub(super) async fn record_refusals(self: Arc<Self>) {
        let mut tick = tokio::time::interval(FLUSH_EVERY);
        loop {
            tick.tick().await;
            self.flush_refusals();
        }
    }

    /// The same, now.
    pub(super) fn flush_refusals(&self) {
        self.flush_refused_questions();
        self.flush_failed_logins();
        for ((attachment, reason), count) in std::mem::take(&mut *self.lanes.reset.lock()) {
            let refused = BTreeMap::from([(reason.to_owned(), count)]);
            let event = Event::NetworkBypass(NetworkBypass { attachment, refused, ..NetworkBypass::default() });
            if let Err(error) = self.journal.append_unsynced(None, &event) {
                tracing::error!(%error, "refused connections could not be recorded");
            }
        }
    }
}
