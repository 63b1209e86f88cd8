//! Connections to the store.
//!
//! In: sockets that the warden dialled, or, for an operator's command, ones dialled here. Out: streams that are ready,
//! encrypted to a server that proved to be itself where the url says so. No byte is sent before that.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::words::{Settings, StoreTls, ToWarden};
use crate::audit::clickhouse::{Connect, Connecting, Login};
use crate::bridge::Bridge;
use crate::conn::BoxConn;
use crate::secret::Secret;
use crate::upstream::tls::{TlsError, TlsMode, UpstreamTls};

/// Who we are at the store.
#[must_use]
pub fn login(settings: Settings) -> Login {
    let name = settings.tls.and_then(|tls| tls.name);
    Login {
        host: name.map_or(settings.address.to_string(), |name| format!("{name}:{}", settings.address.port())),
        user: settings.user,
        password: settings.password.map(Secret::new),
        database: settings.database,
    }
}

/// Connections by sockets that the warden dials: this process cannot make any.
#[derive(Clone)]
pub struct Sockets {
    bridge: Arc<Bridge>,
    tls: Option<UpstreamTls>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    requests: HashMap<u64, oneshot::Sender<Result<OwnedFd, String>>>,
}

impl Sockets {
    /// Asks the warden at the other end of the bridge.
    ///
    /// # Errors
    /// Where the authorities or the name to verify cannot be used.
    pub fn new(bridge: Arc<Bridge>, tls: Option<&StoreTls>, host: &str) -> Result<Self, TlsError> {
        Ok(Self { bridge, tls: upstream_tls(tls, host)?, waiting: Arc::default() })
    }

    /// Takes the warden's answer.
    pub fn answer(&self, request: u64, socket: Option<OwnedFd>, error: Option<String>) {
        let socket = socket.ok_or_else(|| error.unwrap_or_else(|| "the warden sent no socket".to_owned()));
        if let Some(waiting) = self.waiting.lock().requests.remove(&request) {
            let _ = waiting.send(socket);
        }
    }

    /// A stream that is ready, and its socket, to look at.
    ///
    /// # Errors
    /// Where there is none, or the server does not prove to be itself.
    pub async fn connect_watched(&self) -> io::Result<(BoxConn, std::net::TcpStream)> {
        let socket = self.dial().await?;
        let watched = socket.as_fd().try_clone_to_owned()?;
        Ok((encrypt(socket, self.tls.as_ref()).await?, watched.into()))
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let (send, receive) = oneshot::channel();
        let request = {
            let mut waiting = self.waiting.lock();
            waiting.last += 1;
            let request = waiting.last;
            waiting.requests.insert(request, send);
            request
        };
        self.bridge.send(&ToWarden::Dial { request }, &[]).await?;
        let socket = receive.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        let socket = std::net::TcpStream::from(socket);
        socket.set_nonblocking(true)?;
        TcpStream::from_std(socket)
    }
}

impl Connect for Sockets {
    fn connect(&self) -> Connecting {
        let sockets = self.clone();
        Box::pin(async move { encrypt(sockets.dial().await?, sockets.tls.as_ref()).await })
    }
}

/// Connections that this process dials: an operator's command, not the shipper.
#[derive(Clone)]
pub struct Direct {
    address: SocketAddr,
    tls: Option<UpstreamTls>,
}

impl Direct {
    /// Dials the store of these settings.
    ///
    /// # Errors
    /// Where the authorities or the name to verify cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, TlsError> {
        Ok(Self {
            address: settings.address,
            tls: upstream_tls(settings.tls.as_ref(), &settings.address.ip().to_string())?,
        })
    }
}

impl Connect for Direct {
    fn connect(&self) -> Connecting {
        let direct = self.clone();
        Box::pin(async move { encrypt(TcpStream::connect(direct.address).await?, direct.tls.as_ref()).await })
    }
}

fn upstream_tls(tls: Option<&StoreTls>, host: &str) -> Result<Option<UpstreamTls>, TlsError> {
    let Some(tls) = tls else { return Ok(None) };
    let name = tls.name.as_deref().unwrap_or(host);
    UpstreamTls::new(TlsMode::VerifyFull, Some(name), tls.ca.as_deref(), None).map(Some)
}

async fn encrypt(socket: TcpStream, tls: Option<&UpstreamTls>) -> io::Result<BoxConn> {
    match tls {
        Some(tls) => Ok(tls.handshake(Box::new(socket)).await.map_err(io::Error::other)?.0),
        None => Ok(Box::new(socket)),
    }
}
