//! What shall become of a packet or a connect, by destination: the vocabulary of the egress tables.

/// What to do with a destination. Stored as its number, since map values have no enums.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// No entry: the next table, at last the default, decides.
    Unknown = 0,
    /// Passes, and is reported.
    Allow = 1,
    /// Is refused, and reported.
    Refuse = 2,
    /// Redirected to the gateway, which speaks Postgres there.
    Postgres = 3,
    /// Redirected to the gateway, which speaks SSH there.
    Ssh = 4,
    /// Redirected to the gateway, which speaks the Kubernetes API there.
    Kubernetes = 5,
    /// Redirected to the gateway, which answers questions for names there, over UDP and TCP.
    Dns = 6,
}

/// Ports that are intercepted for every address, with the protocol that is spoken there.
pub const PROTECTED_PORTS: [(u16, Verdict); 3] =
    [(5432, Verdict::Postgres), (22, Verdict::Ssh), (6443, Verdict::Kubernetes)];

/// Where servers are asked for names, over UDP and TCP.
pub const DNS_PORT: u16 = 53;

impl Verdict {
    /// Reads a map value. A number that we did not write refuses.
    #[inline(always)]
    #[must_use]
    pub const fn from_value(value: u32) -> Self {
        match value {
            0 => Self::Unknown,
            1 => Self::Allow,
            3 => Self::Postgres,
            4 => Self::Ssh,
            5 => Self::Kubernetes,
            6 => Self::Dns,
            _ => Self::Refuse,
        }
    }

    /// Whether connections are redirected to the gateway.
    #[inline(always)]
    #[must_use]
    pub const fn redirects(self) -> bool {
        self as u32 >= Self::Postgres as u32
    }
}

/// Key of the ports of a network: `port` 0 stands for all that have no entry of their own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NetworkPort {
    /// The number that the longest matching prefix carries.
    pub network: u32,
    /// In host order.
    pub port: u32,
}

const _: () = assert!(size_of::<NetworkPort>() == 8);

/// What a name says of an address and port that it resolved to. Nothing, once its time is over.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub until: u64,
    /// A `Verdict` as its number.
    pub verdict: u32,
    /// Always 0: no padding.
    pub unused: u32,
}

const _: () = assert!(size_of::<Named>() == 16);

/// What the gateway's listener in a network namespace is good for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerState {
    /// 1: it listens on 127.0.0.1.
    pub v4: u32,
    /// 1: it listens on ::1.
    pub v6: u32,
}

const _: () = assert!(size_of::<ListenerState>() == 8);

/// Settings of an attachment.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The id of the attachment's cgroup.
    pub cgroup: u64,
    /// The port of our listeners, the same in every namespace, in host order.
    pub listener_port: u32,
    /// `Verdict::Allow` or `Verdict::Refuse` for what no table names.
    pub egress_default: u32,
}

const _: () = assert!(size_of::<Settings>() == 16);
