//! What of credentials the runtimes could read by themselves.
//!
//! In: attachments. Out: for each user that runs in one, below each root, what is open to it. A process of ours looks for each, as
//! that user, for a bounded time: what it says comes from files of the runtime, and is taken as text of others. It reads no
//! file itself.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::attachment::Attachment;
use super::{Warden, errand};
use crate::config::{Config, SecretSource};
use crate::control::check::{Eyes, Seen};
use crate::host::process::Process;
use crate::host::readable::{Anchors, Known, Readable};

/// How long one look may take: a file system of the runtime's may never answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Users and roots of one attachment that are looked at.
const MAX_EYES: usize = 16;
/// Processes that are looked at as one.
const MAX_PIDS: usize = 64;

/// Who sees the same files with the same rights.
type View = (u32, Vec<u32>, (u64, u64), u64);

impl Warden {
    /// All attachments, as their processes see the host now. It blocks.
    pub(super) fn readable(&self) -> Vec<Seen> {
        let closed = own_secrets(&self.config.lock());
        self.all().iter().map(|attachment| self.readable_in(attachment, &closed)).collect()
    }

    fn readable_in(&self, attachment: &Arc<Attachment>, closed: &[PathBuf]) -> Seen {
        let views = self.views(attachment);
        let mut notes = Vec::new();
        if views.is_empty() {
            notes.push("nobody runs in it now: what would be open to them is not known".to_owned());
        }
        if views.len() > MAX_EYES {
            notes.push(format!("of {} users and roots the first {MAX_EYES} were looked at", views.len()));
        }
        let eyes = views.into_iter().take(MAX_EYES).map(|((uid, ..), pids)| {
            let (open, error) = match look(&pids, closed) {
                Ok(open) => (open, None),
                Err(error) => (Vec::new(), Some(error.to_string())),
            };
            Eyes { uid, pids, open, error }
        });
        Seen { attachment: attachment.name().to_owned(), eyes: eyes.collect(), notes }
    }

    fn views(&self, attachment: &Attachment) -> BTreeMap<View, Vec<i32>> {
        let cgroup = attachment.cgroup();
        let pids = cgroup.and_then(|cgroup| self.hierarchy.processes(&cgroup).ok()).unwrap_or_default();
        let mut views: BTreeMap<View, Vec<i32>> = BTreeMap::new();
        for pid in pids {
            if let Some(view) = view(pid) {
                views.entry(view).or_default().push(pid);
            }
        }
        views
    }

    /// By user, what clients of those who run in it know the gateway by. It blocks.
    pub(super) fn knowing(&self, attachment: &Attachment, anchors: &Anchors) -> Vec<(u32, io::Result<Vec<Known>>)> {
        let views = self.views(attachment).into_iter().take(MAX_EYES);
        views.map(|((uid, ..), pids)| (uid, knows(&pids, anchors))).collect()
    }
}

fn view(pid: i32) -> Option<View> {
    let process = Process::read(pid)?;
    let root = fs::metadata(format!("/proc/{pid}/root")).ok()?;
    let mounts = fs::metadata(format!("/proc/{pid}/ns/mnt")).ok()?;
    Some((process.uid, process.groups, (root.dev(), root.ino()), mounts.ino()))
}

/// Files of secrets that the configuration names, and our keys.
fn own_secrets(config: &Config) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = ["trust/ca.key", "trust/ssh_host_key", "trust/ssh_authority_key", "state.sqlite"]
        .map(|name| config.state_dir.join(name))
        .into();
    for target in &config.targets {
        files.extend(target.tls.client.as_ref().map(|(_, key)| key.clone()));
        let credential = target.credential.as_ref();
        let secrets = [credential.and_then(|it| it.password.as_ref()), credential.and_then(|it| it.key.as_ref())];
        files.extend(secrets.into_iter().flatten().filter_map(|source| match source {
            SecretSource::File(path) => Some(path.clone()),
            SecretSource::Env(_) | SecretSource::Credential(_) => None,
        }));
    }
    files
}

fn look(pids: &[i32], closed: &[PathBuf]) -> io::Result<Vec<Readable>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("readable");
    for path in closed {
        command.arg("--closed").arg(path);
    }
    ask(&mut command, pids, &[])
}

fn knows(pids: &[i32], anchors: &Anchors) -> io::Result<Vec<Known>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["readable", "--anchors"]);
    ask(&mut command, pids, &serde_json::to_vec(anchors)?)
}

fn ask<T: DeserializeOwned>(command: &mut Command, pids: &[i32], input: &[u8]) -> io::Result<T> {
    for pid in pids.iter().take(MAX_PIDS) {
        command.arg("--pid").arg(pid.to_string());
    }
    let late = |error: io::Error| match error.kind() {
        io::ErrorKind::TimedOut => io::Error::other(format!("{error}: a file system does not answer")),
        _ => error,
    };
    let said = errand::send(command, input, PATIENCE).map_err(late)?;
    if !said.is_done {
        return Err(io::Error::other("its processes are gone, or their rights cannot be taken on"));
    }
    Ok(serde_json::from_slice(&said.answer)?)
}
