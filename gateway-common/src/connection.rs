//! What the connect hook notes of a connection, and the key under which the accepted side finds it.

use crate::Endpoint;

/// Who connected, and where to. Written in the connect hook, read once on accept.
///
/// `pid`, `uid` and `comm` are of the calling task and attribution only: any process of the subtree can be another.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectRecord {
    /// The cgroup v2 id (inode number) of the calling task.
    pub cgroup: u64,
    /// The cookie of the socket's network namespace.
    pub netns: u64,
    /// `CLOCK_MONOTONIC` in nanoseconds at connect.
    pub time: u64,
    /// The destination that the client named.
    pub original: Endpoint,
    /// The process (thread group) id in the initial pid namespace.
    pub pid: u32,
    /// The user id in the initial user namespace.
    pub uid: u32,
    /// A `Protocol` number of the verdict that caught the connection.
    pub protocol: u32,
    /// The task's name, NUL-padded.
    pub comm: [u8; 16],
}

const _: () = assert!(size_of::<ConnectRecord>() == 72);

/// A redirected TCP connection as both of its ends see it. Unique while it lives, also across namespaces.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The cookie of the network namespace that both ends are in; 0 in no namespace.
    pub netns: u64,
    /// The client's end.
    pub client: Endpoint,
    /// The listener's end.
    pub listener: Endpoint,
}

const _: () = assert!(size_of::<FlowKey>() == 48);

/// What stays with a redirected socket for its life.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketState {
    /// What the connect hook noted.
    pub record: ConnectRecord,
    /// The key of its entry in FLOW; `netns` 0 before there is one.
    pub flow: FlowKey,
}

const _: () = assert!(size_of::<SocketState>() == 120);
