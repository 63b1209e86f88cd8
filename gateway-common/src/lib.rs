//! What the eBPF programs and user space both see: plain, fixed layouts and the limits of the maps that carry them.
//!
//! In: nothing. Out: types that are copied byte for byte through kernel maps, hence `repr(C)`, integers and arrays
//! only, no padding, each with its size asserted. Nothing here decides anything.
#![cfg_attr(not(feature = "user"), no_std)]

mod connection;
mod endpoint;
mod event;
mod layout;
mod limits;
#[cfg(feature = "user")]
pub mod sys;
mod verdict;

pub use connection::{ConnectRecord, FlowKey, SocketState};
pub use endpoint::Endpoint;
#[cfg(feature = "user")]
pub use event::HeldQuestion;
pub use event::{HELD_BYTES, HeldEvent, KernelEvent, NamedEvent, Reason, SocketName};
pub use layout::KernelLayout;
pub use limits::{
    ASKER_ENTRIES, EVENT_BYTES, FLOW_ENTRIES, HEARTBEAT_LIMIT_NANOS, LISTENER_ENTRIES, NAMED_ENTRIES, NETWORK_ENTRIES,
    NETWORK_PORT_ENTRIES, PORT_ENTRIES, UNIX_ENTRIES,
};
pub use verdict::{DNS_PORT, ListenerState, Named, NetworkPort, PROTECTED_PORTS, Settings, Verdict};

#[cfg(feature = "user")]
mod pod {
    #![expect(unsafe_code, reason = "aya::Pod is an unsafe marker; the layouts are asserted where they are defined")]
    use super::{
        ConnectRecord, Endpoint, FlowKey, KernelEvent, KernelLayout, ListenerState, Named, NetworkPort, Settings,
    };

    // SAFETY: all are repr(C), made of integers and arrays of integers, valid for every bit pattern and without padding.
    unsafe impl aya::Pod for ConnectRecord {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Endpoint {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Named {}
    // SAFETY: as above.
    unsafe impl aya::Pod for FlowKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for KernelEvent {}
    // SAFETY: as above.
    unsafe impl aya::Pod for KernelLayout {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ListenerState {}
    // SAFETY: as above.
    unsafe impl aya::Pod for NetworkPort {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Settings {}
}
