//! Which algorithms either leg speaks, and how large its windows are.
//!
//! In: the identification string of the client, the keys by which a server is known. Out: settings of the library for
//! both legs. AES-GCM comes first, compression never, and nothing with SHA-1 or CBC at all.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::ssh_key::EcdsaCurve;
use russh::keys::{Algorithm, Certificate, HashAlg};
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, client, compression, kex, mac, server};

use super::Options;
use crate::trust::ssh::ServerKeys;

/// What a side may send on a channel before it hears from the other. With smaller ones and the usual packets, transfers
/// take twice as long.
pub(super) const WINDOW: u32 = 4 << 20;
/// The largest that the library takes.
const PACKET: u32 = 65_535;
/// Messages that a channel keeps. Fewer reach the marks of `flow`; those that are not counted there are dropped by the
/// library beyond this.
const MESSAGES: usize = 1 << 17;
/// After how long without a sign of life the other side is asked for one, and how often.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVES: usize = 4;
/// What both sides see of us.
const IDENTIFICATION: &str = "SSH-2.0-gateway";

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G16_SHA512,
    kex::DH_G14_SHA256,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    // Against the removal of packets at the start (CVE-2023-48795).
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// Clients that take our key without a certificate too, as they know it. Go's do not look at lines for plain keys once they
/// were shown a certificate.
const CERTIFIED: [&str; 2] = ["SSH-2.0-OpenSSH_", "SSH-2.0-AsyncSSH_"];

const GCM: &[cipher::Name] = &[cipher::AES_128_GCM, cipher::AES_256_GCM];

const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// Towards a client that said this of itself; `None`: it waits for us to speak first.
pub(super) fn towards_client(options: &Options, client: Option<&str>) -> server::Config {
    // The client's order counts (RFC 4253, section 7.1), and OpenSSH puts AES-GCM last; it has it since 6.2 (2013).
    let has_gcm = client.is_some_and(|id| id.starts_with("SSH-2.0-OpenSSH_") && !is_before_gcm(id));
    let takes_certificates = client.is_some_and(|id| CERTIFIED.iter().any(|start| id.starts_with(start)));
    let certificate = options.host_certificate.iter().filter(|_| takes_certificates);
    let mut methods = MethodSet::empty();
    for method in [MethodKind::None, MethodKind::PublicKey, MethodKind::Password] {
        methods.push(method);
    }
    server::Config {
        server_id: SshId::Standard(Cow::Borrowed(IDENTIFICATION)),
        methods,
        auth_rejection_time: Duration::from_secs(1),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![options.host_key.private().clone()],
        certificates: certificate.map(|certificate| Certificate::clone(certificate)).collect(),
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        channel_buffer_size: MESSAGES,
        preferred: preferred(if has_gcm { GCM } else { CIPHERS }),
        inactivity_timeout: None,
        keepalive_interval: Some(KEEP_ALIVE),
        keepalive_max: KEEP_ALIVES,
        nodelay: true,
        ..server::Config::default()
    }
}

/// OpenSSH 3 to 6.1.
fn is_before_gcm(id: &str) -> bool {
    let version = id.trim_start_matches("SSH-2.0-OpenSSH_").split(['p', ' ', '-']).next().unwrap_or_default();
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (6, 2)
}

/// Towards a server that is known by these keys.
pub(super) fn towards_server(known: &ServerKeys) -> Arc<client::Config> {
    let mut preferred = preferred(CIPHERS);
    // A server has several keys and shows the first that we take: ask for those that we know.
    let known_first: Vec<Algorithm> = known.algorithms().into_iter().flat_map(with_hashes).collect();
    if !known_first.is_empty() && !known.takes_certificates() {
        preferred.key = Cow::Owned(KEYS.iter().filter(|key| known_first.contains(key)).cloned().collect());
    }
    if known.takes_certificates() {
        preferred.host_key_certificates = Cow::Borrowed(KEYS);
    }
    Arc::new(client::Config {
        client_id: SshId::Standard(Cow::Borrowed(IDENTIFICATION)),
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        channel_buffer_size: MESSAGES,
        preferred,
        inactivity_timeout: None,
        keepalive_interval: Some(KEEP_ALIVE),
        keepalive_max: KEEP_ALIVES,
        nodelay: true,
        ..client::Config::default()
    })
}

/// An RSA key signs with several hashes; the one with SHA-1 is not ours.
fn with_hashes(algorithm: Algorithm) -> Vec<Algorithm> {
    match algorithm {
        Algorithm::Rsa { .. } => {
            [HashAlg::Sha512, HashAlg::Sha256].map(|hash| Algorithm::Rsa { hash: Some(hash) }).to_vec()
        }
        other => vec![other],
    }
}

fn preferred(ciphers: &'static [cipher::Name]) -> Preferred {
    Preferred {
        kex: Cow::Borrowed(KEX),
        key: Cow::Borrowed(KEYS),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(ciphers),
        mac: Cow::Borrowed(MACS),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_clients_are_known_by_their_version() {
        for (id, is_old) in [
            ("SSH-2.0-OpenSSH_9.2p1 Debian-2", false),
            ("SSH-2.0-OpenSSH_10.3", false),
            ("SSH-2.0-OpenSSH_6.1p1", true),
            ("SSH-2.0-OpenSSH_5.3", true),
            ("SSH-2.0-OpenSSH_", true),
        ] {
            assert_eq!(is_before_gcm(id), is_old, "{id}");
        }
    }
}
