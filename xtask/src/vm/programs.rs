//! The test programs. In: the checkout. Out: built files, and the names of the tests in them. It must never name a test
//! that is not there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::run::line;

/// A test program of the gateway.
pub(super) struct Program {
    file: PathBuf,
    /// Its tests.
    pub(super) tests: Vec<String>,
}

impl Program {
    /// Builds it with what it starts.
    pub(super) fn build(root: &Path, name: &str) -> Result<Self> {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(root).args(["test", "--locked", "--package", "gateway", "--test", name, "--no-run"]);
        let output =
            cargo.stdout(Stdio::inherit()).output().with_context(|| format!("cannot run `{}`", line(&cargo)))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{}` failed:\n{said}", line(&cargo));
        let file = executable(&said).with_context(|| format!("cargo names no test program:\n{said}"))?;
        // Cargo names it from where it was started.
        let file = root.join(file);
        let tests = listed(&file)?;
        Ok(Self { file, tests })
    }

    /// The folder that it is in, with the programs that it starts above it.
    pub(super) fn folder(&self) -> Result<PathBuf> {
        Ok(self.file.ancestors().nth(2).context("the test program has no folder")?.to_owned())
    }

    /// The gateway that it starts.
    pub(super) fn gateway(&self) -> Result<String> {
        Ok(self.folder()?.join("gateway").display().to_string())
    }

    /// The command that runs these tests and no others.
    pub(super) fn command(&self, tests: &[String]) -> Vec<String> {
        let file = self.file.display().to_string();
        // Two at a time, so that one can work while the other waits; but for those that take all of the one processor.
        let threads = if tests.iter().any(|test| takes_all(test)) { 1 } else { 2 };
        [file, format!("--test-threads={threads}"), "--color=never".into(), "--exact".into()]
            .into_iter()
            .chain(tests.iter().cloned())
            .collect()
    }
}

/// Whether a test connects without a pause, which leaves nothing of an emulated processor to another test.
pub(super) fn takes_all(test: &str) -> bool {
    test.starts_with("bypass_floods::")
}

fn executable(said: &str) -> Option<&str> {
    let line = said.lines().find(|line| line.trim_start().starts_with("Executable "))?;
    Some(line.rsplit_once('(')?.1.trim_end().trim_end_matches(')'))
}

fn listed(file: &Path) -> Result<Vec<String>> {
    let output = Command::new(file).arg("--list").output().with_context(|| format!("cannot run {}", file.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let tests: Vec<String> = text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect();
    ensure!(!tests.is_empty(), "{} lists no tests", file.display());
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_program_in_what_cargo_says() {
        let said = "   Compiling x\n    Finished `test` profile\n  Executable tests/it/main.rs (/t/debug/deps/it-0a)\n";
        assert_eq!(executable(said), Some("/t/debug/deps/it-0a"));
        assert_eq!(executable("error: no"), None);
    }

    #[test]
    fn lists_this_very_test() {
        let own = std::env::current_exe().unwrap();
        assert!(listed(&own).unwrap().contains(&"vm::programs::tests::lists_this_very_test".to_owned()));
    }
}
