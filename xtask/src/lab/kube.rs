//! A throwaway Kubernetes node. In: nothing. Out: etcd, an API server, a kubelet and containerd in namespaces of their
//! own, and the line that asks them. It must never stop a process that it did not start.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::ebpf::cache_dir;
use crate::run::{checkout, run};
use crate::setup;

/// A start takes half a minute on two idle cores.
const PATIENCE: Duration = Duration::from_secs(300);

/// Starts one that outlives us.
pub(crate) fn up() -> Result<()> {
    let (home, tools) = (home(), setup::kubernetes(&cache_dir()?));
    if !tools.join("bin/kubectl").is_file() {
        bail!("`{}` is missing: run `cargo xtask setup`", tools.display());
    }
    fs::create_dir(&home).with_context(|| format!("cannot make `{}` (`cargo xtask lab kube down`)", home.display()))?;
    let (input, output) = (home.join("input"), home.join("output"));
    run(Command::new("mkfifo").arg(&input))?;
    // Open at both ends, it never ends.
    let input = OpenOptions::new().read(true).write(true).open(&input).context("cannot open its input")?;
    let log = File::create(&output).context("cannot make its log")?;
    let mut command = Command::new(checkout()?.join("xtask/src/lab/kube.sh"));
    command.arg("serve").arg(&tools).arg(home.join("node")).current_dir("/").process_group(0);
    command.stdin(Stdio::from(input)).stdout(log.try_clone().context("cannot share its log")?).stderr(log);
    let mut child = command.spawn().context("cannot start the node")?;
    fs::write(home.join("pid"), child.id().to_string()).context("cannot note its process")?;
    let start = Instant::now();
    while !fs::read_to_string(&output).unwrap_or_default().contains("ready") {
        if start.elapsed() > PATIENCE || child.try_wait().context("cannot wait for the node")?.is_some() {
            bail!("the node does not come up: {}", fs::read_to_string(&output).unwrap_or_default().trim());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let pid = child.id();
    println!("Kubernetes: nsenter --net=/proc/{pid}/ns/net {}/bin/kubectl \\", tools.display());
    println!("    --kubeconfig {}/node/admin.kubeconfig get pods", home.display());
    println!("its files are in {}; `cargo xtask lab kube down` removes it", home.display());
    Ok(())
}

/// Stops it and removes what it kept.
pub(crate) fn down() -> Result<()> {
    let home = home();
    let pid = fs::read_to_string(home.join("pid")).unwrap_or_default();
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    // The number may be another process's by now: ours names its folder.
    if String::from_utf8_lossy(&words).split('\0').any(|word| Path::new(word).starts_with(&home)) {
        run(Command::new("kill").arg(&pid))?;
        let start = Instant::now();
        while Path::new("/proc").join(&pid).exists() {
            if start.elapsed() > PATIENCE {
                bail!("process {pid} does not end");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    fs::remove_dir_all(&home).with_context(|| format!("cannot remove `{}`", home.display()))
}

fn home() -> PathBuf {
    std::env::temp_dir().join("gateway-lab-kube")
}
