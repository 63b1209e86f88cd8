//! One request to a server over a stream that somebody else made and verified.
//!
//! In: a request. Out: the body of its answer, where that says success, bounded in size and time. Redirects are not followed.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;

use crate::config::Place;
use crate::conn::BoxConn;

/// For all of one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What issuers answer takes a few kilobytes.
const MAX_ANSWER: usize = 256 * 1024;

/// What is asked.
#[derive(Debug, Default)]
pub struct Asked {
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
}

/// Asks the server at the other end.
///
/// # Errors
/// With the reason, for operators; it quotes neither form nor authorization.
pub async fn ask(stream: BoxConn, place: &Place, asked: Asked) -> Result<Bytes, String> {
    let path = asked.path.split('?').next().unwrap_or_default().to_owned();
    let of = |fault: String| format!("https://{}{path}: {fault}", place.server());
    let answered = tokio::time::timeout(PATIENCE, exchange(stream, place, asked)).await;
    answered.unwrap_or_else(|_| Err(format!("no answer within {} seconds", PATIENCE.as_secs()))).map_err(of)
}

async fn exchange(stream: BoxConn, place: &Place, asked: Asked) -> Result<Bytes, String> {
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
    let method = if kind.is_some() { Method::POST } else { Method::GET };
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
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| text(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| text(&error))?;
    if !answer.status().is_success() {
        return Err(answer.status().to_string());
    }
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    driven.abort();
    Ok(body.map_err(|error| text(&error))?.to_bytes())
}
