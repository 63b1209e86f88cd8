//! Addresses and networks, as configurations write them and the kernel side compares them.
//!
//! In: text. Out: a prefix over 128 bits, so that an IPv4 destination is one whatever socket it is reached through.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// An address prefix, IPv4 as IPv4-mapped IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    /// The address with all bits beyond the prefix cleared.
    address: u128,
    /// 0 to 128.
    prefix: u8,
}

/// What was given is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address or network: write `10.0.0.5`, `10.0.0.0/8`, `2001:db8::5` or `2001:db8::/32`")]
pub struct InvalidNetwork {
    text: String,
}

impl Network {
    /// A single address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { address: bits(address), prefix: 128 }
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        bits(address) & mask(self.prefix) == self.address
    }

    /// The address, where it is one.
    #[must_use]
    pub fn host_address(&self) -> Option<IpAddr> {
        self.is_host().then(|| Ipv6Addr::from(self.address).to_canonical())
    }

    /// Whether it is one address.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.prefix == 128
    }

    /// Whether another lies in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && other.address & mask(self.prefix) == self.address
    }

    /// Whether all of it is loopback or link-local.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let first = Ipv6Addr::from(self.address);
        // 127.0.0.0/8, the widest of them in IPv4, has 8 bits behind the 96 of the mapping; fe80::/10 has no mapping.
        let widest = if first.is_unicast_link_local() { 10 } else { 104 };
        self.prefix >= widest && is_local(first.into())
    }

    /// 0 to 128.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The prefix length and the address words of the kernel's key.
    #[must_use]
    pub fn key(&self) -> (u32, [u32; 4]) {
        let octets = self.address.to_be_bytes();
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(octets.chunks_exact(4)) {
            *word = u32::from_ne_bytes(bytes.try_into().unwrap_or_default());
        }
        (self.prefix.into(), words)
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = || InvalidNetwork { text: text.chars().take(60).collect() };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let (width, offset) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let length = length.unwrap_or(width);
        if length > width {
            return Err(invalid());
        }
        let prefix = length + offset;
        let all = bits(address);
        // Bits beyond the prefix are a slip of the pen: which network was meant?
        if all & !mask(prefix) != 0 {
            return Err(invalid());
        }
        Ok(Self { address: all, prefix })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let v6 = Ipv6Addr::from(self.address);
        match v6.to_ipv4_mapped() {
            Some(v4) if self.prefix == 128 => v4.fmt(f),
            Some(v4) if self.prefix >= 96 => write!(f, "{v4}/{}", self.prefix - 96),
            _ if self.prefix == 128 => v6.fmt(f),
            _ => write!(f, "{v6}/{}", self.prefix),
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

/// Whether an address means another machine in each network namespace or on each link: loopback, link-local, and 0.0.0.0
/// and ::, which mean loopback.
#[must_use]
pub fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified(),
    }
}

/// 0.0.0.0 and :: mean the loopback address to a client.
#[must_use]
pub fn dialled_address(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn local_is_what_means_another_machine_in_each_namespace() {
        let all = [
            "127.0.0.1",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "169.254.9.9",
            "::1",
            "fe80::/10",
            "fe80::1",
            "0.0.0.0",
            "::",
        ];
        for text in all {
            assert!(network(text).is_local(), "{text}");
        }
        for text in ["0.0.0.0/0", "::/0", "10.0.0.5", "126.0.0.0/7", "2001:db8::1", "fe80::/9", "fec0::1"] {
            assert!(!network(text).is_local(), "{text}");
        }
        assert!(is_local("::ffff:127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn networks_print_as_they_are_written_and_refuse_stray_bits() {
        for text in ["10.0.0.0/8", "10.0.0.5", "2001:db8::/32", "::1", "0.0.0.0/0"] {
            assert_eq!(network(text).to_string(), text);
        }
        for text in ["10.0.0.5/8", "10.0.0.0/33", "host", "", "10.0.0.0/-1", "::/129"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
