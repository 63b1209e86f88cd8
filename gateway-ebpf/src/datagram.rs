//! sendmsg4, sendmsg6: a datagram that names its own destination is judged like a connect to it. Connected sockets do
//! not come here: their connect was judged, and the egress hook looks at each packet.

use aya_ebpf::programs::SockAddrContext;

use crate::connect::{Call, decide4, decide6};

#[inline(always)]
pub fn send4(ctx: &SockAddrContext) -> i32 {
    decide4(ctx, Call::Send)
}

#[inline(always)]
pub fn send6(ctx: &SockAddrContext) -> i32 {
    decide6(ctx, Call::Send)
}
