//! A gateway under test, and what its commands say.
//!
//! In: a started process. Out: its output, its journal, its end. Killed with its handle.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait;
use crate::world::World;

/// How long it may take to say something: it makes keys first, which takes an emulated machine its time.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A running gateway.
pub struct Gateway<'w> {
    pub(super) world: &'w World,
    pub(super) child: Child,
    pub(super) out: PathBuf,
    pub(super) err: PathBuf,
}

/// How a command ended.
#[derive(Debug)]
pub struct Said {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it printed.
    pub out: String,
    /// What it printed as errors.
    pub err: String,
}

impl Gateway<'_> {
    /// Waits for a text on its standard output or error.
    pub fn says(&mut self, text: &str) {
        wait::for_some_within(STARTS_WITHIN, &format!("`{text}` from the gateway"), || {
            if self.output().contains(text) {
                return Some(());
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() || self.output().contains(text), "the gateway ended: {}", self.output());
            None
        });
    }

    /// All that it printed so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.out).unwrap() + &fs::read_to_string(&self.err).unwrap()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // The engine goes with it, and with the engine what holds the lock and the listeners.
        let engine = self.engine_pid();
        wait::until("the end of the engine", || !is_running(engine));
    }

    /// SIGTERM, and its end in good order.
    pub fn stop(&mut self) -> ExitStatus {
        send(self.child.id(), Signal::TERM);
        wait::for_some("the gateway's end", || self.child.try_wait().unwrap())
    }

    /// How many descriptors the warden has, which started the engine.
    pub fn descriptors(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.engine_pid())).unwrap();
        let warden = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
        fs::read_dir(format!("/proc/{warden}/fd")).unwrap().count()
    }

    /// The engine that runs now.
    pub fn engine_pid(&self) -> u32 {
        let started = self.world.events("engine.started");
        u32::try_from(started.last().unwrap()["body"]["pid"].as_u64().unwrap()).unwrap()
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("the gateway said:\n{}", self.output());
        }
    }
}

/// Whether a process is there and no zombie.
pub fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Sends a signal to a process of ours.
pub fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Parses lines of JSON.
pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
