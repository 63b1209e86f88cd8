//! The server for names: dnsmasq beside the server at the far end.
//!
//! In: records as dnsmasq writes them. Out: the names that it was asked for, from its own log. It is the server that the
//! world's /etc/resolv.conf names, and ends with its handle.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::server::{SERVER, Server};
use crate::wait;
use crate::world::World;

/// A running dnsmasq.
pub struct DnsServer {
    child: Child,
    log: PathBuf,
}

impl DnsServer {
    /// Starts it with records such as `--host-record=name,192.0.2.1`.
    pub fn start(world: &World, server: &Server, records: &[&str]) -> Self {
        let resolv = world.file("resolv.conf", &format!("nameserver {SERVER}\n"));
        world.sh(&format!("mount --bind {} /etc/resolv.conf", resolv.display()));
        let log = world.directory().join("dnsmasq.log");
        let mut command = world.command("nsenter");
        command.args(["--target", &server.pid().to_string(), "--net", "--", "dnsmasq", "--keep-in-foreground"]);
        command.args(["--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file="]);
        command.args(["--log-queries", "--log-facility=-", "--local=/example.com/", "--local-ttl=1"]).args(records);
        let output = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let this = Self { child: command.spawn().unwrap(), log };
        wait::until("dnsmasq", || fs::read_to_string(&this.log).unwrap().contains("started"));
        this
    }

    /// Has it answer nobody any more.
    pub fn stop(&self) {
        crate::gateway::send(self.child.id(), rustix::process::Signal::STOP);
    }

    /// How often it was asked for a name, up to now.
    pub fn asked(&self, name: &str) -> usize {
        fs::read_to_string(&self.log).unwrap().matches(&format!("] {name} from ")).count()
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("dnsmasq said:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
