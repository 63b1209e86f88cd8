//! A process of ours that makes system calls on request, inside a cgroup or outside.
//!
//! In: a call in words (`inside` lists them). Out: its answer, or the error number that the kernel gave. It ends with
//! its handle.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::inside::{ANSWER, ROLE};

/// A running helper process.
pub struct Agent {
    child: Child,
    talk: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Agent {
    /// Starts one; `command` leads to our own binary.
    pub fn start(mut command: Command, role: &str) -> Self {
        let command = command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let agent = Self { child, talk: Mutex::new((input, BufReader::new(output))) };
        assert_eq!(agent.answer().unwrap(), "ready");
        agent
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it do something.
    pub fn ask(&self, call: &str) -> Result<String, Errno> {
        writeln!(self.talk.lock().0, "{call}").unwrap();
        self.answer()
    }

    fn answer(&self) -> Result<String, Errno> {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.talk.lock().1.read_line(&mut line).unwrap(), 0, "the helper process ended");
            // The test harness around the helper prints too.
            let Some(answer) = line.strip_prefix(ANSWER) else { continue };
            let (kind, text) = answer.trim_end_matches('\n').split_once(' ').unwrap();
            return match kind {
                "ok" => Ok(text.to_owned()),
                _ => Err(Errno::from_raw_os_error(text.parse().unwrap())),
            };
        }
    }

    /// Makes a TCP socket for the address and connects it; the socket has the name `s`.
    pub fn connect(&self, address: &str) -> Result<String, Errno> {
        self.connect_as("s", address)
    }

    /// The same under another name.
    pub fn connect_as(&self, name: &str, address: &str) -> Result<String, Errno> {
        self.ask(&format!("tcp {name} {}", if address.starts_with('[') { 6 } else { 4 }))?;
        self.connect_again(name, address)
    }

    /// Connects a socket that is there. A hook's refusal reads ECONNREFUSED, also on kernels that only have EPERM for it
    /// (before `bpf_set_retval`, Linux 5.18).
    pub fn connect_again(&self, name: &str, address: &str) -> Result<String, Errno> {
        self.attempt(&format!("connect {name} {address}"))
    }

    /// Has it make a call that a hook may refuse.
    pub fn attempt(&self, call: &str) -> Result<String, Errno> {
        match self.ask(call) {
            Err(Errno::PERM) if crate::world::kernel() < (5, 18) => Err(Errno::CONNREFUSED),
            other => other,
        }
    }

    /// What arrives next on `s`; `end` where the other side closed.
    pub fn recv(&self) -> Result<String, Errno> {
        self.ask("recv s")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
