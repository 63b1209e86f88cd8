//! What a change that is held would make of its object, for the people who decide.
//!
//! In: a change, and the way to its server. Out: lines, each a field with its value before and after, with all hidden that
//! masking hides from anybody. The server works it out: a dry run goes the whole way of a change and stores nothing
//! (`dryRun=All`). A server that does not know it would do what was asked: so it is asked first for a dry run that there
//! is none of, of a change that changes nothing. All of it is journaled before.

pub(super) mod difference;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use serde_json::Value;

use super::decide::Judge;
use super::fields;
use super::head::Head;
use super::object::{ObjectMasker, Rule};
use super::upstream::{Upstream, Way};
use super::uri::{RequestInfo, Verb};
use crate::audit::Seq;
use crate::masking::Masking;
use crate::masking::detect::DetectorSet;
use crate::masking::masked::Masked;

/// Subresources that are a view of the object.
const VIEWS: [&str; 3] = ["", "scale", "status"];
/// A value that `dryRun` never has (ValidateDryRun, apimachinery): who knows the parameter refuses it.
const NO_DRY_RUN: &str = "None-such";
/// The largest answer: etcd takes no larger object than 1.5 MiB.
const LARGEST: usize = 4 * 1024 * 1024;
/// For all of it: the client waits meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

/// Finds out what a request would change, if it is asked.
pub(super) trait Preview: Sync {
    /// The lines; none where it cannot be told. `request`: its line in the journal.
    fn lines(&self, request: Seq) -> Pin<Box<dyn Future<Output = Vec<String>> + Send + '_>>;
}

/// A change, as it would go on.
pub(super) struct Change<'a> {
    pub(super) judge: &'a Arc<Judge>,
    pub(super) upstream: &'a Upstream,
    pub(super) way: &'a Arc<Way>,
    pub(super) head: &'a Head,
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
}

impl Preview for Change<'_> {
    fn lines(&self, request: Seq) -> Pin<Box<dyn Future<Output = Vec<String>> + Send + '_>> {
        Box::pin(async move {
            if !is_told(&self.head.info) {
                return Vec::new();
            }
            let tried = tokio::time::timeout(PATIENCE, self.tried(request)).await;
            tried.unwrap_or_else(|_| Err("the API server did not answer in time".to_owned())).unwrap_or_else(|why| {
                vec![format!(
                    "what it would change is not known: {}",
                    Masked::new(&why, &self.judge.masking().detectors)
                )]
            })
        })
    }
}

/// Whether a dry run of it can be had: a change of one object, by a query that says nothing of dry runs by itself. DELETE
/// takes its options from its body where it has one, and `dryRun` in the query is nothing to it then.
fn is_told(info: &RequestInfo) -> bool {
    let Some(of) = &info.resource else { return false };
    matches!(info.verb, Verb::Update | Verb::Patch)
        && VIEWS.contains(&of.subresource.as_str())
        && info.query.all("dryRun").next().is_none()
}

