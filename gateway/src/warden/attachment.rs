//! One intercepted subtree: its gate, its listeners, its state of health.
//!
//! In: accepted sockets. Out: connections with the kernel's record, for the engine; a socket without a record is
//! reset. Everything here belongs to one attachment alone, so that one that is flooded fails alone.

pub(super) mod namespaces;

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gateway_common::{ConnectRecord, HeldQuestion, Reason, Verdict};
use parking_lot::{Condvar, MappedMutexGuard, Mutex, MutexGuard};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use self::namespaces::Namespaces;
use super::forwarder;
use super::kernel_events::{Collected, Told, executable};
use super::links::Guarded;
use super::names::{self, Kept};
use super::{Warden, WardenError};
use crate::audit::event::{self, Event, Mode};
use crate::bridge::{AttachmentInfo, Connection, ToLane};
use crate::capture::canary::CANARY;
use crate::capture::events::{Entry, Ring, RingReader};
use crate::capture::foreign;
use crate::capture::gaps::Gap;
use crate::capture::health::{self, Unhealthy};
use crate::capture::{CaptureError, Gate, Tables};
use crate::host::cgroup::{Cgroup, Hierarchy};
use crate::host::netns::Netns;
use crate::listener::{self, Accepted};

/// Reports of new network namespaces that wait to be looked at.
const NAMESPACE_QUEUE: usize = 1_024;
/// Counted of what comes to our listener and was not redirected there.
const NO_RECORD: &str = "no_record";
/// Counted of questions for names that nobody could take in time.
pub(super) const QUESTIONS_LOST: &str = "questions_lost";
/// The longest that the canary's connection waits to be accepted, after it came about.
const CANARY_ACCEPTED: Duration = Duration::from_secs(10);
/// How long ago the gate may have been held open for a canary to be sent: it is for two seconds.
const OPEN: Duration = Duration::from_secs(1);

/// An intercepted subtree.
pub struct Attachment {
    info: AttachmentInfo,
    port: u16,
    tables: Mutex<Tables>,
    terms: Terms,
    gate: Mutex<Option<Gate>>,
    reader: Mutex<RingReader>,
    new_namespaces: mpsc::Sender<Newcomer>,
    namespaces: Mutex<Namespaces>,
    collected: Arc<Mutex<Collected>>,
    health: Mutex<Health>,
    /// Inodes of sockets that were looked at.
    sockets: Mutex<HashSet<u64>>,
    canary: Canary,
    /// The engine knows it: heartbeats open the gate.
    known: AtomicBool,
}

/// Somebody in a namespace that was not seen before.
struct Newcomer {
    record: ConnectRecord,
    question: Option<HeldQuestion>,
}

/// Whether the canary's connection is awaited.
#[derive(Default)]
struct Canary {
    alone: Mutex<()>,
    awaited: Mutex<bool>,
    caught: Condvar,
    /// When the gate was last held open.
    open: Mutex<Option<Instant>>,
}

struct Health {
    looked: Instant,
    degraded: Option<Unhealthy>,
    gaps: Vec<Gap>,
    guarded: Guarded,
}

/// What an attachment is made of.
pub(super) struct Parts {
    pub(super) info: AttachmentInfo,
    pub(super) cgroup: Cgroup,
    pub(super) port: u16,
    pub(super) tables: Tables,
    pub(super) gaps: Vec<Gap>,
    pub(super) terms: Terms,
}

/// What was said when it was asked for.
pub(super) struct Terms {
    /// Gaps that are accepted for it alone.
    pub(super) accepted_gaps: BTreeSet<String>,
    /// The user whose command it is for.
    pub(super) runs_as: Option<u32>,
    /// What was open before, or was brought in, is left as it is.
    pub(super) keep_existing: bool,
}

