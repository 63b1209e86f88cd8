//! Connections that leave HTTP: exec, attach and port-forward, over WebSocket or SPDY/3.1.
//!
//! In: a permitted request that asks for another protocol. Out: the same on both legs, both ways, until either side ends
//! it or policies no longer permit it. Output of exec and attach is masked and recorded; each connection of a port-forward
//! is a session of its own. Nothing else is upgraded.

mod channel;
mod forward;
#[cfg(any(fuzzing, test))]
pub(super) mod fuzzing;
mod recording;
mod spdy;
mod tap;
#[cfg(test)]
mod tests;
mod websocket;

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::answer;
use super::decide::{Ended, Judge, Permit};
use super::engine::Session;
use super::head::Head;
use super::reply::{Refusal, ReplyBody, full};
use super::upstream::{Onward, Way};
use crate::audit::event::Status;
use forward::Forward;
use recording::Recorder;
use spdy::Spdy;
use tap::{Framing, Tap};
use websocket::WebSocket;

/// Compression would hide what goes by.
const EXTENSIONS: HeaderName = HeaderName::from_static("sec-websocket-extensions");

const PROTOCOLS: HeaderName = HeaderName::from_static("sec-websocket-protocol");
/// Subprotocols of exec and attach whose frames are bytes with a number in front.
const CHANNELS: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"];

/// The streams of one session; dropped, they end.
#[derive(Default)]
pub(super) struct Streams(Mutex<JoinSet<()>>);

impl Streams {
    fn spawn(&self, stream: impl Future<Output = ()> + Send + 'static) {
        self.0.lock().spawn(stream);
    }

    /// Waits until all of them ended.
    pub(super) async fn done(&self) {
        let mut streams = std::mem::take(&mut *self.0.lock());
        while streams.join_next().await.is_some() {}
    }

    /// Ends them.
    pub(super) fn end(&self) {
        self.0.lock().abort_all();
    }
}

/// Whether what a request wants to become is something that goes by here.
///
/// # Errors
/// With what the client reads.
pub(super) fn check(head: &Head) -> Result<(), Refusal> {
    let Some(wanted) = &head.upgrade else { return Ok(()) };
    let is_stream = matches!(head.info.subresource(), Some("exec" | "attach" | "portforward"));
    if is_stream && matches!(wanted.as_str(), "websocket" | "spdy/3.1") {
        return Ok(());
    }
    Err(Refusal::bad_request(
        "gateway: only exec, attach and port-forward become another protocol, by websocket or SPDY/3.1",
    ))
}

/// What the client offers to speak after the upgrade, of what can be read here.
fn offered(headers: &HeaderMap, name: &HeaderName, readable: &[&str]) -> Option<HeaderValue> {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<_> =
        texts.flat_map(|text| text.split(',')).map(str::trim).filter(|one| readable.contains(one)).collect();
    if all.is_empty() { None } else { HeaderValue::from_str(&all.join(", ")).ok() }
}

/// The head of the request for the server.
fn head_for_server(head: &Head, headers: &mut HeaderMap) -> Result<(), Refusal> {
    let is_websocket = head.upgrade.as_deref() == Some("websocket");
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(if is_websocket { "websocket" } else { "SPDY/3.1" }));
    headers.remove(EXTENSIONS);
    if is_websocket {
        let offered = offered(headers, &PROTOCOLS, CHANNELS).ok_or_else(|| {
            Refusal::bad_request(format!(
                "gateway: of WebSocket's subprotocols these can be read here: {}",
                CHANNELS.join(", ")
            ))
        })?;
        headers.insert(PROTOCOLS, offered);
    }
    Ok(())
}

/// A request that asks for another protocol.
pub(super) struct Wish<'a> {
    pub(super) head: &'a Head,
    pub(super) permit: Permit,
    /// The client's, whose connection changes.
    pub(super) request: Request<Incoming>,
    /// The server's.
    pub(super) forward: Onward,
}

