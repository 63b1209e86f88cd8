//! sendmsg4, sendmsg6: a datagram that names its own destination is judged like a connect to it. Connected sockets do
//! not come here: their connect was judged, and the egress hook looks at each packet. recvmsg4, recvmsg6: an answer of
//! our forwarder comes from the server that was asked, also on connected sockets; resolvers drop others.

use aya_ebpf::programs::SockAddrContext;
use gateway_common::Endpoint;

use crate::{
    connect::{Call, decide4, decide6, endpoint4, endpoint6, is_loopback, original, write4, write6},
    maps::listener_port,
};

/// The verifier takes no other result of a recvmsg hook.
const PROCEED: i32 = 1;

#[inline(always)]
pub fn send4(ctx: &SockAddrContext) -> i32 {
    decide4(ctx, Call::Send)
}

#[inline(always)]
pub fn send6(ctx: &SockAddrContext) -> i32 {
    decide6(ctx, Call::Send)
}

#[inline(always)]
pub fn receive4(ctx: &SockAddrContext) -> i32 {
    if let Some(asked) = asked(ctx, &endpoint4(ctx)) {
        write4(ctx, asked.address[3], asked.port);
    }
    PROCEED
}

#[inline(always)]
pub fn receive6(ctx: &SockAddrContext) -> i32 {
    if let Some(asked) = asked(ctx, &endpoint6(ctx)) {
        write6(ctx, asked.address, asked.port);
    }
    PROCEED
}

/// The server that the client asked, where a datagram comes from our forwarder: the last one, since only that is kept.
#[inline(always)]
fn asked(ctx: &SockAddrContext, source: &Endpoint) -> Option<Endpoint> {
    if source.port == listener_port() && is_loopback(source) { original(ctx) } else { None }
}
