//! Answers on their way to the client: masked while they stream by, cut when what they rest on ends.
//!
//! In: an answer of the server, and what of it is hidden. Out: the client's. Nothing is held back longer than the end of
//! a value, so that a watch shows each change as it comes; the outcome is journaled when the last byte is through.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use super::decide::{Ended, Judge, Permit};
use super::head;
use super::object::{ObjectMasker, Rule};
use super::reply::{BodyError, Refusal, ReplyBody};
use super::uri::{RequestInfo, Verb};
use crate::audit::event::Status;
use crate::masking::stream::StreamMasker;

/// The longest value that is found across two pieces of a text.
const WINDOW: usize = 4_096;
/// The longest that a byte of a text waits.
const DELAY: Duration = Duration::from_millis(20);

/// How an answer is hidden.
enum Masker {
    /// What the server says of its kinds, and answers without a body.
    None,
    Object(Box<ObjectMasker>),
    /// Logs, metrics, what pods answer: as many bytes as came.
    Text(Box<StreamMasker>),
}

/// Makes the client's answer of the server's.
///
/// # Errors
/// Where it is in a form that nobody here can mask.
pub(super) fn pass(
    judge: &Arc<Judge>,
    permit: Permit,
    info: &RequestInfo,
    response: Response<Incoming>,
) -> Result<Response<ReplyBody>, Refusal> {
    let (mut head, body) = response.into_parts();
    let masker = match masker(&permit, info, &head.headers, head.status.as_u16()) {
        Ok(masker) => masker,
        Err(refusal) => {
            let ended = Ended {
                reason: Some(refusal.message.clone()),
                ..Ended::of(Status::Refused, Some(head.status.as_u16()))
            };
            judge.outcome(&permit, ended);
            return Err(refusal);
        }
    };
    for name in [CONNECTION, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        head.headers.remove(name);
    }
    if matches!(masker, Masker::Object(_)) {
        head.headers.remove(CONTENT_LENGTH);
    }
    let code = head.status.as_u16();
    let status = if code < 400 { Status::Ok } else { Status::Error };
    let record = Record {
        judge: Arc::clone(judge),
        permit: Arc::new(permit),
        ended: Some(Ended::of(Status::Lost, Some(code))),
        status,
    };
    let revoked = Box::pin(revoked(Arc::clone(judge), Arc::clone(&record.permit)));
    let body = Answer { body, masker, record, revoked, wait: None, is_over: false };
    Ok(Response::from_parts(head, body.boxed_unsync()))
}

fn masker(permit: &Permit, info: &RequestInfo, headers: &HeaderMap, code: u16) -> Result<Masker, Refusal> {
    let is_schema = info.resource.is_none() && head::is_schema(&info.path);
    if is_schema || matches!(code, 204 | 304) || headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0") {
        return Ok(Masker::None);
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Refusal::bad_gateway(
            "gateway: the server's answer is compressed though nobody asked for that: it cannot be masked",
        ));
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_proxied = info.verb == Verb::Proxy || info.subresource() == Some("proxy");
    // In a form without fields nothing of this could be hidden.
    let Rule { secret, token, places, .. } = &permit.rule;
    let holds_hidden = (secret.is_some() || token.is_some() || !places.is_empty()) && code < 400;
    let rule = || Rule { quotes: permit.rule.quotes.clone().filter(|_| code >= 400), ..permit.rule.clone() };
    let text = || Masker::Text(Box::new(StreamMasker::new(Arc::clone(&permit.rule.detectors), WINDOW)));
    match essence.as_str() {
        // What a pod calls JSON need not be any.
        _ if is_proxied => Ok(text()),
        "application/json" => Ok(Masker::Object(Box::new(ObjectMasker::new(rule())))),
        "text/plain" | "text/html" | "" if !holds_hidden => Ok(text()),
        _ => Err(Refusal::bad_gateway(
            "gateway: the server's answer is in a form that cannot be masked: ask for application/json",
        )),
    }
}

