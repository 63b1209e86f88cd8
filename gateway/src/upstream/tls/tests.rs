//! Handshakes with servers that prove more or less than the mode asks for.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { pem, issuer: Issuer::new(params, key) }
}

/// Runs a handshake with a server that has a certificate for `db.test`, valid until this year.
async fn handshake(settings: &UpstreamTls, signer: &Authority, until: i32) -> Result<Peer, TlsError> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["db.test".into()]).unwrap();
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let leaf = params.signed_by(&key, &signer.issuer).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let server = tokio::spawn(tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(far));
    let result = settings.handshake(Box::new(near)).await.map(|(_, peer)| peer);
    let _ = server.await;
    result
}

fn settings(mode: TlsMode, name: &str, authority: &Authority) -> UpstreamTls {
    UpstreamTls::new(mode, Some(name), Some(authority.pem.as_bytes()), None).unwrap()
}

#[tokio::test]
async fn each_mode_checks_what_it_says() {
    let (ours, theirs) = (authority(), authority());
    for (mode, name, signer, until, passes) in [
        (TlsMode::VerifyFull, "db.test", &ours, 2400, true),
        (TlsMode::VerifyFull, "other.test", &ours, 2400, false),
        (TlsMode::VerifyFull, "db.test", &theirs, 2400, false),
        (TlsMode::VerifyFull, "db.test", &ours, 2020, false),
        (TlsMode::VerifyCa, "db.test", &ours, 2400, true),
        (TlsMode::VerifyCa, "other.test", &ours, 2400, true),
        (TlsMode::VerifyCa, "other.test", &theirs, 2400, false),
        (TlsMode::VerifyCa, "other.test", &ours, 2020, false),
        (TlsMode::Require, "other.test", &theirs, 2020, true),
    ] {
        let peer = handshake(&settings(mode, name, &ours), signer, until).await;
        assert_eq!(peer.is_ok(), passes, "{mode:?} {name} {until}");
        if let Ok(peer) = peer {
            assert_eq!(peer.is_verified(), mode != TlsMode::Require);
            assert!(peer.is_encrypted() && peer.end_point().is_some());
        }
    }
}

#[test]
fn a_mode_that_verifies_needs_something_to_verify_against() {
    let ours = authority();
    let missing = |mode, name, ca| UpstreamTls::new(mode, name, ca, None);
    assert!(matches!(missing(TlsMode::VerifyCa, None, None), Err(TlsError::NothingToVerify { .. })));
    assert!(matches!(
        missing(TlsMode::VerifyFull, None, Some(ours.pem.as_bytes())),
        Err(TlsError::NothingToVerify { .. })
    ));
    assert!(matches!(missing(TlsMode::VerifyCa, None, Some(b"no pem")), Err(TlsError::Authorities { .. })));
    assert!(matches!(missing(TlsMode::Require, Some("not a name"), None), Err(TlsError::Name { .. })));
}

#[test]
fn a_client_key_that_cannot_be_read_is_not_quoted() {
    let key = Secret::new(b"-----BEGIN hunter2".to_vec());
    let client = ClientCertificate { chain: authority().pem.as_bytes(), key: &key }.chain.to_vec();
    let client = ClientCertificate { chain: &client, key: &key };
    let error = UpstreamTls::new(TlsMode::Require, None, None, Some(&client)).unwrap_err();
    assert!(!error.to_string().contains("hunter2"));
}
