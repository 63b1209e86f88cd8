//! Sizes of the maps and limits in time. One place, since kernel and user space have to agree.

/// Redirected connections of one attachment that may live at once. A plain hash: when it is full, new ones fail.
pub const FLOW_ENTRIES: usize = 65_536;

/// Network namespaces of one attachment that may have a listener at once.
pub const LISTENER_ENTRIES: usize = 4_096;

/// Address prefixes that targets and lists may name.
pub const NETWORK_ENTRIES: usize = 16_384;

/// Ports of those prefixes, all together.
pub const NETWORK_PORT_ENTRIES: usize = 65_536;

/// Ports that are judged for every address.
pub const PORT_ENTRIES: usize = 1_024;

/// Addresses and ports of names that may be reached at once. A plain hash: when it is full, new ones are not answered.
pub const NAMED_ENTRIES: usize = 4_096;

/// Questions for names whose sender is known at once. What is evicted is asked again.
pub const ASKER_ENTRIES: usize = 4_096;

/// Names of unix sockets outside that may be connected to.
pub const UNIX_ENTRIES: usize = 1_024;

/// The ring buffer, in bytes: about 12,000 events.
pub const EVENT_BYTES: usize = 1 << 20;

/// A connect fails when the engine was last heard of longer ago than this, so that nobody hangs on a dead gateway.
pub const HEARTBEAT_LIMIT_NANOS: u64 = 2_000_000_000;
