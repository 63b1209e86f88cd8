//! `gateway run`: the daemon.

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::Files;
use super::serve::{Serving, runtime};

/// From which files.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut serving = Serving::start(arguments.files, None).await?;
        for request in serving.warden.configured() {
            let name = request.name.clone();
            if serving.warden.make_cgroup(&request).with_context(|| format!("cannot attach `{name}`"))? {
                eprintln!("gateway: cgroup `{}` was not there, and was made", request.cgroup.display());
            }
            serving.warden.attach(request).await.with_context(|| format!("cannot attach `{name}`"))?;
            eprintln!("gateway: `{name}` is intercepted");
        }
        // For systemd's `Type=notify`: what is ordered after us starts now, intercepted.
        sd_notify::notify(&[sd_notify::NotifyState::Ready]).context("cannot tell the service manager that we serve")?;
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut hangup = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hangup.recv() => match serving.warden.reload().await {
                    Ok(()) => eprintln!("gateway: policies were read anew"),
                    Err(error) => eprintln!("gateway: the old policies stay in force: {error}"),
                },
                () = serving.ended() => anyhow::bail!("the gateway ended: its log says why; attachments stay closed"),
            }
        }
        serving.stop().await;
        Ok(())
    })
}