impl Attachment {
    /// Closes the gate over a cgroup and listens in the namespaces of its processes.
    pub(super) fn put_in_force(warden: &Arc<Warden>, parts: Parts) -> Result<Arc<Self>, WardenError> {
        let Parts { info, cgroup, port, tables, gaps, terms } = parts;
        let directory = warden.hierarchy.open(&cgroup)?;
        let (gate, ring) = Gate::close_over(&cgroup, &directory, &tables, port, warden.lsm.as_ref().ok())?;
        let collected = Arc::<Mutex<Collected>>::default();
        let (new_namespaces, mut queue) = mpsc::channel(NAMESPACE_QUEUE);
        let reader = read_events(ring, &collected, &new_namespaces)?;
        let attachment = Arc::new(Self {
            info,
            port,
            tables: Mutex::new(tables),
            terms,
            gate: Mutex::new(Some(gate)),
            reader: Mutex::new(reader),
            new_namespaces,
            namespaces: Mutex::default(),
            collected,
            health: Mutex::new(Health { looked: Instant::now(), degraded: None, gaps, guarded: Guarded::new() }),
            sockets: Mutex::default(),
            canary: Canary::default(),
            known: AtomicBool::new(false),
        });
        attachment.listen_in(warden, Netns::own()?)?;
        attachment.tend_namespaces(warden);
        // `tend_namespaces` goes on where it meets an error.
        if let Err(error) = attachment.guard_links(warden) {
            attachment.detach()?;
            return Err(error);
        }
        let (weak, of) = (Arc::downgrade(&attachment), Arc::clone(warden));
        tokio::spawn(async move {
            while let Some(Newcomer { record, question }) = queue.recv().await {
                let Some(attachment) = weak.upgrade() else { break };
                attachment.listen_where(&of, &record);
                if let Some(question) = question {
                    forwarder::ask_held(&of, &attachment, question).await;
                }
            }
        });
        Ok(attachment)
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.info.name
    }

    /// What the engine knows of it.
    pub(super) fn info(&self) -> AttachmentInfo {
        self.info.clone()
    }

    /// Its cgroup; `None` once it is detached.
    pub(super) fn cgroup(&self) -> Option<Cgroup> {
        self.gate.lock().as_ref().map(|gate| gate.cgroup().clone())
    }

