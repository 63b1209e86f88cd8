//! SSH: one intercepted connection, from its first byte to its end.
//!
//! In: the client's stream, the way to the server, the target's settings and a judge. Out: the end of the session, with
//! its cause. Both legs speak SSH with us; what a channel asks for goes on as the judge permits, and its bytes as they
//! are. The client is let in by what the kernel knows of it; the server is verified before it sees our login. Channels
//! and requests that are not understood are refused, and nothing that the server opens is taken.

mod algorithms;
mod ask;
mod channel;
mod connection;
mod door;
mod files;
mod flow;
mod forward;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod judge;
mod line;
mod line_shell;
mod output;
mod powers;
mod recording;
mod relay;
mod request;
mod server;
mod visit;
mod words;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use russh::Disconnect;
use russh::keys::Certificate;

use crate::config::Shell;
use crate::conn::BoxConn;
use crate::protocol::forward::Forwards;
use crate::protocol::refusal;
use crate::secret::Secret;
use crate::trust::ssh::{ServerKeys, SshKey};
use connection::{Connecting, Connection, NoLogin};
use door::Door;

pub use ask::questions_of;
pub use judge::{About, Judge, Shared};
pub use powers::{Held, powers};
pub use server::{Dial, ServerError};
pub use visit::{Ran, Reached, VisitError, reach};

/// From accept to the client's login.
const LOGIN: Duration = Duration::from_secs(60);
/// How long what runs has to end when the session ends; less than the gateway has when it stops.
const END: Duration = Duration::from_millis(2_500);
/// How long the client has to go when it was told why.
const GOODBYE: Duration = Duration::from_secs(1);

/// Has a public key certified for one login.
pub trait Certify: Send + Sync {
    /// The certificate for a key, as a line of a `-cert.pub` file.
    fn certify(&self, key: String) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + '_>>;
}

/// With which we log in.
#[derive(Clone)]
pub enum Proof {
    /// A private key.
    Key(Box<SshKey>),
    /// A password.
    Password(Secret),
    /// A key made for each login, and a certificate for it.
    Certificate(Arc<dyn Certify>),
}

/// A login that the gateway holds.
#[derive(Clone)]
pub struct Credential {
    /// The user at the server.
    pub user: String,
    /// The names that clients may ask for.
    pub for_users: Vec<String>,
    /// What proves it.
    pub proof: Proof,
    /// Whether it goes to a server that nobody knows.
    pub unverified: bool,
}

impl Credential {
    fn serves(&self, user: &str) -> bool {
        self.for_users.iter().any(|name| name == user)
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({})", self.user)
    }
}

/// The settings of one session.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the client is shown.
    pub host_key: SshKey,
    /// And what it is shown where it prefers that.
    pub host_certificate: Option<Box<Certificate>>,
    /// How the server is known.
    pub known: Arc<ServerKeys>,
    /// With which we log in there.
    pub credential: Credential,
    /// What clients get that ask for a shell.
    pub shell: Shell,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The client went.
    #[error("the client closed the session")]
    Client,
    /// The server went.
    #[error("the server closed the connection")]
    ServerClosed,
    /// No login at the server.
    #[error("no login: {0}")]
    Server(String),
    /// Policy or configuration refused the login.
    #[error("refused: {0}")]
    Refused(String),
    /// The grant that the session rested on ended.
    #[error("ended: {0}")]
    Ended(String),
    /// The client broke the protocol, or speaks nothing that we do.
    #[error("the client broke the protocol, or speaks none of our algorithms")]
    Protocol(#[source] russh::Error),
    /// The login took too long.
    #[error("the login took too long")]
    Slow,
}

/// Serves one connection to its end.
pub async fn serve(
    client: BoxConn,
    judge: Judge,
    dial: Dial,
    forwards: Arc<dyn Forwards>,
    options: Arc<Options>,
) -> Cause {
    let connecting = server::connect(dial, Arc::clone(&options.known), options.credential.unverified);
    let connecting = Connecting(tokio::spawn(connecting));
    let (line, scissors, id) = match line::begin(client).await {
        Ok(begun) => begun,
        Err(error) => return Cause::Protocol(error.into()),
    };
    let config = Arc::new(algorithms::towards_client(&options, id.as_deref()));
    let connection = Arc::new(Connection::new(judge, forwards, options, connecting));
    let running = russh::server::run_stream(config, line, Door::new(Arc::clone(&connection)));
    let running = match tokio::time::timeout(LOGIN, running).await {
        Ok(Ok(running)) => running,
        Ok(Err(error)) => return Cause::Protocol(error),
        Err(_) => return Cause::Slow,
    };
    let handle = running.handle();
    tokio::pin!(running);
    let (cause, words) = tokio::select! {
        ended = &mut running => {
            let cause = client_ended(ended, &scissors).await;
            // What runs on its channels notices by itself, and tells the journal.
            let _ = tokio::time::timeout(END, connection.idle()).await;
            return cause;
        }
        reason = connection.judge.ended() => {
            connection.end(reason.clone());
            let _ = tokio::time::timeout(END, connection.idle()).await;
            (Cause::Ended(reason.clone()), connection.judge.refusal(&reason).0)
        }
        reason = connection.no_login() => match reason {
            NoLogin::Refused(words) => (Cause::Refused(words.clone()), words),
            NoLogin::Server(words) => (Cause::Server(words.clone()), words),
        },
        () = connection.server_gone() => {
            (Cause::ServerClosed, "gateway: the server closed the connection".to_owned())
        }
        () = slow(&connection) => (Cause::Slow, "gateway: the login took too long".to_owned()),
    };
    let goodbye = async {
        let _ = handle.disconnect(Disconnect::ByApplication, words, String::new()).await;
        let _ = (&mut running).await;
    };
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    scissors.cut();
    // The library's own task may wait for what nobody passes on any more.
    connection.flows.close_all();
    // What runs inside of it ends first.
    let _ = tokio::time::timeout(END, connection.idle()).await;
    cause
}

/// Resolves when a client has not logged in for too long.
async fn slow(connection: &Connection) {
    if tokio::time::timeout(LOGIN, connection.server()).await.is_ok() {
        std::future::pending().await
    }
}

/// A client that speaks none of our algorithms is told so in clear: there are no keys yet.
async fn client_ended(ended: Result<(), russh::Error>, scissors: &line::Scissors) -> Cause {
    match ended {
        Ok(()) | Err(russh::Error::Disconnect | russh::Error::HUP) => Cause::Client,
        Err(russh::Error::IO(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => Cause::Client,
        Err(error) => {
            if let russh::Error::NoCommonAlgo { kind, .. } = &error {
                let what =
                    format!("gateway: this client is too old: no {kind:?} algorithm of its list is accepted here");
                scissors.say_last(&refusal::disconnect(&what)).await;
            }
            scissors.cut();
            Cause::Protocol(error)
        }
    }
}
