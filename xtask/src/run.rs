//! Child processes, and this host as they need it. In: a command. Out: its success, or an error that holds the command
//! line. It must never run a shell over built text.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs to the end with our output; errs with the command line when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// The command line with what it sets in the environment, for people.
pub(crate) fn line(command: &Command) -> String {
    let text = |word: &OsStr| word.to_string_lossy().into_owned();
    let set =
        command.get_envs().filter_map(|(name, value)| value.map(|value| format!("{}={}", text(name), text(value))));
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(text);
    set.chain(words).collect::<Vec<_>>().join(" ")
}

/// Whether a program of this name is on the search path.
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Runs it to its end without a word, unless it fails; returns what it printed.
pub(crate) fn quiet(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start `{}`", line(command)))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}` failed: {errors}", line(command));
    String::from_utf8(output.stdout).context("it printed no text")
}

/// Waits for a fact.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !holds()? {
        ensure!(start.elapsed() < PATIENCE, "waited {} s for {what}", PATIENCE.as_secs());
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Where the unified hierarchy of cgroups is, on pure and hybrid hosts.
pub(crate) fn cgroup_mount() -> Result<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let line = table.lines().find(|line| line.contains(" - cgroup2 ")).context("no cgroup2 is mounted")?;
    line.split(' ').nth(4).map(PathBuf::from).context("a mount without a mount point")
}

/// Does the work, with the time it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// The checkout that this binary was built from.
pub(crate) fn checkout() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask stands in no checkout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_a_command_as_one_would_type_it() {
        let mut command = Command::new("cargo");
        command.args(["install", "x"]).env("LLVM_PREFIX", "/usr/lib/llvm").env_remove("RUSTFLAGS");
        assert_eq!(line(&command), "LLVM_PREFIX=/usr/lib/llvm cargo install x");
    }

    #[test]
    fn names_the_command_that_failed() {
        let failed = run(&mut Command::new("false")).unwrap_err().to_string();
        assert!(failed.contains("`false` failed"), "{failed}");
        let missing = run(&mut Command::new("/nowhere/x")).unwrap_err().to_string();
        assert!(missing.contains("cannot start `/nowhere/x`"), "{missing}");
    }
}
