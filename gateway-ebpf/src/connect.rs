//! connect4, connect6: note the original destination and point the socket at our listener. getpeername4, getpeername6:
//! the client goes on seeing the destination that it named.
//!
//! A connect hook's program returns 1 to go on and 0 to fail the call; where the kernel has `bpf_set_retval` for it
//! (5.18) the caller reads ECONNREFUSED, else EPERM.

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_netns_cookie, bpf_ktime_get_ns, bpf_set_retval, bpf_sk_storage_delete},
    programs::SockAddrContext,
};
use gateway_common::{Endpoint, FlowKey, HEARTBEAT_LIMIT_NANOS, Reason, SocketState, Verdict};

use crate::{
    maps::{HEARTBEAT, SOCKET, listener, listener_port, verdict},
    report,
};

const PROCEED: i32 = 1;
const FAIL: i32 = 0;
const IPPROTO_TCP: u32 = 6;
const ECONNREFUSED: i32 = 111;

/// 127.0.0.1 in network order.
const LOOPBACK4: u32 = 0x7f00_0001_u32.to_be();
/// ::1 in network order.
const LOOPBACK6: [u32; 4] = [0, 0, 0, 1_u32.to_be()];

/// Set by the loader where the helper loads; elsewhere the branch is dead code to the verifier.
#[unsafe(no_mangle)]
static HAS_SET_RETVAL: u32 = 0;

/// What becomes of a connect.
enum Outcome {
    Redirect,
    Pass,
    Refuse(Reason),
}

#[inline(always)]
pub fn connect4(ctx: &SockAddrContext) -> i32 {
    let destination = Endpoint::v4(word(ctx, |addr| unsafe { &raw const (*addr).user_ip4 }), port(ctx));
    decide(ctx, destination, |port| {
        // SAFETY: user_ip4 and user_port are writable words of a connect4 context.
        unsafe {
            (*ctx.sock_addr).user_ip4 = LOOPBACK4;
            (*ctx.sock_addr).user_port = wire_port(port);
        }
    })
}

#[inline(always)]
pub fn connect6(ctx: &SockAddrContext) -> i32 {
    let destination = Endpoint::v6(address6(ctx), port(ctx));
    decide(ctx, destination, |port| {
        let loopback = if destination.is_v4() { Endpoint::v4(LOOPBACK4, 0).address } else { LOOPBACK6 };
        write_address6(ctx, loopback);
        // SAFETY: a writable word of a connect6 context.
        unsafe { (*ctx.sock_addr).user_port = wire_port(port) };
    })
}

#[inline(always)]
pub fn getpeername4(ctx: &SockAddrContext) -> i32 {
    if let Some(original) = original(ctx) {
        // SAFETY: user_ip4 and user_port are writable words of a getpeername4 context.
        unsafe {
            (*ctx.sock_addr).user_ip4 = original.address[3];
            (*ctx.sock_addr).user_port = wire_port(original.port);
        }
    }
    PROCEED
}

#[inline(always)]
pub fn getpeername6(ctx: &SockAddrContext) -> i32 {
    if let Some(original) = original(ctx) {
        write_address6(ctx, original.address);
        // SAFETY: a writable word of a getpeername6 context.
        unsafe { (*ctx.sock_addr).user_port = wire_port(original.port) };
    }
    PROCEED
}

#[inline(always)]
fn decide(ctx: &SockAddrContext, destination: Endpoint, redirect: impl Fn(u32)) -> i32 {
    // SAFETY: the helper takes the hook's own context.
    let netns = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    let mut record = report::record(netns, destination);
    let protocol = word(ctx, |addr| unsafe { &raw const (*addr).protocol });
    let own = listener_port();
    // A socket that was redirected, disconnected and is connected anew starts without its old record.
    forget(ctx);
    match judge(&destination, netns, protocol, own) {
        (Outcome::Redirect, verdict) => {
            record.protocol = verdict as u32;
            if remember(ctx, SocketState { record, flow: FlowKey::default() }) {
                report::count(Reason::Redirected);
                if listener(netns).is_none() {
                    report::tell(&record, Reason::NewNamespace, 0);
                }
                redirect(own);
                return PROCEED;
            }
            report::tell(&record, Reason::MapFailed, protocol);
        }
        (Outcome::Pass, _) => {
            report::tell(&record, Reason::Passed, protocol);
            return PROCEED;
        }
        (Outcome::Refuse(reason), _) => report::tell(&record, reason, protocol),
    }
    // SAFETY: a global that the loader sets before it loads the program.
    if unsafe { ptr::read_volatile(&raw const HAS_SET_RETVAL) } != 0 {
        // SAFETY: the helper takes a number.
        unsafe { bpf_set_retval(-ECONNREFUSED) };
    }
    FAIL
}

