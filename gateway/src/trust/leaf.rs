//! Certificates that we show to clients, signed by the authority of this host.
//!
//! In: names and addresses of a declared target. Out: a chain with its key, and the TLS settings of a server that
//! shows it. Names come from the configuration, never from what a client asks for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};

use super::ca::{Authority, CaError, valid_for};

/// How long a leaf is valid; a gateway makes new ones whenever it starts or reloads.
const VALIDITY: Duration = Duration::from_secs(90 * 86_400);

/// A certificate with its key, in PEM.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Leaf {
    /// The leaf, then the authority.
    pub chain: String,
    /// Its private key.
    pub key: String,
    /// The names that it is for; addresses are not among them, since clients ask for those without a name.
    #[serde(default)]
    pub names: Vec<String>,
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Leaf")
    }
}

/// Why a leaf cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// Its PEM is none.
    #[error("the certificate for clients cannot be read")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// rustls does not take it.
    #[error("the certificate for clients cannot be used")]
    Rustls(#[from] rustls::Error),
}

impl Authority {
    /// A certificate for these names; without any, one that only clients take which check none.
    ///
    /// # Errors
    /// Where a name cannot stand in a certificate, or the key is damaged.
    pub fn leaf(&self, names: &[String], addresses: &[IpAddr]) -> Result<Leaf, CaError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("gateway", String::as_str));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        valid_for(&mut params, VALIDITY);
        let certificate = params.signed_by(&key, self.issuer())?;
        Ok(Leaf { chain: certificate.pem() + self.certificate_pem(), key: key.serialize_pem(), names: names.to_vec() })
    }
}

impl Leaf {
    /// The settings of a server that shows it, for clients that speak `alpn`.
    ///
    /// # Errors
    /// Where chain or key are damaged.
    pub fn server_config(&self, alpn: &str) -> Result<Arc<ServerConfig>, LeafError> {
        let (chain, key) = self.read()?;
        let mut config = builder()?.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        Ok(Arc::new(config))
    }

    /// The same for clients that speak one of `alpn`, and ask for no other name than those of the leaf: whoever does means
    /// another server.
    ///
    /// # Errors
    /// Likewise.
    pub fn strict_server_config(&self, alpn: &[&str]) -> Result<Arc<ServerConfig>, LeafError> {
        let (chain, key) = self.read()?;
        let provider = aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider)?;
        let names = self.names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let mut config = builder()?.with_cert_resolver(Arc::new(ForNames { names, key: Arc::new(key) }));
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }

    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), LeafError> {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        Ok((chain, key))
    }
}

fn builder() -> Result<rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_no_client_auth())
}

/// Shows a certificate to who asks for one of its names, or for none.
#[derive(Debug)]
struct ForNames {
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ForNames {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_ours = |asked: &str| self.names.iter().any(|name| asked.eq_ignore_ascii_case(name));
        hello.server_name().is_none_or(is_ours).then(|| Arc::clone(&self.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_serves_and_its_key_does_not_print() {
        let state = tempfile::tempdir().unwrap();
        let authority = Authority::open(state.path()).unwrap();
        let leaf = authority.leaf(&["db.example.com".to_owned()], &["10.0.0.5".parse().unwrap()]).unwrap();
        assert!(leaf.server_config("postgresql").is_ok());
        assert_eq!(format!("{leaf:?}"), "Leaf");
        assert_eq!(leaf.chain.matches("BEGIN CERTIFICATE").count(), 2);
    }
}
