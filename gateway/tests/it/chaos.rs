//! A gateway whose processes are killed at random moments while clients work, and what stands where afterwards.
//!
//! In: a world, a way to start the gateway and to work, what the server received. Out: every request that the server received
//! has its event in the journal and in its copy; what is in the journal alone was written and not sent on. The journal is whole
//! after every kill. Ten kills here; `GATEWAY_CHAOS` says how many more, which `cargo xtask chaos` does.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rustix::process::Signal;
use serde_json::Value;

use crate::clickhouse::ClickHouse;
use crate::gateway::{Gateway, send};
use crate::wait;
use crate::world::World;

/// Of each marker that a client sends: `chaos0x`, `chaos1x` and so on, each once.
const PREFIX: &str = "chaos";
/// Of the gateway: short segments.
pub const SETTINGS: &str = "[audit.journal]\nsegment_bytes = 65536\n";
const CLIENTS: usize = 3;
/// So many milliseconds after a request at the latest.
const LATEST: u64 = 400;

/// What is killed, and by whom it is worked.
pub struct Chaos<'a, 'w> {
    /// For what is printed.
    pub name: &'a str,
    /// Where.
    pub world: &'w World,
    /// Where the copy is.
    pub store: &'a ClickHouse<'w>,
    /// Starts the gateway.
    pub attach: &'a dyn Fn() -> Gateway<'w>,
    /// Runs one client until its connection ends; each of its requests says another one of these markers.
    pub work: &'a (dyn Fn(&[String]) + Sync),
    /// Markers that a client is given.
    pub batch: usize,
    /// All that the server received, as text.
    pub received: &'a dyn Fn() -> String,
    /// The kind of the requests' events.
    pub kind: &'a str,
}

impl Chaos<'_, '_> {
    /// Kills, starts again, and counts.
    pub fn run(&self) {
        let kills: u64 = std::env::var("GATEWAY_CHAOS").map_or(10, |text| text.parse().unwrap());
        let (stop, next) = (AtomicBool::new(false), std::sync::atomic::AtomicUsize::new(0));
        let mut gateway = (self.attach)();
        let quiet = RwLock::new(());
        let (stop, next, quiet, work, batch) = (&stop, &next, &quiet, self.work, self.batch);
        std::thread::scope(|scope| {
            let _stopped = Stopped(stop);
            for _ in 0..CLIENTS {
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let first = next.fetch_add(batch, Ordering::Relaxed);
                        let markers: Vec<_> = (first..first + batch).map(|n| format!("{PREFIX}{n}x")).collect();
                        let _working = quiet.read();
                        work(&markers);
                    }
                });
            }
            let seed = u64::from(std::process::id()) ^ kills;
            println!("chaos {}: seed {seed}", self.name);
            let mut random = Random(seed);
            for _ in 0..kills {
                self.kill_once(&mut gateway, quiet, &mut random);
            }
        });
        gateway.stop();
        let verified = self.world.cli(&["audit", "verify"]);
        assert!(verified.status.success(), "{verified:?}");
        self.count(kills);
    }

    fn kill_once<'g>(&'g self, gateway: &mut Gateway<'g>, quiet: &RwLock<()>, random: &mut Random) {
        let engine = gateway.engine_pid();
        let victim = random.below(5);
        let shipper =
            || self.world.cli_json(&["status"])["shipping"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        let shipper = if victim == 1 { shipper() } else { None };
        let received = markers(&(self.received)()).len();
        wait::until("work", || markers(&(self.received)()).len() > received);
        // What is killed is in the middle of anything then.
        let moment = Instant::now() + Duration::from_millis(random.below(LATEST));
        wait::until("a random moment", || Instant::now() >= moment);
        match (victim, shipper) {
            (0, _) => {
                gateway.kill();
                let verified = self.world.cli(&["audit", "verify"]);
                assert!(verified.status.success(), "{verified:?}");
                // A client that starts is root for a moment, which an attach refuses.
                let _nobody_works = quiet.write();
                *gateway = (self.attach)();
            }
            (1, Some(shipper)) => send(shipper, Signal::KILL),
            _ => {
                send(engine, Signal::KILL);
                let died = |event: &Value| event["body"]["pid"] == engine;
                let started = || self.world.events("engine.started");
                wait::until("the next engine", || !started().last().is_some_and(died));
            }
        }
    }

    fn count(&self, kills: u64) {
        let _gateway = (self.attach)();
        wait::for_some_within(Duration::from_secs(60), "a copy of all", || {
            let shipping = self.world.cli_json(&["status"])["shipping"].clone();
            (shipping["lag_events"] == 0 && shipping["error"].is_null() && shipping["pid"].is_u64()).then_some(())
        });
        let received = markers(&(self.received)());
        let events = self.world.events(self.kind);
        let journal = markers(&events.iter().map(|event| event["body"]["text"].to_string()).collect::<String>());
        let lines = format!("SELECT line FROM gateway.events FINAL WHERE event = '{}' FORMAT TSVRaw", self.kind);
        let copy = markers(&self.store.ask(&lines));
        let unsent = journal.difference(&received).count();
        println!(
            "chaos {}: {kills} kills, {} requests at the server, {} events in the journal ({unsent} of them written and \
             not sent on), {} in ClickHouse",
            self.name,
            received.len(),
            journal.len(),
            copy.len()
        );
        assert_eq!(
            received.difference(&journal).collect::<Vec<_>>(),
            Vec::<&u64>::new(),
            "received and not in the journal"
        );
        assert_eq!(journal, copy, "the journal and its copy");
        // Killed between the two steps: a kill ends what all clients have under way, and refusals are no requests sent on.
        let allowed = events.iter().filter(|event| event["body"]["decision"]["verdict"] == "allow");
        let allowed = markers(&allowed.map(|event| event["body"]["text"].to_string()).collect::<String>());
        let lost = allowed.difference(&received).count();
        assert!(lost <= usize::try_from(kills).unwrap() * CLIENTS, "{lost} events say what never happened");
        assert!(received.len() >= usize::try_from(kills).unwrap(), "little was under way: {}", received.len());
    }
}

/// Ends the clients whatever ends the test.
struct Stopped<'a>(&'a AtomicBool);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The numbers of all whole markers in a text.
fn markers(text: &str) -> BTreeSet<u64> {
    let rest = text.split(PREFIX).skip(1);
    rest.filter_map(|rest| rest.split_once('x')?.0.parse().ok()).collect()
}

/// A small generator, so that a run can be repeated from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
