//! Tokens made here with keys made here; those of a real provider are in `gateway/tests/it/tokens.rs`.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use serde_json::json;

use super::*;
use crate::config::Place;

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digit = |chunk: &[u8], at: usize| {
        let bits = chunk.iter().chain([0, 0].iter()).take(3).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        char::from(DIGITS[bits >> (18 - 6 * at) & 63])
    };
    bytes.chunks(3).flat_map(|chunk| (0..=chunk.len()).map(move |at| digit(chunk, at))).collect()
}

fn oidc() -> Oidc {
    Oidc {
        issuer: "https://id.example.com".into(),
        place: Place::parse("https://id.example.com").unwrap(),
        home: Place::parse("https://id.example.com").unwrap(),
        also: Vec::new(),
        keys_are_known: false,
        prefix: "id".into(),
        audience: "gateway".into(),
        groups_claim: "groups".into(),
        claims: vec!["repository".into()],
        require: vec![("owner".into(), vec!["acme".into(), "acme-labs".into()])],
        algorithms: vec!["RS256".into(), "PS256".into()],
        max_age: None,
        leeway: Duration::from_secs(30),
        ca: None,
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Somebody with a key.
pub(crate) struct Maker {
    key: RsaKeyPair,
    id: &'static str,
}

impl Maker {
    pub(crate) fn new(id: &'static str) -> Self {
        Self { key: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(), id }
    }

    fn jwk(&self) -> Value {
        let public = self.key.public_key();
        let part = |bytes: &[u8]| base64(bytes);
        let (n, e) = (public.modulus(), public.exponent());
        json!({"kty": "RSA", "kid": self.id, "use": "sig",
            "n": part(n.big_endian_without_leading_zero()), "e": part(e.big_endian_without_leading_zero())})
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys::parse(json!({"keys": [self.jwk()]}).to_string().as_bytes()).unwrap()
    }

    fn sign(&self, header: Value, claims: &Value, by: &'static dyn RsaEncoding) -> String {
        let signed = format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(by, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", base64(&signature))
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(json!({"alg": "RS256", "kid": self.id}), claims, &RSA_PKCS1_SHA256)
    }
}

fn claims(change: Value) -> Value {
    let mut claims = json!({"iss": "https://id.example.com", "aud": ["gateway", "other"], "sub": "repo:acme/shop",
        "exp": now() + 600, "groups": ["deployers", "readers"], "owner": "acme", "repository": "acme/shop", "run": 7});
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

#[test]
fn says_who_for_how_long_and_in_which_groups() {
    let maker = Maker::new("one");
    let found = verify(&oidc(), &maker.keys(), format!("{}\n", maker.token(&claims(json!({})))).as_bytes()).unwrap();
    assert_eq!((&*found.token.issuer, &*found.token.subject), ("https://id.example.com", "repo:acme/shop"));
    assert_eq!(found.groups, ["id:deployers".into(), "id:readers".into()] as [Arc<str>; 2]);
    assert_eq!(found.token.claims, [Claim { name: "repository".into(), values: ["acme/shop".into()].into() }]);
    assert!(found.expires.as_secs() > now() + 500 && found.pod.is_none());
    let pss = maker.sign(json!({"alg": "PS256", "kid": "one"}), &claims(json!({})), &RSA_PSS_SHA256);
    assert_eq!(verify(&oidc(), &maker.keys(), pss.as_bytes()).unwrap().groups, found.groups);
}

#[test]
fn claims_that_are_not_as_wanted_do_not_count() {
    let maker = Maker::new("one");
    let refused = |change: Value| verify(&oidc(), &maker.keys(), maker.token(&claims(change)).as_bytes()).unwrap_err();
    assert_eq!(refused(json!({"exp": now() - 60})), TokenError::Expired);
    assert_eq!(refused(json!({"nbf": now() + 600})), TokenError::Early);
    assert!(matches!(refused(json!({"iss": "https://evil.example.com"})), TokenError::Issuer { .. }));
    assert!(matches!(refused(json!({"iss": "https://id.example.com/"})), TokenError::Issuer { .. }));
    assert!(matches!(refused(json!({"aud": "other"})), TokenError::Audience { .. }));
    for missing in ["exp", "iss", "aud", "sub"] {
        let error = refused(json!({ missing: null }));
        assert!(matches!(&error, TokenError::Claim { claim } if claim == missing), "{missing}: {error:?}");
    }
    for owner in [json!("mallory"), json!(["mallory"]), json!({"acme": "acme"}), Value::Null] {
        assert_eq!(refused(json!({ "owner": owner })), TokenError::Claim { claim: "owner".into() });
    }
    assert!(matches!(refused(json!({"groups": vec!["g"; 1_001]})), TokenError::TooMuch { .. }));
    assert!(matches!(refused(json!({"groups": ["a\nb"]})), TokenError::TooMuch { .. }));
    assert!(matches!(refused(json!({"repository": "r".repeat(257)})), TokenError::TooMuch { .. }));
    assert!(verify(&oidc(), &maker.keys(), maker.token(&claims(json!({"exp": now() - 10}))).as_bytes()).is_ok());
}

#[test]
fn only_the_issuers_key_signs_and_only_as_listed() {
    let (maker, other) = (Maker::new("one"), Maker::new("one"));
    let refused = |token: &str| verify(&oidc(), &maker.keys(), token.as_bytes()).unwrap_err();
    assert_eq!(refused(&other.token(&claims(json!({})))), TokenError::Signature);
    let renamed = Maker { id: "two", ..other };
    assert_eq!(refused(&renamed.token(&claims(json!({})))), TokenError::NoKey { kid: "two".into() });
    // The key that a token brings with it is nobody's.
    let header = json!({"alg": "RS256", "kid": "one", "jwk": renamed.jwk(), "jku": "https://evil.example.com/keys"});
    assert_eq!(refused(&renamed.sign(header, &claims(json!({})), &RSA_PKCS1_SHA256)), TokenError::Signature);
    for algorithm in ["none", "None", "HS256", "RS512", "ES256", "XX"] {
        let header = json!({"alg": algorithm, "kid": "one"});
        let error = refused(&maker.sign(header, &claims(json!({})), &RSA_PKCS1_SHA256));
        assert!(matches!(error, TokenError::Algorithm { .. }), "{algorithm}: {error:?}");
    }
    let critical = json!({"alg": "RS256", "kid": "one", "crit": ["b64"], "b64": false});
    assert_eq!(refused(&maker.sign(critical, &claims(json!({})), &RSA_PKCS1_SHA256)), TokenError::Critical);
    // Public parts as the secret of an HMAC: the oldest trick.
    let public = json!({"keys": [{"kty": "oct", "kid": "one", "k": maker.jwk()["n"], "alg": "HS256"}]});
    let with_secret = Oidc { algorithms: vec!["HS256".into(), "RS256".into()], ..oidc() };
    let keys = Keys::parse(public.to_string().as_bytes()).unwrap();
    let error = verify(&with_secret, &keys, maker.token(&claims(json!({}))).as_bytes()).unwrap_err();
    assert!(matches!(error, TokenError::NoKey { .. }));
}

#[test]
fn a_key_for_something_else_verifies_nothing() {
    let maker = Maker::new("one");
    let token = maker.token(&claims(json!({})));
    for (name, value) in [("use", "enc"), ("alg", "RS512"), ("kty", "XYZ"), ("kid", "other")] {
        let mut jwk = maker.jwk();
        jwk[name] = json!(value);
        let keys = Keys::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
        let error = verify(&oidc(), &keys, token.as_bytes()).unwrap_err();
        assert!(matches!(error, TokenError::NoKey { .. }), "{name}: {error:?}");
    }
    assert!(matches!(Keys::parse(b"{}"), Err(TokenError::NotKeys)));
}

#[test]
fn no_change_of_a_token_counts_and_none_panics() {
    let maker = Maker::new("one");
    let (keys, token) = (maker.keys(), maker.token(&claims(json!({}))).into_bytes());
    for at in 0..token.len() {
        let mut changed = token.clone();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(verify(&oidc(), &keys, &changed).is_err() || at + 1 == token.len(), "changed at {at}");
        assert!(verify(&oidc(), &keys, &token[..at]).is_err(), "cut at {at}");
    }
    let seed = include_bytes!("../../../fuzz/corpus/token/seed-rsa");
    fuzz(seed);
    for at in 0..seed.len() {
        for byte in [0, b'"', b'[', b'{', b'9', 0xff] {
            let mut changed = seed.to_vec();
            changed[at] = byte;
            fuzz(&changed);
        }
        fuzz(&seed[..at]);
    }
    for odd in [&b""[..], b"..", b"a.b.c", b"\xff\xfe.\0.x", b"e30.e30.", b"e30.e30.e30.e30"] {
        assert!(verify(&oidc(), &keys, odd).is_err());
    }
}

#[test]
fn a_projected_token_names_its_pod() {
    let maker = Maker::new("one");
    let kubernetes = json!({"namespace": "agents", "serviceaccount": {"name": "runner", "uid": "u"},
        "pod": {"name": "runner-0", "uid": "2f1c4d1e-9a5b-4c7d-8e6f-0a1b2c3d4e5f"}});
    let found =
        |value: &Value| verify(&oidc(), &maker.keys(), maker.token(&claims(json!({KUBERNETES: value}))).as_bytes());
    let pod = found(&kubernetes).unwrap().pod.unwrap();
    assert_eq!((&*pod.namespace, &*pod.name, &*pod.service_account), ("agents", "runner-0", "runner"));
    let mut broken = kubernetes;
    broken["pod"] = json!({"name": "runner-0"});
    assert!(matches!(found(&broken), Err(TokenError::Claim { .. })));
}
