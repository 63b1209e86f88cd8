//! What the hooks cost a stream on loopback. In: a gateway, attached. Out: what a stream from inside has of the speed of one
//! from beside, and whether that meets the goal. It must never call a goal met or missed which the noise still leaves open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

use super::report::median;
use super::world::{HOME, Place, Running, World};

/// Where streams go: on the list of what is allowed.
const SINK: &str = "127.0.0.1:8098";
const CHUNK: usize = 128 * 1024;
/// Two of them make a pair: short, so that both meet the machine at the same speed, which changes by the minute.
const SLICE: Duration = Duration::from_millis(50);
/// For each pair of connections, whose buffers and windows differ by chance.
const PAIRS: usize = 20;
const CONNECTIONS: u32 = 10;
/// The part of a stream's speed that the hooks may cost.
const GOAL: f64 = 5.0;
/// Senders run here and the reader there: where both may wander, that is what would be measured.
const SENDERS: &str = "0";
const READER: &str = "1";

/// Measures, with these lists in force.
pub(super) fn measure(world: &World, rounds: u32, lists: &str) -> Result<()> {
    let reader = if thread::available_parallelism()?.get() > 1 { READER } else { SENDERS };
    let mut sink = world.command("taskset");
    sink.args(["--cpu-list", reader]).arg(format!("{HOME}/xtask")).args(["bench", "sink", SINK]);
    let _server = Running::start("sink", &mut sink, &world.log("sink"))?;
    crate::run::until("the sink", || Ok(Pourer::start(world, Place::Beside)?.pour().is_ok()))?;
    let (mut speed, mut work) = (Vec::new(), Vec::new());
    for connection in 0..CONNECTIONS * rounds {
        // Who comes first has other threads and buffers at the reader.
        let mut order = [Place::Beside, Place::Inside];
        order.rotate_left(connection as usize % 2);
        let [first, second] = order.map(|place| Pourer::start(world, place));
        let (mut first, mut second) = (first?, second?);
        first.pour()?;
        second.pour()?;
        let (mut beside, mut inside) = if connection % 2 == 0 { (first, second) } else { (second, first) };
        for pair in 0..PAIRS {
            let first = if pair % 2 == 0 { Some(beside.pour()?) } else { None };
            let with = inside.pour()?;
            let without = first.map_or_else(|| beside.pour(), Ok)?;
            speed.push((1.0 - with.speed / without.speed) * 100.0);
            work.push((with.work / without.work - 1.0) * 100.0);
        }
    }
    let told = |costs: &[f64]| {
        let (low, high) = interval(costs);
        format!("{:.1} % (between {low:.1} and {high:.1} with 95 % confidence, {} pairs)", median(costs), costs.len())
    };
    println!("a stream on loopback, {lists}: more processor time for a byte: {}", told(&work));
    println!(
        "{}: a stream on loopback, {lists}, loses {} of its speed (goal: {GOAL} %)",
        verdict(&speed),
        told(&speed)
    );
    Ok(())
}

fn verdict(costs: &[f64]) -> &'static str {
    match interval(costs) {
        (_, high) if high <= GOAL => "met",
        (low, _) if low > GOAL => "MISSED",
        _ => "NOT DECIDED",
    }
}

/// Where the median lies with a confidence of 95 %, whatever the distribution: the ranks n/2 ± 0.98 √n of the binomial one.
fn interval(costs: &[f64]) -> (f64, f64) {
    let mut sorted = costs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let (middle, away) = (count / 2.0, 0.98 * count.sqrt());
    let at = |rank: f64| sorted.get(rank as usize).copied();
    let low = at((middle - away).floor().max(0.0)).unwrap_or(f64::NEG_INFINITY);
    (low, at((middle + away).ceil()).unwrap_or(f64::INFINITY))
}

/// A client that pours when told to.
struct Pourer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What a slice came to.
struct Poured {
    /// Bytes a second.
    speed: f64,
    /// Seconds of the sender's processor time for a byte: hooks and all of the loopback device run in it.
    work: f64,
}

impl Pourer {
    fn start(world: &World, place: Place) -> Result<Self> {
        let mut client = world.client(place, "taskset");
        client.args(["--cpu-list", SENDERS]).arg(format!("{HOME}/xtask")).args(["bench", "pour", SINK]);
        let mut child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take().context("no input")?, child.stdout.take().context("no output")?);
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    fn pour(&mut self) -> Result<Poured> {
        self.input.write_all(b"\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next().context("too few numbers")?.context("no number");
        Ok(Poured { speed: next()?, work: next()? })
    }
}

impl Drop for Pourer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server: reads and forgets.
pub(super) fn sink(listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen)?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        thread::spawn(move || {
            let mut buffer = vec![0; CHUNK];
            while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
        });
    }
    Ok(())
}

/// The client: for each line that it reads it pours for a while, and prints bytes a second and processor time for a byte.
pub(super) fn pour(server: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(server)?;
    let chunk = vec![0; CHUNK];
    for line in std::io::stdin().lines() {
        line?;
        let (start, before) = (Instant::now(), processor_seconds());
        let mut sent = 0.0;
        while start.elapsed() < SLICE {
            stream.write_all(&chunk)?;
            sent += CHUNK as f64;
        }
        println!("{} {}", sent / start.elapsed().as_secs_f64(), (processor_seconds() - before) / sent);
    }
    Ok(())
}

fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_decides_nothing() {
        let verdict_of = |middle: f64, noise: f64| {
            let around = (0..101).map(|at| middle + noise * f64::from(at - 50) / 50.0);
            verdict(&around.collect::<Vec<_>>())
        };
        assert_eq!(verdict_of(3.0, 5.0), "met");
        assert_eq!(verdict_of(7.0, 5.0), "MISSED");
        assert_eq!(verdict_of(3.0, 50.0), "NOT DECIDED");
        assert_eq!(verdict(&[1.0, 2.0]), "NOT DECIDED", "two pairs are no answer");
    }
}
