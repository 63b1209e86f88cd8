//! Connections of one session to its API server.
//!
//! In: requests that were permitted, and the way to the target. Out: answers. Connections belong to one session and end
//! with it. A token goes to a server that was verified and to no other, and a new one takes the place of the old with the
//! next request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;

use super::decide::Judge;
use super::reply::Refusal;
use crate::chain::chain;
use crate::conn::BoxConn;
use crate::secret::Secret;
use crate::upstream::tls::UpstreamTls;

/// Connections that wait for a next request.
const MOST_IDLE: usize = 8;
/// How long the handshakes of a new connection may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");

/// A request for the server.
pub(super) type Onward = Request<Full<Bytes>>;

/// How a server is reached and logged in to, as the configuration says now.
#[derive(Debug)]
pub struct Way {
    /// Towards the server.
    pub tls: UpstreamTls,
    /// The bearer token that we hold.
    pub token: Option<Secret>,
    /// The name of our login, for the journal; `None`: the client's own token goes on.
    pub login: Option<String>,
    /// The workload is named to the server, so that its rights and its audit are the workload's.
    pub impersonates: bool,
}

/// The way to the server of a session.
pub trait Cluster: Send + Sync + 'static {
    /// Opens a new connection to the server.
    fn dial(&self) -> Pin<Box<dyn Future<Output = io::Result<BoxConn>> + Send + '_>>;

    /// What is configured now; the reason, where it cannot be used, is for the log.
    ///
    /// # Errors
    /// Where the target is gone, or its files are not as they should be.
    fn way(&self) -> Result<Arc<Way>, String>;
}

/// Whom the server is told that a request is of.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The user.
    pub user: String,
    /// The groups.
    pub groups: Vec<String>,
}

/// A connection that can take a request.
enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Many(http2::SendRequest<Full<Bytes>>),
}

#[derive(Default)]
struct Open {
    way: Option<Arc<Way>>,
    many: Option<http2::SendRequest<Full<Bytes>>>,
    idle: Vec<http1::SendRequest<Full<Bytes>>>,
}

/// The connections of one session.
pub(super) struct Upstream {
    cluster: Arc<dyn Cluster>,
    workload: Workload,
    /// `host` and `:authority`.
    authority: String,
    /// The client speaks HTTP/2, so that many requests are open at once.
    multiplexes: bool,
    open: Mutex<Open>,
}

impl Upstream {
    pub(super) fn new(cluster: Arc<dyn Cluster>, workload: Workload, authority: String, multiplexes: bool) -> Self {
        Self { cluster, workload, authority, multiplexes, open: Mutex::default() }
    }

    /// Whether requests go on with a credential of ours.
    ///
    /// # Errors
    /// Where the target cannot be used as it is configured.
    pub(super) fn way(&self) -> Result<Arc<Way>, Refusal> {
        let way = self.cluster.way().map_err(|reason| {
            tracing::error!(reason, "a target cannot be used as it is configured");
            Refusal::unavailable(
                "gateway: the target is not configured as it should be: ask the operator, whose log says why",
            )
        })?;
        let mut open = self.open.lock();
        if !open.way.as_ref().is_some_and(|before| Arc::ptr_eq(before, &way)) {
            // Another credential, or another authority: what was connected under the old one serves nobody any more.
            *open = Open { way: Some(Arc::clone(&way)), ..Open::default() };
        }
        Ok(way)
    }

    /// Sends a request on.
    ///
    /// # Errors
    /// With what the client reads.
    pub(super) async fn send(
        &self,
        judge: &Judge,
        way: &Arc<Way>,
        mut request: Onward,
    ) -> Result<Response<Incoming>, Refusal> {
        self.identify(way, request.headers_mut())?;
        if let Some(sender) = self.pooled() {
            match self.send_over(sender, request).await {
                Ok(response) => return Ok(response),
                // The server had closed it meanwhile, and the request never left.
                Err(Failure::Unsent(unsent)) => request = *unsent,
                Err(Failure::Lost(refusal)) => return Err(refusal),
            }
        }
        let sender = self.connect(judge, way, self.multiplexes).await?;
        match self.send_over(sender, request).await {
            Ok(response) => Ok(response),
            Err(Failure::Unsent(_)) => {
                Err(Refusal::unavailable("gateway: the API server closed the connection at once"))
            }
            Err(Failure::Lost(refusal)) => Err(refusal),
        }
    }

    /// Sends a request on over a connection of its own, which may become another protocol.
    ///
    /// # Errors
    /// With what the client reads.
    pub(super) async fn send_alone(
        &self,
        judge: &Judge,
        way: &Arc<Way>,
        mut request: Onward,
    ) -> Result<Response<Incoming>, Refusal> {
        self.identify(way, request.headers_mut())?;
        let Sender::One(mut sender) = self.connect(judge, way, false).await? else {
            return Err(Refusal::bad_gateway("gateway: the API server speaks no HTTP/1.1, which upgrades take"));
        };
        *request.uri_mut() = path_of(request.uri());
        request.headers_mut().insert(HOST, self.host()?);
        sender.send_request(request).await.map_err(|error| lost(&error))
    }

    /// Says who asks: by our credential, and where configured by the workload's name.
    fn identify(&self, way: &Way, headers: &mut HeaderMap) -> Result<(), Refusal> {
        let unusable = |_| Refusal::unavailable("gateway: a name or token for the API server cannot stand in a header");
        if let Some(token) = &way.token {
            headers.insert(AUTHORIZATION, bearer(token).map_err(unusable)?);
        }
        if way.impersonates {
            headers.insert(USER, HeaderValue::from_str(&self.workload.user).map_err(unusable)?);
            for group in &self.workload.groups {
                headers.append(GROUP, HeaderValue::from_str(group).map_err(unusable)?);
            }
        }
        Ok(())
    }

