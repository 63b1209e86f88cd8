//! An SSH session put together: target, credential, way to the server, judge.
//!
//! In: the facts of a connection and its permit. Out: the engine's run, and its end in the words of the journal.

use std::sync::Arc;

use super::forward::Forwarded;
use super::{Ending, Facts, dial};
use crate::audit::SessionGuard;
use crate::audit::event::EndCause;
use crate::conn::BoxConn;
use crate::engine::Engine;
use crate::policy::ConnectPermit;
use crate::protocol::refusal;
use crate::protocol::ssh::{About, Cause, Credential, Dial, Judge, Options, Shared, serve as engine};

/// Serves a connection to its end. The permit is the leave to dial.
pub(super) async fn serve(
    engine_process: &Arc<Engine>,
    facts: Arc<Facts>,
    guard: Arc<SessionGuard>,
    client: BoxConn,
    permit: ConnectPermit,
) -> EndCause {
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
    let options = if facts.within.is_some() { verified(&options) } else { options };
    let ending = engine_process.ending(&facts);
    let judge = judge(engine_process, &facts, guard, ending.clone());
    let forwards = Forwarded::new(engine_process, &facts, ending);
    let dial: Dial = Box::pin({
        let (engine_process, facts) = (Arc::clone(engine_process), Arc::clone(&facts));
        async move {
            // No permit, no upstream.
            let _permit = permit;
            dial::dial(&engine_process, &facts).await
        }
    });
    let cause = engine(client, judge, dial, Arc::new(forwards), options).await;
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

/// What is accepted of an address where we dial from ourselves is none of an address behind another server.
fn verified(options: &Options) -> Arc<Options> {
    let credential = Credential { unverified: false, ..options.credential.clone() };
    Arc::new(Options { credential, ..options.clone() })
}

fn judge(engine: &Arc<Engine>, facts: &Arc<Facts>, guard: Arc<SessionGuard>, ending: Ending) -> Judge {
    let about = About {
        principal: facts.principal().clone(),
        target: Arc::clone(facts.target_entity()),
        host: facts.host(),
        target_name: facts.target_name().to_owned(),
        mode: facts.mode(),
        session: facts.session("", None),
        approval: facts.settings.config().approval.clone(),
    };
    let shared = engine.shared(&facts.connection.attachment);
    let shared = Shared { policies: shared.policies, desk: shared.desk, rules: shared.rules };
    Judge::new(about, shared, guard, ending)
}
