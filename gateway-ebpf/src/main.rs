//! The kernel side: maps and program entry points, nothing else.
//!
//! In: what processes of an attached cgroup subtree do with sockets. Out: connects pointed at the gateway's listener
//! with a record of who made them, and the refusal of every other way to a protected destination. An error on any path
//! refuses; no negative answer is ever kept.
#![no_std]
#![no_main]

mod connect;
mod datagram;
mod egress;
mod flow;
mod link;
mod lsm;
mod maps;
mod namespace;
mod packet;
mod report;
mod socket;

use aya_ebpf::{
    macros::{cgroup_skb, cgroup_sock, cgroup_sock_addr, cgroup_sockopt, classifier, lsm_cgroup, sock_ops},
    programs::{LsmContext, SkBuffContext, SockAddrContext, SockContext, SockOpsContext, SockoptContext, TcContext},
};
use link::Root;

#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    connect::connect4(&ctx)
}

#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    connect::connect6(&ctx)
}

#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(ctx: SockAddrContext) -> i32 {
    connect::getpeername4(&ctx)
}

#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(ctx: SockAddrContext) -> i32 {
    connect::getpeername6(&ctx)
}

#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    datagram::send4(&ctx)
}

#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    datagram::send6(&ctx)
}

#[cgroup_sock_addr(recvmsg4)]
pub fn recvmsg4(ctx: SockAddrContext) -> i32 {
    datagram::receive4(&ctx)
}

#[cgroup_sock_addr(recvmsg6)]
pub fn recvmsg6(ctx: SockAddrContext) -> i32 {
    datagram::receive6(&ctx)
}

#[cgroup_sock_addr(bind4)]
pub fn bind4(ctx: SockAddrContext) -> i32 {
    socket::bind(&ctx)
}

#[cgroup_sock_addr(bind6)]
pub fn bind6(ctx: SockAddrContext) -> i32 {
    socket::bind(&ctx)
}

#[cgroup_sock(sock_create)]
pub fn sock_create(ctx: SockContext) -> i32 {
    socket::create(&ctx)
}

#[cgroup_sockopt(setsockopt)]
pub fn setsockopt(ctx: SockoptContext) -> i32 {
    socket::option(&ctx)
}

#[cgroup_sock(sock_create)]
pub fn namespace(ctx: SockContext) -> i32 {
    namespace::note(&ctx)
}

#[sock_ops]
pub fn flow(ctx: SockOpsContext) -> u32 {
    flow::callback(&ctx)
}

#[cgroup_skb(egress)]
pub fn egress(ctx: SkBuffContext) -> i32 {
    egress::packet(&ctx)
}

#[classifier]
pub fn link(ctx: TcContext) -> i32 {
    link::packet(&ctx, Root::OfHost)
}

#[classifier]
pub fn own_link(ctx: TcContext) -> i32 {
    link::packet(&ctx, Root::OfWorkload)
}

#[lsm_cgroup(hook = "socket_create")]
pub fn socket_create(ctx: LsmContext) -> i32 {
    lsm::socket_create(&ctx)
}

#[lsm_cgroup(hook = "file_receive")]
pub fn file_receive(ctx: LsmContext) -> i32 {
    lsm::file_receive(&ctx)
}

#[lsm_cgroup(hook = "unix_stream_connect")]
pub fn unix_stream_connect(ctx: LsmContext) -> i32 {
    lsm::unix_stream_connect(&ctx)
}

#[lsm_cgroup(hook = "unix_may_send")]
pub fn unix_may_send(ctx: LsmContext) -> i32 {
    lsm::unix_may_send(&ctx)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
