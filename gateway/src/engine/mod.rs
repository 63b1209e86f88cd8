//! The engine: the process that reads hostile bytes.
//!
//! In: connections with the kernel's record, from the warden. Out: sessions, each judged, journaled and served. It has
//! no capabilities, opens no files and starts no programs; what it needs comes as descriptors.

mod approvals;
mod certifier;
mod devices;
mod dialler;
mod disk;
mod forwarder;
mod issuer;
mod keeper;
mod lane;
mod people;
mod powers;
mod refused_questions;
mod resolver;
mod settings;
mod slack;
mod tokens;
mod upstreams;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use self::lane::Lanes;
pub use self::lane::Running;
pub use certifier::Certifier;
pub use dialler::{DialError, Dialler};
pub use powers::{AT_ONCE, PATIENCE};
pub use settings::Settings;

use crate::approval::{Desk, Store, Window, Windows};
use crate::audit::event::{EndCause, Role};
use crate::audit::journal::Disk;
use crate::audit::{Durability, Journal, Opening};
use crate::bridge::{Bridge, Bundle, Connection, Question, ToEngine, ToWarden};
use crate::config;
use crate::host::priority;
use crate::id::{HostId, JournalId, SessionId};
use crate::masking::rules::Rules;
use crate::metrics::EngineCounts;
use crate::policy::PolicySnapshot;
use crate::protocol::postgres::{Analyses, CancelKeys, Shared, sql};
use crate::sandbox::{self, Part};
use crate::session::{Facts, Within};
use crate::state;

/// How often the warden hears of us; the hooks close after two seconds of silence.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Messages to the warden that wait.
const OUTBOX: usize = 1_024;
/// Threads that hear the warden: one reads new policies while the other lets it know that we live.
const HEARING: usize = 2;
/// How long sessions have to end when the gateway stops.
const DRAIN: Duration = Duration::from_secs(3);
/// Threads that read long statements of an attachment.
const READER_THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();
/// The largest bundle.
const MAX_BUNDLE: u64 = 64 * 1024 * 1024;

/// What every session works with.
pub struct Engine {
    settings: watch::Sender<Arc<Settings>>,
    journal: Arc<Journal>,
    dialler: Dialler,
    certifier: Arc<certifier::Certifier>,
    forwarder: forwarder::Forwarder,
    policies: watch::Sender<Arc<PolicySnapshot>>,
    rules: watch::Sender<Arc<Rules>>,
    analyses: Arc<Analyses>,
    desk: Arc<Desk>,
    windows: Windows,
    keeper: Arc<keeper::Keeper>,
    cancel_keys: Arc<CancelKeys>,
    outbox: mpsc::Sender<ToWarden>,
    /// With the session around it.
    running: Mutex<BTreeMap<SessionId, (Connection, Option<SessionId>)>>,
    lanes: Arc<Lanes>,
    bindings: tokens::Bindings,
    failed_logins: people::FailedLogins,
    said: slack::Taken,
    devices: devices::Devices,
    drain: watch::Sender<bool>,
    disk: watch::Sender<Disk>,
}

/// Runs the engine's process to its end.
///
/// # Errors
/// Where it was not started by a warden, or the sandbox cannot be closed.
pub fn run() -> anyhow::Result<()> {
    let socket =
        std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().context("no socket on standard input")?;
    // The sandbox lets nobody ask how much there is.
    let lanes = Arc::new(Lanes::new());
    priority::raise();
    // Before there are threads: credentials and filters of Linux belong to threads, and new ones inherit them.
    sandbox::close(Part::Engine).context("cannot close the sandbox")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(HEARING).enable_all().build()?;
    let served = runtime.block_on(serve(socket, Arc::clone(&lanes)));
    lanes.end();
    served
}

