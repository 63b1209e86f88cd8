//! The warden: the process that runs as root.
//!
//! In: a configuration, operators' requests, connections from the kernel. Out: hooks in force, accepted connections
//! with their records handed to the engine, a sealed journal. It parses nothing that a client or server sends.

mod anchor;
mod approvals;
mod attachment;
mod backlog;
mod cgroups;
mod commands;
mod configuration;
mod console_logins;
mod console_process;
mod console_record;
mod engine_process;
mod errand;
mod feeds;
mod forwarder;
mod keeper;
mod kernel_events;
mod links;
mod lock;
mod logins;
pub mod materials;
mod metrics_process;
pub mod names;
mod operator;
mod people;
mod policies;
mod readable;
mod segments;
mod setup;
mod shipper_process;
mod start;
mod targets;
mod tokens;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub use lock::{Lock, LockError, RUN_DIR};
pub use start::{CHECKPOINT, HOST_ID, Options, StartError, Started, start};

use crate::audit::event::{Event, JournalBroken, Reason};
use crate::audit::journal::{By, Sealed};
use crate::audit::{Journal, JournalError, Sealer, Seq};
use crate::budget::Budget;
use crate::capture::gaps::Gap;
use crate::capture::lsm::LsmError;
use crate::capture::{CaptureError, Lsm, health};
use crate::config::Config;
use crate::host::cgroup::{CgroupError, Hierarchy};
use crate::host::netns::{NetnsError, NetnsThread};
use crate::listener::Shelf;
use attachment::Attachment;
use configuration::InForce;
use engine_process::EngineProcess;
use kernel_events::Told;
use shipper_process::ShipperProcess;

/// How often the journal is sealed: what a later compromise of the host can rewrite unseen is younger than this.
const SEAL_EVERY: Duration = Duration::from_secs(10);
/// How often the hooks are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often a canary is sent: it costs a process.
const CANARY_EVERY: Duration = Duration::from_secs(60);
/// How often counters are read and coalesced events written.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Why something that an operator asked for was not done.
#[derive(Debug, thiserror::Error)]
pub enum WardenError {
    /// A cgroup could not be used.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The kernel side could not be put in place.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A network namespace could not be used.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// What was done could not be recorded, so it was undone.
    #[error("it could not be recorded, so it was not done")]
    Journal(#[from] JournalError),
    /// The name is taken.
    #[error("`{name}` is attached already, to `{cgroup}`: choose another --name, or `gateway detach {name}` first")]
    NameTaken {
        /// The name.
        name: String,
        /// What has it.
        cgroup: String,
    },
    /// Nothing has the name.
    #[error("nothing is attached as `{name}`: `gateway status` lists what is")]
    NoSuchAttachment {
        /// The name.
        name: String,
    },
    /// The name is none.
    #[error("`{name}` is no name: letters, digits, `-`, `_` and `.`, at most 64 of them")]
    InvalidName {
        /// What was given.
        name: String,
    },
    /// Two attachments would catch the same connections.
    #[error("`{path}` overlaps `{other}`, attached as `{name}`: a connection has one attachment")]
    Overlap {
        /// What was asked for.
        path: String,
        /// The other attachment's name.
        name: String,
        /// Its cgroup.
        other: String,
    },
    /// We would intercept ourselves.
    #[error(
        "cannot attach to `{path}`: the gateway itself runs in `{own}`, below it; run the gateway elsewhere, or attach to a cgroup of the runtime alone"
    )]
    AroundOurselves {
        /// What was asked for.
        path: String,
        /// Where we are.
        own: String,
    },
    /// Somebody else than root can leave the subtree.
    #[error(
        "uid {uid} can leave `{path}`: it may write to `{writable}`, so that its processes can move to another cgroup and around us; start the runtime with `gateway exec -- COMMAND`, which makes a cgroup of its own"
    )]
    Delegated {
        /// What was asked for.
        path: String,
        /// Who.
        uid: u32,
        /// What they may write to.
        writable: PathBuf,
    },
    /// There are ways around that nobody accepted.
    #[error("there are ways around the gateway from `{path}`:{}\nclose them, or list their names under accept_gaps in the configuration", list(.gaps))]
    Gaps {
        /// What was asked for.
        path: String,
        /// Each with its detail.
        gaps: Vec<Gap>,
    },
    /// Whoever asks could get around us as the command.
    #[error("the caller {fault}: `gateway exec` of this version makes itself ready before it asks")]
    UnfitCaller {
        /// What is the matter.
        fault: &'static str,
    },
    /// The user has as many as may be.
    #[error("you run {limit} commands already, which is as many as may be: end one first")]
    TooManyCommands {
        /// How many.
        limit: usize,
    },
    /// The listener's port is taken.
    #[error("no port for the listener is free in 127.0.0.1:{first}-{last}: see `ss -ltn`")]
    NoPort {
        /// The first that was tried.
        first: u16,
        /// The last.
        last: u16,
    },
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