    /// Devices that the second backstop stands on.
    pub(super) fn guarded(&self) -> MappedMutexGuard<'_, Guarded> {
        MutexGuard::map(self.health.lock(), |health| &mut health.guarded)
    }

    /// Asks the gate, unless it is detached.
    pub(super) fn with_gate<T>(&self, work: impl FnOnce(&Gate) -> T) -> Option<T> {
        self.gate.lock().as_ref().map(work)
    }

    /// From now on heartbeats open the gate.
    pub(super) fn open(&self) {
        self.known.store(true, Ordering::SeqCst);
    }

    /// Opens the gate for two seconds from `now`; 0 closes it.
    pub(super) fn beat(&self, now: u64) {
        let now = if self.known.load(Ordering::SeqCst) { now } else { 0 };
        *self.canary.open.lock() = (now != 0).then(Instant::now);
        if let Some(gate) = self.gate.lock().as_mut()
            && let Err(error) = gate.beat(now)
        {
            tracing::error!(
                attachment = self.name(),
                error = &error as &dyn std::error::Error,
                "cannot write the heartbeat"
            );
        }
    }

    /// Puts other tables in force.
    pub(super) fn set_tables(&self, tables: Tables) -> Result<(), CaptureError> {
        let mut current = self.tables.lock();
        if *current != tables {
            if let Some(gate) = self.gate.lock().as_mut() {
                gate.set_tables(&tables, self.port)?;
            }
            *current = tables;
        }
        Ok(())
    }

    /// Removes hooks and listeners, the backstop last.
    pub(super) fn detach(&self) -> Result<(), CaptureError> {
        let gate = self.gate.lock().take();
        let result = gate.map_or(Ok(()), Gate::detach);
        for (_, namespace) in self.namespaces.lock().open.drain() {
            namespace.tasks.iter().for_each(AbortHandle::abort);
        }
        result
    }

    /// Collected events, to be written.
    pub(super) fn take_events(&self, hierarchy: &Hierarchy, told: Told) -> Vec<Event> {
        let name_of = |destination| {
            self.gate.lock().as_mut().and_then(|gate| gate.names().name_of(destination).map(str::to_owned))
        };
        self.count_lost_questions();
        let mut collected = self.collected.lock();
        if told == Told::Counted {
            collected.tell_nothing_apart();
        }
        collected.take(self.name(), hierarchy, name_of)
    }

    /// The kernel side's counters.
    pub(super) fn counts(&self) -> Vec<(Reason, u64)> {
        self.gate.lock().as_ref().and_then(|gate| gate.counts().ok()).unwrap_or_default()
    }

    /// Gaps that were accepted for it alone.
    pub(super) fn accepted_gaps(&self) -> &BTreeSet<String> {
        &self.terms.accepted_gaps
    }

    /// The user whose command it is for.
    pub(super) fn runs_as(&self) -> Option<u32> {
        self.terms.runs_as
    }

    /// Its gaps as last found.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        self.health.lock().gaps.clone()
    }

    /// Seconds since the hooks were last looked at, and what was wrong.
    pub(super) fn health(&self) -> (u64, Option<String>) {
        let health = self.health.lock();
        (health.looked.elapsed().as_secs(), health.degraded.as_ref().map(ToString::to_string))
    }

    /// Looks at the hooks.
    pub(super) fn look(&self, hierarchy: &Hierarchy) -> Result<(), Unhealthy> {
        let result = self.gate.lock().as_ref().map_or(Ok(()), |gate| health::look(gate, hierarchy));
        self.health.lock().looked = Instant::now();
        result
    }

    /// Whether an engine holds its gate open.
    pub(super) fn is_open(&self) -> bool {
        self.canary.open.lock().is_some_and(|last| last.elapsed() <= OPEN)
    }

    /// Whether it decides and records, and blocks nothing.
    pub(super) fn observes(&self) -> bool {
        self.info.observe
    }

    /// Has a process of ours connect from inside.
    pub(super) fn send_canary(&self, hierarchy: &Hierarchy) -> Result<(), Unhealthy> {
        let Some(cgroup) = self.cgroup() else { return Ok(()) };
        // A gate that is closed refuses it.
        if !self.is_open() {
            return Ok(());
        }
        // One at a time: each waits for its own connection.
        let _alone = self.canary.alone.lock();
        *self.canary.awaited.lock() = true;
        let has_lsm = self.gate.lock().as_ref().is_some_and(Gate::has_lsm);
        let result = health::send_canary(&cgroup.path, &hierarchy.full_path(&cgroup), has_lsm);
        let mut awaited = self.canary.awaited.lock();
        if result.is_ok() {
            // The kernel completes a connection before we accept it.
            self.canary.caught.wait_while_for(&mut awaited, |awaited| *awaited, CANARY_ACCEPTED);
        }
        let lost = std::mem::take(&mut *awaited);
        match result {
            Ok(()) if lost => {
                Err(Unhealthy::CanaryLost { path: cgroup.path, reason: "it connected, but not to us".into() })
            }
            other => other,
        }
    }

    /// Notes what is wrong; false where it was known.
    pub(super) fn note_degraded(&self, unhealthy: &Unhealthy) -> bool {
        let before = self.health.lock().degraded.replace(unhealthy.clone());
        before.as_ref() != Some(unhealthy)
    }

    /// Notes that all is well again.
    pub(super) fn note_repaired(&self) {
        self.health.lock().degraded = None;
    }

    /// Puts the hooks in force anew, over the cgroup that the path leads to now.
    pub(super) fn reattach(&self, warden: &Arc<Warden>) -> Result<(), WardenError> {
        let Some(old) = self.cgroup() else { return Ok(()) };
        let cgroup = warden.hierarchy.at(std::path::Path::new(&old.path))?;
        let directory = warden.hierarchy.open(&cgroup)?;
        if cgroup.id == old.id {
            self.load_anew(warden, &cgroup, &directory)?;
        } else {
            if let Some(gate) = self.gate.lock().as_mut() {
                gate.follow(&cgroup, &directory)?;
            }
            let kept = Kept { name: self.name().to_owned(), cgroup: cgroup.path, cgroup_id: cgroup.id };
            if let Err(error) = names::keep(&kept) {
                tracing::warn!(%error, "the attachment's name is not kept: without a gateway it can only be purged");
            }
        }
        // Those that stand now are of the old programs, or of the old cgroup.
        self.guarded().clear();
        self.guard_links(warden)
    }

    fn load_anew(&self, warden: &Warden, cgroup: &Cgroup, directory: &OwnedFd) -> Result<(), WardenError> {
        if let Some(gate) = self.gate.lock().as_ref() {
            gate.pin_maps()?;
        }
        let tables = self.tables.lock().clone();
        let (mut gate, ring) = Gate::close_over(cgroup, directory, &tables, self.port, warden.lsm.as_ref().ok())?;
        for (cookie, namespace) in &self.namespaces.lock().open {
            gate.set_listener(*cookie, namespace.state)?;
        }
        *self.reader.lock() = read_events(ring, &self.collected, &self.new_namespaces)?;
        *self.gate.lock() = Some(gate);
        Ok(())
    }

    /// Its state as an event tells it.
    pub(super) fn describe(&self, hierarchy: &Hierarchy, reason: String) -> event::Attachment {
        let cgroup = self.cgroup();
        let processes =
            cgroup.as_ref().and_then(|cgroup| hierarchy.processes(cgroup).ok()).map_or(0, |pids| pids.len());
        let (gaps, enforcing) = {
            let health = self.health.lock();
            (health.gaps.iter().map(|gap| gap.name.clone()).collect(), health.degraded.is_none())
        };
        event::Attachment {
            attachment: self.name().to_owned(),
            cgroup: cgroup.as_ref().map(|cgroup| cgroup.path.clone()).unwrap_or_default(),
            cgroup_id: cgroup.map(|cgroup| cgroup.id).unwrap_or_default(),
            enforcing,
            mode: if self.info.observe { Mode::Observe } else { Mode::Enforce },
            processes: u32::try_from(processes).unwrap_or(u32::MAX),
            gaps,
            reason,
            ..event::Attachment::default()
        }
    }

    /// Makes sockets deaf that processes brought in from outside, and journals what was found.
    pub(super) fn look_for_foreign_sockets(&self, warden: &Warden) {
        let Some(cgroup) = self.cgroup() else { return };
        // Without the bind hooks every socket would look foreign.
        if self.look(&warden.hierarchy).is_err() {
            return;
        }
        let pids = warden.hierarchy.processes(&cgroup).unwrap_or_default();
        let found = foreign::find(&pids, &mut self.sockets.lock(), self.terms.keep_existing);
        let Some(first) = found.first() else { return };
        let deaf = found.iter().filter(|socket| socket.is_deaf).count();
        let detail = format!(
            "{} sockets, of process {} first, were made outside of the attachment, where no hook sees them: {deaf} of them were made deaf, so that no connection comes about",
            found.len(),
            first.pid
        );
        let name = "foreign_sockets".to_owned();
        warden.record(&Event::Gap(event::Gap { name, detail, attachment: Some(self.name().to_owned()) }));
    }

    /// Looks for gaps, and journals those that were not there at the last look. It reads of every process of the host.
    pub(super) fn look_for_gaps(&self, warden: &Warden) {
        let Some(cgroup) = self.cgroup() else { return };
        let pids = warden.hierarchy.processes(&cgroup).unwrap_or_default();
        let found = warden.gaps(&cgroup, &pids, self.terms.runs_as);
        let known = std::mem::replace(&mut self.health.lock().gaps, found.clone());
        for gap in found.into_iter().filter(|gap| known.iter().all(|known| known.name != gap.name)) {
            let attachment = Some(self.name().to_owned());
            warden.record(&Event::Gap(event::Gap { name: gap.name, detail: gap.detail, attachment }));
        }
    }

    /// Who sent a datagram to our forwarder; `None`, and counted, where it was not one that a hook sent there.
    pub(super) fn asker(
        &self,
        hierarchy: &Hierarchy,
        netns: u64,
        client: SocketAddr,
        here: SocketAddr,
    ) -> Option<Connection> {
        let record = self.gate.lock().as_ref().and_then(|gate| gate.asker(netns, client, here));
        let Some(record) = record else {
            self.count_refused(NO_RECORD);
            return None;
        };
        Some(self.connection(hierarchy, &record, client))
    }

    /// Counts what was refused here, for the journal.
    pub(super) fn count_refused(&self, reason: &'static str) {
        self.collected.lock().count(reason, 1);
    }

    pub(super) fn connection(&self, hierarchy: &Hierarchy, record: &ConnectRecord, client: SocketAddr) -> Connection {
        let place = hierarchy.place_of(record.cgroup);
        Connection { executable: executable(record), ..Connection::new(self.name(), place, record, client) }
    }

    /// Opens the addresses of a name, and says for how long.
    pub(super) fn admit(
        &self,
        name: &str,
        addresses: &[IpAddr],
        ports: &[(Option<u16>, Verdict)],
        ttl: Duration,
    ) -> Result<Duration, String> {
        let mut gate = self.gate.lock();
        let gate = gate.as_mut().ok_or("detached")?;
        gate.names().admit(name, addresses, ports, ttl).map_err(|error| error.to_string())
    }

    /// Closes the addresses of all names: other rules are in force.
    pub(super) fn forget_names(&self) {
        if let Some(gate) = self.gate.lock().as_mut() {
            gate.names().clear();
        }
    }

    /// A connection arrived: who made it, and where to? Then it is the engine's.
    async fn accepted(&self, warden: &Warden, netns: u64, accepted: Accepted) {
        let Accepted { socket, client, listener } = accepted;
        let taken = match self.gate.lock().as_mut() {
            Some(gate) => gate.take_record(netns, client, listener),
            None => Ok(None),
        };
        match taken {
            Ok(Some(record)) => self.hand_over(warden, record, socket, client).await,
            // Nobody whom we redirected: a connect straight to our port, or a record that was lost.
            Ok(None) => {
                self.count_refused(NO_RECORD);
                listener::reset(socket);
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot read a connection's record");
                listener::reset(socket);
            }
        }
    }

    async fn hand_over(&self, warden: &Warden, record: ConnectRecord, socket: TcpStream, client: SocketAddr) {
        if SocketAddr::from(record.original) == CANARY && std::mem::take(&mut *self.canary.awaited.lock()) {
            self.canary.caught.notify_all();
            return;
        }
        let message = ToLane::Connection(Box::new(self.connection(&warden.hierarchy, &record, client)));
        if let Err(error) = warden.engine.hand_over(self.name(), &message, &[socket.as_fd()]).await {
            tracing::warn!(attachment = self.name(), %error, "no engine takes a connection: it is reset");
            listener::reset(socket);
        }
    }
}

