//! TLS towards a server.
//!
//! In: a dialled stream and a target's TLS settings. Out: the stream, encrypted or not as the settings say, and what is
//! known of the peer: verified or not, and the hash of its certificate that a login can be bound to. A mode that asks
//! for verification never falls back to one that does not, and no byte that arrived before the handshake is kept.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use crate::conn::BoxConn;
use crate::secret::Secret;
use crate::upstream::end_point;

/// How much a server must prove, with the words that clients of Postgres know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// No encryption.
    Disable,
    /// Encryption if the server has it; nothing is checked. For destinations that nobody declared.
    Prefer,
    /// Encryption; nothing is checked.
    Require,
    /// The certificate must come from the given authority, for whatever name.
    VerifyCa,
    /// The certificate must come from the given authority and name the server.
    VerifyFull,
}

impl TlsMode {
    /// Whether the server is asked for TLS at all.
    #[must_use]
    pub fn asks(self) -> bool {
        self != Self::Disable
    }

    /// Whether a server without TLS is refused.
    #[must_use]
    pub fn insists(self) -> bool {
        !matches!(self, Self::Disable | Self::Prefer)
    }
}

/// What is known of the server at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    mode: TlsMode,
    encrypted: bool,
    end_point: Option<Vec<u8>>,
    protocol: Option<Vec<u8>>,
}

impl Peer {
    /// A peer on a plaintext connection: it could be anybody.
    #[must_use]
    pub fn plaintext() -> Self {
        Self { mode: TlsMode::Disable, encrypted: false, end_point: None, protocol: None }
    }

    /// Whether the peer proved to be the declared server.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.encrypted && matches!(self.mode, TlsMode::VerifyCa | TlsMode::VerifyFull)
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// The `tls-server-end-point` binding (RFC 5929, section 4.1), where the certificate's algorithm defines one.
    #[must_use]
    pub fn end_point(&self) -> Option<&[u8]> {
        self.end_point.as_deref()
    }

    /// What the handshake agreed to speak (RFC 7301).
    #[must_use]
    pub fn protocol(&self) -> Option<&[u8]> {
        self.protocol.as_deref()
    }
}

/// Why TLS with a server cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of authorities cannot be used.
    #[error("cannot use the authorities in `ca`: {reason}; give a PEM file with at least one certificate")]
    Authorities {
        /// What is wrong with it.
        reason: String,
    },
    /// The client certificate cannot be used.
    #[error("cannot use the client certificate: {reason}; give a PEM chain and its private key")]
    ClientCertificate {
        /// What is wrong with it.
        reason: String,
    },
    /// The name to verify is no name.
    #[error("cannot verify the server name `{name}`: give a DNS name or an address in `tls.name`")]
    Name {
        /// The name as configured.
        name: String,
    },
    /// verify-ca or verify-full without something to verify against.
    #[error("tls mode {mode:?} needs `ca` (and verify-full a name to check)")]
    NothingToVerify {
        /// The mode asked for.
        mode: TlsMode,
    },
    /// rustls does not take the settings.
    #[error("cannot set up tls")]
    Setup(#[source] rustls::Error),
    /// The handshake failed.
    #[error("tls handshake with the server failed: check `tls.ca` and `tls.name` against its certificate")]
    Handshake(#[source] std::io::Error),
}

/// A client certificate as the configuration gives it.
pub struct ClientCertificate<'a> {
    /// The chain, PEM, the client's own first.
    pub chain: &'a [u8],
    /// The private key, PEM.
    pub key: &'a Secret,
}

