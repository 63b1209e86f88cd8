//! What the Kubernetes API costs through the gateway. In: a release build of the gateway, a node. Out: a table, the goals
//! that are met or missed, a file with every sample. It must never let one way reuse a connection, or take an answer for
//! good, that another would not.

mod lab;
mod measure;
mod report;

use std::path::Path;

use anyhow::Result;

use super::machine;
use super::measure::Samples;
use super::report::{Ways, announce, write};
use super::turned;
use super::world::World;
use crate::ebpf::cache_dir;
use crate::run::timed;
use lab::Lab;

/// How a client reaches the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Direct,
    /// TLS ends there and begins again, as it does at the gateway.
    HaProxy,
    Gateway,
}

/// All of them, in the order of the table.
const WAYS: [Way; 3] = [Way::Direct, Way::HaProxy, Way::Gateway];

impl Ways for Way {
    const GATEWAY: Self = Self::Gateway;

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::HaProxy => "haproxy",
            Self::Gateway => "gateway",
        }
    }
}

/// Measures, prints, and keeps the samples.
pub(super) fn measure(gateway: &Path, rounds: u32, is_quick: bool) -> Result<()> {
    let (result, took) = timed(|| measure_all(gateway, rounds, is_quick));
    let (samples, machine) = result?;
    let goals = report::goals(&samples);
    announce(rounds, &report::table(&samples), &goals);
    let file = cache_dir()?.join("bench").join(format!("kubernetes-{}.json", machine::unix_time()));
    write(&file, &machine, &goals, &samples)?;
    println!("every sample, with the machine's facts: {} ({} s)", file.display(), took.as_secs());
    Ok(())
}

fn measure_all(gateway: &Path, rounds: u32, is_quick: bool) -> Result<(Samples<Way>, machine::Facts)> {
    let mut machine = machine::Facts::read(gateway)?;
    println!("bench: a world of its own, a node, HAProxy, gateway");
    let world = World::new(gateway)?;
    let lab = Lab::start(&world, measure::PODS)?;
    let mut samples = Samples::default();
    println!("bench: {} idle watches", measure::WATCHES);
    measure::watches(&lab, &mut samples)?;
    for round in 0..rounds {
        println!("bench: round {} of {rounds}", round + 1);
        for connections in measure::CONNECTIONS {
            for way in turned(WAYS, round) {
                measure::gets(&lab, way, connections, if is_quick { 1_000 } else { 5_000 }, &mut samples)?;
            }
        }
        measure::lists(&lab, round, &mut samples)?;
        for way in turned(WAYS, round) {
            measure::lines(&lab, way, &mut samples)?;
        }
    }
    machine.load_after = machine::load();
    lab.check()?;
    Ok((samples, machine))
}
