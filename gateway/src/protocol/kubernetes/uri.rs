//! What a request line asks of the API server, exactly as the API server itself reads it.
//!
//! In: a method and a request target as they stand on the wire. Out: the [`RequestInfo`] of the server
//! (`apiserver/pkg/endpoints/request/requestinfo.go`): verb, API group, version, resource, subresource, namespace, name.
//! Nothing is cleaned: a path that two readers could take for two things is refused.

mod query;
#[cfg(test)]
mod tests;

pub use query::Query;

/// The longest request target: a `kubectl exec` of a long script is the longest that clients send.
const LONGEST: usize = 64 * 1024;
/// The most segments of a path; proxied paths have the most.
const MOST_SEGMENTS: usize = 64;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// One object, or a path that is no resource.
    Get,
    /// Objects of a kind.
    List,
    /// Changes as they come.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE of one object.
    Delete,
    /// DELETE of all that a selector names.
    DeleteCollection,
    /// The old `/api/v1/proxy/…`.
    Proxy,
    /// HEAD of a path that is no resource.
    Head,
    /// POST to a path that is no resource.
    Post,
    /// PUT to a path that is no resource.
    Put,
}

impl Verb {
    /// As the API server writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Proxy => "proxy",
            Self::Head => "head",
            Self::Post => "post",
            Self::Put => "put",
        }
    }
}

/// An HTTP method that the API has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// Methods are case-sensitive (RFC 9110, section 9.1). With OPTIONS, TRACE and CONNECT the server has no verb, and
    /// authorizes nothing in particular.
    fn of(text: &str) -> Option<Self> {
        Some(match text {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => return None,
        })
    }

    /// On a resource.
    fn verb(self) -> Verb {
        match self {
            Self::Get | Self::Head => Verb::Get,
            Self::Post => Verb::Create,
            Self::Put => Verb::Update,
            Self::Patch => Verb::Patch,
            Self::Delete => Verb::Delete,
        }
    }

    /// On a path that is no resource.
    fn plain_verb(self) -> Verb {
        match self {
            Self::Get => Verb::Get,
            Self::Head => Verb::Head,
            Self::Post => Verb::Post,
            Self::Put => Verb::Put,
            Self::Patch => Verb::Patch,
            Self::Delete => Verb::Delete,
        }
    }
}

/// A resource that a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// Empty: the core group.
    pub group: String,
    /// Such as `v1`.
    pub version: String,
    /// The namespace; empty: none, or all of them.
    pub namespace: String,
    /// Such as `pods`.
    pub resource: String,
    /// Such as `log`; empty: none.
    pub subresource: String,
    /// Empty: none.
    pub name: String,
    /// What stands behind the subresource: the path that a proxy asks for.
    pub rest: Vec<String>,
}

/// A request line, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    /// What it does.
    pub verb: Verb,
    /// To what; `None`: a path that is no resource.
    pub resource: Option<Resource>,
    /// The decoded path.
    pub path: String,
    /// The decoded query.
    pub query: Query,
}

/// Why a request line is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// The server has no verb for it.
    #[error("the method has no meaning in the Kubernetes API: use GET, HEAD, POST, PUT, PATCH or DELETE")]
    Method,
    /// Absolute form, `*`, or no path at all.
    #[error("the request target has to be a path that begins with `/`")]
    Form,
    /// Longer than is read.
    #[error("the request target is longer than {LONGEST} bytes, or its path has more than {MOST_SEGMENTS} parts")]
    TooLong,
    /// `//`, `.` or `..`.
    #[error("the path has an empty, `.` or `..` part, which proxies and servers read differently: send it without")]
    Segment,
    /// A byte or escape that readers differ about.
    #[error("the path holds {what}, which proxies and servers read differently: send it without")]
    Byte {
        /// Which.
        what: &'static str,
    },
    /// The query cannot be read with certainty.
    #[error("the query holds {what}, which servers of different versions read differently: send it without")]
    Query {
        /// Which.
        what: &'static str,
    },
    /// A parameter that decides what is asked stands there twice.
    #[error("the parameter `{name}` stands there more than once: send it once")]
    Twice {
        /// Which.
        name: &'static str,
    },
    /// The server refuses it too.
    #[error("the path says what to do with an object and not which: it lacks its resource")]
    NoKind,
}

