//! The second backstop: what leaves a network namespace of the subtree by a link to this host, looked at where it arrives
//! (tc, on the host's end).
//!
//! The egress hook sees packets of sockets. Who is root of a namespace has others: forwarded ones, those that come out of a
//! device of its own or of a packet socket, and those that are rewritten behind the hook. No legitimate one goes to a
//! protected destination, since every connect was redirected within its namespace.

use core::ptr;

use aya_ebpf::{
    bindings::bpf_sock,
    helpers::generated::{bpf_sk_fullsock, bpf_skb_ancestor_cgroup_id},
    programs::TcContext,
};
use gateway_common::{Endpoint, Reason};

use crate::{
    maps::cgroup,
    packet::{Packet, UDP, passes, read},
    report,
};

/// The next program on the link, if there is one, goes on (`TC_ACT_UNSPEC` of linux/pkt_cls.h).
const NEXT: i32 = -1;
/// `TC_ACT_SHOT`.
const DROP: i32 = 2;

/// Of linux/if_ether.h. Whatever else there is below IP (a VLAN in a VLAN, PPPoE) could carry anything.
const IP: u32 = 0x0800;
const IP6: u32 = 0x86dd;
const ARP: u32 = 0x0806;
const ETHERNET_HEADER: usize = 14;

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
/// Levels of cgroups that are climbed; who is deeper is taken to be inside.
const DEPTH: i32 = 64;

/// Whose the root of the namespace is that a link leads to.
#[derive(Clone, Copy)]
pub enum Root {
    /// What others' sockets send from there is theirs.
    OfHost,
    /// It rewrites whatever passes, of others too.
    OfWorkload,
}

#[inline(always)]
pub fn packet(ctx: &TcContext, root: Root) -> i32 {
    // SAFETY: a word of the context.
    let kind = u32::from(u16::from_be(unsafe { (*ctx.skb.skb).protocol } as u16));
    let read = match kind {
        ARP => return NEXT,
        IP | IP6 => read(&ctx.skb, ETHERNET_HEADER),
        _ => None,
    };
    let Some(packet) = read else {
        report::tell(&report::link(ctx, Endpoint::default()), Reason::PacketUnreadable, 0);
        return DROP;
    };
    if passes(&packet.destination, &packet) || matches!(root, Root::OfHost) && is_anothers(ctx, &packet) {
        return NEXT;
    }
    report::tell(&report::link(ctx, packet.destination), Reason::LinkDropped, packet.protocol.into());
    DROP
}

/// Whether the packet is what a socket outside of the subtree sent, and as it sent it: the gateway dials from here too, and a
/// namespace may be shared with somebody who is not attached.
#[inline(always)]
fn is_anothers(ctx: &TcContext, packet: &Packet) -> bool {
    // SAFETY: a pointer field of the context, checked before it is used.
    let socket = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if socket.is_null() {
        return false;
    }
    // SAFETY: the helper takes a socket that is not null, and returns null for request and time-wait sockets.
    let socket = unsafe { bpf_sk_fullsock(socket) };
    !socket.is_null() && sent(socket, packet) && !is_inside(ctx)
}

/// Whether this is where a socket sends, and how. Those of the kernel that answer pings and resets are connected to nobody.
#[inline(always)]
fn sent(socket: *mut bpf_sock, packet: &Packet) -> bool {
    // SAFETY: fields of a socket that is not null, read as wide as the verifier takes them.
    let (family, protocol, port, v4) = unsafe {
        (
            ptr::read_volatile(&raw const (*socket).family),
            ptr::read_volatile(&raw const (*socket).protocol),
            ptr::read_volatile(&raw const (*socket).dst_port),
            ptr::read_volatile(&raw const (*socket).dst_ip4),
        )
    };
    let v6 = |index: usize| {
        // SAFETY: as above, word by word.
        unsafe { ptr::read_volatile((&raw const (*socket).dst_ip6).cast::<u32>().add(index)) }
    };
    let address = if packet.destination.is_v4() { Endpoint::v4(v4, 0).address } else { [v6(0), v6(1), v6(2), v6(3)] };
    (family == AF_INET || family == AF_INET6)
        && protocol == u32::from(packet.protocol)
        // One that is not connected sends each datagram elsewhere.
        && (packet.protocol == UDP
            || (u32::from(u16::from_be(port)) == packet.destination.port && address == packet.destination.address))
}

#[inline(always)]
fn is_inside(ctx: &TcContext) -> bool {
    let wanted = cgroup();
    for level in 0..DEPTH {
        // SAFETY: the helper takes the program's own context; 0 where the socket's cgroup is not that deep.
        match unsafe { bpf_skb_ancestor_cgroup_id(ctx.skb.skb, level) } {
            0 => return false,
            id if id == wanted => return true,
            _ => {}
        }
    }
    true
}
