//! A client of Postgres that asks one thing at a time.
//!
//! In: what to try. Out: how it went. It speaks as old clients do, without TLS, and has no password: the gateway logs in.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{answers, connected, denies, permits, wanted};
use crate::control::setup::{Attempt, Step};

/// The longest message that is read.
const MOST: usize = 64 * 1024;
/// Messages of one answer.
const MESSAGES: usize = 1_000;
const VERSION_3: [u8; 4] = [0, 3, 0, 0];

pub(super) async fn tried(attempt: &Attempt) -> Result<Vec<Step>, String> {
    let mut client = Client::enter(attempt).await?;
    let mut steps = vec![answers(attempt), permits(attempt, "SELECT 1", client.ask("SELECT 1").await?)];
    let denied = match wanted(attempt) {
        Some(text) => Some((text, client.ask(text).await?)),
        None => None,
    };
    steps.push(denies(attempt, denied));
    Ok(steps)
}

struct Client(TcpStream);

impl Client {
    async fn enter(attempt: &Attempt) -> Result<Self, String> {
        let mut client = Self(connected(attempt).await?);
        let mut body = VERSION_3.to_vec();
        for word in ["user", &attempt.user, "database", &attempt.database, "application_name", "gateway test"] {
            body.extend_from_slice(word.as_bytes());
            body.push(0);
        }
        body.push(0);
        client.send(None, &body).await?;
        client.heard().await??;
        Ok(client)
    }

    /// Sends a statement; an error of the server or of the gateway is one of its own.
    async fn ask(&mut self, text: &str) -> Result<Result<(), String>, String> {
        self.send(Some(b'Q'), &[text.as_bytes(), &[0]].concat()).await?;
        self.heard().await
    }

    async fn send(&mut self, tag: Option<u8>, body: &[u8]) -> Result<(), String> {
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes();
        let message = [tag.as_slice(), &length, body].concat();
        self.0.write_all(&message).await.map_err(|error| format!("the connection broke: {error}"))
    }

    /// All up to where the next statement may come, or the end.
    async fn heard(&mut self) -> Result<Result<(), String>, String> {
        let mut refused = None;
        for _ in 0..MESSAGES {
            let Some((tag, body)) = self.message().await? else { break };
            match tag {
                b'R' if body != [0; 4] => {
                    return Err("a password is asked for: the gateway holds no login for this user".into());
                }
                b'E' => refused = Some(text_of(&body)),
                b'Z' => return Ok(refused.map_or(Ok(()), Err)),
                _ => {}
            }
        }
        refused.map(Err).ok_or_else(|| "the connection was closed without a word".into())
    }

    async fn message(&mut self) -> Result<Option<(u8, Vec<u8>)>, String> {
        let mut header = [0; 5];
        match self.0.read_exact(&mut header).await {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read.map_err(|error| format!("the connection broke: {error}"))?,
        };
        let [tag, length @ ..] = header;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if !(4..=MOST).contains(&length) {
            return Err("what answers is no Postgres".into());
        }
        let mut body = vec![0; length - 4];
        self.0.read_exact(&mut body).await.map_err(|error| format!("the connection broke: {error}"))?;
        Ok(Some((tag, body)))
    }
}

/// The words of an ErrorResponse.
fn text_of(body: &[u8]) -> String {
    let mut fields = body.split(|byte| *byte == 0);
    let words = fields.find_map(|field| field.strip_prefix(b"M"));
    String::from_utf8_lossy(words.unwrap_or(b"an error without words")).into_owned()
}
