//! One request to a server over a stream that somebody else made and verified.
//!
//! In: a request. Out: its answer, or its body alone where it has to say success, bounded in size and time. Redirects are not followed.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
pub use hyper::Method;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;

use crate::config::Place;
use crate::conn::BoxConn;

/// What issuers answer takes a few kilobytes.
pub const OF_ISSUERS: Limits = Limits { patience: Duration::from_secs(10), most: 256 * 1024 };

/// What is asked.
#[derive(Debug, Default)]
pub struct Asked {
    /// By default POST where something is sent, else GET.
    pub method: Option<Method>,
    /// Path and query.
    pub path: String,
    /// A form to send; neither this nor JSON: a plain look.
    pub form: Option<String>,
    /// JSON to send.
    pub json: Option<String>,
    /// The value of `X-Gateway-Signature`.
    pub signature: Option<String>,
    /// The value of `Authorization`.
    pub authorization: Option<String>,
    /// The value of `Cookie`.
    pub cookie: Option<String>,
    /// The value of `X-Gateway-Token`.
    pub token: Option<String>,
}

/// How much and how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For all of one answer.
    pub patience: Duration,
    /// Bytes of its body.
    pub most: usize,
}

/// Asks the server at the other end.
///
/// # Errors
/// With the reason, for operators; it quotes neither form nor authorization.
pub async fn ask(stream: BoxConn, place: &Place, asked: Asked) -> Result<Bytes, String> {
    let url = url(place, &asked);
    match answer(stream, place, asked, OF_ISSUERS).await? {
        (status, body) if status.is_success() => Ok(body),
        (status, _) => Err(format!("{url}: {status}")),
    }
}

/// What the server at the other end answers, whatever it says.
///
/// # Errors
/// Where it does not, with the reason; it quotes nothing that was sent.
pub async fn answer(
    stream: BoxConn,
    place: &Place,
    asked: Asked,
    limits: Limits,
) -> Result<(StatusCode, Bytes), String> {
    let url = url(place, &asked);
    let answered = tokio::time::timeout(limits.patience, exchange(stream, place, asked, limits.most)).await;
    let late = |_| Err(format!("no answer within {} seconds", limits.patience.as_secs()));
    answered.unwrap_or_else(late).map_err(|fault| format!("{url}: {fault}"))
}

/// Without the query, which may say more than a log should.
fn url(place: &Place, asked: &Asked) -> String {
    format!("https://{}{}", place.server(), asked.path.split('?').next().unwrap_or_default())
}

async fn exchange(stream: BoxConn, place: &Place, asked: Asked, most: usize) -> Result<(StatusCode, Bytes), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| text(&error))?;
    let driven = tokio::spawn(connection);
    let path = if asked.path.is_empty() { "/" } else { &asked.path };
    let (kind, body) = match (asked.form, asked.json) {
        (Some(form), _) => (Some("application/x-www-form-urlencoded"), form),
        (None, Some(json)) => (Some("application/json"), json),
        (None, None) => (None, String::new()),
    };
    let method = asked.method.unwrap_or(if kind.is_some() { Method::POST } else { Method::GET });
    let mut request = Request::builder().method(method).uri(path).header(HOST, place.authority());
    request = request.header(ACCEPT, "application/json");
    if let Some(kind) = kind {
        request = request.header(CONTENT_TYPE, kind);
    }
    if let Some(value) = asked.authorization {
        request = request.header(AUTHORIZATION, value);
    }
    if let Some(value) = asked.signature {
        request = request.header("x-gateway-signature", value);
    }
    if let Some(value) = asked.cookie {
        request = request.header(COOKIE, value);
    }
    if let Some(value) = asked.token {
        request = request.header("x-gateway-token", value);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| text(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| text(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), most).collect().await;
    driven.abort();
    match body {
        Ok(body) => Ok((status, body.to_bytes())),
        // It says no, at such length that why is not known.
        Err(_) if !status.is_success() => Ok((status, Bytes::new())),
        Err(error) => Err(text(&error)),
    }
}

/// A form or query (application/x-www-form-urlencoded).
#[must_use]
pub fn form(fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| format!("{name}={}", escaped(value));
    fields.iter().map(field).collect::<Vec<_>>().join("&")
}

/// All but what RFC 3986 calls unreserved.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
