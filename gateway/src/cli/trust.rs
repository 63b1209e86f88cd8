//! `gateway trust`: what a client must trust.

use std::fs::{self, DirBuilder, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgGroup, Args};
use gateway_common::Verdict;
use serde_json::json;

use super::line;

use crate::config::{Config, DEFAULT_FILE};
use crate::host::network::Network;
use crate::trust::ca::Authority;
use crate::trust::ssh::SshKey;
use crate::trust::{KNOWN_HOSTS, SSH_CONFIG};
use crate::warden::RUN_DIR;

/// What to print.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["ca", "ssh", "ssh_host_authority", "ssh_authority", "kubeconfig"])))]
pub(super) struct Arguments {
    /// Print the certificate authority of this host, in PEM
    #[arg(long)]
    ca: bool,
    /// Print the line for /etc/ssh/ssh_known_hosts of clients
    #[arg(long)]
    ssh: bool,
    /// Print another line for the same file, for clients that want a certificate of that key
    #[arg(long)]
    ssh_host_authority: bool,
    /// Print the key that signs logins, for TrustedUserCAKeys of servers
    #[arg(long)]
    ssh_authority: bool,
    /// Print a kubeconfig that reaches this target, a Kubernetes API, through the gateway
    #[arg(long, value_name = "TARGET")]
    kubeconfig: Option<String>,
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// kubectl asks for a password where its configuration names none; the gateway takes this for nothing.
const PLACEHOLDER: &str = "supplied-by-the-gateway";

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = config(arguments.config.as_deref())?;
    if arguments.ssh {
        // Every server behind the gateway shows this key: SSH has no name in the clear to choose one by.
        return line(&format!("* {}", SshKey::host(&config.state_dir)?.public_line()?));
    }
    if arguments.ssh_host_authority {
        return line(&format!("@cert-authority * {}", SshKey::host_authority(&config.state_dir)?.public_line()?));
    }
    if arguments.ssh_authority {
        return line(&SshKey::authority(&config.state_dir)?.public_line()?);
    }
    let authority = Authority::open(&config.state_dir)?;
    match &arguments.kubeconfig {
        None => line(authority.certificate_pem().trim_end()),
        Some(name) => line(kubeconfig(&config, name, authority.certificate_pem())?.trim_end()),
    }
}

fn config(file: Option<&Path>) -> anyhow::Result<Config> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    match fs::read_to_string(path) {
        Ok(text) => Ok(Config::parse(&path.display().to_string(), &text)?),
        Err(error) if file.is_some() => Err(error).with_context(|| format!("cannot read {}", path.display())),
        Err(_) => Ok(Config::default()),
    }
}

/// JSON is YAML: every client reads it.
fn kubeconfig(config: &Config, name: &str, authority: &str) -> anyhow::Result<String> {
    let targets = || config.targets.iter().filter(|target| target.protocol == Verdict::Kubernetes);
    let target = targets().find(|target| target.name == name).with_context(|| {
        let known: Vec<_> = targets().map(|target| target.name.as_str()).collect();
        format!("the configuration declares no Kubernetes API `{name}`; it declares: {}", known.join(", "))
    })?;
    let host = target.names.first().map(ToString::to_string).or_else(|| target.tls.name.clone());
    let address = target.addresses.iter().find_map(Network::host_address);
    let server = match (address, &host) {
        (Some(IpAddr::V6(address)), _) => format!("[{address}]"),
        (Some(address), _) => address.to_string(),
        (None, Some(host)) => host.clone(),
        (None, None) => bail!("target `{name}` has networks alone: give it an address or a name"),
    };
    let port = target.ports.first().context("a target has a port")?;
    let cluster = json!({
        "server": format!("https://{server}:{port}"),
        "certificate-authority-data": STANDARD.encode(authority),
    });
    let all = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": name, "cluster": cluster }],
        "users": [{ "name": "gateway", "user": { "token": PLACEHOLDER } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": "gateway" } }],
        "current-context": name,
    });
    Ok(serde_json::to_string_pretty(&all)?)
}

/// A file with the system's authorities and ours, for `exec` to mount; `None` where the system has none.
pub(super) fn bundle(config_file: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    let system = "/etc/ssl/certs/ca-certificates.crt";
    let Ok(mut text) = fs::read_to_string(system) else { return Ok(None) };
    text.push_str(Authority::open(&config(config_file)?.state_dir)?.certificate_pem());
    let path = Path::new(RUN_DIR).join("ca-bundle.crt");
    replace(&path, &text)?;
    Ok(Some(path))
}

/// A folder with a file of known hosts, the system's entries and ours, for `exec` to mount; `None` where the system has
/// no clients of SSH.
pub(super) fn known_hosts(config_file: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    if !Path::new(SSH_CONFIG).is_dir() {
        return Ok(None);
    }
    let mut text = fs::read_to_string(Path::new(SSH_CONFIG).join(KNOWN_HOSTS)).unwrap_or_default();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("* {}\n", SshKey::host(&config(config_file)?.state_dir)?.public_line()?));
    let folder = Path::new(RUN_DIR).join("known");
    DirBuilder::new()
        .recursive(true)
        .create(&folder)
        .and_then(|()| fs::set_permissions(&folder, Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot make {}", folder.display()))?;
    replace(&folder.join(KNOWN_HOSTS), &text)?;
    Ok(Some(folder))
}

/// Writes a file that everybody may read, whole or not at all.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let fresh = path.with_extension(format!("new-{}", std::process::id()));
    fs::write(&fresh, text)
        .and_then(|()| fs::set_permissions(&fresh, Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&fresh, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
