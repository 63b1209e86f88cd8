//! The head of a request: what is refused in it, and what goes on to the server.
//!
//! In: a head as hyper has read it. Out: the request line's meaning, and headers in which nothing of the client's says
//! who it is. What two readers could take for two things is refused.

use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST,
    HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Request, Version};

use super::fields;
use super::object::Place;
use super::reply::Refusal;
use super::uri::{RequestInfo, Verb};
use crate::audit::Kept;
use crate::masking::Masking;
use crate::masking::masked::Masked;

/// The most bytes of all headers together.
const MOST: usize = 64 * 1024;
/// Starts of names by which a proxy would tell the server who asks; the server takes them from proxies that it trusts,
/// and we may be one.
const IDENTITY: [&str; 2] = ["impersonate-", "x-remote-"];
/// Meant for the next hop alone (RFC 9110, section 7.6.1), or about the way that the request came.
const HOP: [&str; 7] = [
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "forwarded",
    "via",
    "http2-settings",
];
/// A subprotocol by which browsers carry a bearer token.
const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";
/// What the client names its subprotocols by.
const PROTOCOLS: HeaderName = HeaderName::from_static("sec-websocket-protocol");

/// A head that was read.
#[derive(Debug)]
pub(super) struct Head {
    /// What it asks.
    pub(super) info: RequestInfo,
    /// Method and target, for the journal and policies that read texts.
    pub(super) line: String,
    /// The protocol that the connection is to be turned into.
    pub(super) upgrade: Option<String>,
}

/// Reads a head.
///
/// # Errors
/// With what the client reads.
pub(super) fn read<B>(request: &Request<B>) -> Result<Head, Refusal> {
    let headers = request.headers();
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > MOST {
        return Err(Refusal::bad_request(format!("the headers are larger than {MOST} bytes")));
    }
    for name in [HOST, CONTENT_TYPE, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, CONTENT_ENCODING] {
        if headers.get_all(&name).iter().nth(1).is_some() {
            return Err(Refusal::bad_request(format!("the header `{name}` stands there more than once")));
        }
    }
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return Err(Refusal::bad_request("both `content-length` and `transfer-encoding` say how long the body is"));
    }
    check_authority(request)?;
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let info = RequestInfo::read(request.method().as_str(), target)
        .map_err(|error| Refusal::bad_request(error.to_string()))?;
    Ok(Head { info, line: format!("{} {target}", request.method()), upgrade: upgrade(request)? })
}

/// Of HTTP/1.1 only a path is taken: what an absolute form names would be another server than the one that is asked.
fn check_authority<B>(request: &Request<B>) -> Result<(), Refusal> {
    let uri = request.uri();
    let host = request.headers().get(HOST);
    match request.version() {
        Version::HTTP_2 => {
            let differs = host
                .zip(uri.authority())
                .is_some_and(|(host, authority)| host.as_bytes() != authority.as_str().as_bytes());
            if differs { Err(Refusal::bad_request("`host` and `:authority` name two servers")) } else { Ok(()) }
        }
        _ if uri.scheme().is_some() || uri.authority().is_some() => {
            Err(Refusal::bad_request("the request target has to be a path that begins with `/`"))
        }
        Version::HTTP_11 if host.is_none() => Err(Refusal::bad_request("the header `host` is missing")),
        _ => Ok(()),
    }
}

fn upgrade<B>(request: &Request<B>) -> Result<Option<String>, Refusal> {
    let Some(wanted) = request.headers().get(UPGRADE) else { return Ok(None) };
    let names = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| text.split(',').any(|word| word.trim().eq_ignore_ascii_case("upgrade")))
    };
    if !request.headers().get_all(CONNECTION).iter().any(names) {
        return Err(Refusal::bad_request("`upgrade` without `connection: upgrade`"));
    }
    let wanted = wanted.to_str().unwrap_or_default().to_ascii_lowercase();
    Ok(Some(wanted))
}

/// Headers for the server.
#[derive(Debug)]
pub(super) struct Onward {
    /// Without anything that says who asks.
    pub(super) headers: HeaderMap,
    /// What was left out of them, by name.
    pub(super) stripped: Vec<String>,
}

