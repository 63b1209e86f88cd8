//! What a connect costs. In: a gateway, attached in a world of its own. Out: the median of many connects inside and beside
//! the attached cgroup, in microseconds, and the goals that are met or missed. It must never count a connect that failed,
//! nor compare rounds with each other: only what one round measured side by side.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::report::median;
use super::world::{HOME, Place, Running, World};
use super::{storm, stream};
use crate::run::{quiet, until};

/// The server.
const SERVER: &str = "127.0.0.1:8099";
/// Networks on the list beside the one that is asked for.
const NETWORKS: u32 = 1_000;
/// Nobody listens there: what greets is the gateway, once the session is judged and in the journal.
pub(super) const REDIRECTED: &str = "127.0.0.1:22";
/// How often a round connects so many times, in a row. The first ones only warm up.
const REPEATS: u32 = 5;
const CONNECTS: usize = 1_000;
const UNMEASURED: usize = 100;
/// The goals, in microseconds more than without us.
const UNPROTECTED_GOAL: f64 = 2.0;
const REDIRECTED_GOAL: f64 = 60.0;

/// What may be reached beside the protected ports.
#[derive(Debug, Clone, Copy)]
enum Lists {
    /// All, which is the default.
    Allow,
    /// What a long list names, with names on it, so that each table is looked at.
    Deny,
}

/// Measures in rounds.
pub(super) fn measure(gateway: &Path, rounds: u32, is_quick: bool) -> Result<()> {
    let world = World::new(gateway)?;
    let mut greet = world.command(format!("{HOME}/xtask"));
    let _server = Running::start("server", greet.args(["bench", "greet", SERVER]), &world.log("server"))?;
    let mut gateway = attach(&world)?;
    for lists in [Lists::Allow, Lists::Deny] {
        put_in_force(&world, &mut gateway, lists)?;
        compare(&world, rounds, lists)?;
        stream::measure(&world, rounds, lists.name())?;
    }
    storm::measure(&world, &gateway, is_quick)
}

/// Connects, side by side.
fn compare(world: &World, rounds: u32, lists: Lists) -> Result<()> {
    let (mut unprotected, mut redirected) = (Vec::new(), Vec::new());
    for round in 0..rounds * REPEATS {
        let connect = |place, server: &str, until: &str| connects(world, place, server, until);
        let beside = (connect(Place::Beside, SERVER, "connected")?, connect(Place::Beside, SERVER, "greeted")?);
        let inside = (connect(Place::Inside, SERVER, "connected")?, connect(Place::Inside, REDIRECTED, "greeted")?);
        println!(
            "round {}: connect {:.2} µs, attached {:.2}; greeted after {:.1} µs, through the gateway {:.1}",
            round + 1,
            beside.0,
            inside.0,
            beside.1,
            inside.1
        );
        unprotected.push(inside.0 - beside.0);
        redirected.push(inside.1 - beside.1);
    }
    let goal =
        |what: &str, more: &[f64], bound| goal(&format!("{what}, {}, in µs,", lists.name()), median(more), bound);
    goal("a connect to an unprotected port", &unprotected, UNPROTECTED_GOAL);
    goal("a redirected connect, accepted, judged and journaled", &redirected, REDIRECTED_GOAL);
    Ok(())
}

pub(super) fn goal(what: &str, more: f64, bound: f64) {
    let word = if more <= bound { "met" } else { "MISSED" };
    println!("{word}: {what} costs {more:.2} more (goal: at most {bound})");
}

impl Lists {
    fn name(self) -> &'static str {
        match self {
            Self::Allow => "all allowed",
            Self::Deny => "by a list of 1,000 networks",
        }
    }

    fn configuration(self, cgroup: &Path) -> String {
        let attach = format!("version = 1\n[[attach]]\nname = \"bench\"\ncgroup = \"{}\"\n", cgroup.display());
        match self {
            Self::Allow => attach,
            Self::Deny => {
                let networks: String =
                    (0..NETWORKS).map(|at| format!("\"10.{}.{}.0/24:443\", ", at / 256, at % 256)).collect();
                let asked = r#""127.0.0.0/8:8099", "127.0.0.0/8:8098", "api.example.com:443""#;
                format!("{attach}[egress]\ndefault = \"deny\"\nallow = [{networks}{asked}]\n")
            }
        }
    }
}

fn attach(world: &World) -> Result<Running> {
    let log = world.log("gateway");
    let configuration = world.file("gateway.toml", &Lists::Allow.configuration(&world.attached()))?;
    let mut run = world.command(format!("{HOME}/gateway"));
    let mut running = Running::start("gateway", run.args(["run", "--config"]).arg(configuration), &log)?;
    until("the gateway", || {
        running.check().with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(fs::read_to_string(&log)?.contains("is intercepted"))
    })?;
    until("an open gate", || Ok(connects(world, Place::Inside, REDIRECTED, "greeted").is_ok()))?;
    Ok(running)
}

/// Has the gateway read its configuration anew.
fn put_in_force(world: &World, gateway: &mut Running, lists: Lists) -> Result<()> {
    world.file("gateway.toml", &lists.configuration(&world.attached()))?;
    let count = || -> Result<usize> { Ok(fs::read_to_string(world.log("gateway"))?.matches("read anew").count()) };
    let before = count()?;
    quiet(Command::new("kill").args(["-HUP", &gateway.pid().to_string()]))?;
    until("the lists in force", || {
        gateway.check()?;
        Ok(count()? > before)
    })
}

fn connects(world: &World, place: Place, server: &str, until: &str) -> Result<f64> {
    let mut client = world.client(place, format!("{HOME}/xtask"));
    let said = quiet(client.args(["bench", "connect", server, until]))?;
    said.trim().parse().with_context(|| format!("no number: {said}"))
}

/// The client: prints the median.
pub(super) fn connect(server: SocketAddr, until: &str) -> Result<()> {
    let mut taken = Vec::with_capacity(CONNECTS);
    for _ in 0..CONNECTS {
        let start = Instant::now();
        let mut stream = TcpStream::connect(server)?;
        if until == "greeted" {
            ensure!(stream.read(&mut [0])? == 1, "nobody greets at {server}");
        }
        taken.push(start.elapsed().as_secs_f64() * 1e6);
        drop(stream);
    }
    println!("{}", median(taken.get(UNMEASURED..).unwrap_or_default()));
    Ok(())
}

/// The server: greets and closes.
pub(super) fn greet(listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen)?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        stream.set_write_timeout(Some(Duration::from_secs(1)))?;
        // A client that has gone already was counted when it was connected.
        let _ = stream.write_all(b"hello");
    }
    Ok(())
}
