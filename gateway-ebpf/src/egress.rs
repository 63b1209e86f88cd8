//! The backstop: what was not redirected does not leave.
//!
//! Every legitimate connection to a protected destination was rewritten in the connect hook. Hence a packet from the
//! subtree to one, or from a socket that is connected to one, is a way around: dropped and counted. It looks at the
//! packet and at the socket, since an IPv6 routing header hides the former and a raw socket the latter, and it keeps
//! no state.

use core::ptr;

use aya_ebpf::{
    helpers::generated::{
        bpf_ringbuf_discard, bpf_ringbuf_reserve, bpf_ringbuf_submit, bpf_sk_fullsock, bpf_skb_load_bytes,
    },
    programs::SkBuffContext,
};
use gateway_common::{Endpoint, FlowKey, HELD_BYTES, HeldEvent, KernelEvent, Reason, SocketState};

use crate::{
    connect::is_loopback,
    maps::{ASKER, EVENT, listener, listener_port, socket_state},
    packet::{Packet, TCP, UDP, passes, read},
    report,
};

const PASS: i32 = 1;
const DROP: i32 = 0;
/// Dropped, and the sender is told that the queue was full: of UDP, that is told to sockets with IP_RECVERR alone, which
/// those in question do not get (`socket::option`).
const LOSE: i32 = 2;
const BPF_ANY: u64 = 0;
/// Of a UDP header (RFC 768).
const UDP_HEADER: usize = 8;

#[inline(always)]
pub fn packet(ctx: &SkBuffContext) -> i32 {
    let Some(packet) = read(&ctx.skb, 0) else {
        report::tell(&report::packet(ctx, Endpoint::default()), Reason::PacketUnreadable, 0);
        return DROP;
    };
    let may_leave = match socket(ctx, &packet) {
        Socket::Redirected => return PASS,
        Socket::Early(state) if packet.protocol == UDP => {
            hold(ctx, &packet, state);
            return LOSE;
        }
        Socket::Early(_) => return DROP,
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

enum Socket<'a> {
    /// Ours: on its way to the listener.
    Redirected,
    /// Ours, before the listener is there.
    Early(&'a SocketState),
    /// Ours, and the packet goes elsewhere: the client's namespace rewrites destinations, or the socket has options.
    Astray,
    /// Not ours; port 0 where it is not connected.
    Connected { port: u32 },
}

#[inline(always)]
fn socket<'a>(ctx: &'a SkBuffContext, packet: &Packet) -> Socket<'a> {
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
    if ready && (packet.protocol != UDP || publish(packet, state)) { Socket::Redirected } else { Socket::Early(state) }
}

/// Tells the forwarder who sends this: the connect hook does not know the port that the client will send from.
#[inline(always)]
fn publish(packet: &Packet, state: &SocketState) -> bool {
    let key = FlowKey { netns: state.record.netns, client: packet.source, listener: packet.destination };
    ASKER.insert(&key, &state.record, BPF_ANY).is_ok()
}

/// Tells user space the whole question, which it answers once it listens: who asks would wait five seconds else.
#[inline(always)]
fn hold(ctx: &SkBuffContext, packet: &Packet, state: &SocketState) {
    let payload = (packet.transport + UDP_HEADER) as u32;
    let length = ctx.len().wrapping_sub(payload);
    if length == 0 || length as usize > HELD_BYTES {
        return;
    }
    // SAFETY: the map's address is that of its static; null where the ring is full.
    let held =
        unsafe { bpf_ringbuf_reserve(ptr::from_ref(&EVENT).cast_mut().cast(), size_of::<HeldEvent>() as u64, 0) };
    if held.is_null() {
        report::count(Reason::EventLost);
        return;
    }
    let held: *mut HeldEvent = held.cast();
    // SAFETY: not null, as large as the entry, and ours alone until it is submitted or discarded.
    unsafe {
        (*held).event = KernelEvent { record: state.record, reason: Reason::QuestionHeld as u32, detail: 0 };
        (*held).client = packet.source;
        (*held).listener = packet.destination;
        (*held).unused = 0;
        // Read back, so that the compiler leaves the verifier both bounds to see.
        ptr::write_volatile(&raw mut (*held).length, length - 1);
        let length = (ptr::read_volatile(&raw const (*held).length) & (HELD_BYTES as u32 - 1)) + 1;
        (*held).length = length;
        let to = (&raw mut (*held).bytes).cast();
        if bpf_skb_load_bytes(ctx.skb.skb.cast(), payload, to, length) != 0 {
            bpf_ringbuf_discard(held.cast(), 0);
        } else {
            report::count(Reason::QuestionHeld);
            bpf_ringbuf_submit(held.cast(), report::WAKE);
        }
    }
}
