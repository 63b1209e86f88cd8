//! What the parts of one connection share: the judge, the login, the channels.
//!
//! In: the user that the client named. Out: a server that we are logged in to, once policy allowed it and it is in the
//! journal; or the reason why there is none, for the client and for the end of the session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Options;
use super::flow::Flows;
use super::judge::{Judge, Refused};
use super::server::{Connected, Server, ServerError};
use crate::chain::chain;
use crate::protocol::forward::Forwards;

/// Where the login stands.
#[derive(Clone)]
enum Login {
    Awaited,
    In(Arc<Server>),
    Failed,
}

/// Why there is no login.
#[derive(Debug, Clone)]
pub(super) enum NoLogin {
    /// Policy or configuration.
    Refused(String),
    /// The server.
    Server(String),
}

/// One connection.
pub(super) struct Connection {
    pub(super) judge: Judge,
    pub(super) forwards: Arc<dyn Forwards>,
    pub(super) options: Arc<Options>,
    /// Of the client's leg.
    pub(super) flows: Flows,
    login: watch::Sender<Login>,
    no_login: watch::Sender<Option<NoLogin>>,
    connecting: Mutex<Option<Connecting>>,
    channels: AtomicUsize,
    ending: watch::Sender<Option<String>>,
}

/// The way to the server, taken while the client is still at its own key exchange.
pub(super) struct Connecting(pub(super) JoinHandle<Result<Connected, ServerError>>);

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One of the channels of a connection.
pub(super) struct Counted(Arc<Connection>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.channels.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Connection {
    pub(super) fn new(
        judge: Judge,
        forwards: Arc<dyn Forwards>,
        options: Arc<Options>,
        connecting: Connecting,
    ) -> Self {
        Self {
            judge,
            forwards,
            options,
            flows: Flows::of_client(),
            login: watch::Sender::new(Login::Awaited),
            no_login: watch::Sender::new(None),
            connecting: Mutex::new(Some(connecting)),
            channels: AtomicUsize::new(0),
            ending: watch::Sender::new(None),
        }
    }

    /// The client is in, as `user`: so are we at the server, soon.
    pub(super) fn log_in(self: &Arc<Self>, user: String) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            match this.try_log_in(&user).await {
                Ok(server) => {
                    this.login.send_replace(Login::In(Arc::new(server)));
                }
                Err(reason) => {
                    this.login.send_replace(Login::Failed);
                    this.no_login.send_replace(Some(reason));
                }
            }
        });
    }

    async fn try_log_in(&self, user: &str) -> Result<Server, NoLogin> {
        let refused = |refused: Refused| NoLogin::Refused(refused.0);
        let credential = &self.options.credential;
        if !credential.serves(user) {
            let reason = format!(
                "no login for user `{user}` at this target: its credential serves {}",
                credential.for_users.join(", ")
            );
            self.judge.note_refusal(None, user, "no login for this user");
            return Err(refused(self.judge.refusal(&reason)));
        }
        self.judge.log_in(user).await.map_err(refused)?;
        let connecting = self.connecting.lock().take();
        let Some(mut connecting) = connecting else { return Err(NoLogin::Server("it logs in twice".to_owned())) };
        let failed = |error: ServerError| {
            tracing::warn!(session = %self.judge.guard().session(), error = %chain(&error), "no login at a server");
            NoLogin::Server(self.judge.refusal(&error.to_string()).0)
        };
        let connected = match (&mut connecting.0).await {
            Ok(connected) => connected.map_err(failed)?,
            Err(_) => return Err(failed(ServerError::Slow)),
        };
        self.judge.record_credential(&credential.user, connected.identity()).await.map_err(refused)?;
        connected.log_in(credential).await.map_err(failed)
    }

    /// The server, once we are logged in; `None` where that failed.
    pub(super) async fn server(&self) -> Option<Arc<Server>> {
        let mut login = self.login.subscribe();
        let login = login.wait_for(|login| !matches!(login, Login::Awaited)).await.ok()?;
        match &*login {
            Login::In(server) => Some(Arc::clone(server)),
            Login::Awaited | Login::Failed => None,
        }
    }

    /// Resolves when there will be no login.
    pub(super) async fn no_login(&self) -> NoLogin {
        let mut no_login = self.no_login.subscribe();
        match no_login.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone()) {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }

    /// Resolves when the server is gone after the login, and no channel has anything left for the client.
    pub(super) async fn server_gone(&self) {
        match self.server().await {
            Some(server) => server.gone().await,
            None => std::future::pending().await,
        }
        self.idle().await;
    }

    /// Resolves when nothing runs.
    pub(super) async fn idle(&self) {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
        while self.channels.load(Ordering::Acquire) > 0 {
            tick.tick().await;
        }
    }

    /// Counts a channel for as long as it runs.
    pub(super) fn count(self: &Arc<Self>) -> Counted {
        self.channels.fetch_add(1, Ordering::AcqRel);
        Counted(Arc::clone(self))
    }

    /// Ends what runs on all channels.
    pub(super) fn end(&self, reason: String) {
        self.ending.send_replace(Some(reason));
    }

    /// Resolves when what runs has to end, with the reason.
    pub(super) async fn ended(&self) -> String {
        let mut ending = self.ending.subscribe();
        match ending.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone()) {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }
}
