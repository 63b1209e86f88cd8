//! What clients must trust of us.
//!
//! In: the state directory. Out: the certificate authority and the SSH keys of this host, made at first start and
//! readable by root alone. They sign for declared names only, and no client input decides one.

pub mod ca;
pub mod leaf;
pub mod ssh;

use std::fs;
use std::path::Path;

/// Files that hold the authorities of a system, by distribution.
pub const SYSTEM_AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// Where clients of SSH have the settings of a system, and there what it knows of hosts (ssh(1), FILES).
pub const SSH_CONFIG: &str = "/etc/ssh";
/// The name of that file.
pub const KNOWN_HOSTS: &str = "ssh_known_hosts";

/// Whether this system has our authority among its own.
#[must_use]
pub fn is_installed(state_dir: &Path) -> bool {
    let Ok(ours) = ca::Authority::open(state_dir) else { return false };
    let has_it = |path: &str| fs::read_to_string(path).is_ok_and(|list| list.contains(ours.certificate_pem().trim()));
    SYSTEM_AUTHORITIES.into_iter().any(has_it)
}