async fn serve(socket: OwnedFd, lanes: Arc<Lanes>) -> anyhow::Result<()> {
    let bridge = Arc::new(Bridge::new(socket)?);
    let Some((ToEngine::Start { host, journal }, descriptors)) = bridge.receive().await? else {
        bail!("the warden did not say start");
    };
    let (engine, restored) = match Engine::open((host, journal), descriptors, &bridge, lanes) {
        Ok(engine) => engine,
        Err(error) => {
            bridge.send(&ToWarden::CannotStart(format!("{error:#}")), &[]).await?;
            return Err(error);
        }
    };
    bridge.send(&ToWarden::Ready, &[]).await?;
    // Not before: it is the first that the warden hears, and both may ask it for something.
    engine.renew_tokens(&engine.settings());
    engine.record_restored(&restored.ended, &restored.approvers);
    let beating = Arc::clone(&engine);
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(HEARTBEAT);
        loop {
            tick.tick().await;
            let stuck = beating.lanes.stuck();
            if beating.outbox.send(ToWarden::Heartbeat { stuck }).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(Arc::clone(&engine).expire_approvals());
    tokio::spawn(Arc::clone(&engine).record_refusals());
    tokio::spawn(Arc::clone(&engine).look_after_disk());
    let journal = Arc::clone(&engine.journal);
    tokio::spawn(async move {
        let error = journal.write_waiting().await;
        tracing::error!(%error, "outcomes could not be recorded");
    });
    while let Some((message, descriptors)) = bridge.receive::<ToEngine>().await? {
        if !engine.take(message, descriptors).await {
            break;
        }
    }
    Ok(())
}

/// What has to be told of what was kept.
struct Restored {
    ended: approvals::Ended,
    approvers: BTreeMap<u32, BTreeSet<String>>,
}

impl Engine {
    fn open(
        (host, journal): (HostId, JournalId),
        descriptors: Vec<OwnedFd>,
        bridge: &Arc<Bridge>,
        lanes: Arc<Lanes>,
    ) -> anyhow::Result<(Arc<Self>, Restored)> {
        let mut descriptors = descriptors.into_iter();
        let segment = descriptors.next().ok_or_else(|| anyhow!("the warden sent no journal"))?;
        let bundle = descriptors.next().ok_or_else(|| anyhow!("the warden sent no bundle"))?;
        let kept = descriptors.next().ok_or_else(|| anyhow!("the warden sent nothing of what was kept"))?;
        let mut bundle = read_bundle(bundle)?;
        let approvers = std::mem::take(&mut bundle.approvers);
        let settings = Settings::first(bundle).map_err(|error| anyhow!(error))?;
        let opening = Opening {
            journal,
            host,
            host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            role: Role::Engine,
            product: env!("CARGO_PKG_VERSION").to_owned(),
            previous: None,
        };
        let durability = match settings.config().journal.durability {
            config::Durability::Process => Durability::Process,
            config::Durability::Disk => Durability::Disk,
        };
        let journal = Arc::new(Journal::open(File::from(segment), opening, durability)?);
        settings.record(&journal)?;
        journal.set_marks((&settings.config().journal).into());
        let reader = sql::Reader::start(sql::Caps::default(), READER_THREADS)?;
        let (outbox, mut waiting) = mpsc::channel(OUTBOX);
        let sender = Arc::clone(bridge);
        tokio::spawn(async move {
            while let Some(message) = waiting.recv().await {
                if sender.send(&message, &[]).await.is_err() {
                    return;
                }
            }
        });
        let keeper = Arc::new(keeper::Keeper::new(outbox.clone()));
        let store: Arc<dyn Store> = Arc::clone(&keeper) as _;
        let (desk, windows, ended) = approvals::restore(read_kept(kept)?, store)?;
        let engine = Arc::new(Self {
            journal,
            policies: watch::Sender::new(Arc::clone(settings.policies())),
            rules: watch::Sender::new(Arc::clone(settings.masking())),
            settings: watch::Sender::new(Arc::new(settings)),
            analyses: Arc::new(Analyses::new(reader)),
            desk: Arc::new(desk),
            windows,
            keeper,
            cancel_keys: Arc::default(),
            dialler: Dialler::new(outbox.clone()),
            certifier: Arc::new(certifier::Certifier::new(outbox.clone())),
            forwarder: forwarder::Forwarder::new(outbox.clone()),
            outbox,
            running: Mutex::default(),
            lanes,
            bindings: tokens::Bindings::default(),
            failed_logins: people::FailedLogins::default(),
            said: slack::Taken::default(),
            devices: devices::Devices::default(),
            drain: watch::Sender::new(false),
            disk: watch::Sender::new(Disk::Enough),
        });
        Ok((engine, Restored { ended, approvers }))
    }

    /// Configuration and policies in force.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// The same, to wait for a change: what rests on the old ones is judged again then (G6).
    #[must_use]
    pub fn watch_settings(&self) -> watch::Receiver<Arc<Settings>> {
        self.settings.subscribe()
    }

    /// What the sessions of an attachment judge by.
    #[must_use]
    pub fn shared(&self, attachment: &str) -> Shared {
        Shared {
            policies: self.policies.subscribe(),
            analyses: self.lanes.analyses_of(attachment).unwrap_or_else(|| Arc::clone(&self.analyses)),
            desk: Arc::clone(&self.desk),
            rules: self.rules.subscribe(),
        }
    }

    /// The keys by which clients cancel.
    #[must_use]
    pub fn cancel_keys(&self) -> &Arc<CancelKeys> {
        &self.cancel_keys
    }

    /// The name that a workload was last told an address for, while the address is open.
    #[must_use]
    pub fn name_of(&self, attachment: &str, address: IpAddr) -> Option<String> {
        self.forwarder.name_of(attachment, address)
    }

    /// The windows that are open for a workload at a target.
    #[must_use]
    pub fn windows_of(&self, workload: &str, target: &str) -> Vec<Arc<Window>> {
        self.windows.of_session(workload, target)
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Where upstream connections are made.
    #[must_use]
    pub fn dialler(&self) -> &Dialler {
        &self.dialler
    }

    /// What has logins at SSH servers certified.
    #[must_use]
    pub fn certifier(&self) -> &Arc<certifier::Certifier> {
        &self.certifier
    }

    /// Why a session has to end, once it has to: the gateway stops, its attachment is gone, its workload's token
    /// ended, or policies no longer let it connect (G6).
    #[must_use]
    pub fn ending(self: &Arc<Self>, facts: &Arc<Facts>) -> watch::Receiver<Option<String>> {
        let (ending, receiver) = watch::channel(None);
        let facts = Arc::clone(facts);
        let (mut settings, mut drain) = (self.settings.subscribe(), self.drain.subscribe());
        let mut disk = self.disk.subscribe();
        // What changed between the decision to admit it and now is looked at too.
        settings.mark_changed();
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            let (around, token) = (ended(facts.within.as_ref()), engine.token_ended(&facts.workload));
            let window = engine.windows.ended(&facts.windows);
            tokio::pin!(around, token, window);
            let (cause, reason) = loop {
                tokio::select! {
                    () = ending.closed() => return,
                    (cause, reason) = &mut around => break (cause, format!("the session around it ended: {reason}")),
                    reason = &mut token => break (EndCause::Token, reason),
                    name = &mut window => break (EndCause::Approval, format!("the window {name} is not open any more")),
                    _ = drain.wait_for(|drain| *drain) => break (EndCause::Shutdown, "the gateway stops".to_owned()),
                    _ = disk.wait_for(|disk| *disk == Disk::Critical) => {
                        break (EndCause::Disk, "the disk of the gateway's journal is nearly full".to_owned());
                    }
                    changed = settings.changed() => match changed {
                        Ok(()) => {
                            if let Some(ended) = facts.no_longer_admitted(&settings.borrow_and_update()) {
                                break ended;
                            }
                        }
                        Err(_) => return,
                    },
                }
            };
            // One reason alone: nobody set it before.
            let _ = facts.ended_by.set(cause);
            ending.send_replace(Some(reason));
        });
        receiver
    }

    /// Carries out what the warden says; false when it says to end.
    async fn take(self: &Arc<Self>, message: ToEngine, descriptors: Vec<OwnedFd>) -> bool {
        match message {
            ToEngine::Lane { attachment } => self.open_lane(attachment, descriptors),
            ToEngine::Admitted { request, result } => self.forwarder.admitted(request, result),
            ToEngine::Socket { request, error } => self.dialler.answer(request, descriptors, error),
            ToEngine::Certified { request, result } => self.certifier.answer(request, result),
            ToEngine::Kept { request, result } => self.keeper.answer(request, result),
            ToEngine::Segment => self.go_on_in(descriptors),
            ToEngine::Reload => {
                let result = self.reload(descriptors).err();
                let _ = self.outbox.send(ToWarden::Reloaded(result)).await;
            }
            ToEngine::Ask { request, question } => {
                // What a person says is kept by the warden first, whose word comes this way too.
                let engine = Arc::clone(self);
                tokio::spawn(async move {
                    let answer = engine.reply(*question).await;
                    let _ = engine.outbox.send(ToWarden::Answer { request, answer }).await;
                });
            }
            ToEngine::Drain => {
                self.end_sessions().await;
                self.flush_refusals();
                return false;
            }
            ToEngine::Start { .. } => return false,
        }
        true
    }

    async fn reply(self: &Arc<Self>, question: Question) -> serde_json::Value {
        match question {
            Question::Sessions => self.sessions(),
            Question::Approvals { of_groups } => self.approvals(of_groups.as_deref()),
            Question::Decide(decide) => self.decide(decide).await,
            Question::Window(request) => self.ask_for_window(request).await,
            Question::Windows => self.list_windows(),
            Question::Revoke(revoke) => self.revoke_window(revoke).await,
            Question::Policies => self.policies_in_force(),
            Question::Counts => self.counts(),
            Question::Powers(of) => self.powers(of).await,
            Question::Closed(actions) => self.closed(&actions),
            Question::Filed(filed) => self.filed(filed).await,
            Question::Slack(said) => self.said_in_slack(said).await,
            Question::LogIn { said, begun } => self.log_in(said, begun).await,
            Question::BeginDevice => self.begin_device().await,
            Question::PollDevice(login) => self.poll_device(&login).await,
            Question::LoginFailed(fault) => self.count_failed_login(fault),
        }
    }

    /// A journal that does not go on says so to whoever adds the next line.
    fn go_on_in(&self, descriptors: Vec<OwnedFd>) {
        let Some(segment) = descriptors.into_iter().next() else { return };
        if let Err(error) = self.journal.go_on_in(File::from(segment)) {
            tracing::error!(error = &error as &dyn std::error::Error, "the journal does not go on in its next segment");
        }
    }

    fn reload(self: &Arc<Self>, descriptors: Vec<OwnedFd>) -> Result<(), String> {
        let bundle = descriptors.into_iter().next().ok_or("the warden sent no bundle")?;
        let mut bundle = read_bundle(bundle).map_err(|error| format!("{error:#}"))?;
        let approvers = std::mem::take(&mut bundle.approvers);
        let settings = self.settings().next(bundle, &self.journal)?;
        self.journal.set_marks((&settings.config().journal).into());
        self.policies.send_replace(Arc::clone(settings.policies()));
        self.rules.send_replace(Arc::clone(settings.masking()));
        self.renew_tokens(&settings);
        self.settings.send_replace(Arc::new(settings));
        self.end_approvals_of_others(&approvers);
        Ok(())
    }

    fn sessions(&self) -> serde_json::Value {
        let running = self.running.lock();
        let one = |(id, (connection, parent)): (&SessionId, &(Connection, Option<SessionId>))| {
            json!({
                "session": id,
                "parent": parent,
                "attachment": connection.attachment,
                "destination": connection.original,
                "pid": connection.pid,
                "uid": connection.uid,
                "executable": connection.executable,
            })
        };
        running.iter().map(one).collect()
    }

    /// In the words of `EngineCounts`.
    fn counts(&self) -> serde_json::Value {
        let mut sessions: BTreeMap<(String, &str), u64> = BTreeMap::new();
        for (connection, _) in self.running.lock().values() {
            *sessions.entry((connection.attachment.clone(), protocol(connection))).or_default() += 1;
        }
        json!(EngineCounts {
            events: self.journal.counts().into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
            sessions: sessions
                .into_iter()
                .map(|((name, protocol), count)| (name, protocol.to_owned(), count))
                .collect(),
            approvals: self.desk.list().len(),
            windows: self.windows.all().len(),
        })
    }

    async fn end_sessions(&self) {
        let deadline = tokio::time::Instant::now() + DRAIN;
        self.drain.send_replace(true);
        while !self.running.lock().is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn protocol(connection: &Connection) -> &'static str {
    protocol_name(connection.verdict())
}

/// What is spoken, for people.
fn protocol_name(verdict: gateway_common::Verdict) -> &'static str {
    match verdict {
        gateway_common::Verdict::Postgres => "postgres",
        gateway_common::Verdict::Ssh => "ssh",
        gateway_common::Verdict::Kubernetes => "kubernetes",
        _ => "other",
    }
}

/// Resolves when the session around one has to end, with what ended it and the reason.
async fn ended(within: Option<&Within>) -> (EndCause, String) {
    if let Some(within) = within
        && let Ok(reason) = within.ending.clone().wait_for(Option::is_some).await
        && let Some(reason) = reason.clone()
    {
        return (within.ended_by.get().copied().unwrap_or(EndCause::Shutdown), reason);
    }
    // The session around it is gone by itself: its streams tell.
    std::future::pending().await
}

fn read_kept(file: OwnedFd) -> anyhow::Result<state::Kept> {
    let mut text = Vec::new();
    File::from(file).take(MAX_BUNDLE).read_to_end(&mut text)?;
    serde_json::from_slice(&text).context("what the warden kept was not understood")
}

fn read_bundle(file: OwnedFd) -> anyhow::Result<Bundle> {
    let mut text = Vec::new();
    File::from(file).take(MAX_BUNDLE).read_to_end(&mut text)?;
    serde_json::from_slice(&text).context("the warden's bundle was not understood")
}
