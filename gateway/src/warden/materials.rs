//! What targets need from files that the engine cannot open: authorities, client certificates, secrets, and the leaf
//! that clients are shown.
//!
//! In: the targets of the configuration. Out: their materials, read anew at each reload; every file that cannot be
//! read is named, and none is left out quietly.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use gateway_common::Verdict;

use crate::bridge::{Material, SshMaterial};
use crate::config::{Config, CredentialSource, SecretSource, Target};
use crate::host::network::Network;
use crate::id::HostId;
use crate::shipper::{Settings, StoreTls};
use crate::trust::ca::Authority;
use crate::trust::ssh::{SshKey, SshKeyError};

/// Where systems keep the authorities that they trust.
const SYSTEM_CAS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];
/// Which servers this host asks for names (resolv.conf(5)).
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// As many as the C library takes (MAXNS).
const MAX_SERVERS: usize = 3;
/// The largest file.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The materials of all targets by name; the empty name stands for undeclared destinations.
///
/// # Errors
/// With all faults, a line each.
pub fn read(config: &Config) -> Result<BTreeMap<String, Material>, String> {
    let authority = Authority::open(&config.state_dir).map_err(|error| crate::chain::chain(&error))?;
    let mut faults = Vec::new();
    let mut materials = BTreeMap::new();
    match authority.leaf(&[], &[]) {
        Ok(leaf) => {
            materials.insert(String::new(), Material { leaf: Some(leaf), ..Material::default() });
        }
        Err(error) => faults.push(crate::chain::chain(&error)),
    }
    for target in &config.targets {
        let read = if target.protocol == Verdict::Ssh {
            of_ssh(target, &config.state_dir)
        } else {
            of_target(target, &authority)
        };
        match read {
            Ok(material) => {
                materials.insert(target.name.clone(), material);
            }
            Err(fault) => faults.push(format!("target `{}`: {fault}", target.name)),
        }
    }
    if faults.is_empty() { Ok(materials) } else { Err(faults.join("\n")) }
}

/// What is wrong with the files that a configuration names, masking and policies aside: all of it, a line each. Secrets that
/// are no files are the gateway's own to find. It makes nothing, where a start makes keys.
#[must_use]
pub fn faults(config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    let mut look = |place: &str, files: Vec<Option<&Path>>, secrets: Vec<Option<&SecretSource>>| {
        let of_secrets = secrets.into_iter().flatten().filter_map(|source| match source {
            SecretSource::File(path) => Some(path.as_path()),
            SecretSource::Env(_) | SecretSource::Credential(_) => None,
        });
        for path in files.into_iter().flatten().chain(of_secrets) {
            faults.extend(read_file(path).err().map(|fault| format!("{place}: {fault}")));
        }
    };
    for target in &config.targets {
        let (certificate, key) = target.tls.client.as_ref().map(|(certificate, key)| (&**certificate, &**key)).unzip();
        let credential = target.credential.as_ref();
        look(
            &format!("target `{}`", target.name),
            vec![target.tls.ca.as_deref(), certificate, key, target.ssh.known_hosts.as_deref()],
            vec![credential.and_then(|it| it.password.as_ref()), credential.and_then(|it| it.key.as_ref())],
        );
    }
    if let Some(store) = &config.clickhouse {
        let ca = store.tls.as_ref().and_then(|tls| tls.ca.as_deref());
        look("[audit.clickhouse]", vec![ca], vec![store.password.as_ref()]);
    }
    for webhook in &config.webhooks {
        let secrets = vec![webhook.secret.as_ref(), webhook.authorization.as_ref()];
        look(&format!("[[audit.webhook]] `{}`", webhook.name), vec![webhook.ca.as_deref()], secrets);
    }
    for tickets in &config.tickets {
        let files = vec![tickets.ca.as_deref(), tickets.template.as_deref()];
        look(&format!("[[approval.tickets]] `{}`", tickets.name), files, vec![Some(&tickets.authorization)]);
    }
    for feed in &config.feeds {
        look(&format!("[[audit.feed]] `{}`", feed.name), vec![feed.ca.as_deref()], Vec::new());
    }
    if let Some(oidc) = &config.oidc {
        look("[identity.oidc]", vec![oidc.ca.as_deref()], Vec::new());
    }
    if let Some(console) = &config.console {
        look("[console]", Vec::new(), vec![Some(&console.client_secret)]);
        if let Some(slack) = &console.slack {
            look("[console.slack]", vec![slack.ca.as_deref()], vec![Some(&slack.signing_secret)]);
        }
    }
    faults
}

