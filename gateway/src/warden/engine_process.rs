//! The engine as the warden sees it: a process that is started, fed, listened to and replaced.
//!
//! In: messages of an unprivileged process that reads hostile bytes. Out: connections and answers to it; heartbeats to
//! the hooks. When it dies the gates close, and a new one is started.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::IFlags;
use rustix::net::AddressFamily;
use rustix::time::ClockId;
use tokio::process::Child;
use tokio::sync::oneshot;

use super::Warden;
use super::attachment::Attachment;
use super::keeper::Keeper;
use crate::audit::Layout;
use crate::audit::event::{EngineDied, EngineStarted, Event};
use crate::bridge::{self, Bridge, Bundle, Outlet, Question, ToEngine, ToLane, ToWarden};
use crate::id::{HostId, JournalId};

/// Pause before a dead engine is replaced, so that one that dies at start does not become a busy loop.
const RESTART_PAUSE: Duration = Duration::from_millis(200);
/// How long a new engine may take until policies are in force.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long sessions have to end when the gateway stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the engine may say nothing, not even a heartbeat, before it is replaced: clients wait on it.
const SILENCE: Duration = Duration::from_secs(5);
/// How long an operator waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It could not be started.
    #[error("cannot start the engine: {what}")]
    Start {
        /// At which step.
        what: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Its journal could not be made.
    #[error("cannot make the engine's journal")]
    Journal(#[source] crate::audit::journal::LayoutError),
    /// What it needs could not be read.
    #[error("{0}")]
    Bundle(String),
    /// What was kept could not be read.
    #[error("cannot read what was kept of requests and windows: {0}")]
    State(String),
    /// It says that it cannot work.
    #[error("the engine cannot work: {0}")]
    CannotStart(String),
    /// It ended, or said nothing.
    #[error("the engine ended before it was ready: see its log above")]
    NotReady,
}

/// The engine, and what waits for its answers.
pub(super) struct EngineProcess {
    host: HostId,
    layout: Layout,
    /// The way to it, and the journal that it writes.
    current: Mutex<Option<(Arc<Bridge>, JournalId)>>,
    /// Its process; 0: none runs.
    pid: AtomicU32,
    /// The journal of the engine that was started last.
    latest: Mutex<Option<JournalId>>,
    /// Attachments' ways to it.
    lanes: Mutex<HashMap<String, Arc<Outlet>>>,
    answers: Mutex<HashMap<u64, oneshot::Sender<serde_json::Value>>>,
    reloads: Mutex<Vec<oneshot::Sender<Option<String>>>>,
    next_question: AtomicU64,
    stopping: AtomicBool,
    /// What happens cannot be recorded: no heartbeat opens a gate any more.
    closed: AtomicBool,
    ended: tokio::sync::Notify,
}

/// A started engine that is ready.
pub(super) struct Ready {
    child: Child,
    bridge: Arc<Bridge>,
    journal: JournalId,
}

impl EngineProcess {
    pub(super) fn new(host: HostId, layout: Layout) -> Self {
        Self {
            host,
            layout,
            current: Mutex::default(),
            pid: AtomicU32::new(0),
            latest: Mutex::default(),
            lanes: Mutex::default(),
            answers: Mutex::default(),
            reloads: Mutex::default(),
            next_question: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            ended: tokio::sync::Notify::new(),
        }
    }

    /// This installation.
    pub(super) fn host(&self) -> HostId {
        self.host
    }

    /// Where the journals are.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Starts a process and waits until its policies are in force.
    pub(super) async fn start(&self, bundle: &Bundle, keeper: &Keeper) -> Result<Ready, EngineError> {
        let failed = |what| move |source| EngineError::Start { what, source };
        let (ours, theirs) = bridge::pair().map_err(failed("make the socket pair"))?;
        let journal = JournalId::generate();
        *self.latest.lock() = Some(journal);
        let segment = self.layout.create_journal(journal).map_err(EngineError::Journal)?;
        let _ = forbid_changes(&segment);
        let bundle = sealed(bundle).map_err(failed("hand it the configuration"))?;
        let kept = keeper.kept().await.map_err(EngineError::State)?;
        let kept = sealed(&kept).map_err(failed("hand it what was kept"))?;
        let child = super::start_part("engine", theirs).map_err(failed("run our own program"))?;
        let bridge = Arc::new(Bridge::new(ours).map_err(failed("watch the socket pair"))?);
        let start = ToEngine::Start { host: self.host, journal };
        bridge
            .send(&start, &[segment.as_fd(), bundle.as_fd(), kept.as_fd()])
            .await
            .map_err(failed("send it the journal"))?;
        match tokio::time::timeout(READY_TIMEOUT, bridge.receive::<ToWarden>()).await {
            Ok(Ok(Some((ToWarden::Ready, _)))) => Ok(Ready { child, bridge, journal }),
            Ok(Ok(Some((ToWarden::CannotStart(why), _)))) => Err(EngineError::CannotStart(why)),
            _ => Err(EngineError::NotReady),
        }
    }

    /// From now on this one is asked.
    pub(super) fn take_over(&self, ready: &Ready) {
        *self.current.lock() = Some((Arc::clone(&ready.bridge), ready.journal));
        self.pid.store(ready.child.id().unwrap_or_default(), Ordering::SeqCst);
    }

    /// Its process, where one runs.
    pub(super) fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::SeqCst)).filter(|pid| *pid != 0)
    }

    /// Serves an engine until it dies, replaces it, and so on until `stop`.
    pub(super) async fn supervise(warden: Arc<Warden>, mut ready: Ready) {
        let engine = &warden.engine;
        loop {
            let pid = ready.child.id().unwrap_or_default();
            warden.record(&Event::EngineStarted(EngineStarted { pid, journal: ready.journal }));
            engine.take_over(&ready);
            // It was started with all of them.
            warden.all().iter().for_each(|attachment| attachment.open());
            beat(&warden, &BTreeSet::new());
            engine.listen(&warden, &ready.bridge).await;
            engine.current.lock().take();
            engine.pid.store(0, Ordering::SeqCst);
            engine.lanes.lock().clear();
            engine.close_gates(&warden.all());
            // The next one does not know which target has which address.
            warden.all().iter().for_each(|attachment| attachment.forget_names());
            engine.answers.lock().clear();
            let _ = ready.child.start_kill();
            let status = ready.child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
            if engine.stopping.load(Ordering::SeqCst) {
                break;
            }
            tracing::error!(%status, "the engine died: its sessions are gone, the gates are closed until a new one runs");
            warden.record(&Event::EngineDied(EngineDied { journal: ready.journal, status }));
            ready = engine.replace(&warden).await;
        }
        engine.ended.notify_one();
    }

    async fn replace(&self, warden: &Warden) -> Ready {
        loop {
            tokio::time::sleep(RESTART_PAUSE).await;
            let started = match warden.bundle_in_force() {
                Ok(bundle) => self.start(&bundle, &warden.keeper).await,
                Err(error) => Err(EngineError::Bundle(error)),
            };
            match started {
                Ok(ready) => return ready,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "no engine: the gates stay closed")
                }
            }
        }
    }

    /// Takes what the engine says until it says no more.
    async fn listen(&self, warden: &Arc<Warden>, bridge: &Arc<Bridge>) {
        loop {
            match tokio::time::timeout(SILENCE, bridge.receive::<ToWarden>()).await {
                Ok(Ok(Some((message, _)))) => self.take(warden, bridge, message).await,
                Ok(Ok(None)) => return,
                Err(_) => {
                    tracing::error!("the engine says nothing any more: it is replaced");
                    return;
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "the engine says what nobody understands: it is replaced");
                    return;
                }
            }
        }
    }

    async fn take(&self, warden: &Arc<Warden>, bridge: &Arc<Bridge>, message: ToWarden) {
        match message {
            ToWarden::Heartbeat { stuck } => beat(warden, &stuck),
            ToWarden::Ready | ToWarden::CannotStart(_) => {}
            ToWarden::Reloaded(result) => {
                for waiting in self.reloads.lock().drain(..) {
                    let _ = waiting.send(result.clone());
                }
            }
            ToWarden::Answer { request, answer } => {
                if let Some(waiting) = self.answers.lock().remove(&request) {
                    let _ = waiting.send(answer);
                }
            }
            ToWarden::Admit { request, attachment, name, addresses, seconds } => {
                let ttl = Duration::from_secs(seconds);
                let result = warden.admit(&attachment, name, addresses, ttl);
                let _ = bridge.send(&ToEngine::Admitted { request, result }, &[]).await;
            }
            ToWarden::Certify { request, target, key } => {
                let result = warden.certify(&target, &key);
                let _ = bridge.send(&ToEngine::Certified { request, result }, &[]).await;
            }
            ToWarden::Keep { request, changes } => warden.keeper.keep(bridge, request, changes).await,
            ToWarden::Answered { request, datagram } => warden.forwarder.answer(request, &datagram),
            ToWarden::DialIssuer { request, server } => {
                let (warden, bridge) = (Arc::clone(warden), Arc::clone(bridge));
                tokio::spawn(async move {
                    let dialled = tokio::task::spawn_blocking(move || warden.dial_issuer(server)).await;
                    let stream = dialled.unwrap_or_else(|error| Err(error.to_string()));
                    let (descriptors, error) = match &stream {
                        Ok(stream) => (vec![stream.as_fd()], None),
                        Err(error) => (Vec::new(), Some(error.clone())),
                    };
                    let _ = bridge.send(&ToEngine::Socket { request, error }, &descriptors).await;
                });
            }
            ToWarden::Dial { request, netns, ipv6 } => {
                let socket = dial_socket(warden, netns, ipv6);
                let (descriptors, error) = match &socket {
                    Ok(socket) => (vec![socket.as_fd()], None),
                    Err(error) => (Vec::new(), Some(error.clone())),
                };
                // A bridge that takes nothing is about to be noticed by `listen`.
                let _ = bridge.send(&ToEngine::Socket { request, error }, &descriptors).await;
            }
        }
    }

    fn bridge(&self) -> Option<Arc<Bridge>> {
        self.writes().map(|(bridge, _)| bridge)
    }

    /// The journal that an engine may be writing, even one that is not heard of: the one before it has ended.
    pub(super) fn latest(&self) -> Option<JournalId> {
        *self.latest.lock()
    }

    /// The engine that runs, and its journal.
    pub(super) fn writes(&self) -> Option<(Arc<Bridge>, JournalId)> {
        self.current.lock().clone()
    }

    /// Hands a connection or a question of an attachment to the engine. Where the engine is slow to take what this
    /// attachment sends, its next ones wait, and nobody else.
    pub(super) async fn hand_over(
        &self,
        attachment: &str,
        message: &ToLane,
        sockets: &[BorrowedFd<'_>],
    ) -> std::io::Result<()> {
        let lane = self.lane(attachment).await?;
        let sent = lane.send(message, sockets).await;
        if sent.is_err() {
            // The next one finds another.
            self.lanes.lock().retain(|_, known| !Arc::ptr_eq(known, &lane));
        }
        sent
    }

    async fn lane(&self, attachment: &str) -> std::io::Result<Arc<Outlet>> {
        if let Some(lane) = self.lanes.lock().get(attachment) {
            return Ok(Arc::clone(lane));
        }
        let (ours, theirs) = bridge::pair()?;
        let lane = Arc::new(Outlet::new(ours)?);
        let engine = self.bridge().ok_or(std::io::ErrorKind::NotConnected)?;
        engine.send(&ToEngine::Lane { attachment: attachment.to_owned() }, &[theirs.as_fd()]).await?;
        // Of two who come here at once the second drops its own, which the engine closes then.
        Ok(Arc::clone(self.lanes.lock().entry(attachment.to_owned()).or_insert(lane)))
    }

    /// Closes the way of an attachment that is no more; its sessions end by themselves.
    pub(super) fn close_lane(&self, attachment: &str) {
        self.lanes.lock().remove(attachment);
    }

    /// Has the engine take a new bundle; `Err` with the reason why the old one stays in force.
    pub(super) async fn reload(&self, bundle: &Bundle) -> Result<(), String> {
        let bridge = self.bridge().ok_or("no engine runs")?;
        let file = sealed(bundle).map_err(|error| error.to_string())?;
        let (send, receive) = oneshot::channel();
        self.reloads.lock().push(send);
        bridge.send(&ToEngine::Reload, &[file.as_fd()]).await.map_err(|error| error.to_string())?;
        match tokio::time::timeout(READY_TIMEOUT, receive).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(why))) => Err(why),
            _ => Err("the engine did not answer".into()),
        }
    }

    /// Asks the engine on behalf of an operator.
    pub(super) async fn ask(&self, question: Question) -> Result<serde_json::Value, String> {
        self.ask_within(question, ANSWER_TIMEOUT).await
    }

    /// The same for what takes longer.
    pub(super) async fn ask_within(&self, question: Question, time: Duration) -> Result<serde_json::Value, String> {
        let bridge = self.bridge().ok_or("no engine runs: the gates are closed")?;
        let request = self.next_question.fetch_add(1, Ordering::Relaxed);
        let (send, receive) = oneshot::channel();
        self.answers.lock().insert(request, send);
        let asked = bridge.send(&ToEngine::Ask { request, question: Box::new(question) }, &[]).await;
        let answer = tokio::time::timeout(time, receive).await;
        self.answers.lock().remove(&request);
        match (asked, answer) {
            (Ok(()), Ok(Ok(answer))) => Ok(answer),
            _ => Err("the engine did not answer".into()),
        }
    }

    /// Whether an engine runs.
    pub(super) fn runs(&self) -> bool {
        self.current.lock().is_some()
    }

    /// Refuses every connect to a protected destination from here on.
    #[expect(clippy::unused_self, reason = "it closes this engine's gates")]
    pub(super) fn close_gates(&self, attachments: &[Arc<Attachment>]) {
        attachments.iter().for_each(|attachment| attachment.beat(0));
    }

    /// The same for good, whatever the engine says.
    pub(super) fn close_gates_for_good(&self, attachments: &[Arc<Attachment>]) {
        self.closed.store(true, Ordering::SeqCst);
        self.close_gates(attachments);
    }

    /// Lets sessions end, then the process.
    pub(super) async fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Some(bridge) = self.bridge()
            && bridge.send(&ToEngine::Drain, &[]).await.is_ok()
        {
            let _ = tokio::time::timeout(DRAIN_TIMEOUT, self.ended.notified()).await;
        }
    }
}

