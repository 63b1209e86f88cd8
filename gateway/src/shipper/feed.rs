//! Events told to a webhook, as they happen.
//!
//! In: lines of the journal, and what of them is wanted. Out: signed requests to one url; lines are done when the server has
//! answered that it has them, so that it may hear of something twice, and misses nothing. It holds no place of its own.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;

use super::connect::Sockets;
use super::words::FeedSettings;
use crate::audit::clickhouse::{Connect, Origin};
use crate::audit::feed::{Event, Feeds, Form};
use crate::audit::hex;
use crate::config::WebhookFormat;
use crate::http::{self, Asked};

/// Lines that are looked at for one request.
pub(super) const MAX_LINES: usize = 1_000;

/// One webhook.
pub(super) struct Feed {
    settings: FeedSettings,
    wanted: Feeds,
    sockets: Sockets,
}

impl Feed {
    pub(super) fn new(settings: FeedSettings, sockets: Sockets) -> Self {
        let wanted = Feeds::new(settings.kinds.clone(), settings.verdicts.clone());
        Self { settings, wanted, sockets }
    }

    /// A line as it is told; none where it is not wanted.
    pub(super) fn event(&self, line: &[u8]) -> Option<Event> {
        self.wanted.event(line)
    }

    /// Tells it.
    pub(super) async fn send(&self, origin: &Origin, events: &[Event]) -> Result<(), String> {
        if events.is_empty() {
            return Ok(());
        }
        let form = match self.settings.format {
            WebhookFormat::Json => Form::Json,
            WebhookFormat::Ocsf => Form::Ocsf,
            WebhookFormat::Otlp => Form::Otlp,
            WebhookFormat::Slack => Form::Slack { console: self.settings.console.as_deref() },
        };
        let body = form.write(origin, events).to_string();
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let signature = self.settings.secret.as_deref().map(|secret| sign(secret, now(), &body));
        let asked = Asked {
            path: self.settings.url.path.clone(),
            authorization: self.settings.authorization.as_ref().map(text),
            json: Some(body),
            signature,
            ..Asked::default()
        };
        let stream = self.sockets.connect().await.map_err(|error| error.to_string())?;
        http::ask(stream, &self.settings.url, asked).await.map(drop)
    }
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
