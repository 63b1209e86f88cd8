//! Finds secrets that say what they are: private keys, JWTs, keys of clouds and forges.
//!
//! In: bytes and the place where a known beginning stands. Out: where the secret ends, if it is one. Every check reads
//! a bounded number of bytes beyond the secret itself.

use std::ops::Range;

/// Which detector a beginning belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secret {
    Jwt,
    PrivateKey,
    CloudKey,
    ForgeToken,
}

/// What has to follow a beginning.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// Header, payload and signature.
    Jwt,
    /// Up to its END line.
    Pem,
    /// A name; the secret follows behind `=`, `:` and quotes.
    AwsLabel,
    /// Characters of the alphabet, from so many to so many. With `Mixed`, a capital, a small letter and a digit among
    /// them: words with hyphens are none.
    Body(Alphabet, usize, usize, Mix),
}

/// The characters of a secret's body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Alphabet {
    Alphanumeric,
    Base64,
    Url,
    Base32,
    Dotted,
}

/// What must be among the characters.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mix {
    Any,
    Digit,
    Mixed,
}

impl Alphabet {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Alphanumeric => byte.is_ascii_alphanumeric(),
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Base32 => matches!(byte, b'A'..=b'Z' | b'2'..=b'7'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
        }
    }
}

use Alphabet::{Alphanumeric, Base32, Base64, Dotted, Url};
use Mix::{Any, Digit, Mixed};
use Secret::{CloudKey, ForgeToken, Jwt, PrivateKey};

/// Longer bodies are cut off for nobody: no such secret is longer.
const LONG: usize = 512;

/// Where secrets begin. A beginning of another one comes after it.
pub(super) const BEGINNINGS: &[(&str, Secret, Form)] = &[
    ("eyJ", Jwt, Form::Jwt),
    ("-----BEGIN ", PrivateKey, Form::Pem),
    // AWS: IAM identifiers, and the secret behind its usual names.
    ("AKIA", CloudKey, Form::Body(Base32, 16, 16, Any)),
    ("ASIA", CloudKey, Form::Body(Base32, 16, 16, Any)),
    ("ecretAccessKey", CloudKey, Form::AwsLabel),
    ("ecret_access_key", CloudKey, Form::AwsLabel),
    ("ECRET_ACCESS_KEY", CloudKey, Form::AwsLabel),
    // Google API keys and OAuth tokens; Azure storage keys; DigitalOcean.
    ("AIza", CloudKey, Form::Body(Url, 35, 35, Any)),
    ("ya29.", CloudKey, Form::Body(Dotted, 30, LONG * 4, Mixed)),
    ("AccountKey=", CloudKey, Form::Body(Base64, 86, 88, Mixed)),
    ("dop_v1_", CloudKey, Form::Body(Alphanumeric, 64, 64, Digit)),
    // GitHub, GitLab, Slack, npm, PyPI, Docker, Hugging Face, Vault.
    ("github_pat_", ForgeToken, Form::Body(Url, 60, LONG, Digit)),
    ("ghp_", ForgeToken, Form::Body(Alphanumeric, 36, LONG, Any)),
    ("gho_", ForgeToken, Form::Body(Alphanumeric, 36, LONG, Any)),
    ("ghu_", ForgeToken, Form::Body(Alphanumeric, 36, LONG, Any)),
    ("ghs_", ForgeToken, Form::Body(Alphanumeric, 36, LONG, Any)),
    ("ghr_", ForgeToken, Form::Body(Alphanumeric, 36, LONG, Any)),
    ("glpat-", ForgeToken, Form::Body(Dotted, 20, LONG, Any)),
    ("gldt-", ForgeToken, Form::Body(Url, 20, LONG, Digit)),
    ("glrt-", ForgeToken, Form::Body(Dotted, 20, LONG, Digit)),
    ("xoxb-", ForgeToken, Form::Body(Url, 20, LONG, Digit)),
    ("xoxp-", ForgeToken, Form::Body(Url, 20, LONG, Digit)),
    ("xoxa-", ForgeToken, Form::Body(Url, 20, LONG, Digit)),
    ("xoxe-", ForgeToken, Form::Body(Url, 20, LONG, Digit)),
    ("xoxr-", ForgeToken, Form::Body(Url, 20, LONG, Digit)),
    ("xoxs-", ForgeToken, Form::Body(Url, 20, LONG, Digit)),
    ("xapp-", ForgeToken, Form::Body(Url, 20, LONG, Digit)),
    ("npm_", ForgeToken, Form::Body(Alphanumeric, 36, 36, Any)),
    ("pypi-AgEI", ForgeToken, Form::Body(Url, 50, LONG, Any)),
    ("dckr_pat_", ForgeToken, Form::Body(Url, 27, LONG, Any)),
    ("hf_", ForgeToken, Form::Body(Alphanumeric, 34, 34, Any)),
    ("hvs.", ForgeToken, Form::Body(Url, 24, LONG, Mixed)),
    // Model providers and payment: the longer beginnings of `sk-` need no look at the characters.
    ("sk-ant-", ForgeToken, Form::Body(Url, 20, LONG, Digit)),
    ("sk-", ForgeToken, Form::Body(Url, 20, LONG, Mixed)),
    ("sk_live_", ForgeToken, Form::Body(Alphanumeric, 16, LONG, Digit)),
    ("rk_live_", ForgeToken, Form::Body(Alphanumeric, 16, LONG, Digit)),
    ("whsec_", ForgeToken, Form::Body(Base64, 32, LONG, Mixed)),
];

