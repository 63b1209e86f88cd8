//! The backstop: what was not redirected does not leave.
//!
//! Every legitimate connection to a protected destination was rewritten in the connect hook. Hence a packet from the
//! subtree to one, or from a socket that is connected to one, is a way around: dropped and counted. It looks at the
//! packet and at the socket, since an IPv6 routing header hides the former and a raw socket the latter, and it keeps
//! no state.

use aya_ebpf::{helpers::generated::bpf_sk_fullsock, programs::SkBuffContext};
use gateway_common::{Endpoint, FlowKey, Reason, SocketState, Verdict};

use crate::{
    connect::is_loopback,
    maps::{ASKER, listener, listener_port, socket_state, verdict},
    report,
};

const PASS: i32 = 1;
const DROP: i32 = 0;
/// Dropped, and the sender is told that the queue was full: of UDP, that is told to sockets with IP_RECVERR alone.
const LOSE: i32 = 2;
const BPF_ANY: u64 = 0;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Options of an IPv4 header (RFC 791): the end of the list, a filler of one byte, loose and strict source routes.
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;
const HEADER_WITHOUT_OPTIONS: usize = 20;
/// As many as there are if each has one byte.
const OPTIONS: usize = 40;

/// Extension headers that are walked over: more than any stack sends.
const EXTENSION_HEADERS: usize = 4;

const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;

/// Where a packet goes, and what it carries.
struct Packet {
    /// Where it comes from; the port is read of UDP alone.
    source: Endpoint,
    destination: Endpoint,
    protocol: u8,
    /// It opens something: a SYN, or no TCP at all.
    opens: bool,
}

#[inline(always)]
pub fn packet(ctx: &SkBuffContext) -> i32 {
    let Some(packet) = read(ctx) else {
        report::tell(&report::packet(ctx, Endpoint::default()), Reason::PacketUnreadable, 0);
        return DROP;
    };
    let may_leave = match socket(ctx, &packet) {
        Socket::Redirected { ready: true } => return PASS,
        Socket::Redirected { ready: false } if packet.protocol == UDP => return LOSE,
        Socket::Redirected { ready: false } => return DROP,
        Socket::Astray => false,
        Socket::Connected { port } => {
            passes(&packet.destination, &packet)
                && (port == 0
                    || port == packet.destination.port
                    || passes(&Endpoint { port, ..packet.destination }, &packet))
        }
    };
    if may_leave {
        return PASS;
    }
    report::tell(&report::packet(ctx, packet.destination), Reason::PacketDropped, packet.protocol.into());
    DROP
}

/// A protected destination is never left for; a refused one is not opened, while replies to whoever came from there go.
#[inline(always)]
fn passes(destination: &Endpoint, packet: &Packet) -> bool {
    match verdict(destination) {
        Verdict::Allow => true,
        Verdict::Refuse | Verdict::Unknown => !packet.opens,
        Verdict::Postgres | Verdict::Ssh | Verdict::Kubernetes | Verdict::Dns => false,
    }
}

enum Socket {
    /// Ours: on its way to the listener, which may not be there yet.
    Redirected { ready: bool },
    /// Ours, and the packet goes elsewhere: the client's namespace rewrites destinations, or the socket has options.
    Astray,
    /// Not ours; port 0 where it is not connected.
    Connected { port: u32 },
}

#[inline(always)]
fn socket(ctx: &SkBuffContext, packet: &Packet) -> Socket {
    // SAFETY: a pointer field of the context, checked before it is used.
    let socket = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if socket.is_null() {
        return Socket::Connected { port: 0 };
    }
    // SAFETY: the helper takes a socket that is not null, and returns null for request and time-wait sockets.
    let socket = unsafe { bpf_sk_fullsock(socket) };
    if socket.is_null() {
        return Socket::Connected { port: 0 };
    }
    // SAFETY: not null.
    let state = unsafe { socket_state(socket.cast()) };
    // SAFETY: not null; the field is 16 bits in network order (and was the low half of a word before 5.17).
    let port = u32::from(u16::from_be(unsafe { (*socket).dst_port }));
    if !state.is_null() && packet.protocol == TCP && !is_loopback(&packet.destination) {
        return Socket::Astray;
    }
    // A socket that sends datagrams need not be connected. It goes to our listener only where the hook sent it there.
    let is_ours = port == packet.destination.port || (port == 0 && packet.protocol == UDP);
    if state.is_null() || packet.destination.port != listener_port() || !is_ours || !is_loopback(&packet.destination) {
        return Socket::Connected { port };
    }
    // SAFETY: not null.
    let state = unsafe { &*state };
    let ready = !packet.opens || listener(state.record.netns).is_some();
    Socket::Redirected { ready: ready && (packet.protocol != UDP || publish(packet, state)) }
}

