//! The maps of one attachment, as user space reads and writes them.
//!
//! In: the maps of a loaded object, tables. Out: tables in force, and whether they still are what was written. It must
//! never leave a protected port unprotected while it writes.

use std::collections::{BTreeMap, HashSet};

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, PerCpuArray, lpm_trie};
use gateway_common::{ConnectRecord, FlowKey, ListenerState, NetworkPort, Settings, SocketName};
use rustix::thread::MembarrierCommand;

use super::gate::{CaptureError, map_error, take};
use super::names;
use super::tables::{NetworkEntries, Tables};

/// Those that user space uses.
pub(super) struct Maps {
    settings: Array<MapData, Settings>,
    pub(super) heartbeat: Array<MapData, u64>,
    pub(super) listener: HashMap<MapData, u64, ListenerState>,
    port: HashMap<MapData, u32, u32>,
    network: lpm_trie::LpmTrie<MapData, [u32; 4], u32>,
    network_port: HashMap<MapData, NetworkPort, u32>,
    pub(super) named: names::Names,
    unix: lpm_trie::LpmTrie<MapData, SocketName, u32>,
    pub(super) flow: HashMap<MapData, FlowKey, ConnectRecord>,
    pub(super) asker: HashMap<MapData, FlowKey, ConnectRecord>,
    pub(super) count: PerCpuArray<MapData, u64>,
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, CaptureError> {
        /// Opens a map as the type of its field.
        macro_rules! open {
            ($name:literal) => {
                take(ebpf, $name)?.try_into().map_err(|error| map_error("open", $name, error))?
            };
        }
        Ok(Self {
            settings: open!("SETTINGS"),
            heartbeat: open!("HEARTBEAT"),
            listener: open!("LISTENER"),
            port: open!("PORT"),
            network: open!("NETWORK"),
            network_port: open!("NETWORK_PORT"),
            named: names::Names::over(open!("NAMED")),
            unix: open!("UNIX"),
            flow: open!("FLOW"),
            asker: open!("ASKER"),
            count: open!("COUNT"),
        })
    }

    /// Writes the tables, new entries before old ones go, so that a protected port is at no time unprotected: the
    /// networks get numbers that no old entry has.
    pub(super) fn configure(&mut self, tables: &Tables, listener_port: u16, cgroup: u64) -> Result<(), CaptureError> {
        for (port, verdict) in tables.port_entries() {
            self.port.insert(port, verdict, 0).map_err(|error| map_error("write", "PORT", error))?;
        }
        let used = self.network.iter().flatten().map(|(_, number)| number).max().unwrap_or(0);
        let NetworkEntries { networks, ports } = tables.network_entries();
        for (key, verdict) in &ports {
            let key = NetworkPort { network: key.network + used, port: key.port };
            self.network_port.insert(key, verdict, 0).map_err(|error| map_error("write", "NETWORK_PORT", error))?;
        }
        let names: HashSet<_> = tables.unix_entries().collect();
        for (length, name) in &names {
            let key = lpm_trie::Key::new(*length, *name);
            self.unix.insert(&key, 1, 0).map_err(|error| map_error("write", "UNIX", error))?;
        }
        let old = |key: &lpm_trie::Key<SocketName>| !names.contains(&(key.prefix_len(), key.data()));
        for key in self.unix.keys().flatten().filter(old).collect::<Vec<_>>() {
            let _ = self.unix.remove(&key);
        }
        let mut kept = HashSet::new();
        for (network, number) in networks {
            let (prefix, address) = network.key();
            kept.insert((prefix, address));
            let key = lpm_trie::Key::new(prefix, address);
            self.network.insert(&key, number + used, 0).map_err(|error| map_error("write", "NETWORK", error))?;
        }
        // A program that has read an old number is done with it before its entries go: this waits for all of them
        // (synchronize_rcu, Linux 4.3).
        if let Err(error) = rustix::thread::membarrier(MembarrierCommand::Global) {
            tracing::warn!(%error, "cannot wait for running programs: one of them may find half of the old lists");
        }
        self.forget_old(tables, used, &kept);
        self.set_cgroup(tables, listener_port, cgroup)
    }

    /// Says which cgroup it is that the programs are over.
    pub(super) fn set_cgroup(&mut self, tables: &Tables, listener_port: u16, cgroup: u64) -> Result<(), CaptureError> {
        let settings = settings(tables, listener_port, cgroup);
        self.settings.set(0, settings, 0).map_err(|error| map_error("write", "SETTINGS", error))
    }

    /// Removes what an earlier configuration left. What is gone already needs no removing.
    fn forget_old(&mut self, tables: &Tables, used: u32, kept: &HashSet<(u32, [u32; 4])>) {
        let stale = |key: &lpm_trie::Key<[u32; 4]>| !kept.contains(&(key.prefix_len(), key.data()));
        for key in self.network.keys().flatten().filter(stale).collect::<Vec<_>>() {
            let _ = self.network.remove(&key);
        }
        for key in self.network_port.keys().flatten().filter(|key| key.network <= used).collect::<Vec<_>>() {
            let _ = self.network_port.remove(&key);
        }
        let ports: HashSet<u32> = tables.port_entries().map(|(port, _)| port).collect();
        for port in self.port.keys().flatten().filter(|port| !ports.contains(port)).collect::<Vec<_>>() {
            let _ = self.port.remove(&port);
        }
    }

    /// The map that does not hold what `configure` wrote, if there is one.
    pub(super) fn changed(&self, tables: &Tables, listener_port: u16, cgroup: u64) -> Option<&'static str> {
        if self.settings.get(&0, 0).ok() != Some(settings(tables, listener_port, cgroup)) {
            return Some("SETTINGS");
        }
        if !tables.port_entries().eq(sorted(self.port.iter().flatten())) {
            return Some("PORT");
        }
        let names: HashSet<_> = tables.unix_entries().collect();
        if names != self.unix.keys().flatten().map(|key| (key.prefix_len(), key.data())).collect() {
            return Some("UNIX");
        }
        let NetworkEntries { networks, ports } = tables.network_entries();
        let now: BTreeMap<_, _> =
            self.network.iter().flatten().map(|(key, to)| ((key.prefix_len(), key.data()), to)).collect();
        let used = networks.first().and_then(|(network, number)| now.get(&network.key())?.checked_sub(*number));
        let used = used.unwrap_or_default();
        if now != networks.into_iter().map(|(network, number)| (network.key(), number + used)).collect() {
            return Some("NETWORK");
        }
        let key = |of: NetworkPort, used| (of.network + used, of.port);
        let wanted: BTreeMap<_, _> = ports.into_iter().map(|(of, verdict)| (key(of, used), verdict)).collect();
        let now = self.network_port.iter().flatten().map(|(of, verdict)| (key(of, 0), verdict));
        (wanted != now.collect()).then_some("NETWORK_PORT")
    }
}

fn settings(tables: &Tables, listener_port: u16, cgroup: u64) -> Settings {
    Settings { cgroup, listener_port: listener_port.into(), egress_default: tables.default_verdict() as u32 }
}

fn sorted(entries: impl Iterator<Item = (u32, u32)>) -> impl Iterator<Item = (u32, u32)> {
    entries.collect::<BTreeMap<_, _>>().into_iter()
}
