//! The server's end of the control socket.
//!
//! In: connections of local processes. Out: answers for root outside of attached cgroups; for everybody else one
//! refusal. The peer's process is held by a pidfd while it is looked at, so that its number cannot come to mean
//! another one.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::UnixStream;

use super::service::{AttachRequest, Decision, Operator, OperatorError};

/// The largest request: names and paths.
const MAX_REQUEST: usize = 64 * 1024;
/// How long a peer may take to say what it wants.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Peers that are served at once.
const MAX_PEERS: usize = 64;

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

/// Answers for ever.
///
/// # Errors
/// Where the socket cannot be watched.
pub async fn serve(listener: UnixListener, operator: impl Operator) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(MAX_PEERS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = std::sync::Arc::clone(&places).try_acquire_owned() else { continue };
        let operator = operator.clone();
        tokio::spawn(async move {
            let _place = place;
            let admitted = admit(&stream, &operator);
            let service = service_fn(|request| answer(request, &operator, admitted.clone()));
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

/// Who may ask: root, outside of every attached cgroup.
fn admit(stream: &UnixStream, operator: &impl Operator) -> Result<u32, String> {
    let peer = rustix::net::sockopt::socket_peercred(stream).map_err(|error| error.to_string())?;
    let pid = peer.pid.as_raw_nonzero().get();
    // Before Linux 6.5 there is no pidfd of the peer: one by number, which the look at the cgroup below must outlive.
    let held = gateway_common::sys::peer_pidfd(stream).or_else(|_| {
        rustix::process::pidfd_open(peer.pid, rustix::process::PidfdFlags::empty()).map_err(io::Error::from)
    });
    let held = held.map_err(|_| "the process that asks is gone")?;
    let cgroup = operator.cgroup_of(pid).ok_or("the process that asks is gone")?;
    if !is_alive(&held) {
        return Err("the process that asks is gone".into());
    }
    if let Some(name) = operator.attached_as(&cgroup) {
        return Err(format!("a process inside the attachment `{name}` may not ask: use a shell outside of it"));
    }
    if !peer.uid.is_root() {
        return Err("only root may ask: use sudo".into());
    }
    Ok(peer.uid.as_raw())
}

/// A pidfd is readable once its process has ended.
fn is_alive(pidfd: &std::os::fd::OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
}

async fn answer(
    request: Request<Incoming>,
    operator: &impl Operator,
    admitted: Result<u32, String>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let uid = match admitted {
        Ok(uid) => uid,
        Err(reason) => return Ok(refusal(StatusCode::FORBIDDEN, &reason)),
    };
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body = match Limited::new(body, MAX_REQUEST).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Ok(refusal(StatusCode::BAD_REQUEST, &error.to_string())),
    };
    Ok(match (&head.method, path.as_str()) {
        (&Method::GET, "/v1/status") => json(&operator.status()),
        (&Method::GET, "/v1/sessions") => result(operator.sessions().await),
        (&Method::GET, "/v1/approvals") => result(operator.approvals().await),
        (&Method::POST, "/v1/decide") => match serde_json::from_slice::<Decision>(&body) {
            Ok(decision) => result(operator.decide(uid, decision).await),
            Err(error) => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        },
        (&Method::POST, "/v1/reload") => result(operator.reload().await),
        (&Method::POST, "/v1/attach") => match serde_json::from_slice::<AttachRequest>(&body) {
            Ok(request) => result(operator.attach(request).await),
            Err(error) => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        },
        (&Method::POST, "/v1/detach") => match serde_json::from_slice::<String>(&body) {
            Ok(name) => result(operator.detach(&name).await),
            Err(error) => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        },
        _ => refusal(StatusCode::NOT_FOUND, "no such request: client and gateway are of different versions"),
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
