//! `gateway attach`: intercept a subtree that is there.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::serve::{Serving, running, runtime};
use super::{Files, Output};
use crate::control::service::{AttachRequest, Attached};
use crate::host::cgroup::{Hierarchy, contains};
use crate::host::priority;
use crate::identity::container;

/// Digits of a container id that engines show.
const SHORT_ID: usize = 12;

/// Which subtree, and how.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// A name for it [default: the last level of its path]
    #[arg(long)]
    name: Option<String>,
    /// A group of its workloads, for policies (`local:NAME`)
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Decide and record, but block nothing
    #[arg(long)]
    observe: bool,
    /// The file of the token that says who runs in it; `[identity.oidc]` says who may issue it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Leave connections open that are there already
    #[arg(long)]
    keep_existing: bool,
    /// Live with a way around; `gateway status` shows it
    #[arg(long = "accept-gap", value_name = "NAME")]
    accept_gaps: Vec<String>,
    #[command(flatten)]
    files: Files,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// A cgroup, by its path
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// The cgroup of a process
    #[arg(long)]
    pid: Option<i32>,
    /// The cgroup of a systemd unit, `.service` where it has no ending
    #[arg(long)]
    unit: Option<String>,
    /// The cgroup of a container, by its id or the first 12 digits of it
    #[arg(long, value_name = "ID")]
    container: Option<String>,
}

pub(super) fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let hierarchy = Hierarchy::find()?;
    let cgroup = arguments.which.path(&hierarchy)?;
    let name = arguments.name.or_else(|| Some(cgroup.file_name()?.to_string_lossy().into_owned()));
    let request = AttachRequest {
        name: name.context("the root of the hierarchy has no name: give one with --name")?,
        cgroup,
        groups: arguments.groups,
        observe: arguments.observe,
        token_file: arguments.token_file,
        keep_existing: arguments.keep_existing,
        accept_gaps: arguments.accept_gaps,
        runs_as: None,
        tied: false,
    };
    priority::raise();
    runtime()?.block_on(async {
        if let Some(client) = running().await? {
            let attached: Attached = client.post("/v1/attach", &request).await?;
            return output.print(&attached, describe);
        }
        step_aside(&hierarchy, &request)?;
        let mut serving = Serving::start(arguments.files, Some(request.clone())).await?;
        let attached = match serving.warden.attach(request).await {
            Ok(attached) => attached,
            Err(error) => {
                serving.stop().await;
                return Err(error.into());
            }
        };
        output.print(&attached, describe)?;
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = serving.ended() => bail!("the gateway ended: its log says why; `{}` stays closed", attached.name),
        }
        serving.stop().await;
        let name = &attached.name;
        eprintln!(
            "gateway: stopped. `{name}` stays closed: its connections to Postgres, SSH and Kubernetes are refused.\n  \
             go on: sudo gateway attach --name {name} …     open it again: sudo gateway detach {name}"
        );
        Ok(())
    })
}

impl Which {
    fn path(&self, hierarchy: &Hierarchy) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.cgroup {
            return Ok(path.clone());
        }
        if let Some(pid) = self.pid {
            let path = hierarchy.of_process(pid).with_context(|| format!("there is no process {pid}"))?;
            return Ok(hierarchy.mount().join(path.trim_start_matches('/')));
        }
        let wanted = match (&self.unit, self.container.clone().unwrap_or_default()) {
            (Some(unit), _) if unit.contains('.') => unit.clone(),
            (Some(unit), _) => format!("{unit}.service"),
            (None, id) if id.len() >= SHORT_ID => id,
            (None, id) => bail!("`{id}` is no id of a container: give at least its first {SHORT_ID} digits"),
        };
        let matches = |name: &str| match &self.unit {
            Some(_) => name == wanted,
            None => container(name).is_some_and(|(_, id)| id.starts_with(&wanted)),
        };
        let mut found = hierarchy.all();
        found.retain(|path| path.file_name().is_some_and(|name| matches(&name.to_string_lossy())));
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => bail!("no cgroup is named after `{wanted}`: is it running?"),
            [first, ..] => bail!(
                "{} cgroups are named after `{wanted}`: choose one with --cgroup, such as {}",
                found.len(),
                first.display()
            ),
        }
    }
}

/// `sudo gateway attach` starts in the caller's cgroup, which may be the one to attach to.
fn step_aside(hierarchy: &Hierarchy, request: &AttachRequest) -> anyhow::Result<()> {
    let own = std::process::id();
    let cgroup = hierarchy.at(&request.cgroup)?;
    let ours = hierarchy.of_process(i32::try_from(own)?).unwrap_or_default();
    if cgroup.path == "/" || !contains(&cgroup.path, &ours) {
        return Ok(());
    }
    let aside = hierarchy.mount().join("gateway.slice/gateway");
    fs::create_dir_all(&aside).with_context(|| format!("cannot make {}", aside.display()))?;
    fs::write(aside.join("cgroup.procs"), own.to_string())
        .with_context(|| format!("cannot move to {}", aside.display()))
}

fn describe(attached: &Attached) -> String {
    let mut text = format!(
        "gateway: `{}` is intercepted: postgres 5432, ssh 22, kubernetes 6443 and all declared targets",
        attached.name
    );
    if let Some(reason) = &attached.closed {
        text += &format!("\n  its connections are all refused until a reload succeeds: {reason}");
    }
    let existing = &attached.existing;
    if !existing.destinations.is_empty() {
        let list: Vec<_> = existing.destinations.iter().map(ToString::to_string).collect();
        text += &format!("\n  open before: {}; {} of them ended", list.join(", "), existing.cut);
    }
    for gap in &attached.gaps {
        text += &format!("\n  gap {}: {}", gap.name, gap.detail);
    }
    text
}
