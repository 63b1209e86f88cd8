//! The server that keeps the copy.
//!
//! In: a login, a way to connect, batches. Out: "kept" once the server has said so. What the server answers is not
//! repeated in errors, since it may quote a row; its error's number and name are.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use clickhouse::insert_formatted::InsertFormatted;
use clickhouse::{Client, Compression};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Uri, rt};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tower_service::Service;

use super::block::Block;
use super::row::Batch;
use crate::conn::BoxConn;
use crate::secret::Secret;

/// ClickHouse closes idle connections after three seconds by default (`keep_alive_timeout`): ours go first.
const IDLE: Duration = Duration::from_secs(2);
/// How long the server may take none of our bytes.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take to say that a batch is kept.
const KEEP_TIMEOUT: Duration = Duration::from_secs(60);
/// What goes out at once.
const CHUNK: usize = 256 * 1024;

/// A connection, TLS included where it has to be.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<BoxConn>> + Send>>;

/// Who opens connections to the server.
pub trait Connect: Send + Sync + 'static {
    /// Opens one.
    fn connect(&self) -> Connecting;
}

/// Who we are there.
#[derive(Debug)]
pub struct Login {
    /// The server's name or address, for its `Host` header.
    pub host: String,
    /// The user.
    pub user: String,
    /// Its password.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
}

/// Why nothing was kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The password is no text.
    #[error("the password of ClickHouse is not UTF-8: look into its file")]
    Password,
    /// The server is not reached.
    #[error("cannot reach ClickHouse at {host}: {reason}")]
    Unreachable {
        /// Where.
        host: String,
        /// Why, causes included.
        reason: String,
    },
    /// The server says no.
    #[error("ClickHouse refuses: {what}{hint}")]
    Refused {
        /// Number and name of its error.
        what: String,
        /// The likely fix.
        hint: &'static str,
    },
}

/// A server that keeps rows.
pub struct Store {
    client: Client,
    host: String,
}

impl Store {
    /// A store; connects when there is something to keep.
    ///
    /// # Errors
    /// Where the password cannot be sent.
    pub fn new(login: Login, connect: Arc<dyn Connect>) -> Result<Self, StoreError> {
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .build(Dialled(connect));
        // Encrypted or not is the connection's business: the library gets a stream that is ready.
        let mut client = Client::with_http_client(http)
            .with_url(format!("http://{}", login.host))
            .with_user(login.user)
            .with_database(login.database)
            .with_compression(Compression::Lz4)
            // A key that stands twice in a decision's facts must not stop all that follows.
            .with_setting("type_json_skip_duplicated_paths", "1")
            // In a cluster: kept is what the shard has kept, not what this server means to send there.
            .with_setting("distributed_foreground_insert", "1");
        if let Some(password) = login.password {
            client = client.with_password(std::str::from_utf8(password.expose()).map_err(|_| StoreError::Password)?);
        }
        Ok(Self { client, host: login.host })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends rows and waits until they are kept. Sent twice they are kept once: whoever is in doubt sends again.
    ///
    /// # Errors
    /// Where the server cannot be reached, or says no. Some of the rows may be kept then.
    pub async fn keep(&self, batch: Batch) -> Result<(), StoreError> {
        tokio::try_join!(self.insert("sessions", batch.sessions), self.insert("events", batch.events)).map(drop)
    }

    async fn insert(&self, table: &str, rows: Block) -> Result<(), StoreError> {
        let Some((columns, rows)) = rows.finish() else { return Ok(()) };
        let sql = format!("INSERT INTO {table} ({}) FORMAT Native", columns.join(", "));
        let insert = self.client.insert_formatted_with(sql).with_timeouts(Some(SEND_TIMEOUT), Some(KEEP_TIMEOUT));
        send(insert, rows.into()).await.map_err(|error| self.explain(&error))
    }

    /// What an error of the library means here.
    pub(super) fn explain(&self, error: &clickhouse::error::Error) -> StoreError {
        use clickhouse::error::Error;
        match error {
            Error::BadResponse(answer) => refused(answer),
            Error::TimedOut => StoreError::Unreachable { host: self.host.clone(), reason: "no answer in time".into() },
            // Its text repeats the one of its source.
            Error::Network(error) => {
                StoreError::Unreachable { host: self.host.clone(), reason: crate::chain::chain(error.as_ref()) }
            }
            error => StoreError::Unreachable { host: self.host.clone(), reason: error.to_string() },
        }
    }
}

/// What the server said, for whoever may read it: on one line, with nothing that plays with a terminal.
pub(super) fn words(answer: &str) -> String {
    answer.chars().filter(|c| !c.is_control()).collect()
}

async fn send(mut insert: InsertFormatted, mut rows: Bytes) -> clickhouse::error::Result<()> {
    while !rows.is_empty() {
        let chunk = rows.split_to(rows.len().min(CHUNK));
        insert.send(chunk).await?;
    }
    insert.end().await
}

/// `Code: 60. DB::Exception: … (UNKNOWN_TABLE) (version …)`
fn refused(answer: &str) -> StoreError {
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).take(6).collect::<String>();
    let code = answer.split_once("Code: ").map(|(_, rest)| digits(rest)).unwrap_or_default();
    let is_name = |word: &&str| {
        !word.is_empty() && word.len() < 80 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let name = answer.rsplit('(').filter_map(|part| part.split(')').next()).find(is_name).unwrap_or("no name");
    let hint = match name {
        "UNKNOWN_TABLE" | "UNKNOWN_DATABASE" | "NO_SUCH_COLUMN_IN_TABLE" | "UNKNOWN_IDENTIFIER" => {
            "; run `gateway audit migrate`"
        }
        "AUTHENTICATION_FAILED" | "REQUIRED_PASSWORD" => "; check user and password of [audit.clickhouse]",
        "ACCESS_DENIED" => "; its user lacks a grant, see docs/clickhouse.md",
        _ => "; see the log of ClickHouse",
    };
    StoreError::Refused { what: if code.is_empty() { name.to_owned() } else { format!("{name} ({code})") }, hint }
}

/// Lets the library take our connections.
#[derive(Clone)]
struct Dialled(Arc<dyn Connect>);

impl Service<Uri> for Dialled {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connecting = self.0.connect();
        Box::pin(async { Ok(Stream(TokioIo::new(connecting.await?))) })
    }
}

/// A connection, as the library wants it.
struct Stream(TokioIo<BoxConn>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        rt::Read::poll_read(Pin::new(&mut self.0), cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        rt::Write::poll_write(Pin::new(&mut self.0), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        rt::Write::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        rt::Write::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_fix_and_quotes_no_row() {
        let answer = "Code: 60. DB::Exception: Table gateway.events does not exist. (UNKNOWN_TABLE) (version 26.7.2.1)";
        assert_eq!(refused(answer).to_string(), "ClickHouse refuses: UNKNOWN_TABLE (60); run `gateway audit migrate`");
        let answer = "Code: 117. DB::Exception: Cannot parse: expected , before: \"SELECT (SECRET)\" (INCORRECT_DATA) (version 1)";
        assert_eq!(refused(answer).to_string(), "ClickHouse refuses: INCORRECT_DATA (117); see the log of ClickHouse");
        let error = refused("a page of some proxy <h1>hello</h1>").to_string();
        assert!(!error.contains("hello"), "{error}");
    }
}
