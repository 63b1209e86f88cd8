//! Port-forward: each connection in it is a session of its own, served by the engine of what it leads to.
//!
//! In: a permitted request and what the client speaks: SPDY/3.1, the same inside WebSocket, or WebSocket's numbered streams.
//! Out: SPDY/3.1 to the server, and connections that begin again at `session`. No byte goes to a pod but through such a
//! session; what it is and whether it may be is asked there.

mod mux;
mod numbered;
mod pairs;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::split;
use tokio::task::JoinSet;

use super::channel::Fault;
use super::{EXTENSIONS, PROTOCOLS, offered, until_revoked};
use crate::conn::BoxConn;
use crate::protocol::forward::{Channels, Forwards, Onward, Pending, pipe};
use crate::protocol::kubernetes::decide::{Judge, Permit};
use crate::protocol::kubernetes::head::Head;
use crate::protocol::kubernetes::reply::Refusal;
use crate::protocol::kubernetes::upstream;
use mux::{Mux, Opened};
use numbered::{Numbered, Tunnel};
use pairs::Pairs;

const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");
const VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const PORT_FORWARD: HeaderValue = HeaderValue::from_static("portforward.k8s.io");
/// Subprotocols of WebSocket for it, the better one first.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const NUMBERED: &str = "v4.channel.k8s.io";
/// What a server adds to a client's key (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Ports of one request by WebSocket: each has two of 256 streams.
const MOST_PORTS: usize = 64;
/// How long sessions may take to say the rest when their connection is gone.
const LAST: Duration = Duration::from_secs(5);

/// A connection of a port-forward, by the number that its wire gives it.
type Pair = u32;

/// What the other side says.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// It opened a connection to this port.
    Open(Pair, u16),
    /// It is open.
    Ready(Pair),
    Data(Pair, Vec<u8>),
    /// It has said all on this one.
    End(Pair),
    /// It tells of an error.
    Error(Pair, Vec<u8>),
    /// It closed this one.
    Gone(Pair),
    /// It closes them all.
    Closed,
}

/// How connections are told apart on one; what there is to send is appended to `out`.
trait Wire: Send {
    fn take(&mut self, bytes: &[u8], events: &mut Vec<Event>, out: &mut Vec<u8>) -> Result<(), Fault>;
    fn data(&mut self, pair: Pair, bytes: &[u8], out: &mut Vec<u8>);
    /// No more data from this side.
    fn end(&mut self, pair: Pair, out: &mut Vec<u8>);
    fn fail(&mut self, pair: Pair, text: &[u8], out: &mut Vec<u8>);
    fn close(&mut self, pair: Pair, out: &mut Vec<u8>);
}

impl Wire for Box<dyn Wire> {
    fn take(&mut self, bytes: &[u8], events: &mut Vec<Event>, out: &mut Vec<u8>) -> Result<(), Fault> {
        (**self).take(bytes, events, out)
    }

    fn data(&mut self, pair: Pair, bytes: &[u8], out: &mut Vec<u8>) {
        (**self).data(pair, bytes, out);
    }

    fn end(&mut self, pair: Pair, out: &mut Vec<u8>) {
        (**self).end(pair, out);
    }

    fn fail(&mut self, pair: Pair, text: &[u8], out: &mut Vec<u8>) {
        (**self).fail(pair, text, out);
    }

    fn close(&mut self, pair: Pair, out: &mut Vec<u8>) {
        (**self).close(pair, out);
    }
}

/// What the client speaks, and how it is told so.
struct Spoken {
    wire: Box<dyn Wire>,
    /// Of our answer to a client of WebSocket; SPDY's is the server's own.
    answer: HeaderMap,
}

/// Reads what the client wants to speak.
fn spoken(head: &Head, headers: &HeaderMap) -> Result<Spoken, Refusal> {
    if head.upgrade.as_deref() != Some("websocket") {
        return Ok(Spoken { wire: Box::new(Pairs::default()), answer: HeaderMap::new() });
    }
    let bad = |what: &str| Refusal::bad_request(format!("gateway: {what}"));
    let key = headers.get(KEY).filter(|key| {
        base64::engine::general_purpose::STANDARD.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16)
    });
    let key = key.ok_or_else(|| bad("a WebSocket without `sec-websocket-key`"))?;
    if headers.get(VERSION).is_none_or(|version| version != "13") {
        return Err(bad("of WebSocket's versions 13 can be read here"));
    }
    let (wire, protocol): (Box<dyn Wire>, _) = if offered(headers, &PROTOCOLS, &[TUNNEL]).is_some() {
        (Box::new(Tunnel::default()), TUNNEL)
    } else if offered(headers, &PROTOCOLS, &[NUMBERED]).is_some() {
        let ports: Option<Vec<u16>> = head.info.query.all("ports").map(|port| port.parse().ok()).collect();
        let ports = ports.filter(|ports| (1..=MOST_PORTS).contains(&ports.len()) && !ports.contains(&0));
        (Box::new(Numbered::of(ports.ok_or_else(|| bad("`ports` has to name the ports to forward"))?)), NUMBERED)
    } else {
        return Err(bad(&format!("of WebSocket's subprotocols these can be read here: {TUNNEL}, {NUMBERED}")));
    };
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID].concat());
    let accept = base64::engine::general_purpose::STANDARD.encode(hash);
    let accept = HeaderValue::from_str(&accept).map_err(|_| bad("its key cannot be answered"))?;
    let answer = [
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (ACCEPT, accept),
        (PROTOCOLS, HeaderValue::from_static(protocol)),
    ];
    Ok(Spoken { wire, answer: answer.into_iter().collect() })
}

