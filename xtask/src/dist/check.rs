//! The package on a clean Debian with systemd, in an emulated machine. In: the package with the binary of the tests. Out: what
//! `story.sh` says there. It must never touch the packages of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Build, pack, prepare, store};
use crate::ebpf;
use crate::lab;
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
    let done = reproduced(root, &folder).and_then(|()| installed(root, &cache, &folder));
    run(as_root("rm").args(["-rf"]).arg(&folder))?;
    done
}

/// Builds the eBPF object once more from nothing, and wants the same bytes: what the kernel is given can be checked against its
/// source. A checkout at another path has other names in its symbols, since cargo hashes where gateway-common lies.
fn reproduced(root: &Path, folder: &Path) -> Result<()> {
    let arch = std::env::consts::ARCH;
    let read = |path: PathBuf| fs::read(path).context("cannot read the eBPF object");
    let anew = read(ebpf::build_in(&folder.join("ebpf"), root, arch)?)?;
    let once_more = read(ebpf::build_in(&folder.join("ebpf-again"), root, arch)?)?;
    ensure!(anew == once_more, "the eBPF object is another one when it is built again");
    println!("the eBPF object is the same when it is built again");
    Ok(())
}

/// Makes a host with the package, below a folder, which tells a story at its boot.
pub(crate) fn host(root: &Path, cache: &Path, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let staging = prepare(Build::Test)?;
    let pack = |revision| pack(Build::Test, &staging, revision, folder);
    let (first, second) = (pack("1")?, pack("2")?);
    let host = folder.join("host");
    let mut install = as_root("unshare");
    install.args(["--mount", "--pid", "--fork", "--propagation", "private", "sh"]);
    install.arg(root.join("xtask/src/dist/install.sh")).arg(setup::debian(cache)).arg(&host);
    run(install.args([first, second]).arg(root))?;
    Ok(host)
}

fn installed(root: &Path, cache: &Path, folder: &Path) -> Result<()> {
    let host = host(root, cache, folder)?;
    let store = folder.join("clickhouse");
    let port = store::set_up(root, &store)?;
    let _running = store::Running(lab::clickhouse::start(&store, port, &["with-parent"])?);
    let story = fs::read_to_string(root.join("xtask/src/dist/story.sh")).context("cannot read the story")?;
    let machine = Machine {
        kernel: USUAL,
        modules: Modules::Own,
        label: "debian".into(),
        start: Start::System { root: host, story },
        folders: &[],
        forward: Some((8123, port)),
        disk: None,
        time: TIME,
    };
    match machine.run()?.fault {
        None => Ok(()),
        Some(fault) => bail!("{fault}"),
    }
}