fn list(gaps: &[Gap]) -> String {
    gaps.iter().map(|gap| format!("\n  {}: {}", gap.name, gap.detail)).collect()
}

/// The running warden. Shared by all its tasks.
pub struct Warden {
    config: Mutex<Config>,
    /// Where the configuration was read from.
    config_file: Option<PathBuf>,
    /// What stood there then.
    in_force: Mutex<InForce>,
    policies: Mutex<policies::Folder>,
    /// The servers for names that this host had at the last look.
    resolvers: Mutex<Vec<std::net::IpAddr>>,
    hierarchy: Hierarchy,
    namespaces: NetnsThread,
    namespace_budget: Arc<Budget>,
    shelf: Shelf,
    /// Or why this kernel has none.
    lsm: Result<Lsm, LsmError>,
    journal: Arc<Journal>,
    engine: EngineProcess,
    keeper: keeper::Keeper,
    forwarder: forwarder::Forwarder,
    shipper: Arc<ShipperProcess>,
    feeds: feeds::Feeds,
    attachments: Mutex<BTreeMap<String, Arc<Attachment>>>,
    /// Held while one is put in force: two at once could take the same name or port.
    attaching: Mutex<()>,
    /// Held while hooks are looked at, and put in force anew.
    repairing: Mutex<()>,
    /// Held from reading a bundle until the engine has it: an older one must not come after a newer one.
    reloading: tokio::sync::Mutex<()>,
    seal_now: Notify,
    console_changed: Notify,
    metrics_changed: Notify,
    stop: Notify,
}

impl Warden {
    /// Serves until it is stopped. The hooks stay in force: a signal never detaches.
    pub async fn run(self: Arc<Self>, mut sealer: Sealer) {
        self.watch_links();
        self.watch_cgroups();
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        let mut seal = tokio::time::interval(SEAL_EVERY);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut canary = tokio::time::interval(CANARY_EVERY);
        let mut anchor = anchor::Anchor::default();
        let mut noted = None;
        let mut packing: Option<JoinHandle<()>> = None;
        loop {
            tokio::select! {
                () = self.stop.notified() => break,
                () = self.seal_now.notified() => {
                    let seal = self.seal_and_note(&mut sealer, &mut noted);
                    let syslog = self.config.lock().syslog;
                    anchor.tell(syslog, seal).await;
                }
                _ = flush.tick() => {
                    tokio::task::block_in_place(|| {
                        self.flush();
                        self.leave_namespaces();
                    });
                    self.turn_over().await;
                    self.look_after_policies().await;
                }
                _ = seal.tick() => {
                    let seal = self.seal_and_note(&mut sealer, &mut noted);
                    let syslog = self.config.lock().syslog;
                    anchor.tell(syslog, seal).await;
                    tokio::task::block_in_place(|| self.remove_old(&mut sealer));
                    if packing.as_ref().is_none_or(JoinHandle::is_finished) {
                        packing = self.pack_whole(&sealer);
                    }
                }
                // Loading programs takes seconds on a slow machine: a worker that is held meanwhile would hold the task that
                // hears the engine's heartbeats, if that was to run on it next.
                _ = look.tick() => tokio::task::block_in_place(|| self.look_after_hooks()),
                _ = canary.tick() => self.send_canaries(),
            }
        }
        self.flush();
        self.engine.stop().await;
        self.record(&Event::GatewayStopped(Reason { reason: "asked to".into() }));
        let seal = self.seal(&mut sealer).pop().map(|sealed| sealed.line);
        let syslog = self.config.lock().syslog;
        anchor.finish(syslog, seal).await;
        self.shipper.finish().await;
    }

    /// Ends `run`.
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// Whether the journal takes lines; where not, everything ends (G2, G3).
    fn record(&self, event: &Event) {
        self.record_by(None, event);
    }

