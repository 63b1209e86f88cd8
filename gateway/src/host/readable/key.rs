//! Whether a file is a private key, and whether a passphrase protects it.
//!
//! In: a file. Out: which of both, or neither. Only the first lines are read, and none of them is kept.

use std::fs::File;
use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Enough for the headers of all forms.
const BEGINNING: u64 = 512;
/// How the form of OpenSSH begins, and the length of the name of its cipher (PROTOCOL.key).
const OPENSSH: &[u8] = b"openssh-key-v1\0";

/// In words; `None`: it is no private key.
pub(super) fn state(file: File) -> Option<&'static str> {
    let mut bytes = Vec::new();
    file.take(BEGINNING).read_to_end(&mut bytes).ok()?;
    of(&String::from_utf8_lossy(&bytes))
}

fn of(text: &str) -> Option<&'static str> {
    let begin = text.lines().find(|line| line.starts_with("-----BEGIN "))?;
    if !begin.contains("PRIVATE KEY") {
        return None;
    }
    let encrypted = begin.contains("ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED") || has_cipher(text);
    Some(if encrypted { "which a passphrase protects" } else { "which nothing protects" })
}

/// Whether the form of OpenSSH names a cipher.
fn has_cipher(text: &str) -> bool {
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).take(2).collect();
    let whole = body.get(..body.len() / 4 * 4).unwrap_or_default();
    let Ok(bytes) = STANDARD.decode(whole.trim_end_matches('=')) else { return false };
    let Some(rest) = bytes.strip_prefix(OPENSSH).and_then(|rest| rest.get(4..)) else { return false };
    !rest.starts_with(b"none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_with_and_without_a_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        for (kind, passphrase, wanted) in [
            ("ed25519", "", "which nothing protects"),
            ("rsa", "", "which nothing protects"),
            ("ed25519", "correct horse", "which a passphrase protects"),
            ("rsa", "correct horse", "which a passphrase protects"),
        ] {
            for form in ["RFC4716", "PEM", "PKCS8"] {
                let path = folder.path().join(format!("{kind}-{form}-{}", passphrase.len()));
                let mut command = std::process::Command::new("ssh-keygen");
                command.args(["-q", "-t", kind, "-N", passphrase, "-m", form, "-f"]).arg(&path);
                assert!(command.status().unwrap().success());
                assert_eq!(state(File::open(&path).unwrap()), Some(wanted), "{kind} {form}");
                assert_eq!(state(File::open(path.with_extension("pub")).unwrap()), None);
            }
        }
        assert_eq!(of("-----BEGIN CERTIFICATE-----\n"), None);
        assert_eq!(of(""), None);
    }
}
