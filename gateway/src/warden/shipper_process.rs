//! The shipper as the warden sees it: a process that is handed one segment at a time.
//!
//! In: the journals' files, the configuration, messages of an unprivileged process. Out: segments to read, sockets to one
//! address, the checkpoint, and how far the copy is. It never waits for anything that a request waits for: with the shipper
//! or the store gone, sessions go on and the journal stays.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::sync::{Notify, oneshot};

use super::backlog::{Backlog, Work};
use super::feeds::Filing;
use crate::audit::Layout;
use crate::bridge::{self, Bridge, FiledAs};
use crate::control::service::Shipping;
use crate::id::JournalId;
use crate::shipper::{Task, ToShipper, ToWarden};

/// How often the journals are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a new shipper may take.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connect may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may say nothing: the shipper's own timeouts for a batch are shorter.
const BATCH_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a gateway that stops waits for the copy of its last words.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);
/// Characters of an error that are shown.
const MAX_ERROR: usize = 400;
/// Pauses after failures double between these.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Why there is no shipper, for now.
#[derive(Debug, thiserror::Error)]
enum ShipperError {
    /// It could not be started.
    #[error("cannot start the shipper: {what}")]
    Start {
        /// At which step.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It says that it cannot work.
    #[error("the shipper cannot work: {0}")]
    CannotStart(String),
    /// It ended.
    #[error("the shipper ended: a new one goes on from the checkpoint")]
    Ended,
    /// What it made is not noted: the next one finds it.
    #[error("a ticket that was made is not noted: {0}")]
    NotNoted(String),
    /// It says what cannot be.
    #[error("the shipper says what nobody understands: it is replaced")]
    NotUnderstood,
}

/// The shipper, and how far the copy is.
pub(super) struct ShipperProcess {
    layout: Layout,
    copy: Mutex<Option<CopyTo>>,
    state: Mutex<State>,
    changed: Notify,
    over: AtomicBool,
    filing: Option<Filing>,
}

/// Where to, and what is not there yet. Together: what one store acknowledges says nothing of another.
#[derive(Clone)]
struct CopyTo {
    task: Task,
    backlog: Arc<Mutex<Backlog>>,
}

#[derive(Default)]
struct State {
    pid: Option<u32>,
    error: Option<String>,
}

struct Worker {
    bridge: Bridge,
    server: String,
}

impl ShipperProcess {
    /// `filing`: where what it made tickets of is brought.
    pub(super) fn new(layout: Layout, filing: Option<Filing>) -> Self {
        Self {
            layout,
            copy: Mutex::default(),
            state: Mutex::default(),
            changed: Notify::new(),
            over: AtomicBool::new(false),
            filing,
        }
    }

    /// Takes other settings; a shipper with the old ones ends.
    pub(super) fn set(&self, copy: Option<(Task, Backlog)>) {
        let copy = copy.map(|(task, backlog)| CopyTo { task, backlog: Arc::new(Mutex::new(backlog)) });
        let mut current = self.copy.lock();
        if current.as_ref().map(|copy| &copy.task) == copy.as_ref().map(|copy| &copy.task) {
            return;
        }
        *current = copy;
        *self.state.lock() = State::default();
        self.changed.notify_one();
    }

    /// Whether the store acknowledged all of a segment; `None` where none is configured.
    pub(super) fn has_copied(&self, journal: JournalId, segment: u32) -> Option<bool> {
        let copy = self.copy.lock().clone()?;
        let copied = copy.backlog.lock().has_copied(&self.layout, journal, segment);
        Some(copied)
    }

    /// How far the copy is; `None` where none is configured.
    pub(super) fn status(&self) -> Option<Shipping> {
        let copy = self.copy.lock().clone()?;
        let mut shipping = copy.backlog.lock().status(&self.layout);
        let state = self.state.lock();
        shipping.pid = state.pid;
        shipping.error = shipping.error.or_else(|| state.error.clone());
        Some(shipping)
    }

    /// Waits until all is copied, or nothing goes on.
    pub(super) async fn finish(&self) {
        let waiting = async {
            while self.status().is_some_and(|shipping| shipping.lag_events > 0 && shipping.error.is_none()) {
                tokio::time::sleep(LOOK_EVERY / 10).await;
            }
        };
        let _ = tokio::time::timeout(FINISH_TIMEOUT, waiting).await;
    }

    /// Ends for good.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.set(None);
        self.changed.notify_one();
    }

