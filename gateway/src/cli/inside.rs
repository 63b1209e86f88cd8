//! The process of ours that `gateway test` has in an attachment: a client like those that run there.
//!
//! In: what to try, on standard input. Out: how it went, on standard output. It goes to the attachment's cgroup, gives up root for
//! good, and only then speaks: what it reads comes from the gateway and, through it, from a server. It holds no secret.

mod postgres;

use std::io::Read;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::{Gid, Uid};
use tokio::net::TcpStream;

use super::line;
use crate::capture::canary;
use crate::chain::chain;
use crate::config::Place;
use crate::conn::BoxConn;
use crate::control::setup::{Attempt, DENIED, Spoken, Step};
use crate::http::{self, Asked, Limits};
use crate::protocol::ssh::{self, Credential, Proof};
use crate::secret::Secret;
use crate::trust::ssh::ServerKeys;
use crate::upstream::tls::{TlsMode, UpstreamTls};

/// What is read of standard input.
const MOST: u64 = 256 * 1024;
/// How long all of it may take; whoever started us waits longer.
const PATIENCE: Duration = Duration::from_secs(18);
/// Who nobody is on every Linux (overflowuid).
const NOBODY: u32 = 65_534;
const OF_A_REQUEST: Limits = Limits { patience: Duration::from_secs(8), most: 256 * 1024 };
const WHO_ANSWERS: &str = "`gateway target check` asks the server from outside and says what is wrong there; `gateway sessions` shows how far this got";
const WHO_PERMITS: &str =
    "`gateway why` tells which policy decided; permit it, where those who run there are to reach this target";
const WHO_DENIES: &str =
    "policies deny it to everybody: read `gateway events` and `gateway status` before anything else is trusted here";

/// Tries.
pub(super) fn run() -> anyhow::Result<()> {
    let mut text = String::new();
    std::io::stdin().take(MOST).read_to_string(&mut text)?;
    let attempt: Attempt = serde_json::from_str(&text)?;
    canary::join(&attempt.cgroup).context("cannot go to the attachment's cgroup")?;
    give_up_root()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let steps = runtime.block_on(async { tokio::time::timeout(PATIENCE, tried(&attempt)).await });
    let late = || vec![Step::failed(&attempt.target, "answers", "nobody answered in time", WHO_ANSWERS)];
    line(&serde_json::to_string(&steps.unwrap_or_else(|_| late()))?)
}

/// All threads that come later inherit it.
fn give_up_root() -> anyhow::Result<()> {
    let (gid, uid) = (Gid::from_raw(NOBODY), Uid::from_raw(NOBODY));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    rustix::thread::set_no_new_privs(true)?;
    if rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok() {
        bail!("root was not given up");
    }
    Ok(())
}

async fn tried(attempt: &Attempt) -> Vec<Step> {
    let tried = match attempt.protocol {
        Spoken::Postgres => postgres::tried(attempt).await,
        Spoken::Ssh => of_ssh(attempt).await,
        Spoken::Kubernetes => of_kubernetes(attempt).await,
    };
    tried.unwrap_or_else(|why| {
        let fix = if is_refusal(&why) { WHO_PERMITS } else { WHO_ANSWERS };
        vec![Step::failed(&attempt.target, "answers", why, fix)]
    })
}

/// A connection as a client makes it: by name, through whoever answers for names here.
async fn connected(attempt: &Attempt) -> Result<TcpStream, String> {
    let found = (attempt.host.as_str(), attempt.port).to_socket_addrs();
    let addresses: Vec<SocketAddr> = found.map_err(|error| format!("its name has no address here: {error}"))?.collect();
    let stream = TcpStream::connect(addresses.as_slice()).await;
    stream.map_err(|error| format!("no connection to {}:{}: {error}", attempt.host, attempt.port))
}

