//! LSM hooks, for what no cgroup socket hook sees: other address families, sockets that are passed in, unix sockets.
//!
//! All are attached to the cgroup of the attachment (lsm_cgroup, Linux 6.0). The kernel runs them for tasks of the subtree,
//! or, where the first argument is a socket, for sockets that were made there. 1 goes on, 0 fails the call with EPERM.
//! What cannot be read refuses.
//!
//! A unix socket inside the subtree is nobody's way out. One outside is refused unless its name is listed: which programs
//! start others, hold SSH connections or speak to databases cannot be told from a name that their owner chose, while the
//! few that ordinary programs need have fixed ones. The cgroup that counts is the listening socket's own; the name is the
//! one it was bound to. Who has no name cannot be connected to, only be a pair that somebody made and handed over.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    btf_maps::lpm_trie::Key,
    helpers::generated::{bpf_probe_read_kernel, bpf_sock_from_file},
    programs::LsmContext,
};
use gateway_common::{Endpoint, KernelLayout, Reason, SocketName};

use crate::{maps::UNIX, report};

const PROCEED: i32 = 1;
const FAIL: i32 = 0;

const AF_UNSPEC: u64 = 0;
const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const AF_NETLINK: u64 = 16;

/// Levels between a socket's cgroup and the attachment's that are climbed; who is deeper is taken to be outside.
const DEPTH: u32 = 64;
/// Of `struct sockaddr_un`: the family stands before the path.
const FAMILY_BYTES: u64 = 2;
/// `sun_path` of linux/un.h.
const PATH_BYTES: u64 = 108;

/// Set by the loader.
#[unsafe(no_mangle)]
static LAYOUT: KernelLayout = KernelLayout {
    socket_sk: 0,
    sk_family: 0,
    sk_cgroup: 0,
    cgroup_node: 0,
    node_id: 0,
    cgroup_self: 0,
    cgroup_parent: 0,
    unix_address: 0,
    address_length: 0,
    address_name: 0,
};

/// An address in the kernel.
type Address = u64;

/// Families: unix, IPv4, IPv6 and netlink. The rest reaches networks and other machines past the connect hooks.
#[inline(always)]
pub fn socket_create(ctx: &LsmContext) -> i32 {
    let (family, kernel): (u64, u64) = (number(ctx, 0), number(ctx, 3));
    // Those that the kernel makes for itself are in nobody's hands.
    if kernel != 0 || matches!(family, AF_UNIX | AF_INET | AF_INET6 | AF_NETLINK) {
        return PROCEED;
    }
    // Nobody's family: asked for by the gateway alone, to see whether this hook runs.
    if family != AF_UNSPEC {
        report::tell(&report::record(0, Endpoint::default()), Reason::FamilyRefused, family as u32);
    }
    FAIL
}

/// What comes by SCM_RIGHTS, pidfd_getfd(2) and the like. The hooks of a socket are those of the cgroup that it was made
/// in: one from outside would meet none of ours.
#[inline(always)]
pub fn file_receive(ctx: &LsmContext) -> i32 {
    let file: *const c_void = ctx.arg(0);
    // SAFETY: the helper takes a file that the kernel holds; null where it is no socket.
    let socket = unsafe { bpf_sock_from_file(file.cast_mut().cast()) };
    if socket.is_null() {
        return PROCEED;
    }
    let layout = layout();
    let family = read::<u64>(socket as Address, layout.socket_sk)
        .and_then(|sk| read::<u16>(sk, layout.sk_family).map(|family| (sk, u64::from(family))));
    let detail = match family {
        Some((_, AF_UNIX | AF_NETLINK)) => return PROCEED,
        Some((sk, _)) if is_inside(&layout, sk) => return PROCEED,
        Some((_, family)) => family as u32,
        None => 0,
    };
    report::tell(&report::record(0, Endpoint::default()), Reason::ReceiveRefused, detail);
    FAIL
}

/// connect(2) of streams and sequenced packets: our socket, the listening one, the new one.
#[inline(always)]
pub fn unix_stream_connect(ctx: &LsmContext) -> i32 {
    let other: *const c_void = ctx.arg(1);
    unix(&layout(), other as Address)
}

/// connect(2) and every datagram: our socket, the other one, each as `struct socket`.
#[inline(always)]
pub fn unix_may_send(ctx: &LsmContext) -> i32 {
    let other: *const c_void = ctx.arg(1);
    let layout = layout();
    match read(other as Address, layout.socket_sk) {
        Some(sk) => unix(&layout, sk),
        None => FAIL,
    }
}

#[inline(always)]
fn unix(layout: &KernelLayout, other: Address) -> i32 {
    if is_inside(layout, other) {
        return PROCEED;
    }
    let mut key = Key::new(8 * size_of::<SocketName>() as u32, [0; size_of::<SocketName>()]);
    match read::<u64>(other, layout.unix_address) {
        Some(0) => return PROCEED,
        Some(address) if name(layout, address, &raw mut key.data) && UNIX.get(&key).is_some() => return PROCEED,
        _ => {}
    }
    report::tell_name(report::record(0, Endpoint::default()), Reason::UnixRefused, &key.data);
    FAIL
}

/// Reads a bound name; false where it has none or cannot be read.
#[inline(always)]
fn name(layout: &KernelLayout, address: Address, to: *mut SocketName) -> bool {
    let Some(length) = read::<u32>(address, layout.address_length) else { return false };
    let length = u64::from(length).wrapping_sub(FAMILY_BYTES);
    if length == 0 || length > PATH_BYTES {
        return false;
    }
    let from = address.wrapping_add(u64::from(layout.address_name)).wrapping_add(FAMILY_BYTES);
    // SAFETY: `to` has room for the longest path; the helper checks what it reads.
    unsafe { bpf_probe_read_kernel(to.cast(), length as u32, from as *const c_void) == 0 }
}

/// Whether a socket was made in the attachment's subtree.
#[inline(always)]
fn is_inside(layout: &KernelLayout, sk: Address) -> bool {
    let wanted = crate::maps::cgroup();
    let mut cgroup = read::<u64>(sk, layout.sk_cgroup).unwrap_or(0);
    for _ in 0..DEPTH {
        if cgroup == 0 {
            return false;
        }
        let id = read::<u64>(cgroup, layout.cgroup_node).and_then(|node| read::<u64>(node, layout.node_id));
        if id == Some(wanted) {
            return true;
        }
        cgroup = match read::<u64>(cgroup, layout.cgroup_parent) {
            Some(parent) if parent != 0 => parent.wrapping_sub(layout.cgroup_self.into()),
            _ => 0,
        };
    }
    false
}

/// A number among the hook's arguments: an int, in a word of its own.
#[inline(always)]
fn number(ctx: &LsmContext, index: usize) -> u64 {
    let argument: i32 = ctx.arg(index);
    argument as u32 as u64
}

#[inline(always)]
fn layout() -> KernelLayout {
    // SAFETY: a global that the loader sets before it loads the program.
    unsafe { ptr::read_volatile(&raw const LAYOUT) }
}

/// Reads kernel memory; `None` where there is none.
#[inline(always)]
fn read<T: Default>(base: Address, offset: u32) -> Option<T> {
    let mut value = T::default();
    let from = base.wrapping_add(u64::from(offset));
    // SAFETY: the helper writes as many bytes as the value has, and checks what it reads.
    let result = unsafe {
        bpf_probe_read_kernel(ptr::from_mut(&mut value).cast(), size_of::<T>() as u32, from as *const c_void)
    };
    (result == 0).then_some(value)
}
