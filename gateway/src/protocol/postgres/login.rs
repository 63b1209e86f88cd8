//! From a client that has asked to a session that is ready.
//!
//! In: the client, its StartupMessage and the server. Out: both legs logged in, the client with a cancel key of ours.
//! The client is let in by what it is, not by what it knows, wherever we hold the login; each refusal is told to it.

use std::sync::Arc;

use crate::conn::BoxConn;
use crate::protocol::postgres::accept::{self, Leg};
use crate::protocol::postgres::auth::{AuthError, Login, Proof};
use crate::protocol::postgres::cancel::CancelKey;
use crate::protocol::postgres::encoding::Speech;
use crate::protocol::postgres::frame::{Inbox, body};
use crate::protocol::postgres::interrupt::Interrupt;
use crate::protocol::postgres::judge::{Dialer, Judge, Ruling};
use crate::protocol::postgres::relay::{self, Client, RelayError};
use crate::protocol::postgres::reply::{self, Denial, SqlState};
use crate::protocol::postgres::settings::Startup;
use crate::protocol::postgres::startup::{NEWEST, StartupMessage};
use crate::protocol::postgres::state::Transaction;
use crate::protocol::postgres::upstream::{Greeting, Server, Upstream, UpstreamError};
use crate::protocol::postgres::{Cause, LoginMode, Options};
use crate::secret::Secret;
use crate::upstream::credential::Credential;
use crate::upstream::tls::Peer;

/// Both legs, logged in.
pub(super) struct Session {
    pub(super) client: BoxConn,
    pub(super) from_client: Inbox,
    pub(super) server: BoxConn,
    pub(super) from_server: Inbox,
    pub(super) transaction: Transaction,
    pub(super) speech: Speech,
    pub(super) interrupt: Arc<Interrupt>,
    /// Ends with the session.
    pub(super) key: Option<CancelKey>,
}

/// Logs in on both legs; what goes wrong is told to the client.
pub(super) async fn log_in<J: Judge>(
    arrived: accept::Client,
    judge: &J,
    dialer: &Dialer,
    options: &Options,
) -> Result<Session, Cause> {
    let accept::Client { mut conn, leg, message, upstream } = arrived;
    let mut inbox = Inbox::default();
    let mut client = Client { conn: &mut conn, inbox: &mut inbox };
    let mut legs = match begin(&mut client, (leg, &message), upstream, judge, options).await {
        Ok(legs) => legs,
        Err(Ended { cause, told }) => {
            // A client that is gone cannot be told; the cause is kept all the same.
            match told {
                None => {}
                Some(Told::ByUs(denial)) => _ = client.send(&denial.or_detail(&options.label).to_bytes()).await,
                Some(Told::ByServer(response)) => _ = client.send(&response).await,
            }
            return Err(cause);
        }
    };
    let version = legs.version;
    let greeting = &mut legs.greeting;
    let key = std::mem::take(&mut greeting.key);
    let interrupt = Arc::new(Interrupt::new(Arc::clone(dialer), options.tls.clone(), greeting.process, key));
    // 32 bytes since protocol 3.2, four before it (protocol-message-formats, BackendKeyData).
    let length = if version >= NEWEST { 32 } else { 4 };
    let key = options.cancel_keys.issue(length, interrupt.clone());
    let mut hello = reply::AUTHENTICATED.to_vec();
    hello.extend_from_slice(&greeting.reported);
    if let Some(key) = &key {
        reply::key_data(key.process, &key.key, &mut hello);
    }
    reply::ready(greeting.transaction.byte(), &mut hello);
    client.send(&hello).await?;
    Ok(Session {
        client: conn,
        from_client: inbox,
        server: legs.conn,
        from_server: legs.inbox,
        transaction: legs.greeting.transaction,
        speech: legs.greeting.speech,
        interrupt,
        key,
    })
}

/// A beginning that came to nothing, and what the client is told.
struct Ended {
    cause: Cause,
    told: Option<Told>,
}

enum Told {
    ByUs(Box<Denial>),
    ByServer(Vec<u8>),
}

impl Ended {
    fn refused(denial: Denial) -> Self {
        Self { told: Some(Told::ByUs(Box::new(denial.clone()))), cause: Cause::Refused(Box::new(denial)) }
    }
}

impl From<RelayError> for Ended {
    fn from(error: RelayError) -> Self {
        Self { told: Some(Told::ByUs(Box::new(error.to_denial()))), cause: error.into() }
    }
}

impl From<UpstreamError> for Ended {
    fn from(error: UpstreamError) -> Self {
        RelayError::from(error).into()
    }
}

/// The server's leg, once it has let us in.
struct Upper {
    conn: BoxConn,
    inbox: Inbox,
    greeting: Greeting,
    /// The protocol that is spoken on both legs.
    version: u32,
}

