//! The package on a clean Debian with systemd, in an emulated machine. In: the package with the binary of the tests. Out: what
//! `story.sh` says there. It must never touch the packages of this machine.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Build, pack, prepare};
use crate::ebpf;
use crate::run::{checkout, run};
use crate::setup;
use crate::vm::{Machine, Modules, Start, USUAL, as_root};

/// How much of a host the service may reach, as `systemd-analyze security` counts: tenths, 100 being all. Its unit says why
/// what is left is left.
const EXPOSURE: &str = "36";
const TIME: Duration = Duration::from_secs(900);

/// Installs it and boots with it.
pub(crate) fn check() -> Result<()> {
    let root = checkout()?;
    run(Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", &format!("--threshold={EXPOSURE}")])
        .arg(root.join("packaging/gateway.service"))
        .stdout(std::process::Stdio::null()))
    .context("the service may reach more of the host than it did")?;
    let cache = ebpf::cache_dir()?;
    let folder = cache.join("vm").join(format!("{}-dist", std::process::id()));
    let done = installed(root, &cache, &folder);
    run(as_root("rm").args(["-rf"]).arg(&folder))?;
    done
}

fn installed(root: &Path, cache: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let staging = prepare(Build::Test)?;
    let pack = |revision| pack(Build::Test, &staging, revision, folder);
    let (first, second) = (pack("1")?, pack("2")?);
    let host = folder.join("host");
    let mut install = as_root("unshare");
    install.args(["--mount", "--pid", "--fork", "--propagation", "private", "sh"]);
    run(install
        .arg(root.join("xtask/src/dist/install.sh"))
        .arg(setup::debian(cache))
        .arg(&host)
        .args([first, second]))?;
    let story = fs::read_to_string(root.join("xtask/src/dist/story.sh")).context("cannot read the story")?;
    let machine = Machine {
        kernel: USUAL,
        modules: Modules::Own,
        label: "debian".into(),
        start: Start::System { root: host, story },
        folders: &[],
        time: TIME,
    };
    match machine.run()?.fault {
        None => Ok(()),
        Some(fault) => bail!("{fault}"),
    }
}
