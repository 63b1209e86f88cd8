//! The way from a session to its server.
//!
//! In: where the client meant to go. Out: a connection to it, from the network namespace in which the address means that
//! server, or through the server of the session around it.

use std::io;
use std::net::SocketAddr;

use super::Facts;
use crate::conn::BoxConn;
use crate::engine::Engine;
use crate::host::network::{dialled_address, is_local};

/// Connects to the server of a session.
///
/// # Errors
/// When it cannot be reached.
pub(super) async fn dial(engine: &Engine, facts: &Facts) -> io::Result<BoxConn> {
    if let Some(within) = &facts.within {
        return within.dial().await;
    }
    let destination: SocketAddr = dialled_address(facts.connection.original);
    let dialler = engine.dialler();
    // In a namespace that the runtime owns an address is no identity: declared targets are dialled from ours. What
    // is local to the client's is there alone: in ours it would be this host's.
    let dialled = if facts.target.is_some() && !is_local(destination.ip()) {
        dialler.from_here(destination).await
    } else {
        dialler.from_namespace(facts.connection.netns, destination).await
    };
    dialled.map(|stream| Box::new(stream) as BoxConn).map_err(io::Error::other)
}
