//! sock_ops: carries the record of a redirected socket to where the accepted side finds it, and clears it on close.
//!
//! The record is written at TCP_CONNECT_CB, before the SYN leaves: with TCP Fast Open an accept may return before the
//! client's ACTIVE_ESTABLISHED. That callback comes again for the source address, which the kernel may still choose
//! in between (tcp_connect rebuilds the header).
//!
//! Before a namespace has a listener, SYNs are held back and sent again: soon, not after the second that is usual.

use core::ptr;

use aya_ebpf::{
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG,
        BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_TIMEOUT_INIT, BPF_TCP_CLOSE,
    },
    programs::SockOpsContext,
};
use gateway_common::{Endpoint, FlowKey, Reason, SocketState};

use crate::{
    maps::{FLOW, listener, socket_state},
    report,
};

const AF_INET: u32 = 2;
const BPF_ANY: u64 = 0;

/// The result of a sock_ops program is not looked at for these callbacks.
const DONE: u32 = 1;

/// Set by the loader: after how many ticks (jiffies) a SYN is sent again that was held back; each further one waits twice
/// as long.
#[unsafe(no_mangle)]
static SYN_TIMEOUT: u32 = 0;

#[inline(always)]
pub fn callback(ctx: &SockOpsContext) -> u32 {
    let op = ctx.op();
    if op != BPF_SOCK_OPS_TCP_CONNECT_CB
        && op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB
        && op != BPF_SOCK_OPS_STATE_CB
        && op != BPF_SOCK_OPS_TIMEOUT_INIT
    {
        return DONE;
    }
    // SAFETY: a pointer field of the context, checked before it is used.
    let socket = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
    if socket.is_null() {
        return DONE;
    }
    // SAFETY: not null.
    let state = unsafe { socket_state(socket.cast()) };
    if state.is_null() {
        return DONE;
    }
    // SAFETY: not null; the storage of this socket, which the callback holds locked.
    let state = unsafe { &mut *state };
    if op == BPF_SOCK_OPS_TIMEOUT_INIT {
        if listener(state.record.netns).is_none() {
            hasten(ctx);
        }
    } else if op == BPF_SOCK_OPS_STATE_CB {
        if ctx.arg(1) == BPF_TCP_CLOSE {
            clear(state);
        }
    } else {
        publish(ctx, state);
    }
    DONE
}

/// Answers how long the first SYN is waited for. The kernel takes 0 for its own default.
#[inline(always)]
fn hasten(ctx: &SockOpsContext) {
    // SAFETY: a global that the loader sets before it loads the program.
    let ticks = unsafe { ptr::read_volatile(&raw const SYN_TIMEOUT) };
    // SAFETY: a writable word of the context.
    unsafe { ptr::write_volatile(&raw mut (*ctx.ops).__bindgen_anon_1.reply, ticks) };
}

#[inline(always)]
fn publish(ctx: &SockOpsContext, state: &mut SocketState) {
    let key = key(ctx, state.record.netns);
    if key == state.flow {
        return;
    }
    clear(state);
    // Without the state callback the entry would outlive its connection: no callback, no entry, and the listener resets.
    let flags = ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG as u32;
    if ctx.set_cb_flags(flags as i32).is_err() || FLOW.insert(&key, &state.record, BPF_ANY).is_err() {
        report::tell(&state.record, Reason::MapFailed, 0);
        return;
    }
    state.flow = key;
}

#[inline(always)]
fn clear(state: &mut SocketState) {
    if state.flow.netns != 0 {
        // Already gone where the listener took it: nothing to do about an error.
        let _ = FLOW.remove(&state.flow);
        state.flow = FlowKey::default();
    }
}

#[inline(always)]
fn key(ctx: &SockOpsContext, netns: u64) -> FlowKey {
    let ops = ctx.ops;
    // SAFETY: a word of the context, which outlives the call.
    let read = |field: *const u32| unsafe { ptr::read_volatile(field) };
    // Every word is read whatever the family: reads in branches get merged into one with a computed offset, which the
    // verifier refuses on a context.
    // SAFETY: addresses of context fields.
    let (family, local_port, remote_port, local4, remote4, local6, remote6) = unsafe {
        let words = |field: *const [u32; 4]| {
            let first = field.cast::<u32>();
            [read(first), read(first.add(1)), read(first.add(2)), read(first.add(3))]
        };
        (
            read(&raw const (*ops).family),
            read(&raw const (*ops).local_port),
            // In network order, unlike the local one.
            u32::from_be(read(&raw const (*ops).remote_port)),
            read(&raw const (*ops).local_ip4),
            read(&raw const (*ops).remote_ip4),
            words(&raw const (*ops).local_ip6),
            words(&raw const (*ops).remote_ip6),
        )
    };
    let (client, listener) = if family == AF_INET {
        (Endpoint::v4(local4, local_port), Endpoint::v4(remote4, remote_port))
    } else {
        (Endpoint::v6(local6, local_port), Endpoint::v6(remote6, remote_port))
    };
    FlowKey { netns, client, listener }
}
