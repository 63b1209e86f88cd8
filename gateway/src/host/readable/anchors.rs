//! Whether clients of a user know the gateway: its host key among known hosts, its authority where they look for one.
//!
//! In: what is public of the gateway, and where that user is at home. Out: for each kind of client whether what it must know stands
//! there, and in which file. Files are read as that user, a bounded part of each; nothing of them but that answer leaves.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Environment, open};

/// What is read of one file, and files that are looked at.
const MAX_FILE: u64 = 1 << 20;
const MAX_FILES: usize = 32;

/// What clients may know the gateway by.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Anchors {
    /// Its authority of TLS, in PEM.
    pub authority: String,
    /// Its host key and the authority of that, as base64 in lines of known hosts.
    pub host_keys: Vec<String>,
}

/// What a kind of client finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Which clients.
    pub client: Client,
    /// The file that has it.
    pub by: Option<String>,
    /// Files that were there and do not.
    pub without: Vec<String>,
}

/// Kinds of clients, by what they look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Client {
    /// libpq and its kin: `root.crt`, where there is one.
    Postgres,
    /// OpenSSH and its kin: known hosts.
    Ssh,
    /// kubectl and its kin: kubeconfigs, or the pod's authority.
    Kubernetes,
}

/// Looks for all three.
pub(super) fn known(anchors: &Anchors, environment: &Environment, homes: &BTreeSet<PathBuf>) -> Vec<Known> {
    let body = body_of(&anchors.authority);
    let in_homes = |path: &str| homes.iter().map(|home| home.join(path)).collect::<Vec<_>>();
    let mut hosts: Vec<PathBuf> = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(PathBuf::from).into();
    hosts.extend(in_homes(".ssh/known_hosts"));
    hosts.extend(in_homes(".ssh/known_hosts2"));
    let named = environment.values("KUBECONFIG").flat_map(|value| value.split(':')).map(PathBuf::from);
    let mut clusters: Vec<PathBuf> = named.filter(|path| path.is_absolute()).collect();
    // What is named stands in the place of what is at home.
    if clusters.is_empty() {
        clusters = in_homes(".kube/config");
        clusters.push("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt".into());
    }
    vec![
        found(Client::Postgres, &in_homes(".postgresql/root.crt"), |_, text| holds(text, &body)),
        found(Client::Ssh, &hosts, |_, text| names_key(text, &anchors.host_keys)),
        found(Client::Kubernetes, &clusters, |path, text| trusts(path, text, &body)),
    ]
}

fn found(client: Client, files: &[PathBuf], has: impl Fn(&Path, &str) -> bool) -> Known {
    let mut known = Known { client, by: None, without: Vec::new() };
    for path in files.iter().take(MAX_FILES) {
        let Some(text) = read(path) else { continue };
        let name = path.to_string_lossy().into_owned();
        match known.by {
            None if has(path, &text) => known.by = Some(name),
            _ => known.without.push(name),
        }
    }
    known
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    open(path)?.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

/// What stands between the lines of a PEM file, without white space.
fn body_of(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).flat_map(str::split_whitespace).collect()
}

fn holds(text: &str, body: &str) -> bool {
    !body.is_empty() && text.split_whitespace().collect::<String>().contains(body)
}

/// A line of known hosts that is in force and has one of these keys.
fn names_key(text: &str, keys: &[String]) -> bool {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#') && !line.starts_with("@revoked"));
    lines.flat_map(str::split_whitespace).any(|word| keys.iter().any(|key| key == word))
}

/// A kubeconfig, in YAML or JSON, one of whose clusters has the authority; or the authority itself.
fn trusts(path: &Path, text: &str, body: &str) -> bool {
    let decoded = |value: &str| STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let beside = |value: &str| read(&path.parent().unwrap_or(Path::new("/")).join(value));
    holds(text, body)
        || values(text, "certificate-authority-data").filter_map(decoded).any(|text| holds(&text, body))
        || values(text, "certificate-authority").take(MAX_FILES).filter_map(beside).any(|text| holds(&text, body))
}

/// What stands behind a key, as far as one line has it.
fn values<'t>(text: &'t str, key: &str) -> impl Iterator<Item = &'t str> {
    let is_quote = |c: char| c == '"' || c == '\'';
    text.match_indices(key).filter_map(move |(at, found)| {
        let behind = text.get(at + found.len()..)?.trim_start_matches(is_quote).strip_prefix(':')?;
        let value = behind.trim_start().trim_start_matches(is_quote);
        value.split(|c: char| is_quote(c) || c.is_whitespace() || c == ',' || c == '}').next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\nqwer\n-----END CERTIFICATE-----\n";

    #[test]
    fn an_authority_is_found_in_bundles_and_in_kubeconfigs_of_both_forms() {
        let (body, at) = (body_of(PEM), Path::new("/nonexistent/config"));
        assert!(holds(&format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{PEM}"), &body));
        assert!(!holds("-----BEGIN CERTIFICATE-----\nMIIB\nqwex\n-----END CERTIFICATE-----\n", &body));
        assert!(!holds("anything", ""));
        let data = STANDARD.encode(PEM);
        assert!(trusts(
            at,
            &format!("clusters:\n- cluster:\n    certificate-authority-data: {data}\n    server: x\n"),
            &body
        ));
        assert!(trusts(at, &format!("{{\"cluster\": {{\"certificate-authority-data\": \"{data}\"}}}}"), &body));
        assert!(!trusts(at, "certificate-authority-data: QUFB\ncertificate-authority: ca.crt\n", &body));
    }

    #[test]
    fn a_key_counts_in_a_line_that_is_in_force() {
        let keys = ["AAAAC3".to_owned(), "AAAAD4".to_owned()];
        assert!(names_key("other ssh-rsa AAAAB2\n* ssh-ed25519 AAAAC3 gateway\n", &keys));
        assert!(names_key("@cert-authority * ssh-ed25519 AAAAD4\n", &keys));
        assert!(!names_key("# * ssh-ed25519 AAAAC3\n@revoked * ssh-ed25519 AAAAD4\n* ssh-ed25519 AAAAC34\n", &keys));
    }
}
