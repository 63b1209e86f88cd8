//! The copy in a real ClickHouse. In: a world. Out: how many lines a second are copied from a backlog, and how far behind the copy is
//! of a journal that is being written. It must never count a line twice, nor before ClickHouse has it.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::measure::Samples;
use super::super::world::{HOME, Running, World};
use super::report::Sizes;
use super::{Programs, Way};
use crate::ebpf::cache_dir;
use crate::run::{checkout, quiet, until};
use crate::setup::clickhouse_library;

/// Where ClickHouse listens, in a network namespace of its own.
const PORT: u16 = 8123;
/// Where the gateway keeps its journals there.
const STATE: &str = "/var/lib/gateway";
/// Events a second that have to be kept up with.
const RATE: u64 = 50_000;
/// How often ClickHouse is asked.
const LOOK: Duration = Duration::from_millis(100);
/// How long the copy of it all may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// A gateway that copies.
pub(super) struct Store {
    // Ends before the world does.
    _gateway: Running,
    _server: Running,
    load: PathBuf,
    world: World,
}

impl Store {
    /// Starts both, with the gateway's tables.
    pub(super) fn start(programs: &Programs) -> Result<Self> {
        let world = World::new(&programs.gateway)?;
        let home = world.file("clickhouse.log", "")?.with_file_name("clickhouse");
        fs::create_dir(&home).with_context(|| format!("cannot make `{}`", home.display()))?;
        let mut server = world.command("/usr/bin/python3");
        server.arg(checkout()?.join("xtask/src/lab/clickhouse.py")).arg(clickhouse_library(&cache_dir()?));
        let log = world.log("clickhouse");
        let mut server = Running::start("clickhouse", server.arg(&home).arg(PORT.to_string()), &log)?;
        until("ClickHouse", || {
            server.check().with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
            Ok(ask(&world, "SELECT 1").is_ok())
        })?;
        let attached = world.attached();
        let configuration = world.file(
            "gateway.toml",
            &format!(
                "version = 1\n[[attach]]\nname = \"bench\"\ncgroup = \"{}\"\n\
                 [audit.clickhouse]\nurl = \"http://127.0.0.1:{PORT}\"\nuser = \"default\"\n",
                attached.display()
            ),
        )?;
        let program = format!("{HOME}/gateway");
        quiet(world.command(&program).args(["audit", "migrate", "--config"]).arg(&configuration))?;
        let log = world.log("gateway");
        let mut run = world.command(&program);
        let mut gateway = Running::start("gateway", run.args(["run", "--config"]).arg(&configuration), &log)?;
        until("the gateway", || {
            gateway.check().with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
            Ok(fs::read_to_string(&log)?.contains("is intercepted"))
        })?;
        Ok(Self { _gateway: gateway, _server: server, load: programs.load.clone(), world })
    }

    /// A journal that is there as fast as it can be written: lines a second from the first that is copied to the last.
    pub(super) fn backlog(&self, sizes: Sizes, samples: &mut Samples<Way>) -> Result<()> {
        let (journal, lines, _) = self.write(0, sizes.shipped)?;
        let (first, start) = (self.copied(&journal)?, Instant::now());
        self.wait_for(&journal, lines)?;
        ensure!(first < lines, "all was copied before anybody looked: measure more");
        samples.add("shipped /s", Way::Gateway, (lines - first) as f64 / start.elapsed().as_secs_f64());
        Ok(())
    }

    /// A journal that is being written: how many seconds after its last line the last one is copied.
    pub(super) fn pace(&self, sizes: Sizes, samples: &mut Samples<Way>) -> Result<()> {
        let (journal, lines, took) = self.write(RATE, sizes.shipped)?;
        let start = Instant::now();
        self.wait_for(&journal, lines)?;
        samples.add("behind s", Way::Gateway, start.elapsed().as_secs_f64());
        samples.add("paced /s", Way::Gateway, lines as f64 / took);
        Ok(())
    }

    /// The journal, its lines, and the seconds that they took.
    fn write(&self, rate: u64, seconds: u64) -> Result<(String, u64, f64)> {
        let mut load = self.world.command(&self.load);
        let said = quiet(load.args(["pace", STATE, &rate.to_string(), &seconds.to_string()]))?;
        let mut words = said.split_whitespace();
        let mut word = || words.next().with_context(|| format!("journal-load said `{said}`"));
        Ok((word()?.to_owned(), word()?.parse()?, word()?.parse()?))
    }

    fn wait_for(&self, journal: &str, lines: u64) -> Result<()> {
        let start = Instant::now();
        loop {
            let copied = self.copied(journal)?;
            if copied == lines {
                return Ok(());
            }
            ensure!(copied < lines, "{copied} rows of {lines} lines");
            let waited = start.elapsed();
            ensure!(waited < PATIENCE, "{copied} of {lines} lines are copied after {} s", waited.as_secs());
            sleep(LOOK);
        }
    }

    fn copied(&self, journal: &str) -> Result<u64> {
        let said =
            ask(&self.world, &format!("SELECT uniqExact(seq) FROM gateway.events WHERE journal_id = '{journal}'"))?;
        said.trim().parse().with_context(|| format!("no number: {said}"))
    }
}

fn ask(world: &World, sql: &str) -> Result<String> {
    let url = format!("http://127.0.0.1:{PORT}/");
    quiet(world.command("curl").args(["--silent", "--show-error", "--fail-with-body", "--data-binary", sql, &url]))
}
