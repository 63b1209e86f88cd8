//! One connection of a client: TLS, HTTP/1.1 or HTTP/2, and each request of it.
//!
//! In: an accepted connection, its judge and the way to its server. Out: answers, and how the connection ended. A request
//! goes on when it was read with certainty, permitted and journaled, and never otherwise.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::body::{self, BodyFault, Parsed};
use super::decide::{Judge, Judged};
use super::head::{self, Head};
use super::preview::Change;
use super::reply::{Refusal, ReplyBody};
use super::upstream::{Cluster, Upstream, Workload};
use super::uri::Verb;
use super::{answer, stream};
use crate::chain::chain;
use crate::conn::Conn;
use crate::protocol::forward::Forwards;

/// How long TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// How long the head of a request may take, and how long a connection may wait for its next one: client-go keeps one for
/// 90 seconds.
const HEAD: Duration = Duration::from_secs(120);
/// How long a body may take.
const BODY: Duration = Duration::from_secs(60);
/// How long, and how much of it, is read of a body that is refused.
const DRAIN: Duration = Duration::from_secs(5);
const MOST_DRAINED: usize = 32 * 1024 * 1024;
/// How long the server may take to begin an answer: it ends what is slower than a minute itself.
const ANSWER: Duration = Duration::from_secs(300);
/// Requests of one connection at once; client-go opens a second one at 250.
const MOST_STREAMS: u32 = 250;

/// What a connection needs beside its judge.
pub struct Options {
    /// Towards the client: a certificate for the names of the target.
    pub client_tls: Arc<ServerConfig>,
    /// `host` for the server.
    pub authority: String,
    /// Whom the server is told that requests are of, where configured.
    pub workload: Workload,
    /// What becomes of connections in a port-forward.
    pub forwards: Arc<dyn Forwards>,
}

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The client is done.
    #[error("the client closed the connection")]
    ClientClosed,
    /// The client did not finish the handshake: it does not trust us, or speaks no TLS.
    #[error("the client ended the TLS handshake: does it trust the gateway (`gateway trust`)?")]
    Handshake(#[source] std::io::Error),
    /// The client took too long.
    #[error("the client was too slow")]
    Slow,
    /// What the client sent is no HTTP.
    #[error("what the client sent is no HTTP")]
    Protocol(#[source] hyper::Error),
    /// What it rested on has ended.
    #[error("the gateway ended the session: {0}")]
    Ended(String),
}

pub(super) struct Session {
    pub(super) judge: Arc<Judge>,
    pub(super) upstream: Upstream,
    /// Streams that left HTTP; they end with the session.
    pub(super) streams: stream::Streams,
    pub(super) forwards: Arc<dyn Forwards>,
}

/// Serves a connection to its end.
pub async fn serve<C: Conn>(
    client: C,
    judge: Arc<Judge>,
    cluster: Arc<dyn Cluster>,
    options: Options,
    mut ending: watch::Receiver<Option<String>>,
) -> Cause {
    // In a box, as what follows it: what lasts as long as a connection has one place, and none in this future.
    let handshake = Box::pin(TlsAcceptor::from(options.client_tls).accept(client));
    let accepted = tokio::time::timeout(HANDSHAKE, handshake).await;
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Cause::Handshake(error),
        Err(_) => return Cause::Slow,
    };
    let multiplexes = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let upstream = Upstream::new(cluster, options.workload, options.authority, multiplexes);
    let session =
        Arc::new(Session { judge, upstream, streams: stream::Streams::default(), forwards: options.forwards });
    let connection = if multiplexes { many(&session, stream) } else { one(&session, stream) };
    let served = async {
        let cause = match connection.await {
            Ok(()) => Cause::ClientClosed,
            Err(error) => cause(&session, error),
        };
        // Streams that left HTTP go on after the connection that they came by.
        session.streams.done().await;
        cause
    };
    tokio::select! {
        cause = Box::pin(served) => cause,
        reason = ending.wait_for(Option::is_some) => {
            session.streams.end();
            Cause::Ended(reason.ok().and_then(|reason| reason.clone()).unwrap_or_else(|| "the gateway stops".to_owned()))
        }
    }
}

/// A connection that is served.
type Served = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

fn one<C: Conn>(session: &Arc<Session>, stream: TlsStream<C>) -> Served {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(128 * 1024);
    let session = Arc::clone(session);
    let service = service_fn(move |request| Arc::clone(&session).serve(request));
    Box::pin(builder.serve_connection(TokioIo::new(stream), service).with_upgrades())
}

fn many<C: Conn>(session: &Arc<Session>, stream: TlsStream<C>) -> Served {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(64 * 1024)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(30));
    let session = Arc::clone(session);
    let service = service_fn(move |request| Arc::clone(&session).serve(request));
    Box::pin(builder.serve_connection(TokioIo::new(stream), service))
}

/// What hyper refuses by itself is journaled here: it has answered already where HTTP allows it.
fn cause(session: &Session, error: hyper::Error) -> Cause {
    if error.is_parse() || error.is_parse_too_large() || breaks_http2(&error) {
        session.judge.note_refusal("", &Refusal::bad_request(format!("the request is no HTTP: {}", chain(&error))));
        return Cause::Protocol(error);
    }
    if error.is_timeout() { Cause::Slow } else { Cause::ClientClosed }
}

