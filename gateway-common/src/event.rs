//! What the ring buffer carries, and the reasons that are counted.

use crate::ConnectRecord;

/// Why the kernel side acted. The number indexes the counters.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A connect to a destination that is not protected passed.
    Passed = 0,
    /// A connect was redirected.
    Redirected = 1,
    /// The engine has not been heard of for longer than `HEARTBEAT_LIMIT_NANOS`.
    HeartbeatStale = 2,
    /// The network namespace was not seen before; its listener is awaited.
    NewNamespace = 3,
    /// The network namespace has no listener for the address family.
    NoListener = 4,
    /// A connect to our own listener.
    OwnListener = 5,
    /// The destination is refused by a declared target, a list or the default.
    DestinationRefused = 6,
    /// A protected port by another protocol than TCP.
    NotTcp = 7,
    /// A protected port of a link-local or multicast address.
    LinkLocal = 8,
    /// A socket of a kind that is not on the allow-list.
    SocketRefused = 9,
    /// A bind to the port of our listener.
    BindRefused = 10,
    /// A packet to a protected destination that was not redirected.
    PacketDropped = 11,
    /// A packet that could not be read: short, fragmented oddly, of an unknown next header.
    PacketUnreadable = 12,
    /// A map was full or failed.
    MapFailed = 13,
    /// The ring buffer was full: an event of this list was not told, but counted.
    EventLost = 14,
    /// A socket of an address family that is not on the allow-list.
    FamilyRefused = 15,
    /// A socket of another cgroup that was passed in.
    ReceiveRefused = 16,
    /// A unix socket outside that is not on the allow-list.
    UnixRefused = 17,
}

impl Reason {
    /// How many there are: the size of the counters.
    pub const COUNT: u32 = 18;

    /// All of them, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT as usize] = [
        Self::Passed,
        Self::Redirected,
        Self::HeartbeatStale,
        Self::NewNamespace,
        Self::NoListener,
        Self::OwnListener,
        Self::DestinationRefused,
        Self::NotTcp,
        Self::LinkLocal,
        Self::SocketRefused,
        Self::BindRefused,
        Self::PacketDropped,
        Self::PacketUnreadable,
        Self::MapFailed,
        Self::EventLost,
        Self::FamilyRefused,
        Self::ReceiveRefused,
        Self::UnixRefused,
    ];

    /// The name in events, `status` and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Redirected => "redirected",
            Self::HeartbeatStale => "heartbeat_stale",
            Self::NewNamespace => "new_namespace",
            Self::NoListener => "no_listener",
            Self::OwnListener => "own_listener",
            Self::DestinationRefused => "destination_refused",
            Self::NotTcp => "not_tcp",
            Self::LinkLocal => "link_local",
            Self::SocketRefused => "socket_refused",
            Self::BindRefused => "bind_refused",
            Self::PacketDropped => "packet_dropped",
            Self::PacketUnreadable => "packet_unreadable",
            Self::MapFailed => "map_failed",
            Self::EventLost => "event_lost",
            Self::FamilyRefused => "family_refused",
            Self::ReceiveRefused => "receive_refused",
            Self::UnixRefused => "unix_refused",
        }
    }
}

/// One entry of the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelEvent {
    /// Who and where to, as far as the hook knows it.
    pub record: ConnectRecord,
    /// A `Reason` as its number.
    pub reason: u32,
    /// What the reason is about: an IP protocol, a socket type, a port, an address family.
    pub detail: u32,
}

const _: () = assert!(size_of::<KernelEvent>() == 80);

/// The name of a unix socket as its owner bound it, zeroes after it: a path, or a zero and an abstract name. Longer than
/// any (`sun_path` has 108 bytes), so that a path always ends with a zero.
pub type SocketName = [u8; 112];

/// An entry with a name behind it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedEvent {
    /// As of any other.
    pub event: KernelEvent,
    /// What was refused.
    pub name: SocketName,
}

const _: () = assert!(size_of::<NamedEvent>() == 192);

#[cfg(feature = "user")]
impl NamedEvent {
    /// The name that follows an entry; `None` where there is none.
    #[must_use]
    pub fn name_in(entry: &[u8]) -> Option<SocketName> {
        entry.get(size_of::<KernelEvent>()..)?.try_into().ok()
    }
}

#[cfg(feature = "user")]
impl KernelEvent {
    /// Reads an entry as the eBPF side of the same build wrote it; `None` where it is short.
    #[must_use]
    pub fn read(entry: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(entry.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_ne_bytes(entry.get(at..at + 8)?.try_into().ok()?));
        let original = crate::Endpoint { address: [word(24)?, word(28)?, word(32)?, word(36)?], port: word(40)? };
        let record = ConnectRecord {
            cgroup: long(0)?,
            netns: long(8)?,
            time: long(16)?,
            original,
            pid: word(44)?,
            uid: word(48)?,
            protocol: word(52)?,
            comm: entry.get(56..72)?.try_into().ok()?,
        };
        Some(Self { record, reason: word(72)?, detail: word(76)? })
    }
}

#[cfg(all(test, feature = "user"))]
mod tests {
    use super::{KernelEvent, Reason};
    use crate::{ConnectRecord, Endpoint};

    #[test]
    fn reads_the_layout_that_the_kernel_side_writes() {
        use std::mem::offset_of;
        assert_eq!(offset_of!(ConnectRecord, original), 24);
        assert_eq!(offset_of!(ConnectRecord, pid), 44);
        assert_eq!(offset_of!(ConnectRecord, comm), 56);
        assert_eq!((offset_of!(KernelEvent, reason), offset_of!(KernelEvent, detail)), (72, 76));
        let entry: Vec<u8> = (0..80).collect();
        let event = KernelEvent::read(&entry).unwrap();
        assert_eq!(event.record.cgroup.to_ne_bytes(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(
            event.record.original,
            Endpoint {
                address: [24_u8, 28, 32, 36].map(|n| u32::from_ne_bytes([n, n + 1, n + 2, n + 3])),
                port: u32::from_ne_bytes([40, 41, 42, 43]),
            }
        );
        assert_eq!(event.detail.to_ne_bytes(), [76, 77, 78, 79]);
        assert!(KernelEvent::read(&entry[..79]).is_none());
    }

    #[test]
    fn reasons_stand_at_their_numbers() {
        for (number, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, number);
        }
    }
}
