//! Refusals as the API server would word them, so that every client shows them.
//!
//! In: a reason. Out: a `Status` object, of which kubectl prints `Error from server (Forbidden): …`. It never quotes a
//! body or a value.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

/// The body of an answer.
pub(super) type ReplyBody = UnsyncBoxBody<Bytes, BodyError>;

/// An answer was cut off: the client must not take what it has for the whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The server's side of it failed.
    #[error("the server's answer ended early")]
    Server(#[from] hyper::Error),
    /// It could not be masked with certainty.
    #[error("the server's answer could not be masked with certainty: {0}")]
    Mask(#[from] super::object::MaskError),
    /// What it rests on has ended.
    #[error("{0}")]
    Ended(String),
}

/// A refusal, in the words that the client reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub code: StatusCode,
    /// The machine's word for it (`metav1.StatusReason`).
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// Policy, or a rule of ours, says no.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self { code: StatusCode::FORBIDDEN, reason: "Forbidden", message: message.into() }
    }

    /// The request cannot be read with certainty.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self { code: StatusCode::BAD_REQUEST, reason: "BadRequest", message: message.into() }
    }

    /// A body is larger than is read.
    #[must_use]
    pub fn too_large(message: impl Into<String>) -> Self {
        Self { code: StatusCode::PAYLOAD_TOO_LARGE, reason: "RequestEntityTooLarge", message: message.into() }
    }

    /// A body in a form that nobody here reads.
    #[must_use]
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self { code: StatusCode::UNSUPPORTED_MEDIA_TYPE, reason: "UnsupportedMediaType", message: message.into() }
    }

    /// The server cannot be reached, or not as configured. Not 503: for that kubectl has words of its own, and shows none
    /// of ours.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { code: StatusCode::INTERNAL_SERVER_ERROR, reason: "InternalError", message: message.into() }
    }

    /// The server's answer cannot be passed on.
    #[must_use]
    pub fn bad_gateway(message: impl Into<String>) -> Self {
        Self { code: StatusCode::BAD_GATEWAY, reason: "InternalError", message: message.into() }
    }

    /// As an answer to a request for this path. What clients read before they know a kind of object, such as discovery, they
    /// show as it comes where it is text, and not at all where it is JSON.
    #[must_use]
    pub(super) fn response(&self, path: &str) -> Response<ReplyBody> {
        if matches!(path, "/api" | "/apis" | "/version") || path.starts_with("/openapi/") {
            let mut response = Response::new(full(Bytes::from(self.message.clone())));
            *response.status_mut() = self.code;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            return response;
        }
        let status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code.as_u16(),
        });
        let mut response = Response::new(full(Bytes::from(status.to_string())));
        *response.status_mut() = self.code;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// A body that is there whole.
pub(super) fn full(bytes: Bytes) -> ReplyBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
