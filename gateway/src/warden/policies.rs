//! Policy files, as bytes: read here, since the engine opens no files; understood there.
//!
//! In: a folder, looked at again each second. Out: its files, and whether they have changed and come to rest.

use std::path::PathBuf;

use crate::policy::load::read_folder;

/// Files by name.
pub type Files = Vec<(String, String)>;

/// Where policies are read from.
#[derive(Debug)]
pub struct Folder {
    path: Option<PathBuf>,
    /// What the engine was last given.
    given: Result<Files, String>,
    /// What the last look found.
    last: Result<Files, String>,
}

impl Folder {
    /// A folder of `*.cedar` files; `None`: the shipped policies alone.
    #[must_use]
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path, given: Ok(Vec::new()), last: Ok(Vec::new()) }
    }

    /// Reads all files, for the engine.
    ///
    /// # Errors
    /// With every file that cannot be read: nothing is left out quietly.
    pub fn read(&mut self) -> Result<Files, String> {
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

    fn look(&self) -> Result<Files, String> {
        let Some(path) = &self.path else { return Ok(Vec::new()) };
        let files = read_folder(path)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        if files.is_empty() {
            return Err(format!("{} has no policy files (*.cedar): without one nothing is permitted", path.display()));
        }
        Ok(files.into_iter().map(|file| (file.name, file.text)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_has_come_to_rest() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.cedar");
        std::fs::write(&file, "one").unwrap();
        let mut folder = Folder::new(Some(directory.path().to_owned()));
        assert_eq!(folder.read().unwrap().len(), 1);
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
        assert!(Folder::new(Some(directory.path().to_owned())).read().is_err());
    }
}
