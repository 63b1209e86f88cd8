//! `gateway trust`: what a client must trust.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::line;

use crate::config::{Config, DEFAULT_FILE};
use crate::trust::ca::Authority;
use crate::warden::RUN_DIR;

/// What to print.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print the certificate authority of this host, in PEM
    #[arg(long, required = true)]
    ca: bool,
}

pub(super) fn run(_: &Arguments) -> anyhow::Result<()> {
    line(authority()?.certificate_pem().trim_end())
}

fn authority() -> anyhow::Result<Authority> {
    let state = match fs::read_to_string(DEFAULT_FILE) {
        Ok(text) => Config::parse(DEFAULT_FILE, &text)?.state_dir,
        Err(_) => Config::default().state_dir,
    };
    Ok(Authority::open(&state)?)
}

/// A file with the system's authorities and ours, for `exec` to mount; `None` where the system has none.
pub(super) fn bundle() -> anyhow::Result<Option<PathBuf>> {
    let system = "/etc/ssl/certs/ca-certificates.crt";
    let Ok(mut text) = fs::read_to_string(system) else { return Ok(None) };
    text.push_str(authority()?.certificate_pem());
    let path = Path::new(RUN_DIR).join("ca-bundle.crt");
    let fresh = path.with_extension("new");
    fs::write(&fresh, text)
        .and_then(|()| fs::rename(&fresh, &path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(path))
}
