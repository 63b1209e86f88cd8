//! `gateway exec` without root: the gateway that runs here makes the cgroup and moves us, then we become the command.
//!
//! The process stays the caller's: terminal, job control and exit status are the command's own.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use gateway_common::sys;

use super::exec::{leads_outside, plain};
use super::serve::running;
use crate::control::client::ClientError;
use crate::control::service::{ExecRequest, Moved};
use crate::host::user::Users;

/// Asks for the cgroup, then becomes the command; comes back with an error alone.
pub(super) fn become_command(name: Option<String>, words: &[String]) -> anyhow::Result<Infallible> {
    let [program, arguments @ ..] = words else { bail!("no command") };
    // Before we ask: the gateway looks whether we did.
    rustix::thread::set_no_new_privs(true).context("cannot give up new privileges")?;
    let default = || plain(&Path::new(program).file_name().unwrap_or_default().to_string_lossy());
    let request = ExecRequest { may_number: name.is_none(), name: name.unwrap_or_else(default) };
    // One thread: each of them would have its own privileges.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let moved: Moved = runtime.block_on(async {
        match running().await {
            Ok(Some(client)) => Ok(client.post("/v1/exec", &request).await?),
            Ok(None) => bail!("no gateway runs on this host that could intercept it: start one, or use sudo"),
            Err(error) if error.downcast_ref().is_some_and(|error| matches!(error, ClientError::NotAllowed)) => {
                bail!("you may run no commands here: have `users = [\"{}\"]` under `[exec]` in the gateway's configuration, or use sudo", own_name())
            }
            Err(error) => Err(error),
        }
    })?;
    drop(runtime);
    for gap in &moved.gaps {
        eprintln!("gateway: gap {}: {}", gap.name, gap.detail);
    }
    eprintln!("gateway: {program} runs in {}", moved.cgroup);
    if !moved.trusted {
        eprintln!(
            "gateway: this system does not trust the gateway's authority, so clients that verify certificates will fail; \
             once, as root: gateway trust --ca > /usr/local/share/ca-certificates/gateway.crt && update-ca-certificates"
        );
    }
    crate::sandbox::typing::forbid().context("cannot keep it from typing into the terminal")?;
    let mut command = Command::new(program);
    command.args(arguments);
    leads_outside(std::env::vars_os()).for_each(|name| {
        command.env_remove(name);
    });
    // Descriptors beyond the standard ones were somebody's outside: a socket among them would never meet a hook.
    sys::close_from(3)?;
    Err(command.exec()).with_context(|| format!("cannot run `{program}`"))
}

fn own_name() -> String {
    let uid = rustix::process::getuid().as_raw();
    Users::read().ok().and_then(|users| users.name(uid)).unwrap_or_else(|| uid.to_string())
}