/// A secret, and whether more of it may follow behind the end of the data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) range: Range<usize>,
    pub(super) is_open: bool,
}

/// The secret whose beginning stands at `beginning`, if it is one.
pub(super) fn check(bytes: &[u8], beginning: Range<usize>, form: Form) -> Option<Found> {
    match form {
        Form::Pem => pem(bytes, beginning),
        Form::AwsLabel => aws_secret(bytes, beginning.end),
        Form::Jwt if begins_word(bytes, beginning.start, Url) => jwt(bytes, beginning.start),
        Form::Body(alphabet, least, most, mix) if begins_word(bytes, beginning.start, alphabet) => {
            let body = word(bytes, beginning.end, alphabet, most + 1);
            let fits = (least..=most).contains(&body.len()) && mix.is_in(body);
            let end = beginning.end + body.len();
            fits.then_some(Found { range: beginning.start..end, is_open: false })
        }
        Form::Jwt | Form::Body(..) => None,
    }
}

impl Mix {
    fn is_in(self, body: &[u8]) -> bool {
        let has = |test: fn(&u8) -> bool| body.iter().any(test);
        match self {
            Self::Any => true,
            Self::Digit => has(u8::is_ascii_digit),
            Self::Mixed => has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase),
        }
    }
}

/// Up to `most` characters of an alphabet.
fn word(bytes: &[u8], start: usize, alphabet: Alphabet, most: usize) -> &[u8] {
    let rest = bytes.get(start..).unwrap_or_default();
    let count = rest.iter().take(most).take_while(|byte| alphabet.has(**byte)).count();
    rest.get(..count).unwrap_or_default()
}

/// Whether no word of the alphabet goes on here: a word is read from its start alone, and so once. The letter of an
/// escape such as `\n` belongs to none.
fn begins_word(bytes: &[u8], at: usize, alphabet: Alphabet) -> bool {
    let before = |back: usize| at.checked_sub(back).and_then(|at| bytes.get(at)).copied();
    match before(1) {
        Some(b'b' | b'f' | b'n' | b'r' | b't') if before(2) == Some(b'\\') => true,
        // In an assignment `=` stands before a secret, though it is also the end of one in base64.
        Some(b'=') => true,
        Some(byte) => !alphabet.has(byte) && !byte.is_ascii_alphanumeric() && byte != b'_',
        None => true,
    }
}

/// Three parts or, encrypted, five; the first is JSON that names an algorithm (RFC 7515, 4.1.1; RFC 7516, 4.1.1).
fn jwt(bytes: &[u8], start: usize) -> Option<Found> {
    const HEADER: usize = 4096;
    let header = word(bytes, start, Url, HEADER);
    let parsed: serde_json::Value = serde_json::from_slice(&decode_base64url(header)?).ok()?;
    parsed.get("alg")?.as_str()?;
    let mut end = start + header.len();
    let mut parts = 1;
    while parts < 5 && bytes.get(end) == Some(&b'.') {
        end += 1 + word(bytes, end + 1, Url, usize::MAX).len();
        parts += 1;
    }
    // Its last part may be cut off, or be empty: a header alone is no secret.
    (parts >= 2 && end > start + header.len() + 1).then_some(Found { range: start..end, is_open: end == bytes.len() })
}

