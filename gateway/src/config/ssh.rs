//! `[target.ssh]`: how an SSH server proves who it is.
//!
//! In: keys, authorities and the name of a file as they are written. Out: the same as texts: whether a key is one is
//! found out where files are read.

use std::path::PathBuf;

use super::table::Section;

/// What is known of a server's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshServer {
    /// Its public keys, `ssh-ed25519 AAAA…`.
    pub host_keys: Vec<String>,
    /// Authorities that sign its host certificate, likewise.
    pub authorities: Vec<String>,
    /// A file in the format of ssh_known_hosts, in which its names and addresses are looked for.
    pub known_hosts: Option<PathBuf>,
}

impl SshServer {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.host_keys.is_empty() && self.authorities.is_empty() && self.known_hosts.is_none()
    }
}

pub(super) fn read(section: &Section<'_, '_>) -> SshServer {
    let server = SshServer {
        host_keys: section.strings("host_keys"),
        authorities: section.strings("authorities"),
        known_hosts: section.string("known_hosts").map(PathBuf::from),
    };
    section.finish();
    server
}
