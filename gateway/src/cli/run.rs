//! `gateway run`: the daemon.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::Files;
use super::serve::{Serving, runtime};
use crate::chain::chain;
use crate::host::priority;
use crate::warden::Warden;

/// From which files.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    priority::raise();
    runtime()?.block_on(async {
        let mut serving = Serving::start(arguments.files, None).await?;
        attach_configured(&serving.warden).await?;
        // For systemd's `Type=notify`: what is ordered after us starts now, intercepted.
        sd_notify::notify(&[sd_notify::NotifyState::Ready]).context("cannot tell the service manager that we serve")?;
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut hangup = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hangup.recv() => match serving.warden.reload().await {
                    Ok(()) => {
                        eprintln!("gateway: configuration and policies were read anew");
                        if let Err(error) = attach_configured(&serving.warden).await {
                            eprintln!("gateway: {}", chain(error.as_ref()));
                        }
                    }
                    Err(error) => eprintln!("gateway: the old policies stay in force: {error}"),
                },
                () = serving.ended() => anyhow::bail!("the gateway ended: its log says why; attachments stay closed"),
            }
        }
        serving.stop().await;
        Ok(())
    })
}

/// Attaches what the configuration names and is not attached. What it does not name any more stays: to open a gate is
/// somebody's own decision.
async fn attach_configured(warden: &Arc<Warden>) -> anyhow::Result<()> {
    let attached: HashSet<_> = warden.status().attachments.into_iter().map(|attachment| attachment.name).collect();
    for request in warden.configured().into_iter().filter(|request| !attached.contains(&request.name)) {
        let name = request.name.clone();
        if warden.make_cgroup(&request).with_context(|| format!("cannot attach `{name}`"))? {
            eprintln!("gateway: cgroup `{}` was not there, and was made", request.cgroup.display());
        }
        warden.attach(request).await.with_context(|| format!("cannot attach `{name}`"))?;
        eprintln!("gateway: `{name}` is intercepted");
    }
    Ok(())
}
