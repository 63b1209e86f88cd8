//! What SSH costs through the gateway. In: release builds of the gateway and of a bare relay of the same library,
//! OpenSSH. Out: a table, the goals that are met or missed, a file with every sample. It must never copy with one cipher
//! on one way and with another on the next: the ciphers are told apart by more than any relay.

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

/// How a client reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Direct,
    Relay,
    Russh,
    Gateway,
}

/// All of them, in the order of the table.
const WAYS: [Way; 4] = [Way::Direct, Way::Relay, Way::Russh, Way::Gateway];

impl Ways for Way {
    const GATEWAY: Self = Self::Gateway;

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
            Self::Russh => "russh relay",
            Self::Gateway => "gateway",
        }
    }
}

/// Measures, prints, and keeps the samples.
pub(super) fn measure(gateway: &Path, relay: &Path, rounds: u32, is_quick: bool) -> Result<()> {
    let (result, took) = timed(|| measure_all(gateway, relay, rounds, is_quick));
    let (samples, machine) = result?;
    let goals = report::goals(&samples);
    announce(rounds, &report::table(&samples), &goals);
    let file = cache_dir()?.join("bench").join(format!("ssh-{}.json", machine::unix_time()));
    write(&file, &machine, &goals, &samples)?;
    println!("every sample, with the machine's facts: {} ({} s)", file.display(), took.as_secs());
    Ok(())
}

fn measure_all(gateway: &Path, relay: &Path, rounds: u32, is_quick: bool) -> Result<(Samples<Way>, machine::Facts)> {
    let mut machine = machine::Facts::read(gateway)?;
    println!("bench: a world of its own, sshd, relay, russh relay, gateway");
    let world = World::new(gateway)?;
    let lab = Lab::start(&world, relay, if is_quick { 256 } else { 1024 })?;
    let mut samples = Samples::default();
    println!("bench: {} sessions at once", measure::SESSIONS);
    for way in [Way::Russh, Way::Gateway] {
        measure::sessions(&lab, way, &mut samples)?;
    }
    for round in 0..rounds {
        println!("bench: round {} of {rounds}", round + 1);
        measure::logins(&lab, round, &mut samples)?;
        for way in turned(WAYS, round) {
            measure::keystrokes(&lab, way, &mut samples)?;
        }
        for what in measure::COPIES {
            for way in turned(WAYS, round) {
                measure::copy(&lab, way, what, &mut samples)?;
            }
        }
    }
    machine.load_after = machine::load();
    lab.check()?;
    Ok((samples, machine))
}
