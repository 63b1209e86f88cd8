//! On what the numbers were taken. In: /proc and the versions of programs. Out: facts that go with the samples. It must
//! never name a user or a host.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use super::report::quoted;
use super::servers::PROGRAMS;
use crate::run::{checkout, quiet};

/// What the numbers depend on.
pub(super) struct Facts {
    facts: Vec<(&'static str, String)>,
    load_before: String,
    /// Set when the last sample is taken.
    pub(super) load_after: String,
}

impl Facts {
    /// Of this machine, now.
    pub(super) fn read(gateway: &Path) -> Result<Self> {
        let said = |program: &str, arguments: &[&str]| {
            let text = quiet(Command::new(program).args(arguments)).unwrap_or_else(|error| format!("unknown: {error}"));
            text.lines().next().unwrap_or_default().to_owned()
        };
        let root = checkout()?.display().to_string();
        let facts = vec![
            ("time", unix_time().to_string()),
            ("kernel", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned()),
            ("processor", field("/proc/cpuinfo", "model name")?),
            ("processors", std::thread::available_parallelism()?.to_string()),
            ("memory", field("/proc/meminfo", "MemTotal")?),
            ("postgres", said(&format!("{PROGRAMS}/postgres"), &["--version"])),
            ("pgbouncer", said("/usr/sbin/pgbouncer", &["--version"])),
            ("openssh", said("dpkg-query", &["--show", "openssh-server"])),
            ("gateway", said(&gateway.display().to_string(), &["--version"])),
            ("commit", said("git", &["-C", &root, "describe", "--always", "--dirty"])),
        ];
        Ok(Self { facts, load_before: load(), load_after: String::new() })
    }

    /// As a JSON object.
    pub(super) fn json(&self) -> String {
        let loads = [("load_before", self.load_before.clone()), ("load_after", self.load_after.clone())];
        let all = self.facts.iter().chain(&loads);
        let fields: Vec<String> = all.map(|(name, value)| format!("{}: {}", quoted(name), quoted(value))).collect();
        format!("{{{}}}", fields.join(", "))
    }
}

/// Seconds since 1970.
pub(super) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How many processes wanted a processor lately: others on the machine show here.
pub(super) fn load() -> String {
    fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

fn field(file: &str, name: &str) -> Result<String> {
    let text = fs::read_to_string(file)?;
    let found = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
    Ok(found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default())
}
