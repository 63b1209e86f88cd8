//! The first packets of a connection, before messages have tags.
//!
//! In: the bytes that a client sends before it is answered. Out: which request that is, with a StartupMessage's
//! parameters as written. Nothing is guessed: a length, version or layout that the protocol does not know is refused,
//! as are bytes that came along with a request that must be answered first (CVE-2021-23214 and its kin).

use crate::protocol::postgres::frame::split_string;

/// As the server has it (`MAX_STARTUP_PACKET_LENGTH`, src/include/libpq/pqcomm.h).
pub(super) const MAX_PACKET: usize = 10_000;

/// The newest protocol that we speak.
pub(super) const NEWEST: u32 = 0x0003_0002;
/// The one that every server speaks.
pub(super) const OLDEST: u32 = 0x0003_0000;

const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
/// First byte of a TLS handshake record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

/// What a client can begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// The TLS handshake itself, without asking.
    DirectTls,
    /// May we have TLS?
    SslRequest,
    /// May we have GSSAPI encryption?
    GssRequest,
    /// Cancel what this key's session runs.
    Cancel {
        /// The process number of the key.
        process: u32,
        /// The secret part: 4 bytes, or up to 256 since protocol 3.2.
        key: Vec<u8>,
    },
    /// Let me in.
    Startup(StartupMessage),
}

/// A StartupMessage as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StartupMessage {
    /// Major version in the upper half, minor in the lower.
    pub(super) version: u32,
    /// Names and values in order.
    pub(super) parameters: Vec<(String, String)>,
}

impl StartupMessage {
    /// The version that this client and we both speak.
    pub(super) fn agreed(&self) -> u32 {
        self.version.min(NEWEST)
    }

    /// Protocol options that we do not know: all of them.
    pub(super) fn unknown_options(&self) -> Vec<String> {
        self.parameters.iter().map(|(name, _)| name).filter(|name| name.starts_with("_pq_.")).cloned().collect()
    }
}

/// Why a first packet is refused. The client's fault, each of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// The length field is no length of any first packet.
    #[error("first packet declares the length {length}: expected 8 to {MAX_PACKET}")]
    Length {
        /// As declared.
        length: u32,
    },
    /// A request of fixed size has another.
    #[error("{request} of {length} bytes: expected {expected}")]
    RequestLength {
        /// Which request.
        request: &'static str,
        /// As declared.
        length: usize,
        /// As the protocol has it.
        expected: &'static str,
    },
    /// Bytes came along with a request that has to be answered first.
    #[error("{count} bytes came along with the request: wait for the answer before sending more")]
    Glued {
        /// How many.
        count: usize,
    },
    /// A version that is not 3.
    #[error("protocol version {major}.{minor}: only 3.0 and 3.2 are spoken here")]
    Version {
        /// Asked for.
        major: u32,
        /// Asked for.
        minor: u32,
    },
    /// The parameters are not pairs of strings.
    #[error("startup parameters are not pairs of strings in UTF-8")]
    Layout,
    /// A parameter was given twice.
    #[error("startup parameter `{name}` is given twice")]
    Duplicate {
        /// Which.
        name: String,
    },
}

/// Reads the first packet, once `bytes` hold it: the packet, and how many bytes it took.
///
/// # Errors
/// When no client that speaks the protocol sends this.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(First, usize)>, StartupError> {
    if bytes.first() == Some(&HANDSHAKE) {
        return Ok(Some((First::DirectTls, 0)));
    }
    let Some(length) = word(bytes, 0) else { return Ok(None) };
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    if !(8..=MAX_PACKET).contains(&size) {
        return Err(StartupError::Length { length });
    }
    let Some(code) = word(bytes, 4) else { return Ok(None) };
    check_fixed(code, size)?;
    let Some(packet) = bytes.get(..size) else { return Ok(None) };
    let glued = bytes.len() - size;
    if matches!(code, TLS | GSS | CANCEL) && glued > 0 {
        return Err(StartupError::Glued { count: glued });
    }
    let rest = packet.get(8..).unwrap_or_default();
    let first = match code {
        TLS => First::SslRequest,
        GSS => First::GssRequest,
        CANCEL => {
            let (process, key) = rest.split_at_checked(4).ok_or(StartupError::Layout)?;
            First::Cancel { process: word(process, 0).unwrap_or_default(), key: key.to_vec() }
        }
        version => First::Startup(StartupMessage { version: known(version)?, parameters: parameters(rest)? }),
    };
    Ok(Some((first, size)))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

