//! SSH keys of this host, and what is known of those of servers.
//!
//! In: `ssh_host_key` and `ssh_authority_key` below the state directory, made where they are missing; known keys as the
//! configuration writes them. Out: the lines that clients and servers trust, and the answer whether a server's key is
//! known. A key that is not known is never taken for one that is.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::known_hosts::{HostPatterns, KnownHosts, Marker};
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, PublicKey, PublicKeyOrCertificate};

use crate::host::durable;

/// A certificate of our own host key is as good as that key, which does not expire either (`ssh-keygen -V always:forever`).
const FOREVER: u64 = u64::MAX;
/// How long a certificate for one login is valid: the clocks of both sides may be this far apart.
const LOGIN_VALIDITY: Duration = Duration::from_secs(5 * 60);

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SshKeyError {
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
    /// It is no private key that can be read without a passphrase.
    #[error("no private key can be read: give one in OpenSSH's or PKCS #8 format, without a passphrase")]
    Private(#[source] russh::keys::Error),
    /// It is no public key.
    #[error("`{text}` is no public key: write it as `ssh-ed25519 AAAA…`")]
    Public {
        /// What it is.
        text: String,
        /// The reason.
        source: russh::keys::ssh_key::Error,
    },
    /// A line of a file of known hosts cannot be read.
    #[error("line {line} of `{path}` is no entry of known hosts")]
    KnownHosts {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The reason.
        source: russh::keys::ssh_key::Error,
    },
    /// A key or certificate could not be made.
    #[error("a key or certificate could not be made")]
    Make(#[from] russh::keys::ssh_key::Error),
}

/// A private key of ours.
#[derive(Clone)]
pub struct SshKey(PrivateKey);

impl std::fmt::Debug for SshKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SshKey({})", self.fingerprint())
    }
}

impl SshKey {
    /// What clients are shown.
    ///
    /// # Errors
    /// Where it can be neither read nor made.
    pub fn host(state_dir: &Path) -> Result<Self, SshKeyError> {
        Self::open(&state_dir.join("trust/ssh_host_key"))
    }

    /// What signs certificates for logins.
    ///
    /// # Errors
    /// Where it can be neither read nor made.
    pub fn authority(state_dir: &Path) -> Result<Self, SshKeyError> {
        Self::open(&state_dir.join("trust/ssh_authority_key"))
    }

    /// What signs certificates of that key.
    ///
    /// # Errors
    /// Where it can be neither read nor made.
    pub fn host_authority(state_dir: &Path) -> Result<Self, SshKeyError> {
        Self::open(&state_dir.join("trust/ssh_host_authority_key"))
    }

    /// Reads one that its file or owner gives.
    ///
    /// # Errors
    /// Where it is none, or has a passphrase.
    pub fn parse(text: &[u8]) -> Result<Self, SshKeyError> {
        let text = String::from_utf8_lossy(text);
        russh::keys::decode_secret_key(&text, None).map(Self).map_err(SshKeyError::Private)
    }

