//! Fuzzing for a while. In: the targets and their kept inputs. Out: success, or the target that found something. It must
//! never add to the kept inputs: what a run finds goes to the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::ebpf;
use crate::run::{checkout, run};

/// The coverage that libFuzzer looks at, from the compiler's own pass: cargo-fuzz sets the same, with a sanitizer that
/// takes a nightly.
const FLAGS: [&str; 6] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Runs every target for this long, one after the other.
pub(crate) fn all(time: Duration) -> Result<()> {
    let folder = checkout()?.join("gateway/fuzz");
    let cache = ebpf::cache_dir()?.join("fuzz");
    let programs = build(&folder, &cache.join("target"))?;
    let targets = targets(&folder)?;
    for target in &targets {
        let found = cache.join("found").join(target);
        fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
        let mut command = Command::new(programs.join(target));
        // The first folder takes new inputs; crashes get names that begin with the prefix.
        command.current_dir(&cache).arg(&found).arg(folder.join("corpus").join(target));
        command.arg(format!("-artifact_prefix={}/{target}-", cache.display()));
        command.args([
            &format!("-max_total_time={}", time.as_secs()),
            "-timeout=20",
            "-rss_limit_mb=4096",
            "-verbosity=0",
        ]);
        run(&mut command).with_context(|| format!("fuzz target `{target}`: its input is in {}", cache.display()))?;
        println!("fuzz: {target}: {} s without a finding", time.as_secs());
    }
    Ok(())
}

fn build(folder: &Path, target_dir: &Path) -> Result<PathBuf> {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = Command::new("cargo");
    // With a target named, build scripts and macros are spared the flags.
    cargo.current_dir(folder).args(["build", "--release", "--locked", "--quiet", "--target", &triple]);
    run(cargo.env("CARGO_TARGET_DIR", target_dir).env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f")))?;
    Ok(target_dir.join(triple).join("release"))
}

/// Their names: each has a file and kept inputs.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder.join("corpus")).context("cannot read the kept inputs")?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(folder.join("targets").join(format!("{name}.rs")).is_file(), "inputs of `{name}`, which is no target");
        names.push(name);
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_every_target_of_the_manifest() {
        let folder = checkout().unwrap().join("gateway/fuzz");
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let targets = targets(&folder).unwrap();
        assert_eq!(targets.len(), manifest.matches("[[bin]]").count());
        assert!(targets.iter().all(|target| manifest.contains(&format!("name = \"{target}\""))), "{targets:?}");
    }
}
