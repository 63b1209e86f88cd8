//! From files to a set of policies.
//!
//! In: folders of `*.cedar` files, the shipped packs, and the ids that the configuration knows. Out: a
//! [`PolicySnapshot`], or every fault there is. It must never make a set out of the part that is right.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use aws_lc_rs::digest::{Context as Digest, SHA256};
use cedar_policy::PolicySet;

use super::cache::Cache;
use super::check::{Checked, check_files};
use super::evaluate::PolicySnapshot;
use super::fault::{Fault, Place, Reason};
use super::permit::Epoch;
use super::schema::{self, schema};
use super::slice::Slices;
use super::vocabulary;

/// The pack of forbids that is always in force.
pub const GUARD: &str = include_str!("../../../policies/guard.cedar");

/// What it says of Kubernetes.
pub const GUARD_KUBERNETES: &str = include_str!("../../../policies/guard-kubernetes.cedar");

/// The pack that is in force where no policies are configured.
pub const OPEN: &str = include_str!("../../../policies/open.cedar");

const FILE_LIMIT: usize = 1 << 20;
const FILES_LIMIT: usize = 256;

/// Where policies come from and what they may name.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Where they are, besides the guard pack.
    pub origin: Origin,
    /// Ids of the guard pack that are not in force.
    pub disable: BTreeSet<String>,
    /// Ids that the configuration knows.
    pub known: KnownIds,
}

/// Where policies come from, besides the guard pack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave any: the open pack is in force.
    #[default]
    Shipped,
    /// Folders of `*.cedar` files.
    Folders(Vec<PathBuf>),
    /// Files that somebody else has read, since this process opens none.
    Files(Vec<PolicyFile>),
}

/// Ids that policies may name. Those of [`KnownIds::with_built_in`] need not be listed.
#[derive(Clone, Debug, Default)]
pub struct KnownIds {
    /// Names of `[[target]]`.
    pub targets: BTreeSet<String>,
    /// Environments of targets.
    pub environments: BTreeSet<String>,
    /// Names of `[[attach]]`.
    pub attachments: BTreeSet<String>,
    /// Groups of attachments and of approvers, with their prefix.
    pub groups: BTreeSet<String>,
    /// Prefixes of token issuers: any group `PREFIX:NAME` is known.
    pub issuers: BTreeSet<String>,
    /// Data classes.
    pub classes: BTreeSet<String>,
}

impl KnownIds {
    /// These, and those that exist without configuration.
    #[must_use]
    pub fn with_built_in(mut self) -> Self {
        self.targets.insert(vocabulary::UNDECLARED.to_owned());
        self.environments.insert(vocabulary::SCRATCH.to_owned());
        self.attachments.insert(vocabulary::NO_ATTACHMENT.to_owned());
        let groups = [vocabulary::OPEN_GROUP, vocabulary::DBA_GROUP, vocabulary::APPROVERS_GROUP];
        self.groups.extend(groups.map(str::to_owned));
        self
    }
}

/// A policy file, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFile {
    /// As it is named in faults.
    pub name: String,
    /// Its text.
    pub text: String,
    /// It is the guard pack, whose policies can be disabled.
    pub guard: bool,
}

/// What is in force, for people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// The files, packs included.
    pub files: Vec<String>,
    /// Ids of the permits.
    pub permits: Vec<String>,
    /// Ids of the forbids that nobody can lift.
    pub forbids: Vec<String>,
    /// Ids of the forbids that wait for approval.
    pub approvals: Vec<String>,
    /// Ids of the guard pack that are not in force.
    pub disabled: Vec<String>,
    /// The set's epoch.
    pub epoch: String,
}

/// Checks a set of policies without putting it in force.
///
/// # Errors
/// All its faults, by file and line.
pub fn check(source: &Source) -> Result<Summary, Vec<Fault>> {
    let files = read(source)?;
    let set = build(&files, source, 0)?;
    Ok(summary(&set, &files, source))
}

/// Loads the set that `source` names, with `counter` for its epoch.
///
/// # Errors
/// All its faults, by file and line.
pub fn load(source: &Source, counter: u64) -> Result<PolicySnapshot, Vec<Fault>> {
    build(&read(source)?, source, counter)
}

pub(super) fn summary(set: &PolicySnapshot, files: &[PolicyFile], source: &Source) -> Summary {
    let ids = |wanted: fn(&super::slice::PolicyEntry) -> bool| {
        set.entries.iter().filter(|entry| wanted(entry)).map(|entry| entry.id.to_string()).collect()
    };
    Summary {
        files: files.iter().map(|file| file.name.clone()).collect(),
        permits: ids(|entry| entry.policy.effect() == cedar_policy::Effect::Permit),
        forbids: ids(|entry| entry.policy.effect() == cedar_policy::Effect::Forbid && entry.vote.is_none()),
        approvals: ids(|entry| entry.vote.is_some()),
        disabled: source.disable.iter().cloned().collect(),
        epoch: set.epoch().to_string(),
    }
}

