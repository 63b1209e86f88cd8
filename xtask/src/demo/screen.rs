//! What the demo prints. In: steps, what was typed where, what came back, what was checked. Out: text that is read at a
//! glance, in colour on a terminal alone.

use std::io::{IsTerminal, Write, stdout};
use std::time::Instant;

use anyhow::{Result, bail};

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

/// Who types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    Agent,
    Operator,
    Auditor,
}

impl Voice {
    fn prompt(self) -> &'static str {
        match self {
            Self::Agent => "agent>",
            Self::Operator => "operator#",
            Self::Auditor => "auditor>",
        }
    }

    fn who(self) -> &'static str {
        match self {
            Self::Agent => "stock psql, ssh and kubectl of an ordinary user, in the attached cgroup",
            Self::Operator => "root, on the same host outside of that cgroup",
            Self::Auditor => "a login of ClickHouse that may only read",
        }
    }
}

/// Where it is printed, and the step that it is at.
pub(super) struct Screen {
    in_colour: bool,
    step: u32,
}

impl Screen {
    /// Standard output, in colour where it is a terminal and nobody objects (no-color.org).
    pub(super) fn new() -> Self {
        let objected = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { in_colour: stdout().is_terminal() && !objected, step: 0 }
    }

    /// A line of our own.
    pub(super) fn say(&self, text: &str) {
        put(&format!("{text}\n"));
    }

    /// Does something that takes a while, and says what and how long.
    pub(super) fn progress<T>(&self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        put(&format!("  {what} … "));
        let start = Instant::now();
        let result = work();
        let seconds = format!("{:.1} s", start.elapsed().as_secs_f32());
        let end = if result.is_ok() { self.paint(DIM, &seconds) } else { self.paint(RED, "failed") };
        self.say(&end);
        result
    }

    /// Who types what comes.
    pub(super) fn cast(&self) {
        self.say("");
        for voice in [Voice::Agent, Voice::Operator, Voice::Auditor] {
            self.say(&format!(
                "  {}{:width$}{}",
                self.prompt(voice),
                "",
                voice.who(),
                width = 11 - voice.prompt().len()
            ));
        }
    }

    /// The next step.
    pub(super) fn step(&mut self, title: &str) {
        self.step += 1;
        self.say(&format!("\n{}", self.paint(BOLD, &format!("{}. {title}", self.step))));
    }

    /// What somebody types.
    pub(super) fn typed(&self, voice: Voice, text: &str) {
        let indent = " ".repeat(voice.prompt().len() + 3);
        self.say(&format!("  {} {}", self.prompt(voice), text.replace('\n', &format!("\n{indent}"))));
    }

    /// What came back.
    pub(super) fn shows(&self, text: &str) {
        for line in text.trim_end().lines() {
            self.say(&format!("    {line}"));
        }
    }

    /// What this means; errs where it is not so.
    pub(super) fn check(&self, holds: bool, claim: &str, seen: &str) -> Result<()> {
        if !holds {
            self.say(&format!("  {} {claim}. What was seen:\n{}", self.paint(RED, "NOT SO:"), seen.trim_end()));
            bail!("step {} did not show what it should: {claim}", self.step);
        }
        self.say(&format!("  {} {claim}", self.paint(GREEN, "ok")));
        Ok(())
    }

    fn prompt(&self, voice: Voice) -> String {
        self.paint(if voice == Voice::Agent { CYAN } else { YELLOW }, voice.prompt())
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.in_colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Prints. A reader that has seen enough, as `head` does, changes nothing: the checks go on, and the clean-up.
fn put(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
