//! The tokens that say who workloads are, and the way to who issues them.
//!
//! In: files that runtimes, or who starts them, write. Out: their bytes, for the engine, which alone reads them; sockets to
//! the server that the configuration names. A file is opened without leaving its folder, and never waited for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use super::Warden;
use super::materials::{authorities, secret};
use crate::bridge::{AttachmentInfo, Tokens};
use crate::config::{Config, Place};

/// Headers of servers take no more, so that issuers make none.
const MAX_TOKEN: u64 = 16 * 1024;
/// How long the server of an issuer may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The files of tokens of these attachments and of the configuration's, by attachment.
pub fn files<'a>(config: &Config, attached: impl Iterator<Item = &'a AttachmentInfo>) -> BTreeMap<String, PathBuf> {
    let configured = config.attachments.iter().map(|attach| (attach.name.clone(), attach.token_file.clone()));
    let attached = attached.map(|info| (info.name.clone(), info.token_file.clone()));
    configured.chain(attached).filter_map(|(name, file)| Some((name, file?))).collect()
}

/// What is in them, and the authorities of the issuer.
///
/// # Errors
/// Where those authorities cannot be read. What is wrong with a token concerns its attachment alone.
pub fn read(config: &Config, files: &BTreeMap<String, PathBuf>) -> Result<Tokens, String> {
    let Some(oidc) = &config.oidc else {
        let why = || Err("no [identity.oidc] says who may have issued it".to_owned());
        return Ok(Tokens { given: files.keys().map(|name| (name.clone(), why())).collect(), ..Tokens::default() });
    };
    let ca = authorities(oidc.ca.as_deref()).map_err(|fault| format!("[identity.oidc]: {fault}"))?;
    let slack = config.console.as_ref().and_then(|console| console.slack.as_ref());
    let slack = slack.map(|slack| secret(&slack.signing_secret)).transpose();
    Ok(Tokens {
        ca,
        given: files.iter().map(|(name, file)| (name.clone(), read_token(file))).collect(),
        slack: slack.map_err(|fault| format!("[console.slack]: {fault}"))?,
    })
}

/// One file. Links lead nowhere but to other files of its folder, as in a projected volume.
pub fn read_token(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(format!("{} is no file", path.display()));
    };
    let folder = openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let folder = folder.map_err(|error| cannot(error.into()))?;
    // A pipe would be waited for without NONBLOCK.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(folder, name, flags, Mode::empty(), beneath).map_err(|error| cannot(error.into()))?;
    let file = File::from(file);
    if !file.metadata().map_err(cannot)?.is_file() {
        return Err(format!("{} is no plain file", path.display()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_TOKEN + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_TOKEN {
        return Err(format!("{} is larger than {MAX_TOKEN} bytes", path.display()));
    }
    Ok(bytes)
}

impl Warden {
    /// A connection to a server of the issuer, by its number in the configuration, from our own network namespace. For a thread that may wait.
    pub(super) fn dial_issuer(&self, server: u16) -> Result<TcpStream, String> {
        let place = self.config.lock().oidc.as_ref().and_then(|oidc| oidc.server(server).cloned());
        dial(&place.ok_or("no [identity.oidc] with such a server is configured")?)
    }

    /// The same to the server of `[console.slack]`.
    pub(super) fn dial_slack(&self) -> Result<TcpStream, String> {
        let slack = self.config.lock().console.as_ref().and_then(|console| console.slack.clone());
        dial(&slack.ok_or("no [console.slack] is configured")?.replies)
    }
}

fn dial(place: &Place) -> Result<TcpStream, String> {
    let to = (place.host.as_str(), place.port);
    let addresses = to.to_socket_addrs().map_err(|error| format!("cannot resolve {}: {error}", place.host))?;
    let mut last = format!("{} has no address", place.host);
    for address in addresses.take(4) {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("cannot connect to {address}: {error}"),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_through_the_links_of_its_own_folder_alone() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        // As in a projected volume.
        std::fs::create_dir_all(at("a/..1")).unwrap();
        std::fs::write(at("a/..1/token"), "abc").unwrap();
        std::os::unix::fs::symlink("..1", at("a/..data")).unwrap();
        std::os::unix::fs::symlink("..data/token", at("a/token")).unwrap();
        assert_eq!(read_token(&at("a/token")).unwrap(), b"abc");
        std::fs::write(at("secret"), "root's").unwrap();
        std::os::unix::fs::symlink("../secret", at("a/out")).unwrap();
        std::os::unix::fs::symlink(at("secret"), at("a/far")).unwrap();
        for name in ["a/out", "a/far", "a/none", "a/..1"] {
            assert!(read_token(&at(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_no_plain_file_or_too_long_is_refused_and_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        rustix::fs::mkfifoat(CWD, at("pipe"), Mode::RUSR).unwrap();
        assert!(read_token(&at("pipe")).unwrap_err().contains("no plain file"));
        std::fs::write(at("long"), vec![b'a'; 20_000]).unwrap();
        assert!(read_token(&at("long")).unwrap_err().contains("larger than 16384 bytes"));
    }
}