/// Whether our side ended a connection of HTTP/2 for what the other sent: frames that belong nowhere, or too many.
fn breaks_http2(error: &hyper::Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.filter_map(|cause| cause.downcast_ref::<h2::Error>()).any(h2::Error::is_library)
}

impl Session {
    async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<ReplyBody>, Infallible> {
        let path = request.uri().path().to_owned();
        Ok(Box::pin(self.exchange(request)).await.unwrap_or_else(|refusal| refusal.response(&path)))
    }

    async fn exchange(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Response<ReplyBody>, Refusal> {
        let (head, bytes, parsed) = match read(&mut request).await {
            Ok(read) => read,
            Err(refusal) => {
                let target = request.uri().path_and_query().map_or("", |target| target.as_str());
                self.judge.note_refusal(&format!("{} {target}", request.method()), &refusal);
                // Clients of HTTP/2 take an answer that comes before they have sent all for a fault of the stream.
                let _ = tokio::time::timeout(DRAIN, drain(request.body_mut())).await;
                return Err(refusal);
            }
        };
        let way = self.upstream.way()?;
        let onward = head::onward(request.headers(), way.login.is_some());
        let mut headers = onward.headers;
        let body = match &parsed.onward {
            Some((bytes, media)) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
                bytes
            }
            None => &bytes,
        };
        let preview = Change {
            judge: &self.judge,
            upstream: &self.upstream,
            way: &way,
            head: &head,
            method: request.method(),
            uri: request.uri(),
            headers: &headers,
            body,
        };
        let judged =
            Judged { head: &head, parsed: &parsed, body: &bytes, stripped: &onward.stripped, preview: &preview };
        let permit = self.judge.judge(&judged).await?;
        let body = body.clone();
        headers.insert(hyper::header::ACCEPT, head::accept(request.headers(), &head.info, &permit.rule.places));
        let mut forward = Request::new(Full::new(body));
        (*forward.method_mut(), *forward.uri_mut()) = (request.method().clone(), request.uri().clone());
        *forward.headers_mut() = headers;
        if head.upgrade.is_some() {
            return stream::upgrade(&self, &way, stream::Wish { head: &head, permit, request, forward }).await;
        }
        let sent = tokio::time::timeout(ANSWER, self.upstream.send(&self.judge, &way, forward)).await;
        let sent = sent.unwrap_or_else(|_| Err(Refusal::bad_gateway("gateway: the API server did not answer in time")));
        match sent {
            Ok(response) => answer::pass(&self.judge, permit, &head.info, response),
            Err(refusal) => {
                self.judge.lost(&permit, &refusal);
                Err(refusal)
            }
        }
    }
}

/// Reads a request whole: its line, its headers, its body.
async fn read(request: &mut Request<Incoming>) -> Result<(Head, Bytes, Parsed), Refusal> {
    let head = head::read(request)?;
    stream::check(&head)?;
    if request.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Refusal::unsupported("gateway: a compressed body cannot be read here: send it as it is"));
    }
    let bytes = read_body(request).await?;
    let parsed = match &head.info.resource {
        Some(resource) if has_object(&head) => {
            let media = request.headers().get(CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
            body::read(head.info.verb, resource, media, &bytes).map_err(|fault| match fault {
                BodyFault::Media { .. } | BodyFault::Unlisted { .. } => {
                    Refusal::unsupported(format!("gateway: {fault}"))
                }
                BodyFault::Mask | BodyFault::Elsewhere { .. } => Refusal::forbidden(format!("gateway: {fault}")),
                BodyFault::Syntax { .. } => Refusal::bad_request(format!("gateway: {fault}")),
            })?
        }
        _ => Parsed::default(),
    };
    if !bytes.is_empty() && matches!(head.info.verb, Verb::Get | Verb::List | Verb::Watch | Verb::Head) {
        return Err(Refusal::bad_request("gateway: a request that reads has no body"));
    }
    Ok((head, bytes, parsed))
}

/// Whether the body is an object, a patch or options of the API: what is for a pod or service is theirs.
fn has_object(head: &Head) -> bool {
    let writes =
        matches!(head.info.verb, Verb::Create | Verb::Update | Verb::Patch | Verb::Delete | Verb::DeleteCollection);
    writes && !matches!(head.info.subresource(), Some("proxy" | "exec" | "attach" | "portforward"))
}

async fn drain(body: &mut Incoming) {
    let mut drained = 0;
    while let Some(Ok(frame)) = body.frame().await {
        drained += frame.data_ref().map_or(0, Bytes::len);
        if drained > MOST_DRAINED {
            return;
        }
    }
}

async fn read_body(request: &mut Request<Incoming>) -> Result<Bytes, Refusal> {
    if request.body().is_end_stream() {
        return Ok(Bytes::new());
    }
    let whole = Limited::new(request.body_mut(), body::LARGEST).collect();
    match tokio::time::timeout(BODY, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Refusal::too_large(format!("gateway: the body is larger than {} bytes", body::LARGEST)))
        }
        Ok(Err(_)) => Err(Refusal::bad_request("gateway: the body ended early")),
        Err(_) => Err(Refusal::bad_request("gateway: the body took too long")),
    }
}