/// Reads the packs and the folders.
///
/// # Errors
/// Each file and folder that cannot be read.
pub fn read(source: &Source) -> Result<Vec<PolicyFile>, Vec<Fault>> {
    let pack = |(name, text): (&str, &str)| PolicyFile { name: name.to_owned(), text: text.to_owned(), guard: true };
    let mut files: Vec<_> = [("guard.cedar", GUARD), ("guard-kubernetes.cedar", GUARD_KUBERNETES)].map(pack).into();
    let mut faults = Vec::new();
    match &source.origin {
        Origin::Shipped => {
            files.push(PolicyFile { name: "open.cedar".to_owned(), text: OPEN.to_owned(), guard: false })
        }
        Origin::Files(given) => files.extend(given.iter().cloned()),
        Origin::Folders(folders) => {
            for folder in folders {
                match read_folder(folder) {
                    Ok(found) => files.extend(found),
                    Err(found) => faults.extend(found),
                }
            }
        }
    }
    if faults.is_empty() { Ok(files) } else { Err(faults) }
}

/// The file and the line of a policy, counted from 1, and its text; `None` where no file has it.
#[must_use]
pub fn find<'f>(files: &'f [PolicyFile], id: &str) -> Option<(&'f PolicyFile, usize, String)> {
    files.iter().find_map(|file| {
        let set: PolicySet = file.text.parse().ok()?;
        let policy = set.policies().find(|policy| policy.annotation("id") == Some(id))?;
        let text = policy.to_string();
        let at = file.text.find(text.as_str())?;
        Some((file, Place::at(&file.name, &file.text, at).line, text))
    })
}

/// Files in the order of their names. Hidden names are left out: editors and Kubernetes keep their own things there.
pub fn read_folder(folder: &Path) -> Result<Vec<PolicyFile>, Vec<Fault>> {
    let fault = |path: &Path, reason| Fault::new(Place::start(&path.display().to_string()), reason);
    let unreadable = |path: &Path, error: std::io::Error| fault(path, Reason::Unreadable(error.to_string()));
    let listed = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut paths: Vec<_> = match listed {
        Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect(),
        Err(error) => return Err(vec![unreadable(folder, error)]),
    };
    paths.sort();
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for path in paths.iter().filter(|path| !is_hidden(path)) {
        match std::fs::metadata(path) {
            Err(error) => faults.push(unreadable(path, error)),
            Ok(data) if data.is_dir() => faults.push(fault(path, Reason::Folder)),
            Ok(data) if data.is_file() && path.extension().is_some_and(|end| end == "cedar") => match read_text(path) {
                Ok(text) if text.len() > FILE_LIMIT => faults.push(fault(path, Reason::TooLarge { limit: FILE_LIMIT })),
                Ok(text) => files.push(PolicyFile { name: path.display().to_string(), text, guard: false }),
                Err(error) => faults.push(unreadable(path, error)),
            },
            Ok(_) => {}
        }
    }
    if files.len() > FILES_LIMIT {
        faults.push(fault(folder, Reason::TooMany { limit: FILES_LIMIT }));
    }
    if files.is_empty() && faults.is_empty() {
        faults.push(fault(folder, Reason::NoPolicies));
    }
    if faults.is_empty() { Ok(files) } else { Err(faults) }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// One byte more than the limit at most, so that the caller sees that there is more.
fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_LIMIT as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Makes a set out of files.
///
/// # Errors
/// All its faults, by file and line.
pub(super) fn build(files: &[PolicyFile], source: &Source, counter: u64) -> Result<PolicySnapshot, Vec<Fault>> {
    let broken = |reason: String| vec![Fault::new(Place::start("gateway.cedarschema"), Reason::Build(reason))];
    let schema = schema().map_err(|error| broken(error.to_string()))?;
    let Checked { entries } = check_files(schema, files, source)?;
    let slices = Slices::new(schema, &entries).map_err(|error| broken(error.to_string()))?;
    let epoch = Epoch { counter, digest: digest(files, source) };
    Ok(PolicySnapshot { schema, epoch, name: OnceLock::new(), entries, slices, cache: Cache::new() })
}

/// Each part with its length before it, so that no two sets have the same bytes.
pub(super) fn digest(files: &[PolicyFile], source: &Source) -> [u8; 32] {
    let mut digest = Digest::new(&SHA256);
    let mut part = |text: &str| {
        digest.update(&(text.len() as u64).to_be_bytes());
        digest.update(text.as_bytes());
    };
    part(schema::TEXT);
    files.iter().for_each(|file| {
        part(&file.name);
        part(&file.text);
    });
    source.disable.iter().for_each(|id| part(id));
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

#[cfg(test)]
mod tests;
