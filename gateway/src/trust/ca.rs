//! The certificate authority of this host.
//!
//! In: `ca.crt` and `ca.key` below the state directory, made where they are missing. Out: the certificate for clients,
//! and what signs leaves. The key leaves this process only as signatures.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData};

use crate::host::durable;

/// How long the authority is valid: its clients are set up once.
const VALIDITY: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Clocks of clients may be behind ours.
const SKEW: Duration = Duration::from_secs(3_600);

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file could not be used.
    #[error("cannot {what} `{path}`")]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It could not be made, or its key is damaged.
    #[error("the certificate authority cannot be used")]
    Unusable(#[from] rcgen::Error),
    /// One of its two files is missing.
    #[error(
        "`{present}` is there and `{missing}` is not: restore it, or remove both and have clients trust a new authority"
    )]
    Half {
        /// The one that is there.
        present: PathBuf,
        /// The one that is not.
        missing: PathBuf,
    },
}

/// The authority.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Opens it, or makes it at first use.
    ///
    /// # Errors
    /// Where its files cannot be read or made, or one of them is missing.
    pub fn open(state_dir: &Path) -> Result<Self, CaError> {
        let directory = state_dir.join("trust");
        let (certificate, key) = (directory.join("ca.crt"), directory.join("ca.key"));
        match (certificate.exists(), key.exists()) {
            (true, true) => {
                let read = |path: &Path| {
                    fs::read_to_string(path).map_err(|source| CaError::File {
                        what: "read",
                        path: path.to_owned(),
                        source,
                    })
                };
                let pair = KeyPair::from_pem(&read(&key)?)?;
                Ok(Self { certificate: read(&certificate)?, issuer: Issuer::new(params(&pair), pair) })
            }
            (true, false) => Err(CaError::Half { present: certificate, missing: key }),
            (false, true) => Err(CaError::Half { present: key, missing: certificate }),
            (false, false) => Self::make(&directory, &certificate, &key),
        }
    }

    /// For clients, in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// What signs leaves.
    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    fn make(directory: &Path, certificate: &Path, key: &Path) -> Result<Self, CaError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CaError::File { what: "write", path, source }
        };
        let pair = KeyPair::generate()?;
        let params = params(&pair);
        let pem = params.self_signed(&pair)?.pem();
        fs::create_dir_all(directory).map_err(failed(directory))?;
        fs::set_permissions(directory, PermissionsExt::from_mode(0o700)).map_err(failed(directory))?;
        // The key first: a certificate without one would be trusted and useless.
        durable::write(key, pair.serialize_pem().as_bytes(), 0o600).map_err(failed(key))?;
        durable::write(certificate, pem.as_bytes(), 0o644).map_err(failed(certificate))?;
        Ok(Self { certificate: pem, issuer: Issuer::new(params, pair) })
    }
}

/// The same for the same key, so that the issuer of leaves is the one that the certificate names.
fn params(pair: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let print = digest(&SHA256, pair.der_bytes());
    let print: String = print.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("gateway authority {print}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, VALIDITY);
    params
}

/// Validity from now on.
pub(super) fn valid_for(params: &mut CertificateParams, time: Duration) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = rcgen::date_time_ymd(1970, 1, 1) + since;
    params.not_before = now - SKEW;
    params.not_after = now + time;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_once_and_its_key_is_roots_alone() {
        let state = tempfile::tempdir().unwrap();
        let made = Authority::open(state.path()).unwrap();
        assert_eq!(Authority::open(state.path()).unwrap().certificate_pem(), made.certificate_pem());
        let key = fs::metadata(state.path().join("trust/ca.key")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn half_an_authority_is_an_error_that_names_the_other_half() {
        let state = tempfile::tempdir().unwrap();
        Authority::open(state.path()).unwrap();
        fs::remove_file(state.path().join("trust/ca.key")).unwrap();
        let error = Authority::open(state.path()).err().unwrap().to_string();
        assert!(error.contains("ca.key` is not"), "{error}");
    }
}