    fn record_by<'a>(&self, by: impl Into<By<'a>>, event: &Event) -> Option<Seq> {
        let failed = |error: &JournalError| {
            tracing::error!(%error, kind = event.kind(), "the warden's journal takes no more: closing the gates");
            self.engine.close_gates_for_good(&self.all());
            self.stop();
        };
        self.journal.append(by, event).inspect_err(failed).ok()
    }

    /// Writes an event that something rests on.
    fn record_first(&self, event: &Event) -> Result<Seq, WardenError> {
        Ok(self.journal.append(None, event)?)
    }

    fn all(&self) -> Vec<Arc<Attachment>> {
        self.attachments.lock().values().cloned().collect()
    }

    fn flush(&self) {
        for attachment in self.all() {
            self.flush_events_of(&attachment);
        }
    }

    /// Writes what was collected of an attachment: counts alone, where it wrote more lately than the disk has left.
    fn flush_events_of(&self, attachment: &Attachment) {
        let account = self.journal.account(attachment.name());
        let told = if self.journal.admits(&account).is_ok() { Told::Apart } else { Told::Counted };
        let by = By { session: None, account: Some(&account) };
        for event in attachment.take_events(&self.hierarchy, told) {
            self.record_by(by, &event);
        }
    }

    /// Seals, and notes the last seal in the journal, for those who are told of it elsewhere; returns it. Where all that was
    /// sealed is the note before, there is none: each would bring the next.
    fn seal_and_note(&self, sealer: &mut Sealer, noted: &mut Option<Seq>) -> Option<String> {
        let own = self.journal.id();
        let before = sealer.progress(own).map(|(_, sealed)| sealed.next());
        let sealed = self.seal(sealer);
        let is_note = |sealed: &Sealed| sealed.journal == own && Some(sealed.seq) == *noted && before == *noted;
        let only_note = matches!(sealed.as_slice(), [one] if is_note(one));
        let last = sealed.into_iter().last()?;
        if !only_note {
            *noted = self.record_by(None, &Event::JournalSealed(last.note()));
        }
        Some(last.line)
    }

    /// Returns the seals that it wrote.
    fn seal(&self, sealer: &mut Sealer) -> Vec<Sealed> {
        let sealed = sealer.follow().and_then(|breaches| {
            for breach in breaches {
                tracing::error!(%breach, "the journal was changed");
                self.record(&Event::JournalBroken(JournalBroken {
                    journal: breach.journal,
                    last_good: breach.last_good,
                    problem: breach.to_string(),
                }));
            }
            sealer.seal()
        });
        match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot seal the journal");
                Vec::new()
            }
        }
    }

    /// Namespaces come and go with short-lived containers: each that is kept costs three descriptors.
    fn leave_namespaces(self: &Arc<Self>) {
        for attachment in self.all().iter().filter(|attachment| attachment.is_in_several_namespaces()) {
            attachment.tend_namespaces(self);
        }
    }

    /// Looks at the hooks, repairs what is missing, listens where the runtime now is.
    fn look_after_hooks(self: &Arc<Self>) {
        for attachment in self.all() {
            attachment.tend_namespaces(self);
            self.look_after_hooks_of(&attachment);
            attachment.guard_new_links(self);
            attachment.look_for_gaps(self);
            attachment.look_for_foreign_sockets(self);
        }
    }

    /// One look at a time: each would put the same hooks in force.
    fn look_after_hooks_of(self: &Arc<Self>, attachment: &Arc<Attachment>) {
        let _alone = self.repairing.lock();
        if let Err(unhealthy) = attachment.look(&self.hierarchy) {
            self.repair(attachment, &unhealthy);
        }
    }

    fn repair(self: &Arc<Self>, attachment: &Arc<Attachment>, unhealthy: &health::Unhealthy) {
        // A cgroup that is gone has nobody in it: said once, looked at again when it is back.
        if attachment.note_degraded(unhealthy) {
            tracing::error!(attachment = attachment.name(), %unhealthy, "hooks are not in force");
            self.record(&Event::AttachmentDegraded(attachment.describe(&self.hierarchy, unhealthy.to_string())));
        }
        if matches!(unhealthy, health::Unhealthy::CgroupGone { .. }) {
            return;
        }
        match attachment.reattach(self) {
            Ok(()) => {
                attachment.note_repaired();
                self.record(&Event::AttachmentRepaired(attachment.describe(&self.hierarchy, unhealthy.to_string())));
            }
            Err(error) => {
                tracing::error!(
                    attachment = attachment.name(),
                    error = &error as &dyn std::error::Error,
                    "cannot repair"
                );
            }
        }
    }

    /// Hands changed policies to the engine, which journals what it makes of them, and changed servers for names.
    async fn look_after_policies(self: &Arc<Self>) {
        let resolvers = materials::resolvers(&self.config.lock());
        let changed = std::mem::replace(&mut *self.resolvers.lock(), resolvers.clone()) != resolvers;
        let told = self.in_force.lock().refusal();
        if (self.policies.lock().has_changed() || changed)
            && let Err(reason) = self.reload().await
            && told.as_ref() != Some(&reason)
        {
            tracing::error!(%reason, "the old policies stay in force");
        }
    }

    fn send_canaries(self: &Arc<Self>) {
        for attachment in self.all() {
            let warden = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                if let Err(unhealthy) = attachment.send_canary(&warden.hierarchy) {
                    let _alone = warden.repairing.lock();
                    warden.repair(&attachment, &unhealthy);
                }
            });
        }
    }
}

/// Starts another part of this program, which is killed when it is dropped: with its end of a bridge on standard input,
/// and of our environment what it logs by.
fn start_part(part: &str, bridge: OwnedFd) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg(part)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "RUST_LOG" || name == "RUST_BACKTRACE"))
        .current_dir("/")
        .stdin(Stdio::from(bridge))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}
