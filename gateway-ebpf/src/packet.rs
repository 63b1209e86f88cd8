//! Packets: where one goes, whether it may, and how it is read.
//!
//! In: what leaves a socket of the subtree, or a namespace of it. Out: its ends and what it carries; nothing where that
//! cannot be told for sure. It keeps no state.

use core::ffi::c_long;

use aya_ebpf::programs::sk_buff::SkBuff;
use gateway_common::{Endpoint, Verdict};

use crate::maps::verdict;

const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
const ICMP6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Router and neighbour discovery (RFC 4861): the first and the last of its types.
const DISCOVERY: (u8, u8) = (133, 137);

/// Of an IPv4 header (RFC 791). Options are not read: a source route hides where a packet ends up, as a routing header does
/// in IPv6, and programs have no use for others (RFC 6814, RFC 7126).
const HEADER_WITHOUT_OPTIONS: usize = 20;

/// Extension headers that are walked over: more than any stack sends.
const EXTENSION_HEADERS: usize = 4;

const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;

/// Where a packet goes, and what it carries.
pub struct Packet {
    /// Where it comes from; the port is read of UDP alone.
    pub source: Endpoint,
    pub destination: Endpoint,
    pub protocol: u8,
    /// It opens something: a SYN, or neither TCP nor the search for a neighbour.
    pub opens: bool,
    /// Where the header of that protocol begins.
    pub transport: usize,
}

/// A protected destination is never left for; a refused one is not opened, while replies to whoever came from there go.
#[inline(always)]
pub fn passes(destination: &Endpoint, packet: &Packet) -> bool {
    match verdict(destination) {
        Verdict::Allow => true,
        Verdict::Refuse | Verdict::Unknown => !packet.opens,
        Verdict::Postgres | Verdict::Ssh | Verdict::Kubernetes | Verdict::Dns => false,
    }
}

/// A packet from its IP header on.
struct Bytes<'a> {
    skb: &'a SkBuff,
    start: usize,
}

impl Bytes<'_> {
    #[inline(always)]
    fn load<T>(&self, offset: usize) -> Result<T, c_long> {
        self.skb.load(self.start + offset)
    }
}

/// Reads a packet whose IP header is at an offset; `None` where that is not possible.
#[inline(always)]
pub fn read(skb: &SkBuff, start: usize) -> Option<Packet> {
    let bytes = &Bytes { skb, start };
    match bytes.load::<u8>(0).ok()? >> 4 {
        4 => read4(bytes),
        6 => read6(bytes),
        _ => None,
    }
}

#[inline(always)]
fn read4(bytes: &Bytes<'_>) -> Option<Packet> {
    let header = usize::from(bytes.load::<u8>(0).ok()? & 0x0f) * 4;
    let fragment = u16::from_be(bytes.load::<u16>(6).ok()?) & 0x1fff;
    let protocol = bytes.load::<u8>(9).ok()?;
    let (source, destination) = (bytes.load::<u32>(12).ok()?, bytes.load::<u32>(16).ok()?);
    if header != HEADER_WITHOUT_OPTIONS {
        return None;
    }
    let ends = Ends { source: Endpoint::v4(source, 0), destination: Endpoint::v4(destination, 0) };
    transport(bytes, header, protocol, fragment, ends)
}

#[inline(always)]
fn read6(bytes: &Bytes<'_>) -> Option<Packet> {
    let mut next = bytes.load::<u8>(6).ok()?;
    let (source, destination) = (bytes.load::<[u32; 4]>(8).ok()?, bytes.load::<[u32; 4]>(24).ok()?);
    let ends = Ends { source: Endpoint::v6(source, 0), destination: Endpoint::v6(destination, 0) };
    let mut offset = 40;
    let mut fragment = 0;
    for _ in 0..EXTENSION_HEADERS {
        match next {
            HOP_BY_HOP | DESTINATION_OPTIONS => {
                next = bytes.load::<u8>(offset).ok()?;
                offset += (usize::from(bytes.load::<u8>(offset + 1).ok()?) + 1) * 8;
            }
            FRAGMENT => {
                next = bytes.load::<u8>(offset).ok()?;
                fragment = u16::from_be(bytes.load::<u16>(offset + 2).ok()?) >> 3;
                offset += 8;
            }
            // A routing header hides where the packet ends up: not on the list below, hence unreadable.
            _ => break,
        }
    }
    transport(bytes, offset, next, fragment, ends)
}

/// Both addresses of a packet, without ports.
struct Ends {
    source: Endpoint,
    destination: Endpoint,
}

impl Ends {
    #[inline(always)]
    fn packet(self, transport: usize, protocol: u8, opens: bool) -> Packet {
        Packet { source: self.source, destination: self.destination, protocol, opens, transport }
    }

    #[inline(always)]
    fn between(mut self, source: u16, destination: u16) -> Self {
        self.source.port = u16::from_be(source).into();
        self.destination.port = u16::from_be(destination).into();
        self
    }
}

#[inline(always)]
fn transport(bytes: &Bytes<'_>, header: usize, protocol: u8, fragment: u16, ends: Ends) -> Option<Packet> {
    match protocol {
        ICMP => Some(ends.packet(bytes.start + header, protocol, true)),
        ICMP6 => {
            let kind = bytes.load::<u8>(header).ok()?;
            Some(ends.packet(bytes.start + header, protocol, kind < DISCOVERY.0 || kind > DISCOVERY.1))
        }
        // Later fragments carry no ports; without the first one, which was judged, nobody can use them. One that starts
        // inside the transport header could rewrite it, so it is not let through.
        TCP | UDP if fragment != 0 => (fragment > 2).then(|| ends.packet(bytes.start + header, protocol, false)),
        TCP => {
            let port = bytes.load::<u16>(header + 2).ok()?;
            let flags = bytes.load::<u8>(header + 13).ok()?;
            let opens = flags & (TCP_SYN | TCP_ACK) == TCP_SYN;
            Some(ends.between(0, port).packet(bytes.start + header, protocol, opens))
        }
        UDP => {
            let (from, to) = (bytes.load::<u16>(header).ok()?, bytes.load::<u16>(header + 2).ok()?);
            Some(ends.between(from, to).packet(bytes.start + header, protocol, true))
        }
        _ => None,
    }
}
