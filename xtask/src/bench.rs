//! What the gateway costs. In: a release build, and the servers of this machine. Out: a table, the goals that are met or
//! missed, and a file with every sample. It must never measure one way without the others in the same round: on a
//! shared machine only their ratios say anything.

mod audit;
mod capture;
mod kubernetes;
mod machine;
mod measure;
mod relay;
mod report;
mod servers;
mod ssh;
mod storm;
mod stream;
mod wire;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};

use crate::ebpf::{cache_dir, is_root};
use crate::run::{checkout, run, timed};
use measure::{CLIENTS, MODES, Samples};
use servers::{Lab, WAYS};
use world::World;

/// What is measured.
#[derive(Subcommand)]
pub(crate) enum Subject {
    /// pgbench -S and a long read: direct, a byte relay, PgBouncer, the gateway
    Postgres(Extent),
    /// Copies, commands, keystrokes and idle sessions: direct, a byte relay, a bare SSH relay, the gateway
    Ssh {
        #[command(flatten)]
        extent: Extent,
        /// A release build of the bare SSH relay [default: built here]
        #[arg(long)]
        relay: Option<PathBuf>,
    },
    /// A connect inside and beside an attached cgroup
    Capture(Extent),
    /// Gets, a long list, a command's echo and idle watches: direct, HAProxy with TLS on both sides, the gateway
    Kubernetes(Extent),
    /// Lines into a journal, their copy in ClickHouse, and what is read back of many
    Audit {
        #[command(flatten)]
        extent: Extent,
        /// A release build of `journal-load` [default: built here]
        #[arg(long)]
        load: Option<PathBuf>,
    },
    /// Connects many times, until connected or greeted
    #[command(hide = true)]
    Connect { server: SocketAddr, until: String },
    /// A server that greets
    #[command(hide = true)]
    Greet { listen: SocketAddr },
    /// Connects at a rate, each closed by a reset
    #[command(hide = true)]
    Storm { server: SocketAddr, seconds: u64 },
    /// A server that reads and forgets
    #[command(hide = true)]
    Sink { listen: SocketAddr },
    /// Sends as fast as it goes for a while, whenever it is told to
    #[command(hide = true)]
    Pour { server: SocketAddr },
    /// A plain byte relay: the least that a proxy in user space can cost
    #[command(hide = true)]
    Relay { listen: SocketAddr, upstream: SocketAddr },
    /// Reads many rows, several times
    #[command(hide = true)]
    Read { server: SocketAddr, times: u32 },
    /// Opens sessions, and keeps them until its input ends
    #[command(hide = true)]
    Hold { server: SocketAddr, sessions: usize },
}

/// How much is measured.
#[derive(Args, Default)]
pub(crate) struct Extent {
    /// One short round: a minute, and numbers that only show a direction
    #[arg(long)]
    quick: bool,
    /// Rounds; each one measures everything once [default: 3, quick: 1]
    #[arg(long)]
    rounds: Option<u32>,
    /// A release build of the gateway [default: built here]
    #[arg(long)]
    gateway: Option<PathBuf>,
}

/// Measures, or is one of the processes that are measured.
pub(crate) fn perform(subject: Subject) -> Result<()> {
    match subject {
        Subject::Postgres(extent) => postgres(&extent),
        Subject::Ssh { extent, relay } => {
            ensure!(is_root(), "cgroups and namespaces need root: run it with sudo");
            let relay = match relay {
                Some(path) => path.canonicalize().with_context(|| format!("no relay at `{}`", path.display()))?,
                None => build("russh-relay")?,
            };
            ssh::measure(&gateway_of(&extent)?, &relay, rounds_of(&extent), extent.quick)
        }
        Subject::Capture(extent) => {
            ensure!(is_root(), "cgroups and namespaces need root: run it with sudo");
            capture::measure(&gateway_of(&extent)?, rounds_of(&extent), extent.quick)
        }
        Subject::Kubernetes(extent) => {
            ensure!(is_root(), "cgroups and namespaces need root: run it with sudo");
            kubernetes::measure(&gateway_of(&extent)?, rounds_of(&extent), extent.quick)
        }
        Subject::Audit { extent, load } => {
            ensure!(is_root(), "cgroups and namespaces need root: run it with sudo");
            let load = match load {
                Some(path) => path.canonicalize().with_context(|| format!("no program at `{}`", path.display()))?,
                None => build("journal-load")?,
            };
            audit::measure(gateway_of(&extent)?, load, rounds_of(&extent), extent.quick)
        }
        Subject::Connect { server, until } => capture::connect(server, &until),
        Subject::Greet { listen } => capture::greet(listen),
        Subject::Storm { server, seconds } => storm::storm(server, seconds),
        Subject::Sink { listen } => stream::sink(listen),
        Subject::Pour { server } => stream::pour(server),
        Subject::Relay { listen, upstream } => relay::serve(listen, upstream),
        Subject::Read { server, times } => wire::read(server, times),
        Subject::Hold { server, sessions } => wire::hold(server, sessions),
    }
}

