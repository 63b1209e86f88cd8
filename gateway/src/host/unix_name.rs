//! Names of unix sockets, as configurations write them and the kernel side compares them.
//!
//! In: text, or the bytes that a socket was bound to. Out: the other of the two. A name is what its owner bound, which
//! need not lead to the socket from anywhere else.

use std::str::FromStr;

use gateway_common::SocketName;

/// The longest path that a socket can have (`sun_path` of linux/un.h), without the zero behind it.
const LONGEST: usize = 107;

/// A path, all paths in a directory, or an abstract name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixName(Vec<u8>);

/// What was given is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no name of a socket: write `/run/x.sock`, `/run/x/` for all that is in it, or `@x` for an abstract name"
)]
pub struct InvalidUnixName {
    text: String,
}

impl UnixName {
    /// The length in bits, and the bytes, of the kernel's key.
    #[must_use]
    pub fn key(&self) -> (u32, SocketName) {
        let mut key = [0; size_of::<SocketName>()];
        for (to, from) in key.iter_mut().zip(&self.0) {
            *to = *from;
        }
        // The zero that ends a name is compared too, else `/run/x` were the start of `/run/xy`.
        let compared = if self.0.ends_with(b"/") { self.0.len() } else { self.0.len() + 1 };
        (u32::try_from(8 * compared).unwrap_or(u32::MAX), key)
    }
}

impl FromStr for UnixName {
    type Err = InvalidUnixName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidUnixName { text: text.to_owned() };
        if text.len() > LONGEST || text.contains('\0') || text == "/" || text == "@" {
            return Err(invalid());
        }
        match text.strip_prefix('@') {
            Some(name) => Ok(Self([b"\0", name.as_bytes()].concat())),
            None if text.starts_with('/') => Ok(Self(text.as_bytes().to_vec())),
            None => Err(invalid()),
        }
    }
}

/// A bound name for people.
#[must_use]
pub fn shown(name: &SocketName) -> String {
    let end = name.iter().skip(1).position(|byte| *byte == 0).map_or(name.len(), |end| end + 1);
    let text = String::from_utf8_lossy(name.get(..end).unwrap_or_default());
    match text.strip_prefix('\0') {
        Some(name) => format!("@{}", name.escape_default()),
        None => text.escape_default().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(name: &str, bound: &[u8]) -> bool {
        let (bits, key) = name.parse::<UnixName>().unwrap().key();
        let mut other = [0; 112];
        other[..bound.len()].copy_from_slice(bound);
        let bytes = usize::try_from(bits).unwrap() / 8;
        key[..bytes] == other[..bytes]
    }

    #[test]
    fn a_path_is_itself_alone_and_a_directory_all_in_it() {
        assert!(matches("/run/x", b"/run/x"));
        assert!(!matches("/run/x", b"/run/xy") && !matches("/run/x", b"/run/x/y"));
        assert!(matches("/run/x/", b"/run/x/y") && !matches("/run/x/", b"/run/x"));
        assert!(matches("@x", b"\0x") && !matches("@x", b"x") && !matches("@x", b"\0xy"));
    }

    #[test]
    fn what_could_mean_every_socket_or_none_is_no_name() {
        for text in ["", "/", "@", "run/x", "x\0y", &format!("/{}", "x".repeat(107))] {
            assert!(text.parse::<UnixName>().is_err(), "{text:?}");
        }
        assert!(format!("/{}", "x".repeat(106)).parse::<UnixName>().is_ok());
    }

    #[test]
    fn shows_what_was_bound_without_control_characters() {
        let shown_of = |bound: &[u8]| {
            let mut name = [0; 112];
            name[..bound.len()].copy_from_slice(bound);
            shown(&name)
        };
        assert_eq!(shown_of(b"/run/x"), "/run/x");
        assert_eq!(shown_of(b"\0x"), "@x");
        assert_eq!(shown_of(b"/a\x1b[2J"), "/a\\u{1b}[2J");
    }
}