/// What goes on. Without a credential of ours the client's own token does.
pub(super) fn onward(headers: &HeaderMap, has_credential: bool) -> Onward {
    let named: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|word| word.trim().to_ascii_lowercase()))
        .collect();
    let (mut kept, mut stripped) = (HeaderMap::with_capacity(headers.len()), Vec::new());
    for (name, value) in headers {
        let text = name.as_str();
        let of_hop = HOP.contains(&text)
            || text.starts_with("x-forwarded-")
            || [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, CONTENT_LENGTH, HOST].contains(name)
            || named.iter().any(|listed| listed == text);
        if IDENTITY.iter().any(|start| text.starts_with(start)) {
            stripped.push(text.to_owned());
        } else if *name == AUTHORIZATION && has_credential {
            // Placeholders and tokens that the client holds are nothing to the server.
        } else if *name == PROTOCOLS && has_credential {
            let (protocols, has_token) = without_token(value);
            if has_token {
                stripped.push("bearer token in sec-websocket-protocol".to_owned());
            }
            kept.extend(protocols.map(|value| (PROTOCOLS, value)));
        } else if !of_hop && *name != ACCEPT && *name != ACCEPT_ENCODING {
            kept.append(name, value.clone());
        }
    }
    kept.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    stripped.sort();
    stripped.dedup();
    Onward { headers: kept, stripped }
}

fn without_token(value: &HeaderValue) -> (Option<HeaderValue>, bool) {
    let text = value.to_str().unwrap_or_default();
    let all = || text.split(',').map(str::trim);
    let kept: Vec<_> = all().filter(|protocol| !protocol.starts_with(TOKEN_PROTOCOL)).collect();
    let has_token = all().any(|protocol| protocol.starts_with(TOKEN_PROTOCOL));
    let value = if kept.is_empty() { None } else { HeaderValue::from_str(&kept.join(", ")).ok() };
    (value, has_token)
}

/// What may stand in for an `accept` that names forms which nobody here masks.
const JSON: &str = "application/json";
const PLAIN: &str = "application/json, text/plain, text/html";

/// What of an `accept` we can mask: JSON in all its shapes (`as=Table`), text for what is no resource. The OpenAPI
/// documents hold no objects, and old clients take them in protobuf alone. No table where its cells may show what is hidden.
pub(super) fn accept(headers: &HeaderMap, info: &RequestInfo, hidden: &[Place]) -> HeaderValue {
    let without_tables = fields::are_printed(hidden, info);
    let asked: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .collect();
    let is_json = |item: &&str| item.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(JSON));
    let is_table = |item: &&str| item.split(';').any(|part| part.trim().eq_ignore_ascii_case("as=table"));
    let is_fit = |item: &&str| is_json(item) && !(without_tables && is_table(item));
    // What becomes another protocol, or is a pod's or service's own: masked whatever its type is.
    let is_stream = matches!(info.subresource(), Some("exec" | "attach" | "portforward" | "proxy"));
    let chosen = match &info.resource {
        _ if is_stream || info.verb == Verb::Proxy => {
            if asked.is_empty() {
                "*/*".to_owned()
            } else {
                asked.join(",")
            }
        }
        None if is_schema(&info.path) => asked.join(","),
        None if !is_discovery(&info.path) => PLAIN.to_owned(),
        _ => asked.iter().copied().filter(is_fit).collect::<Vec<_>>().join(","),
    };
    HeaderValue::from_str(chosen.trim())
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or(HeaderValue::from_static(JSON))
}

/// `/openapi/v2`, `/openapi/v3/…`: what kinds there are, never an object.
pub(super) fn is_schema(path: &str) -> bool {
    path == "/openapi" || path.starts_with("/openapi/") || path == "/swagger.json"
}

fn is_discovery(path: &str) -> bool {
    ["/api", "/apis", "/version"]
        .iter()
        .any(|root| path == *root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/')))
}

/// A request line as the journal keeps it.
pub(super) fn kept(line: &str, masking: &Masking) -> Kept {
    Kept::after_redaction(Masked::new(line, &masking.detectors).to_string())
}