    /// A new one that is kept nowhere.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn fresh() -> Result<Self, SshKeyError> {
        Ok(Self(PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519)?))
    }

    /// In OpenSSH's format.
    ///
    /// # Errors
    /// Where it cannot be written so.
    pub fn to_text(&self) -> Result<Vec<u8>, SshKeyError> {
        Ok(self.0.to_openssh(LineEnding::LF)?.as_bytes().to_vec())
    }

    /// The public half, `ssh-ed25519 AAAA…`.
    ///
    /// # Errors
    /// Where it cannot be written so.
    pub fn public_line(&self) -> Result<String, SshKeyError> {
        Ok(PublicKey::new(self.0.public_key().key_data().clone(), "").to_openssh()?)
    }

    /// `SHA256:…`
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// For the library that signs with it.
    #[must_use]
    pub fn private(&self) -> &PrivateKey {
        &self.0
    }

    /// A certificate for one login of `user` with the key `line`, good for minutes.
    ///
    /// # Errors
    /// Where `line` is no public key.
    pub fn certify(&self, line: &str, user: &str) -> Result<String, SshKeyError> {
        let key = public(line)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (from, to) = (now.saturating_sub(LOGIN_VALIDITY), now + LOGIN_VALIDITY);
        let mut rng = russh::keys::key::safe_rng();
        let mut builder =
            Builder::new_with_random_nonce(&mut rng, key.key_data().clone(), from.as_secs(), to.as_secs())?;
        builder.cert_type(CertType::User)?.key_id(format!("gateway {user}"))?.valid_principal(user)?;
        // What a session may do at the server is decided here, request by request; without this no terminal is there.
        builder.extension("permit-pty", "")?.extension("permit-port-forwarding", "")?;
        Ok(builder.sign(&self.0)?.to_openssh()?)
    }

    /// A certificate for a host's key, which clients take where they mean one of these names. `None` without a name: no
    /// names would mean every host to some clients, and none to others.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn certify_host(&self, key: &Self, names: &[String]) -> Result<Option<String>, SshKeyError> {
        if names.is_empty() {
            return Ok(None);
        }
        let mut rng = russh::keys::key::safe_rng();
        let key = key.0.public_key().key_data().clone();
        let mut builder = Builder::new_with_random_nonce(&mut rng, key, 0, FOREVER)?;
        builder.cert_type(CertType::Host)?.key_id("gateway")?;
        for name in names {
            builder.valid_principal(name)?;
        }
        Ok(Some(builder.sign(&self.0)?.to_openssh()?))
    }

    fn open(path: &Path) -> Result<Self, SshKeyError> {
        let failed = |what| move |source| SshKeyError::File { what, path: path.to_owned(), source };
        match fs::read(path) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self::fresh()?;
                if let Some(directory) = path.parent() {
                    fs::create_dir_all(directory).map_err(failed("make the directory of"))?;
                    fs::set_permissions(directory, PermissionsExt::from_mode(0o700)).map_err(failed("protect"))?;
                }
                durable::write(path, &key.to_text()?, 0o600).map_err(failed("write"))?;
                Ok(key)
            }
            Err(source) => Err(failed("read")(source)),
        }
    }
}

/// A certificate in the words of a `-cert.pub` file.
///
/// # Errors
/// Where it is none.
pub fn certificate(line: &str) -> Result<Certificate, SshKeyError> {
    Ok(Certificate::from_openssh(line)?)
}

/// The keys by which one server is known.
#[derive(Clone, Debug, Default)]
pub struct ServerKeys {
    keys: Vec<PublicKey>,
    authorities: Vec<PublicKey>,
    revoked: Vec<PublicKey>,
    names: Vec<String>,
}

/// How a server proved who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerIdentity {
    /// By a key that is known.
    Key(String),
    /// By a certificate of an authority that is known.
    Certificate(String),
    /// It did not, and the operator accepts that.
    Unverified(String),
}

impl std::fmt::Display for ServerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(fingerprint) => write!(f, "host key {fingerprint}"),
            Self::Certificate(fingerprint) => write!(f, "host certificate of {fingerprint}"),
            Self::Unverified(fingerprint) => write!(f, "none (host key {fingerprint})"),
        }
    }
}

impl ServerKeys {
    /// Reads lines; `names` are those that a host certificate may be for.
    ///
    /// # Errors
    /// Where a line is no public key.
    pub fn parse(keys: &[String], authorities: &[String], names: Vec<String>) -> Result<Self, SshKeyError> {
        let read = |lines: &[String]| lines.iter().map(|line| public(line)).collect::<Result<Vec<_>, _>>();
        Ok(Self { keys: read(keys)?, authorities: read(authorities)?, revoked: Vec::new(), names })
    }