fn check_fixed(code: u32, length: usize) -> Result<(), StartupError> {
    let (request, expected, fits) = match code {
        TLS => ("SSLRequest", "8", length == 8),
        GSS => ("GSSENCRequest", "8", length == 8),
        CANCEL => ("CancelRequest", "16 to 268", (16..=268).contains(&length)),
        _ => return Ok(()),
    };
    if fits { Ok(()) } else { Err(StartupError::RequestLength { request, length, expected }) }
}

fn known(version: u32) -> Result<u32, StartupError> {
    if version >> 16 == 3 {
        return Ok(version);
    }
    Err(StartupError::Version { major: version >> 16, minor: version & 0xffff })
}

fn parameters(mut rest: &[u8]) -> Result<Vec<(String, String)>, StartupError> {
    let mut found: Vec<(String, String)> = Vec::new();
    while rest != [0] {
        let (name, after) = split_string(rest).ok_or(StartupError::Layout)?;
        let (value, after) = split_string(after).ok_or(StartupError::Layout)?;
        let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else {
            return Err(StartupError::Layout);
        };
        if name.is_empty() {
            return Err(StartupError::Layout);
        }
        // Setting names are case-insensitive at the server, so that two spellings are one setting.
        if found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Err(StartupError::Duplicate { name: name.chars().take(64).collect() });
        }
        found.push((name.to_owned(), value.to_owned()));
        rest = after;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(code: u32, rest: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(8 + rest.len()).unwrap().to_be_bytes().to_vec();
        out.extend(code.to_be_bytes());
        out.extend(rest);
        out
    }

    #[test]
    fn reads_each_first_packet_and_waits_for_the_rest_of_a_cut_one() {
        let startup = packet(0x0003_0000, b"user\0al\0database\0shop\0\0");
        for whole in [packet(TLS, b""), packet(GSS, b""), packet(CANCEL, &[0, 0, 0, 9, 1, 2, 3, 4]), startup.clone()] {
            for cut in 0..whole.len() {
                assert_eq!(read(&whole[..cut]), Ok(None), "cut at {cut}");
            }
            assert_eq!(read(&whole).unwrap().unwrap().1, whole.len());
        }
        let Some((First::Startup(message), _)) = read(&startup).unwrap() else { panic!("a startup message") };
        assert_eq!(message.parameters, [("user".into(), "al".into()), ("database".into(), "shop".into())]);
        assert_eq!(read(b"\x16\x03"), Ok(Some((First::DirectTls, 0))));
    }

    #[test]
    fn refuses_lengths_that_no_first_packet_has() {
        for length in [0_u32, 4, 7, 10_001, u32::MAX] {
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend(TLS.to_be_bytes());
            // A length whose first byte is that of TLS does not come here.
            assert_eq!(read(&bytes), Err(StartupError::Length { length }));
        }
        assert!(matches!(read(&packet(TLS, &[0; 4])), Err(StartupError::RequestLength { length: 12, .. })));
        assert!(matches!(read(&packet(CANCEL, &[0; 4])), Err(StartupError::RequestLength { .. })));
        assert!(matches!(read(&packet(CANCEL, &[0; 300])), Err(StartupError::RequestLength { .. })));
    }

    #[test]
    fn refuses_bytes_glued_behind_a_request() {
        let mut bytes = packet(TLS, b"");
        bytes.push(b'Q');
        assert_eq!(read(&bytes), Err(StartupError::Glued { count: 1 }));
    }

    #[test]
    fn refuses_other_versions_and_broken_parameters() {
        assert!(matches!(read(&packet(0x0002_0000, b"\0")), Err(StartupError::Version { major: 2, .. })));
        for rest in [&b"user\0al"[..], b"", b"user\0\0", b"user\0al\0\0\0", b"us\xffer\0al\0\0", b"\0x\0\0"] {
            assert_eq!(read(&packet(0x0003_0000, rest)), Err(StartupError::Layout), "{rest:?}");
        }
        let twice = packet(0x0003_0000, b"DateStyle\0ISO\0datestyle\0SQL\0\0");
        assert!(matches!(read(&twice), Err(StartupError::Duplicate { .. })));
    }

    #[test]
    fn newer_minor_versions_are_answered_with_ours() {
        let Some((First::Startup(message), _)) = read(&packet(0x0003_270f, b"user\0a\0_pq_.x\0y\0\0")).unwrap() else {
            panic!("a startup message")
        };
        assert_eq!(message.agreed(), NEWEST);
        assert_eq!(message.unknown_options(), ["_pq_.x"]);
    }
}
