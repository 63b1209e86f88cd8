//! `gateway detach` and `gateway purge`: open gates again.

use anyhow::{Context, bail};
use clap::Args;

use super::Output;
use super::serve::{running, runtime};
use crate::capture::gate;
use crate::capture::pins::Pins;
use crate::control::service::Detached;
use crate::warden::RUN_DIR;
use crate::warden::names;

/// Which attachment.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Its name
    name: String,
}

pub(super) fn run(arguments: &Arguments, output: Output) -> anyhow::Result<()> {
    let name = &arguments.name;
    runtime()?.block_on(async {
        let detached: Detached = match running().await? {
            Some(client) => client.post("/v1/detach", name).await?,
            None => detach_pinned(name)?,
        };
        output.print(&detached, |detached| {
            format!(
                "gateway: `{}` is open: connections of {} go where they want, unseen",
                detached.name, detached.cgroup
            )
        })
    })
}

/// No gateway runs, but its hooks are in force.
fn detach_pinned(name: &str) -> anyhow::Result<Detached> {
    let kept = names::all()?.into_iter().find(|kept| kept.name == name);
    let Some(kept) = kept else {
        bail!("nothing is attached as `{name}`: `gateway status` lists what is");
    };
    names::forget(&kept.name);
    gate::detach_pinned(kept.cgroup_id)?;
    Ok(Detached { name: kept.name, cgroup: kept.cgroup })
}

pub(super) fn purge() -> anyhow::Result<()> {
    runtime()?.block_on(async {
        if running().await?.is_some() {
            bail!("a gateway runs on this host: stop it first");
        }
        for cgroup in Pins::all().context("cannot read the pins")? {
            gate::detach_pinned(cgroup)?;
            eprintln!("gateway: hooks of cgroup {cgroup} removed");
        }
        match std::fs::remove_dir_all(RUN_DIR) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("cannot remove the run directory")
            }
            _ => {
                eprintln!(
                    "gateway: nothing is in force any more. The journal is kept: it is evidence, remove it by hand"
                );
                Ok(())
            }
        }
    })
}
