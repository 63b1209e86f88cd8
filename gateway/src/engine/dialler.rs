//! Sockets towards upstream servers.
//!
//! In: where to, and whether as ourselves or from the client's network namespace. Out: a connected stream. A declared
//! target is dialled from our own namespace, since in one that the runtime owns an address is no identity; an
//! undeclared one from the client's, where the address means what the client meant.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::bridge::ToWarden;

/// How long a server may take to answer a SYN.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why the server was not reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// It did not answer.
    #[error("{destination} did not answer within {} seconds", TIMEOUT.as_secs())]
    Timeout {
        /// Where to.
        destination: SocketAddr,
    },
    /// It refused, or there is no way to it.
    #[error("cannot connect to {destination}")]
    Connect {
        /// Where to.
        destination: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The client's network namespace cannot be entered any more.
    #[error("cannot dial from the client's network namespace: {reason}")]
    Namespace {
        /// What the warden says.
        reason: String,
    },
}

/// Makes sockets.
#[derive(Debug)]
pub struct Dialler {
    outbox: mpsc::Sender<ToWarden>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Result<OwnedFd, String>>>>,
    next: AtomicU64,
}

impl Dialler {
    pub(super) fn new(outbox: mpsc::Sender<ToWarden>) -> Self {
        Self { outbox, waiting: Mutex::default(), next: AtomicU64::new(1) }
    }

    /// Dials from our own network namespace.
    ///
    /// # Errors
    /// Where the server is not reached.
    pub async fn from_here(&self, destination: SocketAddr) -> Result<TcpStream, DialError> {
        let socket = if destination.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        connect(socket.map_err(|source| DialError::Connect { destination, source })?, destination).await
    }

    /// Dials from the network namespace of a client.
    ///
    /// # Errors
    /// Where the namespace is gone or the server is not reached.
    pub async fn from_namespace(&self, netns: u64, destination: SocketAddr) -> Result<TcpStream, DialError> {
        let ipv6 = destination.is_ipv6();
        let socket = self.ask(|request| ToWarden::Dial { request, netns, ipv6 }).await;
        let socket = socket.map_err(|reason| DialError::Namespace { reason })?;
        connect(TcpSocket::from_std_stream(socket.into()), destination).await
    }

    /// A connection to a server of the issuer of tokens, by its number: its name is resolved by the warden.
    ///
    /// # Errors
    /// Where it is not reached, with the reason.
    pub(super) async fn to_issuer(&self, server: u16) -> Result<TcpStream, String> {
        let socket = std::net::TcpStream::from(self.ask(|request| ToWarden::DialIssuer { request, server }).await?);
        socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket)).map_err(|error| error.to_string())
    }

    async fn ask(&self, message: impl FnOnce(u64) -> ToWarden) -> Result<OwnedFd, String> {
        let request = self.next.fetch_add(1, Ordering::Relaxed);
        let (send, receive) = oneshot::channel();
        self.waiting.lock().insert(request, send);
        if self.outbox.send(message(request)).await.is_err() {
            return Err("the warden is gone".to_owned());
        }
        let answer = tokio::time::timeout(TIMEOUT, receive).await;
        self.waiting.lock().remove(&request);
        match answer {
            Ok(Ok(answer)) => answer,
            _ => Err("the warden did not answer".to_owned()),
        }
    }

    pub(super) fn answer(&self, request: u64, descriptors: Vec<OwnedFd>, error: Option<String>) {
        if let Some(waiting) = self.waiting.lock().remove(&request) {
            let socket = descriptors.into_iter().next();
            let _ = waiting.send(socket.ok_or_else(|| error.unwrap_or_else(|| "no socket came".into())));
        }
    }
}

async fn connect(socket: TcpSocket, destination: SocketAddr) -> Result<TcpStream, DialError> {
    match tokio::time::timeout(TIMEOUT, socket.connect(destination)).await {
        Ok(Ok(stream)) => {
            // Requests are small and wait for answers: Nagle's algorithm would hold them back.
            stream.set_nodelay(true).map_err(|source| DialError::Connect { destination, source })?;
            Ok(stream)
        }
        Ok(Err(source)) => Err(DialError::Connect { destination, source }),
        Err(_) => Err(DialError::Timeout { destination }),
    }
}
