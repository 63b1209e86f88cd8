//! The process that Prometheus asks: numbers, health and readiness, on a socket of its own.
//!
//! In: HTTP requests of anybody who reaches the address, and what the warden says of itself. Out: a page of metrics, or whether the
//! gateway lives and is ready. It runs under a user of its own, without capabilities, files or a way to connect anywhere, and asks
//! the warden once a second at most, however many ask it.

pub mod exposition;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::time::Instant;

use crate::audit::journal::Count;
use crate::bridge::Bridge;
use crate::sandbox::{self, Part};

/// Connections at once.
const MAX_CONNECTIONS: usize = 32;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may last.
const LONGEST: Duration = Duration::from_secs(60);
/// How long the warden may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What is younger is not asked for again.
const FRESH: Duration = Duration::from_secs(1);

/// What the warden says.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToMetrics {
    /// Begin, with the listening socket.
    Start,
    /// The answer to `Scrape`.
    Page(Page),
}

/// What the warden is told.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToWarden {
    /// It serves.
    Ready,
    /// How are things?
    Scrape,
}

/// How things are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Page {
    /// All metrics, as they are served.
    pub text: String,
    /// Why protected connections would be refused; none: the gateway is ready.
    pub unready: Vec<String>,
}

/// The answer to `Question::Counts`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct EngineCounts {
    /// Lines of its journal, by kind.
    pub events: BTreeMap<String, Count>,
    /// Attachment, protocol, and how many run.
    pub sessions: Vec<(String, String, u64)>,
    /// Requests that wait for people.
    pub approvals: usize,
    /// Windows that are open.
    pub windows: usize,
}

/// The last page, and the way to the next.
struct Pages {
    last: Mutex<Option<(Instant, Page)>>,
    came: Mutex<mpsc::Receiver<Page>>,
    bridge: Arc<Bridge>,
}

/// Runs the process to its end.
///
/// # Errors
/// Where it was not started by a warden, or the sandbox cannot be closed.
pub fn run() -> anyhow::Result<()> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().context("no socket on standard input")?;
    sandbox::close(Part::Metrics).context("cannot close the sandbox")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(socket))
}

async fn serve(socket: OwnedFd) -> anyhow::Result<()> {
    let bridge = Arc::new(Bridge::new(socket)?);
    let Some((ToMetrics::Start, descriptors)) = bridge.receive().await? else {
        bail!("the warden did not say start");
    };
    let listener = descriptors.into_iter().next().context("the warden sent no socket")?;
    let listener = TcpListener::from(listener);
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (send, came) = mpsc::channel(1);
    let pages = Arc::new(Pages { last: Mutex::default(), came: Mutex::new(came), bridge: Arc::clone(&bridge) });
    bridge.send(&ToWarden::Ready, &[]).await?;
    tokio::spawn(accept(pages, listener));
    while let Some((message, _)) = bridge.receive::<ToMetrics>().await? {
        match message {
            // One that nobody waits for any more is left out.
            ToMetrics::Page(page) => drop(send.try_send(page)),
            ToMetrics::Start => bail!("the warden said start twice"),
        }
    }
    Ok(())
}

async fn accept(pages: Arc<Pages>, listener: tokio::net::TcpListener) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let pages = Arc::clone(&pages);
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request| {
                let pages = Arc::clone(&pages);
                async move { Ok::<_, Infallible>(pages.answer(&request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(LONGEST, connection).await;
        });
    }
}

impl Pages {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            return text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n".to_owned());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET alone\n".to_owned());
            response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let Some(page) = self.page().await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "the gateway does not answer\n".to_owned());
        };
        match path {
            "/metrics" => text(StatusCode::OK, page.text),
            "/readyz" if !page.unready.is_empty() => {
                text(StatusCode::SERVICE_UNAVAILABLE, page.unready.join("\n") + "\n")
            }
            _ => text(StatusCode::OK, "ok\n".to_owned()),
        }
    }

    /// What is true now, or was a moment ago.
    async fn page(&self) -> Option<Page> {
        let mut last = self.last.lock().await;
        if let Some((at, page)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return Some(page.clone());
        }
        let mut came = self.came.lock().await;
        // One that came too late for who asked is not the answer to this question.
        while came.try_recv().is_ok() {}
        self.bridge.send(&ToWarden::Scrape, &[]).await.ok()?;
        let page = tokio::time::timeout(TIMEOUT, came.recv()).await.ok()??;
        *last = Some((Instant::now(), page.clone()));
        Some(page)
    }
}

/// In the format of the exposition; a plain text is one without metrics.
fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}
