//! The sealing keys: one private key at a time, each good for one seal.
//!
//! In: randomness, or a key file. Out: signatures, public keys, key files of mode 0600. A private key is overwritten in
//! memory when it is dropped and on disk when it was used; on a disk or file system that writes elsewhere (SSD,
//! copy-on-write) the second is an attempt only.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::layout::NO_FOLLOW;
use super::segment::open_regular;
use crate::audit::hex;

pub(super) const SEED_LEN: usize = 32;
pub(super) const SIGNATURE_LEN: usize = 64;

/// A public key of Ed25519.
pub(crate) type PublicKey = [u8; 32];

/// A private key.
pub(super) struct SealKey(Zeroizing<[u8; SEED_LEN]>);

impl SealKey {
    pub(super) fn generate() -> io::Result<Self> {
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        rand::fill(seed.as_mut()).map_err(|_| io::Error::other("the system gives no randomness"))?;
        Ok(Self(seed))
    }

    /// The key of a file; none where the file is missing or holds no key.
    pub(super) fn load(path: &Path) -> io::Result<Option<Self>> {
        let mut file = match open_regular(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        match file.read_exact(seed.as_mut()) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let more = file.read(&mut [0])? > 0;
        // An erased key is all zeros.
        Ok((!more && seed.iter().any(|byte| *byte != 0)).then_some(Self(seed)))
    }

    /// Writes it to a new file and to the disk.
    pub(super) fn store(&self, path: &Path) -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(NO_FOLLOW).open(path)?;
        file.write_all(self.0.as_ref())?;
        file.sync_all()
    }

    fn pair(&self) -> io::Result<Ed25519KeyPair> {
        Ed25519KeyPair::from_seed_unchecked(self.0.as_ref()).map_err(|_| io::Error::other("not an Ed25519 seed"))
    }

    pub(super) fn public(&self) -> io::Result<PublicKey> {
        PublicKey::try_from(self.pair()?.public_key().as_ref()).map_err(|_| io::Error::other("not an Ed25519 key"))
    }

    pub(super) fn sign(&self, message: &[u8]) -> io::Result<[u8; SIGNATURE_LEN]> {
        let signature = self.pair()?.sign(message);
        <[u8; SIGNATURE_LEN]>::try_from(signature.as_ref()).map_err(|_| io::Error::other("not an Ed25519 signature"))
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey")
    }
}

/// Overwrites a key file with zeros, on the disk too. The file stays.
pub(super) fn erase(path: &Path) -> io::Result<()> {
    let mut file: File = match OpenOptions::new().write(true).custom_flags(NO_FOLLOW).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    file.write_all(&[0; SEED_LEN])?;
    file.sync_all()
}

/// Overwrites a key file and removes it.
pub(super) fn destroy(path: &Path) -> io::Result<()> {
    erase(path)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn signed_by(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
}

/// The public half of a private key file; none where it is missing or holds no key.
pub(crate) fn public_half(path: &Path) -> io::Result<Option<PublicKey>> {
    SealKey::load(path)?.map(|key| key.public()).transpose()
}

/// The first public key of a host: what an installer notes elsewhere, and gives to `verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstKey(pub(crate) PublicKey);

/// The text is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a public key: expected 64 lower-case hex digits, as in seal.pub")]
pub struct InvalidKey;

impl FirstKey {
    /// Reads `seal.pub`.
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        let mut text = String::new();
        open_regular(path)?.take(80).read_to_string(&mut text)?;
        text.trim_end().parse().map_err(|error: InvalidKey| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl FromStr for FirstKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        hex::decode(text.as_bytes()).map(Self).ok_or(InvalidKey)
    }
}

impl fmt::Display for FirstKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}
