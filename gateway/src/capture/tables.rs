//! What is protected, allowed and refused, as the kernel side looks it up.
//!
//! In: targets and lists of the configuration. Out: entries for the maps, and the same verdict in user space. The
//! kernel takes the longest matching prefix alone, so what a shorter one says of a port is written into every longer
//! one here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use gateway_common::{DNS_PORT, Endpoint, NetworkPort, PROTECTED_PORTS, SocketName, Verdict};

use crate::config::Config;
use crate::host::network::{Network, is_local};
use crate::host::unix_name::UnixName;

/// Ports that are refused for every address: the kubelet's API (10250, read-only 10255), etcd (2379, 2380), and overlay
/// networks: VXLAN (4789 as RFC 7348 says, 8472 as Linux did before) and Geneve (6081). A host of such a network takes
/// any datagram there for a packet of its own and delivers what is inside, whatever its destination.
pub const REFUSED_PORTS: [u16; 7] = [10_250, 10_255, 2_379, 2_380, 4_789, 8_472, 6_081];

/// Cloud metadata services, which hand out credentials of the host: AWS, Azure, GCP and others on 169.254.169.254, AWS
/// container credentials on 169.254.170.2, AWS over IPv6, Alibaba Cloud.
const METADATA: [&str; 4] = ["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200"];

/// Unix sockets that ordinary programs need, by the names that their services bind: logs and the start of a unit
/// (systemd-journald, syslog, systemd), users (systemd-userdbd, sssd). None of them starts anything for who asks. X11 is
/// not among them, since its clients can type into every window; no bus and no agent with keys either.
const SERVICES: [&str; 9] = [
    "/dev/log",
    "/run/systemd/journal/dev-log",
    "/run/systemd/journal/socket",
    "/run/systemd/journal/stdout",
    "/run/systemd/notify",
    "/run/systemd/userdb/io.systemd.DropIn",
    "/run/systemd/userdb/io.systemd.Multiplexer",
    "/run/systemd/userdb/io.systemd.NameServiceSwitch",
    "/var/lib/sss/pipes/nss",
];

/// Those that look names up for who asks: for attachments whose other destinations are allowed. Where they are not, a
/// name is a way to talk to whoever serves it.
const RESOLVERS: [&str; 5] = [
    "/run/nscd/socket",
    "/var/run/nscd/socket",
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/avahi-daemon/socket",
    "/var/run/avahi-daemon/socket",
];

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
    unix: BTreeSet<UnixName>,
    default: Verdict,
}

/// Whether a name may stand for this address: never for this host itself, its links, a service that hands out
/// credentials, or an IPv6 form of one of these, whoever says so (DNS rebinding).
#[must_use]
pub fn is_nameable(address: IpAddr) -> bool {
    let is_metadata = METADATA.iter().any(|text| text.parse() == Ok(Network::host(address)));
    let is_nobodys = match address.to_canonical() {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_multicast() || v4.is_broadcast(),
        // What is left of the first 96 bits is IPv4-compatible.
        IpAddr::V6(v6) => v6.is_multicast() || matches!(v6.segments(), [0, 0, 0, 0, 0, 0, ..]),
    };
    let carried = Endpoint::from(SocketAddr::new(address, 0)).carried_v4().map(|v4| SocketAddr::from(v4).ip());
    !is_metadata && !is_nobodys && !is_local(address) && carried.is_none_or(is_nameable)
}

impl Tables {
    /// The shipped protection, with `default` for what nothing names.
    #[must_use]
    pub fn new(default: Verdict) -> Self {
        let mut ports: BTreeMap<_, _> = PROTECTED_PORTS.into();
        ports.extend(REFUSED_PORTS.map(|port| (port, Verdict::Refuse)));
        let metadata = METADATA.iter().filter_map(|text| text.parse().ok());
        let networks = metadata.map(|network| (network, BTreeMap::from([(0, Verdict::Refuse)]))).collect();
        let resolvers = RESOLVERS.iter().filter(|_| default == Verdict::Allow);
        let unix = SERVICES.iter().chain(resolvers).filter_map(|text| text.parse().ok()).collect();
        Self { ports, networks, unix, default }
    }

