//! The console: the process that people's browsers talk to.
//!
//! In: connections to a loopback address, the settings and a socket from the warden. Out: pages and an API for people who
//! logged in at the issuer. It runs under a user of its own, without capabilities, files or a way to connect anywhere, and
//! has no logic of its own: what is shown and decided, it asks of the warden for a person.

#[cfg(any(fuzzing, test))]
mod fuzzing;
mod elsewhere;
mod link;
mod login;
mod pages;
mod routes;
mod slack;
mod visits;
mod words;

use std::convert::Infallible;
use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

#[cfg(any(fuzzing, test))]
pub use fuzzing::fuzz;
pub(crate) use login::{CALLBACK, field};
pub(crate) use visits::same;
pub use words::{Login, Search, Settings, ToConsole, ToWarden, Wanted};

use crate::bridge::Bridge;
use crate::config::Config;
use crate::sandbox::{self, Part};
use crate::secret::Secret;
use link::Link;
use login::Issuer;
use slack::Replies;
use visits::Visits;

/// The largest file of settings.
const MAX_SETTINGS: u64 = 16 * 1024 * 1024;
/// Connections at once.
const MAX_CONNECTIONS: usize = 256;
/// How long a browser may take to say what it wants, TLS included.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may last.
const LONGEST: Duration = Duration::from_secs(300);

/// What every request works with.
pub(crate) struct Console {
    link: Link,
    issuer: Issuer,
    slack: Option<Replies>,
    visits: Visits,
    /// Host and port, as browsers write them.
    authority: String,
}

/// Runs the console's process to its end.
///
/// # Errors
/// Where it was not started by a warden, or the sandbox cannot be closed.
pub fn run() -> anyhow::Result<()> {
    let socket =
        std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().context("no socket on standard input")?;
    sandbox::close(Part::Console).context("cannot close the sandbox")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(socket))
}

async fn serve(socket: OwnedFd) -> anyhow::Result<()> {
    let bridge = Arc::new(Bridge::new(socket)?);
    let Some((ToConsole::Start, descriptors)) = bridge.receive().await? else {
        bail!("the warden did not say start");
    };
    let (console, listener, tls) = match open(descriptors, &bridge) {
        Ok(opened) => opened,
        Err(error) => {
            bridge.send(&ToWarden::CannotStart(format!("{error:#}")), &[]).await?;
            return Err(error);
        }
    };
    bridge.send(&ToWarden::Ready, &[]).await?;
    tokio::spawn(accept(Arc::clone(&console), listener, tls));
    while let Some((message, descriptors)) = bridge.receive::<ToConsole>().await? {
        match message {
            ToConsole::Answer { request, result } => console.link.answer(request, result),
            ToConsole::Socket { request, error } => console.link.socket(request, descriptors.into_iter().next(), error),
            ToConsole::Start => bail!("the warden said start twice"),
        }
    }
    Ok(())
}

fn open(
    descriptors: Vec<OwnedFd>,
    bridge: &Arc<Bridge>,
) -> anyhow::Result<(Arc<Console>, tokio::net::TcpListener, TlsAcceptor)> {
    let mut descriptors = descriptors.into_iter();
    let file = descriptors.next().context("the warden sent no settings")?;
    let listener = descriptors.next().context("the warden sent no socket")?;
    let mut text = zeroize::Zeroizing::new(Vec::new());
    File::from(file).take(MAX_SETTINGS).read_to_end(&mut text)?;
    let settings: Settings = serde_json::from_slice(&text).context("the warden's settings were not understood")?;
    let config = Config::parse("gateway.toml", &settings.config).map_err(|error| anyhow!(error))?;
    let (console, oidc) = config.console.zip(config.oidc).context("no [console] with an [identity.oidc]")?;
    let authority = console.public.authority();
    let slack = console.slack.map(|slack| Replies::new(slack.replies, settings.slack_ca));
    let issuer = Issuer {
        redirect: format!("https://{authority}/callback"),
        oidc,
        client_id: console.client_id,
        client_secret: Secret::new(settings.client_secret),
        cli_client_id: console.cli_client_id,
        ca: settings.ca,
        known: tokio::sync::Mutex::default(),
    };
    let visits = Visits::new().context("the system has no randomness")?;
    let listener = TcpListener::from(listener);
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let tls = TlsAcceptor::from(settings.leaf.server_config("http/1.1")?);
    Ok((Arc::new(Console { link: Link::new(Arc::clone(bridge)), issuer, slack, visits, authority }), listener, tls))
}

/// Serves whoever connects, so many at once.
async fn accept(console: Arc<Console>, listener: tokio::net::TcpListener, tls: TlsAcceptor) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (console, tls) = (Arc::clone(&console), tls.clone());
        tokio::spawn(async move {
            let _place = place;
            let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, tls.accept(stream)).await else { return };
            let service = service_fn(|request| {
                let console = Arc::clone(&console);
                async move { Ok::<_, Infallible>(console.answer(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(64 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(LONGEST, connection).await;
        });
    }
}