async fn of_ssh(attempt: &Attempt) -> Result<Vec<Step>, String> {
    let stream = connected(attempt).await?;
    let known =
        ServerKeys::parse(std::slice::from_ref(&attempt.trust), &[], Vec::new()).map_err(|error| chain(&error))?;
    // The gateway lets in by what the kernel knows of us, and keeps none of it.
    let proof = Proof::Password(Secret::new(Vec::new()));
    let login = Credential { user: attempt.user.clone(), for_users: Vec::new(), proof, unverified: false };
    let dial = Box::pin(async move { Ok(Box::new(stream) as BoxConn) });
    let reached = ssh::reach(dial, Arc::new(known), &login).await.map_err(|error| chain(&error))?;
    let ran = reached.run(&login, "true").await.map_err(|error| chain(&error))?;
    let said = String::from_utf8_lossy(&ran.err).lines().next().unwrap_or_default().to_owned();
    let done = if ran.status == Some(0) { Ok(()) } else { Err(said) };
    Ok(vec![answers(attempt), permits(attempt, "true", done), denies(attempt, None)])
}

async fn of_kubernetes(attempt: &Attempt) -> Result<Vec<Step>, String> {
    let version = asked(attempt, "/version").await?;
    let mut steps = vec![answers(attempt), permits(attempt, "GET /version", version)];
    let denied = match wanted(attempt) {
        Some(path) => Some((path, asked(attempt, path).await?)),
        None => None,
    };
    steps.push(denies(attempt, denied));
    Ok(steps)
}

/// What is answered to a look at a path: the server's or the gateway's refusal is an error of its own.
async fn asked(attempt: &Attempt, path: &str) -> Result<Result<(), String>, String> {
    let stream = Box::new(connected(attempt).await?);
    let tls = UpstreamTls::new(TlsMode::VerifyFull, Some(&attempt.host), Some(attempt.trust.as_bytes()), None);
    let tls = tls.map_err(|error| chain(&error))?.speaking(&["http/1.1"]);
    let (stream, _) = tls.handshake(stream).await.map_err(|error| chain(&error))?;
    let place = Place { host: attempt.host.clone(), port: attempt.port, path: String::new() };
    let asked = Asked { path: path.to_owned(), ..Asked::default() };
    let (status, body) = http::answer(stream, &place, asked, OF_A_REQUEST).await?;
    if status.is_success() {
        return Ok(Ok(()));
    }
    let status_of = serde_json::from_slice::<serde_json::Value>(&body).ok();
    let message = status_of.and_then(|of| Some(of.get("message")?.as_str()?.to_owned()));
    Ok(Err(message.unwrap_or_else(|| status.to_string())))
}

/// The request that policies permit to nobody.
fn wanted(attempt: &Attempt) -> Option<&'static str> {
    let named = attempt.denied.as_deref()?;
    DENIED.iter().find(|(spoken, action, _)| *spoken == attempt.protocol && *action == named).map(|(.., text)| *text)
}

fn answers(attempt: &Attempt) -> Step {
    let said = format!("{}:{} lets `{}` in, through the gateway", attempt.host, attempt.port, attempt.user);
    Step::passed(&attempt.target, "answers", said)
}

fn permits(attempt: &Attempt, request: &str, done: Result<(), String>) -> Step {
    match done {
        Ok(()) => Step::passed(&attempt.target, "permits", format!("`{request}` was carried out")),
        Err(said) => Step::failed(&attempt.target, "permits", format!("`{request}` was not: {said}"), WHO_PERMITS),
    }
}

/// Whether policies of the gateway refused it, by how it says so in each protocol.
fn is_refusal(said: &str) -> bool {
    ["denied by policy ", "denied: no policy permits ", "held by policy "]
        .iter()
        .any(|words| said.strip_prefix("gateway: ").unwrap_or(said).starts_with(words))
}

/// What came of a request that nobody may make.
fn denies(attempt: &Attempt, tried: Option<(&str, Result<(), String>)>) -> Step {
    let about = &attempt.target;
    match tried {
        None => Step::skipped(about, "denies", attempt.undenied.clone()),
        Some((request, Err(said))) if is_refusal(&said) => {
            Step::passed(about, "denies", format!("`{request}` was refused: {said}"))
        }
        Some((request, Err(said))) => {
            Step::failed(about, "denies", format!("`{request}` reached the server, which says: {said}"), WHO_DENIES)
        }
        Some((request, Ok(()))) => Step::failed(about, "denies", format!("`{request}` was carried out"), WHO_DENIES),
    }
}