    /// Copies for as long as there is a place to copy to, and waits for one until it is ended.
    pub(super) async fn supervise(&self) {
        let mut pause = PAUSES.0;
        loop {
            let copy = self.copy.lock().clone();
            let Some(copy) = copy else {
                if self.over.load(Ordering::SeqCst) {
                    return;
                }
                self.changed.notified().await;
                continue;
            };
            tokio::select! {
                () = self.changed.notified() => {
                    pause = PAUSES.0;
                    continue;
                }
                error = self.run(&copy, &mut pause) => self.note(&crate::chain::chain(&error)),
            }
            self.state.lock().pid = None;
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSES.1),
            }
        }
    }

    /// Tells why nothing goes on. The shipper's words reach terminals and logs: they are cut and cleaned.
    fn note(&self, error: &str) {
        let error: String = error.chars().filter(|c| !c.is_control()).take(MAX_ERROR).collect();
        tracing::warn!(%error, "the journal is not copied or told for now");
        self.state.lock().error = Some(error);
    }

    /// Runs one process until it ends.
    async fn run(&self, copy: &CopyTo, pause: &mut Duration) -> ShipperError {
        let (mut child, worker) = match Worker::start(&copy.task).await {
            Ok(started) => started,
            Err(error) => return error,
        };
        self.state.lock().pid = child.id();
        tokio::select! {
            _ = child.wait() => ShipperError::Ended,
            error = self.feed(&worker, &copy.backlog, pause) => error,
        }
    }

    /// Hands out work for as long as it is taken.
    async fn feed(&self, worker: &Worker, backlog: &Mutex<Backlog>, pause: &mut Duration) -> ShipperError {
        loop {
            let work = backlog.lock().next(&self.layout);
            let Some(work) = work else {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            match self.hand(worker, backlog, work, pause).await {
                Ok(None) => {}
                Ok(Some(error)) => {
                    self.note(&error);
                    tokio::time::sleep(*pause).await;
                    *pause = (*pause * 2).min(PAUSES.1);
                }
                Err(error) => return error,
            }
        }
    }

    /// Hands one over and notes what of it is acknowledged; the shipper's words where it goes on no further.
    async fn hand(
        &self,
        worker: &Worker,
        backlog: &Mutex<Backlog>,
        mut work: Work,
        pause: &mut Duration,
    ) -> Result<Option<String>, ShipperError> {
        let file = match self.layout.open_segment(work.journal, work.from.segment) {
            Ok((_, file)) => file,
            Err(error) => return Ok(Some(format!("cannot open a segment of journal {}: {error}", work.journal))),
        };
        let message = ToShipper::Ship { journal: work.journal, from: work.from };
        worker.bridge.send(&message, &[file.as_fd()]).await.map_err(|_| ShipperError::Ended)?;
        loop {
            let (place, end, stuck, is_all) = match worker.hear().await? {
                ToWarden::Kept { place } => (place, None, None, false),
                ToWarden::Shipped { place, end, stuck } => (place, end, stuck, true),
                ToWarden::Failed(error) => return Ok(Some(error)),
                ToWarden::Filed(filed) => {
                    if let Err(error) = self.file(filed).await {
                        return Err(ShipperError::NotNoted(error));
                    }
                    continue;
                }
                _ => return Err(ShipperError::NotUnderstood),
            };
            if !work.fits(&self.layout, place) {
                return Err(ShipperError::NotUnderstood);
            }
            *pause = PAUSES.0;
            self.state.lock().error = None;
            if let Err(error) = backlog.lock().done(&work, place, end, stuck) {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the journal is copied, and this not noted");
            }
            if is_all {
                return Ok(None);
            }
            work.from = place;
        }
    }
}

impl ShipperProcess {
    /// Has it noted what a request is called elsewhere.
    async fn file(&self, filed: FiledAs) -> Result<(), String> {
        let gone = || "the gateway stops".to_owned();
        let (noted, answer) = oneshot::channel();
        let filing = self.filing.as_ref().ok_or("it makes no tickets")?;
        filing.send((filed, noted)).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Worker {
    /// The process, which is killed when it is dropped, and its end of the bridge.
    async fn start(task: &Task) -> Result<(Child, Self), ShipperError> {
        let failed = |what| move |source| ShipperError::Start { what, source };
        let (ours, theirs) = bridge::pair().map_err(failed("make the socket pair"))?;
        let text = zeroize::Zeroizing::new(
            serde_json::to_vec(task).map_err(std::io::Error::from).map_err(failed("write its settings"))?,
        );
        let file = bridge::sealed_file(&text).map_err(failed("hand it its settings"))?;
        let child = super::start_part("shipper", theirs).map_err(failed("run our own program"))?;
        let bridge = Bridge::new(ours).map_err(failed("watch the socket pair"))?;
        bridge.send(&ToShipper::Start, &[file.as_fd()]).await.map_err(failed("send it its settings"))?;
        match tokio::time::timeout(READY_TIMEOUT, bridge.receive::<ToWarden>()).await {
            Ok(Ok(Some((ToWarden::Ready, _)))) => Ok((child, Self { bridge, server: task.server() })),
            Ok(Ok(Some((ToWarden::CannotStart(why), _)))) => Err(ShipperError::CannotStart(why)),
            _ => Err(ShipperError::Ended),
        }
    }

    /// What it says next, dialling for it meanwhile.
    async fn hear(&self) -> Result<ToWarden, ShipperError> {
        let said = async {
            loop {
                match self.bridge.receive::<ToWarden>().await {
                    Ok(Some((ToWarden::Dial { request }, _))) => self.dial(request).await?,
                    Ok(Some((said, _))) => return Ok(said),
                    Ok(None) => return Err(ShipperError::Ended),
                    Err(_) => return Err(ShipperError::NotUnderstood),
                }
            }
        };
        tokio::time::timeout(BATCH_TIMEOUT, said).await.unwrap_or(Err(ShipperError::Ended))
    }

    /// Dials the one address that the configuration names.
    async fn dial(&self, request: u64) -> Result<(), ShipperError> {
        let socket: std::io::Result<OwnedFd> = async {
            let connecting = tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(&self.server));
            Ok(connecting.await.map_err(|_| std::io::ErrorKind::TimedOut)??.into_std()?.into())
        }
        .await;
        let (descriptors, error) = match &socket {
            Ok(socket) => (vec![socket.as_fd()], None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let answer = ToShipper::Socket { request, error };
        self.bridge.send(&answer, &descriptors).await.map_err(|_| ShipperError::Ended)
    }
}