    fn host(&self) -> Result<HeaderValue, Refusal> {
        HeaderValue::from_str(&self.authority)
            .map_err(|_| Refusal::unavailable("gateway: the target has no name that HTTP takes"))
    }

    fn pooled(&self) -> Option<Sender> {
        let mut open = self.open.lock();
        if let Some(many) = open.many.as_ref().filter(|many| !many.is_closed()) {
            return Some(Sender::Many(many.clone()));
        }
        open.many = None;
        open.idle.retain(|one| !one.is_closed());
        let ready = open.idle.iter().position(http1::SendRequest::is_ready)?;
        Some(Sender::One(open.idle.swap_remove(ready)))
    }

    async fn send_over(&self, sender: Sender, mut request: Onward) -> Result<Response<Incoming>, Failure> {
        let failed = |mut error: hyper::client::conn::TrySendError<Onward>| match error.take_message() {
            Some(unsent) => Failure::Unsent(Box::new(unsent)),
            None => Failure::Lost(lost(error.error())),
        };
        match sender {
            Sender::One(mut one) => {
                *request.uri_mut() = path_of(request.uri());
                request.headers_mut().insert(HOST, self.host().map_err(Failure::Lost)?);
                let response = one.try_send_request(request).await.map_err(failed)?;
                // Not ready before its answer is through; looked at then.
                let mut open = self.open.lock();
                if open.idle.len() < MOST_IDLE {
                    open.idle.push(one);
                }
                Ok(response)
            }
            Sender::Many(mut many) => {
                *request.uri_mut() = self.whole(request.uri()).map_err(Failure::Lost)?;
                request.headers_mut().remove(HOST);
                many.try_send_request(request).await.map_err(failed)
            }
        }
    }

    /// The same path in the form that HTTP/2 takes.
    fn whole(&self, uri: &Uri) -> Result<Uri, Refusal> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let whole = Uri::builder().scheme("https").authority(self.authority.as_str()).path_and_query(path).build();
        whole.map_err(|_| Refusal::unavailable("gateway: the target has no name that HTTP takes"))
    }

    async fn connect(&self, judge: &Judge, way: &Arc<Way>, multiplexes: bool) -> Result<Sender, Refusal> {
        let connect = tokio::time::timeout(PATIENCE, self.connect_now(judge, way, multiplexes));
        connect.await.unwrap_or_else(|_| Err(Refusal::unavailable("gateway: the API server did not answer in time")))
    }

    async fn connect_now(&self, judge: &Judge, way: &Arc<Way>, multiplexes: bool) -> Result<Sender, Refusal> {
        let unreachable = |what: &str, reason: String| {
            tracing::warn!(session = %judge.guard().session(), reason, "{what}");
            Refusal::unavailable(format!("gateway: {what}; the operator's log says why"))
        };
        let conn = self
            .cluster
            .dial()
            .await
            .map_err(|error| unreachable("the API server cannot be reached", chain(&error)))?;
        let protocols: &[&str] = if multiplexes { &["h2", "http/1.1"] } else { &["http/1.1"] };
        let (stream, peer) = way
            .tls
            .speaking(protocols)
            .handshake(conn)
            .await
            .map_err(|error| unreachable("the API server could not be verified", chain(&error)))?;
        if way.token.is_some() && !peer.is_verified() {
            return Err(unreachable("the API server was not verified, and no token goes there", way.tls.identity()));
        }
        if let Some(login) = &way.login {
            judge.record_credential(login, &way.tls.identity()).await?;
        }
        let refused = |error: hyper::Error| unreachable("the API server speaks no HTTP", chain(&error));
        if peer.protocol() == Some(b"h2") {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).max_header_list_size(64 * 1024);
            let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(refused)?;
            drive(connection);
            self.open.lock().many = Some(sender.clone());
            return Ok(Sender::Many(sender));
        }
        let mut builder = http1::Builder::new();
        builder.max_buf_size(64 * 1024);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(refused)?;
        drive(connection.with_upgrades());
        Ok(Sender::One(sender))
    }
}

/// Why a request has no answer.
enum Failure {
    /// It never left, and can be sent over another connection.
    Unsent(Box<Onward>),
    /// Nobody knows what it did.
    Lost(Refusal),
}

fn lost(error: &hyper::Error) -> Refusal {
    tracing::warn!(error = chain(error), "an answer of an API server was lost");
    Refusal::bad_gateway("gateway: the API server's answer was lost: whether the request was carried out is not known")
}

/// A token as a header has it.
pub(super) fn bearer(token: &Secret) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_bytes(&[b"Bearer ", token.expose()].concat())?;
    value.set_sensitive(true);
    Ok(value)
}

fn path_of(uri: &Uri) -> Uri {
    uri.path_and_query().map_or_else(|| Uri::from_static("/"), |path| Uri::from(path.clone()))
}

/// Runs a connection until both its sender and its answers are gone.
pub(super) fn drive(connection: impl Future<Output = Result<(), hyper::Error>> + Send + 'static) {
    // Awaited as it is, it would have two places in the task.
    let connection = Box::pin(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = chain(&error), "a connection to an API server ended");
        }
    });
}
