//! Starting the warden: lock, host id, journal, engine, then the attachments of the configuration.
//!
//! In: where configuration and policies are. Out: a running warden, or the reason why nothing was put in force.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::backlog::Backlog;
use super::configuration::InForce;
use super::engine_process::{EngineError, EngineProcess, forbid_changes};
use super::keeper::Keeper;
use super::lock::{Lock, LockError, RUN_DIR};
use super::operator::info;
use super::shipper_process::ShipperProcess;
use super::{Warden, WardenError, feeds, materials, names, people, policies, tokens};
use crate::audit::event::{self, Event, GatewayStarted, Role};
use crate::audit::journal::sealed_host;
use crate::audit::journal::{LayoutError, SealError};
use crate::audit::{Durability, Journal, JournalError, Layout, Opening, Reader, Sealer};
use crate::bridge::Bundle;
use crate::capture::cookies::{self, CookieError};
use crate::capture::{Lsm, gaps};
use crate::config::{self, Config, ConfigError};
use crate::control::service::AttachRequest;
use crate::host::cgroup::{CgroupError, Hierarchy};
use crate::host::{durable, process};
use crate::id::{HostId, InvalidId, JournalId};
use crate::listener::Shelf;
use crate::shipper::Task;
use crate::state::sqlite::StateError;

