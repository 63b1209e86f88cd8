//! A host whose power is cut while a client works. In: how often. Out: how many requests the server received over all of its
//! lives, and how many events the journal has at the end; an error where a request has none with durability `disk`, or where
//! the journal is not whole after a cut. What the host had in memory alone is gone each time: only its disk is the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::dist;
use crate::ebpf;
use crate::run::{checkout, quiet, run};
use crate::vm::{Machine, Modules, Start, USUAL, as_root};

/// Of one life.
const TIME: Duration = Duration::from_secs(900);
const DISK_BYTES: u64 = 512 << 20;
const CONFIGURATION: &str = "\n[audit.journal]\ndurability = \"DURABILITY\"\nsegment_bytes = 65536\n";

/// Before the gateway starts.
const MOUNT: &str =
    "[Service]\nExecStart=/bin/mkdir -p /var/lib/gateway\nExecStart=/bin/mount /dev/vda /var/lib/gateway\n";

/// Cuts it so often, and looks at what is there once more.
pub(crate) fn cut(times: u64) -> Result<()> {
    let cache = ebpf::cache_dir()?;
    let folder = cache.join("vm").join(format!("{}-power", std::process::id()));
    // With `process` it may take the end of the journal, and must leave the rest of it whole.
    for (durability, times) in [("disk", times), ("process", times.min(2))] {
        let done = lives((durability, times), &cache, &folder);
        run(as_root("rm").args(["-rf"]).arg(&folder))?;
        done?;
    }
    Ok(())
}

fn lives((durability, times): (&str, u64), cache: &Path, folder: &Path) -> Result<()> {
    let host = dist::host(checkout()?, cache, folder)?;
    let append = |name: &str, text: &str| {
        let path = host.join("etc").join(name);
        let before = fs::read_to_string(&path).unwrap_or_default();
        path.parent().map(fs::create_dir_all).transpose().with_context(|| format!("cannot make {}", path.display()))?;
        fs::write(&path, before + text).with_context(|| format!("cannot write {}", path.display()))
    };
    append("gateway/gateway.toml", &CONFIGURATION.replace("DURABILITY", durability))?;
    append("systemd/system/shop.service.d/disk.conf", MOUNT)?;
    append("postgresql/15/main/postgresql.conf", "log_statement = 'all'\nlog_line_prefix = ''\n")?;
    let disk = folder.join("disk");
    let file = fs::File::create(&disk).with_context(|| format!("cannot make {}", disk.display()))?;
    file.set_len(DISK_BYTES).context("cannot make the disk as large as it is to be")?;
    quiet(Command::new("/sbin/mke2fs").args(["-q", "-t", "ext4", "-F"]).arg(&disk))?;
    let (mut received, mut recorded) = (BTreeSet::new(), BTreeSet::new());
    for life in 0..=times {
        let is_last = life == times;
        let machine = Machine {
            kernel: USUAL,
            modules: Modules::Own,
            label: format!("life {life}"),
            start: Start::System { root: host.clone(), story: story(life, is_last) },
            folders: &[],
            forward: None,
            disk: Some(&disk),
            time: TIME,
        };
        let outcome = machine.run()?;
        if let Some(fault) = outcome.fault {
            bail!("{fault}");
        }
        recorded = marks(&outcome.said, "recorded ");
        let lost: Vec<_> = received.difference(&recorded).collect();
        ensure!(
            lost.is_empty() || durability == "process",
            "received before a cut, and not in the journal after it: {lost:?}"
        );
        let now = marks(&outcome.said, "received ");
        ensure!(is_last || !now.is_empty(), "nothing was received in life {life}");
        received.extend(now);
    }
    let lost = received.difference(&recorded).count();
    println!(
        "power, {durability}: {times} cuts, {} requests at the server, {} events in the journal, {lost} lost with its end",
        received.len(),
        recorded.len()
    );
    Ok(())
}

/// Each life has marks of its own, and another length.
fn story(life: u64, is_last: bool) -> String {
    let tenths = if is_last { 0 } else { 30 + (u64::from(std::process::id()) * 31 + life * 13) % 50 };
    format!("life={life} seconds={}.{}\n{}", tenths / 10, tenths % 10, include_str!("power.sh"))
}

fn marks(said: &[String], word: &str) -> BTreeSet<String> {
    said.iter().filter_map(|line| line.strip_prefix(word)).map(str::to_owned).collect()
}
