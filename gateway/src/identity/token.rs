//! Tokens that say who a workload is: signed by an issuer, for us, and good for a time.
//!
//! In: what a file holds, the keys of the issuer, what the configuration wants of a token. Out: who it is about, its groups
//! and claims, and when it ends (RFC 7519; OpenID Connect Core 1.0, section 3.1.3.7; RFC 8725). It must never take an
//! algorithm from the token that the configuration does not list, nor a key that is not the issuer's.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use crate::audit::event;
use crate::audit::time::Timestamp;
use crate::config::Oidc;
use crate::policy::principal::{Claim, Pod, Token};

/// Keys of one issuer that are looked at.
const MAX_KEYS: usize = 100;
/// Values of one claim, groups among them.
const MAX_VALUES: usize = 1_000;
/// Bytes of one value.
const MAX_VALUE: usize = 256;
/// Where Kubernetes says which pod a token was made for.
const KUBERNETES: &str = "kubernetes.io";

/// Why a token does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("it is no signed token in compact form (three parts with dots between them)")]
    NotAToken,
    /// It may not be signed that way.
    #[error("it is signed with {found}, and `algorithms` lists {}", .listed.join(", "))]
    Algorithm {
        /// What it says.
        found: String,
        /// What may be.
        listed: Vec<String>,
    },
    /// It has a header that must be understood, and is not.
    #[error("its header names extensions that are not known here (`crit`)")]
    Critical,
    /// The issuer has no such key.
    #[error("the issuer has no key `{kid}` for it: is it of another issuer, or is its key gone?")]
    NoKey {
        /// The name of the key.
        kid: String,
    },
    /// The signature is another's.
    #[error("its signature is not the issuer's")]
    Signature,
    /// It has ended.
    #[error("it has expired: put a new one in its file")]
    Expired,
    /// It was verified longer ago than is configured.
    #[error("it is older than `max_age` lets it be: put a new one in its file")]
    TooOld,
    /// It does not count yet.
    #[error("it does not count yet (`nbf`): compare the clocks of issuer and host")]
    Early,
    /// It is somebody else's.
    #[error("its issuer is another than `{issuer}`")]
    Issuer {
        /// What is configured.
        issuer: String,
    },
    /// It is for somebody else.
    #[error("it is not for the audience `{audience}`: have one issued that is")]
    Audience {
        /// What is configured.
        audience: String,
    },
    /// A claim is missing, or is not what the configuration wants.
    #[error("its claim `{claim}` is missing, or not one of those in `require`")]
    Claim {
        /// Its name.
        claim: String,
    },
    /// A claim is larger than is taken.
    #[error("its claim `{claim}` has more than {MAX_VALUES} values, or one that is too long or not plain text")]
    TooMuch {
        /// Its name.
        claim: String,
    },
    /// The issuer's keys cannot be read.
    #[error("what the issuer sent is no set of keys (RFC 7517)")]
    NotKeys,
}

/// The keys of an issuer that can verify a signature.
#[derive(Clone, Default)]
pub struct Keys(Vec<Key>);

#[derive(Clone)]
struct Key {
    id: Option<String>,
    /// The one algorithm that it is for, where the issuer says so.
    algorithm: Option<String>,
    key: DecodingKey,
}

impl Keys {
    /// Reads a set of keys. What is for encryption, of a kind that is not known, or a secret is left out.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, TokenError> {
        let set: Value = serde_json::from_slice(bytes).map_err(|_| TokenError::NotKeys)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(TokenError::NotKeys)?;
        Ok(Self(keys.iter().take(MAX_KEYS).filter_map(Key::of).collect()))
    }

    /// The keys that a token may have been signed with.
    fn named(&self, kid: Option<&str>) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| kid.is_none() || key.id.as_deref() == kid)
    }
}