fn postgres(extent: &Extent) -> Result<()> {
    ensure!(is_root(), "cgroups and namespaces need root: run it with sudo");
    let gateway = gateway_of(extent)?;
    let rounds = rounds_of(extent);
    let (result, took) = timed(|| measure_all(extent, rounds, &gateway));
    let (samples, machine) = result?;
    report::print(&samples, rounds);
    let file = cache_dir()?.join("bench").join(format!("postgres-{}.json", machine::unix_time()));
    report::write(&file, &machine, &report::goals(&samples), &samples)?;
    println!("every sample, with the machine's facts: {} ({} s)", file.display(), took.as_secs());
    Ok(())
}

fn gateway_of(extent: &Extent) -> Result<PathBuf> {
    match &extent.gateway {
        Some(path) => path.canonicalize().with_context(|| format!("no gateway at `{}`", path.display())),
        None => build("gateway"),
    }
}

fn rounds_of(extent: &Extent) -> u32 {
    extent.rounds.unwrap_or(if extent.quick { 1 } else { 3 })
}

fn measure_all(extent: &Extent, rounds: u32, gateway: &std::path::Path) -> Result<(Samples, machine::Facts)> {
    let mut machine = machine::Facts::read(gateway)?;
    println!("bench: a world of its own, PostgreSQL, PgBouncer, relay, gateway");
    let world = World::new(gateway)?;
    let lab = Lab::start(&world)?;
    let mut samples = Samples::default();
    println!("bench: {} idle sessions", measure::IDLE_SESSIONS);
    measure::idle(&lab, &mut samples)?;
    let cell = Duration::from_secs(if extent.quick { 1 } else { 2 });
    warm_up(&lab)?;
    for round in 0..rounds {
        println!("bench: round {} of {rounds}", round + 1);
        for mode in MODES {
            for clients in CLIENTS {
                for way in turned(WAYS, round) {
                    measure::pgbench(&lab, way, (mode, clients), cell, &mut samples)?;
                }
            }
        }
        for way in turned(WAYS, round) {
            measure::read(&lab, way, &mut samples)?;
        }
    }
    machine.load_after = machine::load();
    lab.check()?;
    Ok((samples, machine))
}

/// Every path once, unmeasured: catalogue caches, pooled connections, the branch predictor.
fn warm_up(lab: &Lab) -> Result<()> {
    let mut unmeasured = Samples::default();
    for way in WAYS {
        measure::pgbench(lab, way, ("prepared", 8), Duration::from_secs(1), &mut unmeasured)?;
        measure::read(lab, way, &mut unmeasured)?;
    }
    Ok(())
}

/// Another one begins each round, so that none always runs on a machine that is just warm, or just throttled.
fn turned<W: Copy, const N: usize>(ways: [W; N], round: u32) -> impl Iterator<Item = W> {
    ways.into_iter().cycle().skip(round as usize % N).take(N)
}

/// Builds a package as it would be shipped, beside this program; returns where its program is.
fn build(package: &str) -> Result<PathBuf> {
    println!("bench: cargo build --release -p {package}");
    let arguments = ["build", "--release", "--locked", "-p", package];
    run(Command::new("cargo").args(arguments).current_dir(checkout()?))?;
    let this = std::env::current_exe().context("no path to this program")?;
    let Some(target) = this.ancestors().nth(2) else { bail!("`{}` is in no target folder", this.display()) };
    Ok(target.join("release").join(package))
}

#[cfg(test)]
mod tests {
    use super::*;
    use servers::Way;

    #[test]
    fn each_round_measures_every_way_once_and_begins_with_another() {
        let firsts: Vec<Way> = (0..4).filter_map(|round| turned(WAYS, round).next()).collect();
        assert_eq!(firsts, WAYS);
        for round in 0..5 {
            let mut ways: Vec<Way> = turned(WAYS, round).collect();
            ways.sort();
            assert_eq!(ways, WAYS);
        }
    }
}
