//! What is protected, allowed and refused, as the kernel side looks it up.
//!
//! In: targets and lists of the configuration. Out: entries for the maps, and the same verdict in user space. The
//! kernel takes the longest matching prefix alone, so what a shorter one says of a port is written into every longer
//! one here.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use gateway_common::{NetworkPort, Verdict};

use crate::host::network::Network;

/// Ports that are intercepted for every address, with the protocol that is spoken there.
pub const PROTECTED_PORTS: [(u16, Verdict); 3] =
    [(5432, Verdict::Postgres), (22, Verdict::Ssh), (6443, Verdict::Kubernetes)];

/// Ports that are refused for every address: the kubelet's API (10250, read-only 10255) and etcd (2379, 2380).
pub const REFUSED_PORTS: [u16; 4] = [10_250, 10_255, 2_379, 2_380];

/// Cloud metadata services, which hand out credentials of the host: AWS, Azure, GCP and others on 169.254.169.254, AWS
/// container credentials on 169.254.170.2, AWS over IPv6, Alibaba Cloud.
const METADATA: [&str; 4] = ["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200"];

/// Networks as the kernel side's maps have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkEntries {
    /// Each prefix with its number.
    pub networks: Vec<(Network, u32)>,
    /// The `Verdict` of each port of a number.
    pub ports: Vec<(NetworkPort, u32)>,
}

/// All that an attachment's kernel side looks up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    ports: BTreeMap<u16, Verdict>,
    /// Port 0 stands for all others of the network.
    networks: BTreeMap<Network, BTreeMap<u16, Verdict>>,
    default: Verdict,
}

impl Tables {
    /// The shipped protection, with `default` for what nothing names.
    #[must_use]
    pub fn new(default: Verdict) -> Self {
        let mut ports: BTreeMap<_, _> = PROTECTED_PORTS.into();
        ports.extend(REFUSED_PORTS.map(|port| (port, Verdict::Refuse)));
        let metadata = METADATA.iter().filter_map(|text| text.parse().ok());
        let networks = metadata.map(|network| (network, BTreeMap::from([(0, Verdict::Refuse)]))).collect();
        Self { ports, networks, default }
    }

    /// Says what becomes of a port of a network; `None` stands for all its ports that nothing else names. A port that is
    /// intercepted everywhere stays so, whatever is allowed.
    pub fn set(&mut self, network: Network, port: Option<u16>, verdict: Verdict) {
        let is_protected = PROTECTED_PORTS.iter().any(|(protected, _)| port == Some(*protected));
        if is_protected && verdict == Verdict::Allow {
            return;
        }
        self.networks.entry(network).or_default().insert(port.unwrap_or(0), verdict);
    }

    /// What the kernel side will say of a destination.
    #[must_use]
    pub fn verdict(&self, destination: SocketAddr) -> Verdict {
        let entries = self.flattened();
        let longest = entries.iter().filter(|(network, _)| network.contains(destination.ip()));
        let ports = longest.max_by_key(|(network, _)| network.prefix()).map(|(_, ports)| ports);
        let of = |port: u16| ports.and_then(|ports| ports.get(&port)).copied();
        of(destination.port())
            .or_else(|| self.ports.get(&destination.port()).copied())
            .or_else(|| of(0))
            .unwrap_or(self.default)
    }

    /// What passes where nothing else is said.
    #[must_use]
    pub fn default_verdict(&self) -> Verdict {
        self.default
    }

    /// Entries of the port map.
    pub fn port_entries(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.ports.iter().map(|(port, verdict)| (u32::from(*port), *verdict as u32))
    }

    /// Entries of the prefix map, and of the map of their ports. Networks are numbered from 1.
    #[must_use]
    pub fn network_entries(&self) -> NetworkEntries {
        let mut entries = NetworkEntries::default();
        for (number, (network, verdicts)) in (1_u32..).zip(self.flattened()) {
            entries.networks.push((network, number));
            entries.ports.extend(
                verdicts.iter().map(|(port, v)| (NetworkPort { network: number, port: u32::from(*port) }, *v as u32)),
            );
        }
        entries
    }

    /// Each network with what the ones that cover it say, the longer prefix winning port by port.
    fn flattened(&self) -> BTreeMap<Network, BTreeMap<u16, Verdict>> {
        let flatten = |network: &Network| {
            let mut covering: Vec<_> = self.networks.iter().filter(|(other, _)| other.covers(network)).collect();
            covering.sort_by_key(|(other, _)| other.prefix());
            covering.into_iter().flat_map(|(_, ports)| ports.clone()).collect()
        };
        self.networks.keys().map(|network| (*network, flatten(network))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn verdict(tables: &Tables, destination: &str) -> Verdict {
        tables.verdict(destination.parse().unwrap())
    }

    #[test]
    fn protected_ports_are_caught_at_every_address() {
        let tables = Tables::new(Verdict::Allow);
        for (destination, expected) in [
            ("10.0.0.5:5432", Verdict::Postgres),
            ("[2001:db8::1]:22", Verdict::Ssh),
            ("127.0.0.1:6443", Verdict::Kubernetes),
            ("10.0.0.5:2379", Verdict::Refuse),
            ("10.0.0.5:443", Verdict::Allow),
            ("169.254.169.254:80", Verdict::Refuse),
            ("[fd00:ec2::254]:80", Verdict::Refuse),
        ] {
            assert_eq!(verdict(&tables, destination), expected, "{destination}");
        }
    }

    #[test]
    fn an_allowed_network_does_not_open_a_protected_port() {
        let mut tables = Tables::new(Verdict::Refuse);
        tables.set(network("10.0.0.0/8"), None, Verdict::Allow);
        tables.set(network("10.1.2.3"), Some(5432), Verdict::Allow);
        assert_eq!(verdict(&tables, "10.1.2.3:443"), Verdict::Allow);
        assert_eq!(verdict(&tables, "10.1.2.3:5432"), Verdict::Postgres);
        assert_eq!(verdict(&tables, "11.1.2.3:443"), Verdict::Refuse);
    }

    #[test]
    fn a_longer_prefix_inherits_what_the_shorter_one_says() {
        let mut tables = Tables::new(Verdict::Allow);
        tables.set(network("10.0.0.0/24"), Some(6432), Verdict::Postgres);
        tables.set(network("10.0.0.5"), Some(443), Verdict::Kubernetes);
        assert_eq!(verdict(&tables, "10.0.0.5:6432"), Verdict::Postgres);
        assert_eq!(verdict(&tables, "10.0.0.5:443"), Verdict::Kubernetes);
        assert_eq!(verdict(&tables, "10.0.0.6:443"), Verdict::Allow);
        let NetworkEntries { networks, ports } = tables.network_entries();
        let number = networks.iter().find(|(n, _)| *n == network("10.0.0.5")).unwrap().1;
        assert!(ports.contains(&(NetworkPort { network: number, port: 6432 }, Verdict::Postgres as u32)));
    }
}
