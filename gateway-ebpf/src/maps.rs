//! The maps of one attachment, and the question that every hook asks them: what of this destination?
//!
//! User space fills all but `SOCKET`, `TOLD`, `FRESH`, `FLOW`, `ASKER`, `NAMESPACE`, `EVENT` and `COUNT`, and pins every one but `NAMESPACE`.

use core::ptr;

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, SkStorage, lpm_trie::Key},
    helpers::generated::{bpf_ktime_get_ns, bpf_sk_storage_get},
    macros::btf_map,
};
use gateway_common::{
    ASKER_ENTRIES, ConnectRecord, EVENT_BYTES, Endpoint, FLOW_ENTRIES, FlowKey, KernelEvent, LISTENER_ENTRIES,
    ListenerState, NAMED_ENTRIES, NETWORK_ENTRIES, NETWORK_PORT_ENTRIES, Named, NetworkPort, PORT_ENTRIES, Reason,
    Settings, SocketName, SocketState, UNIX_ENTRIES, Verdict,
};

/// One entry: the settings of the attachment.
#[btf_map]
pub static SETTINGS: Array<Settings, 1> = Array::new();

/// One entry: when the engine was last heard of, `CLOCK_MONOTONIC` in nanoseconds.
#[btf_map]
pub static HEARTBEAT: Array<u64, 1> = Array::new();

/// Network namespace cookie → what we listen on there.
#[btf_map]
pub static LISTENER: HashMap<u64, ListenerState, LISTENER_ENTRIES> = HashMap::new();

/// Port → `Verdict`, for every address.
#[btf_map]
pub static PORT: HashMap<u32, u32, PORT_ENTRIES> = HashMap::new();

/// Address prefix → number of a network.
#[btf_map]
pub static NETWORK: LpmTrie<[u32; 4], u32, NETWORK_ENTRIES> = LpmTrie::new();

/// Network and port → `Verdict`. Not allocated before it is used: that would be four MiB for each attachment.
#[btf_map]
pub static NETWORK_PORT: HashMap<NetworkPort, u32, NETWORK_PORT_ENTRIES, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Start of a name → 1: unix sockets outside that may be connected to.
#[btf_map]
pub static UNIX: LpmTrie<SocketName, u32, UNIX_ENTRIES> = LpmTrie::new();

/// What stays with a redirected socket.
#[btf_map]
pub static SOCKET: SkStorage<SocketState> = SkStorage::new();

/// An address and port that a name resolved to → what the name says, for a while. Port 0 stands for all.
#[btf_map]
pub static NAMED: HashMap<Endpoint, Named, NAMED_ENTRIES, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// Both ends of a datagram to our forwarder → who sent it. It may be an LRU: without a record there is no answer.
#[btf_map]
pub static ASKER: LruHashMap<FlowKey, ConnectRecord, ASKER_ENTRIES> = LruHashMap::new();

/// Where the last datagram went that a socket was told of.
#[btf_map]
pub static TOLD: SkStorage<Endpoint> = SkStorage::new();

/// A socket for datagrams that was made before its namespace had a listener → the namespace's cookie.
#[btf_map]
pub static FRESH: SkStorage<u64> = SkStorage::new();

/// Both ends of a redirected connection → who connected and where to. Never an LRU: an eviction would lose a record.
#[btf_map]
pub static FLOW: HashMap<FlowKey, ConnectRecord, FLOW_ENTRIES, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// The network namespace cookie of the gateway's own sockets, on old kernels.
#[btf_map]
pub static NAMESPACE: SkStorage<u64> = SkStorage::new();

/// What user space is told.
#[btf_map]
pub static EVENT: RingBuf<KernelEvent, EVENT_BYTES> = RingBuf::new();

/// A counter for each `Reason`.
#[btf_map]
pub static COUNT: PerCpuArray<u64, { Reason::COUNT as usize }> = PerCpuArray::new();

/// The cgroup of the attachment. No cgroup has the id 0.
#[inline(always)]
pub fn cgroup() -> u64 {
    SETTINGS.get(0).map_or(0, |settings| settings.cgroup)
}

