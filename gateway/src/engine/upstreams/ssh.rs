//! How SSH targets are reached and logged in to.
//!
//! In: a target and its materials. Out: what clients are shown, how the server is known, our login there. What is
//! missing is an error: nothing falls back to a server that nobody knows.

use std::path::Path;
use std::sync::Arc;

use super::Upstreams;
use crate::bridge::{Material, SshMaterial};
use crate::chain::chain;
use crate::config::Target;
use crate::engine::certifier::{Certifier, OfTarget};
use crate::protocol::ssh::{Credential, Options, Proof};
use crate::secret::Secret;
use crate::trust::ssh::{ServerKeys, SshKey, certificate};

impl Upstreams {
    /// The way to a declared SSH server.
    ///
    /// # Errors
    /// With the reason, for the log and for the client.
    pub fn to_ssh(&self, target: Option<&Target>, certifier: &Arc<Certifier>) -> Result<Arc<Options>, String> {
        let target =
            target.ok_or("no target declares this SSH server, and a client's own login cannot be passed on")?;
        if let Some(known) = self.ready_ssh.lock().get(&target.name) {
            return Ok(Arc::clone(known));
        }
        let material = self.materials.get(&target.name).ok_or("the files of its target were not read")?;
        let ssh = material.ssh.as_ref().ok_or("the files of its target were not read")?;
        let made = Arc::new(options(target, (material, ssh), certifier)?);
        self.ready_ssh.lock().insert(target.name.clone(), Arc::clone(&made));
        Ok(made)
    }
}

fn options(
    target: &Target,
    (material, ssh): (&Material, &SshMaterial),
    certifier: &Arc<Certifier>,
) -> Result<Options, String> {
    let source = target.credential.as_ref().ok_or("its target has no [target.credential] to log in with")?;
    let failed = |error| chain(&error);
    Ok(Options {
        host_key: SshKey::parse(&ssh.host_key).map_err(failed)?,
        host_certificate: ssh.host_certificate.as_deref().map(certificate).transpose().map_err(failed)?.map(Box::new),
        known: Arc::new(known(target, ssh)?),
        shell: target.ssh.shell,
        credential: Credential {
            user: source.user.clone(),
            for_users: source.for_users.clone(),
            proof: match source.certificate {
                true => {
                    let (certifier, target) = (Arc::clone(certifier), target.name.clone());
                    Proof::Certificate(Arc::new(OfTarget { certifier, target }))
                }
                false => proof(material, ssh)?,
            },
            unverified: source.allow_unverified && target.ssh.is_unknown(),
        },
    })
}

fn known(target: &Target, ssh: &SshMaterial) -> Result<ServerKeys, String> {
    let mut known = ServerKeys::parse(&target.ssh.host_keys, &target.ssh.authorities, target.hosts())
        .map_err(|error| chain(&error))?;
    if let (Some(path), Some(text)) = (&target.ssh.known_hosts, &ssh.known_hosts) {
        for port in &target.ports {
            known.add_known_hosts(Path::new(path), text, *port).map_err(|error| chain(&error))?;
        }
    }
    Ok(known)
}

fn proof(material: &Material, ssh: &SshMaterial) -> Result<Proof, String> {
    match (&ssh.key, &material.password) {
        (Some(key), _) => SshKey::parse(key).map(|key| Proof::Key(Box::new(key))).map_err(|error| chain(&error)),
        (None, Some(password)) => Ok(Proof::Password(Secret::new(password.clone()))),
        (None, None) => Err("its target has neither key nor password".to_owned()),
    }
}
