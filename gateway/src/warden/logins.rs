//! Certificates for logins at SSH servers.
//!
//! In: a public key that the engine made for one login. Out: a certificate for the user that the configuration names, good
//! for minutes. The key that signs it is read here alone, and signs nothing for a target that does not ask for it.

use super::Warden;
use crate::chain::chain;
use crate::trust::ssh::SshKey;

/// The longest line of an Ed25519 key, without a comment.
const LONGEST: usize = 128;

impl Warden {
    /// Certifies a key for one login.
    ///
    /// # Errors
    /// With the reason why not.
    pub(super) fn certify(&self, target: &str, key: &str) -> Result<String, String> {
        let (user, state_dir) = {
            let config = self.config.lock();
            let target = config.targets.iter().find(|declared| declared.name == target);
            let credential = target.and_then(|target| target.credential.as_ref());
            let credential = credential.filter(|credential| credential.certificate);
            let user = credential.map(|credential| credential.user.clone());
            (user.ok_or("no target of that name logs in with certificates")?, config.state_dir.clone())
        };
        if key.len() > LONGEST || !key.starts_with("ssh-ed25519 ") {
            return Err("only an Ed25519 key is certified".to_owned());
        }
        let authority = SshKey::authority(&state_dir).map_err(|error| chain(&error))?;
        authority.certify(key, &user).map_err(|error| chain(&error))
    }
}
