//! Counting and telling. Nothing that decides may depend on either.

use core::ptr;

use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    generated::{bpf_ktime_get_ns, bpf_ringbuf_query, bpf_skb_cgroup_id},
};
use aya_ebpf::programs::{SkBuffContext, TcContext};
use gateway_common::{ConnectRecord, EVENT_BYTES, Endpoint, KernelEvent, NamedEvent, Reason, SocketName};

use crate::maps::{COUNT, EVENT};

/// Adds one to a counter.
#[inline(always)]
pub fn count(reason: Reason) {
    if let Some(counter) = COUNT.get_ptr_mut(reason as u32) {
        // SAFETY: a per-CPU slot, and programs of one kind do not nest on a CPU; a lost count would be harmless.
        unsafe { *counter += 1 };
    }
}

/// `BPF_RB_*` of linux/bpf.h: who reads is not woken, or is in any case; 0 wakes who has read all before.
const NO_WAKEUP: u64 = 1;
pub const WAKE: u64 = 2;
/// How much is there to be read.
const UNREAD: u64 = 0;

#[inline(always)]
fn unread() -> u64 {
    // SAFETY: the map's address is that of its static.
    unsafe { bpf_ringbuf_query(ptr::from_ref(&EVENT).cast_mut().cast(), UNREAD) }
}

/// When the reader of the ring hears of it. It looks by itself five times a second.
#[inline(always)]
fn wakes(reason: Reason) -> u64 {
    match reason {
        // Somebody waits.
        Reason::NewNamespace => WAKE,
        // To wake a thread takes longer than the connect that it is told of.
        Reason::Passed if unread() < EVENT_BYTES as u64 / 4 => NO_WAKEUP,
        Reason::Passed => WAKE,
        _ => 0,
    }
}

/// Counts, and tells user space; if the ring is full, that is counted too.
#[inline(always)]
pub fn tell(record: &ConnectRecord, reason: Reason, detail: u32) {
    count(reason);
    let event = KernelEvent { record: *record, reason: reason as u32, detail };
    if EVENT.output(&event, wakes(reason)).is_err() {
        count(Reason::EventLost);
    }
}

/// The same with a name behind it.
#[inline(always)]
pub fn tell_name(record: ConnectRecord, reason: Reason, name: &SocketName) {
    count(reason);
    let event = KernelEvent { record, reason: reason as u32, detail: 0 };
    if EVENT.output_untyped::<NamedEvent>(NamedEvent { event, name: *name }, 0).is_err() {
        count(Reason::EventLost);
    }
}

/// A record of a packet: the cgroup of its socket. It names no task: packets also leave on behalf of timers and other
/// tasks, and egress programs are given no helper that tells the task before Linux 6.2.
#[inline(always)]
pub fn packet(ctx: &SkBuffContext, destination: Endpoint) -> ConnectRecord {
    // SAFETY: a helper without arguments, and one that takes the hook's own context.
    let (time, cgroup) = unsafe { (bpf_ktime_get_ns(), bpf_skb_cgroup_id(ctx.skb.skb)) };
    ConnectRecord { cgroup, time, original: destination, ..ConnectRecord::default() }
}

/// A record of a packet on a link: the cgroup of its socket, where it has one, else that of the attachment.
#[inline(always)]
pub fn link(ctx: &TcContext, destination: Endpoint) -> ConnectRecord {
    // SAFETY: as in `packet`.
    let (time, cgroup) = unsafe { (bpf_ktime_get_ns(), bpf_skb_cgroup_id(ctx.skb.skb)) };
    let cgroup = if cgroup == 0 { crate::maps::cgroup() } else { cgroup };
    ConnectRecord { cgroup, time, original: destination, ..ConnectRecord::default() }
}

/// A record of the calling task and a destination.
#[inline(always)]
pub fn record(netns: u64, original: Endpoint) -> ConnectRecord {
    // SAFETY: helpers without arguments.
    let (cgroup, time) = unsafe { (bpf_get_current_cgroup_id(), bpf_ktime_get_ns()) };
    ConnectRecord {
        cgroup,
        netns,
        time,
        original,
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        uid: bpf_get_current_uid_gid() as u32,
        protocol: 0,
        comm: bpf_get_current_comm().unwrap_or_default(),
    }
}
