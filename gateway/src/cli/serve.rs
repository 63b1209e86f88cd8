//! Becoming the gateway of this host, for `run`, `attach` and `exec`.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::Files;
use crate::control::client::{Client, ClientError};
use crate::control::service::AttachRequest;
use crate::control::{SOCKET, socket};
use crate::listener::Shelf;
use crate::warden::{self, Warden};

/// A gateway that runs in this process.
pub(super) struct Serving {
    pub(super) warden: Arc<Warden>,
    running: JoinHandle<()>,
    /// Holds the lock of the host.
    _lock: warden::Lock,
}

/// The runtime of the warden: it hands sockets over and waits.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// The gateway that runs on this host already, if one does.
pub(super) async fn running() -> anyhow::Result<Option<Client>> {
    match Client::connect(Path::new(SOCKET)).await {
        Ok(client) => Ok(Some(client)),
        Err(ClientError::NotRunning) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Serving {
    /// Starts warden, engine and control socket; `first` is what will be attached then, if anything.
    pub(super) async fn start(files: Files, first: Option<AttachRequest>) -> anyhow::Result<Self> {
        let options = warden::Options { config: files.config, policies: files.policies, shelf: Shelf::open(), first };
        let started = warden::start(options).await?;
        let listener = socket::listen(Path::new(SOCKET)).with_context(|| format!("cannot listen on {SOCKET}"))?;
        started.warden.admit_people();
        tokio::spawn(socket::serve(listener, Arc::clone(&started.warden)));
        let running = tokio::spawn(Arc::clone(&started.warden).run(started.sealer));
        Ok(Self { warden: started.warden, running, _lock: started.lock })
    }

    /// Ends it in good order; hooks stay in force.
    pub(super) async fn stop(self) {
        self.warden.stop();
        // A task that panicked has said so.
        let _ = self.running.await;
    }

    /// Whether it ended by itself, which only a journal that takes no more brings about.
    pub(super) async fn ended(&mut self) {
        let _ = (&mut self.running).await;
    }
}
