//! The leg to the server: who it is, our login there, its channels.
//!
//! In: a dialled stream, the keys by which the server is known, a credential. Out: channels that we asked for. No login
//! is tried before the server's key was found among those that are known, and the server opens no channel here.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::{self, AuthResult, Handle, Msg, Session};
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelId, ChannelOpenFailure};
use tokio::sync::watch;

use super::algorithms;
use super::flow::{Flow, Flows};
use super::{Credential, Proof};
use crate::conn::BoxConn;
use crate::trust::ssh::{ServerIdentity, ServerKeys, SshKeyError, certificate};

/// The way to the server, taken once.
pub type Dial = Pin<Box<dyn Future<Output = io::Result<BoxConn>> + Send>>;

/// How long the key exchange may take, and the login.
const PATIENCE: Duration = Duration::from_secs(30);
/// What of one channel may wait for the client; beyond it the server is not read.
const MARK: usize = 4 << 20;

/// Why there is no login at a server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It was not reached.
    #[error("the server cannot be reached")]
    Dial(#[source] io::Error),
    /// Its key is none of those that are known.
    #[error("the server showed the host key {shown}, which is not among those that the target declares")]
    Unknown {
        /// What it showed.
        shown: String,
    },
    /// No common algorithms, or it broke the protocol.
    #[error("no connection with the server came about: {0}")]
    Transport(#[source] russh::Error),
    /// It took too long.
    #[error("the server did not answer in time")]
    Slow,
    /// It does not take our credential.
    #[error("the server does not take the gateway's login as `{user}`: check the target's credential")]
    Login {
        /// As whom.
        user: String,
    },
    /// The credential cannot be used.
    #[error("the target's credential cannot be used")]
    Credential(#[from] SshKeyError),
    /// No certificate was given for it.
    #[error("no certificate for the login could be had: {reason}")]
    Certificate {
        /// Why.
        reason: String,
    },
}

/// A server that proved who it is.
pub(super) struct Connected {
    handle: Handle<Watcher>,
    flows: Arc<Flows>,
    identity: ServerIdentity,
    gone: watch::Receiver<bool>,
}

/// A server that we are logged in to.
pub(super) struct Server {
    handle: Handle<Watcher>,
    flows: Arc<Flows>,
    gone: watch::Receiver<bool>,
}

/// Dials, exchanges keys, and finds out who the server is.
pub(super) async fn connect(dial: Dial, known: Arc<ServerKeys>, unverified: bool) -> Result<Connected, ServerError> {
    let stream = dial.await.map_err(ServerError::Dial)?;
    let flows = Arc::<Flows>::default();
    let (alive, gone) = watch::channel(false);
    let seen = Arc::<OnceLock<Shown>>::default();
    let config = algorithms::towards_server(&known);
    let watcher = Watcher { known, unverified, flows: Arc::clone(&flows), seen: Arc::clone(&seen), gone: alive };
    let connecting = client::connect_stream(config, stream, watcher);
    let handle = match tokio::time::timeout(PATIENCE, connecting).await {
        Ok(Ok(handle)) => handle,
        Ok(Err(error)) => {
            return Err(match seen.get() {
                Some(Shown::Unknown(shown)) => ServerError::Unknown { shown: shown.clone() },
                _ => ServerError::Transport(error),
            });
        }
        Err(_) => return Err(ServerError::Slow),
    };
    match seen.get() {
        Some(Shown::Known(identity)) => Ok(Connected { handle, flows, identity: identity.clone(), gone }),
        // The library asks for the key in every exchange; without an answer nothing is known.
        _ => Err(ServerError::Unknown { shown: "none".to_owned() }),
    }
}

impl Connected {
    /// How the server is known.
    pub(super) fn identity(&self) -> &ServerIdentity {
        &self.identity
    }

    /// Logs in.
    pub(super) async fn log_in(mut self, credential: &Credential) -> Result<Server, ServerError> {
        let result = tokio::time::timeout(PATIENCE, self.prove(credential)).await.map_err(|_| ServerError::Slow)??;
        if !result.success() {
            return Err(ServerError::Login { user: credential.user.clone() });
        }
        Ok(Server { handle: self.handle, flows: self.flows, gone: self.gone })
    }

    async fn prove(&mut self, credential: &Credential) -> Result<AuthResult, ServerError> {
        let user = credential.user.clone();
        let handle = &mut self.handle;
        let result = match &credential.proof {
            Proof::Key(key) => {
                let key = Arc::new(key.private().clone());
                let hash = if key.algorithm().is_rsa() {
                    let best = handle.best_supported_rsa_hash().await.map_err(ServerError::Transport)?;
                    // Servers that do not say take SHA-256 since 2016 (RFC 8332).
                    Some(best.flatten().unwrap_or(HashAlg::Sha256))
                } else {
                    None
                };
                handle.authenticate_publickey(user, PrivateKeyWithHashAlg::new(key, hash)).await
            }
            Proof::Password(password) => {
                let password = String::from_utf8_lossy(password.expose()).into_owned();
                handle.authenticate_password(user, password).await
            }
            Proof::Certificate(certify) => {
                let key = crate::trust::ssh::SshKey::fresh()?;
                let line = certify.certify(key.public_line()?).await;
                let line = line.map_err(|reason| ServerError::Certificate { reason })?;
                let key = Arc::new(key.private().clone());
                handle.authenticate_openssh_cert(user, key, certificate(&line)?).await
            }
        };
        result.map_err(ServerError::Transport)
    }
}

impl Server {
    /// Opens a channel for one request.
    pub(super) async fn open(&self) -> Result<(Channel<Msg>, Arc<Flow>), ChannelOpenFailure> {
        self.opened(self.handle.channel_open_session().await)
    }

    /// Opens a channel to another server, which this one connects to.
    pub(super) async fn open_to(&self, host: &str, port: u16) -> Result<(Channel<Msg>, Arc<Flow>), ChannelOpenFailure> {
        // Where the client's end is would be its own word.
        self.opened(self.handle.channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0).await)
    }

    fn opened(
        &self,
        opened: Result<Channel<Msg>, russh::Error>,
    ) -> Result<(Channel<Msg>, Arc<Flow>), ChannelOpenFailure> {
        match opened {
            Ok(channel) => {
                let flow = self.flows.open(channel.id().number());
                Ok((channel, flow))
            }
            Err(russh::Error::ChannelOpenFailure(reason)) => Err(reason),
            Err(_) => Err(ChannelOpenFailure::ConnectFailed),
        }
    }

    /// Waits until the server is gone.
    pub(super) async fn gone(&self) {
        let mut gone = self.gone.clone();
        let _ = gone.wait_for(|gone| *gone).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody is left who would pass anything on: the library's own task must not wait for that.
        self.flows.close_all();
    }
}

/// What the server showed.
enum Shown {
    Known(ServerIdentity),
    Unknown(String),
}

/// Hears what the server does beside the channels that we opened.
struct Watcher {
    known: Arc<ServerKeys>,
    unverified: bool,
    flows: Arc<Flows>,
    seen: Arc<OnceLock<Shown>>,
    gone: watch::Sender<bool>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.gone.send_replace(true);
        self.flows.close_all();
    }
}