async fn begin<J: Judge>(
    client: &mut Client<'_>,
    (leg, message): (Leg, &StartupMessage),
    upstream: Result<Upstream, UpstreamError>,
    judge: &J,
    options: &Options,
) -> Result<Upper, Ended> {
    let startup = Startup::read(message)
        .map_err(|error| Ended { told: Some(Told::ByUs(Box::new(error.to_denial()))), cause: error.into() })?;
    if let LoginMode::Refuse(denial) = &options.login {
        return Err(Ended::refused(denial.clone()));
    }
    let Upstream { mut conn, peer } = upstream?;
    if let Ruling::Refuse(denial) = judge.startup(&startup).await {
        return Err(Ended::refused(*denial));
    }
    let way = Way::of(options, &startup, (leg, &peer))?;
    let mut inbox = Inbox::default();
    let mut server = Server { conn: &mut conn, inbox: &mut inbox };
    let user = if let Way::Credential(credential) = way { &credential.user } else { &startup.user };
    server.send(&startup.to_message(user, message.agreed())).await?;
    let version = server.negotiated(message.agreed()).await?;
    let unknown = message.unknown_options();
    if version < message.version || !unknown.is_empty() {
        let mut answer = Vec::new();
        reply::negotiate_version(version, &unknown, &mut answer);
        client.send(&answer).await?;
    }
    match way {
        Way::Credential(credential) => {
            let password = credential.password.as_ref().map(Secret::expose);
            server.log_in(Login::new(Proof { user, password }, &peer)).await?;
        }
        Way::Ask => {
            client.send(reply::ASK_PASSWORD).await?;
            let answer = Secret::new(client.answer().await?);
            let password = body(answer.expose()).strip_suffix(b"\0");
            server.log_in(Login::new(Proof { user, password }, &peer)).await?;
        }
        Way::Relay => relay::log_in(&mut server, client).await.map_err(failing_at_the_server_said)?,
    }
    let mut greeting = server.greet(startup.encoding).await?;
    judge.logged_in(server.schemas(&mut greeting).await?);
    judge.speaks(greeting.speech);
    Ok(Upper { conn, inbox, greeting, version })
}

/// How a login is made, as far as it can be here.
#[derive(Clone, Copy)]
enum Way<'a> {
    Credential(&'a Credential),
    Ask,
    Relay,
}

impl<'a> Way<'a> {
    fn of(options: &'a Options, startup: &Startup, (leg, peer): (Leg, &Peer)) -> Result<Self, Ended> {
        match &options.login {
            LoginMode::Credentials(credentials) => {
                let credential = choose(credentials, &startup.user)?;
                if !credential.may_go_to(peer) {
                    return Err(UpstreamError::from(AuthError::UnverifiedServer).into());
                }
                Ok(Self::Credential(credential))
            }
            LoginMode::Ask if leg == Leg::Plaintext => Err(Ended::refused(needs_tls())),
            LoginMode::Ask => Ok(Self::Ask),
            LoginMode::Relay if leg == Leg::Tls && peer.is_encrypted() => Err(Ended::refused(both_on_tls())),
            LoginMode::Relay => Ok(Self::Relay),
            LoginMode::Refuse(denial) => Err(Ended::refused(denial.clone())),
        }
    }
}

/// A relayed login that the server refused is told in its own words.
fn failing_at_the_server_said(error: RelayError) -> Ended {
    match error {
        RelayError::Upstream(UpstreamError::Refused { ref response, .. }) => {
            Ended { told: Some(Told::ByServer(response.clone())), cause: error.into() }
        }
        other => other.into(),
    }
}

fn choose<'a>(credentials: &'a [Credential], user: &str) -> Result<&'a Credential, Ended> {
    credentials.iter().find(|credential| credential.serves(user)).ok_or_else(|| {
        let shown: String = user.chars().take(64).collect();
        let denial = Denial::fatal(SqlState::LOGIN, format!("gateway: no login for user `{shown}` at this target"))
            .with_hint("Connect as a user that the target's credential serves, or add this one to its `for_users`.");
        Ended::refused(denial)
    })
}

fn both_on_tls() -> Denial {
    let message =
        "gateway: your password cannot be passed on: both sides use TLS, and SCRAM binds to the one it started on";
    Denial::fatal(SqlState::LOGIN, message)
        .with_hint("Ask the gateway's operator to give this target a [target.credential].")
}

fn needs_tls() -> Denial {
    let message = "gateway: this server's login asks for your password, which is not taken without TLS";
    Denial::fatal(SqlState::LOGIN, message).with_hint("Connect with sslmode=require.")
}
