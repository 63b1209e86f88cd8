//! Where redirected connections arrive.
//!
//! In: listening sockets, one for each address family in every network namespace of an attachment. Out: accepted
//! sockets with both addresses. Reads no byte and never answers.

mod shelf;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::sockopt;

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
pub async fn accept<F: Future<Output = ()>>(
    listener: TcpListener,
    take: impl Fn(Accepted) -> F,
) -> std::io::Result<()> {
    let local = listener.local_addr()?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let accepted = listener.accept().await.and_then(|(socket, client)| Ok((socket.into_std()?, client)));
        match accepted {
            Ok((socket, client)) => take(Accepted { socket, client, listener: local }).await,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Closes a connection with a reset, so that its client does not take the close for an answer.
pub fn reset(socket: TcpStream) {
    // Without the option the close is an ordinary one, which ends it all the same.
    let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
    drop(socket);
}