#[inline(always)]
fn judge(destination: &Endpoint, netns: u64, protocol: u32, own: u32) -> (Outcome, Verdict) {
    if own == 0 || (destination.port == own && is_loopback(destination)) {
        return (Outcome::Refuse(Reason::OwnListener), Verdict::Refuse);
    }
    let verdict = verdict(destination);
    let outcome = if matches!(verdict, Verdict::Allow) {
        Outcome::Pass
    } else if !verdict.redirects() {
        Outcome::Refuse(Reason::DestinationRefused)
    } else if protocol != IPPROTO_TCP {
        Outcome::Refuse(Reason::NotTcp)
    } else if destination.needs_scope() {
        Outcome::Refuse(Reason::LinkLocal)
    } else if !alive() {
        Outcome::Refuse(Reason::HeartbeatStale)
    } else if !listens(netns, destination) {
        Outcome::Refuse(Reason::NoListener)
    } else {
        Outcome::Redirect
    };
    (outcome, verdict)
}

/// Whether a redirect reaches us. In a namespace that nobody has seen it will: the egress hook holds the SYN back
/// until user space listens there, and TCP sends it again.
#[inline(always)]
fn listens(netns: u64, destination: &Endpoint) -> bool {
    match listener(netns) {
        None => true,
        Some(state) if destination.is_v4() => state.v4 != 0,
        Some(state) => state.v6 != 0,
    }
}

/// Whether the engine was heard of in time.
#[inline(always)]
fn alive() -> bool {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    HEARTBEAT.get(0).is_some_and(|beat| now.wrapping_sub(*beat) < HEARTBEAT_LIMIT_NANOS)
}

/// 0.0.0.0/8, 127.0.0.0/8, :: and ::1: what reaches a listener on the loopback device.
#[inline(always)]
pub fn is_loopback(endpoint: &Endpoint) -> bool {
    let [a, b, c, last] = endpoint.address;
    if endpoint.is_v4() {
        let first = u32::from_be(last) >> 24;
        return first == 127 || first == 0;
    }
    a == 0 && b == 0 && c == 0 && (last == 0 || last == LOOPBACK6[3])
}

#[inline(always)]
fn remember(ctx: &SockAddrContext, mut state: SocketState) -> bool {
    // SAFETY: the typed map takes the socket from the hook's own context; `forget` came before, so the value is new.
    !unsafe { SOCKET.get_or_insert_ptr_mut(ctx, Some(&mut state)) }.is_null()
}

#[inline(always)]
fn forget(ctx: &SockAddrContext) {
    // SAFETY: the context's socket is never null in these hooks; the helper does nothing where there is no value.
    unsafe {
        let socket = (*ctx.sock_addr).__bindgen_anon_1.sk;
        bpf_sk_storage_delete(ptr::from_ref(&SOCKET).cast_mut().cast(), socket.cast());
    }
}

#[inline(always)]
fn original(ctx: &SockAddrContext) -> Option<Endpoint> {
    // SAFETY: as in `remember`; the value lives as long as the socket.
    let state = unsafe { SOCKET.get_ptr_mut(ctx) };
    if state.is_null() {
        return None;
    }
    // SAFETY: not null.
    Some(unsafe { (*state).record.original })
}

/// Reads one word of the context. Volatile, since the verifier refuses the wider loads that the compiler would make
/// of neighbouring fields.
#[inline(always)]
fn word(ctx: &SockAddrContext, field: impl Fn(*const aya_ebpf::bindings::bpf_sock_addr) -> *const u32) -> u32 {
    // SAFETY: `field` names a word of the context, which outlives the call.
    unsafe { ptr::read_volatile(field(ctx.sock_addr)) }
}

#[inline(always)]
fn address6(ctx: &SockAddrContext) -> [u32; 4] {
    let at = |index: usize| word(ctx, |addr| unsafe { (&raw const (*addr).user_ip6).cast::<u32>().add(index) });
    [at(0), at(1), at(2), at(3)]
}

#[inline(always)]
fn write_address6(ctx: &SockAddrContext, address: [u32; 4]) {
    // SAFETY: four writable words of the context, written one by one as the verifier wants.
    unsafe {
        let words = (&raw mut (*ctx.sock_addr).user_ip6).cast::<u32>();
        ptr::write_volatile(words, address[0]);
        ptr::write_volatile(words.add(1), address[1]);
        ptr::write_volatile(words.add(2), address[2]);
        ptr::write_volatile(words.add(3), address[3]);
    }
}

/// The destination port in host order: the context has it as a 16-bit network-order number in a word.
#[inline(always)]
fn port(ctx: &SockAddrContext) -> u32 {
    let port = word(ctx, |addr| unsafe { &raw const (*addr).user_port });
    u32::from(u16::from_be(port as u16))
}

#[inline(always)]
fn wire_port(port: u32) -> u32 {
    u32::from((port as u16).to_be())
}