fn decode_base64url(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for byte in group {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        let [_, a, b, c] = bits.to_be_bytes();
        out.extend([a, b, c].iter().take(group.len().saturating_sub(1).min(3)));
    }
    Some(out)
}

/// How a PEM block of a private key ends (RFC 7468; PGP: RFC 9580, 6.2).
const PEM_ENDS: [&[u8]; 2] = [b"PRIVATE KEY-----", b"PRIVATE KEY BLOCK-----"];
/// The longest private key that is hidden whole; one of RSA with 16384 bits has 13 KB.
pub(in crate::masking) const PEM_LONGEST: usize = 16 << 10;

/// A private key in PEM. The words of a label are capitals, digits and spaces; a label alone, as documentation has it,
/// is no key: a line of base64 must follow.
fn pem(bytes: &[u8], beginning: Range<usize>) -> Option<Found> {
    let rest = bytes.get(beginning.end..)?;
    let label = rest.iter().take(40).take_while(|byte| byte.is_ascii_uppercase() || **byte == b' ').count();
    let (label, rest) = rest.split_at_checked(label)?;
    let is_private = label.ends_with(b"PRIVATE KEY") || label.ends_with(b"PRIVATE KEY BLOCK");
    let body = rest.strip_prefix(b"-----").filter(|_| is_private)?;
    let body_at = bytes.len() - body.len();
    let start = beginning.start;
    let near = body.get(..PEM_LONGEST.min(body.len())).unwrap_or_default();
    let mut words = near.get(..near.len().min(256)).unwrap_or_default().split(|byte| !Base64.has(*byte));
    let is_cut_off = near.len() < 24 && near.iter().all(|byte| is_pem_body(*byte));
    if !is_cut_off && !words.any(|word| word.len() >= 16) {
        return None;
    }
    if let Some(end) = pem_end(near) {
        return Some(Found { range: start..body_at + end, is_open: false });
    }
    // No end in sight: what looks like its body.
    let end = body_at + near.iter().take_while(|byte| is_pem_body(**byte)).count();
    Some(Found { range: start..end, is_open: end == bytes.len() })
}

/// Whether a byte can stand in the body of a PEM block: base64, headers, and line ends as they are or escaped.
pub(in crate::masking) fn is_pem_body(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=\\ \r\n\t:,-.".contains(&byte)
}

/// Whether a byte can stand in a token.
pub(in crate::masking) fn is_token_body(byte: u8) -> bool {
    Dotted.has(byte)
}

/// Where the END line of a key ends.
pub(in crate::masking) fn pem_end(body: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(body, b"-----END ").find_map(|at| {
        let label = body.get(at + 9..)?;
        let label = label.get(..64.min(label.len()))?;
        let ends = PEM_ENDS.iter().filter_map(|end| Some(memchr::memmem::find(label, end)? + end.len()));
        Some(at + 9 + ends.min()?)
    })
}

/// The forty characters behind the name of an AWS secret key.
fn aws_secret(bytes: &[u8], after: usize) -> Option<Found> {
    const LENGTH: usize = 40;
    let rest = bytes.get(after..)?;
    let gap = rest.iter().take(16).take_while(|byte| b" \t:=\"'\\>|,".contains(byte)).count();
    let start = after + gap;
    let body = word(bytes, start, Base64, LENGTH + 1);
    let fits = gap > 0 && body.len() == LENGTH && Mixed.is_in(body);
    fits.then_some(Found { range: start..start + LENGTH, is_open: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_is_decoded_as_the_rfc_says() {
        // RFC 4648, section 10, without padding.
        for (text, bytes) in [("", ""), ("Zg", "f"), ("Zm8", "fo"), ("Zm9v", "foo"), ("Zm9vYg", "foob")] {
            assert_eq!(decode_base64url(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
        assert_eq!(decode_base64url(b"Zm9v+"), None);
    }

    #[test]
    fn no_beginning_hides_a_longer_one() {
        for (index, (beginning, ..)) in BEGINNINGS.iter().enumerate() {
            assert!(BEGINNINGS.iter().take(index).all(|(other, ..)| !beginning.starts_with(other)), "{beginning}");
        }
    }
}