/// Collects what the kernel side tells; namespaces that are new to it are looked at at once.
fn read_events(
    ring: Ring,
    collected: &Arc<Mutex<Collected>>,
    namespaces: &mpsc::Sender<Newcomer>,
) -> Result<RingReader, WardenError> {
    let (collected, namespaces) = (Arc::clone(collected), namespaces.clone());
    // Full: who waits sends again, and the hook tells again with the next connect.
    let take = move |entry: Entry| match entry {
        Entry::Held(question) => {
            if namespaces.try_send(Newcomer { record: question.record, question: Some(question) }).is_err() {
                collected.lock().count(QUESTIONS_LOST, 1);
            }
        }
        Entry::Event(event) if event.reason == Reason::NewNamespace as u32 => {
            let _ = namespaces.try_send(Newcomer { record: event.record, question: None });
        }
        Entry::Event(event) => collected.lock().add(&event),
        Entry::Named(event, name) => {
            let mut collected = collected.lock();
            collected.add(&event);
            collected.add_name(&name);
        }
    };
    RingReader::start(ring, take).map_err(WardenError::Thread)
}

/// What an attachment's kernel side looks up.
#[must_use]
pub(super) fn tables(config: &crate::config::Config, attachment: &str) -> Tables {
    let mut tables = Tables::of(config, attachment);
    // It refuses processes inside by itself, with a reason.
    if let Ok(control) = crate::control::SOCKET.parse() {
        tables.allow_unix(control);
    }
    tables
}