    /// Adds what a file of known hosts says of one of the names, as they are written for `port`.
    ///
    /// # Errors
    /// With the first line that cannot be read: what it revokes would be lost.
    pub fn add_known_hosts(&mut self, path: &Path, text: &str, port: u16) -> Result<(), SshKeyError> {
        let wanted: Vec<String> = self.names.iter().map(|name| known_name(name, port)).collect();
        for (number, line) in text.lines().enumerate() {
            let Some(entry) = KnownHosts::new(line).next() else { continue };
            let bad = |source| SshKeyError::KnownHosts { path: path.to_owned(), line: number + 1, source };
            let entry = entry.map_err(bad)?;
            if !wanted.iter().any(|name| matches(entry.host_patterns(), name)) {
                continue;
            }
            let key = entry.public_key().clone();
            match entry.marker() {
                None => self.keys.push(key),
                Some(Marker::CertAuthority) => self.authorities.push(key),
                Some(Marker::Revoked) => self.revoked.push(key),
            }
        }
        Ok(())
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.authorities.is_empty()
    }

    /// The algorithms of known keys: the server is asked for these first, and shows a key that is known if it has one.
    #[must_use]
    pub fn algorithms(&self) -> Vec<Algorithm> {
        self.keys.iter().map(PublicKey::algorithm).collect()
    }

    /// Whether certificates are of any use.
    #[must_use]
    pub fn takes_certificates(&self) -> bool {
        !self.authorities.is_empty()
    }

    /// How a server that showed this is known; `None` where it is not.
    #[must_use]
    pub fn identify(&self, shown: &PublicKeyOrCertificate) -> Option<ServerIdentity> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                let same = |known: &PublicKey| known.key_data() == key.key_data();
                let is_known = self.keys.iter().any(same) && !self.revoked.iter().any(same);
                is_known.then(|| ServerIdentity::Key(key.fingerprint(HashAlg::Sha256).to_string()))
            }
            PublicKeyOrCertificate::Certificate(certificate) => self.identify_certificate(certificate),
        }
    }

    fn identify_certificate(&self, certificate: &Certificate) -> Option<ServerIdentity> {
        let revoked = |key: &PublicKey| {
            key.key_data() == certificate.public_key() || key.key_data() == certificate.signature_key()
        };
        let prints: Vec<_> = self.authorities.iter().map(|key| key.fingerprint(HashAlg::Sha256)).collect();
        let principals = certificate.valid_principals();
        // An empty list means every host, which OpenSSH refuses since 10.3.
        let names_it = principals.iter().any(|principal| self.names.iter().any(|name| name == principal));
        let fits = certificate.cert_type() == CertType::Host
            && names_it
            && !self.revoked.iter().any(revoked)
            && certificate.critical_options().is_empty()
            && certificate.validate(&prints).is_ok();
        let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
        fits.then(|| ServerIdentity::Certificate(authority.to_string()))
    }
}

fn public(line: &str) -> Result<PublicKey, SshKeyError> {
    PublicKey::from_openssh(line.trim()).map_err(|source| SshKeyError::Public { text: line.to_owned(), source })
}

/// A host as ssh_known_hosts has it: other ports than 22 stand behind the name in brackets (sshd(8)).
fn known_name(name: &str, port: u16) -> String {
    if port == 22 { name.to_owned() } else { format!("[{name}]:{port}") }
}

fn matches(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::Patterns(patterns) => {
            let (no, yes): (Vec<_>, Vec<_>) = patterns.iter().partition(|pattern| pattern.starts_with('!'));
            yes.iter().any(|pattern| glob(pattern.as_bytes(), name.as_bytes()))
                && !no.iter().any(|pattern| glob(pattern.trim_start_matches('!').as_bytes(), name.as_bytes()))
        }
        HostPatterns::HashedName { salt, hash } => {
            // The format of OpenSSH, which fixes the hash (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::sign(&key, name.as_bytes()).as_ref() == hash
        }
    }
}

