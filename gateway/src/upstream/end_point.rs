//! The `tls-server-end-point` channel binding (RFC 5929, section 4.1).
//!
//! In: a certificate in DER. Out: its hash by the hash function of its signature algorithm, MD5 and SHA-1 replaced by
//! SHA-256. An algorithm without a single hash function (Ed25519) defines no binding: the answer is none, never a guess.

use aws_lc_rs::digest;

/// The binding of this certificate, where its signature algorithm defines one.
pub(super) fn hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = hash_algorithm(certificate)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const CONTEXT_0: u8 = 0xa0;

// TABLE: the object identifiers of signature algorithms (RFC 3279, RFC 4055, RFC 5758), DER content bytes.
const RSA_PREFIX: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
const ECDSA_SHA2_PREFIX: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const SHA2_PREFIX: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

fn hash_algorithm(certificate: &[u8]) -> Option<&'static digest::Algorithm> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature } (RFC 5280, section 4.1).
    let (body, _) = element(certificate, SEQUENCE)?;
    let (_, rest) = element(body, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (oid, parameters) = element(algorithm, OID)?;
    if let Some(last) = oid.strip_prefix(RSA_PREFIX) {
        return match last {
            [4 | 5 | 11] => Some(&digest::SHA256),
            [12] => Some(&digest::SHA384),
            [13] => Some(&digest::SHA512),
            [10] => pss_hash(parameters),
            _ => None,
        };
    }
    if oid == ECDSA_SHA1 {
        return Some(&digest::SHA256);
    }
    match oid.strip_prefix(ECDSA_SHA2_PREFIX)? {
        [2] => Some(&digest::SHA256),
        [3] => Some(&digest::SHA384),
        [4] => Some(&digest::SHA512),
        _ => None,
    }
}

/// RSASSA-PSS names its hash in its parameters: `[0] hashAlgorithm`, SHA-1 by default (RFC 4055, section 3.1).
fn pss_hash(parameters: &[u8]) -> Option<&'static digest::Algorithm> {
    let (fields, _) = element(parameters, SEQUENCE)?;
    let Some((tagged, _)) = element(fields, CONTEXT_0) else { return Some(&digest::SHA256) };
    let (algorithm, _) = element(tagged, SEQUENCE)?;
    let (oid, _) = element(algorithm, OID)?;
    if oid == SHA1 {
        return Some(&digest::SHA256);
    }
    match oid.strip_prefix(SHA2_PREFIX)? {
        [1] => Some(&digest::SHA256),
        [2] => Some(&digest::SHA384),
        [3] => Some(&digest::SHA512),
        _ => None,
    }
}

/// Splits off one DER element: its content, and what follows it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = input.split_first()?;
    if *first != tag {
        return None;
    }
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        // Two to three length bytes: a certificate is no longer than 16 MiB.
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x0f))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_by_the_algorithm_of_the_signature() {
        for (algorithm, hash) in
            [(&rcgen::PKCS_ECDSA_P256_SHA256, &digest::SHA256), (&rcgen::PKCS_ECDSA_P384_SHA384, &digest::SHA384)]
        {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let certificate = rcgen::CertificateParams::new(vec!["db".into()]).unwrap().self_signed(&key).unwrap();
            let expected = digest::digest(hash, certificate.der());
            assert_eq!(super::hash(certificate.der()).as_deref(), Some(expected.as_ref()));
        }
    }

    #[test]
    fn an_algorithm_without_a_hash_has_no_binding() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["db".into()]).unwrap().self_signed(&key).unwrap();
        assert_eq!(hash(certificate.der()), None);
    }

    #[test]
    fn cut_certificates_have_no_binding() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["db".into()]).unwrap().self_signed(&key).unwrap();
        for length in 0..certificate.der().len() {
            assert_eq!(hash(&certificate.der()[..length]), None);
        }
    }
}