impl Watcher {
    async fn arrived(&self, channel: ChannelId, bytes: usize) {
        if let Some(flow) = self.flows.of(channel.number()) {
            flow.arrived(bytes);
            flow.below(MARK).await;
        }
    }
}

impl client::Handler for Watcher {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let fingerprint = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.fingerprint(HashAlg::Sha256),
            PublicKeyOrCertificate::Certificate(certificate) => certificate.public_key().fingerprint(HashAlg::Sha256),
        };
        let identity = self
            .known
            .identify(shown)
            .or_else(|| self.unverified.then(|| ServerIdentity::Unverified(fingerprint.to_string())));
        let is_known = identity.is_some();
        let seen = identity.map_or_else(|| Shown::Unknown(fingerprint.to_string()), Shown::Known);
        // Of a later exchange the first one's answer stays: the same rule holds for it.
        let _ = self.seen.set(seen);
        Ok(is_known)
    }

    async fn channel_open_confirmation(
        &mut self,
        channel: ChannelId,
        _: u32,
        _: u32,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        // Data may follow before whoever asked for the channel hears of it.
        self.flows.open(channel.number());
        Ok(())
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _: &mut Session) -> Result<(), Self::Error> {
        self.arrived(channel, data.len()).await;
        Ok(())
    }

    async fn extended_data(
        &mut self,
        channel: ChannelId,
        _: u32,
        data: &[u8],
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.arrived(channel, data.len()).await;
        Ok(())
    }

    // What the server opens was asked for by nobody: by default the library takes it.

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: client::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: client::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: client::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        reply: client::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: client::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: client::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        reply: client::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }
}
