//! The server's end of the control socket.
//!
//! In: connections of local processes. Out: answers for those outside of attached cgroups whom `access` permits; for
//! everybody else a refusal. The peer is the process that connected (SO_PEERCRED), whoever holds the descriptor now: one
//! that was passed on by SCM_RIGHTS or inherited speaks for its maker, and is looked at again for every request. It is
//! held by a pidfd, so that its number cannot come to mean another process.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::fs::XattrFlags;
use rustix::process::Pid;
use serde::Serialize;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use super::access::{Asker, Command};
use super::service::{AttachRequest, Caller, Decision, ExecRequest, Operator, OperatorError};
use crate::host::process::is_alive;

/// The largest request: names and paths.
const MAX_REQUEST: usize = 64 * 1024;
/// How long a peer may take to say what it wants.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections of root that are served at once.
const MAX_PEERS: usize = 64;
/// Of all others together: they cannot keep root from asking.
const MAX_OTHERS: usize = 32;
/// Where the system keeps a file's access list, and how it begins (linux/posix_acl_xattr.h).
const ACCESS_LIST: &str = "system.posix_acl_access";
const ACCESS_LIST_VERSION: u32 = 2;

/// Makes the socket, replacing one that a dead gateway left: the caller holds the lock of the host.
///
/// # Errors
/// Where the directory cannot be written to.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Lets these users connect beside root, and nobody else.
///
/// # Errors
/// Where the file system has no access lists: then root alone connects.
pub fn let_in(path: &Path, uids: &BTreeSet<u32>) -> io::Result<()> {
    match rustix::fs::removexattr(path, ACCESS_LIST) {
        Ok(()) | Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => {}
        Err(error) => return Err(error.into()),
    }
    fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    if uids.is_empty() {
        return Ok(());
    }
    Ok(rustix::fs::setxattr(path, ACCESS_LIST, &access_list(uids), XattrFlags::empty())?)
}

/// The owner and these users read and write; groups and others do nothing (acl(5)).
fn access_list(uids: &BTreeSet<u32>) -> Vec<u8> {
    const NO_ID: u32 = u32::MAX;
    const READ_WRITE: u16 = 6;
    let [owner, user, group, mask, other] = [0x01_u16, 0x02, 0x04, 0x10, 0x20];
    let mut entries = vec![(owner, READ_WRITE, NO_ID)];
    entries.extend(uids.iter().map(|uid| (user, READ_WRITE, *uid)));
    entries.extend([(group, 0, NO_ID), (mask, READ_WRITE, NO_ID), (other, 0, NO_ID)]);
    let mut bytes = ACCESS_LIST_VERSION.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// Answers for ever.
///
/// # Errors
/// Where the socket cannot be watched.
pub async fn serve(listener: UnixListener, operator: impl Operator) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let (for_root, for_others) = (Arc::new(Semaphore::new(MAX_PEERS)), Arc::new(Semaphore::new(MAX_OTHERS)));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let peer = Peer::of(&stream);
        let places = if peer.as_ref().is_ok_and(|peer| peer.0.uid == 0) { &for_root } else { &for_others };
        let Ok(place) = Arc::clone(places).try_acquire_owned() else { continue };
        let operator = operator.clone();
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request| answer(request, &operator, &peer));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a control connection ended");
            }
        });
    }
}

/// The process that connected.
struct Peer(Caller);

impl Peer {
    fn of(stream: &UnixStream) -> io::Result<Self> {
        let peer = rustix::net::sockopt::socket_peercred(stream)?;
        // Before Linux 6.5 there is no pidfd of the peer: one by number, which the look at the cgroup must outlive.
        let by_number = |pid: Pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
        let held = gateway_common::sys::peer_pidfd(stream).or_else(|_| by_number(peer.pid))?;
        let (uid, pid) = (peer.uid.as_raw(), peer.pid.as_raw_nonzero().get());
        Ok(Self(Caller { uid, pid, held: Arc::new(held) }))
    }