impl Key {
    fn of(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let is_public = matches!(
            jwk.algorithm,
            AlgorithmParameters::RSA(_) | AlgorithmParameters::EllipticCurve(_) | AlgorithmParameters::OctetKeyPair(_)
        );
        let is_for_others = jwk.common.public_key_use.as_ref().is_some_and(|of| *of != PublicKeyUse::Signature);
        if !is_public || is_for_others {
            return None;
        }
        let algorithm = value.get("alg").and_then(Value::as_str).map(str::to_owned);
        Some(Self { id: jwk.common.key_id.clone(), algorithm, key: DecodingKey::from_jwk(&jwk).ok()? })
    }
}

/// A token that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// As policies see it.
    pub token: Token,
    /// Its groups, with the prefix of the issuer.
    pub groups: Vec<Arc<str>>,
    /// The pod that it was made for.
    pub pod: Option<Pod>,
    /// When it ends, from 1970.
    pub expires: Duration,
}

impl Verified {
    /// As events tell it.
    #[must_use]
    pub fn event(&self) -> event::Token {
        let micros = u64::try_from(self.expires.as_micros()).unwrap_or(u64::MAX);
        event::Token {
            issuer: self.token.issuer.to_string(),
            subject: self.token.subject.to_string(),
            expires: Some(Timestamp::from_micros(micros)),
        }
    }

    /// Whether another one says the same of its workload; it may end at another time.
    #[must_use]
    pub fn says_as(&self, other: &Self) -> bool {
        (&self.token, &self.groups, &self.pod) == (&other.token, &other.groups, &other.pod)
    }
}

/// Looks at a token.
///
/// # Errors
/// Where it does not count, with the reason: none of them quotes it.
pub fn verify(oidc: &Oidc, keys: &Keys, token: &[u8]) -> Result<Verified, TokenError> {
    let token = token.trim_ascii();
    let header = decode_header(token).map_err(|error| match error.kind() {
        // `none`, or what nobody knows.
        ErrorKind::Json(_) if looks_signed(token) => algorithm_fault(oidc, "what is not known here"),
        _ => TokenError::NotAToken,
    })?;
    let name = format!("{:?}", header.alg);
    if !oidc.algorithms.contains(&name) {
        return Err(algorithm_fault(oidc, &name));
    }
    if header.crit.is_some() {
        return Err(TokenError::Critical);
    }
    let no_key = || TokenError::NoKey { kid: shown(header.kid.as_deref().unwrap_or_default()) };
    let mut last = no_key();
    for key in keys.named(header.kid.as_deref()) {
        if key.algorithm.as_ref().is_some_and(|algorithm| *algorithm != name) {
            continue;
        }
        match decode::<Map<String, Value>>(token, &key.key, &wanted(oidc, header.alg)) {
            Ok(decoded) => return read(oidc, decoded.claims),
            Err(error) => last = fault(oidc, error.kind()),
        }
    }
    Err(last)
}

fn wanted(oidc: &Oidc, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = oidc.leeway.as_secs();
    validation.validate_nbf = true;
    validation.set_issuer(&[&oidc.issuer]);
    validation.set_audience(&[&oidc.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation
}

fn fault(oidc: &Oidc, kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::Early,
        ErrorKind::InvalidIssuer => TokenError::Issuer { issuer: oidc.issuer.clone() },
        ErrorKind::InvalidAudience => TokenError::Audience { audience: oidc.audience.clone() },
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            TokenError::Claim { claim: claim.clone() }
        }
        ErrorKind::Json(_) | ErrorKind::InvalidToken => TokenError::NotAToken,
        _ => TokenError::Signature,
    }
}

fn algorithm_fault(oidc: &Oidc, found: &str) -> TokenError {
    TokenError::Algorithm { found: found.to_owned(), listed: oidc.algorithms.clone() }
}

fn looks_signed(token: &[u8]) -> bool {
    token.iter().filter(|byte| **byte == b'.').count() == 2 && token.is_ascii()
}

/// A name of whoever wrote the token, as a log may show it.
fn shown(text: &str) -> String {
    text.chars().take(64).filter(|c| !c.is_control()).collect()
}

