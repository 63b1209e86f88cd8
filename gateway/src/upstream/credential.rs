//! A login that the gateway holds, and to whom it may be shown.
//!
//! In: what the configuration says of one credential. Out: the secret, for one of the user names that it serves and for
//! a peer that was verified. It never goes to a server that could be anybody, unless the operator accepted that by name.

use crate::secret::Secret;
use crate::upstream::tls::Peer;

/// Whether a server that was not verified may see what this credential proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnverifiedServer {
    /// The login is refused before anything secret is sent.
    Refuse,
    /// The operator wrote `allow_unverified = true`: SCRAM may run, a password in clear or MD5 still may not.
    AllowScram,
}

/// A login to one server, kept from the workload.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The server's role, which statements run as.
    pub user: String,
    /// The user names that a client may ask for and get this login. Empty: the credential's own name.
    pub for_users: Vec<String>,
    /// The password, if there is one; a client certificate stands in the TLS settings.
    pub password: Option<Secret>,
    /// Whether a server that was not verified may be logged in to.
    pub unverified: UnverifiedServer,
}

impl Credential {
    /// Whether a client that asks for `user` is given this login.
    #[must_use]
    pub fn serves(&self, user: &str) -> bool {
        if self.for_users.is_empty() { user == self.user } else { self.for_users.iter().any(|name| name == user) }
    }

    /// Whether a login may be tried at all with this peer.
    #[must_use]
    pub fn may_go_to(&self, peer: &Peer) -> bool {
        peer.is_verified() || self.unverified == UnverifiedServer::AllowScram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(for_users: &[&str]) -> Credential {
        Credential {
            user: "app_ro".into(),
            for_users: for_users.iter().map(|name| (*name).to_owned()).collect(),
            password: None,
            unverified: UnverifiedServer::Refuse,
        }
    }

    #[test]
    fn serves_its_own_name_by_default() {
        assert!(credential(&[]).serves("app_ro"));
        assert!(!credential(&[]).serves("postgres"));
    }

    #[test]
    fn serves_only_the_names_it_was_made_for() {
        assert!(credential(&["alice", "bob"]).serves("bob"));
        assert!(!credential(&["alice", "bob"]).serves("app_ro"));
    }

    #[test]
    fn goes_to_no_unverified_server() {
        assert!(!credential(&[]).may_go_to(&Peer::plaintext()));
    }
}
