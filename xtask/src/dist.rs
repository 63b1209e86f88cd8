//! Packages. In: the checkout. Out: a .deb, a tarball of the same files, what they are made of (CycloneDX), and checksums.
//! It must never pack a file that is not in the checkout or made from it.

mod check;
mod store;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

pub(crate) use check::{check, host};

use crate::ebpf;
use crate::run::{checkout, quiet, run};
use crate::setup;

/// What to pack.
#[derive(Args)]
pub(crate) struct Options {
    /// Where to put them
    #[arg(long, default_value = "target/packages")]
    out: PathBuf,
}

/// How a package is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Build {
    /// As it is shipped.
    Release,
    /// With the binary of the tests, and little compressed: what is tried is how it installs and runs.
    Test,
}

/// Makes the packages, and says where they are.
pub(crate) fn perform(options: &Options) -> Result<()> {
    let out = checkout()?.join(&options.out);
    let package = pack(Build::Release, &prepare(Build::Release)?, "1", &out)?;
    tarball(&package, &out)?;
    sums(&out)?;
    println!("dist: {}", out.display());
    Ok(())
}

/// Lays ready what is packed, and returns the target folder that it is in.
fn prepare(build: Build) -> Result<PathBuf> {
    let root = checkout()?;
    let binary = binary(root, build)?;
    // cargo-deb packs what lies in the `release` of a target folder.
    let staging = target()?.join("dist");
    let release = staging.join("release");
    if release.exists() {
        fs::remove_dir_all(&release).with_context(|| format!("cannot remove {}", release.display()))?;
    }
    let manual = release.join("dist/manual");
    fs::create_dir_all(&manual).with_context(|| format!("cannot make {}", manual.display()))?;
    run(Command::new("strip").arg("-o").arg(release.join("gateway")).arg(&binary))?;
    quiet(Command::new(&binary).arg("manual").arg(&manual))?;
    for manifest in ["gateway/Cargo.toml", "gateway-ebpf/Cargo.toml"] {
        materials(root, Path::new(manifest), &release.join("dist"))?;
    }
    Ok(staging)
}

/// Makes the .deb of a revision.
fn pack(build: Build, staging: &Path, revision: &str, out: &Path) -> Result<PathBuf> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let mut pack = Command::new(setup::cargo_deb(&ebpf::cache_dir()?));
    pack.current_dir(checkout()?).env("CARGO_TARGET_DIR", staging).args([
        "--package",
        "gateway",
        "--no-build",
        "--locked",
    ]);
    pack.args(["--no-strip", "--no-dbgsym", "--deb-revision", revision, "--compress-system", "--output"]).arg(out);
    if build == Build::Test {
        pack.args(["--compress-type", "gz", "--fast"]);
    }
    let said = quiet(&mut pack)?;
    let file = said.lines().last().map(|line| PathBuf::from(line.trim())).context("cargo-deb names no package")?;
    ensure!(file.is_file(), "cargo-deb made no package: {said}");
    Ok(file)
}

fn binary(root: &Path, build: Build) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(root);
    let folder = match build {
        Build::Release => {
            let mut flags = ebpf::remapped(root);
            flags.push(format!("--remap-path-prefix={}=target", target()?.display()));
            cargo.args(["build", "--release", "--package", "gateway"]);
            cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
            "release"
        }
        Build::Test => {
            cargo.args(["test", "--no-run", "--workspace"]);
            "debug"
        }
    };
    run(cargo.args(["--quiet", "--locked"]))?;
    Ok(target()?.join(folder).join("gateway"))
}

/// The target folder that this program stands in.
pub(crate) fn target() -> Result<PathBuf> {
    let this = std::env::current_exe().context("no path to this program")?;
    Ok(this.ancestors().nth(2).context("this program stands in no target folder")?.to_owned())
}

/// Writes what a crate is made of to a folder.
fn materials(root: &Path, manifest: &Path, folder: &Path) -> Result<()> {
    const NAME: &str = "sbom";
    let package = manifest.parent().context("a manifest without a folder")?;
    let mut command = Command::new(setup::cargo_cyclonedx(&ebpf::cache_dir()?));
    command.current_dir(root).args(["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5"]);
    command.arg("--manifest-path").arg(manifest).args(["--override-filename", NAME]);
    quiet(&mut command)?;
    // It writes one beside each manifest of the workspace.
    let members = ["gateway", "gateway-common", "gateway-ebpf", "xtask", "xtask/journal-load", "xtask/russh-relay"];
    let written = |member: &Path| root.join(member).join(NAME).with_extension("json");
    let file = written(package);
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    for member in members.map(Path::new).into_iter().filter(|member| written(member).exists()) {
        fs::remove_file(written(member)).context("cannot remove what cargo-cyclonedx wrote")?;
    }
    let text = text.replace(&format!("file://{}", root.display()), "file://");
    let name = package.file_name().context("a package without a name")?.to_string_lossy();
    fs::write(folder.join(format!("{name}.cdx.json")), text).context("cannot write the materials")
}

/// The files of a package for systems without dpkg, to be unpacked at `/`.
fn tarball(package: &Path, out: &Path) -> Result<()> {
    let name = format!("gateway-{}-{}-linux.tar.gz", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let archive = fs::File::create(out.join(&name)).with_context(|| format!("cannot make {name}"))?;
    let mut unpack = Command::new("dpkg-deb");
    let mut unpack = unpack.arg("--fsys-tarfile").arg(package).stdout(std::process::Stdio::piped()).spawn()?;
    let files = unpack.stdout.take().context("dpkg-deb has no output")?;
    run(Command::new("gzip").args(["--no-name", "-9"]).stdin(files).stdout(archive))?;
    ensure!(unpack.wait()?.success(), "dpkg-deb could not unpack {}", package.display());
    Ok(())
}

fn sums(out: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(out)? {
        let name = entry?.file_name();
        if name != "SHA256SUMS" {
            names.push(name);
        }
    }
    names.sort();
    let text = quiet(Command::new("sha256sum").current_dir(out).args(names))?;
    fs::write(out.join("SHA256SUMS"), text).context("cannot write SHA256SUMS")
}