impl RequestInfo {
    /// Reads a method and a request target.
    ///
    /// # Errors
    /// Where what the server would understand is not certain.
    pub fn read(method: &str, target: &str) -> Result<Self, UriError> {
        let method = Method::of(method).ok_or(UriError::Method)?;
        if target.len() > LONGEST {
            return Err(UriError::TooLong);
        }
        let (path, query) = target.split_once('?').map_or((target, ""), |(path, query)| (path, query));
        let segments = segments(path)?;
        let query = Query::read(query)?;
        let path = decoded(path)?;
        let plain = |path, query| Self { verb: method.plain_verb(), resource: None, path, query };
        let mut parts = segments.as_slice();
        // As the server: `/api/v1` and `/apis/apps/v1` are discovery.
        let (group, rest) = match parts {
            [api, _, _, ..] if api == "api" => (String::new(), parts.get(1..)),
            [apis, group, _, _, ..] if apis == "apis" => (group.clone(), parts.get(2..)),
            _ => return Ok(plain(path, query)),
        };
        parts = rest.unwrap_or_default();
        let Some((version, mut parts)) = parts.split_first() else { return Ok(plain(path, query)) };
        let mut verb = method.verb();
        if let [special @ ("proxy" | "watch"), rest @ ..] =
            parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice()
        {
            if rest.is_empty() {
                return Err(UriError::NoKind);
            }
            // The server calls a DELETE below `watch` a watch, and then knows no such route.
            if !matches!(method, Method::Get | Method::Head) && *special == "watch" {
                return Err(UriError::Method);
            }
            verb = if *special == "proxy" { Verb::Proxy } else { Verb::Watch };
            parts = parts.get(1..).unwrap_or_default();
        }
        let mut resource = Resource { group, version: version.clone(), ..Resource::default() };
        resource.place(parts, verb);
        verb = settle(verb, &mut resource, &query)?;
        Ok(Self { verb, resource: Some(resource), path, query })
    }

    /// The subresource, where it has one.
    #[must_use]
    pub fn subresource(&self) -> Option<&str> {
        self.resource.as_ref().map(|resource| resource.subresource.as_str()).filter(|name| !name.is_empty())
    }
}

impl Resource {
    /// Takes namespace, resource, name and subresource out of what follows the version.
    fn place(&mut self, mut parts: &[String], verb: Verb) {
        if let [first, namespace, rest @ ..] = parts
            && first == "namespaces"
        {
            self.namespace.clone_from(namespace);
            // `namespaces/x/status` is the namespace's own.
            if rest.first().is_some_and(|next| !matches!(next.as_str(), "status" | "finalize")) {
                parts = rest;
            }
        }
        let part = |index: usize| parts.get(index).cloned().unwrap_or_default();
        (self.resource, self.name) = (part(0), part(1));
        if verb != Verb::Proxy {
            self.subresource = part(2);
        }
        self.rest = parts.get(if verb == Verb::Proxy { 2 } else { 3 }..).unwrap_or_default().to_vec();
    }

    /// As RBAC and policies name it: `pods`, `deployments.apps`.
    #[must_use]
    pub fn type_name(&self) -> String {
        if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) }
    }
}

/// Without a name a read is a list or a watch, and a delete one of a collection.
fn settle(verb: Verb, resource: &mut Resource, query: &Query) -> Result<Verb, UriError> {
    if !resource.name.is_empty() {
        return Ok(verb);
    }
    match verb {
        Verb::Get => {
            let watches = query.flag("watch")?;
            if let Some(name) = query.exact_name()? {
                resource.name = name;
            }
            Ok(if watches { Verb::Watch } else { Verb::List })
        }
        Verb::Delete => Ok(Verb::DeleteCollection),
        other => Ok(other),
    }
}

fn segments(path: &str) -> Result<Vec<String>, UriError> {
    let inner = path.strip_prefix('/').ok_or(UriError::Form)?;
    // One slash at the end says nothing: the server trims it.
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Ok(Vec::new());
    }
    if inner.split('/').nth(MOST_SEGMENTS).is_some() {
        return Err(UriError::TooLong);
    }
    inner.split('/').map(segment).collect()
}

fn segment(raw: &str) -> Result<String, UriError> {
    let decoded = decoded(raw)?;
    if decoded.is_empty() || decoded == "." || decoded == ".." { Err(UriError::Segment) } else { Ok(decoded) }
}

/// Undoes escapes, but for those that hide what a path is made of.
fn decoded(raw: &str) -> Result<String, UriError> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let plain = if byte == b'%' {
            let escaped = query::escaped(&mut bytes).ok_or(UriError::Byte { what: "a damaged escape" })?;
            match escaped {
                b'/' | b'\\' => return Err(UriError::Byte { what: "an escaped slash" }),
                b'.' => return Err(UriError::Byte { what: "an escaped dot" }),
                b'%' => return Err(UriError::Byte { what: "an escape inside an escape" }),
                b';' | b'?' | b'#' => return Err(UriError::Byte { what: "an escaped `;`, `?` or `#`" }),
                other => other,
            }
        } else {
            match byte {
                b';' => return Err(UriError::Byte { what: "`;`" }),
                b'\\' => return Err(UriError::Byte { what: "a backslash" }),
                b'#' => return Err(UriError::Byte { what: "`#`" }),
                other => other,
            }
        };
        if plain < b' ' || plain == 0x7f {
            return Err(UriError::Byte { what: "a control character" });
        }
        out.push(plain);
    }
    String::from_utf8(out).map_err(|_| UriError::Byte { what: "bytes that are not UTF-8" })
}
