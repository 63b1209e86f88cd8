//! One measurement at a time. In: a way to the server, and what is done there. Out: samples, one for each round. It must
//! never keep a number of a run in which something failed or less than all went over.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::measure::{QUIET, Samples, processor_time, proportional_set};
use super::super::report::median;
use super::super::turned;
use super::super::world::HOME;
use super::lab::Lab;
use super::{WAYS, Way};
use crate::run::{line, quiet};

/// Sessions at once.
pub(super) const SESSIONS: usize = 200;
/// What is copied.
pub(super) const COPIES: [&str; 4] = ["scp up", "scp down", "cat binary", "cat text"];
/// Commands of a round, and keystrokes.
const COMMANDS: u32 = 10;
const KEYS: usize = 300;
/// A person is slower; a processor that sleeps in between wakes up each time.
const PAUSE: Duration = Duration::from_millis(3);

/// A session that answers.
struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().context("no input")?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, input, output })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Mebibytes in a second, and what the proxy computed for each gibibyte.
pub(super) fn copy(lab: &Lab, way: Way, what: &str, samples: &mut Samples<Way>) -> Result<()> {
    let (binary, there, here) =
        (format!("{HOME}/files/binary"), format!("{HOME}/files/up"), format!("{HOME}/files/down"));
    let (mut command, left) = match what {
        "scp up" => (lab.scp(way, &binary, &format!("server:{there}")), Some(&there)),
        "scp down" => (lab.scp(way, &format!("server:{binary}"), &here), Some(&here)),
        "cat binary" => (lab.ssh(way, &["-n"], &format!("cat {binary}")), None),
        _ => (lab.ssh(way, &["-n"], &format!("cat {HOME}/files/text")), None),
    };
    let proxy = lab.proxy(way);
    let before = proxy.map(processor_time).transpose()?;
    let start = Instant::now();
    let length = match left {
        Some(path) => {
            quiet(&mut command)?;
            let took = start.elapsed();
            (lab.take(path)?, took)
        }
        None => (count(&mut command)?, start.elapsed()),
    };
    let after = proxy.map(processor_time).transpose()?;
    let (bytes, took) = length;
    ensure!(bytes == lab.mebibytes << 20, "{bytes} bytes came over: `{}`", line(&command));
    samples.add(format!("{what} MiB/s"), way, lab.mebibytes as f64 / took.as_secs_f64());
    if let (Some(before), Some(after)) = (before, after) {
        samples.add(format!("{what} cpu s/GiB"), way, (after - before) * 1024.0 / lab.mebibytes as f64);
    }
    Ok(())
}

/// How much a command prints.
fn count(command: &mut Command) -> Result<u64> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut output = child.stdout.take().context("no output")?;
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match output.read(&mut buffer)? {
            0 => break,
            count => bytes += count as u64,
        }
    }
    ensure!(child.wait()?.success(), "`{}` failed", line(command));
    Ok(bytes)
}

/// Milliseconds of `ssh host true`; one of each way, one after the other.
pub(super) fn logins(lab: &Lab, round: u32, samples: &mut Samples<Way>) -> Result<()> {
    let mut times = Samples::default();
    for number in 0..COMMANDS {
        for way in turned(WAYS, round + number) {
            let start = Instant::now();
            quiet(&mut lab.ssh(way, &["-n"], "true"))?;
            times.add("true", way, start.elapsed().as_secs_f64() * 1e3);
        }
    }
    for way in WAYS {
        samples.add("true ms", way, median(times.of("true", way)));
    }
    Ok(())
}

/// Microseconds until a terminal shows what was typed.
pub(super) fn keystrokes(lab: &Lab, way: Way, samples: &mut Samples<Way>) -> Result<()> {
    let mut session = Session::start(&mut lab.ssh(way, &["-tt"], "cat"))?;
    let mut times = Vec::new();
    let mut seen = [0];
    for key in 0..=KEYS {
        let start = Instant::now();
        session.input.write_all(b"x")?;
        session.output.read_exact(&mut seen).context("the terminal ended")?;
        ensure!(seen == *b"x", "the terminal shows something else");
        // The first one waits for the login.
        if key > 0 {
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        sleep(PAUSE);
    }
    samples.add("echo us", way, median(&times));
    Ok(())
}

/// How many of many sessions answer at once, and what one weighs that is idle.
pub(super) fn sessions(lab: &Lab, way: Way, samples: &mut Samples<Way>) -> Result<()> {
    let proxy = lab.proxy(way).context("nothing in between")?;
    // The first sessions pay for what all share.
    drop(hold(lab, way, 20)?);
    sleep(QUIET);
    let before = proportional_set(proxy)?;
    let start = Instant::now();
    let held = hold(lab, way, SESSIONS)?;
    samples.add("sessions at once", way, held.len() as f64);
    samples.add("sessions s", way, start.elapsed().as_secs_f64());
    sleep(QUIET);
    let after = proportional_set(proxy)?;
    samples.add("idle bytes", way, after.saturating_sub(before) as f64 / held.len() as f64);
    Ok(())
}

/// Those sessions of so many that answer, all open.
fn hold(lab: &Lab, way: Way, count: usize) -> Result<Vec<Session>> {
    let all: Result<Vec<_>> = (0..count).map(|_| Session::start(&mut lab.ssh(way, &[], "cat"))).collect();
    let answers = |session: &mut Session| {
        let mut said = String::new();
        session.input.write_all(b"here\n").is_ok() && session.output.read_line(&mut said).is_ok() && said == "here\n"
    };
    // Twice: the second time all of them are open.
    let mut all = all?;
    for _ in 0..2 {
        all.retain_mut(answers);
    }
    Ok(all)
}