impl Change<'_> {
    async fn tried(&self, request: Seq) -> Result<Vec<String>, String> {
        let target = self.uri.path_and_query().map_or("", |target| target.as_str());
        let with = if target.contains('?') { '&' } else { '?' };
        let dry = format!("{target}{with}dryRun=All");
        self.judge
            .record_preview(request, &format!("{} {dry}", self.method))
            .await
            .map_err(|refusal| refusal.message)?;
        let (status, before) = self.ask(&Method::GET, self.uri.path(), None).await?;
        let before = object(status, &before, "it to be read")?;
        let (method, media, nothing) = match self.head.info.verb {
            Verb::Update => (&Method::PUT, "application/json", before.to_string()),
            _ => (&Method::PATCH, "application/merge-patch+json", "{}".to_owned()),
        };
        let probe = format!("{}?dryRun={NO_DRY_RUN}", self.uri.path());
        let (status, said) = self.ask(method, &probe, Some((media, nothing.into()))).await?;
        let is_invalid = matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY);
        if !is_invalid || memchr::memmem::find(&said, b"dryRun").is_none() {
            return Err("the API server is not known to understand dry runs of it".to_owned());
        }
        let media = self.headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
        let (status, after) = self.ask(self.method, &dry, Some((media, self.body.clone()))).await?;
        let after = object(status, &after, "it to be tried")?;
        let masking = self.judge.masking();
        let [shown_before, shown_after] = [&before, &after].map(|object| masked(&self.head.info, object, &masking));
        let mut lines = difference::between((&before, &shown_before?), (&after, &shown_after?));
        if lines.is_empty() {
            lines.push("nothing of the object".to_owned());
        }
        Ok(lines.iter().map(|line| Masked::new(line, &masking.detectors).to_string()).collect())
    }

    async fn ask(
        &self,
        method: &Method,
        target: &str,
        body: Option<(&str, Bytes)>,
    ) -> Result<(StatusCode, Bytes), String> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = method.clone();
        *request.uri_mut() = target.parse().map_err(|_| "its path cannot be sent".to_owned())?;
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().remove(CONTENT_TYPE);
        if let Some((media, bytes)) = body {
            let media = HeaderValue::from_str(media).map_err(|_| "its media type cannot be sent".to_owned())?;
            request.headers_mut().insert(CONTENT_TYPE, media);
            *request.body_mut() = Full::new(bytes);
        }
        let response = self.upstream.send(self.judge, self.way, request).await.map_err(|refusal| refusal.message)?;
        let status = response.status();
        let whole = Limited::new(response.into_body(), LARGEST).collect().await;
        let whole = whole.map_err(|_| format!("an answer was lost, or larger than {LARGEST} bytes"))?;
        Ok((status, whole.to_bytes()))
    }
}

/// The object of an answer. What the server says instead may quote what it holds, and is not passed on.
fn object(status: StatusCode, answer: &Bytes, what: &str) -> Result<Value, String> {
    if !status.is_success() {
        return Err(format!("the API server does not permit {what} ({status})"));
    }
    serde_json::from_slice(answer).map_err(|_| "an answer of the API server is no JSON".to_owned())
}

/// An object with all hidden that masking hides from somebody.
fn masked(info: &RequestInfo, object: &Value, masking: &Masking) -> Result<Value, String> {
    let rule = Rule {
        secret: masking.classes.find("secret").map(Arc::clone),
        token: None,
        places: fields::places(info, masking).into(),
        asked: fields::asked(info),
        quotes: None,
        detectors: Arc::clone(&masking.detectors),
        allowed: DetectorSet::default(),
    };
    let mut masker = ObjectMasker::new(rule);
    let mut out = Vec::new();
    let masked = masker.push(object.to_string().as_bytes(), &mut out).and_then(|()| masker.finish(&mut out));
    masked.map_err(|error| format!("the object cannot be masked: {error}"))?;
    serde_json::from_slice(&out).map_err(|_| "the object cannot be masked".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_is_asked_for_only_where_it_is_one() {
        let told = |method: &str, target: &str| is_told(&RequestInfo::read(method, target).unwrap());
        let web = "/apis/apps/v1/namespaces/shop/deployments/web";
        assert!(told("PATCH", web) && told("PUT", &format!("{web}/scale?fieldManager=x")));
        assert!(told("PATCH", "/apis/example.com/v1/things/one/status"));
        for (method, target) in [
            ("DELETE", web.to_owned()),
            ("GET", web.to_owned()),
            ("POST", "/api/v1/namespaces/shop/pods".to_owned()),
            ("PATCH", format!("{web}?dryRun=All")),
            ("PATCH", format!("{web}?%64ryRun=")),
            ("PUT", "/api/v1/namespaces/shop/pods/one/ephemeralcontainers".to_owned()),
        ] {
            assert!(!told(method, &target), "{method} {target}");
        }
    }
}
