//! sock_create, bind4, bind6, setsockopt: which sockets a process of the subtree may have, and with which options.

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    helpers::generated::{bpf_get_netns_cookie, bpf_sk_storage_get},
    programs::{SockAddrContext, SockContext, SockoptContext},
};
use gateway_common::{Endpoint, Reason};

use crate::{
    maps::{FRESH, listener, listener_port},
    report,
};

const PROCEED: i32 = 1;
const FAIL: i32 = 0;

/// As a length: the call is done, and the kernel does nothing more.
const DONE_HERE: i32 = -1;
/// What a hook sees of an option.
const PAGE: i32 = 4_096;

/// Of linux/in.h and linux/in6.h.
const SOL_IP: i32 = 0;
const IP_RECVERR: i32 = 11;
const SOL_IPV6: i32 = 41;
const IPV6_RECVERR: i32 = 25;

const AF_UNIX: u32 = 1;
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;

/// IP, ICMP, TCP, UDP, ICMPv6. The rest goes around the connect hook (SCTP, raw) or would need more than one look at
/// a connection (MPTCP, whose further subflows some kernels make in the root cgroup).
#[inline(always)]
fn allowed(kind: u32, protocol: u32) -> bool {
    match kind {
        SOCK_STREAM => matches!(protocol, 0 | 6),
        SOCK_DGRAM => matches!(protocol, 0 | 1 | 17 | 58),
        _ => false,
    }
}

/// The hook runs for AF_INET and AF_INET6 alone.
#[inline(always)]
pub fn create(ctx: &SockContext) -> i32 {
    // SAFETY: words of the context, read one by one.
    let (kind, protocol) = unsafe {
        (ptr::read_volatile(&raw const (*ctx.sock).type_), ptr::read_volatile(&raw const (*ctx.sock).protocol))
    };
    // SAFETY: the helper takes the hook's own context.
    let netns = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    if allowed(kind, protocol) {
        if listener(netns).is_none() {
            // Each moment counts: the first connect is near.
            report::tell(&report::record(netns, Endpoint::default()), Reason::NewNamespace, 0);
            note_fresh(ctx, kind, netns);
        }
        return PROCEED;
    }
    report::tell(&report::record(netns, Endpoint::default()), Reason::SocketRefused, kind << 16 | protocol);
    FAIL
}

#[inline(always)]
fn note_fresh(ctx: &SockContext, kind: u32, mut netns: u64) {
    if kind == SOCK_DGRAM {
        let (map, value) = (ptr::from_ref(&FRESH).cast_mut().cast(), ptr::from_mut(&mut netns).cast());
        // SAFETY: in this hook the context is the socket, and the value is of the map's type. Where there is no memory for it
        // a question for a name may fail, and is asked again.
        let _ = unsafe { bpf_sk_storage_get(map, ctx.as_ptr().cast(), value, BPF_SK_STORAGE_GET_F_CREATE.into()) };
    }
}

/// Before a namespace has a listener, datagrams to it are lost, and told to user space whole. A resolver that sees the loss
/// gives up at once; it does where it asked for extended errors, as the GNU C library's does. It is let believe so: until
/// there is a listener, nobody there could send it an error that means something else.
#[inline(always)]
pub fn option(ctx: &SockoptContext) -> i32 {
    // SAFETY: words of the context, read one by one.
    let (level, name, length) = unsafe {
        (
            ptr::read_volatile(&raw const (*ctx.sockopt).level),
            ptr::read_volatile(&raw const (*ctx.sockopt).optname),
            ptr::read_volatile(&raw const (*ctx.sockopt).optlen),
        )
    };
    let asks_for_errors = (level == SOL_IP && name == IP_RECVERR) || (level == SOL_IPV6 && name == IPV6_RECVERR);
    let instead = if asks_for_errors && is_fresh(ctx) {
        DONE_HERE
    } else if length > PAGE {
        // Only the first page came here: the kernel takes the caller's own bytes.
        0
    } else {
        return PROCEED;
    };
    // SAFETY: a writable word of the context.
    unsafe { ptr::write_volatile(&raw mut (*ctx.sockopt).optlen, instead) };
    PROCEED
}

#[inline(always)]
fn is_fresh(ctx: &SockoptContext) -> bool {
    // SAFETY: a pointer field of the context, checked before it is used; the storage is of the map's type.
    unsafe {
        let socket = (*ctx.sockopt).__bindgen_anon_1.sk;
        if socket.is_null() {
            return false;
        }
        let map = ptr::from_ref(&FRESH).cast_mut().cast();
        let netns: *const u64 = bpf_sk_storage_get(map, socket.cast(), ptr::null_mut(), 0).cast();
        !netns.is_null() && listener(*netns).is_none()
    }
}

/// Nobody in the subtree takes the port of our listener, also while we are away. An address of another family than the
/// internet's fails anyway; here it fails by our error, by which user space knows a socket of the subtree.
#[inline(always)]
pub fn bind(ctx: &SockAddrContext) -> i32 {
    // SAFETY: a word of the context.
    if unsafe { ptr::read_volatile(&raw const (*ctx.sock_addr).user_family) } == AF_UNIX {
        return FAIL;
    }
    // SAFETY: a word of the context.
    let port = unsafe { ptr::read_volatile(&raw const (*ctx.sock_addr).user_port) };
    let port = u32::from(u16::from_be(port as u16));
    if port == 0 || port != listener_port() {
        return PROCEED;
    }
    // SAFETY: the helper takes the hook's own context.
    let netns = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    report::tell(&report::record(netns, Endpoint { port, ..Endpoint::default() }), Reason::BindRefused, port);
    FAIL
}
