//! sock_create, bind4, bind6: which sockets a process of the subtree may have.

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    helpers::generated::bpf_get_netns_cookie,
    programs::{SockAddrContext, SockContext},
};
use gateway_common::{Endpoint, Reason};

use crate::{maps::listener_port, report};

const PROCEED: i32 = 1;
const FAIL: i32 = 0;

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
    if allowed(kind, protocol) {
        return PROCEED;
    }
    // SAFETY: the helper takes the hook's own context.
    let netns = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    report::tell(&report::record(netns, Endpoint::default()), Reason::SocketRefused, kind << 16 | protocol);
    FAIL
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
