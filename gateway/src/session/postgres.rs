//! A Postgres session put together: target, credential, way to the server, judge.
//!
//! In: the facts of a connection and its permit. Out: the engine's run, and its end in the words of the journal.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Facts;
use crate::audit::SessionGuard;
use crate::audit::event::EndCause;
use crate::config::MaskedBy;
use crate::conn::BoxConn;
use crate::engine::Engine;
use crate::policy::ConnectPermit;
use crate::protocol::postgres::{
    About, Cause, Denial, Dial, End, Limits, LoginMode, Options, PolicyJudge, SqlState, serve as engine,
};
use crate::upstream::credential::{Credential, UnverifiedServer};
use crate::upstream::tls::{TlsError, TlsMode, UpstreamTls};

/// Serves a connection to its end. The permit is the leave to dial.
pub(super) async fn serve(
    engine_process: &Arc<Engine>,
    facts: Arc<Facts>,
    guard: Arc<SessionGuard>,
    client: BoxConn,
    permit: ConnectPermit,
) -> EndCause {
    let options = match options(engine_process, &facts) {
        Ok(options) => Arc::new(options),
        Err(reason) => {
            tracing::error!(session = %facts.id, reason, "a target cannot be used as it is configured");
            let reason = "the target is not configured as it should be: ask the operator, whose log says why";
            match refusing(&facts, reason) {
                Ok(options) => Arc::new(options),
                Err(_) => return EndCause::Dropped,
            }
        }
    };
    let judge = Arc::new(judge(engine_process, &facts, &guard, &options));
    let way = Arc::new(Way { engine: Arc::clone(engine_process), facts: Arc::clone(&facts), _permit: permit });
    let end = engine(client, judge, way, options).await;
    count(&guard, &end);
    tracing::info!(session = %facts.id, cause = %crate::chain::chain(&end.cause), "a session ended");
    cause(&end.cause)
}

/// Refuses a connection with a message that every Postgres client shows.
pub(super) async fn refuse(
    engine_process: &Arc<Engine>,
    facts: Arc<Facts>,
    guard: Arc<SessionGuard>,
    client: BoxConn,
    reason: &str,
) {
    let Ok(options) = refusing(&facts, reason) else { return };
    let judge = Arc::new(judge(engine_process, &facts, &guard, &options));
    engine(client, judge, Arc::new(NoWay), Arc::new(options)).await;
}

fn judge(engine: &Arc<Engine>, facts: &Arc<Facts>, guard: &Arc<SessionGuard>, options: &Options) -> PolicyJudge {
    let about = About {
        principal: facts.principal().clone(),
        target: Arc::clone(facts.target_entity()),
        address: facts.connection.original,
        target_name: facts.target_name().to_owned(),
        mode: facts.mode(),
        masks_at_source: facts.target.as_ref().is_some_and(|target| target.masking == MaskedBy::Server),
        session: facts.session("", None),
        login: options.login.clone(),
        server: options.tls.identity(),
        approval: facts.settings.config().approval.clone(),
    };
    PolicyJudge::new(about, engine.shared(&facts.connection.attachment), Arc::clone(guard), engine.ending(facts))
}

/// The way to the server of a session.
struct Way {
    engine: Arc<Engine>,
    facts: Arc<Facts>,
    /// No permit, no upstream.
    _permit: ConnectPermit,
}

impl Dial for Way {
    fn dial(&self) -> Pin<Box<dyn Future<Output = Result<BoxConn, io::Error>> + Send + '_>> {
        Box::pin(super::dial::dial(&self.engine, &self.facts))
    }
}

/// Where a session is refused, nobody is dialled.
struct NoWay;

impl Dial for NoWay {
    fn dial(&self) -> Pin<Box<dyn Future<Output = Result<BoxConn, io::Error>> + Send + '_>> {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

fn options(engine: &Engine, facts: &Facts) -> Result<Options, String> {
    let upstream = facts.settings.upstreams().to(facts.target.as_ref(), facts.connection.original.ip())?;
    Ok(Options {
        tls: upstream.tls.clone(),
        login: match facts.within {
            Some(_) => verified(&upstream.login),
            None => upstream.login.clone(),
        },
        client_tls: upstream.client_tls.clone(),
        label: label(facts),
        limits: Limits::default(),
        cancel_keys: Arc::clone(engine.cancel_keys()),
    })
}

/// What is accepted of an address where we dial from ourselves is none of an address behind another server.
fn verified(login: &LoginMode) -> LoginMode {
    match login {
        LoginMode::Credentials(all) => {
            let strict = |one: &Credential| Credential { unverified: UnverifiedServer::Refuse, ..one.clone() };
            LoginMode::Credentials(all.iter().map(strict).collect())
        }
        other => other.clone(),
    }
}

fn refusing(facts: &Facts, reason: &str) -> Result<Options, TlsError> {
    let denial = Denial::fatal(SqlState::DENIED, format!("refused by the gateway: {reason}")).with_detail(label(facts));
    Ok(Options {
        tls: UpstreamTls::new(TlsMode::Disable, None, None, None)?,
        login: LoginMode::Refuse(denial),
        client_tls: None,
        label: label(facts),
        limits: Limits::default(),
        cancel_keys: Arc::default(),
    })
}

fn label(facts: &Facts) -> String {
    format!("target {} ({}), session {}", facts.target_name(), facts.connection.original, facts.id)
}

fn count(guard: &SessionGuard, end: &End) {
    let counts = guard.counts();
    counts.bytes_sent.fetch_add(end.counters.from_client, Ordering::Relaxed);
    counts.bytes_received.fetch_add(end.counters.from_server, Ordering::Relaxed);
    counts.requests.fetch_add(end.counters.statements + end.counters.denied, Ordering::Relaxed);
    counts.denied.fetch_add(end.counters.denied, Ordering::Relaxed);
    counts.rows_returned.fetch_add(end.counters.rows, Ordering::Relaxed);
}

/// Why a session ended, as the journal has it.
fn cause(cause: &Cause) -> EndCause {
    match cause {
        Cause::ClientClosed | Cause::ClientLost | Cause::CancelRequest(_) => EndCause::Client,
        Cause::ServerClosed | Cause::ServerProtocol(_) | Cause::Login(_) => EndCause::Server,
        Cause::Refused(_) => EndCause::Policy,
        Cause::Ended(_) => EndCause::Shutdown,
        Cause::Accept(_) | Cause::Settings(_) | Cause::ClientProtocol { .. } => EndCause::Protocol,
        Cause::LoginTimeout | Cause::IdleTimeout => EndCause::Limit,
    }
}