/// Sends a permitted request on and, where the server agrees, turns both connections into what it asks for.
///
/// # Errors
/// With what the client reads.
pub(super) async fn upgrade(
    session: &Arc<Session>,
    way: &Arc<Way>,
    wish: Wish<'_>,
) -> Result<Response<ReplyBody>, Refusal> {
    let Wish { head, permit, request, mut forward } = wish;
    let sent = match Stream::begin(head, request.headers(), &mut forward) {
        Ok(stream) => {
            let sent = session.upstream.send_alone(&session.judge, way, forward).await;
            sent.map(|response| (stream, response))
        }
        Err(refusal) => Err(refusal),
    };
    let (stream, response) = match sent {
        Ok(sent) => sent,
        Err(refusal) => {
            session.judge.lost(&permit, &refusal);
            return Err(refusal);
        }
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return answer::pass(&session.judge, permit, &head.info, response);
    }
    let mut accepted = Response::new(full(Bytes::new()));
    *accepted.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *accepted.headers_mut() = stream.answer(response.headers());
    let (judge, forwards) = (Arc::clone(&session.judge), Arc::clone(&session.forwards));
    match stream {
        Stream::Tapped(framing) => session.streams.spawn(run(judge, permit, framing, request, response)),
        Stream::Forward(forward) => session.streams.spawn(forward.run((judge, permit), forwards, request, response)),
    }
    Ok(accepted)
}

/// What a connection becomes.
enum Stream {
    /// Exec or attach.
    Tapped(Framing),
    Forward(Forward),
}

impl Stream {
    /// Reads what the client wants to speak, and writes what the server is to.
    fn begin(head: &Head, headers: &HeaderMap, forward: &mut Onward) -> Result<Self, Refusal> {
        if head.info.subresource() == Some("portforward") {
            return Forward::begin(head, headers, forward).map(Self::Forward);
        }
        head_for_server(head, forward.headers_mut())?;
        Ok(Self::Tapped(match head.upgrade.as_deref() {
            Some("websocket") => Framing::WebSocket(WebSocket::default()),
            _ => Framing::Spdy(Spdy::default()),
        }))
    }

    /// The head of our answer: the server's own, unless the client speaks something else than we do to the server.
    fn answer(&self, server: &HeaderMap) -> HeaderMap {
        let mut headers = match self {
            Self::Forward(forward) => forward.answer().unwrap_or(server).clone(),
            Self::Tapped(_) => server.clone(),
        };
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(name);
        }
        headers
    }
}

/// Carries a stream to its end, and writes what became of it.
async fn run(
    judge: Arc<Judge>,
    permit: Permit,
    framing: Framing,
    request: Request<Incoming>,
    response: Response<Incoming>,
) {
    let permit = Arc::new(permit);
    let recorder = Recorder::new(Arc::clone(judge.guard()), permit.request);
    let tap = Tap::new(framing, &permit.rule.detectors, recorder);
    let both = async {
        let upgraded = tokio::try_join!(hyper::upgrade::on(request), hyper::upgrade::on(response));
        let (client, server) = upgraded.map_err(|_| "a side was lost before it began".to_owned())?;
        tap.carry(TokioIo::new(client), TokioIo::new(server)).await.map_err(|broken| broken.to_string())
    };
    let ended = until_revoked(&judge, &permit, both).await;
    tap.finish();
    judge.outcome(&permit, Ended { exit_status: tap.exit_status(), ..ended });
}

/// What becomes of a stream that gives the bytes that its client got, or why it broke off.
async fn until_revoked(
    judge: &Arc<Judge>,
    permit: &Arc<Permit>,
    both: impl Future<Output = Result<u64, String>>,
) -> Ended {
    let mut ended = Ended::of(Status::Lost, Some(StatusCode::SWITCHING_PROTOCOLS.as_u16()));
    tokio::select! {
        result = both => match result {
            Ok(bytes) => (ended.status, ended.bytes) = (Status::Ok, bytes),
            Err(reason) => ended.reason = Some(reason),
        },
        () = answer::revoked(Arc::clone(judge), Arc::clone(permit)) => {
            (ended.status, ended.reason) = (Status::Cancelled, Some("policies no longer permit it".to_owned()));
        }
    }
    ended
}