/// `*` and `?`, in time that grows with the product of both lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == b'?' || text.get(from).is_some_and(|seen| seen.eq_ignore_ascii_case(byte)) => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star_at, star_from)) = star else { return false };
                star = Some((star_at, star_from + 1));
                at = star_at + 1;
                from = star_from + 1;
            }
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: &SshKey) -> PublicKeyOrCertificate {
        PublicKeyOrCertificate::from(key.private().public_key().clone())
    }

    #[test]
    fn is_made_once_and_is_roots_alone() {
        let state = tempfile::tempdir().unwrap();
        let made = SshKey::host(state.path()).unwrap();
        assert_eq!(SshKey::host(state.path()).unwrap().fingerprint(), made.fingerprint());
        assert_ne!(SshKey::authority(state.path()).unwrap().fingerprint(), made.fingerprint());
        let mode = fs::metadata(state.path().join("trust/ssh_host_key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{made:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_server_is_known_by_its_key_alone() {
        let (one, other) = (SshKey::fresh().unwrap(), SshKey::fresh().unwrap());
        let known = ServerKeys::parse(&[one.public_line().unwrap()], &[], vec!["10.0.0.5".into()]).unwrap();
        assert_eq!(known.identify(&shown(&one)), Some(ServerIdentity::Key(one.fingerprint())));
        assert_eq!(known.identify(&shown(&other)), None);
    }

    #[test]
    fn known_hosts_count_for_their_names_and_revoke() {
        let (one, other) = (SshKey::fresh().unwrap(), SshKey::fresh().unwrap());
        let line = |key: &SshKey| key.public_line().unwrap();
        let read = |text: &str, port| {
            let mut known = ServerKeys::parse(&[], &[], vec!["10.0.0.5".into(), "web.test".into()]).unwrap();
            known.add_known_hosts(Path::new("f"), text, port).unwrap();
            known
        };
        let text = format!("# c\n\nother {}\n*.test,!db.test {}\n", line(&other), line(&one));
        assert!(read(&text, 22).identify(&shown(&one)).is_some());
        assert!(read(&text, 22).identify(&shown(&other)).is_none());
        assert!(read(&text, 2222).is_empty());
        assert!(read(&format!("[10.0.0.5]:2222 {}\n", line(&one)), 2222).identify(&shown(&one)).is_some());
        let revoked = format!("{text}@revoked web.test {}\n", line(&one));
        assert!(read(&revoked, 22).identify(&shown(&one)).is_none());
        // As ssh-keygen -H writes a name.
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &[7; 20]);
        let hash = hmac::sign(&key, b"web.test").as_ref().try_into().unwrap();
        let hashed = HostPatterns::HashedName { salt: vec![7; 20], hash };
        assert!(matches(&hashed, "web.test") && !matches(&hashed, "db.test"));
        let mut broken = ServerKeys::default();
        assert!(broken.add_known_hosts(Path::new("f"), "x\n", 22).is_err());
    }

    #[test]
    fn a_certificate_counts_for_its_names_and_its_authority() {
        let (authority, host) = (SshKey::fresh().unwrap(), SshKey::fresh().unwrap());
        let signed = |kind: CertType, principal: &str| {
            let mut rng = russh::keys::key::safe_rng();
            let key = host.private().public_key().key_data().clone();
            let mut builder = Builder::new_with_random_nonce(&mut rng, key, 0, u64::MAX - 1).unwrap();
            builder.cert_type(kind).unwrap().valid_principal(principal).unwrap();
            PublicKeyOrCertificate::from(builder.sign(authority.private()).unwrap())
        };
        let known =
            |by: &SshKey| ServerKeys::parse(&[], &[by.public_line().unwrap()], vec!["web.test".into()]).unwrap();
        let good = signed(CertType::Host, "web.test");
        assert!(known(&authority).identify(&good).is_some());
        assert!(known(&host).identify(&good).is_none());
        assert!(known(&authority).identify(&signed(CertType::Host, "db.test")).is_none());
        assert!(known(&authority).identify(&signed(CertType::User, "web.test")).is_none());
    }

    #[test]
    fn a_login_gets_a_certificate_for_its_user_alone() {
        let (authority, key) = (SshKey::fresh().unwrap(), SshKey::fresh().unwrap());
        let line = authority.certify(&key.public_line().unwrap(), "deploy").unwrap();
        let made = certificate(&line).unwrap();
        assert_eq!(made.valid_principals(), ["deploy".to_owned()]);
        assert!(made.valid_before() - made.valid_after() <= 600);
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, fits) in
            [("a*c", "abbc", true), ("a*c", "abcd", false), ("?x", "ax", true), ("*", "", true), ("A.b", "a.B", true)]
        {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }
}
