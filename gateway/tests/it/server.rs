//! The server at the far end, in a network namespace of its own.
//!
//! In: nothing. Out: what arrived there, counted from packets and accepted connections, so that "nothing arrived" is a
//! look and not a guess.

use std::process::Command;

use crate::agent::Agent;
use crate::wait;

/// Its address, as the agent's namespace reaches it.
pub const SERVER: &str = "10.77.0.2";
/// The same in IPv6.
pub const SERVER6: &str = "[fd77::2]";
/// Where `seen` sends the packet that marks the present, and how that is reported.
const MARK_PORT: u16 = 9999;
const MARK: &str = "udp 9999";

/// A running server.
pub struct Server {
    process: Agent,
    /// A process outside of the cgroup, on the client's side.
    outsider: Agent,
}

impl Server {
    pub(super) fn new(process: Agent, outsider: Agent) -> Self {
        outsider.ask("udp mark").unwrap();
        Self { process, outsider }
    }

    /// Runs a shell script in its network namespace, which must succeed, and returns what it prints.
    pub fn sh(&self, script: &str) -> String {
        let pid = self.process.pid().to_string();
        let output = Command::new("nsenter").args(["--target", &pid, "--net", "sh", "-ec", script]).output().unwrap();
        assert!(output.status.success(), "`{script}`: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// How often something came (`tcp 5432`, `udp 53`, `ip 132`, `accept 22`, `data 22 hello`) up to now: a packet that
    /// is sent after all that was tried before has arrived when this is counted.
    pub fn seen(&self, what: &str) -> usize {
        let count = |report: &str, what: &str| report.split(';').filter(|entry| *entry == what).count();
        let before = count(&self.report(), MARK);
        self.outsider.ask(&format!("sendto mark {SERVER}:{MARK_PORT}")).unwrap();
        let report = wait::for_some("the packet that marks the present", || {
            Some(self.report()).filter(|report| count(report, MARK) > before)
        });
        count(&report, what)
    }

    /// Its process, whose network namespace is its own.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn report(&self) -> String {
        self.process.ask("report").unwrap()
    }
}
