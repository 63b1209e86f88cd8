//! A throwaway ClickHouse. In: a port. Out: a server on 127.0.0.1 that keeps its data in a folder of its own, and the line
//! that asks it. It must never stop a process that it did not start.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::ebpf::cache_dir;
use crate::run::{checkout, line, run};
use crate::setup::clickhouse_library;

/// A first start takes under a second here.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts one that outlives us.
pub(crate) fn up(port: u16) -> Result<()> {
    let home = home(port);
    fs::create_dir(&home).with_context(|| {
        format!("cannot make `{}` (`cargo xtask lab clickhouse down --port {port}`)", home.display())
    })?;
    let child = start(&home, port, &[])?;
    fs::write(home.join("pid"), child.id().to_string()).context("cannot note its process")?;
    println!("ClickHouse: curl http://127.0.0.1:{port}/ --data-binary 'SELECT version()'");
    println!("its files are in {}; `cargo xtask lab clickhouse down --port {port}` removes it", home.display());
    Ok(())
}

/// Stops it and removes what it kept.
pub(crate) fn down(port: u16) -> Result<()> {
    let home = home(port);
    let pid = fs::read_to_string(home.join("pid")).unwrap_or_default();
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    // The number may be another process's by now: ours names its folder.
    if String::from_utf8_lossy(&words).split('\0').any(|word| Path::new(word) == home) {
        run(Command::new("kill").arg(&pid))?;
        let gone = || !Path::new("/proc").join(&pid).exists();
        wait(gone).with_context(|| format!("process {pid} does not end"))?;
    }
    fs::remove_dir_all(&home).with_context(|| format!("cannot remove `{}`", home.display()))
}

/// Starts one in a folder that is there, and waits until it answers. A `config.xml` in the folder names its users.
pub(crate) fn start(home: &Path, port: u16, more: &[&str]) -> Result<Child> {
    let library = clickhouse_library(&cache_dir()?);
    if !library.is_file() {
        bail!("`{}` is missing: run `cargo xtask setup`", library.display());
    }
    let log = File::create(home.join("log")).with_context(|| format!("cannot write in `{}`", home.display()))?;
    let mut command = Command::new("/usr/bin/python3");
    command.arg(checkout()?.join("xtask/src/lab/clickhouse.py")).arg(&library).arg(home).arg(port.to_string());
    // A group of its own: an interrupt from the terminal is not for it.
    command.args(more).current_dir("/").process_group(0);
    command.stdin(if more.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(log.try_clone().context("cannot share its log")?).stderr(log);
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", line(&command)))?;
    let mut ended = None;
    let answered = wait(|| {
        ended = child.try_wait().ok().flatten();
        ended.is_some() || answers(port)
    });
    if answered.is_err() || ended.is_some() {
        let _ = child.kill();
        let _ = child.wait();
        let said = fs::read_to_string(home.join("log")).unwrap_or_default();
        bail!("ClickHouse does not answer on port {port}: {}", said.trim());
    }
    Ok(child)
}

fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /ping HTTP/1.0\r\n\r\n")?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    };
    ask().is_ok_and(|said| said.ends_with("Ok.\n"))
}

fn wait(mut done: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > PATIENCE {
            bail!("waited for {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn home(port: u16) -> PathBuf {
    std::env::temp_dir().join(format!("gateway-lab-clickhouse-{port}"))
}
