//! A throwaway PostgreSQL. In: a version. Out: a server on 127.0.0.1 and a unix socket, and the psql line that
//! reaches it. It must never run as root, nor touch a cluster that it did not make.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::ebpf::{cache_dir, is_root};
use crate::run::run;
use crate::setup::postgres_18;

/// Ports 5415 and 5418: out of the way of a server on 5432.
const PORT_BASE: u16 = 5400;

/// Makes a cluster and starts it.
pub(crate) fn up(version: u16) -> Result<()> {
    let (mut initdb, mut start) = (program(version, "initdb")?, program(version, "pg_ctl")?);
    let home = home(version);
    let make = || DirBuilder::new().mode(0o755).create(&home);
    make().with_context(|| {
        format!("cannot make `{}` (`cargo xtask lab postgres down --version {version}`)", home.display())
    })?;
    if is_root() {
        let (user, group) = (id_of("-u")?, id_of("-g")?);
        chown(&home, Some(user), Some(group))
            .with_context(|| format!("cannot give `{}` to postgres", home.display()))?;
    }
    let data = home.join("data");
    run(initdb.args(["--username=postgres", "--auth=trust", "--no-sync", "--no-instructions", "--pgdata"]).arg(&data))?;
    let port = PORT_BASE + version;
    let settings = format!(
        "-c listen_addresses=127.0.0.1 -c port={port} -c fsync=off -c unix_socket_directories={}",
        home.display()
    );
    run(start
        .arg("start")
        .arg("-D")
        .arg(&data)
        .arg("-l")
        .arg(home.join("log"))
        .args(["--silent", "--wait", "-o", &settings]))?;
    println!("PostgreSQL {version}: psql -h 127.0.0.1 -p {port} -U postgres");
    println!("its files are in {}; `cargo xtask lab postgres down --version {version}` removes it", home.display());
    Ok(())
}

/// Stops the server and removes its cluster.
pub(crate) fn down(version: u16) -> Result<()> {
    let home = home(version);
    let data = home.join("data");
    if data.join("postmaster.pid").exists() {
        run(program(version, "pg_ctl")?.args(["stop", "--silent", "--wait", "-m", "immediate", "-D"]).arg(&data))?;
    }
    fs::remove_dir_all(&home).with_context(|| format!("cannot remove `{}`", home.display()))
}

fn home(version: u16) -> PathBuf {
    std::env::temp_dir().join(format!("gateway-lab-postgres-{version}"))
}

/// A server program as somebody who is not root: PostgreSQL refuses to run as root.
fn program(version: u16, name: &str) -> Result<Command> {
    let folder = match version {
        15 => PathBuf::from("/usr/lib/postgresql/15"),
        18 => postgres_18(&cache_dir()?),
        _ => bail!("PostgreSQL {version} is not part of the lab: take 15 or 18"),
    };
    let path = folder.join("bin").join(name);
    if !path.is_file() {
        bail!("`{}` is missing: run `cargo xtask setup`", path.display());
    }
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(path);
        command
    } else {
        Command::new(path)
    };
    command.current_dir(Path::new("/")).env("LC_ALL", "C.UTF-8");
    Ok(command)
}

/// A number of the user `postgres`, who comes with Debian's package.
fn id_of(option: &str) -> Result<u32> {
    let output = Command::new("id").args([option, "postgres"]).output().context("cannot run id")?;
    let text = String::from_utf8(output.stdout).context("id printed no text")?;
    text.trim().parse().context("there is no user postgres: run `cargo xtask setup`")
}