/// What is said of a destination. What protects it by name comes first, and what allows it by name lifts the default
/// alone, so that no answer for a name opens what the tables close.
#[inline(always)]
pub fn verdict(destination: &Endpoint) -> Verdict {
    let named = named(destination);
    if !matches!(named, Verdict::Unknown | Verdict::Allow) {
        return named;
    }
    if leads_elsewhere(destination) {
        return Verdict::Refuse;
    }
    match table_verdict(destination) {
        Verdict::Unknown if matches!(named, Verdict::Allow) => named,
        Verdict::Unknown => {
            SETTINGS.get(0).map_or(Verdict::Refuse, |settings| Verdict::from_value(settings.egress_default))
        }
        said => said,
    }
}

/// Whether an IPv6 address leads to an IPv4 one of which something else is said than that it is allowed, and is not declared
/// itself, so that nobody would know what is dialled.
#[inline(always)]
fn leads_elsewhere(destination: &Endpoint) -> bool {
    let Some(carried) = destination.carried_v4() else { return false };
    let declared = NETWORK.get(&Key::new(128, destination.address)).copied();
    if declared.is_some_and(|network| network_port(network, destination.port).redirects()) {
        return false;
    }
    let open = |verdict: Verdict| matches!(verdict, Verdict::Unknown | Verdict::Allow);
    let Some(network) = NETWORK.get(&Key::new(128, carried.address)).copied() else { return !open(named(&carried)) };
    let exact = network_port(network, carried.port);
    let said = if matches!(exact, Verdict::Unknown) { network_port(network, 0) } else { exact };
    !open(said) || !open(named(&carried))
}

/// What a name says that resolved to this destination.
#[inline(always)]
fn named(destination: &Endpoint) -> Verdict {
    // SAFETY: the entry is two words that user space replaces whole.
    let entry =
        unsafe { NAMED.get(destination) }.or_else(|| unsafe { NAMED.get(Endpoint { port: 0, ..*destination }) });
    match entry {
        // SAFETY: a helper without arguments.
        Some(named) if unsafe { bpf_ktime_get_ns() } < named.until => Verdict::from_value(named.verdict),
        _ => Verdict::Unknown,
    }
}

/// What the tables say. Exact entries first, then the protected ports, so that an allowed network does not open a
/// protected port; at last the network as a whole.
#[inline(always)]
fn table_verdict(destination: &Endpoint) -> Verdict {
    let network = NETWORK.get(&Key::new(128, destination.address)).copied();
    if let Some(network) = network {
        let exact = network_port(network, destination.port);
        if !matches!(exact, Verdict::Unknown) {
            return exact;
        }
    }
    // SAFETY: the entry is a u32, read once; user space replaces entries whole.
    if let Some(value) = unsafe { PORT.get(destination.port) } {
        return Verdict::from_value(*value);
    }
    network.map_or(Verdict::Unknown, |network| network_port(network, 0))
}

#[inline(always)]
fn network_port(network: u32, port: u32) -> Verdict {
    // SAFETY: as in `verdict`.
    unsafe { NETWORK_PORT.get(NetworkPort { network, port }) }
        .map_or(Verdict::Unknown, |value| Verdict::from_value(*value))
}

/// The port of our listeners; 0 before there are settings.
#[inline(always)]
pub fn listener_port() -> u32 {
    SETTINGS.get(0).map_or(0, |settings| settings.listener_port)
}

/// What we listen on in a network namespace.
#[inline(always)]
pub fn listener(netns: u64) -> Option<ListenerState> {
    // SAFETY: two words that user space replaces whole and never removes while the namespace lives.
    unsafe { LISTENER.get(netns) }.copied()
}

/// The state of a redirected socket; null for any other. The typed map takes only connect contexts, hence the helper.
///
/// # Safety
/// `socket` is a socket pointer that the verifier knows, and not null.
#[inline(always)]
pub unsafe fn socket_state(socket: *mut core::ffi::c_void) -> *mut SocketState {
    // SAFETY: the helper takes the map's address, which is that of its static.
    unsafe { bpf_sk_storage_get(ptr::from_ref(&SOCKET).cast_mut().cast(), socket, ptr::null_mut(), 0) }.cast()
}
