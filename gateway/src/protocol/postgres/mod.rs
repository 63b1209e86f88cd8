//! Postgres: one intercepted connection, from its first byte to its end.
//!
//! In: the client's stream, the way to the server, the target's settings and a judge. Out: the end of the session, with
//! its cause and counts. Both legs speak the wire protocol with us: the client's messages go on one by one as the judge
//! permits, the server's as they answer them; bytes are passed on, never re-encoded. Nothing is sent on that was not
//! understood and permitted, and neither side's key, password or challenge reaches the other where we hold the login.

mod frame;
mod message;
mod startup;
mod encoding;
mod settings;
mod accept;
mod upstream;
mod auth;
mod relay;
mod login;
mod cancel;
mod catalog;
mod powers;
mod interrupt;
mod state;
mod link;
mod engine;
mod reply;
mod judge;
mod decide;
mod values;
mod copy_out;
mod texts;
mod rows;
pub mod sql;
#[cfg(test)]
mod fake;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use crate::conn::BoxConn;
use crate::upstream::credential::Credential;
use crate::upstream::tls::UpstreamTls;
use accept::{Arrival, accept};

pub use accept::AcceptError;
pub use auth::AuthError;
pub use cancel::{CancelKeys, Found};
pub use copy_out::{CopyFormat, CopyShape};
pub use decide::{About, Analyses, PolicyJudge, Shared, questions_of};
pub use encoding::{Encoding, Speech, Wanted, names as encodings};
pub use judge::{
    BindRequest, CopyIn, Dial, Dialer, Forgets, Forward, Judge, Outcome, OutcomeEnd, ParseRequest, Pass, Rewrite,
    RewriteError, Rows, Ruling, Say,
};
pub use message::Backend;
pub use powers::{Asking, Held, Named, powers};
pub use relay::RelayError;
pub use reply::{Denial, Severity, SqlState};
pub use rows::{ResultRewriter, StatementPlan};
pub use settings::{SettingsError, Startup};
pub use startup::StartupError;
pub use state::{Fault, Transaction};
pub use upstream::UpstreamError;

/// TLS settings towards clients.
pub type ClientTls = Arc<ServerConfig>;

/// How clients log in.
#[derive(Clone, Debug)]
pub enum LoginMode {
    /// The gateway logs in with one of these, chosen by the user name that the client asks for.
    Credentials(Arc<[Credential]>),
    /// The client's own login is passed on.
    Relay,
    /// The client is asked for its password, in clear over our TLS, which is used once.
    Ask,
    /// Nobody logs in.
    Refuse(Denial),
}

/// Bounds of one session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest Query or Parse.
    pub max_statement: usize,
    /// The longest Bind, and what a client may put into one parameter message.
    pub max_parameters: usize,
    /// The longest row that is read whole because it is masked.
    pub max_masked_row: usize,
    /// From accept to the first ReadyForQuery.
    pub login: Duration,
    /// Without a byte in either direction and nothing running; none: for ever.
    pub idle: Option<Duration>,
    /// How long the server may take to stop when the session ends.
    pub end: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // As the SQL reader's cap: longer text is never judged, and so never sent.
            max_statement: 4 << 20,
            max_parameters: 64 << 20,
            max_masked_row: 64 << 20,
            // As the server's authentication_timeout.
            login: Duration::from_secs(60),
            idle: None,
            end: Duration::from_secs(5),
        }
    }
}

/// The settings of one session.
#[derive(Clone)]
pub struct Options {
    /// TLS towards the server.
    pub tls: UpstreamTls,
    /// How clients log in.
    pub login: LoginMode,
    /// TLS towards the client, which must offer the ALPN name `postgresql`; none: plaintext only.
    pub client_tls: Option<Arc<ServerConfig>>,
    /// The target and the session, as denials of the engine's own name them.
    pub label: String,
    /// Bounds.
    pub limits: Limits,
    /// The keys of all sessions of this process.
    pub cancel_keys: Arc<CancelKeys>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The client said goodbye.
    #[error("the client closed the session")]
    ClientClosed,
    /// The client's connection ended without it.
    #[error("the client's connection was lost")]
    ClientLost,
    /// The server closed the connection.
    #[error("the server closed the connection")]
    ServerClosed,
    /// It was a request to cancel another session.
    #[error("a cancel request: {0:?}")]
    CancelRequest(Found),
    /// No session came about.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// The startup parameters are refused.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The login failed, or the server cannot be used.
    #[error(transparent)]
    Login(#[from] RelayError),
    /// The session was refused by policy or configuration.
    #[error("refused: {}", .0.message)]
    Refused(Box<Denial>),
    /// The grant that the session rested on ended.
    #[error("ended: {}", .0.message)]
    Ended(Box<Denial>),
    /// The client broke the protocol.
    #[error("the client broke the protocol: {what}")]
    ClientProtocol {
        /// How.
        what: String,
    },
    /// The server broke the protocol.
    #[error("the server broke the protocol")]
    ServerProtocol(#[source] Fault),
    /// The login took too long.
    #[error("the login took too long")]
    LoginTimeout,
    /// Nothing happened for too long.
    #[error("the session was idle for too long")]
    IdleTimeout,
}

/// What one session moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes read from the client in the query phase.
    pub from_client: u64,
    /// Bytes read from the server in the query phase.
    pub from_server: u64,
    /// Runs sent to the server.
    pub statements: u64,
    /// Messages refused.
    pub denied: u64,
    /// Rows and COPY messages shown to the client.
    pub rows: u64,
}

/// The end of one session.
#[derive(Debug)]
pub struct End {
    /// Why.
    pub cause: Cause,
    /// What it moved.
    pub counters: Counters,
}

impl End {
    fn early(cause: impl Into<Cause>) -> Self {
        Self { cause: cause.into(), counters: Counters::default() }
    }
}

/// Serves one connection to its end.
pub async fn serve<J: Judge>(client: BoxConn, judge: Arc<J>, dialer: Dialer, options: Arc<Options>) -> End {
    let begin = async {
        match accept(client, &*dialer, &options).await? {
            Arrival::Cancel { process, key } => {
                Err(Cause::CancelRequest(options.cancel_keys.cancel(process, &key).await))
            }
            Arrival::Client(client) => Box::pin(login::log_in(*client, &*judge, &dialer, &options)).await,
        }
    };
    let session = match tokio::time::timeout(options.limits.login, begin).await {
        Ok(Ok(session)) => session,
        Ok(Err(cause)) => return End::early(cause),
        Err(_) => return End::early(Cause::LoginTimeout),
    };
    Box::pin(engine::run(session, judge, options.limits)).await
}