/// The TLS settings of one target, checked.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    mode: TlsMode,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl UpstreamTls {
    /// Checks the settings of a target: `ca` in PEM, `name` to verify and to send as SNI.
    ///
    /// # Errors
    /// When a file cannot be read as what it should be, or a mode that verifies has nothing to verify against.
    pub fn new(
        mode: TlsMode,
        name: Option<&str>,
        ca: Option<&[u8]>,
        client: Option<&ClientCertificate<'_>>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match (mode, ca) {
            (TlsMode::VerifyFull, Some(ca)) if name.is_some() => chain_verifier(ca, &provider)?,
            (TlsMode::VerifyCa, Some(ca)) => Arc::new(AnyName { chain: chain_verifier(ca, &provider)? }),
            (TlsMode::VerifyCa | TlsMode::VerifyFull, _) => return Err(TlsError::NothingToVerify { mode }),
            (TlsMode::Disable | TlsMode::Prefer | TlsMode::Require, _) => {
                Arc::new(AnyServer { provider: Arc::clone(&provider) })
            }
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match client {
            Some(client) => {
                let (chain, key) = read_client(client)?;
                builder.with_client_auth_cert(chain, key).map_err(TlsError::Setup)?
            }
            None => builder.with_no_client_auth(),
        };
        // The certificate of a resumed handshake is the old one: each login is bound to what the server shows now.
        config.resumption = Resumption::disabled();
        // libpq sends no SNI for an address, and rustls does not either; the name is unused where nothing is checked.
        let text = name.unwrap_or("server.invalid");
        let server = ServerName::try_from(text.to_owned()).map_err(|_| TlsError::Name { name: text.to_owned() })?;
        config.enable_sni = name.is_some();
        Ok(Self { mode, name: server, config: Arc::new(config) })
    }

    /// The same, which offers to speak these protocols (RFC 7301).
    #[must_use]
    pub fn speaking(&self, protocols: &[&str]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { mode: self.mode, name: self.name.clone(), config: Arc::new(config) }
    }

    /// How much the server must prove.
    #[must_use]
    pub fn mode(&self) -> TlsMode {
        self.mode
    }

    /// How the server is known, for the journal: `verify-full NAME`, `verify-ca`, `none`.
    #[must_use]
    pub fn identity(&self) -> String {
        match self.mode {
            TlsMode::VerifyFull => format!("verify-full {}", self.name.to_str()),
            TlsMode::VerifyCa => "verify-ca".to_owned(),
            TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => "none".to_owned(),
        }
    }

    /// Runs the handshake on a stream whose server is ready for it.
    ///
    /// # Errors
    /// When the handshake fails, which includes a certificate that the mode does not accept.
    pub async fn handshake(&self, conn: BoxConn) -> Result<(BoxConn, Peer), TlsError> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(self.name.clone(), conn).await.map_err(TlsError::Handshake)?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let end_point = leaf.and_then(|leaf| end_point::hash(leaf));
        let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let peer = Peer { mode: self.mode, encrypted: true, end_point, protocol };
        Ok((Box::new(stream), peer))
    }
}

fn read_client(
    client: &ClientCertificate<'_>,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let fault = |reason: String| TlsError::ClientCertificate { reason };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(client.chain)
        .collect::<Result<_, _>>()
        .map_err(|error| fault(error.to_string()))?;
    if chain.is_empty() {
        return Err(fault("no certificate in it".into()));
    }
    // The reason of a key that cannot be read is not repeated: it could quote the key.
    let key = PrivateKeyDer::from_pem_slice(client.key.expose())
        .map_err(|_| fault("its key is no PEM private key".into()))?;
    Ok((chain, key))
}

fn chain_verifier(ca: &[u8], provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let fault = |reason: String| TlsError::Authorities { reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca) {
        let certificate = certificate.map_err(|error| fault(error.to_string()))?;
        roots.add(certificate).map_err(|error| fault(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fault("no certificate in it".into()));
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| fault(error.to_string()))
}

/// verify-ca: the chain as verify-full checks it, under any name.
#[derive(Debug)]
struct AnyName {
    chain: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The verifier checks chain and dates first and the name last, so that a complaint about the name says that
        // all else holds (rustls 0.23, webpki/server_verifier.rs; the tests below hold it to that).
        match self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// prefer and require: any certificate. The handshake's signature is still checked, so that the peer holds the key of
/// the certificate that a channel binding names.
#[derive(Debug)]
struct AnyServer {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