/// What verified claims say.
fn read(oidc: &Oidc, claims: Map<String, Value>) -> Result<Verified, TokenError> {
    let values = |name: &str| claims.get(name).map_or(Ok(Vec::new()), |value| texts(name, value));
    let one = |name: &str| {
        let first = values(name)?.into_iter().next().filter(|text| !text.is_empty());
        first.ok_or_else(|| TokenError::Claim { claim: name.to_owned() })
    };
    for (name, allowed) in &oidc.require {
        if !values(name)?.iter().any(|value| allowed.iter().any(|allowed| **allowed == **value)) {
            return Err(TokenError::Claim { claim: name.clone() });
        }
    }
    let expires = claims.get("exp").and_then(Value::as_f64).filter(|seconds| seconds.is_finite());
    // Years beyond the calendar's end are as good as never.
    let expires = expires.map_or(Duration::ZERO, |seconds| Duration::from_secs(seconds.clamp(0.0, 1e11) as u64));
    let named = oidc.claims.iter().filter(|name| claims.contains_key(name.as_str()));
    let claim = |name: &String| Ok(Claim { name: name.as_str().into(), values: values(name)?.into() });
    let groups = values(&oidc.groups_claim)?;
    Ok(Verified {
        token: Token {
            issuer: one("iss")?,
            subject: one("sub")?,
            audience: values("aud")?.into(),
            claims: named.map(claim).collect::<Result<_, TokenError>>()?,
        },
        groups: groups.iter().map(|group| format!("{}:{group}", oidc.prefix).into()).collect(),
        pod: claims.get(KUBERNETES).map(pod).transpose()?.flatten(),
        expires,
    })
}

/// The values of a claim; one that is no list is a list of one. What is neither text, number nor truth value says nothing.
fn texts(name: &str, value: &Value) -> Result<Vec<Arc<str>>, TokenError> {
    let all = match value {
        Value::Array(all) => all.as_slice(),
        one => std::slice::from_ref(one),
    };
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let texts: Vec<Arc<str>> = all.iter().take(MAX_VALUES + 1).filter_map(text).map(Into::into).collect();
    let is_plain = |text: &Arc<str>| text.len() <= MAX_VALUE && !text.chars().any(char::is_control);
    if texts.len() > MAX_VALUES || !texts.iter().all(is_plain) {
        return Err(TokenError::TooMuch { claim: name.to_owned() });
    }
    Ok(texts)
}

/// The pod that a projected service account token was made for.
fn pod(value: &Value) -> Result<Option<Pod>, TokenError> {
    let Some(pod) = value.get("pod") else { return Ok(None) };
    let text = |of: Option<&Value>| {
        let fault = || TokenError::Claim { claim: KUBERNETES.to_owned() };
        texts(KUBERNETES, of.ok_or_else(fault)?)?.into_iter().next().ok_or_else(fault)
    };
    Ok(Some(Pod {
        namespace: text(value.get("namespace"))?,
        name: text(pod.get("name"))?,
        service_account: text(value.get("serviceaccount").and_then(|account| account.get("name")))?,
        uid: text(pod.get("uid"))?,
    }))
}

/// What a fuzz target reaches: a set of keys and a token, with a newline between them. Nobody who does not hold the key of
/// an issuer makes a token that counts.
#[cfg(any(fuzzing, test))]
pub fn fuzz(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (keys, token) = bytes.split_at(at);
    let place = crate::config::Place { host: "id.example.com".to_owned(), port: 443, path: String::new() };
    let oidc = crate::config::Oidc {
        issuer: "https://id.example.com".to_owned(),
        place: place.clone(),
        home: place,
        also: Vec::new(),
        keys_are_known: false,
        prefix: "id".to_owned(),
        audience: "gateway".to_owned(),
        groups_claim: "groups".to_owned(),
        claims: Vec::new(),
        require: Vec::new(),
        algorithms: crate::config::ALGORITHMS.map(str::to_owned).into(),
        max_age: None,
        leeway: Duration::ZERO,
        ca: None,
    };
    if let Ok(keys) = Keys::parse(keys) {
        let _ = verify(&oidc, &keys, token);
    }
    if let Ok(claims) = serde_json::from_slice(token) {
        let _ = read(&oidc, claims);
    }
}

#[cfg(test)]
pub(crate) mod tests;
