//! The story of one connection, one line per step. Start reading here.
//!
//! In: a socket with the kernel's record of who connected and where to. Out: the same, served or refused, between one
//! `session.start` and one `session.end`. Whatever cannot be recorded does not happen.

mod dial;
mod facts;
mod kubernetes;
mod postgres;
mod ssh;

use std::net::TcpStream;
use std::sync::Arc;

pub use facts::Facts;

use crate::audit::SessionGuard;
use crate::audit::event::{EndCause, Event};
use crate::bridge::Connection;
use crate::engine::Engine;
use crate::id::SessionId;
use crate::listener::reset;
use crate::policy::{ConnectDecision, Denial};
use crate::protocol::{Protocol, refusal};

/// Serves a connection to its end. Without a place the attachment has as many sessions as it may.
pub async fn run(engine: &Arc<Engine>, id: SessionId, connection: Connection, socket: TcpStream, has_place: bool) {
    let Some(facts) = Facts::gather(engine, id, connection) else { return reset(socket) };
    let guard = match SessionGuard::open(Arc::clone(engine.journal()), id, facts.start()).await {
        Ok(guard) => Arc::new(guard),
        Err(error) => {
            tracing::error!(session = %id, %error, "the journal takes no more: connections are refused");
            return reset(socket);
        }
    };
    let cause = Box::pin(admit_and_serve(engine, Arc::new(facts), &guard, socket, has_place)).await;
    if let Err(error) = guard.end(cause) {
        tracing::error!(session = %id, %error, "the end of a session could not be recorded");
    }
}

async fn admit_and_serve(
    engine: &Arc<Engine>,
    facts: Arc<Facts>,
    guard: &Arc<SessionGuard>,
    socket: TcpStream,
    has_place: bool,
) -> EndCause {
    if !has_place {
        let reason =
            format!("the attachment {} has as many sessions as it may: close some first", facts.connection.attachment);
        refuse(engine, facts, guard, socket, &reason).await;
        return EndCause::Limit;
    }
    let decision = facts.judge_connect();
    if let Err(error) = guard.record(&Event::NetworkDecision(Box::new(facts.decided(&decision)))).await {
        tracing::error!(session = %facts.id, %error, "a decision could not be recorded");
        return EndCause::Disk;
    }
    match decision {
        ConnectDecision::Deny(denial) => {
            refuse(engine, facts, guard, socket, &why(&denial)).await;
            EndCause::Policy
        }
        ConnectDecision::Allow(permit) => serve(engine, facts, guard, socket, permit).await,
    }
}

async fn serve(
    engine: &Arc<Engine>,
    facts: Arc<Facts>,
    guard: &Arc<SessionGuard>,
    socket: TcpStream,
    permit: crate::policy::ConnectPermit,
) -> EndCause {
    match facts.protocol {
        Protocol::Postgres => postgres::serve(engine, facts, Arc::clone(guard), socket, permit).await,
        Protocol::Kubernetes => kubernetes::serve(engine, facts, Arc::clone(guard), socket, permit).await,
        Protocol::Ssh => ssh::serve(engine, facts, Arc::clone(guard), socket, permit).await,
    }
}

/// Tells the client in its own protocol.
async fn refuse(engine: &Arc<Engine>, facts: Arc<Facts>, guard: &Arc<SessionGuard>, socket: TcpStream, reason: &str) {
    let text = format!("gateway: {reason} (session {})", facts.id);
    match facts.protocol {
        Protocol::Postgres => postgres::refuse(engine, facts, Arc::clone(guard), socket, reason).await,
        Protocol::Ssh => match tokio::net::TcpStream::from_std(socket) {
            Ok(socket) => refusal::ssh(socket, &text).await,
            Err(error) => tracing::warn!(%error, "a socket could not be watched"),
        },
        Protocol::Kubernetes => match tokio::net::TcpStream::from_std(socket) {
            Ok(socket) => refusal::tls(socket).await,
            Err(error) => tracing::warn!(%error, "a socket could not be watched"),
        },
    }
}

/// The client's voice: which policy, and why.
fn why(denial: &Denial) -> String {
    let policies: Vec<_> = denial.policies().iter().map(AsRef::as_ref).collect();
    if policies.is_empty() { denial.to_string() } else { format!("denied by policy {}: {denial}", policies.join(", ")) }
}
