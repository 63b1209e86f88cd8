//! How each target is reached and logged in to, made ready when settings are read.
//!
//! In: targets and their materials. Out: TLS settings for both legs and the login of each target. A target whose
//! materials do not fit is an error of its own, told to whoever connects: the others go on.

mod ssh;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::bridge::Material;
use crate::chain::chain;
use crate::config::{Config, Login, Target, TlsMode as Mode};
use crate::protocol::kubernetes::Way;
use crate::protocol::postgres::{ClientTls, Denial, LoginMode, SqlState};
use crate::protocol::ssh::Options;
use crate::secret::Secret;
use crate::upstream::credential::{Credential, UnverifiedServer};
use crate::upstream::tls::{ClientCertificate, TlsMode, UpstreamTls};

/// Addresses of a target that TLS settings are kept ready for.
const MAX_READY: usize = 1_024;

/// The ways to all targets.
#[derive(Debug)]
pub struct Upstreams {
    materials: BTreeMap<String, Material>,
    undeclared: Login,
    /// By target and by the name to verify.
    ready: Mutex<BTreeMap<(String, String), Arc<Upstream>>>,
    /// The same of Kubernetes APIs.
    clusters: Mutex<BTreeMap<(String, String), Arc<Cluster>>>,
    /// SSH servers, by target.
    ready_ssh: Mutex<BTreeMap<String, Arc<Options>>>,
}

/// A way to a server.
#[derive(Debug)]
pub struct Upstream {
    /// Towards the server.
    pub tls: UpstreamTls,
    /// How clients log in.
    pub login: LoginMode,
    /// Towards the client.
    pub client_tls: Option<ClientTls>,
}

impl Upstreams {
    /// Those of a configuration.
    #[must_use]
    pub fn new(config: &Config, materials: BTreeMap<String, Material>) -> Self {
        Self {
            materials,
            undeclared: config.undeclared.postgres,
            ready: Mutex::default(),
            clusters: Mutex::default(),
            ready_ssh: Mutex::default(),
        }
    }

    /// The way to a destination of a target, or to an undeclared one.
    ///
    /// # Errors
    /// With the reason for the log.
    pub fn to(&self, target: Option<&Target>, address: IpAddr) -> Result<Arc<Upstream>, String> {
        let name = target.map_or("", |target| target.name.as_str());
        let verified = target.and_then(|target| target.tls.name.clone()).unwrap_or_else(|| address.to_string());
        let key = (name.to_owned(), verified.clone());
        if let Some(known) = self.ready.lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let material = self.materials.get(name).ok_or("its files were not read")?;
        let made = Arc::new(match target {
            Some(target) => declared(target, material, &verified)?,
            None => self.undeclared(material)?,
        });
        let mut ready = self.ready.lock();
        if ready.len() >= MAX_READY {
            ready.clear();
        }
        ready.insert(key, Arc::clone(&made));
        Ok(made)
    }

    /// The way to the Kubernetes API of a target.
    ///
    /// # Errors
    /// With the reason for the log.
    pub fn cluster(&self, target: &Target, address: IpAddr) -> Result<Arc<Cluster>, String> {
        let verified = target.tls.name.clone().unwrap_or_else(|| address.to_string());
        let key = (target.name.clone(), verified.clone());
        if let Some(known) = self.clusters.lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let material = self.materials.get(&target.name).ok_or("its files were not read")?;
        let leaf = material.leaf.as_ref().ok_or("it has no certificate for clients")?;
        let credential = target.credential.as_ref();
        let way = Way {
            tls: tls(target, material, &verified)?,
            token: material.password.clone().map(Secret::new),
            login: credential.map(|credential| credential.user.clone()),
            impersonates: credential.is_some_and(|credential| credential.impersonate),
        };
        let client_tls = leaf.strict_server_config(&["h2", "http/1.1"]).map_err(|error| chain(&error))?;
        let made = Arc::new(Cluster { way: Arc::new(way), client_tls });
        let mut clusters = self.clusters.lock();
        if clusters.len() >= MAX_READY {
            clusters.clear();
        }
        clusters.insert(key, Arc::clone(&made));
        Ok(made)
    }

    fn undeclared(&self, material: &Material) -> Result<Upstream, String> {
        let login = match self.undeclared {
            Login::Relay => LoginMode::Relay,
            Login::Ask => LoginMode::Ask,
            Login::Deny => LoginMode::Refuse(
                Denial::fatal(
                    SqlState::DENIED,
                    "gateway: no target names this server, and undeclared ones are refused",
                )
                .with_hint("Ask the operator to declare it as a [[target]]."),
            ),
        };
        let tls = UpstreamTls::new(TlsMode::Prefer, None, None, None).map_err(|error| chain(&error))?;
        Ok(Upstream { tls, login, client_tls: client_tls(material)? })
    }
}

/// A Kubernetes API.
#[derive(Debug)]
pub struct Cluster {
    /// Towards the server.
    pub way: Arc<Way>,
    /// Towards the client.
    pub client_tls: ClientTls,
}

fn tls(target: &Target, material: &Material, verified: &str) -> Result<UpstreamTls, String> {
    let mode = match target.tls.mode {
        Mode::Disable => TlsMode::Disable,
        Mode::Require => TlsMode::Require,
        Mode::VerifyCa => TlsMode::VerifyCa,
        Mode::VerifyFull => TlsMode::VerifyFull,
    };
    let key = material.client.as_ref().map(|(_, key)| Secret::new(key.clone()));
    let client = material.client.as_ref().zip(key.as_ref()).map(|((chain, _), key)| ClientCertificate { chain, key });
    UpstreamTls::new(mode, Some(verified), material.ca.as_deref(), client.as_ref()).map_err(|error| chain(&error))
}

fn declared(target: &Target, material: &Material, verified: &str) -> Result<Upstream, String> {
    let tls = tls(target, material, verified)?;
    let login = match &target.credential {
        None => LoginMode::Relay,
        Some(credential) => LoginMode::Credentials(Arc::from([Credential {
            user: credential.user.clone(),
            for_users: credential.for_users.clone(),
            password: material.password.clone().map(Secret::new),
            unverified: if credential.allow_unverified {
                UnverifiedServer::AllowScram
            } else {
                UnverifiedServer::Refuse
            },
        }])),
    };
    Ok(Upstream { tls, login, client_tls: client_tls(material)? })
}

fn client_tls(material: &Material) -> Result<Option<ClientTls>, String> {
    // ALPN `postgresql` is what direct TLS demands (PostgreSQL 17, sslnegotiation=direct).
    material.leaf.as_ref().map(|leaf| leaf.server_config("postgresql").map_err(|error| chain(&error))).transpose()
}
