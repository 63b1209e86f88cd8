//! Many connects a second, for a while. In: a gateway, attached. Out: how many were served, what was lost and how much
//! memory it took; the goals that are met or missed. It must never count a connect that was not identified: the greeting
//! comes once the session is judged and in the journal.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::capture::{REDIRECTED, goal};
use super::world::{HOME, Place, Running, World};
use crate::run::quiet;

/// The goals: connects a second for so long, and bytes of memory more at the end than after a sixth of it.
const RATE: u32 = 10_000;
const SECONDS: u64 = 60;
const GROWTH_MIB: f64 = 8.0;
/// What was lost, in the words of the event.
const LOST: [&str; 3] = ["no_record", "event_lost", "map_failed"];
/// Connects that wait for their greeting at once.
const CLIENTS: u32 = 32;

/// Connects from inside, and what it took.
pub(super) fn measure(world: &World, gateway: &Running, is_quick: bool) -> Result<()> {
    let seconds = if is_quick { SECONDS / 6 } else { SECONDS };
    let mut client = world.client(Place::Inside, format!("{HOME}/xtask"));
    client.args(["bench", "storm", REDIRECTED, &seconds.to_string()]);
    let lost_before = Lost::so_far(world)?;
    let log = world.log("storm");
    let running = Running::start("storm", &mut client, &log)?;
    thread::sleep(Duration::from_secs(seconds / 6));
    let before = memory(gateway.pid())?;
    thread::sleep(Duration::from_secs(seconds - seconds / 6));
    let after = memory(gateway.pid())?;
    let said = until_said(running, &log, seconds)?;
    let number =
        |at: usize| said.split_whitespace().nth(at).and_then(|word| word.parse::<u64>().ok()).context("no number");
    let (served, failed) = (number(0)?, number(1)?);
    let lost_after = Lost::so_far(world)?;
    let lost: Vec<u64> = lost_after.0.iter().zip(lost_before.0).map(|(after, before)| after - before).collect();
    let rate = served as f64 / seconds as f64;
    println!(
        "storm: {served} connects in {seconds} s, {failed} failed, lost {lost:?} of {LOST:?}; memory {before:.1} MiB, then {after:.1}"
    );
    let lost = lost.iter().sum::<u64>();
    let word = |is_met: bool| if is_met { "met" } else { "MISSED" };
    println!("{}: {rate:.0} connects a second were identified (goal: {RATE})", word(rate >= f64::from(RATE) * 0.99));
    println!("{}: {} connects or records were lost (goal: 0)", word(failed + lost == 0), failed + lost);
    goal("memory, from the first sixth to the end, in MiB:", after - before, GROWTH_MIB);
    Ok(())
}

fn until_said(mut running: Running, log: &Path, seconds: u64) -> Result<String> {
    let start = Instant::now();
    while running.check().is_ok() {
        ensure!(start.elapsed() < Duration::from_secs(seconds + 60), "the storm does not end");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(fs::read_to_string(log)?)
}

/// What the gateway's processes have in memory, in MiB.
fn memory(warden: u32) -> Result<f64> {
    let status = |pid: &str| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |status: &str, name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok())
    };
    let mut sum = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        let status = status(&pid);
        if pid == warden.to_string() || field(&status, "PPid:") == Some(warden.into()) {
            sum += field(&status, "VmRSS:").unwrap_or(0);
        }
    }
    Ok(sum as f64 / 1024.0)
}

/// How often the journal tells each of `LOST`.
struct Lost([u64; LOST.len()]);

impl Lost {
    fn so_far(world: &World) -> Result<Self> {
        let mut events = world.command(format!("{HOME}/gateway"));
        let said = quiet(events.args(["--json", "events", "--kind", "network.bypass"]))?;
        let sum = |reason: &str| {
            let name = format!("\"{reason}\":");
            let count = |line: &str| {
                let number = line.split_once(&name)?.1.trim_start();
                let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
                digits.parse::<u64>().ok()
            };
            said.lines().filter_map(count).sum()
        };
        Ok(Self(LOST.map(sum)))
    }
}

/// The client of a storm: connects at a rate, each closed by a reset after the greeting; prints how many were and were not.
pub(super) fn storm(server: SocketAddr, seconds: u64) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let each = Duration::from_secs(1) * CLIENTS / RATE;
    let client = move |number: u32| {
        let (mut served, mut failed) = (0_u64, 0_u64);
        let mut due = Instant::now() + each * number / CLIENTS;
        while due < end {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            due += each;
            match once(server) {
                Ok(()) => served += 1,
                Err(_) => failed += 1,
            }
            if Instant::now() > end {
                break;
            }
        }
        (served, failed)
    };
    let clients: Vec<_> = (0..CLIENTS).map(|number| thread::spawn(move || client(number))).collect();
    let mut sum = (0, 0);
    for client in clients {
        let (served, failed) = client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
        sum = (sum.0 + served, sum.1 + failed);
    }
    println!("{} {}", sum.0, sum.1);
    Ok(())
}

fn once(server: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // What is left unread makes the kernel close by a reset, so that no port waits for its end.
    ensure!(stream.read(&mut [0])? == 1, "nobody greets");
    Ok(())
}
