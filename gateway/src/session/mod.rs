//! The story of one connection, one line per step. Start reading here.
//!
//! In: a socket with the kernel's record of who connected and where to, or a stream that is forwarded inside a session.
//! Out: the same, served or refused, between one `session.start` and one `session.end`. Whatever cannot be recorded does
//! not happen.

mod dial;
mod facts;
mod forward;
mod kubernetes;
mod place;
mod postgres;
mod ssh;
mod unread;

use std::net::TcpStream;
use std::sync::Arc;

use tokio::sync::watch;

pub use facts::Facts;
pub use forward::Within;

use crate::audit::event::{EndCause, Event};
use crate::audit::{JournalError, SessionGuard};
use crate::bridge::Connection;
use crate::conn::BoxConn;
use crate::engine::{Engine, Running};
use crate::id::SessionId;
use crate::listener::reset;
use crate::policy::{ConnectDecision, ConnectPermit, Denial};
use crate::protocol::forward::Pending;
use crate::protocol::{Protocol, refusal};

/// Why a session has to end, once it has to.
type Ending = watch::Receiver<Option<String>>;

/// The client's end.
struct Client {
    stream: BoxConn,
    /// Resolves when the client has closed all of it; without, only the stream tells.
    gone: Pending<()>,
}

/// Whether a session may be.
enum Admission {
    Admitted(ConnectPermit),
    Refused(EndCause, String),
    Unrecorded,
}

/// Serves a connection to its end. Without a place the attachment has as many sessions as it may.
pub async fn run(engine: &Arc<Engine>, id: SessionId, connection: Connection, socket: TcpStream, running: &Running) {
    let Some(facts) = Facts::gather(engine, id, connection).await else { return reset(socket) };
    let Some(guard) = open(engine, &facts) else { return reset(socket) };
    // Answers are small and waited for: Nagle's algorithm would hold them back.
    let client = match socket.set_nodelay(true).and_then(|()| tokio::net::TcpStream::from_std(socket)) {
        Ok(client) => Client { stream: Box::new(client), gone: Box::pin(std::future::pending()) },
        Err(error) => return tracing::warn!(%error, "a socket could not be watched"),
    };
    let admission = admit(&facts, &guard, running).await;
    Box::pin(go_on(engine, Arc::new(facts), &guard, client, admission)).await;
}

/// Adds to the journal that it begins.
fn open(engine: &Arc<Engine>, facts: &Facts) -> Option<Arc<SessionGuard>> {
    match SessionGuard::open(Arc::clone(engine.journal()), facts.id, facts.start()) {
        Ok(guard) => Some(Arc::new(guard)),
        Err(JournalError::NoShare { attachment, .. }) => {
            engine.count_without_share(&attachment);
            None
        }
        // Told once for all of them.
        Err(JournalError::Low { .. }) => {
            engine.count_without_share(&facts.connection.attachment);
            None
        }
        Err(error) => {
            tracing::error!(session = %facts.id, %error, "the journal takes no more: connections are refused");
            None
        }
    }
}

async fn admit(facts: &Facts, guard: &SessionGuard, running: &Running) -> Admission {
    if !running.has_place() {
        let reason =
            format!("the attachment {} has as many sessions as it may: close some first", facts.connection.attachment);
        return Admission::Refused(EndCause::Limit, reason);
    }
    if let Some(reason) = facts.stranger().filter(|_| !facts.workload.observed()) {
        return Admission::Refused(EndCause::Token, reason.to_owned());
    }
    // A credential is not ours to lend by observing.
    if let Some(reason) = facts.shut() {
        return Admission::Refused(EndCause::Approval, reason);
    }
    let decision = facts.judge_connect();
    if let Err(error) = guard.record(&Event::NetworkDecision(Box::new(facts.decided(&decision)))).await {
        tracing::error!(session = %facts.id, %error, "a decision could not be recorded");
        return Admission::Unrecorded;
    }
    match decision {
        ConnectDecision::Deny(denial) => Admission::Refused(EndCause::Policy, why(&denial)),
        ConnectDecision::Allow(permit) => Admission::Admitted(permit),
    }
}

async fn go_on(
    engine: &Arc<Engine>,
    facts: Arc<Facts>,
    guard: &Arc<SessionGuard>,
    client: Client,
    admission: Admission,
) {
    let cause = match admission {
        Admission::Admitted(permit) => {
            let about = Arc::clone(&facts);
            match serve(engine, facts, guard, client, permit).await {
                EndCause::Shutdown => about.ended_by.get().copied().unwrap_or(EndCause::Shutdown),
                cause => cause,
            }
        }
        Admission::Refused(cause, reason) => match guard.flush() {
            Ok(()) => {
                refuse(engine, facts, guard, client, &reason).await;
                cause
            }
            Err(error) => {
                tracing::error!(session = %facts.id, %error, "a refusal could not be recorded");
                EndCause::Disk
            }
        },
        Admission::Unrecorded => EndCause::Disk,
    };
    end(guard, cause);
}

fn end(guard: &SessionGuard, cause: EndCause) {
    if let Err(error) = guard.end(cause) {
        tracing::error!(session = %guard.session(), %error, "the end of a session could not be recorded");
    }
}

async fn serve(
    engine: &Arc<Engine>,
    facts: Arc<Facts>,
    guard: &Arc<SessionGuard>,
    client: Client,
    permit: ConnectPermit,
) -> EndCause {
    match facts.protocol {
        Protocol::Postgres => postgres::serve(engine, facts, Arc::clone(guard), client.stream, permit).await,
        Protocol::Kubernetes => kubernetes::serve(engine, facts, Arc::clone(guard), client.stream, permit).await,
        Protocol::Ssh => ssh::serve(engine, facts, Arc::clone(guard), client.stream, permit).await,
        Protocol::Tcp => unread::serve(engine, facts, guard, client, permit).await,
    }
}

/// Tells the client in its own protocol.
async fn refuse(engine: &Arc<Engine>, facts: Arc<Facts>, guard: &Arc<SessionGuard>, client: Client, reason: &str) {
    let text = format!("gateway: {reason} (session {})", facts.id);
    match facts.protocol {
        Protocol::Postgres => postgres::refuse(engine, facts, Arc::clone(guard), client.stream, reason).await,
        Protocol::Ssh => refusal::ssh(client.stream, &text).await,
        Protocol::Kubernetes => refusal::tls(client.stream).await,
        // Nobody knows its words: the stream was not taken in the first place.
        Protocol::Tcp => {}
    }
}

/// The client's voice: which policy, and why.
fn why(denial: &Denial) -> String {
    let policies: Vec<_> = denial.policies().iter().map(AsRef::as_ref).collect();
    if policies.is_empty() { denial.to_string() } else { format!("denied by policy {}: {denial}", policies.join(", ")) }
}