/// The engine was heard of: the gates are open for two seconds, but for those of attachments that it cannot serve.
pub(super) fn beat(warden: &Warden, stuck: &BTreeSet<String>) {
    if warden.engine.closed.load(Ordering::SeqCst) {
        return;
    }
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    let nanos = u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0);
    for attachment in warden.all().iter().filter(|attachment| !stuck.contains(attachment.name())) {
        attachment.beat(nanos);
    }
}

fn dial_socket(warden: &Warden, netns: u64, ipv6: bool) -> Result<OwnedFd, String> {
    let family = if ipv6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let made = warden.all().iter().find_map(|attachment| {
        attachment.with_namespace(netns, |handle| warden.namespaces.stream_socket(handle, family))
    });
    match made {
        Some(Ok(socket)) => Ok(socket),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("the connection's network namespace is gone".into()),
    }
}

fn sealed(what: &impl serde::Serialize) -> std::io::Result<OwnedFd> {
    bridge::sealed_file(&serde_json::to_vec(what)?)
}

/// Lets a journal file be added to, by whoever holds a descriptor, and not be changed.
///
/// # Errors
/// On file systems without the append-only flag, such as old tmpfs: then O_APPEND and the seals remain.
pub(super) fn forbid_changes(file: &File) -> std::io::Result<()> {
    let flags = rustix::fs::ioctl_getflags(file)?;
    Ok(rustix::fs::ioctl_setflags(file, flags | IFlags::APPEND)?)
}
