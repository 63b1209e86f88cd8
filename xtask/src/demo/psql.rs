//! The agent: stock psql, told one statement after the other. In: a world. Out: what it printed for each. It sees what a
//! real agent would see, and nothing else.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::world::{Side, World};

/// What psql prints when it is done with a statement.
const DONE: &str = "-- done";
const PATIENCE: Duration = Duration::from_secs(20);

/// A session of psql in the attached cgroup.
pub(super) struct Psql {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Psql {
    /// Starts it as the ordinary user `agent`.
    pub(super) fn start(world: &World) -> Result<Self> {
        let mut command = world.command(Side::Agent, "sh");
        command.args(["-c", "exec psql -Xw 2>&1"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start psql")?;
        let input = child.stdin.take().context("psql has no input")?;
        let output = BufReader::new(child.stdout.take().context("psql has no output")?);
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { child, input, lines })
    }

    /// Sends a statement and returns all that came of it.
    pub(super) fn ask(&mut self, statement: &str) -> Result<String> {
        self.send(statement)?;
        self.rest()
    }

    /// Sends a statement without waiting.
    pub(super) fn send(&mut self, statement: &str) -> Result<()> {
        writeln!(self.input, "{statement}\n\\echo {DONE}").context("psql takes nothing any more")
    }

    /// Waits for a line with this in it, and returns all up to it.
    pub(super) fn until(&mut self, text: &str) -> Result<String> {
        let (start, mut seen) = (Instant::now(), String::new());
        loop {
            match self.lines.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
                Ok(line) => {
                    seen += &line;
                    seen.push('\n');
                    if line.contains(text) {
                        return Ok(seen);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("psql did not say `{text}` within 20 s, but:\n{seen}"),
                Err(RecvTimeoutError::Disconnected) => bail!("psql ended without `{text}`; it said:\n{seen}"),
            }
        }
    }

    /// All that came of the statement that was sent.
    pub(super) fn rest(&mut self) -> Result<String> {
        let seen = self.until(DONE)?;
        Ok(seen.lines().filter(|line| !line.contains(DONE)).map(|line| format!("{line}\n")).collect())
    }

    /// Ends it.
    pub(super) fn quit(self) -> Result<()> {
        let Self { mut child, input, .. } = self;
        drop(input);
        child.wait().map(drop).context("psql cannot be waited for")
    }
}
