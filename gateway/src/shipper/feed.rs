//! Events told to a webhook or a syslog server, as they happen.
//!
//! In: lines of the journal, and what of them is wanted. Out: signed requests to one url, or messages to one server; lines are done
//! when the server has answered that it has them, or closed after it read all, so that it may hear of something twice, and misses
//! nothing. It holds no place of its own.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connect::Sockets;
use super::tickets::Tickets;
use super::words::{FeedSettings, FeedTo};
use crate::audit::clickhouse::{Connect, Origin};
use crate::audit::feed::syslog::counted;
use crate::audit::feed::{Event, Feeds, Form};
use crate::audit::hex;
use crate::bridge::FiledAs;
use crate::config::WebhookFormat;
use crate::conn::BoxConn;
use crate::http::{self, Asked};

/// Lines that are looked at for one request.
pub(super) const MAX_LINES: usize = 1_000;
/// Events in one message with buttons; Slack takes fifty blocks.
const MAX_BLOCKS: usize = 20;
/// How long a syslog server may take for a batch.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// One who is told.
pub(super) struct Feed {
    settings: FeedSettings,
    wanted: Feeds,
    sockets: Sockets,
    tickets: Option<Tickets>,
}

impl Feed {
    pub(super) fn new(settings: FeedSettings, sockets: Sockets) -> Self {
        let wanted = Feeds::new(settings.kinds.clone(), settings.verdicts.clone());
        let tickets = match &settings.to {
            FeedTo::Tickets(to) => Some(Tickets::new(to.clone(), sockets.clone())),
            _ => None,
        };
        Self { settings, wanted, sockets, tickets }
    }

    /// A line as it is told; none where it is not wanted.
    pub(super) fn event(&self, line: &[u8]) -> Option<Event> {
        self.wanted.event(line)
    }

    /// Whether these are one request: a message with buttons is about one thing, and stays short enough for a chat; a ticket is
    /// made by itself.
    pub(super) fn is_full(&self, events: &[Event]) -> bool {
        let buttons = matches!(self.settings.to, FeedTo::Webhook { buttons: true, .. });
        (self.tickets.is_some() && !events.is_empty())
            || buttons && (events.last().is_some_and(Event::asks) || events.len() >= MAX_BLOCKS)
    }

    /// Tells it; what a request is called where it is a ticket.
    pub(super) async fn send(&self, origin: &Origin, events: &[Event]) -> Result<Option<FiledAs>, String> {
        let Some(first) = events.first() else { return Ok(None) };
        if let Some(tickets) = &self.tickets {
            return tickets.tell(origin, first).await;
        }
        self.write(origin, events).await.map(|()| None)
    }

    async fn write(&self, origin: &Origin, events: &[Event]) -> Result<(), String> {
        match &self.settings.to {
            FeedTo::Webhook { url, format, secret, authorization, console, buttons } => {
                let form = match format {
                    WebhookFormat::Json => Form::Json,
                    WebhookFormat::Ocsf => Form::Ocsf,
                    WebhookFormat::Otlp => Form::Otlp,
                    WebhookFormat::Slack => Form::Slack { console: console.as_deref(), buttons: *buttons },
                };
                let body = form.write(origin, events).to_string();
                let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
                let signature = secret.as_deref().map(|secret| sign(secret, now(), &body));
                let asked = Asked {
                    path: url.path.clone(),
                    authorization: authorization.as_ref().map(text),
                    json: Some(body),
                    signature,
                    ..Asked::default()
                };
                let stream = self.sockets.connect().await.map_err(|error| error.to_string())?;
                http::ask(stream, url, asked).await.map(drop)
            }
            FeedTo::Tickets(_) => Ok(()),
            FeedTo::Syslog { format, max_bytes, .. } => {
                let messages = events.iter().map(|event| event.message(origin, *format, *max_bytes));
                let messages: String = messages.map(|message| counted(&message)).collect();
                let told = async { hand_over(self.sockets.connect_watched().await?, messages.as_bytes()).await };
                let told = tokio::time::timeout(PATIENCE, told).await;
                let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "it did not read all of it in time"));
                told.unwrap_or_else(late).map_err(|error| error.to_string())
            }
        }
    }
}

/// Sends messages of syslog, and waits until the server read all of them. It has no other way to say so than to close its end
/// once it has come to the end of ours (RFC 5425, section 4.4); one that closed before it read all resets.
async fn hand_over((mut stream, socket): (BoxConn, TcpStream), messages: &[u8]) -> io::Result<()> {
    stream.write_all(messages).await?;
    stream.shutdown().await?;
    // It says nothing in this protocol.
    let mut said = [0; 1];
    if stream.read(&mut said).await? != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it answers, as no syslog server does"));
    }
    // Its end may have been on the way before ours: a connection has a peer until each end knows that the other has all of it.
    while socket.peer_addr().is_ok() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    socket.take_error()?.map_or(Ok(()), Err)
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 of `SECONDS.BODY`, so that neither can be another's, or another time's.
fn sign(secret: &[u8], seconds: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    format!("t={seconds},v1={}", hex::encode(tag.as_ref()))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_anybody_who_has_the_secret() {
        // printf 1795392000.{} | openssl dgst -sha256 -hmac secret
        let signed = "t=1795392000,v1=54f30cc588466a001b745e5df78b3241474adfdabc048a57fad28d4780175b2c";
        assert_eq!(sign(b"secret", 1_795_392_000, "{}"), signed);
        assert_ne!(sign(b"other", 1_795_392_000, "{}"), signed);
        assert_ne!(sign(b"secret", 1_795_392_001, "{}"), signed);
    }
}
