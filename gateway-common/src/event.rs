//! What the ring buffer carries, and the reasons that are counted.

use crate::{ConnectRecord, Endpoint};

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
    /// A packet to a protected destination that left a namespace of the subtree by a link to this host.
    LinkDropped = 18,
    /// A question for a name from a namespace that was not seen before: it is told whole, since the packet is lost.
    QuestionHeld = 19,
}

impl Reason {
    /// How many there are: the size of the counters.
    pub const COUNT: u32 = 20;

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
        Self::LinkDropped,
        Self::QuestionHeld,
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
            Self::LinkDropped => "link_dropped",
            Self::QuestionHeld => "question_held",
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

/// The longest question that is held: longer than any stub resolver's in a datagram (RFC 1035: 512).
pub const HELD_BYTES: usize = 1_024;

/// An entry with a question for a name behind it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldEvent {
    /// As of any other.
    pub event: KernelEvent,
    /// Who sent it, and to which of our addresses.
    pub client: Endpoint,
    /// Ours.
    pub listener: Endpoint,
    /// How many of the bytes count.
    pub length: u32,
    /// Always 0: no padding.
    pub unused: u32,
    /// The datagram.
    pub bytes: [u8; HELD_BYTES],
}

const _: () = assert!(size_of::<HeldEvent>() == 1_152);

/// A question that was held, as user space reads it.
#[cfg(feature = "user")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldQuestion {
    /// Who asked whom.
    pub record: ConnectRecord,
    /// From where.
    pub client: std::net::SocketAddr,
    /// Where it would have arrived.
    pub listener: std::net::SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

#[cfg(feature = "user")]
impl HeldEvent {
    /// The question in an entry; `None` where there is none.
    #[must_use]
    pub fn question_in(entry: &[u8]) -> Option<HeldQuestion> {
        let record = KernelEvent::read(entry)?.record;
        let rest = entry.get(size_of::<KernelEvent>()..).filter(|_| entry.len() == size_of::<Self>())?;
        let word = |at: usize| Some(u32::from_ne_bytes(rest.get(at..at + 4)?.try_into().ok()?));
        let endpoint = |at: usize| {
            let address = [word(at)?, word(at + 4)?, word(at + 8)?, word(at + 12)?];
            Some(std::net::SocketAddr::from(Endpoint { address, port: word(at + 16)? }))
        };
        let length = usize::try_from(word(40)?).ok()?;
        let bytes = rest.get(48..)?.get(..length)?.to_vec();
        Some(HeldQuestion { record, client: endpoint(0)?, listener: endpoint(20)?, bytes })
    }
}

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
        let original = Endpoint { address: [word(24)?, word(28)?, word(32)?, word(36)?], port: word(40)? };
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
    use super::{HELD_BYTES, HeldEvent, KernelEvent, Reason};
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
    fn reads_a_held_question_as_the_kernel_side_writes_it() {
        let mut entry: Vec<u8> = (0..80_u8).collect();
        entry.extend([[0; 10].as_slice(), &[0xff, 0xff, 127, 0, 0, 1], &4242_u32.to_ne_bytes()].concat());
        entry.extend([[0; 15].as_slice(), &[1], &15001_u32.to_ne_bytes()].concat());
        entry.extend([3_u32.to_ne_bytes(), [0; 4]].concat());
        entry.extend([b"ask".as_slice(), &[0; HELD_BYTES - 3]].concat());
        let question = HeldEvent::question_in(&entry).unwrap();
        assert_eq!(
            (question.client.to_string(), question.listener.to_string()),
            ("127.0.0.1:4242".into(), "[::1]:15001".into())
        );
        assert_eq!(
            (question.bytes.as_slice(), question.record),
            (b"ask".as_slice(), KernelEvent::read(&entry).unwrap().record)
        );
        entry[120] = 255;
        entry[121] = 255;
        assert!(HeldEvent::question_in(&entry).is_none(), "a length beyond the bytes");
        assert!(HeldEvent::question_in(&entry[..80]).is_none());
    }

    #[test]
    fn reasons_stand_at_their_numbers() {
        for (number, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, number);
        }
    }
}
