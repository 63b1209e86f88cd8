//! An SSH session put together: target, credential, way to the server, judge.
//!
//! In: the facts of a connection and its permit. Out: the engine's run, and its end in the words of the journal.

use std::net::TcpStream;
use std::sync::Arc;

use super::{Facts, dial};
use crate::audit::SessionGuard;
use crate::audit::event::EndCause;
use crate::engine::Engine;
use crate::policy::ConnectPermit;
use crate::policy::vocabulary::ssh as vocabulary;
use crate::protocol::refusal;
use crate::protocol::ssh::{About, Cause, Dial, Judge, Shared, serve as engine};

/// Serves a connection to its end. The permit is the leave to dial.
pub(super) async fn serve(
    engine_process: &Arc<Engine>,
    facts: Arc<Facts>,
    guard: Arc<SessionGuard>,
    socket: TcpStream,
    permit: ConnectPermit,
) -> EndCause {
    let Ok(client) = socket.set_nodelay(true).and_then(|()| tokio::net::TcpStream::from_std(socket)) else {
        return EndCause::Dropped;
    };
    let upstreams = facts.settings.upstreams();
    let options = match upstreams.to_ssh(facts.target.as_ref(), engine_process.certifier()) {
        Ok(options) => options,
        Err(reason) => {
            tracing::error!(session = %facts.id, reason, "a target cannot be used as it is configured");
            let text = format!("gateway: {reason}: ask the operator (session {})", facts.id);
            refusal::ssh(client, &text).await;
            return EndCause::Policy;
        }
    };
    let judge = judge(engine_process, &facts, guard);
    let dial: Dial = Box::pin({
        let (engine_process, facts) = (Arc::clone(engine_process), Arc::clone(&facts));
        async move {
            // No permit, no upstream.
            let _permit = permit;
            dial::dial(&engine_process, &facts).await
        }
    });
    let cause = engine(Box::new(client), judge, dial, options).await;
    tracing::info!(session = %facts.id, cause = %crate::chain::chain(&cause), "a session ended");
    match cause {
        Cause::Client => EndCause::Client,
        Cause::ServerClosed | Cause::Server(_) => EndCause::Server,
        Cause::Refused(_) => EndCause::Policy,
        Cause::Ended(_) => EndCause::Shutdown,
        Cause::Protocol(_) => EndCause::Protocol,
        Cause::Slow => EndCause::Limit,
    }
}

fn judge(engine: &Arc<Engine>, facts: &Arc<Facts>, guard: Arc<SessionGuard>) -> Judge {
    let address = facts.connection.original.ip();
    let name = facts.target.as_ref().and_then(|target| target.tls.name.clone());
    let about = About {
        principal: facts.principal().clone(),
        target: Arc::clone(facts.target_entity()),
        host: vocabulary::host(facts.target_entity(), address, name.as_deref()),
        target_name: facts.target_name().to_owned(),
        mode: facts.mode(),
        session: facts.session("", None),
        approval: facts.settings.config().approval.clone(),
    };
    let shared = engine.shared();
    let shared = Shared { policies: shared.policies, desk: shared.desk, rules: shared.rules };
    Judge::new(about, shared, guard, engine.ending(facts))
}