/// What copying the journal takes, as far as the configuration says; `None` where there is no copy.
///
/// # Errors
/// Where a file or secret cannot be read.
pub fn store(config: &Config, host: HostId) -> Result<Option<Settings>, String> {
    let Some(store) = &config.clickhouse else { return Ok(None) };
    let of_store = |fault: String| format!("[audit.clickhouse]: {fault}");
    let tls = match &store.tls {
        Some(tls) => Some(StoreTls { ca: authorities(tls.ca.as_deref()).map_err(of_store)?, name: tls.name.clone() }),
        None => None,
    };
    Ok(Some(Settings {
        host,
        host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        address: store.address,
        tls,
        database: store.database.clone(),
        user: store.user.clone(),
        password: store.password.as_ref().map(secret).transpose().map_err(of_store)?,
        batch: store.batch,
    }))
}

/// The servers that this host asks for names, where the configuration has us ask them for runtimes. Their addresses with
/// a scope (`fe80::1%eth0`) are left out.
#[must_use]
pub fn resolvers(config: &Config) -> Vec<IpAddr> {
    if !config.asks_names_here() {
        return Vec::new();
    }
    let text = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok());
    let servers: Vec<_> = servers.take(MAX_SERVERS).collect();
    if servers.is_empty() {
        tracing::error!("{RESOLV_CONF} has no nameserver: no question for a name is answered");
    }
    servers
}

/// A file of authorities, or the system's.
pub(super) fn authorities(file: Option<&Path>) -> Result<Option<Vec<u8>>, String> {
    match file {
        Some(path) => read_file(path).map(Some),
        None => Ok(SYSTEM_CAS.iter().find_map(|path| fs::read(path).ok())),
    }
}

fn of_target(target: &Target, authority: &Authority) -> Result<Material, String> {
    let name = target.tls.name.iter().filter(|name| name.parse::<std::net::IpAddr>().is_err());
    let names: Vec<String> = name.cloned().chain(target.names.iter().map(ToString::to_string)).collect();
    let addresses: Vec<_> = target.addresses.iter().filter_map(Network::host_address).collect();
    let ca = authorities(target.tls.ca.as_deref())?;
    let client = match &target.tls.client {
        Some((certificate, key)) => Some((read_file(certificate)?, read_file(key)?)),
        None => None,
    };
    let password = match target.credential.as_ref().and_then(|credential| credential.password.as_ref()) {
        Some(source) => Some(secret(source)?),
        None => None,
    };
    let leaf = authority.leaf(&names, &addresses).map_err(|error| crate::chain::chain(&error))?;
    Ok(Material { ca, client, password, leaf: Some(leaf), ssh: None })
}

fn of_ssh(target: &Target, state_dir: &Path) -> Result<Material, String> {
    let credential = target.credential.as_ref();
    let given =
        |source: fn(&CredentialSource) -> Option<&SecretSource>| credential.and_then(source).map(secret).transpose();
    let known_hosts = match &target.ssh.known_hosts {
        Some(path) => Some(String::from_utf8_lossy(&read_file(path)?).into_owned()),
        None => None,
    };
    let (host_key, host_certificate) = host_key(target, state_dir).map_err(|error| crate::chain::chain(&error))?;
    let key = given(|credential| credential.key.as_ref())?;
    let ssh = SshMaterial { host_key, host_certificate, key, known_hosts };
    let password = given(|credential| credential.password.as_ref())?;
    Ok(Material { password, ssh: Some(ssh), ..Material::default() })
}

/// What clients of a target are shown. The key that certifies it stays here.
fn host_key(target: &Target, state_dir: &Path) -> Result<(Vec<u8>, Option<String>), SshKeyError> {
    let key = SshKey::host(state_dir)?;
    let certificate = SshKey::host_authority(state_dir)?.certify_host(&key, &target.hosts())?;
    Ok((key.to_text()?, certificate))
}

/// A secret, from wherever it is.
pub(super) fn secret(source: &SecretSource) -> Result<Vec<u8>, String> {
    match source {
        SecretSource::File(path) => read_file(path).map(without_newline),
        SecretSource::Env(name) => std::env::var(name)
            .map(String::into_bytes)
            .map_err(|_| format!("the variable `{name}` is not in the gateway's environment")),
        SecretSource::Credential(name) => {
            let directory = std::env::var("CREDENTIALS_DIRECTORY")
                .map_err(|_| format!("the credential `{name}` needs LoadCredential= in the gateway's unit"))?;
            if name.contains('/') || name.starts_with('.') {
                return Err(format!("`{name}` is no name of a systemd credential"));
            }
            read_file(&Path::new(&directory).join(name)).map(without_newline)
        }
    }
}

/// Editors end files with a newline, which is no part of a password.
fn without_newline(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    bytes
}

pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    if fs::metadata(path).map_err(cannot)?.len() > MAX_BYTES {
        return Err(format!("{} is larger than {MAX_BYTES} bytes", path.display()));
    }
    fs::read(path).map_err(cannot)
}
