//! Policy files and the masking file, as bytes: read here, since the engine opens no files; understood there.
//!
//! In: a folder and a file, looked at again each second. Out: what is in them, and whether it has changed and come to
//! rest. The masking file is read as far as its keys go, which come from other files.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use gateway_common::Verdict;

use super::{materials, tokens};
use crate::bridge::MaskingText;
use crate::config::{Config, SecretSource};
use crate::masking::file::MaskingFile;
use crate::policy::load::read_folder;
use crate::secret::Secret;

/// Files by name.
pub type Files = Vec<(String, String)>;

/// What the engine judges and masks by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Policy files; none: the shipped ones.
    pub policies: Files,
    /// The masking file.
    pub masking: Option<MaskingText>,
    /// What the files with tokens were when they were read: other programs put new ones there.
    pub tokens: Vec<Option<Print>>,
}

/// The SHA-256 of a file.
pub type Print = [u8; 32];

/// Where both are read from.
#[derive(Debug)]
pub struct Folder {
    path: Option<PathBuf>,
    masking: Option<PathBuf>,
    tokens: Vec<PathBuf>,
    of_workloads: BTreeMap<String, PathBuf>,
    /// What the engine was last given.
    given: Result<Given, String>,
    /// What the last look found.
    last: Result<Given, String>,
}

impl Folder {
    /// A folder of `*.cedar` files, and a masking file; `None`: what is shipped alone.
    #[must_use]
    pub fn new(path: Option<PathBuf>, masking: Option<PathBuf>) -> Self {
        Self {
            path,
            masking,
            tokens: Vec::new(),
            of_workloads: BTreeMap::new(),
            given: Ok(Given::default()),
            last: Ok(Given::default()),
        }
    }

    /// Where the policies are; `None`: the shipped ones.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Looks after the files of tokens too: of these targets, and of workloads.
    pub fn follow_tokens(&mut self, config: &Config, of_workloads: BTreeMap<String, PathBuf>) {
        self.of_workloads = of_workloads;
        let sources = config.targets.iter().filter(|target| target.protocol == Verdict::Kubernetes);
        let sources = sources.filter_map(|target| target.credential.as_ref()?.password.as_ref());
        self.tokens = sources
            .filter_map(|source| match source {
                SecretSource::File(path) => Some(path.clone()),
                SecretSource::Env(_) | SecretSource::Credential(_) => None,
            })
            .collect();
    }

    /// Reads all files, for the engine.
    ///
    /// # Errors
    /// With every file that cannot be read: nothing is left out quietly.
    pub fn read(&mut self) -> Result<Given, String> {
        self.given = self.look();
        self.last = self.given.clone();
        self.given.clone()
    }

    /// Whether there is something else to give to the engine. A change counts when two looks in a row found the same:
    /// a file that is being written may well parse when half of it, and a forbid, is missing.
    pub fn has_changed(&mut self) -> bool {
        let now = self.look();
        let settled = now == self.last;
        self.last = now;
        settled && self.last != self.given
    }

    fn look(&self) -> Result<Given, String> {
        let masking = self.masking.as_deref().map(read_masking).transpose()?;
        let print = |bytes: Result<Vec<u8>, String>| digest(&SHA256, &bytes.ok()?).as_ref().try_into().ok();
        let of_targets = self.tokens.iter().map(|path| materials::read_file(path));
        let of_workloads = self.of_workloads.values().map(|path| tokens::read_token(path));
        let tokens = of_targets.chain(of_workloads).map(print).collect();
        Ok(Given { policies: self.policies()?, masking, tokens })
    }

    fn policies(&self) -> Result<Files, String> {
        let Some(path) = &self.path else { return Ok(Vec::new()) };
        let files = read_folder(path)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        if files.is_empty() {
            return Err(format!("{} has no policy files (*.cedar): without one nothing is permitted", path.display()));
        }
        Ok(files.into_iter().map(|file| (file.name, file.text)).collect())
    }
}

/// The text of a masking file and the keys that it names. A file with faults is an error here already.
fn read_masking(path: &Path) -> Result<MaskingText, String> {
    let bytes = materials::read_file(path)?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", path.display()))?;
    let keys = RefCell::new(BTreeMap::new());
    let read = |source: &SecretSource| {
        let key = materials::secret(source)?;
        keys.borrow_mut().insert(source.to_string(), key.clone());
        Ok(Secret::new(key))
    };
    MaskingFile::parse(&path.display().to_string(), &text, &read).map_err(|error| error.to_string())?;
    Ok(MaskingText { text, keys: keys.into_inner() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_has_come_to_rest() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.cedar");
        std::fs::write(&file, "one").unwrap();
        let mut folder = Folder::new(Some(directory.path().to_owned()), None);
        assert_eq!(folder.read().unwrap().policies.len(), 1);
        assert!(!folder.has_changed());
        std::fs::write(&file, "tw").unwrap();
        assert!(!folder.has_changed(), "it may still be written");
        std::fs::write(&file, "two").unwrap();
        assert!(!folder.has_changed());
        assert!(folder.has_changed());
        folder.read().unwrap();
        assert!(!folder.has_changed());
    }

    #[test]
    fn an_empty_folder_is_an_error_and_not_the_shipped_policies() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Folder::new(Some(directory.path().to_owned()), None).read().is_err());
    }

    #[test]
    fn a_masking_file_brings_its_keys_and_its_faults_stop_it() {
        let directory = tempfile::tempdir().unwrap();
        let (file, key) = (directory.path().join("masking.toml"), directory.path().join("key"));
        std::fs::write(&key, "0123456789abcdef0123\n").unwrap();
        let text = format!("version = 1\n[class.ref]\nshow = {{ hash = {{ key = {{ file = {key:?} }} }} }}\n");
        std::fs::write(&file, &text).unwrap();
        let mut folder = Folder::new(None, Some(file.clone()));
        let masking = folder.read().unwrap().masking.unwrap();
        assert_eq!(masking.keys.values().next().unwrap(), b"0123456789abcdef0123");
        std::fs::write(&file, text.replace("version = 1", "version = 1\nnonsense = true")).unwrap();
        assert!(folder.read().unwrap_err().contains("nonsense"));
    }
}