    /// Whether it stands outside of every attached cgroup, now.
    fn is_outside(&self, operator: &impl Operator) -> Result<(), String> {
        let cgroup = operator.cgroup_of(self.0.pid);
        let Some(cgroup) = cgroup.filter(|_| is_alive(&self.0.held)) else {
            return Err("the process that asks is gone".into());
        };
        match operator.attached_as(&cgroup) {
            Some(name) => {
                Err(format!("a process inside the attachment `{name}` may not ask: use a shell outside of it"))
            }
            None => Ok(()),
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    operator: &impl Operator,
    peer: &io::Result<Peer>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let (caller, command) = match admit(&head, operator, peer) {
        Ok(admitted) => admitted,
        Err((status, reason)) => return Ok(refusal(status, &reason)),
    };
    let body = match Limited::new(body, MAX_REQUEST).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Ok(refusal(StatusCode::BAD_REQUEST, &error.to_string())),
    };
    // A task of its own: what was begun is finished also where the one who asked hangs up.
    let (operator, caller) = (operator.clone(), caller.clone());
    let performed = tokio::spawn(async move { perform(command, &caller, &body, &operator).await });
    Ok(match performed.await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            let what = "the request was not understood";
            let reason = format!("{what}: {error}; client and gateway are of different versions");
            refusal(StatusCode::BAD_REQUEST, &reason)
        }
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &format!("it was not carried out: {error}")),
    })
}

/// Who asks, and for what; or why they may not.
fn admit<'p>(
    head: &Parts,
    operator: &impl Operator,
    peer: &'p io::Result<Peer>,
) -> Result<(&'p Caller, Command), (StatusCode, String)> {
    let forbidden = |reason: String| (StatusCode::FORBIDDEN, reason);
    let peer = peer.as_ref().map_err(|_| forbidden("the process that asks is gone".into()))?;
    peer.is_outside(operator).map_err(forbidden)?;
    let command = Command::of(&head.method, head.uri.path()).ok_or_else(|| {
        (StatusCode::NOT_FOUND, "no such request: client and gateway are of different versions".to_owned())
    })?;
    let caller = &peer.0;
    command.permit(Asker { uid: caller.uid, rights: operator.rights(caller.uid) }).map_err(forbidden)?;
    Ok((caller, command))
}

async fn perform(
    command: Command,
    caller: &Caller,
    body: &[u8],
    operator: &impl Operator,
) -> serde_json::Result<Response<Full<Bytes>>> {
    Ok(match command {
        Command::Status => json(&operator.status().await),
        Command::Configuration => json(&operator.configuration()),
        Command::Sessions => result(operator.sessions().await),
        Command::Approvals => result(operator.approvals(caller.uid).await),
        Command::Approval => result(operator.approval(caller.uid, serde_json::from_slice(body)?).await),
        Command::Window => result(operator.window(caller.uid, serde_json::from_slice(body)?).await),
        Command::Windows => result(operator.windows().await),
        Command::Revoke => result(operator.revoke(caller.uid, serde_json::from_slice(body)?).await),
        Command::Decide => result(operator.decide(caller.uid, serde_json::from_slice::<Decision>(body)?).await),
        Command::CheckTargets => result(operator.check_targets(caller.uid, serde_json::from_slice(body)?).await),
        Command::Test => result(operator.test(caller.uid, serde_json::from_slice(body)?).await),
        Command::Reload => result(operator.reload().await),
        Command::Attach => result(operator.attach(caller, serde_json::from_slice::<AttachRequest>(body)?).await),
        Command::Exec => result(operator.exec(caller, serde_json::from_slice::<ExecRequest>(body)?).await),
        Command::Detach => result(operator.detach(&serde_json::from_slice::<String>(body)?).await),
    })
}

fn result(result: Result<impl Serialize, OperatorError>) -> Response<Full<Bytes>> {
    match result {
        Ok(value) => json(&value),
        Err(error) => refusal(StatusCode::CONFLICT, &error.to_string()),
    }
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(bytes) => Response::new(Full::new(bytes.into())),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn refusal(status: StatusCode, reason: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(serde_json::json!({ "error": reason }).to_string())));
    *response.status_mut() = status;
    response
}