    /// What an attachment's kernel side looks up, from the configuration.
    #[must_use]
    pub fn of(config: &Config, attachment: &str) -> Self {
        let mut tables = Self::new(if config.egress.allow_by_default { Verdict::Allow } else { Verdict::Refuse });
        if config.asks_names_here() {
            tables.ask_names_here();
        }
        if let Some(console) = &config.console {
            tables.ports.insert(console.listen.port(), Verdict::Refuse);
        }
        // Nor do they need to know how they are watched.
        if let Some(metrics) = config.metrics {
            tables.ports.insert(metrics.port(), Verdict::Refuse);
        }
        for allowed in &config.egress.allow {
            tables.set(allowed.network, allowed.port, Verdict::Allow);
        }
        for unread in &config.egress.passthrough {
            if let Some(port) = unread.port {
                tables.pass_unread(unread.network, port);
            }
        }
        for name in &config.egress.unix {
            tables.allow_unix(name.clone());
        }
        for target in config.targets.iter().filter(|target| target.serves(attachment)) {
            for &network in &target.addresses {
                // Other ports of a declared address are refused: a second way in would be a way around.
                if network.is_host() {
                    tables.set(network, None, Verdict::Refuse);
                }
                for port in &target.ports {
                    tables.set(network, Some(*port), target.protocol);
                }
            }
        }
        // Whatever the lists say: who is recorded must not reach the record.
        if let Some(store) = &config.clickhouse {
            tables.set(Network::host(store.address.ip()), Some(store.address.port()), Verdict::Refuse);
        }
        tables
    }

    /// Lets connects to a unix socket outside pass.
    pub fn allow_unix(&mut self, name: UnixName) {
        self.unix.insert(name);
    }

    /// Has names asked of the gateway, whatever server is meant.
    pub fn ask_names_here(&mut self) {
        self.ports.insert(DNS_PORT, Verdict::Dns);
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

    /// Lets connects to a port of a network pass unread, also where it is protected, unless `set` says something else later.
    pub fn pass_unread(&mut self, network: Network, port: u16) {
        self.networks.entry(network).or_default().insert(port, Verdict::Allow);
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

    /// Entries of the map of unix sockets: how much of each name counts, in bits.
    pub fn unix_entries(&self) -> impl Iterator<Item = (u32, SocketName)> + '_ {
        self.unix.iter().map(UnixName::key)
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
    fn a_name_stands_for_no_address_of_this_host_or_of_a_metadata_service() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "169.254.169.254",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
            assert!(!is_nameable(address.parse().unwrap()), "{address}");
        }
        for address in ["10.0.0.5", "93.184.216.34", "2001:db8::5", "fd77::2", "64:ff9b::5db8:d822"] {
            assert!(is_nameable(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn names_are_looked_up_over_unix_sockets_only_where_other_destinations_are_allowed() {
        for (default, resolves) in [(Verdict::Allow, true), (Verdict::Refuse, false)] {
            let names: BTreeSet<_> = Tables::new(default).unix_entries().collect();
            let has = |text: &str| names.contains(&text.parse::<UnixName>().unwrap().key());
            assert_eq!(RESOLVERS.map(has), [resolves; 5]);
            assert_eq!(SERVICES.map(has), [true; 9], "every shipped name can be read");
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
    fn what_passes_unread_does_at_its_port_alone_and_not_where_a_target_is_declared() {
        let mut tables = Tables::new(Verdict::Refuse);
        tables.pass_unread(network("10.1.2.3"), 22);
        tables.pass_unread(network("10.1.2.4"), 22);
        tables.set(network("10.1.2.4"), Some(22), Verdict::Ssh);
        assert_eq!(verdict(&tables, "10.1.2.3:22"), Verdict::Allow);
        assert_eq!(verdict(&tables, "10.1.2.3:5432"), Verdict::Postgres);
        assert_eq!(verdict(&tables, "10.1.2.4:22"), Verdict::Ssh);
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
