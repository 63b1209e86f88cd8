//! Short processes of ours that look or try something and say what came of it.
//!
//! In: the arguments of our own program, and what it reads. Out: what it wrote, bounded in size and time: who hangs is killed. What it
//! says may come from a runtime or a server, and is taken as text of others.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The longest answer.
const MAX_ANSWER: u64 = 4 << 20;

/// What one said, and the process that it was.
pub(super) struct Said {
    pub(super) pid: u32,
    pub(super) answer: Vec<u8>,
    /// Whether it ended well.
    pub(super) is_done: bool,
}

/// Sends one, with an empty environment.
///
/// # Errors
/// Where it cannot be started, or was not done in time (`TimedOut`).
pub(super) fn send(arguments: &mut Command, input: &[u8], patience: Duration) -> io::Result<Said> {
    let started = Instant::now();
    let command = arguments.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let pid = child.id();
    let answer = child.stdout.take();
    // Beside the waiting: an answer that is longer than a pipe would keep the child from ending.
    let reading = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        answer.map(|answer| answer.take(MAX_ANSWER).read_to_end(&mut bytes));
        bytes
    });
    if let Some(mut stdin) = child.stdin.take() {
        // It is small beside a pipe; one that ended before has its status.
        let _ = stdin.write_all(input);
    }
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if started.elapsed() > patience => {
                let _ = child.kill();
                // It dies once what it waits for lets it.
                std::thread::spawn(move || child.wait());
                let why = format!("it was not done within {} seconds", patience.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            None => std::thread::sleep(LOOK_EVERY),
        }
    };
    Ok(Said { pid, answer: reading.join().unwrap_or_default(), is_done: status.success() })
}
