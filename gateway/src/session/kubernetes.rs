//! A session with a Kubernetes API put together: target, credential, way to the server, judge.
//!
//! In: the facts of a connection and its permit. Out: the engine's run, and its end in the words of the journal. Only
//! declared targets are served: of others nobody could say which certificate to show, or whether the server is the one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use super::forward::Forwarded;
use super::{Facts, dial};
use crate::audit::SessionGuard;
use crate::audit::event::EndCause;
use crate::conn::BoxConn;
use crate::engine::Engine;
use crate::policy::ConnectPermit;
use crate::protocol::forward::Forwards;
use crate::protocol::kubernetes::{About, Cause, Cluster, Judge, Options, Shared, Way, Workload, serve as engine};
use crate::protocol::refusal;

/// Serves a connection to its end. The permit is the leave to dial.
pub(super) async fn serve(
    engine_process: &Arc<Engine>,
    facts: Arc<Facts>,
    guard: Arc<SessionGuard>,
    client: BoxConn,
    permit: ConnectPermit,
) -> EndCause {
    let server = Server { engine: Arc::clone(engine_process), facts: Arc::clone(&facts), _permit: permit };
    let ending = engine_process.ending(&facts);
    let forwards = Forwarded::into_pods(engine_process, &facts, ending.clone());
    let options = match server.options(Arc::new(forwards)) {
        Ok(options) => options,
        Err(reason) => {
            tracing::error!(session = %facts.id, reason, "a target cannot be used as it is configured");
            refusal::tls(client).await;
            return EndCause::Policy;
        }
    };
    let shared = engine_process.shared(&facts.connection.attachment);
    let about = About {
        principal: facts.principal().clone(),
        target: Arc::clone(facts.target_entity()),
        target_name: facts.target_name().to_owned(),
        mode: facts.mode(),
        session: facts.session("", None),
        approval: facts.settings.config().approval.clone(),
    };
    let shared = Shared { policies: shared.policies, desk: shared.desk, rules: shared.rules };
    let judge = Arc::new(Judge::new(about, shared, guard));
    let cause = Box::pin(engine(client, judge, Arc::new(server), options, ending)).await;
    tracing::info!(session = %facts.id, cause = %crate::chain::chain(&cause), "a session ended");
    match cause {
        Cause::ClientClosed | Cause::Handshake(_) => EndCause::Client,
        Cause::Slow => EndCause::Limit,
        Cause::Protocol(_) => EndCause::Protocol,
        Cause::Ended(_) => EndCause::Shutdown,
    }
}

/// The server of a session.
struct Server {
    engine: Arc<Engine>,
    facts: Arc<Facts>,
    /// No permit, no upstream.
    _permit: ConnectPermit,
}

impl Server {
    fn options(&self, forwards: Arc<dyn Forwards>) -> Result<Options, String> {
        let target = self.facts.target.as_ref().ok_or("no target names this server: declare it as a [[target]]")?;
        let original = self.facts.connection.original;
        let cluster = self.facts.settings.upstreams().cluster(target, original.ip())?;
        let host = target.tls.name.clone().unwrap_or_else(|| match original.ip() {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        });
        let who = self.facts.workload.who(&self.facts.connection);
        Ok(Options {
            client_tls: Arc::clone(&cluster.client_tls),
            authority: format!("{host}:{}", original.port()),
            workload: Workload { user: format!("gateway:{}", who.workload), groups: who.groups },
            forwards,
        })
    }
}

impl Cluster for Server {
    fn dial(&self) -> Pin<Box<dyn Future<Output = io::Result<BoxConn>> + Send + '_>> {
        Box::pin(dial::dial(&self.engine, &self.facts))
    }

    fn way(&self) -> Result<Arc<Way>, String> {
        let name = self.facts.target_name();
        let settings = self.engine.settings();
        let target = settings.config().targets.iter().find(|target| target.name == name);
        let target = target.ok_or("its target is not declared any more")?;
        let mut target = target.clone();
        // Of a target that was found by its name, the server has to prove that name.
        if let Some(found) = self.facts.target.as_ref().filter(|_| target.tls.name.is_none()) {
            target.tls.name.clone_from(&found.tls.name);
        }
        settings
            .upstreams()
            .cluster(&target, self.facts.connection.original.ip())
            .map(|cluster| Arc::clone(&cluster.way))
    }
}
