//! What comes from Slack, and what people read there of what they said.
//!
//! In: requests of anybody who calls itself Slack. Out: they go on to the engine, which holds the secret that they are signed
//! with; its words go to where Slack says, as long as that is the server of the configuration. Nothing is decided here.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::Console;
use super::login::encrypted;
use super::routes::{Answer, Refusal, plain, text_within};
use crate::bridge::SlackSaid;
use crate::config::Place;
use crate::http::{self, Asked};

/// What Slack sends of a button has the whole message in it.
const MAX_BODY: usize = 256 * 1024;
/// Requests that are asked about at once: who sends them is not known before.
const AT_ONCE: usize = 8;

/// The way back.
pub(super) struct Replies {
    server: Place,
    ca: Option<Vec<u8>>,
    places: Semaphore,
}

impl Replies {
    pub(super) fn new(server: Place, ca: Option<Vec<u8>>) -> Self {
        Self { server, ca, places: Semaphore::new(AT_ONCE) }
    }

    /// Where on our server that is; none of another.
    fn path(&self, url: &str) -> Option<String> {
        let place = Place::parse(url).ok()?;
        ((&place.host, place.port) == (&self.server.host, self.server.port)).then_some(place.path)
    }
}

impl Console {
    /// Takes what Slack says. It wants to hear within three seconds that it was heard; what became of it goes another way.
    pub(super) async fn said_in_slack(self: &Arc<Self>, head: &Parts, body: Incoming) -> Result<Answer, Refusal> {
        let refused = |status, words: &str| Err(Refusal::Because(status, words.to_owned()));
        let Some(replies) = &self.slack else {
            return refused(StatusCode::NOT_FOUND, "there is no such page");
        };
        let of = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let signed = of("x-slack-request-timestamp").zip(of("x-slack-signature"));
        let Some((timestamp, signature)) = signed else {
            return refused(StatusCode::UNAUTHORIZED, "Slack signs what it sends");
        };
        // Read first: who sends slowly keeps no place from others.
        let said = SlackSaid { timestamp, signature, body: text_within(body, MAX_BODY).await? };
        let Ok(_place) = replies.places.try_acquire() else {
            return refused(StatusCode::TOO_MANY_REQUESTS, "too much is asked at once: try again");
        };
        match self.link.slack(said).await {
            Ok(answer) => {
                let console = Arc::clone(self);
                tokio::spawn(async move { console.reply(&answer).await });
                Ok(plain("text/plain; charset=utf-8", ""))
            }
            Err(reason) => Err(Refusal::Because(StatusCode::UNAUTHORIZED, reason)),
        }
    }

    /// Tells the person. What was decided is decided, whether they read it or not.
    async fn reply(&self, answer: &Value) {
        let to = answer.get("to").and_then(Value::as_str);
        let (Some(replies), Some(to), Some(reply)) = (&self.slack, to, answer.get("reply")) else { return };
        let told = match replies.path(to) {
            Some(path) => self.tell(replies, path, reply).await,
            None => Err("Slack names another server for it than `[console.slack] replies`".to_owned()),
        };
        if let Err(reason) = told {
            tracing::warn!(reason, "a person does not read in Slack what became of their word");
        }
    }

    async fn tell(&self, replies: &Replies, path: String, reply: &Value) -> Result<(), String> {
        let socket = self.link.dial_slack().await?;
        let stream = encrypted(socket, &replies.server.host, replies.ca.as_deref()).await?;
        let asked = Asked { path, json: Some(reply.to_string()), ..Asked::default() };
        // The path is all that one needs to write there.
        http::ask(stream, &replies.server, asked).await.map(drop).map_err(|_| "it was not taken".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_to_the_server_of_the_configuration_alone() {
        let replies = Replies::new(Place::parse("https://hooks.slack.com").unwrap(), None);
        let path = |url: &str| replies.path(url);
        assert_eq!(path("https://hooks.slack.com/actions/T1/2/abc").as_deref(), Some("/actions/T1/2/abc"));
        for other in [
            "https://hooks.slack.com.evil.example/actions",
            "https://hooks.slack.com:8443/actions",
            "https://hooks.slack.com@evil.example/",
            "http://hooks.slack.com/actions",
            "https://evil.example/hooks.slack.com",
            "",
        ] {
            assert_eq!(path(other), None, "{other}");
        }
    }
}
