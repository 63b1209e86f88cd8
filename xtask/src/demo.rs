//! The first thing that anyone runs. In: a machine that may be bare. Out: the gateway at work on real servers, step by
//! step; success only if every step showed what it should. It must never leave anything behind, nor touch a server, a
//! cgroup or a file that it did not make.

mod clickhouse;
mod kube;
mod psql;
mod screen;
mod servers;
mod ssh;
mod story;
mod world;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::ebpf::{cache_dir, is_root};
use crate::run::{checkout, on_path, run};
use crate::setup;
use screen::Screen;
use servers::Server;
use story::Story;
use world::{Side, World};

/// How it is run.
#[derive(Args)]
pub(crate) struct Options {
    /// Leave all of it running, and say how to look around, until ^C
    #[arg(long)]
    stay: bool,
    /// The gateway, built already: what is left needs root
    #[arg(long, hide = true)]
    gateway: Option<PathBuf>,
}

/// Sets up, builds, and shows.
pub(crate) fn perform(options: &Options) -> Result<()> {
    if let Some(gateway) = &options.gateway {
        return show(gateway, options.stay);
    }
    announce()?;
    setup::install()?;
    let gateway = Screen::new()
        .progress("building the gateway (minutes the first time)", || build(&["build", "--package", "gateway"]))?;
    show_as_root(&gateway, options.stay)
}

/// Shows it with the gateway that the tests were run with, which is not built a second time.
pub(crate) fn check() -> Result<()> {
    show_as_root(&build(&["test", "--no-run", "--workspace"])?, false)
}

fn show_as_root(gateway: &Path, stay: bool) -> Result<()> {
    if is_root() {
        return show(gateway, stay);
    }
    let mut sudo = Command::new("sudo");
    sudo.arg("env").arg(format!("GATEWAY_CACHE={}", cache_dir()?.display()));
    sudo.arg(std::env::current_exe().context("no path to this program")?).arg("demo").arg("--gateway").arg(gateway);
    let status = sudo.args(stay.then_some("--stay")).status().context("cannot start sudo")?;
    ensure!(status.success(), "the demo did not come to its end: see above");
    Ok(())
}

fn announce() -> Result<()> {
    println!(
        "A shop's database, web server and cluster, the gateway in front of them, and an agent that knows nothing of it.\n"
    );
    let what = "missing Debian packages, and a host of the demo's own: namespaces, a cgroup, eBPF programs, servers";
    if is_root() {
        println!("It runs as root, and needs that for: {what}.");
    } else {
        ensure!(on_path("sudo"), "it needs root for: {what}; run it as root, or install sudo");
        println!("It uses sudo for: {what}.");
    }
    println!("All but the packages is removed at the end, also after ^C.\n");
    Ok(())
}

/// Builds it beside this program.
fn build(cargo_arguments: &[&str]) -> Result<PathBuf> {
    let this = std::env::current_exe().context("no path to this program")?;
    let folder = this.parent().context("this program stands in no folder")?;
    let mut cargo = Command::new("cargo");
    run(cargo.args(cargo_arguments).args(["--quiet", "--locked"]).current_dir(checkout()?))?;
    Ok(folder.join("gateway"))
}

fn show(gateway: &Path, stay: bool) -> Result<()> {
    let mut screen = Screen::new();
    let world = screen.progress("a host of its own: namespaces, a cgroup", || World::new(gateway))?;
    // It takes longest: the others start meanwhile.
    let mut cluster = kube::start(&world)?;
    let postgres =
        screen.progress("PostgreSQL, with a shop of 24 customers and 40 payments", || servers::postgres(&world))?;
    let sshd = screen.progress("sshd of a web server", || ssh::server(&world))?;
    let clickhouse = screen.progress("ClickHouse", || clickhouse::start(&world))?;
    servers::configure(&world)?;
    screen.progress("gateway audit migrate: its tables", || clickhouse::migrate(&world))?;
    screen
        .progress("etcd and a Kubernetes API server, with the shop's namespace", || kube::fill(&world, &mut cluster))?;
    let gateway = screen.progress("gateway run: the agent's cgroup is attached", || servers::gateway(&world))?;
    ssh::trust(&world)?;
    kube::trust(&world)?;
    screen.cast();
    Story::begin(&world, &mut screen)?.tell()?;
    screen.say("\nEvery step showed what it should.");
    if stay {
        look_around(&world);
        wait([postgres, sshd, cluster, clickhouse, gateway])?;
    }
    screen.say("`cargo xtask demo --stay` leaves all of it running, to look around.");
    Ok(())
}

fn look_around(world: &World) {
    let way = |side| world.way_in(side).display().to_string();
    let (agent, operator, database) = (way(Side::Agent), way(Side::Operator), way(Side::Database));
    let (folder, auditor) = (world.directory().display(), clickhouse::way_in(world).display().to_string());
    println!(
        "All of it runs until you press ^C here. From another terminal:

  sudo {agent} psql
      the agent's psql: see what it may do (any other program too: `bash`, `kubectl get deployments`,
      `ssh deploy@10.99.0.2 ls`)
  sudo {operator} gateway approvals
      what waits for you; then `gateway approve ID` or `gateway deny ID`
  sudo {operator} gateway sessions
      who was there; also `gateway replay ID`, `events`, `status`, `audit verify`
  sudo {database} su postgres -s /bin/sh -c 'psql -h {folder}/postgres shop'
      the database past the gateway, with what is really in it
  sudo {auditor} 'SELECT * FROM statement ORDER BY time DESC LIMIT 1 FORMAT Vertical'
      ClickHouse, as a login that may only read; also `session`, `approval`, `events`
  {folder}/policies/shop.cedar
      the policies: edit them, and they are in force a second later
  {folder}/masking.toml, gateway.toml
      what is masked, and what else the gateway was told"
    );
}

/// Until one of them ends, or somebody ends us.
fn wait(mut servers: [Server; 5]) -> Result<()> {
    loop {
        for server in &mut servers {
            server.check()?;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
}