/// The checkpoint of the copy, below the state directory.
pub const CHECKPOINT: &str = "shipped.json";
/// The id of this installation, beside it.
pub const HOST_ID: &str = "host_id";

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not root.
    #[error("the gateway needs root for its hooks: run it with sudo")]
    NotRoot,
    /// Another one runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The configuration has faults.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file could not be used.
    #[error("cannot {what} `{path}`")]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The host's id is damaged.
    #[error("`{path}` holds no host id: restore it, or move the state directory away and keep it as evidence")]
    HostId {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        source: InvalidId,
    },
    /// The journal's files could not be made.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The journal could not be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The seals could not be opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The cgroup hierarchy could not be found.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The names of attachments could not be read.
    #[error("cannot read the names of attachments below {RUN_DIR}")]
    Names(#[source] io::Error),
    /// Network namespaces cannot be told apart.
    #[error(transparent)]
    Cookie(#[from] CookieError),
    /// What copying the journal takes could not be read.
    #[error("cannot use {0}")]
    Store(String),
    /// What was kept of requests and windows cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The engine did not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An attachment of the configuration could not be put in force.
    #[error("cannot attach `{name}`")]
    Attach {
        /// Its name.
        name: String,
        /// Why.
        source: Box<WardenError>,
    },
}

/// What a start is made from.
#[derive(Debug, Default)]
pub struct Options {
    /// The configuration file; `None`: the default one where it exists.
    pub config: Option<PathBuf>,
    /// The policy directory, before the configuration's.
    pub policies: Option<PathBuf>,
    /// Listeners of a gateway that ran before.
    pub shelf: Shelf,
    /// What will be attached first, so that policies may name it and its groups.
    pub first: Option<AttachRequest>,
}

/// A warden that serves, and what it runs on.
pub struct Started {
    /// The warden.
    pub warden: Arc<Warden>,
    /// For `Warden::run`.
    pub sealer: Sealer,
    /// One gateway per host; held as long as it runs.
    pub lock: Lock,
}

/// Starts everything but the control socket.
///
/// # Errors
/// Where anything is not as it should be: nothing is in force then that was not before.
pub async fn start(options: Options) -> Result<Started, StartError> {
    if !rustix::process::geteuid().is_root() {
        return Err(StartError::NotRoot);
    }
    process::allow_descriptors();
    let lock = Lock::take()?;
    let hierarchy = Hierarchy::find()?;
    names::forget_stale(&hierarchy).map_err(StartError::Names)?;
    let config_file = options.config.or_else(|| Some(PathBuf::from(config::DEFAULT_FILE)).filter(|file| file.exists()));
    let (config, text) = read_config(config_file.as_deref())?;
    let state = config.state_dir.clone();
    make_private(&state)?;
    let layout = Layout::new(&state);
    let host = host_id(&state, &layout)?;
    let sealer = Sealer::open(layout.clone(), host)?;
    let journal = open_journal(&layout, host, &config)?;
    let mut folder =
        policies::Folder::new(options.policies.or_else(|| config.policy.dir.clone()), config.masking.clone());
    let materials = materials::read(&config).map_err(EngineError::Bundle)?;
    let attachments: Vec<_> = options.first.iter().map(info).collect();
    let files = tokens::files(&config, attachments.iter());
    let tokens = tokens::read(&config, &files).map_err(EngineError::Bundle)?;
    folder.follow_tokens(&config, files);
    let given = folder.read().map_err(EngineError::Bundle)?;
    let bundle = Bundle {
        config: text,
        policies: given.policies.clone(),
        masking: given.masking.clone(),
        attachments,
        approvers: people::votes(&config),
        resolvers: materials::resolvers(&config),
        materials,
        tokens,
    };
    let shipper = Arc::new(ShipperProcess::new(layout.clone(), None));
    shipper.set(copy(&config, host).map_err(StartError::Store)?);
    let feeds = feeds::Feeds::default();
    feeds.set(&layout, feeds::wanted(&config, host, &layout).map_err(StartError::Store)?);
    let engine = EngineProcess::new(host, layout);
    let keeper = Keeper::start(&config.state_dir).await?;
    let ready = engine.start(&bundle, &keeper).await?;
    // Before the task that serves it runs: the first attach may come earlier.
    engine.take_over(&ready);
    let warden = Arc::new(Warden {
        namespaces: cookies::start_thread(&hierarchy)?,
        namespace_budget: super::attachment::namespaces::budget(),
        lsm: Lsm::find(&hierarchy),
        hierarchy,
        shelf: options.shelf,
        journal: Arc::new(journal),
        engine,
        keeper,
        forwarder: super::forwarder::Forwarder::default(),
        shipper,
        feeds,
        attachments: Mutex::default(),
        attaching: Mutex::default(),
        repairing: Mutex::default(),
        reloading: tokio::sync::Mutex::default(),
        config_file,
        in_force: Mutex::new(InForce::new(bundle.config, given)),
        policies: Mutex::new(folder),
        resolvers: Mutex::new(bundle.resolvers.clone()),
        seal_now: Notify::new(),
        console_changed: Notify::new(),
        metrics_changed: Notify::new(),
        stop: Notify::new(),
        config: Mutex::new(config),
    });
    warden.record_started();
    tokio::spawn(EngineProcess::supervise(Arc::clone(&warden), ready));
    let shipper = Arc::clone(&warden.shipper);
    tokio::spawn(async move { shipper.supervise().await });
    tokio::spawn(Arc::clone(&warden).note_filed());
    tokio::spawn(Arc::clone(&warden).serve_console());
    tokio::spawn(Arc::clone(&warden).serve_metrics());
    Ok(Started { warden, sealer, lock })
}

impl Warden {
    fn record_started(&self) {
        let config = self.config.lock();
        self.record(&Event::GatewayStarted(GatewayStarted {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            durability: match config.journal.durability {
                config::Durability::Process => "process".into(),
                config::Durability::Disk => "disk".into(),
            },
            accepted_gaps: config.accept_gaps.iter().cloned().collect(),
        }));
        for gap in gaps::of_host(&config) {
            self.record(&Event::Gap(event::Gap { name: gap.name, detail: gap.detail, attachment: None }));
        }
    }
}

/// What copying the journal takes, and how far it is.
pub(super) fn copy(config: &Config, host: HostId) -> Result<Option<(Task, Backlog)>, String> {
    let settings = materials::store(config, host)?;
    let place = config.clickhouse.as_ref().map(config::ClickHouse::place);
    let backlog = place.map(|place| Backlog::open(config.state_dir.join(CHECKPOINT), place));
    Ok(settings.map(Task::Copy).zip(backlog))
}

fn read_config(file: Option<&Path>) -> Result<(Config, String), StartError> {
    let Some(path) = file else { return Ok((Config::default(), String::new())) };
    let text =
        fs::read_to_string(path).map_err(|source| StartError::File { what: "read", path: path.to_owned(), source })?;
    Ok((Config::parse(&path.display().to_string(), &text)?, text))
}

/// Makes the state directory: root writes, nobody else looks in.
fn make_private(state: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |source| StartError::File { what: "make", path: state.to_owned(), source };
    fs::create_dir_all(state).map_err(failed)?;
    fs::set_permissions(state, PermissionsExt::from_mode(0o750)).map_err(failed)
}

/// Who we are: what the file says, or, where the journal outlived it, whose journal it is.
fn host_id(state: &Path, layout: &Layout) -> Result<HostId, StartError> {
    let path = state.join(HOST_ID);
    match fs::read_to_string(&path) {
        // An empty one is what a power cut leaves of one that was not synced.
        Ok(text) if !text.is_empty() => text.trim().parse().map_err(|source| StartError::HostId { path, source }),
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StartError::File { what: "read", path, source }),
        _ => {
            let host = sealed_host(layout).unwrap_or_else(HostId::generate);
            let written = durable::write(&path, format!("{host}\n").as_bytes(), 0o644);
            written.map_err(|source| StartError::File { what: "write", path, source })?;
            Ok(host)
        }
    }
}

fn open_journal(layout: &Layout, host: HostId, config: &Config) -> Result<Journal, StartError> {
    let previous = Reader::new(layout.clone()).latest(Role::Warden).ok().flatten();
    let journal = JournalId::generate();
    let file = layout.create_journal(journal)?;
    if let Err(error) = forbid_changes(&file) {
        tracing::warn!(%error, "the file system has no append-only flag: the journal rests on its seals alone");
    }
    let opening = Opening {
        journal,
        host,
        host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        role: Role::Warden,
        product: env!("CARGO_PKG_VERSION").to_owned(),
        previous,
    };
    let durability = match config.journal.durability {
        config::Durability::Process => Durability::Process,
        config::Durability::Disk => Durability::Disk,
    };
    let journal = Journal::open(file, opening, durability)?;
    journal.set_marks((&config.journal).into());
    Ok(journal)
}