/// Resolves when policies no longer permit what is being answered.
pub(super) async fn revoked(judge: Arc<Judge>, permit: Arc<Permit>) {
    let mut policies = judge.policies();
    policies.mark_changed();
    while policies.changed().await.is_ok() {
        if !judge.still_permits(&permit) {
            return;
        }
    }
    // The process ends.
    std::future::pending::<()>().await;
}

/// Writes the outcome once, also when the client leaves in the middle.
struct Record {
    judge: Arc<Judge>,
    permit: Arc<Permit>,
    ended: Option<Ended>,
    /// What it is when all of it came through.
    status: Status,
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            self.judge.outcome(&self.permit, ended);
        }
    }
}

struct Answer {
    body: Incoming,
    masker: Masker,
    record: Record,
    revoked: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Until what waits for the end of a value is shown.
    wait: Option<Pin<Box<tokio::time::Sleep>>>,
    is_over: bool,
}

impl Answer {
    fn end(&mut self, reason: Option<String>) {
        self.is_over = true;
        let masked = match &self.masker {
            Masker::Object(masker) => masker.masked().clone(),
            Masker::None | Masker::Text(_) => Default::default(),
        };
        if let Some(ended) = &mut self.record.ended {
            ended.status = if reason.is_some() { Status::Cancelled } else { self.record.status };
            (ended.masked, ended.reason) = (masked, reason);
        }
        if let Some(ended) = self.record.ended.take() {
            self.record.judge.outcome(&self.record.permit, ended);
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.end(Some(error.to_string()));
        Poll::Ready(Some(Err(error)))
    }

    fn show(&mut self, bytes: Vec<u8>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let most = self.record.permit.bodies.as_ref().map_or(0, |bodies| bodies.answer);
        if let Some(ended) = &mut self.record.ended {
            ended.bytes += bytes.len() as u64;
            let kept = bytes.get(..most.saturating_sub(ended.answer.len())).unwrap_or(&bytes);
            ended.answer.extend_from_slice(kept);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
    }

    /// What of a piece may be shown now.
    fn mask(&mut self, piece: &Bytes) -> Result<Vec<u8>, BodyError> {
        let mut out = Vec::new();
        match &mut self.masker {
            Masker::None => out.extend_from_slice(piece),
            Masker::Object(masker) => masker.push(piece, &mut out)?,
            Masker::Text(masker) => {
                masker.push(piece, &mut out);
                let waits = masker.held() > 0;
                self.wait = waits.then(|| Box::pin(tokio::time::sleep(DELAY)));
            }
        }
        Ok(out)
    }

    /// What is left at the end.
    fn rest(&mut self) -> Result<Vec<u8>, BodyError> {
        let mut out = Vec::new();
        match &mut self.masker {
            Masker::None => {}
            Masker::Object(masker) => masker.finish(&mut out)?,
            Masker::Text(masker) => masker.flush(&mut out),
        }
        Ok(out)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        if this.revoked.as_mut().poll(context).is_ready() {
            return this.fail(BodyError::Ended("the gateway's policies no longer permit it".to_owned()));
        }
        loop {
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers of the API say nothing.
                    let Ok(piece) = frame.into_data() else { continue };
                    match this.mask(&piece) {
                        Ok(shown) if shown.is_empty() => {}
                        Ok(shown) => return this.show(shown),
                        Err(error) => return this.fail(error),
                    }
                }
                Poll::Ready(Some(Err(error))) => return this.fail(error.into()),
                Poll::Ready(None) => {
                    return match this.rest() {
                        Ok(rest) if rest.is_empty() => {
                            this.end(None);
                            Poll::Ready(None)
                        }
                        Ok(rest) => {
                            let shown = this.show(rest);
                            this.end(None);
                            shown
                        }
                        Err(error) => this.fail(error),
                    };
                }
                Poll::Pending => break,
            }
        }
        let Some(wait) = &mut this.wait else { return Poll::Pending };
        if wait.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        this.wait = None;
        match this.rest_of_text() {
            waiting if waiting.is_empty() => Poll::Pending,
            waiting => this.show(waiting),
        }
    }
}

impl Answer {
    /// What waited long enough.
    fn rest_of_text(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Masker::Text(masker) = &mut self.masker {
            masker.flush(&mut out);
        }
        out
    }
}
