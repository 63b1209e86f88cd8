//! `[target.ssh]`: how an SSH server proves who it is, and which shell its clients get.
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
    /// What clients get that ask for a shell.
    pub shell: Shell,
}

/// `shell`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shell {
    /// The server's, in which nobody can tell the commands for sure.
    #[default]
    Server,
    /// Ours, which runs each line as a command that is judged.
    Lines,
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
        shell: section.one_of("shell", &[("server", Shell::Server), ("line", Shell::Lines)]).unwrap_or_default(),
    };
    section.finish();
    server
}