/// Tells the forwarder who sends this: the connect hook does not know the port that the client will send from.
#[inline(always)]
fn publish(packet: &Packet, state: &SocketState) -> bool {
    let key = FlowKey { netns: state.record.netns, client: packet.source, listener: packet.destination };
    ASKER.insert(&key, &state.record, BPF_ANY).is_ok()
}

#[inline(always)]
fn read(ctx: &SkBuffContext) -> Option<Packet> {
    match ctx.load::<u8>(0).ok()? >> 4 {
        4 => read4(ctx),
        6 => read6(ctx),
        _ => None,
    }
}

#[inline(always)]
fn read4(ctx: &SkBuffContext) -> Option<Packet> {
    let header = usize::from(ctx.load::<u8>(0).ok()? & 0x0f) * 4;
    let fragment = u16::from_be(ctx.load::<u16>(6).ok()?) & 0x1fff;
    let protocol = ctx.load::<u8>(9).ok()?;
    let (source, destination) = (ctx.load::<u32>(12).ok()?, ctx.load::<u32>(16).ok()?);
    if is_source_routed(ctx, header)? {
        return None;
    }
    let ends = Ends { source: Endpoint::v4(source, 0), destination: Endpoint::v4(destination, 0) };
    transport(ctx, header, protocol, fragment, ends)
}

/// Whether options hide where the packet ends up, as a routing header does in IPv6.
#[inline(always)]
fn is_source_routed(ctx: &SkBuffContext, header: usize) -> Option<bool> {
    let mut at = HEADER_WITHOUT_OPTIONS;
    for _ in 0..OPTIONS {
        if at >= header {
            return Some(false);
        }
        match ctx.load::<u8>(at).ok()? {
            END_OF_OPTIONS => return Some(false),
            NO_OPERATION => at += 1,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return Some(true),
            _ => at += usize::from(ctx.load::<u8>(at + 1).ok()?).max(1),
        }
    }
    Some(false)
}

#[inline(always)]
fn read6(ctx: &SkBuffContext) -> Option<Packet> {
    let mut next = ctx.load::<u8>(6).ok()?;
    let (source, destination) = (ctx.load::<[u32; 4]>(8).ok()?, ctx.load::<[u32; 4]>(24).ok()?);
    let ends = Ends { source: Endpoint::v6(source, 0), destination: Endpoint::v6(destination, 0) };
    let mut offset = 40;
    let mut fragment = 0;
    for _ in 0..EXTENSION_HEADERS {
        match next {
            HOP_BY_HOP | DESTINATION_OPTIONS => {
                next = ctx.load::<u8>(offset).ok()?;
                offset += (usize::from(ctx.load::<u8>(offset + 1).ok()?) + 1) * 8;
            }
            FRAGMENT => {
                next = ctx.load::<u8>(offset).ok()?;
                fragment = u16::from_be(ctx.load::<u16>(offset + 2).ok()?) >> 3;
                offset += 8;
            }
            // A routing header hides where the packet ends up: not on the list below, hence unreadable.
            _ => break,
        }
    }
    transport(ctx, offset, next, fragment, ends)
}

/// Both addresses of a packet, without ports.
struct Ends {
    source: Endpoint,
    destination: Endpoint,
}

impl Ends {
    #[inline(always)]
    fn packet(self, protocol: u8, opens: bool) -> Packet {
        Packet { source: self.source, destination: self.destination, protocol, opens }
    }

    #[inline(always)]
    fn between(mut self, source: u16, destination: u16) -> Self {
        self.source.port = u16::from_be(source).into();
        self.destination.port = u16::from_be(destination).into();
        self
    }
}

#[inline(always)]
fn transport(ctx: &SkBuffContext, header: usize, protocol: u8, fragment: u16, ends: Ends) -> Option<Packet> {
    match protocol {
        ICMP | ICMP6 => Some(ends.packet(protocol, true)),
        // Later fragments carry no ports; without the first one, which was judged, nobody can use them. One that starts
        // inside the transport header could rewrite it, so it is not let through.
        TCP | UDP if fragment != 0 => (fragment > 2).then(|| ends.packet(protocol, false)),
        TCP => {
            let port = ctx.load::<u16>(header + 2).ok()?;
            let flags = ctx.load::<u8>(header + 13).ok()?;
            let opens = flags & (TCP_SYN | TCP_ACK) == TCP_SYN;
            Some(ends.between(0, port).packet(protocol, opens))
        }
        UDP => {
            let (from, to) = (ctx.load::<u16>(header).ok()?, ctx.load::<u16>(header + 2).ok()?);
            Some(ends.between(from, to).packet(protocol, true))
        }
        _ => None,
    }
}
