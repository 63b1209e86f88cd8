//! The asking end of the control socket.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// The largest answer.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no gateway runs on this host: start one with `sudo gateway run`, `attach` or `exec`")]
    NotRunning,
    /// We may not connect.
    #[error(
        "the gateway of this host does not answer you: use sudo, or have its configuration name you, under `[approval] host` to vote, in `[exec] users` to run commands"
    )]
    NotAllowed,
    /// The connection failed.
    #[error("cannot ask the gateway")]
    Io(#[source] io::Error),
    /// HTTP failed.
    #[error("the gateway's answer broke off")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What came is no answer that we know.
    #[error("the gateway's answer was not understood: it is of another version")]
    Answer(#[source] serde_json::Error),
    /// The gateway says no.
    #[error("{0}")]
    Refused(String),
}

/// Asks the gateway on this host, each time on a connection of its own: it ends one that is silent for long, as `exec`
/// is between attaching and detaching.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// Looks whether somebody listens.
    ///
    /// # Errors
    /// Where no gateway runs, or we are not root.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        open(path).await?;
        Ok(Self { path: path.to_owned() })
    }

    /// Asks for something.
    ///
    /// # Errors
    /// Where there is none, or the gateway says no.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// Has something done.
    ///
    /// # Errors
    /// Where the gateway says no.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::Answer)?;
        self.send(Method::POST, path, body.into()).await
    }

    async fn send<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "gateway")
            .body(Full::new(body))
            .map_err(|error| ClientError::Http(Box::new(error)))?;
        let stream = TokioIo::new(open(&self.path).await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(http)?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(http)?;
        let status = response.status();
        let bytes =
            Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(ClientError::Http)?.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(ClientError::Answer);
        }
        #[derive(serde::Deserialize)]
        struct Refusal {
            error: String,
        }
        let refusal: Refusal = serde_json::from_slice(&bytes).map_err(ClientError::Answer)?;
        Err(ClientError::Refused(refusal.error))
    }
}

async fn open(path: &Path) -> Result<UnixStream, ClientError> {
    UnixStream::connect(path).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning,
        io::ErrorKind::PermissionDenied => ClientError::NotAllowed,
        _ => ClientError::Io(error),
    })
}

fn http(error: hyper::Error) -> ClientError {
    ClientError::Http(Box::new(error))
}