/// A port-forward that begins.
pub(super) struct Forward {
    spoken: Spoken,
    pod: String,
}

impl Forward {
    /// Reads what the client wants; the server is spoken to by SPDY/3.1 alone.
    ///
    /// # Errors
    /// With what the client reads.
    pub(super) fn begin(head: &Head, headers: &HeaderMap, forward: &mut upstream::Onward) -> Result<Self, Refusal> {
        let begun = Self { spoken: spoken(head, headers)?, pod: pod(head)? };
        let headers = forward.headers_mut();
        for name in [EXTENSIONS, PROTOCOLS, KEY, VERSION] {
            headers.remove(name);
        }
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
        headers.insert(STREAM_PROTOCOL, PORT_FORWARD);
        *forward.method_mut() = Method::POST;
        Ok(begun)
    }

    /// The head of our answer, where the server's is not for this client.
    pub(super) fn answer(&self) -> Option<&HeaderMap> {
        Some(&self.spoken.answer).filter(|answer| !answer.is_empty())
    }

    /// Serves the connections in it, and writes what became of it.
    pub(super) async fn run(
        self,
        (judge, permit): (Arc<Judge>, Permit),
        forwards: Arc<dyn Forwards>,
        request: Request<Incoming>,
        response: Response<Incoming>,
    ) {
        let permit = Arc::new(permit);
        let into = Into { pod: self.pod, forwards, judge: Arc::clone(&judge) };
        let both = carry(into, self.spoken.wire, request, response);
        let ended = until_revoked(&judge, &permit, both).await;
        judge.outcome(&permit, ended);
    }
}

/// The pod, as `NAME.NAMESPACE`.
fn pod(head: &Head) -> Result<String, Refusal> {
    let of = head.info.resource.as_ref().filter(|of| of.resource == "pods" && of.group.is_empty());
    let of = of.ok_or_else(|| Refusal::bad_request("gateway: ports are forwarded to pods alone"))?;
    Ok(format!("{}.{}", of.name, of.namespace))
}

/// Where connections lead.
struct Into {
    pod: String,
    forwards: Arc<dyn Forwards>,
    judge: Arc<Judge>,
}

type Client = Mux<Box<dyn Wire>>;

async fn carry(
    into: Into,
    wire: Box<dyn Wire>,
    request: Request<Incoming>,
    response: Response<Incoming>,
) -> Result<u64, String> {
    let upgraded = tokio::try_join!(hyper::upgrade::on(request), hyper::upgrade::on(response));
    let (client, server) = upgraded.map_err(|_| "a side was lost before it began".to_owned())?;
    let (from_client, to_client) = split(TokioIo::new(client));
    let (from_server, to_server) = split(TokioIo::new(server));
    let (client, server) = (Mux::new(to_client, wire), Mux::new(to_server, Pairs::default()));
    let (into, sessions) = (Arc::new(into), Mutex::new(JoinSet::new()));
    let opened = |opened: Opened| {
        let mut sessions = sessions.lock();
        while sessions.try_join_next().is_some() {}
        sessions.spawn(serve(Arc::clone(&into), (Arc::clone(&client), Arc::clone(&server)), opened));
    };
    let result = tokio::select! {
        result = client.read(from_client, opened) => result,
        result = server.read(from_server, drop) => result,
    };
    server.clear();
    client.clear();
    let mut sessions = std::mem::take(&mut *sessions.lock());
    let _ = tokio::time::timeout(LAST, async { while sessions.join_next().await.is_some() {} }).await;
    result.map(|()| client.sent())
}

/// Serves one connection to its end.
async fn serve(into: Arc<Into>, (client, server): (Arc<Client>, Arc<Mux<Pairs>>), opened: Opened) {
    let Opened { pair, port, bytes, gone } = opened;
    let channels = Arc::new(At { server, client: Arc::clone(&client), pair });
    let wanted = Onward { host: into.pod.clone(), port: port.into() };
    match into.forwards.enter(wanted, channels).await {
        Ok(inside) => {
            let (near, dropped, far) = pipe();
            let gone: Pending<()> = Box::pin(async move { drop(gone.await) });
            tokio::join!(inside(near, gone), client.carry(pair, bytes, (far, dropped)));
        }
        Err(reason) => {
            let refusal = Refusal::forbidden(format!("gateway: {reason}"));
            into.judge.note_refusal(&format!("a connection to port {port} of pod {}", into.pod), &refusal);
            client.fail(pair, refusal.message.as_bytes()).await;
            client.close(pair).await;
        }
    }
}

/// The way on to the pod.
struct At {
    server: Arc<Mux<Pairs>>,
    client: Arc<Client>,
    pair: Pair,
}

impl Channels for At {
    fn open(&self, _: &str, port: u16) -> Pending<io::Result<BoxConn>> {
        let (server, client, pair) = (Arc::clone(&self.server), Arc::clone(&self.client), self.pair);
        Box::pin(async move {
            let (stream, errors) = server.open(port).await?;
            tokio::spawn(async move {
                if let Ok(text) = errors.await {
                    client.fail(pair, &text).await;
                }
            });
            Ok(stream)
        })
    }
}

/// What the fuzz target of frames reaches: bytes as a client's, on each wire.
#[cfg(any(fuzzing, test))]
pub(super) fn fuzz(bytes: &[u8]) {
    let wires: [Box<dyn Wire>; 3] =
        [Box::new(Pairs::default()), Box::new(Tunnel::default()), Box::new(Numbered::of(vec![80]))];
    for mut wire in wires {
        let _ = wire.take(bytes, &mut Vec::new(), &mut Vec::new());
    }
}
