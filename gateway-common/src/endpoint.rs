//! An address and a port with one layout for both families.
//!
//! In: what a socket call or a packet holds. Out: sixteen address bytes and a port. IPv4 is kept as IPv4-mapped IPv6
//! (RFC 4291, section 2.5.5.2), so that one destination has one form whatever socket it is reached through.

/// Where a connection goes to or comes from.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The address in network order, as four words because BPF context fields are words.
    pub address: [u32; 4],
    /// The port in host order, 0 to 65535.
    pub port: u32,
}

const _: () = assert!(size_of::<Endpoint>() == 20);

/// The third word of an IPv4-mapped address: `0000:ffff` in network order.
const MAPPED: u32 = 0x0000_ffff_u32.to_be();

/// That of an IPv4-translated one: `ffff:0000`.
const TRANSLATED: u32 = 0xffff_0000_u32.to_be();

impl Endpoint {
    /// From an IPv4 address in network order and a port in host order.
    #[inline(always)]
    #[must_use]
    pub const fn v4(address: u32, port: u32) -> Self {
        Self { address: [0, 0, MAPPED, address], port }
    }

    /// From an IPv6 address in network order and a port in host order.
    #[inline(always)]
    #[must_use]
    pub const fn v6(address: [u32; 4], port: u32) -> Self {
        Self { address, port }
    }

    /// Whether the address is IPv4, mapped.
    #[inline(always)]
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        let [a, b, c, _] = self.address;
        a == 0 && b == 0 && c == MAPPED
    }

    /// The IPv4 destination that an IPv6 address leads to through a translator or a tunnel: NAT64 (RFC 6052, and what RFC
    /// 8215 leaves to operators, with the address at its end), IPv4-translated (RFC 2765), IPv4-compatible (RFC 4291), 6to4
    /// (RFC 3056), Teredo (RFC 4380) and ISATAP (RFC 5214).
    #[inline(always)]
    #[must_use]
    pub const fn carried_v4(&self) -> Option<Self> {
        let [a, b, c, d] = self.address;
        let (first, second) = (u32::from_be(a), u32::from_be(b));
        let is_at_the_end = match (first, second) {
            (0x0064_ff9b, 0) => c == 0,
            (0x0064_ff9b, _) => second >> 16 == 1,
            (0, 0) => c == TRANSLATED || (c == 0 && u32::from_be(d) > 1),
            _ => u32::from_be(c) & !0x0200_0000 == 0x0000_5efe,
        };
        let address = if is_at_the_end {
            d
        } else if first >> 16 == 0x2002 {
            (first << 16 | second >> 16).to_be()
        } else if first == 0x2001_0000 {
            !d
        } else {
            return None;
        };
        Some(Self::v4(address, self.port))
    }

    /// Link-local unicast (fe80::/10) or any multicast (ff00::/8): their scope is not in the hook's context, so that
    /// nobody could dial them again.
    #[inline(always)]
    #[must_use]
    pub const fn needs_scope(&self) -> bool {
        let first = u32::from_be(self.address[0]);
        first >> 22 == 0xfe80 >> 6 || first >> 24 == 0xff
    }
}

#[cfg(feature = "user")]
mod user {
    use super::Endpoint;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

    /// The sixteen bytes of an address as the kernel side compares them.
    fn words(address: IpAddr) -> [u32; 4] {
        let octets = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(octets.chunks_exact(4)) {
            *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)).to_le();
        }
        words
    }

    impl From<SocketAddr> for Endpoint {
        fn from(address: SocketAddr) -> Self {
            Self { address: words(address.ip()), port: address.port().into() }
        }
    }

    impl From<Endpoint> for SocketAddr {
        fn from(endpoint: Endpoint) -> Self {
            let mut octets = [0; 16];
            for (bytes, word) in octets.chunks_exact_mut(4).zip(endpoint.address) {
                bytes.copy_from_slice(&word.to_ne_bytes());
            }
            let v6 = Ipv6Addr::from(octets);
            let ip = v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), |v4: Ipv4Addr| IpAddr::V4(v4));
            // INVARIANT: the kernel side only stores 16-bit ports.
            Self::new(ip, u16::try_from(endpoint.port).unwrap_or(0))
        }
    }
}

#[cfg(all(test, feature = "user"))]
mod tests {
    use super::Endpoint;
    use std::net::SocketAddr;

    #[test]
    fn keeps_both_families_through_the_kernel_layout() {
        for text in ["10.0.0.5:5432", "[2001:db8::1]:22", "0.0.0.0:6443", "[::]:1", "255.255.255.255:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(Endpoint::from(address)), address);
        }
    }

    #[test]
    fn mapped_and_plain_ipv4_are_one_destination() {
        let mapped: SocketAddr = "[::ffff:10.0.0.5]:5432".parse().unwrap();
        let plain: SocketAddr = "10.0.0.5:5432".parse().unwrap();
        assert_eq!(Endpoint::from(mapped), Endpoint::from(plain));
        assert!(Endpoint::from(plain).is_v4());
        assert_eq!(Endpoint::from(plain), Endpoint::v4(u32::from_ne_bytes([10, 0, 0, 5]), 5432));
    }

    #[test]
    fn finds_the_ipv4_address_in_every_form_that_carries_one() {
        let carried = |text: &str| {
            let carried = Endpoint::from(text.parse::<SocketAddr>().unwrap()).carried_v4();
            carried.map(|endpoint| SocketAddr::from(endpoint).to_string())
        };
        for text in [
            "[64:ff9b::a00:5]:22",
            "[64:ff9b:1::a00:5]:22",
            "[64:ff9b:1:7::a00:5]:22",
            "[::ffff:0:a00:5]:22",
            "[::a00:5]:22",
            "[2002:a00:5::1]:22",
            "[2001:0:4136:e378:8000:63bf:f5ff:fffa]:22",
            "[fd77::5efe:a00:5]:22",
            "[fd77::200:5efe:a00:5]:22",
        ] {
            assert_eq!(carried(text).as_deref(), Some("10.0.0.5:22"), "{text}");
        }
        for text in ["10.0.0.5:22", "[::1]:22", "[::]:22", "[64:ff9c::a00:5]:22", "[2001:db8::a00:5]:22"] {
            assert_eq!(carried(text), None, "{text}");
        }
    }

    #[test]
    fn link_local_and_multicast_need_a_scope() {
        let needs = |text: &str| Endpoint::from(text.parse::<SocketAddr>().unwrap()).needs_scope();
        assert!(needs("[fe80::1]:1") && needs("[febf::1]:1") && needs("[ff02::1]:1"));
        assert!(!needs("[fec0::1]:1") && !needs("[2001:db8::1]:1") && !needs("169.254.1.1:1"));
    }
}
