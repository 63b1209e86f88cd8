//! Where redirected connections arrive.
//!
//! In: listening sockets, one for each address family in every network namespace of an attachment. Out: accepted
//! sockets with both addresses. Reads no byte and never answers.

mod shelf;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{SocketFlags, sockopt};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

pub use shelf::Shelf;

/// Pause after a failed accept, so that a full descriptor table does not become a busy loop.
const PAUSE: Duration = Duration::from_millis(50);

/// What arrived.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, not blocking.
    pub socket: TcpStream,
    /// The client's end.
    pub client: SocketAddr,
    /// Our end.
    pub listener: SocketAddr,
}

/// Accepts for ever; `take` is called for each connection in turn.
///
/// # Errors
/// Where the socket cannot be watched.
pub async fn accept<F: Future<Output = ()>>(listener: TcpListener, take: impl Fn(Accepted) -> F) -> io::Result<()> {
    let local = listener.local_addr()?;
    // Only its readiness is used, which is the same for both kinds; what it accepts is watched by the engine alone.
    let listener = UnixDatagram::from_std(OwnedFd::from(listener).into())?;
    loop {
        match listener.async_io(Interest::READABLE, || accept_one(listener.as_fd())).await {
            Ok((socket, client)) => take(Accepted { socket, client, listener: local }).await,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn accept_one(listener: BorrowedFd<'_>) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, client) = rustix::net::acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let client = client.ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((socket.into(), client.try_into()?))
}

/// Closes a connection with a reset, so that its client does not take the close for an answer.
pub fn reset(socket: TcpStream) {
    // Without the option the close is an ordinary one, which ends it all the same.
    let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
    drop(socket);
}
