//! sock_create on the gateway's own cgroup, for kernels whose sockets do not tell the cookie of their network namespace
//! (SO_NETNS_COOKIE, Linux 5.14): noted with each socket, user space reads it there.

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    helpers::generated::{bpf_get_netns_cookie, bpf_sk_storage_get},
    programs::SockContext,
};

use crate::maps::NAMESPACE;

const PROCEED: i32 = 1;

#[inline(always)]
pub fn note(ctx: &SockContext) -> i32 {
    // SAFETY: the helper takes the hook's own context.
    let mut cookie = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    let map = ptr::from_ref(&NAMESPACE).cast_mut().cast();
    let value = ptr::from_mut(&mut cookie).cast();
    // SAFETY: in this hook the context is the socket, which the helper wants, and the value is of the map's type. Where
    // there is no memory for it user space finds nothing, and listens nowhere.
    let _ = unsafe { bpf_sk_storage_get(map, ctx.as_ptr().cast(), value, BPF_SK_STORAGE_GET_F_CREATE.into()) };
    PROCEED
}
